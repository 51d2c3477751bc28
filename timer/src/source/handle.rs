//! One timer of a source.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::beats::origin_at;
use super::inbox::{Pen, Shared, Wish};
use super::registry::Registry;
use super::signal::Signal;
use super::{MAX_RATE, MIN_PERIOD, SourceError};
use crate::clock::MonoTime;
use crate::schedule::{Period, Schedule};

/// What makes a handle's descriptor readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Ticks are pending: [acknowledge](TimerHandle::ack) them.
    Expired,
    /// Continuous mode is on. Ticks may be pending as well.
    Continuous,
}

/// One timer: a rate, ticks that wait to be acknowledged, and a descriptor that is readable meanwhile. Dropping it
/// closes it.
///
/// All methods may be called by any thread, also at the same time; none of them waits for the tick thread. Poll the descriptor for
/// POLLIN; never read, write or close it.
#[derive(Debug)]
pub struct TimerHandle {
    shared: Arc<Shared>,
    desk: Mutex<Desk>,
    /// After `shared`, whose descriptor is to be closed when the source's thread ends with its last handle.
    registry: Arc<Registry>,
}

/// What only users of the handle know.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) pen: Pen,
    pub(super) schedule: Option<Schedule>,
    /// Ticks of all schedules before that one.
    due: u64,
    backlog: u32,
    /// The tick thread has been told of the handle.
    is_known: bool,
}

impl Desk {
    /// For a new handle.
    pub(super) const fn new() -> Self {
        Self {
            pen: Pen::new(),
            schedule: None,
            due: 0,
            backlog: 0,
            is_known: false,
        }
    }

    /// What to tell the tick thread when, `at` that time, the period changes. A backlog is kept when it ends.
    pub(super) fn change(&mut self, at: MonoTime, period: Option<Period>, backlog: u32) -> Wish {
        let ended = self.schedule.map_or(0, |schedule| schedule.number_at(at));
        self.due = self.due.saturating_add(ended);
        self.schedule = period.map(|period| Schedule::new(origin_at(at, period), period));
        let due = self.due;
        if let Some(schedule) = self.schedule {
            self.backlog = backlog;
            Wish::Run {
                due,
                schedule,
                backlog,
            }
        } else {
            let backlog = self.backlog;
            Wish::Stop { due, backlog }
        }
    }
}

impl TimerHandle {
    pub(super) fn open(registry: Arc<Registry>, start: RawFd) -> Result<Self, SourceError> {
        registry.check()?;
        let signal = Signal::new(start).map_err(SourceError::Descriptor)?;
        let number = match registry.take_number() {
            Ok(number) => number,
            Err(error) => {
                signal.close();
                return Err(error);
            }
        };
        Ok(Self {
            shared: Arc::new(Shared::new(number, signal)),
            desk: Mutex::new(Desk::new()),
            registry,
        })
    }

    /// From now on `rate` ticks per second; 0 stops. The same rate as before changes nothing, so its phase stays.
    ///
    /// Allowed in continuous mode. Ticks pending stay pending. The first tick comes one period after now, or up to
    /// 1 ms later; the distance of ticks is exact.
    ///
    /// # Errors
    ///
    /// [`SourceError::RateTooHigh`] above [`MAX_RATE`], [`SourceError::Thread`] when this is the source's first
    /// rate, [`SourceError::Forked`]. The rate before then stays.
    pub fn set_rate(&self, rate: u32) -> Result<(), SourceError> {
        if rate > MAX_RATE {
            return Err(SourceError::RateTooHigh { asked: rate });
        }
        self.set_period(Period::from_rate(u64::from(rate), 1).ok())
    }

    /// From now on a tick every `period`; `None` stops. As [`set_rate`](Self::set_rate), for periods that are no whole
    /// number of ticks per second, such as a number of samples.
    ///
    /// ```
    /// use unisono_timer::{Period, TimingSource};
    ///
    /// let timer = TimingSource::new()?.open()?;
    /// // 160 samples of 8000 Hz.
    /// timer.set_period(Period::from_rate(8_000, 160).ok())?;
    /// # Ok::<(), unisono_timer::SourceError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`SourceError::PeriodTooShort`] below [`MIN_PERIOD`], [`SourceError::Thread`] when this is the source's
    /// first, [`SourceError::Forked`]. The period before then stays.
    pub fn set_period(&self, period: Option<Period>) -> Result<(), SourceError> {
        self.registry.check()?;
        if period.is_some_and(|period| period.to_duration() < MIN_PERIOD) {
            return Err(SourceError::PeriodTooShort);
        }
        let mut desk = self.desk();
        if desk.schedule.map(|schedule| schedule.period()) == period {
            return Ok(());
        }
        let backlog = match period {
            Some(period) => {
                self.registry.ensure_thread()?;
                self.registry.backlog(period)
            }
            None => 0,
        };
        // After the lock, so that wishes are in the order of their times.
        let wish = desk.change(MonoTime::now(), period, backlog);
        self.send(&mut desk, wish);
        Ok(())
    }

    /// The deadlines of the handle's ticks, whose first is number 1; `None` when stopped.
    pub fn schedule(&self) -> Option<Schedule> {
        self.registry.check().ok()?;
        self.desk().schedule
    }

    /// Acknowledges up to `ticks` pending ticks, each by itself as with a counting device. Returns how
    /// many there were: fewer than asked for when fewer were pending, which are then all cleared.
    ///
    /// # Errors
    ///
    /// [`SourceError::NothingPending`] when there was none although one or more were asked for,
    /// [`SourceError::Forked`].
    pub fn ack(&self, ticks: u32) -> Result<u32, SourceError> {
        self.registry.check()?;
        match self.shared.signal.ack(ticks) {
            0 if ticks > 0 => Err(SourceError::NothingPending),
            taken => Ok(taken),
        }
    }

    /// Acknowledges all pending ticks as one, and returns how many they were.
    ///
    /// # Errors
    ///
    /// As [`ack`](Self::ack).
    pub fn ack_all(&self) -> Result<u32, SourceError> {
        self.ack(u32::MAX)
    }

    /// Ticks that have come and have not been acknowledged. They stay when the rate changes or stops. In a forked child: as many as
    /// at the fork.
    pub fn pending(&self) -> u32 {
        self.shared.signal.level().pending()
    }

    /// Ticks, since the handle was opened, that nobody will be told of one by one: as they came, a
    /// [backlog](super::SourceSettings::backlog) was pending already.
    pub fn missed(&self) -> u64 {
        self.shared.signal.missed()
    }

    /// Makes the descriptor readable until [`disable_continuous`](Self::disable_continuous), whatever the
    /// rate. Ticks go on to come meanwhile. One write at most; none when it was on or a tick is pending.
    ///
    /// # Errors
    ///
    /// [`SourceError::Forked`].
    pub fn enable_continuous(&self) -> Result<(), SourceError> {
        self.set_continuous(true)
    }

    /// Ends continuous mode: the descriptor is readable only while ticks are pending. One read at most; none when it
    /// was off or a tick is pending.
    ///
    /// # Errors
    ///
    /// [`SourceError::Forked`].
    pub fn disable_continuous(&self) -> Result<(), SourceError> {
        self.set_continuous(false)
    }

    /// Whether this is a forked child's copy of a handle, which nobody ticks: calls that can say so answer
    /// [`SourceError::Forked`].
    pub fn is_forked(&self) -> bool {
        self.registry.check().is_err()
    }

    /// Whether continuous mode is on. In a forked child: whether it was on in the parent.
    pub fn is_continuous(&self) -> bool {
        self.shared.signal.level().is_continuous()
    }

    /// Why the descriptor is readable; `None` when it is not. Continuous mode comes before ticks, which keep.
    ///
    /// # Errors
    ///
    /// [`SourceError::Forked`].
    pub fn event(&self) -> Result<Option<Event>, SourceError> {
        self.registry.check()?;
        let level = self.shared.signal.level();
        Ok(if level.is_continuous() {
            Some(Event::Continuous)
        } else if level.pending() > 0 {
            Some(Event::Expired)
        } else {
            None
        })
    }

    fn set_continuous(&self, on: bool) -> Result<(), SourceError> {
        self.registry.check()?;
        self.shared.signal.set_continuous(on);
        Ok(())
    }

    fn send(&self, desk: &mut Desk, wish: Wish) {
        desk.is_known = true;
        if desk.pen.write(&self.shared, wish) {
            self.registry.hub.send(Arc::clone(&self.shared));
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for TimerHandle {
    /// An eventfd, to be polled and nothing else: readable exactly while ticks are pending or continuous mode is on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.signal.as_fd()
    }
}

impl Drop for TimerHandle {
    fn drop(&mut self) {
        if self.registry.check().is_err() {
            // A child's copy. The descriptor's number is the child's own; the rest is the parent's business.
            self.shared.signal.abandon();
            return;
        }
        self.shared.signal.close();
        let mut desk = self.desk();
        if desk.is_known {
            self.send(&mut desk, Wish::Close);
        } else {
            self.registry.give_back(self.shared.number);
        }
    }
}
