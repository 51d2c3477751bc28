//! Where a speaker's signal lies in a recording: cross-correlation, whitened so that speech's own periods do not mislead it.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::signal::{RATE, Sent, power};

/// Delays that are looked for, samples at 8 kHz: -20 ms to 2.028 s.
pub(super) const SMALLEST_LAG: i32 = -160;
pub(super) const LARGEST_LAG: i32 = SMALLEST_LAG + LAGS as i32;

/// How many lags are looked through, and the length of a whole-recording block: together a transform.
const LAGS: usize = 16_384;
const BLOCK: usize = 65_536 - LAGS;

/// Delay is tracked over windows of this length, this far apart, this far around the recording's main delay; samples.
const WINDOW: usize = 4096;
const HOP: usize = 3200;
const WINDOW_LAGS: usize = 8192;

/// A window's peak must stand out this many standard deviations to be believed.
const WINDOW_DETECTION: f32 = 8.0;

/// A window in which the speaker is fainter than this part of its mean power is a pause.
const PAUSE: f32 = 0.05;

/// Delays that differ less are one delay, whose estimates scatter: samples.
pub(super) const SAME_DELAY: f32 = 3.0;

/// A single frequency counts at most this much more than its surroundings, in power.
const PROMINENCE: f32 = 10.0;

/// The band that every codec carries, Hz.
const BAND: std::ops::Range<f32> = 300.0..3400.0;

/// A speaker's delay through a recording, samples at 8 kHz.
#[derive(Debug)]
pub(super) struct Found {
    /// The delay of most of the recording.
    pub(super) lag: f32,
    /// The delay of each window, where it is clear.
    pub(super) windows: Vec<Option<f32>>,
}

/// A signal's whitened spectra, block by block.
#[derive(Debug)]
pub(super) struct Spectra(Vec<Vec<Complex<f32>>>);

/// Transforms of the two sizes in use.
pub(super) struct Correlator {
    long: Transform,
    short: Transform,
}

impl Correlator {
    pub(super) fn new() -> Self {
        let mut planner = RealFftPlanner::new();
        Self {
            long: Transform::new(&mut planner, BLOCK + LAGS),
            short: Transform::new(&mut planner, WINDOW + WINDOW_LAGS),
        }
    }

    /// What [`find`](Self::find) looks for speakers in.
    pub(super) fn recording(&self, signal: &[f32]) -> Spectra {
        let mut blocks: Vec<_> = signal
            .chunks(BLOCK)
            .map(|block| self.long.spectrum(block))
            .collect();
        self.long.whiten(&mut blocks);
        Spectra(blocks)
    }

    /// What [`find`](Self::find) looks for, in a recording of `length` samples.
    pub(super) fn speaker(&self, sent: &Sent, length: usize) -> Spectra {
        let mut blocks: Vec<_> = (0..length)
            .step_by(BLOCK)
            .map(|at| sent.arriving(at as i64, LARGEST_LAG))
            .map(|arriving| self.long.spectrum(part(arriving, BLOCK + LAGS)))
            .collect();
        self.long.whiten(&mut blocks);
        Spectra(blocks)
    }

    /// The speaker's likeliest delay in the whole recording and how far it stands out, in standard deviations.
    pub(super) fn find(&self, Spectra(heard): &Spectra, Spectra(spoken): &Spectra) -> (f32, f32) {
        let mut cross = vec![Complex::default(); self.long.bins()];
        for (heard, spoken) in heard.iter().zip(spoken) {
            for ((cross, heard), spoken) in cross.iter_mut().zip(heard).zip(spoken) {
                *cross += heard.conj() * spoken;
            }
        }
        let (index, score) = peak(&self.long.correlation(&mut cross, LAGS + 1), 0..LAGS + 1);
        (LARGEST_LAG as f32 - index, score)
    }

    /// How steadily the signal agrees with the speaker at `lag`, window after window: a t statistic, large when the agreement is
    /// everywhere and not that of one moment.
    pub(super) fn agreement(&self, signal: &[f32], sent: &Sent, lag: f32) -> f32 {
        let lag = lag.round() as i32;
        let pause = pause(signal.len(), sent, lag);
        let mut agreements = Vec::new();
        for (at, heard) in windows(signal) {
            let spoken = part(sent.arriving(at as i64, lag), WINDOW);
            if power(spoken) < pause {
                continue;
            }
            let (mut agreeing, mut all) = (0.0, f32::MIN_POSITIVE);
            for product in self.short.cross(heard, spoken) {
                agreeing += product.re;
                all += product.norm_sqr().sqrt();
            }
            agreements.push(agreeing / all);
        }
        let count = agreements.len().max(2) as f32;
        let mean = agreements.iter().sum::<f32>() / count;
        let squares: f32 = agreements
            .iter()
            .map(|agreement| (agreement - mean).powi(2))
            .sum();
        mean / (squares / (count - 1.0) / count)
            .sqrt()
            .max(f32::MIN_POSITIVE)
    }

    /// The speaker's delay window by window, around `lag`.
    pub(super) fn track(&self, signal: &[f32], sent: &Sent, lag: f32) -> Vec<Option<f32>> {
        let usual = lag.round() as i32;
        let half = WINDOW_LAGS as i32 / 2;
        let last = (usual + half).min(LARGEST_LAG);
        let lags = (last - (usual - half).max(SMALLEST_LAG)) as usize;
        let pause = pause(signal.len(), sent, usual);
        let peaks: Vec<_> = windows(signal)
            .map(|(at, heard)| {
                if power(part(sent.arriving(at as i64, usual), WINDOW)) < pause {
                    return None;
                }
                let mut cross = self
                    .short
                    .cross(heard, part(sent.arriving(at as i64, last), WINDOW + lags));
                let correlation = self.short.correlation(&mut cross, lags + 1);
                let (mut index, mut score) = peak(&correlation, 0..lags + 1);
                // Speech resembles itself a little later: the delay of most of the recording has the benefit of the doubt.
                let near = (last - usual) as usize;
                let (near_index, near_score) = peak(
                    &correlation,
                    near.saturating_sub(3)..(near + 4).min(lags + 1),
                );
                if near_score >= 0.5 * score {
                    (index, score) = (near_index, near_score);
                }
                (score >= WINDOW_DETECTION).then_some(last as f32 - index)
            })
            .collect();
        let agrees = |a: f32, window: usize| {
            peaks
                .get(window)
                .is_some_and(|peak| peak.is_some_and(|b: f32| (a - b).abs() <= SAME_DELAY))
        };
        // A delay that no other window knows is a word that resembles another.
        let believed = |window: usize| {
            let delay = peaks[window]?;
            let known = (delay - lag).abs() <= SAME_DELAY
                || agrees(delay, window + 1)
                || agrees(delay, window.wrapping_sub(1));
            known.then_some(delay)
        };
        (0..peaks.len()).map(believed).collect()
    }
}

/// Windows of a signal, with their places. The last may be short.
fn windows(signal: &[f32]) -> impl Iterator<Item = (usize, &[f32])> {
    (0..signal.len().saturating_sub(WINDOW) / HOP + 1)
        .map(|window| window * HOP)
        .map(|at| (at, part(&signal[at..], WINDOW)))
}

/// The mean square below which a window of the speaker is a pause.
fn pause(length: usize, sent: &Sent, lag: i32) -> f32 {
    power(part(sent.arriving(0, lag), length)) * PAUSE
}

/// The first `length` samples, or all there are.
fn part(signal: &[f32], length: usize) -> &[f32] {
    &signal[..signal.len().min(length)]
}

/// A real transform of one size and its inverse.
struct Transform {
    length: usize,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
}

impl Transform {
    fn new(planner: &mut RealFftPlanner<f32>, length: usize) -> Self {
        Self {
            length,
            forward: planner.plan_fft_forward(length),
            inverse: planner.plan_fft_inverse(length),
        }
    }

    fn bins(&self) -> usize {
        self.length / 2 + 1
    }

    /// The spectrum of a signal, zeros added to the transform's length.
    fn spectrum(&self, signal: &[f32]) -> Vec<Complex<f32>> {
        let mut padded = vec![0.0; self.length];
        padded[..signal.len()].copy_from_slice(signal);
        let mut spectrum = self.forward.make_output_vec();
        self.forward
            .process(&mut padded, &mut spectrum)
            .expect("both have the transform's length");
        spectrum
    }

    /// The cross spectrum of two signals within the telephone band, half whitened: fully, noise between the harmonics would count
    /// as much as the voice.
    fn cross(&self, heard: &[f32], spoken: &[f32]) -> Vec<Complex<f32>> {
        let mut cross = self.spectrum(heard);
        for (heard, spoken) in cross.iter_mut().zip(self.spectrum(spoken)) {
            let product = heard.conj() * spoken;
            *heard = product / (product.norm_sqr().sqrt().powf(0.6) + f32::MIN_POSITIVE);
        }
        self.limit_to_band(&mut cross);
        cross
    }

    fn limit_to_band(&self, spectrum: &mut [Complex<f32>]) {
        for (bin, value) in spectrum.iter_mut().enumerate() {
            if !BAND.contains(&(bin as f32 * RATE as f32 / self.length as f32)) {
                *value = Complex::default();
            }
        }
    }

    /// Brings every part of the band to one level, over 100 Hz at a time, so that formants and single tones count no more than the rest.
    fn whiten(&self, spectra: &mut [Vec<Complex<f32>>]) {
        let power = |bin: usize| {
            spectra
                .iter()
                .map(|spectrum| spectrum[bin].norm_sqr())
                .sum::<f32>()
        };
        let powers: Vec<f32> = (0..self.bins()).map(power).collect();
        let floor = powers.iter().sum::<f32>() / powers.len() as f32 * 1e-6 + f32::MIN_POSITIVE;
        let mut sums = Vec::with_capacity(powers.len() + 1);
        sums.push(0.0);
        for (bin, power) in powers.iter().enumerate() {
            sums.push(sums[bin] + f64::from((power + floor).ln()));
        }
        let reach = 50 * self.length / RATE as usize;
        for bin in 0..self.bins() {
            let (from, to) = (
                bin.saturating_sub(reach),
                (bin + reach + 1).min(self.bins()),
            );
            let typical = ((sums[to] - sums[from]) / (to - from) as f64).exp() as f32;
            let scale = typical.max(powers[bin] / PROMINENCE).sqrt().recip();
            for spectrum in spectra.iter_mut() {
                spectrum[bin] *= scale;
            }
        }
    }

    /// The first `count` values of the correlation that a cross spectrum stands for, in standard deviations of chance; only the telephone band counts.
    fn correlation(&self, cross: &mut [Complex<f32>], count: usize) -> Vec<f32> {
        self.limit_to_band(cross);
        let mut correlation = self.inverse.make_output_vec();
        self.inverse
            .process(cross, &mut correlation)
            .expect("both have the transform's length, and no constant part");
        correlation.truncate(count);
        let mut magnitudes: Vec<f32> = correlation.iter().map(|value| value.abs()).collect();
        let (_, &mut median, _) = magnitudes.select_nth_unstable_by(count / 2, f32::total_cmp);
        let deviation = median / 0.6745; // of a normal distribution
        for value in &mut correlation {
            *value = if deviation > 0.0 {
                *value / deviation
            } else {
                0.0
            };
        }
        correlation
    }
}

/// The highest value within `range`: its place, between samples, and its height. `range` is not empty and within the correlation.
fn peak(correlation: &[f32], range: std::ops::Range<usize>) -> (f32, f32) {
    let first = range.start;
    let highest = range
        .max_by(|&a, &b| correlation[a].total_cmp(&correlation[b]))
        .unwrap_or(first);
    (
        highest as f32 + between_samples(correlation, highest),
        correlation[highest],
    )
}

/// Where the parabola through a peak and its neighbours is highest, -0.5 to 0.5.
fn between_samples(correlation: &[f32], peak: usize) -> f32 {
    let (Some(&before), Some(&after)) = (
        peak.checked_sub(1).and_then(|n| correlation.get(n)),
        correlation.get(peak + 1),
    ) else {
        return 0.0;
    };
    let curvature = before - 2.0 * correlation[peak] + after;
    if curvature < 0.0 {
        (0.5 * (before - after) / curvature).clamp(-0.5, 0.5)
    } else {
        0.0
    }
}
