//! The wake-up latencies lately seen, and the window that covers nearly all of them.

use std::fmt;

/// The latest wake-up latencies, in order of time and in order of size.
pub(super) struct Latencies {
    by_time: [u32; REMEMBERED],
    by_size: [u32; REMEMBERED],
    /// How many have been recorded, ever.
    count: usize,
}

impl Latencies {
    pub(super) const fn new() -> Self {
        Self {
            by_time: [0; REMEMBERED],
            by_size: [0; REMEMBERED],
            count: 0,
        }
    }

    pub(super) fn record(&mut self, latency: u32) {
        let held = self.count.min(REMEMBERED);
        let oldest = &mut self.by_time[self.count % REMEMBERED];
        let leaving = std::mem::replace(oldest, latency);
        self.count = self.count.wrapping_add(1);
        // The place that becomes free: of the one that leaves, or the first unused.
        let free = if held == REMEMBERED {
            self.by_size.partition_point(|&other| other < leaving)
        } else {
            held
        };
        let sorted = &self.by_size[..held];
        let place = sorted.partition_point(|&other| other < latency);
        let place = if place > free {
            self.by_size.copy_within(free + 1..place, free);
            place - 1
        } else {
            self.by_size.copy_within(place..free, place + 1);
            place
        };
        self.by_size[place] = latency;
    }

    /// The window, ns, that all but `LATER` of those remembered would have been in time with. With few
    /// of them it is the greatest, at first a guess.
    pub(super) fn window(&self) -> u64 {
        let held = self.count.min(REMEMBERED);
        let latency = match held {
            0 => return FIRST_WINDOW,
            held => self.by_size[held - 1 - held * LATER / REMEMBERED],
        };
        u64::from(latency) + MARGIN
    }
}

impl fmt::Debug for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latencies")
            .field("count", &self.count)
            .field("window", &self.window())
            .finish_non_exhaustive()
    }
}

/// Before any latency is known: about what a guest without tuning needs.
pub(super) const FIRST_WINDOW: u64 = 150_000;

/// For the way from the wake-up to the first look at the clock, ns.
pub(super) const MARGIN: u64 = 2_000;

/// Five seconds at 50 Hz.
pub(super) const REMEMBERED: usize = 256;

/// So many of those remembered may have been later than the window.
pub(super) const LATER: usize = 2;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_window_is_the_quantile_of_those_remembered(
            latencies in prop::collection::vec(0_u32..1_000_000, 1..600),
        ) {
            let mut remembered = Latencies::new();
            for (n, &latency) in latencies.iter().enumerate() {
                remembered.record(latency);
                let mut last: Vec<u32> =
                    latencies[(n + 1).saturating_sub(REMEMBERED)..=n].to_vec();
                last.sort_unstable();
                prop_assert_eq!(&remembered.by_size[..last.len()], &last[..]);
                let window = remembered.window() - MARGIN;
                let later = last.iter().filter(|&&other| u64::from(other) > window).count();
                prop_assert!(later * REMEMBERED <= LATER * last.len());
            }
        }
    }
}
