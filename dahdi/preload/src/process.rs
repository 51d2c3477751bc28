//! Which process this is, and what a fork leaves of it.
//!
//! * A **forked child** has copies of all descriptors and memory but none of our threads. It counts as the next generation: what
//!   was opened before it is *inherited*, and adopted when the child first uses it ([`crate::opens`]).
//! * A child of `vfork` or `posix_spawn`, and one made by a bare system call, has descriptors of its own while it uses its parent's
//!   memory, or a copy of which nobody told us. It is known by its process number, and what it closes,
//!   duplicates, reads and writes is left to the kernel.

use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::unistd::getpid;

/// Notes the calling process as the one that our memory is of. With its first device, so before any other can borrow that.
pub(crate) fn begin() {
    ID.store(getpid().as_raw(), Ordering::Relaxed);
}

/// Whether anything of ours may exist, in this process or in one that it was forked from.
#[inline]
pub(crate) fn has_begun() -> bool {
    ID.load(Ordering::Relaxed) != 0
}

/// Whether the calling process is the one that our memory is of. A system call.
pub(crate) fn owns_memory() -> bool {
    getpid().as_raw() == ID.load(Ordering::Relaxed)
}

/// Forks between the first process and this one.
#[inline]
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// In a child that `fork` made, before anything else.
pub(crate) fn next_generation() {
    begin();
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

static ID: AtomicI32 = AtomicI32::new(0);
static GENERATION: AtomicU32 = AtomicU32::new(0);
