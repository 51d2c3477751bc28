//! Asking all processes of a directory what they do.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::read;

use crate::answering::{self, END, ask};
use crate::directory::Directory;
use crate::report::{ProcessReport, printable};
use crate::segment;

/// Octets of an answer that are read: more than any process has channels for.
const MAX_ANSWER: usize = 4 << 20;

/// A process that did not say what it does.
#[derive(Debug, thiserror::Error)]
#[error("process {pid}: {error}")]
pub struct Unanswered {
    /// Its number, from the name of its socket.
    pub pid: u32,
    /// Why not.
    pub error: SurveyError,
}

/// Why a process did not say what it does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurveyError {
    /// It took longer than it was given: it stands still, or the machine is busy.
    #[error("no answer in time: it is stopped, or very busy (look at it with ps)")]
    Timeout,
    /// This user may not ask.
    #[error("permission denied: ask as its user, as root, or as a member of the directory's group")]
    Denied,
    /// It said something else than a report.
    #[error("its answer is none: {0}. Does it run another version of unisono?")]
    Nonsense(String),
    /// Asking failed otherwise.
    #[error("asking failed: {0}")]
    System(io::Error),
}

/// Asks all processes of a directory at the same time, and returns what they answer within `timeout`, lowest number first.
///
/// A process that is stopped costs the timeout and nothing else. Control characters in what they say are replaced.
/// What dead processes left is removed in a directory of this user's or root's; in others, it is only not reported.
///
/// # Errors
///
/// If the directory cannot be read; what is wrong with a process is in its place.
pub fn survey(
    directory: &Directory,
    timeout: Duration,
) -> io::Result<Vec<Result<ProcessReport, Unanswered>>> {
    let until = Instant::now() + timeout;
    let left = if directory.is_own() {
        directory.stems(segment::END)?
    } else {
        Vec::new()
    };
    for stem in left {
        // What cannot be removed harms nobody.
        let _ = segment::clear(&directory.join(&format!("{stem}{}", segment::END)));
    }
    let mut asked: Vec<Asked> = directory
        .stems(END)?
        .iter()
        .filter_map(|stem| Asked::new(directory, stem))
        .collect();
    asked.sort_by_key(|asked| asked.pid);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let (open, mut waits): (Vec<_>, Vec<_>) = asked
            .iter()
            .enumerate()
            .filter_map(|(n, asked)| {
                let socket = asked.socket.as_ref()?;
                Some((n, PollFd::new(socket.as_fd(), PollFlags::POLLIN)))
            })
            .unzip();
        if open.is_empty() {
            break;
        }
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let ready = match poll(&mut waits, wait) {
            Ok(0) | Err(Errno::EINTR) if left.is_zero() => break,
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        if ready == 0 {
            break;
        }
        let ready: Vec<usize> = open
            .into_iter()
            .zip(&waits)
            .filter(|(_, wait)| wait.any().unwrap_or(true))
            .map(|(n, _)| n)
            .collect();
        for n in ready {
            asked[n].take();
        }
    }
    Ok(asked.into_iter().map(Asked::report).collect())
}

/// One that was asked.
struct Asked {
    pid: u32,
    /// While it may still say something.
    socket: Option<OwnedFd>,
    answer: Vec<u8>,
    error: Option<SurveyError>,
}

impl Asked {
    /// Asks; `None` if nobody is there any more.
    fn new(directory: &Directory, stem: &str) -> Option<Self> {
        let pid = stem.split('-').next()?.parse().ok()?;
        let path = directory.join(&format!("{stem}{END}"));
        let (socket, error) = match ask(&path) {
            Ok(socket) => (Some(socket), None),
            Err(Errno::ENOENT) => return None,
            Err(Errno::ECONNREFUSED) => {
                if directory.is_own() {
                    answering::remove_if_dead(&path);
                }
                return None;
            }
            // Nobody has taken up those who asked before.
            Err(Errno::EAGAIN) => (None, Some(SurveyError::Timeout)),
            Err(Errno::EACCES | Errno::EPERM) => (None, Some(SurveyError::Denied)),
            Err(errno) => (None, Some(SurveyError::System(errno.into()))),
        };
        Some(Self {
            pid,
            socket,
            answer: Vec::new(),
            error,
        })
    }

    /// Takes a piece of the answer.
    fn take(&mut self) {
        let Some(socket) = &self.socket else {
            return;
        };
        let mut piece = [0; 16_384];
        match read(socket, &mut piece) {
            Ok(0) => self.socket = None,
            Ok(more) => self.answer.extend_from_slice(&piece[..more]),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => {
                self.error = Some(SurveyError::System(errno.into()));
                self.socket = None;
            }
        }
        if self.answer.len() > MAX_ANSWER {
            self.error = Some(SurveyError::Nonsense("it does not end".to_owned()));
            self.socket = None;
        }
    }

    /// What has become of it.
    fn report(self) -> Result<ProcessReport, Unanswered> {
        let error = match (self.error, self.socket) {
            (Some(error), _) => error,
            (None, Some(_)) => SurveyError::Timeout,
            (None, None) => match serde_json::from_slice::<ProcessReport>(&self.answer) {
                Ok(report) => return Ok(report.printable()),
                Err(error) => SurveyError::Nonsense(printable(&error.to_string())),
            },
        };
        Err(Unanswered {
            pid: self.pid,
            error,
        })
    }
}
