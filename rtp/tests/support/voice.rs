//! Something like speech: voiced stretches with a gliding pitch and formants, hiss, and pauses.

use super::Random;

/// Seconds of a made-up voice at `rate` Hz.
pub fn speech(rate: u32, seconds: usize, seed: u64) -> Vec<i16> {
    let mut random = Random::new(seed);
    let total = rate as usize * seconds;
    let mut out = Vec::with_capacity(total);
    while out.len() < total {
        let ms = 120 + (random.unit() * 280.0) as usize;
        voiced(&mut out, rate, ms, &mut random);
        if random.chance(0.5) {
            hiss(
                &mut out,
                rate,
                40 + (random.unit() * 60.0) as usize,
                &mut random,
            );
        }
        if random.chance(0.4) {
            let pause = 100 + (random.unit() * 400.0) as usize;
            hum(&mut out, rate, pause, &mut random);
        }
    }
    out.truncate(total);
    out
}

fn voiced(out: &mut Vec<i16>, rate: u32, ms: usize, random: &mut Random) {
    let count = rate as usize * ms / 1000;
    let from = 90.0 + 120.0 * random.unit();
    let to = from * (0.85 + 0.3 * random.unit());
    let formants = [
        400.0 + 400.0 * random.unit(),
        1100.0 + 900.0 * random.unit(),
        2400.0 + 600.0 * random.unit(),
    ];
    let mut phase = 0.0;
    for n in 0..count {
        let place = n as f64 / count as f64;
        let pitch = from + (to - from) * place;
        phase += pitch / f64::from(rate);
        let edge = (place * 12.0).min((1.0 - place) * 12.0).min(1.0);
        let mut sample = 0.0;
        let mut harmonic = 1.0;
        while harmonic * pitch < 3400.0 {
            let hz = harmonic * pitch;
            let gain: f64 = formants
                .iter()
                .map(|f| 1.0 / (1.0 + ((hz - f) / 120.0).powi(2)))
                .sum::<f64>()
                + 0.02;
            // Speech falls off towards high frequencies.
            sample += gain / (1.0 + hz / 500.0) * (std::f64::consts::TAU * harmonic * phase).sin();
            harmonic += 1.0;
        }
        out.push((9000.0 * edge * sample).clamp(-30_000.0, 30_000.0) as i16);
    }
}

fn hiss(out: &mut Vec<i16>, rate: u32, ms: usize, random: &mut Random) {
    let mut last = 0.0;
    for _ in 0..rate as usize * ms / 1000 {
        let white = random.unit() - 0.5;
        out.push((4000.0 * (white - last)) as i16);
        last = white;
    }
}

fn hum(out: &mut Vec<i16>, rate: u32, ms: usize, random: &mut Random) {
    for _ in 0..rate as usize * ms / 1000 {
        out.push(((random.unit() - 0.5) * 60.0) as i16);
    }
}

/// Mean over 20 ms segments of the signal-to-error ratio, dB, each between -10 and 35; quiet segments do not count.
pub fn segmental_snr(clean: &[i16], heard: &[i16], rate: u32) -> f64 {
    let segment = rate as usize / 50;
    let (mut sum, mut count) = (0.0, 0.0);
    for (clean, heard) in clean.chunks_exact(segment).zip(heard.chunks_exact(segment)) {
        let signal: f64 = clean.iter().map(|&s| f64::from(s).powi(2)).sum();
        if signal / segment as f64 > 1.0e5 {
            let error: f64 = clean
                .iter()
                .zip(heard)
                .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
                .sum();
            sum += (10.0 * (signal / error.max(1.0)).log10()).clamp(-10.0, 35.0);
            count += 1.0;
        }
    }
    sum / count
}

/// Mean log-spectral distance, dB, of the 32 ms windows (half overlapping) in which the two signals differ and the
/// clean one is not quiet. A floor 60 dB below full scale keeps silence finite.
pub fn spectral_distance(clean: &[i16], heard: &[i16], rate: u32) -> f64 {
    let size = rate as usize * 32 / 1000;
    let mut planner = realfft::RealFftPlanner::<f64>::new();
    let fft = planner.plan_fft_forward(size);
    let spectrum = |samples: &[i16]| -> Vec<f64> {
        let mut windowed: Vec<f64> = samples
            .iter()
            .enumerate()
            .map(|(n, &s)| {
                f64::from(s)
                    * (std::f64::consts::PI * (n as f64 + 0.5) / size as f64)
                        .sin()
                        .powi(2)
            })
            .collect();
        let mut bins = fft.make_output_vec();
        fft.process(&mut windowed, &mut bins).unwrap();
        let floor = 32.0 * size as f64 / 4.0;
        bins.iter()
            .map(|bin| 20.0 * (bin.norm() + floor).log10())
            .collect()
    };
    let (mut sum, mut count) = (0.0, 0.0);
    for start in (0..clean.len().min(heard.len()) - size).step_by(size / 2) {
        let (a, b) = (&clean[start..start + size], &heard[start..start + size]);
        if a != b && a.iter().any(|s| s.abs() > 500) {
            let (a, b) = (spectrum(a), spectrum(b));
            let square: f64 = a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum();
            sum += (square / a.len() as f64).sqrt();
            count += 1.0;
        }
    }
    sum / count
}
