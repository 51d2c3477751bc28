//! Eight distinct voices who speak in the demo, in tests and in load runs, where tones would prove little.

use unisono_rtp::codec::Codec;

use super::audio_file::decode_whole;
use super::{embedded, rate};

/// One embedded voice: wide-band speech of 5 to 8 s with natural pauses, at about -20 dBov while it speaks.
#[derive(Debug, Clone, Copy)]
pub struct Speaker {
    name: &'static str,
    g722: &'static [u8],
}

impl Speaker {
    /// A short lower-case name, e.g. `anna`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The clip at `sample_rate` Hz. Decoded (and resampled, unless 16000) at each call.
    ///
    /// # Panics
    /// If the rate is 0.
    pub fn clip(&self, sample_rate: u32) -> Vec<i16> {
        rate::convert(
            &decode_whole(Codec::G722, self.g722),
            Codec::G722.sample_rate(),
            sample_rate,
        )
    }
}

/// All speakers, always in the same order, each with a text, a voice and a length of its own.
pub fn speakers() -> impl ExactSizeIterator<Item = Speaker> {
    embedded::SPEECH
        .iter()
        .map(|&(name, g722)| Speaker { name, g722 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_speaker_speaks_at_a_telephone_level() {
        assert_eq!(speakers().len(), 8);
        for speaker in speakers() {
            let clip = speaker.clip(16000);
            assert!(
                (5 * 16000..8 * 16000).contains(&clip.len()),
                "{}: {} samples",
                speaker.name(),
                clip.len()
            );
            let mut levels: Vec<f64> = clip
                .chunks_exact(320)
                .map(|frame| {
                    frame
                        .iter()
                        .map(|&sample| f64::from(sample).powi(2))
                        .sum::<f64>()
                        / 320.0
                })
                .filter(|&power| power > 327.0 * 327.0)
                .collect();
            let active = 10.0
                * (levels.iter().sum::<f64>() / levels.len() as f64 / 32768f64.powi(2)).log10();
            assert!(
                (-22.0..-17.0).contains(&active),
                "{}: {active:.1} dBov",
                speaker.name()
            );
            levels.sort_by(f64::total_cmp);
            let pauses = clip
                .chunks_exact(320)
                .filter(|frame| frame.iter().all(|s| s.abs() < 33))
                .count();
            assert!(
                pauses >= 20,
                "{}: pauses {pauses} frames only",
                speaker.name()
            );
        }
    }

    #[test]
    fn no_two_clips_have_the_same_length_so_loops_drift_apart() {
        let mut lengths: Vec<usize> = speakers().map(|speaker| speaker.g722.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        assert_eq!(lengths.len(), speakers().len());
    }
}
