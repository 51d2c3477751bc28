//! A program is looked at before it is run: would the system put the library before it?

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::prctl;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, getgid, getuid};

use super::elf;
use super::library::Library;
use super::refusal::Refusal;

/// How often the interpreter of a script may be a script; the kernel goes no deeper.
pub(super) const MAX_SCRIPTS: usize = 5;

/// As much of a file's first line as the kernel reads.
const FIRST_LINE: usize = 256;

/// Who would run a program, as far as it decides whether preloading is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    user: u32,
    group: u32,
    /// Set-user-ID and set-group-ID have no effect.
    no_new_privileges: bool,
}

impl Rights {
    /// Those of this process.
    pub(super) fn own() -> Self {
        Self {
            user: getuid().as_raw(),
            group: getgid().as_raw(),
            no_new_privileges: prctl::get_no_new_privs().unwrap_or(false),
        }
    }
}

/// Finds a program as a shell does: a name in the folders of `PATH`, or a path.
///
/// # Errors
///
/// Refusals whose status is 127, and for what may not be executed 126.
pub(super) fn find(name: &OsStr, search: &OsStr) -> Result<PathBuf, Refusal> {
    let shown = || name.to_string_lossy().into_owned();
    if let Some(why) = Path::new(name).file_name().and_then(elsewhere) {
        return Err(Refusal::Elsewhere { name: shown(), why });
    }
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        executable(&path)?;
        return Ok(path);
    }
    let mut refusal = None;
    for folder in std::env::split_paths(search) {
        let path = Path::new(".").join(folder).join(name);
        match executable(&path) {
            Ok(()) => return Ok(path),
            Err(found @ Refusal::NotExecutable(_)) => refusal = refusal.or(Some(found)),
            Err(_) => {}
        }
    }
    // Debian keeps these folders from users' PATH, and dahdi_test and asterisk are there.
    let outside = ["/usr/local/sbin", "/usr/sbin", "/sbin"]
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|path| executable(path).is_ok());
    Err(match (refusal, outside) {
        (Some(refusal), _) => refusal,
        (None, Some(found)) => Refusal::OutsidePath {
            name: shown(),
            found,
        },
        (None, None) => Refusal::Unknown { name: shown() },
    })
}

/// Judges whether the library would be put before the program at `path`.
///
/// What cannot be read is not judged: the system runs it all the same.
pub(super) fn inspect(
    path: &Path,
    search: &OsStr,
    library: &Library,
    rights: Rights,
) -> Result<(), Refusal> {
    let mut path = path.to_owned();
    for _ in 0..=MAX_SCRIPTS {
        let head = match first_octets(&path) {
            Ok(head) => head,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(()),
            Err(error) => return Err(Refusal::Unreadable { path, error }),
        };
        path = match Kind::of(&head) {
            Kind::Elf => return inspect_machine_code(path, library, rights),
            Kind::Script(script) => script.interpreter(&path, search)?,
            Kind::Text => PathBuf::from("/bin/sh"),
            Kind::Other => {
                return Err(Refusal::Strange {
                    path,
                    reason: String::new(),
                });
            }
        };
    }
    Err(Refusal::Nested(path))
}

/// Commands after which the program would be started without the library, and what to do instead.
fn elsewhere(name: &OsStr) -> Option<&'static str> {
    match name.to_str()? {
        "sudo" | "doas" | "pkexec" => Some(
            "runs its program with a clean environment, in which the library is lost; write it first: \
             sudo -u USER unisono dahdi -- PROGRAM",
        ),
        "systemctl" | "service" => Some(
            "asks the system's manager to start the service, where the library does not come along; \
             'unisono dahdi unit SERVICE' prints the lines for the service",
        ),
        "docker" | "podman" | "kubectl" => Some(
            "runs its program in a container, where the library does not come along; put it into the image, as \
             docs/dahdi.md shows",
        ),
        _ => None,
    }
}

/// Whether there is a file that may be executed.
fn executable(path: &Path) -> Result<(), Refusal> {
    let about = match fs::metadata(path) {
        Ok(about) => about,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(Refusal::NoFile(path.to_owned()));
        }
        Err(error) => {
            return Err(Refusal::Unreadable {
                path: path.to_owned(),
                error,
            });
        }
    };
    if about.is_dir() {
        return Err(Refusal::Directory(path.to_owned()));
    }
    if !about.is_file() || access(path, AccessFlags::X_OK).is_err() {
        return Err(Refusal::NotExecutable(path.to_owned()));
    }
    Ok(())
}

fn first_octets(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(FIRST_LINE);
    File::open(path)?
        .take(FIRST_LINE as u64)
        .read_to_end(&mut head)?;
    Ok(head)
}

/// What the kernel takes a file for.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Elf,
    Script(Script),
    /// A script that names no interpreter: shells and `execvp` give it to `/bin/sh`.
    Text,
    Other,
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        if head.starts_with(b"\x7fELF") {
            return Self::Elf;
        }
        let line = head.split(|&octet| octet == b'\n').next().unwrap_or(head);
        if let Some(line) = line.strip_prefix(b"#!") {
            return Script::of(line).map_or(Self::Text, Self::Script);
        }
        if line.contains(&0) {
            Self::Other
        } else {
            Self::Text
        }
    }
}

/// The first line of a script.
#[derive(Debug, PartialEq, Eq)]
struct Script {
    interpreter: PathBuf,
    /// All that follows, which is one argument.
    argument: Option<OsString>,
}

impl Script {
    fn of(line: &[u8]) -> Option<Self> {
        let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
        let start = line.iter().position(|octet| !blank(octet))?;
        let line = &line[start..];
        let end = line.iter().position(blank).unwrap_or(line.len());
        let (interpreter, rest) = line.split_at(end);
        let argument = rest.trim_ascii();
        Some(Self {
            interpreter: OsString::from_vec(interpreter.to_vec()).into(),
            argument: (!argument.is_empty()).then(|| OsString::from_vec(argument.to_vec())),
        })
    }

    /// What is run in the place of the script at `path`. `env` is looked through.
    fn interpreter(self, path: &Path, search: &OsStr) -> Result<PathBuf, Refusal> {
        let named_by_env = self
            .argument
            .filter(|_| self.interpreter.file_name() == Some(OsStr::new("env")))
            .filter(|name| {
                !name
                    .as_bytes()
                    .iter()
                    .any(|octet| b"-=/ \t".contains(octet))
            });
        if let Some(name) = named_by_env {
            return find(&name, search);
        }
        executable(&self.interpreter).map_err(|refusal| match refusal {
            Refusal::NoFile(interpreter) => Refusal::NoInterpreter {
                path: path.to_owned(),
                interpreter,
            },
            other => other,
        })?;
        Ok(self.interpreter)
    }
}

fn inspect_machine_code(path: PathBuf, library: &Library, rights: Rights) -> Result<(), Refusal> {
    let unreadable = |error| Refusal::Unreadable {
        path: path.clone(),
        error,
    };
    let file = File::open(&path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    let image = match elf::read(file) {
        Ok(image) => image,
        Err(error) => {
            return Err(Refusal::Strange {
                path,
                reason: format!(" ({error})"),
            });
        }
    };
    if let Some(elevation) = Marks::of(&path, &about).elevation(rights) {
        return Err(match elevation {
            Elevation::User(owner) => Refusal::SetUser { path, owner },
            Elevation::Group(group) => Refusal::SetGroup { path, group },
            Elevation::Capabilities => Refusal::Capabilities { path },
        });
    }
    if image.architecture != library.architecture {
        return Err(Refusal::OtherArchitecture {
            path,
            program: image.architecture,
            library_path: library.path.clone(),
            library: library.architecture,
        });
    }
    let Some(loader) = image.loader else {
        return Err(Refusal::Static(path));
    };
    if is_musl(&loader) != cfg!(target_env = "musl") {
        return Err(Refusal::OtherLibc { path, loader });
    }
    if !loader.exists() {
        return Err(Refusal::NoLoader { path, loader });
    }
    Ok(())
}

/// Whether a loader is that of musl, as its name says: `ld-musl-x86_64.so.1`.
fn is_musl(loader: &Path) -> bool {
    let name = loader.file_name().unwrap_or_default();
    name.as_bytes().starts_with(b"ld-musl")
}

/// What a program's file says about the rights it runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marks {
    mode: u32,
    owner: u32,
    group: u32,
    /// The attribute `security.capability`.
    capabilities: Option<Vec<u8>>,
    /// The file system gives no rights (mount option `nosuid`).
    ignored: bool,
}

/// What makes the kernel tell the loader that it must not trust the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elevation {
    User(u32),
    Group(u32),
    Capabilities,
}

impl Marks {
    fn of(path: &Path, about: &Metadata) -> Self {
        Self {
            mode: about.permissions().mode(),
            owner: about.uid(),
            group: about.gid(),
            // File systems without attributes have no capabilities.
            capabilities: xattr::get_deref(path, "security.capability").ok().flatten(),
            ignored: statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_NOSUID)),
        }
    }

    /// The rules of `execve`: a change of user or group, or capabilities for who is not root.
    fn elevation(&self, rights: Rights) -> Option<Elevation> {
        const SET_USER: u32 = 0o4000;
        /// Without the group's right to execute it means locking.
        const SET_GROUP: u32 = 0o2010;
        if self.ignored {
            return None;
        }
        if !rights.no_new_privileges {
            if self.mode & SET_USER != 0 && self.owner != rights.user {
                return Some(Elevation::User(self.owner));
            }
            if self.mode & SET_GROUP == SET_GROUP && self.group != rights.group {
                return Some(Elevation::Group(self.group));
            }
        }
        let gained = self.capabilities.as_deref().is_some_and(gives);
        (gained && rights.user != 0).then_some(Elevation::Capabilities)
    }
}

/// Whether file capabilities give any: `struct vfs_cap_data` of linux/capability.h, little-endian words.
fn gives(attribute: &[u8]) -> bool {
    const EFFECTIVE: u32 = 1;
    let (words, _) = attribute.as_chunks::<4>();
    let word = |at: usize| words.get(at).map_or(0, |word| u32::from_le_bytes(*word));
    // The first word, then pairs: permitted, inheritable.
    word(0) & EFFECTIVE != 0 || word(1) != 0 || (words.len() >= 5 && word(3) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Rights = Rights {
        user: 0,
        group: 0,
        no_new_privileges: false,
    };
    const VOICE: Rights = Rights {
        user: 1000,
        group: 1000,
        no_new_privileges: false,
    };

    fn marks(mode: u32, owner: u32, group: u32) -> Marks {
        Marks {
            mode,
            owner,
            group,
            capabilities: None,
            ignored: false,
        }
    }

    #[test]
    fn another_users_or_groups_rights_are_an_elevation_and_ones_own_are_not() {
        let set_user = marks(0o104_755, 0, 0);
        assert_eq!(set_user.elevation(VOICE), Some(Elevation::User(0)));
        assert_eq!(set_user.elevation(ROOT), None);
        let given_away = marks(0o104_755, 1000, 0);
        assert_eq!(given_away.elevation(VOICE), None);
        assert_eq!(given_away.elevation(ROOT), Some(Elevation::User(1000)));
        let set_group = marks(0o102_755, 0, 5);
        assert_eq!(set_group.elevation(VOICE), Some(Elevation::Group(5)));
        assert_eq!(set_group.elevation(ROOT), Some(Elevation::Group(5)));
        assert_eq!(marks(0o102_745, 0, 5).elevation(VOICE), None, "a lock");
        assert_eq!(marks(0o100_755, 0, 0).elevation(VOICE), None);
    }

    #[test]
    fn where_the_system_ignores_the_bits_so_do_we() {
        let mut set_user = marks(0o106_755, 0, 0);
        let bound = Rights {
            no_new_privileges: true,
            ..VOICE
        };
        assert_eq!(set_user.elevation(bound), None);
        set_user.ignored = true;
        set_user.capabilities = Some(capabilities(2, 1, [1 << 23, 0, 0, 0]));
        assert_eq!(set_user.elevation(VOICE), None);
    }

    #[test]
    fn capabilities_are_an_elevation_for_who_is_not_root() {
        for (attribute, elevated) in [
            (capabilities(2, 1, [1 << 23, 0, 0, 0]), true),
            (capabilities(2, 0, [1 << 10, 0, 0, 0]), true),
            (capabilities(3, 0, [0, 0, 1, 0]), true),
            (capabilities(2, 0, [0, 1 << 23, 0, 0]), false),
            (capabilities(2, 0, [0; 4]), false),
            (capabilities(1, 0, [1, 0, 0, 0])[..12].to_vec(), true),
            (Vec::new(), false),
        ] {
            let mut file = marks(0o100_755, 0, 0);
            file.capabilities = Some(attribute.clone());
            let expected = elevated.then_some(Elevation::Capabilities);
            assert_eq!(file.elevation(VOICE), expected, "{attribute:?}");
            assert_eq!(file.elevation(ROOT), None);
        }
    }

    /// The attribute as the kernel stores it: permitted and inheritable, twice.
    fn capabilities(revision: u32, effective: u32, sets: [u32; 4]) -> Vec<u8> {
        let mut words = vec![revision << 24 | effective];
        words.extend(sets);
        words.extend((revision == 3).then_some(0));
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    #[test]
    fn a_files_first_line_says_what_it_is() {
        let script = |interpreter: &str, argument: Option<&str>| {
            Kind::Script(Script {
                interpreter: interpreter.into(),
                argument: argument.map(OsString::from),
            })
        };
        for (head, kind) in [
            (&b"\x7fELF\x02\x01"[..], Kind::Elf),
            (b"#!/bin/sh\necho", script("/bin/sh", None)),
            (
                b"#! \t/usr/bin/env  python3 -u \nimport",
                script("/usr/bin/env", Some("python3 -u")),
            ),
            (b"#!/bin/sh\r\n", script("/bin/sh\r", None)),
            (b"#!\n", Kind::Text),
            (b"echo hello\n", Kind::Text),
            (b"", Kind::Text),
            (b"MZ\0\0", Kind::Other),
        ] {
            assert_eq!(Kind::of(head), kind, "{head:?}");
        }
    }

    #[test]
    fn commands_that_start_programs_elsewhere_are_refused_by_name() {
        for name in ["sudo", "systemctl", "docker", "/usr/bin/sudo"] {
            let refusal = find(OsStr::new(name), OsStr::new("/usr/bin")).unwrap_err();
            assert!(refusal.to_string().starts_with(name), "{refusal}");
            assert_eq!(refusal.status(), 126);
        }
        assert_eq!(elsewhere(OsStr::new("asterisk")), None);
    }

    #[test]
    fn an_own_program_may_be_run_and_a_library_or_a_text_is_no_program() {
        let this_program = std::env::current_exe().unwrap();
        let image = elf::read(File::open(&this_program).unwrap()).unwrap();
        let library = Library {
            path: "/l.so".into(),
            architecture: image.architecture,
        };
        inspect(&this_program, OsStr::new(""), &library, Rights::own()).unwrap();
        let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let refusal = find(OsStr::new(text), OsStr::new("")).unwrap_err();
        assert!(matches!(refusal, Refusal::NotExecutable(_)), "{refusal}");
    }
}
