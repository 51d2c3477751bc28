//! Where the preload library is, and how the loader is told.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::elf::{self, Architecture};
use super::refusal::Refusal;

/// The library's name.
pub(super) const FILE_NAME: &str = "libunisono_dahdi.so";

/// Names the library's file, before all folders that are searched.
pub(super) const VARIABLE: &str = "UNISONO_DAHDI_LIBRARY";

/// The library that is put before a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Library {
    /// Absolute, as programs change their folder.
    pub(super) path: PathBuf,
    pub(super) architecture: Architecture,
}

impl Library {
    /// Finds the library as it is installed on this machine.
    pub(super) fn find() -> Result<Self, Refusal> {
        let executable = std::env::current_exe().unwrap_or_default();
        Self::find_in(std::env::var_os(VARIABLE), folders(&executable))
    }

    /// Takes the file that was `named`, or the first in the folders.
    fn find_in(named: Option<OsString>, folders: Vec<PathBuf>) -> Result<Self, Refusal> {
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            return Self::open(Path::new(&named)).map_err(|reason| Refusal::WrongLibrary {
                path: named.into(),
                reason,
            });
        }
        folders
            .iter()
            .find_map(|folder| Self::open(&folder.join(FILE_NAME)).ok())
            .ok_or(Refusal::NoLibrary(folders))
    }

    fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let image = elf::read(file).map_err(|error| format!("it is no library: {error}"))?;
        Ok(Self {
            path: std::path::absolute(path).map_err(|error| error.to_string())?,
            architecture: image.architecture,
        })
    }

    /// The value of `LD_PRELOAD`: this library, then what was there.
    ///
    /// # Errors
    ///
    /// [`Refusal::LibraryPath`] for a path that the loader would take for several, or change.
    pub(super) fn preload(&self, before: Option<&OsStr>) -> Result<OsString, Refusal> {
        let path = self.path.as_os_str();
        if path
            .as_bytes()
            .iter()
            .any(|&octet| is_separator(octet) || octet == b'$')
        {
            return Err(Refusal::LibraryPath(self.path.clone()));
        }
        let mut value = path.to_owned();
        let others = before.unwrap_or_default().as_bytes();
        for other in others.split(|&octet| is_separator(octet)) {
            if !other.is_empty() && other != path.as_bytes() {
                value.push(":");
                value.push(OsStr::from_bytes(other));
            }
        }
        Ok(value)
    }
}

/// What the loader takes for the end of a path in `LD_PRELOAD`.
const fn is_separator(octet: u8) -> bool {
    matches!(octet, b':' | b' ' | b'\t' | b'\n')
}

/// The folders to search, in order, each once.
fn folders(executable: &Path) -> Vec<PathBuf> {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    let beside = executable.parent().filter(|beside| beside.is_absolute());
    let own = beside
        .and_then(Path::parent)
        .map(|prefix| prefix.join("lib"));
    let system = ["/usr/local/lib", "/usr/lib"].map(PathBuf::from);
    let mut folders: Vec<PathBuf> = beside.map(Path::to_owned).into_iter().collect();
    for lib in own.into_iter().chain(system) {
        for folder in [
            lib.clone(),
            lib.join("unisono"),
            lib.join(&multiarch),
            lib.join(&multiarch).join("unisono"),
        ] {
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
    }
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(path: &str) -> Library {
        let this_program = std::env::current_exe().unwrap();
        Library {
            path: path.into(),
            ..Library::open(&this_program).unwrap()
        }
    }

    #[test]
    fn the_library_is_put_before_what_is_there_and_once_only() {
        let library = library("/l/libunisono_dahdi.so");
        for (before, after) in [
            (None, "/l/libunisono_dahdi.so"),
            (Some(""), "/l/libunisono_dahdi.so"),
            (Some("/l/libunisono_dahdi.so"), "/l/libunisono_dahdi.so"),
            (
                Some("a.so /b/c.so:/l/libunisono_dahdi.so"),
                "/l/libunisono_dahdi.so:a.so:/b/c.so",
            ),
        ] {
            assert_eq!(
                library.preload(before.map(OsStr::new)).unwrap(),
                after,
                "{before:?}"
            );
        }
    }

    #[test]
    fn a_path_that_the_loader_cannot_be_told_is_refused() {
        for path in ["/my lib/l.so", "/a:b/l.so", "/$LIB/l.so"] {
            let refusal = library(path).preload(None).unwrap_err();
            assert!(matches!(refusal, Refusal::LibraryPath(_)), "{refusal}");
        }
    }

    #[test]
    fn the_executables_own_prefix_is_searched_before_the_system() {
        let folders = folders(Path::new("/opt/unisono/bin/unisono"));
        assert_eq!(
            folders[..3],
            [
                "/opt/unisono/bin",
                "/opt/unisono/lib",
                "/opt/unisono/lib/unisono"
            ]
            .map(PathBuf::from)
        );
        assert_eq!(folders.len(), 13);
        let installed = super::folders(Path::new("/usr/local/bin/unisono"));
        assert_eq!(installed.len(), 9, "each once: {installed:?}");
    }

    #[test]
    fn the_first_folder_that_has_the_library_is_taken() {
        let (empty, full) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let there = full.path().join(FILE_NAME);
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &there).unwrap();
        let folders = [empty.path(), full.path(), empty.path()].map(PathBuf::from);
        let library = Library::find_in(None, folders.to_vec()).unwrap();
        assert_eq!(library.path, there);
    }

    #[test]
    fn what_is_missing_or_no_library_is_named() {
        let folders = ["/nowhere/bin", "/nowhere/lib/unisono"].map(PathBuf::from);
        for named in [None, Some(OsString::new())] {
            let refusal = Library::find_in(named, folders.to_vec()).unwrap_err();
            let text = refusal.to_string();
            assert!(
                text.contains("/nowhere/bin, /nowhere/lib/unisono;"),
                "{text}"
            );
            assert_eq!(refusal.status(), 125);
        }
        for (path, reason) in [
            ("/nowhere/l.so", "No such file"),
            (
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
                "no library",
            ),
        ] {
            let refusal = Library::find_in(Some(path.into()), Vec::new()).unwrap_err();
            assert!(refusal.to_string().contains(reason), "{refusal}");
            assert_eq!(refusal.status(), 125);
        }
    }
}
