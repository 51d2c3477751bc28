//! Which conferences are due when: the 20 ms interval cut into phases, and what becomes of late ones.
//!
//! A worker's conferences are spread over [`PHASES`] phases of the interval, so that it works, and the network
//! card sends, evenly. Pure: slots of [`SLOT`] are counted by the worker's ticker, and the current one is an argument.

use std::time::Duration;

/// Phases of one 20 ms interval.
pub const PHASES: usize = 8;

/// Distance of two phases: 2.5 ms.
pub const SLOT: Duration = Duration::from_micros(20_000 / PHASES as u64);

/// Missed intervals that are mixed late, all at once, so that the stream stays whole. Beyond that the missed
/// intervals are skipped: timestamps advance across the gap and nothing is replayed.
pub const MAX_CATCH_UP: u64 = 2;

/// What is due in one phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// Intervals to jump over, before the first that is mixed.
    pub(crate) skip: u64,
    /// Intervals to mix now: at least 1, at most `MAX_CATCH_UP + 1`.
    pub(crate) run: u32,
    /// Number of the last of them.
    pub(crate) last: u64,
}

/// Keeps, for each phase, the number of the interval that comes next.
#[derive(Debug, Default)]
pub(crate) struct PhaseClock {
    next: [Option<u64>; PHASES],
}

impl PhaseClock {
    /// A phase has work from now on: its first interval is the first that begins after `slot`.
    pub(crate) fn start(&mut self, phase: usize, slot: u64) {
        if self.next[phase].is_none() {
            self.next[phase] = Some(interval_after(phase, slot));
        }
    }

    /// A phase has no work any more.
    pub(crate) fn stop(&mut self, phase: usize) {
        self.next[phase] = None;
    }

    /// The slot at which the next interval of any phase begins; `None` when all phases are without work.
    pub(crate) fn next_slot(&self) -> Option<u64> {
        (0..PHASES)
            .filter_map(|phase| self.next[phase].map(|interval| slot_of(phase, interval)))
            .min()
    }

    /// What is due in `phase` at `slot`; the phase's clock moves past it.
    pub(crate) fn take(&mut self, phase: usize, slot: u64) -> Option<Due> {
        let next = self.next[phase]?;
        if slot_of(phase, next) > slot {
            return None;
        }
        let last = (slot - phase as u64) / PHASES as u64;
        let missed = last - next;
        self.next[phase] = Some(last + 1);
        Some(if missed <= MAX_CATCH_UP {
            Due {
                skip: 0,
                run: missed as u32 + 1,
                last,
            }
        } else {
            Due {
                skip: missed,
                run: 1,
                last,
            }
        })
    }
}

fn slot_of(phase: usize, interval: u64) -> u64 {
    interval * PHASES as u64 + phase as u64
}

fn interval_after(phase: usize, slot: u64) -> u64 {
    (slot + PHASES as u64 - phase as u64) / PHASES as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_runs_once_per_interval_when_on_time() {
        let mut clock = PhaseClock::default();
        for phase in 0..PHASES {
            clock.start(phase, 1000);
        }
        let mut runs = [0; PHASES];
        for slot in 1001..1001 + 50 * PHASES as u64 {
            for (phase, run) in runs.iter_mut().enumerate() {
                if let Some(due) = clock.take(phase, slot) {
                    let last = slot / PHASES as u64;
                    assert_eq!(
                        due,
                        Due {
                            skip: 0,
                            run: 1,
                            last
                        }
                    );
                    assert_eq!(slot % PHASES as u64, phase as u64);
                    *run += 1;
                }
            }
        }
        assert_eq!(runs, [50; PHASES]);
    }

    #[test]
    fn one_or_two_missed_intervals_are_mixed_at_once() {
        for missed in 0..=MAX_CATCH_UP {
            let mut clock = PhaseClock::default();
            clock.start(3, 0);
            let late = clock.next_slot().unwrap() + missed * PHASES as u64;
            assert_eq!(
                clock.take(3, late),
                Some(Due {
                    skip: 0,
                    run: missed as u32 + 1,
                    last: missed,
                })
            );
            assert_eq!(clock.take(3, late), None);
        }
    }

    #[test]
    fn a_long_stall_is_skipped_and_nothing_is_replayed() {
        let mut clock = PhaseClock::default();
        clock.start(0, 0);
        let late = clock.next_slot().unwrap() + 25 * PHASES as u64;
        let due = Due {
            skip: 25,
            run: 1,
            last: 26,
        };
        assert_eq!(clock.take(0, late), Some(due));
        assert_eq!(clock.next_slot(), Some(late + PHASES as u64));
    }

    #[test]
    fn a_stopped_phase_needs_no_slot() {
        let mut clock = PhaseClock::default();
        clock.start(5, 17);
        assert_eq!(clock.next_slot(), Some(21));
        clock.stop(5);
        assert_eq!(clock.next_slot(), None);
        assert_eq!(clock.take(5, 1000), None);
    }
}
