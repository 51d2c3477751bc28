//! Duplicating, and what else `fcntl` does.

use std::ffi::c_int;

use crate::failure::answer;
use crate::{opens, real};

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn dup(fd: c_int) -> c_int {
    // SAFETY: as the caller wants.
    let kernels = || unsafe { real::dup(fd) };
    if opens::is_ours(fd) {
        return opens::duplicate(fd, None, kernels);
    }
    kernels()
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn dup2(fd: c_int, to: c_int) -> c_int {
    // SAFETY: as the caller wants.
    let kernels = || unsafe { real::dup2(fd, to) };
    if opens::is_ours(fd) || opens::is_ours(to) {
        return opens::duplicate(fd, Some(to), kernels);
    }
    kernels()
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int {
    // SAFETY: as the caller wants.
    let kernels = || unsafe { real::dup3(fd, to, flags) };
    if opens::is_ours(fd) || opens::is_ours(to) {
        return opens::duplicate(fd, Some(to), kernels);
    }
    kernels()
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: as the caller wants; what it passed in this register counts only for commands that take an argument.
    let kernels = || unsafe { real::fcntl(fd, command, argument) };
    control(fd, command, argument, kernels)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: as of `fcntl`.
    let kernels = || unsafe { real::fcntl64(fd, command, argument) };
    control(fd, command, argument, kernels)
}

fn control(fd: c_int, command: c_int, argument: usize, kernels: impl FnOnce() -> c_int) -> c_int {
    let Some(open) = opens::served(fd) else {
        return kernels();
    };
    match command {
        libc::F_DUPFD | libc::F_DUPFD_CLOEXEC => opens::duplicate(fd, None, kernels),
        libc::F_GETFL => answer(|| Ok(opens::current(open, fd)?.flags())) as c_int,
        libc::F_SETFL => answer(|| {
            opens::current(open, fd)?.set_flags(argument as c_int);
            Ok(0)
        }) as c_int,
        _ => kernels(),
    }
}
