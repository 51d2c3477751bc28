//! How many legs this machine carries: the configured number, or what ports, descriptors or memory allow.

use std::fmt;

use crate::config::Media;

/// Descriptors for all but the legs: SIP, HTTP, timers, standard streams.
const OTHER_DESCRIPTORS: u64 = 256;

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
    /// What limits them to fewer than configured, if anything does.
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
    /// Asks the system, after raising the limit of descriptors as far as it goes, up to what `media` can use.
    pub(crate) fn of_this_machine(media: &Media) -> Self {
        let wanted = descriptors_for(media.max_legs);
        let descriptors =
            unisono_rtp::net::descriptor_limit(wanted).map_or(1024, |limit| limit.available);
        Self {
            descriptors,
            memory: available_memory(),
        }
    }
}

impl Capacity {
    pub(crate) fn new(media: &Media, resources: Resources) -> Self {
        let descriptors = resources.descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
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
            limit,
        }
    }

    /// The limit of open files under which all configured legs could be served, as far as that is concerned.
    pub fn descriptors_wanted(&self) -> u64 {
        descriptors_for(self.wanted)
    }
}

fn descriptors_for(legs: u32) -> u64 {
    u64::from(legs) * 2 + OTHER_DESCRIPTORS
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            legs,
            wanted,
            limit,
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
                "the limit of open files; raise it with LimitNOFILE= in the unit file or ulimit -n, two a leg"
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

    const PLENTY: Resources = Resources {
        descriptors: 1 << 20,
        memory: Some(1 << 40),
    };

    #[test]
    fn the_defaults_carry_ten_thousand_legs_where_the_machine_does() {
        let capacity = Capacity::new(&Media::default(), PLENTY);
        assert_eq!((capacity.legs, capacity.limit), (10_000, None));
    }

    #[test]
    fn whatever_is_scarcest_limits_and_is_named() {
        let media = Media::default();
        let capacity = |resources| Capacity::new(&media, resources);
        let few_files = capacity(Resources {
            descriptors: 1024,
            ..PLENTY
        });
        assert_eq!(
            (few_files.legs, few_files.limit),
            (384, Some(Limit::Descriptors))
        );
        assert!(few_files.to_string().contains("LimitNOFILE"));
        let enough = capacity(Resources {
            descriptors: few_files.descriptors_wanted(),
            ..PLENTY
        });
        assert_eq!((enough.legs, enough.limit), (10_000, None));
        let little_memory = capacity(Resources {
            memory: Some(64 << 20),
            ..PLENTY
        });
        assert_eq!(
            (little_memory.legs, little_memory.limit),
            (2048, Some(Limit::Memory))
        );
        let shared = Media {
            shared_port: Some(50_000),
            first_port: 20_000,
            last_port: 20_009,
            ..Media::default()
        };
        let few_files = Resources {
            descriptors: 1024,
            ..PLENTY
        };
        assert_eq!(Capacity::new(&shared, few_files).legs, 10_000);
        let few_ports = Media {
            first_port: 20_000,
            last_port: 20_009,
            ..Media::default()
        };
        assert_eq!(Capacity::new(&few_ports, PLENTY).limit, Some(Limit::Ports));
        assert_eq!(Capacity::new(&few_ports, PLENTY).legs, 5);
    }
}
