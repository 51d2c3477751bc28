//! Who speaks, what was recorded, and who is heard in it.

#![allow(dead_code)] // Each test program uses its part.

use std::fmt;
use std::path::Path;

use unisono::listening::{Heard, Listener, PRESENT_ABOVE_DB};
use unisono::prompts::{PromptLibrary, PromptSource, speakers};

use crate::peer::asterisk_root;
use crate::stage::Tolerance;

/// Recordings are looked for a voice at starts this far apart, so that each possible start is within reach of one.
const STEP_SECONDS: f64 = 1.9;

/// A prompt is said at its own level, or nearly, dB. What is fainter is a likeness of voices.
const SAID_ABOVE_DB: f32 = -12.0;

/// Where Asterisk's prompts are in its root.
pub(crate) const PROMPTS_OF_ASTERISK: &str = "usr/share/asterisk/sounds/en_US_f_Allison";

/// One of the embedded speakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Voice {
    Anna,
    Ben,
    Calum,
    Edith,
}

impl Voice {
    /// All that tests use. What is listened for: also those who should not be there.
    pub(crate) const ALL: [Self; 4] = [Self::Anna, Self::Ben, Self::Calum, Self::Edith];

    /// What is said, once.
    pub(crate) fn clip(self, rate: u32) -> Vec<i16> {
        let name = self.to_string();
        speakers()
            .find(|speaker| speaker.name() == name)
            .expect("an embedded speaker")
            .clip(rate)
    }

    /// The same again and again without a pause.
    pub(crate) fn repeated(self, rate: u32, seconds: usize) -> Vec<i16> {
        let clip = self.clip(rate);
        clip.into_iter()
            .cycle()
            .take(rate as usize * seconds)
            .collect()
    }

    pub(crate) fn recording(self, rate: u32, seconds: usize) -> Recording {
        Recording {
            rate,
            samples: self.repeated(rate, seconds),
        }
    }
}

impl fmt::Display for Voice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anna => "anna",
            Self::Ben => "ben",
            Self::Calum => "calum",
            Self::Edith => "edith",
        })
    }
}

/// Mono sound.
#[derive(Debug, Clone)]
pub(crate) struct Recording {
    pub(crate) rate: u32,
    pub(crate) samples: Vec<i16>,
}

impl Recording {
    /// Reads a WAV file; of several channels the first.
    pub(crate) fn read(path: &Path) -> Self {
        let mut reader = hound::WavReader::open(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let channels = usize::from(reader.spec().channels);
        Self {
            rate: reader.spec().sample_rate,
            samples: reader
                .samples()
                .step_by(channels)
                .map_while(Result::ok)
                .collect(),
        }
    }

    /// Writes a WAV file with the same sound in each channel.
    pub(crate) fn write(&self, path: &Path, channels: u16) {
        let spec = hound::WavSpec {
            channels,
            sample_rate: self.rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).expect("create a WAV file");
        for &sample in &self.samples {
            for _ in 0..channels {
                writer.write_sample(sample).expect("write a WAV file");
            }
        }
        writer.finalize().expect("write a WAV file");
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(self.rate)
    }

    /// The part between two moments, seconds.
    pub(crate) fn between(&self, from: f64, to: f64) -> Self {
        let place =
            |seconds: f64| ((seconds * f64::from(self.rate)) as usize).min(self.samples.len());
        Self {
            rate: self.rate,
            samples: self.samples[place(from)..place(to)].to_vec(),
        }
    }

    /// Whose voices are in it, of all there are.
    pub(crate) fn voices(&self) -> Vec<Voice> {
        Voice::ALL
            .into_iter()
            .filter(|voice| {
                self.start_of(&voice.clip(self.rate), PRESENT_ABOVE_DB)
                    .is_some()
            })
            .collect()
    }

    /// Fails unless exactly these voices are heard, each about as loud as it spoke and as whole as it has to be.
    #[track_caller]
    pub(crate) fn assert_heard(&self, who: &str, expected: &[Voice], tolerance: Tolerance) {
        let seconds = self.seconds();
        assert!(seconds > 5.0, "{who} received {seconds:.1} s of sound only");
        let voices = self.voices();
        assert_eq!(voices, expected, "whom {who} hears, in {seconds:.1} s");
        let clips: Vec<_> = expected.iter().map(|voice| voice.clip(self.rate)).collect();
        let heard = self.listen(&clips);
        for (voice, speaker) in expected.iter().zip(&heard.speakers) {
            assert!(
                speaker.present && (tolerance.softest_db..6.0).contains(&speaker.gain_db),
                "{who} hears {voice} by {:.1} dB; {tolerance:?}",
                speaker.gain_db
            );
        }
        assert_eq!(heard.clipped, 0, "clipped samples in what {who} hears");
        assert!(
            f64::from(heard.loss) < tolerance.damaged,
            "{who} misses {:.1} % of what is said; {tolerance:?}: {:?}",
            heard.loss * 100.0,
            heard.damage
        );
    }

    /// Analyses it for clips that are repeated from starts that are found first.
    pub(crate) fn listen(&self, clips: &[Vec<i16>]) -> Heard {
        let starts: Vec<i64> = clips
            .iter()
            .map(|clip| self.start_of(clip, PRESENT_ABOVE_DB).unwrap_or_default())
            .collect();
        let clips: Vec<&[i16]> = clips.iter().map(Vec::as_slice).collect();
        Listener::new(self.rate, &clips).analyse(&self.samples, &starts)
    }

    /// Whether a clip is said in it, once at least.
    pub(crate) fn says(&self, clip: &[i16]) -> bool {
        // A clip is repeated when it is looked for: silence makes it come once.
        let mut once = clip.to_vec();
        once.resize(
            clip.len().max(self.samples.len()) + self.rate as usize * 3,
            0,
        );
        self.start_of(&once, SAID_ABOVE_DB).is_some()
    }

    /// The best correlation of a short sound with any stretch of it: 1 if it is there as it is, alone; 0 if nothing resembles it.
    pub(crate) fn likeness_of(&self, sound: &[i16]) -> f64 {
        let product = |a: &[i16], b: &[i16]| -> f64 {
            let sum: i64 = a
                .iter()
                .zip(b)
                .map(|(&a, &b)| i64::from(a) * i64::from(b))
                .sum();
            sum as f64
        };
        let power = product(sound, sound);
        self.samples
            .windows(sound.len())
            .map(|stretch| {
                let powers = power * product(stretch, stretch);
                if powers > 0.0 {
                    product(stretch, sound) / powers.sqrt()
                } else {
                    0.0
                }
            })
            .fold(0.0, f64::max)
    }

    /// Where a clip that is repeated without a pause begins, in samples; a second before it comes, to be within reach. `None` if
    /// it is not heard, or fainter than `above_db`.
    fn start_of(&self, clip: &[i16], above_db: f32) -> Option<i64> {
        let rate = f64::from(self.rate);
        let listener = Listener::new(self.rate, &[clip]);
        let steps = (clip.len() as f64 / rate / STEP_SECONDS).ceil() as i64;
        (0..steps)
            .filter_map(|step| {
                let start = -(step as f64 * STEP_SECONDS * rate) as i64;
                let speaker = listener.analyse(&self.samples, &[start]).speakers[0].clone();
                let delay = f64::from(speaker.delay_ms) / 1000.0;
                (speaker.present && speaker.gain_db >= above_db)
                    .then(|| (speaker.confidence, start + ((delay - 1.0) * rate) as i64))
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, start)| start)
    }
}

/// The samples of an embedded prompt.
pub(crate) fn prompt(name: &str, rate: u32) -> Vec<i16> {
    let library = PromptLibrary::load(&PromptSource::default(), &[rate]).expect("embedded prompts");
    library.get(name, rate).expect("a prompt").to_vec()
}

/// A prompt of Debian's package of them, at 8000 Hz.
pub(crate) fn prompt_of_asterisk(name: &str) -> Recording {
    let folder = asterisk_root().join(PROMPTS_OF_ASTERISK);
    Recording::read(&folder.join(format!("{name}.wav")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ben from the middle of his clip and calum, heard together.
    fn two_voices(rate: u32) -> Recording {
        let skipped = Voice::Ben.repeated(rate, 20).split_off(rate as usize * 3);
        let samples = skipped
            .iter()
            .zip(Voice::Calum.repeated(rate, 10))
            .map(|(&ben, calum)| ben.saturating_add(calum) / 2)
            .collect();
        Recording { rate, samples }
    }

    #[test]
    fn voices_are_told_apart_wherever_their_clips_begin() {
        for rate in [8000, 48000] {
            let recording = two_voices(rate);
            assert_eq!(recording.voices(), [Voice::Ben, Voice::Calum]);
            // Each is halved in the mix: 6 dB less.
            let heard = recording.listen(&[Voice::Ben.clip(rate), Voice::Calum.clip(rate)]);
            for speaker in heard.speakers {
                assert!((-7.0..-5.0).contains(&speaker.gain_db), "{speaker:?}");
            }
            assert!(heard.loss < 0.01, "{}", heard.loss);
        }
    }

    #[test]
    #[should_panic(expected = "misses")]
    fn a_gap_is_noticed() {
        let mut recording = Voice::Anna.recording(8000, 10);
        recording.samples[30_000..36_000].fill(0);
        recording.assert_heard("somebody", &[Voice::Anna], Tolerance::NONE);
    }

    #[test]
    #[should_panic(expected = "whom somebody hears")]
    fn ones_own_voice_is_noticed() {
        let recording = two_voices(8000);
        recording.assert_heard("somebody", &[Voice::Calum], Tolerance::NONE);
    }

    #[test]
    fn a_sound_is_like_itself_and_like_nothing_else() {
        let sound = &Voice::Ben.clip(8000)[8000..11_000];
        let mut samples = vec![0; 5000];
        samples.extend(sound.iter().map(|sample| sample / 2));
        samples.extend([0; 5000]);
        let recording = Recording {
            rate: 8000,
            samples,
        };
        assert!(recording.likeness_of(sound) > 0.999);
        assert!(recording.likeness_of(&Voice::Anna.clip(8000)[8000..11_000]) < 0.5);
    }

    #[test]
    fn a_prompt_is_heard_where_it_is_said_and_nowhere_else() {
        let said = prompt("conf-onlyperson", 8000);
        let mut samples = vec![0; 9000];
        samples.extend(&said);
        samples.extend([0; 20_000]);
        let recording = Recording {
            rate: 8000,
            samples,
        };
        assert!(recording.says(&said));
        assert!(!recording.says(&prompt("conf-getpin", 8000)));
        assert!(!Voice::Anna.recording(8000, 8).says(&said));
    }
}
