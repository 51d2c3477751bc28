//! A run cut into intervals, so that what came and went is seen, and so that a comparison knows how much it varies.

use std::time::Duration;

use unisono_timer::jitter::{HostSample, Run};

use super::distribution::Distribution;
use super::figures::{GAP, deadlines, nanos};

/// A run has at most this many intervals; longer ones get longer intervals.
const MOST_INTERVALS: u64 = 7200;

/// What happened to the deadlines of one interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Interval {
    /// Where it begins, since the run's start.
    pub start: Duration,
    /// Deadlines in it, those missed included.
    pub deadlines: u64,
    /// Those that had no tick of their own.
    pub missed: u64,
    /// Stalls of [`GAP`] or more that began with one of them.
    pub gaps: u64,
    /// Median lateness, ns, corrected as in [`Figures`](super::Figures).
    pub p50: u64,
    /// Its 99th percentile, ns.
    pub p99: u64,
    /// The greatest, ns; exact.
    pub max: u64,
    /// CPU time the hypervisor took meanwhile, all CPUs, ns. `None`: the machine does not tell.
    pub steal_ns: Option<u64>,
    /// Time the control group was throttled meanwhile, ns.
    pub throttled_ns: Option<u64>,
    /// Lateness (the greatest its bucket stands for, ns, two significant digits) and how often, ascending.
    pub buckets: Vec<(u64, u64)>,
}

/// How long one interval of the run is: a second, more in runs of more than two hours.
pub fn interval_length(run: &Run) -> Duration {
    let seconds = run.elapsed.as_secs().div_ceil(MOST_INTERVALS).max(1);
    Duration::from_secs(seconds)
}

/// The run's intervals, in order and without gaps; the last one may be shorter.
pub fn intervals(run: &Run) -> Vec<Interval> {
    let length = interval_length(run);
    let mut all = Vec::new();
    cut(run, 2, |start, lateness, Lost { missed, gaps }| {
        let end = start + length;
        all.push(Interval {
            start,
            deadlines: lateness.count(),
            missed,
            gaps,
            p50: lateness.quantile(0.5),
            p99: lateness.quantile(0.99),
            max: lateness.max(),
            steal_ns: counted(&run.host, start, end, |host| host.steal_ns),
            throttled_ns: counted(&run.host, start, end, |host| host.throttled_ns),
            buckets: lateness.buckets().collect(),
        });
    });
    all
}

/// What was lost in an interval.
#[derive(Clone, Copy, Default)]
pub(super) struct Lost {
    /// Deadlines without a tick of their own.
    missed: u64,
    /// Stalls of [`GAP`] or more.
    gaps: u64,
}

/// Calls `each` for every interval in order: its start, the corrected lateness of the deadlines due in it, kept to `digits`
/// significant digits, and what of them was lost.
pub(super) fn cut(run: &Run, digits: u8, mut each: impl FnMut(Duration, &Distribution, Lost)) {
    let length = interval_length(run);
    let mut lateness = Distribution::with_digits(digits);
    let mut lost = Lost::default();
    let mut current = 0_u32;
    // Whether the tick before was the deadline's before, so that a stall would begin with this one.
    let mut first_of_tick = true;
    for deadline in deadlines(run) {
        let due = u128::from(deadline.number) * run.period.as_nanos() / length.as_nanos();
        while u128::from(current) < due {
            each(length * current, &lateness, lost);
            lateness.clear();
            lost = Lost::default();
            current += 1;
        }
        lateness.record(deadline.lateness_ns);
        lost.missed += u64::from(!deadline.had_tick);
        lost.gaps += u64::from(first_of_tick && deadline.lateness_ns >= nanos(GAP));
        first_of_tick = deadline.had_tick;
    }
    if !lateness.is_empty() {
        each(length * current, &lateness, lost);
    }
}

/// How much a counter of the host rose between two times since the run's start.
fn counted(
    host: &[HostSample],
    from: Duration,
    to: Duration,
    counter: impl Fn(&HostSample) -> Option<u64>,
) -> Option<u64> {
    let at = |time: Duration| {
        let seen = host.partition_point(|sample| u128::from(sample.at_ns) <= time.as_nanos());
        let last = host[..seen].last().or(host.first());
        last.and_then(&counter)
    };
    Some(at(to)?.saturating_sub(at(from)?))
}
