//! Who hears what: cases C1 to C3.

use unisono_dahdi::exchange::ChannelNumber;
use unisono_dahdi::request::{ConfInfo, Errno, code};

use super::ear::{Ear, WINDOW, tone};
use super::world::World;

/// How long everybody talks: what is listened to, and a little before.
const TALK: usize = WINDOW + 1_600;

/// Every member says its tone, if it has one, in blocks of 20 ms. Returns what each heard.
fn talk(world: &mut World, members: &[(ChannelNumber, Option<(u32, f64)>)]) -> Vec<Vec<i16>> {
    let mut heard = vec![Vec::new(); members.len()];
    world.sleep_past_step();
    for &(channel, _) in members {
        world.hear_all(channel);
    }
    for from in (0..TALK).step_by(160) {
        for &(channel, said) in members {
            if let Some((hz, amplitude)) = said {
                assert_eq!(world.say(channel, &tone(hz, amplitude, from, 160)), Ok(160));
            }
        }
        world.sleep(160);
        for (heard, &(channel, _)) in heard.iter_mut().zip(members) {
            heard.extend(world.hear_all(channel));
        }
    }
    heard
}

#[test]
fn c1_conferences_are_allocated_from_1023_downwards() {
    let mut world = World::new();
    let (a, b, c) = (world.open(), world.open(), world.open());
    let info = |channel, conference, mode| {
        Ok(ConfInfo {
            channel,
            conference,
            mode,
        })
    };
    assert_eq!(world.set_conf(a, -1, 7), info(0x8000, 1023, 7));
    assert_eq!(world.set_conf(b, -1, 7), info(0x8001, 1022, 7));
    assert_eq!(world.set_conf(c, 1023, 0x304), info(0x8002, 1023, 0x304));
    world.close(a);
    let d = world.open();
    assert_eq!(
        world.set_conf(d, -1, 7),
        info(0x8000, 1021, 7),
        "1023 has a member"
    );
    world.set_conf(c, 0, 0).unwrap();
    assert_eq!(world.set_conf(b, -1, 7), info(0x8001, 1023, 7));

    let mut argument = ConfInfo::default().to_bytes();
    world.ioctl(d, code::GETCONF, &mut argument).unwrap();
    assert_eq!(ConfInfo::from_bytes(&argument), info(0x8000, 1021, 7));
    let mut other = ConfInfo {
        channel: 0x8001,
        ..ConfInfo::default()
    }
    .to_bytes();
    world.ioctl(d, code::GETCONF_V1, &mut other).unwrap();
    assert_eq!(ConfInfo::from_bytes(&other), info(0x8001, 1023, 7));
}

#[test]
fn c1_what_makes_no_sense_is_refused() {
    let mut world = World::new();
    let channel = world.open();
    for (conference, mode) in [
        (-2, 4),
        (1025, 4),
        (0, 4),
        (0, 0x300),
        (5, 0),
        (-1, 0),
        (i32::MIN, 7),
        (i32::MAX, 7),
        (0x8001, 1),
        (5, 1),
        (0, 2),
        (i32::MIN, 3),
    ] {
        assert_eq!(
            world.set_conf(channel, conference, mode),
            Err(Errno::Einval),
            "{conference} {mode:#x}"
        );
    }
    let mut of_nobody = ConfInfo {
        channel: 77,
        conference: 5,
        mode: 4,
    }
    .to_bytes();
    assert_eq!(
        world.ioctl(channel, code::SETCONF, &mut of_nobody),
        Err(Errno::Einval)
    );
    assert_eq!(
        world.ioctl(channel, code::GETCONF, &mut of_nobody),
        Err(Errno::Einval)
    );
    assert_eq!(
        world.ioctl(channel, code::CONFLINK, &mut of_nobody),
        Err(Errno::Enosys)
    );
    assert_eq!(
        world.exchange.next_deadline(),
        Some(world.now + 1_024),
        "in no conference"
    );
    assert!(world.set_conf(channel, 1024, 4).is_ok());
}

#[test]
fn c1_when_all_are_taken_there_is_none() {
    use unisono_dahdi::exchange::{Exchange, Limits};
    let mut world = World::new();
    world.exchange = Exchange::new(Limits { channels: 1_024 });
    for _ in 0..1_023 {
        let channel = world.open();
        world.set_conf(channel, -1, 7).unwrap();
    }
    let channel = world.open();
    assert_eq!(world.set_conf(channel, -1, 7), Err(Errno::Ebusy));
}

#[test]
fn c2_three_hear_exactly_the_other_two() {
    let mut world = World::new();
    let tones = [400, 1_000, 2_300];
    let members: Vec<_> = tones
        .iter()
        .map(|&hz| (world.member(6, 0x304), Some((hz, 6_000.0))))
        .collect();
    let heard = talk(&mut world, &members);
    for (heard, own) in heard.iter().zip(tones) {
        let others = tones.into_iter().filter(|&hz| hz != own);
        Ear::listen(heard).hears_exactly(others, 6_000.0, 1.0);
    }
    // Bit for bit, once everybody has faded in.
    for (n, &heard) in heard[0].iter().enumerate().skip(200) {
        let said = |k: usize| i32::from(tone(tones[k], 6_000.0, n, 1)[0]);
        assert_eq!(i32::from(heard), said(1) + said(2));
    }
}

#[test]
fn c2_roles_hear_what_dahdi_gives_them() {
    let mut world = World::new();
    let says = |hz| Some((hz, 3_000.0));
    let members = [
        (world.member(8, 0x304), says(500)),   // 0: a user
        (world.member(8, 0x304), says(700)),   // 1: another
        (world.member(8, 0x106), says(900)),   // 2: listens only
        (world.member(8, 0x204), says(1_100)), // 3: talks only
        (world.member(8, 4), says(1_300)),     // 4: waits for somebody
        (world.member(8, 7), says(1_500)),     // 5: announces and records
        (world.member(8, 5), says(1_700)),     // 6: announces
        (world.member(8, 6), says(1_900)),     // 7: records
        (world.member(9, 0x304), says(2_100)), // 8: in another conference
        (world.member(8, 0x104), None),        // 9: muted
    ];
    let heard = talk(&mut world, &members);
    let summed = [500, 700, 1_100, 1_500, 1_700];
    let hears = |member: usize, tones: &[u32]| {
        Ear::listen(&heard[member]).hears_exactly(tones.iter().copied(), 3_000.0, 1.0);
    };
    hears(0, &[700, 1_100, 1_500, 1_700]);
    hears(1, &[500, 1_100, 1_500, 1_700]);
    hears(2, &summed);
    hears(3, &[]);
    hears(4, &[]);
    hears(5, &summed);
    hears(6, &[]);
    hears(7, &summed);
    hears(8, &[]);
    hears(9, &summed);
}

#[test]
fn c2_who_is_muted_in_the_middle_is_not_heard_and_hears() {
    let mut world = World::new();
    let (a, b) = (world.member(3, 0x304), world.member(3, 0x304));
    let members = [(a, Some((500, 4_000.0))), (b, Some((900, 4_000.0)))];
    talk(&mut world, &members);
    world.set_conf(a, 3, 0x104).unwrap();
    let heard = talk(&mut world, &members);
    Ear::listen(&heard[0]).hears_exactly([900], 4_000.0, 1.0);
    Ear::listen(&heard[1]).hears_exactly([], 0.0, 1.0);
    world.set_conf(a, 3, 0x304).unwrap();
    let heard = talk(&mut world, &members);
    Ear::listen(&heard[1]).hears_exactly([500], 4_000.0, 1.0);
}

#[test]
fn c3_full_scale_talkers_neither_clip_nor_hear_themselves() {
    let mut world = World::new();
    let members = [
        (world.member(3, 0x304), Some((400, 32_000.0))),
        (world.member(3, 0x304), Some((1_000, 32_000.0))),
        (world.member(3, 0x304), Some((1_700, 600.0))),
        (world.member(3, 0x104), None),
    ];
    let heard = talk(&mut world, &members);
    // With one loud and one quiet talker the limiter may turn down a little; own voice is not there at all.
    for (own, other, n) in [(400, 1_000, 0), (1_000, 400, 1)] {
        let ear = Ear::listen(&heard[n]);
        assert!(ear.amplitude(own) < 1.0, "{}", ear.amplitude(own));
        assert!(ear.amplitude(other) > 31_000.0 && ear.amplitude(1_700) > 550.0);
    }
    // Two at full scale are turned down together instead of being cut off: no products of clipping.
    let ear = Ear::listen(&heard[3]);
    let (a, b) = (ear.amplitude(400), ear.amplitude(1_000));
    assert!(
        (a - b).abs() < 200.0 && a > 14_000.0 && a < 18_000.0,
        "{a} {b}"
    );
    for product in [200, 1_200, 1_600, 2_000, 3_000] {
        assert!(
            ear.amplitude(product) < 100.0,
            "{product}: {}",
            ear.amplitude(product)
        );
    }
}

#[test]
fn a_monitor_hears_one_channel() {
    let mut world = World::new();
    let (a, b) = (world.member(3, 0x304), world.member(3, 0x304));
    let spies: Vec<ChannelNumber> = [1, 2, 3, 9]
        .iter()
        .map(|&mode| world.member(a.get(), mode))
        .collect();
    let mut members = vec![(a, Some((500, 4_000.0))), (b, Some((900, 4_000.0)))];
    members.extend(spies.iter().map(|&spy| (spy, None)));
    let heard = talk(&mut world, &members);
    let hears = |spy: usize, tones: &[u32]| {
        Ear::listen(&heard[2 + spy]).hears_exactly(tones.iter().copied(), 4_000.0, 1.0);
    };
    hears(0, &[500]);
    hears(1, &[900]);
    hears(2, &[500, 900]);
    hears(3, &[500]);

    world.close(a);
    for spy in spies {
        assert_eq!(
            world.exchange.conference(spy).unwrap().mode,
            0,
            "nobody to hear"
        );
    }
}

#[test]
fn a_channel_in_no_conference_can_be_monitored() {
    let mut world = World::new();
    let a = world.member(0, 0);
    let spy = world.member(a.get(), 1);
    let heard = talk(&mut world, &[(a, Some((500, 4_000.0))), (spy, None)]);
    Ear::listen(&heard[1]).hears_exactly([500], 4_000.0, 1.0);
    Ear::listen(&heard[0]).hears_exactly([], 0.0, 0.0);
}

#[test]
fn companded_and_linear_members_understand_one_another() {
    let mut world = World::new();
    let linear = world.member(3, 0x304);
    let companded = world.open();
    world.int(companded, code::SET_BLOCKSIZE, 160).unwrap();
    world.set_conf(companded, 3, 0x304).unwrap();
    let mut heard = Vec::new();
    world.sleep_past_step();
    for from in (0..TALK).step_by(160) {
        world.say(linear, &tone(600, 9_000.0, from, 160)).unwrap();
        world
            .exchange
            .write(companded, &[0x80; 160], world.now)
            .unwrap();
        world.sleep(160);
        let mut octets = [0; 160];
        assert_eq!(
            world.exchange.read(companded, &mut octets, world.now),
            Ok(160)
        );
        heard.extend(octets);
        assert!(world.hear_all(linear).iter().skip(20).all(|&s| s == 32_124) || from == 0);
    }
    // µ-law is its own judge: the loudest octets come back as the tone's peaks.
    assert!(
        heard[200..].iter().all(|&octet| octet & 0x7f >= 0x1e),
        "nothing above 9000"
    );
    assert!(
        heard[200..].iter().any(|&octet| octet & 0x7f <= 0x1f),
        "but 9000 is reached"
    );
}
