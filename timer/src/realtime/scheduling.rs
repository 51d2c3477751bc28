//! SCHED_FIFO, SCHED_RR and timer slack for the calling thread.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::Resource;

use super::host::{self, SchedulingGroup};
use super::outcome::{Outcome, Refusal, Remedy};
use crate::clock::saturating_nanos;
use crate::scheduler::{self, Fixed};

pub(super) fn set_fixed(class: Fixed, asked: u8) -> Outcome {
    if !(1..=99).contains(&asked) {
        let remedy = Remedy::advice("ask for a priority of 1 to 99");
        return Outcome::refused(Refusal::NoSuchPriority { asked }, remedy);
    }
    let limit = host::raised_limit(Resource::RLIMIT_RTPRIO);
    let privileged = host::has_capability(host::CAP_SYS_NICE);
    // Any real-time priority beats none: take what the limit allows.
    let priority = match u8::try_from(limit) {
        Ok(limit @ 1..) if !privileged => asked.min(limit),
        _ => asked,
    };
    let name = class.name();
    match scheduler::set_fixed(class, priority) {
        Ok(()) if priority == asked => Outcome::granted(format!("{name} priority {asked}")),
        Ok(()) => Outcome::granted(format!(
            "{name} priority {priority} ({asked} was asked, RLIMIT_RTPRIO is {limit})"
        )),
        Err(Errno::EPERM) => why_not_permitted(asked, limit, privileged),
        Err(errno) => kernel_refusal("sched_setscheduler", errno),
    }
}

pub(super) fn set_timer_slack(asked: Duration) -> Outcome {
    // Zero would mean "back to the default".
    let nanos = saturating_nanos(asked).clamp(1, u64::from(u32::MAX));
    match prctl::set_timerslack(nanos as libc::c_ulong) {
        Ok(()) => Outcome::granted(format!("timer slack {:?}", Duration::from_nanos(nanos))),
        Err(Errno::EPERM) if host::is_filtered() => filtered("prctl"),
        Err(errno) => kernel_refusal("prctl", errno),
    }
}

pub(super) fn filtered(call: &'static str) -> Outcome {
    let line = if call == "sched_setscheduler" {
        // The one filter of a unit that looks at policies, and a common one.
        "RestrictRealtime=no".to_owned()
    } else {
        format!("SystemCallFilter={call}")
    };
    let remedy =
        Remedy::unit(line).or_advice("start the container with --security-opt seccomp=unconfined");
    Outcome::refused(Refusal::Seccomp { call }, remedy)
}

pub(super) fn kernel_refusal(call: &'static str, errno: Errno) -> Outcome {
    Outcome::refused(
        Refusal::Kernel { call, errno },
        Remedy::advice(format!("see {call}(2)")),
    )
}

/// Four parties answer EPERM; each leaves another trace.
fn why_not_permitted(asked: u8, limit: u64, privileged: bool) -> Outcome {
    // The kernel lets any thread keep the policy it has. A filter that forbids the call does not.
    if host::is_filtered() && scheduler::keep_policy() == Err(Errno::EPERM) {
        return filtered("sched_setscheduler");
    }
    if limit == 0 && !privileged {
        let namespaced = host::in_user_namespace();
        let unit = Remedy::unit(format!("LimitRTPRIO={asked}"));
        let remedy = if namespaced {
            unit.or_advice(format!("start the container with --ulimit rtprio={asked}"))
        } else {
            unit.or_command(host::setcap_command())
        };
        return Outcome::refused(
            Refusal::RealtimePriority {
                limit,
                asked,
                namespaced,
            },
            remedy,
        );
    }
    let group = SchedulingGroup::of_this_process();
    if let Some(SchedulingGroup {
        name: group,
        budget_file: Some(file),
        runtime_us: runtime_us @ Some(0),
    }) = group
    {
        let command = format!("echo 500000 | sudo tee {}", file.display());
        return Outcome::refused(
            Refusal::RealtimeBudget { group, runtime_us },
            Remedy::command(command),
        );
    }
    if host::is_filtered() {
        return filtered("sched_setscheduler");
    }
    // Under cgroup v2 the budget cannot be read: groups other than the root have none.
    match group {
        Some(SchedulingGroup {
            name: group,
            runtime_us: None,
            ..
        }) if group != "/" => {
            let remedy = Remedy::command("sudo sysctl -w kernel.sched_rt_runtime_us=-1");
            Outcome::refused(
                Refusal::RealtimeBudget {
                    group,
                    runtime_us: None,
                },
                remedy,
            )
        }
        _ => kernel_refusal("sched_setscheduler", Errno::EPERM),
    }
}
