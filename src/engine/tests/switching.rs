//! From the shared stream to an own one and back: nobody hears the seam.

use unisono_rtp::codec::Codec;

use super::phone::Hall;

/// In each of two conferences one talks and two listen; a listener of the first talks now and then, one of the second
/// hears the same voice, always from an encoder of its own. The largest difference of what these two are sent.
fn seam(codec: Codec, talks: bool) -> i32 {
    let mut hall = Hall::new();
    for _ in 0..2 {
        let room = hall.plane.open_room(0, None);
        for _ in 0..3 {
            let phone = hall.call_with(codec);
            hall.plane.join(hall.leg(phone), room);
        }
    }
    hall.phones[0].tone = Some(700.0);
    hall.phones[3].tone = Some(700.0);
    // A gain of next to nothing gives it a mix of its own.
    hall.plane.set_gains(hall.leg(4), 0.0, 0.0001);
    hall.run(50);
    for _ in 0..4 {
        hall.phones[1].tone = talks.then_some(1100.0);
        hall.run(30);
        hall.phones[1].tone = None;
        hall.run(45);
    }
    let (switched, own) = (hall.phones[1].audio(), hall.phones[4].audio());
    hall.phones[1].assert_continuous();
    assert_eq!(switched.len(), own.len());
    let differences = switched.iter().zip(&own).skip(switched.len() / 10);
    differences
        .map(|(a, b)| (i32::from(*a) - i32::from(*b)).abs())
        .max()
        .unwrap()
}

#[test]
fn a_talker_who_falls_silent_hears_no_click() {
    for (codec, most) in [
        (Codec::Pcmu, 0),
        (Codec::L16 { rate: 16000 }, 0),
        (Codec::G722, 100),
        (Codec::Opus, 600),
    ] {
        let (still, switching) = (seam(codec, false), seam(codec, true));
        println!("{codec:?}: {still} without, {switching} with changes");
        assert!(switching <= still + most, "{codec:?}: {switching}, {still}");
    }
}
