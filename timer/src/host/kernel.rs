//! The kernel: how it preempts, ticks and times.

use std::io::Read as _;

use flate2::read::GzDecoder;

use super::memory::chosen;
use super::tree::{Tree, field};

/// Most that a kernel's configuration may be when unpacked, bytes.
const LONGEST_CONFIG: u64 = 4 << 20;

/// What the kernel was built with and told at boot.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct KernelFacts {
    /// As `uname -r` says.
    pub release: Option<String>,
    /// What may interrupt a system call that another program makes.
    pub preemption: Option<Preemption>,
    /// Frequency of the kernel's tick, Hz.
    pub hz: Option<u32>,
    /// When a CPU goes without ticks.
    pub tick: Option<TickMode>,
    /// Whether timers expire between ticks. Without, they are late by up to a tick.
    pub high_resolution_timers: Option<bool>,
    /// Whether control groups have real-time budgets of their own (`CONFIG_RT_GROUP_SCHED`).
    pub group_budgets: Option<bool>,
}

/// How readily the kernel gives up the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Preemption {
    /// Never within a system call.
    None,
    /// At certain points.
    Voluntary,
    /// Nearly anywhere, but lets ordinary programs finish their turn.
    Lazy,
    /// Nearly anywhere.
    Full,
    /// Anywhere, interrupt handlers included (PREEMPT_RT).
    Realtime,
}

/// When a CPU goes without the kernel's periodic interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum TickMode {
    /// Never.
    Periodic,
    /// While it is idle.
    TicklessIdle,
    /// Also, where asked for (`nohz_full=`), while one program runs on it.
    TicklessFull,
}

impl KernelFacts {
    /// `resolution_ns` is that of timers, as the C library was told.
    pub(super) fn read(tree: Tree<'_>, resolution_ns: Option<u64>) -> Self {
        let release = tree.line("/proc/sys/kernel/osrelease");
        let config = release
            .as_deref()
            .and_then(|release| configuration(tree, release));
        let config = config.as_deref();
        let arguments = tree.line("/proc/cmdline").unwrap_or_default();
        Self {
            preemption: preemption(tree, config, &arguments),
            hz: config
                .and_then(|config| field_of_config(config, "CONFIG_HZ"))
                .and_then(|hz| hz.parse().ok()),
            tick: config.map(|config| tick_mode(config, &arguments)),
            high_resolution_timers: high_resolution(tree, resolution_ns),
            group_budgets: config.map(|config| is_set(config, "CONFIG_RT_GROUP_SCHED")),
            release,
        }
    }
}

/// The configuration the kernel was built with: its own copy, or the one beside it on disk.
fn configuration(tree: Tree<'_>, release: &str) -> Option<String> {
    let own = tree.bytes("/proc/config.gz").and_then(|packed| {
        let mut text = String::new();
        GzDecoder::new(packed.as_slice())
            .take(LONGEST_CONFIG)
            .read_to_string(&mut text)
            .ok()?;
        Some(text)
    });
    own.or_else(|| tree.text(&format!("/boot/config-{release}")))
        .or_else(|| tree.text(&format!("/lib/modules/{release}/config")))
}

fn field_of_config<'t>(config: &'t str, name: &str) -> Option<&'t str> {
    config
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn is_set(config: &str, name: &str) -> bool {
    field_of_config(config, name) == Some("y")
}

/// The value of `name=value` among the kernel's arguments; the last one counts.
fn argument<'t>(arguments: &'t str, name: &str) -> Option<&'t str> {
    arguments
        .split_whitespace()
        .filter_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        .next_back()
}

fn preemption(tree: Tree<'_>, config: Option<&str>, arguments: &str) -> Option<Preemption> {
    let version = tree.line("/proc/version").unwrap_or_default();
    let built_with = |word: &str| version.split(' ').any(|found| found == word);
    if tree.line("/sys/kernel/realtime").as_deref() == Some("1") || built_with("PREEMPT_RT") {
        return Some(Preemption::Realtime);
    }
    if built_with("PREEMPT") {
        return Some(Preemption::Full);
    }
    if !built_with("PREEMPT_DYNAMIC") {
        let voluntary = is_set(config?, "CONFIG_PREEMPT_VOLUNTARY");
        let lazy = is_set(config?, "CONFIG_PREEMPT_LAZY");
        return Some(match (voluntary, lazy) {
            (true, _) => Preemption::Voluntary,
            (_, true) => Preemption::Lazy,
            _ => Preemption::None,
        });
    }
    // Chosen at boot or since; only root may look.
    let in_force = tree
        .text("/sys/kernel/debug/sched/preempt")
        .and_then(|choices| chosen(&choices));
    if let Some(chosen) = in_force.as_deref().or(argument(arguments, "preempt")) {
        return match chosen {
            "none" => Some(Preemption::None),
            "voluntary" => Some(Preemption::Voluntary),
            "lazy" => Some(Preemption::Lazy),
            "full" => Some(Preemption::Full),
            _ => None,
        };
    }
    let defaults = [
        ("CONFIG_PREEMPT_NONE", Preemption::None),
        ("CONFIG_PREEMPT_VOLUNTARY", Preemption::Voluntary),
        ("CONFIG_PREEMPT_LAZY", Preemption::Lazy),
        ("CONFIG_PREEMPT", Preemption::Full),
    ];
    let config = config?;
    defaults
        .into_iter()
        .find_map(|(name, mode)| is_set(config, name).then_some(mode))
}

fn tick_mode(config: &str, arguments: &str) -> TickMode {
    if argument(arguments, "nohz") == Some("off") {
        TickMode::Periodic
    } else if is_set(config, "CONFIG_NO_HZ_FULL") {
        TickMode::TicklessFull
    } else if is_set(config, "CONFIG_NO_HZ_IDLE") {
        TickMode::TicklessIdle
    } else {
        TickMode::Periodic
    }
}

fn high_resolution(tree: Tree<'_>, resolution_ns: Option<u64>) -> Option<bool> {
    // Only root may read the list, but it says what is in force.
    let listed = tree
        .text("/proc/timer_list")
        .and_then(|list| active_in_list(&list));
    listed.or_else(|| resolution_ns.map(|resolution| resolution == 1))
}

fn active_in_list(list: &str) -> Option<bool> {
    let mut cpus = list
        .lines()
        .filter_map(|line| field(line.trim_start(), ".hres_active"))
        .peekable();
    cpus.peek()?;
    Some(cpus.all(|active| active == "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_argument_of_a_name_counts() {
        assert_eq!(
            argument("quiet preempt=none preempt=full", "preempt"),
            Some("full")
        );
        assert_eq!(argument("quiet", "preempt"), None);
    }

    #[test]
    fn one_cpu_without_high_resolution_timers_is_one_too_many() {
        let list = "cpu: 0\n  .hres_active    : 1\ncpu: 1\n  .hres_active    : 1\n";
        assert_eq!(active_in_list(list), Some(true));
        assert_eq!(
            active_in_list(&list.replacen(": 1\n", ": 0\n", 1)),
            Some(false)
        );
        assert_eq!(active_in_list("Timer List Version: v0.10\n"), None);
    }

    #[test]
    fn a_setting_is_found_by_its_whole_name() {
        let config =
            "CONFIG_HZ_250=y\nCONFIG_HZ=250\n# CONFIG_PREEMPT is not set\nCONFIG_PREEMPT_NONE=y\n";
        assert_eq!(field_of_config(config, "CONFIG_HZ"), Some("250"));
        assert!(!is_set(config, "CONFIG_PREEMPT"));
        assert!(is_set(config, "CONFIG_PREEMPT_NONE"));
        assert_eq!(tick_mode(config, ""), TickMode::Periodic);
        let idle = "CONFIG_NO_HZ_IDLE=y\n";
        assert_eq!(tick_mode(idle, "quiet"), TickMode::TicklessIdle);
        assert_eq!(tick_mode(idle, "nohz=off"), TickMode::Periodic);
    }
}
