//! What became of the ticks, for any thread to read.
//!
//! Recording is wait-free, allocates nothing and costs a few atomic additions. Reading never
//! disturbs the writer: no lock, no retry. Figures read while the writer is at work may be one
//! record apart from one another, never torn.

mod histogram;
mod snapshot;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;

pub use self::histogram::LatencyHistogram;
pub use self::snapshot::Snapshot;
use crate::clock::saturating_nanos;
use crate::ticker::Tick;

/// Counters of one ticker: shared in an `Arc`, written by the thread that ticks, read by any other.
///
/// ```
/// use std::sync::Arc;
/// use unisono_timer::{MonoTime, Tick, TickStats};
///
/// let stats = Arc::new(TickStats::new());
/// let (deadline, woke) = (MonoTime::from_nanos(1_000_000), MonoTime::from_nanos(1_040_000));
/// stats.record(&Tick { number: 7, deadline, woke, missed: 2 });
/// assert_eq!((stats.ticks(), stats.missed()), (1, 2));
/// assert_eq!(stats.max_lateness().as_micros(), 40);
/// ```
#[derive(Debug, Default)]
pub struct TickStats {
    /// Padded so that two workers' counters never share a cache line.
    counters: CachePadded<Counters>,
    lateness: LatencyHistogram,
}

#[derive(Debug, Default)]
struct Counters {
    ticks: AtomicU64,
    missed: AtomicU64,
}

impl TickStats {
    /// All zero. Allocates the histogram, about 31 KiB.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one tick. One thread at a time: of two that record together, a count may be lost.
    pub fn record(&self, tick: &Tick) {
        add(&self.counters.ticks, 1);
        add(&self.counters.missed, tick.missed);
        self.lateness.record(saturating_nanos(tick.lateness()));
    }

    /// Ticks recorded.
    pub fn ticks(&self) -> u64 {
        self.counters.ticks.load(Ordering::Relaxed)
    }

    /// Deadlines missed, summed over all ticks.
    pub fn missed(&self) -> u64 {
        self.counters.missed.load(Ordering::Relaxed)
    }

    /// The latest any tick has been.
    pub fn max_lateness(&self) -> Duration {
        Duration::from_nanos(self.lateness.max())
    }

    /// The distribution of lateness, in nanoseconds.
    pub const fn lateness(&self) -> &LatencyHistogram {
        &self.lateness
    }
}

/// Plain load and store: enough for a single writer, and no locked instruction.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MonoTime;

    fn tick(number: u64, late_ns: u64, missed: u64) -> Tick {
        let deadline = MonoTime::from_nanos(number * 20_000_000);
        Tick {
            number,
            deadline,
            woke: deadline + Duration::from_nanos(late_ns),
            missed,
        }
    }

    #[test]
    fn another_thread_reads_what_the_ticking_one_records() {
        let stats = TickStats::new();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (1..=50_000).for_each(|n| stats.record(&tick(n, n, 1))));
            let mut last = 0;
            while !writer.is_finished() {
                let seen = stats.ticks();
                assert!(seen >= last);
                last = seen;
                assert!(stats.lateness().snapshot().count() <= 50_000);
            }
        });
        assert_eq!((stats.ticks(), stats.missed()), (50_000, 50_000));
        assert_eq!(stats.lateness().snapshot().count(), 50_000);
        assert_eq!(stats.max_lateness(), Duration::from_nanos(50_000));
    }

    #[test]
    fn counters_of_two_workers_share_no_cache_line() {
        assert!(align_of::<TickStats>() >= 64);
    }
}
