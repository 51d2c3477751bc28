//! When the service thread may be about to open something.
//!
//! A descriptor has a low number for a moment before it is hidden. A program that closes all numbers, whatever they are, would close it
//! there, and the number might be the program's next; and a program that opens something expects the lowest number. So who interposes
//! `close` and `open` lets the thread come to an end first.
#![allow(
    unsafe_code,
    reason = "the C library's ways to sleep are points of cancellation"
)]

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use nix::unistd::gettid;

use crate::fork::Generation;

/// Waits, for no longer than 0.2 s, while the service thread may be opening descriptors, unless this is that thread. An atomic
/// load where it is asleep. Takes no lock; safe in a signal handler.
pub fn let_make() {
    for _ in 0..PATIENCE {
        let maker = MAKER.load(Ordering::Acquire);
        // A forked child has not got the thread.
        let is_here = GENERATION.load(Ordering::Relaxed) == Generation::current().number();
        if maker == NOBODY || !is_here || maker == gettid().as_raw() {
            return;
        }
        sleep();
    }
}

fn sleep() {
    // SAFETY: the kernel reads a live timespec, and writes nothing.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const STEP, 0) };
}

/// While it lives the calling thread, the only one to do so, may open descriptors.
#[derive(Debug)]
pub(crate) struct Making(());

impl Making {
    /// For a thread that is about to be started, which begins with [`Making::begin`].
    pub(crate) fn expect() -> Self {
        GENERATION.store(Generation::current().number(), Ordering::Relaxed);
        MAKER.store(EXPECTED, Ordering::Release);
        Self(())
    }

    pub(crate) fn begin() -> Self {
        GENERATION.store(Generation::current().number(), Ordering::Relaxed);
        MAKER.store(gettid().as_raw(), Ordering::Release);
        Self(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        MAKER.store(NOBODY, Ordering::Release);
    }
}

static MAKER: AtomicI32 = AtomicI32::new(NOBODY);
static GENERATION: AtomicU64 = AtomicU64::new(0);

const NOBODY: i32 = 0;
const EXPECTED: i32 = -1;
static STEP: libc::timespec = libc::timespec {
    tv_sec: 0,
    tv_nsec: 100_000,
};
const PATIENCE: u32 = 2000;

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn others_wait_for_the_maker_which_does_not_wait_for_itself() {
        let (tell, told) = mpsc::channel();
        let making = Making::begin();
        let_make();
        let other = thread::spawn(move || {
            let_make();
            let _ = tell.send(());
        });
        drop(making);
        told.recv().unwrap();
        other.join().unwrap();
        let_make();
        // Not for ever either.
        let _making = Making::begin();
        thread::spawn(let_make).join().unwrap();
    }
}
