//! How late it is: cases C4 and C6.

use unisono_dahdi::exchange::{HARD_BOUND, TARGET};
use unisono_dahdi::request::{code, event, iomux};

use super::ear::tone;
use super::world::World;

const LOUD: [i16; 160] = [8_000; 160];

#[test]
fn c4_from_talker_to_listener_it_is_at_most_20_milliseconds() {
    for phase in (0..160).step_by(7) {
        let mut world = World::new();
        let (talker, listener) = (world.member(3, 0x304), world.member(3, 0x104));
        world.sleep_past_step();
        world.sleep(800 + phase);
        world.hear_all(listener);
        let said = world.now;
        world.say(talker, &LOUD).unwrap();
        let heard = loop {
            world.wake();
            if world.hear_all(listener).iter().any(|&s| s > 7_000) {
                break world.now;
            }
        };
        assert!(heard - said <= 160, "{} samples", heard - said);
    }
}

#[test]
fn c4_a_burst_is_cut_to_one_block_within_three_seconds() {
    let mut world = World::new();
    let (talker, listener) = (world.member(3, 0x304), world.member(3, 0x104));
    world.sleep_past_step();
    while world.say(talker, &LOUD).is_ok() {}
    let mut standing = 0;
    for step in 0..500 {
        world.sleep(160);
        world.hear_all(listener);
        let backlog = world.exchange.stats(talker).unwrap().backlog;
        assert!(
            step < 150 || backlog <= HARD_BOUND,
            "{backlog} after {step} steps"
        );
        standing = backlog;
        let _ = world.say(talker, &LOUD);
    }
    assert_eq!(standing, TARGET);
    let stats = world.exchange.stats(talker).unwrap();
    assert_eq!((stats.trims, stats.underruns), (1, 0));
    assert_eq!(stats.trimmed_samples, 30 * 160);
}

#[test]
fn c4_a_backlog_is_cut_where_it_is_quiet_first() {
    let mut world = World::new();
    let (talker, listener) = (world.member(3, 0x304), world.member(3, 0x104));
    world.sleep_past_step();
    for _ in 0..6 {
        world.say(talker, &LOUD).unwrap();
    }
    let mut loud_heard = 0;
    for step in 0..80 {
        let quiet = (50..70).contains(&step);
        world
            .say(talker, if quiet { &[3; 160] } else { &LOUD })
            .unwrap();
        world.sleep(160);
        loud_heard += world
            .hear_all(listener)
            .iter()
            .filter(|&&s| s > 7_000)
            .count();
    }
    let stats = world.exchange.stats(talker).unwrap();
    assert_eq!((stats.backlog, stats.trimmed_samples), (TARGET, 5 * 160));
    // All but the fades was heard: 66 loud blocks were said, and one waits.
    assert!(loud_heard > 65 * 160 - 200, "{loud_heard}");
}

#[test]
fn c4_a_clock_that_is_a_little_fast_never_makes_more_than_60_milliseconds() {
    let mut world = World::new();
    let (talker, listener) = (world.member(3, 0x304), world.member(3, 0x104));
    let mut next_write = world.now;
    let mut worst = 0;
    for _ in 0..20_000 {
        world.sleep(next_write.saturating_sub(world.now));
        world.say(talker, &LOUD).unwrap();
        next_write += 159; // 0.6 % fast.
        world.hear_all(listener);
        worst = worst.max(world.exchange.stats(talker).unwrap().backlog);
    }
    assert!(worst <= HARD_BOUND + 3 * 160, "{worst}");
    assert!(world.exchange.stats(talker).unwrap().trims > 10);
}

#[test]
fn an_announcer_who_waits_for_room_is_heard_to_the_last_sample() {
    let mut world = World::new();
    let announcer = world.open();
    world.set_conf(announcer, -1, 7).unwrap();
    let conference = world.exchange.conference(announcer).unwrap().conference;
    let listener = world.member(conference, 0x104);
    let mut written = 0;
    let mut heard = Vec::new();
    let mask = (iomux::WRITE | iomux::EVENT) as i32;
    while written < 80_000 {
        while world.blocks(announcer, code::IOMUX, mask) {
            world.wake();
            heard.extend(world.hear_all(listener));
        }
        written += world
            .exchange
            .write(announcer, &[0x80; 1024], world.now)
            .unwrap();
    }
    while !world.readiness(announcer).drained {
        world.wake();
        heard.extend(world.hear_all(listener));
    }
    let loud = heard.iter().filter(|&&s| s > 30_000).count();
    assert!(
        loud + 20 >= written && loud <= written,
        "{loud} of {written}"
    );
    assert_eq!(world.exchange.stats(announcer).unwrap().trims, 0);
}

/// A meeting of two that stands still for `samples`. Returns what the second has heard in order after it.
fn freeze(samples: u64) -> (World, Vec<i16>) {
    let mut world = World::new();
    let (talker, listener) = (world.member(3, 0x304), world.member(3, 0x304));
    let reader = world.open();
    world.sleep_past_step();
    for n in 0..50 {
        world.say(talker, &[100 + n; 160]).unwrap();
        world.sleep(160);
        world.hear_all(listener);
    }
    let mut octets = [0; 1024];
    while world.exchange.read(reader, &mut octets, world.now).is_ok() {}
    // The writer goes on meanwhile, as far as it finds room.
    for n in 0..samples / 160 {
        let _ = world.say(talker, &[1_000 + n.min(31) as i16; 160]);
    }
    world.freeze(samples);
    let heard = world.hear_all(listener);
    (world, heard)
}

#[test]
fn c6_two_missed_steps_are_mixed_at_once() {
    for (ms, steps) in [(10, 0), (20, 1), (40, 2), (60, 3)] {
        let (world, heard) = freeze(ms * 8);
        assert_eq!(heard.len() / 160, steps, "{ms} ms");
        let stats = world.exchange.exchange_stats();
        assert_eq!(
            (stats.skipped, stats.caught_up),
            (0, steps.saturating_sub(1) as u64)
        );
        assert!(
            heard
                .chunks(160)
                .zip(1_000..)
                .all(|(block, n)| block[159] == n)
        );
    }
}

#[test]
fn c6_a_longer_standstill_is_skipped_and_nothing_is_replayed() {
    for ms in [80, 200, 4_000, 3_600_000] {
        let (mut world, heard) = freeze(ms * 8);
        let missed = ms / 20;
        let stats = world.exchange.exchange_stats();
        assert_eq!((stats.skipped, stats.caught_up), (missed - 1, 0));
        assert_eq!(heard.len(), 160, "one step");
        let newest = 1_000 + (missed - 1).min(31) as i16;
        assert_eq!(heard[159], newest, "the last 20 ms of what was written");
        world.sleep(160);
        assert_eq!(
            world.exchange.exchange_stats().steps,
            stats.steps + 1,
            "and in time again"
        );
    }
}

#[test]
fn c6_one_wake_however_long_the_night() {
    let (mut world, _) = freeze(8_000 * 3_600 * 24);
    let before = world.exchange.exchange_stats().steps;
    let deadline = world.exchange.next_deadline().unwrap();
    assert!(deadline > world.now && deadline <= world.now + 160);
    world.sleep(1_600);
    assert_eq!(world.exchange.exchange_stats().steps - before, 10);
}

#[test]
fn a_change_of_readiness_is_told_once() {
    let mut world = World::new();
    let (a, b) = (world.member(3, 0x304), world.open());
    world.sleep_past_step();
    world.hear_all(a);
    let (now, step) = (world.now, world.exchange.next_deadline().unwrap());
    assert_eq!(world.exchange.advance(now), []);
    assert_eq!(world.exchange.advance(step), [a]);
    assert_eq!(world.exchange.advance(step), []);
    assert_eq!(world.exchange.advance(step + 160), [], "still readable");
    world.now = step + 160;
    assert_eq!(world.hear(a).unwrap().len(), 160);
    assert_eq!(world.hear(a).unwrap().len(), 160);
    assert_eq!(world.exchange.advance(step + 320), [a]);
    assert_eq!(world.exchange.advance(step + 1_200), [b]);
    assert!(world.exchange.post_event(b, event::REMOVED).unwrap());
}

#[test]
fn nothing_open_needs_no_wakes() {
    let mut world = World::new();
    assert_eq!(world.exchange.next_deadline(), None);
    let a = world.member(3, 0x304);
    assert!(world.exchange.next_deadline().is_some());
    world.say(a, &tone(500, 100.0, 0, 160)).unwrap();
    world.close(a);
    world.close(a);
    assert_eq!(world.exchange.next_deadline(), None);
}
