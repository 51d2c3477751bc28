//! Who is not heard is not decoded, but stays known: its level, its digits' place in time, and its first word.

use unisono_rtp::codec::Codec;

use super::phone::Hall;

/// Intervals in which everybody's level is measured at least once.
const MEASURED: usize = 128;

/// Two phones in a conference, of which the first talks.
fn two(codec: Codec) -> Hall {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for _ in 0..2 {
        let phone = hall.call_with(codec);
        hall.plane.join(hall.leg(phone), room);
    }
    hall.phones[0].tone = Some(440.0);
    hall.run(60);
    hall
}

#[test]
fn somebody_muted_is_still_measured_and_heard_at_once_afterwards() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        let mut hall = two(codec);
        let loud = hall.plane.leg_figures(hall.leg(0)).unwrap();
        assert!(loud.talking);
        assert!(loud.level_in_cb > -2500, "{codec:?}: {}", loud.level_in_cb);

        hall.plane.set_muted(hall.leg(0), true);
        hall.run(MEASURED);
        let muted = hall.plane.leg_figures(hall.leg(0)).unwrap();
        assert!(!muted.talking);
        assert!(
            (muted.level_in_cb - loud.level_in_cb).abs() < 300,
            "{codec:?}: {} is not {}",
            muted.level_in_cb,
            loud.level_in_cb
        );
        hall.forget();
        hall.run(10);
        assert!(hall.phones[1].amplitude(440.0, 0.2) < 100.0, "{codec:?}");

        hall.plane.set_muted(hall.leg(0), false);
        hall.run(20);
        let heard = hall.phones[1].amplitude(440.0, 0.2);
        assert!(heard > 4000.0, "{codec:?}: {heard}");
    }
}

#[test]
fn the_level_of_who_falls_silent_does_not_stand_still() {
    let mut hall = two(Codec::Pcmu);
    hall.phones[0].tone = None;
    hall.run(MEASURED);
    let figures = hall.plane.leg_figures(hall.leg(0)).unwrap();
    assert_eq!(figures.level_in_cb, -12_700);
}
