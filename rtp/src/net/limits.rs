//! How many sockets a process may have.

use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The limit of open descriptors: a leg takes one, or two where RTCP has a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// What was asked for.
    pub wanted: u64,
    /// What the process may have open now.
    pub available: u64,
    /// What it could have without further privilege.
    pub hard: u64,
}

impl DescriptorLimit {
    /// Whether less is available than was asked for. (`ulimit -Hn`, systemd's `LimitNOFILE=` or the container's
    /// settings raise the hard limit.)
    pub fn falls_short(&self) -> bool {
        self.available < self.wanted
    }
}

/// Raises RLIMIT_NOFILE to `wanted`, or as far as the system permits, and says what is available. Never lowers it.
/// Falling short is a reported state; an error means that the limit could not even be read.
pub fn descriptor_limit(wanted: u64) -> io::Result<DescriptorLimit> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < wanted {
        // With privilege beyond the hard limit; without, up to it.
        let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted));
        if raised.is_err() && soft < hard {
            match setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard) {
                // A sandbox that forbids it leaves the limit as it is.
                Ok(()) | Err(Errno::EPERM | Errno::EINVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let (available, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(DescriptorLimit {
        wanted,
        available,
        hard,
    })
}
