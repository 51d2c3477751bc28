//! Being asked: the socket at which a process tells of itself.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, connect, listen,
    send, setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{Gid, fchownat, geteuid};

use crate::directory::{Directory, hidden};
use crate::error::TrunkError;
use crate::report::ProcessReport;
use crate::segment::stem;

/// End of a socket's name.
pub(crate) const END: &str = ".status";

/// While it is being made, another one, which is not looked at.
const NEW_END: &str = ".status.new";

/// Names that are tried for one process number.
const NAMES: u32 = 100;

/// Askers that wait, and that are answered from one call.
const ASKERS: i32 = 16;

/// How long askers may take to read.
const PATIENCE: Duration = Duration::from_millis(200);

/// Time to wait when askers cannot be let in.
const PAUSE: Duration = Duration::from_millis(100);

/// Buffer of an answer, so that it is sent at once; the system may grant less.
const BUFFER: usize = 1 << 20;

/// This process's socket in a directory, at which [`crate::survey()`] asks. Removed when it is dropped, but not by a child that
/// inherited it.
#[derive(Debug)]
pub struct Answering {
    socket: OwnedFd,
    path: PathBuf,
    process: u32,
    /// Device and inode of the socket's name.
    file: (u64, u64),
}

impl Answering {
    /// Makes the socket. It is readable, as `poll` says, when somebody asks.
    ///
    /// # Errors
    ///
    /// [`TrunkError::LongPath`], [`TrunkError::Denied`], [`TrunkError::Taken`] or [`TrunkError::System`].
    pub fn bind(directory: &Directory) -> Result<Self, TrunkError> {
        let process = process::id();
        for n in 1..=NAMES {
            let stem = stem(process, n);
            let path = directory.join(&format!("{stem}{END}"));
            remove_if_dead(&path);
            if fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            let new = directory.join(&format!("{stem}{NEW_END}"));
            let made = listening(directory, &new).and_then(|socket| {
                // It has its name only now that it listens, so one that refuses is dead. A link, unlike a renaming, replaces nothing.
                fs::hard_link(&new, &path)
                    .map_err(|error| TrunkError::of("naming it", &path, error))?;
                Ok(socket)
            });
            let _ = fs::remove_file(&new);
            match made {
                Ok(socket) => {
                    return Ok(Self {
                        socket,
                        process,
                        file: identity(&path).unwrap_or_default(),
                        path,
                    });
                }
                Err(TrunkError::System { source, .. })
                    if matches!(
                        source.kind(),
                        io::ErrorKind::AlreadyExists | io::ErrorKind::AddrInUse
                    ) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TrunkError::Taken {
            path: directory.join(&format!("{process}{END}")),
        })
    }

    /// Whether others can still find it. If not, somebody has removed it: it is to be bound anew.
    pub fn is_published(&self) -> bool {
        identity(&self.path).ok() == Some(self.file)
    }

    /// Answers all who ask, 16 at most, and returns how many. The report is made once, if anybody asks. Askers who do not
    /// read are given up after 200 ms together. While the process has no descriptor left for them they wait, and this takes
    /// 100 ms, so that who calls it whenever the socket is readable does not spin.
    pub fn answer(&self, report: impl FnOnce() -> ProcessReport) -> usize {
        let Some(first) = self.accept() else {
            return 0;
        };
        // Nothing in a report can fail to become JSON.
        let Ok(text) = serde_json::to_vec(&report()) else {
            return 0;
        };
        let mut askers = vec![first];
        while askers.len() < ASKERS as usize
            && let Some(next) = self.accept()
        {
            askers.push(next);
        }
        let until = Instant::now() + PATIENCE;
        for asker in &askers {
            send_all(asker, &text, until);
        }
        askers.len()
    }

    /// The next who asks.
    fn accept(&self) -> Option<OwnedFd> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let asker = match accept4(self.socket.as_raw_fd(), flags) {
            Ok(asker) => owned(asker),
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => return None,
            Err(_) => {
                self.pause();
                return None;
            }
        };
        let _ = setsockopt(&asker, sockopt::SndBuf, &BUFFER);
        Some(asker)
    }

    /// Who asks cannot be let in, as descriptors or memory have run out, and so the socket stays readable.
    fn pause(&self) {
        let mut asked = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if poll(&mut asked, PollTimeout::ZERO) != Ok(0) {
            thread::sleep(PAUSE);
        }
    }
}

impl AsFd for Answering {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if self.process == process::id() && self.is_published() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket at which nobody listens any more. Anything else is left alone.
pub(crate) fn remove_if_dead(path: &Path) {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    if is_socket && ask(path).is_err_and(|errno| errno == Errno::ECONNREFUSED) {
        let _ = fs::remove_file(path);
    }
}

/// Connects to a socket without waiting.
pub(crate) fn ask(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = stream()?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// A socket that listens at `path`.
fn listening(directory: &Directory, path: &Path) -> Result<OwnedFd, TrunkError> {
    let failed = |what| move |errno: Errno| TrunkError::of(what, path, errno.into());
    let address = UnixAddr::new(path).map_err(|_| TrunkError::LongPath {
        path: path.to_owned(),
    })?;
    let socket = stream().map_err(failed("making a socket"))?;
    let socket = hidden(socket).map_err(|error| TrunkError::of("making a socket", path, error))?;
    // Left behind by one of this number that was killed; nobody else uses the name.
    let _ = fs::remove_file(path);
    bind(socket.as_raw_fd(), &address).map_err(failed("binding a socket"))?;
    // As for files: what is refused only keeps others from asking.
    let _ = share(directory, path);
    let backlog = Backlog::new(ASKERS).map_err(failed("listening"))?;
    listen(&socket, backlog).map_err(failed("listening"))?;
    Ok(socket)
}

/// Gives a socket of ours the directory's group and permissions, but nothing else that somebody may have put in its place, such as a link.
fn share(directory: &Directory, path: &Path) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::empty())?;
    let found = fstat(&file)?;
    let kind = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFSOCK || found.st_uid != geteuid().as_raw() || found.st_nlink != 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let group = Some(Gid::from_raw(directory.group()));
    fchownat(&file, "", None, group, AtFlags::AT_EMPTY_PATH)?;
    // Such a descriptor takes no fchmod.
    let this = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(this, Permissions::from_mode(directory.shared_mode(0o6)))
}

fn stream() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    socket(AddressFamily::Unix, SockType::Stream, flags, None)
}

/// Sends all of `text`, or as much as the other reads in time. Never by a signal if it has gone.
fn send_all(socket: &OwnedFd, mut text: &[u8], until: Instant) {
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    while !text.is_empty() {
        match send(socket.as_raw_fd(), text, flags) {
            Ok(sent) => text = &text[sent..],
            Err(Errno::EAGAIN) => {
                let left = until.saturating_duration_since(Instant::now());
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
                let mut wait = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
                if left.is_zero() || matches!(poll(&mut wait, timeout), Ok(0)) {
                    return;
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = fs::symlink_metadata(path)?;
    Ok((file.dev(), file.ino()))
}

#[allow(unsafe_code, reason = "accept gives a number")]
fn owned(number: i32) -> OwnedFd {
    use std::os::fd::FromRawFd;
    // SAFETY: accept4 has just made it, so it is open and nobody else's.
    unsafe { OwnedFd::from_raw_fd(number) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_put_in_the_place_of_a_new_socket_keeps_its_permissions() {
        let root = tempfile::tempdir().unwrap();
        let meeting = root.path().join("meeting");
        fs::create_dir(&meeting).unwrap();
        fs::set_permissions(&meeting, Permissions::from_mode(0o770)).unwrap();
        let directory = Directory::at(&meeting).unwrap();
        let at = |name| root.path().join(name);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        fs::write(at("file"), "").unwrap();
        let _listener = UnixListener::bind(at("socket")).unwrap();
        for name in ["file", "socket"] {
            let link = at("link");
            symlink(at(name), &link).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(0o400)).unwrap();
            share(&directory, &link).unwrap_err();
            assert_eq!(mode(&at(name)), 0o400, "{name}");
            fs::remove_file(&link).unwrap();
        }
        share(&directory, &at("file")).unwrap_err();
        assert_eq!(mode(&at("file")), 0o400);
        fs::hard_link(at("socket"), at("second")).unwrap();
        share(&directory, &at("second")).unwrap_err();
        fs::remove_file(at("second")).unwrap();
        share(&directory, &at("socket")).unwrap();
        assert_eq!(mode(&at("socket")), 0o660);
    }
}
