//! What a worker gives up, judged by what is heard.

use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::packet::{Header, MAX_HEADER};

use super::phone::Hall;
use crate::engine::sockets::Channel;
use crate::engine::{Event, Level};

const TONE: f32 = 850.0;

/// Phones in one conference: the first one talks where `talks`, and nobody else.
fn meeting(codec: Codec, members: usize, talks: bool) -> Hall {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for _ in 0..members {
        let phone = hall.call_with(codec);
        hall.plane.join(hall.leg(phone), room);
    }
    hall.phones[0].tone = talks.then_some(450.0);
    hall.run(60);
    hall
}

/// The interval, from the first that a phone heard since it was last asked to forget, in which anything loud came.
fn first_loud(hall: &Hall, phone: usize) -> Option<usize> {
    let phone = &hall.phones[phone];
    let mut decoder = Decoder::new(phone.media.codec);
    let mut out = vec![0; 5760];
    phone.heard.iter().position(|packet| {
        let samples = decoder.decode(&packet.payload, &mut out).unwrap();
        out[..samples].iter().any(|sample| sample.abs() > 1000)
    })
}

#[test]
fn who_begins_to_talk_among_shed_legs_is_heard_within_200_ms() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        for begins in (0..8).step_by(if codec == Codec::Opus { 4 } else { 1 }) {
            let mut hall = meeting(codec, 6, false);
            hall.plane.set_level(Level::Shedding);
            hall.run(50 + begins);
            assert_eq!(hall.plane.dozing(), 6, "{codec:?}, {begins}");
            hall.forget();
            hall.phones[3].tone = Some(TONE);
            hall.run(10);
            let heard = first_loud(&hall, 4);
            assert!(heard.is_some(), "{codec:?}, {begins} intervals later");
            // And goes on without a break, on one stream.
            hall.run(50);
            assert_eq!(hall.plane.dozing(), 5);
            let loud = hall.phones[4].amplitude(TONE, 0.9);
            assert!(loud > 5000.0, "{codec:?}: {loud}");
            hall.phones[4].assert_continuous();
            assert!(hall.phones[3].amplitude(TONE, 0.5) < 300.0, "not to itself");
        }
    }
}

#[test]
fn a_sender_that_marks_where_talking_begins_is_heard_at_once() {
    let mut hall = meeting(Codec::Pcmu, 3, false);
    hall.plane.set_level(Level::Shedding);
    hall.run(52);
    hall.forget();
    hall.phones[1].tone = Some(TONE);
    // Its first packet carries the marker; the others come from `run`.
    let frame = hall.phones[1].said();
    let (source, leg) = (hall.phones[1].mouth.address, hall.leg(1));
    let mut datagram = hall.phones[1].mouth.say(&frame).to_vec();
    datagram[1] |= 0x80;
    hall.plane.receive(leg, Channel::Rtp, &datagram, source);
    hall.plane.tick();
    hall.listen();
    hall.run(4);
    assert!(first_loud(&hall, 0).is_some_and(|interval| interval <= 3));
}

#[test]
fn who_talks_is_never_shed_even_in_the_pauses_of_speech() {
    let listen = |level: Level| {
        let mut hall = meeting(Codec::Pcmu, 8, true);
        hall.forget();
        hall.plane.set_level(level);
        // Words and pauses of up to 4 s.
        for (words, pause) in [(50, 20), (25, 50), (10, 100), (60, 200), (5, 150), (40, 1)] {
            hall.phones[0].tone = Some(450.0);
            hall.run(words);
            hall.phones[0].tone = None;
            hall.run(pause);
        }
        (hall.phones[5].audio(), hall.plane.figures().packets_unread)
    };
    let (usual, none) = listen(Level::Normal);
    let (shed, unread) = listen(Level::Shedding);
    assert!(usual == shed, "what is heard differs");
    assert_eq!(none, 0);
    // Of seven silent phones, six packets of seven.
    let packets = 7 * usual.len() as u64 / 160;
    assert!(unread * 7 > packets * 5, "{unread} of {packets}");
}

#[test]
fn who_was_silent_for_five_seconds_dozes_and_wakes_when_there_is_time_again() {
    let mut hall = meeting(Codec::Pcmu, 2, true);
    hall.plane.set_level(Level::Shedding);
    hall.run(50);
    assert_eq!(hall.plane.dozing(), 1, "who never talked");
    hall.phones[0].tone = None;
    // Its hang-over of 0.4 s, the delay of playout, five seconds.
    hall.run(260);
    assert_eq!(hall.plane.dozing(), 1);
    hall.run(40);
    assert_eq!(hall.plane.dozing(), 2);
    hall.plane.set_level(Level::Trimming);
    hall.run(1);
    assert_eq!(hall.plane.dozing(), 0);
    let unread = hall.plane.figures().packets_unread;
    hall.run(50);
    assert_eq!(hall.plane.figures().packets_unread, unread);
}

#[test]
fn keys_of_a_dozing_leg_are_heard() {
    let mut hall = meeting(Codec::Pcmu, 2, false);
    hall.plane.set_level(Level::Shedding);
    hall.run(52);
    assert_eq!(hall.plane.dozing(), 2);
    hall.events.clear();
    let leg = hall.leg(1);
    for (n, end) in [false, false, true, true].into_iter().enumerate() {
        let mouth = &mut hall.phones[1].mouth;
        let mut datagram = [0; MAX_HEADER + 4];
        let header = Header {
            payload_type: 101,
            marker: n == 0,
            sequence: mouth.sequence,
            timestamp: mouth.timestamp,
            ssrc: mouth.ssrc,
        };
        let start = header.write(&mut datagram, &[]);
        datagram[start] = 5;
        datagram[start + 1] = if end { 0x8a } else { 0x0a };
        datagram[start + 2..start + 4].copy_from_slice(&(160 * (n as u16 + 1)).to_be_bytes());
        mouth.sequence = mouth.sequence.wrapping_add(1);
        let source = mouth.address;
        hall.plane
            .receive(leg, Channel::Rtp, &datagram[..start + 4], source);
        hall.plane.tick();
    }
    hall.listen();
    assert!(
        hall.events.contains(&Event::Digit { leg, digit: '5' }),
        "{:?}",
        hall.events
    );
}

#[test]
fn a_muted_talker_may_doze_and_is_heard_soon_after_it_may_speak() {
    let mut hall = meeting(Codec::Pcmu, 3, false);
    hall.phones[1].tone = Some(TONE);
    hall.plane.set_muted(hall.leg(1), true);
    hall.plane.set_level(Level::Shedding);
    hall.run(60);
    assert_eq!(hall.plane.dozing(), 3);
    hall.forget();
    hall.plane.set_muted(hall.leg(1), false);
    hall.run(10);
    assert!(first_loud(&hall, 0).is_some());
}

#[test]
fn a_quiet_voice_that_is_turned_up_wakes_its_leg_too() {
    let mut hall = meeting(Codec::Pcmu, 2, false);
    hall.plane.set_gains(hall.leg(1), -60.0, 0.0);
    hall.plane.set_level(Level::Shedding);
    hall.phones[1].tone = Some(TONE);
    hall.run(100);
    assert_eq!(hall.plane.dozing(), 2, "turned down it would not be heard");
    hall.forget();
    hall.plane.set_gains(hall.leg(1), 6.0, 0.0);
    hall.run(10);
    assert!(first_loud(&hall, 0).is_some());
}

#[test]
fn trimmed_opus_is_the_same_stream_with_less_effort() {
    let payloads = |level: Level| {
        let mut hall = meeting(Codec::Opus, 4, true);
        hall.forget();
        hall.plane.set_level(level);
        hall.run(50);
        hall.plane.set_level(Level::Normal);
        hall.run(50);
        hall.phones[2].assert_continuous();
        let loud = hall.phones[2].amplitude(450.0, 1.8);
        assert!(loud > 5000.0, "{level:?}: {loud}");
        assert_eq!(hall.plane.dozing(), 0);
        let heard = hall.phones[2].heard.iter();
        heard
            .map(|packet| packet.payload.clone())
            .collect::<Vec<_>>()
    };
    let usual = payloads(Level::Normal);
    assert_eq!(
        usual,
        payloads(Level::Refusing),
        "refusing changes no audio"
    );
    let trimmed = payloads(Level::Trimming);
    assert_eq!(usual.len(), trimmed.len());
    assert_ne!(usual, trimmed, "it is encoded in another way");
}
