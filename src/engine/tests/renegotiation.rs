//! A leg that changes its codec in the middle of a call.

use unisono_rtp::codec::Codec;

use super::phone::{Hall, media};

#[test]
fn the_codec_changes_in_mid_call() {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for number in 0..2 {
        hall.call_with(Codec::Pcmu);
        hall.plane.join(hall.leg(number), room);
    }
    hall.phones[0].tone = Some(500.0);
    hall.phones[1].tone = Some(900.0);
    hall.run(50);
    let first = hall.phones[0].heard.last().unwrap().clone();

    hall.update(0, media(Codec::G722, 0));
    hall.forget();
    hall.run(60);
    hall.phones[0].assert_continuous();
    let next = hall.phones[0].heard[0].clone();
    assert_eq!(next.payload_type, 9);
    assert_eq!(next.ssrc, first.ssrc, "the same clock, the same source");
    assert_eq!(next.timestamp, first.timestamp.wrapping_add(160));
    assert_eq!(next.sequence, first.sequence.wrapping_add(1));
    assert!(hall.phones[0].amplitude(900.0, 0.8) > 5000.0);
    assert!(hall.phones[1].amplitude(500.0, 0.8) > 5000.0);
    assert!(hall.phones[0].amplitude(500.0, 0.8) < 60.0);

    hall.rtcp.clear();
    hall.update(0, media(Codec::Opus, 0));
    assert_eq!(
        super::reports::goodbyes(&hall.rtcp[0].datagram),
        [first.ssrc],
        "another clock is another source (RFC 7160)"
    );
    hall.forget();
    hall.run(60);
    hall.phones[0].assert_continuous();
    assert_ne!(hall.phones[0].heard[0].ssrc, first.ssrc);
    assert!(hall.phones[0].amplitude(900.0, 0.8) > 4500.0);
    assert!(hall.phones[1].amplitude(500.0, 0.8) > 4500.0);
}

#[test]
fn a_listener_whose_codec_has_no_shared_encoder_yet_is_served_by_its_own() {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for number in 0..2 {
        hall.call_with(Codec::Pcmu);
        hall.plane.join(hall.leg(number), room);
    }
    hall.phones[0].tone = Some(500.0);
    hall.run(50);
    // The conference gets an encoder for the new format only when the leg joins anew.
    hall.update(1, media(Codec::Pcma, 1));
    hall.forget();
    hall.run(50);
    assert_eq!(hall.phones[1].heard.len(), 50);
    hall.phones[1].assert_continuous();
    assert!(hall.phones[1].amplitude(500.0, 0.8) > 5000.0);
    hall.plane.join(hall.leg(1), room);
    hall.run(50);
    hall.phones[1].assert_continuous();
}
