//! Signals at the one rate and in the one band in which they are compared.

use super::{LARGEST_LAG, SMALLEST_LAG};
use crate::prompts::convert_f32;

/// The rate of all comparing, Hz.
pub(super) const RATE: u32 = 8000;

/// Window over which levels are taken, samples.
const LEVEL_WINDOW: usize = 160;

/// What lies below is as good as silence, and no more telling than it: RMS in 16-bit steps, about -60 dBov.
const SILENCE: f32 = 30.0;

/// A recording as it is compared: 8 kHz, above 300 Hz.
pub(super) fn recording(samples: &[i16], sample_rate: u32) -> Vec<f32> {
    let mut signal = at_rate(samples, sample_rate);
    high_pass(&mut signal);
    signal
}

/// A clip as it is compared, filtered as if it had been repeating for ever.
pub(super) fn clip(samples: &[i16], sample_rate: u32) -> Vec<f32> {
    let once = at_rate(samples, sample_rate);
    let mut twice = once.repeat(2);
    high_pass(&mut twice);
    twice.split_off(once.len())
}

/// What a speaker said, on the recording's time line and around it.
#[derive(Debug)]
pub(super) struct Sent {
    /// Index 0 was spoken [`LARGEST_LAG`] samples before the recording's first.
    samples: Vec<f32>,
    start_fraction: f32,
}

impl Sent {
    /// `clip` at 8 kHz, repeated from `start` (in samples at `sample_rate`) to the end of a recording of `length` samples at 8 kHz.
    pub(super) fn new(clip: &[f32], start: i64, sample_rate: u32, length: usize) -> Self {
        let exact = start as f64 * f64::from(RATE) / f64::from(sample_rate);
        let start = exact.round() as i64;
        let total = LARGEST_LAG as usize + length + SMALLEST_LAG.unsigned_abs() as usize;
        let samples = (0..total as i64)
            .map(|index| {
                let since_start = index - i64::from(LARGEST_LAG) - start;
                if since_start < 0 || clip.is_empty() {
                    0.0
                } else {
                    clip[(since_start % clip.len() as i64) as usize]
                }
            })
            .collect();
        Self {
            samples,
            start_fraction: (exact - exact.round()) as f32,
        }
    }

    /// The part that arrives from sample `at` of the recording on, if it is under way for `lag` samples; nothing where it reaches beyond what is known.
    pub(super) fn arriving(&self, at: i64, lag: i32) -> &[f32] {
        let index = at - i64::from(lag) + i64::from(LARGEST_LAG);
        usize::try_from(index)
            .ok()
            .and_then(|index| self.samples.get(index..))
            .unwrap_or(&[])
    }

    /// What rounding its start to a whole sample at 8 kHz added to every lag, samples.
    pub(super) fn start_fraction(&self) -> f32 {
        self.start_fraction
    }
}

/// For each sample the inverse of the level around it, so that quiet and loud parts weigh the same.
pub(super) fn weights(signal: &[f32]) -> Vec<f32> {
    let floor = (SILENCE * SILENCE).max(power(signal) / 1000.0);
    local_power(signal)
        .into_iter()
        .map(|local| (local + floor).sqrt().recip())
        .collect()
}

/// For each sample 1, or 0 where there is silence around it: a gap tells nothing of how loud a speaker is beside it.
pub(super) fn audible(recording: &[f32]) -> Vec<f32> {
    local_power(recording)
        .into_iter()
        .map(|local| if local > SILENCE * SILENCE { 1.0 } else { 0.0 })
        .collect()
}

/// The signal, as loud everywhere.
pub(super) fn levelled(signal: &[f32]) -> Vec<f32> {
    signal
        .iter()
        .zip(weights(signal))
        .map(|(&sample, weight)| sample * weight)
        .collect()
}

/// For each sample the mean square of [`LEVEL_WINDOW`] samples around it.
fn local_power(signal: &[f32]) -> Vec<f32> {
    let mut sum: f64 = signal
        .iter()
        .take(LEVEL_WINDOW / 2)
        .map(|&sample| f64::from(sample * sample))
        .sum();
    (0..signal.len())
        .map(|n| {
            if let Some(&entering) = signal.get(n + LEVEL_WINDOW / 2) {
                sum += f64::from(entering * entering);
            }
            if n > LEVEL_WINDOW / 2 {
                let leaving = signal[n - LEVEL_WINDOW / 2 - 1];
                sum -= f64::from(leaving * leaving);
            }
            (sum.max(0.0) as f32) / LEVEL_WINDOW as f32
        })
        .collect()
}

/// Mean square; 0 for no samples.
pub(super) fn power(signal: &[f32]) -> f32 {
    dot(signal, signal) / signal.len().max(1) as f32
}

/// Inner product over the shorter length.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let length = a.len().min(b.len());
    let (a, b) = (&a[..length], &b[..length]);
    let mut sums = [0.0; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let whole = length / LANES * LANES;
    let rest: f32 = a[whole..].iter().zip(&b[whole..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

fn at_rate(samples: &[i16], sample_rate: u32) -> Vec<f32> {
    convert_f32(
        samples.iter().map(|&sample| f32::from(sample)).collect(),
        sample_rate,
        RATE,
    )
}

/// Fourth-order Butterworth high-pass at 300 Hz: the telephone band's lower edge, so that its absence costs no level.
fn high_pass(signal: &mut [f32]) {
    for q in [0.541_196_1, 1.306_563] {
        biquad_high_pass(signal, 300.0, q);
    }
}

fn biquad_high_pass(signal: &mut [f32], corner_hz: f64, q: f64) {
    let w = std::f64::consts::TAU * corner_hz / f64::from(RATE);
    let alpha = w.sin() / (2.0 * q);
    let a0 = 1.0 + alpha;
    let b = (1.0 + w.cos()) / 2.0 / a0;
    let (a1, a2) = (-2.0 * w.cos() / a0, (1.0 - alpha) / a0);
    let (mut s1, mut s2) = (0.0, 0.0);
    for sample in signal {
        let x = f64::from(*sample);
        let y = b * x + s1;
        s1 = -2.0 * b * x - a1 * y + s2;
        s2 = b * x - a2 * y;
        *sample = y as f32;
    }
}
