//! Errors as a program sees them: a number in `errno`.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use dahdi::request::Errno;
use unisono_timer::SourceError;

/// A call fails with this `errno`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) c_int);

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self(errno.number())
    }
}

impl From<nix::Error> for Failure {
    fn from(errno: nix::Error) -> Self {
        Self(errno as c_int)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Descriptor(errno) | SourceError::Thread(errno) => errno.into(),
            SourceError::TooManyHandles => Self(libc::ENOMEM),
            // Nothing else comes of what a timer is asked; DAHDI's answer where there is no source of time.
            _ => Self(libc::ENXIO),
        }
    }
}

/// Carries out what a program called for on one of our descriptors, and answers as the C library does: the result, or -1
/// and `errno`, which otherwise stays as it was.
///
/// Nobody cancels the thread meanwhile, as what holds a lock has to give it back. Most waits in here end within a block of audio;
/// `SYNC` and `IOMUX` may wait for ever, and are no points of cancellation either.
#[inline(never)]
pub(crate) fn answer<T: TryInto<isize>>(work: impl FnOnce() -> Result<T, Failure>) -> isize {
    let before = errno();
    let result =
        uncancelled(|| catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Failure(libc::EIO))));
    match result {
        Ok(value) => {
            set_errno(before);
            value.try_into().unwrap_or(isize::MAX)
        }
        Err(Failure(number)) => {
            set_errno(number);
            -1
        }
    }
}

/// Does something during which nobody cancels the thread.
pub(crate) fn uncancelled<T>(work: impl FnOnce() -> T) -> T {
    let _cancelling = Cancelling::disable();
    work()
}

pub(crate) fn errno() -> c_int {
    nix::Error::last_raw()
}

pub(crate) fn set_errno(number: c_int) {
    nix::Error::set_raw(number);
}

/// Keeps the calling thread from being cancelled until it is dropped.
struct Cancelling {
    before: c_int,
}

impl Cancelling {
    fn disable() -> Self {
        let mut before = 0;
        // SAFETY: the pointer is to a local.
        unsafe { pthread_setcancelstate(CANCEL_DISABLE, &raw mut before) };
        Self { before }
    }
}

impl Drop for Cancelling {
    fn drop(&mut self) {
        let mut ours = 0;
        // SAFETY: the pointer is to a local.
        unsafe { pthread_setcancelstate(self.before, &raw mut ours) };
    }
}

/// `PTHREAD_CANCEL_DISABLE` of Linux.
const CANCEL_DISABLE: c_int = 1;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}
