//! How like two recordings are.

/// The lag in samples, below `limit`, at which `heard` follows `said` best, and the signal-to-noise ratio there, in
/// decibels, after the gain that fits best.
#[must_use]
pub(crate) fn alignment(said: &[i16], heard: &[i16], limit: usize) -> (usize, f64) {
    let said = &said[..said.len().min(heard.len()) - limit];
    let product = |lag: usize| -> i64 {
        said.iter()
            .zip(&heard[lag..])
            .map(|(&x, &y)| i64::from(x) * i64::from(y))
            .sum()
    };
    let lag = (0..limit)
        .max_by_key(|&lag| product(lag))
        .expect("limit is not 0");
    (lag, signal_to_noise(said, &heard[lag..]))
}

/// How much of `heard` is `said`, in decibels, after the gain that fits best.
#[must_use]
pub(crate) fn signal_to_noise(said: &[i16], heard: &[i16]) -> f64 {
    let pairs = || {
        said.iter()
            .zip(heard)
            .map(|(&x, &y)| (f64::from(x), f64::from(y)))
    };
    let product: f64 = pairs().map(|(x, y)| x * y).sum();
    let said: f64 = pairs().map(|(x, _)| x * x).sum();
    let heard: f64 = pairs().map(|(_, y)| y * y).sum();
    let explained = product * product / said;
    10.0 * (explained / (heard - explained).max(1e-9)).log10()
}
