//! What the kernel grants.

use unisono_timer::host::Container;
use unisono_timer::realtime::Refusal;
use unisono_timer::{HostFacts, Outcome};

use super::super::{Examination, Finding};

/// A smaller share of the CPUs for real-time threads than this is used up by a busy conference.
const LEAST_SHARE: f64 = 0.5;

/// Each part of what a worker asks for.
pub(super) fn granted(examination: &Examination) -> Vec<Finding> {
    let grant = &examination.grant;
    let mut findings = Vec::new();
    if grant.scheduling == Outcome::NotAsked {
        findings.push(
            Finding::warning(
                "real-time priority",
                "not asked for: realtime_priority is false in the configuration",
                "any program that wants the CPU delays a tick, and callers hear gaps",
            )
            .advice("set realtime_priority = 50 under [media]"),
        );
    }
    for (part, outcome) in grant.parts() {
        let topic = topic_of_part(part);
        match outcome {
            Outcome::NotAsked => {}
            Outcome::Granted { detail } => findings.push(Finding::ok(topic, detail)),
            Outcome::Refused { reason, remedy } => {
                let finding = Finding::warning(
                    topic,
                    format!("refused: {reason}"),
                    why(topic, &examination.facts),
                );
                let finding = for_container(finding, reason, &examination.facts);
                findings.push(finding.remedied_by(remedy));
            }
        }
    }
    findings
}

/// The kernel's limit on all real-time threads together.
pub(super) fn realtime_share(facts: &HostFacts) -> Option<Finding> {
    const TOPIC: &str = "real-time throttling";
    let share = facts.rights.realtime_share()?;
    let percent = share * 100.0;
    if share < LEAST_SHARE {
        return Some(
            Finding::warning(
                TOPIC,
                format!("real-time threads may use {percent:.0} % of a CPU"),
                "a worker that has used it up stands still for the rest of the second",
            )
            .command("sudo sysctl -w kernel.sched_rt_runtime_us=950000"),
        );
    }
    Some(Finding::ok(
        TOPIC,
        if share >= 1.0 {
            "off; unisono's own watchdog demotes a worker that runs away".to_owned()
        } else {
            format!("beyond {percent:.0} % of a CPU, which no worker reaches")
        },
    ))
}

/// What a part of a real-time grant is called in findings; the parts' own names may be worded anew.
pub(crate) fn topic_of_part(part: &'static str) -> &'static str {
    match part {
        "scheduling" => "real-time priority",
        "CPU" => "CPU affinity",
        part => part,
    }
}

fn why(topic: &str, facts: &HostFacts) -> String {
    match topic {
        "real-time priority" => {
            "any program that wants the CPU delays a tick, and callers hear gaps".to_owned()
        }
        "memory lock" => {
            let swapped = facts.memory.swap_used.is_some_and(|used| used > 0);
            let swapping = if swapped {
                "; this machine is swapping already"
            } else {
                ""
            };
            format!(
                "a page that was dropped has to come from disk in the middle of a tick{swapping}"
            )
        }
        "CPU affinity" => "the worker shares CPUs with whatever else runs here".to_owned(),
        _ => "ticks are less punctual than they could be".to_owned(),
    }
}

/// A container is granted rights where it is started.
fn for_container(finding: Finding, refusal: &Refusal, facts: &HostFacts) -> Finding {
    if !matches!(
        refusal,
        Refusal::RealtimePriority { .. } | Refusal::LockedMemory { .. }
    ) {
        return finding;
    }
    let flags = "--cap-add=SYS_NICE --ulimit rtprio=99 --ulimit memlock=-1";
    match facts.virtualization.container {
        Some(Container::Docker) => finding.command(format!("docker run {flags} ...")),
        Some(Container::Podman) => finding.command(format!("podman run {flags} ...")),
        Some(Container::Kubernetes) => finding.advice(
            "in the pod: securityContext: {runAsUser: 0, capabilities: {add: [SYS_NICE, IPC_LOCK]}}",
        ),
        _ => finding,
    }
}
