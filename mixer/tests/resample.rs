//! Resamplers: response, images, delay, and agreement with an independent implementation.

use std::f64::consts::TAU;

use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};
use unisono_mixer::SampleRate::{self, Hz8000, Hz16000, Hz24000, Hz48000};
use unisono_mixer::resample::{Resampler, delay_samples};

#[test]
fn pass_band_is_flat_and_delay_is_what_it_says() {
    for (from, to) in pairs() {
        let lower = from.min(to);
        let edge = match lower {
            Hz8000 => 3_400.0,
            _ => f64::from(lower.hz()) * 7.0 / 16.0,
        };
        for hz in [100.0, 1_000.0, edge / 2.0, edge] {
            let out = convert(from, to, &sine(from, hz, 10_000.0, 20));
            let delay = delay_samples(from, to) as f64 / f64::from(lower.hz());
            // 0.1 dB of amplitude and the matching error of phase, as one error against the ideal.
            let ideal =
                |n: usize| 10_000.0 * (TAU * hz * (n as f64 / f64::from(to.hz()) - delay)).sin();
            let worst = (out.len() / 4..out.len())
                .map(|n| (f64::from(out[n]) - ideal(n)).abs())
                .fold(0.0, f64::max);
            assert!(worst < 115.0 + 1.0, "{from:?} to {to:?}, {hz} Hz: {worst}");
        }
    }
}

#[test]
fn what_the_lower_rate_cannot_hold_is_sixty_decibels_down() {
    for (from, to) in pairs().filter(|(from, to)| from > to) {
        let nyquist = f64::from(to.hz()) / 2.0;
        let mut hz = nyquist * 1.125;
        while hz < f64::from(from.hz()) / 2.0 {
            let out = convert(from, to, &sine(from, hz, 32_000.0, 10));
            let level = rms(&out[out.len() / 2..]) / (32_000.0 / 2_f64.sqrt());
            assert!(
                20.0 * level.log10() < -60.0,
                "{from:?} to {to:?}, {hz} Hz: {level}"
            );
            hz += 370.0;
        }
    }
}

#[test]
fn images_of_the_lower_rate_are_sixty_decibels_down() {
    for (from, to) in pairs().filter(|(from, to)| from < to) {
        for part in [0.1, 0.5, 0.85] {
            let hz = (f64::from(from.hz()) / 2.0 * part / 50.0).round() * 50.0;
            let out = convert(from, to, &sine(from, hz, 32_000.0, 20));
            // Whole periods: what is left without the tone itself are the images.
            let tail = &out[out.len() / 2..];
            let (mut re, mut im) = (0.0, 0.0);
            for (n, &s) in tail.iter().enumerate() {
                let angle = TAU * hz * n as f64 / f64::from(to.hz());
                re += f64::from(s) * angle.cos() * 2.0 / tail.len() as f64;
                im += f64::from(s) * angle.sin() * 2.0 / tail.len() as f64;
            }
            let rest: Vec<i16> = tail
                .iter()
                .enumerate()
                .map(|(n, &s)| {
                    let angle = TAU * hz * n as f64 / f64::from(to.hz());
                    (f64::from(s) - re * angle.cos() - im * angle.sin()).round() as i16
                })
                .collect();
            let level = rms(&rest) / (32_000.0 / 2_f64.sqrt());
            assert!(
                20.0 * level.log10() < -60.0,
                "{from:?} to {to:?}, {hz} Hz: {level}"
            );
        }
    }
}

#[test]
fn agrees_with_rubato_on_a_chord() {
    for (from, to) in pairs() {
        let tones = [230.0, 710.0, 1_330.0, 2_190.0, 2_950.0];
        let mut chord = vec![0.0; from.frame_len() * 30];
        for hz in tones {
            for (sum, s) in chord.iter_mut().zip(sine(from, hz, 4_000.0, 30)) {
                *sum += f64::from(s);
            }
        }
        let frames: Vec<i16> = chord.iter().map(|&s| s as i16).collect();
        let ours = convert(from, to, &frames);

        let channels = vec![chord];
        let input = SequentialSliceOfVecs::new(&channels, 1, channels[0].len()).unwrap();
        let (hz_in, hz_out) = (from.hz() as usize, to.hz() as usize);
        let mut oracle = Fft::<f64>::new_custom(
            hz_in,
            hz_out,
            960,
            1,
            1,
            WindowFunction::BlackmanHarris2,
            FixedSync::Input,
        )
        .unwrap();
        let theirs = oracle
            .process_all(&input, channels[0].len(), None)
            .unwrap()
            .take_data();

        let lower = from.min(to).hz() as usize;
        let delay = delay_samples(from, to) * hz_out / lower;
        let middle = to.frame_len() * 8..to.frame_len() * 22;
        let worst = middle
            .map(|n| (f64::from(ours[n + delay]) - theirs[n]).abs())
            .fold(0.0, f64::max);
        // 60 dB below the chord's peak of 20,000.
        assert!(worst < 20.0, "{from:?} to {to:?}: {worst}");
    }
}

#[test]
fn a_constant_stays_the_same_constant() {
    for (from, to) in pairs() {
        let out = convert(from, to, &vec![12_345; from.frame_len() * 4]);
        assert!(
            out[out.len() / 2..].iter().all(|&s| s == 12_345),
            "{from:?} to {to:?}"
        );
    }
}

#[test]
fn equal_rates_pass_untouched() {
    let frame: Vec<i16> = (0..480).map(|n| n * 68).collect();
    assert_eq!(convert(Hz24000, Hz24000, &frame), frame);
    assert_eq!(delay_samples(Hz24000, Hz24000), 0);
}

fn pairs() -> impl Iterator<Item = (SampleRate, SampleRate)> {
    [Hz8000, Hz16000, Hz24000, Hz48000]
        .into_iter()
        .flat_map(|from| SampleRate::ALL.map(|to| (from, to)))
        .filter(|(from, to)| from != to)
}

fn sine(rate: SampleRate, hz: f64, amplitude: f64, frames: usize) -> Vec<i16> {
    (0..rate.frame_len() * frames)
        .map(|n| (amplitude * (TAU * hz * n as f64 / f64::from(rate.hz())).sin()).round() as i16)
        .collect()
}

fn convert(from: SampleRate, to: SampleRate, samples: &[i16]) -> Vec<i16> {
    let mut resampler = Resampler::new(from, to);
    let mut out = vec![0; samples.len() / from.frame_len() * to.frame_len()];
    for (frame, out) in samples
        .chunks_exact(from.frame_len())
        .zip(out.chunks_exact_mut(to.frame_len()))
    {
        resampler.process(frame, out);
    }
    out
}

fn rms(samples: &[i16]) -> f64 {
    (samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64).sqrt()
}
