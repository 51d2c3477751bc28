//! Conferences are the machine's: two processes in one, by its number.

use std::thread::sleep;
use std::time::Duration;

use crate::ear::{Tones, tones};
use crate::phone::{Phone, meet};
use crate::pseudo::{Pseudo, TALKS_AND_LISTENS};
use crate::stage::{Folder, Player, playing, say};

const LOUD: f64 = 4_000.0;

/// Joins conference 77 with these voices, and says whenever other tones are heard for a whole second than before: each phone is to hear
/// its own process's others, and what `outside` says.
fn take_part(voices: &[u32], outside: &[&[u32]]) -> ! {
    let join = |&hz| Phone::speaking(Pseudo::member(77, TALKS_AND_LISTENS), hz, LOUD);
    let mut phones: Vec<Phone> = voices.iter().map(join).collect();
    loop {
        for others in outside {
            for (phone, own) in phones.iter_mut().zip(voices) {
                phone.expect(all_but(*own, voices, others));
            }
            meet(&mut phones);
            say(&format!("hears {others:?}"));
        }
    }
}

fn all_but(own: u32, inside: &[u32], outside: &[u32]) -> Tones {
    let all = inside.iter().chain(outside).copied();
    tones(all.filter(|&hz| hz != own), LOUD)
}

#[test]
fn who_is_killed_is_silent_and_who_comes_again_is_heard() {
    const TEST: &str = "processes::who_is_killed_is_silent_and_who_comes_again_is_heard";
    const HERE: [u32; 2] = [500, 900];
    const THERE: [u32; 2] = [1_300, 1_700];
    match playing().as_deref() {
        // Hears the others, then nobody, then them again.
        Some("here") => take_part(&HERE, &[&THERE, &[]]),
        Some("there") => take_part(&THERE, &[&HERE]),
        _ => {}
    }
    let folder = Folder::new();
    let mut here = Player::start(TEST, "here", &folder);
    for _ in 0..2 {
        let mut there = Player::start(TEST, "there", &folder);
        there.until("heard by the other", |line| line == "hears [500, 900]");
        here.until("heard by the first", |line| line == "hears [1300, 1700]");
        there.kill();
        here.until("silence after the kill", |line| line == "hears []");
    }
}

#[test]
fn numbers_of_a_killed_process_are_free_again() {
    const TEST: &str = "processes::numbers_of_a_killed_process_are_free_again";
    match playing().as_deref() {
        Some("holder") => {
            let channels: Vec<Pseudo> = (0..3).map(|_| Pseudo::open()).collect();
            let taken: Vec<i32> = channels
                .iter()
                .map(|channel| channel.set_conference(-1, 7).unwrap().conference)
                .collect();
            say(&format!("has {taken:?}"));
            loop {
                sleep(Duration::from_secs(60));
            }
        }
        Some(_) => {
            let channel = Pseudo::open();
            let taken = channel.set_conference(-1, 7).unwrap().conference;
            say(&format!("takes {taken}"));
            return;
        }
        None => {}
    }
    let folder = Folder::new();
    let next = || {
        let mut taker = Player::start(TEST, "taker", &folder);
        let said = taker.until("a number", |line| line.starts_with("takes "));
        taker.succeed();
        said
    };
    let mut holder = Player::start(TEST, "holder", &folder);
    holder.until("three numbers", |line| line == "has [1023, 1022, 1021]");
    assert_eq!(next(), "takes 1020", "the next is the machine's next");
    assert_eq!(next(), "takes 1020", "and free when its process has ended");
    holder.kill();
    assert_eq!(next(), "takes 1023");
}

#[test]
fn three_processes_hear_each_other() {
    const TEST: &str = "processes::three_processes_hear_each_other";
    match playing().as_deref() {
        Some("a") => take_part(&[500], &[&[900, 1_300]]),
        Some("b") => take_part(&[900], &[&[500, 1_300]]),
        Some("c") => take_part(&[1_300], &[&[500, 900]]),
        _ => {}
    }
    let folder = Folder::new();
    let mut all = ["a", "b", "c"].map(|part| Player::start(TEST, part, &folder));
    for player in &mut all {
        player.until("heard", |line| line.starts_with("hears "));
    }
}
