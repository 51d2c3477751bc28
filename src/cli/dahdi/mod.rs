//! `unisono dahdi`: runs programs that were written for DAHDI, and shows what they do.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | becomes a program, with the preload library before it |
//! | `program.rs` | whether the system would put the library before a program |
//! | `library.rs` | where the library is, and how the loader is told |
//! | `elf.rs` | for which processor and which loader a file is |
//! | `refusal.rs` | why a program is not run, and what to do |
//! | `status/` | who runs with the library, and what they have open |
//! | `unit.rs` | the lines for a service of systemd |

mod elf;
mod library;
mod program;
mod refusal;
mod run;
mod status;
mod unit;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::complain;
use library::Library;
use refusal::Refusal;

/// Exit status of wrong arguments: not one that the program itself is likely to have.
pub(super) const USAGE: u8 = refusal::FAILED;

/// Arguments of `unisono dahdi`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    override_usage = "unisono dahdi -- PROGRAM [ARGS]...\n       unisono dahdi status [--json] [--channels]\n       \
                      unisono dahdi unit [SERVICE] [--group GROUP]",
    after_help = "The program runs in the place of this command, with its own process number, signals and exit status. It \
                  finds /dev/dahdi/timer, pseudo, ctl and channel, and conferences it shares with others that run so.\n\
                  Try 'unisono dahdi -- dahdi_test -c 5' (Debian package dahdi). docs/dahdi.md tells the rest.\n\
                  Exit status: the program's own; 125 the library is not found, or wrong arguments; 126 the program \
                  cannot be run with it; 127 no such program."
)]
pub(super) struct DahdiArguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// The program to run, after '--', and its arguments
    #[arg(last = true, value_name = "PROGRAM [ARGS]")]
    command: Vec<OsString>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show who runs with the library: conferences and who shares them, channels, timers, lateness
    Status(status::StatusArguments),
    /// Print the lines for a systemd service that is to run with the library
    Unit {
        /// Name of the service
        #[arg(default_value = "asterisk")]
        service: String,
        /// Group of its processes
        #[arg(long, default_value = "asterisk")]
        group: String,
    },
}

/// Runs a program, shows, or prints.
pub(super) fn run(arguments: &DahdiArguments) -> ExitCode {
    match &arguments.verb {
        None => run::run(&arguments.command),
        Some(Verb::Status(arguments)) => status::run(arguments),
        Some(Verb::Unit { service, group }) => match print_unit(service, group) {
            Ok(()) => ExitCode::SUCCESS,
            Err(refusal) => {
                complain(&refusal);
                ExitCode::from(refusal.status())
            }
        },
    }
}

fn print_unit(service: &str, group: &str) -> Result<(), Refusal> {
    let library = Library::find()?;
    print!("{}", unit::text(service, group, &library)?);
    if let Some(warning) = unit::warning(&library) {
        complain(&warning);
    }
    Ok(())
}
