//! The control plane's side of the engine: what lives on which worker, and the way there and back.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use nix::sys::eventfd::EventFd;
use rand::Rng;
use unisono_mixer::SampleRate;
use unisono_rtp::net::MediaPorts;
use unisono_rtp::rtcp::Cname;
use unisono_timer::{RealtimeGrant, TickerError};

use super::command::Command;
use super::event::{Event, Garbage};
use super::hand::{Hand, eventfd};
use super::housing::Housing;
use super::leg::Leg;
use super::media::{LegPolicy, MediaSpec, MediaUpdate};
use super::meter::LegMeter;
use super::player::Sound;
use super::rings::{self, RingEnd, RingMeters};
use super::room::{Room, SharedEncoder};
use super::sockets::LegSockets;
use super::{LegId, RoomId};

/// Members a conference has room for at first; the list grows by doubling, on this side.
const FIRST_MEMBERS: usize = 16;

/// How an engine is built.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Real-time threads.
    pub workers: usize,
    /// CPUs that workers are pinned to, in turn; empty leaves it to the kernel.
    pub cpus: Vec<usize>,
    /// SCHED_FIFO priority, 1 to 99; `None` asks for no real-time scheduling and no memory lock.
    pub priority: Option<u8>,
    /// Legs at a time.
    pub legs: usize,
    /// Conferences with participants at a time.
    pub rooms: usize,
    /// How all legs are treated.
    pub policy: LegPolicy,
}

/// Why the engine cannot do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The legs, or the conferences, that it was built for are in use: raise the limit or end calls.
    #[error("all {limit} {what} are in use; end some, or raise the limit in [media]")]
    Full {
        /// `legs` or `conferences`.
        what: &'static str,
        /// How many there are.
        limit: usize,
    },
    /// The media workers' threads have ended, which is a fault of ours: restart the server, and report what it logged.
    #[error("the media worker has ended; restart the server")]
    WorkerEnded,
    /// A thread, descriptor or timer could not be had.
    #[error("cannot start a media worker: {0}")]
    System(#[from] io::Error),
    /// The kernel refused a timer.
    #[error("cannot start a media worker: {0}")]
    Ticker(#[from] TickerError),
}

/// All workers, and the register of what they serve.
#[derive(Debug)]
pub struct Engine {
    pub(super) workers: Vec<Hand>,
    notify: Arc<EventFd>,
    pub(super) legs: HashMap<LegId, LegEntry>,
    rooms: HashMap<RoomId, RoomEntry>,
    config: EngineConfig,
    pub(super) housing: Housing,
    next_serial: u32,
}

/// A leg, as it is known on this side.
#[derive(Debug)]
pub(super) struct LegEntry {
    pub(super) transport: Transport,
    pub(super) meter: Arc<LegMeter>,
    room: Option<RoomId>,
    phase: usize,
    /// On what it says and what it hears, dB.
    pub(super) gains: (f32, f32),
    /// A `CloseLeg` is on its way.
    closing: bool,
}

/// What is known here of how a leg's audio travels.
#[derive(Debug)]
pub(super) enum Transport {
    /// What was negotiated.
    Rtp(MediaSpec),
    Rings(RingMeters),
}

#[derive(Debug)]
struct RoomEntry {
    phase: usize,
    members: usize,
    /// Members the worker's list has room for.
    capacity: usize,
    formats: Vec<unisono_rtp::codec::Codec>,
}

impl Engine {
    /// Starts the workers.
    ///
    /// # Errors
    /// [`EngineError::System`], [`EngineError::Ticker`]. Real-time scheduling that is refused is no error: see
    /// [`grants`](Self::grants).
    pub fn start(config: EngineConfig) -> Result<Self, EngineError> {
        Self::start_with(config, Vec::new())
    }

    /// Starts the workers; each takes the next of the shared ports, as far as there are any.
    pub(super) fn start_with(
        config: EngineConfig,
        shared: Vec<MediaPorts>,
    ) -> Result<Self, EngineError> {
        let notify = Arc::new(eventfd()?);
        let mut workers = Vec::new();
        let mut shared = shared.into_iter();
        for number in 0..config.workers.max(1) {
            workers.push(Hand::start(number, &config, &notify, shared.next())?);
        }
        Ok(Self {
            workers,
            notify,
            legs: HashMap::new(),
            rooms: HashMap::new(),
            config,
            housing: Housing::default(),
            next_serial: 1,
        })
    }

    /// What each worker was granted.
    pub fn grants(&self) -> impl Iterator<Item = &RealtimeGrant> {
        self.workers.iter().map(|hand| &hand.grant)
    }

    /// Readable when there may be an event to [`poll`](Self::poll).
    pub fn notifier(&self) -> Arc<EventFd> {
        Arc::clone(&self.notify)
    }

    /// Legs in use.
    pub fn leg_count(&self) -> usize {
        self.legs.len()
    }

    /// Opens a conference on the worker with the fewest legs of those that take calls, in its quietest phase. `rate` fixes the rate it is mixed
    /// at; with `None` that is the highest of those who take part.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::WorkerEnded`] when no worker is left.
    pub fn open_room(&mut self, rate: Option<SampleRate>) -> Result<RoomId, EngineError> {
        let limit = self.config.rooms;
        let serial = self.serial();
        if self.workers.iter().all(Hand::has_ended) {
            return Err(EngineError::WorkerEnded);
        }
        let (number, hand) = self
            .workers
            .iter_mut()
            .enumerate()
            .filter(|(_, hand)| !hand.has_ended() && !hand.free_rooms.is_empty())
            .min_by_key(|(_, hand)| (hand.level().refuses(), hand.load.iter().sum::<usize>()))
            .ok_or(EngineError::Full {
                what: "conferences",
                limit,
            })?;
        let index = hand.free_rooms.pop().unwrap_or_default();
        let phase = hand.quietest_phase();
        let id = RoomId {
            worker: number as u16,
            index,
            serial,
        };
        hand.command(Command::OpenRoom(Box::new(Room::new(
            id,
            phase,
            rate,
            FIRST_MEMBERS,
        ))));
        let entry = RoomEntry {
            phase,
            members: 0,
            capacity: FIRST_MEMBERS,
            formats: Vec::new(),
        };
        self.rooms.insert(id, entry);
        Ok(id)
    }

    /// Ends a conference. Legs that are still in it stay connected, outside any.
    pub fn close_room(&mut self, room: RoomId) {
        if let Some(entry) = self.rooms.remove(&room) {
            if entry.members > 0 {
                for leg in self.legs.values_mut().filter(|leg| leg.room == Some(room)) {
                    leg.room = None;
                }
            }
            self.hand(room.worker).command(Command::CloseRoom(room));
        }
    }

    /// Opens a leg on the worker, and in the phase, of the conference that it is to join. It is outside any conference
    /// until then: what it says is not heard, and it hears what it is [`play`](Self::play)ed.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::System`], [`EngineError::WorkerEnded`].
    pub fn open_leg(
        &mut self,
        media: MediaSpec,
        ports: MediaPorts,
        near: RoomId,
    ) -> Result<LegId, EngineError> {
        let (id, phase) = self.reserve_leg(near)?;
        let sockets = match self.watch(id, ports) {
            Ok(sockets) => sockets,
            Err(error) => {
                self.hand(id.worker).free_legs.push(id.index);
                return Err(error);
            }
        };
        let leg = self.rtp_leg(id, phase, media);
        self.begin_leg(leg, Some(sockets), Transport::Rtp(media));
        Ok(id)
    }

    /// A leg by RTP, under an identity that nobody can foresee.
    pub(super) fn rtp_leg(&self, id: LegId, phase: usize, media: MediaSpec) -> Leg {
        let mut random = [0; 30];
        rand::rng().fill_bytes(&mut random);
        let (name, secret) = random.split_at(12);
        let cname = Cname::from_random(name.try_into().unwrap_or_default());
        let now_ns = unisono_timer::MonoTime::now().as_nanos();
        Leg::by_rtp(
            id,
            phase,
            media,
            &self.config.policy,
            cname,
            secret.try_into().unwrap_or_default(),
            now_ns,
        )
    }

    /// Opens a leg whose audio travels by rings of frames at `rate`, on the worker of the conference that it is to join,
    /// and returns its far end too. It takes a leg's place, but no port. Outside any conference it rests: it
    /// neither speaks nor hears, and keeps no worker awake.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::WorkerEnded`].
    pub fn open_ring_leg(
        &mut self,
        rate: SampleRate,
        near: RoomId,
    ) -> Result<(LegId, RingEnd), EngineError> {
        let (id, phase) = self.reserve_leg(near)?;
        let (near, far, meters) = rings::pair(rate);
        let leg = Leg::by_rings(id, phase, near, &self.config.policy);
        self.begin_leg(leg, None, Transport::Rings(meters));
        Ok((id, far))
    }

    /// Ends a leg: it says BYE in RTCP, and its ports are given up.
    pub fn close_leg(&mut self, leg: LegId) {
        self.leave(leg);
        if let Some(entry) = self.legs.get_mut(&leg)
            && !std::mem::replace(&mut entry.closing, true)
        {
            self.hand(leg.worker).command(Command::CloseLeg(leg));
        }
    }

    /// Lets a leg take part in a conference of its worker.
    pub fn join(&mut self, leg: LegId, room: RoomId) {
        debug_assert_eq!(
            leg.worker, room.worker,
            "a leg is opened near the conference it is to join"
        );
        let (Some(leg_entry), true) = (self.legs.get_mut(&leg), self.rooms.contains_key(&room))
        else {
            return;
        };
        if leg_entry.closing {
            return;
        }
        let before = leg_entry.room.replace(room);
        let codec = match &leg_entry.transport {
            Transport::Rtp(media) => Some(media.codec),
            Transport::Rings(_) => None,
        };
        let from = leg_entry.phase;
        if before != Some(room)
            && let Some(entry) = before.and_then(|before| self.rooms.get_mut(&before))
        {
            entry.members -= 1;
        }
        let Some(entry) = self.rooms.get_mut(&room) else {
            return;
        };
        entry.members += usize::from(before != Some(room));
        let new_format = codec.filter(|codec| !entry.formats.contains(codec));
        let encoder = new_format.map(|codec| {
            entry.formats.push(codec);
            Box::new(SharedEncoder::new(codec))
        });
        let members = (entry.members > entry.capacity).then(|| {
            entry.capacity *= 2;
            Vec::with_capacity(entry.capacity)
        });
        let to = entry.phase;
        if let Some(leg_entry) = self.legs.get_mut(&leg) {
            leg_entry.phase = to;
        }
        let hand = self.hand(leg.worker);
        hand.load[from] -= 1;
        hand.load[to] += 1;
        hand.command(Command::Join {
            leg,
            room,
            encoder,
            members,
        });
    }

    /// Takes a leg out of its conference; it stays connected.
    pub fn leave(&mut self, leg: LegId) {
        let Some(room) = self.legs.get_mut(&leg).and_then(|entry| entry.room.take()) else {
            return;
        };
        if let Some(entry) = self.rooms.get_mut(&room) {
            entry.members -= 1;
        }
        self.hand(leg.worker).command(Command::Leave(leg));
    }

    /// Applies the outcome of a re-negotiation of a leg by RTP. Where it changes the sample rate, prompts that are queued are dropped.
    pub fn update(&mut self, leg: LegId, media: MediaSpec) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        let Transport::Rtp(before) = &mut entry.transport else {
            return;
        };
        let mut random = [0; 10];
        rand::rng().fill_bytes(&mut random);
        let update = MediaUpdate::new(before, media, &self.config.policy, random);
        let new_format = before.codec != media.codec;
        *before = media;
        let room = entry.room;
        self.housing.readdress(leg, media.remote.rtp);
        self.hand(leg.worker).command(Command::Update {
            leg,
            update: Box::new(update),
        });
        if let (true, Some(room)) = (new_format, room) {
            // Brings the conference an encoder for the format, if it has none.
            self.join(leg, room);
        }
    }

    /// Plays sounds, at the leg's own sample rate, to this leg alone, after those already queued.
    pub fn play(&mut self, leg: LegId, sounds: impl IntoIterator<Item = Sound>) {
        let hand = self.hand(leg.worker);
        for sound in sounds {
            hand.command(Command::Play { leg, sound });
        }
    }

    /// Stops what a leg is being played.
    pub fn stop_playing(&mut self, leg: LegId) {
        self.hand(leg.worker).command(Command::StopPlaying(leg));
    }

    /// Plays sounds, at [`ANNOUNCEMENT_RATE`](super::ANNOUNCEMENT_RATE), to everybody in a conference.
    pub fn announce(&mut self, room: RoomId, sounds: impl IntoIterator<Item = Sound>) {
        let hand = self.hand(room.worker);
        for sound in sounds {
            hand.command(Command::Announce { room, sound });
        }
    }

    /// Whether the leg is heard.
    pub fn set_muted(&mut self, leg: LegId, muted: bool) {
        self.hand(leg.worker)
            .command(Command::SetMuted { leg, muted });
    }

    /// Whether the leg hears the conference.
    pub fn set_deaf(&mut self, leg: LegId, deaf: bool) {
        self.hand(leg.worker)
            .command(Command::SetDeaf { leg, deaf });
    }

    /// Gains on what a leg says and hears, dB, clamped to -60..=24; `None` leaves one as it is.
    pub fn set_gains(&mut self, leg: LegId, input_db: Option<f32>, output_db: Option<f32>) {
        let Some(entry) = self.legs.get_mut(&leg) else {
            return;
        };
        entry.gains = (
            input_db.unwrap_or(entry.gains.0),
            output_db.unwrap_or(entry.gains.1),
        );
        let (input_db, output_db) = entry.gains;
        self.hand(leg.worker).command(Command::SetGains {
            leg,
            input_db,
            output_db,
        });
    }

    /// The next event. Call until there is none whenever [`notifier`](Self::notifier) is readable, and once in a while:
    /// this is also where what workers gave back is freed, and where commands that found a full ring go on.
    pub fn poll(&mut self) -> Option<Event> {
        for hand in &mut self.workers {
            hand.flush();
            while let Ok(garbage) = hand.garbage.pop() {
                match garbage {
                    Garbage::Leg(leg, sockets) => {
                        // The next leg of this place must not find the poller's entry of this one.
                        drop(sockets);
                        hand.free_legs.push(leg.id.index);
                        self.housing.vacate(leg.id);
                        if let Some(entry) = self.legs.remove(&leg.id) {
                            hand.load[entry.phase] -= 1;
                        }
                    }
                    Garbage::Room(room) => hand.free_rooms.push(room.id.index),
                    Garbage::Sockets(_)
                    | Garbage::Update(_)
                    | Garbage::Encoder(_)
                    | Garbage::Members(_)
                    | Garbage::Sound(_) => {}
                }
            }
        }
        self.workers
            .iter_mut()
            .find_map(|hand| hand.events.pop().ok())
    }

    /// A place for a leg on the worker, and in the phase, of a conference.
    pub(super) fn reserve_leg(&mut self, near: RoomId) -> Result<(LegId, usize), EngineError> {
        let full = EngineError::Full {
            what: "legs",
            limit: self.config.legs,
        };
        if self.legs.len() >= self.config.legs {
            return Err(full);
        }
        let serial = self.serial();
        let phase = self.rooms.get(&near).map_or(0, |room| room.phase);
        let hand = self.hand(near.worker);
        if hand.has_ended() {
            return Err(EngineError::WorkerEnded);
        }
        let id = LegId {
            worker: near.worker,
            index: hand.free_legs.pop().ok_or(full)?,
            serial,
        };
        Ok((id, phase))
    }

    /// Sends a leg to its worker, and registers it.
    pub(super) fn begin_leg(
        &mut self,
        leg: Leg,
        sockets: Option<LegSockets>,
        transport: Transport,
    ) {
        let id = leg.id;
        let entry = LegEntry {
            transport,
            meter: Arc::clone(&leg.meter),
            room: None,
            phase: leg.phase,
            gains: (0.0, 0.0),
            closing: false,
        };
        let hand = self.hand(id.worker);
        hand.load[entry.phase] += 1;
        hand.command(Command::OpenLeg {
            leg: Box::new(leg),
            sockets,
        });
        self.legs.insert(id, entry);
    }

    fn serial(&mut self) -> u32 {
        let serial = self.next_serial;
        self.next_serial = serial.wrapping_add(1);
        serial
    }

    pub(super) fn hand(&mut self, worker: u16) -> &mut Hand {
        &mut self.workers[usize::from(worker)]
    }
}

impl Drop for Engine {
    /// Ends all workers; their legs say BYE in RTCP.
    fn drop(&mut self) {
        for hand in &mut self.workers {
            hand.begin_shutdown();
        }
        for hand in &mut self.workers {
            hand.finish_shutdown();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn engine(workers: usize) -> Engine {
        let config = EngineConfig {
            workers,
            cpus: Vec::new(),
            priority: None,
            legs: 4,
            rooms: 4,
            policy: LegPolicy::default(),
        };
        Engine::start(config).expect("an engine")
    }

    fn end(engine: &mut Engine, worker: usize) {
        engine.workers[worker].begin_shutdown();
        while !engine.workers[worker].has_ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_worker_that_ended_is_given_no_more_conferences() {
        let _alone = crate::engine::tests::alone();
        let mut engine = engine(2);
        end(&mut engine, 0);
        for _ in 0..4 {
            assert_eq!(engine.open_room(None).expect("a conference").worker, 1);
        }
        assert!(engine.reports()[0].dead);
        end(&mut engine, 1);
        assert!(matches!(
            engine.open_room(None),
            Err(EngineError::WorkerEnded)
        ));
    }
}
