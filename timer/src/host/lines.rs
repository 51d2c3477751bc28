//! The facts in words: one line a topic.

use std::fmt;

use super::{
    ClockFacts, Cloud, Container, ControlGroupFacts, CpuFacts, CpuQuota, HostFacts, Hypervisor,
    KernelFacts, Limit, MemoryFacts, Preemption, PressureFacts, Provider, RightsFacts, Seccomp,
    TickMode, Virtualization,
};

impl HostFacts {
    /// Each topic with what is known of it, for reports. A topic of which nothing is known says so.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let lines = [
            ("machine", machine(&self.virtualization)),
            ("CPUs", cpus(&self.cpus)),
            ("kernel", kernel(&self.kernel)),
            ("clock", clock(&self.clock)),
            ("rights", rights(&self.rights)),
            ("real time", real_time(&self.rights, &self.control_group)),
            ("CPU quota", quota(&self.control_group)),
            ("pressure", pressure(&self.pressure)),
            ("memory", memory(&self.memory)),
        ];
        lines
            .into_iter()
            .map(|(label, parts)| (label, parts.joined()))
            .collect()
    }
}

impl fmt::Display for HostFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lines();
        let width = lines.iter().map(|(label, _)| label.len()).max();
        for (index, (label, value)) in lines.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(
                f,
                "{end}{label:<width$}  {value}",
                width = width.unwrap_or(0)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.provider)?;
        if let Some(size) = &self.instance_type {
            write!(f, " {size}")?;
        }
        if let Some(name) = &self.instance_id {
            write!(f, " ({name})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ec2 => "Amazon EC2",
            Self::Gce => "Google Compute Engine",
            Self::Azure => "Microsoft Azure",
        })
    }
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Xen => "Xen",
            Self::HyperV => "Hyper-V",
            Self::Vmware => "VMware",
            Self::VirtualBox => "VirtualBox",
            Self::Qemu => "QEMU",
            Self::Bhyve => "bhyve",
            Self::Parallels => "Parallels",
            Self::Apple => "Apple Virtualization",
            Self::Acrn => "ACRN",
            Self::Other => "unknown",
        })
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Kubernetes => "Kubernetes",
            Self::Lxc => "LXC",
            Self::SystemdNspawn => "systemd-nspawn",
            Self::Other => "another kind",
        })
    }
}

impl fmt::Display for Preemption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Voluntary => "voluntary",
            Self::Lazy => "lazy",
            Self::Full => "full",
            Self::Realtime => "PREEMPT_RT",
        })
    }
}

impl fmt::Display for TickMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Periodic => "ticks always",
            Self::TicklessIdle => "tickless when idle",
            Self::TicklessFull => "built for tickless CPUs",
        })
    }
}

/// A sentence in the making: what is not known is left out.
#[derive(Default)]
struct Parts(Vec<String>);

impl Parts {
    fn add(&mut self, part: impl Into<String>) {
        self.0.push(part.into());
    }

    fn maybe(&mut self, part: Option<impl Into<String>>) {
        self.0.extend(part.map(Into::into));
    }

    fn joined(self) -> String {
        if self.0.is_empty() {
            "not told".to_owned()
        } else {
            self.0.join(", ")
        }
    }
}

fn machine(facts: &Virtualization) -> Parts {
    let mut parts = Parts::default();
    match (facts.guest, facts.hypervisor) {
        (_, Some(Hypervisor::Other)) => {
            let name = facts
                .signature
                .as_deref()
                .unwrap_or("an unknown hypervisor");
            parts.add(format!("guest of {name}"));
        }
        (_, Some(hypervisor)) => parts.add(format!("{hypervisor} guest")),
        (Some(true), None) => parts.add("guest of an unknown hypervisor"),
        (Some(false), None) => parts.add("no hypervisor"),
        (None, None) => {}
    }
    if let Some(cloud) = &facts.cloud {
        parts.add(cloud.to_string());
    } else {
        let name = [&facts.vendor, &facts.product];
        let name: Vec<&str> = name.into_iter().flatten().map(String::as_str).collect();
        parts.maybe((!name.is_empty()).then(|| name.join(" ")));
    }
    parts.maybe(facts.container.map(|kind| match kind {
        Container::Other => "in a container".to_owned(),
        kind => format!("in a container ({kind})"),
    }));
    parts
}

fn cpus(facts: &CpuFacts) -> Parts {
    let mut parts = Parts::default();
    parts.maybe(facts.model.as_deref());
    match (facts.online_count(), facts.allowed_count()) {
        (Some(online), Some(allowed)) if allowed < online => {
            let list = facts.allowed.as_deref().unwrap_or_default();
            parts.add(format!("{online} CPUs, {allowed} of them allowed ({list})"));
        }
        (Some(1), _) => parts.add("1 CPU"),
        (Some(online), _) => parts.add(format!("{online} CPUs")),
        _ => {}
    }
    for (list, what) in [
        (&facts.isolated, "isolated"),
        (&facts.tickless, "nohz_full"),
    ] {
        parts.maybe(
            list.as_deref()
                .filter(|list| !list.is_empty())
                .map(|list| format!("{what} {list}")),
        );
    }
    if let Some(state) = &facts.deepest_idle {
        let driver = facts.idle_driver.as_deref().unwrap_or("unknown driver");
        parts.add(format!(
            "idle down to {} ({driver}; {} us to wake)",
            state.name, state.exit_latency_us
        ));
    }
    parts.maybe(
        facts
            .frequency_governor
            .as_deref()
            .map(|governor| format!("governor {governor}")),
    );
    parts
}

fn kernel(facts: &KernelFacts) -> Parts {
    let mut parts = Parts::default();
    parts.maybe(facts.release.as_deref());
    parts.maybe(facts.preemption.map(|mode| match mode {
        Preemption::Realtime => "PREEMPT_RT".to_owned(),
        mode => format!("preemption {mode}"),
    }));
    parts.maybe(facts.hz.map(|hz| format!("HZ {hz}")));
    parts.maybe(facts.tick.map(|mode| mode.to_string()));
    parts.maybe(facts.high_resolution_timers.map(|active| {
        if active {
            "high resolution timers"
        } else {
            "NO high resolution timers"
        }
    }));
    parts
}

fn clock(facts: &ClockFacts) -> Parts {
    let mut parts = Parts::default();
    parts.maybe(facts.source.as_deref());
    if let (Some(read), Some(syscall), Some(in_user_space)) =
        (facts.read_ns, facts.syscall_ns, facts.in_user_space)
    {
        parts.add(if in_user_space {
            format!("{read:.0} ns a reading in user space (system call {syscall:.0} ns)")
        } else {
            format!("{read:.0} ns a reading, each a system call")
        });
    }
    let others: Vec<&str> = facts
        .available
        .iter()
        .map(String::as_str)
        .filter(|&name| Some(name) != facts.source.as_deref())
        .collect();
    parts.maybe((!others.is_empty()).then(|| format!("also {}", others.join(" "))));
    if let Some(tsc) = &facts.tsc {
        let promises = [
            (tsc.constant, "constant"),
            (tsc.nonstop, "nonstop"),
            (tsc.known_frequency, "known_freq"),
            (tsc.reliable, "reliable"),
        ];
        let kept: Vec<&str> = promises
            .into_iter()
            .filter_map(|(kept, name)| kept.then_some(name))
            .collect();
        parts.add(if kept.is_empty() {
            "TSC promises nothing".to_owned()
        } else {
            format!("TSC {}", kept.join(" "))
        });
    }
    parts
}

fn rights(facts: &RightsFacts) -> Parts {
    let mut parts = Parts::default();
    parts.maybe(facts.user.map(|user| match user {
        0 => "root".to_owned(),
        user => format!("user {user}"),
    }));
    let capabilities = [
        (facts.cap_sys_nice, "CAP_SYS_NICE"),
        (facts.cap_ipc_lock, "CAP_IPC_LOCK"),
        (facts.cap_sys_resource, "CAP_SYS_RESOURCE"),
    ];
    let held: Vec<&str> = capabilities
        .into_iter()
        .filter_map(|(held, name)| (held == Some(true)).then_some(name))
        .collect();
    if !held.is_empty() {
        parts.add(held.join(" "));
    } else if facts.cap_sys_nice.is_some() {
        parts.add("no capability that counts here");
    }
    let plain: fn(u64) -> String = |value| value.to_string();
    let limits = [
        ("RTPRIO", facts.realtime_priority, plain),
        ("MEMLOCK", facts.locked_memory, bytes as fn(u64) -> String),
        ("NOFILE", facts.open_files, plain),
        ("RTTIME", facts.realtime_time_us, |us| format!("{us} us")),
    ];
    for (name, limit, show) in limits {
        let Some(Limit { hard, .. }) = limit else {
            continue;
        };
        match hard {
            // As good as everywhere, and harmless.
            None if name == "RTTIME" => {}
            None => parts.add(format!("{name} unlimited")),
            Some(hard) => parts.add(format!("{name} {}", show(hard))),
        }
    }
    parts.maybe(match facts.seccomp {
        Some(Seccomp::Filter | Seccomp::Strict) => Some("filter of system calls (seccomp)"),
        _ => None,
    });
    parts.maybe((facts.user_namespace == Some(true)).then_some("in a user namespace"));
    parts
}

fn real_time(rights: &RightsFacts, group: &ControlGroupFacts) -> Parts {
    let mut parts = Parts::default();
    parts.maybe(rights.realtime_share().map(|share| {
        if share >= 1.0 {
            "may take all of the CPUs' time (no throttling)".to_owned()
        } else {
            format!("may take {} of the CPUs' time", percent(share))
        }
    }));
    parts.maybe(group.realtime_runtime_us.map(|runtime| {
        let name = group.name.as_deref().unwrap_or("?");
        let period = group
            .realtime_period_us
            .map_or_else(String::new, |period| format!(" of each {period} us"));
        format!("budget of the group {name}: {runtime}{period}")
    }));
    parts
}

fn quota(facts: &ControlGroupFacts) -> Parts {
    let mut parts = Parts::default();
    match facts.quota {
        Some(CpuQuota::Unlimited) => parts.add("none"),
        Some(CpuQuota::Cpus(cpus)) => parts.add(format!("{cpus:.2} CPUs")),
        None => return parts,
    }
    if let (Some(throttled @ 1..), Some(periods)) = (facts.throttled_periods, facts.periods) {
        let time = facts.throttled_ns.map_or_else(String::new, |ns| {
            format!(", {:.1} s in all", ns as f64 / 1e9)
        });
        parts.add(format!("used up in {throttled} of {periods} periods{time}"));
    }
    parts
}

fn pressure(facts: &PressureFacts) -> Parts {
    let mut parts = Parts::default();
    parts.maybe(
        facts
            .steal_share
            .map(|share| format!("steal {} since boot", percent(share))),
    );
    parts.maybe(
        facts
            .load
            .map(|[one, five, fifteen]| format!("load {one:.2} {five:.2} {fifteen:.2}")),
    );
    let stalls = [
        (facts.cpu_some, "CPU"),
        (facts.memory_some, "memory"),
        (facts.io_some, "disk"),
    ];
    let stalls: Vec<String> = stalls
        .into_iter()
        .filter_map(|(share, what)| Some(format!("{what} {}", percent(share?))))
        .collect();
    parts.maybe((!stalls.is_empty()).then(|| format!("waits {}", stalls.join(", "))));
    parts
}

fn memory(facts: &MemoryFacts) -> Parts {
    let mut parts = Parts::default();
    match (facts.total, facts.available) {
        (Some(total), Some(available)) => {
            parts.add(format!("{} free of {}", bytes(available), bytes(total)));
        }
        (Some(total), None) => parts.add(bytes(total)),
        _ => {}
    }
    match (facts.swap_total, facts.swap_used) {
        (Some(0), _) => parts.add("no swap"),
        (Some(total), Some(used)) => {
            let swappiness = facts
                .swappiness
                .map_or_else(String::new, |value| format!(" (swappiness {value})"));
            parts.add(format!(
                "swap {} used of {}{swappiness}",
                bytes(used),
                bytes(total)
            ));
        }
        _ => {}
    }
    parts.maybe(
        facts
            .transparent_huge_pages
            .as_deref()
            .map(|mode| format!("huge pages {mode}")),
    );
    parts
}

/// With one decimal below ten percent.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent > 0.0 && percent < 9.95 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// In the greatest unit that leaves a digit before the point.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.into_iter().find(|(size, _)| count >= *size);
    unit.map_or_else(
        || format!("{count} bytes"),
        |(size, name)| format!("{:.1} {name}", count as f64 / size as f64),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_is_known_of_says_so() {
        for (label, value) in HostFacts::default().lines() {
            assert_eq!(value, "not told", "{label}");
        }
    }

    #[test]
    fn the_block_is_aligned() {
        let block = HostFacts::read().to_string();
        for line in block.lines() {
            let (label, value) = line.split_at(11);
            assert!(label.ends_with("  "), "{line}");
            assert!(!value.starts_with(' '), "{line}");
        }
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.0042), "0.4 %");
        assert_eq!(percent(0.95), "95 %");
        assert_eq!(bytes(8 << 20), "8.0 MiB");
        assert_eq!(bytes(12), "12 bytes");
    }
}
