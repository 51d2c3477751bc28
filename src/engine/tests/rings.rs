//! Legs by rings, beside legs by RTP.

use unisono_mixer::SampleRate;
use unisono_rtp::codec::Codec;

use super::phone::{Hall, amplitude};
use crate::engine::{Event, LegId, RING_FRAMES, RingEnd, RoomId};

const RATE: SampleRate = SampleRate::Hz8000;
const L16: Codec = Codec::L16 { rate: 8000 };

/// Whoever is at the far end of a leg by rings.
struct FarEnd {
    leg: LegId,
    end: RingEnd,
    heard: Vec<i16>,
    /// Intervals in which nothing came.
    gaps: usize,
    said: usize,
}

impl FarEnd {
    fn new(hall: &mut Hall, room: RoomId) -> Self {
        let (leg, end) = hall.plane.open_ring_leg(RATE);
        hall.plane.join(leg, room);
        Self {
            leg,
            end,
            heard: Vec::new(),
            gaps: 0,
            said: 0,
        }
    }

    /// Says 20 ms of something that a sample of it can be told by.
    fn say(&mut self) {
        let frame: Vec<i16> = (self.said..self.said + 160).map(said).collect();
        self.said += 160;
        self.end.send(&frame);
    }

    fn listen(&mut self) {
        let mut frame = [0; 160];
        if self.end.receive(&mut frame) {
            self.heard.extend_from_slice(&frame);
        } else {
            self.gaps += 1;
        }
    }
}

/// Loud enough to be heard, and no two seconds of it alike.
fn said(n: usize) -> i16 {
    let n = n as u32;
    (n.wrapping_mul(2_654_435_761) >> 19) as i16 - 4096
}

fn tone(n: usize) -> i16 {
    ((n as f32 * 440.0 * std::f32::consts::TAU / 8000.0).sin() * 6000.0) as i16
}

/// A hall with a phone that sends every sample as it is, and a far end.
fn phone_and_far_end() -> (Hall, FarEnd) {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(3, None);
    let phone = hall.call_with(L16);
    hall.plane.join(hall.leg(phone), room);
    let far = FarEnd::new(&mut hall, room);
    (hall, far)
}

#[test]
fn a_phone_and_a_far_end_hear_each_other_sample_for_sample() {
    let (mut hall, mut far) = phone_and_far_end();
    hall.phones[0].tone = Some(440.0);
    for _ in 0..200 {
        far.say();
        hall.run(1);
        far.listen();
    }
    let heard = hall.phones[0].audio();
    let begin = heard.iter().position(|sample| *sample != 0).unwrap();
    let begin = begin / 160 * 160;
    // The gate opens with a short fade; after that, every sample.
    assert!(begin <= 480, "heard from sample {begin} on");
    let first = (0..160 * 4)
        .step_by(160)
        .find(|first| heard[begin + 160] == said(first + 160))
        .expect("what was said");
    for n in 160..heard.len() - begin {
        assert_eq!(heard[begin + n], said(first + n), "sample {n}");
    }

    assert_eq!(far.gaps, 1, "while the first frames are gathered");
    let begin = far.heard.len() - 160 * 100;
    let late = &far.heard[begin..];
    let shift = (0..160)
        .find(|shift| (0..1000).all(|n| late[n] == tone(n + shift * 160)))
        .expect("the phone's tone, exactly");
    for (n, sample) in late.iter().enumerate() {
        assert_eq!(*sample, tone(n + shift * 160));
    }
}

#[test]
fn a_far_end_is_muted_deafened_and_measured_as_anybody() {
    let (mut hall, mut far) = phone_and_far_end();
    hall.phones[0].tone = Some(440.0);
    let run = |hall: &mut Hall, far: &mut FarEnd, ticks| {
        for _ in 0..ticks {
            far.say();
            hall.run(1);
            far.listen();
        }
    };
    run(&mut hall, &mut far, 50);
    assert!(hall.events.contains(&Event::TalkStarted(far.leg)));
    let figures = hall.plane.leg_figures(far.leg).unwrap();
    assert!(figures.talking && (-2500..-1500).contains(&figures.level_in_cb));

    hall.plane.set_muted(far.leg, true);
    hall.plane.set_deaf(far.leg, true);
    run(&mut hall, &mut far, 5);
    hall.forget();
    far.heard.clear();
    run(&mut hall, &mut far, 20);
    assert!(hall.phones[0].audio().iter().all(|sample| *sample == 0));
    assert!(far.heard.iter().all(|sample| *sample == 0));
    assert_eq!(far.heard.len(), 20 * 160, "silence is a frame too");

    hall.plane.set_muted(far.leg, false);
    hall.plane.set_deaf(far.leg, false);
    hall.plane.set_gains(far.leg, 0.0, -20.0);
    run(&mut hall, &mut far, 20);
    far.heard.clear();
    run(&mut hall, &mut far, 20);
    let heard = amplitude(&far.heard, 440.0, 8000.0);
    assert!((550.0..650.0).contains(&heard), "{heard}");
}

#[test]
fn a_far_end_that_stands_still_delays_nobody_and_goes_on_without_delay() {
    let (mut hall, mut far) = phone_and_far_end();
    hall.phones[0].tone = Some(440.0);
    for _ in 0..50 {
        far.say();
        hall.run(1);
        far.listen();
    }
    hall.forget();
    hall.run(100);
    assert_eq!(hall.phones[0].heard.len(), 100, "the phone is served on");
    hall.phones[0].assert_continuous();

    // Whatever waited for it is old, and what it says now is heard soon.
    far.heard.clear();
    hall.forget();
    for _ in 0..10 {
        far.say();
        hall.run(1);
        far.listen();
    }
    assert!(far.gaps <= 3 + RING_FRAMES, "{}", far.gaps);
    let newest = far.heard.last().copied().unwrap();
    let spoken = (50 + 100 + 10) * 160;
    let behind = (0..160 * 5).find(|behind| tone(spoken - behind - 1) == newest);
    assert!(behind.is_some(), "it hears the present");
    let heard = hall.phones[0].audio();
    assert!(heard.iter().any(|sample| *sample != 0));
}

#[test]
fn a_worker_that_stood_still_does_not_make_the_far_end_hear_the_past() {
    for missed in [1, 2, 25] {
        let (mut hall, mut far) = phone_and_far_end();
        for _ in 0..50 {
            far.say();
            hall.run(1);
            far.listen();
        }
        for _ in 0..missed {
            far.say();
            far.listen();
        }
        far.say();
        hall.plane.tick_after_stall(missed);
        hall.listen();
        far.listen();
        for _ in 0..60 {
            far.say();
            hall.run(1);
            far.listen();
        }
        // What the phone hears now was said just before.
        let heard = hall.phones[0].audio();
        let last = &heard[heard.len() - 160..];
        let behind = (0..12)
            .find(|behind| {
                let from = far.said - (behind + 1) * 160;
                last.iter()
                    .enumerate()
                    .all(|(n, sample)| *sample == said(from + n))
            })
            .expect("what was said");
        assert!(behind <= 1, "{missed} missed: {behind} frames behind");
    }
}

#[test]
fn a_leg_by_rings_outside_conferences_lets_the_worker_sleep() {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    let mut far = FarEnd::new(&mut hall, room);
    assert!(!hall.plane.is_idle());
    hall.plane.leave(far.leg);
    assert!(hall.plane.is_idle(), "it rests");
    far.say();
    far.say();

    // With a phone there it is heard again, from then on.
    let phone = hall.call_with(L16);
    hall.plane.join(hall.leg(phone), room);
    hall.plane.join(far.leg, room);
    far.said = 0;
    for _ in 0..10 {
        far.say();
        hall.run(1);
    }
    let heard = hall.phones[0].audio();
    let first = heard.iter().position(|sample| *sample != 0).unwrap();
    assert_eq!(
        heard[first / 160 * 160 + 320],
        said(320),
        "nothing from before"
    );
    hall.plane.close_leg(far.leg);
    hall.plane.close_leg(hall.leg(phone));
    assert!(hall.plane.is_idle());
}

#[test]
fn a_silent_far_end_costs_its_conference_no_mix() {
    let (mut hall, mut far) = phone_and_far_end();
    hall.phones[0].tone = None;
    for _ in 0..100 {
        far.end.send(&[0; 160]);
        hall.run(1);
        far.listen();
    }
    let figures = hall.plane.figures();
    assert!(
        figures.encodes <= 100,
        "{} encodes for one listener",
        figures.encodes
    );
    assert!(far.heard.iter().all(|sample| *sample == 0));
    assert!(hall.phones[0].audio().iter().all(|sample| *sample == 0));
}
