//! The file formats that prompts come in: the ones of Asterisk's sound packages that need no licence.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use unisono_rtp::codec::{Codec, Decoder};

use super::PromptError;

/// The longest prompt that is taken into memory, seconds.
pub(super) const LONGEST_SECONDS: u64 = 600;

/// Sampling rates a WAV file may have, Hz.
const RATES: std::ops::RangeInclusive<u32> = 8000..=48000;

/// How the bytes of a file become samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Wav,
    /// 16-bit little-endian samples at this rate, Hz.
    Signed {
        rate: u32,
    },
    Coded(Codec),
}

/// File name extensions, best first among those of one rate.
const FORMATS: [(&str, Format); 11] = [
    ("wav", Format::Wav),
    ("wav16", Format::Wav),
    ("sln48", Format::Signed { rate: 48000 }),
    ("sln32", Format::Signed { rate: 32000 }),
    ("sln24", Format::Signed { rate: 24000 }),
    ("sln16", Format::Signed { rate: 16000 }),
    ("sln", Format::Signed { rate: 8000 }),
    ("g722", Format::Coded(Codec::G722)),
    ("ulaw", Format::Coded(Codec::Pcmu)),
    ("pcm", Format::Coded(Codec::Pcmu)), // Asterisk's other name for µ-law
    ("alaw", Format::Coded(Codec::Pcma)),
];

/// A recording whose format and rate are known and whose samples are not read yet.
#[derive(Debug)]
pub(super) struct Recording {
    path: PathBuf,
    format: Format,
    rate: u32,
}

/// Mono linear samples at a rate in Hz.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Clip {
    pub(super) samples: Vec<i16>,
    pub(super) rate: u32,
}

impl Recording {
    /// The recording of `name` (which may hold a sub-folder) in `folder` with the highest sampling rate, if there is one in
    /// a format that is read.
    pub(super) fn find(folder: &Path, name: &str) -> Result<Option<Self>, PromptError> {
        let mut best: Option<Self> = None;
        for (extension, format) in FORMATS {
            let path = folder.join(format!("{name}.{extension}"));
            if !path.is_file() {
                continue;
            }
            let rate = match format {
                Format::Wav => wav_rate(&path)?,
                Format::Signed { rate } => rate,
                Format::Coded(codec) => codec.sample_rate(),
            };
            if best.as_ref().is_none_or(|best| rate > best.rate) {
                best = Some(Self { path, format, rate });
            }
        }
        Ok(best)
    }

    pub(super) fn read(&self) -> Result<Clip, PromptError> {
        let samples = match self.format {
            Format::Wav => read_wav(&self.path)?,
            Format::Signed { rate } => {
                let bytes = self.bytes(u64::from(rate) * 2)?;
                if bytes.len() % 2 != 0 {
                    return Err(malformed(
                        &self.path,
                        "it holds half a sample too much for 16-bit audio",
                    ));
                }
                bytes
                    .chunks_exact(2)
                    .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
                    .collect()
            }
            Format::Coded(codec) => decode_whole(codec, &self.bytes(8000)?),
        };
        if samples.is_empty() {
            return Err(malformed(&self.path, "it holds no audio"));
        }
        Ok(Clip {
            samples,
            rate: self.rate,
        })
    }

    /// The file's bytes, unless it is too long.
    fn bytes(&self, bytes_a_second: u64) -> Result<Vec<u8>, PromptError> {
        let limit = bytes_a_second * LONGEST_SECONDS;
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(|source| unreadable(&self.path, source))?;
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| unreadable(&self.path, source))?;
        if bytes.len() as u64 > limit {
            return Err(PromptError::TooLong {
                path: self.path.clone(),
            });
        }
        Ok(bytes)
    }
}

/// Everything that `payload` holds. Meant for the constant-rate formats G.711 and G.722, one of whose payloads may have any length.
pub(super) fn decode_whole(codec: Codec, payload: &[u8]) -> Vec<i16> {
    let mut decoder = Decoder::new(codec);
    let mut samples = Vec::with_capacity(payload.len() * 2);
    let mut frame = [0; 320];
    for part in payload.chunks(160) {
        let decoded = decoder
            .decode(part, &mut frame)
            .expect("any bytes are G.711 and G.722");
        samples.extend_from_slice(&frame[..decoded]);
    }
    samples
}

fn wav_rate(path: &Path) -> Result<u32, PromptError> {
    Ok(open_wav(path)?.spec().sample_rate)
}

fn read_wav(path: &Path) -> Result<Vec<i16>, PromptError> {
    let wav = open_wav(path)?;
    if u64::from(wav.duration()) > u64::from(wav.spec().sample_rate) * LONGEST_SECONDS {
        return Err(PromptError::TooLong {
            path: path.to_owned(),
        });
    }
    wav.into_samples::<i16>()
        .collect::<Result<_, _>>()
        .map_err(|error| wav_error(path, error))
}

fn open_wav(path: &Path) -> Result<hound::WavReader<io::BufReader<File>>, PromptError> {
    let wav = hound::WavReader::open(path).map_err(|error| wav_error(path, error))?;
    let spec = wav.spec();
    if spec.sample_format != hound::SampleFormat::Int || spec.bits_per_sample != 16 {
        return Err(malformed(
            path,
            &format!(
                "its samples have {} bits ({:?}), 16-bit integers are read",
                spec.bits_per_sample, spec.sample_format
            ),
        ));
    }
    if spec.channels != 1 {
        return Err(malformed(
            path,
            &format!("it has {} channels, a prompt has one", spec.channels),
        ));
    }
    if !RATES.contains(&spec.sample_rate) {
        return Err(malformed(
            path,
            &format!(
                "it is sampled at {} Hz, {} to {} are read",
                spec.sample_rate,
                RATES.start(),
                RATES.end()
            ),
        ));
    }
    Ok(wav)
}

fn wav_error(path: &Path, error: hound::Error) -> PromptError {
    match error {
        // An end that comes too early has no code of the system's.
        hound::Error::IoError(source) if source.raw_os_error().is_some() => {
            unreadable(path, source)
        }
        hound::Error::Unsupported => {
            malformed(path, "it is a WAV file, but not of 16-bit PCM samples")
        }
        error => malformed(path, &format!("it is no complete WAV file ({error})")),
    }
}

fn malformed(path: &Path, reason: &str) -> PromptError {
    PromptError::Malformed {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn unreadable(path: &Path, source: io::Error) -> PromptError {
    PromptError::Unreadable {
        path: path.to_owned(),
        source,
    }
}
