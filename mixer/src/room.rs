//! What a conference keeps from one tick to the next.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::level;
use crate::limiter::Limiter;
use crate::rate::SampleRate;
use crate::resample::MAX_PAST;

/// One conference: its rate and what must survive between ticks, about 1 KiB.
///
/// It does not know its participants; any [`crate::Strip`] that is given to it in a tick takes part in that tick. A room that is
/// not begun costs nothing.
#[derive(Debug)]
pub struct Room {
    pub(crate) rate: SampleRate,
    /// Number of the current tick, unique among all rooms of the process. Strips note it when they contribute.
    pub(crate) serial: u64,
    /// The end of the previous sum, valid if `history_at` is the previous tick.
    pub(crate) history: [i32; MAX_PAST],
    pub(crate) history_at: u64,
    /// Contributors of the tick the history is of.
    pub(crate) history_contributors: u32,
    pub(crate) contributors: u32,
    pub(crate) talkers: u32,
    /// Limiters of the common mix at each rate, and the tick each last ran in.
    pub(crate) limiters: [Limiter; 4],
    pub(crate) limited_at: [u64; 4],
    /// Their states before the current tick.
    pub(crate) entering: [Limiter; 4],
    /// Mean square of the common mix.
    pub(crate) level: f32,
}

impl Room {
    /// An empty room that mixes at `rate`.
    pub fn new(rate: SampleRate) -> Self {
        // The low half counts ticks: 2.7 years of them until the number of the next room.
        static ROOMS: AtomicU64 = AtomicU64::new(1);
        let serial = ROOMS.fetch_add(1, Ordering::Relaxed) << 32;
        Self {
            rate,
            serial,
            history: [0; MAX_PAST],
            history_at: 0,
            history_contributors: 0,
            contributors: 0,
            talkers: 0,
            limiters: [Limiter::new(); 4],
            limited_at: [0; 4],
            entering: [Limiter::new(); 4],
            level: 0.0,
        }
    }

    /// The rate at which it mixes.
    pub fn rate(&self) -> SampleRate {
        self.rate
    }

    /// Changes the rate from the next tick on.
    ///
    /// Legs of other rates lose what was still inside the old filters (at most 2 ms), and hear with the
    /// delay of the new ones (see [`crate::resample`]).
    pub fn set_rate(&mut self, rate: SampleRate) {
        if rate != self.rate {
            let limiter = self.limiters[self.rate.index()];
            self.limiters[rate.index()] = limiter;
            self.rate = rate;
            self.serial = self.serial.wrapping_add(1); // Nothing of the last tick continues.
        }
    }

    /// How many took part in the sum of the last tick, hang-over and announcers included.
    pub fn contributors(&self) -> u32 {
        self.contributors
    }

    /// How many participants were talking in the last tick (see [`crate::Strip::is_talking`]).
    pub fn talkers(&self) -> u32 {
        self.talkers
    }

    /// Level of everybody together in the last tick, after the limiter, in dBov.
    pub fn level_dbov(&self) -> f32 {
        level::from_mean_square(self.level)
    }

    /// Gain of the limiter of everybody together after the last tick, above 0 and at most 1.
    pub fn limiter_gain(&self) -> f32 {
        self.limiters[self.rate.index()].gain()
    }

    /// Contributors of the previous tick, of which the history tells.
    pub(crate) fn contributors_before(&self) -> u32 {
        if self.history_at == self.serial.wrapping_sub(1) {
            self.history_contributors
        } else {
            0
        }
    }
}
