//! What the server says to callers, under the file names of Asterisk's sound packages.
//!
//! Every prompt is found, read, decoded and resampled when the library is loaded, so that nothing can fail, and nothing
//! touches a file, when one is played: [`PromptLibrary::get`] hands out shared samples. A name that the chosen folder lacks is spoken by the embedded English set,
//! and the library lists such names once. A file that is there but cannot be read is an error at load: it says which, and why.

mod audio_file;
mod embedded;
mod rate;
mod speech;
mod spoken;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use unisono_rtp::codec::Codec;

use audio_file::{Clip, LONGEST_SECONDS, Recording, decode_whole};
pub use rate::convert;
pub(crate) use rate::convert_f32;
pub use speech::{Speaker, speakers};
pub use spoken::{digits, number};

/// Where prompts come from.
#[derive(Debug, Clone, Copy)]
pub struct PromptSource<'a> {
    /// A folder of recordings (`conf-getpin.wav`, `digits/1.wav`, …), or one that holds such folders by language; `None`: the embedded set only.
    pub directory: Option<&'a Path>,
    /// The language of the prompts, as Asterisk writes it (`en`, `en_GB`, `fr`): names the sub-folder, where there are any.
    pub language: &'a str,
    /// Names to load beside [`names`], e.g. a greeting of the operator's own.
    pub also: &'a [&'a str],
}

impl Default for PromptSource<'_> {
    /// The embedded English set.
    fn default() -> Self {
        Self {
            directory: None,
            language: "en",
            also: &[],
        }
    }
}

/// Why prompts could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// The folder is not there or not readable: correct its name or its permissions.
    #[error("the prompt folder {} cannot be read: {source}", path.display())]
    Directory {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder holds none of the prompts, in no format that is read: name the folder that holds `beep.wav` or the like.
    #[error(
        "{} holds no prompts for language '{language}': a file like conf-getpin.wav is expected there, or in a sub-folder named \
         for the language (.wav, .sln, .sln16, .sln48, .g722, .ulaw and .alaw are read)",
        path.display()
    )]
    NoPrompts {
        /// The folder.
        path: PathBuf,
        /// The language asked for.
        language: String,
    },
    /// A recording cannot be opened or read: correct its permissions.
    #[error("the prompt {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A recording is not what its name says: convert it to 16-bit mono WAV, or remove it and the embedded prompt is used.
    #[error("the prompt {} cannot be used: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A recording is too long to be kept in memory: shorten it.
    #[error("the prompt {} is longer than {LONGEST_SECONDS} s", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
}

/// All prompts as linear samples at every sampling rate asked for. Cheap to share: put it in an [`Arc`].
#[derive(Debug)]
pub struct PromptLibrary {
    rates: Vec<u32>,
    prompts: HashMap<String, Vec<Arc<[i16]>>>,
    folder: Option<PathBuf>,
    substituted: Vec<String>,
    absent: Vec<String>,
}

impl PromptLibrary {
    /// Loads all prompts at `rates` (Hz, 8000 to 48000). Takes some 0.1 s of processor time a rate; blocks on files.
    ///
    /// # Errors
    /// When the folder or one of the recordings in it cannot be used. The embedded set alone cannot fail.
    ///
    /// # Panics
    /// If one of `rates` is 0.
    pub fn load(source: &PromptSource<'_>, rates: &[u32]) -> Result<Self, PromptError> {
        let folder = source
            .directory
            .map(|directory| prompt_folder(directory, source.language))
            .transpose()?;
        let rates: Vec<u32> = BTreeSet::from_iter(rates.iter().copied())
            .into_iter()
            .collect();
        let mut library = Self {
            rates,
            prompts: HashMap::new(),
            folder,
            substituted: Vec::new(),
            absent: Vec::new(),
        };
        let mut wanted: BTreeSet<&str> = source.also.iter().copied().collect();
        wanted.extend(names().map(|name| -> &str { name }));
        for name in wanted {
            library.add(name)?;
        }
        Ok(library)
    }

    /// The prompt `name` (`conf-getpin`, `digits/1`) at `sample_rate` Hz. `None` for a rate or name that was not loaded.
    pub fn get(&self, name: &str, sample_rate: u32) -> Option<Arc<[i16]>> {
        let rate = self.rates.binary_search(&sample_rate).ok()?;
        Some(Arc::clone(&self.prompts.get(name)?[rate]))
    }

    /// The prompts `names` one after the other, at `sample_rate` Hz; what was not loaded is left out. Allocates.
    pub fn sequence(&self, names: &[impl AsRef<str>], sample_rate: u32) -> Arc<[i16]> {
        let parts: Vec<_> = names
            .iter()
            .filter_map(|name| self.get(name.as_ref(), sample_rate))
            .collect();
        match parts.as_slice() {
            [one] => Arc::clone(one),
            parts => parts.concat().into(),
        }
    }

    /// The sampling rates that were loaded, Hz, ascending.
    pub fn rates(&self) -> &[u32] {
        &self.rates
    }

    /// The folder that the recordings were taken from, after the language was looked for.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Names that [`folder`](Self::folder) lacks, so that the embedded English prompt is played; sorted.
    pub fn substituted(&self) -> &[String] {
        &self.substituted
    }

    /// Names that exist nowhere, so that nothing is played; sorted. Only names in [`PromptSource::also`] can be among them.
    pub fn absent(&self) -> &[String] {
        &self.absent
    }

    fn add(&mut self, name: &str) -> Result<(), PromptError> {
        let recording = match &self.folder {
            Some(folder) => Recording::find(folder, name)?,
            None => None,
        };
        let clip = match recording {
            Some(recording) => recording.read()?,
            None => {
                let Some(clip) = embedded_clip(name) else {
                    self.absent.push(name.to_owned());
                    return Ok(());
                };
                if self.folder.is_some() {
                    self.substituted.push(name.to_owned());
                }
                clip
            }
        };
        let at_rates = self
            .rates
            .iter()
            .map(|&rate| convert(&clip.samples, clip.rate, rate).into())
            .collect();
        self.prompts.insert(name.to_owned(), at_rates);
        Ok(())
    }
}

/// The names of the embedded set: every prompt that the server plays, and what else Asterisk's sound packages have for
/// conferences.
pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
    embedded::PROMPTS.iter().map(|&(name, _)| name)
}

fn embedded_clip(name: &str) -> Option<Clip> {
    let (_, g722) = embedded::PROMPTS.iter().find(|(known, _)| *known == name)?;
    Some(Clip {
        samples: decode_whole(Codec::G722, g722),
        rate: Codec::G722.sample_rate(),
    })
}

/// The folder with the recordings: `directory` itself when it holds any, else its sub-folder for the language: `en_GB`, else the first of
/// `en_GB_*` (Debian's packages add the speaker: `en_US_f_Allison`), else the same for `en`.
fn prompt_folder(directory: &Path, language: &str) -> Result<PathBuf, PromptError> {
    let unreadable = |source| PromptError::Directory {
        path: directory.to_owned(),
        source,
    };
    if holds_prompts(directory)? {
        return Ok(directory.to_owned());
    }
    let mut folders = BTreeSet::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.path().is_dir() {
            folders.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let general = language.split('_').next().unwrap_or(language);
    for wanted in [language, general] {
        for folder in &folders {
            let rest = folder.strip_prefix(wanted);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_')) {
                let candidate = directory.join(folder);
                if holds_prompts(&candidate)? {
                    return Ok(candidate);
                }
            }
        }
    }
    Err(PromptError::NoPrompts {
        path: directory.to_owned(),
        language: language.to_owned(),
    })
}

fn holds_prompts(folder: &Path) -> Result<bool, PromptError> {
    for name in names() {
        if Recording::find(folder, name)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
