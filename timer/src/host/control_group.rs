//! The control group this process is in, and how much CPU it may use.

use super::tree::{Tree, field};

/// The CPU controller's view of this process.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct ControlGroupFacts {
    /// As in `/proc/self/cgroup`: a container sees its own as `/`.
    pub name: Option<String>,
    /// Version of control groups, 1 or 2.
    pub version: Option<u8>,
    /// How much CPU it may use: the least of its own quota and of those of the groups it is in, as far as they can
    /// be seen.
    pub quota: Option<CpuQuota>,
    /// Periods in which the quota was used up, since the group was made.
    pub throttled_periods: Option<u64>,
    /// Periods in which it ran at all.
    pub periods: Option<u64>,
    /// Time it stood still for its quota, ns, since it was made.
    pub throttled_ns: Option<u64>,
    /// CPU time for its real-time threads in each period, us (version 1, kernels with group budgets).
    pub realtime_runtime_us: Option<i64>,
    /// The period of that, us.
    pub realtime_period_us: Option<i64>,
}

/// How much CPU a group may use.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
pub enum CpuQuota {
    /// As much as there is.
    Unlimited,
    /// So many CPUs' time.
    Cpus(f64),
}

impl ControlGroupFacts {
    pub(super) fn read(tree: Tree<'_>) -> Self {
        let Some(group) = Group::of_this_process(tree) else {
            return Self::default();
        };
        // The group itself, then those it is in: the tightest is the one that throttles.
        let folders = group.folders();
        let tightest = folders
            .iter()
            .filter_map(|folder| Some((folder, quota(tree, folder, group.version)?)))
            .min_by(|(_, one), (_, other)| one.cpus().total_cmp(&other.cpus()));
        let folder = tightest.map_or(&folders[0], |(folder, _)| folder);
        let stat = tree.text(&format!("{folder}/cpu.stat"));
        let counter = |name: &str| -> Option<u64> { field(stat.as_deref()?, name)?.parse().ok() };
        let own = |name: &str| tree.number(&format!("{}/{name}", folders[0]));
        Self {
            quota: tightest.map(|(_, quota)| quota),
            throttled_periods: counter("nr_throttled"),
            periods: counter("nr_periods"),
            throttled_ns: match group.version {
                1 => counter("throttled_time"),
                _ => counter("throttled_usec").and_then(|us| us.checked_mul(1000)),
            },
            realtime_runtime_us: own("cpu.rt_runtime_us"),
            realtime_period_us: own("cpu.rt_period_us"),
            name: Some(group.name),
            version: Some(group.version),
        }
    }
}

/// The folders of the groups whose quotas bear on this process, its own first; none where they cannot be seen.
pub(super) fn folders(tree: Tree<'_>) -> Vec<String> {
    Group::of_this_process(tree).map_or_else(Vec::new, |group| group.folders())
}

impl CpuQuota {
    /// CPUs' worth of time; infinite when there is no quota.
    pub const fn cpus(self) -> f64 {
        match self {
            Self::Unlimited => f64::INFINITY,
            Self::Cpus(cpus) => cpus,
        }
    }
}

/// Where a group is to be found.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    name: String,
    version: u8,
    /// Where its hierarchy is mounted.
    mount: String,
    /// The group's folder below that, without a slash at either end.
    below: String,
}

impl Group {
    fn of_this_process(tree: Tree<'_>) -> Option<Self> {
        let groups = tree.text("/proc/self/cgroup")?;
        Self::find(&groups, &tree.text("/proc/self/mountinfo")?)
    }

    fn find(groups: &str, mounts: &str) -> Option<Self> {
        let (name, version) = cpu_group(groups)?;
        mounts.lines().find_map(|line| {
            let (mount, filesystem) = line.split_once(" - ")?;
            let mut filesystem = filesystem.split(' ');
            let kind = filesystem.next()?;
            let fits = match version {
                1 => {
                    kind == "cgroup" && filesystem.nth(1)?.split(',').any(|option| option == "cpu")
                }
                _ => kind == "cgroup2",
            };
            let mut fields = mount.split(' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            // Under a mount of part of the hierarchy only what lies below that part can be seen.
            let below = name.strip_prefix(root.trim_end_matches('/'))?;
            // A process that was moved out of what its container sees.
            let outside = name.split('/').any(|part| part == "..");
            (fits && !outside).then(|| Self {
                name: name.to_owned(),
                version,
                mount: point.to_owned(),
                below: below.trim_matches('/').to_owned(),
            })
        })
    }

    /// The group's folder and those it is in, up to what can be seen; never empty.
    fn folders(&self) -> Vec<String> {
        let Self { mount, below, .. } = self;
        let mut folders = Vec::new();
        let mut rest = below.as_str();
        while !rest.is_empty() {
            folders.push(format!("{mount}/{rest}"));
            rest = rest.rsplit_once('/').map_or("", |(outer, _)| outer);
        }
        folders.push(mount.clone());
        folders
    }
}

/// The group of the CPU controller, and its version.
fn cpu_group(groups: &str) -> Option<(&str, u8)> {
    let mut unified = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(name)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if controllers.split(',').any(|controller| controller == "cpu") {
            return Some((name, 1));
        }
        if id == "0" && controllers.is_empty() {
            unified = Some((name, 2));
        }
    }
    unified
}

fn quota(tree: Tree<'_>, folder: &str, version: u8) -> Option<CpuQuota> {
    let (runtime, period) = if version == 1 {
        (
            tree.line(&format!("{folder}/cpu.cfs_quota_us"))?,
            tree.number(&format!("{folder}/cpu.cfs_period_us"))?,
        )
    } else {
        let both = tree.line(&format!("{folder}/cpu.max"))?;
        let (runtime, period) = both.split_once(' ')?;
        (runtime.to_owned(), period.parse().ok()?)
    };
    match (runtime.as_str(), period) {
        ("max" | "-1", _) => Some(CpuQuota::Unlimited),
        (runtime, 1_u64..) => Some(CpuQuota::Cpus(
            runtime.parse::<u64>().ok()? as f64 / period as f64,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str =
        "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn a_group_is_found_with_those_it_is_in() {
        let group = Group::find("0::/system.slice/unisono.service\n", UNIFIED).unwrap();
        assert_eq!(group.version, 2);
        assert_eq!(
            group.folders(),
            [
                "/sys/fs/cgroup/system.slice/unisono.service",
                "/sys/fs/cgroup/system.slice",
                "/sys/fs/cgroup"
            ]
        );
        let outermost = Group::find("0::/\n", UNIFIED).unwrap();
        assert_eq!(outermost.folders(), ["/sys/fs/cgroup"]);
    }

    #[test]
    fn version_1_is_taken_where_it_has_the_cpu_controller() {
        let mounts = format!(
            "{UNIFIED}31 30 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
             32 30 0:28 /docker/1 /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
        );
        let groups = "3:cpuset:/x\n1:cpu,cpuacct:/docker/1/voice\n0::/\n";
        let group = Group::find(groups, &mounts).unwrap();
        assert_eq!(group.version, 1);
        assert_eq!(
            group.folders(),
            ["/sys/fs/cgroup/cpu/voice", "/sys/fs/cgroup/cpu"]
        );
    }

    #[test]
    fn a_group_that_cannot_be_seen_is_none() {
        assert_eq!(Group::find("0::/../elsewhere\n", UNIFIED), None);
        let part = UNIFIED.replace("0:30 / ", "0:30 /kubepods/1 ");
        assert_eq!(Group::find("0::/elsewhere\n", &part), None);
        assert_eq!(Group::find("garbage\n", UNIFIED), None);
    }
}
