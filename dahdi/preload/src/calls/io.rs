//! Requests, reading and writing.
//!
//! What is called most is a jump away from the C library where it is not about us; the rest is apart, so that nothing is put aside
//! for it.

use std::ffi::{c_int, c_ulong, c_void};

use libc::{iovec, size_t, ssize_t};

use crate::failure::answer;
use crate::{device, opens, real, table};

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn ioctl(fd: c_int, code: c_ulong, argument: usize) -> c_int {
    match opens::served(fd) {
        Some(open) if !matches!(code, libc::FIOCLEX | libc::FIONCLEX) => {
            answer(|| device::ioctl(open, fd, code as u32, argument)) as c_int
        }
        // SAFETY: as the caller wants; what it passed in this register counts only for requests that take an argument.
        _ => unsafe { real::ioctl(fd, code, argument) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn read(fd: c_int, into: *mut c_void, count: size_t) -> ssize_t {
    if table::is_noted(fd) {
        // SAFETY: as the caller wants.
        return unsafe { read_noted(fd, into, count) };
    }
    // SAFETY: as the caller wants.
    unsafe { real::read(fd, into, count) }
}

#[inline(never)]
unsafe fn read_noted(fd: c_int, into: *mut c_void, count: size_t) -> ssize_t {
    match opens::served(fd) {
        Some(open) => answer(|| device::read(open, fd, into.addr(), count)),
        // SAFETY: the caller's.
        None => unsafe { real::read(fd, into, count) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn __read_chk(
    fd: c_int,
    into: *mut c_void,
    count: size_t,
    room: size_t,
) -> ssize_t {
    match opens::served(fd) {
        Some(open) if count <= room => answer(|| device::read(open, fd, into.addr(), count)),
        // SAFETY: as the caller wants. If there is less room than said, this ends the program.
        _ => unsafe { real::__read_chk(fd, into, count, room) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match opens::served(fd) {
        Some(open) => answer(|| {
            device::for_each_part(parts.addr(), count, |address, len| {
                device::read(open, fd, address, len)
            })
        }),
        // SAFETY: as the caller wants.
        None => unsafe { real::readv(fd, parts, count) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn write(fd: c_int, from: *const c_void, count: size_t) -> ssize_t {
    if table::is_noted(fd) {
        // SAFETY: as the caller wants.
        return unsafe { write_noted(fd, from, count) };
    }
    // SAFETY: as the caller wants.
    unsafe { real::write(fd, from, count) }
}

#[inline(never)]
unsafe fn write_noted(fd: c_int, from: *const c_void, count: size_t) -> ssize_t {
    match opens::served(fd) {
        Some(open) => answer(|| device::write(open, fd, from.addr(), count)),
        // SAFETY: the caller's.
        None => unsafe { real::write(fd, from, count) },
    }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    match opens::served(fd) {
        Some(open) => answer(|| {
            device::for_each_part(parts.addr(), count, |address, len| {
                device::write(open, fd, address, len)
            })
        }),
        // SAFETY: as the caller wants.
        None => unsafe { real::writev(fd, parts, count) },
    }
}
