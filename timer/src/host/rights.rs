//! What the kernel lets this process do: limits, capabilities, filters.

use super::tree::{Tree, field};

/// Rights of this process that bear on punctuality.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct RightsFacts {
    /// Its effective user.
    pub user: Option<u32>,
    /// Greatest real-time priority, RLIMIT_RTPRIO.
    pub realtime_priority: Option<Limit>,
    /// CPU time without a sleep that a real-time thread may use, us, RLIMIT_RTTIME.
    pub realtime_time_us: Option<Limit>,
    /// Memory that may be locked, bytes, RLIMIT_MEMLOCK.
    pub locked_memory: Option<Limit>,
    /// Open files, RLIMIT_NOFILE.
    pub open_files: Option<Limit>,
    /// CAP_SYS_NICE is effective: any real-time priority.
    pub cap_sys_nice: Option<bool>,
    /// CAP_IPC_LOCK is effective: any amount of locked memory.
    pub cap_ipc_lock: Option<bool>,
    /// CAP_SYS_RESOURCE is effective: limits may be raised.
    pub cap_sys_resource: Option<bool>,
    /// It is in another user namespace than the system's first, where capabilities count for less.
    pub user_namespace: Option<bool>,
    /// Filter of system calls.
    pub seccomp: Option<Seccomp>,
    /// CPU time that all real-time threads together may use in each period, us; -1 is all of it.
    pub realtime_runtime_us: Option<i64>,
    /// The period of that, us.
    pub realtime_period_us: Option<i64>,
}

/// A resource limit. `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Limit {
    /// In force now.
    pub soft: Option<u64>,
    /// To which the process may raise it.
    pub hard: Option<u64>,
}

/// Filter of system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Seccomp {
    /// There is none.
    Off,
    /// Only read, write and exit.
    Strict,
    /// A program decides, as in containers and hardened units.
    Filter,
}

impl RightsFacts {
    pub(super) fn read(tree: Tree<'_>) -> Self {
        const CAP_IPC_LOCK: u32 = 14;
        const CAP_SYS_NICE: u32 = 23;
        const CAP_SYS_RESOURCE: u32 = 24;

        let limits = tree.text("/proc/self/limits").unwrap_or_default();
        let status = tree.text("/proc/self/status").unwrap_or_default();
        let effective = field(&status, "CapEff").and_then(|set| u64::from_str_radix(set, 16).ok());
        let has = |bit: u32| effective.map(|set| set >> bit & 1 == 1);
        Self {
            user: field(&status, "Uid").and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok()),
            realtime_priority: limit(&limits, "Max realtime priority"),
            realtime_time_us: limit(&limits, "Max realtime timeout"),
            locked_memory: limit(&limits, "Max locked memory"),
            open_files: limit(&limits, "Max open files"),
            cap_sys_nice: has(CAP_SYS_NICE),
            cap_ipc_lock: has(CAP_IPC_LOCK),
            cap_sys_resource: has(CAP_SYS_RESOURCE),
            user_namespace: tree
                .text("/proc/self/uid_map")
                .map(|map| !map.split_whitespace().eq(["0", "0", "4294967295"])),
            seccomp: field(&status, "Seccomp").and_then(|mode| match mode {
                "0" => Some(Seccomp::Off),
                "1" => Some(Seccomp::Strict),
                "2" => Some(Seccomp::Filter),
                _ => None,
            }),
            realtime_runtime_us: tree.number("/proc/sys/kernel/sched_rt_runtime_us"),
            realtime_period_us: tree.number("/proc/sys/kernel/sched_rt_period_us"),
        }
    }

    /// The share of the CPUs that real-time threads may use, 0 to 1.
    pub fn realtime_share(&self) -> Option<f64> {
        match (self.realtime_runtime_us?, self.realtime_period_us) {
            (runtime, _) if runtime < 0 => Some(1.0),
            (runtime, Some(period @ 1..)) => Some((runtime as f64 / period as f64).min(1.0)),
            _ => None,
        }
    }
}

fn limit(limits: &str, name: &str) -> Option<Limit> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut columns = line.split_whitespace();
    Some(Limit {
        soft: bound(columns.next()?)?,
        hard: bound(columns.next()?)?,
    })
}

/// The inner `None` is "unlimited".
fn bound(word: &str) -> Option<Option<u64>> {
    if word == "unlimited" {
        Some(None)
    } else {
        word.parse().ok().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Limit                     Soft Limit           Hard Limit           Units
Max open files            1024                 524288               files
Max realtime priority     0                    0
Max realtime timeout      unlimited            unlimited            us
Max locked memory         nonsense             8388608              bytes
";

    #[test]
    fn limits_are_read_by_name() {
        let found = |name| limit(LIMITS, name);
        assert_eq!(
            found("Max open files"),
            Some(Limit {
                soft: Some(1024),
                hard: Some(524_288)
            })
        );
        assert_eq!(
            found("Max realtime timeout"),
            Some(Limit {
                soft: None,
                hard: None
            })
        );
        assert_eq!(found("Max locked memory"), None);
        assert_eq!(found("Max file locks"), None);
    }

    #[test]
    fn the_share_of_real_time_threads_is_runtime_by_period() {
        let share = |runtime, period| {
            RightsFacts {
                realtime_runtime_us: runtime,
                realtime_period_us: period,
                ..RightsFacts::default()
            }
            .realtime_share()
        };
        assert_eq!(share(Some(950_000), Some(1_000_000)), Some(0.95));
        assert_eq!(share(Some(-1), Some(1_000_000)), Some(1.0));
        assert_eq!(share(Some(-1), None), Some(1.0));
        assert_eq!(share(Some(950_000), Some(0)), None);
        assert_eq!(share(None, Some(1_000_000)), None);
    }
}
