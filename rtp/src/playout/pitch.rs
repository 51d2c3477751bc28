//! Where a signal resembles itself: normalised cross-correlation over the lags of a human pitch.

use std::ops::RangeInclusive;

/// Shortest and longest period that is looked for, in tenths of a millisecond: 400 Hz to 66 Hz.
const SHORTEST: usize = 25;
const LONGEST: usize = 150;

/// Shortest period, in samples.
pub(super) const fn shortest(per_ms: usize) -> usize {
    per_ms * SHORTEST / 10
}

/// Longest period, in samples.
pub(super) const fn longest(per_ms: usize) -> usize {
    per_ms * LONGEST / 10
}

/// Longest period at the highest rate (48 kHz), in samples.
pub(super) const LONGEST_OF_ALL: usize = longest(48);

/// Rate of the coarse search, in samples a millisecond.
const COARSE: usize = 8;
/// Samples that a search looks at, at the highest rate.
const REGION: usize = longest(48) + window(48);
/// Bits of a sample in a search: 2 * 11 and 9 for the 480 samples of the longest window make 31.
const SCALED_BITS: u32 = 11;

/// Samples of the compared window: 10 ms.
pub(super) const fn window(per_ms: usize) -> usize {
    10 * per_ms
}

/// Which way the second window lies from the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Towards {
    Past,
    Future,
}

/// A lag and how alike the signal is there, -1 to 1 (1: the same but for a factor).
#[derive(Debug, Clone, Copy)]
pub(super) struct Match {
    pub(super) lag: usize,
    pub(super) likeness: f32,
}

/// The lag at which `signal` best resembles its window at `at`. Above 8 kHz the search is coarse first, then fine.
/// `signal` must reach one window and, towards the past or the future, one longest period.
pub(super) fn search(signal: &[i16], at: usize, per_ms: usize, towards: Towards) -> Match {
    let (longest, shortest, window) = (longest(per_ms), shortest(per_ms), window(per_ms));
    let (region, reference) = match towards {
        Towards::Past => (&signal[at - longest..at + window], longest),
        Towards::Future => (&signal[at..at + window + longest], 0),
    };
    let mut scaled = [0i16; REGION];
    let scaled = scale(region, &mut scaled);
    let stride = per_ms / COARSE;
    if stride <= 1 {
        return best(scaled, reference, window, shortest..=longest, towards);
    }
    let mut coarse = [0i16; REGION];
    let coarse = &mut coarse[..scaled.len() / stride];
    for (mean, samples) in coarse.iter_mut().zip(scaled.chunks_exact(stride)) {
        *mean = (samples.iter().map(|&s| i32::from(s)).sum::<i32>() / stride as i32) as i16;
    }
    let lags = shortest / stride..=longest / stride;
    let found = best(coarse, reference / stride, window / stride, lags, towards).lag * stride;
    let lags = (found + 1 - stride).max(shortest)..=(found + stride - 1).min(longest);
    best(scaled, reference, window, lags, towards)
}

/// Root mean square of the samples.
pub(super) fn rms(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return 0.0;
    }
    let energy: i64 = samples
        .iter()
        .map(|&s| i64::from(i32::from(s) * i32::from(s)))
        .sum();
    (energy as f32 / samples.len() as f32).sqrt()
}

/// Copies with so few bits that the sum of a window's squares fits 31 bits.
fn scale<'a>(samples: &[i16], scaled: &'a mut [i16; REGION]) -> &'a [i16] {
    let bits = samples.iter().fold(0, |bits, &s| bits | s.unsigned_abs());
    let shift = (u16::BITS - bits.leading_zeros()).saturating_sub(SCALED_BITS);
    let scaled = &mut scaled[..samples.len()];
    for (scaled, &sample) in scaled.iter_mut().zip(samples) {
        *scaled = sample >> shift;
    }
    scaled
}

/// The lag at which the window at `reference` is most like the one that many samples away.
fn best(
    signal: &[i16],
    reference: usize,
    window: usize,
    lags: RangeInclusive<usize>,
    towards: Towards,
) -> Match {
    let here = &signal[reference..reference + window];
    let energy_here = product(here, here) as f32;
    let mut best = Match {
        lag: *lags.start(),
        likeness: -1.0,
    };
    for lag in lags {
        let start = match towards {
            Towards::Past => reference - lag,
            Towards::Future => reference + lag,
        };
        let there = &signal[start..start + window];
        let energy = energy_here * product(there, there) as f32;
        let likeness = if energy > 0.0 {
            product(here, there) as f32 / energy.sqrt()
        } else {
            0.0
        };
        if likeness > best.likeness {
            best = Match { lag, likeness };
        }
    }
    best
}

fn product(a: &[i16], b: &[i16]) -> i32 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| i32::from(a) * i32::from(b))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_voice_is_found_at_every_rate() {
        for per_ms in [8, 16, 24, 48] {
            let period = 7 * per_ms + 1;
            let signal: Vec<i16> = (0..60 * per_ms)
                .map(|n| (12_000.0 * (-((n % period) as f32) / (per_ms as f32 * 2.0)).exp()) as i16)
                .collect();
            for (at, towards) in [(30 * per_ms, Towards::Past), (0, Towards::Future)] {
                let found = search(&signal, at, per_ms, towards);
                assert_eq!(found.lag % period, 0, "{per_ms} {towards:?}");
                assert!(found.likeness > 0.99);
            }
        }
    }
}
