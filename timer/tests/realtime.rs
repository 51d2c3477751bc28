//! What is granted and refused, in children from which rights were taken.
//!
//! A child keeps its user and loses capabilities, so that the tests mean the same for root and for
//! anybody else; where a right cannot be had in the first place, the test says so and ends.

mod child;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use child::rights::{
    IPC_LOCK, SYS_NICE, SYS_RESOURCE, drop_capability, forbid, granted_without, policy, set_limit,
    skipped,
};
use unisono_timer::RealtimeRequest;
use unisono_timer::realtime::{Outcome, Refusal, allowed_cpus};

#[test]
fn without_limit_and_capability_fifo_is_refused_with_limit_and_remedy() {
    granted_without(
        "without_limit_and_capability_fifo_is_refused_with_limit_and_remedy",
        &[SYS_NICE],
        &[(libc::RLIMIT_RTPRIO, 0)],
        &RealtimeRequest::new().fifo(70),
        |grant| {
            assert!(!grant.realtime_granted());
            let Outcome::Refused { reason, remedy } = &grant.scheduling else {
                panic!("{grant}")
            };
            let Refusal::RealtimePriority {
                limit: 0,
                asked: 70,
                ..
            } = reason
            else {
                panic!("{grant}")
            };
            assert_eq!(remedy.unit_line.as_deref(), Some("LimitRTPRIO=70"));
            assert!(grant.reason().unwrap().contains("RLIMIT_RTPRIO is 0"));
        },
    );
}

#[test]
fn a_soft_limit_is_raised_to_the_hard_one_and_a_lower_priority_is_taken() {
    if !can_have(libc::RLIMIT_RTPRIO, 20) {
        return skipped("the hard RLIMIT_RTPRIO is below 20, and CAP_SYS_RESOURCE is missing");
    }
    granted_without(
        "a_soft_limit_is_raised_to_the_hard_one_and_a_lower_priority_is_taken",
        &[SYS_NICE],
        &[(libc::RLIMIT_RTPRIO, 20)],
        &RealtimeRequest::new().fifo(70),
        |grant| {
            // On a kernel with real-time groups even this can be refused, but not for the limit.
            if let Outcome::Refused {
                reason: Refusal::RealtimeBudget { .. },
                ..
            } = grant.scheduling
            {
                return skipped("no real-time budget");
            }
            let detail = "SCHED_FIFO priority 20 (70 was asked, RLIMIT_RTPRIO is 20)";
            assert_eq!(
                grant.scheduling,
                Outcome::Granted {
                    detail: detail.into()
                }
            );
            assert_eq!(policy(), (libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, 20));
            // A thread started by a real-time one is an ordinary one.
            let child = std::thread::spawn(|| policy().0 & !libc::SCHED_RESET_ON_FORK)
                .join()
                .unwrap();
            assert_eq!(child, libc::SCHED_OTHER);
        },
    );
}

#[test]
fn round_robin_is_granted_and_refused_like_fifo() {
    granted_without(
        "round_robin_is_granted_and_refused_like_fifo",
        &[],
        &[],
        &RealtimeRequest::new().fifo(70).round_robin(7),
        |grant| {
            if grant.realtime_granted() {
                let detail = "SCHED_RR priority 7".into();
                assert_eq!(grant.scheduling, Outcome::Granted { detail });
                assert_eq!(policy(), (libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, 7));
            }
        },
    );
    let role = "round_robin_without_rights";
    println!("{}", child::answer_of(role, || drop_all(&[SYS_NICE])));
}

/// Played by a child of the test above.
#[test]
fn round_robin_without_rights() {
    if child::is("round_robin_without_rights") {
        let grant = RealtimeRequest::new().round_robin(7).apply();
        println!("> {grant}");
        let Outcome::Refused { reason, remedy } = &grant.scheduling else {
            panic!("{grant}")
        };
        let (limit, asked) = (0, 7);
        assert!(
            matches!(reason, Refusal::RealtimePriority { limit: l, asked: a, .. } if (*l, *a) == (limit, asked))
        );
        assert_eq!(remedy.unit_line.as_deref(), Some("LimitRTPRIO=7"));
    }
}

/// Without `capabilities`, and without the limit that stands in for one.
fn drop_all(capabilities: &[u32]) -> io::Result<()> {
    set_limit(libc::RLIMIT_RTPRIO, 0)?;
    capabilities.iter().copied().for_each(drop_capability);
    Ok(())
}

#[test]
fn the_idle_latency_is_held_by_the_grant_and_its_copies() {
    let role = "the_idle_latency_is_held_by_the_grant_and_its_copies";
    if !child::is(role) {
        println!("{}", child::answer_of(role, || Ok(())));
        return;
    }
    const DEVICE: &str = "/dev/cpu_dma_latency";
    let open = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap();
        let paths = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        paths.filter(|path| path == Path::new(DEVICE)).count()
    };
    let grant = RealtimeRequest::new()
        .dma_latency(Duration::from_micros(40))
        .apply();
    println!("> {grant}");
    match &grant.dma_latency {
        Outcome::Granted { detail } => {
            assert_eq!(detail, "idle CPUs wake within 40 us, while this is kept");
            let mut in_force = [0; 4];
            let mut device = std::fs::File::open(DEVICE).unwrap();
            io::Read::read_exact(&mut device, &mut in_force).unwrap();
            // Others may ask for less.
            assert!(i32::from_ne_bytes(in_force) <= 40);
            drop(device);
            let copy = grant.clone();
            drop(grant);
            assert_eq!(open(), 1);
            drop(copy);
            assert_eq!(open(), 0);
        }
        Outcome::Refused { reason, .. } => {
            let known = matches!(reason, Refusal::NoIdleStates | Refusal::Device { .. });
            assert!(known, "{grant}");
            assert_eq!(open(), 0);
        }
        Outcome::NotAsked => panic!("it was asked for"),
    }
}

#[test]
fn another_user_is_refused_the_idle_latency() {
    let role = "another_user_is_refused_the_idle_latency";
    if !child::is(role) {
        println!("{}", child::answer_of(role, || Ok(())));
        return;
    }
    const NOBODY: libc::uid_t = 65534;
    let thread = std::thread::spawn(|| {
        // This thread only, which the C library's function would not do.
        // SAFETY: the call takes no pointer.
        let _ = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        RealtimeRequest::new().dma_latency(Duration::ZERO).apply()
    });
    let grant = thread.join().unwrap();
    println!("> {grant}");
    match &grant.dma_latency {
        Outcome::Refused {
            reason: Refusal::Device { device, errno },
            remedy,
        } if *errno == nix::errno::Errno::EACCES => {
            assert_eq!(*device, "/dev/cpu_dma_latency");
            assert!(remedy.command.as_deref().unwrap().contains("udev"));
        }
        // No device, no driver, or a device that everybody may use.
        outcome => println!("> skipped: {outcome}"),
    }
}

#[test]
fn too_low_a_memory_limit_is_refused_with_the_value_needed() {
    granted_without(
        "too_low_a_memory_limit_is_refused_with_the_value_needed",
        &[IPC_LOCK],
        &[(libc::RLIMIT_MEMLOCK, 65536)],
        &RealtimeRequest::new().lock_memory(),
        |grant| {
            let Outcome::Refused { reason, remedy } = &grant.memory else {
                panic!("{grant}")
            };
            let Refusal::LockedMemory {
                limit: 65536,
                needed,
            } = reason
            else {
                panic!("{grant}")
            };
            assert!(*needed > 65536);
            assert_eq!(remedy.unit_line.as_deref(), Some("LimitMEMLOCK=infinity"));
        },
    );
}

#[test]
fn a_finite_memory_limit_locks_the_present_and_lets_allocations_succeed() {
    // Common as a default, and enough for a small process with a small stack.
    const LIMIT: u64 = 8 << 20;
    if !can_have(libc::RLIMIT_MEMLOCK, LIMIT) {
        return skipped("the hard RLIMIT_MEMLOCK is below 8 MiB");
    }
    granted_without(
        "a_finite_memory_limit_locks_the_present_and_lets_allocations_succeed",
        &[IPC_LOCK, SYS_RESOURCE],
        &[
            (libc::RLIMIT_MEMLOCK, LIMIT),
            (libc::RLIMIT_STACK, 256 << 10),
        ],
        &RealtimeRequest::new().lock_memory(),
        |grant| {
            if let Outcome::Refused {
                reason: Refusal::LockedMemory { needed, .. },
                ..
            } = grant.memory
            {
                assert!(needed > LIMIT);
                return skipped("this test program has grown beyond 8 MiB");
            }
            let Outcome::Granted { detail } = &grant.memory else {
                panic!("{grant}")
            };
            assert!(detail.contains("not what is mapped later"), "{detail}");
            assert!(locked_kib() > 0);
            // More than the limit: fails where the future is locked.
            assert!(Vec::<u8>::with_capacity(64 << 20).capacity() > 0);
            std::thread::spawn(|| ()).join().unwrap();
        },
    );
}

#[test]
fn a_lock_without_limit_covers_what_is_mapped_later_without_filling_it() {
    let role = "a_lock_without_limit_covers_what_is_mapped_later_without_filling_it";
    granted_without(
        role,
        &[],
        &[],
        &RealtimeRequest::new().lock_memory(),
        |grant| {
            let Outcome::Granted { detail } = &grant.memory else {
                return skipped("no right to lock memory");
            };
            if detail.contains("not what is mapped later") {
                return skipped("RLIMIT_MEMLOCK is finite");
            }
            let (locked, resident) = (locked_kib(), status_kib("VmRSS"));
            let large = Vec::<u8>::with_capacity(256 << 20);
            assert!(
                locked_kib() >= locked + (250 << 10),
                "what is mapped later is locked"
            );
            assert!(
                status_kib("VmRSS") < resident + (100 << 10),
                "but not filled before it is touched"
            );
            drop(large);
        },
    );
}

#[test]
fn a_seccomp_filter_is_told_from_missing_rights() {
    for (role, of_any_policy) in [
        ("a_filter_of_the_call", true),
        ("a_filter_of_realtime_policies", false),
    ] {
        // Children run the tests of these names below.
        println!(
            "{}",
            child::answer_of(role, move || forbid(
                libc::SYS_sched_setscheduler,
                of_any_policy
            ))
        );
    }
}

#[test]
fn a_filter_of_the_call() {
    if child::is("a_filter_of_the_call") {
        expect_seccomp();
    }
}

#[test]
fn a_filter_of_realtime_policies() {
    if child::is("a_filter_of_realtime_policies") {
        expect_seccomp();
    }
}

fn expect_seccomp() {
    let grant = RealtimeRequest::new().fifo(10).apply();
    println!("> {grant}");
    let Outcome::Refused { reason, remedy } = &grant.scheduling else {
        panic!("{grant}")
    };
    match reason {
        Refusal::Seccomp {
            call: "sched_setscheduler",
        } => {
            assert_eq!(remedy.unit_line.as_deref(), Some("RestrictRealtime=no"));
        }
        // Two things are missing, and the one that a filter by policy hides comes first.
        Refusal::RealtimePriority { .. } if child::is("a_filter_of_realtime_policies") => {}
        _ => panic!("{grant}"),
    }
}

#[test]
fn a_control_group_without_realtime_budget_is_named() {
    let role = "a_control_group_without_realtime_budget_is_named";
    let hierarchies = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"].map(Path::new);
    let Some(hierarchy) = hierarchies
        .into_iter()
        .find(|path| path.join("cpu.rt_runtime_us").exists())
    else {
        return skipped("no real-time groups here (CONFIG_RT_GROUP_SCHED with cgroup v1)");
    };
    if child::is(role) {
        let name = group_name(std::os::unix::process::parent_id());
        std::fs::write(hierarchy.join(&name).join("cgroup.procs"), "0").unwrap();
        let grant = RealtimeRequest::new().fifo(10).apply();
        println!("> {grant}");
        let Outcome::Refused { reason, remedy } = &grant.scheduling else {
            panic!("{grant}")
        };
        let Refusal::RealtimeBudget {
            group,
            runtime_us: Some(0),
        } = reason
        else {
            panic!("{grant}")
        };
        assert!(group.ends_with(&name));
        let command = remedy.command.as_deref().unwrap();
        assert!(
            command.starts_with("echo 500000 | sudo tee /")
                && command.ends_with("/cpu.rt_runtime_us")
        );
        return;
    }
    let Ok(_group) = Group::new(hierarchy.join(group_name(std::process::id()))) else {
        return skipped("control groups cannot be made");
    };
    println!("{}", child::answer_of(role, || Ok(())));
}

fn group_name(pid: u32) -> String {
    format!("unisono-timer-test-{pid}")
}

/// A control group, removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new(path: PathBuf) -> io::Result<Self> {
        std::fs::create_dir(&path).map(|()| Self(path))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_processor_outside_the_mask_given_to_the_process_is_refused() {
    let role = "a_processor_outside_the_mask_given_to_the_process_is_refused";
    let all = allowed_cpus();
    if child::is(role) {
        let [only] = all[..] else { panic!("{all:?}") };
        // On its own thread the mask of the process is still found.
        let grants = [only, only + 1].map(|cpu| RealtimeRequest::new().pin_to(cpu).apply());
        println!("> {}", grants[1]);
        assert_eq!(
            grants[0].cpu,
            Outcome::Granted {
                detail: format!("CPU {only}")
            }
        );
        let Outcome::Refused {
            reason: Refusal::CpuNotAllowed { cpu, allowed },
            ..
        } = &grants[1].cpu
        else {
            panic!("{}", grants[1]);
        };
        assert_eq!(
            (*cpu, allowed.as_str()),
            (only + 1, only.to_string().as_str())
        );
        return;
    }
    let first = all[0];
    child::answer_of(role, move || {
        let mut set = nix::sched::CpuSet::new();
        set.set(first)?;
        Ok(nix::sched::sched_setaffinity(
            nix::unistd::Pid::from_raw(0),
            &set,
        )?)
    });
}

#[test]
fn timer_slack_is_set_for_the_calling_thread_only() {
    let slack = || nix::sys::prctl::get_timerslack().unwrap();
    let before = slack();
    let inside = std::thread::spawn(move || {
        let grant = RealtimeRequest::new().timer_slack(Duration::ZERO).apply();
        assert_eq!(
            grant.timer_slack,
            Outcome::Granted {
                detail: "timer slack 1ns".into()
            }
        );
        assert!(!grant.realtime_granted());
        slack()
    });
    assert_eq!(inside.join().unwrap(), 1);
    assert_eq!(slack(), before);
}

#[test]
fn impossible_priorities_are_refused() {
    for asked in [0, 100, 255] {
        let grant = RealtimeRequest::new().fifo(asked).apply();
        let Outcome::Refused { reason, .. } = grant.scheduling else {
            panic!("{asked}")
        };
        assert_eq!(reason, Refusal::NoSuchPriority { asked });
    }
}

#[test]
fn asking_for_everything_leaves_no_descriptor_open() {
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let role = "asking_for_everything_leaves_no_descriptor_open";
    if !child::is(role) {
        child::answer_of(role, || Ok(()));
        return;
    }
    let request = RealtimeRequest::new()
        .fifo(1)
        .lock_memory()
        .pin_to(0)
        .prefault_stack(4096);
    let before = open();
    let grants: Vec<_> = (0..3).map(|_| request.apply()).collect();
    println!("> {}", grants[0]);
    assert_eq!(open(), before);
    assert_eq!(grants[0], grants[2]);
}

fn locked_kib() -> u64 {
    status_kib("VmLck")
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Whether a child can be given a hard limit of `limit`.
fn can_have(resource: libc::__rlimit_resource_t, limit: u64) -> bool {
    let mut current = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `current` is valid to write to.
    unsafe { libc::getrlimit(resource, &mut current) };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap();
    let privileged = u64::from_str_radix(set.trim(), 16).unwrap() >> SYS_RESOURCE & 1 == 1;
    current.rlim_max >= limit || privileged
}
