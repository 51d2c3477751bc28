//! Runaway threads, in children so that nothing else is disturbed.
//!
//! Every loop ends by itself after some time, so that a watchdog that fails fails the test, not the machine.

mod child;

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, raise};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, fork};
use unisono_timer::{
    MonoTime, Period, Precision, RealtimeRequest, Schedule, Ticker, Watchdog, WatchdogError,
};

const PATIENCE: Duration = Duration::from_secs(10);

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
        .unwrap()
        .into()
}

/// Burns CPU time without a blocking call until `done` or `at_most`.
fn burn(at_most: Duration, done: impl Fn() -> bool) {
    let start = cpu_time();
    while !done() && cpu_time() - start < at_most {
        for n in 0..1000 {
            black_box(n);
        }
    }
}

fn policy() -> i32 {
    // SAFETY: the call takes no pointer.
    unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK }
}

/// Runs `work` on a SCHED_FIFO thread in a child process; nothing where that is refused.
fn in_realtime_child(role: &str, prepare: fn() -> std::io::Result<()>, work: fn()) {
    in_child_with(role, RealtimeRequest::new().fifo(5), prepare, work);
}

/// The same with other scheduling.
fn in_child_with(
    role: &str,
    request: RealtimeRequest,
    prepare: fn() -> std::io::Result<()>,
    work: fn(),
) {
    if !child::is(role) {
        println!("{}", child::answer_of(role, prepare));
        return;
    }
    let worker = std::thread::spawn(move || {
        let grant = request.apply();
        println!("> {grant}");
        if grant.realtime_granted() {
            work();
        }
    });
    worker.join().unwrap();
}

#[test]
fn a_runaway_realtime_thread_is_demoted_and_goes_on() {
    in_realtime_child(
        "a_runaway_realtime_thread_is_demoted_and_goes_on",
        || Ok(()),
        || {
            let watchdog = Watchdog::watch(Duration::from_millis(200)).unwrap();
            let status = watchdog.status();
            assert_eq!(status.limit(), Duration::from_millis(200));
            assert_eq!((policy(), status.demoted()), (libc::SCHED_FIFO, false));
            let start = cpu_time();
            burn(PATIENCE, || status.demoted());
            assert_eq!((policy(), status.demotions()), (libc::SCHED_OTHER, 1));
            assert!(
                cpu_time() - start >= Duration::from_millis(150),
                "not before the limit"
            );

            // As an ordinary thread it may burn what it likes; made real-time again it is watched again.
            burn(Duration::from_millis(400), || false);
            assert_eq!(status.demotions(), 1);
            assert!(RealtimeRequest::new().fifo(5).apply().realtime_granted());
            let start = cpu_time();
            burn(PATIENCE, || status.demotions() > 1);
            let burnt = cpu_time() - start;
            assert!(
                burnt >= Duration::from_millis(140),
                "its ordinary time does not count: {burnt:?}"
            );
            assert_eq!((policy(), status.demotions()), (libc::SCHED_OTHER, 2));
            drop(watchdog);
            assert!(status.demoted(), "readable when the watch is over");
        },
    );
}

#[test]
fn demotion_needs_no_privilege() {
    in_realtime_child(
        "demotion_needs_no_privilege",
        || Ok(()),
        || {
            drop_nice_capability();
            assert!(
                !RealtimeRequest::new().fifo(6).apply().realtime_granted(),
                "the right is lost"
            );
            let watchdog = Watchdog::watch(Duration::from_millis(100)).unwrap();
            let status = watchdog.status();
            burn(PATIENCE, || status.demoted());
            assert_eq!((policy(), status.demotions()), (libc::SCHED_OTHER, 1));
        },
    );
}

/// Takes CAP_SYS_NICE, and the limit that might stand in for it, from the calling thread.
fn drop_nice_capability() {
    const SYS_NICE: u32 = 1 << 23;
    setrlimit(Resource::RLIMIT_RTPRIO, 0, 0).unwrap();
    // Version 3 and this thread; effective, permitted and inheritable, twice 32 bits.
    let header = [0x2008_0522_u32, 0];
    let mut sets = [[0_u32; 3]; 2];
    // SAFETY: the header is valid to read and `sets` to write to.
    let read = unsafe { libc::syscall(libc::SYS_capget, &raw const header, &raw mut sets) };
    sets[0].iter_mut().for_each(|set| *set &= !SYS_NICE);
    // SAFETY: both are valid to read.
    let written = unsafe { libc::syscall(libc::SYS_capset, &raw const header, &raw const sets) };
    assert_eq!((read, written), (0, 0));
}

#[test]
fn a_thread_that_sleeps_is_left_alone_however_much_it_works() {
    in_realtime_child(
        "a_thread_that_sleeps_is_left_alone_however_much_it_works",
        || Ok(()),
        || {
            let watchdog = Watchdog::watch(Duration::from_millis(400)).unwrap();
            let start = cpu_time();
            // Twice the limit in all, with a sleep in every window.
            while cpu_time() - start < Duration::from_millis(800) {
                burn(Duration::from_millis(10), || false);
                std::thread::sleep(Duration::from_micros(100));
            }
            assert!(!watchdog.status().demoted());
            assert_eq!(policy(), libc::SCHED_FIFO);
        },
    );
}

/// In microseconds: SIGXCPU at 0.4 s, SIGKILL at 0.8 s.
fn limit_rttime() -> std::io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_RTTIME, 400_000, 800_000)?)
}

fn burn_under_an_rttime_limit() {
    let watchdog = Watchdog::watch(Duration::from_secs(60)).unwrap();
    let status = watchdog.status();
    assert_eq!(status.limit(), Duration::from_millis(200));
    burn(Duration::from_secs(2), || false);
    assert_eq!((policy(), status.demotions()), (libc::SCHED_OTHER, 1));
}

#[test]
fn an_administrators_rttime_limit_demotes_instead_of_killing() {
    in_realtime_child(
        "an_administrators_rttime_limit_demotes_instead_of_killing",
        limit_rttime,
        burn_under_an_rttime_limit,
    );
}

#[test]
fn so_it_does_under_round_robin() {
    in_child_with(
        "so_it_does_under_round_robin",
        RealtimeRequest::new().round_robin(5),
        limit_rttime,
        burn_under_an_rttime_limit,
    );
}

#[test]
fn a_runaway_deadline_thread_is_demoted_though_the_kernel_bounds_it() {
    in_child_with(
        "a_runaway_deadline_thread_is_demoted_though_the_kernel_bounds_it",
        RealtimeRequest::new().deadline(Duration::from_millis(40), Duration::from_millis(100)),
        limit_rttime,
        || {
            let watchdog = Watchdog::watch(Duration::from_millis(120)).unwrap();
            let status = watchdog.status();
            assert_eq!(policy(), libc::SCHED_DEADLINE);
            // Being throttled at the end of each runtime is no sleep of its own accord.
            burn(PATIENCE, || status.demoted());
            assert_eq!((policy(), status.demotions()), (libc::SCHED_OTHER, 1));
        },
    );
}

#[test]
fn a_precise_ticker_is_no_runaway() {
    in_realtime_child(
        "a_precise_ticker_is_no_runaway",
        || Ok(()),
        || {
            let watchdog = Watchdog::watch(Duration::from_millis(20)).unwrap();
            let schedule = Schedule::new(MonoTime::now(), Period::from_rate(1_000, 1).unwrap());
            let precision = Precision::new(1.0).unwrap();
            let mut ticker = Ticker::new(schedule).unwrap().precise(precision);
            let start = cpu_time();
            // Five times the limit, for ten seconds at most.
            for _ in 0..10_000 {
                ticker.wait().unwrap();
                if cpu_time() - start > Duration::from_millis(100) {
                    break;
                }
            }
            assert!(!watchdog.status().demoted());
            assert_eq!(policy(), libc::SCHED_FIFO);
        },
    );
}

#[test]
fn an_rttime_limit_lowered_under_the_watch_demotes_too() {
    in_realtime_child(
        "an_rttime_limit_lowered_under_the_watch_demotes_too",
        || Ok(()),
        || {
            let watchdog = Watchdog::watch(Duration::from_secs(2)).unwrap();
            let status = watchdog.status();
            // More than a window of the watchdog's own, less than its limit.
            setrlimit(Resource::RLIMIT_RTTIME, 1_000_000, 8_000_000).unwrap();
            let start = cpu_time();
            burn(PATIENCE, || status.demoted());
            assert_eq!((policy(), status.demotions()), (libc::SCHED_OTHER, 1));
            assert!(
                cpu_time() - start < Duration::from_millis(1_900),
                "by the kernel's signal"
            );
        },
    );
}

#[test]
fn an_ordinary_thread_is_never_demoted() {
    let watchdog = Watchdog::watch(Duration::from_millis(20)).unwrap();
    burn(Duration::from_millis(200), || false);
    assert!(!watchdog.status().demoted());
}

#[test]
fn a_thread_has_one_watchdog_at_a_time() {
    let first = Watchdog::watch(Duration::from_secs(1)).unwrap();
    assert_eq!(
        Watchdog::watch(Duration::from_secs(1)).unwrap_err(),
        WatchdogError::AlreadyWatched
    );
    drop(first);
    drop(Watchdog::watch(Duration::from_secs(1)).unwrap());
}

#[test]
fn watchdogs_come_and_go_while_their_signals_are_under_way() {
    let start = cpu_time();
    while cpu_time() - start < Duration::from_millis(300) {
        let watchdog = Watchdog::watch(Duration::ZERO).unwrap();
        assert_eq!(watchdog.status().limit(), Duration::from_millis(4));
        burn(Duration::from_millis(3), || false);
    }
}

#[test]
fn a_sigxcpu_of_other_origin_still_ends_the_process() {
    let role = "a_sigxcpu_of_other_origin_still_ends_the_process";
    if child::is(role) {
        let _watchdog = Watchdog::watch(Duration::from_secs(1)).unwrap();
        raise(Signal::SIGXCPU).unwrap();
        return;
    }
    // No core file.
    let status = child::start(role, || Ok(setrlimit(Resource::RLIMIT_CORE, 0, 0)?))
        .wait()
        .unwrap();
    assert_eq!(status.signal(), Some(libc::SIGXCPU));
}

#[test]
fn a_forked_child_is_not_watched_until_it_says_so() {
    in_child_with(
        "a_forked_child_is_not_watched_until_it_says_so",
        RealtimeRequest::new().fifo(5),
        || Ok(()),
        || {
            let inherited = Watchdog::watch(Duration::from_millis(200)).unwrap();
            // SAFETY: the child uses nothing that another thread may hold: the C library mends its own locks.
            match unsafe { fork() }.unwrap() {
                ForkResult::Child => {
                    // A child of a real-time thread is an ordinary one.
                    let granted = RealtimeRequest::new().fifo(5).apply().realtime_granted();
                    let own = Watchdog::watch(Duration::from_millis(200));
                    drop(inherited);
                    let status = own.as_ref().map(Watchdog::status);
                    let demoted = status.is_ok_and(|status| {
                        burn(PATIENCE, || status.demoted());
                        status.demoted()
                    });
                    // SAFETY: ends the child without running what belongs to its parent.
                    unsafe { libc::_exit(i32::from(granted && !demoted)) }
                }
                ForkResult::Parent { child } => {
                    assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
                    assert!(matches!(
                        Watchdog::watch(Duration::from_millis(200)),
                        Err(WatchdogError::AlreadyWatched)
                    ));
                    drop(inherited);
                }
            }
        },
    );
}
