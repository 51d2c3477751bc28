//! One conference on several workers, in virtual time: each worker's plane is woken when a test says so.

use std::collections::BTreeMap;

use proptest::prelude::*;
use unisono_mixer::{SampleRate, StripSettings};
use unisono_rtp::codec::Codec;

use super::phone::Hall;
use crate::engine::phase::PHASES;
use crate::engine::rehearsal::Rehearsal;
use crate::engine::{LegId, LegPolicy, RingEnd, RoomId};

const SLOTS: u64 = PHASES as u64;

/// A voice's frames are numbers, which are heard in any sum of three voices: each has a digit of its own.
const DIGITS: i16 = 31;
const WEIGHTS: [i16; 3] = [1, DIGITS + 1, (DIGITS + 1) * (DIGITS + 1)];

/// Somebody who says one number after the other, on the true clock, whatever the workers do.
struct Voice {
    leg: LegId,
    end: RingEnd,
    weight: i16,
    said: i16,
    /// What it heard.
    heard: Vec<i16>,
}

/// One worker with a voice, a listener, and a part of the conference.
struct Wing {
    hall: Hall,
    room: RoomId,
    phase: u64,
    voice: Voice,
    /// The interval in which the listener was sent what.
    heard: BTreeMap<u64, i16>,
    /// It does not wake before.
    asleep_until: u64,
}

/// A conference over several workers.
struct House {
    wings: Vec<Wing>,
    slot: u64,
    /// What was heard up to this interval is not looked at any more.
    forgotten: u64,
}

fn policy() -> LegPolicy {
    LegPolicy {
        strip: StripSettings {
            gate_dbov: None,
            ..StripSettings::default()
        },
        ..LegPolicy::default()
    }
}

impl Wing {
    fn new(number: usize, phase: u64) -> Self {
        let mut hall = Hall::with_policy(policy());
        hall.plane = Rehearsal::new(8, 4, policy()).as_worker(number as u16);
        let room = hall.plane.open_room(phase as usize, None);
        let listener = hall.call_with(Codec::L16 { rate: 8000 });
        hall.plane.join(hall.leg(listener), room);
        let (leg, end) = hall.plane.open_ring_leg(SampleRate::Hz8000);
        hall.plane.join(leg, room);
        let voice = Voice {
            leg,
            end,
            weight: WEIGHTS[number],
            said: 0,
            heard: Vec::new(),
        };
        Self {
            hall,
            room,
            phase,
            voice,
            heard: BTreeMap::new(),
            asleep_until: 0,
        }
    }

    fn wake_at(&mut self, slot: u64) {
        self.hall.plane.wake_at(slot);
        self.hall.listen();
        let last = (slot - self.phase) / SLOTS;
        let packets = std::mem::take(&mut self.hall.phones[0].heard);
        for (packet, back) in packets.iter().rev().zip(0..) {
            let end = packet.payload.len() - 2;
            let sample = i16::from_be_bytes([packet.payload[end], packet.payload[end + 1]]);
            let middle = i16::from_be_bytes([packet.payload[160], packet.payload[161]]);
            assert!(sample == middle || middle == 0, "a frame is whole");
            let twice = self.heard.insert(last - back, sample);
            assert_eq!(twice, None, "one packet an interval");
        }
    }
}

impl House {
    fn new(phases: &[u64]) -> Self {
        let wings = phases.iter().enumerate();
        let mut house = Self {
            wings: wings.map(|(n, phase)| Wing::new(n, *phase)).collect(),
            slot: 0,
            forgotten: 0,
        };
        house.slot = house.wings[0].hall.plane.slot();
        house.tie(phases.len());
        house
    }

    /// The first so many wings are one conference.
    fn tie(&mut self, wings: usize) {
        let rooms = self.wings.iter_mut().take(wings);
        let mut rooms: Vec<_> = rooms
            .map(|wing| (&mut wing.hall.plane, wing.room))
            .collect();
        Rehearsal::tie(&mut rooms);
    }

    /// A wing is a conference of its own.
    fn untie(&mut self, wing: usize) {
        let wing = &mut self.wings[wing];
        Rehearsal::tie(&mut [(&mut wing.hall.plane, wing.room)]);
    }

    /// The next slot: those of the wings that are awake do what is due, in this order.
    fn step(&mut self, order: impl IntoIterator<Item = usize>) {
        self.slot += 1;
        for wing in &mut self.wings {
            if self.slot % SLOTS == 1 {
                let voice = &mut wing.voice;
                let number = voice.said % DIGITS + 1;
                voice.end.send(&[number * voice.weight; 160]);
                voice.said = voice.said.wrapping_add(1) % (DIGITS * 1000);
                let mut frame = [0; 160];
                if voice.end.receive(&mut frame) {
                    voice.heard.push(frame[159]);
                }
            }
        }
        for number in order {
            if self.wings[number].asleep_until <= self.slot {
                self.wings[number].wake_at(self.slot);
            }
        }
    }

    fn run(&mut self, intervals: u64) {
        for _ in 0..intervals * SLOTS {
            self.step(0..self.wings.len());
        }
    }

    /// In which interval of wing `from` the voice of that wing said what wing `to` heard in each of its intervals.
    ///
    /// Asserts that it was heard there at most three intervals later, in order, and never twice.
    fn heard(&self, from: usize, to: usize) -> BTreeMap<u64, u64> {
        let mut last = None;
        let mut heard = BTreeMap::new();
        for (interval, sum) in self.wings[to].heard.range(self.forgotten + 1..) {
            let number = digit(*sum, from);
            if number == 0 {
                continue;
            }
            let said = |label: &u64| {
                let there = self.wings[from].heard.get(label);
                there.is_some_and(|sum| digit(*sum, from) == number)
            };
            let label = (interval - 3..=*interval).rev().find(said);
            let label = label.unwrap_or_else(|| panic!("{from} to {to}: {number} in {interval}"));
            assert!(
                last.is_none_or(|last| label > last),
                "{from} to {to}: twice"
            );
            last = Some(label);
            heard.insert(*interval, label);
        }
        heard
    }

    fn forget(&mut self) {
        self.forgotten = self.slot / SLOTS;
        for wing in &mut self.wings {
            wing.voice.heard.clear();
        }
    }

    fn missed(&self) -> u64 {
        let figures = self.wings.iter().map(|wing| wing.hall.plane.figures());
        figures.map(|figures| figures.sums_missed).sum()
    }
}

/// The number that a voice's is in a sum of all.
fn digit(sum: i16, voice: usize) -> i16 {
    sum / WEIGHTS[voice] % (DIGITS + 1)
}

/// Asserts that all intervals heard follow one another, and were said one after the other.
fn assert_whole(heard: &BTreeMap<u64, u64>) {
    let pairs: Vec<_> = heard.iter().collect();
    for pair in pairs.windows(2) {
        let ((at, said), (next_at, next_said)) = (pair[0], pair[1]);
        assert_eq!((*next_at, *next_said), (at + 1, said + 1));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Late by less than 5 ms, in any order: everybody hears everybody's every sample once, and nobody itself.
    #[test]
    fn everybody_is_heard_exactly_once_by_everybody_else(
        phases in prop::sample::select(vec![vec![0, 4], vec![3, 7], vec![6, 2], vec![0, 3, 5], vec![2, 7, 5], vec![1, 1, 1]]),
        late in prop::collection::vec((0..3_u64, 0..3_u64, 0..3_u64, any::<bool>()), 100),
    ) {
        let mut house = House::new(&phases);
        let wings = phases.len();
        house.run(20);
        house.forget();
        for (a, b, c, backwards) in late {
            let late = [a % 2, b % 2, c % 2];
            for _ in 0..SLOTS {
                for (wing, late) in house.wings.iter_mut().zip(late) {
                    let due = (house.slot + 1) % SLOTS == wing.phase;
                    if due {
                        wing.asleep_until = house.slot + 1 + late;
                    }
                }
                let forwards = 0..wings;
                if backwards {
                    house.step(forwards.rev());
                } else {
                    house.step(forwards);
                }
            }
        }
        prop_assert_eq!(house.missed(), 0);
        for from in 0..wings {
            for to in 0..wings {
                let heard = house.heard(from, to);
                prop_assert!(heard.len() >= 99);
                assert_whole(&heard);
            }
            let own = house.wings[from].voice.heard.iter();
            prop_assert!(own.clone().count() > 90);
            for sum in own {
                prop_assert_eq!(digit(*sum, from), 0, "nobody hears itself");
            }
        }
        // All rest: the rooms' numbers agree, so each sum was added once a room and interval.
        for wing in &house.wings {
            let figures = wing.hall.plane.figures();
            prop_assert!(figures.sums_added >= 100 * (wings as u64 - 1));
        }
    }

    /// However late they are, and however long they stand still: nothing is heard twice or out of order, nothing more than
    /// three intervals later; and once they keep time again, everything is heard.
    #[test]
    fn stalls_are_silence_and_leave_nothing_behind(
        phases in prop::sample::select(vec![vec![0, 4], vec![6, 2], vec![0, 3, 5]]),
        stalls in prop::collection::vec((0..60_u64, 0..3_usize, 1..60_u64), 1..20),
    ) {
        let mut house = House::new(&phases);
        let wings = phases.len();
        house.run(10);
        for (pause, who, length) in stalls {
            for _ in 0..pause {
                house.step(0..wings);
            }
            let wing = &mut house.wings[who % wings];
            wing.asleep_until = wing.asleep_until.max(house.slot + length);
        }
        house.run(10);
        for from in 0..wings {
            for to in 0..wings {
                house.heard(from, to);
            }
        }
        // The rings of the voices need two seconds to lose what the stalls left in them.
        house.run(150);
        house.forget();
        let missed = house.missed();
        house.run(50);
        prop_assert_eq!(house.missed(), missed);
        for from in 0..wings {
            for to in 0..wings {
                let heard = house.heard(from, to);
                prop_assert!(heard.len() >= 47, "{} {}: {:?}", from, to, heard);
                assert_whole(&heard);
            }
        }
    }
}

#[test]
fn a_worker_that_stands_still_for_100_ms_is_silence_to_the_others_meanwhile() {
    let mut house = House::new(&[0, 4]);
    house.run(20);
    house.forget();
    house.wings[1].asleep_until = house.slot + 5 * SLOTS;
    house.run(5);
    assert!((4..=5).contains(&house.missed()), "{}", house.missed());
    assert!(house.heard(1, 0).is_empty() || house.heard(1, 0).len() <= 1);
    assert_whole(&house.heard(0, 0));
    house.run(30);
    assert!((4..=6).contains(&house.missed()), "{}", house.missed());
    let heard = house.heard(1, 0);
    assert!(heard.len() >= 27, "{}", heard.len());
    assert_whole(&house.heard(0, 0));
}

#[test]
fn a_room_that_comes_later_is_heard_and_what_was_heard_before_goes_on() {
    let mut house = House::new(&[0, 4, 2]);
    house.tie(2);
    house.untie(2);
    house.run(20);
    house.forget();
    house.run(10);
    assert!(house.heard(2, 0).is_empty() && house.heard(0, 2).is_empty());
    house.tie(3);
    house.run(10);
    house.tie(2);
    house.untie(2);
    house.run(10);
    assert_whole(&house.heard(0, 1));
    assert_whole(&house.heard(1, 0));
    for (from, to) in [(2, 0), (0, 2), (2, 1)] {
        let heard = house.heard(from, to);
        assert!((9..=11).contains(&heard.len()));
        assert_whole(&heard);
    }
    assert_eq!(house.missed(), 0);
    let garbage = |wing: &Wing| wing.hall.plane.stage.garbage_count();
    assert_eq!(
        house.wings.iter().map(garbage).sum::<usize>(),
        0,
        "listen frees it"
    );
}

#[test]
fn a_room_without_members_is_not_waited_for() {
    let mut house = House::new(&[0, 4]);
    house.run(20);
    let listener = house.wings[1].hall.leg(0);
    let voice = house.wings[1].voice.leg;
    house.wings[1].hall.plane.leave(voice);
    house.wings[1].hall.plane.leave(listener);
    house.run(1);
    house.forget();
    house.run(20);
    assert_eq!(house.missed(), 0);
    assert!(house.heard(1, 0).is_empty());
    let room = house.wings[1].room;
    house.wings[1].hall.plane.join(voice, room);
    house.wings[1].hall.plane.join(listener, room);
    house.run(30);
    assert_eq!(house.missed(), 0);
    assert!(house.heard(1, 0).len() >= 27);
    assert_whole(&house.heard(1, 0));
}
