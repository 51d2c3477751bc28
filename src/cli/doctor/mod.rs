//! `unisono doctor`: whether this machine can carry voice, and what to type where it cannot.
//!
//! | file | what |
//! |---|---|
//! | `report.rs` | the diagnosis for people |
//! | `document.rs` | the diagnosis for programs |

mod document;
mod report;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::complain;
use super::page::Paint;
use crate::doctor::{Diagnosis, Verdict, examine};

/// Exit status of wrong arguments or a wrong configuration, as sysexits.h has it: 2 would say that the machine is unfit.
pub(super) const USAGE: u8 = 64;

/// Arguments of `unisono doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is changed: it asks for the real-time treatment that 'unisono serve' asks for, tries its ports, and \
                  measures a worker's beat. Run it as the user, in the container or unit, that will run the server.\n\
                  Exit status: 0 fit; 1 fit with warnings; 2 unfit; 64 wrong arguments or configuration."
)]
pub(super) struct DoctorArguments {
    /// Configuration of the server (TOML): legs, ports, priority; without it the defaults are looked at
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to measure, seconds, 3 to 600
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=600))]
    duration: u64,
    /// Print also all that the machine tells of itself; JSON always has it
    #[arg(long)]
    facts: bool,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Examines, tells, and makes the verdict the exit status.
pub(super) fn run(arguments: &DoctorArguments) -> ExitCode {
    let config = match super::configuration(arguments.config.as_deref()) {
        Ok(config) => config,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::from(USAGE);
        }
    };
    let waiting = std::io::stderr().is_terminal() && !arguments.json;
    if waiting {
        eprint!("measuring for {} s ...", arguments.duration);
    }
    let examined = examine(&config, Duration::from_secs(arguments.duration));
    if waiting {
        // Back to the line's beginning, and everything after it erased.
        eprint!("\r\x1b[K");
    }
    let examination = match examined {
        Ok(examination) => examination,
        Err(error) => {
            complain(&format_args!(
                "cannot start a thread: {error}; raise the limit of tasks (TasksMax=, ulimit -u)"
            ));
            return ExitCode::from(Verdict::Unfit.exit_status());
        }
    };
    let diagnosis = Diagnosis::of(&examination);
    let text = if arguments.json {
        format!("{:#}\n", document::object(&examination, &diagnosis))
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let paint = if colours { Paint::Ansi } else { Paint::Plain };
        report::text(&examination, &diagnosis, arguments.facts, paint)
    };
    // That nobody reads it does not change the verdict.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(diagnosis.verdict().exit_status())
}
