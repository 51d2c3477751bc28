//! What grows with what, counted: encodes, intervals, packets.

use unisono_mixer::SampleRate;
use unisono_rtp::codec::Codec;

use super::alone;
use super::phone::Hall;
use super::sockets::eventually;
use crate::engine::rehearsal::Rehearsal;
use crate::engine::{Engine, EngineConfig, LegPolicy, WorkerFigures};

const TONES: [f32; 3] = [450.0, 850.0, 1450.0];

/// A conference of so many, of whom the first `talkers` talk; what the worker counts in 100 intervals.
fn counted(codec: Codec, members: usize, talkers: usize) -> WorkerFigures {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for number in 0..members {
        let phone = hall.call_with(codec);
        hall.phones[phone].tone = TONES.get(number).filter(|_| number < talkers).copied();
        hall.plane.join(hall.leg(phone), room);
    }
    // Long enough for G.722 to have joined the shared stream.
    hall.run(300);
    let before = hall.plane.figures();
    hall.forget();
    hall.run(100);
    for phone in &hall.phones {
        assert_eq!(phone.heard.len(), 100, "everybody is sent everything");
    }
    let after = hall.plane.figures();
    WorkerFigures {
        intervals: after.intervals - before.intervals,
        encodes: after.encodes - before.encodes,
        ..WorkerFigures::default()
    }
}

#[test]
fn more_listeners_cost_no_encode() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for talkers in [1, 3] {
            for members in [8, 16] {
                let counts = counted(codec, members, talkers);
                assert_eq!(counts.intervals, 100);
                let expected = 100 * (talkers as u64 + 1);
                // One talker alone hears nobody, which is encoded for it alone.
                assert_eq!(
                    counts.encodes, expected,
                    "{codec:?}, {members} members, {talkers} talk"
                );
            }
        }
    }
}

#[test]
fn a_conference_of_two_costs_two_legs_and_silence_one_encode() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        assert_eq!(counted(codec, 2, 2).encodes, 200, "each hears the other");
        for members in [2, 10, 40] {
            assert_eq!(
                counted(codec, members, 0).encodes,
                100,
                "{members} in silence"
            );
        }
    }
}

#[test]
fn who_is_deaf_costs_a_packet_a_second_and_hears_at_once_afterwards() {
    for codec in [Codec::Pcmu, Codec::Opus] {
        let mut hall = Hall::new();
        let room = hall.plane.open_room(0, None);
        for number in 0..10 {
            let phone = hall.call_with(codec);
            hall.phones[phone].tone = (number == 0).then_some(TONES[0]);
            hall.plane.join(hall.leg(phone), room);
            hall.plane.set_deaf(hall.leg(phone), number > 1);
        }
        hall.run(100);
        let before = hall.plane.figures().encodes;
        hall.forget();
        hall.run(100);
        // What all hear and what the talker hears; and a packet of silence a second.
        let encodes = hall.plane.figures().encodes - before;
        assert_eq!(encodes, 200 + 8 * 2, "{codec:?}");
        assert_eq!(hall.phones[1].heard.len(), 100);
        for deaf in 2..10 {
            assert_eq!(hall.phones[deaf].heard.len(), 2, "{codec:?}");
            hall.plane.set_deaf(hall.leg(deaf), false);
        }
        hall.run(30);
        let units = codec.clock_rate() / 50;
        for phone in &hall.phones[2..] {
            let again = &phone.heard[2..];
            assert_eq!(again.len(), 30, "{codec:?}");
            assert!(again[0].marker);
            assert!(phone.amplitude(TONES[0], 0.4) > 4500.0, "{codec:?}");
            for pair in phone.heard.windows(2) {
                let intervals = (pair[1].tick - pair[0].tick) as u32;
                let passed = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
                assert_eq!(passed, intervals * units);
                assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            }
        }
    }
}

#[test]
fn ten_thousand_conferences_of_nobody_need_no_tick_and_delay_no_other() {
    let mut plane = Rehearsal::new(4, 10_001, LegPolicy::default());
    for n in 0..10_000 {
        plane.open_room(n % 8, None);
    }
    for _ in 0..1000 {
        plane.tick();
    }
    assert!(plane.is_idle());
    assert_eq!(plane.figures(), WorkerFigures::default());

    let mut hall = Hall::new();
    std::mem::swap(&mut hall.plane, &mut plane);
    let room = hall.plane.open_room(3, None);
    for tone in [450.0, 850.0] {
        let phone = hall.call_with(Codec::Pcmu);
        hall.phones[phone].tone = Some(tone);
        hall.plane.join(hall.leg(phone), room);
    }
    hall.run(50);
    let before = hall.plane.figures();
    hall.run(100);
    let after = hall.plane.figures();
    assert_eq!(
        after.intervals - before.intervals,
        100,
        "one phase, once an interval"
    );
    assert_eq!(after.encodes - before.encodes, 200);
    for phone in 0..2 {
        hall.plane.close_leg(hall.leg(phone));
    }
    assert!(hall.plane.is_idle());
}

#[test]
fn a_worker_with_ten_thousand_idle_conferences_sleeps() {
    const CONFERENCES: usize = 10_000;
    let _alone = alone();
    let mut engine = Engine::start(EngineConfig {
        workers: 1,
        cpus: Vec::new(),
        priority: None,
        legs: 4,
        rooms: CONFERENCES,
        split_above: 0,
        policy: LegPolicy::default(),
    })
    .unwrap();
    for _ in 0..2 {
        let conferences: Vec<_> = (0..CONFERENCES)
            .map(|_| engine.open_conference(None).unwrap())
            .collect();
        assert!(engine.open_conference(None).is_err());
        // One has a room on the worker from its first leg to its last.
        let (leg, _) = engine
            .open_ring_leg(SampleRate::Hz8000, conferences[CONFERENCES / 2])
            .unwrap();
        assert_eq!(engine.room_counts(), (1, 0));
        engine.close_leg(leg);
        assert!(eventually(|| {
            while engine.poll().is_some() {}
            engine.leg_count() == 0 && engine.workers[0].free_rooms.len() == CONFERENCES
        }));
        for conference in conferences {
            engine.close_conference(conference);
        }
    }
    let report = &engine.reports()[0];
    assert_eq!(report.lateness.count(), 0, "no tick was ever waited for");
    assert_eq!(
        (report.figures.intervals, report.figures.load_permille),
        (0, 0)
    );
}
