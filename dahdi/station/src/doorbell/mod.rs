//! A channel's descriptor, seen from the station: a pair of sockets whose one end is the program's.
//!
//! No audio passes through it; it only shows the kernel, and so `poll`, `select` and `epoll`, what can be done with the channel.
//!
//! The *truth* is published under the station's lock, by whoever changed it. Who published it then *settles* the
//! descriptor, without that lock, so that nobody who is woken by it finds the lock taken. Settlements of one channel exclude one
//! another by a lock of its own, and see the newest truth, so the last one leaves it shown. [`level`] is the protocol.
//!
//! What the program does to its socket by itself (raw reads and writes) makes its own descriptor lie until the next change, and
//! nothing else: every call here is one that does not wait, and its failure is taken for what the other end is like. Only where the
//! kernel has no memory for an octet, the settlement is still owed, and tried again.

mod level;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, getsockopt, recv, send, setsockopt, socketpair,
    sockopt,
};
use unisono_dahdi::exchange::Readiness;

use self::level::{Act, Level, Reach, Wanted};
use crate::hidden::Hidden;
use crate::limit::Lifted;
use crate::pi_mutex::{PiMutex, Reentered};
use crate::wait_word;

/// Makes a pair: the program's descriptor, which blocks and is closed on exec, a duplicate of it of our own, and the station's end.
pub(crate) fn pair() -> Result<(OwnedFd, Hidden, Door), Errno> {
    let (program, station) = sockets()?;
    // The least there is, so that little fills it.
    setsockopt(&program, sockopt::SndBuf, &0)?;
    let duplicate = Hidden::duplicate_of(program.as_fd())?;
    let buffer = getsockopt(&program, sockopt::SndBuf)?;
    let door = Door {
        station: Hidden::new(station),
        // Such a socket is writable while a quarter of the buffer is in use.
        bar: (buffer / 4 + 1).min(FILLER.len()),
        level: Level::default(),
    };
    Ok((program, duplicate, door))
}

/// The program's has a number that its limit of open files allows.
fn sockets() -> Result<(OwnedFd, OwnedFd), Errno> {
    let make = || {
        socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
    };
    match make() {
        Err(Errno::EMFILE) => {
            // There may be room for the program's.
            let lifted = Lifted::new();
            let (program, station) = make()?;
            if lifted.allows(program.as_raw_fd()) {
                Ok((program, station))
            } else {
                Err(Errno::EMFILE)
            }
        }
        made => made,
    }
}

/// The station's end of a pair.
#[derive(Debug)]
pub(crate) struct Door {
    station: Hidden,
    /// Octets that make the program's descriptor unwritable.
    bar: usize,
    level: Level,
}

/// Where the doorbell of a channel hangs: one for each slot of the exchange, for all channels that come to have it.
#[derive(Debug)]
pub(crate) struct Bell {
    /// [`Readiness`] in the low bits, above them a count of its changes. Who waits for a change waits for this word.
    word: AtomicU32,
    waiting: AtomicU32,
    door: PiMutex<Option<Door>>,
}

/// What a publication is to be followed by, once the station's lock is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Published {
    /// [`Bell::settle`].
    pub(crate) settle: bool,
    /// [`Bell::wake`].
    pub(crate) wake: bool,
}

impl Published {
    /// To settle whatever there is.
    pub(crate) const SETTLE: Self = Self {
        settle: true,
        wake: false,
    };
}

/// Who settles.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Settler<'a> {
    /// The mixing thread.
    Tick,
    /// A thread of the program, through a duplicate of its descriptor, unless the channel was closed meanwhile.
    Program {
        fd: BorrowedFd<'a>,
        closed: &'a AtomicBool,
    },
}

impl Bell {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self {
            word: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            door: PiMutex::new(None)?,
        })
    }

    /// Hangs up a door, or takes it down. The station's lock is held, so that a slot has one channel's door at a time.
    pub(crate) fn set_door(&self, door: Option<Door>) -> Result<Option<Door>, Reentered> {
        Ok(std::mem::replace(&mut *self.door.lock()?, door))
    }

    /// Notes what can be done with the channel. The station's lock is held.
    pub(crate) fn publish(&self, readiness: Readiness) -> Published {
        let before = self.word.load(Ordering::Relaxed);
        let bits = bits_of(readiness);
        if before & BITS == bits {
            return Published::default();
        }
        // With `waiting`, this is Dekker's protocol: who waits says so and looks, who changes does and looks.
        self.word.store(
            (before & !BITS).wrapping_add(CHANGE) | bits,
            Ordering::SeqCst,
        );
        Published {
            settle: wanted(before) != wanted(bits),
            wake: self.waiting.load(Ordering::SeqCst) > 0,
        }
    }

    /// Counts a change although nothing about readiness has changed, such as that the channel is closed.
    pub(crate) fn publish_end(&self) -> Published {
        self.word.fetch_add(CHANGE, Ordering::SeqCst);
        Published {
            settle: false,
            wake: self.waiting.load(Ordering::SeqCst) > 0,
        }
    }

    /// The newest publication, to be handed to [`wait`](Self::wait). The station's lock is held.
    pub(crate) fn moment(&self) -> u32 {
        self.word.load(Ordering::SeqCst)
    }

    /// Waits until anything has changed since `moment`, or a signal comes: [`Errno::EINTR`], if its handler does not have
    /// system calls restarted.
    pub(crate) fn wait(&self, moment: u32) -> Result<(), Errno> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let result = wait_word::wait(&self.word, moment, None);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        result
    }

    /// Wakes all who wait. Does not wait itself.
    pub(crate) fn wake(&self) {
        wait_word::wake_all(&self.word);
    }

    /// Makes the descriptor show the newest truth, or returns false if that is to be tried again. No call in it waits but that for
    /// another settlement of the same channel.
    pub(crate) fn settle(&self, settler: Settler<'_>) -> bool {
        let Ok(mut door) = self.door.lock() else {
            return false;
        };
        let Some(door) = door.as_mut() else {
            return true;
        };
        let (reach, program) = match settler {
            Settler::Tick => (Reach::Station, None),
            // A channel's door is taken down after it is marked as closed: so this is still its door.
            Settler::Program { closed, .. } if closed.load(Ordering::Acquire) => return true,
            Settler::Program { fd, .. } => (Reach::Both, Some(fd.as_raw_fd())),
        };
        for _ in 0..MOST_ACTS {
            let wanted = wanted(self.word.load(Ordering::SeqCst));
            let Some(act) = door.level.next(wanted, reach) else {
                return true;
            };
            if !door.perform(act, program) {
                return false;
            }
            door.level = door.level.after(act);
        }
        true
    }
}

impl Door {
    /// Whether it is done.
    fn perform(&self, act: Act, program: Option<RawFd>) -> bool {
        let station = self.station.as_fd().as_raw_fd();
        match (act, program) {
            (Act::Ring, _) => is_done(send(station, &[0], NEVER_WAIT)),
            (Act::Unbar, _) => {
                let mut rest = [0; FILLER.len()];
                // The bar is one message; what the program has written itself may be some more.
                (0..MOST_ACTS).any(|_| !matches!(recv(station, &mut rest, NEVER_WAIT), Ok(1..)))
            }
            (Act::Silence, Some(program)) => is_done(recv(program, &mut [0; 64], NEVER_WAIT)),
            (Act::Bar, Some(program)) => is_done(send(program, &FILLER[..self.bar], NEVER_WAIT)),
            (Act::Silence | Act::Bar, None) => true,
        }
    }
}

/// What fails is taken for done: a full queue is readable, an empty one is not, and a program whose end is gone asks no more.
fn is_done(result: Result<usize, Errno>) -> bool {
    !matches!(result, Err(Errno::ENOMEM | Errno::ENOBUFS))
}

fn bits_of(readiness: Readiness) -> u32 {
    [
        (readiness.readable, READABLE),
        (readiness.writable, WRITABLE),
        (readiness.urgent, URGENT),
        (readiness.drained, DRAINED),
    ]
    .into_iter()
    .fold(0, |bits, (is, bit)| if is { bits | bit } else { bits })
}

/// An event is told by a read that fails, so it makes the descriptor readable too.
fn wanted(word: u32) -> Wanted {
    Wanted {
        readable: word & (READABLE | URGENT) != 0,
        writable: word & WRITABLE != 0,
    }
}

const READABLE: u32 = 1;
const WRITABLE: u32 = 2;
const URGENT: u32 = 4;
const DRAINED: u32 = 8;
const BITS: u32 = 15;
const CHANGE: u32 = 16;

/// Two are enough unless others change the truth meanwhile, who will settle it themselves.
const MOST_ACTS: usize = 8;

const NEVER_WAIT: MsgFlags = MsgFlags::MSG_DONTWAIT.union(MsgFlags::MSG_NOSIGNAL);

/// More than a quarter of the least sending buffer that Linux has, 4608 octets.
const FILLER: [u8; 2048] = [0; 2048];

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(fd: &OwnedFd) -> (bool, bool) {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let asked = PollFlags::POLLIN | PollFlags::POLLOUT;
        let mut fds = [PollFd::new(fd.as_fd(), asked)];
        poll(&mut fds, PollTimeout::ZERO).unwrap();
        let seen = fds[0].revents().unwrap();
        (
            seen.contains(PollFlags::POLLIN),
            seen.contains(PollFlags::POLLOUT),
        )
    }

    #[test]
    fn the_kernel_shows_what_the_level_says() {
        let (program, duplicate, door) = pair().unwrap();
        let bell = Bell::new().unwrap();
        bell.set_door(Some(door)).unwrap();
        let closed = AtomicBool::new(false);
        for (readable, writable) in [
            (false, true),
            (true, true),
            (true, false),
            (false, false),
            (true, true),
            (false, true),
            (true, false),
            (false, false),
            (false, true),
        ] {
            let readiness = Readiness {
                readable,
                writable,
                urgent: false,
                drained: false,
            };
            bell.publish(readiness);
            let fd = duplicate.as_fd();
            let closed = &closed;
            assert!(bell.settle(Settler::Program { fd, closed }));
            assert_eq!(flags(&program), (readable, writable));
            // Nothing is left to do.
            assert!(bell.settle(Settler::Tick));
            assert_eq!(flags(&program), (readable, writable));
        }
    }

    #[test]
    fn only_want_of_memory_leaves_something_to_do() {
        for errno in [Errno::EAGAIN, Errno::EPIPE, Errno::ECONNRESET, Errno::EBADF] {
            assert!(is_done(Err(errno)));
        }
        assert!(is_done(Ok(1)));
        assert!(!is_done(Err(Errno::ENOMEM)) && !is_done(Err(Errno::ENOBUFS)));
    }

    #[test]
    fn a_change_is_published_once_and_says_who_is_to_be_told() {
        let bell = Bell::new().unwrap();
        let ready = Readiness {
            readable: true,
            writable: true,
            urgent: false,
            drained: true,
        };
        let published = bell.publish(ready);
        assert!(published.settle && !published.wake);
        assert_eq!(bell.publish(ready), Published::default());
        let drained = Readiness {
            drained: false,
            ..ready
        };
        // Of no concern to the descriptor, but to who waits by SYNC.
        let moment = bell.moment();
        assert!(!bell.publish(drained).settle);
        assert_ne!(bell.moment(), moment);
        bell.waiting.store(1, Ordering::SeqCst);
        assert!(bell.publish(ready).wake && bell.publish_end().wake);
    }
}
