//! What processes use, as the kernel tells it in /proc.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a process, or one thread of it, has used since it began.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Usage {
    /// User time, seconds.
    pub(super) user_s: f64,
    /// System time, seconds.
    pub(super) system_s: f64,
    /// Resident memory, KiB.
    pub(super) rss_kib: u64,
    /// Threads.
    pub(super) threads: u64,
    /// Times one of its threads slept.
    pub(super) voluntary_switches: u64,
    /// Times one was put aside.
    pub(super) involuntary_switches: u64,
}

/// A process and what of it is measured.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pid: u32,
    folder: PathBuf,
    /// When it began, in the kernel's units since boot: a process that got the same number later is another.
    began: u64,
    ticks_per_second: f64,
}

/// Why a process cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// There is none of this number.
    #[error(
        "there is no process {pid} whose figures can be read; give the server's number (--pid)"
    )]
    NotThere {
        /// The number.
        pid: u32,
    },
    /// Nobody on this machine, who can be seen, has the port.
    #[error(
        "no process of this machine that we may look at has UDP port {port}; give its number (--pid), or run as the same user or root"
    )]
    NotFound {
        /// The port.
        port: u16,
    },
}

impl Watched {
    /// The process of this number.
    ///
    /// # Errors
    /// [`ProcessError::NotThere`].
    pub(super) fn new(pid: u32) -> Result<Self, ProcessError> {
        let folder = PathBuf::from(format!("/proc/{pid}"));
        let stat = fs::read_to_string(folder.join("stat")).ok();
        let stat = stat.as_deref().and_then(Stat::parse);
        let began = stat.ok_or(ProcessError::NotThere { pid })?.began;
        Ok(Self {
            pid,
            folder,
            began,
            ticks_per_second: ticks_per_second(),
        })
    }

    /// The process that has this UDP port on this machine.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`].
    pub(super) fn with_udp_port(address: SocketAddr) -> Result<Self, ProcessError> {
        // Somebody here with the same port is not the server if that is another machine.
        let is_here = UdpSocket::bind((address.ip(), 0)).is_ok();
        let owner = is_here.then(|| owner_of(address)).flatten();
        let found = owner.and_then(|pid| Self::new(pid).ok());
        found.ok_or(ProcessError::NotFound {
            port: address.port(),
        })
    }

    /// Its number.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name.
    pub(super) fn name(&self) -> Option<String> {
        let name = fs::read_to_string(self.folder.join("comm")).ok()?;
        Some(name.trim_end().to_owned())
    }

    /// What it has used; `None` when it is gone.
    pub(super) fn usage(&self) -> Option<Usage> {
        let stat = fs::read_to_string(self.folder.join("stat")).ok()?;
        let stat =
            Stat::parse(&stat).filter(|stat| stat.began == self.began && stat.state != 'Z')?;
        let status = fs::read_to_string(self.folder.join("status")).ok()?;
        let mut usage = Usage {
            user_s: stat.user as f64 / self.ticks_per_second,
            system_s: stat.system as f64 / self.ticks_per_second,
            rss_kib: field(&status, "VmRSS:").unwrap_or(0),
            threads: stat.threads,
            ..Usage::default()
        };
        // The process's own status has the switches of its first thread only.
        for task in fs::read_dir(self.folder.join("task")).ok()?.flatten() {
            let Ok(status) = fs::read_to_string(task.path().join("status")) else {
                continue;
            };
            usage.voluntary_switches += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            usage.involuntary_switches +=
                field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
        }
        Some(usage)
    }
}

/// User and system time of one thread of this process, seconds; 0 if it is gone.
pub(super) fn thread_seconds(tid: i32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/self/task/{tid}/stat")).ok();
    let stat = stat.as_deref().and_then(Stat::parse);
    stat.map_or(0.0, |stat| {
        (stat.user + stat.system) as f64 / ticks_per_second()
    })
}

/// The clock ticks in which the kernel tells times: 100 a second on every Linux that is in use, but asked for all the same.
fn ticks_per_second() -> f64 {
    match nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK) {
        Ok(Some(ticks)) if ticks > 0 => ticks as f64,
        _ => 100.0,
    }
}

/// The fields of /proc/PID/stat that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    user: u64,
    system: u64,
    threads: u64,
    began: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name may have blanks and brackets in it; nothing after it has.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            user: number(11)?,
            system: number(12)?,
            threads: number(17)?,
            began: number(19)?,
        })
    }
}

/// A number in a file of lines `name: number unit`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The process that has a UDP socket bound to `address`, or to its port on all addresses.
fn owner_of(address: SocketAddr) -> Option<u32> {
    let mut inodes = HashSet::new();
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        inodes.extend(
            text.lines()
                .skip(1)
                .filter_map(|line| bound_inode(line, address)),
        );
    }
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids: Vec<u32> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids.into_iter().find(|pid| has_socket(*pid, &inodes))
}

fn has_socket(pid: u32, inodes: &HashSet<u64>) -> bool {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .any(|descriptor| is_socket(&descriptor.path(), inodes))
}

fn is_socket(descriptor: &Path, inodes: &HashSet<u64>) -> bool {
    let link = fs::read_link(descriptor).unwrap_or_default();
    if !link.to_string_lossy().starts_with("socket:[") {
        return false;
    }
    fs::metadata(descriptor).is_ok_and(|metadata| inodes.contains(&metadata.ino()))
}

/// The inode of a line of /proc/net/udp, if its socket would get what is sent to `address`.
fn bound_inode(line: &str, address: SocketAddr) -> Option<u64> {
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    if u16::from_str_radix(port, 16).ok()? != address.port() {
        return None;
    }
    let bound = ip_of(ip)?;
    if bound != address.ip() && !bound.is_unspecified() {
        return None;
    }
    // After the local address: remote, state, queues, timer, retransmissions, user, timeout, inode.
    fields.nth(7)?.parse().ok()
}

/// An address as the kernel prints it: words of 32 bits in the machine's order.
fn ip_of(text: &str) -> Option<IpAddr> {
    let words: Vec<[u8; 4]> = text
        .as_bytes()
        .chunks(8)
        .map(|word| {
            let word = std::str::from_utf8(word).ok()?;
            Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
        })
        .collect::<Option<_>>()?;
    match *words {
        [v4] => Some(IpAddr::from(v4)),
        [a, b, c, d] => {
            let bytes = [a, b, c, d].concat();
            Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_port_and_uses_something() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let watched = Watched::with_udp_port(socket.local_addr().unwrap()).unwrap();
        assert_eq!(watched.pid(), std::process::id());
        assert!(watched.name().is_some_and(|name| !name.is_empty()));
        let usage = watched.usage().unwrap();
        assert!(usage.rss_kib > 100 && usage.threads >= 1);
        assert!(thread_seconds(nix::unistd::gettid().as_raw()) >= 0.0);
        drop(socket);
    }

    #[test]
    fn who_is_not_there_is_said_to_be_so() {
        let error = Watched::new(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("--pid"), "{error}");
        let free = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        assert!(Watched::with_udp_port(free).is_err());
    }

    #[test]
    fn the_kernels_lines_are_read() {
        let line = "4711 (a (strange) name) S 1 2 3 4 5 6 7 8 9 10 250 125 0 0 20 0 17 0 999 1 2";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                state: 'S',
                user: 250,
                system: 125,
                threads: 17,
                began: 999
            })
        );
        assert_eq!(Stat::parse("nonsense"), None);
        let line = " 123: 0100007F:13C4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 5555 2 0 0";
        assert_eq!(
            bound_inode(line, "127.0.0.1:5060".parse().unwrap()),
            Some(5555)
        );
        assert_eq!(bound_inode(line, "127.0.0.1:5061".parse().unwrap()), None);
        assert_eq!(bound_inode(line, "127.0.0.2:5060".parse().unwrap()), None);
    }
}
