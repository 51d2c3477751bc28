//! Who else wants the CPU: the hypervisor's other guests, and programs here.

use super::tree::Tree;

/// How busy the machine is, and how much of it somebody else took.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default)
)]
#[non_exhaustive]
pub struct PressureFacts {
    /// Time of all CPUs since boot.
    pub cpu_time: Option<CpuTime>,
    /// Share of that which the hypervisor gave to others while it was wanted here, 0 to 1. Hypervisors need not tell.
    pub steal_share: Option<f64>,
    /// Mean number of programs that ran or wanted to, over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
    /// Share of the last 10 s in which some program waited for a CPU, 0 to 1.
    pub cpu_some: Option<f64>,
    /// Share of the last 10 s in which some program waited for memory, 0 to 1.
    pub memory_some: Option<f64>,
    /// Share of the last 10 s in which all programs did, 0 to 1.
    pub memory_full: Option<f64>,
    /// Share of the last 10 s in which some program waited for a disk, 0 to 1.
    pub io_some: Option<f64>,
    /// Share of the last 10 s in which all programs did, 0 to 1.
    pub io_full: Option<f64>,
}

/// Time of all CPUs together since boot, in the kernel's steps of 10 ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct CpuTime {
    /// Spent on programs, the kernel and interrupts.
    pub busy: u64,
    /// Spent idle.
    pub idle: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
}

impl CpuTime {
    /// The share that was stolen since `earlier`, 0 to 1; `None` when no time has passed.
    pub fn steal_share_since(&self, earlier: &Self) -> Option<f64> {
        let passed = |now: u64, then: u64| now.saturating_sub(then) as f64;
        let steal = passed(self.steal, earlier.steal);
        let all = steal + passed(self.busy, earlier.busy) + passed(self.idle, earlier.idle);
        (all > 0.0).then(|| steal / all)
    }
}

impl PressureFacts {
    pub(super) fn read(tree: Tree<'_>) -> Self {
        let cpu_time = tree
            .text("/proc/stat")
            .and_then(|stat| cpu_time(stat.lines().next()?));
        let stall = |resource: &str, who: &str| {
            let text = tree.text(&format!("/proc/pressure/{resource}"))?;
            stalled(&text, who)
        };
        Self {
            cpu_time,
            steal_share: cpu_time.and_then(|time| time.steal_share_since(&CpuTime::default())),
            load: tree.line("/proc/loadavg").and_then(|line| load(&line)),
            cpu_some: stall("cpu", "some"),
            memory_some: stall("memory", "some"),
            memory_full: stall("memory", "full"),
            io_some: stall("io", "some"),
            io_full: stall("io", "full"),
        }
    }
}

/// From the line `cpu` of `/proc/stat`. Guests' time is contained in that of programs.
fn cpu_time(line: &str) -> Option<CpuTime> {
    let columns = line.strip_prefix("cpu ")?.split_whitespace();
    let columns: Vec<u64> = columns.map_while(|column| column.parse().ok()).collect();
    let [user, nice, system, idle, wait, irq, softirq, steal, ..] = columns[..] else {
        return None;
    };
    let sum = |times: &[u64]| {
        times
            .iter()
            .try_fold(0_u64, |sum, &time| sum.checked_add(time))
    };
    Some(CpuTime {
        busy: sum(&[user, nice, system, irq, softirq])?,
        idle: sum(&[idle, wait])?,
        steal,
    })
}

fn load(line: &str) -> Option<[f64; 3]> {
    let mut means = line.split_whitespace().map(|word| word.parse().ok());
    Some([means.next()??, means.next()??, means.next()??])
}

/// `avg10` of the line that begins with `who`, as a share.
fn stalled(text: &str, who: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(who)?.strip_prefix(' '))?;
    let percent: f64 = line
        .split(' ')
        .find_map(|word| word.strip_prefix("avg10="))?
        .parse()
        .ok()?;
    Some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_a_share_of_all_time() {
        let then = cpu_time("cpu  10 0 10 70 10 0 0 0 0 0").unwrap();
        let now = cpu_time("cpu  20 5 15 90 10 3 2 55 7 0").unwrap();
        assert_eq!((then.busy, then.idle, then.steal), (20, 80, 0));
        assert_eq!((now.busy, now.idle, now.steal), (45, 100, 55));
        assert_eq!(now.steal_share_since(&then), Some(0.55));
        assert_eq!(now.steal_share_since(&now), None);
        // Counters of a machine that was migrated may go back.
        assert_eq!(then.steal_share_since(&now), None);
    }

    #[test]
    fn an_odd_line_is_none() {
        assert_eq!(cpu_time("cpu  1 2 3 4 5 6 7"), None);
        assert_eq!(cpu_time("cpu0 1 2 3 4 5 6 7 8"), None);
        assert_eq!(load("0.1 0.2"), None);
        assert_eq!(load("0.63 0.22 0.55 1/90 7576"), Some([0.63, 0.22, 0.55]));
    }

    #[test]
    fn stalls_are_the_means_over_ten_seconds() {
        let text = "some avg10=9.50 avg60=3.59 avg300=1.04 total=5852918112\n\
                    full avg10=0.25 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(stalled(text, "some"), Some(0.095));
        assert_eq!(stalled(text, "full"), Some(0.0025));
        assert_eq!(stalled("", "some"), None);
    }
}
