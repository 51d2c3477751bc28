//! The ears are tested on mixes whose truth is known: the embedded voices at random gains and delays, through codecs.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use unisono_rtp::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD};

use super::*;
use crate::prompts::{convert, speakers};

/// A speaker's part in a mix.
#[derive(Debug, Clone, Copy)]
struct Part {
    speaker: usize,
    gain_db: f32,
    delay: usize,
    start: i64,
}

/// Everything of one case; all times in samples at `rate`.
#[derive(Debug)]
struct Mix {
    rate: u32,
    parts: Vec<Part>,
    starts: Vec<i64>,
    recording: Vec<i16>,
}

struct Voices {
    rate: u32,
    clips: Vec<Vec<i16>>,
}

impl Voices {
    fn new(rate: u32) -> Self {
        Self {
            rate,
            clips: speakers().map(|speaker| speaker.clip(rate)).collect(),
        }
    }

    fn listener(&self) -> Listener {
        let clips: Vec<&[i16]> = self.clips.iter().map(Vec::as_slice).collect();
        Listener::new(self.rate, &clips)
    }

    fn milliseconds(&self, milliseconds: u32) -> usize {
        (milliseconds * self.rate / 1000) as usize
    }

    /// The parts' sum, `seconds` long; speakers without a part started anywhere.
    fn mix(&self, parts: &[Part], seconds: f32, random: &mut StdRng) -> Mix {
        let mut sum = vec![0.0; (seconds * self.rate as f32) as usize];
        let mut starts: Vec<i64> = (0..self.clips.len())
            .map(|_| random.random_range(-200_000..self.rate as i64))
            .collect();
        for part in parts {
            starts[part.speaker] = part.start;
            let clip = &self.clips[part.speaker];
            let gain = 10f32.powf(part.gain_db / 20.0);
            for (n, sample) in sum.iter_mut().enumerate() {
                let since_start = n as i64 - part.delay as i64 - part.start;
                if since_start >= 0 {
                    *sample += gain * f32::from(clip[since_start as usize % clip.len()]);
                }
            }
        }
        let recording = sum
            .into_iter()
            .map(|sample| sample.round() as i16)
            .collect();
        Mix {
            rate: self.rate,
            parts: parts.to_vec(),
            starts,
            recording,
        }
    }

    /// `count` speakers at random gains, delays and starts.
    fn parts(&self, count: usize, random: &mut StdRng) -> Vec<Part> {
        let mut order: Vec<usize> = (0..self.clips.len()).collect();
        for n in (1..order.len()).rev() {
            order.swap(n, random.random_range(0..=n));
        }
        order[..count]
            .iter()
            .map(|&speaker| Part {
                speaker,
                gain_db: random.random_range(-12.0..3.0),
                delay: self.milliseconds(random.random_range(0..1900)),
                start: random.random_range(-100_000..self.rate as i64 / 2),
            })
            .collect()
    }
}

impl Mix {
    /// The recording as a listener gets it through a codec, at the rate of the voices; the codec's own delay is added.
    fn through(mut self, codec: Codec) -> Self {
        let mut encoder = Encoder::new(codec);
        let mut decoder = Decoder::new(codec);
        let coded = convert(&self.recording, self.rate, codec.sample_rate());
        let frame = codec.sample_rate() as usize / 50;
        let mut payload = [0; MAX_PAYLOAD];
        let mut decoded = Vec::new();
        for samples in coded.chunks_exact(frame) {
            let length = encoder.encode(samples, &mut payload);
            let mut out = vec![0; frame];
            assert_eq!(decoder.decode(&payload[..length], &mut out), Ok(frame));
            decoded.extend_from_slice(&out);
        }
        self.recording = convert(&decoded, codec.sample_rate(), self.rate);
        self
    }

    /// Checks the verdict on every speaker. Delays may be `tolerance_ms` late.
    fn check(&self, heard: &Heard, tolerance_ms: f32, about: &str) {
        let mut expected: Vec<usize> = self.parts.iter().map(|part| part.speaker).collect();
        expected.sort_unstable();
        let scores: Vec<f32> = heard
            .speakers
            .iter()
            .map(|speaker| speaker.confidence)
            .collect();
        assert_eq!(
            heard.present(),
            expected,
            "{about}: {:?}, confidence {scores:?}",
            self.parts
        );
        for part in &self.parts {
            let speaker = &heard.speakers[part.speaker];
            let off = speaker.gain_db - part.gain_db;
            // Under louder voices through a lossy codec a faint one is fitted less exactly.
            let tolerance = if part.gain_db < -20.0 { 3.0 } else { 1.5 };
            assert!(
                off.abs() < tolerance,
                "{about}: {part:?} heard at {:.1} dB",
                speaker.gain_db
            );
            let late = speaker.delay_ms - part.delay as f32 * 1000.0 / self.rate as f32;
            assert!(
                (-0.3..=tolerance_ms).contains(&late),
                "{about}: {part:?} heard at {} ms",
                speaker.delay_ms
            );
            assert!(speaker.confidence > 0.5, "{about}");
            for &delay in &speaker.delays_ms {
                assert!(
                    (delay - speaker.delay_ms).abs() < 1.0,
                    "{about}: {part:?} has windows {:?}",
                    speaker.delays_ms
                );
            }
        }
    }
}

/// Codecs, with the rate of the voices and the most that each adds to the delay, ms (a codec's own delay is part of mouth to ear).
const CODECS: [(u32, Codec, f32); 6] = [
    (8000, Codec::Pcmu, 0.3),
    (48000, Codec::Pcmu, 0.3),
    (16000, Codec::Pcma, 0.3),
    (16000, Codec::G722, 1.8),
    (48000, Codec::L16 { rate: 48000 }, 0.3),
    (48000, Codec::Opus, 7.0),
];

/// The coarsest of them.
const LOSSY: [(u32, Codec, f32); 3] = [CODECS[0], CODECS[3], CODECS[5]];

#[test]
fn every_codec_and_any_number_of_voices_is_told_apart() {
    for (n, (rate, codec, codec_delay_ms)) in CODECS.into_iter().enumerate() {
        let voices = Voices::new(rate);
        let listener = voices.listener();
        for seed in 0..cases(1) {
            let mut random = StdRng::seed_from_u64(seed * 100 + n as u64);
            for count in [0, 2, 5] {
                let parts = voices.parts(count, &mut random);
                let mix = voices.mix(&parts, 6.0, &mut random).through(codec);
                let heard = listener.analyse(&mix.recording, &mix.starts);
                let about = format!("{codec:?} at {rate} Hz, {count} voices, seed {seed}");
                mix.check(&heard, codec_delay_ms, &about);
                assert_eq!(heard.loss, 0.0, "{about}: {:?}", heard.damage);
            }
        }
    }
}

#[test]
fn a_leak_of_the_own_voice_is_heard_at_25_db_below_and_not_at_60() {
    for (n, (rate, codec, codec_delay_ms)) in LOSSY.into_iter().enumerate() {
        let voices = Voices::new(rate);
        let listener = voices.listener();
        for seed in 0..cases(1) {
            let mut random = StdRng::seed_from_u64(seed * 100 + n as u64);
            let mut parts = voices.parts(4, &mut random);
            for part in &mut parts[1..] {
                part.gain_db = 0.0;
            }
            for leak_db in [-25.0, -60.0] {
                parts[0].gain_db = leak_db;
                let mut mix = voices.mix(&parts, 8.0, &mut random).through(codec);
                let heard = listener.analyse(&mix.recording, &mix.starts);
                if leak_db < PRESENT_ABOVE_DB {
                    mix.parts.remove(0);
                }
                let about = format!("{codec:?} at {rate} Hz, {leak_db} dB, seed {seed}");
                mix.check(&heard, codec_delay_ms, &about);
            }
        }
    }
}

#[test]
fn the_telephone_band_costs_no_level() {
    let voices = Voices::new(48000);
    let mut random = StdRng::seed_from_u64(5);
    let parts = voices.parts(3, &mut random);
    let mut mix = voices.mix(&parts, 6.0, &mut random);
    // Two resistors' and capacitors' worth of band limits: phases turn as they do in analogue equipment.
    let (mut low, mut high) = (0.0, 0.0);
    for sample in &mut mix.recording {
        let input = f32::from(*sample);
        low += (input - low) * 0.36; // about 3400 Hz
        high += (low - high) * 0.026; // about 200 Hz
        *sample = (low - high) as i16;
    }
    let mix = mix.through(Codec::Pcmu);
    let heard = voices.listener().analyse(&mix.recording, &mix.starts);
    mix.check(&heard, 0.4, "band-limited");
}

#[test]
fn other_voices_noise_and_silence_are_nobody() {
    let voices = Voices::new(16000);
    let listener = voices.listener();
    let starts = vec![0; voices.clips.len()];
    let library =
        crate::prompts::PromptLibrary::load(&crate::prompts::PromptSource::default(), &[16000])
            .unwrap();
    let prompts = library.sequence(&["conf-usermenu", "conf-getpin", "conf-onlyperson"], 16000);
    let mut random = StdRng::seed_from_u64(6);
    let noise: Vec<i16> = (0..100_000)
        .map(|_| random.random_range(-3000..3000))
        .collect();
    let hum: Vec<i16> = (0..100_000)
        .map(|n| (3000.0 * (n as f32 * 0.15).sin()) as i16)
        .collect();
    let click: Vec<i16> = (0..100_000)
        .map(|n| if n == 50_000 { i16::MAX } else { 0 })
        .collect();
    for (name, recording) in [
        ("prompts", &*prompts),
        ("noise", &noise),
        ("hum", &hum),
        ("click", &click),
        ("constant", &[8; 100_000]),
        ("loudest", &[i16::MIN; 100_000]),
        ("silence", &[0; 100_000]),
        ("short", &noise[..7000]),
        ("nothing", &[]),
    ] {
        let heard = listener.analyse(recording, &starts);
        assert_eq!(heard.present(), [0; 0], "{name}: {:?}", heard.speakers);
        assert_eq!(heard.loss, 0.0, "{name}");
    }
}

#[test]
fn the_same_words_from_another_voice_of_the_family_are_not_mistaken() {
    // Anna, Edith and Helen, Ben and Finn, Calum and George share a voice, moved in pitch.
    let voices = Voices::new(16000);
    let listener = voices.listener();
    for speaker in 0..voices.clips.len() {
        let mut random = StdRng::seed_from_u64(speaker as u64);
        let part = Part {
            speaker,
            gain_db: 0.0,
            delay: 1000,
            start: 0,
        };
        let mix = voices.mix(&[part], 8.0, &mut random);
        mix.check(&listener.analyse(&mix.recording, &mix.starts), 0.3, "alone");
    }
}

#[test]
fn a_delay_that_changes_is_followed() {
    let voices = Voices::new(16000);
    let mut random = StdRng::seed_from_u64(7);
    let early = Part {
        speaker: 1,
        gain_db: -3.0,
        delay: 800,
        start: 0,
    }; // 50 ms
    let late = Part {
        delay: 2400,
        ..early
    }; // 150 ms
    let other = Part {
        speaker: 2,
        gain_db: 0.0,
        delay: 640,
        start: -5000,
    };
    let mut mix = voices.mix(&[early, other], 12.0, &mut random);
    let change = 7 * 16000;
    let delayed = voices.mix(&[late, other], 12.0, &mut random).recording;
    mix.recording[change..].copy_from_slice(&delayed[change..]);
    let mix = mix.through(Codec::Pcmu);
    let heard = voices.listener().analyse(&mix.recording, &mix.starts);
    assert_eq!(heard.present(), [1, 2]);
    let delays = &heard.speakers[1].delays_ms;
    let count = |ms: f32| {
        delays
            .iter()
            .filter(|&&delay| (delay - ms).abs() < 0.3)
            .count()
    };
    assert_eq!(count(50.0) + count(150.0), delays.len(), "{delays:?}");
    assert!(count(50.0) >= 10 && count(150.0) >= 8, "{delays:?}");
    assert!((heard.speakers[1].delay_ms - 50.0).abs() < 0.3);
    assert!(
        (heard.speakers[1].gain_db + 3.0).abs() < 1.0,
        "{} dB",
        heard.speakers[1].gain_db
    );
    assert!((quantile(delays, 0.99).unwrap() - 150.0).abs() < 0.3);
    assert!((quantile(&heard.speakers[2].delays_ms, 0.99).unwrap() - 40.0).abs() < 0.3);
}

#[test]
fn missing_and_replaced_audio_is_found_where_it_is() {
    let voices = Voices::new(16000);
    for codec in [Codec::Pcmu, Codec::G722, Codec::Opus] {
        let mut random = StdRng::seed_from_u64(8);
        let parts = voices.parts(2, &mut random);
        let mut mix = voices.mix(&parts, 8.0, &mut random).through(codec);
        let active = |at: usize| {
            mix.recording[at..at + 960].iter().all(|_| true)
                && mix.recording[at..at + 960]
                    .iter()
                    .map(|&s| f32::from(s).powi(2))
                    .sum::<f32>()
                    / 960.0
                    > 1000.0 * 1000.0
        };
        let mut places = (1..7).filter_map(|second| {
            (second * 16000..(second + 1) * 16000)
                .step_by(320)
                .find(|&at| active(at))
        });
        let (gap, repeated) = (places.next().unwrap(), places.next().unwrap());
        mix.recording[gap..gap + 960].fill(0);
        mix.recording
            .copy_within(repeated - 1000..repeated - 40, repeated);
        let heard = voices.listener().analyse(&mix.recording, &mix.starts);
        let found = |kind| -> f32 {
            heard
                .damage
                .iter()
                .filter(|damage| damage.kind == kind)
                .map(|damage| damage.length_ms)
                .sum()
        };
        let missing = heard
            .damage
            .iter()
            .find(|damage| damage.kind == DamageKind::Missing)
            .unwrap();
        assert!(
            (missing.start_ms - gap as f32 / 16.0).abs() <= 20.0,
            "{codec:?}: {missing:?}"
        );
        assert!(
            (40.0..=60.0).contains(&found(DamageKind::Missing)),
            "{codec:?}: {:?}",
            heard.damage
        );
        assert!(
            (20.0..=80.0).contains(&found(DamageKind::Replaced)),
            "{codec:?}: {:?}",
            heard.damage
        );
        assert!(
            (0.004..0.05).contains(&heard.loss),
            "{codec:?}: {}",
            heard.loss
        );
        assert_eq!(heard.present().len(), 2);
    }
}

#[test]
fn a_gap_is_loss_and_makes_nobody_quieter() {
    let voices = Voices::new(8000);
    let (anna, ben) = (&voices.clips[0], &voices.clips[1]);
    for alone in [true, false] {
        let mut recording: Vec<i16> = anna
            .iter()
            .cycle()
            .zip(ben.iter().cycle())
            .map(|(&anna, &ben)| {
                if alone {
                    anna
                } else {
                    anna.saturating_add(ben)
                }
            })
            .take(80_000)
            .collect();
        recording[30_000..46_000].fill(0);
        let listener = Listener::new(8000, &[anna, ben]);
        let heard = listener.analyse(&recording, &[0, 0]);
        assert_eq!(heard.present().len(), if alone { 1 } else { 2 });
        for &speaker in &heard.present() {
            let gain = heard.speakers[speaker].gain_db;
            assert!(gain.abs() < 0.5, "{speaker} of alone {alone}: {gain} dB");
        }
        assert!((0.1..0.3).contains(&heard.loss), "{}", heard.loss);
        let gap = heard
            .damage
            .iter()
            .map(|damage| damage.length_ms)
            .sum::<f32>();
        assert!((1000.0..2100.0).contains(&gap), "{:?}", heard.damage);
    }
}

#[test]
fn level_and_clipping_are_those_of_the_whole_recording() {
    let listener = Listener::new(8000, &[]);
    let square: Vec<i16> = (0..8000)
        .map(|n| if n % 16 < 8 { 16384 } else { -16384 })
        .collect();
    let heard = listener.analyse(&square, &[]);
    assert!(
        (heard.level_dbov + 6.02).abs() < 0.01,
        "{}",
        heard.level_dbov
    );
    assert_eq!(heard.clipped, 0);
    let clipped = [
        0,
        i16::MAX,
        0,
        i16::MAX,
        i16::MAX,
        5,
        i16::MIN,
        i16::MIN,
        i16::MIN,
        i16::MAX,
    ];
    assert_eq!(listener.analyse(&clipped, &[]).clipped, 5);
    assert_eq!(
        listener.analyse(&[0; 100], &[]).level_dbov,
        f32::NEG_INFINITY
    );
}

#[test]
fn quantiles_are_values_that_occurred() {
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(quantile(&[3.0], 0.99), Some(3.0));
    let values: Vec<f32> = (1..=100).rev().map(|n| n as f32).collect();
    assert_eq!(quantile(&values, 0.5), Some(50.0));
    assert_eq!(quantile(&values, 0.99), Some(99.0));
    assert_eq!(quantile(&values, 1.0), Some(100.0));
    assert_eq!(quantile(&values, 0.0), Some(1.0));
}

/// How many seeds a grid goes through: `few`, or what `UNISONO_LISTENING_CASES` says for a longer search.
fn cases(few: u64) -> u64 {
    std::env::var("UNISONO_LISTENING_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(few)
}
