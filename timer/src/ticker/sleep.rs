//! Sleeping until a point in time: what the kernel is asked for.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use super::TickerError;
use crate::clock::{MonoTime, NANOS_PER_SEC};
use crate::scheduler;

/// A timer with a descriptor, and the two ways to sleep.
#[derive(Debug)]
pub(super) struct Sleeper {
    timer: TimerFd,
}

/// What a sleep ended with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Awake {
    /// The time has come: the clock, and whether there was anything to sleep for.
    Due { at: MonoTime, slept: bool },
    /// The other descriptor is ready, and the time has not come.
    Other,
}

impl Sleeper {
    pub(super) fn new() -> Result<Self, TickerError> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let clock = timerfd::ClockId::CLOCK_MONOTONIC;
        let timer = TimerFd::new(clock, flags).map_err(TickerError::Create)?;
        Ok(Self { timer })
    }

    /// Only the clock decides that the time has come: not a wake-up, which may be a signal or
    /// somebody else's doing.
    pub(super) fn sleep_until(
        &self,
        time: MonoTime,
        other: Option<BorrowedFd<'_>>,
    ) -> Result<Awake, TickerError> {
        let mut at = MonoTime::now();
        if at >= time {
            return Ok(Awake::Due { at, slept: false });
        }
        if other.is_none() && scheduler::is_realtime() {
            return nanosleep_until(time);
        }
        loop {
            // Arming also clears what an earlier expiry left to read, so nothing needs to be read.
            self.arm(time)?;
            let at_most = time.since(at).saturating_add(RESCUE);
            let timer = PollFd::new(self.timer.as_fd(), PollFlags::POLLIN);
            let other_ready = match other {
                None => {
                    poll_once(&mut [timer], Some(at_most))?;
                    false
                }
                Some(other) => {
                    let mut fds = [timer, PollFd::new(other, PollFlags::POLLIN)];
                    poll_once(&mut fds, Some(at_most))? > 0 && fds[1].any() == Some(true)
                }
            };
            at = MonoTime::now();
            if at >= time {
                return Ok(Awake::Due { at, slept: true });
            }
            if other_ready {
                return Ok(Awake::Other);
            }
        }
    }

    /// Makes the descriptor readable once `time` has come.
    pub(super) fn arm(&self, time: MonoTime) -> Result<(), TickerError> {
        // A time of zero would disarm; 1 ns after boot is as much in the past.
        let at = timespec(Duration::from_nanos(time.as_nanos().max(1)));
        let absolute = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
        self.timer
            .set(Expiration::OneShot(at), absolute)
            .map_err(TickerError::Arm)
    }

    pub(super) fn disarm(&self) -> Result<(), TickerError> {
        self.timer.unset().map_err(TickerError::Arm)
    }
}

impl AsFd for Sleeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// Sleeps until `other` is ready, however long.
pub(super) fn sleep_on(other: BorrowedFd<'_>) -> Result<(), TickerError> {
    let mut fds = [PollFd::new(other, PollFlags::POLLIN)];
    while poll_once(&mut fds, None)? == 0 {}
    Ok(())
}

/// Nothing stands between the system call's end and the look at the clock.
fn nanosleep_until(time: MonoTime) -> Result<Awake, TickerError> {
    let request = timespec(Duration::from_nanos(time.as_nanos()));
    loop {
        let flags = ClockNanosleepFlags::TIMER_ABSTIME;
        let ended = clock_nanosleep(ClockId::CLOCK_MONOTONIC, flags, &request);
        let at = MonoTime::now();
        match ended {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(TickerError::Wait(errno)),
        }
        if at >= time {
            return Ok(Awake::Due { at, slept: true });
        }
    }
}

/// Descriptors that are ready: 0 after a signal or a timeout.
fn poll_once(fds: &mut [PollFd<'_>], at_most: Option<Duration>) -> Result<i32, TickerError> {
    match ppoll(fds, at_most.map(timespec), None) {
        Ok(ready) => Ok(ready),
        Err(Errno::EINTR) => Ok(0),
        Err(errno) => Err(TickerError::Wait(errno)),
    }
}

fn timespec(span: Duration) -> TimeSpec {
    // Within i64: no deadline is later than 2^64 ns.
    TimeSpec::new(span.as_secs() as _, i64::from(span.subsec_nanos()) as _)
}

/// How long after its deadline a wait looks at the clock although nothing woke it.
const RESCUE: Duration = Duration::from_nanos(NANOS_PER_SEC / 10);
