//! What to measure, and what can be wrong with it.

use std::time::Duration;

use nix::errno::Errno;

use super::observer::Taken;
use super::record::{HostSample, Method, Policy, Sample};
use crate::host::available_memory;
use crate::schedule::PeriodError;
use crate::ticker::TickerError;

/// One measurement to be made. [`Plan::new`] has the plainest; set the other fields as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How the thread waits.
    pub method: Method,
    /// Time between deadlines, 1 to 60 ms.
    pub period: Duration,
    /// How long to measure, at least one period.
    pub duration: Duration,
    /// The scheduling to ask for; SCHED_DEADLINE with a tenth of each period. What is refused is reported in [`Run::grant`](super::Run::grant).
    pub policy: Policy,
    /// The CPU to run on; `None`: wherever the kernel likes.
    pub cpu: Option<usize>,
    /// Whether to ask for the process's memory to be locked.
    pub lock_memory: bool,
    /// Whether to ask, while the run lasts, for idle processors that poll instead of sleeping, as cyclictest does
    /// by default. See [`RealtimeRequest::dma_latency`](crate::RealtimeRequest::dma_latency) for what that costs.
    pub dma_latency: bool,
    /// From which lateness on a tick is an outlier, whose cause is looked for.
    pub outlier_threshold: Duration,
    /// What else the caller makes the machine do, for the record only: see [`load`](super::load).
    pub loads: Vec<String>,
}

impl Plan {
    /// An ordinary thread on any CPU, nothing else asked for, outliers from 1 ms on.
    pub const fn new(method: Method, period: Duration, duration: Duration) -> Self {
        Self {
            method,
            period,
            duration,
            policy: Policy::Other,
            cpu: None,
            lock_memory: false,
            dma_latency: false,
            outlier_threshold: Duration::from_millis(1),
            loads: Vec::new(),
        }
    }

    /// The number of deadlines, after a look at whether they can be measured.
    ///
    /// # Errors
    ///
    /// [`JitterError::Period`], [`JitterError::Duration`] and [`JitterError::TooManyTicks`].
    pub fn ticks(&self) -> Result<u64, JitterError> {
        if !(SHORTEST_PERIOD..=LONGEST_PERIOD).contains(&self.period) {
            let asked = self.period;
            return Err(JitterError::Period { asked });
        }
        if self.duration < self.period {
            let (asked, period) = (self.duration, self.period);
            return Err(JitterError::Duration { asked, period });
        }
        let ticks = self.duration.as_nanos().div_ceil(self.period.as_nanos());
        match u64::try_from(ticks) {
            Ok(ticks) if ticks <= MOST_TICKS => Ok(ticks),
            _ => Err(JitterError::TooManyTicks {
                asked: ticks,
                longest: self.period.saturating_mul(MOST_TICKS as u32),
            }),
        }
    }

    /// Refuses what would take more than half of the memory that is free, before it is taken.
    pub(super) fn check_memory(&self, ticks: u64) -> Result<(), JitterError> {
        let host_samples = self.duration.as_millis() as u64 / 100;
        let needed = ticks * size_of::<Sample>() as u64
            + host_samples * (size_of::<HostSample>() as u64 + HOST_SAMPLE_EXTRA);
        match available_memory() {
            Some(available) if needed > available / 2 => {
                Err(JitterError::Memory { needed, available })
            }
            _ => Ok(()),
        }
    }
}

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JitterError {
    /// Periods are 1 to 60 ms.
    #[error("a period of {asked:?} cannot be measured; ask for 1 ms to 60 ms")]
    Period {
        /// The period asked for.
        asked: Duration,
    },
    /// The run would end before its second deadline.
    #[error("{asked:?} is shorter than one period; measure for {period:?} or longer")]
    Duration {
        /// The duration asked for.
        asked: Duration,
        /// The period.
        period: Duration,
    },
    /// More ticks than one run keeps.
    #[error(
        "{asked} ticks are more than one run keeps ({MOST_TICKS}); measure for at most {longest:?}, or with a longer period"
    )]
    TooManyTicks {
        /// The number of ticks asked for.
        asked: u128,
        /// The longest duration at the period asked for.
        longest: Duration,
    },
    /// The samples would take more than half of the memory that is free.
    #[error(
        "the run may keep {needed} bytes and {available} are free; measure for a shorter time or with a longer period"
    )]
    Memory {
        /// Bytes that the run may keep.
        needed: u64,
        /// Bytes available (MemAvailable).
        available: u64,
    },
    /// [`Method::Tokio`] needs an event loop that this crate does not have.
    #[error("this crate has no tokio; give its interval to `measure_with`")]
    NoTokio,
    /// The grid of deadlines cannot be made.
    #[error(transparent)]
    Grid(PeriodError),
    /// The ticker failed.
    #[error(transparent)]
    Ticker(#[from] TickerError),
    /// The kernel, in practice a seccomp filter, refused a system call.
    #[error("{call}: {errno}; allow it in the seccomp filter")]
    Call {
        /// The system call.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
    /// No thread could be started.
    #[error("cannot start a thread: {0}; raise the limit of tasks (TasksMax=, ulimit -u)")]
    Thread(std::io::Error),
    /// A beat from outside failed.
    #[error("the beat failed: {0}")]
    Beat(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A beat from outside returned a deadline that had been returned before.
    #[error("the beat returned deadline {number} after {last}; numbers must rise")]
    NotRising {
        /// The deadline returned.
        number: u64,
        /// The one before.
        last: u64,
    },
}

const SHORTEST_PERIOD: Duration = Duration::from_millis(1);
const LONGEST_PERIOD: Duration = Duration::from_millis(60);
/// 1.5 GiB of samples: 18 hours at 1 ms, 15 days at 20 ms.
const MOST_TICKS: u64 = 64 << 20;
/// What the observer may keep for each host sample besides it: its lateness, and for each of its ten wake-ups the
/// lateness, the CPU, and what was stolen and withheld.
const HOST_SAMPLE_EXTRA: u64 = 8 + 10 * (4 + 4 + size_of::<Taken>() as u64);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn ticks(period: Duration, duration: Duration) -> Result<u64, String> {
        Plan::new(Method::Timerfd, period, duration)
            .ticks()
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_plan_has_a_deadline_for_every_period_begun() {
        assert_eq!(ticks(20 * MS, 1000 * MS), Ok(50));
        assert_eq!(ticks(30 * MS, 1000 * MS), Ok(34));
        assert_eq!(ticks(MS, MS), Ok(1));
        assert_eq!(ticks(60 * MS, 61 * MS), Ok(2));
    }

    #[test]
    fn impossible_plans_are_refused_with_what_to_do() {
        let error = ticks(MS - Duration::from_nanos(1), 1000 * MS).unwrap_err();
        assert_eq!(
            error,
            "a period of 999.999µs cannot be measured; ask for 1 ms to 60 ms"
        );
        assert!(ticks(61 * MS, 1000 * MS).is_err());
        let error = ticks(20 * MS, 19 * MS).unwrap_err();
        assert_eq!(
            error,
            "19ms is shorter than one period; measure for 20ms or longer"
        );
        assert_eq!(ticks(MS, MOST_TICKS as u32 * MS), Ok(MOST_TICKS));
        let error = ticks(MS, (MOST_TICKS as u32 + 1) * MS).unwrap_err();
        assert!(error.contains("at most 67108.864s"), "{error}");
        assert!(ticks(MS, Duration::MAX).is_err());
    }
}
