//! `tokio::time::interval` as a beat to be measured, for comparison: event loops are how many a mixer waits.

use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use unisono_timer::jitter::{Beat, JitterError, Wakeup};
use unisono_timer::{MonoTime, Schedule};

/// An interval on an event loop of its own, which runs on the thread that waits.
#[derive(Debug)]
pub struct TokioBeat {
    schedule: Schedule,
    next: u64,
    runtime: Runtime,
    interval: Interval,
}

impl TokioBeat {
    /// An interval whose ticks are due at the schedule's deadlines.
    ///
    /// # Errors
    ///
    /// [`JitterError::Beat`] when no event loop can be made.
    pub fn new(schedule: Schedule) -> Result<Self, JitterError> {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| JitterError::Beat(error.into()))?;
        // tokio's clock is CLOCK_MONOTONIC too, but does not say so: both are read at once.
        let first = Instant::now() + schedule.origin().since(MonoTime::now());
        let mut interval = {
            let _inside = runtime.enter();
            interval_at(first.into(), schedule.period().to_duration())
        };
        interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self {
            schedule,
            next: 0,
            runtime,
            interval,
        })
    }
}

impl Beat for TokioBeat {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        self.runtime.block_on(self.interval.tick());
        let woke = MonoTime::now();
        let number = self.schedule.number_at(woke).max(self.next);
        let missed = number - self.next;
        self.next = number + 1;
        Ok(Wakeup {
            number,
            deadline: self.schedule.deadline(number),
            woke,
            missed,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unisono_timer::Period;

    use super::*;

    #[test]
    fn every_wake_up_has_a_later_deadline_and_what_is_missed_is_counted() {
        let period = Period::from_duration(Duration::from_millis(5)).unwrap();
        let origin = MonoTime::now() + Duration::from_millis(20);
        let mut beat = TokioBeat::new(Schedule::new(origin, period)).unwrap();
        let mut next = 0;
        for round in 0..10 {
            if round == 5 {
                // At least two deadlines pass.
                std::thread::sleep(Duration::from_millis(15));
            }
            let wakeup = beat.wait().unwrap();
            assert_eq!(wakeup.number, next + wakeup.missed);
            assert!(round != 5 || wakeup.missed >= 2, "{wakeup:?}");
            next = wakeup.number + 1;
        }
        assert!(next >= 12);
    }
}
