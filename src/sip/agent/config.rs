//! What a user agent is told before it starts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::event::{Flow, Transport};
use crate::sip::digest::DigestConfig;
use crate::sip::sdp::{Network, advertised_address};

/// RFC 4028 section 4.2's recommendation: what a call falls back on that has to name an interval.
pub(super) const USUAL_SESSION: Duration = Duration::from_secs(1800);

/// Settings of an [`Agent`](super::Agent). The defaults serve 10,000 calls on plain UDP and TCP.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// What `Server` and `User-Agent` say.
    pub software: String,
    /// The user part of our own `From` and `Contact` where no other is known.
    pub user: String,
    /// The addresses listened on, with their real ports; the async shell fills them in.
    pub listen: Vec<(Transport, SocketAddr)>,
    /// Which of our addresses a peer is given.
    pub addressing: Addressing,
    /// Credentials callers must show; `None` lets everybody in.
    pub digest: Option<DigestConfig>,
    /// The session interval asked for, and the longest accepted without being shortened
    /// (RFC 4028); `None` asks for none and accepts any.
    pub session_expires: Option<Duration>,
    /// The shortest session interval accepted; at least 90 s, whatever is set here.
    pub min_se: Duration,
    /// Calls at one time; the next INVITE gets 503 with `Retry-After`.
    pub max_calls: usize,
    /// Transactions at one time; the next request gets a stateless 503.
    pub max_transactions: usize,
    /// Seconds in the `Retry-After` of a 503.
    pub retry_after: u32,
    /// How long a call may ring, in or out, before it is given up.
    pub ring_limit: Duration,
    /// RFC 3261 T1, the estimate of a round trip.
    pub t1: Duration,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            software: concat!("unisono/", env!("CARGO_PKG_VERSION")).to_owned(),
            user: "conference".to_owned(),
            listen: Vec::new(),
            addressing: Addressing::default(),
            digest: None,
            session_expires: Some(USUAL_SESSION),
            min_se: Duration::from_secs(90),
            max_calls: 10_000,
            max_transactions: 40_000,
            retry_after: 10,
            ring_limit: Duration::from_secs(180),
            t1: Duration::from_millis(500),
        }
    }
}

impl AgentConfig {
    /// The address and port that the peer of `flow` is told to send requests to.
    pub(super) fn contact(&self, flow: &Flow) -> SocketAddr {
        let port = self
            .listen
            .iter()
            .filter(|(transport, _)| *transport == flow.transport)
            .map(|(_, address)| address)
            .max_by_key(|address| {
                (
                    address.ip() == flow.local.ip(),
                    address.ip().is_unspecified(),
                )
            })
            .map_or(flow.local.port(), SocketAddr::port);
        let ip = self.addressing.ours(flow.remote.ip(), flow.local.ip());
        let port = match self.addressing.advertised_port {
            Some(advertised) if self.addressing.is_public(flow.remote.ip()) => advertised,
            _ => port,
        };
        SocketAddr::new(ip, port)
    }
}

/// Tells private peers, which reach our local address, from public ones, which reach the
/// advertised one (an Elastic IP, a port forwarded by a router).
#[derive(Debug, Clone)]
pub struct Addressing {
    /// The address public peers reach us at; `None` when the local address is good for all.
    pub advertised: Option<IpAddr>,
    /// The SIP port public peers reach us at, when it is not the local one.
    pub advertised_port: Option<u16>,
    /// Networks whose peers see the local address.
    pub private: Vec<Network>,
}

impl Addressing {
    /// The address of ours that `peer` is to be given, for signalling and for media, when `local`
    /// is the one its packets arrived at.
    #[must_use]
    pub fn ours(&self, peer: IpAddr, local: IpAddr) -> IpAddr {
        advertised_address(peer, local, self.advertised, &self.private)
    }

    /// Whether an advertised address is set and `peer` is outside all private networks.
    #[must_use]
    pub fn is_public(&self, peer: IpAddr) -> bool {
        self.advertised
            .is_some_and(|advertised| self.ours(peer, peer) == advertised)
    }
}

impl Default for Addressing {
    /// No advertised address; private are the networks that are so by their nature.
    fn default() -> Self {
        Self {
            advertised: None,
            advertised_port: None,
            private: Network::private().to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn public_peers_get_the_advertised_address_and_private_ones_the_local() {
        let mut config = AgentConfig {
            listen: vec![(Transport::Udp, "10.1.2.3:5060".parse().unwrap())],
            ..AgentConfig::default()
        };
        config.addressing.advertised = Some(ip("203.0.113.9"));
        config.addressing.advertised_port = Some(6000);
        let flow =
            |remote: &str| Flow::udp("10.1.2.3:5060".parse().unwrap(), remote.parse().unwrap());
        assert_eq!(
            config.contact(&flow("8.8.8.8:1")).to_string(),
            "203.0.113.9:6000"
        );
        assert_eq!(
            config.contact(&flow("10.9.9.9:1")).to_string(),
            "10.1.2.3:5060"
        );
    }
}
