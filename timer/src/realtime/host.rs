//! What `/proc` says about this process's rights. Parsing is separate from reading, and takes any text.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Bit of CAP_SYS_NICE in a capability set.
pub(super) const CAP_SYS_NICE: u32 = 23;
/// Bit of CAP_IPC_LOCK in a capability set.
pub(super) const CAP_IPC_LOCK: u32 = 14;

/// Whether the calling thread has a capability that counts in the whole system: one held in a user
/// namespace only does not.
pub(super) fn has_capability(bit: u32) -> bool {
    !in_user_namespace() && effective_capabilities(&thread_status()) >> bit & 1 == 1
}

/// Whether the process is in another user namespace than the system's first.
pub(super) fn in_user_namespace() -> bool {
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !maps_every_user(&map))
}

/// Whether a seccomp filter bears on the calling thread.
pub(super) fn is_filtered() -> bool {
    status_field(&thread_status(), "Seccomp").is_some_and(|mode| mode == "2")
}

/// The processors the kernel lets the calling thread choose among, as a list of ranges.
pub(super) fn allowed_cpu_list() -> String {
    status_field(&thread_status(), "Cpus_allowed_list")
        .unwrap_or("unknown")
        .to_owned()
}

/// The processors that are online, as a list of ranges; `None` where `/sys` does not tell.
pub(super) fn online_cpu_list() -> Option<String> {
    let list = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    Some(list.trim().to_owned())
}

/// Whether idle processors are put to sleep by a driver that keeps to latency limits. Where `/sys` does not
/// tell, there may be one.
pub(super) fn has_idle_driver() -> bool {
    match fs::read_to_string("/sys/devices/system/cpu/cpuidle/current_driver") {
        Ok(driver) => driver.trim() != "none",
        Err(_) => !Path::new("/sys/devices/system/cpu/online").exists(),
    }
}

/// The periods that SCHED_DEADLINE takes, for a person.
pub(super) fn deadline_periods() -> String {
    let bound = |end| {
        let file = format!("/proc/sys/kernel/sched_deadline_period_{end}_us");
        fs::read_to_string(file).map_or_else(|_| "unknown".to_owned(), |us| us.trim().to_owned())
    };
    format!("{} to {} us", bound("min"), bound("max"))
}

/// Bytes of address space mapped.
pub(super) fn mapped_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status_field(&status, "VmSize")
        .and_then(|size| size.strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Raises the soft limit to the hard one, which needs no privilege, and returns it.
/// `libc::RLIM_INFINITY` is no limit.
pub(super) fn raised_limit(resource: Resource) -> u64 {
    let Ok((soft, hard)) = getrlimit(resource) else {
        return 0;
    };
    if soft < hard && setrlimit(resource, hard, hard).is_ok() {
        hard
    } else {
        soft
    }
}

/// The command that gives the running program what it may lack.
pub(super) fn setcap_command() -> String {
    format!("sudo setcap cap_sys_nice,cap_ipc_lock=ep {}", program())
}

/// The path of the running program, for a command line.
fn program() -> String {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("PROGRAM"));
    quoted(&path.to_string_lossy())
}

/// The control group that schedules this process.
pub(super) struct SchedulingGroup {
    /// As in `/proc/self/cgroup`.
    pub(super) name: String,
    /// Where its real-time budget is, under cgroup v1.
    pub(super) budget_file: Option<PathBuf>,
    /// Its real-time budget in microseconds a period, under cgroup v1.
    pub(super) runtime_us: Option<i64>,
}

impl SchedulingGroup {
    /// `None` where `/proc` does not tell.
    pub(super) fn of_this_process() -> Option<Self> {
        let groups = fs::read_to_string("/proc/thread-self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let (name, version_1) = cpu_group(&groups)?;
        let directory = if version_1 {
            cpu_group_directory(&mounts, name)
        } else {
            None
        };
        let budget_file = directory.map(|directory| directory.join("cpu.rt_runtime_us"));
        let runtime_us = budget_file
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        Some(Self {
            name: name.to_owned(),
            budget_file,
            runtime_us,
        })
    }
}

fn thread_status() -> String {
    fs::read_to_string("/proc/thread-self/status").unwrap_or_default()
}

fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn effective_capabilities(status: &str) -> u64 {
    status_field(status, "CapEff")
        .and_then(|set| u64::from_str_radix(set, 16).ok())
        .unwrap_or(0)
}

fn maps_every_user(uid_map: &str) -> bool {
    uid_map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The group of the cpu controller and whether it is of cgroup v1.
fn cpu_group(groups: &str) -> Option<(&str, bool)> {
    let mut unified = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if controllers.split(',').any(|controller| controller == "cpu") {
            return Some((path, true));
        }
        if id == "0" && controllers.is_empty() {
            unified = Some((path, false));
        }
    }
    unified
}

/// Where the cgroup v1 hierarchy of the cpu controller shows `group`.
fn cpu_group_directory(mountinfo: &str, group: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        let is_cgroup = filesystem.next() == Some("cgroup");
        let has_cpu = filesystem.nth(1)?.split(',').any(|option| option == "cpu");
        if !is_cgroup || !has_cpu {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        // Under a mount of part of the hierarchy only what lies below that part can be seen.
        let below = if root == "/" {
            group
        } else {
            group.strip_prefix(root)?
        };
        Some(PathBuf::from(point).join(below.trim_start_matches('/')))
    })
}

/// In single quotes where a shell would otherwise read more into it.
fn quoted(path: &str) -> String {
    let plain = path
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_from_the_status() {
        let status =
            "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t0000000000804000\nSeccomp:\t2\n";
        let set = effective_capabilities(status);
        assert_eq!(set, 1 << CAP_SYS_NICE | 1 << CAP_IPC_LOCK);
        assert_eq!(status_field(status, "Seccomp"), Some("2"));
        assert_eq!(status_field(status, "Cap"), None);
        assert_eq!(effective_capabilities("CapEff:\tnonsense"), 0);
    }

    #[test]
    fn a_partial_user_map_is_a_namespace() {
        assert!(maps_every_user("         0          0 4294967295\n"));
        assert!(!maps_every_user("         0       1000          1\n"));
        assert!(!maps_every_user(""));
    }

    #[test]
    fn the_cpu_group_is_found_in_version_1_then_2() {
        assert_eq!(
            cpu_group("3:cpuset:/\n1:cpu,cpuacct:/a:b\n0::/u\n"),
            Some(("/a:b", true))
        );
        assert_eq!(
            cpu_group("3:cpuset:/\n0::/user.slice\n"),
            Some(("/user.slice", false))
        );
        assert_eq!(cpu_group("garbage\n3:cpuset:/"), None);
    }

    #[test]
    fn the_cpu_hierarchy_is_found_among_the_mounts() {
        let mounts = "25 21 0:22 / /proc rw - proc proc rw\n\
                      31 30 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                      32 30 0:28 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n";
        let found = cpu_group_directory(mounts, "/voice/one").unwrap();
        assert_eq!(found, PathBuf::from("/sys/fs/cgroup/cpu/voice/one"));
        assert_eq!(
            cpu_group_directory(mounts, "/").unwrap(),
            PathBuf::from("/sys/fs/cgroup/cpu")
        );
        let container = mounts.replace("0:28 / ", "0:28 /docker/1 ");
        let found = cpu_group_directory(&container, "/docker/1/voice").unwrap();
        assert_eq!(found, PathBuf::from("/sys/fs/cgroup/cpu/voice"));
        assert_eq!(cpu_group_directory(&container, "/elsewhere"), None);
        assert_eq!(cpu_group_directory("31 30", "/"), None);
    }

    #[test]
    fn odd_paths_are_quoted_for_a_shell() {
        assert_eq!(quoted("/usr/bin/unisono"), "/usr/bin/unisono");
        assert_eq!(quoted("/home/a b/it's"), r"'/home/a b/it'\''s'");
    }
}
