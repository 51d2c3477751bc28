//! Running a program with the library.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use super::library::Library;
use super::program::{Rights, find, inspect};
use super::refusal::{FAILED, Refusal};
use crate::cli::complain;

/// The variable that tells the loader what to put before a program.
const PRELOAD: &str = "LD_PRELOAD";

/// Where programs are looked for without `PATH`, as `execvp` does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Becomes the program `command`, with the library before it. Returns only if that cannot be.
///
/// It has this process's number, files and limits, and a shell's signals: none is blocked, and SIGPIPE ends it.
pub(super) fn run(command: &[OsString]) -> ExitCode {
    let Some((name, arguments)) = command.split_first() else {
        complain(&"which program? Write it after '--': unisono dahdi -- PROGRAM ARGS");
        return ExitCode::from(FAILED);
    };
    match prepare(name) {
        Ok(mut program) => {
            let error = program.args(arguments).exec();
            complain(&format_args!(
                "{}: {error}{}",
                program.get_program().display(),
                advice(&error)
            ));
            ExitCode::from(Refusal::NotExecutable(name.into()).status())
        }
        Err(refusal) => {
            complain(&refusal);
            ExitCode::from(refusal.status())
        }
    }
}

/// The program as it is to be run, once it is known that the library will be put before it.
fn prepare(name: &OsStr) -> Result<Command, Refusal> {
    let search = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let path = find(name, &search)?;
    let library = Library::find()?;
    inspect(&path, &search, &library, Rights::own())?;
    let preload = library.preload(std::env::var_os(PRELOAD).as_deref())?;
    let mut program = Command::new(path);
    program.arg0(name).env(PRELOAD, preload);
    Ok(program)
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; it is on a file system mounted with 'noexec', or a security module forbids it"
        }
        io::ErrorKind::ArgumentListTooLong => "; give it fewer arguments",
        _ => "",
    }
}
