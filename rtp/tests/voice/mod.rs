//! A voice made of arithmetic, so that codec tests need no recordings: five syllables a second with moving pitch and
//! formants, each begun by a hiss.

use std::f64::consts::TAU;

/// Mono samples at `rate` Hz, of about -20 dBov. `seed` chooses the words.
#[must_use]
pub(crate) fn voice(rate: u32, seconds: f64, seed: u32) -> Vec<i16> {
    let mut random = seed;
    let mut next = move || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(random >> 8) / f64::from(1u32 << 24)
    };
    let rate = f64::from(rate);
    let total = (seconds * rate) as usize;
    let syllable = (0.2 * rate) as usize;
    let mut phase = 0.0;
    let (mut pitch, mut formants) = (120.0, [500.0, 1500.0]);
    let mut samples = Vec::with_capacity(total);
    for n in 0..total {
        if n.is_multiple_of(syllable) {
            pitch = 100.0 + 60.0 * next();
            formants = [300.0 + 500.0 * next(), 900.0 + 1400.0 * next()];
        }
        let within = (n % syllable) as f64 / syllable as f64;
        phase += TAU * pitch * (1.0 + 0.1 * (TAU * within).sin()) / rate;
        let envelope = (TAU / 2.0 * within).sin();
        let harmonics = (1..=24).map(|k| {
            let frequency = pitch * f64::from(k);
            let gain: f64 = formants
                .iter()
                .map(|f| 1.0 / (1.0 + ((frequency - f) / 150.0).powi(2)))
                .sum();
            gain * (phase * f64::from(k)).sin()
        });
        let hiss = if within < 0.15 {
            0.3 * (next() - 0.5)
        } else {
            0.0
        };
        samples.push((4000.0 * (envelope * harmonics.sum::<f64>() + hiss)) as i16);
    }
    samples
}
