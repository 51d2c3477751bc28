//! Who is not heard is not decoded, but stays known: its level, its digits' place in time, and its first word.

use unisono_rtp::codec::Codec;

use super::phone::Hall;
use crate::engine::mixing::MEASURED_WITHIN;
use crate::engine::sockets::Channel;

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

/// The first phone says noise of so many dBov, which may depend on the interval; the others send nothing.
fn run_in_noise(hall: &mut Hall, intervals: usize, dbov: impl Fn(usize) -> f32) {
    let length = hall.phones[0].media.codec.sample_rate() as usize / 50;
    let mut state = 1_u32;
    for interval in 0..intervals {
        // Uniform noise: its root mean square is the peak by the root of three.
        let peak = 32_768.0 * 10_f32.powf(dbov(interval) / 20.0) * 3_f32.sqrt();
        let frame: Vec<i16> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state as i32 as f32 / 2_147_483_648.0 * peak) as i16
            })
            .collect();
        let phone = &mut hall.phones[0];
        let source = phone.mouth.address;
        let datagram = phone.mouth.say(&frame);
        hall.plane
            .receive(phone.leg, Channel::Rtp, datagram, source);
        hall.plane.tick();
        hall.tick += 1;
        hall.listen();
    }
}

#[test]
fn noise_that_grows_so_slowly_that_it_is_taken_for_none_is_heard_in_time() {
    let longest = MEASURED_WITHIN as usize;
    let mut hall = two(Codec::Opus);
    run_in_noise(&mut hall, 1500, |_| -62.0);
    let level = hall.plane.leg_figures(hall.leg(0)).unwrap().level_in_cb;
    assert!((-6500..-5900).contains(&level), "{level}");
    hall.forget();
    // From far below the gate, which is at -50, to above it.
    run_in_noise(&mut hall, 1500, |n| -62.0 + 16.0 * n as f32 / 1500.0);
    run_in_noise(&mut hall, longest, |_| -46.0);
    let level = hall.plane.leg_figures(hall.leg(0)).unwrap().level_in_cb;
    assert!((-4900..-4300).contains(&level), "{level}");
    let audio = hall.phones[1].audio();
    let last = &audio[audio.len() - 4800..];
    let power: f64 = last.iter().map(|s| f64::from(*s).powi(2)).sum();
    let heard = (power / last.len() as f64).sqrt();
    assert!(heard > 80.0, "{heard}");
}

#[test]
fn the_level_of_a_quiet_room_follows_in_time() {
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        let mut hall = two(codec);
        for dbov in [-64.0, -56.0, -60.0] {
            run_in_noise(&mut hall, MEASURED_WITHIN as usize + 50, |_| dbov);
            let level = hall.plane.leg_figures(hall.leg(0)).unwrap().level_in_cb;
            let is = level as f32 / 100.0;
            assert!((is - dbov).abs() < 3.0, "{codec:?}: {is} is not {dbov}");
        }
    }
}
