//! SCHED_DEADLINE for the calling thread.

use std::time::Duration;

use nix::errno::Errno;

use super::host;
use super::outcome::{Outcome, Refusal, Remedy};
use super::scheduling::{filtered, kernel_refusal};
use crate::clock::saturating_nanos;
use crate::scheduler;

pub(super) fn set(runtime: Duration, period: Duration) -> Outcome {
    let bounds = Refusal::DeadlineBounds { runtime, period };
    let impossible = Remedy::advice(format!(
        "ask for 1.024 us or more of runtime, for a period of at least that (kernel.sched_deadline_period_min_us, \
         kernel.sched_deadline_period_max_us: {})",
        host::deadline_periods()
    ));
    if runtime < SHORTEST_RUNTIME || period < runtime {
        return Outcome::refused(bounds, impossible);
    }
    match scheduler::set_deadline(saturating_nanos(runtime), saturating_nanos(period)) {
        Ok(()) => Outcome::granted(format!("SCHED_DEADLINE {runtime:?} in every {period:?}")),
        Err(Errno::EINVAL) => Outcome::refused(bounds, impossible),
        Err(Errno::EBUSY) => {
            let remedy = Remedy::advice(
                "ask for less runtime; kernel.sched_rt_runtime_us bounds the sum of all that is promised",
            );
            Outcome::refused(Refusal::DeadlineAdmission { runtime, period }, remedy)
        }
        Err(Errno::EPERM) => why_not_permitted(),
        Err(errno) => kernel_refusal(CALL, errno),
    }
}

/// The thread may not run on every CPU that its admission was or would be reckoned with.
pub(super) fn narrowed() -> Outcome {
    let remedy = Remedy::advice(
        "do not pin a SCHED_DEADLINE thread; a cpuset that is a root partition of its own \
         (cpuset.cpus.partition) keeps it on its CPUs",
    );
    let allowed = host::allowed_cpu_list();
    Outcome::refused(Refusal::DeadlineAffinity { allowed }, remedy)
}

/// Three parties answer EPERM. A filter that forbids the call forbids changing nothing by it, too.
fn why_not_permitted() -> Outcome {
    if host::is_filtered() && scheduler::keep_attributes() == Err(Errno::EPERM) {
        return filtered(CALL);
    }
    if !host::has_capability(host::CAP_SYS_NICE) {
        let namespaced = host::in_user_namespace();
        let remedy =
            Remedy::unit("AmbientCapabilities=CAP_SYS_NICE").or_command(host::setcap_command());
        return Outcome::refused(Refusal::DeadlineCapability { namespaced }, remedy);
    }
    if host::online_cpu_list().is_some_and(|online| online != host::allowed_cpu_list()) {
        return narrowed();
    }
    kernel_refusal(CALL, Errno::EPERM)
}

/// The kernel reckons in units of 1,024 ns.
const SHORTEST_RUNTIME: Duration = Duration::from_nanos(1_024);
const CALL: &str = "sched_setattr";
