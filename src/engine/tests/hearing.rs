//! Who hears whom.

use unisono_rtp::codec::{Codec, Decoder};

use super::phone::{Hall, media};

const TONES: [f32; 3] = [450.0, 850.0, 1450.0];

/// Three phones with distinct tones in one conference.
fn three(codecs: [Codec; 3]) -> Hall {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for (codec, tone) in codecs.into_iter().zip(TONES) {
        let phone = hall.call_with(codec);
        hall.phones[phone].tone = Some(tone);
        hall.plane.join(hall.leg(phone), room);
    }
    hall
}

/// Asserts that each hears the two others and not itself.
fn assert_others_heard(hall: &Hall) {
    for (n, phone) in hall.phones.iter().enumerate() {
        for (m, tone) in TONES.into_iter().enumerate() {
            let heard = phone.amplitude(tone, 1.0);
            if n == m {
                assert!(heard < 60.0, "phone {n} hears itself at {heard}");
            } else {
                assert!(
                    (4500.0..7500.0).contains(&heard),
                    "{n} hears {m} at {heard}"
                );
            }
        }
    }
}

#[test]
fn three_talkers_hear_exactly_the_two_others() {
    let mut hall = three([Codec::Pcmu; 3]);
    hall.run(100);
    assert_others_heard(&hall);
    for phone in &hall.phones {
        phone.assert_continuous();
        assert_eq!(phone.heard.len(), 100);
        assert!(phone.heard[0].marker);
        for (n, packet) in phone.heard.iter().enumerate() {
            assert_eq!(packet.tick, n + 1, "one packet every 20 ms");
            assert_eq!(packet.payload.len(), 160);
        }
    }
}

#[test]
fn narrow_and_wide_band_meet() {
    for codecs in [
        [Codec::Pcmu, Codec::G722, Codec::Opus],
        [Codec::Opus, Codec::Pcma, Codec::L16 { rate: 48000 }],
        [Codec::L16 { rate: 24000 }, Codec::G722, Codec::Pcmu],
    ] {
        let mut hall = three(codecs);
        hall.run(150);
        assert_others_heard(&hall);
        hall.phones
            .iter()
            .for_each(|phone| phone.assert_continuous());
    }
}

#[test]
fn packets_name_the_talkers_but_not_their_receiver() {
    let mut hall = three([Codec::Pcmu; 3]);
    hall.phones[2].tone = None;
    hall.run(50);
    let ssrc = |n: usize| hall.phones[n].mouth.ssrc;
    let named = |n: usize| {
        let mut csrcs = hall.phones[n].heard.last().unwrap().csrcs.clone();
        csrcs.sort_unstable();
        csrcs
    };
    assert_eq!(named(0), [ssrc(1)]);
    assert_eq!(named(1), [ssrc(0)]);
    assert_eq!(named(2), [ssrc(0), ssrc(1)]);
}

#[test]
fn listeners_of_one_format_share_one_encode() {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(3, None);
    for _ in 0..10 {
        let phone = hall.call_with(Codec::Pcmu);
        hall.plane.join(hall.leg(phone), room);
    }
    hall.phones[0].tone = Some(450.0);
    hall.run(20);
    let before = hall.plane.figures().encodes;
    hall.run(10);
    // One for the nine listeners, and one for the talker, who hears nothing.
    assert_eq!(hall.plane.figures().encodes - before, 20);
    for phone in &hall.phones[2..] {
        assert_eq!(
            phone.heard.last().unwrap().payload,
            hall.phones[1].heard.last().unwrap().payload
        );
    }
}

#[test]
fn a_muted_leg_is_not_heard_and_a_deaf_one_hears_nothing() {
    let mut hall = three([Codec::Pcmu; 3]);
    hall.plane.set_muted(hall.leg(0), true);
    hall.plane.set_deaf(hall.leg(1), true);
    hall.run(100);
    assert!(hall.phones[2].amplitude(TONES[0], 1.0) < 60.0);
    assert!(hall.phones[2].amplitude(TONES[1], 1.0) > 4500.0);
    let last = hall.phones[1].heard.last().unwrap();
    assert_eq!(last.payload, [0xff; 160], "µ-law silence");
    assert!(last.csrcs.is_empty());
    assert!(hall.phones[0].amplitude(TONES[1], 1.0) > 4500.0);

    hall.plane.set_muted(hall.leg(0), false);
    hall.plane.set_deaf(hall.leg(1), false);
    hall.run(100);
    assert_others_heard(&hall);
}

#[test]
fn gains_change_what_is_said_and_heard() {
    let mut hall = three([Codec::L16 { rate: 16000 }; 3]);
    hall.plane.set_gains(hall.leg(0), -6.0, 0.0);
    hall.plane.set_gains(hall.leg(1), 0.0, -12.0);
    hall.run(100);
    let ratio = |db: f32| 6000.0 * 10_f32.powf(db / 20.0);
    let near = |heard: f32, expected: f32| (heard / expected - 1.0).abs() < 0.05;
    assert!(near(hall.phones[2].amplitude(TONES[0], 1.0), ratio(-6.0)));
    assert!(near(hall.phones[1].amplitude(TONES[0], 1.0), ratio(-18.0)));
    assert!(near(hall.phones[1].amplitude(TONES[2], 1.0), ratio(-12.0)));
    assert!(near(hall.phones[0].amplitude(TONES[1], 1.0), ratio(0.0)));
}

#[test]
fn a_leg_outside_conferences_is_not_heard_and_hears_silence() {
    let mut hall = three([Codec::Pcmu; 3]);
    hall.plane.leave(hall.leg(0));
    hall.run(100);
    for phone in &hall.phones[1..] {
        assert!(phone.amplitude(TONES[0], 1.0) < 60.0);
    }
    for tone in TONES {
        assert!(hall.phones[0].amplitude(tone, 1.0) < 10.0);
    }
    hall.phones[0].assert_continuous();
}

#[test]
fn closing_a_conference_leaves_its_legs_connected() {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(5, None);
    let phone = hall.call_with(Codec::Pcmu);
    hall.plane.join(hall.leg(phone), room);
    hall.run(10);
    hall.plane.close_room(room);
    hall.run(10);
    assert_eq!(hall.phones[phone].heard.len(), 20);
    let other = hall.plane.open_room(1, None);
    hall.plane.join(hall.leg(phone), other);
    hall.run(10);
    // Another phase may have its turn twice, or not at all, in the interval of the move.
    assert!((29..=31).contains(&hall.phones[phone].heard.len()));
    hall.phones[phone].assert_continuous();
}

#[test]
fn a_hold_without_an_address_sends_nothing() {
    let mut hall = three([Codec::Pcmu; 3]);
    hall.run(10);
    let before = hall.phones[0].media;
    let held = crate::engine::MediaSpec {
        sends: false,
        ..before
    };
    hall.plane.update(hall.leg(0), &before, held);
    hall.forget();
    hall.run(20);
    assert!(hall.phones[0].heard.is_empty());
    hall.plane.update(hall.leg(0), &held, before);
    hall.run(5);
    assert_eq!(hall.phones[0].heard.len(), 5);
    assert!(hall.phones[0].heard[0].marker, "a talk-spurt begins");
}

#[test]
fn longer_packets_of_opus_are_whole_frames_and_their_tail_is_sent() {
    for (ptime_ms, frames) in [(40, 2), (60, 3)] {
        let mut hall = three([Codec::Opus; 3]);
        let spec = crate::engine::MediaSpec {
            ptime_ms,
            ..media(Codec::Opus, 3)
        };
        let phone = hall.call(spec);
        hall.phones[phone].tone = Some(2250.0);
        let room = hall.plane.open_room(0, None);
        for n in 0..4 {
            hall.plane.join(hall.leg(n), room);
        }
        hall.run(101);
        let decoder = Decoder::new(Codec::Opus);
        let ms = |payload: &[u8]| decoder.samples_in(payload).unwrap() / 48;
        let heard = &hall.phones[phone].heard;
        let whole = heard
            .iter()
            .filter(|packet| ms(&packet.payload) == usize::from(ptime_ms));
        // Frames between which the encoder changed its mode cannot share a packet.
        let at_least = 100 / frames * 9 / 10;
        assert!(whole.count() >= at_least, "{ptime_ms} ms: {}", heard.len());
        hall.phones[phone].assert_continuous();
        for tone in TONES {
            assert!(hall.phones[phone].amplitude(tone, 1.0) > 4500.0);
        }
        assert!(hall.phones[phone].amplitude(2250.0, 1.0) < 60.0);
        let silent = crate::engine::MediaSpec {
            sends: false,
            ..spec
        };
        hall.plane.update(hall.leg(phone), &spec, silent);
        hall.listen();
        hall.run(3);
        let heard = &hall.phones[phone].heard;
        let audio: usize = heard.iter().map(|packet| ms(&packet.payload)).sum();
        assert_eq!(audio, 101 * 20, "{ptime_ms} ms: no tail is lost");
    }
}

#[test]
fn longer_packets_hold_whole_intervals_and_their_tail_is_sent() {
    for (codec, ptime_ms, bytes) in [
        (Codec::Pcmu, 10, 80),
        (Codec::Pcma, 30, 240),
        (Codec::G722, 40, 320),
        (Codec::Pcmu, 60, 480),
    ] {
        let mut hall = three([Codec::Pcmu; 3]);
        let spec = crate::engine::MediaSpec {
            ptime_ms,
            ..media(codec, 3)
        };
        let phone = hall.call(spec);
        let room = hall.plane.open_room(0, None);
        for n in 0..4 {
            hall.plane.join(hall.leg(n), room);
        }
        hall.run(50);
        let heard = &hall.phones[phone].heard;
        assert!(heard.iter().all(|packet| packet.payload.len() == bytes));
        hall.phones[phone].assert_continuous();
        hall.plane.update(
            hall.leg(phone),
            &spec,
            crate::engine::MediaSpec {
                sends: false,
                ..spec
            },
        );
        hall.listen();
        hall.run(3);
        let audio: usize = hall.phones[phone]
            .heard
            .iter()
            .map(|packet| packet.payload.len() / 8)
            .sum();
        assert_eq!(audio, 50 * 20, "{codec:?} {ptime_ms}: no tail is lost");
    }
}
