//! What the trunk is opened with, and the wait for a directory that cannot be used yet.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::EventFd;
use tracing::{info, warn};
use unisono_dahdi_trunk::Directory;
use unisono_timer::RealtimeRequest;

use super::watch::{Request, Said, Watch};
use super::{BridgeError, News};

/// How often it is tried again to open the trunk, ms.
const AGAIN_MS: u16 = 2000;

/// What the trunk is opened with.
#[derive(Debug)]
pub(super) struct Setup {
    /// `None` is where the environment says.
    pub(super) directory: Option<PathBuf>,
    /// The DAHDI number of each link.
    pub(super) conferences: Vec<u16>,
    pub(super) request: RealtimeRequest,
    pub(super) news: Arc<News>,
    pub(super) wake: Arc<EventFd>,
}

impl Setup {
    /// Opens the trunk.
    pub(super) fn open(&self) -> Result<Watch, BridgeError> {
        let directory = match &self.directory {
            Some(path) => Directory::at(path)?,
            None => Directory::from_environment()?,
        };
        Watch::new(directory, self)
    }

    /// Tries again to open it, for as long as it takes; `None` when asked to stop, or when nobody can ask any more.
    pub(super) fn wait(&self, mut error: BridgeError, inbox: &Receiver<Request>) -> Option<Watch> {
        let mut said = Said::default();
        loop {
            let problem = error.to_string();
            if said.is_news(&problem) {
                warn!("DAHDI links: not yet: {problem}");
            }
            self.news.set_problem(Some(problem));
            self.sleep();
            loop {
                match inbox.try_recv() {
                    Ok(Request::Stop) | Err(TryRecvError::Disconnected) => return None,
                    // Nobody is seen in any conference, so no link is connected.
                    Ok(Request::Connect(..) | Request::Disconnect(_)) => {}
                    Err(TryRecvError::Empty) => break,
                }
            }
            match self.open() {
                Ok(watch) => {
                    info!("DAHDI links: the trunk is open now");
                    self.news.set_problem(None);
                    return Some(watch);
                }
                Err(again) => error = again,
            }
        }
    }

    fn sleep(&self) {
        let mut wanted = [PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        // A signal ends it early, which does no harm.
        let _ = poll(&mut wanted, PollTimeout::from(AGAIN_MS));
        let _ = self.wake.read();
    }
}
