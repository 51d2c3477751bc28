//! Whether other clocks go the way CLOCK_MONOTONIC goes.
//!
//! The kernel makes CLOCK_REALTIME and CLOCK_BOOTTIME from CLOCK_MONOTONIC by adding an offset, which changes only
//! when somebody sets the time, at a leap second or after suspend. CLOCK_MONOTONIC_RAW runs at a rate of
//! its own; only a step counts, or a rate further off than NTP may make it.

use nix::time::{ClockId, clock_gettime};

use super::record::{Clock, ClockJump};
use crate::clock::{MonoTime, NANOS_PER_SEC};

/// Compares the clocks from tick to tick. Allocates only when made.
pub(super) struct Clocks {
    /// Those of the last comparison, in the order of [`CLOCKS`].
    last: [Option<Reading>; 3],
    /// A reading that took longer was interrupted, ns.
    longest_bracket: u64,
    jumps: Vec<ClockJump>,
}

impl Clocks {
    /// Compares from now on.
    pub(super) fn new() -> Self {
        let typical = (0..16)
            .filter_map(|_| Reading::of(ClockId::CLOCK_REALTIME))
            .map(|reading| reading.bracket_ns)
            .min()
            .unwrap_or(0);
        let mut clocks = Self {
            last: [None; 3],
            longest_bracket: (4 * typical).max(MIN_LONGEST_BRACKET),
            jumps: Vec::with_capacity(MOST_JUMPS),
        };
        clocks.compare(MonoTime::now());
        clocks
    }

    /// By how much CLOCK_MONOTONIC_RAW jumped since the last call, ns, 0 for not at all: it alone tells of a jump of CLOCK_MONOTONIC
    /// itself, which can make a tick late. Of the jumps of all clocks the first thousand are kept, with the time since `origin`.
    pub(super) fn compare(&mut self, origin: MonoTime) -> i64 {
        let mut raw_by_ns = 0;
        for (place, (clock, id)) in CLOCKS.into_iter().enumerate() {
            // Refused, or interrupted over and over: the next tick compares with the last one that was read.
            let Some(reading) = self.read(id) else {
                continue;
            };
            let last = self.last[place].replace(reading);
            let Some(by_ns) = last.and_then(|last| jump(clock, last, reading)) else {
                continue;
            };
            if clock == Clock::Raw {
                raw_by_ns = by_ns;
            }
            if self.jumps.len() < MOST_JUMPS {
                let at_ns = reading.at.since(origin).as_nanos() as u64;
                self.jumps.push(ClockJump {
                    at_ns,
                    clock,
                    by_ns,
                });
            }
        }
        raw_by_ns
    }

    /// The jumps seen, in order.
    pub(super) fn into_jumps(self) -> Vec<ClockJump> {
        self.jumps
    }

    fn read(&self, id: ClockId) -> Option<Reading> {
        (0..ATTEMPTS)
            .filter_map(|_| Reading::of(id))
            .find(|reading| reading.bracket_ns <= self.longest_bracket)
    }
}

/// A clock read between two readings of CLOCK_MONOTONIC.
#[derive(Clone, Copy)]
struct Reading {
    at: MonoTime,
    /// The clock minus CLOCK_MONOTONIC, exact to half of `bracket_ns`.
    offset_ns: i64,
    /// Time between the two readings.
    bracket_ns: u64,
}

impl Reading {
    /// `None` where the clock is refused, as a seccomp filter may.
    fn of(id: ClockId) -> Option<Self> {
        let before = MonoTime::now();
        let there = clock_gettime(id).ok()?;
        let after = MonoTime::now();
        let bracket_ns = after.since(before).as_nanos() as u64;
        let middle = before.as_nanos() as i64 + bracket_ns as i64 / 2;
        let nanos = there.tv_sec() * NANOS_PER_SEC as i64 + there.tv_nsec();
        Some(Self {
            at: after,
            offset_ns: nanos.wrapping_sub(middle),
            bracket_ns,
        })
    }
}

/// By how much `clock` jumped between two readings, if by more than they are uncertain.
fn jump(clock: Clock, last: Reading, now: Reading) -> Option<i64> {
    let by_ns = now.offset_ns.wrapping_sub(last.offset_ns);
    let drift = match clock {
        Clock::Raw => now.at.since(last.at).as_nanos() as u64 / RAW_DRIFT_DIVISOR,
        _ => 0,
    };
    let tolerance = TOLERANCE_NS + last.bracket_ns + now.bracket_ns + drift;
    (by_ns.unsigned_abs() > tolerance).then_some(by_ns)
}

const CLOCKS: [(Clock, ClockId); 3] = [
    (Clock::Realtime, ClockId::CLOCK_REALTIME),
    (Clock::Boottime, ClockId::CLOCK_BOOTTIME),
    (Clock::Raw, ClockId::CLOCK_MONOTONIC_RAW),
];
const ATTEMPTS: u32 = 3;
const MIN_LONGEST_BRACKET: u64 = 10_000;
const MOST_JUMPS: usize = 1024;
const TOLERANCE_NS: u64 = 20_000;
/// 1,000 ppm: twice what NTP slews at most.
const RAW_DRIFT_DIVISOR: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at_ms: u64, offset_ns: i64) -> Reading {
        Reading {
            at: MonoTime::from_nanos(at_ms * 1_000_000),
            offset_ns,
            bracket_ns: 100,
        }
    }

    #[test]
    fn a_step_is_a_jump_and_noise_is_not() {
        let before = reading(0, 5_000_000);
        for clock in [Clock::Realtime, Clock::Boottime, Clock::Raw] {
            assert_eq!(jump(clock, before, reading(20, 5_015_000)), None);
            let (forward, back) = (reading(20, 6_000_000), reading(20, -5_000_000));
            assert_eq!(jump(clock, before, forward), Some(1_000_000));
            assert_eq!(jump(clock, before, back), Some(-10_000_000));
        }
    }

    #[test]
    fn the_raw_clock_may_drift_and_the_others_may_not() {
        // 500 ppm over a second.
        let (before, after) = (reading(0, 0), reading(1_000, 500_000));
        assert_eq!(jump(Clock::Raw, before, after), None);
        assert_eq!(jump(Clock::Realtime, before, after), Some(500_000));
        // A slew of 8 %.
        assert!(jump(Clock::Raw, before, reading(1_000, 80_000_000)).is_some());
    }

    #[test]
    fn an_interrupted_reading_is_uncertain_by_as_much() {
        let interrupted = Reading {
            bracket_ns: 3_000_000,
            ..reading(20, 1_500_000)
        };
        assert_eq!(jump(Clock::Realtime, reading(0, 0), interrupted), None);
    }

    /// Compares as if a clock had been set back by a second before, more than any real step meanwhile. What comparisons say, and the
    /// jumps of that clock that they keep.
    fn compared_after_a_step(place: usize) -> (i64, Vec<i64>) {
        let mut clocks = Clocks::new();
        if let Some(last) = &mut clocks.last[place] {
            last.offset_ns += NANOS_PER_SEC as i64;
        }
        let mut told = 0;
        // Again, should the clock's reading be interrupted.
        for _ in 0..1_000 {
            let by_ns = clocks.compare(MonoTime::default());
            if by_ns < -900_000_000 {
                told = by_ns;
            }
        }
        let jumps = clocks.into_jumps();
        let of_it = jumps.iter().filter(|one| one.clock == CLOCKS[place].0);
        let great = of_it.filter(|one| one.by_ns < -900_000_000);
        (told, great.map(|one| one.by_ns).collect())
    }

    #[test]
    fn a_step_found_by_a_comparison_is_kept_once() {
        for place in 0..CLOCKS.len() {
            let (_, kept) = compared_after_a_step(place);
            assert_eq!(kept.len(), 1, "{kept:?}");
            assert!(kept[0] > -1_100_000_000, "{kept:?}");
        }
    }

    #[test]
    fn only_a_step_of_the_clock_that_deadlines_are_of_is_told_to_a_tick() {
        for (place, (clock, _)) in CLOCKS.into_iter().enumerate() {
            let (told, kept) = compared_after_a_step(place);
            let expected = if clock == Clock::Raw { kept[0] } else { 0 };
            assert_eq!(told, expected, "{clock:?}");
        }
    }
}
