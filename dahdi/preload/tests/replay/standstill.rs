//! C6: the process is stopped for a while and goes on.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use unisono_dahdi_trunk::Directory;
use unisono_dahdi_trunk::report::ProcessReport;

use crate::ear::tones;
use crate::phone::{Phone, meet, meet_for};
use crate::pseudo::{Pseudo, TALKS_AND_LISTENS};
use crate::stage::{Folder, Player, playing, say};

const LOUD: f64 = 4_000.0;
const HZ: [u32; 3] = [500, 900, 1_300];

/// Talks for ever, and says when all have heard all others in a whole second.
fn talk() -> ! {
    let join = |&hz| Phone::speaking(Pseudo::member(30, TALKS_AND_LISTENS), hz, LOUD);
    let mut phones: Vec<Phone> = HZ.iter().map(join).collect();
    loop {
        for (phone, own) in phones.iter_mut().zip(HZ) {
            phone.expect(tones(HZ.into_iter().filter(|&hz| hz != own), LOUD));
        }
        meet(&mut phones);
        say("all hear all");
    }
}

fn report(folder: &Folder, process: u32) -> ProcessReport {
    let directory = Directory::at(folder.path()).unwrap();
    for _ in 0..30 {
        let answers = unisono_dahdi_trunk::survey(&directory, Duration::from_secs(2)).unwrap();
        let answer = answers.into_iter().flatten().find(|r| r.pid == process);
        if let Some(report) = answer {
            return report;
        }
    }
    panic!("process {process} does not say what it does");
}

#[test]
fn c6_a_stop_costs_its_own_time_and_nothing_afterwards() {
    if playing().is_some() {
        talk();
    }
    let folder = Folder::new();
    let mut player = Player::start(
        "standstill::c6_a_stop_costs_its_own_time_and_nothing_afterwards",
        "talker",
        &folder,
    );
    let pid = Pid::from_raw(player.process().try_into().unwrap());
    let heard = |line: &str| line == "all hear all";
    player.until("heard before any stop", heard);
    for stop in [10, 50, 200, 4_000] {
        let before = report(&folder, player.process());
        kill(pid, Signal::SIGSTOP).unwrap();
        sleep(Duration::from_millis(stop));
        kill(pid, Signal::SIGCONT).unwrap();
        player.until(&format!("heard after {stop} ms"), heard);
        // The one before may have been said before the stop.
        player.until(&format!("heard again after {stop} ms"), heard);

        let after = report(&folder, player.process());
        let missed = after.steps.skipped - before.steps.skipped;
        let late = after.steps.caught_up - before.steps.caught_up;
        if stop >= 200 {
            // Of this stop alone: nothing was replayed.
            assert!(
                missed >= stop / 20 - 3,
                "{stop} ms: {missed} skipped, {late} late"
            );
        }
        assert_queues_are_short(&folder, player.process());
    }
}

/// The machine may stand still now and again; what that leaves is cut within three seconds.
fn assert_queues_are_short(folder: &Folder, process: u32) {
    let mut channels = Vec::new();
    for _ in 0..60 {
        channels = report(folder, process).channels;
        if channels.iter().all(|channel| channel.queued_ms <= 60.0) {
            return;
        }
        sleep(Duration::from_millis(500));
    }
    panic!("never below 60 ms: {channels:?}");
}

#[test]
fn c6_a_process_that_stands_still_is_silence_to_others() {
    const TEST: &str = "standstill::c6_a_process_that_stands_still_is_silence_to_others";
    match playing().as_deref() {
        Some("talker") => talk(),
        Some(_) => {
            let mut phones = [Phone::speaking(Pseudo::member(30, 0x104), 0, 0.0)];
            loop {
                phones[0].expect(tones(HZ, LOUD));
                meet(&mut phones);
                say("voices");
                phones[0].expect(tones([], 0.0));
                if meet_for(&mut phones, 5).is_ok() {
                    say("silence");
                }
            }
        }
        None => {}
    }
    let folder = Folder::new();
    let mut listener = Player::start(TEST, "listener", &folder);
    let talker = Player::start(TEST, "talker", &folder);
    listener.until("voices", |line| line == "voices");
    let pid = Pid::from_raw(talker.process().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    listener.until("silence", |line| line == "silence");
    kill(pid, Signal::SIGCONT).unwrap();
    listener.until("voices again", |line| line == "voices");
}
