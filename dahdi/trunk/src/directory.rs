//! Where the processes of a machine meet.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use nix::unistd::{AccessFlags, eaccess, geteuid};

use crate::error::TrunkError;

/// The directory of all, in a system with one `/run`.
const SYSTEM: &str = "/run/unisono/dahdi";

/// Names the directory, if set.
const VARIABLE: &str = "UNISONO_DAHDI_DIR";

/// A directory in which processes meet that share conferences.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    /// Permissions of the directory.
    mode: u32,
    owner: u32,
    group: u32,
    in_memory: bool,
}

impl Directory {
    /// The directory for this process.
    ///
    /// `$UNISONO_DAHDI_DIR` if it is set, and nothing else then; else `/run/unisono/dahdi` if this process may write there or can
    /// make it; else `$XDG_RUNTIME_DIR/unisono/dahdi`, where processes of one user meet.
    ///
    /// # Errors
    ///
    /// [`TrunkError::NoDirectory`]: then a process is alone. [`TrunkError::BadDirectory`] and [`TrunkError::Denied`] for the one
    /// that the variable names.
    pub fn from_environment() -> Result<Self, TrunkError> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(path) = set(VARIABLE) {
            return Self::at(path);
        }
        let personal = set("XDG_RUNTIME_DIR").map(|path| Path::new(&path).join("unisono/dahdi"));
        Self::first_of([Some(PathBuf::from(SYSTEM)), personal])
    }

    /// The first that can be used.
    fn first_of<const N: usize>(paths: [Option<PathBuf>; N]) -> Result<Self, TrunkError> {
        let mut tried = Vec::new();
        for path in paths.into_iter().flatten() {
            match Self::at(path) {
                Ok(directory) => return Ok(directory),
                Err(error) => tried.push(error.reason()),
            }
        }
        Err(TrunkError::NoDirectory {
            tried: tried.join("; "),
        })
    }

    /// This directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// [`TrunkError::BadDirectory`] if it is none and cannot be made; [`TrunkError::Denied`] if this process may not write there.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, TrunkError> {
        let path = path.into();
        if path.is_absolute() {
            make(&path).map_err(|error| unusable(&path, error))?;
        }
        Self::open(
            path,
            AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
        )
    }

    /// This directory, for who only asks those who meet there ([`crate::survey()`]): it is not made, and need not be writable.
    ///
    /// # Errors
    ///
    /// [`TrunkError::BadDirectory`] if it is none; [`TrunkError::Denied`] if this process may not look into it.
    pub fn existing(path: impl Into<PathBuf>) -> Result<Self, TrunkError> {
        Self::open(path.into(), AccessFlags::R_OK | AccessFlags::X_OK)
    }

    /// One that is there, and allows so much.
    fn open(path: PathBuf, access: AccessFlags) -> Result<Self, TrunkError> {
        let bad = |error| unusable(&path, error);
        if !path.is_absolute() {
            return Err(bad(io::Error::new(
                io::ErrorKind::InvalidInput,
                "an absolute path is needed, as programs change their working directory",
            )));
        }
        let found = fs::metadata(&path).map_err(bad)?;
        if !found.is_dir() {
            return Err(bad(io::ErrorKind::NotADirectory.into()));
        }
        eaccess(&path, access).map_err(|errno| bad(errno.into()))?;
        let kind = statfs(&path).map_err(|errno| bad(errno.into()))?;
        Ok(Self {
            mode: found.permissions().mode(),
            owner: found.uid(),
            group: found.gid(),
            in_memory: kind.filesystem_type() == TMPFS_MAGIC,
            path,
        })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is in memory (tmpfs). If it is on a disk, the kernel writes the segments back every few seconds, and a tick may have
    /// to wait for it.
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    /// Whether it is this user's or root's, so that who only asks may remove there what is left of the dead.
    pub(crate) fn is_own(&self) -> bool {
        self.owner == 0 || self.owner == geteuid().as_raw()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Names that end so, without the end.
    pub(crate) fn stems(&self, end: &str) -> io::Result<Vec<String>> {
        let mut stems = Vec::new();
        for entry in fs::read_dir(&self.path)?.take(MAX_ENTRIES) {
            let name = entry?.file_name();
            if let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(end)) {
                stems.push(stem.to_owned());
            }
        }
        stems.sort_unstable();
        Ok(stems)
    }

    /// Makes a file for reading and writing; kept away from the numbers of descriptors that programs use.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create_new(true).mode(0o600);
        open(options.read(true).write(true), path)
    }

    /// Opens a file for reading and writing that all share, and makes it if it is not there.
    pub(crate) fn open_or_create(&self, path: &Path) -> io::Result<File> {
        for _ in 0..TRIES {
            match open(OpenOptions::new().read(true).write(true), path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Another user who has just made it is about to share it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_new(path) => {
                    thread::sleep(PAUSE);
                    continue;
                }
                other => return other,
            }
            match self.create(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    let file = made?;
                    self.share(&file, 0o6);
                    return Ok(file);
                }
            }
        }
        // What it is like in the end.
        open(OpenOptions::new().read(true).write(true), path)
    }

    /// Gives a file of ours the directory's group, and those who may write in the directory the permissions `each` (as of
    /// the owner's bits, such as 4 for reading).
    pub(crate) fn share(&self, file: &File, each: u32) {
        // Nothing is lost if it is refused but what others could have shared, and they say so.
        let _ = fchown(file, None, Some(self.group));
        let _ = file.set_permissions(Permissions::from_mode(self.shared_mode(each)));
    }

    /// The permissions of [`Directory::share`].
    pub(crate) fn shared_mode(&self, each: u32) -> u32 {
        let mut mode = 0o600;
        for shift in [3, 0] {
            if self.mode >> shift & 0o2 != 0 {
                mode |= each << shift;
            }
        }
        mode
    }

    pub(crate) fn group(&self) -> u32 {
        self.group
    }
}

impl TrunkError {
    /// What is wrong with a directory, without the remedy.
    fn reason(&self) -> String {
        match self {
            Self::Denied { path } => format!("{}: permission denied", path.display()),
            Self::BadDirectory { path, source } => format!("{}: {source}", path.display()),
            other => other.to_string(),
        }
    }
}

/// Why a directory cannot be used.
fn unusable(path: &Path, source: io::Error) -> TrunkError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied => TrunkError::Denied { path },
        _ => TrunkError::BadDirectory { path, source },
    }
}

/// Makes a directory for one user and group, below those that are there for all.
fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o770).create(path) {
        // Somebody else may have been faster.
        Err(_) if path.is_dir() => Ok(()),
        made => made,
    }
}

/// Opens another's file for reading.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(CAUTIOUS)
        .open(path)
}

/// Opens a file that stays open.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(CAUTIOUS).open(path)?;
    hidden(file.into()).map(File::from)
}

/// Moves a descriptor to a high number, so that programs that count theirs, or close the low ones, do not meet it.
pub(crate) fn hidden(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    for lowest in [HIGH, HIGH / 4] {
        if let Ok(number) = fcntl(&descriptor, FcntlArg::F_DUPFD_CLOEXEC(lowest)) {
            return Ok(owned(number));
        }
    }
    Ok(descriptor)
}

/// Whether the file at `path` was made within the last second, if nothing has been written to it.
fn is_new(path: &Path) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|file| file.modified());
    changed.is_ok_and(|changed| {
        changed
            .elapsed()
            .is_ok_and(|age| age < Duration::from_secs(1))
    })
}

/// Whether the file at `path` is this one.
pub(crate) fn is_at(path: &Path, file: &File) -> bool {
    match (fs::symlink_metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => (there.dev(), there.ino()) == (here.dev(), here.ino()),
        _ => false,
    }
}

/// Lowest number of a hidden descriptor, if the limit allows for it.
const HIGH: i32 = 512;

/// No link is followed, and no pipe that somebody put there is waited for.
const CAUTIOUS: i32 = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;

/// How often a file that comes and goes, or is being made, is opened, and how far apart at least.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(1);

/// Entries of the directory that are looked at.
const MAX_ENTRIES: usize = 4096;

#[allow(unsafe_code, reason = "fcntl gives a number")]
fn owned(number: i32) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: F_DUPFD_CLOEXEC has just made it, so it is open and nobody else's.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn the_first_directory_that_can_be_used_is_taken_and_made() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let (bad, good) = (file.join("dahdi"), root.path().join("run/unisono/dahdi"));
        let chosen = Directory::first_of([Some(bad.clone()), None, Some(good.clone())]).unwrap();
        assert_eq!(chosen.path(), good);
        assert!(good.is_dir());
        let error = Directory::first_of([Some(bad.clone()), Some(file.clone())]).unwrap_err();
        let text = error.to_string();
        for part in [
            &bad.display().to_string(),
            "file: File exists",
            "UNISONO_DAHDI_DIR",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn descriptors_are_out_of_the_way_and_closed_by_exec() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::at(root.path()).unwrap();
        let file = directory
            .open_or_create(&directory.join("numbers"))
            .unwrap();
        assert!(file.as_raw_fd() >= HIGH / 4);
        let flags = fcntl(&file, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    }
}
