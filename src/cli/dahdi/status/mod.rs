//! `unisono dahdi status`: all processes that run with the library, and what they have open.
//!
//! | file | what |
//! |---|---|
//! | `found.rs` | where processes are looked for, and who is in which conference |
//! | `report.rs` | for people |
//! | `role.rs` | what a channel does, in words |
//! | `document.rs` | for programs |

mod document;
mod found;
mod report;
mod role;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::page::Paint;
use found::Found;

/// How long a process is given for its answer. What answers comes from a thread of normal priority.
const PATIENCE: Duration = Duration::from_secs(1);

/// Arguments of `unisono dahdi status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit status: 0 processes run, and all answered; 1 one did not answer, or a folder cannot be looked into; \
                  3 nobody runs with the library."
)]
pub(super) struct StatusArguments {
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Give each channel a line of its own
    #[arg(long)]
    channels: bool,
}

/// Asks all, tells, and makes it the exit status.
pub(super) fn run(arguments: &StatusArguments) -> ExitCode {
    let found = Found::ask(PATIENCE);
    let text = if arguments.json {
        format!("{:#}\n", document::object(&found))
    } else {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let paint = if colours { Paint::Ansi } else { Paint::Plain };
        report::text(&found, arguments.channels, paint)
    };
    // That nobody reads it changes nothing.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(found.status())
}
