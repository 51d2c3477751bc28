//! Who is heard in a recording, how loud and how late.
//!
//! Given what N speakers said and what a listener received, [`Listener::analyse`] decides for each speaker whether it is in the
//! recording, with what gain and after what delay, and where the recording is damaged. It stands in for the ears of a person in the demo, in
//! tests and in load runs: it judges audio alone, so it works for any codec, band and mixer on the way, ours or another's.
//! It is pure: no clock, no file, no randomness; the same input gives the same answer.
//!
//! How: everything is brought to 8 kHz. Whitened cross-correlation over the whole recording finds the speakers; those that are found
//! are fitted (a short filter each, at delays that are tracked through the recording) and taken away, which uncovers fainter ones,
//! until what is left resembles nobody. The fits give the gains.

mod correlate;
mod damage;
mod fit;
mod signal;

use correlate::{Correlator, Found, LARGEST_LAG, SMALLEST_LAG};
pub use damage::{Damage, DamageKind};
use fit::Fit;
use signal::{RATE, Sent};

/// A speaker whose gain is below this is not *heard*, dB: far below what a person notices under speech.
pub const PRESENT_ABOVE_DB: f32 = -40.0;

/// Correlation peaks beyond this many standard deviations of chance are a speaker.
const DETECTION: f32 = 11.0;

/// A peak alone may be one of two sharp moments, so a speaker is clear in this many windows, or steadily there in all (t statistic).
const CLEAR_WINDOWS: usize = 2;
const STEADY: f32 = 3.5;

/// Rounds of looking for fainter speakers after the louder ones are taken away.
const ROUNDS: usize = 4;

/// Mean square of a signal in which there is nobody, in 16-bit steps: rounding errors.
const NOTHING: f32 = 1.0;

/// Shortest recording that is judged, samples at 8 kHz.
const SHORTEST: usize = 4000;

/// What each of N speakers says, prepared for analysing recordings at one sampling rate.
#[derive(Debug)]
pub struct Listener {
    sample_rate: u32,
    clips: Vec<Vec<f32>>,
}

/// What was found in one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// One for each reference given to [`Listener::new`], in the same order.
    pub speakers: Vec<HeardSpeaker>,
    /// Level of the whole recording, dBov (RMS; negative infinity for digital silence).
    pub level_dbov: f32,
    /// Samples at the ends of the 16-bit range that have a neighbour there too.
    pub clipped: usize,
    /// Stretches where the audio of the heard speakers is missing or replaced, in order of time.
    pub damage: Vec<Damage>,
    /// Part of the heard speakers' active audio that is damaged, 0 to 1.
    pub loss: f32,
}

/// One speaker, as heard in a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct HeardSpeaker {
    /// Whether this speaker is heard: found, and not fainter than [`PRESENT_ABOVE_DB`].
    pub present: bool,
    /// Level in the recording against the level in the reference, dB, over the telephone band; negative infinity if nothing was found.
    pub gain_db: f32,
    /// The delay of most of the recording, ms (see [`Listener::analyse`]); 0 if nothing was found.
    pub delay_ms: f32,
    /// How far the evidence stands out from chance, 0 to 1; a speaker is found from 0.5 on.
    pub confidence: f32,
    /// Delay of each 0.4 s in which this speaker is heard clearly, ms, in order of time. Empty for a speaker that is faint.
    pub delays_ms: Vec<f32>,
}

impl Listener {
    /// Prepares for `references`: one clip for each speaker, which the speaker repeats without a pause. All at
    /// `sample_rate` Hz, as are the recordings.
    ///
    /// Clips should be speech and longer than 2.1 s, or delays are ambiguous. Speakers may share a clip if their starts differ
    /// by more than that, also when whole repetitions are taken off: one that is 2 s behind another is that other, 2 s late.
    ///
    /// # Panics
    /// If the rate is 0.
    pub fn new(sample_rate: u32, references: &[&[i16]]) -> Self {
        let clips = references
            .iter()
            .map(|clip| signal::clip(clip, sample_rate))
            .collect();
        Self { sample_rate, clips }
    }

    /// Listens to `received`.
    ///
    /// `started` says for each speaker when its clip's first sample was spoken: in samples of the recording, whose first sample is 0;
    /// negative when the speaker began before the recording did. The delay of a speaker is the time from a sample being
    /// spoken to the same sample being received (mouth to ear), from -20 to 2000 ms. A caller that knows only the moments
    /// at which packets were handed over includes its packet time in one way or the other; none is assumed here.
    ///
    /// Recordings under 0.5 s are too short to find anybody in them.
    ///
    /// # Panics
    /// If `started` has another length than the references.
    pub fn analyse(&self, received: &[i16], started: &[i64]) -> Heard {
        assert_eq!(
            started.len(),
            self.clips.len(),
            "one start for each reference"
        );
        let recording = signal::recording(received, self.sample_rate);
        let mut speakers: Vec<Candidate> = self
            .clips
            .iter()
            .zip(started)
            .map(|(clip, &start)| {
                Candidate::new(Sent::new(clip, start, self.sample_rate, recording.len()))
            })
            .collect();
        let residual = if recording.len() < SHORTEST {
            recording.clone()
        } else {
            find_all(&recording, &mut speakers)
        };
        let expected = sum_of_fits(&speakers, recording.len());
        let damage = damage::find(&recording, &expected, &residual);
        Heard {
            speakers: speakers.into_iter().map(Candidate::verdict).collect(),
            level_dbov: damage::level_dbov(received),
            clipped: damage::clipped(received),
            loss: damage.loss,
            damage: damage.stretches,
        }
    }
}

impl Heard {
    /// Indices of the speakers that are present.
    pub fn present(&self) -> Vec<usize> {
        (0..self.speakers.len())
            .filter(|&n| self.speakers[n].present)
            .collect()
    }
}

/// The value below which the part `p` (0 to 1) of `values` lies, or `None` if there are none: 0.5 is the median, 0.99 the usual p99 (nearest rank).
pub fn quantile(values: &[f32], p: f32) -> Option<f32> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    let rank = (p.clamp(0.0, 1.0) * sorted.len() as f32).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// A speaker while it is looked for.
#[derive(Debug)]
struct Candidate {
    sent: Sent,
    score: f32,
    found: Option<Found>,
    fit: Option<Fit>,
}

impl Candidate {
    fn new(sent: Sent) -> Self {
        Self {
            sent,
            score: 0.0,
            found: None,
            fit: None,
        }
    }

    fn verdict(self) -> HeardSpeaker {
        let confidence = self.score / (self.score + DETECTION);
        let (Some(found), Some(fit)) = (self.found, self.fit) else {
            let confidence = confidence.min(0.49); // a peak that was not confirmed
            return HeardSpeaker {
                present: false,
                gain_db: f32::NEG_INFINITY,
                delay_ms: 0.0,
                confidence,
                delays_ms: Vec::new(),
            };
        };
        let milliseconds = |lag: f32| (lag - self.sent.start_fraction()) * 1000.0 / RATE as f32;
        HeardSpeaker {
            present: fit.gain_db() >= PRESENT_ABOVE_DB,
            gain_db: fit.gain_db(),
            delay_ms: milliseconds(found.lag),
            confidence,
            delays_ms: found
                .windows
                .iter()
                .flatten()
                .map(|&lag| milliseconds(lag))
                .collect(),
        }
    }
}

/// Finds and fits speakers until no more are found; returns what of the recording they do not explain.
fn find_all(recording: &[f32], speakers: &mut [Candidate]) -> Vec<f32> {
    let correlator = Correlator::new();
    let spoken: Vec<_> = speakers
        .iter()
        .map(|speaker| correlator.speaker(&speaker.sent, recording.len()))
        .collect();
    let audible = signal::audible(recording);
    let mut residual = recording.to_vec();
    for _ in 0..ROUNDS {
        if signal::power(&residual) < NOTHING {
            break;
        }
        let heard = correlator.recording(&signal::levelled(&residual));
        let mut more = false;
        for (speaker, spoken) in speakers.iter_mut().zip(&spoken) {
            if speaker.found.is_some() {
                continue;
            }
            let (lag, score) = correlator.find(&heard, spoken);
            speaker.score = speaker.score.max(score);
            if score < DETECTION {
                continue;
            }
            let windows = correlator.track(&residual, &speaker.sent, lag);
            let agreement = correlator.agreement(&residual, &speaker.sent, lag);
            if windows.iter().flatten().count() >= CLEAR_WINDOWS || agreement >= STEADY {
                speaker.found = Some(Found { lag, windows });
                more = true;
            }
        }
        if !more {
            break;
        }
        // Speakers overlap, so each fit sharpens the others.
        for track in [false, true] {
            let mut weights = signal::weights(&residual);
            weights
                .iter_mut()
                .zip(&audible)
                .for_each(|(weight, audible)| *weight *= audible);
            for speaker in speakers.iter_mut() {
                let Some(found) = &mut speaker.found else {
                    continue;
                };
                if let Some(fit) = &speaker.fit {
                    fit.add_to(&mut residual);
                }
                if track {
                    found.windows = correlator.track(&residual, &speaker.sent, found.lag);
                }
                let fit = Fit::new(&residual, &speaker.sent, found, &weights);
                fit.subtract_from(&mut residual);
                speaker.fit = Some(fit);
            }
        }
    }
    residual
}

fn sum_of_fits(speakers: &[Candidate], length: usize) -> Vec<f32> {
    let mut sum = vec![0.0; length];
    for fit in speakers.iter().filter_map(|speaker| speaker.fit.as_ref()) {
        fit.add_to(&mut sum);
    }
    sum
}

#[cfg(test)]
mod tests;
