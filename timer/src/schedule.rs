//! A grid of deadlines on the time line, exact for ever.
//!
//! Pure arithmetic: no clock is read, nothing is allocated, nothing panics.
//! A deadline is computed from its number, never by adding a rounded period to the one before it,
//! so the millionth deadline is as exact as the first, also for rates such as 30 Hz whose period
//! is not a whole number of nanoseconds.

use std::fmt;
use std::time::Duration;

use crate::clock::{MonoTime, NANOS_PER_SEC};

/// The distance of two deadlines: an exact fraction of nanoseconds, at least 1 us long.
///
/// ```
/// use std::time::Duration;
/// use unisono_timer::Period;
///
/// let frame = Period::from_duration(Duration::from_millis(20))?;
/// assert_eq!(frame, Period::from_rate(50, 1)?);
/// let thirds = Period::from_rate(100, 3)?; // 33.3… Hz
/// assert_eq!(thirds.to_duration(), Duration::from_millis(30));
/// # Ok::<(), unisono_timer::PeriodError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    /// Nanoseconds times `divisor`; the fraction is in lowest terms.
    nanos: u64,
    /// 1 or more.
    divisor: u64,
}

impl Period {
    /// A period of a whole number of nanoseconds.
    ///
    /// # Errors
    ///
    /// [`PeriodError::TooShort`] below 1 us, [`PeriodError::TooLong`] above 584 years.
    pub const fn from_duration(duration: Duration) -> Result<Self, PeriodError> {
        Self::from_fraction(duration.as_nanos(), 1)
    }

    /// The period of `ticks` deadlines every `seconds`: `(30, 1)` is 30 Hz, `(100, 3)` is 33.3… Hz.
    ///
    /// # Errors
    ///
    /// [`PeriodError::Zero`] when either is 0, [`PeriodError::TooShort`] above 1 MHz,
    /// [`PeriodError::TooLong`] when the exact fraction does not fit 64 bits.
    pub const fn from_rate(ticks: u64, seconds: u64) -> Result<Self, PeriodError> {
        Self::from_fraction(NANOS_PER_SEC as u128 * seconds as u128, ticks)
    }

    /// The period rounded down to whole nanoseconds, for display.
    pub const fn to_duration(self) -> Duration {
        Duration::from_nanos(self.nanos / self.divisor)
    }

    /// Deadlines in a second.
    pub fn rate_hz(self) -> f64 {
        NANOS_PER_SEC as f64 * self.divisor as f64 / self.nanos as f64
    }

    const fn from_fraction(nanos: u128, divisor: u64) -> Result<Self, PeriodError> {
        if nanos == 0 || divisor == 0 {
            return Err(PeriodError::Zero);
        }
        if nanos < SHORTEST_NANOS * divisor as u128 {
            return Err(PeriodError::TooShort);
        }
        let common = greatest_common_divisor(nanos, divisor as u128);
        let nanos = nanos / common;
        if nanos > u64::MAX as u128 {
            return Err(PeriodError::TooLong);
        }
        Ok(Self {
            nanos: nanos as u64,
            divisor: (divisor as u128 / common) as u64,
        })
    }

    /// The shortest multiple of the period that is a whole number of nanoseconds: grids whose origins
    /// are a multiple of it apart are the same grid.
    pub(crate) const fn cycle_nanos(self) -> u64 {
        self.nanos
    }

    /// Time from the origin to deadline `number`, rounded down.
    const fn span(self, number: u64) -> u64 {
        let nanos = self.nanos as u128 * number as u128 / self.divisor as u128;
        if nanos > u64::MAX as u128 {
            u64::MAX
        } else {
            nanos as u64
        }
    }

    /// The greatest number whose span is at most `nanos`.
    const fn number_within(self, nanos: u64) -> u64 {
        // floor(n * p / q) <= d  <=>  n * p < (d + 1) * q. The product fits: both are at most 2^64,
        // and one is less. The quotient fits because a period is longer than a nanosecond.
        let bound = (nanos as u128 + 1) * self.divisor as u128;
        ((bound - 1) / self.nanos as u128) as u64
    }
}

impl TryFrom<Duration> for Period {
    type Error = PeriodError;

    fn try_from(duration: Duration) -> Result<Self, PeriodError> {
        Self::from_duration(duration)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.divisor == 1 {
            write!(f, "{:?}", self.to_duration())
        } else {
            write!(f, "{:.3} Hz", self.rate_hz())
        }
    }
}

/// Why a period or rate is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeriodError {
    /// A period of nothing or a rate of nothing: ask for a positive one.
    #[error("a period or rate of zero has no deadlines; ask for a positive one")]
    Zero,
    /// More than a million deadlines a second: ask for a period of 1 us or more.
    #[error("the period is shorter than 1 us; ask for 1 us (1 MHz) or more")]
    TooShort,
    /// The exact fraction does not fit 64 bits: ask for a shorter period or a simpler rate.
    #[error(
        "the period does not fit 64 bits of nanoseconds; ask for a shorter one or a simpler rate"
    )]
    TooLong,
}

/// A grid of deadlines: number 0 is at the origin, and one more follows every period.
///
/// ```
/// use unisono_timer::{MonoTime, Period, Schedule};
///
/// let schedule = Schedule::new(MonoTime::from_nanos(0), Period::from_rate(30, 1)?);
/// assert_eq!(schedule.deadline(1).as_nanos(), 33_333_333);
/// assert_eq!(schedule.deadline(3_000_000).as_nanos(), 100_000_000_000_000); // no drift
/// # Ok::<(), unisono_timer::PeriodError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    origin: MonoTime,
    period: Period,
}

impl Schedule {
    /// Deadlines every `period` from `origin` on.
    pub const fn new(origin: MonoTime, period: Period) -> Self {
        Self { origin, period }
    }

    /// When deadline 0 is.
    pub const fn origin(&self) -> MonoTime {
        self.origin
    }

    /// The distance of two deadlines.
    pub const fn period(&self) -> Period {
        self.period
    }

    /// When deadline `number` is: less than 1 ns before the exact time, however great the number;
    /// saturates at [`MonoTime::MAX`].
    pub const fn deadline(&self, number: u64) -> MonoTime {
        MonoTime::from_nanos(
            self.origin
                .as_nanos()
                .saturating_add(self.period.span(number)),
        )
    }

    /// The number of the last deadline at or before `now`; 0 also when none has come yet
    /// ([`Schedule::next_after`] tells the two apart).
    pub const fn number_at(&self, now: MonoTime) -> u64 {
        self.period
            .number_within(now.as_nanos().saturating_sub(self.origin.as_nanos()))
    }

    /// The number of the first deadline later than `now`.
    pub const fn next_after(&self, now: MonoTime) -> u64 {
        if now.as_nanos() < self.origin.as_nanos() {
            0
        } else {
            self.number_at(now).saturating_add(1)
        }
    }
}

const fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

const SHORTEST_NANOS: u128 = 1_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORIGIN: MonoTime = MonoTime::from_nanos(1_234_567_890_123);

    fn rate(ticks: u64, seconds: u64) -> Schedule {
        Schedule::new(ORIGIN, Period::from_rate(ticks, seconds).unwrap())
    }

    #[test]
    fn a_million_ticks_do_not_drift_at_50_33_3_and_30_hz() {
        for (ticks, seconds) in [(50, 1), (100, 3), (333, 10), (30, 1)] {
            let schedule = rate(ticks, seconds);
            let mut exact_remainder = 0_u128;
            let mut exact = u128::from(ORIGIN.as_nanos());
            let step = 1_000_000_000 * u128::from(seconds);
            for number in 0..=1_000_000 {
                // Bresenham by hand, so that the expectation does not share the formula tested.
                assert_eq!(
                    u128::from(schedule.deadline(number).as_nanos()),
                    exact,
                    "{ticks}/{seconds} #{number}"
                );
                exact_remainder += step;
                exact += exact_remainder / u128::from(ticks);
                exact_remainder %= u128::from(ticks);
            }
        }
    }

    #[test]
    fn durations_and_rates_that_mean_the_same_are_equal() {
        let twenty = Period::from_duration(Duration::from_millis(20)).unwrap();
        assert_eq!(twenty, Period::from_rate(50, 1).unwrap());
        assert_eq!(twenty, Period::from_rate(100, 2).unwrap());
        assert_eq!(
            Period::try_from(Duration::from_millis(30)),
            Period::from_rate(100, 3)
        );
        assert_ne!(Period::from_rate(333, 10), Period::from_rate(100, 3));
    }

    #[test]
    fn impossible_periods_are_refused() {
        assert_eq!(
            Period::from_duration(Duration::ZERO),
            Err(PeriodError::Zero)
        );
        assert_eq!(Period::from_rate(0, 1), Err(PeriodError::Zero));
        assert_eq!(Period::from_rate(50, 0), Err(PeriodError::Zero));
        assert_eq!(
            Period::from_duration(Duration::from_nanos(999)),
            Err(PeriodError::TooShort)
        );
        assert_eq!(Period::from_rate(1_000_001, 1), Err(PeriodError::TooShort));
        assert_eq!(
            Period::from_duration(Duration::MAX),
            Err(PeriodError::TooLong)
        );
        assert_eq!(Period::from_rate(7, u64::MAX), Err(PeriodError::TooLong));
        assert!(Period::from_rate(1_000_000, 1).is_ok());
    }

    #[test]
    fn before_the_origin_the_next_number_is_0() {
        let schedule = rate(50, 1);
        let before = ORIGIN - Duration::from_nanos(1);
        assert_eq!(
            (schedule.number_at(before), schedule.next_after(before)),
            (0, 0)
        );
        assert_eq!(
            (schedule.number_at(ORIGIN), schedule.next_after(ORIGIN)),
            (0, 1)
        );
    }

    #[test]
    fn the_end_of_time_saturates() {
        let schedule = rate(30, 1);
        assert_eq!(schedule.deadline(u64::MAX), MonoTime::MAX);
        let last = schedule.number_at(MonoTime::MAX);
        assert!(schedule.deadline(last) <= MonoTime::MAX);
        assert_eq!(schedule.next_after(MonoTime::MAX), last + 1);
    }

    #[test]
    fn display_is_readable() {
        assert_eq!(Period::from_rate(50, 1).unwrap().to_string(), "20ms");
        assert_eq!(Period::from_rate(30, 1).unwrap().to_string(), "30.000 Hz");
    }

    proptest! {
        #[test]
        fn number_at_is_the_inverse_of_deadline(
            ticks in 1_u64..=1_000_000,
            seconds in 1_u64..=1_000,
            origin in 0..=u64::MAX / 4,
            number in 0_u64..=1 << 33,
        ) {
            let Ok(period) = Period::from_rate(ticks, seconds) else { return Ok(()) };
            let schedule = Schedule::new(MonoTime::from_nanos(origin), period);
            let deadline = schedule.deadline(number);
            prop_assume!(deadline < MonoTime::MAX);
            prop_assert_eq!(schedule.number_at(deadline), number);
            prop_assert_eq!(schedule.next_after(deadline), number + 1);
            if number > 0 {
                let just_before = deadline - Duration::from_nanos(1);
                prop_assert_eq!(schedule.number_at(just_before), number - 1);
                prop_assert_eq!(schedule.next_after(just_before), number);
            }
        }

        #[test]
        fn any_time_lies_between_its_deadline_and_the_next(
            ticks in 1_u64..=1_000_000,
            seconds in 1_u64..=1_000_000_000,
            times: (u64, u64),
        ) {
            let Ok(period) = Period::from_rate(ticks, seconds) else { return Ok(()) };
            let origin = MonoTime::from_nanos(times.0.min(times.1));
            let schedule = Schedule::new(origin, period);
            let now = MonoTime::from_nanos(times.0.max(times.1));
            let number = schedule.number_at(now);
            prop_assert!(schedule.deadline(number) <= now);
            let next = schedule.deadline(number.saturating_add(1));
            prop_assert!(next > now || next == MonoTime::MAX);
        }
    }
}
