//! The inner loops compiled twice, one of which is chosen at run time: for whatever the target has at least, and on x86-64 for AVX2.
//!
//! There is one source of each, so both compute the same, bit for bit; the tests compare them nevertheless. Choosing costs a
//! load and a branch a frame. The processor is asked once, in [`prepare`].
#![allow(
    unsafe_code,
    reason = "a function for AVX2 may only be called where there is AVX2"
)]

use crate::limiter::Limiter;
use crate::resample::{Filter, WINDOW};
use crate::samples::{self, Ramp};

/// Asks the processor what it has, which takes some microseconds in a virtual machine, so that no tick does.
pub(crate) fn prepare() {
    has_avx2();
}

#[inline(always)]
fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Functions that do what the always inlined `$body` does, in the widest vectors that the processor has.
macro_rules! widest {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)? = $body:path;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name($($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn with_avx2($($argument: $kind),*) $(-> $result)? {
                    $body($($argument),*)
                }
                if has_avx2() {
                    // SAFETY: the processor has AVX2, and the system keeps its registers.
                    return unsafe { with_avx2($($argument),*) };
                }
            }
            $body($($argument),*)
        }
    )*};
}

widest! {
    /// See [`samples::add`].
    add(sum: &mut [i32], samples: &[i16]) = samples::add;
    /// See [`samples::subtract`].
    subtract(sum: &[i32], samples: &[i16], difference: &mut [i32]) = samples::subtract;
    /// See [`samples::mean_square`].
    mean_square(frame: &[i16]) -> f32 = samples::mean_square;
    /// See [`Ramp::apply`].
    ramp(ramp: Ramp, samples: &mut [i32]) = Ramp::apply;
    /// See [`Limiter::process`].
    limit(limiter: &mut Limiter, mix: &[i32], out: &mut [i16]) = Limiter::process_inline;
    /// See [`Filter::run`].
    resample(filter: &Filter, window: &[f32], scratch: &mut [f32; WINDOW], out: &mut [i32]) = Filter::run_inline;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SampleRate;
    use crate::resample::Bank;
    use proptest::prelude::*;

    /// Sums of up to 2 to the power of `bits`, in a number that need not be a multiple of any vector.
    fn sums(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<i32>> {
        (0_u32..=31).prop_flat_map(move |bits| {
            prop::collection::vec(
                any::<i32>().prop_map(move |s| s >> (31 - bits)),
                lengths.clone(),
            )
        })
    }

    fn frames(lengths: std::ops::Range<usize>) -> impl Strategy<Value = Vec<i16>> {
        prop::collection::vec(any::<i16>(), lengths)
    }

    proptest! {
        #[test]
        fn sums_are_the_same_in_wide_vectors(
            sum in sums(0..200),
            samples in frames(0..200),
        ) {
            let (mut wide, mut plain) = (sum.clone(), sum.clone());
            add(&mut wide, &samples);
            samples::add(&mut plain, &samples);
            prop_assert_eq!(&wide, &plain);

            subtract(&sum, &samples, &mut wide);
            samples::subtract(&sum, &samples, &mut plain);
            prop_assert_eq!(wide, plain);
        }

        #[test]
        fn levels_are_the_same_in_wide_vectors(samples in frames(0..1_000)) {
            prop_assert_eq!(mean_square(&samples), samples::mean_square(&samples));
        }

        #[test]
        fn ramps_are_the_same_in_wide_vectors(
            samples in sums(0..200),
            from in 0.0_f32..16.0,
            to in 0.0_f32..16.0,
            over in 0_usize..220,
        ) {
            let ramp_of = Ramp { from, to, over };
            let (mut wide, mut plain) = (samples.clone(), samples);
            ramp(ramp_of, &mut wide);
            ramp_of.apply(&mut plain);
            prop_assert_eq!(wide, plain);
        }

        #[test]
        fn the_limiter_is_the_same_in_wide_vectors(
            rate in prop::sample::select(&SampleRate::ALL[..]),
            mixes in prop::collection::vec(sums(960..961), 1..8),
        ) {
            let (mut wide, mut plain) = (Limiter::new(), Limiter::new());
            let len = rate.frame_len();
            let (mut from_wide, mut from_plain) = (vec![0; len], vec![0; len]);
            for mix in mixes {
                limit(&mut wide, &mix[..len], &mut from_wide);
                plain.process_inline(&mix[..len], &mut from_plain);
                prop_assert_eq!(&from_wide, &from_plain);
                prop_assert_eq!(wide, plain);
            }
        }

        #[test]
        fn resampling_is_the_same_in_wide_vectors(
            from in prop::sample::select(&SampleRate::ALL[..]),
            to in prop::sample::select(&SampleRate::ALL[..]),
            window in prop::collection::vec(-3e9_f32..3e9, WINDOW),
        ) {
            let Some(filter) = Bank::get().filter(from, to) else { return Ok(()) };
            let window = &window[..filter.taps() + from.frame_len()];
            let mut scratch = [0.0; WINDOW];
            let (mut wide, mut plain) = (vec![0; to.frame_len()], vec![0; to.frame_len()]);
            resample(filter, window, &mut scratch, &mut wide);
            filter.run_inline(window, &mut scratch, &mut plain);
            prop_assert_eq!(wide, plain);
        }
    }
}
