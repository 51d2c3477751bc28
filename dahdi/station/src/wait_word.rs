//! Waiting until a word changes: a futex of this process.
#![allow(unsafe_code, reason = "a futex has no safe wrapper")]

use std::ptr;
use std::sync::atomic::AtomicU32;

use nix::errno::Errno;
use unisono_timer::MonoTime;

/// Waits while the word is `value`, until it is woken or the deadline has come; may come back without reason.
///
/// Without a deadline a signal whose handler has system calls restarted (SA_RESTART) does not end it, another one does:
/// [`Errno::EINTR`]. That is what waiting in a driver is like.
pub(crate) fn wait(word: &AtomicU32, value: u32, deadline: Option<MonoTime>) -> Result<(), Errno> {
    let deadline = deadline.map(|deadline| libc::timespec {
        tv_sec: (deadline.as_nanos() / NANOS_PER_SEC) as _,
        tv_nsec: (deadline.as_nanos() % NANOS_PER_SEC) as _,
    });
    let timeout = deadline.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: word and timeout live as long as the call; absolute times are of CLOCK_MONOTONIC.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            value,
            timeout,
            ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    match Errno::result(result) {
        Err(Errno::EINTR) => Err(Errno::EINTR),
        _ => Ok(()),
    }
}

/// Wakes all who wait for the word. Never waits.
pub(crate) fn wake_all(word: &AtomicU32) {
    // SAFETY: the word lives as long as the call.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            libc::c_int::MAX,
        )
    };
}

const NANOS_PER_SEC: u64 = 1_000_000_000;
