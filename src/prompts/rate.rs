//! Changing the sampling rate of whole clips, at load time.

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// The clip at another rate, in time with the original (linear phase, the filter's delay taken off); overshoots saturate.
/// Frequencies up to about 0.48 of the lower rate are kept.
///
/// # Panics
/// If a rate is 0.
pub fn convert(clip: &[i16], from_hz: u32, to_hz: u32) -> Vec<i16> {
    assert!(from_hz > 0 && to_hz > 0, "a sampling rate of 0 Hz");
    if from_hz == to_hz || clip.is_empty() {
        return clip.to_vec();
    }
    let linear: Vec<f32> = clip.iter().map(|&sample| f32::from(sample)).collect();
    convert_f32(linear, from_hz, to_hz)
        .into_iter()
        .map(|sample| sample.round() as i16) // `as` saturates
        .collect()
}

/// [`convert`] for samples as floating point, of any scale.
pub(crate) fn convert_f32(clip: Vec<f32>, from_hz: u32, to_hz: u32) -> Vec<f32> {
    if from_hz == to_hz || clip.is_empty() {
        return clip;
    }
    let length = clip.len();
    // The resampler works in multiples of `step` samples; half a block is its delay and must be whole samples to be taken off.
    let step = (from_hz / greatest_common_divisor(from_hz, to_hz)) as usize;
    let block = step * (1024 / step).max(1).next_multiple_of(2);
    let window = WindowFunction::BlackmanHarris2;
    let mut resampler = Fft::<f32>::new_custom(
        from_hz as usize,
        to_hz as usize,
        block,
        1,
        1,
        window,
        FixedSync::Both,
    )
    .expect("rates and chunk are not zero");
    let input = InterleavedOwned::new_from(clip, 1, length).expect("one channel of this length");
    resampler
        .process_all(&input, length, None)
        .expect("one channel of this length")
        .take_data()
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: f64, rate: u32, seconds: f64) -> Vec<i16> {
        (0..(f64::from(rate) * seconds) as usize)
            .map(|n| {
                (8000.0 * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin()).round()
                    as i16
            })
            .collect()
    }

    #[test]
    fn a_tone_keeps_its_level_and_its_phase_at_every_rate() {
        for from in [8000, 11025, 16000, 24000, 44100, 48000] {
            for to in [8000, 16000, 24000, 48000] {
                let converted = convert(&tone(700.0, from, 0.48), from, to);
                let expected = tone(700.0, to, 0.48);
                assert!(
                    converted.len().abs_diff(expected.len()) <= 1,
                    "{from} to {to}"
                );
                let middle = expected.len() / 4..expected.len() * 3 / 4;
                let worst = middle
                    .map(|n| (i32::from(converted[n]) - i32::from(expected[n])).abs())
                    .max()
                    .unwrap();
                assert!(worst <= 16, "{from} to {to}: off by {worst}");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_carry_is_removed() {
        let converted = convert(&tone(5000.0, 16000, 0.5), 16000, 8000);
        let loudest = converted[1000..3000]
            .iter()
            .map(|sample| sample.unsigned_abs())
            .max()
            .unwrap();
        assert!(loudest < 8, "an alias of {loudest}");
    }

    #[test]
    fn nothing_stays_nothing() {
        assert!(convert(&[], 8000, 48000).is_empty());
    }

    #[test]
    fn full_scale_saturates_instead_of_wrapping() {
        let square: Vec<i16> = (0..1600)
            .map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN })
            .collect();
        for (n, &sample) in convert(&square, 8000, 16000)
            .iter()
            .enumerate()
            .skip(1)
            .step_by(80)
            .skip(1)
        {
            let expected = square[n / 2];
            assert!(
                i32::from(sample) * i32::from(expected) >= 0,
                "sample {n} wrapped to {sample}"
            );
        }
    }
}
