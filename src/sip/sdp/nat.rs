//! Which of our addresses a peer is told, so that media and requests find their way back through a NAT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// The address to write into `c=` and `Contact` for this peer.
///
/// `local` is the address of the socket that talks to the peer (never the unspecified one), `external` the address
/// under which the world sees this machine (an Elastic IP). A peer in one of `local_networks` is on our side of the
/// NAT and is told `local`, as are loopback and link-local peers; everyone else is told `external`, if there is one
/// and it is of the family of `local`.
pub fn advertised_address(
    peer: IpAddr,
    local: IpAddr,
    external: Option<IpAddr>,
    local_networks: &[Network],
) -> IpAddr {
    let (peer, local) = (peer.to_canonical(), local.to_canonical());
    let Some(external) = external.map(|address| address.to_canonical()) else {
        return local;
    };
    let near = peer.is_loopback()
        || is_link_local(peer)
        || local_networks.iter().any(|net| net.contains(peer));
    if near || external.is_ipv4() != local.is_ipv4() {
        local
    } else {
        external
    }
}

/// An address block, written `10.0.0.0/8`; an address alone is a block of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no [`Network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The part before the slash is no IP address.
    #[error("not an IP address with a prefix length such as 10.0.0.0/8")]
    Address,
    /// The part after the slash is no number or longer than the address.
    #[error("prefix length out of range: 0 to 32 for IPv4, 0 to 128 for IPv6")]
    Prefix,
}

impl Network {
    /// The block of all addresses that share the first `prefix` bits with `address`; `None` if the address has not
    /// as many.
    pub const fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix <= longest {
            Some(Self { address, prefix })
        } else {
            None
        }
    }

    /// The blocks that are private by their nature: RFC 1918, carrier NAT (RFC 6598), unique local (RFC 4193).
    pub const fn private() -> [Self; 5] {
        const fn v4(a: u8, b: u8, prefix: u8) -> Network {
            Network {
                address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)),
                prefix,
            }
        }
        let unique_local = IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0));
        [
            v4(10, 0, 8),
            v4(172, 16, 12),
            v4(192, 168, 16),
            v4(100, 64, 10),
            Self {
                address: unique_local,
                prefix: 7,
            },
        ]
    }

    /// Whether the address lies in the block. An IPv4 address in IPv6 clothes (`::ffff:a.b.c.d`) is taken as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same_bits = |difference: u128, width: u32| {
            // A shift by the full width means that no bit is compared.
            difference
                .checked_shr(width - u32::from(self.prefix))
                .unwrap_or(0)
                == 0
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same_bits(u128::from(a.to_bits() ^ b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same_bits(a.to_bits() ^ b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NetworkError::Prefix)?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        Self::new(address, prefix).ok_or(NetworkError::Prefix)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTERNAL: &str = "203.0.113.9";

    fn told(peer: &str, local: &str, external: Option<&str>) -> String {
        let parse = |text: &str| text.parse::<IpAddr>().unwrap();
        advertised_address(
            parse(peer),
            parse(local),
            external.map(parse),
            &Network::private(),
        )
        .to_string()
    }

    #[test]
    fn public_peers_are_told_the_external_address() {
        for peer in [
            "198.51.100.7",
            "172.32.0.1",
            "100.128.0.1",
            "11.0.0.1",
            "192.169.0.1",
        ] {
            assert_eq!(told(peer, "10.0.0.5", Some(EXTERNAL)), EXTERNAL, "{peer}");
        }
    }

    #[test]
    fn private_peers_are_told_the_local_address() {
        let near = [
            "10.255.255.255",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "::ffff:10.1.2.3",
        ];
        for peer in near {
            assert_eq!(told(peer, "10.0.0.5", Some(EXTERNAL)), "10.0.0.5", "{peer}");
        }
        for peer in ["fd00::1", "fc00::1", "fe80::1", "::1"] {
            assert_eq!(
                told(peer, "fd00::5", Some("2001:db8::9")),
                "fd00::5",
                "{peer}"
            );
        }
        assert_eq!(
            told("2001:db8:1::1", "fd00::5", Some("2001:db8::9")),
            "2001:db8::9"
        );
    }

    #[test]
    fn carrier_nat_is_outside_when_it_is_not_listed() {
        let nets: Vec<Network> = vec!["10.0.0.0/8".parse().unwrap()];
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let external = Some(address(EXTERNAL));
        assert_eq!(
            advertised_address(address("100.64.0.1"), address("10.0.0.5"), external, &nets),
            address(EXTERNAL)
        );
        assert_eq!(
            advertised_address(address("10.9.9.9"), address("10.0.0.5"), external, &nets),
            address("10.0.0.5")
        );
    }

    #[test]
    fn an_external_address_of_the_other_family_is_not_used() {
        assert_eq!(
            told("2001:db8::1", "2001:db8::5", Some(EXTERNAL)),
            "2001:db8::5"
        );
        assert_eq!(told("198.51.100.7", "10.0.0.5", None), "10.0.0.5");
    }

    #[test]
    fn networks_are_read_and_compared_by_their_prefix() {
        let net: Network = "192.0.2.128/25".parse().unwrap();
        assert!(
            net.contains("192.0.2.129".parse().unwrap())
                && !net.contains("192.0.2.127".parse().unwrap())
        );
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(
            all.contains("255.1.2.3".parse().unwrap()) && !all.contains("::1".parse().unwrap())
        );
        let everything: Network = "::/0".parse().unwrap();
        assert!(everything.contains("ffff::1".parse().unwrap()));
        let one: Network = "192.0.2.1".parse().unwrap();
        assert_eq!(one.to_string(), "192.0.2.1/32");
        for (text, error) in [
            ("10.0.0.0/33", NetworkError::Prefix),
            ("10.0.0.0/x", NetworkError::Prefix),
            ("::/129", NetworkError::Prefix),
            ("ten/8", NetworkError::Address),
            ("", NetworkError::Address),
        ] {
            assert_eq!(text.parse::<Network>(), Err(error), "{text}");
        }
    }
}
