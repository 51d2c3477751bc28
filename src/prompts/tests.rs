//! Behaviour of the library on small folders made here, and on Debian's package where it is installed.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("unisono-prompts-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    fn wav(&self, name: &str, rate: u32, channels: u16, samples: &[i16]) -> &Self {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(path, spec).unwrap();
        for &sample in samples {
            writer.write_sample(sample).unwrap();
        }
        writer.finalize().unwrap();
        self
    }

    fn load(&self, language: &str) -> Result<PromptLibrary, PromptError> {
        let source = PromptSource {
            directory: Some(&self.0),
            language,
            ..PromptSource::default()
        };
        PromptLibrary::load(&source, &[8000])
    }

    /// The error's text, without the folder's name.
    fn refusal(&self) -> String {
        self.load("en")
            .unwrap_err()
            .to_string()
            .replace(&self.0.display().to_string(), "DIR")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tone(rate: u32, length: usize) -> Vec<i16> {
    (0..length)
        .map(|n| {
            (6000.0 * (std::f64::consts::TAU * 500.0 * n as f64 / f64::from(rate)).sin()) as i16
        })
        .collect()
}

fn rms(samples: &[i16]) -> f64 {
    (samples
        .iter()
        .map(|&sample| f64::from(sample).powi(2))
        .sum::<f64>()
        / samples.len() as f64)
        .sqrt()
}

#[test]
fn the_embedded_set_has_every_prompt_at_every_rate() {
    let library =
        PromptLibrary::load(&PromptSource::default(), &[48000, 8000, 16000, 24000, 8000]).unwrap();
    assert_eq!(library.rates(), [8000, 16000, 24000, 48000]);
    assert!(
        library.substituted().is_empty()
            && library.absent().is_empty()
            && library.folder().is_none()
    );
    for name in names() {
        let original = library.get(name, 16000).unwrap();
        assert!(
            (2000..200_000).contains(&original.len()),
            "{name}: {} samples",
            original.len()
        );
        let level = 20.0 * (rms(&original) / 32768.0).log10();
        assert!((-30.0..-15.0).contains(&level), "{name}: {level:.1} dBov");
        for rate in [8000, 24000, 48000] {
            let converted = library.get(name, rate).unwrap();
            let expected = original.len() * rate as usize / 16000;
            assert!(converted.len().abs_diff(expected) <= 1, "{name} at {rate}");
        }
    }
    assert!(library.get("conf-getpin", 44100).is_none());
    assert!(library.get("conf-gibberish", 8000).is_none());
}

#[test]
fn a_prompt_is_shared_not_copied() {
    let library = PromptLibrary::load(&PromptSource::default(), &[8000]).unwrap();
    let prompt = library.get("beep", 8000).unwrap();
    assert!(Arc::ptr_eq(&prompt, &library.get("beep", 8000).unwrap()));
    assert!(Arc::ptr_eq(&prompt, &library.sequence(&["beep"], 8000)));
}

#[test]
fn a_sequence_joins_prompts_and_leaves_out_what_is_unknown() {
    let library = PromptLibrary::load(&PromptSource::default(), &[8000]).unwrap();
    let joined = library.sequence(&["digits/4", "no-such-prompt", "digits/2"], 8000);
    let four = library.get("digits/4", 8000).unwrap();
    let two = library.get("digits/2", 8000).unwrap();
    assert_eq!(*joined, [&*four, &*two].concat());
    assert!(library.sequence(&["no-such-prompt"], 8000).is_empty());
    assert!(library.sequence(&number(21), 8000).len() > 4000);
}

#[test]
fn a_folder_of_recordings_replaces_the_embedded_prompts_it_has() {
    let folder = Folder::new();
    let mine = tone(8000, 4000);
    let little_endian: Vec<u8> = mine
        .iter()
        .flat_map(|sample| sample.to_le_bytes())
        .collect();
    folder
        .wav("beep.wav", 8000, 1, &mine)
        .write("digits/1.sln", &little_endian);
    let library = folder.load("en").unwrap();
    assert_eq!(*library.get("beep", 8000).unwrap(), *mine);
    assert_eq!(*library.get("digits/1", 8000).unwrap(), *mine);
    assert_eq!(library.substituted().len(), names().len() - 2);
    assert!(!library.substituted().iter().any(|name| name == "beep"));
    assert!(library.get("digits/2", 8000).is_some());
    assert_eq!(library.folder(), Some(&*folder.0));
}

#[test]
fn coded_recordings_are_decoded() {
    let folder = Folder::new();
    let mut encoded = [[0; unisono_rtp::codec::MAX_PAYLOAD]; 2];
    for (codec, name) in [
        (Codec::Pcmu, "beep.ulaw"),
        (Codec::Pcma, "beeperr.alaw"),
        (Codec::G722, "goodbye.g722"),
    ] {
        let rate = codec.sample_rate();
        let mut encoder = unisono_rtp::codec::Encoder::new(codec);
        let mut bytes = Vec::new();
        for frame in tone(rate, rate as usize).chunks_exact(rate as usize / 50) {
            let length = encoder.encode(frame, &mut encoded[0]);
            bytes.extend_from_slice(&encoded[0][..length]);
        }
        folder.write(name, &bytes);
    }
    let library = folder.load("en").unwrap();
    let original = rms(&tone(8000, 8000));
    for name in ["beep", "beeperr", "goodbye"] {
        let decoded = library.get(name, 8000).unwrap();
        assert_eq!(decoded.len(), 8000, "{name}");
        assert!(
            (rms(&decoded[1000..7000]) / original - 1.0).abs() < 0.05,
            "{name}"
        );
    }
}

#[test]
fn the_recording_with_the_highest_rate_is_taken() {
    let folder = Folder::new();
    folder
        .wav("beep.wav", 8000, 1, &tone(8000, 800))
        .write("beep.ulaw", &[0x55; 400])
        .write("beep.sln16", &[0; 64000]);
    assert_eq!(
        folder.load("en").unwrap().get("beep", 8000).unwrap().len(),
        16000
    );
    folder.wav("beep.wav", 48000, 1, &tone(48000, 4800));
    assert_eq!(
        folder.load("en").unwrap().get("beep", 8000).unwrap().len(),
        800
    );
}

#[test]
fn the_language_chooses_a_sub_folder_as_debian_names_them() {
    let folder = Folder::new();
    for (sub, length) in [
        ("en_US_f_Allison", 100),
        ("en_GB_m_Somebody", 200),
        ("fr_CA_f_June", 300),
        ("es", 400),
    ] {
        folder.wav(&format!("{sub}/beep.wav"), 8000, 1, &tone(8000, length));
    }
    folder.write("moh/readme.txt", b"no prompts here");
    for (language, length) in [
        ("en_US", 100),
        ("en_GB", 200),
        ("en", 200),
        ("fr", 300),
        ("fr_FR", 300),
        ("es_MX", 400),
    ] {
        let library = folder.load(language).unwrap();
        assert_eq!(
            library.get("beep", 8000).unwrap().len(),
            length,
            "{language}"
        );
    }
    assert!(matches!(
        folder.load("ru"),
        Err(PromptError::NoPrompts { .. })
    ));
    assert!(matches!(
        folder.load("e"),
        Err(PromptError::NoPrompts { .. })
    ));
}

#[test]
fn names_of_the_operator_are_loaded_too_and_reported_when_absent() {
    let folder = Folder::new();
    folder
        .wav("custom/welcome.wav", 16000, 1, &tone(16000, 1600))
        .wav("beep.wav", 8000, 1, &tone(8000, 80));
    let source = PromptSource {
        directory: Some(&folder.0),
        also: &["custom/welcome", "custom/nothing"],
        ..PromptSource::default()
    };
    let library = PromptLibrary::load(&source, &[8000]).unwrap();
    assert_eq!(library.get("custom/welcome", 8000).unwrap().len(), 800);
    assert!(library.get("custom/nothing", 8000).is_none());
    assert_eq!(library.absent(), ["custom/nothing"]);
}

#[test]
fn a_folder_that_is_wrong_is_refused_with_what_was_expected() {
    let folder = Folder::new();
    assert_eq!(
        folder.refusal(),
        "DIR holds no prompts for language 'en': a file like conf-getpin.wav is expected there, or in a sub-folder named for \
         the language (.wav, .sln, .sln16, .sln48, .g722, .ulaw and .alaw are read)"
    );
    let source = PromptSource {
        directory: Some(Path::new("/nonexistent/sounds")),
        ..PromptSource::default()
    };
    let refusal = PromptLibrary::load(&source, &[8000])
        .unwrap_err()
        .to_string();
    assert!(
        refusal.starts_with("the prompt folder /nonexistent/sounds cannot be read: "),
        "{refusal}"
    );
}

#[test]
fn a_recording_that_is_wrong_is_refused_with_its_name_and_fault() {
    type Case<'a> = (&'a str, &'a dyn Fn(&Folder), &'a str);
    let cases: [Case<'_>; 7] = [
        (
            "beep.wav",
            &|f| _ = f.write("beep.wav", b"RIFF"),
            "it is no complete WAV file",
        ),
        (
            "beep.wav",
            &|f| _ = f.write("beep.wav", b"not a wave at all, but long enough"),
            "it is no complete WAV file",
        ),
        (
            "beep.wav",
            &|f| _ = f.wav("beep.wav", 8000, 2, &[1; 100]),
            "it has 2 channels, a prompt has one",
        ),
        (
            "beep.wav",
            &|f| _ = f.wav("beep.wav", 96000, 1, &[1; 100]),
            "it is sampled at 96000 Hz, 8000 to 48000 are read",
        ),
        (
            "beep.wav",
            &|f| _ = f.wav("beep.wav", 8000, 1, &[]),
            "it holds no audio",
        ),
        (
            "beep.g722",
            &|f| _ = f.write("beep.g722", b""),
            "it holds no audio",
        ),
        (
            "beep.sln16",
            &|f| _ = f.write("beep.sln16", &[0; 321]),
            "it holds half a sample too much for 16-bit audio",
        ),
    ];
    for (file, make, fault) in cases {
        let folder = Folder::new();
        make(&folder);
        let refusal = folder.refusal();
        let expected = format!("the prompt DIR/{file} cannot be used: {fault}");
        assert!(refusal.starts_with(&expected), "{refusal}");
    }
}

#[test]
fn a_recording_of_more_than_ten_minutes_is_refused() {
    let folder = Folder::new();
    folder.write("beep.ulaw", &vec![0xff; 8000 * 600 + 1]);
    assert_eq!(
        folder.refusal(),
        "the prompt DIR/beep.ulaw is longer than 600 s"
    );
}

#[test]
fn debians_package_serves_every_prompt_where_it_is_installed() {
    let sounds = Path::new("/usr/share/asterisk/sounds");
    if !sounds.join("en/conf-getpin.g722").is_file() && !sounds.join("en/conf-getpin.wav").is_file()
    {
        eprintln!("asterisk-core-sounds-en-* is not installed: nothing to check");
        return;
    }
    let source = PromptSource {
        directory: Some(sounds),
        language: "en",
        ..PromptSource::default()
    };
    let library = PromptLibrary::load(&source, &[8000]).unwrap();
    assert!(library.folder().unwrap().starts_with(sounds));
    // MeetMe plays this one, and the package has never had it.
    assert_eq!(library.substituted(), ["conf-has-not-started"]);
    assert!(library.get("conf-onlyperson", 8000).unwrap().len() > 16000);
}
