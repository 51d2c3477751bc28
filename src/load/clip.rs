//! What callers say, encoded once before the run and shared by all who say it: sending is a header and a copy.

use std::collections::HashMap;
use std::sync::Arc;

use unisono_rtp::codec::{Codec, Encoder, MAX_PAYLOAD};

use super::cast::Saying;
use super::talk::Random;
use crate::caller::{VOICES, voices};
use crate::prompts::convert;

/// The rate at which what was said is kept for listening, Hz, and its samples in a frame.
pub(super) const LISTENING_HZ: u32 = 8000;
const LISTENING_FRAME: usize = (LISTENING_HZ / 50) as usize;

/// Rate from which clips are made, Hz: the embedded voices carry no more.
const SOURCE_HZ: u32 = 16_000;

/// A frame louder than this is speech that any mixer lets pass: RMS in 16-bit steps, about -46 dBov.
const AUDIBLE: f64 = 160.0;

/// Frames of background: a second, over and over.
const BACKGROUND_FRAMES: usize = 50;

/// Amplitude of background noise, 16-bit steps: evenly distributed, about -65 dBov.
const NOISE: i16 = 32;

/// What callers send who do not talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Background {
    /// Digital silence, as from a muted phone.
    #[default]
    Silence,
    /// Noise at about -65 dBov, as from an open microphone in a quiet room.
    Noise,
}

/// Encoded frames of 20 ms, over and over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clip {
    payloads: Box<[u8]>,
    /// Where each frame ends.
    ends: Box<[u32]>,
}

/// What was said, for listening: the same frames as in each encoded clip.
#[derive(Debug)]
pub(super) struct Spoken {
    samples: Box<[i16]>,
    audible: Box<[bool]>,
}

/// All clips of a run.
#[derive(Debug)]
pub(super) struct Clips {
    encoded: HashMap<(Saying, Codec), Arc<Clip>>,
    spoken: HashMap<Saying, Spoken>,
}

impl Clip {
    /// The payload of frame `number`; frames repeat.
    pub(super) fn frame(&self, number: usize) -> &[u8] {
        let number = number % self.ends.len();
        let start = match number {
            0 => 0,
            later => self.ends[later - 1],
        };
        &self.payloads[start as usize..self.ends[number] as usize]
    }

    fn encode(samples: &[i16], codec: Codec) -> Self {
        let mut encoder = Encoder::new(codec);
        let frame = codec.sample_rate() as usize / 50;
        let mut payload = [0; MAX_PAYLOAD];
        let mut payloads = Vec::new();
        let mut ends = Vec::new();
        for samples in samples.chunks_exact(frame) {
            let length = encoder.encode(samples, &mut payload);
            payloads.extend_from_slice(&payload[..length]);
            ends.push(payloads.len() as u32);
        }
        Self {
            payloads: payloads.into(),
            ends: ends.into(),
        }
    }
}

impl Spoken {
    /// Samples of frame `number` at [`LISTENING_HZ`]; frames repeat.
    pub(super) fn frame(&self, number: usize) -> &[i16] {
        let number = number % self.audible.len();
        &self.samples[number * LISTENING_FRAME..][..LISTENING_FRAME]
    }

    /// Whether frame `number` can be heard: a voice has pauses of its own.
    pub(super) fn is_audible(&self, number: usize) -> bool {
        self.audible[number % self.audible.len()]
    }

    fn new(samples: Vec<i16>) -> Self {
        let audible = samples
            .chunks_exact(LISTENING_FRAME)
            .map(|frame| {
                let energy: f64 = frame.iter().map(|&sample| f64::from(sample).powi(2)).sum();
                (energy / LISTENING_FRAME as f64).sqrt() > AUDIBLE
            })
            .collect();
        Self {
            samples: samples.into(),
            audible,
        }
    }
}

impl Clips {
    /// Encodes what is needed, and nothing else. Takes some milliseconds of processor time for each voice and codec; Opus more.
    pub(super) fn new(
        needed: impl IntoIterator<Item = (Saying, Codec)>,
        background: Background,
    ) -> Self {
        let mut clips = Self {
            encoded: HashMap::new(),
            spoken: HashMap::new(),
        };
        let needed: Vec<(Saying, Codec)> = needed.into_iter().collect();
        let highest = needed.iter().filter_map(|(saying, _)| match saying {
            Saying::Voice { voice, .. } => Some(*voice),
            Saying::Nothing => None,
        });
        let count = highest.max().map_or(0, |highest| highest % VOICES + 1);
        let sources = voices(count, SOURCE_HZ);
        for (saying, codec) in needed {
            if clips.encoded.contains_key(&(saying, codec)) {
                continue;
            }
            let Saying::Voice { voice, gain_db } = saying else {
                let frame = codec.sample_rate() as usize / 50;
                let samples = quiet(background, frame * BACKGROUND_FRAMES);
                let clip = Arc::new(Clip::encode(&samples, codec));
                clips.encoded.insert((saying, codec), clip);
                continue;
            };
            let gain = 10_f32.powf(f32::from(gain_db) / 20.0);
            let source: Vec<i16> = sources[voice % VOICES]
                .clip
                .iter()
                .map(|&sample| (f32::from(sample) * gain).round() as i16)
                .collect();
            // At every rate the same whole frames, so that all codecs say the same at the same time.
            let frames = source.len() / (SOURCE_HZ as usize / 50);
            let at = |rate: u32| {
                let mut samples = convert(&source, SOURCE_HZ, rate);
                samples.resize(frames * rate as usize / 50, 0);
                samples
            };
            let clip = Clip::encode(&at(codec.sample_rate()), codec);
            clips.encoded.insert((saying, codec), Arc::new(clip));
            clips
                .spoken
                .entry(saying)
                .or_insert_with(|| Spoken::new(at(LISTENING_HZ)));
        }
        clips
    }

    /// The clip, if it was among those needed.
    pub(super) fn encoded(&self, saying: Saying, codec: Codec) -> Option<Arc<Clip>> {
        self.encoded.get(&(saying, codec)).map(Arc::clone)
    }

    /// What the clip says; `None` for background.
    pub(super) fn spoken(&self, saying: Saying) -> Option<&Spoken> {
        self.spoken.get(&saying)
    }
}

fn quiet(background: Background, samples: usize) -> Vec<i16> {
    match background {
        Background::Silence => vec![0; samples],
        Background::Noise => {
            let mut random = Random::new(0, 0);
            let span = 2 * NOISE as u64 + 1;
            (0..samples)
                .map(|_| random.below(span) as i16 - NOISE)
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOICE: Saying = Saying::Voice {
        voice: 3,
        gain_db: -6,
    };

    #[test]
    fn every_codec_says_the_same_frames() {
        let codecs = [Codec::Pcmu, Codec::G722, Codec::Opus];
        let clips = Clips::new(
            codecs.iter().map(|&codec| (VOICE, codec)),
            Background::Silence,
        );
        let frames = clips.spoken(VOICE).unwrap().audible.len();
        assert!(frames > 200, "{frames}");
        for codec in codecs {
            let clip = clips.encoded(VOICE, codec).unwrap();
            assert_eq!(clip.ends.len(), frames, "{codec:?}");
            assert_eq!(clip.frame(5), clip.frame(5 + frames));
            assert!(!clip.frame(frames - 1).is_empty());
        }
        assert_eq!(
            clips.encoded(VOICE, Codec::Pcmu).unwrap().frame(9).len(),
            160
        );
        assert_eq!(clips.encoded(VOICE, Codec::Pcma), None);
        let spoken = clips.spoken(VOICE).unwrap();
        let audible = (0..frames)
            .filter(|&frame| spoken.is_audible(frame))
            .count();
        assert!(
            (frames / 2..frames).contains(&audible),
            "{audible} of {frames}"
        );
    }

    #[test]
    fn the_background_is_silent_or_faint() {
        let clip = |background| {
            Clips::new([(Saying::Nothing, Codec::L16 { rate: 8000 })], background)
                .encoded(Saying::Nothing, Codec::L16 { rate: 8000 })
                .unwrap()
        };
        assert!(
            clip(Background::Silence)
                .frame(1)
                .iter()
                .all(|&byte| byte == 0)
        );
        let noise = clip(Background::Noise);
        let (words, _) = noise.frame(1).as_chunks::<2>();
        let samples: Vec<i16> = words.iter().map(|&word| i16::from_be_bytes(word)).collect();
        assert!(samples.iter().any(|&sample| sample != 0));
        assert!(samples.iter().all(|sample| sample.abs() <= NOISE));
    }
}
