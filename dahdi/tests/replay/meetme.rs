//! Asterisk's MeetMe: the calls of `app_meetme`, in its order.

use unisono_dahdi::exchange::ChannelNumber;
use unisono_dahdi::request::{ConfInfo, Reply, code, iomux};

use super::chan_dahdi::Pseudo;
use super::ear::{Ear, WINDOW, tone};
use super::world::World;

/// What a user may do.
const TALKS_AND_LISTENS: i32 = 0x304;
const LISTENS: i32 = 0x104;

/// A conference as `conf_run` keeps it.
struct MeetMe {
    control: ChannelNumber,
    conference: i32,
}

/// One user: its channel, and when in 20 ms its phone's packets come.
struct User {
    channel: ChannelNumber,
    hz: u32,
    phase: u64,
    said: usize,
    heard: Vec<i16>,
}

impl MeetMe {
    fn create(world: &mut World) -> Self {
        let control = world.open();
        let answer = world.set_conf(control, -1, 7).unwrap();
        assert!(answer.conference > 0);
        Self {
            control,
            conference: answer.conference,
        }
    }

    fn join(&self, world: &mut World, hz: u32, phase: u64) -> User {
        let channel = world.open();
        world.set_bufinfo(channel, 32, 160).unwrap();
        world.int(channel, code::SETLINEAR, 1).unwrap();
        let mut conf = ConfInfo::default().to_bytes();
        world.ioctl(channel, code::GETCONF, &mut conf).unwrap();
        assert_eq!(
            ConfInfo::from_bytes(&conf).unwrap().mode,
            0,
            "not yet in a conference"
        );
        world
            .set_conf(channel, self.conference, TALKS_AND_LISTENS)
            .unwrap();
        world.int(channel, code::FLUSH, 7).unwrap();
        User {
            channel,
            hz,
            phase,
            said: 0,
            heard: Vec::new(),
        }
    }

    /// Plays a sound of µ-law octets to all, as `conf_play` does. Returns how long it held up its caller.
    fn play(&self, world: &mut World, sound: &[u8], users: &mut [User]) -> u64 {
        let begun = world.now;
        let mut rest = sound;
        while !rest.is_empty() {
            while world.blocks(
                self.control,
                code::IOMUX,
                (iomux::WRITE | iomux::EVENT) as i32,
            ) {
                world.wake();
                listen(world, users);
            }
            let count = world.exchange.write(self.control, rest, world.now).unwrap();
            rest = &rest[count..];
        }
        world.now - begun
    }
}

fn listen(world: &mut World, users: &mut [User]) {
    for user in users {
        while world.readiness(user.channel).readable {
            let mut block = world.hear(user.channel).unwrap();
            assert_eq!(block.len(), 160);
            user.heard.append(&mut block);
        }
    }
}

/// All talk for so many frames of 20 ms, each at its phase.
fn meet(world: &mut World, users: &mut [User], frames: usize, amplitude: f64) {
    for _ in 0..frames {
        let begun = world.now;
        for phase in 0..8 {
            world.sleep(begun + phase * 20 - world.now);
            for user in users.iter_mut().filter(|user| user.phase == phase) {
                let frame = tone(user.hz, amplitude, user.said, 160);
                assert_eq!(world.say(user.channel, &frame), Ok(160));
                user.said += 160;
            }
            listen(world, users);
        }
        world.sleep(begun + 160 - world.now);
        listen(world, users);
    }
}

#[test]
fn c5_each_of_2_to_500_users_hears_exactly_the_others() {
    for count in [2, 3, 10, 50, 500] {
        let mut world = World::new();
        let meetme = MeetMe::create(&mut world);
        let amplitude = (30_000.0 / count as f64).min(6_000.0);
        let mut users: Vec<User> = Vec::new();
        for n in 0..count {
            users.push(meetme.join(&mut world, 200 + 7 * n as u32, n % 8));
            if n % 50 == 0 {
                meet(&mut world, &mut users, 1, amplitude);
            }
        }
        meet(&mut world, &mut users, 20 + WINDOW / 160, amplitude);
        let tones: Vec<u32> = users.iter().map(|user| user.hz).collect();
        for user in &users {
            let others = tones.iter().copied().filter(|&hz| hz != user.hz);
            Ear::listen(&user.heard).hears_exactly(others, amplitude, 1.0);
            let stats = world.exchange.stats(user.channel).unwrap();
            assert_eq!(
                (stats.underruns, stats.trims, stats.dropped_samples),
                (0, 0, 0)
            );
        }
        for user in users {
            world.close(user.channel);
        }
        world.close(meetme.control);
        assert_eq!(
            world.exchange.next_deadline(),
            None,
            "nothing is left behind"
        );
    }
}

#[test]
fn c5_a_user_in_the_menu_is_out_and_comes_back() {
    let mut world = World::new();
    let meetme = MeetMe::create(&mut world);
    let mut users: Vec<User> = (0..3)
        .map(|n| meetme.join(&mut world, 500 + 400 * n, n.into()))
        .collect();
    meet(&mut world, &mut users, 70, 5_000.0);

    world.set_conf(users[0].channel, 0, 0).unwrap();
    users[0].phase = u64::MAX; // Its frames go to the menu.
    meet(&mut world, &mut users, 70, 5_000.0);
    Ear::listen(&users[0].heard).hears_exactly([], 0.0, 1.0);
    Ear::listen(&users[1].heard).hears_exactly([1_300], 5_000.0, 1.0);

    world
        .set_conf(users[0].channel, meetme.conference, TALKS_AND_LISTENS)
        .unwrap();
    world.int(users[0].channel, code::FLUSH, 7).unwrap();
    users[0].phase = 0;
    meet(&mut world, &mut users, 70, 5_000.0);
    Ear::listen(&users[0].heard).hears_exactly([900, 1_300], 5_000.0, 1.0);
    Ear::listen(&users[1].heard).hears_exactly([500, 1_300], 5_000.0, 1.0);
}

#[test]
fn c5_muted_and_unmuted_by_the_admin() {
    let mut world = World::new();
    let meetme = MeetMe::create(&mut world);
    let mut users: Vec<User> = (0..3)
        .map(|n| meetme.join(&mut world, 500 + 400 * n, 2))
        .collect();
    for round in 0..3 {
        world
            .set_conf(users[1].channel, meetme.conference, LISTENS)
            .unwrap();
        meet(&mut world, &mut users, 70, 5_000.0);
        Ear::listen(&users[0].heard).hears_exactly([1_300], 5_000.0, 1.0);
        Ear::listen(&users[1].heard).hears_exactly([500, 1_300], 5_000.0, 1.0);
        world
            .set_conf(users[1].channel, meetme.conference, TALKS_AND_LISTENS)
            .unwrap();
        meet(&mut world, &mut users, 70, 5_000.0);
        Ear::listen(&users[0].heard).hears_exactly([900, 1_300], 5_000.0, 1.0);
        assert_eq!(
            world.exchange.stats(users[1].channel).unwrap().trims,
            0,
            "round {round}"
        );
    }
}

#[test]
fn c5_the_enter_tone_is_heard_whole_by_all() {
    let mut world = World::new();
    let meetme = MeetMe::create(&mut world);
    let mut users: Vec<User> = (0..5)
        .map(|n| meetme.join(&mut world, 500 + 400 * n, 2))
        .collect();
    meet(&mut world, &mut users, 10, 0.0);
    for user in &mut users {
        user.heard.clear();
    }
    // 343 ms, as MeetMe's own; its buffers hold 256.
    let held_up = meetme.play(&mut world, &[0x80; 2_747], &mut users);
    assert!(held_up < 2_747, "{held_up}");
    meet(&mut world, &mut users, 30, 0.0);
    for user in &users {
        let loud = user.heard.iter().filter(|&&s| s > 30_000).count();
        assert!((2_747 - 20..=2_747).contains(&loud), "{loud}");
    }
}

#[test]
fn c5_the_recorder_has_everybody() {
    let mut world = World::new();
    let meetme = MeetMe::create(&mut world);
    let mut recorder = Pseudo::request(&mut world);
    let answer = world
        .set_conf(recorder.channel, meetme.conference, 7)
        .unwrap();
    assert_eq!(answer.conference, meetme.conference);
    let mut users: Vec<User> = (0..4)
        .map(|n| meetme.join(&mut world, 500 + 400 * n, n.into()))
        .collect();
    let mut recording = Vec::new();
    for _ in 0..80 {
        meet(&mut world, &mut users, 1, 4_000.0);
        while let Some(frame) = recorder.read_linear(&mut world) {
            recording.extend(frame);
        }
    }
    Ear::listen(&recording).hears_exactly([500, 900, 1_300, 1_700], 4_000.0, 1.0);
    recorder.hang_up(&mut world);
}

#[test]
fn a_user_whose_phone_falls_silent_hears_on() {
    let mut world = World::new();
    let meetme = MeetMe::create(&mut world);
    let mut users: Vec<User> = (0..3)
        .map(|n| meetme.join(&mut world, 500 + 400 * n, 1))
        .collect();
    meet(&mut world, &mut users, 10, 5_000.0);
    users[2].phase = u64::MAX; // No packets any more.
    meet(&mut world, &mut users, 70, 5_000.0);
    Ear::listen(&users[2].heard).hears_exactly([500, 900], 5_000.0, 1.0);
    Ear::listen(&users[0].heard).hears_exactly([900], 5_000.0, 1.0);
    let reply = world.ioctl(users[2].channel, code::SYNC, &mut []);
    assert_eq!(reply, Ok(Reply::Done));
}
