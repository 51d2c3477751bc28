//! Pinning the calling thread to one processor.

use std::path::Path;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::outcome::{Outcome, Refusal, Remedy};
use super::scheduling::{filtered, kernel_refusal};
use super::{deadline, host};
use crate::scheduler;

/// The processors this process may use, in ascending order: those its main thread may run on, which is
/// what it was started with (`taskset`, `CPUAffinity=`, a cpuset) unless that thread pinned itself.
///
/// Empty only if the kernel does not tell.
pub fn allowed_cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::this()) else {
        return Vec::new();
    };
    (0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu) == Ok(true))
        .collect()
}

pub(super) fn pin(cpu: usize) -> Outcome {
    // The kernel would let a thread leave the mask that an administrator gave its process.
    let allowed = allowed_cpus();
    if !allowed.is_empty() && !allowed.contains(&cpu) {
        return not_allowed(cpu, ranges(&allowed));
    }
    let mut set = CpuSet::new();
    let pinned = set
        .set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    match pinned {
        Ok(()) => Outcome::granted(format!("CPU {cpu}")),
        Err(Errno::EINVAL) => not_allowed(cpu, host::allowed_cpu_list()),
        // Its admission was reckoned with all CPUs.
        Err(Errno::EBUSY) if scheduler::is_deadline() => deadline::narrowed(),
        Err(Errno::EPERM) if host::is_filtered() => filtered("sched_setaffinity"),
        Err(errno) => kernel_refusal("sched_setaffinity", errno),
    }
}

fn not_allowed(cpu: usize, allowed: String) -> Outcome {
    let advice = format!("choose one of CPU {allowed}");
    // A line for a CPU that is not there would grant nothing.
    let remedy = if Path::new(&format!("/sys/devices/system/cpu/cpu{cpu}")).exists() {
        Remedy::unit(format!("CPUAffinity={allowed},{cpu}")).or_advice(advice)
    } else {
        Remedy::advice(advice)
    };
    Outcome::refused(Refusal::CpuNotAllowed { cpu, allowed }, remedy)
}

/// Ascending numbers as `0-3,5`.
fn ranges(cpus: &[usize]) -> String {
    let runs = cpus.chunk_by(|a, b| a + 1 == *b);
    let words = runs.map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    words.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_listed_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn a_thread_is_pinned_to_an_allowed_processor_and_to_no_other() {
        let allowed = allowed_cpus();
        let outcomes = std::thread::spawn({
            let allowed = allowed.clone();
            // From one to the other: having been pinned does not narrow what is allowed.
            move || {
                allowed
                    .iter()
                    .map(|&cpu| (pin(cpu), sched_getaffinity(Pid::from_raw(0))))
                    .collect::<Vec<_>>()
            }
        });
        for (&cpu, (outcome, set)) in allowed.iter().zip(outcomes.join().unwrap()) {
            assert_eq!(outcome, Outcome::granted(format!("CPU {cpu}")));
            let set = set.unwrap();
            let members: Vec<_> = (0..CpuSet::count())
                .filter(|&n| set.is_set(n) == Ok(true))
                .collect();
            assert_eq!(members, [cpu]);
        }
        for cpu in [allowed.last().unwrap() + 1, CpuSet::count(), usize::MAX] {
            let outcome = std::thread::spawn(move || pin(cpu)).join().unwrap();
            let Outcome::Refused {
                reason:
                    Refusal::CpuNotAllowed {
                        cpu: named,
                        allowed: list,
                    },
                ..
            } = outcome
            else {
                panic!("CPU {cpu}: {outcome}");
            };
            assert_eq!((named, list), (cpu, ranges(&allowed)));
        }
    }
}
