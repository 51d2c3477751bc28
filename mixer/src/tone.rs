//! Tones and short melodies: enter and leave sounds, DTMF.
//!
//! Sines are phase-continuous from frame to frame, notes begin and end with ramps of 5 ms, and
//! nothing allocates.

use std::f64::consts::TAU;

use crate::level::db_to_factor;
use crate::rate::SampleRate;

/// One or two sines for a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Note {
    /// Frequencies in Hz; 0 is none, both 0 a pause.
    pub hz: [f32; 2],
    /// Duration in ms.
    pub ms: u16,
}

/// Somebody came: a rising third.
pub const ENTER: &[Note] = &[
    Note {
        hz: [523.25, 0.0],
        ms: 90,
    },
    Note {
        hz: [659.26, 0.0],
        ms: 140,
    },
];

/// Somebody left: a falling third.
pub const LEAVE: &[Note] = &[
    Note {
        hz: [659.26, 0.0],
        ms: 90,
    },
    Note {
        hz: [523.25, 0.0],
        ms: 140,
    },
];

/// The pair of frequencies of a DTMF key (ITU-T Q.23): `0`-`9`, `*`, `#`, `A`-`D`.
pub const fn dtmf(key: char) -> Option<[f32; 2]> {
    let (low, high) = match key {
        '1' => (697.0, 1_209.0),
        '2' => (697.0, 1_336.0),
        '3' => (697.0, 1_477.0),
        'A' => (697.0, 1_633.0),
        '4' => (770.0, 1_209.0),
        '5' => (770.0, 1_336.0),
        '6' => (770.0, 1_477.0),
        'B' => (770.0, 1_633.0),
        '7' => (852.0, 1_209.0),
        '8' => (852.0, 1_336.0),
        '9' => (852.0, 1_477.0),
        'C' => (852.0, 1_633.0),
        '*' => (941.0, 1_209.0),
        '0' => (941.0, 1_336.0),
        '#' => (941.0, 1_477.0),
        'D' => (941.0, 1_633.0),
        _ => return None,
    };
    Some([low, high])
}

/// Plays notes, frame by frame.
#[derive(Debug, Clone)]
pub struct Melody<'n> {
    notes: &'n [Note],
    hz: f64,
    amplitude: f32,
    /// Phases in turns, from 0 to 1.
    phases: [f64; 2],
    /// Samples of the current note already played.
    played: usize,
}

impl<'n> Melody<'n> {
    /// Starts `notes` at a sample rate. Each sine has the level `dbov`, clamped to -90 to -9 so that two of them fit.
    pub fn new(notes: &'n [Note], rate: SampleRate, dbov: f32) -> Self {
        // A sine's peak is 3.01 dB above its level.
        let amplitude = 32_767.0 * std::f32::consts::SQRT_2 * db_to_factor(dbov.clamp(-90.0, -9.1));
        Self {
            notes,
            hz: f64::from(rate.hz()),
            amplitude,
            phases: [0.0; 2],
            played: 0,
        }
    }

    /// Whether all has been played.
    pub fn is_over(&self) -> bool {
        self.notes.is_empty()
    }

    /// Writes the next samples, silence after the end. Returns whether there was anything left to play.
    pub fn fill(&mut self, frame: &mut [i16]) -> bool {
        let any = !self.is_over();
        for sample in frame {
            *sample = self.next_sample();
        }
        any
    }

    fn next_sample(&mut self) -> i16 {
        while let [note, rest @ ..] = self.notes {
            let length = (f64::from(note.ms) * self.hz / 1_000.0) as usize;
            if self.played < length {
                let edge = (self.hz * RAMP_SECONDS) as f32;
                let near = self.played.min(length - self.played) as f32;
                let gain = self.amplitude * (near / edge).min(1.0);
                self.played += 1;
                let mut value = 0.0;
                for (phase, &hz) in self.phases.iter_mut().zip(&note.hz) {
                    if hz > 0.0 {
                        value += (*phase * TAU).sin() as f32;
                        *phase = (*phase + f64::from(hz) / self.hz).fract();
                    }
                }
                return (value * gain) as i16;
            }
            self.notes = rest;
            self.played = 0;
        }
        0
    }
}

/// Length of the ramps at both ends of a note.
const RAMP_SECONDS: f64 = 0.005;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_join_without_a_step() {
        let notes = [Note {
            hz: [440.0, 0.0],
            ms: 200,
        }];
        let mut melody = Melody::new(&notes, SampleRate::Hz16000, -20.0);
        let mut all = Vec::new();
        let mut frame = [0; 320];
        while melody.fill(&mut frame) {
            all.extend_from_slice(&frame);
        }
        let steepest = 32_767.0 * 2_f32.sqrt() * 0.1 * std::f32::consts::TAU * 440.0 / 16_000.0;
        assert!(
            all.windows(2)
                .all(|w| f32::from(w[1] - w[0]).abs() <= steepest + 2.0)
        );
        assert!(all[..3_200].iter().any(|&s| s > 4_500));
        assert!(melody.is_over());
    }

    #[test]
    fn a_note_lasts_as_long_as_it_says_and_then_is_silent() {
        let notes = [
            Note {
                hz: [1_000.0, 0.0],
                ms: 30,
            },
            Note {
                hz: [0.0, 0.0],
                ms: 10,
            },
        ];
        let mut melody = Melody::new(&notes, SampleRate::Hz8000, -10.0);
        let mut samples = [0; 480];
        assert!(melody.fill(&mut samples));
        assert!(samples[200..240].iter().any(|&s| s != 0));
        assert!(samples[240..].iter().all(|&s| s == 0));
        assert!(!melody.fill(&mut samples));
    }

    #[test]
    fn the_loudest_key_does_not_overflow() {
        let notes = [Note {
            hz: dtmf('D').unwrap(),
            ms: 1_000,
        }];
        let mut melody = Melody::new(&notes, SampleRate::Hz48000, 0.0);
        let mut samples = vec![0; 48_000];
        melody.fill(&mut samples);
        let peak = samples.iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!((32_000..=32_767).contains(&peak), "{peak}");
        assert_eq!(dtmf('E'), None);
    }
}
