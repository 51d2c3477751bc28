//! What a histogram held at one moment.

use std::fmt;

use super::histogram::{BUCKETS, bucket_of, edges_of};

/// A copy of a [`LatencyHistogram`](super::LatencyHistogram): latencies in nanoseconds.
///
/// Snapshots of one histogram can be subtracted ([`since`](Self::since)) for the latencies of an
/// interval, and those of several added ([`merge`](Self::merge)).
///
/// ```
/// let histogram = unisono_timer::LatencyHistogram::new();
/// histogram.record(40_000);
/// let before = histogram.snapshot();
/// histogram.record(900_000);
/// let latest = histogram.snapshot().since(&before);
/// assert_eq!(latest.count(), 1);
/// assert!(latest.quantile(0.5).abs_diff(900_000) < 9_000);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    counts: Box<[u64]>,
    count: u64,
    sum: u64,
    /// `u64::MAX` when empty.
    min: u64,
    max: u64,
}

impl Snapshot {
    /// Of nothing: where a merge starts.
    pub fn empty() -> Self {
        Self {
            counts: vec![0; BUCKETS].into(),
            count: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    pub(super) fn from_parts(counts: Box<[u64]>, sum: u64, min: u64, max: u64) -> Self {
        // Counted here, so that quantiles and count agree whatever the writer does meanwhile.
        let count = counts.iter().sum();
        Self {
            counts,
            count,
            sum,
            min,
            max,
        }
    }

    /// Adds the latencies of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.sum = self.sum.wrapping_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The latencies recorded after `earlier`, a snapshot of the same histogram, was taken.
    ///
    /// Minimum and maximum are then known to the width of a bucket, unless the overall ones changed.
    pub fn since(&self, earlier: &Self) -> Self {
        let pairs = self.counts.iter().zip(&earlier.counts);
        let counts: Box<[u64]> = pairs.map(|(now, then)| now.saturating_sub(*then)).collect();
        let lowest = counts.iter().position(|&count| count > 0);
        let highest = counts.iter().rposition(|&count| count > 0);
        let min = match lowest {
            Some(bucket) if self.min == earlier.min => edges_of(bucket).0.max(self.min),
            Some(_) => self.min,
            None => u64::MAX,
        };
        let max = match highest {
            Some(bucket) if self.max == earlier.max => edges_of(bucket).1.min(self.max),
            Some(_) => self.max,
            None => 0,
        };
        Self::from_parts(counts, self.sum.wrapping_sub(earlier.sum), min, max)
    }

    /// How many latencies.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their mean in nanoseconds; 0 when there is none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum as f64 / self.count as f64
        }
    }

    /// The least, in nanoseconds; 0 when there is none.
    pub const fn min(&self) -> u64 {
        if self.count == 0 || self.min == u64::MAX {
            0
        } else {
            self.min
        }
    }

    /// The greatest, in nanoseconds; 0 when there is none.
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The latency that a share `q` of all does not exceed, in nanoseconds: 0.5 is the median, 0.999
    /// what one in a thousand exceeds. At most 0.8 % (8 ns below 1 us) too great, never too small.
    ///
    /// `q` is taken into 0 to 1. The answer is 0 when there is no latency.
    pub fn quantile(&self, q: f64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        // `max` also turns a NaN into 0.
        let rank = ((q.max(0.0) * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                // The last bucket has no upper edge.
                let upper = if bucket == BUCKETS - 1 {
                    u64::MAX
                } else {
                    edges_of(bucket).1
                };
                return upper.min(self.max).max(self.min());
            }
        }
        self.max
    }

    /// How many exceed `nanos`, to the width of a bucket: those that share a bucket with it do not count.
    pub fn count_above(&self, nanos: u64) -> u64 {
        self.counts[bucket_of(nanos) + 1..].iter().sum()
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("count", &self.count)
            .field("mean", &self.mean())
            .field("min", &self.min())
            .field("p50", &self.quantile(0.5))
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::LatencyHistogram;

    fn of(values: &[u64]) -> Snapshot {
        let histogram = LatencyHistogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        histogram.snapshot()
    }

    #[test]
    fn an_empty_snapshot_is_all_zero() {
        let empty = LatencyHistogram::new().snapshot();
        assert_eq!(empty, Snapshot::empty());
        assert_eq!(
            (empty.count(), empty.min(), empty.max(), empty.quantile(0.5)),
            (0, 0, 0, 0)
        );
        assert_eq!(empty.mean(), 0.0);
    }

    #[test]
    fn quantiles_of_one_to_a_thousand_microseconds() {
        let values: Vec<u64> = (1..=1000).map(|us| us * 1000).collect();
        let seen = of(&values);
        for (q, exact) in [
            (0.5, 500_000),
            (0.99, 990_000),
            (0.999, 999_000),
            (1.0, 1_000_000),
        ] {
            let quantile = seen.quantile(q);
            assert!(
                quantile >= exact && quantile <= exact + exact / 128,
                "{q}: {quantile}"
            );
        }
        assert_eq!(
            (seen.quantile(-1.0), seen.quantile(f64::NAN)),
            (seen.quantile(0.0), seen.quantile(0.0))
        );
        assert_eq!(seen.quantile(2.0), 1_000_000);
        assert_eq!(
            seen.count_above(900_000),
            100 - seen.count_above(u64::MAX) - of_same_bucket(900_000, &values)
        );
    }

    fn of_same_bucket(nanos: u64, values: &[u64]) -> u64 {
        values
            .iter()
            .filter(|&&v| v > nanos && bucket_of(v) == bucket_of(nanos))
            .count() as u64
    }

    #[test]
    fn beyond_the_range_the_maximum_stays_exact() {
        let seen = of(&[1, u64::MAX / 2]);
        assert_eq!(
            (seen.max(), seen.quantile(1.0)),
            (u64::MAX / 2, u64::MAX / 2)
        );
    }

    proptest! {
        #[test]
        fn quantiles_never_understate_and_are_within_a_bucket(
            mut values in prop::collection::vec(0_u64..1 << 38, 1..200),
            q in 0.0_f64..=1.0,
        ) {
            let seen = of(&values);
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let quantile = seen.quantile(q);
            prop_assert!(quantile >= exact);
            prop_assert!(quantile - exact <= (exact / 128).max(7));
        }

        #[test]
        fn merging_is_recording_everything(
            first in prop::collection::vec(any::<u32>(), 0..100),
            second in prop::collection::vec(any::<u32>(), 0..100),
        ) {
            let widen = |values: &[u32]| values.iter().map(|&v| u64::from(v)).collect::<Vec<_>>();
            let (first, second) = (widen(&first), widen(&second));
            let mut merged = of(&first);
            merged.merge(&of(&second));
            prop_assert_eq!(merged, of(&[first, second].concat()));
        }

        #[test]
        fn subtracting_leaves_the_interval(
            before in prop::collection::vec(0_u64..1 << 38, 0..100),
            after in prop::collection::vec(0_u64..1 << 38, 0..100),
        ) {
            let histogram = LatencyHistogram::new();
            before.iter().for_each(|&value| histogram.record(value));
            let earlier = histogram.snapshot();
            after.iter().for_each(|&value| histogram.record(value));
            let interval = histogram.snapshot().since(&earlier);
            let alone = of(&after);
            prop_assert_eq!(interval.count(), alone.count());
            prop_assert_eq!(interval.mean(), alone.mean());
            prop_assert!(interval.min() <= alone.min());
            prop_assert!(alone.min() - interval.min() <= (alone.min() / 128).max(7));
            prop_assert!(interval.max() >= alone.max());
            prop_assert!(interval.max() - alone.max() <= (alone.max() / 128).max(7));
        }
    }
}
