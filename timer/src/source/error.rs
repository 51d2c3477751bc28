//! What can go wrong with a timing source.

use nix::errno::Errno;

use super::{MAX_HANDLES, MAX_RATE, MIN_PERIOD};

/// Why a source or a handle does not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No descriptor. Nothing was opened and nothing else was closed: with EMFILE raise RLIMIT_NOFILE
    /// (`LimitNOFILE=` in a unit file).
    #[error(
        "cannot create an eventfd: {0}; with EMFILE raise the limit of open files (LimitNOFILE=)"
    )]
    Descriptor(Errno),
    /// The source has [`MAX_HANDLES`] handles: close some, or make another source.
    #[error("the source has {MAX_HANDLES} handles; close some, or make another source")]
    TooManyHandles,
    /// The tick thread cannot be started, as the first period is set: raise RLIMIT_NPROC (`TasksMax=`), or allow clone
    /// in the seccomp filter.
    #[error(
        "cannot start the tick thread: {0}; raise the limit of threads (TasksMax=) or free memory"
    )]
    Thread(Errno),
    /// A rate above [`MAX_RATE`]: ask for less, or set a period.
    #[error(
        "{asked} ticks per second were asked for; ask for {MAX_RATE} or fewer, or set a period"
    )]
    RateTooHigh {
        /// Ticks per second asked for.
        asked: u32,
    },
    /// A period below [`MIN_PERIOD`]: ask for a longer one.
    #[error("the period is too short; ask for {MIN_PERIOD:?} or more")]
    PeriodTooShort,
    /// There is no tick to acknowledge. The descriptor may be readable nevertheless, in continuous mode.
    #[error("no tick is pending; acknowledge only after a tick has come")]
    NothingPending,
    /// The source was made before a `fork`, and this is the child: make a new source here.
    #[error("this is a forked child of the process that made the source; make a new source here")]
    Forked,
}
