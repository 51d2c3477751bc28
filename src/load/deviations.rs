//! How far the packets of one stream came from when they were due: coarse and small, as there is one for each caller.

/// Buckets of a stream's own histogram: four an octave, from 62.5 us to 64 ms and beyond.
const BUCKETS: usize = 44;
const FINEST_NS: u64 = 62_500;

/// A coarse histogram of deviations: each bucket is 19 % wide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Deviations {
    histogram: [u32; BUCKETS],
    max_ns: u64,
}

impl Deviations {
    /// Nothing seen yet.
    pub(super) fn none() -> Self {
        Self {
            histogram: [0; BUCKETS],
            max_ns: 0,
        }
    }

    /// Counts one.
    pub(super) fn count(&mut self, deviation_ns: u64) {
        let count = &mut self.histogram[bucket(deviation_ns)];
        *count = count.saturating_add(1);
        self.max_ns = self.max_ns.max(deviation_ns);
    }

    /// How many.
    pub(super) fn len(&self) -> u64 {
        self.histogram.iter().map(|&count| u64::from(count)).sum()
    }

    /// The greatest, ns.
    pub(super) fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// What a share `q` of them does not exceed, ns: up to 19 % too great, never too small.
    pub(super) fn quantile_ns(&self, q: f64) -> u64 {
        let rank = (q.clamp(0.0, 1.0) * self.len() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (n, &count) in self.histogram.iter().enumerate() {
            seen += u64::from(count);
            if seen >= rank {
                return upper_edge(n).min(self.max_ns);
            }
        }
        self.max_ns
    }
}

/// Buckets grow by a quarter of an octave; the last one has no end.
fn bucket(nanos: u64) -> usize {
    let scaled = nanos / FINEST_NS;
    if scaled == 0 {
        return 0;
    }
    let octave = scaled.ilog2();
    // The two bits below the leading one, of the unrounded value.
    let quarter = ((u128::from(nanos) * 4 / u128::from(FINEST_NS)) >> octave) as usize & 3;
    (1 + 4 * octave as usize + quarter).min(BUCKETS - 1)
}

fn upper_edge(bucket: usize) -> u64 {
    if bucket == 0 {
        return FINEST_NS;
    }
    if bucket == BUCKETS - 1 {
        return u64::MAX;
    }
    let (octave, quarter) = ((bucket - 1) / 4, (bucket - 1) % 4);
    (FINEST_NS << octave) * (5 + quarter as u64) / 4
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_at_most_a_quarter_octave_too_great(nanos in 0_u64..60_000_000) {
            let mut deviations = Deviations::none();
            deviations.count(nanos);
            deviations.count(u64::from(u32::MAX));
            let quantile = deviations.quantile_ns(0.5);
            prop_assert!(quantile >= nanos);
            prop_assert!(quantile <= nanos + (nanos / 4).max(FINEST_NS), "{nanos} {quantile}");
        }
    }
}
