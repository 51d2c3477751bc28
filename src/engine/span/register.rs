//! The control plane's register of conferences and their rooms: one room a conference and worker, where it has legs.

use std::sync::Arc;

use unisono_mixer::SampleRate;
use unisono_rtp::codec::Codec;

use super::broadcast::Broadcast;
use super::seating::{self, Place};
use super::{End, Ties};
use crate::engine::command::Command;
use crate::engine::hand::Hand;
use crate::engine::player::Sound;
use crate::engine::registry::{Engine, EngineError, Transport};
use crate::engine::room::{Room, SharedEncoder};
use crate::engine::{ConferenceId, LegId, RoomId};

/// Members a room has space for at first; the list grows by doubling, on this side.
const FIRST_MEMBERS: usize = 16;

/// A conference on the media plane.
#[derive(Debug)]
pub(in crate::engine) struct Conference {
    /// The rate that its rooms are mixed at; `None` is the highest of those who take part in a room.
    rate: Option<SampleRate>,
    /// At most one on each worker; those that have legs.
    rooms: Vec<RoomEntry>,
}

/// What of a conference lives on one worker.
#[derive(Debug)]
struct RoomEntry {
    id: RoomId,
    phase: usize,
    /// Legs opened for it, whether they have joined or not.
    legs: usize,
    members: usize,
    /// Members the worker's list has space for.
    capacity: usize,
    formats: Vec<Codec>,
    /// Made when the conference first has another room.
    broadcast: Option<Arc<Broadcast>>,
}

impl Conference {
    fn on(&self, worker: u16) -> Option<&RoomEntry> {
        self.rooms.iter().find(|room| room.id.worker == worker)
    }

    fn on_mut(&mut self, worker: u16) -> Option<&mut RoomEntry> {
        self.rooms.iter_mut().find(|room| room.id.worker == worker)
    }
}

impl Engine {
    /// Opens a conference. It takes no place on a worker until a leg is opened for it. `rate` fixes the rate it is mixed at; with
    /// `None` that is the highest of those who take part.
    ///
    /// # Errors
    /// [`EngineError::Full`], [`EngineError::WorkerEnded`] when no worker is left.
    pub fn open_conference(
        &mut self,
        rate: Option<SampleRate>,
    ) -> Result<ConferenceId, EngineError> {
        if self.workers.iter().all(Hand::has_ended) {
            return Err(EngineError::WorkerEnded);
        }
        let limit = self.config.rooms;
        if self.conferences.len() >= limit {
            return Err(EngineError::Full {
                what: "conferences",
                limit,
            });
        }
        let id = ConferenceId(self.serial());
        let rooms = Vec::new();
        self.conferences.insert(id, Conference { rate, rooms });
        Ok(id)
    }

    /// Ends a conference. Legs that are still in it stay connected, outside any.
    pub fn close_conference(&mut self, conference: ConferenceId) {
        let Some(entry) = self.conferences.remove(&conference) else {
            return;
        };
        if !entry.rooms.is_empty() {
            for leg in self.legs.values_mut() {
                leg.near = leg.near.filter(|near| *near != conference);
                leg.conference = leg.conference.filter(|joined| *joined != conference);
            }
        }
        for room in entry.rooms {
            self.hand(room.id.worker)
                .command(Command::CloseRoom(room.id));
        }
    }

    /// The workers that mix a conference, each with how many take part there.
    pub fn seats(&self, conference: ConferenceId) -> impl Iterator<Item = (usize, usize)> {
        let rooms = self.conferences.get(&conference).map(|entry| &*entry.rooms);
        let rooms = rooms.unwrap_or_default().iter();
        rooms.map(|room| (room.id.worker.into(), room.members))
    }

    /// Rooms on all workers, and conferences that have more than one.
    pub fn room_counts(&self) -> (usize, usize) {
        let rooms = self.conferences.values().map(|entry| entry.rooms.len());
        let split = rooms.clone().filter(|count| *count > 1).count();
        (rooms.sum(), split)
    }

    /// Lets a leg take part in a conference. One that it was not opened for may have no room on the leg's worker, and no place for
    /// one: then the leg stays where it is.
    pub fn join(&mut self, leg: LegId, conference: ConferenceId) {
        let Some(entry) = self.legs.get(&leg).filter(|entry| !entry.closing) else {
            return;
        };
        let near = entry.near;
        if near != Some(conference) {
            if !self.conferences.contains_key(&conference)
                || self.occupy(conference, leg.worker).is_none()
            {
                return;
            }
            self.vacate(leg);
            if let Some(entry) = self.legs.get_mut(&leg) {
                entry.near = Some(conference);
            }
        }
        let (Some(entry), Some(rooms)) = (
            self.legs.get_mut(&leg),
            self.conferences.get_mut(&conference),
        ) else {
            return;
        };
        let Some(room) = rooms.on_mut(leg.worker) else {
            return;
        };
        let before = entry.conference.replace(conference);
        let codec = match &entry.transport {
            Transport::Rtp(media) => Some(media.codec),
            Transport::Rings(_) => None,
        };
        room.members += usize::from(before != Some(conference));
        let new_format = codec.filter(|codec| !room.formats.contains(codec));
        let encoder = new_format.map(|codec| {
            room.formats.push(codec);
            Box::new(SharedEncoder::new(codec))
        });
        let members = (room.members > room.capacity).then(|| {
            room.capacity *= 2;
            Vec::with_capacity(room.capacity)
        });
        let (id, to) = (room.id, room.phase);
        let from = std::mem::replace(&mut entry.phase, to);
        if let Some(before) = before.filter(|before| *before != conference) {
            self.count_out(before, leg.worker);
        }
        let hand = self.hand(leg.worker);
        hand.load[from] -= 1;
        hand.load[to] += 1;
        hand.command(Command::Join {
            leg,
            room: id,
            encoder,
            members,
        });
    }

    /// Takes a leg out of its conference; it stays connected.
    pub fn leave(&mut self, leg: LegId) {
        let entry = self.legs.get_mut(&leg);
        let Some(conference) = entry.and_then(|entry| entry.conference.take()) else {
            return;
        };
        self.count_out(conference, leg.worker);
        self.hand(leg.worker).command(Command::Leave(leg));
    }

    /// Plays sounds, at [`ANNOUNCEMENT_RATE`](crate::engine::ANNOUNCEMENT_RATE), to everybody in a conference. Each of its
    /// rooms plays them to its own members, so that they go on for the others whoever leaves.
    pub fn announce(&mut self, conference: ConferenceId, sounds: impl IntoIterator<Item = Sound>) {
        let Some(entry) = self.conferences.get(&conference) else {
            return;
        };
        let rooms: Vec<RoomId> = entry.rooms.iter().map(|room| room.id).collect();
        for sound in sounds {
            for room in &rooms {
                let sound = Arc::clone(&sound);
                let command = Command::Announce { room: *room, sound };
                self.hand(room.worker).command(command);
            }
        }
    }

    /// A worker and phase for a leg of a conference, where its room counts it from now on. For a conference that is gone, any worker.
    pub(in crate::engine) fn seat(
        &mut self,
        conference: ConferenceId,
    ) -> Result<(u16, usize), EngineError> {
        if self.workers.iter().all(Hand::has_ended) {
            return Err(EngineError::WorkerEnded);
        }
        let full = EngineError::Full {
            what: "legs",
            limit: self.config.legs,
        };
        let worker = self.next_worker(conference).ok_or(full)?;
        Ok((worker, self.occupy(conference, worker).unwrap_or(0)))
    }

    /// The worker that the next leg of a conference is to be on.
    pub(in crate::engine) fn next_worker(&self, conference: ConferenceId) -> Option<u16> {
        let entry = self.conferences.get(&conference);
        let places = self.workers.iter().enumerate().map(|(number, hand)| Place {
            is_free: !hand.has_ended() && !hand.free_legs.is_empty(),
            has_room: !hand.free_rooms.is_empty(),
            is_crowded: self.busyness[number].is_crowded() || hand.level().refuses(),
            legs: hand.load.iter().sum(),
            near: entry
                .and_then(|entry| entry.on(number as u16))
                .map(|room| room.legs),
        });
        let places: Vec<Place> = places.collect();
        let worker = seating::choose(&places, self.config.split_above)?;
        Some(worker as u16)
    }

    /// Counts one more leg in a conference's room on a worker, which is opened where there is none, and returns its
    /// phase. `None` when there is no place for a room, or no such conference.
    fn occupy(&mut self, conference: ConferenceId, worker: u16) -> Option<usize> {
        let entry = self.conferences.get_mut(&conference)?;
        if let Some(room) = entry.on_mut(worker) {
            room.legs += 1;
            return Some(room.phase);
        }
        let rate = entry.rate;
        let others: Vec<usize> = entry.rooms.iter().map(|room| room.phase).collect();
        let serial = self.serial();
        let hand = self.hand(worker);
        let index = hand.free_rooms.pop()?;
        let phase = seating::phase(&hand.load, &others);
        let id = RoomId {
            worker,
            index,
            serial,
        };
        hand.command(Command::OpenRoom(Box::new(Room::new(
            id,
            phase,
            rate,
            FIRST_MEMBERS,
        ))));
        let room = RoomEntry {
            id,
            phase,
            legs: 1,
            members: 0,
            capacity: FIRST_MEMBERS,
            formats: Vec::new(),
            broadcast: None,
        };
        self.conferences.get_mut(&conference)?.rooms.push(room);
        self.tie(conference);
        Some(phase)
    }

    /// The leg is not, or not any more, one of the conference it was opened for; a room without legs is closed.
    pub(in crate::engine) fn vacate(&mut self, leg: LegId) {
        let near = self.legs.get_mut(&leg).and_then(|leg| leg.near.take());
        if let Some(near) = near {
            self.give_up(near, leg.worker);
        }
    }

    /// Counts one leg less in a conference's room on a worker, and closes the room after its last one.
    pub(in crate::engine) fn give_up(&mut self, conference: ConferenceId, worker: u16) {
        let Some(entry) = self.conferences.get_mut(&conference) else {
            return;
        };
        let Some(room) = entry.on_mut(worker) else {
            return;
        };
        room.legs -= 1;
        if room.legs == 0 {
            let id = room.id;
            entry.rooms.retain(|room| room.id != id);
            self.hand(worker).command(Command::CloseRoom(id));
            self.tie(conference);
        }
    }

    fn count_out(&mut self, conference: ConferenceId, worker: u16) {
        let entry = self.conferences.get_mut(&conference);
        if let Some(room) = entry.and_then(|entry| entry.on_mut(worker)) {
            room.members -= 1;
        }
    }

    /// Ties the rooms of a conference to one another, after one came or went.
    fn tie(&mut self, conference: ConferenceId) {
        let workers = self.workers.len();
        let Some(entry) = self.conferences.get_mut(&conference) else {
            return;
        };
        let rooms = &mut entry.rooms;
        let ends: Vec<End> = match &mut rooms[..] {
            [] => return,
            [only] => {
                // One that was always alone has nothing to untie.
                if only.broadcast.take().is_some() {
                    let (room, ties) = (only.id, None);
                    self.hand(room.worker).command(Command::Tie { room, ties });
                }
                return;
            }
            rooms => rooms
                .iter_mut()
                .map(|room| End {
                    room: room.id,
                    broadcast: Arc::clone(room.broadcast.get_or_insert_default()),
                    offset_ns: seating::offset_ns(room.phase, room.id.worker.into(), workers),
                })
                .collect(),
        };
        for (own, end) in ends.iter().enumerate() {
            let ties = Some(Box::new(Ties::new(&ends, own)));
            let room = end.room;
            self.hand(room.worker).command(Command::Tie { room, ties });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::{EngineConfig, LegPolicy};

    fn engine(workers: usize) -> Engine {
        let config = EngineConfig {
            workers,
            cpus: Vec::new(),
            priority: None,
            legs: 4,
            rooms: 4,
            split_above: 2,
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

    /// Opens a leg by rings for a conference, and lets it join.
    fn member(engine: &mut Engine, conference: ConferenceId) -> LegId {
        let (leg, _) = engine
            .open_ring_leg(SampleRate::Hz8000, conference)
            .expect("a leg");
        engine.join(leg, conference);
        leg
    }

    fn seats(engine: &Engine, conference: ConferenceId) -> Vec<(usize, usize)> {
        engine.seats(conference).collect()
    }

    #[test]
    fn a_worker_that_ended_is_given_no_more_legs() {
        let _alone = crate::engine::tests::alone();
        let mut engine = engine(2);
        end(&mut engine, 0);
        let conference = engine.open_conference(None).expect("a conference");
        for _ in 0..4 {
            assert_eq!(member(&mut engine, conference).worker, 1);
        }
        assert!(engine.reports()[0].dead);
        end(&mut engine, 1);
        assert!(matches!(
            engine.open_conference(None),
            Err(EngineError::WorkerEnded)
        ));
    }

    #[test]
    fn a_conference_has_a_room_where_it_has_legs_and_all_memory_comes_back() {
        let _alone = crate::engine::tests::alone();
        let mut engine = engine(2);
        let conference = engine.open_conference(None).expect("a conference");
        assert_eq!(engine.room_counts(), (0, 0));
        let legs: Vec<LegId> = (0..4).map(|_| member(&mut engine, conference)).collect();
        assert_eq!(seats(&engine, conference), [(0, 2), (1, 2)]);
        assert_eq!(engine.room_counts(), (2, 1));
        assert!(matches!(
            engine.open_ring_leg(SampleRate::Hz8000, conference),
            Err(EngineError::Full { what: "legs", .. })
        ));
        engine.leave(legs[0]);
        assert_eq!(seats(&engine, conference), [(0, 1), (1, 2)]);
        engine.close_leg(legs[0]);
        engine.close_leg(legs[1]);
        assert_eq!(seats(&engine, conference), [(1, 2)]);
        assert_eq!(engine.room_counts(), (1, 0));
        engine.close_conference(conference);
        engine.close_leg(legs[2]);
        engine.close_leg(legs[3]);
        assert_eq!(engine.room_counts(), (0, 0));
        while engine.leg_count() > 0 || engine.workers.iter().any(|hand| hand.free_rooms.len() < 4)
        {
            engine.poll();
            std::thread::sleep(Duration::from_millis(1));
        }
        let load = |hand: &Hand| hand.load.iter().sum::<usize>();
        assert_eq!(engine.workers.iter().map(load).sum::<usize>(), 0);
    }

    #[test]
    fn a_leg_may_join_a_conference_that_has_no_room_on_its_worker() {
        let _alone = crate::engine::tests::alone();
        let mut engine = engine(2);
        let first = engine.open_conference(None).expect("a conference");
        let second = engine.open_conference(None).expect("a conference");
        let stays = member(&mut engine, first);
        let moves = member(&mut engine, second);
        assert_eq!((stays.worker, moves.worker), (0, 1));
        engine.join(moves, first);
        assert_eq!(seats(&engine, first), [(0, 1), (1, 1)]);
        assert_eq!(seats(&engine, second), []);
        engine.join(moves, first);
        assert_eq!(seats(&engine, first), [(0, 1), (1, 1)]);
        engine.close_conference(second);
        engine.join(moves, second);
        assert_eq!(seats(&engine, first), [(0, 1), (1, 1)], "it is gone");
    }

    #[test]
    fn there_are_as_many_conferences_as_were_agreed_on() {
        let _alone = crate::engine::tests::alone();
        let mut engine = engine(2);
        let conferences: Vec<_> = (0..4).map(|_| engine.open_conference(None)).collect();
        assert!(conferences.iter().all(Result::is_ok));
        assert!(matches!(
            engine.open_conference(None),
            Err(EngineError::Full {
                what: "conferences",
                limit: 4
            })
        ));
    }
}
