//! Which interval of another room belongs to one of this room. Pure.

use super::broadcast::State;

/// 20 ms.
const INTERVAL_NS: u64 = 20_000_000;

/// A sum is due this long before it is read, so that its worker may be late by as much: 5 ms.
const MARGIN_NS: u64 = 5_000_000;

/// So many sums in a row that could have been read an interval sooner end the wait for them: 5 s.
const PATIENCE: u32 = 250;

/// How far one room is behind another one that it hears.
///
/// In its interval `n` a room reads the newest interval of the other that is due [`MARGIN_NS`] before: that is `n`, `n - 1` or
/// `n - 2`, by their phases. When that has once not come in time it waits one interval longer from then on, so that it is heard
/// after all. It ends that wait when it has not been needed for a while, at a moment in which the other room is silent.
#[derive(Debug)]
pub(super) struct Lag {
    /// 0 to 2.
    intervals: u64,
    /// It waits an interval longer.
    waits: bool,
    /// Sums in a row that it need not have waited for.
    in_vain: u32,
}

impl Lag {
    /// The lag of a room whose intervals begin at `to_ns`, behind one whose intervals begin at `from_ns`, both on one grid of 20 ms.
    pub(super) fn between(from_ns: u64, to_ns: u64) -> Self {
        Self {
            intervals: (from_ns + MARGIN_NS)
                .saturating_sub(to_ns)
                .div_ceil(INTERVAL_NS),
            waits: false,
            in_vain: 0,
        }
    }

    /// The other room's interval that is to be read in `interval`.
    pub(super) fn label(&self, interval: u64) -> u64 {
        interval.saturating_sub(self.intervals + u64::from(self.waits))
    }

    /// Takes note of what was found where [`label`](Self::label) said, and behind it. To be called once an interval.
    pub(super) fn learn(&mut self, found: State, next: State) {
        match found {
            State::Missing => {
                self.waits = true;
                self.in_vain = 0;
            }
            State::AtRest => self.waits = false,
            State::Nothing | State::Sum if self.waits => {
                self.in_vain = match next {
                    State::Nothing | State::Sum => self.in_vain + 1,
                    State::Missing | State::AtRest => 0,
                };
                // The next one is jumped over.
                if self.in_vain >= PATIENCE && next == State::Nothing {
                    self.waits = false;
                    self.in_vain = 0;
                }
            }
            State::Nothing | State::Sum => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: u64 = 10;

    /// Plays two rooms: intervals begin at `offsets`, the writer publishes each so many ns late, and the reader reads
    /// each so many ns late. Neither is so late that it would skip. Returns what was heard in each of the reader's intervals.
    fn play(
        offsets: (u64, u64),
        late: &[(u64, u64)],
        silent: impl Fn(u64) -> bool,
    ) -> Vec<(u64, State)> {
        let mut lag = Lag::between(offsets.0, offsets.1);
        // A worker does one thing after the other.
        let (mut written, mut written_at) = (Vec::new(), 0);
        for (n, (writer, _)) in late.iter().enumerate() {
            written_at = written_at.max(n as u64 * INTERVAL_NS + offsets.0 + writer);
            written.push(written_at);
        }
        let mut read_at = 0;
        let heard = late.iter().enumerate().map(|(n, (_, reader))| {
            read_at = read_at.max(n as u64 * INTERVAL_NS + offsets.1 + reader);
            let state = |label: u64| match label.checked_sub(FIRST) {
                None => State::AtRest,
                Some(label) => match written.get(label as usize) {
                    Some(at) if *at <= read_at && silent(label) => State::Nothing,
                    Some(at) if *at <= read_at => State::Sum,
                    _ => State::Missing,
                },
            };
            let label = lag.label(n as u64 + FIRST);
            let found = state(label);
            lag.learn(found, state(label + 1));
            (label, found)
        });
        heard.collect()
    }

    fn offset() -> impl Strategy<Value = u64> {
        (0..16_u64).prop_map(|n| n * INTERVAL_NS / 16)
    }

    proptest! {
        #[test]
        fn while_the_writer_is_late_by_less_than_the_margin_every_sum_is_heard_once(
            from in offset(),
            to in offset(),
            late in prop::collection::vec((0..MARGIN_NS, 0..2 * INTERVAL_NS), 1..200),
        ) {
            let heard = play((from, to), &late, |_| false);
            let sums: Vec<u64> = heard.iter().filter(|(_, found)| *found == State::Sum).map(|(n, _)| *n).collect();
            let missing = heard.iter().filter(|(_, found)| *found == State::Missing).count();
            prop_assert_eq!(missing, 0);
            prop_assert!(sums.len() + 2 >= late.len());
            prop_assert!(sums.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }

        #[test]
        fn however_late_either_is_no_sum_is_heard_twice_and_delay_is_bounded(
            from in offset(),
            to in offset(),
            late in prop::collection::vec((0..6 * INTERVAL_NS, 0..6 * INTERVAL_NS), 1..300),
            silence in any::<bool>(),
        ) {
            let heard = play((from, to), &late, |n| silence && n % 7 < 3);
            let mut last = None;
            for (n, (label, found)) in heard.iter().enumerate() {
                let interval = n as u64 + FIRST;
                prop_assert!(*label + 3 >= interval, "never more than three intervals behind");
                if matches!(found, State::Sum | State::Nothing) {
                    prop_assert!(last.is_none_or(|last| *label > last), "{:?}", heard);
                    last = Some(*label);
                }
            }
        }

        #[test]
        fn a_writer_always_late_by_an_interval_costs_one_gap_and_loses_nothing(
            from in offset(),
            to in offset(),
            late in prop::collection::vec(INTERVAL_NS..INTERVAL_NS + MARGIN_NS, 20..200),
        ) {
            let late: Vec<_> = late.into_iter().map(|late| (late, 0)).collect();
            let heard = play((from, to), &late, |_| false);
            let missing = heard.iter().filter(|(_, found)| *found == State::Missing).count();
            prop_assert!(missing <= 1);
            let sums: Vec<u64> = heard.iter().filter(|(_, found)| *found == State::Sum).map(|(n, _)| *n).collect();
            prop_assert_eq!(sums[0], FIRST);
            prop_assert!(sums.windows(2).all(|pair| pair[1] == pair[0] + 1));
        }
    }

    #[test]
    fn delay_is_half_an_interval_between_two_and_never_over_25_ms() {
        for (from, to) in [(0, 10), (10, 0)] {
            let lag = Lag::between(from * 1_000_000, to * 1_000_000);
            assert_eq!((9 - lag.label(9)) * 20 + to - from, 10);
        }
        for from in 0..80 {
            for to in 0..80 {
                let (from, to) = (from * 250_000, to * 250_000);
                let lag = Lag::between(from, to);
                let delay = (9 - lag.label(9)) * INTERVAL_NS + to - from;
                assert!((MARGIN_NS..MARGIN_NS + INTERVAL_NS).contains(&delay));
            }
        }
    }

    #[test]
    fn a_wait_that_is_not_needed_ends_in_a_silence_of_the_other() {
        let mut late = vec![(0, 0); 600];
        late[3].0 = INTERVAL_NS;
        let silent = |n: u64| (400..410).contains(&n);
        let heard = play((0, INTERVAL_NS / 2), &late, silent);
        let behind: Vec<u64> = (0..)
            .zip(&heard)
            .map(|(n, (label, _))| n + FIRST - label)
            .collect();
        assert_eq!(&behind[..5], [0, 0, 0, 0, 1]);
        assert!(behind[4..401].iter().all(|behind| *behind == 1));
        assert!(behind[403..].iter().all(|behind| *behind == 0));
        let mut sums: Vec<u64> = heard
            .iter()
            .filter(|(_, found)| *found == State::Sum)
            .map(|(n, _)| *n)
            .collect();
        sums.dedup();
        assert_eq!(sums.len(), 590, "all but the silent ones");
    }
}
