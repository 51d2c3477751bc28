//! Why a program is not run.

use std::path::PathBuf;

use super::elf::Architecture;
use super::library::FILE_NAME;
use super::program::MAX_SCRIPTS;

/// Exit status when `unisono dahdi` itself cannot do its work, as of `env` and `nice`.
pub(super) const FAILED: u8 = 125;

/// Exit status when the program was found but cannot be run with the library.
const UNFIT: u8 = 126;

/// Exit status when there is no such program.
const NOT_FOUND: u8 = 127;

/// Why a program is not run, and what to do.
///
/// A program that would run, but without the library, is refused: it would look for real devices, and fail for reasons
/// that name neither the library nor this command.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{name}: no such program in PATH; check its name, or install it")]
    Unknown { name: String },
    #[error("{name}: not in PATH, but there is {}: give its whole path", found.display())]
    OutsidePath { name: String, found: PathBuf },
    #[error("{}: no such file", .0.display())]
    NoFile(PathBuf),
    #[error("{}: a directory, not a program", .0.display())]
    Directory(PathBuf),
    #[error("{}: may not be executed; 'chmod +x' makes it a program, if it is one", .0.display())]
    NotExecutable(PathBuf),
    #[error("{}: {error}", path.display())]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}: neither an ELF program nor a script{reason}", path.display())]
    Strange { path: PathBuf, reason: String },
    #[error(
        "{}: linked statically, so no library can be put before it; take a build that is linked dynamically",
        .0.display()
    )]
    Static(PathBuf),
    #[error(
        "{}: for {program}, but {} is for {library}; build the library for that processor and name it in \
         UNISONO_DAHDI_LIBRARY",
        path.display(), library_path.display()
    )]
    OtherArchitecture {
        path: PathBuf,
        program: Architecture,
        library_path: PathBuf,
        library: Architecture,
    },
    #[error(
        "{}: uses another C library than {FILE_NAME} (its loader is {}), and two do not go together in one program; build \
         the library where the program was built, or take a build of the program for {}",
        path.display(), loader.display(), this_libc()
    )]
    OtherLibc { path: PathBuf, loader: PathBuf },
    #[error(
        "{}: needs the loader {}, which is not here; install the C library that the program was built for",
        path.display(), loader.display()
    )]
    NoLoader { path: PathBuf, loader: PathBuf },
    #[error(
        "{}: runs as its owner (set-user-ID, user {owner}), and for such programs the system ignores preloaded libraries; \
         run it as that user, or take the bit away: chmod u-s {0}",
        path.display()
    )]
    SetUser { path: PathBuf, owner: u32 },
    #[error(
        "{}: runs as its group (set-group-ID, group {group}), and for such programs the system ignores preloaded \
         libraries; run it with that group, or take the bit away: chmod g-s {0}",
        path.display()
    )]
    SetGroup { path: PathBuf, group: u32 },
    #[error(
        "{}: has file capabilities, and for such programs the system ignores preloaded libraries; take them away with \
         'setcap -r {0}', and grant them by AmbientCapabilities= in the unit file, or run it as root",
        path.display()
    )]
    Capabilities { path: PathBuf },
    #[error("{name}: {why}")]
    Elsewhere { name: String, why: &'static str },
    #[error("{}: its first line names the interpreter {interpreter:?}, and there is no such file", path.display())]
    NoInterpreter { path: PathBuf, interpreter: PathBuf },
    #[error("{}: a script whose interpreter is a script, and so on, more than {MAX_SCRIPTS} times", .0.display())]
    Nested(PathBuf),
    #[error("{FILE_NAME} is not found; looked in {}; put it there, or name it in UNISONO_DAHDI_LIBRARY", listed(.0))]
    NoLibrary(Vec<PathBuf>),
    #[error("UNISONO_DAHDI_LIBRARY names {}, which cannot be used: {reason}", path.display())]
    WrongLibrary { path: PathBuf, reason: String },
    #[error(
        "{}: the loader takes no library whose path has a space, a colon or a dollar sign; install it elsewhere",
        .0.display()
    )]
    LibraryPath(PathBuf),
    #[error(
        "{}: systemd takes no path with a quotation mark, a backslash or what is no text as it is; install it elsewhere",
        .0.display()
    )]
    UnitPath(PathBuf),
}

impl Refusal {
    /// The exit status that says so.
    pub(super) fn status(&self) -> u8 {
        match self {
            Self::Unknown { .. } | Self::OutsidePath { .. } | Self::NoFile(_) => NOT_FOUND,
            Self::NoLibrary(_)
            | Self::WrongLibrary { .. }
            | Self::LibraryPath(_)
            | Self::UnitPath(_) => FAILED,
            _ => UNFIT,
        }
    }
}

/// The C library that this program was built with, and with it the library.
const fn this_libc() -> &'static str {
    if cfg!(target_env = "musl") {
        "musl"
    } else {
        "glibc"
    }
}

fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}
