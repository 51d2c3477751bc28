//! Descriptors that are ours and not the program's.
//!
//! They have high numbers, so that the program's own begin where it expects them, and every one of them is noted, so that who
//! interposes `close` can keep a program from closing them (`for (fd = 3; fd < 1024; fd++) close(fd)`), and a forked child can
//! close them all. They are closed by the bare system call, past any interposed `close`.
#![allow(
    unsafe_code,
    reason = "descriptors are closed past the C library's close"
)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::fork::Generation;
use crate::limit::Lifted;

/// Whether this number is that of a descriptor which the program does not know of. Takes no lock; safe in a signal handler.
pub fn is_hidden(fd: RawFd) -> bool {
    place(fd).is_some_and(|(word, bit)| NOTED[word].load(Ordering::Acquire) & bit != 0)
}

/// A descriptor with a high number, closed on exec.
#[derive(Debug)]
pub(crate) struct Hidden {
    fd: RawFd,
    generation: Generation,
    given_up: AtomicBool,
}

impl Hidden {
    /// Moves a descriptor out of the program's way. It keeps its number if none is free above.
    pub(crate) fn new(fd: OwnedFd) -> Self {
        let fd = match high_duplicate(fd.as_fd()) {
            Ok(high) => {
                drop(fd);
                high
            }
            Err(_) => fd.into_raw_fd(),
        };
        Self::of(fd)
    }

    /// A duplicate of a descriptor that is not ours, out of the program's way. It has a low number if none is free above.
    pub(crate) fn duplicate_of(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        high_duplicate(fd)
            .or_else(|_| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(0)))
            .map(Self::of)
    }

    fn of(fd: RawFd) -> Self {
        note(fd, true);
        Self {
            fd,
            generation: Generation::current(),
            given_up: AtomicBool::new(false),
        }
    }

    /// The program has closed it past us, and the number may be the program's own by now: it is not closed again.
    pub(crate) fn give_up(&self) {
        if !self.given_up.swap(true, Ordering::AcqRel) {
            note(self.fd, false);
        }
    }

    /// Whether [`give_up`](Self::give_up) was called.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }
}

impl AsFd for Hidden {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open until this is dropped, unless the program closed it.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A child has closed it already, and the number may be somebody else's there.
        if self.generation.is_current() && !self.is_given_up() {
            note(self.fd, false);
            close(self.fd);
        }
    }
}

/// Notes a descriptor that somebody else owns, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Noted {
    fd: RawFd,
    generation: Generation,
}

impl Noted {
    /// The owner closes it only after this is dropped.
    pub(crate) fn new(fd: BorrowedFd<'_>) -> Self {
        let fd = fd.as_raw_fd();
        note(fd, true);
        Self {
            fd,
            generation: Generation::current(),
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        if self.generation.is_current() {
            note(self.fd, false);
        }
    }
}

/// Closes all of them, in a forked child. Async-signal-safe.
pub(crate) fn close_all() {
    for (word, noted) in NOTED.iter().enumerate() {
        let mut bits = noted.swap(0, Ordering::AcqRel);
        while bits != 0 {
            let bit = bits.trailing_zeros();
            close((word * 64) as RawFd + bit as RawFd);
            bits &= bits - 1;
        }
    }
}

fn close(fd: RawFd) {
    // SAFETY: the descriptor is ours, and nobody uses it from now on.
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

fn note(fd: RawFd, hidden: bool) {
    if let Some((word, bit)) = place(fd) {
        if hidden {
            NOTED[word].fetch_or(bit, Ordering::AcqRel);
        } else {
            NOTED[word].fetch_and(!bit, Ordering::AcqRel);
        }
    }
}

fn place(fd: RawFd) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok().filter(|&fd| fd < WORDS * 64)?;
    Some((fd / 64, 1 << (fd % 64)))
}

fn high_duplicate(fd: BorrowedFd<'_>) -> Result<RawFd, Errno> {
    let lifted = Lifted::new();
    fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lifted.start()))
}

const WORDS: usize = 1024;
static NOTED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_descriptor_is_known_until_it_is_closed() {
        let (one, other) = nix::unistd::pipe().unwrap();
        let low = one.as_raw_fd();
        let hidden = Hidden::new(one);
        let number = hidden.as_fd().as_raw_fd();
        assert!(number != low && is_hidden(number) && !is_hidden(low));
        assert!(!is_hidden(other.as_raw_fd()) && !is_hidden(-1) && !is_hidden(RawFd::MAX));
        drop(hidden);
        assert!(!is_hidden(number));
    }

    #[test]
    fn a_descriptor_that_is_given_up_is_not_closed() {
        let (one, _other) = nix::unistd::pipe().unwrap();
        let hidden = Hidden::new(one);
        let number = hidden.as_fd().as_raw_fd();
        hidden.give_up();
        assert!(hidden.is_given_up() && !is_hidden(number));
        drop(hidden);
        // SAFETY: open still, and from now on ours alone.
        let kept = unsafe { std::os::fd::FromRawFd::from_raw_fd(number) };
        let kept: OwnedFd = kept;
        assert!(fcntl(&kept, FcntlArg::F_GETFD).is_ok());
    }
}
