//! Which leg a datagram on a shared port belongs to: that whose peer has the address it comes from.
//!
//! Nothing here allocates after it was made. Whether the datagram is the peer's is judged by the leg's own latch, as
//! on a port of its own; this only finds the leg, and is stricter: what comes from an address that no peer has is
//! nobody's.
//!
//! Peers that send from another port than they announced are found by their IP address, while that leads to one leg only.

mod table;

use std::net::{IpAddr, SocketAddr};

use self::table::{Key, Table};
use super::Remote;
use super::sockets::Channel;

/// Addresses of one leg: RTP and RTCP as announced, and as learnt.
const ADDRESSES: usize = 4;

/// The addresses of all legs on one worker's shared port.
#[derive(Debug)]
pub(crate) struct Sources {
    addresses: Table<Address, u32>,
    hosts: Table<Host, Dwellers>,
    legs: Box<[Option<Entry>]>,
    /// Whose latch has accepted a source since the address was announced. Not in the entries, as it is asked with every packet.
    heard: Box<[bool]>,
}

/// Whose a datagram is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It comes from an address of this leg's peer.
    Leg {
        leg: u32,
        /// Its latch has accepted nothing yet, or nothing from this address: see [`Sources::learn`].
        is_new: bool,
    },
    /// Nobody's, or that of one of several.
    Nobody,
}

/// A leg on the shared port.
#[derive(Debug, Clone, Copy)]
struct Entry {
    remote: Remote,
    /// Where its RTP comes from, if from another port than announced.
    learnt: Option<SocketAddr>,
}

impl Sources {
    /// For legs whose index is below `legs`.
    pub(crate) fn new(legs: usize, seed: [u64; 2]) -> Self {
        Self {
            addresses: Table::new(legs * ADDRESSES, seed),
            hosts: Table::new(legs, seed),
            legs: vec![None; legs].into_boxed_slice(),
            heard: vec![false; legs].into_boxed_slice(),
        }
    }

    /// A leg begins to use the port, or its peer has another address. An address that another leg's peer has stays
    /// that one's.
    pub(crate) fn admit(&mut self, leg: u32, remote: Remote) {
        if let Some(entry) = &self.legs[leg as usize] {
            // A session that is merely refreshed keeps what was learnt.
            if entry.remote == remote {
                return;
            }
            self.dismiss(leg);
        }
        let entry = Entry {
            remote,
            learnt: None,
        };
        self.heard[leg as usize] = false;
        self.legs[leg as usize] = Some(entry);
        for address in announced(&remote) {
            self.addresses.insert(address, leg);
        }
        if let Some(host) = host_of(&remote) {
            self.add_dweller(host, leg);
        }
    }

    /// A leg no longer uses the port.
    pub(crate) fn dismiss(&mut self, leg: u32) {
        let Some(entry) = self.legs.get_mut(leg as usize).and_then(Option::take) else {
            return;
        };
        let learnt = entry.learnt.into_iter().flat_map(learnable);
        for address in announced(&entry.remote).chain(learnt) {
            if self.addresses.get(address) == Some(leg) {
                self.addresses.remove(address);
            }
        }
        if let Some(host) = host_of(&entry.remote)
            && let Some(dwellers) = self.hosts.get_mut(host)
        {
            dwellers.all.take(leg);
            if !self.heard[leg as usize] {
                dwellers.unheard.take(leg);
            }
            if dwellers.all.count == 0 {
                self.hosts.remove(host);
            }
        }
    }

    /// Fetches into the cache what is needed to say whose a datagram from `source` is.
    #[inline]
    pub(crate) fn fetch(&self, source: SocketAddr, channel: Channel) {
        self.addresses.fetch(Address::new(source, channel));
    }

    /// Whose a datagram from `source` is.
    pub(crate) fn find(&self, source: SocketAddr, channel: Channel) -> Found {
        if let Some(leg) = self.addresses.get(Address::new(source, channel)) {
            let heard = self.heard[leg as usize];
            return Found::Leg {
                leg,
                is_new: !heard && channel == Channel::Rtp,
            };
        }
        let Some(dwellers) = self.hosts.get(Host(source.ip().to_canonical())) else {
            return Found::Nobody;
        };
        // One that has been heard is where it is; so a new port is that of the one that has not. Where all have been
        // heard, and all is one, its phone may have moved to another port: the latch knows.
        let one = match channel {
            Channel::Rtp => dwellers.unheard.only().or_else(|| dwellers.all.only()),
            Channel::Rtcp => dwellers.all.only(),
        };
        one.map_or(Found::Nobody, |leg| Found::Leg {
            leg,
            is_new: channel == Channel::Rtp,
        })
    }

    /// The latch of a leg accepts `source`.
    pub(crate) fn learn(&mut self, leg: u32, source: SocketAddr) {
        let Some(entry) = &mut self.legs[leg as usize] else {
            return;
        };
        let was_heard = std::mem::replace(&mut self.heard[leg as usize], true);
        let host = host_of(&entry.remote);
        let mut forgotten = None;
        let is_known = self.addresses.get(Address::new(source, Channel::Rtp)) == Some(leg);
        if !is_known {
            forgotten = entry.learnt.replace(source);
        }
        if !was_heard && let Some(dwellers) = host.and_then(|host| self.hosts.get_mut(host)) {
            dwellers.unheard.take(leg);
        }
        for address in forgotten.into_iter().flat_map(learnable) {
            if self.addresses.get(address) == Some(leg) {
                self.addresses.remove(address);
            }
        }
        if !is_known {
            for address in learnable(source) {
                self.addresses.insert(address, leg);
            }
        }
    }

    fn add_dweller(&mut self, host: Host, leg: u32) {
        if let Some(dwellers) = self.hosts.get_mut(host) {
            dwellers.all.add(leg);
            dwellers.unheard.add(leg);
        } else {
            let mut dwellers = Dwellers::default();
            dwellers.all.add(leg);
            dwellers.unheard.add(leg);
            self.hosts.insert(host, dwellers);
        }
    }
}

/// A peer's address, on one of the two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Address {
    ip: [u64; 2],
    port: u16,
    channel: Channel,
}

impl Address {
    fn new(address: SocketAddr, channel: Channel) -> Self {
        let (high, low) = halves(address.ip());
        Self {
            ip: [high, low],
            port: address.port(),
            channel,
        }
    }
}

impl Key for Address {
    fn halves(self) -> (u64, u64) {
        let [high, low] = self.ip;
        let rest = u64::from(self.port) << 1 | u64::from(self.channel == Channel::Rtcp);
        // An IPv4 address leaves these bits of the upper half alone, and an IPv6 address of a host's differs in the lower.
        (high ^ rest.rotate_left(40), low)
    }
}

/// A peer's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Host(IpAddr);

impl Key for Host {
    fn halves(self) -> (u64, u64) {
        halves(self.0)
    }
}

/// The legs whose peers are on one machine.
#[derive(Debug, Clone, Copy, Default)]
struct Dwellers {
    all: Crowd,
    unheard: Crowd,
}

/// Some legs, of which one can be named if it is the only one.
#[derive(Debug, Clone, Copy, Default)]
struct Crowd {
    count: u32,
    /// All of them on each other: of one, itself.
    xor: u32,
}

impl Crowd {
    fn add(&mut self, leg: u32) {
        self.count += 1;
        self.xor ^= leg;
    }

    fn take(&mut self, leg: u32) {
        self.count -= 1;
        self.xor ^= leg;
    }

    fn only(self) -> Option<u32> {
        (self.count == 1).then_some(self.xor)
    }
}

/// The addresses that a peer announced.
fn announced(remote: &Remote) -> impl Iterator<Item = Address> + use<> {
    let rtcp = if remote.rtcp_mux { None } else { remote.rtcp };
    let rtp = remote.rtp.map(|rtp| Address::new(rtp, Channel::Rtp));
    let rtcp = rtcp.map(|rtcp| Address::new(rtcp, Channel::Rtcp));
    rtp.into_iter().chain(rtcp)
}

/// The addresses of a peer whose RTP comes from `source`: RTCP is on the next port, by convention.
fn learnable(source: SocketAddr) -> impl Iterator<Item = Address> {
    let next = source
        .port()
        .checked_add(1)
        .map(|port| Address::new(SocketAddr::new(source.ip(), port), Channel::Rtcp));
    [Some(Address::new(source, Channel::Rtp)), next]
        .into_iter()
        .flatten()
}

fn host_of(remote: &Remote) -> Option<Host> {
    remote.rtp.map(|rtp| Host(rtp.ip().to_canonical()))
}

fn halves(ip: IpAddr) -> (u64, u64) {
    let bits = match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    ((bits >> 64) as u64, bits as u64)
}

#[cfg(test)]
mod tests;
