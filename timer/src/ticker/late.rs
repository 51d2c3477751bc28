//! Which deadline a late ticker delivers: a pure function of schedule, policy and clock readings.

use crate::clock::MonoTime;
use crate::schedule::Schedule;

use super::Tick;

/// What [`Ticker::wait`](super::Ticker::wait) does about deadlines that came while nobody waited, or while
/// the machine stood still.
///
/// After a stall of `n` periods, with `n` deadlines due of which the last is less than one period old:
///
/// | policy | ticks at once | their numbers | `missed` | next tick |
/// |---|---|---|---|---|
/// | `Coalesce` | 1 | the latest | `n - 1` | on time |
/// | `Count { at_most }` | `n`, at most `at_most + 1` | each in order, up to the latest | on the first: what exceeds `at_most + 1` | on time |
/// | `Skip` | 0 | | | on time, and its `missed` is `n` |
///
/// Whatever the policy and the stalls, ticks plus `missed` make every number that was passed, exactly once,
/// and no stall, however long, makes a storm of ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LatePolicy {
    /// One tick for all that is due: the latest number. For work that can make up for several periods at
    /// once, or need not.
    #[default]
    Coalesce,
    /// Each deadline that is due is a tick of its own, at once and in order. For work that must be done
    /// once for each period, such as a timer whose reader counts.
    Count {
        /// How many deadlines a tick may be behind the latest; those further behind are missed. 0 is
        /// the same as `Coalesce`.
        at_most: u32,
    },
    /// What is late is dropped: the next tick is a deadline that had not come when it was waited for. For
    /// work that is useless out of time. A tick is late by less than a period, unless eight deadlines
    /// in a row were slept through: then the latest is delivered, so that a ticker cannot starve.
    Skip,
}

/// The end of a wait for one deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    /// The clock, not before the deadline.
    pub(super) at: MonoTime,
    /// The deadline had not come when the wait began.
    pub(super) waited: bool,
}

/// The tick after number `next - 1`. `reach` waits for a number's deadline, not at all when it has come.
pub(super) fn next_tick<E>(
    policy: LatePolicy,
    schedule: &Schedule,
    next: u64,
    mut reach: impl FnMut(u64) -> Result<Reached, E>,
) -> Result<Tick, E> {
    let mut target = next;
    let mut skips_left = match policy {
        LatePolicy::Skip => MOST_SKIPS,
        _ => 0,
    };
    loop {
        let Reached { at: woke, waited } = reach(target)?;
        let latest = schedule.number_at(woke).max(target);
        if skips_left > 0 && latest < u64::MAX && !(waited && latest == target) {
            skips_left -= 1;
            target = latest + 1;
            continue;
        }
        let number = match policy {
            LatePolicy::Count { at_most } => target.max(latest.saturating_sub(at_most.into())),
            LatePolicy::Coalesce | LatePolicy::Skip => latest,
        };
        return Ok(Tick {
            number,
            deadline: schedule.deadline(number),
            woke,
            missed: number - next,
        });
    }
}

/// A wait slept through its whole period so often; more would let a very slow machine never tick.
const MOST_SKIPS: u32 = 8;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::schedule::Period;

    const ORIGIN: MonoTime = MonoTime::from_nanos(7_000_000_123);

    /// A clock that moves only when told to, and a sleeper on it.
    struct Machine {
        schedule: Schedule,
        now: MonoTime,
        next: u64,
    }

    impl Machine {
        fn new(ticks: u64, seconds: u64) -> Self {
            let schedule = Schedule::new(ORIGIN, Period::from_rate(ticks, seconds).unwrap());
            Self {
                schedule,
                now: ORIGIN,
                next: schedule.next_after(ORIGIN),
            }
        }

        /// One wait, in which every wake-up comes as late as `latencies` says, in turn.
        fn wait(&mut self, policy: LatePolicy, mut latency: impl FnMut() -> Duration) -> Tick {
            let (schedule, now) = (self.schedule, &mut self.now);
            let reach = |number| {
                let deadline = schedule.deadline(number);
                let waited = *now < deadline;
                if waited {
                    *now = deadline + latency();
                }
                Ok::<_, Infallible>(Reached { at: *now, waited })
            };
            let Ok(tick) = next_tick(policy, &schedule, self.next, reach);
            self.next = tick.number + 1;
            tick
        }

        fn stall(&mut self, span: Duration) {
            self.now = self.now + span;
        }
    }

    fn punctual() -> Duration {
        Duration::ZERO
    }

    /// Number and missed of `count` ticks after a stall of 10.5 periods.
    fn after_a_stall(policy: LatePolicy, count: usize) -> Vec<(u64, u64, bool)> {
        let mut machine = Machine::new(50, 1);
        let first = machine.wait(policy, punctual);
        assert_eq!((first.number, first.missed), (1, 0));
        machine.stall(Duration::from_millis(210));
        (0..count)
            .map(|_| {
                let tick = machine.wait(policy, punctual);
                (tick.number, tick.missed, tick.lateness() == Duration::ZERO)
            })
            .collect()
    }

    #[test]
    fn coalescing_makes_one_tick_of_a_stall() {
        let ticks = after_a_stall(LatePolicy::Coalesce, 2);
        assert_eq!(ticks, [(11, 9, false), (12, 0, true)]);
    }

    #[test]
    fn counting_delivers_each_deadline_up_to_the_bound() {
        let ticks = after_a_stall(LatePolicy::Count { at_most: 2 }, 4);
        let expected = [(9, 7, false), (10, 0, false), (11, 0, false), (12, 0, true)];
        assert_eq!(ticks, expected);
        let all = after_a_stall(LatePolicy::Count { at_most: 50 }, 11);
        assert!(all.iter().all(|&(_, missed, _)| missed == 0));
        assert_eq!(
            (all[0].0, all[9], all[10]),
            (2, (11, 0, false), (12, 0, true))
        );
    }

    #[test]
    fn skipping_drops_what_is_late_and_goes_on_in_time() {
        let ticks = after_a_stall(LatePolicy::Skip, 2);
        assert_eq!(ticks, [(12, 10, true), (13, 0, true)]);
    }

    #[test]
    fn skipping_a_stall_in_mid_sleep_also_goes_on_in_time() {
        let mut machine = Machine::new(50, 1);
        let mut latencies = [Duration::from_millis(5_003), Duration::ZERO].into_iter();
        let tick = machine.wait(LatePolicy::Skip, || latencies.next().unwrap());
        assert_eq!((tick.number, tick.missed), (252, 251));
        assert_eq!(tick.lateness(), Duration::ZERO);
    }

    #[test]
    fn skipping_does_not_starve_on_a_machine_that_always_wakes_too_late() {
        let mut machine = Machine::new(1_000_000, 1);
        let mut sleeps = 0;
        let tick = machine.wait(LatePolicy::Skip, || {
            sleeps += 1;
            Duration::from_micros(45)
        });
        assert_eq!(sleeps, MOST_SKIPS + 1);
        assert_eq!(tick.number - tick.missed, 1);
    }

    #[test]
    fn the_end_of_time_is_no_obstacle() {
        let schedule = Schedule::new(ORIGIN, Period::from_rate(1_000_000, 1).unwrap());
        let policies = [
            LatePolicy::Coalesce,
            LatePolicy::Count { at_most: u32::MAX },
            LatePolicy::Skip,
        ];
        for policy in policies {
            let at = MonoTime::MAX;
            let waited = true;
            let tick = next_tick(policy, &schedule, u64::MAX, |_| {
                Ok::<_, Infallible>(Reached { at, waited })
            });
            let Ok(tick) = tick;
            assert_eq!((tick.number, tick.missed), (u64::MAX, 0));
        }
    }

    #[test]
    fn a_million_ticks_through_stalls_do_not_drift_at_any_rate() {
        let rates = [
            (50, 1),
            (100, 3),
            (333, 10),
            (30, 1),
            (44_100, 1024),
            (997, 7),
        ];
        for (ticks, seconds) in rates {
            for policy in [
                LatePolicy::Coalesce,
                LatePolicy::Count { at_most: 3 },
                LatePolicy::Skip,
            ] {
                let mut machine = Machine::new(ticks, seconds);
                let first = machine.next;
                let mut random = 1_u64;
                let (mut delivered, mut missed) = (0, 0);
                while delivered < 1_000_000 {
                    let tick = machine.wait(policy, || {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        // 50 us, and once in 256 wake-ups up to 134 ms.
                        match random >> 56 {
                            0 => Duration::from_nanos(random >> 20 & 0x7ff_ffff),
                            _ => Duration::from_micros(50),
                        }
                    });
                    delivered += 1;
                    missed += tick.missed;
                    assert!(tick.woke >= tick.deadline);
                }
                let last = machine.next - 1;
                assert_eq!(delivered + missed, last + 1 - first);
                let exact = 1_000_000_000 * u128::from(seconds) * u128::from(last)
                    / u128::from(ticks)
                    + u128::from(ORIGIN.as_nanos());
                assert_eq!(
                    u128::from(machine.schedule.deadline(last).as_nanos()),
                    exact
                );
                assert!(missed > 0, "{policy:?} was put to the test");
            }
        }
    }

    fn any_policy() -> impl Strategy<Value = LatePolicy> {
        prop_oneof![
            Just(LatePolicy::Coalesce),
            (0_u32..40).prop_map(|at_most| LatePolicy::Count { at_most }),
            Just(LatePolicy::Skip),
        ]
    }

    proptest! {
        #[test]
        fn ticks_and_missed_make_every_number_whatever_the_stalls(
            policy in any_policy(),
            (ticks, seconds) in (1_u64..=100_000, 1_u64..=300),
            // In thousandths of a period: how late a wake-up is, and how long the work after it takes.
            events in prop::collection::vec((0_u64..3_000, 0_u64..30_000), 1..200),
        ) {
            let mut machine = Machine::new(ticks, seconds);
            let thousandth = machine.schedule.period().to_duration() / 1_000;
            let (first, mut delivered, mut missed) = (machine.next, 0, 0);
            for (late, work) in events {
                let expected = machine.next;
                let tick = machine.wait(policy, || thousandth * late as u32);
                prop_assert_eq!(tick.number - tick.missed, expected);
                prop_assert_eq!(tick.deadline, machine.schedule.deadline(tick.number));
                prop_assert!(tick.woke >= tick.deadline);
                let behind = machine.schedule.number_at(tick.woke) - tick.number;
                match policy {
                    LatePolicy::Count { at_most } => prop_assert!(behind <= at_most.into()),
                    LatePolicy::Coalesce | LatePolicy::Skip => prop_assert_eq!(behind, 0),
                }
                delivered += 1;
                missed += tick.missed;
                machine.stall(thousandth * work as u32);
            }
            prop_assert_eq!(delivered + missed, machine.next - first);
        }
    }
}
