//! The ways of serving, and what they cost.

use std::net::SocketAddr;
use std::slice;

use unisono_rtp::net::MediaSocket;

use super::bare::Bare;
use super::connected::Connected;
use super::ours::Ours;
use super::ring::{Asking, Ring};

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
    /// A socket a leg, connected to its phone: recv on each, send on each.
    ConnectedOwn,
    /// A socket a leg, by io_uring: each is asked to receive once and for all, and all sends are one call.
    RingOwn,
    /// The same, but a request to receive for each socket in each interval.
    RingOwnEach,
    /// A socket a leg, with the server's own code: epoll, recvmsg with arrival times, sendto.
    OursOwn,
    /// The same, but recvmsg on each socket without asking epoll.
    OursOwnBlindly,
    /// One socket for all, by io_uring: it is asked to receive once and for all, and all sends are one call.
    RingShared,
    /// One socket for all, with the server's own code.
    OursShared,
}

pub(super) const WAYS: [Kind; 11] = [
    Kind::BareOwn,
    Kind::BareOwnEpoll,
    Kind::BareOwnBatched,
    Kind::ConnectedOwn,
    Kind::RingOwn,
    Kind::RingOwnEach,
    Kind::OursOwnBlindly,
    Kind::OursOwn,
    Kind::BareShared,
    Kind::RingShared,
    Kind::OursShared,
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BareOwn => "own sockets: bare recvfrom + sendto",
            Self::BareOwnEpoll => "own sockets: bare epoll + recvfrom + sendto",
            Self::BareOwnBatched => "own sockets: bare recvmmsg + sendmmsg",
            Self::ConnectedOwn => "own sockets: connected recv + send",
            Self::RingOwn => "own sockets: io_uring multishot recvmsg + sendto",
            Self::RingOwnEach => "own sockets: io_uring recvmsg + sendto",
            Self::OursOwn => "own sockets: unisono",
            Self::OursOwnBlindly => "own sockets: unisono without epoll",
            Self::BareShared => "shared socket: bare recvmmsg + sendmmsg",
            Self::RingShared => "shared socket: io_uring multishot recvmsg + sendto",
            Self::OursShared => "shared socket: unisono",
        }
    }

    pub(super) fn is_shared(self) -> bool {
        matches!(self, Self::BareShared | Self::RingShared | Self::OursShared)
    }
}

/// CPU time of one round.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    receive_ns: u64,
    send_ns: u64,
    received: u64,
    /// Datagrams that came to the phones.
    pub(super) delivered: u64,
    /// Datagrams that should have been received, and sent.
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

    /// The part of the datagrams that came in, or that went out if those are fewer.
    pub(super) fn complete(&self) -> f64 {
        self.received.min(self.delivered) as f64 / self.frames as f64
    }
}

/// One way, ready to serve.
pub(super) struct Way<'a> {
    kind: Kind,
    legs: u64,
    bare: Bare<'a>,
    ours: Ours<'a>,
    /// Only where it is the way, as it changes what the sockets are.
    connected: Option<Connected<'a>>,
    /// Likewise.
    ring: Option<Ring<'a>>,
}

impl<'a> Way<'a> {
    /// To be made by the thread that serves, after what another way left over was taken; an error is why there is no such way here.
    pub(super) fn new(
        kind: Kind,
        own: &'a [MediaSocket],
        shared: &'a MediaSocket,
        peers: &'a [SocketAddr],
    ) -> Result<Self, String> {
        let mut bare = Bare::new(own, shared, peers, kind == Kind::BareOwnEpoll);
        bare.drain();
        let ring = match kind {
            Kind::RingOwn => Some(Ring::new(own, peers, Asking::Multishot)?),
            Kind::RingOwnEach => Some(Ring::new(own, peers, Asking::Each)?),
            Kind::RingShared => Some(Ring::new(
                slice::from_ref(shared),
                peers,
                Asking::Multishot,
            )?),
            _ => None,
        };
        Ok(Self {
            kind,
            legs: own.len() as u64,
            bare,
            ours: Ours::new(own, shared, peers, kind == Kind::OursOwn),
            connected: (kind == Kind::ConnectedOwn).then(|| Connected::new(own, peers)),
            ring,
        })
    }

    /// An error if not all that was done for it is in the time of the server's thread.
    pub(super) fn check(&self) -> Result<(), String> {
        self.ring.as_ref().map_or(Ok(()), Ring::workers)
    }

    /// One interval.
    pub(super) fn tick(&mut self, cost: &mut Cost) {
        let begun = thread_ns();
        cost.received += match self.kind {
            Kind::BareOwn => self.bare.receive_own(),
            Kind::BareOwnEpoll => self.bare.receive_own_by_epoll(),
            Kind::BareOwnBatched => self.bare.receive_own_batched(),
            Kind::BareShared => self.bare.receive_shared(),
            Kind::ConnectedOwn => self.connected.as_mut().map_or(0, Connected::receive),
            Kind::RingOwn | Kind::RingOwnEach | Kind::RingShared => {
                self.ring.as_mut().map_or(0, Ring::receive)
            }
            Kind::OursOwn => self.ours.receive_own(),
            Kind::OursOwnBlindly => self.ours.receive_own_blindly(),
            Kind::OursShared => self.ours.receive_shared(),
        };
        let received = thread_ns();
        match self.kind {
            Kind::BareOwn | Kind::BareOwnEpoll => self.bare.send_own(),
            Kind::BareOwnBatched => self.bare.send_own_batched(),
            Kind::BareShared => self.bare.send_shared(),
            Kind::ConnectedOwn => self.connected.iter().for_each(Connected::send),
            Kind::RingOwn | Kind::RingOwnEach | Kind::RingShared => {
                self.ring.iter_mut().for_each(Ring::send);
            }
            Kind::OursOwn | Kind::OursOwnBlindly => self.ours.send_own(),
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
