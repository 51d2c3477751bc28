//! The scheduling policy of the calling thread: the system calls that `nix` does not wrap.
//!
//! All are plain system calls, made directly because musl's `sched_setscheduler` only answers ENOSYS,
//! and so that a signal handler may use them.
#![allow(unsafe_code, reason = "no safe wrapper of sched_setscheduler exists")]

use libc::{SCHED_DEADLINE, SCHED_FIFO, SCHED_OTHER, SCHED_RESET_ON_FORK, SCHED_RR, c_int, c_long};
use nix::errno::Errno;

/// A real-time policy with priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fixed {
    /// SCHED_FIFO: runs until it sleeps.
    Fifo,
    /// SCHED_RR: takes turns with others of its priority.
    RoundRobin,
}

impl Fixed {
    /// As the manual pages call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "SCHED_FIFO",
            Self::RoundRobin => "SCHED_RR",
        }
    }
}

/// Gives the calling thread a real-time priority; what it starts will not have it.
pub(crate) fn set_fixed(class: Fixed, priority: u8) -> Result<(), Errno> {
    let policy = match class {
        Fixed::Fifo => SCHED_FIFO,
        Fixed::RoundRobin => SCHED_RR,
    };
    set(policy | SCHED_RESET_ON_FORK, c_int::from(priority))
}

/// Makes the calling thread SCHED_DEADLINE: `runtime` within every `period`, both in ns, the deadline being
/// the period's end. What it starts is ordinary: without that flag the kernel would refuse to start anything.
pub(crate) fn set_deadline(runtime: u64, period: u64) -> Result<(), Errno> {
    set_attributes(&libc::sched_attr {
        sched_policy: SCHED_DEADLINE as u32,
        sched_flags: libc::SCHED_FLAG_RESET_ON_FORK as u64,
        sched_runtime: runtime,
        sched_deadline: period,
        sched_period: period,
        ..NO_ATTRIBUTES
    })
}

/// Makes the calling thread an ordinary one. Needs no privilege. Async-signal-safe.
pub(crate) fn set_ordinary() -> Result<(), Errno> {
    // Without privilege the reset flag may be set but not cleared, so keep it.
    set(SCHED_OTHER | (policy()? & SCHED_RESET_ON_FORK), 0)
}

/// Whether the calling thread is SCHED_FIFO, SCHED_RR or SCHED_DEADLINE. Async-signal-safe.
pub(crate) fn is_realtime() -> bool {
    policy().is_ok_and(|policy| {
        matches!(
            policy & !SCHED_RESET_ON_FORK,
            SCHED_FIFO | SCHED_RR | SCHED_DEADLINE
        )
    })
}

/// Sets what is set already: a question to a seccomp filter.
pub(crate) fn keep_policy() -> Result<(), Errno> {
    let mut param = libc::sched_param { sched_priority: 0 };
    // SAFETY: `param` is a valid sched_param to write to, and 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_getparam, THIS_THREAD, &raw mut param) };
    Errno::result(result)?;
    set(policy()?, param.sched_priority)
}

/// Whether the calling thread is SCHED_DEADLINE.
pub(crate) fn is_deadline() -> bool {
    policy().is_ok_and(|policy| policy & !SCHED_RESET_ON_FORK == SCHED_DEADLINE)
}

/// Sets by sched_setattr what is set already: a question to a seccomp filter.
pub(crate) fn keep_attributes() -> Result<(), Errno> {
    let mut attributes = NO_ATTRIBUTES;
    // SAFETY: `attributes` is valid to write to and as long as it says; 0 is the calling thread.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            THIS_THREAD,
            &raw mut attributes,
            attributes.size,
            NO_FLAGS,
        )
    };
    Errno::result(result)?;
    set_attributes(&attributes)
}

fn policy() -> Result<c_int, Errno> {
    // SAFETY: the call takes no pointer.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, THIS_THREAD) };
    // A policy and its flag fit a C int.
    Errno::result(policy).map(|policy| policy as c_int)
}

fn set(policy: c_int, priority: c_int) -> Result<(), Errno> {
    let param = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: `param` is a valid sched_param to read, and 0 is the calling thread.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            THIS_THREAD,
            policy,
            &raw const param,
        )
    };
    Errno::result(result).map(drop)
}

fn set_attributes(attributes: &libc::sched_attr) -> Result<(), Errno> {
    // SAFETY: `attributes` is valid to read and as long as it says; 0 is the calling thread.
    let result = unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            THIS_THREAD,
            std::ptr::from_ref(attributes),
            NO_FLAGS,
        )
    };
    Errno::result(result).map(drop)
}

const NO_ATTRIBUTES: libc::sched_attr = libc::sched_attr {
    size: size_of::<libc::sched_attr>() as u32,
    sched_policy: 0,
    sched_flags: 0,
    sched_nice: 0,
    sched_priority: 0,
    sched_runtime: 0,
    sched_deadline: 0,
    sched_period: 0,
};
const THIS_THREAD: c_long = 0;
const NO_FLAGS: c_long = 0;
