//! Tones, and who is heard in a recording.

use std::f64::consts::TAU;

use realfft::RealFftPlanner;

/// Length of what is listened to: one second, so that tones of whole Hz are apart.
pub(crate) const WINDOW: usize = 8_000;

/// `samples` of a sine from sample number `from` on.
pub(crate) fn tone(hz: u32, amplitude: f64, from: usize, samples: usize) -> Vec<i16> {
    (from..from + samples)
        .map(|n| (amplitude * (TAU * f64::from(hz) * n as f64 / 8_000.0).sin()).round() as i16)
        .collect()
}

/// What is heard in one second.
pub(crate) struct Ear {
    /// Amplitude of each whole Hz.
    amplitudes: Vec<f64>,
}

impl Ear {
    /// Listens to the last second.
    pub(crate) fn listen(recording: &[i16]) -> Self {
        let start = recording
            .len()
            .checked_sub(WINDOW)
            .expect("a second to listen to");
        let mut window: Vec<f64> = recording[start..].iter().map(|&s| f64::from(s)).collect();
        let transform = RealFftPlanner::new().plan_fft_forward(WINDOW);
        let mut spectrum = transform.make_output_vec();
        transform.process(&mut window, &mut spectrum).unwrap();
        let scale = 2.0 / WINDOW as f64;
        Self {
            amplitudes: spectrum.iter().map(|bin| bin.norm() * scale).collect(),
        }
    }

    /// The amplitude of a tone.
    pub(crate) fn amplitude(&self, hz: u32) -> f64 {
        self.amplitudes[hz as usize]
    }

    /// Asserts that exactly these tones are heard, each as loud as said within `tolerance`, and nothing else.
    #[track_caller]
    pub(crate) fn hears_exactly(
        &self,
        tones: impl IntoIterator<Item = u32>,
        amplitude: f64,
        tolerance: f64,
    ) {
        let mut expected = vec![0.0; self.amplitudes.len()];
        for hz in tones {
            expected[hz as usize] = amplitude;
        }
        for (hz, (heard, expected)) in self.amplitudes.iter().zip(expected).enumerate() {
            assert!(
                (heard - expected).abs() <= tolerance,
                "{hz} Hz: {heard:.2}, not {expected}"
            );
        }
    }
}
