//! The files asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::LoadArguments;
use crate::load::report::{LoadReport, csv, page};

/// Where what goes.
pub(super) struct Outputs {
    files: Vec<(Form, PathBuf)>,
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Html,
    Csv,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("cannot write {}: {error}; name another file", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("only one of the outputs can be the standard output ('-')")]
    TwoOnStdout,
    #[error("{} is named for two outputs: give each a file of its own", path.display())]
    SameFile { path: PathBuf },
}

impl Outputs {
    /// Looks whether all of them can be written. Files that exist are not touched yet.
    pub(super) fn prepare(arguments: &LoadArguments) -> Result<Self, OutputError> {
        let asked = [
            (Form::Json, &arguments.json),
            (Form::Html, &arguments.html),
            (Form::Csv, &arguments.csv),
        ];
        let files: Vec<(Form, PathBuf)> = asked
            .into_iter()
            .filter_map(|(form, path)| Some((form, path.clone()?)))
            .collect();
        if files.iter().filter(|(_, path)| is_stdout(path)).count() > 1 {
            return Err(OutputError::TwoOnStdout);
        }
        let mut seen = Vec::new();
        for (_, path) in files.iter().filter(|(_, path)| !is_stdout(path)) {
            let identity = writable(path).map_err(|error| OutputError::Write {
                path: path.clone(),
                error,
            })?;
            if identity.is_some() && seen.contains(&identity) || seen_by_name(&files, path) {
                return Err(OutputError::SameFile { path: path.clone() });
            }
            seen.push(identity);
        }
        Ok(Self { files })
    }

    /// Whether standard output is one of them.
    pub(super) fn uses_stdout(&self) -> bool {
        self.files.iter().any(|(_, path)| is_stdout(path))
    }

    /// Writes all that can be written; what could not is returned.
    pub(super) fn write(&self, report: &LoadReport) -> Vec<OutputError> {
        let write = |(form, path): &(Form, PathBuf)| {
            let text = match form {
                // A report is plain values, which always can be written as JSON.
                Form::Json => report.json().unwrap_or_default(),
                Form::Html => page(report),
                Form::Csv => csv(report),
            };
            put(path, &text).err().map(|error| OutputError::Write {
                path: path.clone(),
                error,
            })
        };
        self.files.iter().filter_map(write).collect()
    }
}

/// Device and inode of a file that was there; nothing is left behind of one that was not.
fn writable(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let existed = path.symlink_metadata().is_ok();
    let found = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|file| file.metadata());
    if !existed && found.is_ok() {
        // Whether this works makes no difference.
        let _ = std::fs::remove_file(path);
    }
    let found = found?;
    Ok((existed && found.is_file()).then(|| (found.dev(), found.ino())))
}

fn seen_by_name(files: &[(Form, PathBuf)], path: &Path) -> bool {
    files.iter().filter(|(_, other)| other == path).count() > 1
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    if is_stdout(path) {
        let written = io::stdout().lock().write_all(text.as_bytes());
        // Whoever stopped reading has what it wanted.
        return match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        };
    }
    File::create(path)?.write_all(text.as_bytes())
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}
