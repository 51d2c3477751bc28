//! Faults that timing modules of PBXes have had, each as a test named after its symptom, with the place where it was
//! reported or mended. None of them can happen here.

mod child;
mod handles;

use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use handles::{accounted, eventually, is_readable, ordinary_source, wait_readable};
use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use unisono_timer::source::{Check, Event, FrameTimer};
use unisono_timer::{MonoTime, Period, SourceError};

/// Asterisk e2f49af37f, and 174697b7d1 (#15080): set_rate in continuous mode was forgotten.
#[test]
fn a_rate_set_in_continuous_mode_is_there_when_that_ends() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(10).unwrap();
    timer.enable_continuous().unwrap();
    timer.set_rate(0).unwrap();
    timer.set_rate(200).unwrap();
    timer.disable_continuous().unwrap();
    let twenty = Period::from_rate(200, 1).unwrap();
    assert_eq!(timer.schedule().unwrap().period(), twenty);
    eventually("ticks of the latest rate", || timer.pending() >= 20);
    // And one that was stopped meanwhile stays stopped.
    timer.enable_continuous().unwrap();
    timer.set_rate(0).unwrap();
    timer.disable_continuous().unwrap();
    assert_eq!(timer.schedule(), None);
}

/// Asterisk 1fab70a1c6 (#14412): with either continuous mode or a rate, Local channels were choppy.
#[test]
fn continuous_mode_that_comes_and_goes_faster_than_ticks_does_not_starve_them() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(50).unwrap();
    let schedule = timer.schedule().unwrap();
    let end = schedule.deadline(15);
    while MonoTime::now() < end {
        timer.enable_continuous().unwrap();
        thread::sleep(Duration::from_millis(2));
        timer.disable_continuous().unwrap();
    }
    let before = MonoTime::now();
    timer.set_rate(0).unwrap();
    let due = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
    eventually("every tick", || due.contains(&accounted(&timer)));
    assert!(accounted(&timer) >= 15);
}

/// Asterisk 765b275976 (#15915 and some twenty more): descriptors above 1024 were given to select.
#[test]
fn descriptors_above_1024_work() {
    const ROLE: &str = "descriptors_above_1024_work";
    if !child::is(ROLE) {
        assert_eq!(child::answer_of(ROLE, || Ok(())), "fine");
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(5_000), hard).unwrap();
    let source = ordinary_source();
    let timers: Vec<_> = (0..1_500).map(|_| source.open().unwrap()).collect();
    let last = timers.last().unwrap();
    assert!(last.as_fd().as_raw_fd() >= 1_024);
    for timer in &timers {
        timer.set_rate(100).unwrap();
    }
    eventually("ticks everywhere", || timers.iter().all(is_readable));
    last.enable_continuous().unwrap();
    assert_eq!(last.event(), Ok(Some(Event::Continuous)));
    println!("> fine");
}

/// Asterisk 12a40275f2 (#18110): continuous mode and acknowledgement got into one another's way, and IAX playback stopped.
#[test]
fn acknowledging_does_not_take_back_continuous_mode() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(1_000).unwrap();
    for _ in 0..200 {
        timer.enable_continuous().unwrap();
        thread::yield_now();
        let _ = timer.ack(1);
        // At once, unless the tick thread was taken off its processor just before it could write.
        eventually("the descriptor", || is_readable(&timer));
        let _ = timer.ack_all();
        assert_eq!(timer.event(), Ok(Some(Event::Continuous)));
        timer.disable_continuous().unwrap();
    }
}

/// Asterisk c38cb95863 (ASTERISK-18142, AST-486 and others): acknowledging read a disarmed timer, and blocked with locks held.
#[test]
fn acknowledging_a_stopped_timer_does_not_block() {
    let timer = ordinary_source().open().unwrap();
    assert_eq!(timer.ack(1), Err(SourceError::NothingPending));
    timer.set_rate(1).unwrap();
    timer.set_rate(0).unwrap();
    assert_eq!(timer.ack(1), Err(SourceError::NothingPending));
    timer.enable_continuous().unwrap();
    assert_eq!(timer.ack(1), Err(SourceError::NothingPending));
}

/// Asterisk 317c631ac1 and 6e62aa2c7d (ASTERISK-17867): a lock around the timers was too dear, and analog phones went dead.
#[test]
fn handles_do_without_the_tick_thread_and_without_one_another() {
    // Here is no tick thread at all, so nothing can wait for it.
    let source = ordinary_source();
    let timers: Vec<_> = (0..4).map(|_| source.open().unwrap()).collect();
    thread::scope(|scope| {
        for timer in &timers {
            scope.spawn(move || {
                for _ in 0..10_000 {
                    timer.enable_continuous().unwrap();
                    assert_eq!(timer.event(), Ok(Some(Event::Continuous)));
                    assert_eq!(timer.ack(1), Err(SourceError::NothingPending));
                    timer.disable_continuous().unwrap();
                }
                assert!(!is_readable(timer));
            });
        }
    });
    assert_eq!(source.wakeups(), 0);
}

/// Asterisk 80f6848ca3 (#18262): whoever polled for POLLIN only never saw DAHDI timers, and the parked heard nothing.
#[test]
fn a_waiter_that_asks_for_pollin_only_is_woken() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(50).unwrap();
    assert!(wait_readable(&timer, 30_000));
    assert!(timer.ack(1).is_ok());
}

/// Asterisk d9651f2be9 (ASTERISK-17474): music on hold kept its old timer over a reload and waited for ever.
#[test]
fn a_timer_opened_after_another_was_closed_ticks() {
    let source = ordinary_source();
    for _ in 0..20 {
        let timer = source.open().unwrap();
        timer.set_rate(500).unwrap();
        assert!(wait_readable(&timer, 30_000));
        timer.set_rate(0).unwrap();
        let _ = timer.ack_all();
        timer.set_rate(500).unwrap();
        eventually("ticks after a stop", || timer.pending() >= 2);
    }
}

/// Asterisk a0c363e227 (ASTERISK-20032): failing acknowledgements were a flood of errors and led to odd channels.
#[test]
fn a_refused_acknowledgement_changes_nothing() {
    let timer = ordinary_source().open().unwrap();
    for _ in 0..1_000 {
        assert_eq!(timer.ack(1), Err(SourceError::NothingPending));
    }
    assert!(!is_readable(&timer));
    timer.set_rate(100).unwrap();
    assert!(wait_readable(&timer, 30_000));
    assert!(timer.ack(1).is_ok());
}

/// Asterisk 511cf82367 (ASTERISK-21389): a timer nobody acknowledged filled its pipe, and everything stood still.
#[test]
fn a_timer_nobody_acknowledges_does_not_hold_up_the_others() {
    let source = ordinary_source();
    let neglected = source.open().unwrap();
    let fastest = Period::from_rate(8_000, 1).unwrap();
    neglected.set_period(Some(fastest)).unwrap();
    let timer = source.open().unwrap();
    timer.set_rate(100).unwrap();
    eventually("more ticks than are kept", || neglected.missed() > 0);
    assert_eq!(neglected.pending(), 8_000);
    let _ = timer.ack_all();
    assert!(wait_readable(&timer, 30_000));
}

/// Asterisk 3fab8212e3 (ASTERISK-19277): without descriptors, opening a timer closed descriptor 0.
#[test]
fn running_out_of_descriptors_is_an_error_and_closes_nothing() {
    const ROLE: &str = "running_out_of_descriptors_is_an_error_and_closes_nothing";
    if !child::is(ROLE) {
        assert_eq!(child::answer_of(ROLE, || Ok(())), "fine");
        return;
    }
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let open = || {
        (0..64)
            .filter(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok())
            .count()
    };
    let source = ordinary_source();
    let before = open();
    let mut timers = Vec::new();
    let error = loop {
        match source.open() {
            Ok(timer) => timers.push(timer),
            Err(error) => break error,
        }
        assert!(timers.len() <= 64);
    };
    assert_eq!(error, SourceError::Descriptor(Errno::EMFILE));
    for _ in 0..1_000 {
        assert!(source.open().is_err());
    }
    assert_eq!(open(), before + timers.len());
    assert!(std::fs::read_link("/proc/self/fd/0").is_ok());
    // The first rate needs no descriptor, and a closed handle gives its own back.
    timers[0].set_rate(100).unwrap();
    assert!(wait_readable(&timers[0], 30_000));
    timers.pop();
    timers.push(source.open().unwrap());
    timers.clear();
    eventually("all to be closed", || open() == before);
    println!("> fine");
}

/// Asterisk 50029f585e (ASTERISK-26632, 26716): more alerts raised than taken back froze Local channels.
#[test]
fn continuous_mode_is_a_state_and_not_a_count() {
    let timer = ordinary_source().open().unwrap();
    for _ in 0..70_000 {
        timer.enable_continuous().unwrap();
    }
    timer.disable_continuous().unwrap();
    assert!(!is_readable(&timer));
    for _ in 0..70_000 {
        timer.disable_continuous().unwrap();
    }
    timer.enable_continuous().unwrap();
    assert!(is_readable(&timer));
}

/// Asterisk #633: after twelve hours of idling the missed slots were replayed, a minute at 99 % of a processor.
/// (Twelve hours in virtual time: `hours_in_which_nobody_looked_are_one_service_not_a_storm`.)
#[test]
fn a_process_that_was_stopped_gets_a_seconds_worth_and_no_storm() {
    const ROLE: &str = "a_process_that_was_stopped_gets_a_seconds_worth_and_no_storm";
    if child::is(ROLE) {
        let source = ordinary_source();
        let timer = source.open().unwrap();
        timer.set_rate(50).unwrap();
        let schedule = timer.schedule().unwrap();
        eventually("a tick", || timer.pending() > 0);
        println!("> stop me");
        // Unstopped it would take four seconds; what the stop of five brings is there at once.
        eventually("the stop", || timer.missed() >= 150);
        let wakeups = source.wakeups();
        let before = MonoTime::now();
        timer.set_rate(0).unwrap();
        let due = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
        eventually("every tick", || due.contains(&accounted(&timer)));
        assert_eq!(timer.pending(), 50);
        // A wake-up for each slot that was missed would be more.
        assert!(wakeups < schedule.number_at(before));
        return;
    }
    let mut stopped = child::start(ROLE, || Ok(()));
    let output = stopped.stdout.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(output));
    assert!(lines.any(|line| line.unwrap().contains("> stop me")));
    let pid = Pid::from_raw(stopped.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_secs(5));
    kill(pid, Signal::SIGCONT).unwrap();
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert!(stopped.wait().unwrap().success(), "{rest:?}");
}

/// Asterisk 7b8339fb52 (#1796): with no timing at all, DTMF emulation crashed.
#[test]
fn no_thread_to_be_had_is_an_error_and_mends_itself() {
    const ROLE: &str = "no_thread_to_be_had_is_an_error_and_mends_itself";
    if !child::is(ROLE) {
        assert_eq!(child::answer_of(ROLE, || Ok(())), "fine");
        return;
    }
    let timer = ordinary_source().open().unwrap();
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, 1 << 20, hard).unwrap();
    let refused = timer.set_rate(50);
    let schedule = timer.schedule();
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    assert!(
        matches!(refused, Err(SourceError::Thread(_))),
        "{refused:?}"
    );
    assert_eq!(schedule, None);
    assert!(timer.enable_continuous().is_ok());
    timer.set_rate(50).unwrap();
    eventually("a tick", || timer.pending() > 0);
    println!("> fine");
}

/// Asterisk #1762 and 3a9e3c3623: a jitter buffer's timer outlived its call, always readable, and took a processor.
#[test]
fn a_closed_timer_makes_nothing_readable() {
    let source = ordinary_source();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    for _ in 0..50 {
        let timer = source.open().unwrap();
        timer.set_rate(1_000).unwrap();
        epoll
            .add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, 0))
            .unwrap();
        timer.enable_continuous().unwrap();
        let mut events = [EpollEvent::empty(); 4];
        assert_eq!(epoll.wait(&mut events, PollTimeout::ZERO), Ok(1));
        eventually("a tick", || timer.pending() > 0);
        drop(timer);
        eventually("silence", || {
            epoll.wait(&mut events, PollTimeout::ZERO) == Ok(0)
        });
    }
}

/// Asterisk #2018: 43 to 48 of 50 ticks under load, and "Expected to acknowledge 1 ticks but got 3".
#[test]
fn a_busy_consumer_is_told_of_every_tick() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(50).unwrap();
    let schedule = timer.schedule().unwrap();
    let mut ticks = 0;
    while ticks < 50 {
        assert!(wait_readable(&timer, 30_000));
        ticks += u64::from(timer.ack(1).unwrap_or(0));
        if ticks % 10 == 5 {
            // Something else holds a lock.
            thread::sleep(Duration::from_millis(70));
        }
    }
    let now = MonoTime::now();
    timer.set_rate(0).unwrap();
    let due = schedule.number_at(now)..=schedule.number_at(MonoTime::now());
    eventually("every tick", || due.contains(&(ticks + accounted(&timer))));
}

/// FreeSWITCH #3129, cc93a683ca and 96d086820b: check looked at the time to come and never saw what had expired.
#[test]
fn check_sees_a_tick_that_has_come() {
    let mut timer = FrameTimer::new(20, 160).unwrap();
    thread::sleep(Duration::from_millis(50));
    assert!(matches!(timer.check(true), Check::Ready { behind: 1.. }));
    assert_eq!((timer.tick(), timer.sample_count()), (1, 160));
}

/// FreeSWITCH's timers of 1 ms on Linux always said no.
#[test]
fn an_interval_of_1_ms_ticks() {
    let mut timer = FrameTimer::new(1, 8).unwrap();
    let mut ticks = 0;
    while ticks < 50 {
        ticks += timer.next_tick().unwrap();
        assert_eq!(timer.tick(), ticks);
    }
    assert_eq!(timer.sample_count(), 8 * ticks);
}

/// FreeSWITCH's broadcast thread skips wake-ups of a timer that is busy; res_timing_pthread served one tick a pass.
#[test]
fn a_handle_in_use_by_several_threads_misses_nothing() {
    let timer = ordinary_source().open().unwrap();
    timer.set_rate(1_000).unwrap();
    let schedule = timer.schedule().unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = (timer.event(), timer.pending(), timer.schedule());
                    timer.set_rate(1_000).unwrap();
                }
            });
        }
        eventually("ticks", || timer.pending() >= 100);
        done.store(true, Ordering::Relaxed);
    });
    let before = MonoTime::now();
    timer.set_rate(0).unwrap();
    let due = schedule.number_at(before)..=schedule.number_at(MonoTime::now());
    eventually("every tick", || due.contains(&accounted(&timer)));
}
