//! The ways of serving, and what they cost.

use std::net::SocketAddr;

use unisono_rtp::net::MediaSocket;

use super::bare::Bare;
use super::ours::Ours;

/// How a server takes in and sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A socket a leg: recvfrom on each, sendto on each, and nothing else.
    BareOwn,
    /// The same, after asking epoll which sockets have something.
    BareOwnEpoll,
    /// A socket a leg: recvmmsg on each, sendmmsg on each. What a batch saves, one datagram a socket does not.
    BareOwnBatched,
    /// One socket for all: recvmmsg, sendmmsg.
    BareShared,
    /// A socket a leg, with the server's own code.
    OursOwn,
    /// One socket for all, with the server's own code.
    OursShared,
}

pub(super) const WAYS: [Kind; 6] = [
    Kind::BareOwn,
    Kind::BareOwnEpoll,
    Kind::BareOwnBatched,
    Kind::OursOwn,
    Kind::BareShared,
    Kind::OursShared,
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BareOwn => "own sockets: bare recvfrom + sendto",
            Self::BareOwnEpoll => "own sockets: bare epoll + recvfrom + sendto",
            Self::BareOwnBatched => "own sockets: bare recvmmsg + sendmmsg",
            Self::OursOwn => "own sockets: unisono",
            Self::BareShared => "shared socket: bare recvmmsg + sendmmsg",
            Self::OursShared => "shared socket: unisono",
        }
    }

    pub(super) fn is_shared(self) -> bool {
        matches!(self, Self::BareShared | Self::OursShared)
    }
}

/// CPU time of one round.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    receive_ns: u64,
    send_ns: u64,
    received: u64,
    /// Datagrams that should have been received, and were sent.
    frames: u64,
}

impl Cost {
    pub(super) fn receive(&self) -> f64 {
        self.receive_ns as f64 / self.frames as f64
    }

    pub(super) fn send(&self) -> f64 {
        self.send_ns as f64 / self.frames as f64
    }

    /// ns a participant-frame.
    pub(super) fn total(&self) -> f64 {
        self.receive() + self.send()
    }

    /// The part of the datagrams that came in.
    pub(super) fn received(&self) -> f64 {
        self.received as f64 / self.frames as f64
    }
}

/// One way, ready to serve.
pub(super) struct Way<'a> {
    kind: Kind,
    legs: u64,
    bare: Bare<'a>,
    ours: Ours<'a>,
}

impl<'a> Way<'a> {
    pub(super) fn new(
        kind: Kind,
        own: &'a [MediaSocket],
        shared: &'a MediaSocket,
        peers: &'a [SocketAddr],
    ) -> Self {
        Self {
            kind,
            legs: own.len() as u64,
            bare: Bare::new(own, shared, peers, kind == Kind::BareOwnEpoll),
            ours: Ours::new(own, shared, peers, kind == Kind::OursOwn),
        }
    }

    /// Takes what is left over from another way.
    pub(super) fn drain(&mut self) {
        self.bare.drain();
    }

    /// One interval.
    pub(super) fn tick(&mut self, cost: &mut Cost) {
        let begun = thread_ns();
        cost.received += match self.kind {
            Kind::BareOwn => self.bare.receive_own(),
            Kind::BareOwnEpoll => self.bare.receive_own_by_epoll(),
            Kind::BareOwnBatched => self.bare.receive_own_batched(),
            Kind::BareShared => self.bare.receive_shared(),
            Kind::OursOwn => self.ours.receive_own(),
            Kind::OursShared => self.ours.receive_shared(),
        };
        let received = thread_ns();
        match self.kind {
            Kind::BareOwn | Kind::BareOwnEpoll => self.bare.send_own(),
            Kind::BareOwnBatched => self.bare.send_own_batched(),
            Kind::BareShared => self.bare.send_shared(),
            Kind::OursOwn => self.ours.send_own(),
            Kind::OursShared => self.ours.send_shared(),
        }
        let sent = thread_ns();
        cost.receive_ns += received - begun;
        cost.send_ns += sent - received;
        cost.frames += self.legs;
    }
}

/// CPU time of this thread.
fn thread_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
