//! A segment in the address space of this process.
#![allow(unsafe_code, reason = "shared memory")]

use std::fmt;
use std::fs::File;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

use super::layout::Segment;
use crate::error::SegmentError;

/// A mapped segment; unmapped when it is dropped, which takes a system call.
pub(crate) struct Mapping {
    base: NonNull<Segment>,
}

// SAFETY: a segment is nothing but atomics, and its memory stays until the mapping is dropped.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps a file of ours for reading and writing; all of its [`Segment::SIZE`] bytes must have been allocated.
    pub(crate) fn writable(file: &File) -> Result<Self, Errno> {
        map(file, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    /// Maps another's file for reading, if it is a segment.
    pub(crate) fn readable(file: &File) -> Result<Self, SegmentError> {
        check_extent(file)?;
        let mapping = map(file, ProtFlags::PROT_READ)
            .map_err(|errno| SegmentError::Unreadable(errno.to_string()))?;
        mapping.check()?;
        Ok(mapping)
    }
}

impl Deref for Mapping {
    type Target = Segment;

    fn deref(&self) -> &Segment {
        // SAFETY: the memory is mapped while `self` lives, of a segment's size, and page-aligned. A segment is atomic integers
        // only, so any bits are valid and other processes may change them. Those of 64 bits and less are loaded by plain
        // loads on 64-bit machines, so that a mapping for reading is enough for it.
        unsafe { self.base.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this size, and nobody can refer to it any more.
        let _ = unsafe { munmap(self.base.cast(), Segment::SIZE as usize) };
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping")
            .field("process", &self.process())
            .finish_non_exhaustive()
    }
}

/// Whether all of a segment is there: memory that was never allocated may not be to be had when it is read.
pub(crate) fn check_extent(file: &File) -> Result<(), SegmentError> {
    let unreadable = |error: std::io::Error| SegmentError::Unreadable(error.to_string());
    let found = file.metadata().map_err(unreadable)?;
    let kind = found.file_type();
    if !kind.is_file() || kind.is_fifo() {
        return Err(SegmentError::Foreign);
    }
    let in_memory = fstatfs(file).is_ok_and(|kind| kind.filesystem_type() == TMPFS_MAGIC);
    let there = if in_memory {
        found.len().min(found.blocks() * 512)
    } else {
        found.len()
    };
    if there < Segment::SIZE {
        return Err(SegmentError::Truncated {
            found: there,
            expected: Segment::SIZE,
        });
    }
    Ok(())
}

fn map(file: &File, access: ProtFlags) -> Result<Mapping, Errno> {
    let size = NonZeroUsize::new(Segment::SIZE as usize).ok_or(Errno::EINVAL)?;
    // All pages are brought in now, so that the tick faults none.
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
    // SAFETY: a new mapping, at a place that the kernel chooses, changes no memory that anybody uses.
    let base = unsafe { mmap(None, size, access, flags, file, 0) }?;
    Ok(Mapping { base: base.cast() })
}
