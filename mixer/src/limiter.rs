//! A peak limiter that adds no delay.
//!
//! A frame is looked at in twenty sub-frames of 1 ms before any of it is written, so the gain is already down when
//! a peak comes; the gain is continuous, also from frame to frame. A peak within the first
//! millisecond of a frame has no earlier sample to prepare on: there the gain falls on a straight line
//! that ends where the first sample would exceed 16 bits. No sample is ever clipped.
//!
//! After the last peak the gain is held for 40 ms, so that low tones and the beats of voices do not modulate it, and
//! then grows by 50 dB a second: after two equal voices it is back in 0.16 s, after ten in 0.44 s. While the gain is 1 and
//! the input fits 16 bits, output equals input bit for bit.

use crate::{samples, vector};

/// The state of one limiter: its gain, and how long it is still held. 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limiter {
    gain: f32,
    hold: u8,
}

impl Limiter {
    /// A limiter at rest.
    pub const fn new() -> Self {
        Self { gain: 1.0, hold: 0 }
    }

    /// The gain at the end of the last frame, above 0 and at most 1.
    pub const fn gain(&self) -> f32 {
        self.gain
    }

    /// Writes the frame `mix` of 20 ms as 16-bit samples into `out`.
    ///
    /// Both have the length of a frame at one of the four rates; other lengths panic in debug builds and may leave samples
    /// unwritten otherwise.
    pub fn process(&mut self, mix: &[i32], out: &mut [i16]) {
        debug_assert!(mix.len() == out.len() && mix.len().is_multiple_of(SUB_FRAMES * LANES));
        vector::limit(self, mix, out);
    }

    /// Lets 20 ms of silence pass.
    pub fn pass_silence(&mut self) {
        for _ in 0..SUB_FRAMES {
            self.gain = self.next_gain(1.0);
        }
    }

    /// [`Self::process`], for `vector.rs` to compile.
    #[inline(always)]
    pub(crate) fn process_inline(&mut self, mix: &[i32], out: &mut [i16]) {
        if self.gain == 1.0 && samples::narrow(mix, out) {
            return;
        }
        let step = (mix.len() / SUB_FRAMES).max(1);
        let mut peaks = [0; CEILINGS];
        for (peak, part) in peaks.iter_mut().zip(mix.chunks_exact(step)) {
            *peak = samples::peak(part);
        }
        let mut ceilings = [1.0_f32; CEILINGS];
        for (ceiling, &peak) in ceilings.iter_mut().zip(&peaks) {
            *ceiling = highest_gain(peak);
        }
        let first = self.gain;
        let mut gains = [first; SUB_FRAMES + 1];
        for n in 0..SUB_FRAMES {
            self.gain = self.next_gain(ceilings[n].min(ceilings[n + 1]));
            gains[n + 1] = self.gain;
        }
        let parts = mix.chunks_exact(step).zip(out.chunks_exact_mut(step));
        let slopes: [f32; SUB_FRAMES] =
            std::array::from_fn(|n| (gains[n + 1] - gains[n]) / step as f32);
        for ((&from, &slope), (part, out)) in gains.iter().zip(&slopes).zip(parts) {
            glide(from, slope, part, out);
        }
        // Only before the first can the gain be too high already.
        if first > ceilings[0] {
            fall(first, gains[1], &mix[..step], &mut out[..step]);
        }
    }

    /// The gain one sub-frame later, at most `ceiling`.
    #[inline(always)]
    fn next_gain(&mut self, ceiling: f32) -> f32 {
        if ceiling < 1.0 && ceiling <= self.gain * TOUCHING {
            self.hold = HOLD_SUB_FRAMES;
            self.gain.min(ceiling)
        } else if self.hold > 0 {
            self.hold -= 1;
            self.gain.min(ceiling)
        } else {
            (self.gain * RELEASE).min(ceiling)
        }
    }
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new()
    }
}

/// Sub-frames in a frame: 1 ms each.
const SUB_FRAMES: usize = 20;
/// Sub-frames are whole groups of so many samples at every rate.
const LANES: usize = 8;
/// Ceilings of the sub-frames, one of 1 for what comes after the frame, and up to whole vectors.
const CEILINGS: usize = 24;
/// How long the gain stays after the last peak, in sub-frames.
const HOLD_SUB_FRAMES: u8 = 40;
/// Growth of the gain in a sub-frame of 1 ms: 0.05 dB.
const RELEASE: f32 = 1.005_773;
/// Peaks this near the ceiling renew the hold: those of one steady tone differ by sampling phase.
const TOUCHING: f32 = 1.02;

/// The highest gain at which a peak (as [`samples::peak`] counts) fits 16 bits.
#[inline(always)]
fn highest_gain(peak: i32) -> f32 {
    if peak <= 32_767 {
        1.0
    } else {
        32_767.0 / (peak as f32 + 1.0)
    }
}

/// Multiplies by a gain that moves by `slope` a sample. What is multiplied by 1 is exact.
#[inline(always)]
fn glide(from: f32, slope: f32, part: &[i32], out: &mut [i16]) {
    let offsets: [f32; LANES] = std::array::from_fn(|lane| slope * (lane + 1) as f32);
    let groups = part
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(out.as_chunks_mut::<LANES>().0);
    for (n, (part, out)) in groups.enumerate() {
        let base = from + slope * (n * LANES) as f32;
        for lane in 0..LANES {
            out[lane] = fitted(part[lane], base + offsets[lane]);
        }
    }
}

/// A sample times a gain that makes it fit; the clamp only catches the rounding of extreme ratios.
#[inline(always)]
fn fitted(sample: i32, gain: f32) -> i16 {
    /// 1.5 * 2^23: added to it, a small number leaves its nearest integer in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    let value = sample as f32 * gain;
    let value = if value > 32_767.0 { 32_767.0 } else { value };
    let value = if value < -32_768.0 { -32_768.0 } else { value };
    (value + ROUNDER).to_bits() as i16
}

/// Goes from gain `from` to the lower `to` as gently as the samples permit: the steepest of the lines
/// that meet each sample where it begins to fit, and at the latest at the end.
fn fall(from: f32, to: f32, part: &[i32], out: &mut [i16]) {
    let mut slope = (from - to) / part.len() as f32;
    for (n, &sample) in part.iter().enumerate() {
        let needed = highest_gain(sample ^ (sample >> 31));
        slope = slope.max((from - needed) / (n + 1) as f32);
    }
    for (n, (out, &sample)) in out.iter_mut().zip(part).enumerate() {
        let gain = (from - slope * (n + 1) as f32).max(to);
        *out = fitted(sample, gain);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use realfft::RealFftPlanner;
    use std::f64::consts::TAU;

    #[test]
    fn whatever_fits_passes_bit_for_bit() {
        let mix: Vec<i32> = (0..320)
            .map(|n| if n % 2 == 0 { 32_767 } else { -32_768 })
            .collect();
        let mut out = vec![0; 320];
        let mut limiter = Limiter::new();
        limiter.process(&mix, &mut out);
        assert!(mix.iter().zip(&out).all(|(&a, &b)| a == i32::from(b)));
        assert_eq!(limiter, Limiter::new());
    }

    #[test]
    fn a_frame_that_begins_beyond_full_scale_is_not_clipped() {
        for start in [0, 5, 20, 40] {
            let mix: Vec<i32> = (0..960)
                .map(|n| {
                    if n < start {
                        500
                    } else {
                        50_000 + (n % 48) * 1_000
                    }
                })
                .collect();
            let mut out = vec![0; 960];
            Limiter::new().process(&mix, &mut out);
            let gains: Vec<f64> = mix
                .iter()
                .zip(&out)
                .map(|(&a, &b)| f64::from(b) / f64::from(a))
                .collect();
            assert!(
                gains.windows(2).all(|w| w[1] <= w[0] + 2e-3),
                "only falls, from {start} on"
            );
            let at_the_edge = out.iter().filter(|&&s| s >= 32_766).count();
            assert!(
                at_the_edge <= 20 + 1,
                "one peak a millisecond: {at_the_edge}"
            );
        }
    }

    #[test]
    fn steady_tones_beyond_full_scale_stay_pure() {
        for (hz, excess) in [(1_000.0, 4.0), (200.0, 10.0), (50.0, 3.0)] {
            let out = limit(16_000, 100, |t| 32_767.0 * excess * (TAU * hz * t).sin());
            let purity = power_outside(&out[16_000..], 16_000, &[hz]);
            assert!(purity < -70.0, "{hz} Hz: {purity} dB");
            let peak = out[16_000..]
                .iter()
                .map(|s| s.unsigned_abs())
                .max()
                .unwrap();
            assert!((32_000..=32_767).contains(&peak), "{hz} Hz: {peak}");
        }
    }

    #[test]
    fn ten_tones_of_full_scale_keep_their_spectrum() {
        let hz = [
            310.0, 450.0, 610.0, 790.0, 1_030.0, 1_270.0, 1_490.0, 1_810.0, 2_330.0, 3_070.0,
        ];
        let out = limit(8_000, 100, |t| {
            hz.iter()
                .enumerate()
                .map(|(n, hz)| 32_767.0 * (TAU * hz * t + n as f64).sin())
                .sum()
        });
        let dirt = power_outside(&out[8_000..], 8_000, &hz);
        assert!(dirt < -40.0, "{dirt} dB");
    }

    #[test]
    fn quiet_voice_is_back_soon_after_the_loud_ones_stop() {
        let mut limiter = Limiter::new();
        let mut out = [0; 160];
        for _ in 0..50 {
            limiter.process(&[327_670; 160], &mut out);
        }
        assert!(limiter.gain() < 0.101);
        for _ in 0..12 {
            limiter.process(&[1_000; 160], &mut out);
        }
        assert!(out[159] > 300, "10 dB down after 240 ms: {}", out[159]);
        for _ in 0..11 {
            limiter.process(&[1_000; 160], &mut out);
        }
        assert_eq!(out, [1_000; 160]);
    }

    #[test]
    fn silence_releases_as_fast_as_sound() {
        let mut a = Limiter { gain: 0.2, hold: 5 };
        let mut b = a;
        for _ in 0..10 {
            a.pass_silence();
            b.process(&[0; 160], &mut [0; 160]);
            assert_eq!(a, b);
        }
    }

    proptest! {
        #[test]
        fn output_is_input_times_one_moving_gain(
            frames in prop::collection::vec((0_u32..=22, any::<u64>()), 1..12),
        ) {
            let mut limiter = Limiter::new();
            let mut out = [0_i16; 160];
            for (bits, seed) in frames {
                let mut state = seed | 1;
                let mix: Vec<i32> = (0..160).map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    ((state >> 33) as i32 - (1 << 30)) >> (30 - bits)
                }).collect();
                limiter.process(&mix, &mut out);
                for (&sample, &limited) in mix.iter().zip(&out) {
                    // Never the other sign, never louder: no wrap.
                    prop_assert!(i64::from(sample) * i64::from(limited) >= 0);
                    prop_assert!(i32::from(limited).abs() <= sample.abs());
                }
                prop_assert!(limiter.gain() > 0.0 && limiter.gain() <= 1.0);
            }
        }
    }

    /// `frames` of a signal given by its time in seconds, limited.
    fn limit(hz: usize, frames: usize, signal: impl Fn(f64) -> f64) -> Vec<i16> {
        let mut limiter = Limiter::new();
        let len = hz / 50;
        let mut out = vec![0; frames * len];
        for (n, out) in out.chunks_exact_mut(len).enumerate() {
            let mix: Vec<i32> = (0..len)
                .map(|m| signal((n * len + m) as f64 / hz as f64) as i32)
                .collect();
            limiter.process(&mix, out);
        }
        out
    }

    /// Power outside the tones, in dB relative to all. The tones are whole multiples of 1 Hz and a window of 1 s is looked at.
    fn power_outside(samples: &[i16], hz: usize, tones: &[f64]) -> f64 {
        let mut input: Vec<f64> = samples[..hz].iter().map(|&s| f64::from(s)).collect();
        let fft = RealFftPlanner::new().plan_fft_forward(hz);
        let mut spectrum = fft.make_output_vec();
        fft.process(&mut input, &mut spectrum).unwrap();
        let all: f64 = spectrum.iter().map(|c| c.norm_sqr()).sum();
        let inside: f64 = tones
            .iter()
            .flat_map(|&tone| tone as usize - 2..=tone as usize + 2)
            .map(|bin| spectrum[bin].norm_sqr())
            .sum();
        10.0 * ((all - inside) / all).log10()
    }
}
