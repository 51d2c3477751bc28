//! Precise mode's decisions: how long before a deadline to wake, and what may be spun. No clock is read
//! and nothing sleeps here.
//!
//! The window is a quantile of the latest wake-up latencies, so that about one wake-up in a hundred comes
//! after its deadline. A latency that no window could cover, such as a stall of 100 ms, is left out of it:
//! spinning cannot help against those.
//!
//! The budget is a bucket of spin time that fills with the clock. A window is never longer than what is in
//! the bucket, which makes two things true: what is spun can never exceed the share, and when the latencies
//! ask for more than the budget allows, the window settles where spinning costs just that, instead
//! of being there for one tick and gone for the next.

use std::time::Duration;

use super::latencies::{FIRST_WINDOW, Latencies};
use crate::clock::{MonoTime, saturating_nanos};

/// How much of a CPU [`Ticker::precise`](super::Ticker::precise) may spend on spinning. By default 1 %.
///
/// The share is of one CPU and of the wall clock: from the first wait on no more than `share * time + 0.15 ms`
/// is spent between wake-ups and deadlines, and in any interval `share * interval + 1 ms`. What a wake-up itself costs, some 20 us on a guest, comes in every
/// mode, and is not counted.
///
/// ```
/// use unisono_timer::Precision;
///
/// assert_eq!(Precision::default(), Precision::new(0.01)?);
/// assert!(Precision::new(0.0).is_err());
/// # Ok::<(), unisono_timer::PrecisionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Precision {
    /// Millionths of a CPU, 1 to `WHOLE`.
    share: u32,
}

impl Precision {
    /// Spins for at most `cpu_share` of one CPU, from 0.000001 to 1.
    ///
    /// # Errors
    ///
    /// [`PrecisionError`] for any other number.
    pub fn new(cpu_share: f64) -> Result<Self, PrecisionError> {
        let share = (cpu_share * f64::from(WHOLE)).round();
        // A NaN is in no range.
        if (1.0..=f64::from(WHOLE)).contains(&share) {
            Ok(Self {
                share: share as u32,
            })
        } else {
            Err(PrecisionError { asked: cpu_share })
        }
    }

    /// The share of one CPU that may be spun.
    pub fn cpu_share(self) -> f64 {
        f64::from(self.share) / f64::from(WHOLE)
    }
}

impl Default for Precision {
    fn default() -> Self {
        Self { share: WHOLE / 100 }
    }
}

/// The share of a CPU asked for is no share: ask for 0.000001 to 1.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{asked} is no share of a CPU; ask for 0.000001 to 1 (0.01 is 1 %)")]
#[non_exhaustive]
pub struct PrecisionError {
    /// What was asked for.
    pub asked: f64,
}

/// What precise mode does at present, and has done since the ticker's first precise wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PrecisionStatus {
    /// How long before a deadline the ticker wakes in order to spin. Never more than 1 ms or half a period.
    pub window: Duration,
    /// Time spent spinning.
    pub spun: Duration,
    /// Share of one CPU spent spinning: `spun` of the time since the first wait. 0 before that.
    pub cpu_share: f64,
    /// Deadlines waited for. Those that had come before the wait began do not count.
    pub waits: u64,
    /// Of these, those whose window the budget cut short, down to no window at all: they slept (nearly) up
    /// to their deadline. More budget or a longer period would mend it.
    pub curtailed: u64,
    /// Of all, those that woke after the deadline in spite of the window, by a latency that is rarer than
    /// what it covers.
    pub overslept: u64,
}

/// One ticker's window, budget and counts.
#[derive(Debug)]
pub(super) struct Spinner {
    /// The longest window there may be, ns.
    longest: u64,
    latencies: Latencies,
    budget: Budget,
    /// The budget has cut the present window short.
    short: bool,
    /// The first wait, and the time up to which the budget is filled.
    began: Option<MonoTime>,
    last: MonoTime,
    spun: u64,
    waits: u64,
    curtailed: u64,
    overslept: u64,
}

impl Spinner {
    /// Before any wait. `period` is the distance of two deadlines.
    pub(super) fn new(precision: Precision, period: Duration) -> Self {
        Self {
            // Half of each period is left to sleep in, unless the work takes it.
            longest: LONGEST_WINDOW.min(saturating_nanos(period) / 2),
            latencies: Latencies::new(),
            budget: Budget::new(precision),
            short: false,
            began: None,
            last: MonoTime::default(),
            spun: 0,
            waits: 0,
            curtailed: 0,
            overslept: 0,
        }
    }

    /// When to wake for a deadline that has not come yet, to spin from then on.
    pub(super) fn wake_time(&mut self, deadline: MonoTime, now: MonoTime) -> MonoTime {
        self.advance(now);
        let window = self.window();
        self.short = window < self.wanted();
        deadline - Duration::from_nanos(window)
    }

    /// A sleep that was to end at `asked` ended at `woke`.
    pub(super) fn woke(&mut self, asked: MonoTime, woke: MonoTime) {
        let latency = saturating_nanos(woke.since(asked));
        if latency <= LONGEST_WINDOW {
            self.latencies.record(latency as u32);
        }
    }

    /// A wait for `deadline` is over that was asleep until `woke` and then spun.
    pub(super) fn reached(&mut self, deadline: MonoTime, woke: MonoTime) {
        let spun = saturating_nanos(deadline.since(woke));
        self.budget.take(spun);
        self.advance(deadline.max(woke));
        self.spun = self.spun.saturating_add(spun);
        self.waits += 1;
        self.curtailed += u64::from(self.short);
        self.overslept += u64::from(woke > deadline);
    }

    pub(super) fn status(&self) -> PrecisionStatus {
        let spun = Duration::from_nanos(self.spun);
        let elapsed = self.last.since(self.began.unwrap_or(self.last));
        PrecisionStatus {
            window: Duration::from_nanos(self.window()),
            spun,
            cpu_share: if elapsed.is_zero() {
                0.0
            } else {
                spun.as_secs_f64() / elapsed.as_secs_f64()
            },
            waits: self.waits,
            curtailed: self.curtailed,
            overslept: self.overslept,
        }
    }

    fn advance(&mut self, now: MonoTime) {
        self.last = self.last.max(*self.began.get_or_insert(now));
        self.budget.refill(now.since(self.last));
        self.last = self.last.max(now);
    }

    fn wanted(&self) -> u64 {
        self.latencies.window().min(self.longest)
    }

    fn window(&self) -> u64 {
        self.wanted().min(self.budget.nanos())
    }
}

/// Spin time at hand, in millionths of a nanosecond.
#[derive(Debug)]
pub(super) struct Budget {
    share: u64,
    level: u64,
}

impl Budget {
    const fn new(precision: Precision) -> Self {
        Self {
            share: precision.share as u64,
            level: FIRST_WINDOW * WHOLE as u64,
        }
    }

    /// A full bucket for `share` millionths of a CPU.
    pub(super) const fn full(share: u32) -> Self {
        Self {
            share: share as u64,
            level: FULL,
        }
    }

    pub(super) fn refill(&mut self, elapsed: Duration) {
        let more = saturating_nanos(elapsed).saturating_mul(self.share);
        self.level = self.level.saturating_add(more).min(FULL);
    }

    pub(super) fn take(&mut self, nanos: u64) {
        let used = nanos.saturating_mul(WHOLE as u64);
        self.level = self.level.saturating_sub(used);
    }

    pub(super) const fn nanos(&self) -> u64 {
        self.level / WHOLE as u64
    }
}

/// Millionths that make a whole CPU.
const WHOLE: u32 = 1_000_000;

/// Latencies beyond this are stalls, and no reason to spin.
const LONGEST_WINDOW: u64 = 1_000_000;

/// A bucket that is full can pay for the longest window.
const FULL: u64 = LONGEST_WINDOW * WHOLE as u64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::latencies::{LATER, MARGIN, REMEMBERED};
    use super::*;

    const MILLI: u64 = 1_000_000;
    const MICRO: u64 = 1_000;

    /// A spinner in virtual time, whose wake-ups come as late as it is told.
    struct Machine {
        spinner: Spinner,
        period: u64,
        now: u64,
    }

    impl Machine {
        fn new(precision: Precision, period: u64) -> Self {
            Self {
                spinner: Spinner::new(precision, Duration::from_nanos(period)),
                period,
                now: 1_000 * period,
            }
        }

        /// Waits for the next deadline; returns how late the tick is.
        fn tick(&mut self, latency: u64) -> u64 {
            let deadline = (self.now / self.period + 1) * self.period;
            let now = MonoTime::from_nanos(self.now);
            let due = MonoTime::from_nanos(deadline);
            let asked = self.spinner.wake_time(due, now);
            assert!(asked <= due);
            let woke = if asked > now {
                let woke = asked + Duration::from_nanos(latency);
                self.spinner.woke(asked, woke);
                woke
            } else {
                now
            };
            self.spinner.reached(due, woke);
            self.now = deadline.max(woke.as_nanos());
            self.now - deadline
        }

        fn window(&self) -> u64 {
            saturating_nanos(self.spinner.status().window)
        }
    }

    /// Repeatable numbers below 2^31, in no order.
    fn random() -> impl FnMut() -> u64 {
        let mut state = 42_u64;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        }
    }

    /// Latencies of a guest: 40 to 60 us, one in a hundred up to 1 ms more.
    fn guest(mut random: impl FnMut() -> u64) -> impl FnMut() -> u64 {
        move || {
            let usual = 40 * MICRO + random() % (20 * MICRO);
            match random() % 100 {
                0 => usual + random() % MILLI,
                _ => usual,
            }
        }
    }

    #[test]
    fn nearly_every_tick_is_in_time_and_the_cost_small() {
        let mut machine = Machine::new(Precision::default(), 20 * MILLI);
        let mut latency = guest(random());
        let late = (0..50_000).filter(|_| machine.tick(latency()) > 0).count();
        assert!((250..1_250).contains(&late), "0.5 to 2.5 %, not {late}");
        let status = machine.spinner.status();
        assert_eq!((status.waits, status.overslept), (50_000, late as u64));
        assert!(status.cpu_share < 0.005, "{status:?}");
        assert!(status.spun > Duration::ZERO);
    }

    #[test]
    fn the_window_follows_the_latencies_both_ways() {
        let mut machine = Machine::new(Precision::default(), 20 * MILLI);
        assert_eq!(machine.window(), FIRST_WINDOW);
        for latency in [50 * MICRO, 180 * MICRO, 20 * MICRO] {
            for _ in 0..REMEMBERED {
                machine.tick(latency);
            }
            assert_eq!(machine.window(), latency + MARGIN);
        }
    }

    #[test]
    fn a_stall_does_not_widen_the_window() {
        let mut machine = Machine::new(Precision::default(), 20 * MILLI);
        for _ in 0..100 {
            machine.tick(50 * MICRO);
        }
        // More stalls than quiet wake-ups.
        for stall in [103 * MILLI, 5_003 * MILLI, 2 * MILLI, LONGEST_WINDOW + 1] {
            for _ in 0..1000 {
                machine.tick(stall);
            }
            assert_eq!(machine.window(), 50 * MICRO + MARGIN);
        }
        assert_eq!(machine.spinner.status().overslept, 4000);
    }

    #[test]
    fn a_few_rare_latencies_do_not_widen_the_window() {
        let mut machine = Machine::new(Precision::default(), 20 * MILLI);
        for n in 0..10 * REMEMBERED {
            let rare = n > REMEMBERED && n % (REMEMBERED / LATER) == 0;
            machine.tick(if rare { 900 * MICRO } else { 50 * MICRO });
            if n > REMEMBERED {
                assert_eq!(machine.window(), 50 * MICRO + MARGIN);
            }
        }
    }

    #[test]
    fn a_window_beyond_the_budget_settles_where_spinning_costs_the_share() {
        // 10 us of each millisecond, which is less than a wake-up takes: the window must not shrink to that.
        let mut machine = Machine::new(Precision::default(), MILLI);
        let mut latency = guest(random());
        for _ in 0..5_000 {
            machine.tick(latency());
        }
        let before = machine.spinner.status();
        let late = (0..50_000)
            .filter(|_| machine.tick(latency()) > 1_000)
            .count();
        let after = machine.spinner.status();
        assert!(late < 35_000, "{late} of 50,000");
        let share = (after.spun - before.spun).as_secs_f64() / (50_000.0 * 0.001);
        assert!((0.0095..=0.0101).contains(&share), "{share}");
        assert!(after.curtailed > before.curtailed);
    }

    #[test]
    fn at_least_half_of_a_period_is_slept() {
        let whole = Precision::new(1.0).unwrap();
        let mut machine = Machine::new(whole, 100 * MICRO);
        for _ in 0..REMEMBERED {
            machine.tick(80 * MICRO);
        }
        assert_eq!(machine.window(), 50 * MICRO);
        // The shortest period there is.
        let mut machine = Machine::new(whole, MICRO);
        for _ in 0..REMEMBERED {
            machine.tick(40 * MICRO);
        }
        assert_eq!(machine.window(), MICRO / 2);
    }

    #[test]
    fn a_share_is_a_number_between_0_and_1() {
        for share in [0.0, -0.01, 1.01, f64::NAN, f64::INFINITY, 1e-7] {
            assert!(Precision::new(share).is_err(), "{share}");
        }
        for share in [1e-6, 0.01, 0.25, 1.0] {
            assert!((Precision::new(share).unwrap().cpu_share() - share).abs() < 1e-9);
        }
        let error = Precision::new(7.0).unwrap_err().to_string();
        assert_eq!(
            error,
            "7 is no share of a CPU; ask for 0.000001 to 1 (0.01 is 1 %)"
        );
    }

    #[test]
    fn before_the_first_wait_the_status_is_zero_but_for_the_window() {
        let status = Machine::new(Precision::default(), 20 * MILLI)
            .spinner
            .status();
        let window = Duration::from_nanos(FIRST_WINDOW);
        let expected = PrecisionStatus {
            window,
            ..PrecisionStatus::default()
        };
        assert_eq!(status, expected);
    }

    proptest! {
        #[test]
        fn what_is_spun_never_exceeds_the_share_and_a_burst(
            share in 1e-6_f64..=1.0,
            period in 1_000_u64..100 * MILLI,
            // Wake-up latency, then work, in microseconds.
            events in prop::collection::vec((0_u64..3_000, 0_u64..50_000), 1..300),
        ) {
            let precision = Precision::new(share).unwrap();
            let mut machine = Machine::new(precision, period);
            let start = machine.now;
            let mut history = Vec::new();
            for (latency, work) in events {
                let spun = |machine: &Machine| saturating_nanos(machine.spinner.status().spun);
                history.push((machine.now, spun(&machine)));
                machine.tick(latency * MICRO);
                let allowed = |since: u64| precision.cpu_share() * (machine.now - since) as f64;
                let all = spun(&machine) as f64;
                prop_assert!(all <= allowed(start) + FIRST_WINDOW as f64 + 1.0);
                for &(since, before) in &history {
                    prop_assert!(all - before as f64 <= allowed(since) + MILLI as f64 + 1.0);
                }
                prop_assert!(machine.window() <= (period / 2).min(LONGEST_WINDOW));
                machine.now += work * MICRO;
            }
        }
    }
}
