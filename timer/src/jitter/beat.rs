//! The ways to wait for a deadline that are compared.
//!
//! All follow one absolute grid, so their lateness can be compared, and none replays: when a thread slept through
//! several deadlines, it wakes once, for the latest, and says how many it missed.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use super::plan::JitterError;
use super::record::Method;
use crate::clock::MonoTime;
use crate::schedule::Schedule;
use crate::ticker::{Precision, Ticker};

/// A way to wait for the deadlines of a [`Schedule`]: what is measured.
///
/// It is made and used on the measuring thread, and should neither allocate nor block otherwise.
pub trait Beat {
    /// Sleeps until the next deadline; returns at once when that has come.
    ///
    /// # Errors
    ///
    /// [`JitterError::Call`], [`JitterError::Ticker`] or [`JitterError::Beat`]. The run ends with what it has.
    fn wait(&mut self) -> Result<Wakeup, JitterError>;
}

/// What a [`Beat`] woke for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wakeup {
    /// The deadline's number, greater than that of the wake-up before.
    pub number: u64,
    /// When it was due.
    pub deadline: MonoTime,
    /// When the thread ran again: read as the first thing after the wait.
    pub woke: MonoTime,
    /// Deadlines without a wake-up of their own since the one before. The measurement itself goes by the
    /// numbers.
    pub missed: u64,
}

/// The beat of `method` on the calling thread.
pub(super) fn beat_of(method: Method, schedule: Schedule) -> Result<Box<dyn Beat>, JitterError> {
    let grid = Grid { schedule, next: 0 };
    Ok(match method {
        Method::Ticker => Box::new(OwnTicker(Ticker::new(schedule)?)),
        Method::Timerfd => Box::new(Timerfd::new(grid)?),
        Method::Nanosleep => Box::new(Nanosleep(grid)),
        Method::Epoll => Box::new(EpollTimeoutBeat::new(grid)?),
        Method::Sleep => Box::new(Sleep(grid)),
        Method::Usleep => Box::new(Usleep::new(grid)),
        Method::Precise => Box::new(OwnTicker(
            Ticker::new(schedule)?.precise(Precision::default()),
        )),
        Method::Tokio => return Err(JitterError::NoTokio),
    })
}

/// This crate's ticker; in precise mode spinning for at most 1 % of a CPU.
struct OwnTicker(Ticker);

impl Beat for OwnTicker {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        let tick = self.0.wait()?;
        Ok(Wakeup {
            number: tick.number,
            deadline: tick.deadline,
            woke: tick.woke,
            missed: tick.missed,
        })
    }
}

/// A timerfd armed with the absolute deadline, and a blocking `read`.
struct Timerfd {
    grid: Grid,
    timer: TimerFd,
}

impl Timerfd {
    fn new(grid: Grid) -> Result<Self, JitterError> {
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)
            .map_err(|errno| refused("timerfd_create", errno))?;
        Ok(Self { grid, timer })
    }
}

impl Beat for Timerfd {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        let at = Expiration::OneShot(timespec(self.grid.deadline()));
        let timer = &self.timer;
        self.grid.wait_by(|_| {
            // Armed anew each time, so that the read cannot wait for a timer that has been read.
            timer
                .set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
                .map_err(|errno| refused("timerfd_settime", errno))?;
            match timer.wait() {
                Ok(()) | Err(Errno::EINTR) => Ok(()),
                Err(errno) => Err(refused("read", errno)),
            }
        })
    }
}

/// `clock_nanosleep` with TIMER_ABSTIME on CLOCK_MONOTONIC, again if a signal ends it early.
struct Nanosleep(Grid);

impl Beat for Nanosleep {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        let at = timespec(self.0.deadline());
        let absolute = ClockNanosleepFlags::TIMER_ABSTIME;
        self.0.wait_by(
            |_| match clock_nanosleep(ClockId::CLOCK_MONOTONIC, absolute, &at) {
                Ok(_) | Err(Errno::EINTR) => Ok(()),
                Err(errno) => Err(refused("clock_nanosleep", errno)),
            },
        )
    }
}

/// `epoll_wait` on nothing, its timeout the rest of the period rounded up to whole milliseconds.
struct EpollTimeoutBeat {
    grid: Grid,
    epoll: Epoll,
}

impl EpollTimeoutBeat {
    fn new(grid: Grid) -> Result<Self, JitterError> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| refused("epoll_create1", errno))?;
        Ok(Self { grid, epoll })
    }
}

impl Beat for EpollTimeoutBeat {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        let epoll = &self.epoll;
        self.grid.wait_by(|rest| {
            // The first deadline is at most a second away, the others a period.
            let millis = rest.as_nanos().div_ceil(1_000_000).min(60_000);
            match epoll.wait(
                &mut [EpollEvent::empty()],
                EpollTimeout::from(millis as u16),
            ) {
                Ok(_) | Err(Errno::EINTR) => Ok(()),
                Err(errno) => Err(refused("epoll_wait", errno)),
            }
        })
    }
}

/// `std::thread::sleep` for the rest of the period.
struct Sleep(Grid);

impl Beat for Sleep {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        self.0.wait_by(|rest| {
            std::thread::sleep(rest);
            Ok(())
        })
    }
}

/// A short sleep and a look at the clock, until the period is over. `std::thread::sleep` makes the system
/// call that the C library's `usleep` makes.
struct Usleep {
    grid: Grid,
    step: Duration,
}

impl Usleep {
    fn new(grid: Grid) -> Self {
        let step = (grid.schedule.period().to_duration() / 4).min(LONGEST_USLEEP);
        Self { grid, step }
    }
}

impl Beat for Usleep {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        let step = self.step;
        self.grid.wait_by(|_| {
            std::thread::sleep(step);
            Ok(())
        })
    }
}

/// Where a beat is on the grid of deadlines.
struct Grid {
    schedule: Schedule,
    next: u64,
}

impl Grid {
    fn deadline(&self) -> MonoTime {
        self.schedule.deadline(self.next)
    }

    /// Calls `sleep` with what is left until the clock says that the next deadline has come.
    fn wait_by(
        &mut self,
        mut sleep: impl FnMut(Duration) -> Result<(), JitterError>,
    ) -> Result<Wakeup, JitterError> {
        let asked = self.next;
        let deadline = self.deadline();
        let mut woke = MonoTime::now();
        while woke < deadline {
            sleep(deadline.since(woke))?;
            woke = MonoTime::now();
        }
        let number = self.schedule.number_at(woke).max(asked);
        self.next = number.saturating_add(1);
        Ok(Wakeup {
            number,
            deadline: self.schedule.deadline(number),
            woke,
            missed: number - asked,
        })
    }
}

fn timespec(time: MonoTime) -> TimeSpec {
    let nanos = time.since(MonoTime::default());
    // Within i64: no deadline is later than 2^64 ns.
    TimeSpec::new(nanos.as_secs() as _, i64::from(nanos.subsec_nanos()) as _)
}

const fn refused(call: &'static str, errno: Errno) -> JitterError {
    JitterError::Call { call, errno }
}

const LONGEST_USLEEP: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Period;

    const METHODS: [Method; 7] = [
        Method::Ticker,
        Method::Timerfd,
        Method::Precise,
        Method::Nanosleep,
        Method::Epoll,
        Method::Sleep,
        Method::Usleep,
    ];

    fn schedule(origin: MonoTime) -> Schedule {
        let period = Period::from_duration(Duration::from_millis(2)).unwrap();
        Schedule::new(origin, period)
    }

    #[test]
    fn no_method_wakes_early_and_none_loses_count() {
        for method in METHODS {
            let schedule = schedule(MonoTime::now() + Duration::from_millis(3));
            let mut beat = beat_of(method, schedule).unwrap();
            let mut expected = None;
            for _ in 0..20 {
                let wakeup = beat.wait().unwrap();
                assert_eq!(wakeup.deadline, schedule.deadline(wakeup.number));
                assert!(wakeup.woke >= wakeup.deadline, "{method:?}: {wakeup:?}");
                // Even a first tick that came late is counted from the number asked for.
                let first = wakeup.number - wakeup.missed;
                assert_eq!(first, expected.unwrap_or(first), "{method:?}: {wakeup:?}");
                expected = Some(wakeup.number + 1);
            }
        }
    }

    #[test]
    fn after_a_stall_every_method_wakes_once_for_the_latest_deadline() {
        for method in METHODS {
            let schedule = schedule(MonoTime::now() + Duration::from_millis(1));
            let mut beat = beat_of(method, schedule).unwrap();
            let before = beat.wait().unwrap();
            std::thread::sleep(Duration::from_millis(9));
            let after = beat.wait().unwrap();
            assert!(after.missed >= 3, "{method:?}: {before:?} {after:?}");
            assert_eq!(after.number, before.number + after.missed + 1);
            assert_eq!(after.number, schedule.number_at(after.woke));
        }
    }

    #[test]
    fn tokio_is_somebody_elses() {
        let made = beat_of(Method::Tokio, schedule(MonoTime::now()));
        assert!(matches!(made.err(), Some(JitterError::NoTokio)));
    }
}
