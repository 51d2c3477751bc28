//! What tests of timer handles need.
#![allow(dead_code, reason = "not every test program needs all of it")]

use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use unisono_timer::{RealtimeRequest, SourceSettings, TimerHandle, TimingSource};

/// A source whose thread asks for no privilege, so that tests do not starve one another.
pub(crate) fn ordinary_source() -> TimingSource {
    let request = RealtimeRequest::new().timer_slack(Duration::from_nanos(1));
    TimingSource::with_settings(SourceSettings::new().realtime(request)).unwrap()
}

pub(crate) fn is_readable(fd: &impl AsFd) -> bool {
    wait_readable(fd, 0)
}

/// Polls for POLLIN, and for nothing else.
pub(crate) fn wait_readable(fd: &impl AsFd, at_most_millis: u16) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(at_most_millis)).is_ok_and(|ready| ready > 0)
}

/// Ticks that have come and were not acknowledged.
pub(crate) fn accounted(timer: &TimerHandle) -> u64 {
    u64::from(timer.pending()) + timer.missed()
}

/// Waits until it is so. Only a hang takes as long as half a minute.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..6_000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("never came: {what}");
}
