//! Tickers on the real clock. Only what must be true on the slowest machine is asserted.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::pthread::{pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{pipe, read};
use unisono_timer::{
    LatePolicy, LeadStatus, MonoTime, Period, Precision, Schedule, Ticker, TickerError, Wake,
};

fn every(millis: u64) -> Schedule {
    Schedule::new(
        MonoTime::now(),
        Period::from_duration(Duration::from_millis(millis)).unwrap(),
    )
}

fn is_readable(fd: &impl AsFd) -> bool {
    poll(
        &mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)],
        PollTimeout::ZERO,
    )
    .unwrap()
        > 0
}

#[test]
fn ticks_and_missed_ones_account_for_every_number() {
    let schedule = Schedule::new(MonoTime::now(), Period::from_rate(997, 3).unwrap());
    let mut ticker = Ticker::new(schedule).unwrap();
    let mut expected = ticker.next_number();
    for n in 0..100 {
        if n % 20 == 7 {
            std::thread::sleep(Duration::from_millis(10));
        }
        let tick = ticker.wait().unwrap();
        assert_eq!(tick.number - tick.missed, expected);
        assert_eq!(tick.deadline, schedule.deadline(tick.number));
        assert!(tick.woke >= tick.deadline);
        assert_eq!(tick.lateness(), tick.woke.since(tick.deadline));
        // The latest that had come: the next had not.
        assert!(tick.woke < schedule.deadline(tick.number + 1));
        if n % 20 == 7 {
            assert!(tick.missed > 0);
        }
        expected = tick.number + 1;
    }
}

#[test]
fn a_schedule_that_begins_later_begins_with_0() {
    let origin = MonoTime::now() + Duration::from_millis(30);
    let schedule = Schedule::new(origin, Period::from_rate(50, 1).unwrap());
    let tick = Ticker::new(schedule).unwrap().wait().unwrap();
    assert_eq!(tick.number - tick.missed, 0);
    assert!(tick.woke >= origin);
}

#[test]
fn a_schedule_that_began_long_ago_misses_nothing() {
    let schedule = Schedule::new(MonoTime::from_nanos(0), Period::from_rate(1, 1).unwrap());
    let before = MonoTime::now();
    let ticker = Ticker::new(schedule).unwrap();
    assert!(schedule.deadline(ticker.next_number()) > before);
}

#[test]
fn chosen_numbers_are_served_and_late_ones_say_how_late() {
    let schedule = every(1);
    let mut ticker = Ticker::new(schedule).unwrap();
    let first = ticker.next_number();
    for number in [first, first + 4, first + 5, first + 30] {
        let tick = ticker.wait_for(number).unwrap();
        assert_eq!(
            (tick.number, tick.deadline),
            (number, schedule.deadline(number))
        );
        assert!(tick.woke >= tick.deadline);
        assert_eq!(tick.missed, schedule.number_at(tick.woke) - number);
    }
    assert_eq!(
        ticker.wait_for(first + 30),
        Err(TickerError::NumberPassed {
            asked: first + 30,
            next: first + 31
        })
    );
    std::thread::sleep(Duration::from_millis(10));
    // Late, yet served: the engine decides.
    let late = ticker.wait_for(first + 31).unwrap();
    assert!(late.number == first + 31 && late.missed >= 9);
}

#[test]
fn another_descriptor_wakes_before_the_deadline_and_the_number_stays() {
    let (reader, mut writer) = pipe()
        .map(|(reader, writer)| (reader, File::from(writer)))
        .unwrap();
    let mut ticker = Ticker::new(every(3_600_000)).unwrap();
    let number = ticker.next_number();
    writer.write_all(b"x").unwrap();
    assert_eq!(ticker.wait_for_or(number, &reader).unwrap(), Wake::Other);
    assert_eq!(ticker.next_number(), number);
    read(&reader, &mut [0]).unwrap();

    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        writer.write_all(b"y").unwrap();
        writer
    });
    assert_eq!(ticker.wait_for_or(number, &reader).unwrap(), Wake::Other);
    // A hang-up wakes too: nobody sleeps on a dead descriptor.
    drop(waker.join().unwrap());
    read(&reader, &mut [0]).unwrap();
    assert_eq!(ticker.wait_for_or(number, &reader).unwrap(), Wake::Other);
}

#[test]
fn a_deadline_that_has_come_is_preferred_to_another_descriptor() {
    let (reader, mut writer) = pipe()
        .map(|(reader, writer)| (reader, File::from(writer)))
        .unwrap();
    let mut ticker = Ticker::new(every(5)).unwrap();
    let first = ticker.next_number();
    let Wake::Tick(tick) = ticker.wait_for_or(first, &reader).unwrap() else {
        panic!("nothing to read")
    };
    assert_eq!(tick.number, first);
    writer.write_all(b"x").unwrap();
    std::thread::sleep(Duration::from_millis(10));
    let Wake::Tick(tick) = ticker.wait_for_or(first + 1, &reader).unwrap() else {
        panic!("it was due")
    };
    assert_eq!(tick.number, first + 1);
}

#[test]
fn idle_time_is_not_missed() {
    let (reader, mut writer) = pipe()
        .map(|(reader, writer)| (reader, File::from(writer)))
        .unwrap();
    let schedule = every(1);
    let mut ticker = Ticker::new(schedule).unwrap();
    let last = ticker.wait().unwrap().number;
    let waker = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        writer.write_all(b"x").unwrap();
        writer
    });
    ticker.idle_until(&reader).unwrap();
    assert!(is_readable(&reader));
    let next = ticker.next_number();
    assert!(next >= last + 40);
    let tick = ticker.wait().unwrap();
    assert_eq!(tick.number - tick.missed, next);
    drop(waker.join().unwrap());
}

#[test]
fn a_disarmed_timer_is_silent_and_the_next_wait_arms_it() {
    let mut ticker = Ticker::new(every(1)).unwrap();
    let number = ticker.next_number() + 5;
    ticker.arm(number).unwrap();
    ticker.disarm().unwrap();
    std::thread::sleep(Duration::from_millis(10));
    assert!(!is_readable(&ticker));
    // Were it to trust the timer's state, this would sleep for ever.
    assert_eq!(ticker.wait_for(number + 20).unwrap().number, number + 20);
}

#[test]
fn an_event_loop_of_the_callers_own_can_poll_the_descriptor() {
    let mut ticker = Ticker::new(every(5)).unwrap();
    for number in ticker.next_number()..ticker.next_number() + 3 {
        ticker.arm(number).unwrap();
        let mut fds = [PollFd::new(ticker.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, PollTimeout::NONE).unwrap() == 0 {}
        assert!(MonoTime::now() >= ticker.schedule().deadline(number));
        assert_eq!(ticker.wait_for(number).unwrap().number, number);
    }
    assert!(matches!(
        ticker.arm(0),
        Err(TickerError::NumberPassed { asked: 0, .. })
    ));
}

#[test]
fn a_timer_that_somebody_else_disarmed_is_noticed() {
    let mut ticker = Ticker::new(every(200)).unwrap();
    let shared = ticker.as_fd().try_clone_to_owned().unwrap();
    let meddler = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        disarm(&shared);
    });
    let tick = ticker.wait().unwrap();
    assert!(tick.woke >= tick.deadline);
    meddler.join().unwrap();
}

fn disarm(timer: &OwnedFd) {
    // SAFETY: all zero is a valid itimerspec.
    let nothing: libc::itimerspec = unsafe { std::mem::zeroed() };
    // SAFETY: `nothing` is valid to read, and no old setting is asked for.
    let result =
        unsafe { libc::timerfd_settime(timer.as_raw_fd(), 0, &nothing, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

#[test]
fn signals_neither_end_a_wait_early_nor_break_it() {
    extern "C" fn ignore(_: libc::c_int) {}
    // Without SA_RESTART, so that system calls answer EINTR.
    let action = SigAction::new(
        SigHandler::Handler(ignore),
        SaFlags::empty(),
        SigSet::empty(),
    );
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let waiter = pthread_self();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                pthread_kill(waiter, Signal::SIGUSR1).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let mut ticker = Ticker::new(every(10)).unwrap();
        for _ in 0..10 {
            let tick = ticker.wait().unwrap();
            assert!(tick.woke >= tick.deadline);
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn descriptors_are_closed_on_drop_and_on_exec() {
    let ticker = Ticker::new(every(1)).unwrap();
    let fd = ticker.as_fd().as_raw_fd();
    // SAFETY: fcntl with F_GETFD reads flags only.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    drop(ticker);
    // Many more than may be open at once, were one leaked each time.
    for _ in 0..100_000 {
        Ticker::new(every(1)).unwrap();
    }
}

const POLICIES: [LatePolicy; 3] = [
    LatePolicy::Coalesce,
    LatePolicy::Count { at_most: 3 },
    LatePolicy::Skip,
];

#[test]
fn each_late_policy_keeps_its_promise_through_stalls() {
    for policy in POLICIES {
        for precise in [false, true] {
            let schedule = every(2);
            let mut ticker = Ticker::new(schedule).unwrap().with_late_policy(policy);
            if precise {
                ticker = ticker.precise(Precision::default());
            }
            for n in 0..40 {
                if n % 10 == 7 {
                    std::thread::sleep(Duration::from_millis(20));
                }
                let expected = ticker.next_number();
                let before = schedule.number_at(MonoTime::now());
                let tick = ticker.wait().unwrap();
                assert_eq!(tick.number - tick.missed, expected);
                assert_eq!(tick.deadline, schedule.deadline(tick.number));
                assert!(tick.woke >= tick.deadline);
                let behind = schedule.number_at(tick.woke) - tick.number;
                match policy {
                    LatePolicy::Count { at_most } => assert!(behind <= u64::from(at_most)),
                    LatePolicy::Skip => assert!(behind == 0 && tick.number > before),
                    _ => assert_eq!(behind, 0),
                }
            }
        }
    }
}

#[test]
fn counting_delivers_each_late_deadline_that_the_bound_allows() {
    let mut ticker = Ticker::new(every(1))
        .unwrap()
        .with_late_policy(LatePolicy::Count { at_most: u32::MAX });
    let first = ticker.next_number();
    std::thread::sleep(Duration::from_millis(20));
    for number in first..first + 30 {
        let tick = ticker.wait().unwrap();
        assert_eq!((tick.number, tick.missed), (number, 0));
    }
}

#[test]
fn a_precise_ticker_serves_every_kind_of_wait_within_its_budget() {
    let (reader, mut writer) = pipe()
        .map(|(reader, writer)| (reader, File::from(writer)))
        .unwrap();
    let precision = Precision::new(0.02).unwrap();
    let began = MonoTime::now();
    let mut ticker = Ticker::new(every(3)).unwrap().precise(precision);
    let mut waits = 0;
    for n in 0..60 {
        let number = ticker.next_number() + n % 3;
        let tick = match n % 3 {
            0 => ticker.wait().unwrap(),
            1 => ticker.wait_for(number).unwrap(),
            _ => match ticker.wait_for_or(number, &reader).unwrap() {
                Wake::Tick(tick) => tick,
                Wake::Other => panic!("nothing to read"),
            },
        };
        waits += 1;
        assert!(tick.woke >= tick.deadline && tick.number >= number);
    }
    let status = ticker.precision().unwrap();
    let elapsed = MonoTime::now().since(began).as_secs_f64();
    assert!(status.spun.as_secs_f64() <= 0.02 * elapsed + 0.000_151);
    assert!(status.waits <= waits && status.overslept <= status.waits);
    assert!(status.window <= Duration::from_millis(1));

    // Long before the deadline the other descriptor is heard.
    let mut ticker = Ticker::new(every(3_600_000)).unwrap().precise(precision);
    let number = ticker.next_number();
    writer.write_all(b"x").unwrap();
    assert_eq!(ticker.wait_for_or(number, &reader).unwrap(), Wake::Other);
    assert_eq!(ticker.precision().unwrap().waits, 0);
    assert_eq!(Ticker::new(every(1)).unwrap().precision(), None);
}

#[test]
fn an_ordinary_ticker_tells_what_its_lead_costs_and_one_without_spins_not_at_all() {
    let began = MonoTime::now();
    let mut ticker = Ticker::new(every(1)).unwrap();
    assert_eq!(ticker.lead(), Some(LeadStatus::default()));
    for _ in 0..100 {
        ticker.wait().unwrap();
    }
    let status = ticker.lead().unwrap();
    let bound = MonoTime::now().since(began) / 1_000 + Duration::from_millis(1);
    assert!(status.spun <= bound, "{status:?}");
    assert!(status.ahead <= Duration::from_nanos(62_500), "{status:?}");

    let mut ticker = ticker.without_lead();
    assert_eq!(ticker.lead(), None);
    let next = ticker.next_number();
    let tick = ticker.wait().unwrap();
    assert_eq!(tick.number - tick.missed, next);
    assert!(tick.woke >= tick.deadline);

    let precise = Ticker::new(every(1)).unwrap().precise(Precision::default());
    assert_eq!(precise.lead(), None);
}
