//! One worker's media plane in virtual time, without its thread, its sockets and its clock: for tests and benchmarks.
//!
//! The code is the worker's own; only what surrounds it is played: commands are applied at once, datagrams are handed
//! over by [`Rehearsal::receive`], and what is sent stays on a [`Stage`]. Nothing here allocates while the media plane
//! runs, so that an allocation that is counted is the plane's.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use unisono_mixer::SampleRate;
use unisono_rtp::codec::{Encoder, MAX_PAYLOAD};
use unisono_rtp::packet::{Header, MAX_HEADER};
use unisono_rtp::rtcp::Cname;

use super::command::Command;
use super::event::{Event, Garbage};
use super::leg::{Leg, Transport};
use super::media::{LegPolicy, MediaSpec, MediaUpdate};
use super::meter::{LegFigures, WorkerFigures, WorkerMeter};
use super::overload::Level;
use super::phase::{PHASES, PhaseClock, SLOT};
use super::plane::{Applied, MediaPlane, TickTime};
use super::player::Sound;
use super::rings::{self, RingEnd};
use super::room::{Room, SharedEncoder};
use super::sockets::Channel;
use super::span::seating::offset_ns;
use super::span::{End, Ties};
use super::{LegId, Outlet, RoomId};

/// Wall clock at the beginning, ns since 1970.
const EPOCH_NS: u64 = 1_700_000_000_000_000_000;

/// A media plane and its virtual time.
#[derive(Debug)]
pub struct Rehearsal {
    /// What the media plane put out.
    pub stage: Stage,
    plane: MediaPlane,
    clock: PhaseClock,
    meter: WorkerMeter,
    slot: u64,
    watch: Watch,
    legs: Vec<LegId>,
    rooms: Vec<RoomId>,
    policy: LegPolicy,
    serial: u32,
    worker: u16,
    /// Rooms that were tied to others'.
    ends: Vec<End>,
}

/// Called when the media plane begins to work, and when it has ended.
#[derive(Clone, Copy)]
struct Watch {
    begin: fn(),
    end: fn(),
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Rehearsal {
    /// A plane for so many legs and conferences.
    pub fn new(legs: usize, rooms: usize, policy: LegPolicy) -> Self {
        Self {
            stage: Stage::new(legs),
            plane: MediaPlane::new(legs, rooms),
            clock: PhaseClock::default(),
            meter: WorkerMeter::default(),
            slot: PHASES as u64 * 50,
            watch: Watch {
                begin: || {},
                end: || {},
            },
            legs: Vec::new(),
            rooms: Vec::new(),
            policy,
            serial: 1,
            worker: 0,
            ends: Vec::new(),
        }
    }

    /// The same as the worker of another number, for a conference that several planes mix.
    #[must_use]
    pub fn as_worker(mut self, worker: u16) -> Self {
        self.worker = worker;
        self
    }

    /// Makes one conference of rooms on several planes, each of another worker's number; a single one is untied.
    pub fn tie(rooms: &mut [(&mut Self, RoomId)]) {
        let workers = rooms.len();
        let ends: Vec<End> = rooms
            .iter_mut()
            .map(|(plane, room)| plane.end(*room, workers))
            .collect();
        for (own, (plane, room)) in rooms.iter_mut().enumerate() {
            let ties = (workers > 1).then(|| Box::new(Ties::new(&ends, own)));
            plane.apply(Command::Tie { room: *room, ties });
        }
    }

    /// Calls `begin` before, and `end` after, everything that a worker's thread does.
    pub fn watch(&mut self, begin: fn(), end: fn()) {
        self.watch = Watch { begin, end };
    }

    /// What is given up for want of time, from the next interval on.
    pub fn set_level(&mut self, level: Level) {
        self.plane.set_level(level);
    }

    /// Legs whose silence is not decoded now.
    pub fn dozing(&self) -> u64 {
        self.plane.dozing()
    }

    /// The virtual monotonic clock, ns.
    pub fn now_ns(&self) -> u64 {
        self.slot * SLOT.as_nanos() as u64
    }

    /// Opens a conference in a phase.
    pub fn open_room(&mut self, phase: usize, rate: Option<SampleRate>) -> RoomId {
        let id = RoomId {
            worker: self.worker,
            index: self.rooms.len() as u32,
            serial: self.serial(),
        };
        self.rooms.push(id);
        self.apply(Command::OpenRoom(Box::new(Room::new(id, phase, rate, 1))));
        id
    }

    /// Closes a conference.
    pub fn close_room(&mut self, room: RoomId) {
        self.apply(Command::CloseRoom(room));
    }

    /// Opens a leg in phase 0, outside any conference.
    pub fn open_leg(&mut self, media: MediaSpec) -> LegId {
        let id = self.leg_id();
        let seed = u64::from(id.serial).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut random = [0; 18];
        random[..8].copy_from_slice(&seed.to_be_bytes());
        random[8..16].copy_from_slice(&seed.rotate_left(29).to_be_bytes());
        let cname = Cname::from_random([id.serial as u8; 12]);
        let leg = Leg::by_rtp(id, 0, media, &self.policy, cname, random, self.now_ns());
        self.apply(Command::OpenLeg {
            leg: Box::new(leg),
            sockets: None,
        });
        id
    }

    /// Opens a leg by rings in phase 0, outside any conference; also returns its far end.
    pub fn open_ring_leg(&mut self, rate: SampleRate) -> (LegId, RingEnd) {
        let id = self.leg_id();
        let (near, far, _) = rings::pair(rate);
        let leg = Leg::by_rings(id, 0, near, &self.policy);
        self.apply(Command::OpenLeg {
            leg: Box::new(leg),
            sockets: None,
        });
        (id, far)
    }

    /// Closes a leg.
    pub fn close_leg(&mut self, leg: LegId) {
        self.legs.retain(|other| *other != leg);
        self.apply(Command::CloseLeg(leg));
    }

    /// Puts a leg into a conference, with all that the control plane sends along.
    pub fn join(&mut self, leg: LegId, room: RoomId) {
        let Some(entering) = self.plane.legs[leg.index as usize].as_deref() else {
            return;
        };
        let encoder = match &entering.transport {
            Transport::Rtp(stream) => Some(Box::new(SharedEncoder::new(stream.codec()))),
            Transport::Rings(_) => None,
        };
        let seats = self.plane.rooms[room.index as usize]
            .as_deref()
            .map_or(0, |room| room.members.len() + 1);
        self.apply(Command::Join {
            leg,
            room,
            encoder,
            members: Some(Vec::with_capacity(seats.next_power_of_two())),
        });
    }

    /// Takes a leg out of its conference.
    pub fn leave(&mut self, leg: LegId) {
        self.apply(Command::Leave(leg));
    }

    /// Re-negotiates.
    pub fn update(&mut self, leg: LegId, before: &MediaSpec, media: MediaSpec) {
        let update = Box::new(MediaUpdate::new(before, media, &self.policy, [7; 10]));
        self.apply(Command::Update { leg, update });
    }

    /// Plays a sound to one leg.
    pub fn play(&mut self, leg: LegId, sound: Sound) {
        self.apply(Command::Play { leg, sound });
    }

    /// Stops what a leg is played.
    pub fn stop_playing(&mut self, leg: LegId) {
        self.apply(Command::StopPlaying(leg));
    }

    /// Plays a sound to a conference.
    pub fn announce(&mut self, room: RoomId, sound: Sound) {
        self.apply(Command::Announce { room, sound });
    }

    /// Mutes a leg or lets it speak.
    pub fn set_muted(&mut self, leg: LegId, muted: bool) {
        self.apply(Command::SetMuted { leg, muted });
    }

    /// Makes a leg deaf or lets it hear.
    pub fn set_deaf(&mut self, leg: LegId, deaf: bool) {
        self.apply(Command::SetDeaf { leg, deaf });
    }

    /// Sets a leg's gains, dB.
    pub fn set_gains(&mut self, leg: LegId, input_db: f32, output_db: f32) {
        self.apply(Command::SetGains {
            leg,
            input_db,
            output_db,
        });
    }

    /// Tells the plane to end: every leg says BYE.
    pub fn shut_down(&mut self) {
        self.apply(Command::Shutdown);
    }

    /// A datagram arrived now.
    pub fn receive(&mut self, leg: LegId, channel: Channel, datagram: &[u8], source: SocketAddr) {
        let now_ns = self.now_ns();
        (self.watch.begin)();
        // What is refused has been counted.
        let _ = self.plane.receive(
            (leg.index, channel),
            datagram,
            source,
            now_ns,
            &self.meter,
            &mut self.stage,
        );
        (self.watch.end)();
    }

    /// The next 20 ms, on time, in all phases.
    pub fn tick(&mut self) {
        for _ in 0..PHASES {
            self.slot += 1;
            self.serve();
        }
    }

    /// The worker did not run for so many intervals, and then does.
    pub fn tick_after_stall(&mut self, missed: u64) {
        self.slot += (missed + 1) * PHASES as u64;
        self.serve();
    }

    /// Slots of 2.5 ms so far.
    pub fn slot(&self) -> u64 {
        self.slot
    }

    /// The worker wakes at a slot, not before the last, and makes up for what it missed.
    pub fn wake_at(&mut self, slot: u64) {
        self.slot = self.slot.max(slot);
        self.serve();
    }

    /// Whether the worker would have to wake up at all.
    pub fn is_idle(&self) -> bool {
        self.clock.next_slot().is_none()
    }

    /// The worker's counters.
    pub fn figures(&self) -> WorkerFigures {
        self.meter.read()
    }

    /// A leg's counters.
    pub fn leg_figures(&self, leg: LegId) -> Option<LegFigures> {
        let leg = self.plane.legs[leg.index as usize].as_deref()?;
        leg.publish();
        Some(leg.meter.read())
    }

    /// The media plane, to be looked at.
    #[cfg(test)]
    pub(super) fn plane(&self) -> &MediaPlane {
        &self.plane
    }

    pub(super) fn apply(&mut self, command: Command) {
        let time = self.time();
        (self.watch.begin)();
        let applied = self.plane.apply(command, time, &mut self.stage);
        (self.watch.end)();
        match applied {
            Applied::Closed(leg) => self.stage.garbage.push(Garbage::Leg(leg, None)),
            Applied::Opened { .. }
            | Applied::MovedOut { .. }
            | Applied::Done
            | Applied::Shutdown => {}
        }
        for phase in 0..PHASES {
            if self.plane.is_busy(phase) {
                self.clock.start(phase, self.slot);
            } else {
                self.clock.stop(phase);
            }
        }
    }

    fn serve(&mut self) {
        let time = self.time();
        for phase in 0..PHASES {
            if let Some(due) = self.clock.take(phase, self.slot) {
                (self.watch.begin)();
                self.plane
                    .tick(phase, due, time, &self.meter, &mut self.stage);
                (self.watch.end)();
            }
        }
    }

    fn time(&self) -> TickTime {
        TickTime {
            now_ns: self.now_ns(),
            unix_ns: EPOCH_NS + self.now_ns(),
        }
    }

    fn end(&mut self, room: RoomId, workers: usize) -> End {
        if let Some(end) = self.ends.iter().find(|end| end.room == room) {
            return end.clone();
        }
        let body = self.plane.rooms[room.index as usize].as_deref();
        let phase = body.map_or(0, |room| room.phase);
        let end = End::new(room, offset_ns(phase, self.worker.into(), workers));
        self.ends.push(end.clone());
        end
    }

    /// A free place for a leg.
    fn leg_id(&mut self) -> LegId {
        let free = (0..).find(|index| self.legs.iter().all(|leg| leg.index != *index));
        let id = LegId {
            worker: self.worker,
            index: free.unwrap_or_default(),
            serial: self.serial(),
        };
        self.legs.push(id);
        id
    }

    fn serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }
}

/// What the media plane put out since [`clear`](Stage::clear).
#[derive(Debug)]
pub struct Stage {
    /// What happened.
    pub events: Vec<Event>,
    garbage: Vec<Garbage>,
    sent: Vec<(LegId, Channel, SocketAddr, Range<usize>)>,
    bytes: Vec<u8>,
    overlooked: usize,
}

/// One datagram that was sent.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// By whom.
    pub leg: LegId,
    /// From which of its sockets.
    pub channel: Channel,
    /// To where.
    pub destination: SocketAddr,
    /// The datagram.
    pub datagram: &'a [u8],
}

impl Stage {
    fn new(legs: usize) -> Self {
        let datagrams = legs * 8 + 64;
        Self {
            events: Vec::with_capacity(datagrams),
            garbage: Vec::with_capacity(datagrams),
            sent: Vec::with_capacity(datagrams),
            bytes: Vec::with_capacity(datagrams * 512),
            overlooked: 0,
        }
    }

    /// What was sent, in order.
    ///
    /// # Panics
    /// If there was more than the stage holds: clear it more often.
    pub fn sent(&self) -> impl Iterator<Item = Sent<'_>> {
        assert_eq!(self.overlooked, 0, "the stage is too small");
        self.sent
            .iter()
            .map(|(leg, channel, destination, range)| Sent {
                leg: *leg,
                channel: *channel,
                destination: *destination,
                datagram: &self.bytes[range.clone()],
            })
    }

    /// How many pieces of memory came back.
    pub fn garbage_count(&self) -> usize {
        self.garbage.len()
    }

    /// Forgets everything, and frees what came back.
    pub fn clear(&mut self) {
        self.events.clear();
        self.garbage.clear();
        self.sent.clear();
        self.bytes.clear();
        self.overlooked = 0;
    }
}

impl Outlet for Stage {
    fn send(&mut self, leg: LegId, channel: Channel, destination: SocketAddr, datagram: &[u8]) {
        let start = self.bytes.len();
        let end = start + datagram.len();
        if self.sent.len() == self.sent.capacity() || end > self.bytes.capacity() {
            self.overlooked += 1;
            return;
        }
        self.bytes.extend_from_slice(datagram);
        self.sent.push((leg, channel, destination, start..end));
    }

    fn event(&mut self, event: Event) {
        assert!(self.events.len() < self.events.capacity(), "clear it");
        self.events.push(event);
    }

    fn discard(&mut self, garbage: Garbage) {
        assert!(self.garbage.len() < self.garbage.capacity(), "clear it");
        self.garbage.push(garbage);
    }
}

/// The far end's mouth: makes RTP of frames.
#[derive(Debug)]
pub struct Mouth {
    /// Where its packets come from.
    pub address: SocketAddr,
    /// Its source.
    pub ssrc: u32,
    /// Number of the next packet.
    pub sequence: u16,
    /// Timestamp of the next packet.
    pub timestamp: u32,
    payload_type: u8,
    encoder: Encoder,
    datagram: Box<[u8; MAX_HEADER + MAX_PAYLOAD]>,
}

impl Mouth {
    /// The far end of the `number`th leg, which speaks as `media` says.
    pub fn new(number: u16, media: &MediaSpec) -> Self {
        Self {
            address: address(number),
            ssrc: 0x1000_0000 + u32::from(number),
            sequence: number.wrapping_mul(7919),
            timestamp: u32::from(number).wrapping_mul(0x0101_0101),
            payload_type: media.receive_payload_type,
            encoder: Encoder::new(media.codec),
            datagram: Box::new([0; MAX_HEADER + MAX_PAYLOAD]),
        }
    }

    /// One packet of a frame at the codec's rate.
    pub fn say(&mut self, frame: &[i16]) -> &[u8] {
        let header = Header {
            payload_type: self.payload_type,
            marker: false,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let codec = self.encoder.codec();
        let start = header.write(&mut self.datagram[..], &[]);
        let length = self.encoder.encode(frame, &mut self.datagram[start..]);
        let samples = frame.len() as u32;
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self
            .timestamp
            .wrapping_add(samples * (codec.clock_rate() / 100) / (codec.sample_rate() / 100));
        &self.datagram[..start + length]
    }
}

/// The signalled RTP address of the `number`th far end; its RTCP is on the next port.
pub fn address(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(192, 0, high, low), 4000))
}
