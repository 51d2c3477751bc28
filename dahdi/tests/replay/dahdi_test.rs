//! `dahdi_test`: blocking reads of 1024 octets, timed.

use super::world::World;

/// The accuracy of a pass as the program computes it, in percent, with its times of 125 us.
fn accuracy(count: f64, elapsed: f64) -> f64 {
    (count - (count - elapsed).abs().min(count)) / count * 100.0
}

#[test]
fn each_read_takes_exactly_128_milliseconds() {
    let mut world = World::new();
    let channel = world.open();
    let mut octets = [0; 8192];
    for _ in 0..4 {
        world.read_blocking(channel, &mut octets);
    }
    for _pass in 0..20 {
        let (mut count, mut elapsed) = (0, 0);
        while count < 8_000 {
            let before = world.now;
            count += world.read_blocking(channel, &mut octets);
            assert_eq!(world.now - before, 1_024);
            assert!(
                octets[..1_024].iter().all(|&octet| octet == 0xff),
                "silence"
            );
            elapsed += world.now - before;
        }
        assert_eq!((count, accuracy(8192.0, elapsed as f64)), (8_192, 100.0));
    }
}

#[test]
fn conferences_beside_it_do_not_disturb_it() {
    let mut world = World::new();
    let channel = world.open();
    for _ in 0..10 {
        world.member(9, 0x304);
    }
    let mut octets = [0; 8192];
    world.read_blocking(channel, &mut octets);
    for _ in 0..100 {
        let before = world.now;
        assert_eq!(world.read_blocking(channel, &mut octets), 1_024);
        assert_eq!(world.now - before, 1_024);
    }
}

#[test]
fn who_pauses_loses_what_two_buffers_do_not_hold() {
    let mut world = World::new();
    let channel = world.open();
    let mut octets = [0; 8192];
    world.read_blocking(channel, &mut octets);
    world.sleep(4_000);
    let resumed = world.now;
    for _ in 0..2 {
        world.read_blocking(channel, &mut octets);
        assert_eq!(world.now, resumed, "both buffers are full");
    }
    world.read_blocking(channel, &mut octets);
    assert_eq!(world.now - resumed, 1_024, "nothing is replayed");
    assert_eq!(
        world.exchange.stats(channel).unwrap().dropped_samples,
        4_000 - 2_048
    );
}

#[test]
fn a_reader_that_sleeps_needs_no_wakes() {
    let mut world = World::new();
    let channel = world.open();
    world.sleep(1_024);
    assert!(world.readiness(channel).readable);
    assert_eq!(world.exchange.next_deadline(), None);
}
