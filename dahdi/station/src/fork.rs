//! Which process this is: the one that made a thing, or one forked from it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Processes between the first one and this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    /// The calling process's.
    pub(crate) fn current() -> Self {
        Self(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this is still the process that asked for it.
    pub(crate) fn is_current(self) -> bool {
        self == Self::current()
    }

    /// How many there were before.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The next one begins: in the child, and async-signal-safe.
    pub(crate) fn begin() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
}

static GENERATION: AtomicU64 = AtomicU64::new(0);
