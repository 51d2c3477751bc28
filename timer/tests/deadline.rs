//! SCHED_DEADLINE: granted, and refused for each reason the kernel has.

mod child;

use std::sync::mpsc;
use std::time::Duration;

use child::rights::{SYS_NICE, forbid, granted_without, policy, skipped};
use unisono_timer::realtime::{Outcome, Refusal, allowed_cpus};
use unisono_timer::{MonoTime, Period, Precision, RealtimeRequest, Schedule, Ticker};

const PERIOD: Duration = Duration::from_millis(20);

#[test]
fn a_deadline_is_granted_and_its_threads_are_ordinary() {
    let role = "a_deadline_is_granted_and_its_threads_are_ordinary";
    let request = RealtimeRequest::new().fifo(5).deadline(PERIOD / 10, PERIOD);
    granted_without(role, &[], &[], &request, |grant| {
        if !grant.realtime_granted() {
            return skipped("SCHED_DEADLINE cannot be had here");
        }
        let detail = "SCHED_DEADLINE 2ms in every 20ms".into();
        assert_eq!(grant.scheduling, Outcome::Granted { detail });
        let deadline = libc::SCHED_DEADLINE | libc::SCHED_RESET_ON_FORK;
        assert_eq!(policy().0, deadline);
        let started = std::thread::spawn(|| policy().0 & !libc::SCHED_RESET_ON_FORK);
        assert_eq!(started.join().unwrap(), libc::SCHED_OTHER);
        let mut ticker = Ticker::new(Schedule::new(
            MonoTime::now(),
            Period::from_duration(PERIOD).unwrap(),
        ))
        .unwrap()
        .precise(Precision::default());
        assert!((0..5).all(|_| ticker.wait().is_ok()));

        // To pin it now would break what was promised.
        let cpus = allowed_cpus();
        if cpus.len() > 1 {
            let pinned = RealtimeRequest::new().pin_to(cpus[0]).apply();
            assert_deadline_affinity(&pinned.cpu);
        }
        // Another class is no problem.
        assert!(RealtimeRequest::new().fifo(5).apply().realtime_granted());
    });
}

fn assert_deadline_affinity(outcome: &Outcome) {
    let Outcome::Refused { reason, remedy } = outcome else {
        panic!("{outcome}")
    };
    assert!(
        matches!(reason, Refusal::DeadlineAffinity { .. }),
        "{outcome}"
    );
    assert!(remedy.advice.as_deref().unwrap().contains("do not pin"));
}

#[test]
fn a_pinned_thread_is_refused_a_deadline() {
    let cpus = allowed_cpus();
    if cpus.len() < 2 {
        return skipped("there is one CPU only");
    }
    let request = RealtimeRequest::new()
        .pin_to(cpus[0])
        .deadline(PERIOD / 10, PERIOD);
    granted_without(
        "a_pinned_thread_is_refused_a_deadline",
        &[],
        &[],
        &request,
        |grant| match &grant.scheduling {
            Outcome::Refused {
                reason: Refusal::DeadlineCapability { .. } | Refusal::Seccomp { .. },
                ..
            } => skipped("SCHED_DEADLINE cannot be had here"),
            // Nothing is promised where throttling is switched off.
            Outcome::Granted { .. } if throttling_is_off() => skipped("sched_rt_runtime_us is -1"),
            outcome => assert_deadline_affinity(outcome),
        },
    );
}

fn throttling_is_off() -> bool {
    std::fs::read_to_string("/proc/sys/kernel/sched_rt_runtime_us")
        .is_ok_and(|runtime| runtime.trim() == "-1")
}

#[test]
fn without_capability_a_deadline_is_refused() {
    granted_without(
        "without_capability_a_deadline_is_refused",
        &[SYS_NICE],
        &[],
        &RealtimeRequest::new().deadline(PERIOD / 10, PERIOD),
        |grant| {
            let Outcome::Refused { reason, remedy } = &grant.scheduling else {
                panic!("{grant}")
            };
            assert!(
                matches!(reason, Refusal::DeadlineCapability { .. }),
                "{grant}"
            );
            let line = remedy.unit_line.as_deref();
            assert_eq!(line, Some("AmbientCapabilities=CAP_SYS_NICE"));
        },
    );
}

#[test]
fn more_deadlines_than_there_are_processors_are_not_promised() {
    let role = "more_deadlines_than_there_are_processors_are_not_promised";
    if !child::is(role) {
        println!("{}", child::answer_of(role, || Ok(())));
        return;
    }
    let (runtime, period) = (Duration::from_millis(90), Duration::from_millis(100));
    let count = nix::sched::CpuSet::count().min(4096);
    // Each keeps its promise until the end; beyond the number of processors one must be refused.
    let mut refused = None;
    let mut threads = Vec::new();
    while refused.is_none() && threads.len() < count {
        let (send, receive) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        threads.push((
            end,
            std::thread::spawn(move || {
                let grant = RealtimeRequest::new().deadline(runtime, period).apply();
                send.send(grant).unwrap();
                let _ = ended.recv();
            }),
        ));
        let grant = receive.recv().unwrap();
        refused = grant.scheduling.is_refused().then_some(grant);
    }
    let grant = refused.expect("no machine has so many processors");
    println!("> {grant}");
    for (end, thread) in threads {
        drop(end);
        thread.join().unwrap();
    }
    if let Outcome::Refused { reason, .. } = &grant.scheduling {
        match reason {
            Refusal::DeadlineCapability { .. } | Refusal::Seccomp { .. } => {}
            reason => assert_eq!(*reason, Refusal::DeadlineAdmission { runtime, period }),
        }
    }
}

#[test]
fn impossible_deadlines_are_refused() {
    let millis = Duration::from_millis;
    for (runtime, period) in [
        (Duration::ZERO, millis(20)),
        (Duration::from_nanos(1_023), millis(20)),
        (millis(21), millis(20)),
        (millis(1), Duration::ZERO),
        (Duration::MAX, Duration::MAX),
    ] {
        let request = RealtimeRequest::new().deadline(runtime, period);
        let grant = std::thread::spawn(move || request.apply()).join().unwrap();
        let Outcome::Refused { reason, .. } = &grant.scheduling else {
            panic!("{grant}")
        };
        let expected = Refusal::DeadlineBounds { runtime, period };
        let hidden = matches!(
            reason,
            Refusal::DeadlineCapability { .. } | Refusal::Seccomp { .. }
        );
        assert!(*reason == expected || hidden, "{grant}");
    }
}

#[test]
fn a_filter_of_sched_setattr() {
    let role = "a_filter_of_sched_setattr";
    if !child::is(role) {
        println!(
            "{}",
            child::answer_of(role, || forbid(libc::SYS_sched_setattr, true))
        );
        return;
    }
    let grant = RealtimeRequest::new().deadline(PERIOD / 10, PERIOD).apply();
    println!("> {grant}");
    let Outcome::Refused { reason, remedy } = &grant.scheduling else {
        panic!("{grant}")
    };
    let call = "sched_setattr";
    assert_eq!(*reason, Refusal::Seccomp { call });
    let line = remedy.unit_line.as_deref();
    assert_eq!(line, Some("SystemCallFilter=sched_setattr"));
}
