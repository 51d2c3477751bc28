//! Tones, and who is heard.

use std::collections::BTreeMap;
use std::f64::consts::TAU;

use realfft::RealFftPlanner;

/// Samples of what is listened to at a time: a second, so that tones of whole Hz are apart.
pub(crate) const WINDOW: usize = 8_000;

/// Amplitude below which a tone is not heard: rounding, and a limiter at rest.
const FLOOR: f64 = 3.0;

/// `samples` of a sine from sample number `from` on.
pub(crate) fn tone(hz: u32, amplitude: f64, from: usize, samples: usize) -> Vec<i16> {
    (from..from + samples)
        .map(|n| (amplitude * (TAU * f64::from(hz) * n as f64 / 8_000.0).sin()).round() as i16)
        .collect()
}

/// Tones, by Hz, and their amplitudes.
pub(crate) type Tones = BTreeMap<u32, f64>;

/// What is heard in one second: every whole Hz that is not silent.
pub(crate) fn listen(second: &[i16]) -> Tones {
    assert_eq!(second.len(), WINDOW);
    let mut window: Vec<f64> = second.iter().map(|&sample| f64::from(sample)).collect();
    let transform = RealFftPlanner::new().plan_fft_forward(WINDOW);
    let mut spectrum = transform.make_output_vec();
    transform.process(&mut window, &mut spectrum).unwrap();
    let scale = 2.0 / WINDOW as f64;
    (0..)
        .zip(&spectrum)
        .map(|(hz, bin)| (hz, bin.norm() * scale))
        .filter(|&(_, amplitude)| amplitude > FLOOR)
        .collect()
}

/// Whether exactly the `expected` tones are heard, each as loud as expected within one part in a hundred.
pub(crate) fn is_exactly(heard: &Tones, expected: &Tones) -> bool {
    heard.len() == expected.len()
        && expected.iter().all(|(hz, amplitude)| {
            heard
                .get(hz)
                .is_some_and(|heard| (heard - amplitude).abs() <= amplitude / 100.0 + FLOOR)
        })
}

/// The tones `hz`, all equally loud.
pub(crate) fn tones(hz: impl IntoIterator<Item = u32>, amplitude: f64) -> Tones {
    hz.into_iter().map(|hz| (hz, amplitude)).collect()
}
