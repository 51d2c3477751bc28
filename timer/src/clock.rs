//! Time as the kernel's monotonic clock tells it.
//!
//! [`MonoTime::now`] costs a few tens of nanoseconds where the clock source is readable from user
//! space, and never allocates or blocks.
//! On a guest whose clock source is not, it is one system call.
//! CLOCK_MONOTONIC never steps and does not count time spent in suspend, so a grid built on it is
//! not disturbed by NTP steps or by `date -s`.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A point in time: nanoseconds of CLOCK_MONOTONIC.
///
/// Arithmetic saturates at zero and at 2^64 ns (584 years after boot), so no value from outside
/// can make it panic.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoTime(u64);

impl MonoTime {
    /// The latest time there is.
    pub const MAX: Self = Self(u64::MAX);

    /// The time now.
    pub fn now() -> Self {
        // The call can only fail for a clock that does not exist or for a bad pointer.
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has CLOCK_MONOTONIC");
        Self(now.tv_sec() as u64 * NANOS_PER_SEC + now.tv_nsec() as u64)
    }

    /// The time `nanos` nanoseconds after the clock's zero.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for MonoTime {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(span)))
    }
}

impl Sub<Duration> for MonoTime {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(span)))
    }
}

impl fmt::Debug for MonoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, nanos) = (self.0 / NANOS_PER_SEC, self.0 % NANOS_PER_SEC);
        write!(f, "MonoTime({secs}.{nanos:09} s)")
    }
}

/// The whole of `span` in nanoseconds, or the largest number there is.
pub(crate) fn saturating_nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) const NANOS_PER_SEC: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_never_goes_back() {
        let mut last = MonoTime::now();
        assert!(last > MonoTime::default());
        for _ in 0..10_000 {
            let now = MonoTime::now();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let zero = MonoTime::from_nanos(0);
        assert_eq!(zero - Duration::from_secs(1), zero);
        assert_eq!(MonoTime::MAX + Duration::from_nanos(1), MonoTime::MAX);
        assert_eq!(zero + Duration::MAX, MonoTime::MAX);
        assert_eq!(zero.since(MonoTime::MAX), Duration::ZERO);
        assert_eq!(
            MonoTime::from_nanos(7).since(MonoTime::from_nanos(3)),
            Duration::from_nanos(4)
        );
    }

    #[test]
    fn debug_shows_seconds() {
        let time = MonoTime::from_nanos(12_000_000_345);
        assert_eq!(format!("{time:?}"), "MonoTime(12.000000345 s)");
    }
}
