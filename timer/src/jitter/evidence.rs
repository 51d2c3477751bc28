//! What the kernel counts for the measuring thread, from tick to tick.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::sched::sched_getcpu;
use nix::sys::resource::{UsageWho, getrusage};

use super::cause::Evidence;
use crate::clock::MonoTime;

/// Reads the calling thread's counters and tells what changed. Allocates only when made.
pub(super) struct Probe {
    /// `None` where the kernel keeps no such figures.
    run_delay: Option<RunDelay>,
    minor_faults: u64,
    major_faults: u64,
    involuntary_switches: u64,
    cpu: u32,
}

impl Probe {
    /// For the calling thread, whose counters are read from now on.
    pub(super) fn of_this_thread() -> Self {
        let mut probe = Self {
            run_delay: RunDelay::open(),
            minor_faults: 0,
            major_faults: 0,
            involuntary_switches: 0,
            cpu: current_cpu(),
        };
        probe.read_usage();
        probe
    }

    /// The CPU it last saw the thread on.
    pub(super) const fn cpu(&self) -> u32 {
        self.cpu
    }

    /// What changed since the last call. `late`: the tick is an outlier, for which costly figures are read too.
    pub(super) fn changes(&mut self, late: bool) -> Evidence {
        let cpu = current_cpu();
        let cpu_before = std::mem::replace(&mut self.cpu, cpu);
        let before = (
            self.minor_faults,
            self.major_faults,
            self.involuntary_switches,
        );
        self.read_usage();
        Evidence {
            run_delay_ns: self
                .run_delay
                .as_mut()
                .and_then(|run_delay| run_delay.since_last(late)),
            minor_faults: self.minor_faults.saturating_sub(before.0),
            major_faults: self.major_faults.saturating_sub(before.1),
            involuntary_switches: self.involuntary_switches.saturating_sub(before.2),
            migrated: (cpu != cpu_before).then_some((cpu_before, cpu)),
            ..Evidence::default()
        }
    }

    fn read_usage(&mut self) {
        // Never refused, short of a seccomp filter without it; then the counters stand still.
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) {
            self.minor_faults = usage.minor_page_faults() as u64;
            self.major_faults = usage.major_page_faults() as u64;
            self.involuntary_switches = usage.involuntary_context_switches() as u64;
        }
    }
}

/// Time that the thread was ready to run but had no CPU: the second figure of `schedstat`. It includes what
/// the hypervisor took while the thread waited.
struct RunDelay {
    schedstat: File,
    last_ns: u64,
    /// Read every so many ticks, 1 where it is cheap.
    stride: u32,
    ticks: u32,
}

impl RunDelay {
    fn open() -> Option<Self> {
        let schedstat = File::open("/proc/thread-self/schedstat").ok()?;
        let last_ns = read_run_delay(&schedstat)?;
        let stride = if cost_of_reading(&schedstat) <= CHEAP {
            1
        } else {
            COSTLY_STRIDE
        };
        Some(Self {
            schedstat,
            last_ns,
            stride,
            ticks: 0,
        })
    }

    /// The delay since it was last read: the tick before, or some ticks before where reading is costly.
    fn since_last(&mut self, late: bool) -> Option<u64> {
        self.ticks += 1;
        if self.ticks < self.stride && !late {
            return None;
        }
        self.ticks = 0;
        let now = read_run_delay(&self.schedstat)?;
        let last = std::mem::replace(&mut self.last_ns, now);
        Some(now.saturating_sub(last))
    }
}

fn read_run_delay(schedstat: &File) -> Option<u64> {
    let mut text = [0; 96];
    let length = schedstat.read_at(&mut text, 0).ok()?;
    parse_run_delay(text.get(..length)?)
}

/// Time run, time delayed, and how often it got a CPU: 0 in a running thread where the kernel does not count.
fn parse_run_delay(schedstat: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(schedstat).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1);
    let delay = fields.next()?.parse().ok()?;
    let turns: u64 = fields.next()?.parse().ok()?;
    (turns > 0).then_some(delay)
}

/// The median of some readings.
fn cost_of_reading(schedstat: &File) -> Duration {
    let mut costs = [Duration::ZERO; 31];
    for cost in &mut costs {
        let start = MonoTime::now();
        let _ = read_run_delay(schedstat);
        *cost = MonoTime::now().since(start);
    }
    costs.sort_unstable();
    costs[costs.len() / 2]
}

/// The CPU that the caller runs on.
pub(super) fn current_cpu() -> u32 {
    // Read from memory that the kernel shares, or by a system call that is never refused.
    sched_getcpu().map_or(0, |cpu| cpu as u32)
}

const CHEAP: Duration = Duration::from_micros(5);
const COSTLY_STRIDE: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_run_delay_is_the_second_figure() {
        assert_eq!(parse_run_delay(b"2924397 1234 56\n"), Some(1234));
        assert_eq!(parse_run_delay(b"0 2924397 1\n"), Some(2_924_397));
        assert_eq!(parse_run_delay(b"0 0 0\n"), None);
        for odd in [&b""[..], b"1", b"a b c", b"1 -2 3", b"\xff 1 2"] {
            assert_eq!(parse_run_delay(odd), None);
        }
    }

    #[test]
    fn faults_are_counted_from_call_to_call() {
        // A fresh thread, so that nothing else touches memory in it.
        let (touched, again) = std::thread::spawn(|| {
            let mut probe = Probe::of_this_thread();
            probe.changes(false);
            let mut memory = vec![0_u8; 4 << 20];
            for page in memory.chunks_mut(4096) {
                page[0] = 1;
            }
            let touched = probe.changes(true);
            assert!(memory.iter().step_by(4096).all(|&byte| byte == 1));
            (touched, probe.changes(true))
        })
        .join()
        .unwrap();
        // Huge pages make one fault of 512.
        assert!(touched.minor_faults >= 2, "{touched:?}");
        assert!(again.minor_faults < touched.minor_faults, "{again:?}");
    }

    #[test]
    fn costly_figures_are_read_seldom_and_when_late() {
        let mut run_delay = RunDelay::open().expect("the kernel counts run delays");
        run_delay.stride = 4;
        run_delay.ticks = 0;
        let read: Vec<bool> = [false, false, false, false, false, true, false]
            .into_iter()
            .map(|late| run_delay.since_last(late).is_some())
            .collect();
        assert_eq!(read, [false, false, false, true, false, true, false]);
    }
}
