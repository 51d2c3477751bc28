//! The inner loops, written so that the compiler turns them into vector code on every target.
//!
//! They are always inlined, so that each becomes code of its caller's instruction set: `vector.rs` calls them from functions for
//! the widest vectors that the processor has.

/// Adds 16-bit samples to a 32-bit sum.
///
/// Wrapping, so that subtracting what was added is exact under all circumstances.
#[inline(always)]
pub(crate) fn add(sum: &mut [i32], samples: &[i16]) {
    for (sum, &sample) in sum.iter_mut().zip(samples) {
        *sum = sum.wrapping_add(i32::from(sample));
    }
}

/// `difference = sum - samples`, the exact inverse of [`add`].
#[inline(always)]
pub(crate) fn subtract(sum: &[i32], samples: &[i16], difference: &mut [i32]) {
    for ((difference, &sum), &sample) in difference.iter_mut().zip(sum).zip(samples) {
        *difference = sum.wrapping_sub(i32::from(sample));
    }
}

/// Mean square of a frame; 0 of an empty one.
#[inline(always)]
pub(crate) fn mean_square(frame: &[i16]) -> f32 {
    // Two squares of 16-bit samples fit 32 bits without sign; the rest is summed in 64.
    let (pairs, rest) = frame.as_chunks::<2>();
    let square = |sample: i16| (i32::from(sample) * i32::from(sample)) as u32;
    let energy: u64 = pairs
        .iter()
        .map(|&[a, b]| u64::from(square(a) + square(b)))
        .sum::<u64>()
        + rest.iter().map(|&a| u64::from(square(a))).sum::<u64>();
    energy as f32 / frame.len().max(1) as f32
}

/// Writes `mix` as 16 bits if all of it fits, else says `false` and leaves `out` unspecified.
#[inline(always)]
pub(crate) fn narrow(mix: &[i32], out: &mut [i16]) -> bool {
    let mut outside = 0_u32;
    for (out, &sample) in out.iter_mut().zip(mix) {
        outside |= sample.wrapping_add(32_768) as u32;
        // What does not fit is discarded; clamped, it takes one instruction to pack.
        *out = sample.clamp(-32_768, 32_767) as i16;
    }
    outside < 65_536
}

/// The largest distance from zero, counting -32768 as 32767, so that "fits 16 bits" is one comparison.
#[inline(always)]
pub(crate) fn peak(mix: &[i32]) -> i32 {
    let distance = |sample: i32| sample ^ (sample >> 31);
    let (groups, rest) = mix.as_chunks::<8>();
    let mut peaks = [0; 8];
    for group in groups {
        for (peak, &sample) in peaks.iter_mut().zip(group) {
            *peak = distance(sample).max(*peak);
        }
    }
    let mut peak = rest
        .iter()
        .fold(0, |peak: i32, &sample| peak.max(distance(sample)));
    for lane in peaks {
        peak = peak.max(lane);
    }
    peak
}

/// A gain that moves on a straight line from `from` to `to` over `over` samples and stays there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ramp {
    pub(crate) from: f32,
    pub(crate) to: f32,
    pub(crate) over: usize,
}

impl Ramp {
    /// Multiplies in place, rounding to nearest, saturating at 32 bits.
    #[inline(always)]
    pub(crate) fn apply(self, samples: &mut [i32]) {
        let (moving, steady) = samples.split_at_mut(self.over.min(samples.len()));
        let step = (self.to - self.from) / self.over.max(1) as f32;
        for (n, sample) in moving.iter_mut().enumerate() {
            *sample = scale(*sample, self.from + step * (n as i32 + 1) as f32);
        }
        if self.to != 1.0 {
            for sample in steady {
                *sample = scale(*sample, self.to);
            }
        }
    }
}

/// One sample times a gain, rounded to nearest, saturating at 32 bits.
#[inline(always)]
pub(crate) fn scale(sample: i32, gain: f32) -> i32 {
    round(sample as f32 * gain)
}

/// Nearest integer, halves away from zero, saturating. Faster than `f32::round` where the
/// target has no rounding instruction.
#[inline(always)]
pub(crate) fn round(value: f32) -> i32 {
    (value + 0.5_f32.copysign(value)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_square_of_the_loudest_frame_does_not_overflow() {
        assert_eq!(mean_square(&[i16::MIN; 960]), 32_768.0 * 32_768.0);
        assert_eq!(mean_square(&[3, -4, 5]), 50.0 / 3.0);
        assert_eq!(mean_square(&[]), 0.0);
    }

    #[test]
    fn sixty_five_thousand_full_scale_legs_fit() {
        let mut sum = [0_i32; 20];
        let loudest = [i16::MIN; 20];
        for _ in 0..65_536 {
            add(&mut sum, &loudest);
        }
        assert_eq!(sum, [i32::MIN; 20]);
        let mut without = [0; 20];
        subtract(&sum, &loudest, &mut without);
        assert_eq!(without, [-32_768 * 65_535; 20]);
    }

    #[test]
    fn narrow_tells_the_edge_of_sixteen_bits() {
        let mut out = [0; 2];
        assert!(narrow(&[32_767, -32_768], &mut out));
        assert_eq!(out, [32_767, -32_768]);
        assert!(!narrow(&[32_768, 0], &mut out));
        assert!(!narrow(&[0, -32_769], &mut out));
        assert!(!narrow(&[i32::MAX, i32::MIN], &mut out));
    }

    #[test]
    fn peak_counts_both_signs() {
        assert_eq!(peak(&[5, -7, 2]), 6);
        assert_eq!(peak(&[-32_768]), 32_767);
        assert_eq!(peak(&[i32::MIN]), i32::MAX);
    }

    #[test]
    fn ramp_ends_where_it_is_told_and_stays() {
        let mut samples = [1_000; 8];
        Ramp {
            from: 0.0,
            to: 0.5,
            over: 5,
        }
        .apply(&mut samples);
        assert_eq!(samples, [100, 200, 300, 400, 500, 500, 500, 500]);
    }

    #[test]
    fn rounding_is_symmetric() {
        assert_eq!(
            [round(2.5), round(-2.5), round(2.4), round(-2.4)],
            [3, -3, 2, -2]
        );
        assert_eq!(round(f32::MAX), i32::MAX);
    }
}
