//! An open `/dev/dahdi/timer`: a timer that counts, and that can be pinged.
//!
//! * A period is given in samples and rounded **up** to whole milliseconds: 160 is 20 ms, 100 is 13 ms, 1 to 8 is 1 ms. Zero
//!   and less disarm; what has expired stays counted. The period that is already set changes nothing, not even the phase.
//! * Expirations are counted until they are acknowledged. While any is, or while pinged, the descriptor is ready.
//! * The event is "ping" before "expired", and asking does not take it away.
//! * After a standstill three seconds' worth of expirations at most are pending, and one at least, so that a program that
//!   acknowledges one at a time does not race through hours. DAHDI catches up over as long, and begins anew beyond; here the
//!   phase is kept.
//!
//! DAHDI counts periods in ticks of 1 ms that all timers share, so its first expiration comes up to 1 ms early. Here it
//! comes up to 1 ms late, as timers of equal period are served at once.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dahdi::request::{Errno, Reply, Request, event};
use unisono_dahdi_trunk::report::TimersReport;
use unisono_timer::source::Event;
use unisono_timer::{Period, SourceError, SourceSettings, TimerHandle, TimingSource};

use crate::failure::Failure;
use crate::table::{self, Entry};

/// How much time's expirations stay pending at most.
const MOST_PENDING: Duration = Duration::from_secs(3);

/// Samples in a millisecond.
const MILLISECOND: u32 = 8;

/// What timers are opened from, one per process.
pub(crate) fn source() -> Result<TimingSource, Failure> {
    let settings = SourceSettings::new().backlog(MOST_PENDING);
    Ok(TimingSource::with_settings(settings)?)
}

#[derive(Debug)]
pub(crate) struct Timer {
    handle: TimerHandle,
    /// The period as it was set, samples; 0 when disarmed.
    period: AtomicI32,
    changing: Mutex<()>,
    /// Ticks that were acknowledged.
    acknowledged: AtomicU64,
}

impl Timer {
    /// A timer as `open` gives it: disarmed. Its descriptor, which is not the program's, has a number of `start` or more if
    /// any is free. Opened and dropped by who holds the book.
    pub(crate) fn open(source: &TimingSource, start: RawFd) -> Result<Self, Failure> {
        let handle = source.open_from(start)?;
        table::set(handle.as_fd().as_raw_fd(), Entry::Hidden);
        Ok(Self {
            handle,
            period: AtomicI32::new(0),
            changing: Mutex::new(()),
            acknowledged: AtomicU64::new(0),
        })
    }

    /// Goes on, in a forked child, as the parent's timer was set. What had expired there is the parent's.
    pub(crate) fn continue_as(&self, parents: &Self) -> Result<(), Failure> {
        self.configure(parents.period.load(Ordering::Relaxed))?;
        if parents.handle.is_continuous() {
            self.handle.enable_continuous()?;
        }
        Ok(())
    }

    /// Serves a request.
    pub(crate) fn request(&self, request: &Request) -> Result<Reply, Failure> {
        match *request {
            Request::TimerConfig(samples) => self.configure(samples.max(0))?,
            Request::TimerAck(count) => self.acknowledge(count)?,
            Request::TimerPing => self.handle.enable_continuous()?,
            Request::TimerPong => self.handle.disable_continuous()?,
            Request::GetEvent => {
                return Ok(Reply::Int(match self.handle.event()? {
                    Some(Event::Continuous) => event::TIMER_PING,
                    Some(Event::Expired) => event::TIMER_EXPIRED,
                    None => event::NONE,
                }));
            }
            _ => return Err(Errno::Enotty.into()),
        }
        Ok(Reply::Done)
    }

    /// Adds the timer's figures.
    pub(crate) fn count_into(&self, report: &mut TimersReport) {
        let pending = u64::from(self.handle.pending());
        report.open += 1;
        report.running += usize::from(self.period.load(Ordering::Relaxed) > 0);
        report.ticks += self.acknowledged.load(Ordering::Relaxed) + pending;
        report.missed += self.handle.missed();
    }

    fn configure(&self, samples: i32) -> Result<(), Failure> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.period.load(Ordering::Relaxed);
        if samples == before {
            return Ok(());
        }
        if milliseconds(samples) == milliseconds(before) {
            // Another period that rounds to the same begins anew nevertheless.
            self.handle.set_period(None)?;
        }
        self.handle.set_period(period(samples))?;
        self.period.store(samples, Ordering::Relaxed);
        Ok(())
    }

    /// Less than 1 and more than is pending are all.
    fn acknowledge(&self, count: i32) -> Result<(), Failure> {
        let count = u32::try_from(count).ok().filter(|&count| count > 0);
        let acknowledged = match count {
            // More than is pending takes all as well.
            Some(count) => self.handle.ack(count),
            None => self.handle.ack_all(),
        };
        match acknowledged {
            Ok(ticks) => {
                self.acknowledged.fetch_add(ticks.into(), Ordering::Relaxed);
                Ok(())
            }
            Err(SourceError::NothingPending) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl Drop for Timer {
    /// Lets those who still wait for a descriptor that another thread has closed see it readable, as nothing else will come.
    fn drop(&mut self) {
        let _ = self.handle.enable_continuous();
        table::set(self.as_fd().as_raw_fd(), Entry::Foreign);
    }
}

fn milliseconds(samples: i32) -> u32 {
    samples.max(0).cast_unsigned().div_ceil(MILLISECOND)
}

fn period(samples: i32) -> Option<Period> {
    let period = Duration::from_millis(milliseconds(samples).into());
    Period::from_duration(period).ok()
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use unisono_timer::RealtimeRequest;

    use super::*;

    /// Asks for no privilege, so that tests do not starve one another.
    fn timer() -> Timer {
        let settings = SourceSettings::new()
            .backlog(MOST_PENDING)
            .realtime(RealtimeRequest::new().timer_slack(Duration::from_nanos(1)));
        Timer::open(&TimingSource::with_settings(settings).unwrap(), 0).unwrap()
    }

    fn ask(timer: &Timer, request: Request) {
        assert_eq!(timer.request(&request), Ok(Reply::Done), "{request:?}");
    }

    fn event_of(timer: &Timer) -> i32 {
        match timer.request(&Request::GetEvent) {
            Ok(Reply::Int(event)) => event,
            other => panic!("{other:?}"),
        }
    }

    /// Only a hang takes as long as half a minute.
    fn wait_for_pending(timer: &Timer, ticks: u32) {
        for _ in 0..6_000 {
            if timer.handle.pending() >= ticks {
                return;
            }
            sleep(Duration::from_millis(5));
        }
        panic!("never came: {ticks} ticks");
    }

    #[test]
    fn periods_round_up_to_milliseconds() {
        for (samples, expected) in [(100, 13), (8, 1), (1, 1), (9, 2), (160, 20)] {
            assert_eq!(milliseconds(samples), expected);
        }
        assert_eq!(
            (period(0), period(-1), period(i32::MIN)),
            (None, None, None)
        );
        assert!(period(i32::MAX).is_some());
    }

    #[test]
    fn the_same_period_keeps_its_phase_and_another_that_rounds_alike_does_not() {
        let timer = timer();
        ask(&timer, Request::TimerConfig(160));
        let first = timer.handle.schedule().unwrap();
        // Longer than phases are rounded to.
        sleep(Duration::from_millis(3));
        ask(&timer, Request::TimerConfig(160));
        assert_eq!(timer.handle.schedule(), Some(first));
        ask(&timer, Request::TimerConfig(159));
        assert_ne!(timer.handle.schedule(), Some(first));
    }

    #[test]
    fn what_has_expired_survives_disarming_and_is_acknowledged_one_by_one_or_all_at_once() {
        for stop in [0, -1, i32::MIN] {
            let timer = timer();
            ask(&timer, Request::TimerConfig(8));
            wait_for_pending(&timer, 5);
            ask(&timer, Request::TimerConfig(stop));
            // What was due by then is still handed over.
            sleep(Duration::from_millis(500));
            let pending = timer.handle.pending();
            ask(&timer, Request::TimerAck(1));
            assert_eq!(timer.handle.pending(), pending - 1);
            assert_eq!(event_of(&timer), event::TIMER_EXPIRED);
            let all = if stop == 0 { -1 } else { i32::MAX };
            ask(&timer, Request::TimerAck(all));
            assert_eq!(event_of(&timer), event::NONE);
            ask(&timer, Request::TimerAck(1));
        }
    }

    #[test]
    fn a_ping_goes_before_ticks_and_stays_until_the_pong() {
        let timer = timer();
        ask(&timer, Request::TimerConfig(8));
        ask(&timer, Request::TimerPing);
        ask(&timer, Request::TimerPing);
        wait_for_pending(&timer, 2);
        assert_eq!(event_of(&timer), event::TIMER_PING);
        assert_eq!(event_of(&timer), event::TIMER_PING);
        ask(&timer, Request::TimerPong);
        assert_eq!(event_of(&timer), event::TIMER_EXPIRED);
    }

    #[test]
    fn requests_of_other_devices_are_refused() {
        assert_eq!(timer().request(&Request::ChanNo), Err(Errno::Enotty.into()));
    }
}
