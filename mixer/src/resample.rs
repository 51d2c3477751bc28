//! Resampling between 8, 16, 24 and 48 kHz: linear-phase polyphase filters with fixed ratios.
//!
//! Pass-band flat within 0.1 dB to 3.4 kHz (8 kHz side), 7 kHz (16 kHz side) and in proportion above;
//! stop-band at least 60 dB below. The delay is [`delay_samples`]: exactly 16 samples of the lower of the two rates,
//! which is 2 ms with 8 kHz, 1 ms with 16 kHz, 0.67 ms with 24 kHz.
//!
//! The mixer resamples by itself; [`Resampler`] is for sounds that are prepared elsewhere, such as prompts.

use std::fmt;
use std::sync::OnceLock;

use crate::rate::{MAX_FRAME, SampleRate};
use crate::{samples, vector};

/// Delay of a conversion, in samples of the lower of the two rates. None between equal rates.
pub const fn delay_samples(from: SampleRate, to: SampleRate) -> usize {
    if from.index() == to.index() {
        0
    } else {
        HALF_TAPS
    }
}

/// A stream of frames converted from one rate to another.
pub struct Resampler {
    from: SampleRate,
    to: SampleRate,
    bank: &'static Bank,
    wide: Box<[f32; WINDOW]>,
    scratch: Box<[f32; WINDOW]>,
    converted: Box<[i32]>,
}

impl Resampler {
    /// A converter whose past is silence. Allocates; nothing else here does.
    pub fn new(from: SampleRate, to: SampleRate) -> Self {
        Self {
            from,
            to,
            bank: Bank::get(),
            wide: Box::new([0.0; WINDOW]),
            scratch: Box::new([0.0; WINDOW]),
            converted: vec![0; MAX_FRAME].into(),
        }
    }

    /// Converts the next 20 ms: `frame` at the first rate into `out` at the second.
    ///
    /// Overshoot beyond 16 bits is clamped. Slices of other lengths are a mistake of the caller: they
    /// panic in debug builds and write silence otherwise.
    pub fn process(&mut self, frame: &[i16], out: &mut [i16]) {
        let fits = frame.len() == self.from.frame_len() && out.len() == self.to.frame_len();
        debug_assert!(fits, "a frame is 20 ms at its rate");
        if !fits {
            out.fill(0);
            return;
        }
        let Some(filter) = self.bank.filter(self.from, self.to) else {
            out.copy_from_slice(frame);
            return;
        };
        widen(
            frame.iter().map(|&s| f32::from(s)),
            &mut self.wide[filter.taps()..],
        );
        let converted = &mut self.converted[..out.len()];
        let window = &self.wide[..filter.taps() + frame.len()];
        filter.run(window, &mut self.scratch, converted);
        for (out, &sample) in out.iter_mut().zip(&*converted) {
            *out = sample.clamp(-32_768, 32_767) as i16;
        }
        self.wide
            .copy_within(frame.len()..frame.len() + filter.taps(), 0);
    }
}

impl fmt::Debug for Resampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resampler")
            .field("from", &self.from)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// The most samples of the past that a conversion looks at.
pub(crate) const MAX_PAST: usize = 2 * HALF_TAPS * 6;
/// Past and frame together; also enough to deal them out to streams.
pub(crate) const WINDOW: usize = MAX_PAST + MAX_FRAME;

/// All filters, computed once per process.
pub(crate) struct Bank {
    filters: [[Option<Filter>; 4]; 4],
}

impl Bank {
    /// The bank; the first call computes it and allocates.
    pub(crate) fn get() -> &'static Self {
        static BANK: OnceLock<Bank> = OnceLock::new();
        BANK.get_or_init(|| Self {
            filters: SampleRate::ALL.map(|from| SampleRate::ALL.map(|to| Filter::new(from, to))),
        })
    }

    /// The filter between two rates, `None` if they are equal.
    pub(crate) fn filter(&self, from: SampleRate, to: SampleRate) -> Option<&Filter> {
        self.filters[from.index()][to.index()].as_ref()
    }
}

/// A polyphase filter for the ratio `up / down`.
pub(crate) struct Filter {
    up: usize,
    down: usize,
    taps: usize,
    /// `up` phases of `taps` coefficients, newest sample last.
    phases: Box<[f32]>,
}

impl Filter {
    fn new(from: SampleRate, to: SampleRate) -> Option<Self> {
        if from == to {
            return None;
        }
        let shared = gcd(from.hz(), to.hz());
        let (up, down) = ((to.hz() / shared) as usize, (from.hz() / shared) as usize);
        let length = 2 * HALF_TAPS * up.max(down);
        let taps = length / up;
        let prototype = low_pass(length, up.max(down));
        let mut phases = vec![0.0; up * taps];
        for (phase, coefficients) in phases.chunks_exact_mut(taps).enumerate() {
            let sum: f64 = prototype.iter().skip(phase).step_by(up).sum();
            for (n, coefficient) in coefficients.iter_mut().rev().enumerate() {
                // Each phase passes a constant unchanged, so no tone appears at multiples of the lower rate.
                *coefficient = (prototype[phase + n * up] / sum) as f32;
            }
        }
        Some(Self {
            up,
            down,
            taps,
            phases: phases.into(),
        })
    }

    /// Samples of the past that [`Self::run`] wants in front of the frame.
    pub(crate) const fn taps(&self) -> usize {
        self.taps
    }

    /// Converts. `window` is [`Self::taps`] samples of the past and then the frame; `scratch` is overwritten.
    pub(crate) fn run(&self, window: &[f32], scratch: &mut [f32; WINDOW], out: &mut [i32]) {
        vector::resample(self, window, scratch, out);
    }

    /// [`Self::run`], for `vector.rs` to compile.
    ///
    /// Every `up`-th output uses the same coefficients, on inputs that lie `down` apart. With the input
    /// dealt out to `down` streams, blocks of such outputs are sums of contiguous slices times one
    /// coefficient each, which vectorises without any horizontal sum.
    #[inline(always)]
    pub(crate) fn run_inline(&self, window: &[f32], scratch: &mut [f32; WINDOW], out: &mut [i32]) {
        let (up, down) = (self.up, self.down);
        let stride = window.len().div_ceil(down);
        let streams = if down == 1 {
            window
        } else {
            for (n, group) in window.chunks(down).enumerate() {
                for (stream, &sample) in group.iter().enumerate() {
                    scratch[stream * stride + n] = sample;
                }
            }
            &scratch[..]
        };
        for first in 0..up {
            let coefficients = &self.phases[first * down % up * self.taps..][..self.taps];
            let oldest = first * down / up + 1;
            for (block, out) in out.chunks_exact_mut(BLOCK * up).enumerate() {
                let (mut stream, mut n) = (oldest % down, oldest / down + block * BLOCK);
                let mut sums = [0.0_f32; BLOCK];
                for &coefficient in coefficients {
                    let inputs = &streams[stream * stride + n..][..BLOCK];
                    for (sum, input) in sums.iter_mut().zip(inputs) {
                        *sum += coefficient * input;
                    }
                    stream += 1;
                    if stream == down {
                        (stream, n) = (0, n + 1);
                    }
                }
                for (out, sum) in out.iter_mut().skip(first).step_by(up).zip(sums) {
                    *out = samples::round(sum);
                }
            }
        }
    }
}

/// Writes samples as `f32`.
pub(crate) fn widen(samples: impl Iterator<Item = f32>, out: &mut [f32]) {
    for (out, sample) in out.iter_mut().zip(samples) {
        *out = sample;
    }
}

/// Filter length on each side of its centre, in samples of the lower rate.
const HALF_TAPS: usize = 16;
/// Outputs summed at a time; every conversion yields a multiple of it for each phase.
const BLOCK: usize = 32;
/// Kaiser window parameter: about 66 dB.
const BETA: f64 = 6.2;
/// Centre of the transition, relative to half the lower rate.
const CUTOFF: f64 = 0.985;

/// Kaiser-windowed sinc of `length` coefficients around `length / 2`; the first is 0, so that the rest is symmetric.
fn low_pass(length: usize, factor: usize) -> Vec<f64> {
    let centre = (length / 2) as f64;
    (0..length)
        .map(|n| {
            let distance = n as f64 - centre;
            let window = bessel_i0(BETA * (1.0 - (distance / centre).powi(2)).max(0.0).sqrt());
            let x = std::f64::consts::PI * CUTOFF * distance / factor as f64;
            let sinc = if distance == 0.0 { 1.0 } else { x.sin() / x };
            if n == 0 { 0.0 } else { window * sinc }
        })
        .collect()
}

/// Modified Bessel function of the first kind, order 0.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..40 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
