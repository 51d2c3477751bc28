//! Concealment for formats that have none of their own: the last pitch period goes on, and fades out.
//!
//! A voiced past is continued periodically at the lag where it best resembles itself; an unvoiced one by pieces of
//! itself at changing lags, lest it should buzz. The seam is bent so that no step is heard.

use super::pitch::{self, Towards};
use super::staging::Staging;

/// From this likeness on the past is voiced.
const VOICED: f32 = 0.6;
/// Full level up to the first, silence from the second on, ms.
const VOICED_FADE: (usize, usize) = (20, 80);
const UNVOICED_FADE: (usize, usize) = (10, 60);
/// Length of the bent seam and of an unvoiced piece, ms.
const SEAM: usize = 2;
const PIECE: usize = 5;

/// Samples of the past that [`Concealer`] looks at.
pub(super) const fn history(per_ms: usize) -> usize {
    pitch::longest(per_ms) + pitch::window(per_ms) + 5 * per_ms
}

#[derive(Debug)]
pub(super) struct Concealer {
    per_ms: usize,
    /// Samples made since the loss began; 0: no loss.
    run: usize,
    lag: usize,
    voiced: bool,
    /// Samples left of the piece (unvoiced) and of the seam, and the step that the seam bends.
    piece_left: usize,
    seam_left: usize,
    step: f32,
    random: u32,
}

impl Concealer {
    pub(super) fn new(per_ms: usize) -> Self {
        Self {
            per_ms,
            run: 0,
            lag: 1,
            voiced: false,
            piece_left: 0,
            seam_left: 0,
            step: 0.0,
            random: 0x9E37_79B9,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.run > 0
    }

    /// Whether all that is to come is silence.
    pub(super) fn is_exhausted(&self) -> bool {
        self.run >= self.fade().1
    }

    /// Audio has returned.
    pub(super) fn stop(&mut self) {
        self.run = 0;
    }

    /// Continues the staged samples by up to `count`; returns how many.
    pub(super) fn extend(&mut self, staging: &mut Staging, count: usize) -> usize {
        let count = staging.spare(count).len();
        if staging.is_zero() || (self.run > 0 && self.is_exhausted()) {
            self.run += count;
            return staging.push_zeros(count);
        }
        staging.push_zeros(count);
        let (samples, _) = staging.all_mut();
        let start = samples.len() - count;
        if self.run == 0 {
            self.begin(&samples[..start]);
        }
        let (hold, end) = self.fade();
        let level = |n: isize| -> f32 {
            if n <= hold as isize {
                1.0
            } else {
                ((end as isize - n) as f32 / (end - hold) as f32).max(0.0)
            }
        };
        for n in start..start + count {
            if !self.voiced && self.piece_left == 0 {
                self.next_piece(&samples[..n]);
            }
            self.piece_left = self.piece_left.saturating_sub(1);
            let mut sample = f32::from(samples[n - self.lag]);
            if self.seam_left > 0 {
                sample += self.step * self.seam_left as f32 / (SEAM * self.per_ms) as f32;
                self.seam_left -= 1;
            }
            // What is copied has faded already by as much as its own level says.
            let run = self.run as isize;
            let past = level(run - self.lag as isize);
            let factor = if past > 0.0 { level(run) / past } else { 0.0 };
            samples[n] = (sample * factor).clamp(-32_768.0, 32_767.0) as i16;
            self.run += 1;
        }
        count
    }

    fn fade(&self) -> (usize, usize) {
        let (hold, end) = if self.voiced {
            VOICED_FADE
        } else {
            UNVOICED_FADE
        };
        (hold * self.per_ms, end * self.per_ms)
    }

    fn begin(&mut self, past: &[i16]) {
        let at = past.len() - pitch::window(self.per_ms);
        let found = pitch::search(past, at, self.per_ms, Towards::Past);
        self.voiced = found.likeness >= VOICED;
        self.lag = found.lag;
        self.piece_left = 0;
        self.bend_seam(past);
    }

    /// Another lag, at random between one third of the longest and the longest.
    fn next_piece(&mut self, past: &[i16]) {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        let longest = pitch::longest(self.per_ms);
        let shortest = longest / 3;
        self.lag = shortest + self.random as usize % (longest - shortest);
        self.piece_left = PIECE * self.per_ms;
        self.bend_seam(past);
    }

    fn bend_seam(&mut self, past: &[i16]) {
        let last = past.len() - 1;
        self.step = f32::from(past[last]) - f32::from(past[last - self.lag]);
        self.seam_left = SEAM * self.per_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(per_ms: usize, past: impl Fn(usize) -> i16, count: usize) -> (Vec<i16>, Concealer) {
        let history = history(per_ms);
        let mut staging = Staging::new(history, history + count);
        for (n, sample) in staging.spare(history).iter_mut().enumerate() {
            *sample = past(n);
        }
        staging.commit(history);
        staging.advance(history);
        let mut concealer = Concealer::new(per_ms);
        assert_eq!(concealer.extend(&mut staging, count), count);
        let mut out = vec![0; count];
        staging.take(&mut out);
        (out, concealer)
    }

    #[test]
    fn a_tone_goes_on_in_phase_and_fades_to_silence() {
        for per_ms in [8, 16, 24, 48] {
            let tone = |n: usize| {
                (10_000.0 * (std::f32::consts::TAU * 0.4 * n as f32 / per_ms as f32).sin()) as i16
            };
            let (out, concealer) = after(per_ms, tone, 100 * per_ms);
            for (n, sample) in out.iter().enumerate().take(20 * per_ms) {
                assert!(
                    (sample - tone(history(per_ms) + n)).abs() < 30,
                    "{per_ms} {n}"
                );
            }
            assert!(pitch::rms(&out[60 * per_ms..70 * per_ms]) < 2500.0);
            assert!(out[80 * per_ms..].iter().all(|&s| s == 0));
            assert!(concealer.is_exhausted());
        }
    }

    #[test]
    fn noise_keeps_its_level_at_first_and_no_period() {
        let noise = |n: usize| {
            ((n as u32)
                .wrapping_mul(2_654_435_761)
                .rotate_left(7)
                .wrapping_mul(40_503)
                >> 19) as i16
                - 4096
        };
        let (out, _) = after(8, noise, 480);
        let past: Vec<i16> = (0..240).map(noise).collect();
        let ratio = pitch::rms(&out[..80]) / pitch::rms(&past);
        assert!((0.7..1.3).contains(&ratio), "{ratio}");
    }

    #[test]
    fn silence_goes_on_as_silence() {
        let (out, _) = after(8, |_| 0, 320);
        assert!(out.iter().all(|&s| s == 0));
    }
}
