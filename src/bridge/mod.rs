//! Links between conferences of this server and DAHDI's, in which programs under the preload library meet (MeetMe).
//!
//! The server is one more process on the DAHDI trunk ([`unisono_dahdi_trunk`]). For each link there is a leg by rings in
//! the conference here ([`RingEnd`]), and a line of the trunk to the conference there; a real-time thread moves a frame
//! each way every 20 ms, on the grid of CLOCK_MONOTONIC that all exchanges keep. All clocks are the same machine's, so
//! nothing drifts.
//!
//! A link is connected only while somebody is on both sides. It never holds a DAHDI number itself: so numbers are
//! allocated as without it, and two servers do not keep each other's conference alive.
//!
//! | file | what |
//! |---|---|
//! | `setup.rs` | opens the trunk, and waits for a directory that cannot be used yet |
//! | `mover.rs` | the real-time thread: frames from ring to line and back |
//! | `watch.rs` | an ordinary thread: who is in the DAHDI conferences, and answers to `unisono dahdi status` |
//!
//! From a phone to a listener in MeetMe a frame waits 20 to 40 ms in its ring and 20 ms on the trunk; the same the other way.
//! After a stall old frames are dropped and counted, so that neither grows for good: see [`crate::engine::RingEnd`].

#[doc(hidden)]
pub mod mover;
mod setup;
#[cfg(test)]
mod tests;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::Notify;
use unisono_dahdi_trunk::TrunkError;
use unisono_mixer::SampleRate;
use unisono_timer::{RealtimeRequest, TickerError};

use crate::engine::RingEnd;
use setup::Setup;
use watch::Request;

/// Rate of the frames of DAHDI's conferences.
pub const LINK_RATE: SampleRate = SampleRate::Hz8000;

/// Why there can be no links.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// The place where processes share DAHDI conferences cannot be used.
    #[error(
        "cannot take part in DAHDI conferences: {0}; set [dahdi] directory to one that the PBX uses too, or remove [[dahdi.conference]]"
    )]
    Trunk(#[from] TrunkError),
    /// A thread or descriptor could not be had: raise the limits of the process.
    #[error(
        "cannot start the thread of the DAHDI links: {0}; raise the limits of threads and open files"
    )]
    System(#[from] io::Error),
    /// The kernel refused a timer.
    #[error("cannot start the thread of the DAHDI links: {0}")]
    Ticker(#[from] TickerError),
}

/// All links to DAHDI conferences, each known by its place in the list that the bridge was started with.
#[derive(Debug)]
pub struct Bridge {
    requests: std::sync::mpsc::Sender<Request>,
    wake: Arc<EventFd>,
    news: Arc<News>,
    /// Where it meets others; or why it could not at the start.
    directory: Result<PathBuf, String>,
    watch: Option<JoinHandle<()>>,
}

/// What the watching thread tells.
#[derive(Debug)]
struct News {
    /// Of each link, whether another process is in its DAHDI conference.
    occupied: Box<[AtomicBool]>,
    changed: Arc<Notify>,
    /// The real-time thread has ended.
    broken: AtomicBool,
    /// Why others are not met at present.
    problem: Mutex<Option<String>>,
}

impl News {
    fn problem(&self) -> Option<String> {
        let problem = self.problem.lock();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_problem(&self, problem: Option<String>) {
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    }
}

impl BridgeError {
    /// Whether it may be over at another try: somebody makes the directory, or room in it.
    fn may_pass(&self) -> bool {
        match self {
            // A path that is none, such as a relative one, will never be one.
            Self::Trunk(TrunkError::BadDirectory { source, .. }) => {
                source.kind() != io::ErrorKind::InvalidInput
            }
            Self::Trunk(_) => true,
            Self::System(_) | Self::Ticker(_) => false,
        }
    }
}

impl Bridge {
    /// Opens the trunk in `directory`, or where the environment says, and starts the threads. `conferences` are the DAHDI
    /// numbers (1 to 1024), one for each link; `priority` is SCHED_FIFO's, 1 to 99, `None` asks for no real-time scheduling.
    ///
    /// A directory that cannot be used is tried again every two seconds: the PBX that makes it may start later. Until then
    /// [`problem`](Self::problem) says why, and nobody is in any conference.
    ///
    /// # Errors
    /// [`BridgeError::System`], [`BridgeError::Ticker`]; [`BridgeError::Trunk`] for a directory whose path is not absolute.
    pub fn start(
        directory: Option<&Path>,
        conferences: &[u16],
        priority: Option<u8>,
    ) -> Result<Self, BridgeError> {
        let news = Arc::new(News {
            occupied: conferences.iter().map(|_| AtomicBool::new(false)).collect(),
            changed: Arc::default(),
            broken: AtomicBool::new(false),
            problem: Mutex::default(),
        });
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = Arc::new(EventFd::from_flags(flags).map_err(io::Error::from)?);
        let (requests, inbox) = std::sync::mpsc::channel();
        let setup = Setup {
            directory: directory.map(Path::to_owned),
            conferences: conferences.to_vec(),
            request: realtime_request(priority),
            news: Arc::clone(&news),
            wake: Arc::clone(&wake),
        };
        let opened = match setup.open() {
            Err(error) if !error.may_pass() => return Err(error),
            opened => opened,
        };
        let directory = match &opened {
            Ok(watch) => Ok(watch.directory().to_owned()),
            Err(error) => Err(error.to_string()),
        };
        news.set_problem(directory.as_ref().err().cloned());
        let watch = std::thread::Builder::new()
            .name("unisono-dahdi".into())
            .spawn(move || {
                let opened = opened.map_or_else(|error| setup.wait(error, &inbox), Some);
                if let Some(watch) = opened {
                    watch.run(&inbox);
                }
            })?;
        Ok(Self {
            requests,
            wake,
            news,
            directory,
            watch: Some(watch),
        })
    }

    /// Where it meets other processes.
    ///
    /// # Errors
    /// Why it could not at the start, in words.
    pub fn directory(&self) -> Result<&Path, &str> {
        match &self.directory {
            Ok(path) => Ok(path),
            Err(reason) => Err(reason),
        }
    }

    /// Notified when [`is_occupied`](Self::is_occupied) has changed for any link.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.news.changed)
    }

    /// Whether another process is in the DAHDI conference of a link, as of a tenth of a second ago.
    pub fn is_occupied(&self, link: usize) -> bool {
        self.news
            .occupied
            .get(link)
            .is_some_and(|occupied| occupied.load(Ordering::Acquire))
    }

    /// Why it cannot meet other processes at present, if it cannot. That is tried again every two seconds.
    pub fn problem(&self) -> Option<String> {
        self.news.problem()
    }

    /// Whether a thread of it has ended: then no link is heard any more.
    pub fn is_broken(&self) -> bool {
        let watch_ended = self.watch.as_ref().is_none_or(JoinHandle::is_finished);
        watch_ended || self.news.broken.load(Ordering::Relaxed)
    }

    /// Enters the DAHDI conference of a link, for whoever is behind `end`, which is at [`LINK_RATE`].
    pub fn connect(&self, link: usize, end: RingEnd) {
        self.ask(Request::Connect(link, end));
    }

    /// Leaves the DAHDI conference of a link.
    pub fn disconnect(&self, link: usize) {
        self.ask(Request::Disconnect(link));
    }

    fn ask(&self, request: Request) {
        // Without a reader the thread has broken down, and there is nothing to move.
        let _ = self.requests.send(request);
        let _ = self.wake.write(1);
    }
}

impl Drop for Bridge {
    /// Leaves all DAHDI conferences and ends the threads.
    fn drop(&mut self) {
        self.ask(Request::Stop);
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}

fn realtime_request(priority: Option<u8>) -> RealtimeRequest {
    match priority {
        None => RealtimeRequest::new(),
        Some(priority) => RealtimeRequest::new()
            .fifo(priority)
            .lock_memory()
            .prefault_stack(64 * 1024),
    }
}
