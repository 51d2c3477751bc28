//! A histogram that a real-time thread writes and anyone reads.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use super::snapshot::Snapshot;

/// Latencies in nanoseconds, from 0 to 18 minutes, in buckets at most 0.8 % wide from 1 us on and
/// 8 ns wide below. Longer ones are counted in the last bucket; the sum, minimum and maximum are
/// exact.
///
/// [`record`](Self::record) is wait-free and may be called from several threads. All memory (31 KiB)
/// is allocated and written to in [`new`](Self::new), so recording causes no page fault.
pub struct LatencyHistogram {
    totals: CachePadded<Totals>,
    buckets: Box<[AtomicU64]>,
}

#[derive(Debug)]
struct Totals {
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl LatencyHistogram {
    /// Empty.
    pub fn new() -> Self {
        let totals = Totals {
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        };
        Self {
            totals: CachePadded::new(totals),
            buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Counts one latency.
    pub fn record(&self, nanos: u64) {
        // The index is below BUCKETS for every value.
        self.buckets[bucket_of(nanos)].fetch_add(1, Ordering::Relaxed);
        self.totals.sum.fetch_add(nanos, Ordering::Relaxed);
        // A load first: most records change neither, and a load is much cheaper.
        if nanos < self.totals.min.load(Ordering::Relaxed) {
            self.totals.min.fetch_min(nanos, Ordering::Relaxed);
        }
        if nanos > self.totals.max.load(Ordering::Relaxed) {
            self.totals.max.fetch_max(nanos, Ordering::Relaxed);
        }
    }

    /// The greatest latency recorded; 0 when there is none.
    pub fn max(&self) -> u64 {
        self.totals.max.load(Ordering::Relaxed)
    }

    /// A copy of the present state. Allocates.
    pub fn snapshot(&self) -> Snapshot {
        let counts: Box<[u64]> = self
            .buckets
            .iter()
            .map(|bucket| bucket.load(Ordering::Relaxed))
            .collect();
        let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Snapshot::from_parts(
            counts,
            load(&self.totals.sum),
            load(&self.totals.min),
            load(&self.totals.max),
        )
    }
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for LatencyHistogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LatencyHistogram")
            .field("totals", &self.totals)
            .finish_non_exhaustive()
    }
}

/// The bucket that counts `nanos`.
///
/// In units of 8 ns, values below 128 have a bucket each; above, each doubling has 128 buckets, so
/// that a bucket is never wider than 1/128 of its lower edge.
pub(super) const fn bucket_of(nanos: u64) -> usize {
    let units = nanos >> UNIT_BITS;
    if units < SUB_BUCKETS {
        return units as usize;
    }
    let doublings = units.ilog2() - SUB_BITS;
    if doublings >= DOUBLINGS {
        return BUCKETS - 1;
    }
    let within = (units >> doublings) - SUB_BUCKETS;
    (SUB_BUCKETS * (doublings as u64 + 1) + within) as usize
}

/// The least and the greatest value, in nanoseconds, that `bucket` counts.
pub(super) const fn edges_of(bucket: usize) -> (u64, u64) {
    let bucket = bucket as u64;
    let (lowest, width) = if bucket < SUB_BUCKETS {
        (bucket, 1)
    } else {
        let doublings = bucket / SUB_BUCKETS - 1;
        (
            (SUB_BUCKETS + bucket % SUB_BUCKETS) << doublings,
            1 << doublings,
        )
    };
    (lowest << UNIT_BITS, ((lowest + width) << UNIT_BITS) - 1)
}

const UNIT_BITS: u32 = 3;
const SUB_BITS: u32 = 7;
const SUB_BUCKETS: u64 = 1 << SUB_BITS;
/// 2^(3 + 7 + 30) ns is 18.3 minutes.
const DOUBLINGS: u32 = 30;
pub(super) const BUCKETS: usize = (SUB_BUCKETS as usize) * (DOUBLINGS as usize + 1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_one_another_without_gap_or_overlap() {
        let mut expected = 0;
        for bucket in 0..BUCKETS {
            let (low, high) = edges_of(bucket);
            assert_eq!(low, expected);
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            assert!(
                low < 1024 || (high - low + 1) * 128 <= low,
                "bucket {bucket} is too wide"
            );
            expected = high + 1;
        }
        assert_eq!(expected, 1 << 40);
        assert_eq!(bucket_of(expected), BUCKETS - 1);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn several_threads_may_record() {
        let histogram = LatencyHistogram::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let histogram = &histogram;
                scope.spawn(move || (0..10_000).for_each(|n| histogram.record(1 + n * 4 + thread)));
            }
        });
        let seen = histogram.snapshot();
        assert_eq!((seen.count(), seen.min(), seen.max()), (40_000, 1, 40_000));
        assert_eq!(seen.mean(), 20_000.5);
    }

    proptest! {
        #[test]
        fn every_value_is_within_the_edges_of_its_bucket(nanos in 0_u64..1 << 40) {
            let (low, high) = edges_of(bucket_of(nanos));
            prop_assert!(low <= nanos && nanos <= high);
        }
    }
}
