//! What `stat` and `access` tell of our devices.

use std::ffi::c_int;

use libc::mode_t;

use crate::failure::Failure;
use crate::path::{MAJOR, Node, minor};

/// Kind and rights, and minor number if it is a device. `None` for a node that there is none of without cards.
fn facts(node: Node) -> Option<(mode_t, Option<u32>)> {
    match node {
        Node::Directory => Some((libc::S_IFDIR | 0o755, None)),
        Node::Device(device) => Some((libc::S_IFCHR | 0o666, Some(minor(device)))),
        Node::Hardware => None,
    }
}

/// As `stat` describes a node.
pub(crate) fn status(node: Node) -> Option<libc::stat> {
    let (mode, minor) = facts(node)?;
    // SAFETY: a structure of integers.
    let mut status = unsafe { std::mem::zeroed::<libc::stat>() };
    status.st_mode = mode;
    status.st_nlink = 1;
    status.st_ino = inode(minor);
    status.st_rdev = minor.map_or(0, |minor| libc::makedev(MAJOR, minor));
    status.st_blksize = 4096;
    Some(status)
}

/// As `statx` describes a node.
pub(crate) fn extended_status(node: Node) -> Option<libc::statx> {
    let (mode, minor) = facts(node)?;
    // SAFETY: a structure of integers.
    let mut status = unsafe { std::mem::zeroed::<libc::statx>() };
    status.stx_mask = libc::STATX_BASIC_STATS;
    status.stx_mode = mode as u16;
    status.stx_nlink = 1;
    status.stx_ino = inode(minor);
    status.stx_blksize = 4096;
    if let Some(minor) = minor {
        status.stx_rdev_major = MAJOR;
        status.stx_rdev_minor = minor;
    }
    Some(status)
}

/// Whether a node may be used so, as `access` answers: everybody may read and write, nobody execute.
pub(crate) fn access(node: Node, mode: c_int) -> Result<c_int, Failure> {
    match node {
        Node::Hardware => Err(Failure(libc::ENOENT)),
        Node::Device(_) if mode & libc::X_OK != 0 => Err(Failure(libc::EACCES)),
        _ => Ok(0),
    }
}

/// Different for each.
fn inode(minor: Option<u32>) -> u64 {
    u64::from(MAJOR) << 20 | u64::from(minor.map_or(0, |minor| minor + 1))
}
