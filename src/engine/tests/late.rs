//! Ticks that come late.

use unisono_rtp::codec::Codec;

use super::phone::{Hall, media};
use crate::engine::MediaSpec;

fn two(codec: Codec, ptime_ms: u8) -> Hall {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(2, None);
    for number in 0..2 {
        hall.call(MediaSpec {
            ptime_ms,
            ..media(codec, number)
        });
        hall.phones[usize::from(number)].tone = Some(440.0);
        hall.plane.join(hall.leg(number.into()), room);
    }
    hall.run(51);
    hall
}

#[test]
fn up_to_two_missed_intervals_are_mixed_at_once() {
    for missed in 1..=2 {
        let mut hall = two(Codec::Pcmu, 20);
        hall.forget();
        for _ in 0..=missed {
            hall.speak();
        }
        hall.plane.tick_after_stall(missed);
        hall.listen();
        assert_eq!(hall.phones[0].heard.len() as u64, missed + 1);
        assert_eq!(hall.plane.figures().caught_up, missed);
        assert_eq!(hall.plane.figures().skipped, 0);
        hall.run(50);
        hall.phones[0].assert_continuous();
        assert!(hall.phones[0].amplitude(440.0, 0.9) > 5000.0);
    }
}

#[test]
fn after_a_longer_stall_time_jumps_once_and_nothing_is_replayed() {
    for (codec, ptime_ms) in [
        (Codec::Pcmu, 20),
        (Codec::Opus, 20),
        (Codec::Pcmu, 60),
        (Codec::Opus, 60),
    ] {
        let mut hall = two(codec, ptime_ms);
        let delay = |hall: &Hall| hall.plane.leg_figures(hall.leg(0)).unwrap().playout_ms;
        let before = delay(&hall);
        let per_interval = codec.clock_rate() / 50;
        let packets = u32::from(ptime_ms) / 20;
        let last = hall.phones[0].heard.last().unwrap().clone();
        assert_eq!(last.tick, 51);
        hall.forget();
        for _ in 0..26 {
            hall.speak();
        }
        hall.plane.tick_after_stall(25);
        hall.listen();
        hall.run(packets as usize - 1);
        assert_eq!(hall.phones[0].heard.len(), 1, "{codec:?} {ptime_ms}");
        let next = hall.phones[0].heard[0].clone();
        assert_eq!(next.sequence, last.sequence.wrapping_add(1));
        assert_eq!(
            next.timestamp.wrapping_sub(last.timestamp),
            (25 + packets) * per_interval,
            "{codec:?} {ptime_ms}"
        );
        assert!(next.marker);
        assert_eq!(hall.plane.figures().skipped, 25);
        hall.run(60);
        hall.phones[0].assert_continuous();
        assert!(
            delay(&hall) <= before + 40,
            "{} ms became {}",
            before,
            delay(&hall)
        );
    }
}
