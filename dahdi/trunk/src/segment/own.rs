//! The segment of this process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;
use nix::sys::resource::{Resource, getrlimit};
use unisono_dahdi::exchange::MAX_CONFERENCE;

use super::layout::{LINES, MAGIC, Segment, Tag};
use super::{Frame, Mapping};
use crate::directory::{Directory, is_at, open_to_read};
use crate::error::TrunkError;

/// End of the name of a segment, and of one that is being made.
pub(crate) const END: &str = ".segment";
pub(crate) const NEW_END: &str = ".new";

/// Names that are tried for one process number.
const NAMES: u32 = 100;

/// Interruptions after which allocating is given up.
const INTERRUPTIONS: u32 = 1000;

/// This process's segment, and which line is whose.
#[derive(Debug)]
pub(crate) struct Own {
    mapping: Mapping,
    /// Open and locked as long as the process lives.
    file: File,
    path: PathBuf,
    stem: String,
    /// Who made it: a child that inherited it removes nothing.
    process: u32,
    /// As in the segment, where nobody else can change it.
    line_of: Box<[AtomicU16]>,
    lines: Mutex<Lines>,
}

/// Which lines are taken.
#[derive(Debug)]
struct Lines {
    taken: Box<[bool; LINES]>,
    /// Where the search for a free one begins: each is used again as late as possible.
    next: usize,
}

impl Own {
    /// Makes the segment and shows it to others.
    pub(crate) fn create(directory: &Directory, program: &str) -> Result<Self, TrunkError> {
        let process = process::id();
        let (file, new) = create_new(directory, process)?;
        let made = prepare(directory, &file, &new, process, program)
            .and_then(|mapping| Ok((mapping, publish(directory, &new, process)?)));
        let _ = fs::remove_file(&new);
        let (mapping, (stem, path)) = made?;
        Ok(Self {
            mapping,
            file,
            path,
            stem,
            process,
            line_of: (0..=MAX_CONFERENCE).map(|_| AtomicU16::new(0)).collect(),
            lines: Mutex::new(Lines {
                taken: Box::new([false; LINES]),
                next: 0,
            }),
        })
    }

    /// What its file name begins with.
    pub(crate) fn stem(&self) -> &str {
        &self.stem
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Whether others can still find it.
    pub(crate) fn is_published(&self) -> bool {
        is_at(&self.path, &self.file)
    }

    /// Leaves all conferences and takes the segment away from others, unless it is a parent's.
    pub(crate) fn withdraw(&self) {
        if self.process != process::id() {
            return;
        }
        for conference in 1..=MAX_CONFERENCE as u16 {
            self.close_line(conference);
        }
        if self.is_published() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Opens a line to a conference; nothing happens if it is open.
    pub(crate) fn open_line(&self, conference: u16) -> Result<(), TrunkError> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if self.line(conference).is_some() {
            return Ok(());
        }
        let from = lines.next;
        let free = (0..LINES)
            .map(|n| (from + n) % LINES)
            .find(|&line| !lines.taken[line])
            .ok_or(TrunkError::TooManyConferences {
                conference: conference.into(),
            })?;
        lines.taken[free] = true;
        lines.next = free + 1;
        self.line_of[usize::from(conference)].store(free as u16 + 1, Release);
        self.mapping.set_line(conference, Some(free as u16));
        Ok(())
    }

    /// Closes the line to a conference, if there is one.
    pub(crate) fn close_line(&self, conference: u16) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = self.line(conference) {
            self.mapping.set_line(conference, None);
            self.line_of[usize::from(conference)].store(0, Release);
            lines.taken[usize::from(line)] = false;
        }
    }

    /// The line of a conference.
    pub(crate) fn line(&self, conference: u16) -> Option<u16> {
        let line = self.line_of.get(usize::from(conference))?.load(Acquire);
        line.checked_sub(1)
    }

    /// Writes a step of what is said here in a conference, if it has a line. The tick alone may.
    pub(crate) fn write(&self, conference: u16, step: u64, frame: &Frame) {
        if let Some(line) = self.line(conference) {
            self.mapping.write(line, Tag::new(step, conference), frame);
        }
    }
}

/// What is where a segment may be.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nothing, or what a dead process left there, which has been removed.
    Free,
    /// A file that is locked, so its process lives.
    Taken(File),
    /// A file that nobody has locked, and that is no segment. It is left alone.
    Foreign,
}

/// Looks at `path`, and removes a segment whose process is dead.
///
/// Who removes it holds its lock, and nobody puts another in its place as long as it is there: so no living one is ever removed.
pub(crate) fn clear(path: &Path) -> io::Result<Place> {
    let file = match open_to_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(error),
    };
    let is_new = path
        .as_os_str()
        .as_encoded_bytes()
        .ends_with(NEW_END.as_bytes());
    if is_new && !is_old(&file) || file.try_lock().is_err() || !is_at(path, &file) {
        return Ok(Place::Taken(file));
    }
    let mut magic = [0; 8];
    let signed = file.read_exact_at(&mut magic, 0).is_ok() && magic == MAGIC.to_ne_bytes();
    if !is_new && !signed {
        return Ok(Place::Foreign);
    }
    fs::remove_file(path)?;
    Ok(Place::Free)
}

/// Whether a file that is being made has been so for long: making it takes milliseconds, and begins without the lock.
fn is_old(file: &File) -> bool {
    let changed = file.metadata().and_then(|file| file.modified());
    changed.is_ok_and(|changed| {
        changed
            .elapsed()
            .is_ok_and(|age| age > Duration::from_secs(60))
    })
}

/// A new file under a name that is not looked at by others.
fn create_new(directory: &Directory, process: u32) -> Result<(File, PathBuf), TrunkError> {
    for n in 1..=NAMES {
        let path = directory.join(&format!("{}{END}{NEW_END}", stem(process, n)));
        // One may have been left behind by a process of this number that was killed.
        let _ = clear(&path);
        match directory.create(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(TrunkError::of("making it", &path, error)),
        }
    }
    Err(TrunkError::Taken {
        path: directory.join(&format!("{process}{END}{NEW_END}")),
    })
}

/// Locks, allocates and signs a new segment.
fn prepare(
    directory: &Directory,
    file: &File,
    path: &Path,
    process: u32,
    program: &str,
) -> Result<Mapping, TrunkError> {
    file.try_lock()
        .map_err(|error| TrunkError::of("locking it", path, error.into()))?;
    let no_room = || TrunkError::NoRoom {
        path: path.to_owned(),
        bytes: Segment::SIZE,
    };
    // Beyond the limit of a file's size a signal would end the program.
    if getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(limit, _)| limit < Segment::SIZE) {
        return Err(no_room());
    }
    // Before it is mapped: memory that is not to be had is an error here, and a SIGBUS later.
    allocate(file).map_err(|errno| match errno {
        Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG => no_room(),
        errno => TrunkError::of("allocating it", path, errno.into()),
    })?;
    let mapping = Mapping::writable(file)
        .map_err(|errno| TrunkError::of("mapping it", path, errno.into()))?;
    mapping.sign(process, program);
    directory.share(file, 0o4);
    Ok(mapping)
}

/// Allocates all of a segment, although signals of the program's, which come now and then, interrupt it.
fn allocate(file: &File) -> Result<(), Errno> {
    for _ in 0..INTERRUPTIONS {
        match posix_fallocate(file, 0, Segment::SIZE as libc::off_t) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
    Err(Errno::EINTR)
}

/// Gives a finished segment its name, which must be nobody else's.
fn publish(
    directory: &Directory,
    new: &Path,
    process: u32,
) -> Result<(String, PathBuf), TrunkError> {
    for n in 1..=NAMES {
        let stem = stem(process, n);
        let path = directory.join(&format!("{stem}{END}"));
        // If it is another's, or not ours to remove, linking says so.
        let _ = clear(&path);
        match fs::hard_link(new, &path) {
            Ok(()) => return Ok((stem, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(TrunkError::of("naming it", &path, error)),
        }
    }
    Err(TrunkError::Taken {
        path: directory.join(&format!("{process}{END}")),
    })
}

/// The `n`-th name of a process, from 1.
pub(crate) fn stem(process: u32, n: u32) -> String {
    match n {
        1 => process.to_string(),
        n => format!("{process}-{n}"),
    }
}
