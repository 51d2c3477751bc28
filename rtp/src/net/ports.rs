//! Ports for legs: even for RTP, the next one for RTCP (RFC 3550 section 11).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use super::socket::{MediaSocket, SocketOptions};

/// The sockets of one leg.
#[derive(Debug)]
pub struct MediaPorts {
    /// RTP, on an even port; with `a=rtcp-mux`, RTCP too.
    pub rtp: MediaSocket,
    /// RTCP, on the next port; `None` with `a=rtcp-mux`.
    pub rtcp: Option<MediaSocket>,
}

impl MediaPorts {
    /// Ports of one's own choice: `port` for RTP and the next for RTCP. `port` is even, at most 65534.
    pub fn bind(ip: IpAddr, port: u16, options: &SocketOptions) -> Result<Self, PortError> {
        let bind = |port: u16| {
            let address = SocketAddr::new(ip, port);
            MediaSocket::bind(address, options).map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => PortError::Taken { address },
                _ => PortError::from_io(error, ip),
            })
        };
        Ok(Self {
            rtp: bind(port)?,
            rtcp: Some(bind(port.saturating_add(1))?),
        })
    }
}

/// Hands out ports of a range in turn, so that one just given up is used again as late as possible: packets of the
/// call before still come in on it.
#[derive(Debug, Clone)]
pub struct PortPool {
    ip: IpAddr,
    first: u16,
    /// Number of even ports whose odd neighbour is in the range as well.
    pairs: u16,
    next: u16,
    options: SocketOptions,
}

impl PortPool {
    /// Ports of `range` on the local address `ip`. `random` decides where to begin, so that ports cannot be predicted
    /// from the server's start.
    pub fn new(
        ip: IpAddr,
        range: RangeInclusive<u16>,
        options: SocketOptions,
        random: u16,
    ) -> Self {
        // Port 0 means any port, so the first usable pair is 2 and 3.
        let first = (*range.start()).max(2).next_multiple_of(2);
        let ports = u32::from(*range.end()) + 1;
        let pairs = (ports.saturating_sub(first.into()) / 2) as u16;
        Self {
            ip,
            first,
            pairs,
            next: random.checked_rem(pairs).unwrap_or(0),
            options,
        }
    }

    /// Binds the next free even port, and its odd neighbour unless `multiplexed`. Ports taken by somebody else are
    /// passed over.
    pub fn bind_pair(&mut self, multiplexed: bool) -> Result<MediaPorts, PortError> {
        for _ in 0..self.pairs {
            let port = self.first + 2 * self.next;
            self.next = (self.next + 1) % self.pairs;
            match self.bind_at(port, multiplexed) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(PortError::from_io(error, self.ip)),
                Ok(ports) => return Ok(ports),
            }
        }
        Err(PortError::Exhausted {
            ip: self.ip,
            pairs: self.pairs,
        })
    }

    /// How many legs the range has ports for.
    pub fn capacity(&self) -> usize {
        self.pairs.into()
    }

    fn bind_at(&self, port: u16, multiplexed: bool) -> io::Result<MediaPorts> {
        let rtp = MediaSocket::bind(SocketAddr::new(self.ip, port), &self.options)?;
        let rtcp = match multiplexed {
            true => None,
            false => Some(MediaSocket::bind(
                SocketAddr::new(self.ip, port + 1),
                &self.options,
            )?),
        };
        Ok(MediaPorts { rtp, rtcp })
    }
}

/// A leg that got no ports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortError {
    /// All ports of the range are in use: configure a larger one, or end calls.
    #[error("all {pairs} port pairs on {ip} are in use")]
    Exhausted {
        /// Local address.
        ip: IpAddr,
        /// Pairs in the range.
        pairs: u16,
    },
    /// A port that was to be this very one is somebody else's: end that program, or choose another port.
    #[error("{address} is in use by another program, or twice by this one")]
    Taken {
        /// Local address.
        address: SocketAddr,
    },
    /// The process may open no more descriptors: raise RLIMIT_NOFILE ([`super::descriptor_limit`]).
    #[error("no more file descriptors: raise the limit (ulimit -n, LimitNOFILE=)")]
    Descriptors,
    /// The machine has no such address: correct the configured one.
    #[error("{ip} is not an address of this machine")]
    NoSuchAddress {
        /// Local address.
        ip: IpAddr,
    },
    /// Something else, in the system's words.
    #[error("cannot open a media port: {0}")]
    Io(#[source] io::Error),
}

impl PortError {
    fn from_io(error: io::Error, ip: IpAddr) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::Descriptors,
            Some(libc::EADDRNOTAVAIL) => Self::NoSuchAddress { ip },
            _ => Self::Io(error),
        }
    }
}
