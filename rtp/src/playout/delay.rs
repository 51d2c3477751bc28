//! How much play-out delay the network asks for.
//!
//! Each packet's transit (arrival minus media position) is compared with the least transit of the last seconds,
//! which follows clock drift and route changes. A histogram of these relative delays, in which older packets count
//! ever less, gives the target as a quantile; spikes too rare for the quantile count when they repeat.

use std::mem::offset_of;

use crate::cache;

/// Buckets of the histogram; together they span the largest delay.
const BUCKETS: usize = 64;
/// The target covers this share of the packets.
const QUANTILE: f32 = 0.97;
/// Share of the past that 20 ms of packets replace: a memory of about two seconds.
const FORGET: f32 = 0.01;
/// The histogram is rescaled when the weight of a new packet passes this.
const HEAVIEST: f32 = 1.0e6;
/// Packets between two looks at the histogram (a packet beyond the target looks at once).
const LOOK_EVERY: u8 = 8;
/// Windows of the minimum transit, each of at least this many milliseconds and packets.
const WINDOWS: usize = 4;
const WINDOW_MS: i64 = 1000;
const WINDOW_PACKETS: u32 = 20;
/// Fall of the target, milliseconds a second of media.
const FALL_MS: i64 = 40;
/// Spikes kept, the time they count, and the quiet time that separates two.
const PEAKS: usize = 4;
const PEAK_MEMORY_MS: i64 = 10_000;
const PEAK_APART_MS: i64 = 200;
/// A packet this much later than the quantile belongs to a spike.
const PEAK_ABOVE_MS: i64 = 20;

#[derive(Debug)]
#[repr(C)] // What every packet looks at comes first.
pub(super) struct DelayEstimator {
    /// Samples in a millisecond.
    per_ms: i64,
    least: i64,
    most: i64,
    bucket: i64,
    per_bucket: f32,
    total: f32,
    weight: f32,
    until_look: u8,
    quantile: i64,
    target: i64,
    minima: [i64; WINDOWS],
    window_start: i64,
    window_packets: u32,
    base: i64,
    latest_transit: i64,
    peaks: [Peak; PEAKS],
    peak_seen: i64,
    weights: [f32; BUCKETS],
}

#[derive(Debug, Clone, Copy)]
struct Peak {
    start: i64,
    height: i64,
}

impl Peak {
    const NONE: Self = Self {
        start: i64::MIN / 2,
        height: 0,
    };
}

impl DelayEstimator {
    /// Octets that every packet looks at.
    pub(super) const FRONT: usize = offset_of!(Self, weights);

    /// `least` and `most` bound the target, in samples.
    pub(super) fn new(per_ms: i64, least: i64, most: i64) -> Self {
        let most = most.max(least);
        let bucket = most / BUCKETS as i64 + 1;
        Self {
            per_ms,
            least,
            most,
            bucket,
            per_bucket: 1.0 / bucket as f32,
            weights: [0.0; BUCKETS],
            total: 0.0,
            weight: 1.0,
            until_look: 0,
            quantile: 0,
            target: least,
            minima: [0; WINDOWS],
            window_start: 0,
            window_packets: 0,
            base: 0,
            latest_transit: 0,
            peaks: [Peak::NONE; PEAKS],
            peak_seen: i64::MIN / 2,
        }
    }

    /// Fetches what counting a packet needs, which is most likely one of the fastest.
    #[inline]
    pub(super) fn fetch_for_packet(&self) {
        cache::fetch(&self.weights[0]);
    }

    /// The delay to play with above [`Self::base`], in samples.
    pub(super) fn target(&self) -> i64 {
        self.target
    }

    /// The least transit of the last seconds.
    pub(super) fn base(&self) -> i64 {
        self.base
    }

    /// Takes one transit for the least: a new stream, or a path whose past says nothing any more.
    pub(super) fn rebase(&mut self, transit: i64, arrival: i64) {
        self.minima = [transit; WINDOWS];
        self.base = transit;
        self.latest_transit = transit;
        self.window_start = arrival;
        self.window_packets = 0;
    }

    /// Takes the newest packet's transit for the least.
    pub(super) fn rebase_to_latest(&mut self, now: i64) {
        self.rebase(self.latest_transit, now);
    }

    /// Counts a packet of `samples` that arrived at `arrival` with this transit; `newest` if none is after it.
    pub(super) fn observe(&mut self, transit: i64, arrival: i64, samples: i64, newest: bool) {
        if newest {
            self.latest_transit = transit;
        }
        self.follow_base(transit, arrival);
        let relative = transit - self.base;

        let share = (samples as f32 / (20 * self.per_ms) as f32).min(8.0);
        self.weight *= 1.0 + FORGET * share;
        // No permitted delay would have helped a packet beyond the last bucket: it says nothing.
        if let Some(weight) = self
            .weights
            .get_mut((relative as f32 * self.per_bucket) as usize)
        {
            *weight += self.weight * share;
            self.total += self.weight * share;
        }
        if self.weight > HEAVIEST {
            for weight in &mut self.weights {
                *weight /= HEAVIEST;
            }
            self.total = self.weights.iter().sum();
            self.weight /= HEAVIEST;
        }

        if relative > self.quantile + PEAK_ABOVE_MS * self.per_ms && relative <= self.most {
            self.remember_peak(relative, arrival);
        }
        if self.until_look == 0 || relative > self.target {
            self.until_look = LOOK_EVERY;
            self.quantile = self.find_quantile();
        }
        self.until_look -= 1;

        let wanted = self
            .quantile
            .max(self.repeated_peak(arrival))
            .clamp(self.least, self.most);
        self.target = if wanted >= self.target {
            wanted
        } else {
            (self.target - (samples * FALL_MS / 1000).max(1)).max(wanted)
        };
    }

    fn follow_base(&mut self, transit: i64, arrival: i64) {
        if arrival - self.window_start >= WINDOW_MS * self.per_ms
            && self.window_packets >= WINDOW_PACKETS
        {
            self.minima.rotate_right(1);
            self.minima[0] = transit;
            self.window_start = arrival;
            self.window_packets = 0;
            self.base = self.minima.into_iter().fold(i64::MAX, i64::min);
        }
        self.window_packets += 1;
        self.minima[0] = self.minima[0].min(transit);
        self.base = self.base.min(transit);
    }

    /// Upper edge of the bucket that holds the quantile.
    fn find_quantile(&self) -> i64 {
        let mut left = self.total * QUANTILE;
        for (index, weight) in self.weights.iter().enumerate() {
            left -= weight;
            if left <= 0.0 {
                return (index as i64 + 1) * self.bucket;
            }
        }
        BUCKETS as i64 * self.bucket
    }

    fn remember_peak(&mut self, height: i64, arrival: i64) {
        if arrival - self.peak_seen > PEAK_APART_MS * self.per_ms {
            self.peaks.rotate_right(1);
            self.peaks[0] = Peak {
                start: arrival,
                height,
            };
        } else {
            self.peaks[0].height = self.peaks[0].height.max(height);
        }
        self.peak_seen = arrival;
    }

    /// Height of the highest recent spike if there were two or more, else 0.
    fn repeated_peak(&self, now: i64) -> i64 {
        if now - self.peaks[1].start > PEAK_MEMORY_MS * self.per_ms {
            return 0;
        }
        self.peaks
            .iter()
            .filter(|peak| now - peak.start <= PEAK_MEMORY_MS * self.per_ms)
            .fold(0, |highest, peak| highest.max(peak.height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 8;

    fn feed(
        estimator: &mut DelayEstimator,
        from: i64,
        packets: i64,
        relative_ms: impl Fn(i64) -> i64,
    ) {
        for n in from..from + packets {
            let transit = relative_ms(n) * MS;
            estimator.observe(transit, n * 20 * MS + transit, 160, true);
        }
    }

    fn estimator() -> DelayEstimator {
        let mut estimator = DelayEstimator::new(MS, 20 * MS, 400 * MS);
        estimator.rebase(0, 0);
        estimator
    }

    #[test]
    fn a_steady_network_asks_for_the_least_delay() {
        let mut estimator = estimator();
        feed(&mut estimator, 0, 500, |_| 0);
        assert_eq!(estimator.target(), 20 * MS);
    }

    #[test]
    fn jitter_raises_the_target_and_calm_lowers_it_slowly() {
        let mut estimator = estimator();
        feed(&mut estimator, 0, 200, |n| (n * 37) % 100);
        assert!(
            (80 * MS..=110 * MS).contains(&estimator.target()),
            "{}",
            estimator.target()
        );
        let high = estimator.target();
        feed(&mut estimator, 200, 50, |_| 0);
        assert!(
            estimator.target() > high - 60 * MS,
            "{}",
            estimator.target()
        );
        feed(&mut estimator, 250, 1500, |_| 0);
        assert_eq!(estimator.target(), 20 * MS);
    }

    #[test]
    fn drift_is_not_taken_for_jitter() {
        // 500 ppm, five minutes, both ways.
        for ppm in [500, -500] {
            let mut estimator = DelayEstimator::new(MS, 0, 400 * MS);
            estimator.rebase(0, 0);
            for n in 0..15_000 {
                estimator.observe(n * 160 * ppm / 1_000_000, n * 160, 160, true);
            }
            assert!(estimator.target() <= 7 * MS, "{}", estimator.target());
        }
    }

    #[test]
    fn spikes_count_only_when_they_repeat() {
        let mut estimator = estimator();
        feed(&mut estimator, 0, 300, |_| 0);
        feed(&mut estimator, 300, 1, |_| 200);
        assert_eq!(estimator.target(), 20 * MS);
        feed(&mut estimator, 301, 100, |_| 0);
        feed(&mut estimator, 401, 1, |_| 150);
        assert_eq!(estimator.target(), 200 * MS);
        feed(&mut estimator, 402, 1500, |_| 0);
        assert_eq!(estimator.target(), 20 * MS);
    }

    #[test]
    fn a_longer_path_becomes_the_new_normal() {
        let mut estimator = estimator();
        feed(&mut estimator, 0, 300, |_| 0);
        feed(&mut estimator, 300, 1000, |_| 80);
        assert_eq!(estimator.base(), 80 * MS);
        assert_eq!(estimator.target(), 20 * MS);
    }
}
