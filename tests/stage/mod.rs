//! What every test needs: a folder for its evidence, its turn, a server.

#![allow(dead_code)] // Each test program uses its part.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::UdpSocket;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use unisono::listening::PRESENT_ABOVE_DB;
use unisono_timer::realtime::RealtimeRequest;

use crate::server::Server;

static TURN: Mutex<()> = Mutex::new(());

/// A machine that stood still no longer, seconds, is no excuse for anything.
const STEADY: f64 = 0.02;

/// How often a scene is played that fails while the machine stands still.
const ATTEMPTS: usize = 5;

/// How much of a sound each second of standing still spoils: phones send late, and what is late is stretched and patched, as it has to be.
const SPOILT: f64 = 4.0;

/// Where it is written down that one was played again; `tests/run` shows it.
const REPEATED: &str = "repeated";

/// Above everything that is tested, so that nothing but the host is taken for a machine that stands still.
const WATCHES_AT: u8 = 98;

/// How often the machine is asked whether it stands still, and what it may be late.
const BEAT: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(10);

/// A test's place. While one is there, other tests wait.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    began: Instant,
    is_last_attempt: bool,
    stalls: Arc<AtomicU64>,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    /// Plays a scene, and plays it again, a few times, where it failed while the machine stood still: the peers are programs of normal priority,
    /// and what they do not get to say or to keep is no fault of the server's. What fails on a steady machine has failed.
    pub(crate) fn play<T>(name: &str, scene: impl Fn(&Self) -> T) -> T {
        let mut attempt = 1;
        loop {
            let mut stage = Self::new(name);
            stage.is_last_attempt = attempt == ATTEMPTS;
            let outcome = catch_unwind(AssertUnwindSafe(|| scene(&stage)));
            let stalled = stage.stalled();
            match outcome {
                Ok(result) => return result,
                Err(panic) if stalled < STEADY || stage.is_last_attempt => resume_unwind(panic),
                Err(_) => note_repetition(name, attempt, stalled),
            }
            stage.put_aside(attempt);
            attempt += 1;
        }
    }

    pub(crate) fn new(name: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(env!("CARGO_CRATE_NAME"))
            .join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("make the test's folder");
        let stalls = Arc::default();
        for processor in processors() {
            let stalls = Arc::downgrade(&stalls);
            thread::spawn(move || watch(processor, &stalls));
        }
        Self {
            folder,
            began: Instant::now(),
            is_last_attempt: false,
            stalls,
            _turn: turn,
        }
    }

    /// What a sound may lack that was heard here. Next to nothing on a steady machine; in proportion to the part of the time for
    /// which it stood still; and in the last attempt at a scene, on a machine that never stood firm, half of it.
    pub(crate) fn tolerance(&self) -> Tolerance {
        let stalled = self.stalled();
        if stalled < STEADY {
            return Tolerance::NONE;
        }
        if self.is_last_attempt {
            return Tolerance::MOST;
        }
        let spoilt = stalled / self.began.elapsed().as_secs_f64() * SPOILT;
        let Tolerance {
            softest_db,
            damaged,
            lost,
        } = Tolerance::NONE;
        Tolerance {
            softest_db: if spoilt < 0.05 { softest_db } else { -12.0 },
            damaged: (damaged + spoilt).min(0.3),
            lost: (lost + spoilt).min(0.1),
        }
    }

    /// Seconds for which this machine's processors stood still, added up, since the test began.
    pub(crate) fn stalled(&self) -> f64 {
        Duration::from_nanos(self.stalls.load(Ordering::Relaxed)).as_secs_f64()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Keeps the evidence of an attempt that is repeated.
    fn put_aside(&self, attempt: usize) {
        let kept = self.folder.with_extension(format!("attempt-{attempt}"));
        let _ = fs::remove_dir_all(&kept);
        let _ = fs::rename(&self.folder, kept);
    }

    /// A folder in the test's own.
    pub(crate) fn subfolder(&self, name: &str) -> PathBuf {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).expect("make a folder");
        folder
    }

    /// A server that leaves the talking to its callers, with more `configuration`. Its ports for audio are none that the peers use.
    pub(crate) fn server(&self, configuration: &str) -> Server {
        let quiet = "[conferences]\nannounce_only_person = false\nannounce_join_leave = false\n";
        self.server_that_talks(&format!("{quiet}{configuration}"))
    }

    /// The same with its announcements.
    pub(crate) fn server_that_talks(&self, configuration: &str) -> Server {
        let ports = "[media]\nfirst_port = 20000\nlast_port = 24999\nmax_legs = 1000\n";
        Server::start(&self.folder, Some(&format!("{ports}{configuration}")))
    }
}

/// What a sound may lack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    /// The least level of a voice, against the one it spoke at, dB.
    pub(crate) softest_db: f32,
    /// The part of what is said that may be missing or replaced.
    pub(crate) damaged: f64,
    /// The part of the packets that may be lost.
    pub(crate) lost: f64,
}

impl Tolerance {
    pub(crate) const NONE: Self = Self {
        softest_db: -6.0,
        damaged: 0.05,
        lost: 0.0,
    };

    /// Who is heard is judged however the machine stood still; with this, little more.
    const MOST: Self = Self {
        softest_db: PRESENT_ABOVE_DB,
        damaged: 0.5,
        lost: 0.25,
    };
}

fn note_repetition(name: &str, attempt: usize, stalled: f64) {
    let line = format!(
        "{}: {name} failed while the machine stood still for {stalled:.2} s (attempt {attempt} of {ATTEMPTS}): once more\n",
        env!("CARGO_CRATE_NAME")
    );
    print!("{line}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(REPEATED);
    let file = OpenOptions::new().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// The processors that this program may use.
fn processors() -> impl Iterator<Item = usize> {
    let all = sched_getaffinity(Pid::from_raw(0)).expect("this program's processors");
    (0..CpuSet::count()).filter(move |&processor| all.is_set(processor).unwrap_or(false))
}

/// Adds up how late it is woken on a processor, as long as somebody wants to know.
fn watch(processor: usize, stalls: &Weak<AtomicU64>) {
    // What is refused makes it less sure, and that is all.
    let _ = RealtimeRequest::new()
        .fifo(WATCHES_AT)
        .pin_to(processor)
        .apply();
    while let Some(stalls) = stalls.upgrade() {
        let before = Instant::now();
        thread::sleep(BEAT);
        let late = before.elapsed() - BEAT;
        if late > LATE {
            stalls.fetch_add(late.as_nanos() as u64, Ordering::Relaxed);
        }
    }
}

/// A free even port, and some more behind it.
pub(crate) fn free_port() -> u16 {
    let free = |port| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    (0..1000)
        .filter_map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
            Some(socket.local_addr().ok()?.port() & !1)
        })
        .find(|&port| (0..12).all(|offset| free(port + offset)))
        .expect("free UDP ports in a row")
}
