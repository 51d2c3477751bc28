//! The media plane of one worker, without its clock and its sockets: datagrams and ticks in, datagrams and events out.
//!
//! Guarantees: nothing here allocates, frees, locks, logs or makes a system call, but for [`MediaPlane::new`]; the
//! sanitizer's run in CI proves it. Time is an argument. Whatever arrives, one leg's trouble stays its own.

use std::net::SocketAddr;
use std::time::Duration;

use rtsan_standalone::nonblocking;
use unisono_mixer::{Desk, MAX_FRAME, SampleRate};
use unisono_rtp::rtcp::NtpTime;

use super::command::Command;
use super::event::Garbage;
use super::leg::{Leg, Refusal, SendBuffers};
use super::meter::{WorkerMeter, bump};
use super::mixing::served;
use super::overload::Level;
use super::phase::PHASES;
use super::room::{Room, SharedEncoder};
use super::sockets::{Channel, LegSockets};
use super::span::Ties;
use super::{LegId, Outlet, RoomId};

/// Everything that is served by one worker.
#[derive(Debug)]
pub(crate) struct MediaPlane {
    pub(super) legs: Vec<Option<Box<Leg>>>,
    pub(super) rooms: Vec<Option<Box<Room>>>,
    pub(super) phases: [PhaseWork; PHASES],
    pub(super) desk: Desk,
    pub(super) frame: Box<[i16; MAX_FRAME]>,
    pub(super) prompt: Box<[i16; MAX_FRAME]>,
    pub(super) sorted: Sorted,
    pub(super) buffers: SendBuffers,
    /// What is given up for want of time.
    pub(super) level: Level,
    leg_count: u64,
}

/// Slab indices of legs, sorted in the interval being mixed so that none is looked at twice without need.
#[derive(Debug)]
pub(super) struct Sorted {
    /// Those that had audio.
    pub(super) audible: Vec<u32>,
    /// Those that may hear something of their own, or nothing.
    pub(super) apart: Vec<u32>,
    /// Those that hear what all hear.
    pub(super) together: Vec<u32>,
    /// Those of a whole tick that owe a report.
    pub(super) owing: Vec<u32>,
}

impl Sorted {
    fn new(legs: usize) -> Self {
        Self {
            audible: Vec::with_capacity(legs),
            apart: Vec::with_capacity(legs),
            together: Vec::with_capacity(legs),
            owing: Vec::with_capacity(legs),
        }
    }
}

/// Slab indices of what is served in one phase.
#[derive(Debug)]
pub(super) struct PhaseWork {
    /// Conferences with legs.
    pub(super) rooms: Vec<u32>,
    /// Legs outside any conference: they enter a PIN, or are being told something.
    pub(super) alone: Vec<u32>,
    /// Intervals mixed so far; skipped ones are not among them.
    pub(super) interval: u64,
    /// Legs in conferences that were not decoded in the last interval.
    pub(super) dozing: u64,
}

/// The time of one tick, on the clocks that are needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TickTime {
    /// Monotonic clock, ns.
    pub(crate) now_ns: u64,
    /// Wall clock, ns since 1970, for NTP time in RTCP.
    pub(crate) unix_ns: u64,
}

impl TickTime {
    /// The moment in NTP's format.
    pub(crate) fn ntp(self) -> NtpTime {
        NtpTime::from_unix(Duration::from_nanos(self.unix_ns))
    }
}

/// What became of a command, for the owner of the sockets.
#[derive(Debug)]
pub(crate) enum Applied {
    /// Nothing for the owner to do.
    Done,
    /// A leg was taken in: its sockets are the owner's now.
    Opened {
        leg: u32,
        sockets: Option<LegSockets>,
    },
    /// A leg has sockets of its own from now on.
    MovedOut { leg: u32, sockets: LegSockets },
    /// A leg was let go: its sockets go back with it.
    Closed(Box<Leg>),
    /// The worker is to end.
    Shutdown,
}

impl MediaPlane {
    /// A plane for up to `legs` legs and `rooms` conferences.
    pub(crate) fn new(legs: usize, rooms: usize) -> Self {
        Self {
            legs: (0..legs).map(|_| None).collect(),
            rooms: (0..rooms).map(|_| None).collect(),
            phases: std::array::from_fn(|_| PhaseWork {
                rooms: Vec::with_capacity(rooms),
                alone: Vec::with_capacity(legs),
                interval: 0,
                dozing: 0,
            }),
            desk: Desk::new(),
            frame: Box::new([0; MAX_FRAME]),
            prompt: Box::new([0; MAX_FRAME]),
            sorted: Sorted::new(legs),
            buffers: SendBuffers::new(),
            level: Level::Normal,
            leg_count: 0,
        }
    }

    /// Whether any leg is served in `phase`.
    pub(crate) fn is_busy(&self, phase: usize) -> bool {
        !self.phases[phase].rooms.is_empty() || !self.phases[phase].alone.is_empty()
    }

    /// Legs served: all but those that rest.
    pub(crate) fn leg_count(&self) -> u64 {
        self.leg_count
    }

    /// What is given up from the next interval on.
    pub(crate) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Legs in conferences whose silence is not decoded.
    pub(crate) fn dozing(&self) -> u64 {
        let busy = self.phases.iter().filter(|phase| !phase.rooms.is_empty());
        busy.map(|phase| phase.dozing).sum()
    }

    /// Conferences that have legs.
    pub(crate) fn busy_rooms(&self) -> u64 {
        self.phases
            .iter()
            .map(|phase| phase.rooms.len() as u64)
            .sum()
    }

    /// Applies one command. Commands for legs or conferences that are gone are nothing: the control plane had not yet
    /// heard of it.
    #[nonblocking]
    pub(crate) fn apply(
        &mut self,
        command: Command,
        time: TickTime,
        outlet: &mut impl Outlet,
    ) -> Applied {
        match command {
            Command::OpenRoom(room) => {
                let index = room.id.index as usize;
                if let Some(old) = self.rooms[index].replace(room) {
                    outlet.discard(Garbage::Room(old));
                }
            }
            Command::CloseRoom(id) => self.close_room(id, outlet),
            Command::Tie { room, ties } => self.tie(room, ties, outlet),
            Command::OpenLeg { leg, sockets } => {
                let index = leg.id.index;
                debug_assert!(
                    self.legs[index as usize].is_none(),
                    "a place is given to one leg at a time"
                );
                self.legs[index as usize] = Some(leg);
                self.seat_alone(index);
                return Applied::Opened {
                    leg: index,
                    sockets,
                };
            }
            Command::CloseLeg(id) => {
                if self.leg(id).is_some() {
                    self.unseat(id.index);
                    if let Some(mut leg) = self.legs[id.index as usize].take() {
                        leg.say_goodbye(time, &mut self.buffers, outlet);
                        leg.publish();
                        return Applied::Closed(leg);
                    }
                }
            }
            Command::Join {
                leg,
                room,
                encoder,
                members,
            } => self.join(leg, room, encoder, members, outlet),
            Command::Leave(id) => {
                if self.leg(id).is_some_and(|leg| leg.room.is_some()) {
                    self.unseat(id.index);
                    self.seat_alone(id.index);
                }
            }
            Command::Update { leg, mut update } => {
                let Self { legs, buffers, .. } = self;
                if let Some(leg) = find(legs, leg) {
                    leg.update(&mut update, time, buffers, outlet);
                    if let Some(room) = leg.room {
                        let rate = leg.rate();
                        self.raise_rate(room, rate);
                    }
                }
                outlet.discard(Garbage::Update(update));
            }
            Command::MoveOut { leg, sockets } => {
                if self.leg(leg).is_some() {
                    return Applied::MovedOut {
                        leg: leg.index,
                        sockets,
                    };
                }
                outlet.discard(Garbage::Sockets(sockets));
            }
            Command::Play { leg, sound } => {
                let rejected = match self.leg(leg) {
                    Some(leg) => leg.player.push(sound).err(),
                    None => Some(sound),
                };
                if let Some(sound) = rejected {
                    outlet.discard(Garbage::Sound(sound));
                }
            }
            Command::StopPlaying(leg) => {
                if let Some(leg) = self.leg(leg) {
                    leg.stop_playing(outlet);
                }
            }
            Command::Announce { room, sound } => {
                let rejected = match self.room(room) {
                    Some(room) if !room.members.is_empty() => room.announcements.push(sound).err(),
                    _ => Some(sound),
                };
                if let Some(sound) = rejected {
                    outlet.discard(Garbage::Sound(sound));
                }
            }
            Command::SetMuted { leg, muted } => {
                if let Some(leg) = self.leg(leg) {
                    leg.strip.set_muted(muted);
                }
            }
            Command::SetDeaf { leg, deaf } => {
                if let Some(leg) = self.leg(leg) {
                    leg.strip.set_deaf(deaf);
                }
            }
            Command::SetGains {
                leg,
                input_db,
                output_db,
            } => {
                if let Some(leg) = self.leg(leg) {
                    leg.strip.set_input_gain_db(input_db);
                    leg.strip.set_output_gain_db(output_db);
                }
            }
            Command::Shutdown => {
                for leg in self.legs.iter_mut().flatten() {
                    leg.say_goodbye(time, &mut self.buffers, outlet);
                }
                return Applied::Shutdown;
            }
        }
        Applied::Done
    }

    /// Gives a datagram to its leg, of which it came to one of the two channels. What the leg refuses is counted for the worker as
    /// well, which outlives it.
    #[nonblocking]
    pub(crate) fn receive(
        &mut self,
        (leg, channel): (u32, Channel),
        datagram: &[u8],
        source: SocketAddr,
        arrival_ns: u64,
        meter: &WorkerMeter,
        outlet: &mut impl Outlet,
    ) -> Result<(), Refusal> {
        let Some(Some(leg)) = self.legs.get_mut(leg as usize) else {
            return Err(Refusal::Foreign);
        };
        let taken = leg.receive(channel, datagram, source, arrival_ns, outlet);
        match taken {
            Ok(()) => {}
            Err(Refusal::Malformed) => bump(&meter.malformed, 1),
            Err(Refusal::Foreign) => bump(&meter.foreign, 1),
        }
        taken
    }

    /// The legs that are served in `phase`.
    pub(crate) fn served(&self, phase: usize) -> impl Iterator<Item = &u32> {
        served(&self.phases[phase], &self.rooms)
    }

    /// Whether a leg's next frame has not come yet, though it is time for it.
    pub(crate) fn lacks_frame(&self, leg: u32) -> bool {
        let leg = self.legs.get(leg as usize).and_then(Option::as_deref);
        leg.is_some_and(Leg::lacks_frame)
    }

    /// Fetches into the cache what datagrams for these legs need, which come ever later.
    #[inline]
    pub(crate) fn fetch_for_datagrams(&self, ahead: [Option<u32>; 3]) {
        let [first, second, third] = ahead.map(|leg| self.legs.get(leg? as usize)?.as_deref());
        if let Some(leg) = third {
            leg.fetch_front();
        }
        if let Some(leg) = second {
            leg.fetch_stream();
        }
        if let Some(leg) = first {
            leg.fetch_for_datagram();
        }
    }

    /// Where a leg's RTP comes from, once its latch has accepted a source.
    pub(crate) fn source_of(&self, leg: u32) -> Option<SocketAddr> {
        self.legs.get(leg as usize)?.as_deref()?.source()
    }

    fn close_room(&mut self, id: RoomId, outlet: &mut impl Outlet) {
        if self.room(id).is_none() {
            return;
        }
        while let Some(member) = self.rooms[id.index as usize]
            .as_deref()
            .and_then(|room| room.members.last().copied())
        {
            self.unseat(member);
            self.seat_alone(member);
        }
        if let Some(room) = self.rooms[id.index as usize].take() {
            outlet.discard(Garbage::Room(room));
        }
    }

    /// Ties a room to the conference's other ones, or unties it.
    fn tie(&mut self, id: RoomId, ties: Option<Box<Ties>>, outlet: &mut impl Outlet) {
        let unused = match self.room(id) {
            Some(room) => {
                let mut before = std::mem::replace(&mut room.ties, ties);
                if let (Some(ties), Some(before)) = (&mut room.ties, &mut before) {
                    ties.continue_from(before);
                }
                before
            }
            None => ties,
        };
        if let Some(unused) = unused {
            outlet.discard(Garbage::Ties(unused));
        }
    }

    /// Seats a leg in a conference, from wherever it was; in the conference it is in already, it stays.
    fn join(
        &mut self,
        id: LegId,
        room: RoomId,
        encoder: Option<Box<SharedEncoder>>,
        members: Option<Vec<u32>>,
        outlet: &mut impl Outlet,
    ) {
        let (true, Some(body)) = (find(&mut self.legs, id).is_some(), self.room(room)) else {
            if let Some(encoder) = encoder {
                outlet.discard(Garbage::Encoder(encoder));
            }
            if let Some(members) = members {
                outlet.discard(Garbage::Members(members));
            }
            return;
        };
        if let Some(unused) = encoder.and_then(|encoder| body.encoders.add(encoder)) {
            outlet.discard(Garbage::Encoder(unused));
        }
        if let Some(mut list) = members {
            if list.capacity() > body.members.capacity() {
                list.extend_from_slice(&body.members);
                std::mem::swap(&mut body.members, &mut list);
            }
            outlet.discard(Garbage::Members(list));
        }
        if self.leg(id).is_some_and(|leg| leg.room == Some(room.index)) {
            return;
        }
        self.unseat(id.index);
        let (Some(leg), Some(body)) = (
            self.legs[id.index as usize].as_deref_mut(),
            self.rooms[room.index as usize].as_deref_mut(),
        ) else {
            return;
        };
        debug_assert!(
            body.members.len() < body.members.capacity(),
            "a longer list comes with the leg that needs it"
        );
        leg.room = Some(room.index);
        leg.phase = body.phase;
        leg.seat = body.members.len();
        leg.enter();
        let rate = leg.rate();
        if body.members.is_empty() {
            body.encoders.end_streams();
            if body.is_adaptive {
                body.bus.set_rate(rate);
            }
            self.phases[body.phase].rooms.push(room.index);
        }
        body.members.push(id.index);
        self.leg_count += 1;
        self.raise_rate(room.index, rate);
    }

    /// Seats a leg that is on no list among those outside any conference, unless it rests there.
    fn seat_alone(&mut self, index: u32) {
        let Some(leg) = self.legs[index as usize].as_deref_mut() else {
            return;
        };
        leg.room = None;
        if leg.rests_alone() {
            return;
        }
        let alone = &mut self.phases[leg.phase].alone;
        leg.seat = alone.len();
        alone.push(index);
        self.leg_count += 1;
    }

    /// Takes a leg off the list it is on, if it is on one.
    fn unseat(&mut self, index: u32) {
        let Self {
            legs,
            rooms,
            phases,
            leg_count,
            ..
        } = self;
        let Some(leg) = legs[index as usize].as_deref_mut() else {
            return;
        };
        let (phase, seat) = (leg.phase, leg.seat);
        let list = match leg.room.take() {
            None if leg.rests_alone() => return,
            None => &mut phases[phase].alone,
            Some(room) => {
                let Some(body) = rooms[room as usize].as_deref_mut() else {
                    return;
                };
                if body.members.len() == 1 {
                    phases[phase].rooms.retain(|other| *other != room);
                    if let Some(ties) = &body.ties {
                        ties.rest();
                    }
                }
                leg.part_from(&mut body.encoders);
                &mut body.members
            }
        };
        list.swap_remove(seat);
        *leg_count -= 1;
        if let Some(moved) = list.get(seat).copied()
            && let Some(moved) = legs[moved as usize].as_deref_mut()
        {
            moved.seat = seat;
        }
    }

    /// A conference whose rate is not fixed is mixed at the highest rate of those who took part since it was empty.
    fn raise_rate(&mut self, room: u32, rate: SampleRate) {
        if let Some(room) = self.rooms[room as usize].as_deref_mut()
            && room.is_adaptive
            && rate > room.bus.rate()
        {
            room.bus.set_rate(rate);
        }
    }

    fn leg(&mut self, id: LegId) -> Option<&mut Leg> {
        find(&mut self.legs, id)
    }

    fn room(&mut self, id: RoomId) -> Option<&mut Room> {
        self.rooms
            .get_mut(id.index as usize)?
            .as_deref_mut()
            .filter(|room| room.id == id)
    }
}

fn find(legs: &mut [Option<Box<Leg>>], id: LegId) -> Option<&mut Leg> {
    legs.get_mut(id.index as usize)?
        .as_deref_mut()
        .filter(|leg| leg.id == id)
}
