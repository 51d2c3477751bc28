//! Users of a conference with their phones: each speaks a tone of its own and listens.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::ear::{self, Tones, WINDOW, is_exactly, tone};
use crate::pseudo::Pseudo;

/// Seconds in which something has to be heard once: the machine may stand still in most of them.
pub(crate) const PATIENCE: usize = 60;

/// A user's channel, and its phone.
#[derive(Debug)]
pub(crate) struct Phone {
    pub(crate) channel: Pseudo,
    voice: Option<Voice>,
    heard: Vec<i16>,
    expected: Expected,
    satisfied: bool,
    last: Tones,
}

/// What is to be heard.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// These tones and no others.
    Exactly(Tones),
    /// What is such.
    Such(fn(&Tones) -> bool),
}

impl Expected {
    fn is_met(&self, heard: &Tones) -> bool {
        match self {
            Self::Exactly(tones) => is_exactly(heard, tones),
            Self::Such(is_such) => is_such(heard),
        }
    }
}

impl From<Tones> for Expected {
    fn from(tones: Tones) -> Self {
        Self::Exactly(tones)
    }
}

#[derive(Debug, Clone, Copy)]
struct Voice {
    hz: u32,
    amplitude: f64,
    said: usize,
}

impl Phone {
    /// One that sends a tone; an amplitude of 0 sends silence.
    pub(crate) fn speaking(channel: Pseudo, hz: u32, amplitude: f64) -> Self {
        Self {
            voice: Some(Voice {
                hz,
                amplitude,
                said: 0,
            }),
            ..Self::listening(channel)
        }
    }

    /// One that sends nothing at all.
    pub(crate) fn listening(channel: Pseudo) -> Self {
        Self {
            channel,
            voice: None,
            heard: Vec::new(),
            expected: Tones::new().into(),
            satisfied: false,
            last: Tones::new(),
        }
    }

    /// From now on this is to be heard.
    pub(crate) fn expect(&mut self, expected: impl Into<Expected>) {
        self.expected = expected.into();
        self.satisfied = false;
        self.heard.clear();
    }

    /// Reads what there is, and for each 20 ms heard says 20 ms: the phone has the conference's clock.
    fn turn(&mut self) {
        while let Some(block) = self.channel.hear() {
            if let Some(voice) = &mut self.voice {
                let frame = tone(voice.hz, voice.amplitude, voice.said, 160);
                voice.said += 160;
                // Without room it is lost, as MeetMe does it.
                let _ = self.channel.say(&frame);
            }
            self.heard.extend(block);
            if self.heard.len() == WINDOW {
                self.last = ear::listen(&self.heard);
                self.satisfied |= self.expected.is_met(&self.last);
                self.heard.clear();
            }
        }
    }
}

/// Lets all talk until each has heard what it is to hear, and nothing else, in a whole second.
#[track_caller]
pub(crate) fn meet(phones: &mut [Phone]) {
    if let Err(complaint) = meet_for(phones, PATIENCE) {
        panic!("{complaint}");
    }
}

/// As [`meet`], for so many seconds at most.
pub(crate) fn meet_for(phones: &mut [Phone], seconds: usize) -> Result<(), String> {
    let blocks = seconds * WINDOW / 160;
    for _ in 0..blocks {
        converse(phones);
        if phones.iter().all(|phone| phone.satisfied) {
            return Ok(());
        }
    }
    let deaf = phones.iter().position(|phone| !phone.satisfied);
    let deaf = deaf.map(|n| (n, &phones[n]));
    Err(deaf.map_or_else(String::new, |(n, phone)| {
        format!(
            "phone {n} of {} is to hear {:?}, and heard at last {:?}",
            phones.len(),
            phone.expected,
            phone.last
        )
    }))
}

/// Waits until some can read, and gives each its turn.
pub(crate) fn converse(phones: &mut [Phone]) {
    let mut waits: Vec<PollFd<'_>> = phones
        .iter()
        .map(|phone| {
            PollFd::new(
                phone.channel.as_fd(),
                PollFlags::POLLIN | PollFlags::POLLPRI,
            )
        })
        .collect();
    let ready = poll(&mut waits, PollTimeout::from(10_000_u16)).expect("poll");
    assert!(ready > 0, "nobody heard anything for ten seconds");
    let ready: Vec<bool> = waits
        .iter()
        .map(|wait| wait.any().unwrap_or(true))
        .collect();
    for (phone, ready) in phones.iter_mut().zip(ready) {
        if ready {
            phone.turn();
        }
    }
}
