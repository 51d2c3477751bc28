//! Room for the latest of the late.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cause::Outlier;

/// Keeps the outliers that were latest, up to a number, and counts all. Allocates only when made.
pub(super) struct Outliers {
    kept: Vec<Outlier>,
    /// Lateness and place of each of `kept`, the least late on top.
    by_lateness: BinaryHeap<Reverse<(u64, usize)>>,
    most: usize,
    count: u64,
}

impl Outliers {
    pub(super) fn with_room_for(most: usize) -> Self {
        Self {
            kept: Vec::with_capacity(most),
            by_lateness: BinaryHeap::with_capacity(most),
            most,
            count: 0,
        }
    }

    /// Counts one, and keeps it unless there is no room and all that are kept were later.
    pub(super) fn add(&mut self, outlier: Outlier) {
        self.count += 1;
        let lateness = outlier.lateness_ns;
        if self.kept.len() < self.most {
            self.by_lateness.push(Reverse((lateness, self.kept.len())));
            self.kept.push(outlier);
        } else if let Some(mut least) = self.by_lateness.peek_mut() {
            let Reverse((least_late, place)) = *least;
            if lateness > least_late {
                self.kept[place] = outlier;
                *least = Reverse((lateness, place));
            }
        }
    }

    /// All that came, also those not kept.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Those kept, in the order of their deadlines.
    pub(super) fn into_sorted(mut self) -> Vec<Outlier> {
        self.kept.sort_by_key(|outlier| outlier.number);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cause::{Cause, Evidence};
    use super::*;

    fn outlier(number: u64, lateness_ns: u64) -> Outlier {
        Outlier {
            number,
            at_ns: 0,
            lateness_ns,
            cause: Cause::Unknown,
            evidence: Evidence::default(),
        }
    }

    #[test]
    fn without_room_they_are_only_counted() {
        let mut outliers = Outliers::with_room_for(0);
        outliers.add(outlier(1, 1));
        assert_eq!((outliers.count(), outliers.into_sorted().len()), (1, 0));
    }

    proptest! {
        #[test]
        fn the_latest_are_kept_in_order(lateness in prop::collection::vec(0_u64..50, 0..200)) {
            let mut outliers = Outliers::with_room_for(16);
            for (number, &late) in lateness.iter().enumerate() {
                outliers.add(outlier(number as u64, late));
            }
            prop_assert_eq!(outliers.count(), lateness.len() as u64);
            let kept = outliers.into_sorted();
            prop_assert!(kept.windows(2).all(|pair| pair[0].number < pair[1].number));
            prop_assert!(kept.iter().all(|one| one.lateness_ns == lateness[one.number as usize]));
            let mut found: Vec<u64> = kept.iter().map(|one| one.lateness_ns).collect();
            let mut expected = lateness.clone();
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected.split_off(lateness.len().saturating_sub(16)));
        }
    }
}
