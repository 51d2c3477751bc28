//! What is done to a ticking process from outside: stopped, forked, its wall clock stepped.

mod child;
mod handles;

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use handles::{accounted, ordinary_source, wait_readable};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
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

/// Both sides of the test: the child steps the clock, there and back again; the parent sees to it that it is back whatever became of the
/// child.
#[test]
#[ignore = "steps the machine's wall clock by a tenth of a second for some ticks; alone, and with CAP_SYS_TIME"]
fn a_step_of_the_wall_clock_changes_nothing() {
    let role = "a_step_of_the_wall_clock_changes_nothing";
    if child::is(role) {
        // Should it hang, it ends all the same.
        nix::unistd::alarm::set(60);
        ignore_interruptions();
        return step_and_tick();
    }
    if let Err(refusal) = step_wall_clock(0) {
        println!(
            "not tested: this machine does not let its clock be stepped ({refusal}); give CAP_SYS_TIME outside a container"
        );
        return;
    }
    let before = wall_offset();
    let ended = child::start_ignored(role, || Ok(())).wait_with_output();
    let moved = wall_offset() - before;
    if moved.abs() > STEP_NANOS / 2 {
        step_wall_clock(-moved).unwrap();
    }
    let output = ended.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{text}", output.status);
    assert!(text.contains("1 passed"), "{text}");
    let left = wall_offset() - before;
    assert!(left.abs() < STEP_NANOS / 2, "the clock is {left} ns off");
    assert!(
        moved.abs() < STEP_NANOS / 2,
        "the clock was left {moved} ns off"
    );
}

fn step_and_tick() {
    let source = ordinary_source();
    let timer = source.open().unwrap();
    timer.set_rate(200).unwrap();
    let schedule = timer.schedule().unwrap();
    let mut acked = 0;
    // Whether a tick comes while the clock is elsewhere, and never one before its time.
    let mut comes = || {
        acked += u64::from(timer.ack_all().unwrap_or(0));
        let came = wait_readable(&timer, 75);
        acked += u64::from(timer.ack_all().unwrap_or(0));
        assert!(acked + accounted(&timer) <= schedule.number_at(MonoTime::now()));
        came
    };
    // On a clock that is stepped back a wait would last 100 ms longer. So might it on a machine that stalls,
    // but not each time. Forward, it would end early, which no stall excuses.
    let mut undisturbed = [false; 4];
    let all_undisturbed = (0..20).any(|n| {
        let ticker = Ticker::new(every(5)).unwrap();
        let mut ticker = if n % 2 == 0 {
            ticker
        } else {
            ticker.precise(Precision::default())
        };
        ticker.wait().unwrap();
        let by = if n / 2 % 2 == 0 {
            -STEP_NANOS
        } else {
            STEP_NANOS
        };
        step_wall_clock(by).unwrap();
        let ticks = [(); 4].map(|()| ticker.wait().unwrap());
        let came = comes();
        step_wall_clock(-by).unwrap();
        let after = [(); 4].map(|()| ticker.wait().unwrap());
        let came = comes() && came;
        let mut all = ticks.iter().chain(&after);
        assert!(all.clone().all(|tick| tick.woke >= tick.deadline));
        // Of both kinds, in both directions.
        undisturbed[n % 4] |= came && all.all(|tick| tick.missed < 15);
        undisturbed == [true; 4]
    });
    assert!(all_undisturbed, "{undisturbed:?}");
}

/// Whoever ends this between a step and its undoing would leave the clock wrong. An alarm still ends it, and then its parent mends that.
fn ignore_interruptions() {
    for interruption in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: no handler is installed.
        unsafe { signal(interruption, SigHandler::SigIgn) }.unwrap();
    }
}

/// Moves the wall clock; by 0 it tells whether that is allowed.
fn step_wall_clock(nanos: i128) -> std::io::Result<()> {
    let before = wall_offset();
    // SAFETY: all zero is a valid timex.
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
    change.time.tv_sec = nanos.div_euclid(1_000_000_000) as _;
    change.time.tv_usec = nanos.rem_euclid(1_000_000_000) as _;
    // SAFETY: `change` is valid to read and write.
    if unsafe { libc::adjtimex(&mut change) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    let moved = wall_offset() - before;
    assert!((moved - nanos).abs() < STEP_NANOS / 2, "{moved} ns");
    Ok(())
}

/// The wall clock minus CLOCK_MONOTONIC, ns: of several readings the one that was interrupted least.
fn wall_offset() -> i128 {
    let readings = (0..20).map(|_| {
        let before = clock_nanos(libc::CLOCK_MONOTONIC);
        let wall = clock_nanos(libc::CLOCK_REALTIME);
        let after = clock_nanos(libc::CLOCK_MONOTONIC);
        (after - before, i128::from(wall) - i128::from(after))
    });
    readings.min().unwrap().1
}

const STEP_NANOS: i128 = 100_000_000;

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
