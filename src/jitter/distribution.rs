//! Nanoseconds counted in an HDR histogram: three significant digits, whatever the magnitude.

use hdrhistogram::Histogram;

/// Values above are counted as this: an hour.
const HIGHEST_NS: u64 = 3_600_000_000_000;

/// The quantiles that every output shows, with their names.
pub const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// How often which time was seen.
///
/// Counts are kept to three significant digits (0.1 %); minimum, maximum and mean are exact.
#[derive(Clone, Debug)]
pub struct Distribution {
    histogram: Histogram<u64>,
    min: u64,
    max: u64,
    sum: u128,
}

impl Distribution {
    /// Nothing seen yet.
    pub fn new() -> Self {
        Self::with_digits(3)
    }

    /// Nothing seen yet, kept to `digits` significant digits, 1 to 5.
    pub(super) fn with_digits(digits: u8) -> Self {
        Self {
            histogram: Histogram::new_with_bounds(1, HIGHEST_NS, digits)
                .expect("the bounds and 1 to 5 digits are allowed"),
            min: u64::MAX,
            max: 0,
            sum: 0,
        }
    }

    /// Counts one value.
    pub fn record(&mut self, nanos: u64) {
        self.record_n(nanos, 1);
    }

    /// Counts one value `n` times.
    pub fn record_n(&mut self, nanos: u64, n: u64) {
        if n == 0 {
            return;
        }
        self.histogram.saturating_record_n(nanos, n);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
        self.sum += u128::from(nanos) * u128::from(n);
    }

    /// Forgets everything, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.histogram.reset();
        self.min = u64::MAX;
        self.max = 0;
        self.sum = 0;
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The least value, ns; 0 when there is none.
    pub fn min(&self) -> u64 {
        if self.is_empty() { 0 } else { self.min }
    }

    /// The greatest value, ns; 0 when there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, ns; 0 when there is none.
    pub fn mean(&self) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        self.sum as f64 / self.count() as f64
    }

    /// The least value that at least the share `q` (0 to 1) of all values does not exceed, ns, to three digits.
    pub fn quantile(&self, q: f64) -> u64 {
        self.histogram
            .value_at_quantile(q.clamp(0.0, 1.0))
            .clamp(self.min(), self.max)
    }

    /// How many values are greater than `nanos`, to three digits of `nanos`.
    pub fn above(&self, nanos: u64) -> u64 {
        if nanos >= self.max {
            return 0;
        }
        let next = self.histogram.next_non_equivalent(nanos);
        self.histogram.count_between(next, HIGHEST_NS)
    }

    /// The share of values greater than `nanos`, 0 to 1.
    pub fn share_above(&self, nanos: u64) -> f64 {
        if self.is_empty() {
            return 0.0;
        }
        self.above(nanos) as f64 / self.count() as f64
    }

    /// Each value that was seen (the greatest its bucket stands for, ns) and how often, ascending.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram
            .iter_recorded()
            .map(|step| (step.value_iterated_to(), step.count_at_value()))
    }

    /// The histogram itself, for formats that the crate writes.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_zero_everywhere() {
        let nothing = Distribution::new();
        assert_eq!((nothing.count(), nothing.min(), nothing.max()), (0, 0, 0));
        assert_eq!((nothing.mean(), nothing.quantile(0.99)), (0.0, 0));
        assert_eq!((nothing.above(0), nothing.share_above(0)), (0, 0.0));
        assert_eq!(nothing.buckets().count(), 0);
    }

    #[test]
    fn more_than_an_hour_is_counted_and_remembered_as_maximum() {
        let mut all = Distribution::new();
        all.record(u64::MAX);
        assert_eq!((all.count(), all.max()), (1, u64::MAX));
        assert_eq!(all.above(1_000), 1);
    }

    proptest! {
        #[test]
        fn quantiles_agree_with_sorting(
            mut values in proptest::collection::vec(0_u64..200_000_000, 1..400),
            q in 0.0_f64..=1.0,
        ) {
            let mut all = Distribution::new();
            values.iter().for_each(|&value| all.record(value));
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let exact = values[rank - 1];
            let found = all.quantile(q);
            prop_assert!(found.abs_diff(exact) <= 1 + exact / 1000, "{found} for {exact}");
            prop_assert_eq!((all.min(), all.max()), (values[0], values[values.len() - 1]));
        }

        #[test]
        fn shares_above_agree_with_counting(
            values in proptest::collection::vec(0_u64..50_000_000, 1..400),
            limit in 0_u64..50_000_000,
        ) {
            let mut all = Distribution::new();
            values.iter().for_each(|&value| all.record(value));
            let counted = |limit: u64| values.iter().filter(|&&value| value > limit).count() as u64;
            // Values within a bucket of the limit may be on either side.
            let slack = 1 + limit / 500;
            let above = all.above(limit);
            prop_assert!(above <= counted(limit.saturating_sub(slack)));
            prop_assert!(above >= counted(limit + slack));
        }

        #[test]
        fn buckets_hold_everything(values in proptest::collection::vec(0_u64..200_000_000, 0..400)) {
            let mut all = Distribution::new();
            values.iter().for_each(|&value| all.record(value));
            let mut again = Distribution::new();
            all.buckets().for_each(|(value, count)| again.record_n(value, count));
            prop_assert_eq!(again.count(), values.len() as u64);
            prop_assert_eq!(again.histogram(), all.histogram());
        }
    }
}
