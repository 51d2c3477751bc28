//! What is done to a ticking process from outside: stopped, forked, its wall clock stepped.

mod child;

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pipe};
use unisono_timer::{
    LatePolicy, MonoTime, Period, Precision, RealtimeRequest, Schedule, Ticker, Wake,
};

fn every(millis: u64) -> Schedule {
    Schedule::new(
        MonoTime::now(),
        Period::from_duration(Duration::from_millis(millis)).unwrap(),
    )
}

const POLICIES: [LatePolicy; 3] = [
    LatePolicy::Coalesce,
    LatePolicy::Count { at_most: 3 },
    LatePolicy::Skip,
];

#[test]
fn after_a_fork_in_mid_tick_both_go_on_with_the_same_numbers() {
    let worker = std::thread::spawn(|| {
        // Where it is refused, all but the last line below holds as well.
        let grant = RealtimeRequest::new().fifo(5).apply();
        println!("{grant}");
        let (reader, _writer) = pipe().unwrap();
        let mut ticker = Ticker::new(every(4)).unwrap();
        ticker.wait().unwrap();
        let next = ticker.next_number();
        // SAFETY: the child only waits, compares and exits: no allocation, no lock.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                let fine = accounts_for_all(&mut ticker, &reader, next) && is_ordinary();
                // SAFETY: the call does not return.
                unsafe { libc::_exit(if fine { 0 } else { 1 }) }
            }
            ForkResult::Parent { child } => {
                assert!(accounts_for_all(&mut ticker, &reader, next));
                let ended = waitpid(child, None).unwrap();
                assert_eq!(ended, WaitStatus::Exited(child, 0));
            }
        }
    });
    worker.join().unwrap();
}

fn accounts_for_all(ticker: &mut Ticker, other: &OwnedFd, mut next: u64) -> bool {
    (0..20).all(|n| {
        let tick = if n % 2 == 0 {
            ticker.wait()
        } else {
            // Through the timer that both share.
            match ticker.wait_for_or(next, other) {
                Ok(Wake::Tick(tick)) => Ok(tick),
                _ => return false,
            }
        };
        let Ok(tick) = tick else { return false };
        let from = if n % 2 == 0 {
            tick.number - tick.missed
        } else {
            tick.number
        };
        let fine = from == next && tick.woke >= tick.deadline;
        next = tick.number + 1;
        fine
    })
}

fn is_ordinary() -> bool {
    // SAFETY: the call takes no pointer.
    unsafe { libc::sched_getscheduler(0) & !libc::SCHED_RESET_ON_FORK == libc::SCHED_OTHER }
}

#[test]
fn the_timer_is_on_the_clock_that_nobody_can_step() {
    let ticker = Ticker::new(every(1)).unwrap();
    let file = format!("/proc/self/fdinfo/{}", ticker.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(file).unwrap();
    let clock = info.lines().find(|line| line.starts_with("clockid:"));
    let words: Vec<_> = clock.unwrap().split_whitespace().collect();
    assert_eq!(words, ["clockid:", &libc::CLOCK_MONOTONIC.to_string()]);
}

#[test]
#[ignore = "steps the machine's wall clock back by a tenth of a second for some ticks; needs CAP_SYS_TIME"]
fn a_step_of_the_wall_clock_changes_nothing() {
    // On a clock that is stepped back a wait would last 100 ms longer. So might it on a machine that stalls,
    // but not each time.
    let undisturbed = (0..5).any(|n| {
        let ticker = Ticker::new(every(5)).unwrap();
        let mut ticker = if n % 2 == 0 {
            ticker
        } else {
            ticker.precise(Precision::default())
        };
        ticker.wait().unwrap();
        step_wall_clock(-100_000_000);
        let ticks = [(); 4].map(|()| ticker.wait().unwrap());
        step_wall_clock(100_000_000);
        let after = [(); 4].map(|()| ticker.wait().unwrap());
        ticks.iter().chain(&after).all(|tick| tick.missed < 15)
    });
    assert!(undisturbed);
}

fn step_wall_clock(nanos: i64) {
    let wall = || i128::from(clock_nanos(libc::CLOCK_REALTIME));
    let offset = || wall() - i128::from(clock_nanos(libc::CLOCK_MONOTONIC));
    let before = offset();
    // SAFETY: all zero is a valid timex.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    change.time.tv_sec = nanos.div_euclid(1_000_000_000);
    change.time.tv_usec = nanos.rem_euclid(1_000_000_000);
    // SAFETY: `change` is valid to read and write.
    let result = unsafe { libc::adjtimex(&mut change) };
    assert!(result >= 0, "{}", std::io::Error::last_os_error());
    let moved = offset() - before;
    assert!((moved - i128::from(nanos)).abs() < 90_000_000, "{moved} ns");
}

fn clock_nanos(clock: libc::clockid_t) -> i64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::from_raw(clock)).unwrap();
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// Both sides of the test: the child ticks and prints, the parent stops it for five seconds.
#[test]
fn a_process_stopped_for_five_seconds_replays_no_storm() {
    let role = "a_process_stopped_for_five_seconds_replays_no_storm";
    if child::is(role) {
        return tick_and_print();
    }
    let mut ticking = child::start(role, || Ok(()));
    let pid = Pid::from_raw(ticking.id() as i32);
    let lines = BufReader::new(ticking.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut ticks = lines.filter_map(|line| {
        let numbers = line
            .rsplit("> ")
            .next()?
            .split(' ')
            .map(|word| word.parse::<u64>().ok());
        <[u64; 4]>::try_from(numbers.collect::<Option<Vec<_>>>()?).ok()
    });
    // Stop it when all three tick.
    let mut all: Vec<[u64; 4]> = Vec::new();
    while !(0..3).all(|policy| all.iter().any(|&[of, ..]| of == policy)) {
        all.push(ticks.next().unwrap());
    }
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(5));
    kill(pid, Signal::SIGCONT).unwrap();
    all.extend(ticks);
    assert!(ticking.wait().unwrap().success());

    for (policy, bound) in [(0, 0), (1, 3), (2, 0)] {
        let ticks: Vec<_> = all.iter().filter(|&&[of, ..]| of == policy).collect();
        for pair in ticks.windows(2) {
            let (&[_, last, ..], &[_, number, missed, behind]) = (pair[0], pair[1]);
            assert_eq!(number - missed, last + 1);
            assert!(
                behind <= bound,
                "at most {bound} ticks wait to be made at once"
            );
        }
        let gaps = ticks
            .iter()
            .filter(|&&&[_, _, missed, _]| missed >= LONG_GAP);
        assert_eq!(gaps.count(), 1, "one tick reports the gap: {ticks:?}");
    }
}

/// 20 ms deadlines for five seconds are 250, less what ran before the stop took hold.
const LONG_GAP: u64 = 200;

/// With each policy until ten ticks after a long gap, or for a minute.
fn tick_and_print() {
    let threads = [0, 1, 2].map(|policy| {
        std::thread::spawn(move || {
            let ticker = Ticker::new(every(20)).unwrap();
            let mut ticker = ticker.with_late_policy(POLICIES[policy]);
            let mut left = 3000;
            while left > 0 {
                let tick = ticker.wait().unwrap();
                let behind = ticker.schedule().number_at(tick.woke) - tick.number;
                println!("> {policy} {} {} {behind}", tick.number, tick.missed);
                left = if tick.missed >= LONG_GAP {
                    10
                } else {
                    left - 1
                };
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}
