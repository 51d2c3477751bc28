//! A conference in the mixer alone: no packets, no codecs, no sockets.

use std::time::{Duration, Instant};

use unisono_mixer::{Desk, Hearing, Room, SampleRate, Strip, StripSettings};

/// A thousand legs, of which three talk and nothing comes from the others.
pub struct Mixing {
    desk: Desk,
    room: Room,
    #[expect(clippy::vec_box, reason = "scattered over the heap, as in a server")]
    strips: Vec<Box<Strip>>,
    voice: Vec<i16>,
}

impl Mixing {
    pub const NAME: &str = "mixing-alone";
    pub const LEGS: usize = 1000;
    const TALKERS: usize = 3;

    pub fn new() -> Self {
        let rate = SampleRate::Hz8000;
        let strip = || Box::new(Strip::new(rate, StripSettings::default()));
        let mut mixing = Self {
            desk: Desk::new(),
            room: Room::new(rate),
            strips: (0..Self::LEGS).map(|_| strip()).collect(),
            voice: (0..160)
                .map(|n| (n * 7919 % 12_000 - 6_000) as i16)
                .collect(),
        };
        for _ in 0..100 {
            mixing.tick();
        }
        mixing
    }

    pub fn tick(&mut self) -> Duration {
        let started = Instant::now();
        self.work();
        started.elapsed()
    }

    /// Callgrind counts while this runs.
    #[inline(never)]
    pub fn counted(&mut self) {
        self.work();
    }

    #[inline(always)]
    fn work(&mut self) {
        let mut intake = self.desk.begin(&mut self.room);
        for (n, strip) in self.strips.iter_mut().enumerate() {
            if n < Self::TALKERS {
                intake.add(strip, &self.voice);
            } else {
                intake.add_silence(strip);
            }
        }
        let mut mix = intake.finish();
        let mut common = 0;
        for strip in &mut self.strips {
            common += usize::from(matches!(mix.hear(strip, None), Hearing::Common(_)));
        }
        assert_eq!(common, Self::LEGS - Self::TALKERS);
    }
}
