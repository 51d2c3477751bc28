//! What arrives for a leg: from its peer and from others.

use unisono_rtp::codec::Codec;

use super::phone::{Hall, media};
use crate::engine::rehearsal::{Mouth, address};
use crate::engine::sockets::Channel;
use crate::engine::{Event, MediaSpec};

fn two() -> Hall {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for number in 0..2 {
        hall.call_with(Codec::Pcmu);
        hall.plane.join(hall.leg(number), room);
    }
    hall
}

fn loud() -> Vec<i16> {
    (0..160)
        .map(|n| if n % 8 < 4 { 9000 } else { -9000 })
        .collect()
}

#[test]
fn a_stranger_is_not_heard_and_gets_nothing() {
    let mut hall = two();
    hall.run(20);
    let mut stranger = Mouth::new(99, &hall.phones[0].media);
    hall.forget();
    for _ in 0..50 {
        let datagram = stranger.say(&loud());
        hall.plane
            .receive(hall.phones[0].leg, Channel::Rtp, datagram, address(99));
        hall.run(1);
    }
    // That all packets go to the phones' own addresses is asserted where they are handed over.
    assert_eq!(hall.phones[0].heard.len(), 50);
    assert!(hall.phones[1].audio().iter().all(|sample| *sample == 0));
    let figures = hall.plane.leg_figures(hall.leg(0)).unwrap();
    assert_eq!(figures.foreign, 50);
    assert_eq!(hall.plane.figures().foreign, 50);
    assert_eq!(figures.packets_in, 70);
}

#[test]
fn a_peer_behind_nat_is_learnt_and_sent_to() {
    let mut hall = two();
    // Its packets come from elsewhere than it signalled.
    hall.phones[0].mouth.address = address(77);
    hall.phones[0].tone = Some(500.0);
    for _ in 0..50 {
        hall.speak();
        hall.plane.tick();
        let to: Vec<_> = hall
            .plane
            .stage
            .sent()
            .filter(|s| s.leg == hall.leg(0))
            .map(|s| s.destination)
            .collect();
        hall.tick += 1;
        if hall.tick < 4 {
            assert_eq!(to, [address(0)]);
            hall.plane.stage.clear();
        } else if hall.tick > 6 {
            hall.listen();
        } else {
            hall.plane.stage.clear();
        }
    }
    assert!(hall.phones[1].amplitude(500.0, 0.5) > 5000.0);
}

#[test]
fn a_digit_is_reported_once_however_often_its_end_is_sent() {
    let mut hall = two();
    hall.run(5);
    let leg = hall.leg(0);
    for press in 0..2 {
        let timestamp = hall.phones[0].mouth.timestamp;
        for (n, end) in [(1_u16, 0), (2, 0), (3, 0), (4, 0x80), (4, 0x80), (4, 0x80)] {
            let mouth = &mut hall.phones[0].mouth;
            let now = std::mem::replace(&mut mouth.timestamp, timestamp);
            let mut datagram = mouth.say(&[0; 160])[..12].to_vec();
            mouth.timestamp = now.wrapping_add(160);
            datagram[1] = 101;
            let [high, low] = (n * 160).to_be_bytes();
            datagram.extend_from_slice(&[5 + press, end, high, low]);
            let source = mouth.address;
            hall.plane.receive(leg, Channel::Rtp, &datagram, source);
            hall.plane.tick();
            hall.listen();
        }
    }
    let digits: Vec<_> = hall
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Digit { leg: by, digit } if *by == leg => Some(*digit),
            _ => None,
        })
        .collect();
    assert_eq!(digits, ['5', '6']);
}

#[test]
fn digits_under_another_source_leave_the_voice_alone() {
    let mut hall = two();
    hall.phones[0].tone = Some(500.0);
    hall.run(30);
    hall.forget();
    let mut gateway = Mouth::new(5, &hall.phones[0].media);
    for _ in 0..30 {
        let mut datagram = gateway.say(&[0; 160])[..12].to_vec();
        datagram[1] = 101;
        datagram.extend_from_slice(&[1, 0x80, 1, 64]);
        let (leg, source) = (hall.leg(0), hall.phones[0].mouth.address);
        hall.plane.receive(leg, Channel::Rtp, &datagram, source);
        hall.run(1);
    }
    assert!(hall.phones[1].amplitude(500.0, 0.6) > 5500.0);
    assert!(
        hall.events
            .iter()
            .any(|event| matches!(event, Event::Digit { .. }))
    );
}

#[test]
fn a_payload_type_not_agreed_on_is_counted_and_not_played() {
    let mut hall = two();
    hall.run(10);
    hall.forget();
    let (leg, source) = (hall.leg(0), hall.phones[0].mouth.address);
    for _ in 0..20 {
        let mut datagram = hall.phones[0].mouth.say(&loud()).to_vec();
        datagram[1] = 8;
        hall.plane.receive(leg, Channel::Rtp, &datagram, source);
        hall.plane.tick();
        hall.listen();
    }
    assert!(hall.phones[1].audio().iter().all(|sample| *sample == 0));
    let figures = hall.plane.leg_figures(leg).unwrap();
    assert_eq!(figures.malformed, 20);
    assert_eq!(hall.plane.figures().malformed, 20);
    assert_eq!(figures.lost_in, 0);
}

#[test]
fn a_peer_that_restarts_is_heard_again_at_once() {
    let mut hall = two();
    hall.phones[0].tone = Some(500.0);
    hall.run(50);
    let mouth = &mut hall.phones[0].mouth;
    mouth.ssrc = 0x7777_7777;
    mouth.sequence = 9;
    mouth.timestamp = 12;
    hall.run(10);
    hall.forget();
    hall.run(50);
    assert!(hall.phones[1].amplitude(500.0, 1.0) > 5500.0);
    assert_eq!(hall.phones[1].heard[0].csrcs, [0x7777_7777]);
}

#[test]
fn one_packet_far_out_of_sequence_is_not_played() {
    let mut hall = two();
    hall.run(50);
    hall.forget();
    let (leg, source) = (hall.leg(0), hall.phones[0].mouth.address);
    let mouth = &mut hall.phones[0].mouth;
    let kept = (mouth.sequence, mouth.timestamp);
    mouth.sequence = kept.0.wrapping_add(9000);
    let datagram = mouth.say(&loud()).to_vec();
    (mouth.sequence, mouth.timestamp) = kept;
    hall.plane.receive(leg, Channel::Rtp, &datagram, source);
    hall.run(20);
    assert!(hall.phones[1].audio().iter().all(|sample| *sample == 0));
    assert_eq!(hall.plane.leg_figures(leg).unwrap().lost_in, 0);
}

#[test]
fn a_leg_whose_own_source_is_used_by_its_peer_becomes_another_and_says_bye() {
    let mut hall = two();
    hall.run(5);
    let own = hall.phones[0].heard[0].ssrc;
    hall.phones[0].mouth.ssrc = own;
    hall.run(2);
    hall.forget();
    hall.run(2);
    let now = hall.phones[0].heard[0].ssrc;
    assert_ne!(now, own);
    let leg = hall.leg(0);
    let bye = hall.rtcp.iter().find(|rtcp| rtcp.leg == leg).unwrap();
    assert!(super::reports::goodbyes(&bye.datagram).contains(&own));
}

#[test]
fn what_is_no_rtp_harms_nobody() {
    let mut hall = two();
    hall.phones[0].tone = Some(500.0);
    hall.run(20);
    hall.forget();
    let (leg, source) = (hall.leg(0), hall.phones[0].mouth.address);
    for n in 0..200_usize {
        let rubbish: Vec<u8> = (0..n).map(|m| (n * 31 + m * 17) as u8).collect();
        hall.plane.receive(leg, Channel::Rtp, &rubbish, source);
        hall.plane.receive(leg, Channel::Rtcp, &rubbish, source);
        if n % 4 == 0 {
            hall.run(1);
        }
    }
    assert!(hall.phones[1].amplitude(500.0, 0.8) > 5000.0);
    hall.phones[1].assert_continuous();
}

#[test]
fn a_leg_that_does_not_listen_is_not_heard() {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    hall.call(MediaSpec {
        receives: false,
        ..media(Codec::Pcmu, 0)
    });
    hall.call_with(Codec::Pcmu);
    hall.plane.join(hall.leg(0), room);
    hall.plane.join(hall.leg(1), room);
    hall.phones[0].tone = Some(500.0);
    hall.run(50);
    assert!(hall.phones[1].amplitude(500.0, 0.8) < 20.0);
}
