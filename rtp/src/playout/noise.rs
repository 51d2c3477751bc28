//! Comfort noise, RFC 3389: white noise of the level that the sender measured, through an all-pole lattice filter
//! with the reflection coefficients that it sent.
//!
//! The coefficients describe a spectrum sampled at the RTP clock. Where the audio runs at another rate (G.722) only
//! the level is used.

/// Highest filter order used; more coefficients than that are ignored (RFC 3389 section 3.3 leaves the order open).
const ORDER: usize = 12;
/// The level approaches a new one by this share a sample at 8 kHz: a time constant of 8 ms.
const APPROACH: f32 = 1.0 / 64.0;

#[derive(Debug)]
pub(super) struct ComfortNoise {
    reflection: [f32; ORDER],
    state: [f32; ORDER],
    order: usize,
    /// Factor of the excitation, and where it is going.
    gain: f32,
    wanted: f32,
    approach: f32,
    random: u32,
}

impl ComfortNoise {
    pub(super) fn new(per_ms: usize) -> Self {
        Self {
            reflection: [0.0; ORDER],
            state: [0.0; ORDER],
            order: 0,
            gain: 0.0,
            wanted: 0.0,
            approach: APPROACH * 8.0 / per_ms as f32,
            random: 0x2545_F491,
        }
    }

    /// Takes the parameters of a payload: a level in -dBov, then reflection coefficients. With `at_once` the level
    /// is there from the first sample; else it glides.
    pub(super) fn set(&mut self, payload: &[u8], with_spectrum: bool, at_once: bool) {
        let Some((&level, coefficients)) = payload.split_first() else {
            return;
        };
        self.order = if with_spectrum {
            coefficients.len().min(ORDER)
        } else {
            0
        };
        let mut loss = 1.0f32;
        for (k, &byte) in self.reflection.iter_mut().zip(&coefficients[..self.order]) {
            // RFC 3389 section 3.2; 255 is not used there, and would make the filter unstable.
            *k = 258.0 * (f32::from(byte.min(254)) - 127.0) / 32_768.0;
            loss *= 1.0 - *k * *k;
        }
        // Uniform noise on [-1, 1) has the power 1/3; the filter adds 1/loss.
        let rms = 32_768.0 * 10f32.powf(-f32::from(level & 0x7F) / 20.0);
        self.wanted = rms * (3.0 * loss).sqrt();
        if at_once {
            self.gain = self.wanted;
            self.state = [0.0; ORDER];
        }
    }

    /// Fills `out` with noise.
    pub(super) fn fill(&mut self, out: &mut [i16]) {
        for sample in out {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            self.gain += (self.wanted - self.gain) * self.approach;
            let mut forward = self.random as i32 as f32 / 2_147_483_648.0 * self.gain;
            for n in (0..self.order).rev() {
                forward -= self.reflection[n] * self.state[n];
                let backward = self.state[n] + self.reflection[n] * forward;
                if n + 1 < self.order {
                    self.state[n + 1] = backward;
                }
            }
            if self.order > 0 {
                self.state[0] = forward;
            }
            *sample = forward.clamp(-32_768.0, 32_767.0) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playout::pitch::rms;

    fn level_of(payload: &[u8]) -> f32 {
        let mut noise = ComfortNoise::new(8);
        noise.set(payload, true, true);
        let mut out = vec![0; 80_000];
        noise.fill(&mut out);
        20.0 * (rms(&out) / 32_768.0).log10()
    }

    #[test]
    fn noise_has_the_level_that_was_sent() {
        for level in [20u8, 40, 60] {
            let measured = level_of(&[level]);
            assert!(
                (measured + f32::from(level)).abs() < 0.5,
                "{level} {measured}"
            );
        }
    }

    #[test]
    fn the_spectrum_colours_the_noise_but_not_its_level() {
        // A strong first coefficient: low-pass for k < 0.
        for byte in [20u8, 235] {
            let measured = level_of(&[40, byte, 140, 120]);
            assert!((measured + 40.0).abs() < 1.0, "{byte} {measured}");
            let mut noise = ComfortNoise::new(8);
            noise.set(&[30, byte], true, true);
            let mut out = vec![0; 20_000];
            noise.fill(&mut out);
            let neighbours: i64 = out
                .windows(2)
                .map(|w| i64::from(w[0]) * i64::from(w[1]))
                .sum();
            assert_eq!(neighbours > 0, byte < 127);
        }
    }

    #[test]
    fn any_payload_gives_a_bounded_sound() {
        for byte in [0u8, 255] {
            let mut noise = ComfortNoise::new(48);
            noise.set(
                &[
                    0, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte, byte,
                    byte, byte,
                ],
                true,
                true,
            );
            let mut out = vec![0; 48_000];
            noise.fill(&mut out);
            assert!(noise.state.iter().all(|s| s.is_finite()));
        }
    }
}
