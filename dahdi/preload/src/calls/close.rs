//! Closing.

use std::ffi::{CStr, c_int, c_uint};

use crate::{opens, process, real};

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn close(fd: c_int) -> c_int {
    if opens::is_ours(fd) {
        return opens::close(fd);
    }
    if process::has_begun() {
        unisono_dahdi_station::let_make();
        if opens::is_ours(fd) {
            return opens::close(fd);
        }
    }
    // SAFETY: as the caller wants.
    unsafe { real::close(fd) }
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    // What is hidden may outlive the program's last device.
    if !process::has_begun() || flags != 0 || first > last {
        // SAFETY: as the caller wants; with flags nothing is closed yet, or in a table of the calling thread's own.
        return unsafe { real::close_range(first, last, flags) };
    }
    unisono_dahdi_station::let_make();
    opens::close_range(first, last)
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn closefrom(first: c_int) {
    let first = first.max(0);
    // SAFETY: as the caller wants.
    let result = unsafe { close_range(first.cast_unsigned(), c_uint::MAX, 0) };
    if result == 0 {
        return;
    }
    // Kernels before 5.9 have no such call, and some filters forbid it.
    if let Some(open) = listed() {
        for fd in open.into_iter().filter(|&fd| fd >= first) {
            // SAFETY: as the caller wants.
            unsafe { close(fd) };
        }
        return;
    }
    // SAFETY: has no preconditions.
    let most = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    for fd in first..c_int::try_from(most).unwrap_or(c_int::MAX) {
        // SAFETY: as the caller wants.
        unsafe { close(fd) };
    }
}

/// The numbers that the kernel says are open, but for that by which it was asked: it may be another thread's by the time it is
/// closed. `None` where the kernel does not say.
fn listed() -> Option<Vec<c_int>> {
    // SAFETY: the path ends with a zero.
    let directory = unsafe { libc::opendir(c"/proc/self/fd".as_ptr()) };
    if directory.is_null() {
        return None;
    }
    // SAFETY: it is open.
    let own = unsafe { libc::dirfd(directory) };
    let mut numbers = Vec::new();
    loop {
        // SAFETY: it is open, and this thread's alone.
        let entry = unsafe { libc::readdir64(directory) };
        if entry.is_null() {
            break;
        }
        // SAFETY: good until the next one is read.
        let name = unsafe { &raw const (*entry).d_name };
        // SAFETY: a name ends with a zero.
        let name = unsafe { CStr::from_ptr(name.cast()) };
        let number = name
            .to_str()
            .ok()
            .and_then(|name| name.parse::<c_int>().ok());
        numbers.extend(number.filter(|&number| number != own));
    }
    // SAFETY: it is open, and not used again.
    unsafe { libc::closedir(directory) };
    Some(numbers)
}
