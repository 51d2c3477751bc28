//! Knowing that one is in a forked child, for the price of one load.
//!
//! A forked child has copies of all memory but not of the tick thread, and locks that another thread held at that moment
//! stay locked there for ever. So whatever belongs to a source remembers the *generation* it was
//! made in, and is not touched in a later one.
//! `fork` runs the handler; a bare `clone` or `vfork` system call does not, and after those nothing but exec is sound anyway.
#![allow(unsafe_code, reason = "pthread_atfork has no safe wrapper")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;

/// Processes between the first one and this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

impl Generation {
    /// The calling process's, from now on counted.
    pub(super) fn join() -> Result<Self, Errno> {
        static REGISTERED: AtomicBool = AtomicBool::new(false);
        // No Once: a fork in the midst of one would leave it undecided in the child for ever. Two threads here at
        // the same time register twice, and a child is then two generations on, which does as well.
        if !REGISTERED.load(Ordering::Acquire) {
            // SAFETY: the handler is async-signal-safe: it adds to an atomic.
            let result = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            if result != 0 {
                return Err(Errno::from_raw(result));
            }
            REGISTERED.store(true, Ordering::Release);
        }
        Ok(Self(GENERATION.load(Ordering::Relaxed)))
    }

    /// Whether this is still the process that joined.
    pub(super) fn is_current(self) -> bool {
        GENERATION.load(Ordering::Relaxed) == self.0
    }
}

unsafe extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

static GENERATION: AtomicU64 = AtomicU64::new(0);
