//! What a member of a conference costs: program threads that poll, read and write as MeetMe's do, in one conference.
//!
//! `cargo bench -p unisono-dahdi-station --bench members [seconds]`. Processor time is the whole process's: the threads' system
//! calls, the mixing, the doorbells. Beside it what as many threads cost that do nothing but poll and read an eventfd each, to
//! which one thread writes every 20 ms: what any conference costs whose members have threads of their own. And what `dahdi_test`
//! would say meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use unisono_dahdi::request::{BufInfo, ConfInfo, Request};
use unisono_dahdi_station::{Seat, Settings, Sharing, Station};
use unisono_timer::{MonoTime, Period, Schedule, Ticker};

fn main() {
    let seconds = std::env::args().filter_map(|text| text.parse().ok()).next();
    let time = Duration::from_secs(seconds.unwrap_or(5));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
    println!(
        "members  CPU/member/frame  bare threads  frames  lock wait p50 / p99 / max  lateness p50 / p99 / max  dahdi_test worst / mean"
    );
    for members in [1, 10, 50, 100, 500] {
        measure(members, time);
    }
}

fn measure(members: usize, time: Duration) {
    let mut settings = Settings::default();
    settings.sharing = Sharing::Alone;
    let station = Station::new(settings).unwrap();
    let (done, frames) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut cpu, mut blocks, mut accuracy) = (0.0, 0, (100.0_f64, 0.0));
    thread::scope(|scope| {
        for n in 0..members {
            let program = open(&station);
            let (done, frames) = (&done, &frames);
            thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn_scoped(scope, move || member(&program, n, done, frames))
                .unwrap();
        }
        thread::sleep(Duration::from_millis(1_500));
        let before = (processor_time(), frames.load(Ordering::Relaxed));
        accuracy = dahdi_test(&station, time);
        let after = (processor_time(), frames.load(Ordering::Relaxed));
        cpu = after.0 - before.0;
        blocks = after.1 - before.1;
        done.store(true, Ordering::Relaxed);
    });
    let us = |nanos: u64| nanos as f64 / 1e3;
    let (waits, lateness) = (
        station.lock_waits().snapshot(),
        station.lateness().snapshot(),
    );
    let line = |snapshot: &unisono_timer::Snapshot| {
        format!(
            "{:.1} / {:.1} / {:.0} us",
            us(snapshot.quantile(0.5)),
            us(snapshot.quantile(0.99)),
            us(snapshot.max())
        )
    };
    let bare = bare_threads(members, time);
    println!(
        "{members:7}  {:13.2} us  {bare:9.2} us  {blocks:6}  {:>25}  {:>25}  {:.3} / {:.3} %",
        cpu / blocks.max(1) as f64 * 1e6,
        line(&waits),
        line(&lateness),
        accuracy.0,
        accuracy.1,
    );
    if let Some(grant) = station.grant() {
        eprintln!("         {grant}");
    }
}

fn open(station: &Station) -> (OwnedFd, Arc<Seat>) {
    let (descriptor, seat) = station.open().unwrap();
    let buffers = BufInfo {
        tx_policy: 0,
        rx_policy: 0,
        buffers: 32,
        block: 160,
        read_buffers: 0,
        write_buffers: 0,
    };
    let conference = ConfInfo {
        channel: 0,
        conference: 1023,
        mode: 0x304,
    };
    for request in [
        Request::SetBufInfo(buffers),
        Request::SetLinear(true),
        Request::SetConf(conference),
    ] {
        seat.request(request).unwrap();
    }
    (descriptor, seat)
}

/// One of MeetMe's threads.
fn member(
    (descriptor, seat): &(OwnedFd, Arc<Seat>),
    number: usize,
    done: &AtomicBool,
    frames: &AtomicU64,
) {
    let mut heard = [0; 320];
    let mut said = [0; 320];
    while !done.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(
            descriptor.as_fd(),
            PollFlags::POLLIN | PollFlags::POLLPRI,
        )];
        poll(&mut fds, PollTimeout::from(1_000_u16)).unwrap();
        if seat.read(&mut heard, true).is_ok() {
            said[number % 320] = heard[0].wrapping_add(7) & 31;
            let _ = seat.write(&said, true);
            frames.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The worst and the mean of passes of 8192 samples, in percent, reckoned as `dahdi_test` does.
fn dahdi_test(station: &Station, time: Duration) -> (f64, f64) {
    let (_descriptor, seat) = station.open().unwrap();
    let mut octets = [0; 8192];
    for _ in 0..4 {
        seat.read(&mut octets, false).unwrap();
    }
    let begin = Instant::now();
    let (mut worst, mut sum, mut passes) = (100.0_f64, 0.0, 0);
    while begin.elapsed() < time {
        let (mut count, mut took) = (0.0, 0.0);
        while count < 8_000.0 {
            let before = Instant::now();
            count += seat.read(&mut octets, false).unwrap() as f64;
            took += before.elapsed().as_secs_f64() * 8_000.0;
        }
        let accuracy = 100.0 * (count - (count - took).abs().min(count)) / count;
        worst = worst.min(accuracy);
        sum += accuracy;
        passes += 1;
    }
    (worst, sum / f64::from(passes))
}

/// What a thread costs for each time that it is woken, microseconds.
fn bare_threads(count: usize, time: Duration) -> f64 {
    let flags = EfdFlags::EFD_NONBLOCK;
    let events: Vec<_> = (0..count)
        .map(|_| EventFd::from_value_and_flags(0, flags).unwrap())
        .collect();
    let (done, frames) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut cost = 0.0;
    thread::scope(|scope| {
        for event in &events {
            let (done, frames) = (&done, &frames);
            thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn_scoped(scope, move || {
                    while !done.load(Ordering::Relaxed) {
                        let mut fds = [PollFd::new(event.as_fd(), PollFlags::POLLIN)];
                        poll(&mut fds, PollTimeout::from(1_000_u16)).unwrap();
                        if event.read().is_ok() {
                            frames.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
                .unwrap();
        }
        let begin = MonoTime::now();
        let schedule = Schedule::new(begin, Period::from_rate(50, 1).unwrap());
        let mut ticker = Ticker::new(schedule).unwrap();
        let before = processor_time();
        while MonoTime::now().since(begin) < time {
            ticker.wait().unwrap();
            for event in &events {
                event.write(1).unwrap();
            }
        }
        let woken = frames.load(Ordering::Relaxed).max(1);
        cost = (processor_time() - before) / woken as f64 * 1e6;
        done.store(true, Ordering::Relaxed);
    });
    cost
}

/// Of all threads, in seconds.
fn processor_time() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9
}
