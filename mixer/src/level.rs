//! Levels in dBov: decibels relative to the overload point of 16-bit samples (RFC 6464, section 3).
//!
//! 0 dBov is a square wave of full scale; a sine of full scale is -3.01 dBov. Silence, and
//! anything weaker, is [`SILENCE_DBOV`].

use crate::vector;

/// The level of silence, and the lowest that is reported.
pub const SILENCE_DBOV: f32 = -127.0;

/// The level of a frame, in dBov. An empty frame is silent.
pub fn of_frame(frame: &[i16]) -> f32 {
    from_mean_square(vector::mean_square(frame))
}

/// A mean square of samples, as dBov.
pub(crate) fn from_mean_square(mean_square: f32) -> f32 {
    if mean_square > 0.0 {
        (10.0 * (mean_square / FULL_SCALE).log10()).clamp(SILENCE_DBOV, 0.0)
    } else {
        SILENCE_DBOV
    }
}

/// A level in dBov, as the mean square of samples.
pub(crate) fn to_mean_square(dbov: f32) -> f32 {
    FULL_SCALE * 10_f32.powf(dbov / 10.0)
}

/// A gain in dB, as a factor of amplitude.
pub(crate) fn db_to_factor(db: f32) -> f32 {
    10_f32.powf(db / 20.0)
}

/// Mean square of 0 dBov.
const FULL_SCALE: f32 = 32_768.0 * 32_768.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn square_wave_of_full_scale_is_the_overload_point() {
        assert!(of_frame(&[i16::MIN; 160]).abs() < 1e-4);
        assert_eq!(of_frame(&[0; 160]), SILENCE_DBOV);
        assert_eq!(of_frame(&[]), SILENCE_DBOV);
    }

    #[test]
    fn sine_of_full_scale_is_three_decibels_below() {
        let sine: Vec<i16> = (0..160)
            .map(|n| ((n as f32 * std::f32::consts::TAU / 16.0).sin() * 32_767.0) as i16)
            .collect();
        assert!((of_frame(&sine) + 3.01).abs() < 0.01);
    }

    #[test]
    fn level_survives_the_way_there_and_back() {
        for dbov in [-90.0, -50.0, -26.0, -3.0_f32] {
            assert!((from_mean_square(to_mean_square(dbov)) - dbov).abs() < 1e-3);
        }
    }
}
