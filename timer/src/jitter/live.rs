//! What another thread sees of a measurement while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::stats::{LatencyHistogram, TickStats};

/// The figures of one run so far, and the means to end it. Cheap to clone; all clones show the same run.
///
/// Reading never disturbs the measuring thread: no lock, no retry. Make a new one for each run.
#[derive(Clone, Debug, Default)]
pub struct Live {
    shared: Arc<Shared>,
}

impl Live {
    /// Of a run that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ticks, missed deadlines and the distribution of lateness so far. A tick that came too early counts
    /// as punctual here.
    pub fn stats(&self) -> &TickStats {
        &self.shared.stats
    }

    /// How late work for each deadline began so far, ns: those that a late tick swallowed count as well, as in a
    /// [`Run`](super::Run)'s figures. Of more than a thousand at once the latest
    /// thousand are here.
    pub fn corrected(&self) -> &LatencyHistogram {
        &self.shared.corrected
    }

    /// The part of the run that is over, 0 to 1.
    pub fn progress(&self) -> f64 {
        let planned = self.shared.planned.load(Ordering::Relaxed);
        if planned == 0 {
            return 0.0;
        }
        let done = self.shared.done.load(Ordering::Relaxed);
        (done as f64 / planned as f64).min(1.0)
    }

    /// Outliers so far.
    pub fn outliers(&self) -> u64 {
        self.shared.outliers.load(Ordering::Relaxed)
    }

    /// CPU time the hypervisor has taken since the run began, all CPUs; about ten times a second. `None`
    /// before the run begins, and where the kernel does not tell.
    pub fn steal(&self) -> Option<Duration> {
        let nanos = self.shared.steal_ns.load(Ordering::Relaxed);
        // One is added so that 0 can mean unknown.
        nanos.checked_sub(1).map(Duration::from_nanos)
    }

    /// Ends the run at its next tick; what was measured until then is kept. Also before it begins.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// Whether [`stop`](Self::stop) was called.
    pub fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, ticks: u64) {
        self.shared.planned.store(ticks, Ordering::Relaxed);
    }

    /// A tick so many ns after its own deadline, which swallowed `missed` before it, `period_ns` apart.
    pub(super) fn note_deadlines(&self, late_ns: u64, missed: u64, period_ns: u64) {
        self.shared.corrected.record(late_ns);
        for before in missed.saturating_sub(MOST_SWALLOWED)..missed {
            let waited_ns = (before + 1).saturating_mul(period_ns);
            self.shared
                .corrected
                .record(late_ns.saturating_add(waited_ns));
        }
    }

    pub(super) fn set_done(&self, ticks: u64) {
        self.shared.done.store(ticks, Ordering::Relaxed);
    }

    pub(super) fn set_outliers(&self, count: u64) {
        self.shared.outliers.store(count, Ordering::Relaxed);
    }

    pub(super) fn set_steal(&self, steal_ns: Option<u64>) {
        let shown = steal_ns.map_or(0, |nanos| nanos.saturating_add(1));
        self.shared.steal_ns.store(shown, Ordering::Relaxed);
    }
}

/// Deadlines of one tick that are written down while it is measured, as many as take some 50 us: 5 s at 5 ms.
const MOST_SWALLOWED: u64 = 1000;

#[derive(Debug, Default)]
struct Shared {
    stats: TickStats,
    corrected: LatencyHistogram,
    /// Deadlines of the whole run.
    planned: AtomicU64,
    /// Deadlines that have come.
    done: AtomicU64,
    outliers: AtomicU64,
    /// One more than the steal; 0: unknown.
    steal_ns: AtomicU64,
    stop: AtomicBool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_deadline_that_a_stall_swallowed_counts() {
        let live = Live::new();
        live.note_deadlines(50, 0, 20_000_000);
        live.note_deadlines(3_000_000, 4, 20_000_000);
        let seen = live.corrected().snapshot();
        assert_eq!((seen.count(), seen.max()), (6, 83_000_000));
        // 23, 43, 63 and 83 ms.
        assert_eq!(seen.count_above(10_000_000), 4);

        let live = Live::new();
        live.note_deadlines(0, u64::MAX, 1_000_000);
        let seen = live.corrected().snapshot();
        assert_eq!((seen.count(), seen.max()), (MOST_SWALLOWED + 1, u64::MAX));
    }

    #[test]
    fn clones_show_the_same_run() {
        let (live, seen) = (Live::new(), Live::new());
        let other = live.clone();
        assert_eq!((other.progress(), other.steal()), (0.0, None));
        live.begin(200);
        live.set_done(50);
        live.set_outliers(3);
        live.set_steal(Some(0));
        assert_eq!((other.progress(), other.outliers()), (0.25, 3));
        assert_eq!(other.steal(), Some(Duration::ZERO));
        live.set_steal(None);
        assert_eq!(other.steal(), None);
        live.set_done(300);
        assert_eq!(other.progress(), 1.0);
        other.stop();
        assert!(live.stopped() && !seen.stopped());
    }
}
