//! C1 to C3: numbers, modes, and sums of conferences.

use dahdi::request::code;
use nix::errno::Errno;

use crate::ear::{Tones, tones};
use crate::phone::{Expected, Phone, meet};
use crate::pseudo::{Pseudo, TALKS_AND_LISTENS};
use crate::stage::with_library;

#[test]
fn c1_numbers_are_given_from_1023_downwards_and_given_back() {
    with_library(
        "conferences::c1_numbers_are_given_from_1023_downwards_and_given_back",
        || {
            let any = || {
                let channel = Pseudo::open();
                let answer = channel.set_conference(-1, 7).unwrap();
                assert_eq!(answer.mode, 7);
                (channel, answer.conference)
            };
            let first = any();
            let second = any();
            assert_eq!((first.1, second.1), (1023, 1022));
            assert_eq!(first.0.conference().unwrap().conference, 1023);
            drop(first);
            let third = any();
            assert_eq!(third.1, 1023, "who closes, leaves");
            second.0.set_conference(0, 0).unwrap();
            assert_eq!(any().1, 1022, "and who leaves, too");

            // All of them: the next is told that there is none.
            let all: Vec<_> = (0..500).map(|_| any()).collect();
            let numbers: Vec<i32> = all.iter().map(|(_, number)| *number).collect();
            assert_eq!(numbers, (523..1023).rev().collect::<Vec<i32>>());
        },
    );
}

#[test]
fn c1_what_dahdi_refuses_is_refused() {
    with_library("conferences::c1_what_dahdi_refuses_is_refused", || {
        let channel = Pseudo::open();
        for (conference, mode) in [
            (1025, 4),
            (-2, 4),
            (i32::MIN, 4),
            (i32::MAX, 4),
            (0, 4),
            (5, 0),
        ] {
            assert_eq!(
                channel.set_conference(conference, mode),
                Err(Errno::EINVAL),
                "{conference} {mode}"
            );
        }
        assert_eq!(channel.conference().unwrap().conference, 0);
        for (conference, mode) in [(1, 4), (1024, 0x304), (5, 7), (5, 0x106), (0, 0)] {
            let answer = channel.set_conference(conference, mode).unwrap();
            assert_eq!((answer.conference, answer.mode), (conference, mode));
            let asked = channel.conference().unwrap();
            assert_eq!((asked.conference, asked.mode), (conference, mode));
        }
        // The argument's address, which is nobody's.
        assert_eq!(bad_address(&channel), Errno::EFAULT);
        assert_eq!(channel.int(code::TONEDETECT, 1), Err(Errno::ENOTTY));
    });
}

fn bad_address(channel: &Pseudo) -> Errno {
    use std::os::fd::{AsFd, AsRawFd};
    // SAFETY: the address is not looked at but by the kernel, or whoever answers in its place.
    let result = unsafe {
        libc::ioctl(
            channel.as_fd().as_raw_fd(),
            libc::Ioctl::from(code::SETCONF),
            8_usize,
        )
    };
    Errno::result(result).expect_err("a bad address")
}

#[test]
fn c2_each_mode_hears_what_it_is_for() {
    with_library("conferences::c2_each_mode_hears_what_it_is_for", || {
        const LOUD: f64 = 3_000.0;
        // What it says, and the mode.
        let members = [
            (500, TALKS_AND_LISTENS),
            (700, TALKS_AND_LISTENS),
            (900, TALKS_AND_LISTENS),
            // Talks only.
            (1_100, 0x204),
            // Hears all, says nothing though it writes.
            (1_300, 0x106),
            // Announces and hears all, itself included.
            (1_500, 7),
            // Waits for somebody.
            (1_700, 4),
            // Listens only.
            (1_900, 0x104),
            // Announces, and hears nothing.
            (2_300, 5),
            // Hears all, without flags.
            (2_500, 6),
            // What the flags of its pseudo side say: both, and none.
            (2_700, 0xc08),
            (2_900, 8),
        ];
        let talk = [500, 700, 900, 1_100, 1_500, 2_300, 2_700];
        let hears = |hz: u32, mode: i32| -> Vec<u32> {
            match mode {
                7 | 6 | 0x106 => talk.into(),
                TALKS_AND_LISTENS | 0xc08 | 0x104 => {
                    talk.into_iter().filter(|&other| other != hz).collect()
                }
                _ => Vec::new(),
            }
        };
        let mut phones: Vec<Phone> = members
            .iter()
            .map(|&(hz, mode)| Phone::speaking(Pseudo::member(12, mode), hz, LOUD))
            .collect();
        // Another conference, of which nothing is heard.
        phones.push(Phone::speaking(
            Pseudo::member(13, TALKS_AND_LISTENS),
            2_100,
            LOUD,
        ));
        for (phone, (hz, mode)) in phones.iter_mut().zip(members) {
            phone.expect(tones(hears(hz, mode), LOUD));
        }
        meet(&mut phones);
    });
}

#[test]
fn c2_a_monitor_hears_what_a_channel_says_and_hears() {
    with_library(
        "conferences::c2_a_monitor_hears_what_a_channel_says_and_hears",
        || {
            const LOUD: f64 = 3_000.0;
            let speaker = |hz| Phone::speaking(Pseudo::member(12, TALKS_AND_LISTENS), hz, LOUD);
            let mut phones = vec![speaker(500), speaker(900)];
            phones[0].expect(tones([900], LOUD));
            phones[1].expect(tones([500], LOUD));
            let watched = phones[0].channel.int(code::CHANNO, 0).unwrap();
            for (mode, hears) in [
                (1, vec![500]),
                (2, vec![900]),
                (3, vec![500, 900]),
                (9, vec![500]),
            ] {
                let mut spy = Phone::listening(Pseudo::member(watched, mode));
                spy.expect(tones(hears, LOUD));
                phones.push(spy);
            }
            meet(&mut phones);
        },
    );
}

#[test]
fn c3_nothing_clips_and_nobody_hears_its_own_echo() {
    with_library(
        "conferences::c3_nothing_clips_and_nobody_hears_its_own_echo",
        || {
            const FULL: f64 = 32_000.0;
            const QUIET: f64 = 500.0;
            let voices = [(440, FULL), (1_000, FULL), (2_300, QUIET)];
            let mut phones: Vec<Phone> = voices
                .iter()
                .map(|&(hz, amplitude)| {
                    Phone::speaking(Pseudo::member(14, TALKS_AND_LISTENS), hz, amplitude)
                })
                .collect();
            // What fits is heard as it was said, without an echo of one's own.
            phones[0].expect(Tones::from([(1_000, FULL), (2_300, QUIET)]));
            phones[1].expect(Tones::from([(440, FULL), (2_300, QUIET)]));
            // What does not is turned down: without an echo, of 250, or what clipping would make of it, a tenth.
            phones[2].expect(Expected::Such(|heard| {
                let level = |hz| heard.get(&hz).copied().unwrap_or_default();
                let elsewhere = heard
                    .iter()
                    .filter(|(hz, _)| ![440, 1_000].contains(hz))
                    .map(|(_, amplitude)| *amplitude)
                    .fold(0.0, f64::max);
                (12_000.0..=16_500.0).contains(&level(440))
                    && (level(440) / level(1_000) - 1.0).abs() < 0.02
                    && elsewhere < 150.0
            }));
            meet(&mut phones);
        },
    );
}
