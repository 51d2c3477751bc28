//! How one speaker's signal is in a recording: the short filter (gain, band, fraction of a sample) that explains most of it.

use super::correlate::{Found, SAME_DELAY};
use super::signal::{Sent, dot, power};

/// The filter's length, and how much of it lies before the delay that was found: samples at 8 kHz.
const TAPS: usize = 32;
const EARLY: usize = 12;

/// Delay may change from one piece to the next: samples, 100 ms.
const PIECE: usize = 800;

/// A speaker's part of the recording.
#[derive(Debug)]
pub(super) struct Fit {
    contribution: Vec<f32>,
    gain_db: f32,
}

impl Fit {
    /// Fits the speaker to `signal`; errors count as `weights` say, one for each sample.
    pub(super) fn new(signal: &[f32], sent: &Sent, found: &Found, weights: &[f32]) -> Self {
        let aligned = aligned(signal, sent, found);
        let weigh = |signal: &[f32]| -> Vec<f32> {
            signal.iter().zip(weights).map(|(a, b)| a * b).collect()
        };
        let heard = weigh(signal);
        let spoken = weigh(&aligned);
        // Weights change slowly against the filter's 4 ms, so the normal equations stay those of a stationary signal.
        let auto: [f32; TAPS] =
            std::array::from_fn(|lag| dot(&spoken, spoken.get(lag..).unwrap_or(&[])));
        let cross: [f32; TAPS] = std::array::from_fn(|tap| {
            if tap < EARLY {
                dot(&heard, spoken.get(EARLY - tap..).unwrap_or(&[]))
            } else {
                dot(heard.get(tap - EARLY..).unwrap_or(&[]), &spoken)
            }
        });
        let filter = solve_toeplitz(auto, cross);
        let contribution = filtered(&aligned, &filter);
        let gain = power(&contribution) / power(&aligned).max(f32::MIN_POSITIVE);
        Self {
            contribution,
            gain_db: 10.0 * gain.log10(),
        }
    }

    pub(super) fn gain_db(&self) -> f32 {
        self.gain_db
    }

    pub(super) fn add_to(&self, signal: &mut [f32]) {
        for (sample, part) in signal.iter_mut().zip(&self.contribution) {
            *sample += part;
        }
    }

    pub(super) fn subtract_from(&self, signal: &mut [f32]) {
        for (sample, part) in signal.iter_mut().zip(&self.contribution) {
            *sample -= part;
        }
    }
}

/// What was sent, moved to where it arrives: piece by piece by the delay, of all that were found, that suits the signal best.
fn aligned(signal: &[f32], sent: &Sent, found: &Found) -> Vec<f32> {
    let mut lags = vec![found.lag];
    for &lag in found.windows.iter().flatten() {
        if lags.iter().all(|known| (known - lag).abs() > SAME_DELAY) {
            lags.push(lag);
        }
    }
    let mut aligned = Vec::with_capacity(signal.len());
    for (piece, heard) in signal.chunks(PIECE).enumerate() {
        let arriving = lags.iter().map(|lag| {
            let spoken = sent.arriving((piece * PIECE) as i64, lag.round() as i32);
            &spoken[..spoken.len().min(heard.len())]
        });
        let suits = |spoken: &[f32]| dot(heard, spoken) / dot(spoken, spoken).max(1.0).sqrt();
        let best = arriving.reduce(|best, other| {
            if suits(other) > suits(best) {
                other
            } else {
                best
            }
        });
        aligned.extend_from_slice(best.unwrap_or(&[]));
        aligned.resize(piece * PIECE + heard.len(), 0.0);
    }
    aligned
}

/// `filter` applied; its tap [`EARLY`] is the one without delay.
fn filtered(signal: &[f32], filter: &[f32; TAPS]) -> Vec<f32> {
    let mut padded = vec![0.0; TAPS - EARLY - 1];
    padded.extend_from_slice(signal);
    padded.resize(signal.len() + TAPS - 1, 0.0);
    let mut reversed = *filter;
    reversed.reverse();
    padded
        .windows(TAPS)
        .map(|window| dot(window, &reversed))
        .collect()
}

/// Solves the symmetric Toeplitz system of first column `auto` for `cross` (Levinson's recursion), slightly regularised, because the band's
/// edges leave it nearly singular.
fn solve_toeplitz(auto: [f32; TAPS], cross: [f32; TAPS]) -> [f32; TAPS] {
    let auto = auto.map(f64::from);
    let energy = auto[0] * 1.001;
    let mut solution = [0.0; TAPS];
    if energy <= 0.0 {
        return [0.0; TAPS];
    }
    let mut predictor = [0.0; TAPS];
    predictor[0] = 1.0;
    let mut error = energy;
    solution[0] = f64::from(cross[0]) / energy;
    for order in 1..TAPS {
        let reflection = -(0..order)
            .map(|n| predictor[n] * auto[order - n])
            .sum::<f64>()
            / error;
        let previous = predictor;
        for n in 1..=order {
            predictor[n] = previous[n] + reflection * previous[order - n];
        }
        error *= 1.0 - reflection * reflection;
        let missing = f64::from(cross[order])
            - (0..order)
                .map(|n| solution[n] * auto[order - n])
                .sum::<f64>();
        let step = missing / error;
        for n in 0..=order {
            solution[n] += step * predictor[order - n];
        }
    }
    solution.map(|tap| tap as f32)
}
