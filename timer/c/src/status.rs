//! What functions answer, and that no panic leaves them.

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

use timer::source::FrameTimerError;
use timer::{PeriodError, SourceError, TickerError, WatchdogError};

/// What a function answers: 0 or more when it did what it was asked, less than 0 when not.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum unisono_status {
    /// Done.
    UNISONO_OK = 0,
    /// The tick has not come yet.
    UNISONO_EARLY = 1,
    /// Some of what was asked for was refused; the text says what, why and what mends it.
    UNISONO_PARTLY = 2,
    /// An argument is impossible.
    UNISONO_E_INVALID = -1,
    /// The handle is null, closed, of another kind, or none at all.
    UNISONO_E_HANDLE = -2,
    /// Another thread is using the object, which serves one at a time.
    UNISONO_E_BUSY = -3,
    /// No tick is pending.
    UNISONO_E_NOTHING_PENDING = -4,
    /// The source was made before a fork and this is the child.
    UNISONO_E_FORKED = -5,
    /// No descriptor is left.
    UNISONO_E_DESCRIPTOR = -6,
    /// The tick thread cannot be started.
    UNISONO_E_THREAD = -7,
    /// There are a million objects of the kind.
    UNISONO_E_TOO_MANY = -8,
    /// The kernel or a seccomp filter refused a call.
    UNISONO_E_SYSTEM = -9,
    /// A fault of the library, which has been stopped from going further.
    UNISONO_E_PANIC = -10,
    /// The thread has a watchdog already.
    UNISONO_E_WATCHED = -11,
}

use unisono_status::{
    UNISONO_E_BUSY, UNISONO_E_DESCRIPTOR, UNISONO_E_FORKED, UNISONO_E_HANDLE, UNISONO_E_INVALID,
    UNISONO_E_NOTHING_PENDING, UNISONO_E_PANIC, UNISONO_E_SYSTEM, UNISONO_E_THREAD,
    UNISONO_E_TOO_MANY, UNISONO_E_WATCHED, UNISONO_EARLY, UNISONO_OK, UNISONO_PARTLY,
};

/// The same for the code behind the functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Early,
    Partly,
    Invalid,
    Handle,
    Busy,
    NothingPending,
    Forked,
    Descriptor,
    Thread,
    TooMany,
    System,
    Watched,
}

/// Every function's body runs in this.
pub(crate) fn guarded(body: impl FnOnce() -> Result<(), Status>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => UNISONO_OK as c_int,
        Ok(Err(status)) => status.code() as c_int,
        Err(payload) => {
            // What a panic carries could panic once more as it is dropped.
            std::mem::forget(payload);
            UNISONO_E_PANIC as c_int
        }
    }
}

/// A sentence about a status, which lives for ever. Never null, also for a number that is no status. Any thread, and
/// signal handlers.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_strerror(status: c_int) -> *const c_char {
    text(status).as_ptr()
}

fn text(status: c_int) -> &'static CStr {
    for (known, text) in TEXTS {
        if known as c_int == status {
            return text;
        }
    }
    c"no status of this library"
}

impl Status {
    const fn code(self) -> unisono_status {
        match self {
            Self::Early => UNISONO_EARLY,
            Self::Partly => UNISONO_PARTLY,
            Self::Invalid => UNISONO_E_INVALID,
            Self::Handle => UNISONO_E_HANDLE,
            Self::Busy => UNISONO_E_BUSY,
            Self::NothingPending => UNISONO_E_NOTHING_PENDING,
            Self::Forked => UNISONO_E_FORKED,
            Self::Descriptor => UNISONO_E_DESCRIPTOR,
            Self::Thread => UNISONO_E_THREAD,
            Self::TooMany => UNISONO_E_TOO_MANY,
            Self::System => UNISONO_E_SYSTEM,
            Self::Watched => UNISONO_E_WATCHED,
        }
    }
}

impl From<SourceError> for Status {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Descriptor(_) => Self::Descriptor,
            SourceError::TooManyHandles => Self::TooMany,
            SourceError::Thread(_) => Self::Thread,
            SourceError::RateTooHigh { .. } | SourceError::PeriodTooShort => Self::Invalid,
            SourceError::NothingPending => Self::NothingPending,
            SourceError::Forked => Self::Forked,
            _ => Self::System,
        }
    }
}

impl From<TickerError> for Status {
    fn from(error: TickerError) -> Self {
        match error {
            TickerError::Create(_) => Self::Descriptor,
            TickerError::NumberPassed { .. } => Self::Invalid,
            _ => Self::System,
        }
    }
}

impl From<WatchdogError> for Status {
    fn from(error: WatchdogError) -> Self {
        match error {
            WatchdogError::AlreadyWatched => Self::Watched,
            _ => Self::System,
        }
    }
}

impl From<PeriodError> for Status {
    fn from(_: PeriodError) -> Self {
        Self::Invalid
    }
}

impl From<FrameTimerError> for Status {
    fn from(error: FrameTimerError) -> Self {
        match error {
            FrameTimerError::Interval(_) | FrameTimerError::NoSamples => Self::Invalid,
            _ => Self::System,
        }
    }
}

const TEXTS: [(unisono_status, &CStr); 14] = [
    (UNISONO_OK, c"done"),
    (UNISONO_EARLY, c"the tick has not come yet"),
    (
        UNISONO_PARTLY,
        c"some of what was asked for was refused; read the text, and do without or grant it",
    ),
    (
        UNISONO_E_INVALID,
        c"an argument is impossible; the header says what is possible",
    ),
    (
        UNISONO_E_HANDLE,
        c"the handle is null, closed or of another kind; use one that is open",
    ),
    (
        UNISONO_E_BUSY,
        c"another thread is using this object; give each thread its own",
    ),
    (
        UNISONO_E_NOTHING_PENDING,
        c"no tick is pending; acknowledge only after a tick has come",
    ),
    (
        UNISONO_E_FORKED,
        c"this is a forked child of the process that made the source; make a new source here",
    ),
    (
        UNISONO_E_DESCRIPTOR,
        c"no descriptor is left; raise the limit of open files (LimitNOFILE=)",
    ),
    (
        UNISONO_E_THREAD,
        c"the tick thread cannot be started; raise the limit of threads (TasksMax=) or free memory",
    ),
    (
        UNISONO_E_TOO_MANY,
        c"there are a million objects of this kind; close some",
    ),
    (
        UNISONO_E_SYSTEM,
        c"the kernel refused a call; allow the timer calls in the seccomp filter",
    ),
    (
        UNISONO_E_PANIC,
        c"a fault of the library, reported on standard error; please report it",
    ),
    (
        UNISONO_E_WATCHED,
        c"this thread is watched already; keep the watchdog that it has",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_does_not_cross() {
        extern "C" fn entry() -> c_int {
            guarded(|| panic!("on purpose, in a test"))
        }
        assert_eq!(entry(), UNISONO_E_PANIC as c_int);
    }

    #[test]
    fn a_panic_whose_payload_panics_does_not_cross() {
        struct Twice;
        impl Drop for Twice {
            fn drop(&mut self) {
                panic!("once more");
            }
        }
        let status = guarded(|| std::panic::panic_any(Twice));
        assert_eq!(status, UNISONO_E_PANIC as c_int);
    }

    #[test]
    fn every_status_has_a_text_of_its_own_and_every_other_number_one_too() {
        let mut texts: Vec<_> = (-11..=2).map(text).collect();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), 14);
        assert_eq!(text(77), c"no status of this library");
        assert_eq!(text(c_int::MIN), text(77));
    }
}
