//! What each caller heard, as files.

use std::path::{Path, PathBuf};

use hound::{SampleFormat, WavSpec, WavWriter};

use super::conversation::{DemoError, Observed};

/// Makes the folder, if it is not there.
pub(super) fn prepare(folder: &Path) -> Result<(), DemoError> {
    std::fs::create_dir_all(folder).map_err(|source| DemoError::Folder {
        path: folder.to_owned(),
        source,
    })
}

/// Writes `NAME-heard.wav` for each caller: 16-bit mono at the codec's rate. Returns the names.
pub(super) fn write(folder: &Path, observed: &Observed) -> Result<Vec<PathBuf>, DemoError> {
    let mut files = Vec::new();
    for caller in &observed.callers {
        let path = folder.join(format!("{}-heard.wav", caller.name));
        let samples = caller.recording.as_ref().map(|heard| &*heard.samples);
        let rate = observed.codec.sample_rate();
        write_one(&path, samples.unwrap_or(&[]), rate).map_err(|source| DemoError::Wav {
            path: path.clone(),
            source,
        })?;
        files.push(path);
    }
    Ok(files)
}

fn write_one(path: &Path, samples: &[i16], sample_rate: u32) -> Result<(), hound::Error> {
    let spec = WavSpec {
        channels: 1,
        sample_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut file = WavWriter::create(path, spec)?;
    for &sample in samples {
        file.write_sample(sample)?;
    }
    file.finalize()
}
