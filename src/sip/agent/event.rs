//! What goes in and out of a user agent besides configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// One call, from the first INVITE to its end. Never reused within an agent's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call-{}", self.0)
    }
}

/// How messages travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// Datagrams, one message each.
    Udp,
    /// A byte stream, messages framed by `Content-Length`.
    Tcp,
}

impl Transport {
    /// As written in `Via`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// The path a message came by, or goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The transport.
    pub transport: Transport,
    /// Our end; its address is never the unspecified one.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Which TCP connection; 0 for UDP, and for "any connection to `remote`, opened if need be".
    pub connection: u64,
}

impl Flow {
    /// A datagram path.
    #[must_use]
    pub const fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            transport: Transport::Udp,
            local,
            remote,
            connection: 0,
        }
    }

    /// A path by TCP on any connection to `remote`.
    #[must_use]
    pub const fn tcp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            transport: Transport::Tcp,
            local,
            remote,
            connection: 0,
        }
    }

    /// Whether what is sent on `other` goes by this path: the same connection, or for connection
    /// 0 the same remote address.
    pub(super) fn carries(&self, other: &Self) -> bool {
        self.transport == other.transport
            && self.connection == other.connection
            && (self.connection != 0 || self.remote == other.remote)
    }
}

/// Who is at the other end, as they say themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Party {
    /// The display name.
    pub display: Option<String>,
    /// The user part of the URI, percent-decoded; empty when there is none.
    pub user: String,
    /// The host part of the URI.
    pub host: String,
}

/// A new call that waits for a decision: `ring`, `accept` or `reject`.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The call.
    pub call: CallId,
    /// The user part of the Request-URI, percent-decoded: the number dialled.
    pub user: String,
    /// The whole Request-URI.
    pub uri: String,
    /// The caller.
    pub from: Party,
    /// The user name the caller proved by digest, when that is asked for.
    pub authenticated: Option<String>,
    /// The session description offered. `None`: the offer is to be ours, in `accept`.
    pub offer: Option<String>,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// By which transport.
    pub transport: Transport,
    /// The address of ours this peer is to be given in a session description.
    pub ours: IpAddr,
    /// The SIP `Call-ID`, for logs and call records.
    pub sip_call_id: String,
    /// `User-Agent`, `Subject`, `P-Asserted-Identity`, `Diversion`, and all `X-` headers.
    pub headers: Vec<(String, String)>,
}

/// Who or what ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndedBy {
    /// The peer: BYE or CANCEL.
    Remote,
    /// The layer above: `hang_up` or `reject`.
    Local,
    /// Nobody answered in time: no ACK, no final response, no session refresh.
    Timeout,
    /// The peer refused, or the session could not be set up.
    Failed {
        /// The final status of the INVITE.
        status: u16,
    },
}

/// What happened. Each call ends with exactly one [`Event::Ended`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A new call.
    Incoming(Box<Incoming>),
    /// The caller acknowledged our answer: the call is up.
    Established {
        /// The call.
        call: CallId,
        /// The answer in the ACK, when the offer was ours.
        answer: Option<String>,
    },
    /// The peer wants to change the session: answer with `accept_reoffer` or `reject_reoffer`.
    /// Also sent when the 2xx to our own INVITE carries the offer.
    ReOffer {
        /// The call.
        call: CallId,
        /// The new offer. `None`: the offer is to be ours.
        offer: Option<String>,
    },
    /// The peer answered our INVITE or re-INVITE.
    Answered {
        /// The call.
        call: CallId,
        /// Its session description.
        answer: String,
    },
    /// The peer refused our re-INVITE; the session stays as it was.
    ReOfferRefused {
        /// The call.
        call: CallId,
        /// Why.
        status: u16,
    },
    /// A provisional response to our INVITE.
    Progress {
        /// The call.
        call: CallId,
        /// 100 to 199.
        status: u16,
    },
    /// A key pressed on the phone, sent by INFO.
    Dtmf {
        /// The call.
        call: CallId,
        /// `0`-`9`, `*`, `#`, `A`-`D`.
        digit: char,
        /// How long, in milliseconds; 0 when not said.
        duration_ms: u32,
    },
    /// The call is over.
    Ended {
        /// The call.
        call: CallId,
        /// By whom.
        by: EndedBy,
        /// A reason for people.
        reason: String,
    },
}

/// What the owner of an agent must do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// By this path.
        flow: Flow,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// Tell the layer above.
    Event(Event),
}
