//! C4: how long a word takes, counted in blocks that the listener reads, so that stalls do not count.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::pseudo::{Pseudo, TALKS_AND_LISTENS};
use crate::stage::with_library;

/// Tries of which the best counts: a stall makes others longer.
const TRIES: usize = 20;

/// Loud enough not to be taken for noise.
const CLICK: i16 = 12_000;

/// Two members, of whom one says something now and then.
struct Line {
    talker: Pseudo,
    listener: Pseudo,
}

impl Line {
    fn open() -> Self {
        Self {
            talker: Pseudo::member(20, TALKS_AND_LISTENS),
            listener: Pseudo::member(20, TALKS_AND_LISTENS),
        }
    }

    /// Waits for the next step; the talker says `frame` for each, if any. Returns what was heard.
    fn step(&self, frame: Option<&[i16]>) -> Vec<i16> {
        let mut wait = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut wait, PollTimeout::from(10_000_u16)), Ok(1));
        let block = self.listener.hear().unwrap();
        if let Some(frame) = frame {
            // Without room it is lost, as MeetMe does it.
            let _ = self.talker.say(frame);
        }
        while self.talker.hear().is_some() {}
        block
    }

    /// Blocks from a click's writing to its hearing, in a stream that goes on with `frame`, if any: 1 is the next step.
    fn delay(&self, frame: Option<&[i16]>) -> Option<usize> {
        let click = [CLICK; 160];
        // What is there is old.
        while self.listener.hear().is_some() {}
        self.step(Some(&click));
        (1..60).find(|_| {
            let block = self.step(frame);
            block.iter().any(|&sample| sample > CLICK / 2)
        })
    }
}

#[test]
fn c4_what_is_said_is_heard_in_the_next_step() {
    with_library("delay::c4_what_is_said_is_heard_in_the_next_step", || {
        let line = Line::open();
        for _ in 0..10 {
            line.step(None);
        }
        let delays: Vec<usize> = (0..TRIES).filter_map(|_| line.delay(None)).collect();
        assert_eq!(delays.iter().min(), Some(&1), "{delays:?}");
    });
}

#[test]
fn c4_what_a_fast_writer_queued_is_cut_within_three_seconds() {
    with_library(
        "delay::c4_what_a_fast_writer_queued_is_cut_within_three_seconds",
        || {
            let line = Line::open();
            // Nowhere so quiet that it could be cut unnoticed.
            let murmur: Vec<i16> = (0..160)
                .map(|n| if n % 2 == 0 { 900 } else { -900 })
                .collect();
            for _ in 0..10 {
                line.step(Some(&murmur));
            }
            // 640 ms at once, as after a stall of a network: DAHDI keeps that for ever.
            let queued = (0..200)
                .take_while(|_| line.talker.say(&murmur).is_ok())
                .count();
            assert!((20..200).contains(&queued), "{queued}");
            // A live source goes on at its rate.
            for _ in 0..3 * 50 {
                line.step(Some(&murmur));
            }
            let delays: Vec<usize> = (0..TRIES)
                .filter_map(|_| line.delay(Some(&murmur)))
                .collect();
            let least = delays.iter().min().copied();
            assert!(
                least.is_some_and(|blocks| blocks <= 4),
                "60 ms and the step: {delays:?}"
            );
        },
    );
}
