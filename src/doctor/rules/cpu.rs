//! CPUs: quota, credits, others who want them, how deeply they sleep, how fast they run.

use unisono_timer::HostFacts;
use unisono_timer::host::{Container, CpuQuota};

use super::super::{Beat, Examination, Finding};
use crate::jitter::percent;

/// Share of the measurement that the quota may take, from which on it is heard.
const UNFIT_THROTTLED: f64 = 0.01;

/// Waking from deeper sleep than this shows in the lateness, us.
const DEEP_IDLE_US: u32 = 500;

/// Some program waited for a CPU in this share of the last ten seconds.
const CONTENDED: f64 = 0.2;

/// A quota of less leaves a worker without CPU for most of each period.
const LEAST_CPUS: f64 = 1.0;

pub(super) fn quota(examination: &Examination, beat: Option<&Beat>) -> Option<Finding> {
    const TOPIC: &str = "CPU quota";
    let facts = &examination.facts;
    let group = &facts.control_group;
    let CpuQuota::Cpus(cpus) = group.quota? else {
        return Some(Finding::ok(TOPIC, "none"));
    };
    let now = beat
        .and_then(|beat| beat.figures.throttled_share)
        .unwrap_or(0.0);
    let periods = group.throttled_periods.unwrap_or(0);
    let why = "once it is used up all threads stand still for the rest of its 100 ms, whatever their priority: \
               a gap for all callers at once";
    let finding = if now > UNFIT_THROTTLED {
        let found = format!(
            "{cpus:.2} CPUs, and used up for {} of the time measured",
            percent(now)
        );
        Finding::unfit(TOPIC, found, why)
    } else if now > 0.0 || periods > 0 {
        let found = format!("{cpus:.2} CPUs, and used up in {periods} periods so far");
        Finding::warning(TOPIC, found, why)
    } else if cpus < LEAST_CPUS {
        Finding::warning(TOPIC, format!("{cpus:.2} CPUs, less than one"), why)
    } else if cpus < examination.workers as f64 {
        let found = format!(
            "{cpus:.2} CPUs, and {} media workers may use them up",
            examination.workers
        );
        Finding::warning(TOPIC, found, why)
    } else {
        return Some(Finding::ok(TOPIC, format!("{cpus:.2} CPUs, never used up")));
    };
    Some(match facts.virtualization.container {
        Some(Container::Kubernetes) => finding.advice(
            "remove resources.limits.cpu from the pod and keep resources.requests.cpu (whole numbers)",
        ),
        Some(Container::Docker) => finding
            .command("docker update --cpu-quota=-1 CONTAINER")
            .advice("start the container without --cpus; --cpuset-cpus limits it without stopping it"),
        Some(Container::Podman) => finding
            .command("podman update --cpu-quota=-1 CONTAINER")
            .advice("start the container without --cpus; --cpuset-cpus limits it without stopping it"),
        _ => finding
            .unit_line("CPUQuota=")
            .advice("limit it with CPUWeight= or CPUAffinity= instead, which never stop it"),
    })
}

pub(super) fn burstable(facts: &HostFacts) -> Option<Finding> {
    let cloud = facts.virtualization.cloud.as_ref()?;
    if !cloud.is_burstable() {
        return None;
    }
    let size = cloud.instance_type.as_deref().unwrap_or("burstable");
    let name = cloud.instance_id.as_deref().unwrap_or("INSTANCE-ID");
    Some(
        Finding::warning(
            "instance type",
            format!("{size} runs on CPU credits"),
            "once they are used up the host takes most of the CPU away; until then all looks well",
        )
        .command(format!(
            "aws ec2 modify-instance-credit-specification --instance-credit-specifications \
             InstanceId={name},CpuCredits=unlimited"
        ))
        .advice("or take a type with whole CPUs, such as c7i, m7i or c7g"),
    )
}

pub(super) fn contention(examination: &Examination) -> Option<Finding> {
    const TOPIC: &str = "other programs";
    let waited = examination.facts.pressure.cpu_some?;
    let found = format!(
        "some program waited for a CPU in {} of the last 10 s",
        percent(waited)
    );
    if waited <= CONTENDED || examination.grant.realtime_granted() {
        return Some(Finding::ok(TOPIC, found));
    }
    Some(
        Finding::warning(
            TOPIC,
            found,
            "without real-time priority the media workers wait with the others",
        )
        .unit_line("CPUWeight=1000")
        .advice("see with 'top' who else is at work here"),
    )
}

pub(super) fn idle_states(facts: &HostFacts) -> Option<Finding> {
    const TOPIC: &str = "idle states";
    let deepest = facts.cpus.deepest_idle.as_ref()?;
    let found = format!(
        "{} takes {} us to wake from",
        deepest.name, deepest.exit_latency_us
    );
    if deepest.exit_latency_us < DEEP_IDLE_US {
        return Some(Finding::ok(TOPIC, found));
    }
    Some(
        Finding::warning(
            TOPIC,
            found,
            "a CPU that sleeps so deeply is late by that at every tick, most of all when little is going on",
        )
        .command(format!("sudo cpupower idle-set -D {DEEP_IDLE_US}"))
        .command(format!(
            "echo 1 | sudo tee /sys/devices/system/cpu/cpu*/cpuidle/state{}/disable",
            deepest.number
        )),
    )
}

pub(super) fn frequency(facts: &HostFacts) -> Option<Finding> {
    const TOPIC: &str = "CPU frequency";
    let governor = facts.cpus.frequency_governor.as_deref()?;
    let driver = facts.cpus.frequency_driver.as_deref().unwrap_or_default();
    // These drivers call it "powersave" when the CPU chooses by itself, which is well.
    let chooses = driver.starts_with("intel_pstate") || driver.starts_with("amd-pstate");
    if governor != "powersave" || chooses {
        return Some(Finding::ok(TOPIC, governor));
    }
    Some(
        Finding::warning(
            TOPIC,
            "powersave keeps the CPU at its lowest frequency",
            "mixing takes two or three times as long, so fewer callers fit in a tick",
        )
        .command("sudo cpupower frequency-set -g performance"),
    )
}
