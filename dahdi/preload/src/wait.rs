//! What `poll`, `select` and `epoll` see of our descriptors.
//!
//! A pseudo channel's descriptor is as the kernel shows it. Those of timers and of the control device are eventfds, which are
//! readable when DAHDI has an urgent event, and always writable. So:
//!
//! * POLLPRI and `exceptfds` are answered when such a descriptor is readable. POLLIN and `readfds` are answered too, which
//!   DAHDI does not do; every program that knows timers asks for POLLPRI or for both.
//! * POLLOUT and `writefds` never are.
//! * In `epoll`, who asks for EPOLLPRI is told EPOLLIN, and EPOLLOUT is not asked for.
//!
//! A call without such a descriptor goes to the kernel as it is, with the program's own memory.

use std::ffi::{c_int, c_short};
use std::os::fd::RawFd;

use dahdi::request::Device;
use libc::{POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRBAND, POLLWRNORM, fd_set, nfds_t, pollfd};

use crate::failure::{Failure, set_errno};
use crate::memory::octets_of;
use crate::{memory, opens, process, table};

/// Serves `poll`, of which `wait` is the kernel's with the array that it is given.
#[inline(never)]
pub(crate) fn poll(fds: *mut pollfd, count: nfds_t, wait: impl Fn(*mut pollfd) -> c_int) -> c_int {
    // The kernel says what is wrong, such as more than the limit of open files. Without any, the address says nothing.
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let is_right = (1..=table::NUMBERS).contains(&count) && fds.is_aligned();
    if !is_right || !memory::can_read(fds.addr(), count * size_of::<pollfd>()) {
        return wait(fds);
    }
    // SAFETY: it can be read, and no program changes it while it waits.
    let all = unsafe { std::slice::from_raw_parts(fds, count) };
    let mut asks_otherwise = false;
    let mut is_told_otherwise = false;
    for one in all.iter().filter(|one| is_event(one.fd)) {
        asks_otherwise |= asked(one.events) != one.events;
        is_told_otherwise |= one.events & POLLPRI != 0;
    }
    if asks_otherwise {
        return poll_otherwise(fds, all.to_vec(), wait);
    }
    let ready = wait(fds);
    if ready > 0 && is_told_otherwise {
        // SAFETY: the kernel has just written this array.
        let theirs = unsafe { std::slice::from_raw_parts_mut(fds, count) };
        for one in theirs {
            if one.events & POLLPRI != 0 && is_event(one.fd) {
                one.revents = told(one.events, one.revents);
            }
        }
    }
    ready
}

/// With other questions than the program's, in an array of our own.
fn poll_otherwise(
    fds: *mut pollfd,
    mut all: Vec<pollfd>,
    wait: impl Fn(*mut pollfd) -> c_int,
) -> c_int {
    let events: Vec<c_short> = all.iter().map(|one| one.events).collect();
    for one in all.iter_mut().filter(|one| is_event(one.fd)) {
        one.events = asked(one.events);
    }
    let ready = wait(all.as_mut_ptr());
    if ready < 0 {
        return ready;
    }
    for (one, events) in all.iter_mut().zip(events) {
        if one.events != events || events & POLLPRI != 0 && is_event(one.fd) {
            one.revents = told(events, one.revents);
        }
        one.events = events;
    }
    match memory::copy_out(octets_of(&mut all), fds.addr()) {
        Ok(()) => ready,
        Err(Failure(number)) => {
            set_errno(number);
            -1
        }
    }
}

/// What to ask the kernel of an eventfd where the program asks `events` of a device.
pub(crate) const fn asked(events: c_short) -> c_short {
    let readable = if events & POLLPRI != 0 { POLLIN } else { 0 };
    events & !(POLLOUT | POLLWRNORM | POLLWRBAND) | readable
}

/// What to answer to `events` when the kernel says `found` of the eventfd.
const fn told(events: c_short, found: c_short) -> c_short {
    let readable = found & (POLLIN | POLLRDNORM) != 0;
    let meant = if readable {
        events & (POLLIN | POLLRDNORM | POLLPRI)
    } else {
        0
    };
    found & !(POLLIN | POLLRDNORM) | meant
}

/// Whether the descriptor is one of our eventfds. An inherited one is adopted first.
pub(crate) fn is_event(fd: RawFd) -> bool {
    table::device(fd).is_some_and(|open| {
        let open = opens::current(open, fd).unwrap_or(open);
        open.device().is_some_and(|device| device != Device::Pseudo)
    })
}

/// Serves `select`, of which `wait` is the kernel's with the sets that it is given: to read, to write, exceptions.
#[inline(never)]
pub(crate) fn select(
    count: c_int,
    sets: [*mut fd_set; 3],
    wait: impl Fn([*mut fd_set; 3]) -> c_int,
) -> c_int {
    let [_, write, except] = sets;
    let words = usize::try_from(count).unwrap_or(0).div_ceil(64);
    let is_plain = write.is_null() && except.is_null() && process::generation() == 0;
    if is_plain || !(1..=table::NUMBERS / 64).contains(&words) {
        return wait(sets);
    }
    let mut few = [[0; FEW_WORDS]; 3];
    let mut many;
    let mut asked: [&mut [u64]; 3] = if words <= FEW_WORDS {
        few.each_mut().map(|set| &mut set[..words])
    } else {
        many = [const { Vec::new() }; 3];
        many.each_mut().map(|set| {
            set.resize(words, 0);
            &mut set[..]
        })
    };
    for (theirs, ours) in sets.iter().zip(&mut asked) {
        // The kernel says what is wrong.
        if !theirs.is_null() && memory::copy_in(theirs.addr(), octets_of(ours)).is_err() {
            return wait(sets);
        }
    }
    let [read, write, except] = asked;
    let events: Vec<usize> = (0..words * 64)
        .filter(|&fd| has(write, fd) || has(except, fd) || has(read, fd))
        .filter(|&fd| is_event(fd as RawFd))
        .collect();
    if !events.iter().any(|&fd| has(write, fd) || has(except, fd)) {
        return wait(sets);
    }
    let before = events
        .iter()
        .map(|&fd| (fd, has(read, fd), has(except, fd)));
    let before: Vec<_> = before.collect();
    for &(fd, _, urgent) in &before {
        put(write, fd, false);
        put(except, fd, false);
        if urgent {
            put(read, fd, true);
        }
    }
    let ours = [&mut *read, &mut *write, &mut *except];
    let ready = wait(ours.map(|set| set.as_mut_ptr().cast()));
    if ready < 0 {
        return ready;
    }
    for (fd, readable, urgent) in before {
        let is_ready = has(read, fd);
        put(read, fd, is_ready && readable);
        put(except, fd, is_ready && urgent);
    }
    let mut ready = 0;
    for (theirs, ours) in sets.into_iter().zip([read, write, except]) {
        ready += ours.iter().map(|word| word.count_ones()).sum::<u32>();
        if !theirs.is_null()
            && let Err(Failure(number)) = memory::copy_out(octets_of(ours), theirs.addr())
        {
            set_errno(number);
            return -1;
        }
    }
    ready as c_int
}

/// What to ask of an eventfd where the program asks for these events of a device.
pub(crate) const fn epoll_asked(events: u32) -> u32 {
    let readable = if events & EPOLLPRI != 0 { EPOLLIN } else { 0 };
    events & !(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND) | readable
}

fn has(set: &[u64], fd: usize) -> bool {
    set[fd / 64] >> (fd % 64) & 1 != 0
}

fn put(set: &mut [u64], fd: usize, present: bool) {
    let bit = 1 << (fd % 64);
    set[fd / 64] = set[fd / 64] & !bit | if present { bit } else { 0 };
}

const EPOLLIN: u32 = libc::EPOLLIN as u32;
const EPOLLPRI: u32 = libc::EPOLLPRI as u32;
const EPOLLOUT: u32 = libc::EPOLLOUT as u32;
const EPOLLWRNORM: u32 = libc::EPOLLWRNORM as u32;
const EPOLLWRBAND: u32 = libc::EPOLLWRBAND as u32;

/// 1024 descriptors: sets of that size need no memory from the heap.
const FEW_WORDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_an_event_is_told_when_the_eventfd_is_readable() {
        assert_eq!(asked(POLLPRI), POLLPRI | POLLIN);
        assert_eq!(told(POLLPRI, POLLIN), POLLPRI);
        assert_eq!(told(POLLPRI | POLLIN, POLLIN), POLLPRI | POLLIN);
        assert_eq!(told(POLLIN, POLLIN), POLLIN);
        assert_eq!(told(POLLPRI, 0), 0);
    }

    #[test]
    fn nobody_is_told_that_a_timer_can_be_written() {
        assert_eq!(asked(POLLOUT | POLLIN | POLLWRNORM), POLLIN);
        assert_eq!(epoll_asked(EPOLLOUT | EPOLLPRI), EPOLLPRI | EPOLLIN);
        assert_eq!(epoll_asked(EPOLLIN), EPOLLIN);
    }

    #[test]
    fn errors_are_told_as_they_come() {
        assert_eq!(told(POLLPRI, libc::POLLNVAL), libc::POLLNVAL);
    }
}
