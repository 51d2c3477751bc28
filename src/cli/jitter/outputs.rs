//! The files asked for.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::JitterArguments;
use crate::jitter::{
    Document, Judged, Report, method_name, page, span, write_csv, write_hgrm, write_histogram,
    write_hlog,
};

/// Where what goes.
pub(super) struct Outputs {
    files: Vec<(Form, PathBuf)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Csv,
    Hgrm,
    Hlog,
    Histogram,
}

/// A file that cannot be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error("only one of the outputs can be the standard output ('-')")]
    TwoOnStdout,
    #[error("{} is named for two outputs: give each a file of its own", path.display())]
    SameFile { path: PathBuf },
}

impl Outputs {
    /// Looks whether all of them can be written. Files that exist are not touched yet.
    pub(super) fn prepare(arguments: &JitterArguments) -> Result<Self, OutputError> {
        let asked = [
            (Form::Html, &arguments.html),
            (Form::Json, &arguments.json),
            (Form::Csv, &arguments.csv),
            (Form::Hgrm, &arguments.hgrm),
            (Form::Hlog, &arguments.hlog),
            (Form::Histogram, &arguments.histogram),
        ];
        let files: Vec<(Form, PathBuf)> = asked
            .into_iter()
            .filter_map(|(form, path)| Some((form, path.clone()?)))
            .collect();
        if files.iter().filter(|(_, path)| is_stdout(path)).count() > 1 {
            return Err(OutputError::TwoOnStdout);
        }
        let mut seen = Vec::new();
        let mut made = Vec::new();
        let named = files.iter().map(|(_, path)| path);
        let tried: Result<(), OutputError> =
            named.filter(|path| !is_stdout(path)).try_for_each(|path| {
                let existed = path.symlink_metadata().is_ok();
                let found = OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .and_then(|file| file.metadata())
                    .map_err(|error| OutputError::Write {
                        path: path.clone(),
                        error,
                    })?;
                if !existed {
                    made.push(path);
                }
                let identity = (found.dev(), found.ino());
                if found.is_file() && seen.contains(&identity) {
                    return Err(OutputError::SameFile { path: path.clone() });
                }
                seen.push(identity);
                Ok(())
            });
        for path in made {
            // Nothing is left behind should the measurement fail. Whether this works makes no difference.
            let _ = std::fs::remove_file(path);
        }
        tried?;
        Ok(Self { files })
    }

    /// Whether standard output is one of them.
    pub(super) fn uses_stdout(&self) -> bool {
        self.files.iter().any(|(_, path)| is_stdout(path))
    }

    /// Writes all that can be written; what could not is returned.
    pub(super) fn write(&self, report: &Report) -> Vec<OutputError> {
        let mut failures = Vec::new();
        for (form, path) in &self.files {
            let runs = report.runs.as_slice();
            match form {
                Form::Hgrm if runs.len() > 1 && !is_stdout(path) => {
                    for (place, judged) in runs.iter().enumerate() {
                        let path = beside(path, place, judged);
                        let only = std::slice::from_ref(judged);
                        failures
                            .extend(to_file(&path, |to| write_form(*form, to, report, only)).err());
                    }
                }
                _ => failures.extend(to_file(path, |to| write_form(*form, to, report, runs)).err()),
            }
        }
        failures
    }
}

fn is_stdout(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn write_form(form: Form, to: &mut dyn Write, report: &Report, runs: &[Judged]) -> io::Result<()> {
    match form {
        Form::Html => to.write_all(page(report).as_bytes()),
        Form::Json => writeln!(to, "{}", Document::from(report).to_json()),
        Form::Csv => write_csv(to, runs),
        Form::Hgrm => runs
            .iter()
            .try_for_each(|judged| write_hgrm(to, &judged.figures.corrected)),
        Form::Hlog => write_hlog(to, runs),
        Form::Histogram => write_histogram(to, runs),
    }
}

fn to_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), OutputError> {
    let written = if is_stdout(path) {
        let mut to = BufWriter::new(io::stdout().lock());
        write(&mut to).and_then(|()| to.flush())
    } else {
        File::create(path).and_then(|file| {
            let mut to = BufWriter::new(file);
            write(&mut to).and_then(|()| to.flush())
        })
    };
    match written {
        // Who closes the pipe has read enough.
        Err(error) if is_stdout(path) && error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(OutputError::Write {
            path: path.to_owned(),
            error,
        }),
        Ok(()) => Ok(()),
    }
}

/// `x.hgrm` as `x-1-timerfd-20ms.hgrm`, for one of several runs.
fn beside(path: &Path, place: usize, judged: &Judged) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let run = &judged.run;
    let mut name = format!(
        "{stem}-{}-{}-{}",
        place + 1,
        method_name(run.method),
        span(run.period).replace(' ', "")
    );
    if let Some(extension) = path.extension() {
        name += &format!(".{}", extension.to_string_lossy());
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::synthetic::{Shape, report};

    #[test]
    fn several_runs_have_files_of_their_own_beside_the_one_named() {
        let report = report(&[Shape::quiet(1)]);
        let path = beside(Path::new("/tmp/night.hgrm"), 1, &report.runs[0]);
        assert_eq!(path, Path::new("/tmp/night-2-timerfd-20ms.hgrm"));
        let path = beside(Path::new("night"), 0, &report.runs[0]);
        assert_eq!(path, Path::new("night-1-timerfd-20ms"));
    }
}
