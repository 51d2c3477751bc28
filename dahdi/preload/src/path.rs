//! Which paths are of DAHDI.
//!
//! Paths are absolute; doubled slashes and `.` do not matter. Relative ones and those with `..` are the kernel's business.

use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU8, Ordering};

use dahdi::request::Device;

use crate::failure::{errno, set_errno};
use crate::{memory, real};

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// `/dev/dahdi`.
    Directory,
    /// One of the four devices that a machine without cards has.
    Device(Device),
    /// A device of hardware, which is not there.
    Hardware,
}

/// Major number of DAHDI's devices.
pub(crate) const MAJOR: u32 = 196;

/// Minor number of a device.
pub(crate) const fn minor(device: Device) -> u32 {
    match device {
        Device::Control => 0,
        Device::Timer => 253,
        Device::Channel => 254,
        Device::Pseudo => 255,
    }
}

impl Node {
    /// What `path` names, if it is of DAHDI.
    pub(crate) fn of(path: &[u8]) -> Option<Self> {
        if path.first() != Some(&b'/') {
            return None;
        }
        let mut parts = path
            .split(|&octet| octet == b'/')
            .filter(|part| !part.is_empty() && *part != b".");
        if (parts.next()?, parts.next()?) != (b"dev".as_slice(), b"dahdi".as_slice()) {
            return None;
        }
        let Some(name) = parts.next() else {
            return Some(Self::Directory);
        };
        if parts.next().is_some() || path.ends_with(b"/") {
            return None;
        }
        Some(match name {
            b"timer" => Self::Device(Device::Timer),
            b"pseudo" => Self::Device(Device::Pseudo),
            b"ctl" => Self::Device(Device::Control),
            b"channel" => Self::Device(Device::Channel),
            b"transcode" => Self::Hardware,
            number if is_line(number) => Self::Hardware,
            _ => return None,
        })
    }
}

/// Whether the machine has a `/dev/dahdi` of its own, so that ours goes before it. It is looked for once.
#[inline]
pub(crate) fn is_shadowing() -> bool {
    static SHADOWING: AtomicU8 = AtomicU8::new(UNKNOWN);
    match SHADOWING.load(Ordering::Relaxed) {
        ABSENT => false,
        PRESENT => true,
        _ => {
            let before = errno();
            // SAFETY: the path ends with a zero.
            let found = unsafe { real::access(c"/dev/dahdi".as_ptr(), libc::F_OK) } == 0;
            set_errno(before);
            SHADOWING.store(if found { PRESENT } else { ABSENT }, Ordering::Relaxed);
            found
        }
    }
}

/// The node at a path of which nothing is known, not even that it can be read.
#[cold]
pub(crate) fn of_any(path: *const c_char) -> Option<Node> {
    let mut start = [0; LONGEST];
    let copied = memory::copy_prefix(path.addr(), &mut start);
    Node::of(
        CStr::from_bytes_until_nul(&start[..copied])
            .ok()?
            .to_bytes(),
    )
}

/// The node at a path that the kernel has just read and did not find.
///
/// # Safety
///
/// The path can be read up to a zero.
#[cold]
pub(crate) unsafe fn of_missing(path: *const c_char) -> Option<Node> {
    // SAFETY: the caller's promise.
    Node::of(unsafe { CStr::from_ptr(path) }.to_bytes())
}

/// Lines are numbered from 1 to 249.
fn is_line(name: &[u8]) -> bool {
    let number = std::str::from_utf8(name)
        .ok()
        .and_then(|name| name.parse().ok());
    name[0] != b'0' && name[0] != b'+' && matches!(number, Some(1_u16..=249))
}

const UNKNOWN: u8 = 0;
const ABSENT: u8 = 1;
const PRESENT: u8 = 2;

/// Longer paths name nothing of ours, however often they repeat slashes.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_its_path() {
        for (path, node) in [
            ("/dev/dahdi", Node::Directory),
            ("/dev/dahdi/", Node::Directory),
            ("/dev/dahdi/timer", Node::Device(Device::Timer)),
            ("/dev/dahdi/pseudo", Node::Device(Device::Pseudo)),
            ("/dev/dahdi/ctl", Node::Device(Device::Control)),
            ("/dev/dahdi/channel", Node::Device(Device::Channel)),
            ("//dev/./dahdi///./timer", Node::Device(Device::Timer)),
            ("/dev/dahdi/1", Node::Hardware),
            ("/dev/dahdi/249", Node::Hardware),
            ("/dev/dahdi/transcode", Node::Hardware),
        ] {
            assert_eq!(Node::of(path.as_bytes()), Some(node), "{path}");
        }
    }

    #[test]
    fn other_paths_are_left_alone() {
        for path in [
            "",
            "/",
            "/dev",
            "/dev/null",
            "dev/dahdi/timer",
            "/dev/dahdi/timer/",
            "/dev/dahdi/timer/x",
            "/dev/dahdi/timers",
            "/dev/dahdi/0",
            "/dev/dahdi/250",
            "/dev/dahdi/01",
            "/dev/dahdi/+1",
            "/dev/dahdi/../dahdi/timer",
            "/dev/dahdi2/timer",
            "/tmp/dev/dahdi/timer",
        ] {
            assert_eq!(Node::of(path.as_bytes()), None, "{path}");
        }
    }
}
