//! Sleeping until the deadlines of a [`Schedule`].
//!
//! A [`Ticker`] allocates nothing once it is made, takes no lock, and replays no storm: however long the
//! machine stood still, what is ticked at once is bounded by the [`LatePolicy`], by default to one tick, and
//! every number is either ticked or counted as missed.
//! Every wait arms the timer itself, so it cannot sleep on a disarmed one; and a wait that is not
//! woken by its timer (because a forked child or somebody else armed or read the shared descriptor)
//! notices within 100 ms.
//!
//! # Precise mode
//!
//! A wake-up on a guest takes some 40 us and more. With [`Ticker::precise`] each wait sleeps until shortly
//! before the deadline and looks at the clock from then on, so that the tick comes well under a microsecond
//! after its deadline. How long before follows the latest 256 wake-up latencies, such that about one in a hundred is
//! later than the window; stalls of more than 1 ms, against which nothing helps, do not widen it. What is
//! spent on spinning is bounded by a share of one CPU ([`Precision`]) that is never exceeded: when it does
//! not suffice, the window is shorter, and with nothing left the ticker sleeps as without precise mode.
//! [`Ticker::precision`] tells which.
//!
//! While it spins, up to 1 ms, the other descriptor of [`Ticker::wait_for_or`] is not looked at. It spins
//! for at most half of each period. A thread whose own work takes the other half never sleeps, and a
//! [`Watchdog`](crate::Watchdog) takes it for a runaway one.
//!
//! # What happens when …
//!
//! | … | then |
//! |---|---|
//! | the process is stopped (SIGSTOP), or the machine stands still | what came meanwhile is ticked or missed as the policy says: the first tick after it accounts for all |
//! | somebody steps CLOCK_REALTIME | nothing: deadlines are of CLOCK_MONOTONIC |
//! | the machine is suspended | nothing is missed: CLOCK_MONOTONIC stands still too |
//! | the process forks in mid-tick | both go on with the same numbers. They share the kernel's timer, so one that sleeps on a descriptor may be late by 100 ms: make a new ticker in the child. A real-time parent has an ordinary child |
//! | a signal arrives | nothing: the wait goes on |
//!
//! # How it sleeps
//!
//! A periodic timerfd counts whole nanoseconds and so drifts at 30 Hz. An absolute one-shot deadline
//! computed from its number never does, lets a caller serve any subset of a fine grid, and makes
//! the late-tick policy a matter of numbers instead of counting expirations that may have been
//! read by someone else.
//!
//! A real-time thread that waits for nothing but a deadline sleeps in `clock_nanosleep`: one system call, after
//! one that asks how the thread is scheduled.
//! An ordinary thread, whose `clock_nanosleep` the kernel delays by the timer slack of 50 us, and who
//! waits for another descriptor too, sleep in `ppoll` on a timerfd, which is subject to no slack.
//!
//! Every sleep ends a little *ahead* of its deadline, by what seven in eight of the latest 32 wake-ups cost at least, and
//! at most by 200 us or a sixteenth of the period. What a wake-up always costs is no lateness then; the one in eight
//! that is quicker spins for the difference, some microseconds. What that costs [`Ticker::lead`] says; it is never more than
//! 0.1 % of a CPU and a millisecond, for which the lead is shortened where it must. [`Ticker::without_lead`] does without.
//!
//! `benches/compare/timers.sh` holds the lateness against cyclictest's; `docs/timing.md` has its figures.

mod late;
mod latencies;
mod lead;
mod precise;
mod sleep;

use std::hint;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;

pub use self::late::LatePolicy;
use self::late::Reached;
use self::lead::Lead;
pub use self::lead::LeadStatus;
use self::precise::Spinner;
pub use self::precise::{Precision, PrecisionError, PrecisionStatus};
use self::sleep::{Awake, Sleeper, sleep_on};
use crate::clock::MonoTime;
use crate::schedule::Schedule;

/// One deadline that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tick {
    /// The deadline's number in the schedule.
    pub number: u64,
    /// When it was due.
    pub deadline: MonoTime,
    /// When the thread ran again; never before `deadline`.
    pub woke: MonoTime,
    /// Deadlines missed. From [`Ticker::wait`]: those before `number`, since the tick before, that get no
    /// tick, as the [`LatePolicy`] says. From [`Ticker::wait_for`]: those of the grid that were already due
    /// after `number`.
    pub missed: u64,
}

impl Tick {
    /// How long after its deadline the thread ran.
    pub const fn lateness(&self) -> Duration {
        self.woke.since(self.deadline)
    }
}

/// What ended a [`Ticker::wait_for_or`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The deadline has come.
    Tick(Tick),
    /// The other descriptor is readable, or has an error or hang-up that reading it will tell.
    /// The deadline has not come; its number can be waited for again.
    Other,
}

/// Why a ticker cannot be made or cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TickerError {
    /// No timer: with EMFILE raise RLIMIT_NOFILE (`LimitNOFILE=` in a unit file).
    #[error(
        "cannot create a timerfd: {0}; with EMFILE raise the limit of open files (LimitNOFILE=)"
    )]
    Create(Errno),
    /// The kernel refused to arm the timer: in practice a seccomp filter without timerfd_settime.
    #[error("cannot arm the timer: {0}; allow timerfd_settime in the seccomp filter")]
    Arm(Errno),
    /// The kernel refused to wait: in practice a seccomp filter without ppoll or clock_nanosleep.
    #[error(
        "cannot wait for the deadline: {0}; allow ppoll and clock_nanosleep in the seccomp filter"
    )]
    Wait(Errno),
    /// A number was asked for that this ticker has passed: ask for `next` or later.
    #[error("deadline {asked} has been passed; ask for {next} or later")]
    NumberPassed {
        /// The number that was asked for.
        asked: u64,
        /// The earliest number that can be asked for.
        next: u64,
    },
}

/// Sleeps on the deadlines of a [`Schedule`], one thread's beat.
///
/// Use [`wait`](Self::wait) for every deadline, or [`wait_for`](Self::wait_for) for chosen ones.
///
/// After a `fork` the child shares the kernel's timer with its parent: make a new ticker there.
#[derive(Debug)]
pub struct Ticker {
    sleeper: Sleeper,
    schedule: Schedule,
    next: u64,
    late: LatePolicy,
    lead: Option<Lead>,
    /// In precise mode. In a box, as it is large and a ticker may be moved.
    spinner: Option<Box<Spinner>>,
}

impl Ticker {
    /// A ticker whose first tick is the first deadline later than now: number 0 when the schedule's
    /// origin lies ahead. Deadlines of the past are not counted as missed.
    ///
    /// The descriptor is closed on exec.
    ///
    /// # Errors
    ///
    /// [`TickerError::Create`].
    pub fn new(schedule: Schedule) -> Result<Self, TickerError> {
        Ok(Self {
            sleeper: Sleeper::new()?,
            schedule,
            next: schedule.next_after(MonoTime::now()),
            late: LatePolicy::default(),
            lead: Some(Lead::new(schedule.period().to_duration())),
            spinner: None,
        })
    }

    /// What [`wait`](Self::wait) does about late deadlines. Before this is called, [`LatePolicy::Coalesce`].
    #[must_use]
    pub fn with_late_policy(mut self, policy: LatePolicy) -> Self {
        self.late = policy;
        self
    }

    /// From now on every wait sleeps to shortly before its deadline and spins from there, within the
    /// budget of `precision`. Allocates about 2 KiB. See [precise mode](self#precise-mode).
    #[must_use]
    pub fn precise(mut self, precision: Precision) -> Self {
        let period = self.schedule.period().to_duration();
        self.spinner = Some(Box::new(Spinner::new(precision, period)));
        self
    }

    /// From now on no sleep ends ahead of its deadline: the ticker never spins, and what every wake-up costs, some 50 us on a
    /// guest, is lateness. Precise mode, which takes the lead's place, is not affected.
    #[must_use]
    pub fn without_lead(mut self) -> Self {
        self.lead = None;
        self
    }

    /// By how much sleeps end ahead of their deadlines and what that costs; `None` in precise mode, which says so
    /// [itself](Self::precision), and [without lead](Self::without_lead).
    pub fn lead(&self) -> Option<LeadStatus> {
        match &self.spinner {
            Some(_) => None,
            None => self.lead.as_ref().map(Lead::status),
        }
    }

    /// What precise mode does and costs; `None` for a ticker that is not precise.
    pub fn precision(&self) -> Option<PrecisionStatus> {
        self.spinner.as_ref().map(|spinner| spinner.status())
    }

    /// Sleeps until the next deadline.
    ///
    /// When it has already come, the [`LatePolicy`] decides on the tick: by default this returns at once with
    /// the *latest* one that has, and `missed` says how many were skipped before it. Number minus missed is
    /// always one after the last number.
    ///
    /// # Errors
    ///
    /// [`TickerError::Arm`] and [`TickerError::Wait`].
    pub fn wait(&mut self) -> Result<Tick, TickerError> {
        let (policy, schedule, next) = (self.late, self.schedule, self.next);
        let tick = late::next_tick(policy, &schedule, next, |number| self.reach(number))?;
        self.next = tick.number.saturating_add(1);
        Ok(tick)
    }

    /// Sleeps until deadline `number`; returns at once when it has come.
    ///
    /// For an engine that serves sparse slots of a fine grid. The tick has the number asked for, and
    /// `missed` says how many deadlines of the grid have come since: the engine decides what to skip.
    ///
    /// # Errors
    ///
    /// [`TickerError::NumberPassed`] when `number` is not greater than the last tick's;
    /// [`TickerError::Arm`] and [`TickerError::Wait`].
    pub fn wait_for(&mut self, number: u64) -> Result<Tick, TickerError> {
        self.check(number)?;
        let reached = self.reach(number)?;
        Ok(self.tick(number, reached.at))
    }

    /// Like [`wait_for`](Self::wait_for), or until `other` is readable, whichever is first.
    ///
    /// A deadline that has come is preferred, so that traffic on `other` never delays a tick; look at
    /// `other` on each tick too if its readers must not wait.
    ///
    /// # Errors
    ///
    /// As [`wait_for`](Self::wait_for).
    pub fn wait_for_or(&mut self, number: u64, other: &impl AsFd) -> Result<Wake, TickerError> {
        self.check(number)?;
        Ok(match self.reach_or(number, Some(other.as_fd()))? {
            Some(reached) => Wake::Tick(self.tick(number, reached.at)),
            None => Wake::Other,
        })
    }

    /// Disarms the timer and sleeps until `other` is readable: an idle worker costs nothing.
    ///
    /// Afterwards the next tick is the first deadline later than now: what went by while idle was
    /// not missed.
    ///
    /// # Errors
    ///
    /// [`TickerError::Arm`] and [`TickerError::Wait`].
    pub fn idle_until(&mut self, other: &impl AsFd) -> Result<(), TickerError> {
        self.disarm()?;
        sleep_on(other.as_fd())?;
        self.resync();
        Ok(())
    }

    /// Makes the next tick the first deadline later than now, without counting what went by.
    pub fn resync(&mut self) {
        self.next = self.next.max(self.schedule.next_after(MonoTime::now()));
    }

    /// Arms the timer for deadline `number` without waiting, for a caller with an event loop of its
    /// own: once [`as_fd`](AsFd::as_fd) is readable, [`wait_for`](Self::wait_for) does not sleep.
    ///
    /// # Errors
    ///
    /// [`TickerError::NumberPassed`] and [`TickerError::Arm`].
    pub fn arm(&mut self, number: u64) -> Result<(), TickerError> {
        self.check(number)?;
        self.sleeper.arm(self.schedule.deadline(number))
    }

    /// Disarms the timer: the descriptor is not readable and nothing will wake. Any wait arms it
    /// again.
    ///
    /// # Errors
    ///
    /// [`TickerError::Arm`].
    pub fn disarm(&mut self) -> Result<(), TickerError> {
        self.sleeper.disarm()
    }

    /// The number [`wait`](Self::wait) will sleep for, and the least [`wait_for`](Self::wait_for) takes.
    pub const fn next_number(&self) -> u64 {
        self.next
    }

    /// The grid this ticker sleeps on.
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    fn check(&self, asked: u64) -> Result<(), TickerError> {
        if asked < self.next {
            Err(TickerError::NumberPassed {
                asked,
                next: self.next,
            })
        } else {
            Ok(())
        }
    }

    fn tick(&mut self, number: u64, woke: MonoTime) -> Tick {
        self.next = number.saturating_add(1);
        let missed = self.schedule.number_at(woke).saturating_sub(number);
        Tick {
            number,
            deadline: self.schedule.deadline(number),
            woke,
            missed,
        }
    }

    fn reach(&mut self, number: u64) -> Result<Reached, TickerError> {
        loop {
            // Without another descriptor there is nothing else to be woken by.
            if let Some(reached) = self.reach_or(number, None)? {
                return Ok(reached);
            }
        }
    }

    /// `None` when `other` ended the wait.
    fn reach_or(
        &mut self,
        number: u64,
        other: Option<BorrowedFd<'_>>,
    ) -> Result<Option<Reached>, TickerError> {
        let deadline = self.schedule.deadline(number);
        let now = MonoTime::now();
        if now >= deadline {
            return Ok(Some(Reached {
                at: now,
                waited: false,
            }));
        }
        let wake_time = match (&mut self.spinner, &mut self.lead) {
            (Some(spinner), _) => spinner.wake_time(deadline, now),
            (None, Some(lead)) => deadline - lead.ahead(now),
            (None, None) => deadline,
        };
        let Awake::Due { at: woke, slept } = self.sleeper.sleep_until(wake_time, other)? else {
            return Ok(None);
        };
        match (&mut self.spinner, &mut self.lead) {
            (Some(spinner), _) if slept => spinner.woke(wake_time, woke),
            (None, Some(lead)) if slept => lead.record(woke.since(wake_time)),
            _ => {}
        }
        let at = spin_until(deadline, woke);
        match (&mut self.spinner, &mut self.lead) {
            (Some(spinner), _) => spinner.reached(deadline, woke),
            (None, Some(lead)) => lead.reached(deadline, woke),
            (None, None) => {}
        }
        Ok(Some(Reached { at, waited: true }))
    }
}

impl AsFd for Ticker {
    /// The timer's descriptor, to be polled, not read: readable once an armed deadline has come, until
    /// the next wait arms it again. Not readable when disarmed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sleeper.as_fd()
    }
}

/// Looks at the clock until `time` has come, `now` being the latest look.
fn spin_until(time: MonoTime, mut now: MonoTime) -> MonoTime {
    while now < time {
        hint::spin_loop();
        now = MonoTime::now();
    }
    now
}
