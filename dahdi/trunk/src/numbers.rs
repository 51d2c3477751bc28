//! Which conferences are in use, system-wide.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use unisono_dahdi::exchange::MAX_CONFERENCE;

use crate::directory::{Directory, is_at};
use crate::error::TrunkError;

/// The numbers of the conferences that are in use by any process of the directory.
///
/// Byte n of a file stands for conference n. Who is in it holds a lock for reading there, so that many can; who looks for a free one
/// locks it for writing first. The kernel takes locks away with the process. They belong to the open file, not to the process (`F_OFD_SETLK`), so
/// that nothing else that the program closes drops them.
#[derive(Debug)]
pub struct Numbers {
    file: File,
    path: PathBuf,
    held: Mutex<Box<[bool; COUNT]>>,
}

const COUNT: usize = MAX_CONFERENCE as usize + 1;

/// How often, and how long apart, a lock is tried again while somebody tries out the number: that takes microseconds.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);

impl Numbers {
    pub(crate) fn open(directory: &Directory) -> Result<Self, TrunkError> {
        let path = directory.join("numbers");
        let file = directory
            .open_or_create(&path)
            .map_err(|error| TrunkError::of("opening it", &path, error))?;
        Ok(Self {
            file,
            path,
            held: Mutex::new(Box::new([false; COUNT])),
        })
    }

    /// Takes a conference that no process is in, from 1023 downwards, and holds it. `None` if there is none.
    pub fn reserve(&self) -> Option<i32> {
        let mut held = self.held();
        (1..MAX_CONFERENCE).rev().find(|&number| {
            let free = !held[number as usize]
                && self.lock(libc::F_WRLCK, number).is_ok()
                && self.lock(libc::F_RDLCK, number).is_ok();
            held[number as usize] |= free;
            free
        })
    }

    /// Says that this process is in a conference. Once is enough, however many channels are.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for a number that no conference has; otherwise what the system says when it gives no lock.
    pub fn hold(&self, conference: i32) -> io::Result<()> {
        let at = index(conference)?;
        let mut held = self.held();
        if held[at] {
            return Ok(());
        }
        for _ in 0..TRIES {
            match self.lock(libc::F_RDLCK, conference) {
                Err(Errno::EAGAIN | Errno::EACCES) => thread::sleep(PAUSE),
                other => {
                    other?;
                    held[at] = true;
                    return Ok(());
                }
            }
        }
        Err(Errno::EAGAIN.into())
    }

    /// As [`hold`](Self::hold), and returns whether it is certain that no other process was in it.
    ///
    /// # Errors
    ///
    /// As [`hold`](Self::hold).
    pub fn claim(&self, conference: i32) -> io::Result<bool> {
        let at = index(conference)?;
        let mut held = self.held();
        if !held[at]
            && self.lock(libc::F_WRLCK, conference).is_ok()
            && self.lock(libc::F_RDLCK, conference).is_ok()
        {
            held[at] = true;
            return Ok(true);
        }
        drop(held);
        self.hold(conference).map(|()| false)
    }

    /// Says that this process is no longer in a conference.
    pub fn release(&self, conference: i32) {
        let Ok(at) = index(conference) else {
            return;
        };
        if std::mem::take(&mut self.held()[at]) {
            // Unlocking what is locked cannot be refused.
            let _ = self.lock(libc::F_UNLCK, conference);
        }
    }

    /// Whether another process is in a conference.
    pub fn is_held_elsewhere(&self, conference: i32) -> bool {
        if index(conference).is_err() {
            return false;
        }
        let mut lock = record(libc::F_WRLCK, conference);
        fcntl(&self.file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok()
            && lock.l_type != libc::F_UNLCK as libc::c_short
    }

    /// Conferences that this process holds, lowest first.
    pub fn held_here(&self) -> Vec<i32> {
        let held = self.held();
        (1..=MAX_CONFERENCE)
            .filter(|&number| held[number as usize])
            .collect()
    }

    /// Conferences that any other process holds, lowest first.
    pub fn held_elsewhere(&self) -> Vec<i32> {
        (1..=MAX_CONFERENCE)
            .filter(|&number| self.is_held_elsewhere(number))
            .collect()
    }

    /// Whether others can still find it.
    pub(crate) fn is_published(&self) -> bool {
        is_at(&self.path, &self.file)
    }

    fn held(&self) -> MutexGuard<'_, Box<[bool; COUNT]>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, kind: libc::c_int, conference: i32) -> Result<(), Errno> {
        fcntl(&self.file, FcntlArg::F_OFD_SETLK(&record(kind, conference))).map(drop)
    }
}

impl AsFd for Numbers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn index(conference: i32) -> io::Result<usize> {
    if (1..=MAX_CONFERENCE).contains(&conference) {
        return Ok(conference as usize);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        TrunkError::NoSuchConference(conference),
    ))
}

/// A lock on a conference's byte.
fn record(kind: libc::c_int, conference: i32) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: conference.into(),
        l_len: 1,
        l_pid: 0,
    }
}
