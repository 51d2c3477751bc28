//! A handle's descriptor and the word it is kept true to.
//!
//! Every change of the word is one compare-and-swap with acquire and release ordering. So who sees in the word
//! that no write is under way also finds what was written: the write came before the change that
//! says it is done, and the kernel serialises writes and reads of an eventfd.
#![allow(
    unsafe_code,
    reason = "the descriptor outlives its owner's borrow only by this protocol"
)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::{read, write};

use super::level::{Duty, Level, Who};

#[derive(Debug)]
pub(super) struct Signal {
    word: AtomicU64,
    missed: AtomicU64,
    /// Open until a [`Duty::Close`] is done, which happens once, or [`Signal::abandon`].
    fd: RawFd,
}

impl Signal {
    /// A quiet one. The descriptor has the lowest free number from `start` on, or any if there is none.
    pub(super) fn new(start: RawFd) -> Result<Self, Errno> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_SEMAPHORE;
        let mut fd = OwnedFd::from(EventFd::from_value_and_flags(0, flags)?);
        if fd.as_raw_fd() < start
            && let Ok(higher) = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(start))
        {
            // SAFETY: new, and nobody else's.
            fd = unsafe { OwnedFd::from_raw_fd(higher) };
        }
        Ok(Self {
            word: AtomicU64::new(Level::default().word()),
            missed: AtomicU64::new(0),
            fd: fd.into_raw_fd(),
        })
    }

    pub(super) fn level(&self) -> Level {
        Level::from_word(self.word.load(Ordering::Acquire))
    }

    /// Ticks that found no room.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// For the tick thread only: ticks that have come.
    pub(super) fn add(&self, ticks: u64, cap: u32) {
        let mut missed = 0;
        let duty = self.change(|level| {
            let (after, duty, without_room) = level.add(ticks, cap);
            missed = without_room;
            (after, duty)
        });
        if missed > 0 {
            self.missed.fetch_add(missed, Ordering::Relaxed);
        }
        self.perform(duty, Who::TickThread);
    }

    /// How many of up to `ticks` there were.
    pub(super) fn ack(&self, ticks: u32) -> u32 {
        let mut taken = 0;
        let duty = self.change(|level| {
            let (after, duty, there) = level.ack(ticks);
            taken = there;
            (after, duty)
        });
        self.perform(duty, Who::User);
        taken
    }

    pub(super) fn set_continuous(&self, on: bool) {
        let duty = self.change(|level| level.set_continuous(on));
        self.perform(duty, Who::User);
    }

    /// The user's last act. The descriptor is closed now, or by the tick thread when that is using it
    /// at this very moment.
    pub(super) fn close(&self) {
        let duty = self.change(Level::close);
        self.perform(duty, Who::User);
    }

    /// Closes the descriptor of a forked child, whose copy of the word says nothing and where no tick
    /// thread is. Instead of [`close`](Self::close), once.
    pub(super) fn abandon(&self) {
        self.close_fd();
    }

    fn change(&self, mut to: impl FnMut(Level) -> (Level, Duty)) -> Duty {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let (after, duty) = to(Level::from_word(word));
            if after.word() == word {
                return duty;
            }
            let swapped = self.word.compare_exchange_weak(
                word,
                after.word(),
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match swapped {
                Ok(_) => return duty,
                Err(actual) => word = actual,
            }
        }
    }

    fn perform(&self, mut duty: Duty, who: Who) {
        // Two steps suffice unless others race; each further one means that another got ahead. The bound
        // is for a descriptor that somebody else reads, although it must only be polled.
        for _ in 0..MOST_STEPS {
            duty = match duty {
                Duty::None => return,
                Duty::Raise => {
                    // Cannot fail: the counter is far from full.
                    let _ = write(self.as_fd(), &1_u64.to_ne_bytes());
                    self.change(|level| level.raised(who))
                }
                Duty::Lower => {
                    if read(self.as_fd(), &mut [0; 8]).is_ok() {
                        self.change(|level| level.lowered(who))
                    } else {
                        self.change(|level| level.not_lowered(who))
                    }
                }
                Duty::Close => {
                    self.close_fd();
                    return;
                }
            };
        }
        let duty = self.change(|level| level.lowered(who));
        if duty == Duty::Close {
            self.close_fd();
        }
    }

    fn close_fd(&self) {
        // SAFETY: the descriptor is ours, and by the protocol this is called once, with no user left.
        drop(unsafe { OwnedFd::from_raw_fd(self.fd) });
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open as long as the handle that borrows it, or the tick thread is marked busy.
        unsafe { BorrowedFd::borrow_raw(self.fd) }
    }
}

const MOST_STEPS: u32 = 10_000;

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_readable(signal: &Signal) -> bool {
        let mut fds = [PollFd::new(signal.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
    }

    #[test]
    fn the_descriptor_is_readable_while_a_tick_is_pending_or_continuous_mode_is_on() {
        let signal = Signal::new(0).unwrap();
        assert!(!is_readable(&signal));
        signal.add(3, 2);
        assert!(is_readable(&signal));
        assert_eq!((signal.level().pending(), signal.missed()), (2, 1));
        signal.set_continuous(true);
        assert_eq!(signal.ack(9), 2);
        assert!(is_readable(&signal));
        signal.set_continuous(false);
        assert!(!is_readable(&signal));
        signal.close();
    }

    #[test]
    fn ticks_after_closing_touch_nothing() {
        let signal = Signal::new(0).unwrap();
        signal.close();
        signal.add(1, 9);
        assert_eq!((signal.level().pending(), signal.missed()), (0, 0));
    }

    #[test]
    fn somebody_who_reads_the_descriptor_cannot_make_us_loop() {
        let signal = Signal::new(0).unwrap();
        signal.add(1, 9);
        read(signal.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!(signal.ack(1), 1);
        signal.close();
    }
}
