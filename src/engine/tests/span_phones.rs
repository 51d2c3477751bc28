//! Phones in one conference over two workers, in virtual time.

use unisono_rtp::codec::Codec;

use super::phone::{Hall, media};
use crate::engine::LegPolicy;
use crate::engine::phase::PHASES;
use crate::engine::rehearsal::{Mouth, Rehearsal};

/// Two halls with a phone each, in one conference.
fn two(codecs: [Codec; 2]) -> [Hall; 2] {
    let mut halls = [0, 1].map(|number| {
        let mut hall = Hall::new();
        hall.plane = Rehearsal::new(8, 4, LegPolicy::default()).as_worker(number);
        hall
    });
    let mut rooms = Vec::new();
    for (number, (hall, codec)) in halls.iter_mut().zip(codecs).enumerate() {
        let room = hall.plane.open_room(4 * number, None);
        let phone = hall.call_with(codec);
        hall.plane.join(hall.leg(phone), room);
        let phone = &mut hall.phones[phone];
        phone.tone = Some([450.0, 850.0][number]);
        phone.mouth.ssrc = 100 + number as u32;
        rooms.push(room);
    }
    let mut ends: Vec<_> = halls
        .iter_mut()
        .zip(rooms)
        .map(|(hall, room)| (&mut hall.plane, room))
        .collect();
    Rehearsal::tie(&mut ends);
    halls
}

fn run(halls: &mut [Hall], ticks: usize) {
    for _ in 0..ticks {
        halls.iter_mut().for_each(Hall::speak);
        for _ in 0..PHASES {
            for hall in &mut *halls {
                let slot = hall.plane.slot() + 1;
                hall.plane.wake_at(slot);
                hall.listen();
            }
        }
    }
}

#[test]
fn phones_of_any_codecs_hear_each_other_and_are_named_as_talkers() {
    let wide = Codec::L16 { rate: 48000 };
    for codecs in [
        [Codec::Pcmu, Codec::Pcmu],
        [Codec::Pcmu, Codec::Opus],
        [Codec::G722, wide],
    ] {
        let mut halls = two(codecs);
        run(&mut halls, 100);
        for (own, other) in [(0, 1), (1, 0)] {
            let phone = &halls[own].phones[0];
            let tones = [450.0, 850.0];
            let loud = phone.amplitude(tones[other], 1.0);
            assert!((4000.0..8000.0).contains(&loud), "{codecs:?}: {loud}");
            let echo = phone.amplitude(tones[own], 1.0);
            assert!(echo < 60.0, "{codecs:?}: {echo}");
            let last = phone.heard.last().expect("packets");
            assert_eq!(last.csrcs, [100 + other as u32], "{codecs:?}");
            phone.assert_continuous();
        }
        assert_eq!(halls[0].plane.figures().sums_missed, 0);
    }
}

#[test]
fn a_codec_changed_during_the_call_is_heard_on_the_other_side() {
    let mut halls = two([Codec::Pcmu, Codec::Pcmu]);
    run(&mut halls, 60);
    halls[1].update(0, media(Codec::Opus, 0));
    halls[1].phones[0].mouth = Mouth::new(0, &halls[1].phones[0].media);
    halls.iter_mut().for_each(Hall::forget);
    run(&mut halls, 100);
    assert!(halls[0].phones[0].amplitude(850.0, 1.0) > 4000.0);
    assert!(halls[1].phones[0].amplitude(450.0, 1.0) > 4000.0);
    assert_eq!(halls[0].plane.figures().sums_missed, 0);
}

#[test]
fn an_announcement_stays_in_its_room() {
    let mut halls = two([Codec::Pcmu, Codec::Pcmu]);
    halls.iter_mut().for_each(|hall| hall.phones[0].tone = None);
    run(&mut halls, 60);
    halls.iter_mut().for_each(Hall::forget);
    let sound: Vec<i16> = (0..32_000)
        .map(|n| ((n as f32 * 1450.0 * std::f32::consts::TAU / 16_000.0).sin() * 6000.0) as i16)
        .collect();
    let room = halls[0].plane.plane().rooms[0]
        .as_deref()
        .expect("a room")
        .id;
    halls[0].plane.announce(room, sound.into());
    run(&mut halls, 100);
    assert!(halls[0].phones[0].amplitude(1450.0, 1.0) > 4000.0);
    assert!(halls[1].phones[0].amplitude(1450.0, 1.0) < 10.0);
}

#[test]
fn two_listeners_cost_the_other_worker_no_sum() {
    let mut halls = two([Codec::Pcmu, Codec::Pcmu]);
    halls[1].phones[0].tone = None;
    run(&mut halls, 200);
    let before = halls[0].plane.figures();
    run(&mut halls, 50);
    let after = halls[0].plane.figures();
    assert_eq!(
        (after.sums_added, after.sums_missed),
        (before.sums_added, 0)
    );
    assert!(halls[1].plane.figures().sums_added > 200);
}
