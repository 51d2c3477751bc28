//! How many legs this machine carries: the configured number, or what ports, descriptors or memory allow.

use std::fmt;

use crate::config::Config;
use crate::sip::MAX_CONNECTIONS;
use crate::web;

/// Descriptors for all but the legs and the phones' connections: legs that are closing, SIP's sockets, HTTP, timers, standard
/// streams.
const OTHER_DESCRIPTORS: u64 = 256 + web::MAX_CONNECTIONS as u64;

/// Memory of one leg with its sockets, bytes: about 14 KiB here for G.711, and what the kernel keeps of two sockets.
/// Opus takes 50 KiB more.
const LEG_MEMORY: u64 = 32 * 1024;

/// Legs that can be served at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// How many.
    pub legs: u32,
    /// How many were configured.
    pub wanted: u32,
    /// TCP connections of phones at one time: 0 without SIP over TCP.
    pub connections: u32,
    /// How many there would be if descriptors were plenty.
    pub connections_wanted: u32,
    /// What limits the legs to fewer than configured, if anything does.
    pub limit: Option<Limit>,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// UDP ports in `[media]`'s range.
    Ports,
    /// File descriptors the process may open.
    Descriptors,
    /// Memory.
    Memory,
}

/// What the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Descriptors the process may have open.
    pub(crate) descriptors: u64,
    /// Memory to be had, bytes; `None` if unknown.
    pub(crate) memory: Option<u64>,
}

impl Resources {
    /// Asks the system, after raising the limit of descriptors as far as it goes, up to what `config` can use.
    pub(crate) fn of_this_machine(config: &Config) -> Self {
        let wanted = descriptors_for(config.media.max_legs, connections_wanted(config));
        let descriptors =
            unisono_rtp::net::descriptor_limit(wanted).map_or(1024, |limit| limit.available);
        Self {
            descriptors,
            memory: available_memory(),
        }
    }
}

impl Capacity {
    pub(crate) fn new(config: &Config, resources: Resources) -> Self {
        let media = &config.media;
        let descriptors = resources.descriptors.saturating_sub(OTHER_DESCRIPTORS);
        let connections_wanted = connections_wanted(config);
        let connections = u64::from(connections_wanted).min(if media.shared_port.is_some() {
            descriptors
        } else {
            // What all legs leave over, but where there is little a connection for each leg: a phone on TCP takes three.
            let left_over = descriptors.saturating_sub(2 * u64::from(media.max_legs));
            left_over.max(descriptors / 3)
        });
        let descriptors = (descriptors - connections) / 2;
        let memory = resources
            .memory
            .map_or(u64::MAX, |bytes| bytes / LEG_MEMORY);
        // Legs on a shared port take neither ports nor descriptors. Those that cannot share find out when there are no more.
        let own = |legs: u64| match media.shared_port {
            Some(_) => u64::MAX,
            None => legs,
        };
        let candidates = [
            (u64::from(media.max_legs), None),
            (own(media.port_pairs().into()), Some(Limit::Ports)),
            (own(descriptors), Some(Limit::Descriptors)),
            (memory, Some(Limit::Memory)),
        ];
        let (legs, limit) = candidates
            .into_iter()
            .min_by_key(|(legs, _)| *legs)
            .unwrap_or((0, None));
        Self {
            legs: u32::try_from(legs).unwrap_or(u32::MAX),
            wanted: media.max_legs,
            connections: connections as u32,
            connections_wanted,
            limit,
        }
    }

    /// The limit of open files under which all configured legs could be served, as far as that is concerned, whatever
    /// transport their phones use.
    pub fn descriptors_wanted(&self) -> u64 {
        descriptors_for(self.wanted, self.connections_wanted)
    }
}

fn connections_wanted(config: &Config) -> u32 {
    if config.sip.tcp {
        MAX_CONNECTIONS as u32
    } else {
        0
    }
}

fn descriptors_for(legs: u32, connections: u32) -> u64 {
    u64::from(legs) * 2 + u64::from(connections) + OTHER_DESCRIPTORS
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            legs,
            wanted,
            limit,
            ..
        } = self;
        match limit {
            None => write!(f, "{legs}"),
            Some(limit) => write!(f, "{legs} of the {wanted} configured: {limit}"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ports => "widen [media] first_port..last_port; a leg takes an even UDP port and the next",
            Self::Descriptors => {
                "the limit of open files; raise it with LimitNOFILE= in the unit file or ulimit -n, two a leg and one a TCP connection"
            }
            Self::Memory => "the free memory",
        })
    }
}

/// What can still be had: the machine's, or the control group's if that is less.
fn available_memory() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("MemAvailable:"))?;
            Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
        });
    let read = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/{name}"))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let group =
        read("memory.max").map(|max| max.saturating_sub(read("memory.current").unwrap_or(0)));
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Media;

    const PLENTY: Resources = Resources {
        descriptors: 1 << 20,
        memory: Some(1 << 40),
    };

    fn with(media: Media) -> Config {
        Config {
            media,
            ..Config::default()
        }
    }

    fn few_files() -> Resources {
        Resources {
            descriptors: 1024,
            ..PLENTY
        }
    }

    #[test]
    fn the_defaults_carry_ten_thousand_legs_where_the_machine_does() {
        let capacity = Capacity::new(&Config::default(), PLENTY);
        assert_eq!((capacity.legs, capacity.limit), (10_000, None));
        assert_eq!(capacity.connections, 12_000);
    }

    #[test]
    fn whatever_is_scarcest_limits_and_is_named() {
        let config = Config::default();
        let few_files = Capacity::new(&config, few_files());
        assert_eq!(
            (few_files.legs, few_files.limit),
            (213, Some(Limit::Descriptors))
        );
        assert!(few_files.to_string().contains("LimitNOFILE"));
        let enough = Resources {
            descriptors: few_files.descriptors_wanted(),
            ..PLENTY
        };
        let enough = Capacity::new(&config, enough);
        assert_eq!((enough.legs, enough.limit), (10_000, None));
        let little_memory = Resources {
            memory: Some(64 << 20),
            ..PLENTY
        };
        let little_memory = Capacity::new(&config, little_memory);
        assert_eq!(
            (little_memory.legs, little_memory.limit),
            (2048, Some(Limit::Memory))
        );
        let few_ports = with(Media {
            first_port: 20_000,
            last_port: 20_009,
            ..Media::default()
        });
        let few_ports = Capacity::new(&few_ports, PLENTY);
        assert_eq!((few_ports.legs, few_ports.limit), (5, Some(Limit::Ports)));
    }

    #[test]
    fn legs_on_a_shared_port_take_no_descriptors() {
        let shared = with(Media {
            shared_port: Some(50_000),
            first_port: 20_000,
            last_port: 20_009,
            ..Media::default()
        });
        let capacity = Capacity::new(&shared, few_files());
        assert_eq!((capacity.legs, capacity.connections), (10_000, 640));
    }

    #[test]
    fn phones_on_tcp_have_descriptors_for_their_connections() {
        let mut config = Config::default();
        for descriptors in [1024, 4096, 20_256, 32_384, 65_536] {
            let resources = Resources {
                descriptors,
                ..PLENTY
            };
            let capacity = Capacity::new(&config, resources);
            assert!(capacity.connections >= capacity.legs, "{capacity:?}");
            let taken = descriptors_for(capacity.legs, capacity.connections);
            assert!(taken <= descriptors, "{capacity:?}");
        }
        config.media.max_legs = 100;
        let small = Capacity::new(&config, few_files());
        assert_eq!((small.legs, small.connections), (100, 440));
        config.sip.tcp = false;
        config.media.max_legs = 10_000;
        let by_udp = Capacity::new(&config, few_files());
        assert_eq!((by_udp.legs, by_udp.connections), (320, 0));
        assert!(by_udp.descriptors_wanted() < 21_000);
    }
}
