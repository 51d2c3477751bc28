//! How much ratios of quantiles and rates vary by chance: intervals drawn with replacement, again and again.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Any number: it only has to be the same each time.
const SEED: u64 = 20;
const MOST_DRAWS: u64 = 2000;
const FEWEST_DRAWS: u64 = 400;
/// Buckets touched in all draws together, about: a second or two of work.
const WORK: u64 = 400_000_000;

/// What is counted in each interval, besides values.
pub(super) const EVENTS: usize = 2;

/// Intervals of one side: which values were seen in each, and how often, and how often something happened.
pub(super) struct Blocks {
    /// Every value seen, ascending.
    values: Vec<u64>,
    blocks: Vec<Block>,
}

struct Block {
    /// Places in `values`, and counts.
    counts: Vec<(usize, u64)>,
    events: [u64; EVENTS],
}

/// What a draw says.
#[derive(Default)]
struct Drawn {
    /// Quantiles, and last the maximum.
    quantiles: Vec<u64>,
    /// Events for each value.
    rates: [f64; EVENTS],
}

impl Blocks {
    /// Of histograms, each a list of value and count, and events.
    pub(super) fn of<'a>(
        intervals: impl Iterator<Item = (&'a [(u64, u64)], [u64; EVENTS])> + Clone,
    ) -> Self {
        let mut values: Vec<u64> = intervals
            .clone()
            .flat_map(|(histogram, _)| histogram)
            .map(|&(value, _)| value)
            .collect();
        values.sort_unstable();
        values.dedup();
        let place = |value| values.partition_point(|&known| known < value);
        let blocks = intervals
            .filter(|(histogram, _)| !histogram.is_empty())
            .map(|(histogram, events)| Block {
                counts: histogram
                    .iter()
                    .map(|&(value, count)| (place(value), count))
                    .collect(),
                events,
            })
            .collect();
        Self { values, blocks }
    }

    /// How many intervals there are.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    fn buckets(&self) -> u64 {
        self.blocks
            .iter()
            .map(|block| block.counts.len() as u64)
            .sum()
    }

    /// Draws as many intervals as there are into `counts`, with replacement, and reads what they say together.
    fn draw(&self, random: &mut StdRng, counts: &mut [u64], quantiles: &[f64], found: &mut Drawn) {
        counts.fill(0);
        let mut total = 0_u64;
        let mut events = [0_u64; EVENTS];
        for _ in 0..self.blocks.len() {
            let block = &self.blocks[random.random_range(0..self.blocks.len())];
            for &(place, count) in &block.counts {
                counts[place] = counts[place].saturating_add(count);
                total = total.saturating_add(count);
            }
            for (sum, count) in events.iter_mut().zip(block.events) {
                *sum = sum.saturating_add(count);
            }
        }
        found.rates = events.map(|events| rate(events, total));
        found.quantiles.clear();
        let (mut below, mut place) = (counts[0], 0);
        for q in quantiles.iter().copied().chain([1.0]) {
            let rank = ((q * total as f64).ceil() as u64).clamp(1, total.max(1));
            while below < rank && place + 1 < counts.len() {
                place += 1;
                below = below.saturating_add(counts[place]);
            }
            found.quantiles.push(self.values[place]);
        }
    }
}

/// B's over A's; 0 counts as 1 ns.
pub(super) fn ratio(a: u64, b: u64) -> f64 {
    b.max(1) as f64 / a.max(1) as f64
}

/// How often something happened, for each deadline.
pub(super) fn rate(events: u64, deadlines: u64) -> f64 {
    events as f64 / deadlines.max(1) as f64
}

/// B's rate over A's: infinite for what only B has, and 1 where nothing happened in either.
pub(super) fn ratio_of_rates(a: f64, b: f64) -> f64 {
    if a == b { 1.0 } else { b / a }
}

/// Many ratios for each of `quantiles`, which ascend, then for the maximum, and last for each event; sorted. Both sides have
/// an interval.
pub(super) fn ratios(a: &Blocks, b: &Blocks, quantiles: &[f64]) -> Vec<Vec<f64>> {
    let work = (a.buckets() + b.buckets()).max(1);
    let draws = (WORK / work).clamp(FEWEST_DRAWS, MOST_DRAWS);
    let mut random = StdRng::seed_from_u64(SEED);
    let mut counts = (vec![0; a.values.len()], vec![0; b.values.len()]);
    let mut found = (Drawn::default(), Drawn::default());
    let mut all = vec![Vec::new(); quantiles.len() + 1 + EVENTS];
    for _ in 0..draws {
        a.draw(&mut random, &mut counts.0, quantiles, &mut found.0);
        b.draw(&mut random, &mut counts.1, quantiles, &mut found.1);
        let times = found.0.quantiles.iter().zip(&found.1.quantiles);
        let times = times.map(|(&a, &b)| ratio(a, b));
        let rates = found.0.rates.iter().zip(&found.1.rates);
        let rates = rates.map(|(&a, &b)| ratio_of_rates(a, b));
        for (ratios, drawn) in all.iter_mut().zip(times.chain(rates)) {
            ratios.push(drawn);
        }
    }
    for ratios in &mut all {
        ratios.sort_unstable_by(f64::total_cmp);
    }
    all
}

/// The middle of sorted values, which leaves out equally many at both ends.
pub(super) fn middle(sorted: &[f64], confidence: f64) -> (f64, f64) {
    let last = sorted.len() - 1;
    let out = ((1.0 - confidence) / 2.0 * sorted.len() as f64).floor() as usize;
    let out = out.min(last / 2);
    (sorted[out], sorted[last - out])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_intervals_leave_nothing_to_chance() {
        let histogram: [(u64, u64); 2] = [(10, 98), (30, 2)];
        let blocks = Blocks::of((0..20).map(|_| (histogram.as_slice(), [0, 3])));
        let all = ratios(&blocks, &blocks, &[0.5, 0.98, 0.99]);
        assert_eq!(all.len(), 4 + EVENTS);
        assert!(all.iter().flatten().all(|&ratio| ratio == 1.0));
    }

    #[test]
    fn the_interval_covers_the_true_ratio_as_often_as_it_says() {
        // The true medians are the same: nine intervals in ten should hold 1.
        let mut random = StdRng::seed_from_u64(1);
        let mut side = || {
            let histograms: Vec<Vec<(u64, u64)>> = (0..30)
                .map(|_| {
                    let mut values: Vec<u64> =
                        (0..20).map(|_| random.random_range(1000..3000)).collect();
                    values.sort_unstable();
                    values.dedup();
                    values.into_iter().map(|value| (value, 1)).collect()
                })
                .collect();
            Blocks::of(
                histograms
                    .iter()
                    .map(|histogram| (histogram.as_slice(), [0; EVENTS])),
            )
        };
        let covered = (0..100).filter(|_| {
            let all = ratios(&side(), &side(), &[0.5]);
            let (low, high) = middle(&all[0], 0.9);
            (low..=high).contains(&1.0)
        });
        let covered = covered.count();
        assert!((80..=98).contains(&covered), "{covered} of 100");
    }

    #[test]
    fn what_happens_to_one_side_only_is_infinitely_more_there() {
        assert_eq!(ratio_of_rates(0.0, 0.0), 1.0);
        assert_eq!(ratio_of_rates(0.0, rate(1, 1000)), f64::INFINITY);
        assert_eq!(ratio_of_rates(rate(2, 1000), rate(1, 1000)), 0.5);
        assert_eq!(ratio_of_rates(rate(1, 0), 0.0), 0.0);
        let side = |events: u64| {
            let histogram: &[(u64, u64)] = &[(10, 50)];
            Blocks::of((0..20).map(move |number| (histogram, [u64::from(number < events), 0])))
        };
        let low = |a, b| {
            let all = ratios(&side(a), &side(b), &[0.5]);
            middle(&all[2], 0.99).0
        };
        // One interval of twenty may not be drawn at all; ten are.
        assert_eq!((low(0, 1), low(0, 10)), (1.0, f64::INFINITY));
    }

    #[test]
    fn the_middle_leaves_out_equally_many_at_both_ends() {
        let sorted: Vec<f64> = (0..1000).map(f64::from).collect();
        assert_eq!(middle(&sorted, 0.99), (5.0, 994.0));
        assert_eq!(middle(&sorted, 0.0), (499.0, 500.0));
        assert_eq!(middle(&[7.0], 0.9), (7.0, 7.0));
    }
}
