//! What another thread sees of a measurement while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::stats::TickStats;

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

#[derive(Debug, Default)]
struct Shared {
    stats: TickStats,
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
