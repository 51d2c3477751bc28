//! What the machine did to those who ran on it meanwhile.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What `dahdi_test` measures at a time: 8192 samples.
const PASS: Duration = Duration::from_millis(1024);

/// Unit of `/proc/stat`, seconds.
const TICK: f64 = 0.01;

/// Seconds that the host took from this machine's processors since it started.
pub(crate) fn steal() -> f64 {
    let stat = fs::read_to_string("/proc/stat").expect("read /proc/stat");
    let ticks: f64 = stat
        .split_whitespace()
        .nth(8)
        .and_then(|ticks| ticks.parse().ok())
        .expect("the steal of all processors");
    ticks * TICK
}

/// A thread that sleeps from one moment to the next and measures its seconds as `dahdi_test` does: what any program of normal priority can
/// measure on this machine at this time.
#[derive(Debug)]
pub(crate) struct Sleeper {
    wanted: Arc<AtomicBool>,
    thread: JoinHandle<Vec<f64>>,
}

impl Sleeper {
    pub(crate) fn start() -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let thread = thread::spawn({
            let wanted = Arc::clone(&wanted);
            move || {
                let begin = Instant::now();
                let mut before = begin;
                let mut found = Vec::new();
                let mut pass = 1;
                while wanted.load(Ordering::Relaxed) {
                    thread::sleep((begin + PASS * pass).saturating_duration_since(Instant::now()));
                    let now = Instant::now();
                    let error = (now - before).abs_diff(PASS);
                    found.push(100.0 * (1.0 - error.div_duration_f64(PASS)));
                    before = now;
                    pass += 1;
                }
                found
            }
        });
        Self { wanted, thread }
    }

    /// The worst and the average accuracy, percent.
    pub(crate) fn stop(self) -> (f64, f64) {
        self.wanted.store(false, Ordering::Relaxed);
        let found = self.thread.join().expect("it measured");
        let worst = found.iter().copied().fold(100.0, f64::min);
        (worst, found.iter().sum::<f64>() / found.len() as f64)
    }
}

/// As many busy threads as there are processors, until it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    wanted: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start() -> Self {
        let wanted = Arc::new(AtomicBool::new(true));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..processors)
            .map(|_| {
                let wanted = Arc::clone(&wanted);
                thread::spawn(move || {
                    while wanted.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        Self { wanted, threads }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
