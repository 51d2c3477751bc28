//! The rules, with machines that are not at hand.

use unisono_timer::host::{Cloud, Container, CpuQuota, IdleState, Provider};
use unisono_timer::jitter::{Clock, ClockJump, HostSample};
use unisono_timer::{HostFacts, Outcome};

use super::synthetic::{healthy, host_sample, listener, no_lock, no_priority, run};
use super::*;
use crate::control::Limit;

fn texts(finding: &Finding) -> String {
    let remedies = finding.remedies.iter().map(|remedy| match remedy {
        Remedy::UnitLine(text) | Remedy::Command(text) | Remedy::Advice(text) => text.as_str(),
    });
    remedies.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_healthy_machine_is_fit_and_everything_on_it_fine() {
    let diagnosis = Diagnosis::of(&healthy());
    assert_eq!(diagnosis.verdict(), Verdict::Fit);
    for finding in &diagnosis.findings {
        assert_eq!(finding.severity, Severity::Ok, "{finding:?}");
        assert!(finding.why.is_empty() && finding.remedies.is_empty());
        assert!(!finding.found.is_empty());
    }
    assert!(diagnosis.findings.len() >= 10);
}

#[test]
fn a_machine_that_tells_nothing_is_judged_by_what_was_measured() {
    let mut examination = healthy();
    examination.facts = HostFacts::default();
    assert_eq!(Diagnosis::of(&examination).verdict(), Verdict::Fit);
}

/// What is wrong with a machine.
type Harm = fn(&mut Examination);

/// What is done to a healthy machine, the topic that tells of it, how grave it is, and what the remedy names.
const CASES: &[(&str, Harm, &str, Severity, &str)] = &[
    (
        "no real-time priority",
        |it| it.grant.scheduling = no_priority(),
        "real-time priority",
        Severity::Warning,
        "LimitRTPRIO=50",
    ),
    (
        "no real-time priority in Docker",
        |it| {
            it.grant.scheduling = no_priority();
            it.facts.virtualization.container = Some(Container::Docker);
        },
        "real-time priority",
        Severity::Warning,
        "docker run --cap-add=SYS_NICE --ulimit rtprio=99",
    ),
    (
        "no real-time priority in a pod",
        |it| {
            it.grant.scheduling = no_priority();
            it.facts.virtualization.container = Some(Container::Kubernetes);
        },
        "real-time priority",
        Severity::Warning,
        "add: [SYS_NICE, IPC_LOCK]",
    ),
    (
        "priority switched off by the configuration",
        |it| it.grant.scheduling = Outcome::NotAsked,
        "real-time priority",
        Severity::Warning,
        "realtime_priority = 50",
    ),
    (
        "memory not locked",
        |it| it.grant.memory = no_lock(),
        "memory lock",
        Severity::Warning,
        "LimitMEMLOCK=infinity",
    ),
    (
        "a wake-up 6 ms late",
        |it| it.run = Ok(run(&[6_000_000])),
        "wake-ups",
        Severity::Warning,
        "unisono jitter",
    ),
    (
        "one long stall",
        |it| it.run = Ok(run(&[90_000_000])),
        "wake-ups",
        Severity::Warning,
        "unisono jitter",
    ),
    (
        "two wake-ups late by half a frame",
        |it| it.run = Ok(run(&[11_000_000, 12_000_000])),
        "wake-ups",
        Severity::Unfit,
        "what the host does",
    ),
    (
        "the same without real-time priority",
        |it| {
            it.run = Ok(run(&[11_000_000, 12_000_000]));
            it.grant.scheduling = no_priority();
        },
        "wake-ups",
        Severity::Unfit,
        "grant real-time priority",
    ),
    (
        "a tenth of the wake-ups missing",
        |it| it.run = Ok(run(&[400_000_000])),
        "wake-ups",
        Severity::Unfit,
        "unisono jitter",
    ),
    (
        "no beat at all",
        |it| it.run = Err("timerfd_create: EPERM".to_owned()),
        "wake-ups",
        Severity::Unfit,
        "seccomp",
    ),
    (
        // Of 6 s of CPU time.
        "steal of 2 %",
        |it| set_host(it, host_sample(120, 0)),
        "steal",
        Severity::Warning,
        "pin",
    ),
    (
        "steal of 15 %",
        |it| set_host(it, host_sample(900, 0)),
        "steal",
        Severity::Unfit,
        "dedicated",
    ),
    (
        "steal in the past",
        |it| it.facts.pressure.steal_share = Some(0.03),
        "steal",
        Severity::Warning,
        "dedicated",
    ),
    (
        "a quota used up while measuring",
        |it| {
            it.facts.control_group.quota = Some(CpuQuota::Cpus(0.5));
            set_host(it, host_sample(0, 60));
        },
        "CPU quota",
        Severity::Unfit,
        "CPUQuota=",
    ),
    (
        "a quota used up before, in Docker",
        |it| {
            it.facts.control_group.quota = Some(CpuQuota::Cpus(2.0));
            it.facts.control_group.throttled_periods = Some(3);
            it.facts.virtualization.container = Some(Container::Docker);
        },
        "CPU quota",
        Severity::Warning,
        "docker update --cpu-quota=-1",
    ),
    (
        "a quota of less than the workers can use, in a pod",
        |it| {
            it.facts.control_group.quota = Some(CpuQuota::Cpus(1.5));
            it.facts.virtualization.container = Some(Container::Kubernetes);
        },
        "CPU quota",
        Severity::Warning,
        "resources.limits.cpu",
    ),
    (
        "timers on a grid of 10 ms",
        |it| {
            it.facts.kernel.high_resolution_timers = Some(false);
            it.facts.clock.resolution_ns = Some(10_000_000);
        },
        "timers",
        Severity::Unfit,
        "highres=off",
    ),
    (
        "timers on a grid of 1 ms",
        |it| {
            it.facts.kernel.high_resolution_timers = Some(false);
            it.facts.kernel.hz = Some(1000);
        },
        "timers",
        Severity::Warning,
        "CONFIG_HIGH_RES_TIMERS=y",
    ),
    (
        "the clock source of Xen",
        |it| {
            it.facts.clock.source = Some("xen".to_owned());
            it.facts.clock.read_ns = Some(210.0);
            it.facts.clock.in_user_space = Some(false);
        },
        "clock source",
        Severity::Warning,
        "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource",
    ),
    (
        "the clock source of Xen, its cost unknown and no other there",
        |it| {
            it.facts.clock.source = Some("xen".to_owned());
            it.facts.clock.available = vec!["xen".to_owned()];
            it.facts.clock.read_ns = None;
            it.facts.clock.in_user_space = None;
        },
        "clock source",
        Severity::Warning,
        "Nitro",
    ),
    (
        "a time stamp counter that the hypervisor intercepts",
        |it| {
            it.facts.clock.available = vec!["tsc".to_owned()];
            it.facts.clock.read_ns = Some(1900.0);
            it.facts.clock.in_user_space = Some(false);
        },
        "clock source",
        Severity::Warning,
        "intercepts",
    ),
    (
        "clocks that jump",
        |it| {
            if let Ok(run) = &mut it.run {
                run.clock_jumps.push(ClockJump {
                    at_ns: 1,
                    clock: Clock::Realtime,
                    by_ns: -2_000_000,
                });
            }
        },
        "clock jumps",
        Severity::Warning,
        "chronyc",
    ),
    (
        "a burstable instance",
        |it| {
            it.facts.virtualization.cloud = Some(Cloud {
                provider: Provider::Ec2,
                instance_type: Some("t3.small".to_owned()),
                instance_id: Some("i-0123456789abcdef0".to_owned()),
            });
        },
        "instance type",
        Severity::Warning,
        "InstanceId=i-0123456789abcdef0,CpuCredits=unlimited",
    ),
    (
        "a busy machine without real-time priority",
        |it| {
            it.facts.pressure.cpu_some = Some(0.5);
            it.grant.scheduling = no_priority();
        },
        "other programs",
        Severity::Warning,
        "CPUWeight=1000",
    ),
    (
        "deep sleep",
        |it| {
            it.facts.cpus.deepest_idle = Some(IdleState {
                number: 4,
                name: "C10".to_owned(),
                exit_latency_us: 890,
            });
        },
        "idle states",
        Severity::Warning,
        "cpuidle/state4/disable",
    ),
    (
        "the lowest frequency",
        |it| {
            it.facts.cpus.frequency_governor = Some("powersave".to_owned());
            it.facts.cpus.frequency_driver = Some("acpi-cpufreq".to_owned());
        },
        "CPU frequency",
        Severity::Warning,
        "cpupower frequency-set -g performance",
    ),
    (
        "little time for real-time threads",
        |it| it.facts.rights.realtime_runtime_us = Some(100_000),
        "real-time throttling",
        Severity::Warning,
        "sysctl -w kernel.sched_rt_runtime_us=950000",
    ),
    (
        "a machine out of memory",
        |it| it.facts.pressure.memory_full = Some(0.2),
        "memory",
        Severity::Warning,
        "ps -eo rss",
    ),
    (
        "too few open files",
        |it| {
            it.capacity.legs = 384;
            it.capacity.limit = Some(Limit::Descriptors);
        },
        "legs",
        Severity::Warning,
        "LimitNOFILE=32384",
    ),
    (
        "no leg at all",
        |it| {
            it.capacity.legs = 0;
            it.capacity.limit = Some(Limit::Ports);
        },
        "legs",
        Severity::Unfit,
        "first_port",
    ),
    (
        "a SIP port that another has",
        |it| it.listeners = vec![listener(Doorway::Taken)],
        "SIP port",
        Severity::Warning,
        "ss -lunp 'sport = :5060'",
    ),
    (
        "an address of another machine",
        |it| it.listeners = vec![listener(Doorway::Refused("no such address".to_owned()))],
        "SIP port",
        Severity::Warning,
        "--sip",
    ),
];

fn set_host(examination: &mut Examination, last: HostSample) {
    if let Ok(run) = &mut examination.run {
        run.host[1] = last;
    }
}

#[test]
fn each_harm_is_found_as_grave_as_it_is_with_what_mends_it() {
    for (name, harm, topic, severity, remedy) in CASES {
        let mut examination = healthy();
        harm(&mut examination);
        let diagnosis = Diagnosis::of(&examination);
        let found = diagnosis
            .findings
            .iter()
            .find(|finding| finding.topic == *topic && finding.severity != Severity::Ok);
        let Some(finding) = found else {
            panic!("{name}: nothing of {topic} in {:?}", diagnosis.findings);
        };
        assert_eq!(finding.severity, *severity, "{name}: {finding:?}");
        assert!(
            texts(finding).contains(remedy),
            "{name}: {remedy} is not in {finding:?}"
        );
        assert!(!finding.why.is_empty(), "{name}");
        let gravest = diagnosis.findings.iter().map(|finding| finding.severity);
        let verdict = match gravest.max() {
            Some(Severity::Unfit) => Verdict::Unfit,
            Some(Severity::Warning) => Verdict::FitWithWarnings,
            _ => Verdict::Fit,
        };
        assert_eq!(diagnosis.verdict(), verdict, "{name}");
    }
}

#[test]
fn the_gravest_finding_comes_first() {
    let mut examination = healthy();
    examination.grant.scheduling = no_priority();
    examination.run = Err("no timers".to_owned());
    let severities: Vec<Severity> = Diagnosis::of(&examination)
        .findings
        .iter()
        .map(|finding| finding.severity)
        .collect();
    assert!(severities.is_sorted_by(|one, next| one >= next));
    assert_eq!(severities.first(), Some(&Severity::Unfit));
}

#[test]
fn what_is_harmless_is_no_warning() {
    let harmless: [(&str, Harm); 6] = [
        ("a port that the running server has", |it| {
            it.listeners = vec![listener(Doorway::Ours(4711))];
        }),
        ("no real-time throttling", |it| {
            it.facts.rights.realtime_runtime_us = Some(-1);
        }),
        ("a quota of all CPUs, never used up", |it| {
            it.facts.control_group.quota = Some(CpuQuota::Cpus(2.0));
            it.facts.control_group.throttled_periods = Some(0);
        }),
        ("a busy machine with real-time priority", |it| {
            it.facts.pressure.cpu_some = Some(0.9);
        }),
        ("powersave of a driver that means otherwise", |it| {
            it.facts.cpus.frequency_governor = Some("powersave".to_owned());
            it.facts.cpus.frequency_driver = Some("intel_pstate".to_owned());
        }),
        ("an instance with whole CPUs", |it| {
            it.facts.virtualization.cloud = Some(Cloud {
                provider: Provider::Ec2,
                instance_type: Some("c7i.large".to_owned()),
                instance_id: None,
            });
        }),
    ];
    for (name, harm) in harmless {
        let mut examination = healthy();
        harm(&mut examination);
        let diagnosis = Diagnosis::of(&examination);
        assert_eq!(diagnosis.verdict(), Verdict::Fit, "{name}: {diagnosis:?}");
    }
}

#[test]
fn a_stall_counts_once_among_the_wake_ups_however_many_deadlines_it_swallows() {
    let beat = Beat::of(&run(&[50_000_000]));
    assert_eq!(beat.latest(), 50_000_000);
    assert_eq!(beat.quantile(0.999), 50_000);
    assert_eq!(beat.quantile(0.0), 50_000);
    assert_eq!(beat.wake_ups(), 1200 - 20);
    assert_eq!(beat.figures.missed, 20);
    assert!((beat.missed_share() - 20.0 / 1200.0).abs() < 1e-9);
    // The second of two is the 99.9th percentile of 1200.
    assert_eq!(
        Beat::of(&run(&[50_000_000, 7_000_000])).quantile(0.999),
        7_000_000
    );
}

#[test]
fn a_run_without_wake_ups_has_figures_all_the_same() {
    let mut empty = run(&[]);
    empty.samples.clear();
    let beat = Beat::of(&empty);
    assert_eq!((beat.quantile(0.999), beat.latest()), (0, 0));
    assert_eq!(beat.missed_share(), 0.0);
}

#[test]
fn verdicts_are_exit_statuses() {
    let verdicts = [Verdict::Fit, Verdict::FitWithWarnings, Verdict::Unfit];
    assert_eq!(verdicts.map(Verdict::exit_status), [0, 1, 2]);
}
