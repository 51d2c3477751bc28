//! What a run says, in figures. Pure: the same run gives the same figures.
//!
//! # Coordinated omission
//!
//! A ticker that stood still for 100 ms reports one late tick, and the four deadlines that it swallowed have no sample
//! at all: the worse a stall, the fewer samples speak of it. The corrected lateness gives every deadline its say:
//! a tick that missed `n` deadlines adds, for the `k`th before it (`k` from 1 to `n`), its own lateness plus
//! `k` periods, which is how late work for that deadline began.
//! There is nothing to guess, as the number of missed deadlines is known.

use std::collections::BTreeMap;
use std::time::Duration;

use unisono_timer::jitter::{Cause, Run};

use super::distribution::Distribution;
use super::interval::{Interval, intervals};

/// The latenesses of which every output says how many deadlines were later, in ms.
pub const LATE_BY_MS: [u64; 4] = [1, 5, 10, 20];

/// Silence a conference cannot mend: it mixes two missed intervals of 20 ms at once and skips what is more.
pub const GAP: Duration = Duration::from_millis(60);

/// All figures of one run.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Lateness of every tick. Early ones count as 0.
    pub raw: Distribution,
    /// Lateness of every deadline, corrected for coordinated omission: see the module's page.
    pub corrected: Distribution,
    /// How far the time between a tick and the one before was from one period, either way.
    pub period_error: Distribution,
    /// Deadlines that passed without a tick of their own.
    pub missed: u64,
    /// The most of them in a row.
    pub most_missed: u64,
    /// Stalls of [`GAP`] or more, each an audible gap.
    pub gaps: u64,
    /// Ticks that came before their deadline.
    pub early: u64,
    /// The earliest tick, ns before its deadline; 0 when there is none.
    pub earliest_ns: u64,
    /// The run cut into intervals.
    pub intervals: Vec<Interval>,
    /// The outliers that were kept, by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// CPU time used by the measuring thread, as a share of one CPU.
    pub cpu_share: f64,
    /// CPU time taken by the hypervisor on all CPUs, as a share of one CPU. `None`: the machine does not tell.
    pub steal_share: Option<f64>,
    /// Time throttled by the CPU quota, as a share of the run.
    pub throttled_share: Option<f64>,
}

impl Figures {
    /// Reckons them.
    pub fn of(run: &Run) -> Self {
        let period = nanos(run.period);
        let mut raw = Distribution::new();
        let mut corrected = Distribution::new();
        let mut period_error = Distribution::new();
        let (mut missed, mut most_missed, mut gaps) = (0_u64, 0_u64, 0_u64);
        let (mut early, mut earliest_ns) = (0_u64, 0_u64);
        let mut previous: Option<i128> = None;
        for sample in &run.samples {
            let lateness = u64::try_from(sample.lateness_ns).unwrap_or(0);
            raw.record(lateness);
            let swallowed = u64::from(sample.missed);
            missed += swallowed;
            most_missed = most_missed.max(swallowed);
            let stalled = lateness.saturating_add(swallowed.saturating_mul(period));
            gaps += u64::from(stalled >= nanos(GAP));
            if sample.lateness_ns < 0 {
                early += 1;
                earliest_ns = earliest_ns.max(sample.lateness_ns.unsigned_abs());
            }
            let woke =
                i128::from(sample.number) * i128::from(period) + i128::from(sample.lateness_ns);
            if let Some(previous) = previous {
                let error = (woke - previous - i128::from(period)).unsigned_abs();
                period_error.record(u64::try_from(error).unwrap_or(u64::MAX));
            }
            previous = Some(woke);
        }
        for deadline in deadlines(run) {
            corrected.record(deadline.lateness_ns);
        }
        let mut causes = BTreeMap::new();
        for outlier in &run.outliers {
            *causes.entry(outlier.cause).or_insert(0) += 1;
        }
        let share = |ns: u64| ns as f64 / (run.elapsed.as_nanos() as f64).max(1.0);
        let rise = |counter: fn(&unisono_timer::jitter::HostSample) -> Option<u64>| {
            let first = run.host.first().and_then(counter)?;
            let last = run.host.last().and_then(counter)?;
            Some(share(last.saturating_sub(first)))
        };
        Self {
            raw,
            corrected,
            period_error,
            missed,
            most_missed,
            gaps,
            early,
            earliest_ns,
            intervals: intervals(run),
            causes,
            cpu_share: share(nanos(run.cpu_time)),
            steal_share: rise(|host| host.steal_ns),
            throttled_share: rise(|host| host.throttled_ns),
        }
    }

    /// Ticks that came.
    pub fn ticks(&self) -> u64 {
        self.raw.count()
    }

    /// Deadlines that there were: ticks and those missed.
    pub fn deadlines(&self) -> u64 {
        self.corrected.count()
    }

    /// Deadlines later than `milliseconds`, or missed by as much.
    pub fn later_than_ms(&self, milliseconds: u64) -> u64 {
        self.corrected.above(milliseconds.saturating_mul(1_000_000))
    }
}

/// One deadline of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadline {
    pub(super) number: u64,
    /// When work for it began, ns after it.
    pub(super) lateness_ns: u64,
    /// Whether a tick was its own, or it was swallowed by a later one.
    pub(super) had_tick: bool,
}

/// Every deadline of the run in order, those swallowed included.
pub(super) fn deadlines(run: &Run) -> impl Iterator<Item = Deadline> + '_ {
    let period = nanos(run.period);
    run.samples.iter().flat_map(move |sample| {
        let own = u64::try_from(sample.lateness_ns).unwrap_or(0);
        // A tick cannot have swallowed more deadlines than there were before it.
        let swallowed = u64::from(sample.missed).min(sample.number);
        (0..=swallowed).rev().map(move |before| Deadline {
            number: sample.number - before,
            lateness_ns: own.saturating_add(before.saturating_mul(period)),
            had_tick: before == 0,
        })
    })
}

/// Nanoseconds, at most 584 years.
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::synthetic::{Shape, run, run_of};

    const MS: i64 = 1_000_000;

    #[test]
    fn a_swallowed_deadline_gets_the_lateness_it_would_have_had() {
        // 20 ms apart; the third tick stands for deadlines 2 to 6, the last of which it met 3 ms late.
        let figures = Figures::of(&run_of(20, &[(0, 0, 0), (1, MS, 0), (6, 3 * MS, 4)]));
        assert_eq!((figures.ticks(), figures.deadlines()), (3, 7));
        assert_eq!((figures.missed, figures.most_missed), (4, 4));
        assert_eq!(figures.raw.max(), 3_000_000);
        assert_eq!(figures.corrected.max(), 83_000_000);
        // 0, 1, 3, 23, 43, 63 and 83 ms.
        assert_eq!(LATE_BY_MS.map(|ms| figures.later_than_ms(ms)), [5, 4, 4, 4]);
        assert_eq!(figures.gaps, 1, "83 ms without a tick are a gap");
    }

    #[test]
    fn a_run_without_misses_needs_no_correction() {
        let run = run(&Shape::quiet(7));
        let figures = Figures::of(&run);
        assert_eq!(figures.missed, 0);
        assert_eq!(figures.raw.histogram(), figures.corrected.histogram());
    }

    #[test]
    fn the_period_error_is_that_of_the_time_between_ticks() {
        let figures = Figures::of(&run_of(20, &[(0, 0, 0), (1, MS, 0), (2, 0, 0), (4, 0, 1)]));
        // 21 ms, 19 ms, 40 ms between ticks.
        let mut expected = Distribution::new();
        for error in [1_000_000, 1_000_000, 20_000_000] {
            expected.record(error);
        }
        assert_eq!(figures.period_error.histogram(), expected.histogram());
    }

    #[test]
    fn early_ticks_are_counted_and_are_not_late() {
        let figures = Figures::of(&run_of(20, &[(0, -MS, 0), (1, -2 * MS, 0), (2, 5, 0)]));
        assert_eq!((figures.early, figures.earliest_ns), (2, 2_000_000));
        assert_eq!(figures.raw.min(), 0);
    }

    #[test]
    fn intervals_hold_every_deadline_where_it_was_due() {
        let run = run(&Shape::stalling(3));
        let figures = Figures::of(&run);
        let sum = |field: fn(&Interval) -> u64| figures.intervals.iter().map(field).sum::<u64>();
        assert_eq!(sum(|interval| interval.deadlines), figures.deadlines());
        assert_eq!(sum(|interval| interval.missed), figures.missed);
        assert_eq!(sum(|interval| interval.gaps), figures.gaps);
        assert!(figures.missed > 0 && figures.gaps > 0);
        for interval in &figures.intervals {
            let counted: u64 = interval.buckets.iter().map(|&(_, count)| count).sum();
            assert_eq!(counted, interval.deadlines);
        }
        // 20 ms apart, fifty are due in each whole second.
        let whole = &figures.intervals[..figures.intervals.len() - 1];
        assert!(whole.iter().all(|interval| interval.deadlines == 50));
    }

    #[test]
    fn a_stall_of_seconds_is_in_the_seconds_it_lasted() {
        // 100 ms apart; nothing between 0.4 s and 3.2 s.
        let samples: Vec<(u64, i64, u32)> = (0..5)
            .map(|number| (number, 0, 0))
            .chain([(32, 0, 27)])
            .collect();
        let figures = Figures::of(&run_of(100, &samples));
        let missed: Vec<u64> = figures.intervals.iter().map(|i| i.missed).collect();
        assert_eq!(missed, [5, 10, 10, 2]);
    }

    #[test]
    fn steal_is_that_between_the_intervals_ends() {
        let figures = Figures::of(&run(&Shape::stalling(5)));
        let steal: Vec<u64> = figures
            .intervals
            .iter()
            .filter_map(|i| i.steal_ns)
            .collect();
        assert_eq!(steal.len(), figures.intervals.len());
        assert!(steal.iter().any(|&ns| ns > 0));
        let share = figures.steal_share.unwrap();
        let total = share * figures.intervals.len() as f64 * 1e9;
        let summed = steal.iter().sum::<u64>() as f64;
        assert!((total - summed).abs() <= 0.05 * total, "{total} {summed}");
    }

    #[test]
    fn a_run_without_ticks_has_figures_of_nothing() {
        let figures = Figures::of(&run_of(20, &[]));
        assert_eq!((figures.ticks(), figures.deadlines()), (0, 0));
        assert!(figures.intervals.is_empty());
    }
}
