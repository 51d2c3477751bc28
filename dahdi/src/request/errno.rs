//! The errors that DAHDI answers.

use thiserror::Error;

/// An error number of Linux on x86-64 and arm64, as a request, `read` or `write` answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Errno {
    /// 4: a signal came while waiting.
    #[error("EINTR: a signal ended the wait; ask again")]
    Eintr,
    /// 6: there is no such device.
    #[error("ENXIO: no such device; open one that exists")]
    Enxio,
    /// 9: the descriptor is not, or no longer, this channel's.
    #[error("EBADF: the descriptor is closed; open the device again")]
    Ebadf,
    /// 11: nothing to read, or no room to write, now.
    #[error("EAGAIN: not ready; wait until the descriptor is")]
    Eagain,
    /// 12: all channels are in use.
    #[error("ENOMEM: all pseudo channels are in use; close some, or raise the limit")]
    Enomem,
    /// 14: a bad address, or one with less room than the request's size.
    #[error(
        "EFAULT: the argument cannot be read or written; pass a pointer to the request's structure"
    )]
    Efault,
    /// 16: in use, or no conference is free.
    #[error("EBUSY: in use, or every conference is taken; release one")]
    Ebusy,
    /// 19: the channel was closed.
    #[error("ENODEV: the channel is closed; open it again")]
    Enodev,
    /// 22: a value out of range.
    #[error("EINVAL: a value is out of range; see the request's documentation")]
    Einval,
    /// 23: the machine has no descriptor left.
    #[error("ENFILE: the machine's limit of open files is reached; raise fs.file-max")]
    Enfile,
    /// 24: the process has no descriptor left.
    #[error("EMFILE: the limit of open files is reached; raise RLIMIT_NOFILE (LimitNOFILE=)")]
    Emfile,
    /// 25: this device has no such request.
    #[error("ENOTTY: this device does not serve this request")]
    Enotty,
    /// 38: not implemented by this device, such as reading from a timer.
    #[error("ENOSYS: this device does not do that")]
    Enosys,
    /// 61: no tone zone is loaded.
    #[error("ENODATA: no tone zone is loaded; tones are made by the program itself")]
    Enodata,
    /// 500: an event is waiting, DAHDI's own number (`ELAST`).
    #[error("ELAST: an event is waiting; take it with DAHDI_GETEVENT")]
    Elast,
}

impl Errno {
    /// The number that `errno` is set to.
    pub const fn number(self) -> i32 {
        match self {
            Self::Eintr => 4,
            Self::Enxio => 6,
            Self::Ebadf => 9,
            Self::Eagain => 11,
            Self::Enomem => 12,
            Self::Efault => 14,
            Self::Ebusy => 16,
            Self::Enodev => 19,
            Self::Einval => 22,
            Self::Enfile => 23,
            Self::Emfile => 24,
            Self::Enotty => 25,
            Self::Enosys => 38,
            Self::Enodata => 61,
            Self::Elast => 500,
        }
    }
}
