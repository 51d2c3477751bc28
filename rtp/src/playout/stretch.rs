//! Time-scale modification: one pitch period less, or one more, with an overlap-add where the signal resembles
//! itself, so that neither a click nor a change of pitch is heard (the principle of WSOLA, Verhelst and Roelands
//! 1993).

use super::pitch::{self, Towards};
use super::staging::Staging;

/// A 20 ms stretch below this RMS (about -50 dBFS) may be cut anywhere.
const QUIET: f32 = 100.0;

/// Whether what waits is so quiet that any cut goes unheard.
pub(super) fn is_quiet(staging: &Staging) -> bool {
    let (samples, start) = staging.all();
    pitch::rms(&samples[start..]) < QUIET
}

/// Samples that must wait for [`remove`] so that 20 ms remain.
pub(super) fn needed_to_remove(per_ms: usize) -> usize {
    20 * per_ms + pitch::longest(per_ms)
}

/// Removes one period from the front of what waits, if there is one that resembles the next by at least `likeness`.
/// Where all is quiet, `wish` samples (at most 15 ms) are removed instead. Returns the number of samples removed.
pub(super) fn remove(staging: &mut Staging, per_ms: usize, likeness: f32, wish: usize) -> usize {
    if staging.staged() < needed_to_remove(per_ms) {
        return 0;
    }
    let quiet = is_quiet(staging);
    let (samples, start) = staging.all_mut();
    let lag = if quiet {
        wish.min(pitch::longest(per_ms))
    } else {
        let found = pitch::search(samples, start, per_ms, Towards::Future);
        if found.likeness < likeness {
            return 0;
        }
        found.lag
    };
    let overlap = pitch::window(per_ms);
    for n in 0..overlap {
        let (before, after) = (samples[start + n], samples[start + lag + n]);
        samples[start + lag + n] = blend(before, after, n, overlap);
    }
    staging.remove(lag);
    lag
}

/// Repeats the last period of the past before what waits (20 ms or more), if both resemble one another by at least
/// `likeness`. Where all is quiet, `wish` samples (at most 15 ms) are inserted. Returns the number inserted.
pub(super) fn insert(staging: &mut Staging, per_ms: usize, likeness: f32, wish: usize) -> usize {
    if staging.staged() < 20 * per_ms {
        return 0;
    }
    let quiet = is_quiet(staging);
    let (samples, start) = staging.all();
    let lag = if quiet {
        wish.min(pitch::longest(per_ms))
    } else {
        let found = pitch::search(samples, start, per_ms, Towards::Past);
        if found.likeness < likeness {
            return 0;
        }
        found.lag
    };
    let mut period = [0i16; pitch::LONGEST_OF_ALL];
    let period = &mut period[..lag];
    for (n, sample) in period.iter_mut().enumerate() {
        *sample = blend(samples[start + n], samples[start + n - lag], n, lag);
    }
    if !staging.insert(lag) {
        return 0;
    }
    let (samples, start) = staging.all_mut();
    samples[start..start + lag].copy_from_slice(period);
    lag
}

/// Sample `n` of `length` of a linear cross-fade.
pub(super) fn blend(from: i16, to: i16, n: usize, length: usize) -> i16 {
    let (from, to) = (i32::from(from), i32::from(to));
    let (n, length) = (n as i32 + 1, length as i32 + 1);
    ((from * (length - n) + to * n) / length) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(per_ms: usize, from: usize, count: usize) -> Vec<i16> {
        // 500 Hz: a whole number of samples a period at every rate.
        (from..from + count)
            .map(|n| {
                (8000.0 * (std::f32::consts::TAU * 0.5 * n as f32 / per_ms as f32).sin()).round()
                    as i16
            })
            .collect()
    }

    fn staged(per_ms: usize) -> Staging {
        let mut staging = Staging::new(30 * per_ms, 70 * per_ms);
        let all = tone(per_ms, 0, 65 * per_ms);
        staging.spare(all.len()).copy_from_slice(&all);
        staging.commit(all.len());
        staging.advance(30 * per_ms);
        staging
    }

    #[test]
    fn a_tone_stays_the_same_tone_when_shortened_and_lengthened() {
        for per_ms in [8, 16, 24, 48] {
            let mut staging = staged(per_ms);
            let removed = remove(&mut staging, per_ms, 0.9, 0);
            assert!(removed >= pitch::shortest(per_ms) && removed.is_multiple_of(2 * per_ms));
            let inserted = insert(&mut staging, per_ms, 0.9, 0);
            assert!(inserted >= pitch::shortest(per_ms) && inserted.is_multiple_of(2 * per_ms));
            assert_eq!(staging.staged(), 35 * per_ms + inserted - removed);
            let mut out = vec![0; staging.staged()];
            staging.take(&mut out);
            for (got, want) in out.iter().zip(tone(per_ms, 30 * per_ms, out.len())) {
                assert!((got - want).abs() <= 2, "{got} {want}");
            }
        }
    }

    #[test]
    fn noise_is_left_alone_and_quiet_gives_the_wished_amount() {
        let mut random = 1u32;
        let mut staging = Staging::new(240, 560);
        for sample in staging.spare(520) {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *sample = (random >> 18) as i16;
        }
        staging.commit(520);
        staging.advance(240);
        assert_eq!(remove(&mut staging, 8, 0.9, 100), 0);
        assert_eq!(insert(&mut staging, 8, 0.9, 100), 0);

        let mut staging = Staging::new(240, 560);
        staging.push_zeros(300);
        assert_eq!(remove(&mut staging, 8, 0.9, 100), 100);
        assert_eq!(insert(&mut staging, 8, 0.9, 50), 50);
        assert_eq!(staging.staged(), 250);
    }
}
