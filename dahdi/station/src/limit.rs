//! Room for descriptors of our own that does not count against what the program may open.
//!
//! Timers and pseudo channels take descriptors that the program does not know of. While one is given its number, the soft
//! limit of open files is lifted to the hard one, and that number is above what the program's limit allows: so
//! the program may open as many devices as under DAHDI, its own descriptors keep small numbers (for `select`), and loops that
//! close everything up to the limit do not come there. Where hard and soft limit are the same, ours count as any.
//!
//! The limit is the whole process's. A child that another thread starts in these few microseconds begins with the lifted one.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

/// Where descriptors of our own begin at most: the kernel's table of them is as long as the highest number.
const HIGHEST_START: rlim_t = 16_384;

/// The soft limit of open files, lifted to the hard one while this lives: for as little as one system call.
#[derive(Debug)]
pub struct Lifted {
    soft: rlim_t,
    hard: rlim_t,
}

impl Lifted {
    /// Lifts it. If that is refused, there is less room.
    pub fn new() -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        if soft < hard {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
        Self { soft, hard }
    }

    /// The number from which on to look for a free one.
    pub fn start(&self) -> i32 {
        start(self.soft, self.hard) as i32
    }

    /// Whether the program may have a descriptor of this number.
    pub fn allows(&self, fd: i32) -> bool {
        u64::try_from(fd).is_ok_and(|fd| fd < self.soft)
    }
}

impl Default for Lifted {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Lifted {
    fn drop(&mut self) {
        // Whoever has set another meanwhile meant it.
        let is_ours = || getrlimit(Resource::RLIMIT_NOFILE) == Ok((self.hard, self.hard));
        if self.soft < self.hard && is_ours() {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, self.soft, self.hard);
        }
    }
}

fn start(soft: rlim_t, hard: rlim_t) -> rlim_t {
    let start = if soft < hard { soft } else { soft / 2 };
    start.min(HIGHEST_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_begin_above_the_programs_limit_where_they_may() {
        assert_eq!(start(1_024, 524_288), 1_024);
        assert_eq!(start(1_024, 1_024), 512);
        assert_eq!(start(1_048_576, 1_048_576), HIGHEST_START);
        assert_eq!(start(65_536, rlim_t::MAX), HIGHEST_START);
    }
}
