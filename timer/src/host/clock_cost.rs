//! What a look at the clock costs here, measured.
#![allow(
    unsafe_code,
    reason = "past the C library's fast path the clock is reached by syscall(2) only"
)]

use std::hint::black_box;
use std::mem::MaybeUninit;

use nix::time::{ClockId, clock_getres};

use crate::MonoTime;

/// Readings in a row, of which the mean is one figure.
const BATCH: u32 = 100;

/// Figures, of which the median counts: it takes stalls in half of them to distort it.
const BATCHES: usize = 31;

/// A reading that stays in user space saves at least this share of a system call.
const SAVING: f64 = 0.3;

/// What was measured; costs in ns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct ClockCost {
    pub(super) read_ns: f64,
    pub(super) syscall_ns: f64,
    pub(super) resolution_ns: Option<u64>,
}

impl ClockCost {
    /// Measures for a millisecond or so.
    pub(super) fn measure() -> Self {
        let mut reads = [0.0; BATCHES];
        let mut syscalls = [0.0; BATCHES];
        // In turns, so that a disturbance meets both.
        for (read, syscall) in reads.iter_mut().zip(&mut syscalls) {
            *read = batch(|| {
                black_box(MonoTime::now());
            });
            *syscall = batch(by_system_call);
        }
        Self {
            read_ns: median(&mut reads),
            syscall_ns: median(&mut syscalls),
            resolution_ns: resolution(),
        }
    }

    /// Where the C library's fast path has no clock to read it makes the system call itself, and both cost the same.
    pub(super) fn in_user_space(&self) -> bool {
        self.read_ns < self.syscall_ns * (1.0 - SAVING)
    }
}

/// Mean ns of one of a batch.
fn batch(mut once: impl FnMut()) -> f64 {
    let start = MonoTime::now();
    for _ in 0..BATCH {
        once();
    }
    MonoTime::now().since(start).as_nanos() as f64 / f64::from(BATCH)
}

fn median(figures: &mut [f64; BATCHES]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[BATCHES / 2]
}

fn by_system_call() {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel writes one timespec to where it is told, which has room for one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clock_gettime,
            libc::CLOCK_MONOTONIC,
            now.as_mut_ptr(),
        )
    };
    black_box((result, &now));
}

fn resolution() -> Option<u64> {
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC).ok()?;
    let seconds = u64::try_from(resolution.tv_sec()).ok()?;
    Some(seconds * 1_000_000_000 + u64::try_from(resolution.tv_nsec()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_costs_something_and_timers_have_a_resolution() {
        let cost = ClockCost::measure();
        assert!(cost.read_ns > 0.0 && cost.syscall_ns > 0.0, "{cost:?}");
        assert!(cost.resolution_ns >= Some(1), "{cost:?}");
    }

    #[test]
    fn a_reading_as_dear_as_the_system_call_is_one() {
        let cost = |read_ns, syscall_ns| ClockCost {
            read_ns,
            syscall_ns,
            resolution_ns: Some(1),
        };
        assert!(cost(25.0, 120.0).in_user_space());
        assert!(!cost(310.0, 300.0).in_user_space());
        // A counter whose every reading the hypervisor intercepts.
        assert!(!cost(1900.0, 2000.0).in_user_space());
    }

    #[test]
    fn stalls_in_a_third_of_the_batches_do_not_show() {
        let mut figures = [20.0; BATCHES];
        figures[..10].fill(80_000_000.0);
        assert_eq!(median(&mut figures), 20.0);
    }
}
