//! Which of many sockets have something to read.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// An epoll instance that is asked, never waited for. Level-triggered: a socket that was not emptied is ready again, but for those
/// that are told of once.
pub struct Poller {
    epoll: Arc<Epoll>,
    events: Box<[EpollEvent]>,
}

impl Poller {
    /// A poller without sockets that tells of up to `capacity` of them at once. Allocates.
    pub fn new(capacity: usize) -> io::Result<Self> {
        Ok(Self {
            epoll: Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?),
            events: vec![EpollEvent::empty(); capacity.max(1)].into_boxed_slice(),
        })
    }

    /// A handle on the same set of sockets for another thread, which registers and closes them while this one asks.
    pub fn watcher(&self) -> Watcher {
        Watcher {
            epoll: Arc::clone(&self.epoll),
        }
    }

    /// See [`Watcher::register`].
    pub fn register(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        self.watcher().register(socket, token)
    }

    /// A socket of [`register_once`](Watcher::register_once) is told of once more; at once if there is something to read.
    pub fn rearm(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let mut event = EpollEvent::new(ONCE, token);
        self.epoll.modify(socket, &mut event)?;
        Ok(())
    }

    /// See [`Watcher::deregister`].
    pub fn deregister(&self, socket: impl AsFd) -> io::Result<()> {
        self.watcher().deregister(socket)
    }

    /// Writes the tokens of sockets that have something to read, at most `tokens.len()` or the capacity, and returns
    /// their number. Returns at once. When the slice was filled there may be more: read from these, and ask again; the
    /// kernel lets sockets take turns.
    pub fn ready(&mut self, tokens: &mut [u64]) -> io::Result<usize> {
        let room = self.events.len().min(tokens.len());
        if room == 0 {
            return Ok(0);
        }
        let count = match self
            .epoll
            .wait(&mut self.events[..room], EpollTimeout::ZERO)
        {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for (token, event) in tokens.iter_mut().zip(&self.events[..count]) {
            *token = event.data();
        }
        Ok(count)
    }
}

/// Adds sockets to a [`Poller`] and takes them away, from any thread.
#[derive(Clone)]
pub struct Watcher {
    epoll: Arc<Epoll>,
}

impl Watcher {
    /// Watches a socket under a token of the caller's choice. Fails if it is watched already, or if the system's limit
    /// of watches (`fs.epoll.max_user_watches`) is reached.
    pub fn register(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        self.epoll
            .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        Ok(())
    }

    /// The same, but the socket is told of once: from then on it has to be read, or [rearmed](Poller::rearm).
    pub fn register_once(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        self.epoll.add(socket, EpollEvent::new(ONCE, token))?;
        Ok(())
    }

    /// Stops watching a socket. Closing it does so as well.
    pub fn deregister(&self, socket: impl AsFd) -> io::Result<()> {
        self.epoll.delete(socket)?;
        Ok(())
    }
}

/// Told of when there is something to read, and then no more until it is asked for again.
const ONCE: EpollFlags = EpollFlags::EPOLLIN.union(EpollFlags::EPOLLONESHOT);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

impl fmt::Debug for Poller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poller")
            .field("capacity", &self.events.len())
            .finish_non_exhaustive()
    }
}
