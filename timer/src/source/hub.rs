//! Where users and the tick thread meet: the inbox, what comes back from it, and the thread's sleep.
//!
//! Going to sleep and being called is Dekker's protocol, all of it sequentially consistent: the thread says that it sleeps
//! and then looks into the inbox; a user puts something there and then looks whether the thread sleeps. At least one of
//! the two sees the other. The sleep itself is a futex with an absolute deadline, so it takes no descriptor and
//! a call in between ends it before it began.
#![allow(
    unsafe_code,
    reason = "a futex has no safe wrapper; storage changes hands through a pointer"
)]

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::beats::Beats;
use super::inbox::{Shared, Stack};
use crate::clock::{MonoTime, NANOS_PER_SEC};
use crate::realtime::RealtimeGrant;
use crate::stats::LatencyHistogram;
use crate::watchdog::{WatchdogError, WatchdogStatus};

#[derive(Debug, Default)]
pub(super) struct Hub {
    /// Handles with mail for the tick thread.
    pub(super) inbox: Stack,
    /// Closed handles that the tick thread has forgotten.
    pub(super) returned: Stack,
    /// Set before the grant.
    pub(super) watch: OnceLock<Result<WatchdogStatus, WatchdogError>>,
    pub(super) grant: OnceLock<RealtimeGrant>,
    pub(super) lateness: LatencyHistogram,
    /// How often the tick thread came back from its sleep.
    pub(super) wakeups: AtomicU64,
    growth: AtomicPtr<Storage>,
    asleep: AtomicU32,
    stop: AtomicBool,
}

/// What the tick thread needs for a number of handles. Made by users, so that the tick thread never allocates.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) beats: Beats,
    pub(super) slots: Vec<Slot>,
    /// What this replaced, kept because the tick thread does not free either. Together smaller than this.
    outgrown: Option<Box<Self>>,
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    shared: Option<Arc<Shared>>,
    backlog: u32,
    /// Ticks since the handle became known.
    given: u64,
}

impl Slot {
    /// Ticks that have come.
    pub(super) fn give(&mut self, ticks: u64) {
        if ticks > 0
            && let Some(shared) = &self.shared
        {
            self.given = self.given.saturating_add(ticks);
            shared.signal.add(ticks, self.backlog);
        }
    }

    /// Gives what of `due` has not been given yet, also for schedules that the tick thread never saw. From now on
    /// at most `backlog` ticks are to be pending.
    pub(super) fn settle(&mut self, shared: Arc<Shared>, due: u64, backlog: u32) {
        self.shared = Some(shared);
        // What comes late keeps the room that it had.
        self.backlog = self.backlog.max(backlog);
        self.give(due.saturating_sub(self.given));
        self.backlog = backlog;
        // A tick that came while the wish was being written has been given beyond it, which is not held against the next.
        self.given = due;
    }
}

impl Storage {
    pub(super) fn with_capacity(handles: u32) -> Box<Self> {
        Box::new(Self {
            beats: Beats::with_capacity(handles),
            slots: (0..handles).map(|_| Slot::default()).collect(),
            outgrown: None,
        })
    }

    /// Takes everything over from a smaller one, without allocating or freeing.
    pub(super) fn adopt(&mut self, mut smaller: Box<Self>) {
        self.beats.adopt(&smaller.beats);
        for (new, old) in self.slots.iter_mut().zip(&mut smaller.slots) {
            std::mem::swap(new, old);
        }
        self.outgrown = Some(smaller);
    }
}

impl Hub {
    /// Puts a handle into the inbox and calls the tick thread. Costs a system call when that sleeps.
    pub(super) fn send(&self, shared: Arc<Shared>) {
        self.inbox.push(shared);
        self.call();
    }

    /// Leaves larger storage for the tick thread. Before the first handle that needs it is sent.
    pub(super) fn grow(&self, storage: Box<Storage>) {
        self.replace_growth(Box::into_raw(storage));
    }

    /// The storage that users left, if any is new.
    pub(super) fn take_growth(&self) -> Option<Box<Storage>> {
        if self.growth.load(Ordering::Relaxed).is_null() {
            return None;
        }
        self.replace_growth(ptr::null_mut())
    }

    /// Ends the tick thread.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.call();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// For the tick thread: sleeps until `deadline`, for ever without one, or until something is in the inbox.
    /// May come back early.
    pub(super) fn sleep_until(&self, deadline: Option<MonoTime>) {
        self.asleep.store(ASLEEP, Ordering::SeqCst);
        if self.inbox.is_empty() && !self.is_stopped() {
            self.futex_wait(deadline);
        }
        self.asleep.store(AWAKE, Ordering::SeqCst);
    }

    fn call(&self) {
        if self.asleep.swap(AWAKE, Ordering::SeqCst) == ASLEEP {
            self.futex_wake();
        }
    }

    fn replace_growth(&self, storage: *mut Storage) -> Option<Box<Storage>> {
        let before = self.growth.swap(storage, Ordering::AcqRel);
        // SAFETY: not null, it came from `Box::into_raw` in `grow`, and the exchange made it ours alone.
        (!before.is_null()).then(|| unsafe { Box::from_raw(before) })
    }

    fn futex_wait(&self, deadline: Option<MonoTime>) {
        let deadline = deadline.map(|deadline| libc::timespec {
            tv_sec: (deadline.as_nanos() / NANOS_PER_SEC) as _,
            tv_nsec: (deadline.as_nanos() % NANOS_PER_SEC) as _,
        });
        let timeout = deadline.as_ref().map_or(ptr::null(), ptr::from_ref);
        // Its result does not matter: whatever ended the sleep, the caller looks at clock and inbox.
        // SAFETY: the word and the timeout live as long as the call; absolute times are of CLOCK_MONOTONIC.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.asleep.as_ptr(),
                libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                ASLEEP,
                timeout,
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
    }

    fn futex_wake(&self) {
        // SAFETY: the word lives as long as the call.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.asleep.as_ptr(),
                libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                1,
            )
        };
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        drop(self.replace_growth(ptr::null_mut()));
    }
}

const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;
