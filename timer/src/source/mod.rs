//! A timing source as telephony software expects one: many handles, each with a rate of its own and a
//! descriptor to poll.
//!
//! A [`TimingSource`] is what a kernel timing device was: a program [opens](TimingSource::open) as many
//! [`TimerHandle`]s as it has calls and conferences, gives each a rate, polls their descriptors together with its sockets, and
//! acknowledges ticks. One real-time thread serves them all, ten thousand or more. [`FrameTimer`] is the other shape,
//! a timer that its thread blocks on and which counts samples.
//!
//! # Guarantees
//!
//! * Deadlines are absolute: a tick's time is reckoned from its number, so nothing drifts at any rate. They are of CLOCK_MONOTONIC:
//!   a step of the wall clock, forward or back, neither delays a tick nor brings one early.
//! * A handle's descriptor is readable exactly while a tick is pending or continuous mode is on. Between a change and
//!   the descriptor's following it there is at most one system call of somebody who is at it.
//! * Every tick is acknowledged, pending or missed, once. No more than a second's worth is pending
//!   ([`SourceSettings::backlog`]); beyond that ticks are counted as missed. So neither SIGSTOP nor a night's idling is
//!   followed by a storm.
//! * Nothing blocks: no call but the drop that ends the source waits for the tick thread, and the tick thread waits for nobody. It takes no lock,
//!   allocates nothing and frees nothing. Users of the *same* handle who set its rate exclude one another.
//! * The thread starts with the first rate that is set. While no handle has one, it sleeps and nothing wakes it.
//! * A tick thread that works for two seconds of processor time without a sleep becomes an ordinary one instead of taking the
//!   machine; [`TimingSource::demotions`] and [`TimingSource::describe`] tell.
//! * Descriptors may have any number; none is ever given to `select`. When there are none left, [`TimingSource::open`] says so.
//! * In a forked child every handle and source of the parent answers [`SourceError::Forked`]; to drop them there is safe and
//!   does not disturb the parent. A new source works.
//!
//! # What it costs beside timerfds
//!
//! Ten thousand handles at 50 Hz with one consumer on a guest of two processors, CPU per tick (`cargo bench -p unisono-timer
//! --bench handles`): 1.1 us (0.8 to 1.4) with the thread anywhere, 0.75 us with thread and consumer on one processor
//! ([`RealtimeRequest::pin_to`]), which takes a burst of ticks as one wake-up. As many timerfds: 0.9 to 2.0 us armed when their call
//! came, the more the idler the machine, and 0.6 us all on one grid of milliseconds. So a program that arms its timerfds on a
//! grid, with rates that divide a second and no use for continuous mode, is cheaper with those: the kernel
//! raises a whole burst in one interrupt, where each handle here takes a write. What they cannot do is count ticks apart, keep a
//! rate under continuous mode, be exact at 30 Hz, or bound what is pending.
//!
//! ```
//! use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
//! use std::os::fd::AsFd;
//! use unisono_timer::{SourceError, TimingSource};
//!
//! let source = TimingSource::new()?;
//! let timer = source.open()?;
//! timer.set_rate(50)?;
//! for _ in 0..3 {
//!     poll(&mut [PollFd::new(timer.as_fd(), PollFlags::POLLIN)], PollTimeout::from(1000_u16)).ok();
//!     match timer.ack(1) {
//!         Ok(_) | Err(SourceError::NothingPending) => {}
//!         Err(error) => return Err(error),
//!     }
//! }
//! # Ok::<(), SourceError>(())
//! ```

mod beats;
mod error;
mod fork;
mod frame_timer;
mod handle;
mod hub;
mod inbox;
mod level;
mod registry;
mod signal;
mod thread;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use self::error::SourceError;
pub use self::frame_timer::{Check, FrameTimer, FrameTimerError, Jumps};
pub use self::handle::{Event, TimerHandle};
use self::registry::Registry;
use crate::realtime::{RealtimeGrant, RealtimeRequest};
use crate::stats::LatencyHistogram;
use crate::watchdog::{WatchdogError, WatchdogStatus};

/// Ticks per second that [`TimerHandle::set_rate`] takes at most: what timing modules of PBXes announce. A
/// [period](TimerHandle::set_period) may be shorter.
pub const MAX_RATE: u32 = 1_000;

/// The shortest period: one sample at 8 kHz. Below it, waking the thread costs more than a tick is worth.
pub const MIN_PERIOD: Duration = Duration::from_micros(125);

/// Handles that one source has at most.
pub const MAX_HANDLES: u32 = 1 << 20;

/// What a source asks for and how much it keeps.
#[derive(Clone, Debug)]
#[must_use = "settings do nothing until a source is made with them"]
pub struct SourceSettings {
    realtime: RealtimeRequest,
    backlog: Duration,
}

impl SourceSettings {
    /// SCHED_FIFO priority 70, 64 KiB of stack touched beforehand, no timer slack; a backlog of one second.
    pub fn new() -> Self {
        let realtime = RealtimeRequest::new()
            .fifo(70)
            .prefault_stack(64 * 1024)
            .timer_slack(Duration::from_nanos(1));
        Self {
            realtime,
            backlog: Duration::from_secs(1),
        }
    }

    /// What the tick thread asks for as it starts; [`TimingSource::grant`] has the answer.
    ///
    /// Keep [`RealtimeRequest::timer_slack`] at 1 ns, or ticks may be 50 us late where real-time scheduling is refused.
    pub fn realtime(mut self, request: RealtimeRequest) -> Self {
        self.realtime = request;
        self
    }

    /// How much of unacknowledged time is kept: as many ticks as come in it, at least one and at most
    /// 16 million. Further ones are [missed](TimerHandle::missed).
    pub const fn backlog(mut self, backlog: Duration) -> Self {
        self.backlog = backlog;
        self
    }
}

impl Default for SourceSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// Opens handles, and serves them with one thread. Cloning it gives another name for the same source, which lives as
/// long as any of them or any handle.
///
/// When the last is dropped, the thread ends, and the drop waits for that.
#[derive(Clone, Debug)]
pub struct TimingSource {
    registry: Arc<Registry>,
}

impl TimingSource {
    /// A source with [`SourceSettings::new`]. No thread is started and no descriptor is opened yet.
    ///
    /// # Errors
    ///
    /// [`SourceError::Thread`] when there is no memory to notice forks.
    pub fn new() -> Result<Self, SourceError> {
        Self::with_settings(SourceSettings::new())
    }

    /// A source with settings of one's own.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_settings(settings: SourceSettings) -> Result<Self, SourceError> {
        let registry = Arc::new(Registry::new(settings)?);
        Ok(Self { registry })
    }

    /// A new handle, stopped and quiet. Takes one descriptor, closed on exec.
    ///
    /// # Errors
    ///
    /// [`SourceError::Descriptor`], [`SourceError::TooManyHandles`], [`SourceError::Forked`].
    pub fn open(&self) -> Result<TimerHandle, SourceError> {
        self.open_from(0)
    }

    /// As [`open`](Self::open), with the lowest free number from `start` on for the descriptor, or any where there is none: for
    /// programs that want low numbers kept for others.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_from(&self, start: RawFd) -> Result<TimerHandle, SourceError> {
        TimerHandle::open(Arc::clone(&self.registry), start)
    }

    /// What the tick thread was granted as it started; `None` while no rate has been set, or it has only just been. Whether it
    /// still has that, [`demotions`](Self::demotions) says.
    pub fn grant(&self) -> Option<&RealtimeGrant> {
        self.registry.hub.grant.get()
    }

    /// The watch over the tick thread, or why it cannot be watched; there once [`grant`](Self::grant) is.
    pub fn watchdog(&self) -> Option<&Result<WatchdogStatus, WatchdogError>> {
        self.registry.hub.watch.get()
    }

    /// How often the tick thread lost its real-time scheduling because it worked for two seconds of processor time without
    /// a sleep: its handles have more ticks than the processor can serve. It then stays an ordinary thread, and ticks may be late.
    pub fn demotions(&self) -> u64 {
        match self.watchdog() {
            Some(Ok(watch)) => watch.demotions(),
            _ => 0,
        }
    }

    /// What the tick thread was granted and what became of it since, for people.
    pub fn describe(&self) -> String {
        let Some(grant) = self.grant() else {
            return "not asked yet".to_owned();
        };
        match self.watchdog() {
            Some(Ok(watch)) if watch.demoted() => format!(
                "{grant}; since demoted to an ordinary thread, as it worked for {:?} of processor time without sleep: \
                 give it fewer handles or longer periods, and make a new source",
                watch.limit()
            ),
            Some(Err(error)) => format!("{grant}; not watched for work without sleep: {error}"),
            _ => grant.to_string(),
        }
    }

    /// Whether this is a forked child's copy of a source, whose thread is the parent's: it opens nothing.
    pub fn is_forked(&self) -> bool {
        self.registry.check().is_err()
    }

    /// How late the tick thread was, in nanoseconds, for each of its wake-ups with ticks to serve.
    pub fn lateness(&self) -> &LatencyHistogram {
        &self.registry.hub.lateness
    }

    /// How often the tick thread woke. Stands still while no handle has a rate.
    pub fn wakeups(&self) -> u64 {
        self.registry.hub.wakeups.load(Ordering::Relaxed)
    }
}
