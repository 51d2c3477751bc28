//! What can go wrong, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why a process cannot share conferences with others.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrunkError {
    /// No directory can be used.
    #[error(
        "no directory in which processes could share conferences: {tried}. Make /run/unisono/dahdi writable for them (a line \
         \"d /run/unisono/dahdi 2770 root GROUP\" in /etc/tmpfiles.d, then systemd-tmpfiles --create), or name one by \
         UNISONO_DAHDI_DIR"
    )]
    NoDirectory {
        /// Each that was tried, with the reason.
        tried: String,
    },
    /// A directory that was named is none, or cannot be made.
    #[error(
        "{path}: not a directory that can be used: {source}. Make it, or name another by UNISONO_DAHDI_DIR"
    )]
    BadDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// This user may not use the directory.
    #[error(
        "{path}: permission denied. All who share conferences need write permission in the directory, best by a group of \
         their own (chgrp GROUP, chmod 2770)"
    )]
    Denied {
        /// What is denied.
        path: PathBuf,
    },
    /// This user may use the directory, but not a file in it that is there already.
    #[error(
        "{path}: permission denied. It was made for another group than the directory's: give it to that (chgrp GROUP, \
         chmod 660), or remove it while no program that shares conferences runs"
    )]
    DeniedFile {
        /// The file.
        path: PathBuf,
    },
    /// The file system is full, or a quota or the limit of a file's size is used up.
    #[error(
        "{path}: no room for {bytes} bytes of shared memory. Free some, enlarge the file system, or raise LimitFSIZE="
    )]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// How much it needs.
        bytes: u64,
    },
    /// A socket cannot have a name so long.
    #[error(
        "{path}: too long for the name of a socket, 107 bytes are allowed. Name a shorter directory by UNISONO_DAHDI_DIR"
    )]
    LongPath {
        /// The name.
        path: PathBuf,
    },
    /// All names for this process's number are taken.
    #[error(
        "{path}: taken, and so are its alternatives, by processes of other containers. Give each group of them a directory of its own"
    )]
    Taken {
        /// The first of the names.
        path: PathBuf,
    },
    /// The number of no conference.
    #[error("there is no conference {0}: they are numbered from 1 to 1024")]
    NoSuchConference(i32),
    /// More conferences than one process can share.
    #[error("this process shares {max} conferences already: conference {conference} stays its own", max = crate::segment::LINES)]
    TooManyConferences {
        /// The one that cannot be shared.
        conference: i32,
    },
    /// Anything else that the system refused.
    #[error("{path}: {what} failed: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl TrunkError {
    /// What a failed call means.
    pub(crate) fn of(what: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied
                if path.symlink_metadata().is_ok_and(|file| file.is_file()) =>
            {
                Self::DeniedFile { path }
            }
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::System { what, path, source },
        }
    }
}

/// Why another process's segment cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// Something that no program of ours wrote.
    #[error("this is no segment of unisono: remove it")]
    Foreign,
    /// Written by a program of another version.
    #[error("layout {found}, not {expected}: run the same version of unisono in all processes")]
    Version {
        /// What it says.
        found: u32,
        /// What this program understands.
        expected: u32,
    },
    /// A part is missing, or was never allocated.
    #[error("{found} bytes of {expected}: it was cut off")]
    Truncated {
        /// How much of it there is.
        found: u64,
        /// How much there should be.
        expected: u64,
    },
    /// More processes than one can listen to.
    #[error("more than {max} processes share conferences: this one is not heard", max = crate::neighbours::MAX_NEIGHBOURS)]
    TooMany,
    /// The system refused.
    #[error("cannot be read: {0}")]
    Unreadable(String),
}

/// A segment that was found and cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// Why not.
    pub error: SegmentError,
}
