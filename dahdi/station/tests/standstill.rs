//! A process that was stopped for five seconds goes on as the exchange's policy says.

mod program;

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use program::{Program, ordinary_station, steady};

const ROLE: &str = "UNISONO_STATION_TEST_ROLE";

#[test]
fn what_was_missed_is_skipped_and_never_replayed() {
    if std::env::var_os(ROLE).is_some() {
        return is_stopped();
    }
    let test = "what_was_missed_is_skipped_and_never_replayed";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    thread::sleep(Duration::from_secs(1));
    kill(pid, Signal::SIGSTOP).unwrap();
    thread::sleep(Duration::from_secs(5));
    kill(pid, Signal::SIGCONT).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Reads and writes until it has stood still, then sees what came of it.
fn is_stopped() {
    let station = ordinary_station();
    let talker = Program::join(&station, 1, 0x304);
    let listener = Program::join(&station, 1, 0x304);
    let idle = Program::open(&station);
    let mut octets = [0; 2048];
    let begin = Instant::now();
    loop {
        let before = Instant::now();
        assert_eq!(listener.read(&mut octets), Ok(320));
        let _ = talker.write_now(&steady(1_000));
        if before.elapsed() > Duration::from_secs(3) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(50), "never stopped");
    }
    let report = station.report();
    assert!(report.steps.skipped >= 100, "{:?}", report.steps);
    assert!(report.steps.caught_up <= 2 * report.steps.mixed);
    // Of five seconds nothing is kept but what was queued, 20 ms, and what came since.
    let since = Instant::now();
    let mut blocks = 0;
    while listener.read_now(&mut octets).is_ok() {
        blocks += 1;
    }
    let steps = since.elapsed().as_millis() / 20;
    assert!(blocks <= 32 + steps, "{blocks} blocks in {steps} steps");
    // A channel in no conference has its two buffers full, and the rest is lost.
    assert_eq!(idle.read_now(&mut octets), Ok(1024));
    let stats = idle.seat.stats().unwrap();
    assert!(stats.dropped_samples >= 2 * 8000, "{stats:?}");
}
