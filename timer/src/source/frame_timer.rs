//! A timer that its own thread blocks on and that counts samples: FreeSWITCH's view of time.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use crate::clock::MonoTime;
use crate::schedule::{Period, Schedule};

/// Counts frames of `samples` samples, one every interval, and sleeps until the next.
///
/// It needs no tick thread and no descriptor, works from 1 ms on, and is cheap: one for each leg is as it is meant.
///
/// * [`next_tick`](Self::next_tick) collapses: after a delay the counters jump to where the clock is.
/// * [`check`](Self::check) and [`step`](Self::step) count: each tick due can be taken one by one. Someone more than
///   [`MOST_BEHIND`](Self::MOST_BEHIND) ticks behind is brought up to the clock, so nothing is replayed for long.
/// * A clock that goes back by more than an interval, which a migrated guest may see, does not stop the ticks: the
///   next one comes an interval after that was noticed, and the counters go on from where they were.
///
/// ```
/// use unisono_timer::source::{Check, FrameTimer};
///
/// let mut timer = FrameTimer::new(20, 160)?;
/// assert!(matches!(timer.check(false), Check::Early { ticks: 1, .. }));
/// assert!(timer.next_tick()? >= 1);
/// assert_eq!(timer.sample_count(), 160 * timer.tick());
/// # Ok::<(), unisono_timer::source::FrameTimerError>(())
/// ```
#[derive(Clone, Debug)]
pub struct FrameTimer {
    count: Count,
}

/// What [`FrameTimer::check`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The next tick has come.
    Ready {
        /// Ticks that have come as well, after it.
        behind: u64,
    },
    /// The next tick has not come yet.
    Early {
        /// How many ticks of the clock it is away: 1 unless the timer was stepped ahead of the clock.
        ticks: u64,
        /// How long that is.
        remaining: Duration,
    },
}

/// How often the clock did what a clock should not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jumps {
    /// Times that the clock was found more than [`FrameTimer::MOST_BEHIND`] ticks ahead: a stop of the machine, or a
    /// migration.
    pub forward: u64,
    /// Times that the clock was found more than an interval before an earlier reading.
    pub backward: u64,
}

/// Why there is no frame timer, or no sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameTimerError {
    /// Ask for an interval of 1 to 60,000 ms.
    #[error("an interval of {0} ms is impossible; ask for 1 to 60000 ms")]
    Interval(u32),
    /// Ask for one sample an interval or more.
    #[error("an interval has no samples; ask for 1 or more")]
    NoSamples,
    /// The kernel refused to sleep: allow clock_nanosleep in the seccomp filter.
    #[error("cannot sleep: {0}; allow clock_nanosleep in the seccomp filter")]
    Sleep(Errno),
}

impl FrameTimer {
    /// Ticks that can be taken one by one after a delay. Whoever is further behind is brought up to the clock.
    pub const MOST_BEHIND: u64 = 1_000;

    /// A timer whose first tick comes `interval` ms after now, with `samples` samples an interval.
    ///
    /// # Errors
    ///
    /// [`FrameTimerError::Interval`] outside of 1 to 60,000 ms, [`FrameTimerError::NoSamples`].
    pub fn new(interval: u32, samples: u32) -> Result<Self, FrameTimerError> {
        Ok(Self {
            count: Count::new(interval, samples, MonoTime::now())?,
        })
    }

    /// Sleeps until the next tick, counts it and all that have come since, and says how many: 1 when in time. Does not
    /// sleep when it has come.
    ///
    /// # Errors
    ///
    /// [`FrameTimerError::Sleep`].
    pub fn next_tick(&mut self) -> Result<u64, FrameTimerError> {
        loop {
            let deadline = match self.count.take_all(MonoTime::now()) {
                Ok(ticks) => return Ok(ticks),
                Err(deadline) => deadline,
            };
            let nanos = deadline.as_nanos();
            let at = TimeSpec::from_duration(Duration::from_nanos(nanos));
            let absolute = ClockNanosleepFlags::TIMER_ABSTIME;
            match clock_nanosleep(ClockId::CLOCK_MONOTONIC, absolute, &at) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(FrameTimerError::Sleep(errno)),
            }
        }
    }

    /// Whether the next tick has come, without sleeping. When it has and `step` is true, counts it.
    pub fn check(&mut self, step: bool) -> Check {
        self.count.check(step, MonoTime::now())
    }

    /// Counts one tick, whether it has come or not.
    pub const fn step(&mut self) {
        self.count.step();
    }

    /// Brings the counters to where the clock is: what has come counts, what was stepped ahead does not.
    pub fn sync(&mut self) {
        self.count.sync(MonoTime::now());
    }

    /// Ticks counted.
    pub const fn tick(&self) -> u64 {
        self.count.tick
    }

    /// Samples counted: the ticks times the samples an interval, modulo 2^64. Its low 32 bits serve as an RTP timestamp.
    pub const fn sample_count(&self) -> u64 {
        self.count.tick.wrapping_mul(self.count.samples as u64)
    }

    /// Milliseconds between two ticks.
    pub const fn interval(&self) -> u32 {
        self.count.interval
    }

    /// Samples an interval.
    pub const fn samples(&self) -> u32 {
        self.count.samples
    }

    /// What the clock has done, as far as it was noticed.
    pub const fn jumps(&self) -> Jumps {
        self.count.jumps
    }
}

/// All but the clock.
#[derive(Clone, Debug)]
struct Count {
    interval: u32,
    samples: u32,
    tick: u64,
    /// Deadline n of `schedule` is tick `base` + n.
    schedule: Schedule,
    base: u64,
    latest: MonoTime,
    jumps: Jumps,
}

impl Count {
    fn new(interval: u32, samples: u32, now: MonoTime) -> Result<Self, FrameTimerError> {
        if samples == 0 {
            return Err(FrameTimerError::NoSamples);
        }
        if interval > LONGEST_INTERVAL {
            return Err(FrameTimerError::Interval(interval));
        }
        let period = Period::from_duration(Duration::from_millis(u64::from(interval)))
            .map_err(|_| FrameTimerError::Interval(interval))?;
        Ok(Self {
            interval,
            samples,
            tick: 0,
            schedule: Schedule::new(now, period),
            base: 0,
            latest: now,
            jumps: Jumps::default(),
        })
    }

    /// Counts all ticks that have come; when none has, says when the next does.
    fn take_all(&mut self, now: MonoTime) -> Result<u64, MonoTime> {
        let current = self.current(now);
        if current <= self.tick {
            return Err(self.schedule.deadline(self.tick + 1 - self.base));
        }
        let ticks = current - self.tick;
        if ticks > FrameTimer::MOST_BEHIND {
            self.jumps.forward += 1;
        }
        self.tick = current;
        Ok(ticks)
    }

    fn check(&mut self, step: bool, now: MonoTime) -> Check {
        let current = self.current(now);
        if current <= self.tick {
            let deadline = self.schedule.deadline(self.tick + 1 - self.base);
            return Check::Early {
                ticks: self.tick + 1 - current,
                remaining: deadline.since(self.latest),
            };
        }
        if current - self.tick > FrameTimer::MOST_BEHIND {
            self.jumps.forward += 1;
            self.tick = current - 1;
        }
        let behind = current - self.tick - 1;
        if step {
            self.step();
        }
        Check::Ready { behind }
    }

    const fn step(&mut self) {
        self.tick += 1;
    }

    fn sync(&mut self, now: MonoTime) {
        self.tick = self.current(now);
    }

    /// The tick the clock is at. A clock that went back a little is taken to stand still, one that went back
    /// further to go on from here.
    fn current(&mut self, now: MonoTime) -> u64 {
        let interval = self.schedule.period().to_duration();
        if now + interval < self.latest {
            self.jumps.backward += 1;
            self.base += self.schedule.number_at(self.latest);
            self.schedule = Schedule::new(now, self.schedule.period());
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        self.base + self.schedule.number_at(self.latest)
    }
}

const LONGEST_INTERVAL: u32 = 60_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: MonoTime = MonoTime::from_nanos(5_000_000_123);

    fn after(millis: u64) -> MonoTime {
        START + Duration::from_millis(millis)
    }

    fn twenty() -> Count {
        Count::new(20, 160, START).unwrap()
    }

    #[test]
    fn check_before_the_tick_is_early_and_after_50_ms_ready() {
        // L4, the order of FreeSWITCH's own test of its timers.
        let mut timer = twenty();
        let remaining = Duration::from_millis(20);
        let early = Check::Early {
            ticks: 1,
            remaining,
        };
        assert_eq!(timer.check(false, START), early);
        assert_eq!(timer.check(true, START), early);
        assert_eq!(timer.check(false, after(50)), Check::Ready { behind: 1 });
        assert_eq!(timer.tick, 0);
        assert_eq!(timer.check(true, after(50)), Check::Ready { behind: 1 });
        assert_eq!(timer.tick, 1);
        assert_eq!(timer.check(true, after(50)), Check::Ready { behind: 0 });
        assert!(matches!(
            timer.check(true, after(50)),
            Check::Early { ticks: 1, .. }
        ));
    }

    #[test]
    fn step_adds_one_tick_and_its_samples_and_sync_takes_back_what_has_not_come() {
        let mut timer = FrameTimer { count: twenty() };
        timer.step();
        timer.step();
        assert_eq!((timer.tick(), timer.sample_count()), (2, 320));
        let remaining = Duration::from_millis(50);
        let ahead = Check::Early {
            ticks: 3,
            remaining,
        };
        assert_eq!(timer.count.check(false, after(10)), ahead);
        timer.count.sync(after(25));
        assert_eq!((timer.tick(), timer.sample_count()), (1, 160));
        timer.count.sync(after(100));
        assert_eq!((timer.tick(), timer.sample_count()), (5, 800));
    }

    #[test]
    fn a_late_waiter_gets_all_ticks_as_one() {
        let mut timer = twenty();
        assert_eq!(timer.take_all(after(19)), Err(after(20)));
        assert_eq!(timer.take_all(after(20)), Ok(1));
        assert_eq!(timer.take_all(after(95)), Ok(3));
        assert_eq!(timer.take_all(after(96)), Err(after(100)));
        assert_eq!(timer.jumps, Jumps::default());
    }

    #[test]
    fn twelve_hours_forward_are_one_tick_to_check_and_no_storm() {
        let mut timer = twenty();
        let late = after(12 * 3_600_000);
        assert_eq!(timer.check(true, late), Check::Ready { behind: 0 });
        assert!(matches!(
            timer.check(true, late),
            Check::Early { ticks: 1, .. }
        ));
        assert_eq!((timer.tick, timer.jumps.forward), (12 * 3_600 * 50, 1));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_stop_the_ticks() {
        let mut timer = twenty();
        assert_eq!(timer.take_all(after(2_010)), Ok(100));
        // By less than an interval: it stands still.
        assert_eq!(timer.take_all(after(2_005)), Err(after(2_020)));
        // By two seconds: tick 101 comes an interval later.
        assert_eq!(timer.take_all(after(10)), Err(after(30)));
        assert_eq!(timer.take_all(after(30)), Ok(1));
        assert_eq!((timer.tick, timer.jumps.backward), (101, 1));
    }

    #[test]
    fn an_interval_of_1_ms_works() {
        let mut timer = Count::new(1, 8, START).unwrap();
        for tick in 1..=10_000 {
            assert_eq!(timer.take_all(after(tick)), Ok(1));
        }
        assert_eq!(timer.tick, 10_000);
    }

    #[test]
    fn impossible_timers_say_what_is_possible() {
        let error = |interval, samples| FrameTimer::new(interval, samples).unwrap_err();
        assert_eq!(error(0, 160), FrameTimerError::Interval(0));
        assert_eq!(error(60_001, 160), FrameTimerError::Interval(60_001));
        assert_eq!(error(20, 0), FrameTimerError::NoSamples);
    }

    proptest! {
        #[test]
        fn ticks_taken_one_by_one_or_together_are_those_of_the_clock(
            delays in prop::collection::vec((0_u64..300, any::<bool>()), 1..100)
        ) {
            let mut timer = twenty();
            let mut millis = 0;
            for (delay, together) in delays {
                millis += delay;
                let now = after(millis);
                if together {
                    let before = timer.tick;
                    match timer.take_all(now) {
                        Ok(ticks) => prop_assert_eq!(ticks, timer.tick - before),
                        Err(deadline) => prop_assert!(deadline > now),
                    }
                } else {
                    while matches!(timer.check(true, now), Check::Ready { .. }) {}
                }
                prop_assert_eq!(timer.tick, millis / 20);
            }
        }
    }
}
