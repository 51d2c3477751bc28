//! The timing source on the real clock. Only what must be true on the slowest machine is asserted.

mod child;
mod handles;

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use handles::{accounted, eventually, is_readable, ordinary_source, wait_readable};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use unisono_timer::source::{Event, MAX_RATE};
use unisono_timer::{MonoTime, Period, SourceError, SourceSettings, TimingSource};

#[test]
fn a_descriptor_is_readable_while_ticks_are_pending_and_acknowledging_them_one_by_one_ends_that() {
    let timer = ordinary_source().open().unwrap();
    assert!(!is_readable(&timer));
    timer.set_rate(50).unwrap();
    eventually("three ticks", || timer.pending() >= 3);
    timer.set_rate(0).unwrap();
    eventually("the stop", || {
        let before = timer.pending();
        thread::sleep(Duration::from_millis(300));
        timer.pending() == before
    });
    let pending = timer.pending();
    eventually("the descriptor", || is_readable(&timer));
    for left in (0..pending).rev() {
        assert!(is_readable(&timer));
        assert_eq!(timer.event(), Ok(Some(Event::Expired)));
        assert_eq!(timer.ack(1), Ok(1));
        assert_eq!(timer.pending(), left);
    }
    assert!(!is_readable(&timer));
    assert_eq!(timer.event(), Ok(None));
    assert_eq!(timer.ack(1), Err(SourceError::NothingPending));
    assert_eq!(timer.ack_all(), Err(SourceError::NothingPending));
    assert_eq!(timer.ack(0), Ok(0));
}

#[test]
fn more_can_be_acknowledged_than_is_pending_and_the_answer_says_how_many_were() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(200).unwrap();
    eventually("two ticks", || timer.pending() >= 2);
    let before = timer.pending();
    let taken = timer.ack(u32::MAX).unwrap();
    assert!(taken >= before && taken <= 200);
}

#[test]
fn every_tick_is_acknowledged_pending_or_missed_once() {
    let source = ordinary_source();
    for period in [
        Period::from_rate(50, 1),
        Period::from_rate(100, 3),
        Period::from_rate(8_000, 8),
        Period::from_rate(8_000, 1),
    ] {
        let timer = source.open().unwrap();
        timer.set_period(period.ok()).unwrap();
        let schedule = timer.schedule().unwrap();
        let acked = AtomicU64::new(0);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        if wait_readable(&timer, 20) {
                            let taken = timer.ack(3).unwrap_or(0);
                            acked.fetch_add(u64::from(taken), Ordering::Relaxed);
                        }
                    }
                });
            }
            thread::sleep(Duration::from_millis(200));
            let before = MonoTime::now();
            timer.set_period(None).unwrap();
            let after = MonoTime::now();
            let due = schedule.number_at(before)..=schedule.number_at(after);
            eventually("every tick", || {
                due.contains(&(acked.load(Ordering::Relaxed) + accounted(&timer)))
            });
            done.store(true, Ordering::Relaxed);
        });
        let due_at_least = schedule.number_at(schedule.origin() + Duration::from_millis(150));
        assert!(acked.load(Ordering::Relaxed) + accounted(&timer) >= due_at_least);
    }
}

#[test]
fn beyond_the_backlog_ticks_are_missed_and_counted() {
    let settings = SourceSettings::new()
        .realtime(unisono_timer::RealtimeRequest::new())
        .backlog(Duration::from_millis(50));
    let source = TimingSource::with_settings(settings).unwrap();
    let timer = source.open().unwrap();
    timer.set_rate(1_000).unwrap();
    eventually("missed ticks", || timer.missed() > 10);
    assert_eq!(timer.pending(), 50);
    assert_eq!(timer.ack_all(), Ok(50));
}

#[test]
fn an_idle_source_has_no_thread_and_later_wakes_nobody() {
    let source = ordinary_source();
    let timer = source.open().unwrap();
    timer.enable_continuous().unwrap();
    timer.disable_continuous().unwrap();
    assert_eq!((source.wakeups(), source.grant()), (0, None));

    timer.set_rate(100).unwrap();
    eventually("a tick", || timer.pending() > 0);
    assert!(source.grant().is_some());
    timer.set_rate(0).unwrap();
    eventually("rest", || {
        let before = source.wakeups();
        thread::sleep(Duration::from_millis(300));
        source.wakeups() == before
    });
    let at_rest = source.wakeups();
    for _ in 0..1_000 {
        timer.enable_continuous().unwrap();
        timer.disable_continuous().unwrap();
    }
    thread::sleep(Duration::from_millis(300));
    // With its rate there would be thirty. The one of the stop may come late on a machine that stood still.
    assert!(source.wakeups() - at_rest <= 1);
}

#[test]
fn handles_of_one_rate_share_wake_ups() {
    let source = ordinary_source();
    let timers: Vec<_> = (0..200).map(|_| source.open().unwrap()).collect();
    for timer in &timers {
        timer.set_rate(50).unwrap();
    }
    let before = source.wakeups();
    eventually("ticks for all", || {
        timers.iter().all(|timer| timer.pending() >= 20)
    });
    let ticks: u64 = timers.iter().map(accounted).sum();
    let wakeups = source.wakeups() - before;
    // Twenty phases at most, whatever the number of handles.
    assert!(wakeups < ticks / 4, "{wakeups} wake-ups for {ticks} ticks");
}

#[test]
fn ten_thousand_handles_lose_no_tick() {
    let role = "ten_thousand_handles_lose_no_tick";
    if child::is(role) {
        println!("> {}", serve_a_crowd());
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let enough = CROWD as u64 + 100;
    if hard < enough {
        // Past the test runner, which keeps what tests that pass have printed.
        let _ = writeln!(
            std::io::stderr(),
            "not tested: RLIMIT_NOFILE is {hard}, {enough} are needed; raise it (LimitNOFILE=)"
        );
        return;
    }
    let raised = move || Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?);
    println!("{}", child::answer_of(role, raised));
}

/// Ten thousand handles at 50 Hz for a second, and one consumer.
fn serve_a_crowd() -> String {
    let source = ordinary_source();
    let timers: Vec<_> = (0..CROWD).map(|_| source.open().unwrap()).collect();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    for (timer, number) in timers.iter().zip(0..) {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number);
        epoll.add(timer, event).unwrap();
    }
    for timer in &timers {
        timer.set_rate(50).unwrap();
    }
    let schedules: Vec<_> = timers
        .iter()
        .map(|timer| timer.schedule().unwrap())
        .collect();
    let mut acked = vec![0; CROWD];
    let mut events = vec![EpollEvent::empty(); CROWD];
    let begin = MonoTime::now();
    while MonoTime::now().since(begin) < Duration::from_secs(1) {
        let ready = epoll
            .wait(&mut events, EpollTimeout::from(100_u16))
            .unwrap();
        for event in &events[..ready] {
            let number = event.data() as usize;
            acked[number] += u64::from(timers[number].ack(1).unwrap_or(0));
        }
    }
    let total: u64 = acked.iter().sum();
    let mut due = 0;
    for ((timer, schedule), acked) in timers.iter().zip(schedules).zip(acked) {
        let before = MonoTime::now();
        timer.set_rate(0).unwrap();
        let due_now = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
        assert!(*due_now.start() >= 49, "each ran for a second");
        eventually("every tick", || {
            due_now.contains(&(acked + accounted(timer)))
        });
        due += due_now.end();
    }
    assert!(total > 0);
    format!("{total} of {due} ticks acknowledged one by one, the others pending or missed")
}

const CROWD: usize = 10_000;

#[test]
fn the_same_rate_again_keeps_its_phase_and_another_begins_anew() {
    let timer = ordinary_source().open().unwrap();
    assert_eq!(timer.schedule(), None);
    timer.set_rate(50).unwrap();
    let schedule = timer.schedule().unwrap();
    thread::sleep(Duration::from_millis(3));
    timer.set_rate(50).unwrap();
    timer
        .set_period(Period::from_duration(Duration::from_millis(20)).ok())
        .unwrap();
    assert_eq!(timer.schedule(), Some(schedule));
    timer.set_rate(0).unwrap();
    timer.set_rate(50).unwrap();
    assert!(timer.schedule().unwrap().origin() > schedule.origin());
}

#[test]
fn no_tick_comes_before_its_deadline() {
    let source = ordinary_source();
    let timer = source.open().unwrap();
    let before = MonoTime::now();
    timer.set_rate(100).unwrap();
    let schedule = timer.schedule().unwrap();
    assert!(schedule.origin() >= before);
    let mut number = 0;
    while number < 30 {
        if wait_readable(&timer, 1_000) {
            number += u64::from(timer.ack(1).unwrap_or(0));
            assert!(MonoTime::now() >= schedule.deadline(number));
        }
    }
    assert!(source.lateness().snapshot().count() > 0);
}

#[test]
fn impossible_rates_are_refused_and_change_nothing() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(50).unwrap();
    let schedule = timer.schedule();
    let asked = MAX_RATE + 1;
    assert_eq!(
        timer.set_rate(asked),
        Err(SourceError::RateTooHigh { asked })
    );
    let short = Period::from_duration(Duration::from_nanos(124_999)).ok();
    assert_eq!(timer.set_period(short), Err(SourceError::PeriodTooShort));
    assert_eq!(timer.schedule(), schedule);
    timer.set_rate(MAX_RATE).unwrap();
}

#[test]
fn descriptors_are_closed_on_exec_and_never_block() {
    let timer = ordinary_source().open().unwrap();
    let path = format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsFd::as_fd(&timer).as_raw_fd()
    );
    let info = std::fs::read_to_string(path).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = i32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
    let wanted = nix::libc::O_CLOEXEC | nix::libc::O_NONBLOCK;
    assert_eq!(flags & wanted, wanted);
    let nothing = nix::unistd::read(&timer, &mut [0; 8]);
    assert_eq!(nothing, Err(Errno::EAGAIN));
}

#[test]
fn a_descriptor_begins_where_it_is_wanted_if_there_is_room() {
    let source = ordinary_source();
    let high = source.open_from(300).unwrap();
    assert!(high.as_fd().as_raw_fd() >= 300);
    high.enable_continuous().unwrap();
    assert!(is_readable(&high) && high.is_continuous());
    let nowhere = source.open_from(i32::MAX).unwrap();
    nowhere.set_rate(100).unwrap();
    assert!(wait_readable(&nowhere, 20_000));
}

#[test]
fn handles_outlive_the_source_they_came_from() {
    let source = ordinary_source();
    let timer = source.open().unwrap();
    drop(source);
    timer.set_rate(100).unwrap();
    assert!(wait_readable(&timer, 10_000));
}
