//! Who speaks, and what.

use std::sync::Arc;

use crate::prompts::{convert, speakers};

/// Rate at which the embedded speech is, Hz.
const EMBEDDED_HZ: u32 = 16000;

/// When there are more callers than embedded voices, the same texts are spoken higher and faster, or lower and slower: percent.
/// 6 % are enough for nobody to be taken for another, by ear or by correlation.
const PITCH: [u32; 7] = [100, 94, 106, 88, 113, 82, 120];

/// One caller's voice.
#[derive(Debug, Clone)]
pub struct Voice {
    /// A short name, e.g. `anna`, or `anna2` where the same text is spoken higher or lower.
    pub name: String,
    /// What is said, over and over.
    pub clip: Arc<[i16]>,
}

/// How many different voices there are.
pub const VOICES: usize = 56;

/// `count` voices at `sample_rate`, all different, up to [`VOICES`].
pub fn voices(count: usize, sample_rate: u32) -> Vec<Voice> {
    let embedded: Vec<_> = speakers().collect();
    let voice = |n: usize| {
        let speaker = &embedded[n % embedded.len()];
        let round = n / embedded.len();
        let spoken_hz = EMBEDDED_HZ * PITCH[round % PITCH.len()] / 100;
        let name = match round {
            0 => speaker.name().to_owned(),
            _ => format!("{}{}", speaker.name(), round + 1),
        };
        let clip = convert(&speaker.clip(EMBEDDED_HZ), spoken_hz, sample_rate);
        Voice {
            name,
            clip: clip.into(),
        }
    };
    (0..count).map(voice).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_caller_has_a_name_and_a_clip_of_its_own() {
        let voices = voices(50, 8000);
        let names: HashSet<_> = voices.iter().map(|voice| &voice.name).collect();
        let lengths: HashSet<_> = voices.iter().map(|voice| voice.clip.len()).collect();
        assert_eq!((names.len(), lengths.len()), (50, 50));
        assert!(voices.iter().all(|voice| voice.clip.len() > 4 * 8000));
    }
}
