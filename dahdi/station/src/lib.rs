//! DAHDI's pseudo channels on real descriptors: the threads, the lock and the doorbells around one
//! [`Exchange`](unisono_dahdi::exchange::Exchange).
//!
//! A [`Station`] is what a process has in place of the driver. [`Station::open`] gives a descriptor for the program, on which
//! `poll`, `select` and `epoll` work as on DAHDI's, and a [`Seat`], which serves what the program does with it. Conferences are
//! shared with other processes through [`unisono_dahdi_trunk`], where there is a directory to meet in ([`Sharing`]).
//!
//! ```
//! use unisono_dahdi_station::{Settings, Sharing, Station};
//!
//! let mut settings = Settings::default();
//! settings.sharing = Sharing::Alone;
//! let station = Station::new(settings)?;
//! let (_descriptor, seat) = station.open()?;
//! // What `dahdi_test` does: 1024 samples of µ-law silence come every 128 ms.
//! let mut octets = [0; 8192];
//! assert_eq!(seat.read(&mut octets, false)?, 1024);
//! # Ok::<(), unisono_dahdi::request::Errno>(())
//! ```
//!
//! # Threads
//!
//! | thread | scheduling | does | may not |
//! |---|---|---|---|
//! | the program's | its own | read, write, ask: under the desk's lock, for a block's copy | |
//! | `unisono-mix` | SCHED_FIFO where granted | what time does: steps of conferences, blocks that become whole; then rings | allocate, free, log, or wait for anything but a lock with priority inheritance |
//! | `unisono-dahdi` | normal | looks for other processes four times a second while a conference is in use; answers who asks what this one does; else sleeps, but for a look every 10 s whether it can still be asked | touch audio |
//!
//! The mixing thread sleeps on a futex until the next deadline of the exchange, or for ever without one: it takes no descriptor that a
//! program could close. It begins with the first channel.
//!
//! # Locks
//!
//! In this order: *control* (opening, closing, settings and conferences; never taken by the mixing thread), the *desk* (the exchange),
//! and one *door* per channel (what its descriptor shows). All inherit priority, and the mixing thread's waits for the desk are
//! measured ([`Station::lock_waits`]). Nothing is allocated or freed under the desk's lock, no descriptor is touched, and
//! the mixing thread rings after it has given it back, so that who is woken does not run into it.
//!
//! A signal handler that calls in while its own thread is in one of these is answered EAGAIN.
//!
//! # Descriptors
//!
//! A channel takes three: the program's end of a pair of sockets, a duplicate of it, and the station's end. The latter two have high
//! numbers and are [hidden](is_hidden). What the station does to the program's end it does through the duplicate, as the
//! program's number may have become another's by then; it is closed when nobody is in a call any more. A process takes four more, hidden too, if it shares conferences. When they run out, opening
//! answers EMFILE, and what is open works on.
//!
//! # Waiting
//!
//! | call | waits in | signal with SA_RESTART | other signal |
//! |---|---|---|---|
//! | read | `recv` of the descriptor | goes on | EINTR |
//! | write, `IOMUX`, `SYNC` | a futex | goes on | EINTR |
//!
//! When another thread closes the channel, all who wait get ENODEV. (The kernel would let them wait on.)
//!
//! # Forks
//!
//! Who interposes the C library has [`Station::prepare_fork`] and its two companions called around a fork (`pthread_atfork`). They take
//! the control lock, so conferences go on being mixed during a fork. In the child nothing happens to an inherited channel
//! until [`Seat::adopt`] makes one of the child's own of it.
//!
//! # Standstill
//!
//! After SIGSTOP or a stall of the machine the exchange's policy holds ([`unisono_dahdi::exchange`], late ticks): up to two missed
//! steps are mixed late, more are skipped, and nothing is replayed.

#![deny(unsafe_code)]

mod doorbell;
mod fork;
mod hidden;
mod limit;
mod making;
mod mixing;
mod pi_mutex;
mod report;
mod seat;
mod service;
mod settings;
mod shared;
mod sharing;
mod station;
mod wait_word;

pub use hidden::is_hidden;
pub use limit::Lifted;
pub use making::let_make;
pub use seat::Seat;
pub use sharing::Sharing;
pub use station::{Settings, Station};

use nix::errno::Errno as SystemErrno;
use unisono_dahdi::request::Errno;

/// A system's error as DAHDI's programs see it.
fn errno(system: SystemErrno) -> Errno {
    match system {
        SystemErrno::EINTR => Errno::Eintr,
        SystemErrno::EAGAIN => Errno::Eagain,
        SystemErrno::EBADF | SystemErrno::ENOTSOCK => Errno::Ebadf,
        SystemErrno::EMFILE => Errno::Emfile,
        SystemErrno::ENFILE => Errno::Enfile,
        _ => Errno::Enomem,
    }
}
