//! The clock source, and what a reading of it costs.

use super::clock_cost::ClockCost;
use super::tree::{Tree, field};

/// The clock behind CLOCK_MONOTONIC.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct ClockFacts {
    /// The clock source in use, such as `tsc`, `kvm-clock`, `xen`, `hpet`, `arch_sys_counter`.
    pub source: Option<String>,
    /// Those that could be used, the best first.
    pub available: Vec<String>,
    /// What one reading of CLOCK_MONOTONIC costs, ns: median of many batches.
    pub read_ns: Option<f64>,
    /// What the same costs as a system call, ns.
    pub syscall_ns: Option<f64>,
    /// Whether a reading stays in user space (vDSO): it costs clearly less than the system call.
    pub in_user_space: Option<bool>,
    /// Resolution of timers, ns: 1 with high resolution timers, else one period of the kernel's tick.
    pub resolution_ns: Option<u64>,
    /// What the CPU's time stamp counter promises; `None` where there is none.
    pub tsc: Option<TscFlags>,
}

/// Promises of an x86 CPU's time stamp counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TscFlags {
    /// It runs at one rate, whatever the CPU's frequency (`constant_tsc`).
    pub constant: bool,
    /// It runs on while the CPU sleeps deeply (`nonstop_tsc`).
    pub nonstop: bool,
    /// Its rate is told, not measured at boot (`tsc_known_freq`).
    pub known_frequency: bool,
    /// The hypervisor or the maker vouches for it (`tsc_reliable`).
    pub reliable: bool,
}

impl ClockFacts {
    pub(super) fn read(tree: Tree<'_>, cost: Option<ClockCost>) -> Self {
        let folder = "/sys/devices/system/clocksource/clocksource0";
        let available = tree
            .line(&format!("{folder}/available_clocksource"))
            .unwrap_or_default();
        Self {
            source: tree.line(&format!("{folder}/current_clocksource")),
            available: available.split_whitespace().map(str::to_owned).collect(),
            read_ns: cost.map(|cost| cost.read_ns),
            syscall_ns: cost.map(|cost| cost.syscall_ns),
            in_user_space: cost.map(|cost| cost.in_user_space()),
            resolution_ns: cost.and_then(|cost| cost.resolution_ns),
            tsc: tree
                .text("/proc/cpuinfo")
                .and_then(|cpus| tsc_flags(field(&cpus, "flags")?)),
        }
    }
}

fn tsc_flags(flags: &str) -> Option<TscFlags> {
    let has = |name: &str| flags.split(' ').any(|flag| flag == name);
    has("tsc").then(|| TscFlags {
        constant: has("constant_tsc"),
        nonstop: has("nonstop_tsc"),
        known_frequency: has("tsc_known_freq"),
        reliable: has("tsc_reliable"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_promises_are_flags_of_the_cpu() {
        let flags = tsc_flags("fpu tsc constant_tsc nonstop_tsc sse").unwrap();
        assert!(flags.constant && flags.nonstop);
        assert!(!flags.known_frequency && !flags.reliable);
        assert_eq!(tsc_flags("fp asimd evtstrm"), None);
        // Another flag that merely begins so.
        assert_eq!(tsc_flags("tsc_deadline_timer"), None);
    }
}
