//! Timers and clocks.

use unisono_timer::HostFacts;

use super::super::Finding;

/// Ticks of the kernel that are further apart than this are too coarse for frames of 20 ms, Hz.
const COARSE_HZ: u64 = 100;

/// Clock sources that cannot be read in user space anywhere.
const SLOW_SOURCES: [&str; 5] = ["xen", "hpet", "acpi_pm", "jiffies", "refined-jiffies"];

/// What a reading costs where all is well, ns, at most.
const DEAR_NS: f64 = 1000.0;

pub(super) fn timers(facts: &HostFacts) -> Option<Finding> {
    const TOPIC: &str = "timers";
    if facts.kernel.high_resolution_timers? {
        return Some(Finding::ok(TOPIC, "high resolution"));
    }
    let hz = facts
        .clock
        .resolution_ns
        .filter(|&ns| ns > 1)
        .map(|ns| 1_000_000_000 / ns)
        .or(facts.kernel.hz.map(u64::from));
    let coarse = hz.is_none_or(|hz| hz <= COARSE_HZ);
    let grid = hz.map_or_else(String::new, |hz| {
        format!(
            ", so they expire every {} ms only",
            1000.0 / hz.max(1) as f64
        )
    });
    let found = format!("no high resolution timers{grid}");
    let why = "every tick is late by up to that; at 10 ms half of the frames leave in pairs";
    let finding = if coarse {
        Finding::unfit(TOPIC, found, why)
    } else {
        Finding::warning(TOPIC, found, why)
    };
    Some(finding.advice(
        "remove highres=off and nohz=off from the kernel's command line (/etc/default/grub), or boot a kernel \
         built with CONFIG_HIGH_RES_TIMERS=y",
    ))
}

pub(super) fn clock_source(facts: &HostFacts) -> Option<Finding> {
    const TOPIC: &str = "clock source";
    let clock = &facts.clock;
    let source = clock.source.as_deref()?;
    let slow = clock
        .in_user_space
        .map_or(SLOW_SOURCES.contains(&source), |in_user_space| {
            !in_user_space
        });
    let dear = clock.read_ns.is_some_and(|ns| ns > DEAR_NS);
    let price = clock
        .read_ns
        .map_or_else(String::new, |ns| format!(", {ns:.0} ns a reading"));
    if !slow && !dear {
        return Some(Finding::ok(TOPIC, format!("{source}{price}")));
    }
    let how = if slow {
        "a system call each time"
    } else {
        "far more than the usual 20 to 60 ns"
    };
    let finding = Finding::warning(
        TOPIC,
        format!("{source}{price}: {how}"),
        "each wake-up reads the clock several times, and so does much of what else runs here",
    );
    let better = ["tsc", "kvm-clock", "arch_sys_counter"]
        .into_iter()
        .find(|better| *better != source && clock.available.iter().any(|name| name == better));
    Some(match better {
        Some(better) => finding
            .command(format!(
                "echo {better} | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource"
            ))
            .advice(format!(
                "to keep it over reboots add clocksource={better} to the kernel's command line"
            )),
        None if source == "tsc" || source == "kvm-clock" => finding.advice(
            "the hypervisor or a sandbox (gVisor) intercepts the reading: only another host or instance type helps",
        ),
        None => finding.advice(
            "the kernel offers no better one here: have the host offer a stable TSC (invtsc), or take a newer \
             instance type (on EC2 one of the Nitro system)",
        ),
    })
}
