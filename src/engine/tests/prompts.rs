//! What only one leg is told, and what all are.

use std::sync::Arc;

use unisono_rtp::codec::Codec;

use super::phone::{Hall, media};
use crate::engine::{ANNOUNCEMENT_RATE, Event, Sound};

fn tone(hz: f32, rate: f32, seconds: f32) -> Sound {
    (0..(rate * seconds) as usize)
        .map(|n| ((n as f32 * hz * std::f32::consts::TAU / rate).sin() * 5000.0) as i16)
        .collect()
}

fn two(codec: Codec) -> (Hall, crate::engine::RoomId) {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for number in 0..2 {
        hall.call_with(codec);
        hall.plane.join(hall.leg(number), room);
    }
    (hall, room)
}

#[test]
fn a_prompt_is_heard_by_its_leg_over_the_conference_and_its_end_is_told() {
    let (mut hall, _) = two(Codec::Pcmu);
    hall.phones[1].tone = Some(1000.0);
    let sound = tone(440.0, 8000.0, 1.2);
    hall.plane.play(hall.leg(0), Arc::clone(&sound));
    hall.run(60);
    assert!(hall.phones[0].amplitude(440.0, 0.8) > 4500.0);
    assert!(hall.phones[0].amplitude(1000.0, 0.8) > 5000.0);
    assert!(hall.phones[1].amplitude(440.0, 0.8) < 20.0);
    let finished = Event::PlayFinished(hall.leg(0));
    assert!(!hall.events.contains(&finished));
    hall.run(1);
    assert_eq!(hall.events.iter().filter(|e| **e == finished).count(), 1);
    assert_eq!(Arc::strong_count(&sound), 1);
    hall.run(50);
    assert!(hall.phones[0].amplitude(440.0, 0.8) < 20.0);
    hall.phones[0].assert_continuous();
}

#[test]
fn a_prompt_is_heard_outside_conferences_and_by_the_deaf() {
    let (mut hall, _) = two(Codec::G722);
    hall.plane.leave(hall.leg(0));
    hall.plane.set_deaf(hall.leg(1), true);
    for phone in 0..2 {
        hall.plane.play(hall.leg(phone), tone(440.0, 16000.0, 1.0));
    }
    hall.run(50);
    for phone in &hall.phones {
        assert!(phone.amplitude(440.0, 0.8) > 4500.0);
    }
}

#[test]
fn an_announcement_is_heard_by_all_and_is_no_talker() {
    let (mut hall, room) = two(Codec::Pcmu);
    let rate = ANNOUNCEMENT_RATE.hz() as f32;
    hall.plane.announce(room, tone(440.0, rate, 1.0));
    hall.run(50);
    for phone in &hall.phones {
        assert!(phone.amplitude(440.0, 0.8) > 4500.0);
        assert!(phone.heard.iter().all(|packet| packet.csrcs.is_empty()));
    }
    assert_eq!(hall.events, []);
}

#[test]
fn prompts_for_another_rate_are_dropped_when_the_codec_changes() {
    let (mut hall, _) = two(Codec::Pcmu);
    let sound = tone(440.0, 8000.0, 10.0);
    hall.plane.play(hall.leg(0), Arc::clone(&sound));
    hall.run(20);
    let wide = media(Codec::G722, 0);
    hall.update(0, wide);
    assert_eq!(Arc::strong_count(&sound), 1);
    hall.forget();
    hall.run(20);
    assert!(hall.events.contains(&Event::PlayFinished(hall.leg(0))));
    assert!(
        hall.phones[0]
            .audio()
            .iter()
            .all(|sample| sample.abs() < 50)
    );
}

#[test]
fn all_prompts_come_back_whatever_becomes_of_them() {
    let sound: Sound = vec![1; 700].into();
    let (mut hall, room) = two(Codec::Pcmu);
    let leg = hall.leg(0);
    for _ in 0..20 {
        hall.plane.play(leg, Arc::clone(&sound));
        hall.plane.announce(room, Arc::clone(&sound));
    }
    hall.run(3);
    hall.plane.stop_playing(leg);
    hall.plane.play(leg, Arc::clone(&sound));
    hall.plane.close_leg(leg);
    hall.plane.play(leg, Arc::clone(&sound));
    hall.plane.close_room(room);
    hall.plane.announce(room, Arc::clone(&sound));
    hall.plane.stage.clear();
    assert_eq!(Arc::strong_count(&sound), 1);
}
