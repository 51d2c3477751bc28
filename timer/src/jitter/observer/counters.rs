//! What the kernel counts for the whole machine, and for the process's control groups.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::super::record::HostSample;
use crate::clock::MonoTime;
use crate::host::control_group_folders;

/// Files that are opened once and read again and again, each from its start.
pub(super) struct HostCounters {
    stat: Option<File>,
    /// One for each level of the control group hierarchy that counts throttling.
    throttling: Vec<File>,
    pressure: Option<File>,
    vmstat: Option<File>,
    text: Box<[u8]>,
}

impl HostCounters {
    /// Opens what there is; what is missing is never told.
    pub(super) fn open() -> Self {
        let throttling = control_group_folders().into_iter();
        let throttling =
            throttling.filter_map(|folder| File::open(format!("{folder}/cpu.stat")).ok());
        let mut counters = Self {
            stat: File::open("/proc/stat").ok(),
            throttling: throttling.collect(),
            pressure: File::open("/proc/pressure/cpu").ok(),
            vmstat: File::open("/proc/vmstat").ok(),
            text: vec![0; TEXT_BYTES].into(),
        };
        let text = &mut counters.text;
        counters
            .throttling
            .retain(|file| read(Some(file), text).and_then(throttled_ns).is_some());
        counters
    }

    /// All counters since the machine or the group was made. `at_ns` is 0.
    pub(super) fn read(&mut self) -> HostSample {
        let taken = self.read_taken();
        let text = &mut self.text;
        HostSample {
            cpu_stall_ns: read(self.pressure.as_ref(), text).and_then(stall_ns),
            major_faults: read(self.vmstat.as_ref(), text).and_then(major_faults),
            ..taken
        }
    }

    /// Only CPU time that was used, stolen and withheld.
    pub(super) fn read_taken(&mut self) -> HostSample {
        let text = &mut self.text;
        let cpu = read(self.stat.as_ref(), text).and_then(cpu_times);
        let levels = self.throttling.iter();
        let levels = levels.filter_map(|file| read(Some(file), text).and_then(throttled_ns));
        HostSample {
            steal_ns: cpu.map(|cpu| cpu.steal_ns),
            throttled_ns: levels.reduce(u64::saturating_add),
            busy_ns: cpu.map(|cpu| cpu.busy_ns),
            ..HostSample::default()
        }
    }

    /// How long [`read_taken`](Self::read_taken) takes when nothing disturbs it: microseconds, or more the more CPUs
    /// and interrupts there are.
    pub(super) fn cost_of_taken(&mut self) -> Duration {
        let costs = (0..5).map(|_| {
            let start = MonoTime::now();
            self.read_taken();
            MonoTime::now().since(start)
        });
        costs.min().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTimes {
    busy_ns: u64,
    steal_ns: u64,
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal, in hundredths of
/// a second. Guests' time is part of user.
fn cpu_times(stat: &str) -> Option<CpuTimes> {
    let mut fields = stat
        .lines()
        .next()?
        .strip_prefix("cpu ")?
        .split_ascii_whitespace();
    let mut ticks = [0_u64; 8];
    for field in &mut ticks {
        *field = fields.next()?.parse().ok()?;
    }
    let [user, nice, system, _idle, _iowait, irq, softirq, steal] = ticks;
    let busy = [user, nice, system, irq, softirq].into_iter();
    let busy = busy.fold(0_u64, u64::saturating_add);
    Some(CpuTimes {
        busy_ns: busy.saturating_mul(NANOS_PER_TICK),
        steal_ns: steal.saturating_mul(NANOS_PER_TICK),
    })
}

/// `throttled_usec` of cgroup v2, or `throttled_time` in ns of v1.
fn throttled_ns(cpu_stat: &str) -> Option<u64> {
    match figure(cpu_stat, "throttled_usec") {
        Some(micros) => Some(micros.saturating_mul(1_000)),
        None => figure(cpu_stat, "throttled_time"),
    }
}

/// `some ... total=` of pressure stall information, in microseconds.
fn stall_ns(pressure: &str) -> Option<u64> {
    let some = pressure
        .lines()
        .find_map(|line| line.strip_prefix("some "))?;
    let total = some.rsplit_once("total=")?.1.trim();
    Some(total.parse::<u64>().ok()?.saturating_mul(1_000))
}

fn major_faults(vmstat: &str) -> Option<u64> {
    figure(vmstat, "pgmajfault")
}

/// The figure after `name` and a space, at the start of a line.
fn figure(text: &str, name: &str) -> Option<u64> {
    let lines = text.lines();
    let mut figures = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    figures.next()?.trim().parse().ok()
}

/// The file's beginning, as far as `text` reaches.
fn read<'a>(file: Option<&File>, text: &'a mut [u8]) -> Option<&'a str> {
    let length = file?.read_at(text, 0).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()
}

/// Enough for all of `/proc/vmstat`, and for the first line of `/proc/stat`.
const TEXT_BYTES: usize = 16 * 1024;
/// USER_HZ is 100 on every architecture but Alpha and Itanium.
const NANOS_PER_TICK: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_stat_is_all_cpus() {
        let stat = "cpu  10 1 20 1000 50 2 3 7 4 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nintr 5\n";
        let times = cpu_times(stat).unwrap();
        assert_eq!(times.busy_ns, (10 + 1 + 20 + 2 + 3) * 10_000_000);
        assert_eq!(times.steal_ns, 70_000_000);
        for odd in [
            "",
            "cpu 1 2 3",
            "cpu0 1 2 3 4 5 6 7 8",
            "cpu  a b c d e f g h",
        ] {
            assert_eq!(cpu_times(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn throttling_is_read_in_both_versions() {
        let version_2 = "usage_usec 9\nnr_throttled 2\nthrottled_usec 1500\nnr_bursts 0\n";
        assert_eq!(throttled_ns(version_2), Some(1_500_000));
        let version_1 = "nr_periods 3\nnr_throttled 2\nthrottled_time 1500\n";
        assert_eq!(throttled_ns(version_1), Some(1_500));
        assert_eq!(throttled_ns("usage_usec 9\n"), None);
    }

    #[test]
    fn pressure_and_faults_are_found() {
        let pressure =
            "some avg10=0.49 avg60=0.41 avg300=0.28 total=5850\nfull avg10=0.00 total=1\n";
        assert_eq!(stall_ns(pressure), Some(5_850_000));
        assert_eq!(stall_ns("some total=x"), None);
        let vmstat = "pgfault 12\npgmajfault 34\npgmajfault_x 56\n";
        assert_eq!(major_faults(vmstat), Some(34));
        assert_eq!(major_faults("pgmajfault_x 56\n"), None);
    }

    #[test]
    fn this_machine_tells_its_cpu_times_and_they_grow() {
        let mut counters = HostCounters::open();
        let first = counters.read();
        let second = counters.read();
        assert!(first.busy_ns.is_some() && first.steal_ns.is_some());
        assert!(second.busy_ns >= first.busy_ns);
        assert!(first.major_faults.is_some() && second.major_faults >= first.major_faults);
    }
}
