//! What is wrong with a recording: gaps, replaced audio, clipping.

use super::signal::{RATE, power};

/// Length of the frames that are judged, samples at 8 kHz: 20 ms.
const FRAME: usize = 160;

/// Expected power from which on a frame is active: about -50 dBov.
const ACTIVE: f32 = 100.0 * 100.0;

/// Frames at the beginning that are not judged: filters that met the recording in mid-word settle.
const SETTLING: usize = 2;

/// A stretch of a recording that is not what the speakers said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Damage {
    /// Where it begins, ms from the recording's first sample.
    pub start_ms: f32,
    /// How long it is, ms, in steps of 20.
    pub length_ms: f32,
    /// What it sounds like.
    pub kind: DamageKind,
}

/// What replaced the speakers' audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// Silence, or nearly.
    Missing,
    /// Other audio: concealment, noise, a voice stretched or moved in time.
    Replaced,
}

/// All damage, and the part of the active audio it makes up.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stretches: Vec<Damage>,
    pub(super) loss: f32,
}

/// Compares, frame by frame, what was received with what the speakers that were found explain.
pub(super) fn find(received: &[f32], expected: &[f32], residual: &[f32]) -> Found {
    let mut stretches: Vec<Damage> = Vec::new();
    let (mut active, mut damaged) = (0, 0);
    let frames = received
        .chunks_exact(FRAME)
        .zip(expected.chunks_exact(FRAME))
        .zip(residual.chunks_exact(FRAME));
    for (n, ((received, expected), residual)) in frames.enumerate() {
        let (received, expected, residual) = (power(received), power(expected), power(residual));
        if n < SETTLING || expected < ACTIVE {
            continue;
        }
        active += 1;
        let kind = if received < 0.01 * expected {
            DamageKind::Missing
        } else if residual > 0.8 * expected.max(received) {
            DamageKind::Replaced
        } else {
            continue;
        };
        damaged += 1;
        let milliseconds = (FRAME * 1000) as f32 / RATE as f32;
        let start_ms = n as f32 * milliseconds;
        match stretches.last_mut() {
            Some(last) if last.kind == kind && last.start_ms + last.length_ms == start_ms => {
                last.length_ms += milliseconds
            }
            _ => stretches.push(Damage {
                start_ms,
                length_ms: milliseconds,
                kind,
            }),
        }
    }
    Found {
        stretches,
        loss: damaged as f32 / active.max(1) as f32,
    }
}

/// RMS level, dBov.
pub(super) fn level_dbov(samples: &[i16]) -> f32 {
    let energy: f64 = samples
        .iter()
        .map(|&sample| f64::from(sample).powi(2))
        .sum();
    (10.0 * (energy / samples.len().max(1) as f64 / 32768f64.powi(2)).log10()) as f32
}

/// Samples at the ends of the range that have a neighbour at the same end.
pub(super) fn clipped(samples: &[i16]) -> usize {
    let at_end = |sample: i16| sample == i16::MAX || sample == i16::MIN;
    samples
        .iter()
        .enumerate()
        .filter(|&(n, &sample)| {
            at_end(sample)
                && (samples.get(n + 1) == Some(&sample) || (n > 0 && samples[n - 1] == sample))
        })
        .count()
}
