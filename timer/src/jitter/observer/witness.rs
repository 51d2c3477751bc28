//! What the observer can say of a late tick: what it saw from another CPU.
//!
//! On the CPU of the tick it stands still with it, whoever took that CPU: nothing of that tells a stall of the whole
//! guest from one of a single thread.

use super::super::cause::Outlier;
use super::super::record::Sample;
use super::{Observed, WAKE_OFFSET, WAKE_PERIOD};
use crate::clock::saturating_nanos;

impl Observed {
    /// Leaves of the observer's lateness in the evidence what it saw from other CPUs than those on which the tick
    /// waited and woke. `samples` are the run's.
    pub(in super::super) fn keep_what_was_seen_elsewhere(
        &self,
        outliers: &mut [Outlier],
        samples: &[Sample],
    ) {
        for outlier in outliers {
            let sample = samples.binary_search_by_key(&outlier.number, |sample| sample.number);
            let woke_on = sample.ok().map(|place| samples[place].cpu);
            let waited_on = outlier.evidence.migrated.map(|(before, _)| before);
            let due_ns = outlier.at_ns.saturating_sub(outlier.lateness_ns);
            let seen = self.lateness_elsewhere(due_ns, outlier.at_ns, [woke_on, waited_on]);
            outlier.evidence.observer_lateness_ns = seen;
        }
    }

    /// The greatest lateness, ns, of the wake-ups on none of `cpus` that were due in the span or still to come when it
    /// began; `None` when there was none.
    fn lateness_elsewhere(&self, from_ns: u64, to_ns: u64, cpus: [Option<u32>; 2]) -> Option<u64> {
        let (offset, period) = (saturating_nanos(WAKE_OFFSET), saturating_nanos(WAKE_PERIOD));
        let last = to_ns.checked_sub(offset)? / period;
        let first = from_ns.saturating_sub(offset) / period;
        // No further than there are wake-ups, however late the tick.
        let last = last.min(self.wakes.len() as u64);
        let due_and_late = (first..=last).filter_map(|number| {
            let place = usize::try_from(number).ok()?;
            let (late, cpu) = (*self.wakes.get(place)?, *self.wake_cpus.get(place)?);
            let due = number * period + offset;
            let in_time = due.saturating_add(u64::from(late)) >= from_ns;
            (in_time && !cpus.contains(&Some(cpu))).then_some(u64::from(late))
        });
        due_and_late.max()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::cause::{Cause, Evidence};
    use super::*;

    const MS: u64 = 1_000_000;

    /// A tick due at 10 ms and 15 ms late, on CPU 0.
    fn outlier(migrated: Option<(u32, u32)>) -> Outlier {
        Outlier {
            number: 3,
            at_ns: 25 * MS,
            lateness_ns: 15 * MS,
            cause: Cause::Unknown,
            evidence: Evidence {
                migrated,
                // What all wake-ups say.
                observer_lateness_ns: Some(14 * MS),
                ..Evidence::default()
            },
        }
    }

    fn seen(wake_cpus: [u32; 4], migrated: Option<(u32, u32)>) -> Option<u64> {
        // Due at 0.437, 10.437, 20.437 and 30.437 ms.
        let observed = Observed {
            wakes: [1, 14, 4, 0].map(|ms| ms * MS as u32).to_vec(),
            wake_cpus: wake_cpus.to_vec(),
            ..Observed::default()
        };
        let sample = |number, cpu| Sample {
            number,
            lateness_ns: 0,
            missed: 0,
            cpu,
        };
        let mut outliers = [outlier(migrated)];
        observed.keep_what_was_seen_elsewhere(&mut outliers, &[sample(1, 1), sample(3, 0)]);
        outliers[0].evidence.observer_lateness_ns
    }

    #[test]
    fn only_another_cpu_is_a_witness() {
        assert_eq!(seen([1; 4], None), Some(14 * MS));
        assert_eq!(seen([0; 4], None), None);
        // The one of 14 ms was on the tick's own CPU.
        assert_eq!(seen([1, 0, 1, 1], None), Some(4 * MS));
        // What was over before, and what was due after, is of another time.
        assert_eq!(seen([1, 0, 0, 1], None), None);
        // It waited on CPU 1 and woke on CPU 0.
        assert_eq!(seen([1; 4], Some((1, 0))), None);
        assert_eq!(seen([2; 4], Some((1, 0))), Some(14 * MS));
    }

    #[test]
    fn nothing_observed_is_no_evidence() {
        let observed = Observed::default();
        assert_eq!(observed.lateness_elsewhere(0, u64::MAX, [None; 2]), None);
        assert_eq!(observed.lateness_elsewhere(0, 400_000, [None; 2]), None);
    }
}
