//! From evidence to cause. Pure.

use std::time::Duration;

use super::cause::{Cause, Evidence, Outlier};
use super::observer::{Observed, Taken, WAKE_OFFSET, WAKE_PERIOD};
use crate::clock::saturating_nanos;

/// The cause that explains a tick being `lateness` late.
///
/// First come figures in nanoseconds. The first that is at least half of the lateness wins, in this order:
///
/// 1. a jump of CLOCK_MONOTONIC itself at this very tick: rare, exact, and it may make the others wrong. A step of the wall
///    clock is none, since deadlines are of CLOCK_MONOTONIC;
/// 2. throttling around the tick: exact to a microsecond;
/// 3. steal around the tick, in steps of 10 ms;
/// 4. the time that the thread was ready but had no CPU ([`Cause::InvoluntarySwitch`]). Steal goes first because
///    this includes it: a thread waits just as long when the hypervisor holds the CPU that it waits for.
///
/// Then what was only counted at this very tick, when nothing accounts for the time: major page faults (each
/// waits for a disk), involuntary switches where the machine does not tell the time, minor page faults
/// (a microsecond each, more when memory is short), a migration.
///
/// Steal and throttling are those that the observer saw arise between its readings, 10 ms apart (100 where reading is
/// costly), from the deadline to 10 ms after the wake-up, when the kernel has surely counted them, and on all CPUs. So
/// where time is taken continually, a tick that was late for another reason can have its share of it. When
/// nothing explains a tick and [`Evidence::observer_lateness_ns`] is as great as its lateness, the whole guest stood
/// still and its kernel was not told why.
pub fn classify(evidence: &Evidence, lateness: Duration) -> Cause {
    let half = (saturating_nanos(lateness) / 2).max(1);
    let explains = |nanos: Option<u64>| nanos.is_some_and(|nanos| nanos >= half);
    if evidence.clock_jump_ns.unsigned_abs() >= half {
        Cause::ClockJump
    } else if explains(evidence.throttled_ns) {
        Cause::Throttling
    } else if explains(evidence.steal_ns) {
        Cause::Steal
    } else if explains(evidence.run_delay_ns) {
        Cause::InvoluntarySwitch
    } else if evidence.major_faults > 0 {
        Cause::PageFault
    } else if evidence.involuntary_switches > 0 && evidence.run_delay_ns.is_none() {
        Cause::InvoluntarySwitch
    } else if evidence.minor_faults > 0 {
        Cause::PageFault
    } else if evidence.migrated.is_some() {
        Cause::Migration
    } else {
        Cause::Unknown
    }
}

/// Adds to each outlier what the observer saw around it, and names its cause.
pub(super) fn explain(outliers: &mut [Outlier], observed: &Observed) {
    let last = observed.host.last().copied().unwrap_or_default();
    let counts_steal = last.steal_ns.is_some();
    let counts_throttling = last.throttled_ns.is_some();
    for outlier in outliers {
        let due_ns = outlier.at_ns.saturating_sub(outlier.lateness_ns);
        let evidence = &mut outlier.evidence;
        let (steal_ns, throttled_ns) = taken_between(&observed.taken, due_ns, outlier.at_ns);
        evidence.steal_ns = counts_steal.then_some(steal_ns);
        evidence.throttled_ns = counts_throttling.then_some(throttled_ns);
        evidence.observer_lateness_ns =
            lateness_between(&observed.wakes, due_ns, outlier.at_ns).map(u64::from);
        outlier.cause = classify(evidence, Duration::from_nanos(outlier.lateness_ns));
    }
}

/// Steal and throttling that arose in the span or soon enough after it to belong there.
fn taken_between(taken: &[Taken], from_ns: u64, to_ns: u64) -> (u64, u64) {
    let first = taken.partition_point(|one| one.to_ns <= from_ns);
    let counted_ns = to_ns.saturating_add(STEAL_STEP_NS);
    let within = taken[first..]
        .iter()
        .take_while(|one| one.from_ns < counted_ns);
    within.fold((0, 0), |(steal_ns, throttled_ns), one| {
        (steal_ns + one.steal_ns, throttled_ns + one.throttled_ns)
    })
}

/// The greatest lateness of the observer's wake-ups that were due in the span or still to come when it began;
/// `None` when there was none.
fn lateness_between(wakes: &[u32], from_ns: u64, to_ns: u64) -> Option<u32> {
    let (offset, period) = (saturating_nanos(WAKE_OFFSET), saturating_nanos(WAKE_PERIOD));
    let last = to_ns.checked_sub(offset)? / period;
    let first = from_ns.saturating_sub(offset) / period;
    let due_and_late = (first..=last).filter_map(|number| {
        let late = *wakes.get(usize::try_from(number).ok()?)?;
        let due = number * period + offset;
        (due.saturating_add(u64::from(late)) >= from_ns).then_some(late)
    });
    due_and_late.max()
}

/// The kernel counts steal when its timer ticks next, in such steps.
const STEAL_STEP_NS: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::super::record::HostSample;
    use super::*;

    const MS: u64 = 1_000_000;

    fn late_by_4_ms(change: impl FnOnce(&mut Evidence)) -> Cause {
        let mut evidence = Evidence {
            steal_ns: Some(0),
            throttled_ns: Some(0),
            run_delay_ns: Some(0),
            ..Evidence::default()
        };
        change(&mut evidence);
        classify(&evidence, Duration::from_millis(4))
    }

    #[test]
    fn each_figure_explains_what_it_is_half_of() {
        assert_eq!(late_by_4_ms(|_| {}), Cause::Unknown);
        for (nanos, explained) in [(2 * MS - 1, false), (2 * MS, true)] {
            let expect = |cause| if explained { cause } else { Cause::Unknown };
            assert_eq!(
                late_by_4_ms(|seen| seen.clock_jump_ns = -(nanos as i64)),
                expect(Cause::ClockJump)
            );
            assert_eq!(
                late_by_4_ms(|seen| seen.throttled_ns = Some(nanos)),
                expect(Cause::Throttling)
            );
            assert_eq!(
                late_by_4_ms(|seen| seen.steal_ns = Some(nanos)),
                expect(Cause::Steal)
            );
            assert_eq!(
                late_by_4_ms(|seen| seen.run_delay_ns = Some(nanos)),
                expect(Cause::InvoluntarySwitch)
            );
        }
    }

    #[test]
    fn what_goes_first_wins() {
        // From the last to the first, each added to all those after it.
        let mut evidence = Evidence::default();
        let lateness = Duration::from_millis(4);
        let mut expect = |change: fn(&mut Evidence), cause| {
            change(&mut evidence);
            assert_eq!(classify(&evidence, lateness), cause, "{evidence:?}");
        };
        expect(|_| {}, Cause::Unknown);
        expect(|seen| seen.migrated = Some((0, 1)), Cause::Migration);
        expect(|seen| seen.minor_faults = 1, Cause::PageFault);
        expect(
            |seen| seen.involuntary_switches = 1,
            Cause::InvoluntarySwitch,
        );
        expect(|seen| seen.major_faults = 1, Cause::PageFault);
        expect(
            |seen| seen.run_delay_ns = Some(4 * MS),
            Cause::InvoluntarySwitch,
        );
        expect(|seen| seen.steal_ns = Some(10 * MS), Cause::Steal);
        expect(|seen| seen.throttled_ns = Some(4 * MS), Cause::Throttling);
        expect(
            |seen| seen.clock_jump_ns = 3_600_000 * MS as i64,
            Cause::ClockJump,
        );
    }

    #[test]
    fn a_switch_that_took_no_time_is_no_cause() {
        assert_eq!(
            late_by_4_ms(|seen| seen.involuntary_switches = 3),
            Cause::Unknown
        );
        assert_eq!(
            classify(&Evidence::default(), Duration::ZERO),
            Cause::Unknown
        );
    }

    /// 20 ms were stolen between 200 and 210 ms, 5 ms withheld between 400 and 410.
    fn observed() -> Observed {
        let taken = |from_ms: u64, steal_ns, throttled_ns| Taken {
            from_ns: from_ms * MS,
            to_ns: (from_ms + 10) * MS,
            steal_ns,
            throttled_ns,
        };
        let counts_all = HostSample {
            steal_ns: Some(20 * MS),
            throttled_ns: Some(5 * MS),
            ..HostSample::default()
        };
        Observed {
            host: vec![counts_all],
            taken: vec![taken(200, 20 * MS, 0), taken(400, 0, 5 * MS)],
            ..Observed::default()
        }
    }

    fn outlier(due_ms: u64, late_ms: u64) -> Outlier {
        Outlier {
            number: due_ms / 20,
            at_ns: (due_ms + late_ms) * MS,
            lateness_ns: late_ms * MS,
            cause: Cause::Unknown,
            evidence: Evidence::default(),
        }
    }

    #[test]
    fn outliers_get_what_happened_around_them() {
        let due = [180, 191, 204, 209, 210, 404, 504];
        let mut outliers = due.map(|due_ms| outlier(due_ms, 4));
        explain(&mut outliers, &observed());
        let causes = outliers.each_ref().map(|one| one.cause);
        let expected = [
            // Woke at 184 ms: what was counted after 200 belongs to others.
            Cause::Unknown,
            // Woke at 195 ms, so soon before that the kernel may have counted it only then.
            Cause::Steal,
            Cause::Steal,
            Cause::Steal,
            Cause::Unknown,
            Cause::Throttling,
            Cause::Unknown,
        ];
        assert_eq!(causes, expected);
        assert_eq!(outliers[1].evidence.steal_ns, Some(20 * MS));
        assert_eq!(outliers[1].evidence.throttled_ns, Some(0));
        assert_eq!(outliers[1].evidence.observer_lateness_ns, None);
    }

    #[test]
    fn a_long_outlier_gets_all_that_was_taken_in_its_time() {
        let mut outliers = [outlier(100, 700)];
        explain(&mut outliers, &observed());
        assert_eq!(outliers[0].evidence.steal_ns, Some(20 * MS));
        assert_eq!(outliers[0].evidence.throttled_ns, Some(5 * MS));
    }

    #[test]
    fn what_the_kernel_does_not_count_is_not_known() {
        let mut outliers = [outlier(204, 4)];
        explain(&mut outliers, &Observed::default());
        let evidence = outliers[0].evidence;
        assert_eq!((evidence.steal_ns, evidence.throttled_ns), (None, None));
    }

    #[test]
    fn the_observers_lateness_is_that_of_the_same_time() {
        // Due at 0.437, 10.437, 20.437 and 30.437 ms.
        let wakes = [50_000, 15 * MS as u32, 5 * MS as u32, 60_000];
        assert_eq!(lateness_between(&wakes, 0, MS), Some(50_000));
        // Nothing of the observer's was due between 2 and 8 ms.
        assert_eq!(lateness_between(&wakes, 2 * MS, 8 * MS), None);
        assert_eq!(lateness_between(&wakes, 10 * MS, 25 * MS), Some(15_000_000));
        // Still waiting since 10.437 and 20.437.
        assert_eq!(lateness_between(&wakes, 22 * MS, 23 * MS), Some(5_000_000));
        assert_eq!(lateness_between(&wakes, 30 * MS, 90 * MS), Some(60_000));
        assert_eq!(lateness_between(&wakes, 50 * MS, 90 * MS), None);
        assert_eq!(lateness_between(&wakes, 0, 400_000), None);
        assert_eq!(lateness_between(&[], 0, u64::MAX / 2_000), None);
    }
}
