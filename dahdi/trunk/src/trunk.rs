//! This process's end of the trunk.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::answering;
use crate::directory::Directory;
use crate::error::{Refused, SegmentError, TrunkError};
use crate::lines::{Counters, TrunkLines, number};
use crate::neighbours::{Roll, crossing};
use crate::numbers::Numbers;
use crate::segment::{END, Mapping, NEW_END, Own, Place, check_extent, clear};

/// What one process has of the conferences that processes share.
///
/// All of it is for threads that may wait, but [`Trunk::lines`], which is the tick's. Dropping it removes this process's segment, and
/// others no longer hear it; dropping a copy that a child inherited by `fork` changes nothing for its parent.
#[derive(Debug)]
pub struct Trunk {
    directory: Directory,
    own: Arc<Own>,
    numbers: Numbers,
    lines: Mutex<Option<TrunkLines>>,
    counters: Arc<Counters>,
    service: Mutex<Service>,
}

/// What looking for others needs.
#[derive(Debug)]
struct Service {
    roll: Roll,
    known: Vec<Known>,
    /// Whether what is left of dead processes has been looked for.
    swept: bool,
}

#[derive(Debug)]
struct Known {
    stem: String,
    /// Device and inode.
    file: (u64, u64),
    id: u64,
    segment: Arc<Mapping>,
}

/// Another process that shares conferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its number, as it sees itself: in another container, that is another one.
    pub pid: u32,
    /// Its program, as it says.
    pub program: String,
}

/// What [`Trunk::refresh`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refreshed {
    /// Other processes that are there.
    pub processes: usize,
    /// Of these, new ones.
    pub newcomers: usize,
    /// Processes that are there no more.
    pub gone: usize,
    /// Segments that cannot be used.
    pub refused: Vec<Refused>,
    /// Whether others can find this process. If not, somebody has removed its segment or `numbers`: the trunk is to be opened anew.
    pub is_published: bool,
}

/// What the tick has counted since the trunk was opened, each for 20 ms of one conference of one other process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrunkStats {
    /// Frames heard from others.
    pub frames: u64,
    /// Steps in which a frame had not come yet: silence, then it is heard later.
    pub late: u64,
    /// Frames that are lost.
    pub lost: u64,
    /// Frames left out to win back delay.
    pub cut: u64,
}

impl Trunk {
    /// Makes this process's segment, which names its program to others, and looks for theirs.
    ///
    /// # Errors
    ///
    /// [`TrunkError::Denied`], [`TrunkError::DeniedFile`], [`TrunkError::NoRoom`] for 1.4 MB, [`TrunkError::Taken`], or [`TrunkError::System`].
    pub fn open(directory: &Directory, program: &str) -> Result<Self, TrunkError> {
        let numbers = Numbers::open(directory)?;
        let own = Arc::new(Own::create(directory, program)?);
        let counters = Arc::new(Counters::default());
        let (roll, audience) = crossing();
        let lines = TrunkLines::new(Arc::clone(&own), audience, Arc::clone(&counters));
        let trunk = Self {
            directory: directory.clone(),
            own,
            numbers,
            lines: Mutex::new(Some(lines)),
            counters,
            service: Mutex::new(Service {
                roll,
                known: Vec::new(),
                swept: false,
            }),
        };
        trunk.refresh()?;
        Ok(trunk)
    }

    /// The directory it was opened in.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Which conferences are in use, system-wide.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// The tick's end. There is one: `None` if it has been taken.
    pub fn lines(&self) -> Option<TrunkLines> {
        unpoisoned(&self.lines).take()
    }

    /// Says that this process is in a conference, so that others hear it there and it hears them; from their next step on, once each has
    /// seen the other by [`Trunk::refresh`].
    ///
    /// # Errors
    ///
    /// [`TrunkError::NoSuchConference`]; [`TrunkError::TooManyConferences`] if 512 are open.
    pub fn open_line(&self, conference: i32) -> Result<(), TrunkError> {
        match number(conference) {
            0 => Err(TrunkError::NoSuchConference(conference)),
            conference => self.own.open_line(conference),
        }
    }

    /// Says that this process is no longer in a conference.
    pub fn close_line(&self, conference: i32) {
        self.own.close_line(number(conference));
    }

    /// Looks who has come and who has gone, and clears away what the dead have left. To be called a few times a second while this process
    /// is in a conference: a newcomer is heard after the next call.
    ///
    /// # Errors
    ///
    /// [`TrunkError::System`] or [`TrunkError::Denied`] if the directory cannot be read.
    pub fn refresh(&self) -> Result<Refreshed, TrunkError> {
        let mut service = unpoisoned(&self.service);
        let path = self.directory.path();
        let unreadable = |error| TrunkError::of("reading it", path, error);
        let stems = match self.directory.stems(END) {
            // All has been removed: nobody finds anybody.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            stems => stems.map_err(unreadable)?,
        };
        service.roll.collect();
        if !std::mem::replace(&mut service.swept, true) {
            // What cannot be removed harms nobody.
            let _ = self.sweep();
        }
        let mut found = Refreshed {
            is_published: self.is_published(),
            ..Refreshed::default()
        };
        let known = std::mem::take(&mut service.known);
        for known in known {
            if self.is_still_there(&known) || !service.roll.remove(known.id) {
                service.known.push(known);
            } else {
                found.gone += 1;
            }
        }
        for stem in stems {
            if stem != self.own.stem() && !service.known.iter().any(|known| known.stem == stem) {
                match self.meet(&stem, &mut service.roll) {
                    Ok(Some(known)) => {
                        service.known.push(known);
                        found.newcomers += 1;
                    }
                    Ok(None) => {}
                    Err(error) => found.refused.push(Refused {
                        path: self.directory.join(&format!("{stem}{END}")),
                        error,
                    }),
                }
            }
        }
        found.processes = service.known.len();
        Ok(found)
    }

    /// Whether others can find this process, as [`Refreshed::is_published`] says of a moment ago.
    pub fn is_published(&self) -> bool {
        self.own.is_published() && self.numbers.is_published()
    }

    /// The other processes that the last refresh found.
    pub fn neighbours(&self) -> Vec<Neighbour> {
        let service = unpoisoned(&self.service);
        let known = service.known.iter();
        known
            .map(|known| Neighbour {
                pid: known.segment.process(),
                program: known.segment.program(),
            })
            .collect()
    }

    /// The numbers of the other processes in a conference, of those that the last refresh found.
    pub fn sharers(&self, conference: i32) -> Vec<u32> {
        let service = unpoisoned(&self.service);
        let known = service.known.iter();
        known
            .filter(|known| known.segment.line(number(conference)).is_some())
            .map(|known| known.segment.process())
            .collect()
    }

    /// What the tick has counted.
    pub fn stats(&self) -> TrunkStats {
        let counters = &self.counters;
        TrunkStats {
            frames: counters.frames.load(Relaxed),
            late: counters.late.load(Relaxed),
            lost: counters.lost.load(Relaxed),
            cut: counters.cut.load(Relaxed),
        }
    }

    /// The descriptors that stay open: whoever closes others' must leave them.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.own.file().as_fd(), self.numbers.as_fd()]
    }

    /// Whether a process is as it was.
    fn is_still_there(&self, known: &Known) -> bool {
        let path = self.directory.join(&format!("{}{END}", known.stem));
        match clear(&path) {
            Ok(Place::Taken(file)) => {
                check_extent(&file).is_ok() && identity(&file).is_ok_and(|file| file == known.file)
            }
            Ok(Place::Free | Place::Foreign) => {
                self.clear_status(&known.stem);
                false
            }
            // Descriptors may have run out, which is not its fault.
            Err(_) => true,
        }
    }

    /// Looks at a segment that was not known. `None` if its process was dead.
    fn meet(&self, stem: &str, roll: &mut Roll) -> Result<Option<Known>, SegmentError> {
        let unreadable = |error: io::Error| SegmentError::Unreadable(error.to_string());
        let path = self.directory.join(&format!("{stem}{END}"));
        let file = match clear(&path).map_err(unreadable)? {
            Place::Taken(file) => file,
            Place::Foreign => return Err(SegmentError::Foreign),
            Place::Free => {
                self.clear_status(stem);
                return Ok(None);
            }
        };
        let segment = Arc::new(Mapping::readable(&file)?);
        let file = identity(&file).map_err(unreadable)?;
        let id = roll
            .add(Arc::clone(&segment))
            .ok_or(SegmentError::TooMany)?;
        Ok(Some(Known {
            stem: stem.to_owned(),
            file,
            id,
            segment,
        }))
    }

    /// Clears away what processes left that were killed before they were known to others, or had nothing but a status.
    fn sweep(&self) -> io::Result<()> {
        for stem in self.directory.stems(&format!("{END}{NEW_END}"))? {
            let _ = clear(&self.directory.join(&format!("{stem}{END}{NEW_END}")));
        }
        for stem in self.directory.stems(answering::END)? {
            let segment = self.directory.join(&format!("{stem}{END}"));
            if !matches!(clear(&segment), Ok(Place::Taken(_))) {
                self.clear_status(&stem);
            }
        }
        Ok(())
    }

    fn clear_status(&self, stem: &str) {
        let name = format!("{stem}{}", answering::END);
        answering::remove_if_dead(&self.directory.join(&name));
    }
}

impl Drop for Trunk {
    fn drop(&mut self) {
        self.own.withdraw();
    }
}

/// Device and inode.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    let data = file.metadata()?;
    Ok((data.dev(), data.ino()))
}

fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
