//! Waiting. Only while a device is open is anything looked at.

use std::ffi::c_int;

use libc::{epoll_event, fd_set, nfds_t, pollfd, sigset_t, size_t, timespec, timeval};

use crate::{memory, real, table, wait};

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn poll(fds: *mut pollfd, count: nfds_t, timeout: c_int) -> c_int {
    if !table::is_empty() {
        // SAFETY: as the caller wants, or with an array of ours that is as long.
        return wait::poll(fds, count, |fds| unsafe { real::poll(fds, count, timeout) });
    }
    // SAFETY: as the caller wants.
    unsafe { real::poll(fds, count, timeout) }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __poll_chk(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: c_int,
    room: size_t,
) -> c_int {
    // SAFETY: as of `poll`. If there is less room than said, this ends the program.
    let kernels = |fds| unsafe { real::__poll_chk(fds, count, timeout, room) };
    if table::is_empty() || room / size_of::<pollfd>() < count as usize {
        return kernels(fds);
    }
    wait::poll(fds, count, kernels)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn ppoll(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: as of `poll`.
    let kernels = |fds| unsafe { real::ppoll(fds, count, timeout, mask) };
    if table::is_empty() {
        return kernels(fds);
    }
    wait::poll(fds, count, kernels)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __ppoll_chk(
    fds: *mut pollfd,
    count: nfds_t,
    timeout: *const timespec,
    mask: *const sigset_t,
    room: size_t,
) -> c_int {
    // SAFETY: as of `__poll_chk`.
    let kernels = |fds| unsafe { real::__ppoll_chk(fds, count, timeout, mask, room) };
    if table::is_empty() || room / size_of::<pollfd>() < count as usize {
        return kernels(fds);
    }
    wait::poll(fds, count, kernels)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn select(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *mut timeval,
) -> c_int {
    // SAFETY: as the caller wants, or with sets of ours that are as long.
    let kernels = |[read, write, except]: [_; 3]| unsafe {
        real::select(count, read, write, except, timeout)
    };
    if table::is_empty() {
        return kernels([read, write, except]);
    }
    wait::select(count, [read, write, except], kernels)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn pselect(
    count: c_int,
    read: *mut fd_set,
    write: *mut fd_set,
    except: *mut fd_set,
    timeout: *const timespec,
    mask: *const sigset_t,
) -> c_int {
    // SAFETY: as of `select`.
    let kernels = |[read, write, except]: [_; 3]| unsafe {
        real::pselect(count, read, write, except, timeout, mask)
    };
    if table::is_empty() {
        return kernels([read, write, except]);
    }
    wait::select(count, [read, write, except], kernels)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn epoll_ctl(
    epoll: c_int,
    operation: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    let mut ours = wait::is_event(fd)
        .then(|| memory::epoll_event(event.addr()))
        .flatten();
    let event = match &mut ours {
        Some(ours) => {
            ours.events = wait::epoll_asked(ours.events);
            &raw mut *ours
        }
        None => event,
    };
    // SAFETY: as the caller wants, or with an event of ours.
    unsafe { real::epoll_ctl(epoll, operation, fd, event) }
}
