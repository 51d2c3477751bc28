//! What every test needs: a folder for its evidence, its turn, a server.

#![allow(dead_code)] // Each test program uses its part.

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::Server;

static TURN: Mutex<()> = Mutex::new(());

/// How often the machine is asked whether it stands still, and what it may be late.
const BEAT: Duration = Duration::from_millis(5);
const LATE: Duration = Duration::from_millis(10);

/// A test's place. While one is there, other tests wait.
#[derive(Debug)]
pub(crate) struct Stage {
    folder: PathBuf,
    stalls: Arc<AtomicU64>,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub(crate) fn new(name: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(env!("CARGO_CRATE_NAME"))
            .join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("make the test's folder");
        let stalls = Arc::default();
        thread::spawn({
            let stalls = Arc::downgrade(&stalls);
            move || watch(&stalls)
        });
        Self {
            folder,
            stalls,
            _turn: turn,
        }
    }

    /// Seconds for which this machine stood still, for programs of normal priority such as the peers, since the test began. Audio of that time
    /// may be missing without any fault of the server's.
    pub(crate) fn stalled(&self) -> f64 {
        Duration::from_nanos(self.stalls.load(Ordering::Relaxed)).as_secs_f64()
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
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

/// Adds up how late it is woken, as long as somebody wants to know.
fn watch(stalls: &Weak<AtomicU64>) {
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
