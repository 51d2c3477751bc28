//! The processors: which may be used, how deeply they sleep, how fast they run.

use super::tree::{Tree, field};

/// Processors of the machine and of this process.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct CpuFacts {
    /// What the first one calls itself.
    pub model: Option<String>,
    /// Those that run, as a list of ranges such as `0-3,8`.
    pub online: Option<String>,
    /// Those this process may use, as a list of ranges.
    pub allowed: Option<String>,
    /// Those the scheduler leaves alone (`isolcpus=`, cpuset partitions), as a list of ranges; empty when none.
    pub isolated: Option<String>,
    /// Those without ticks while one program runs (`nohz_full=`), as a list of ranges; empty when none.
    pub tickless: Option<String>,
    /// What puts idle CPUs to sleep, such as `intel_idle` or `haltpoll`.
    pub idle_driver: Option<String>,
    /// What chooses how deeply, such as `menu` or `teo`.
    pub idle_governor: Option<String>,
    /// The deepest sleep that is not disabled, on the first CPU that may be used.
    pub deepest_idle: Option<IdleState>,
    /// What sets the frequency of that CPU, such as `intel_pstate`.
    pub frequency_driver: Option<String>,
    /// What chooses it, such as `performance` or `schedutil`.
    pub frequency_governor: Option<String>,
}

/// One way of a CPU to sleep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct IdleState {
    /// Its number in `/sys/devices/system/cpu/cpu*/cpuidle/state*`.
    pub number: u32,
    /// Its name, such as `C6`.
    pub name: String,
    /// How long it takes to wake from it, us.
    pub exit_latency_us: u32,
}

impl CpuFacts {
    pub(super) fn read(tree: Tree<'_>) -> Self {
        let folder = "/sys/devices/system/cpu";
        // An empty list is an answer.
        let list = |name: &str| Some(tree.text(&format!("{folder}/{name}"))?.trim().to_owned());
        let status = tree.text("/proc/self/status");
        let allowed =
            status.and_then(|status| field(&status, "Cpus_allowed_list").map(str::to_owned));
        let first = allowed.as_deref().and_then(first_of).unwrap_or(0);
        Self {
            model: tree
                .text("/proc/cpuinfo")
                .and_then(|text| field(&text, "model name").map(str::to_owned))
                .or_else(|| tree.line("/proc/device-tree/model")),
            online: list("online"),
            allowed,
            isolated: list("isolated"),
            // The kernel writes "(null)" when it was built for it and none is.
            tickless: list("nohz_full").map(|list| list.replace("(null)", "")),
            idle_driver: tree.line(&format!("{folder}/cpuidle/current_driver")),
            idle_governor: ["current_governor_ro", "current_governor"]
                .iter()
                .find_map(|name| tree.line(&format!("{folder}/cpuidle/{name}"))),
            deepest_idle: deepest_idle(tree, &format!("{folder}/cpu{first}/cpuidle")),
            frequency_driver: tree.line(&format!("{folder}/cpu{first}/cpufreq/scaling_driver")),
            frequency_governor: tree.line(&format!("{folder}/cpu{first}/cpufreq/scaling_governor")),
        }
    }

    /// How many run.
    pub fn online_count(&self) -> Option<usize> {
        count(self.online.as_deref()?)
    }

    /// How many this process may use.
    pub fn allowed_count(&self) -> Option<usize> {
        count(self.allowed.as_deref()?)
    }
}

fn deepest_idle(tree: Tree<'_>, folder: &str) -> Option<IdleState> {
    let states = tree.names(folder).into_iter().filter_map(|state| {
        let number = state.strip_prefix("state")?.parse().ok()?;
        let enabled = tree.number::<u32>(&format!("{folder}/{state}/disable")) != Some(1);
        enabled.then_some(IdleState {
            number,
            name: tree.line(&format!("{folder}/{state}/name"))?,
            exit_latency_us: tree.number(&format!("{folder}/{state}/latency"))?,
        })
    });
    states.max_by_key(|state| (state.exit_latency_us, state.number))
}

fn first_of(list: &str) -> Option<u32> {
    list.split([',', '-']).next()?.parse().ok()
}

/// How many a list of ranges has; `None` if it is no such list.
fn count(list: &str) -> Option<usize> {
    list.split(',')
        .map(|range| match range.split_once('-') {
            None => range.parse::<usize>().ok().map(|_| 1),
            Some((first, last)) => {
                let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
                last.checked_sub(first)?.checked_add(1)
            }
        })
        .try_fold(0_usize, |sum, range| sum.checked_add(range?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted() {
        assert_eq!(count("0-3,8"), Some(5));
        assert_eq!(count("7"), Some(1));
        for nonsense in ["", "a", "3-1", "0-99999999999999999999"] {
            assert_eq!(count(nonsense), None, "{nonsense}");
        }
        assert_eq!(first_of("4-7,9"), Some(4));
        assert_eq!(first_of(""), None);
    }
}
