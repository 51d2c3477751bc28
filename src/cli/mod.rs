//! The command line: one file a verb.

mod dahdi;
mod demo;
mod doctor;
mod jitter;
mod load;
mod page;
mod serve;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// Exit status of a command line or configuration that is wrong.
const WRONG_INPUT: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "unisono",
    version,
    about = "Conferencing for virtual machines, without a kernel module",
    long_about = "unisono mixes phone conferences on a guest that has no telephony card and whose kernel loads no \
                  modules: phones dial in over SIP, a real-time thread mixes everybody every 20 ms.",
    after_help = "Start with 'unisono demo': it calls itself with four callers and says whether they hear each other.\n\
                  Then 'unisono serve', and dial sip:100@127.0.0.1 with any softphone on this machine.",
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the conference server: phones dial sip:NUMBER@this-machine and meet in conference NUMBER
    Serve(serve::ServeArguments),
    /// Prove that this machine can carry a conference: real calls, spoken words, and a verdict
    Demo(demo::DemoArguments),
    /// Say whether this machine can carry voice, what is missing, and what grants it
    Doctor(doctor::DoctorArguments),
    /// Measure how punctual wake-ups are here, and whether that is good enough for voice
    Jitter(Box<jitter::JitterArguments>),
    /// Load a conference server, this or another, with callers, and say how many it bears
    Load(Box<load::LoadArguments>),
    /// Run a program written for DAHDI without a kernel module, or show what such programs do
    Dahdi(dahdi::DahdiArguments),
}

/// Runs the program with the process' arguments.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    match arguments.verb {
        Verb::Serve(arguments) => serve::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Doctor(arguments) => doctor::run(&arguments),
        Verb::Jitter(arguments) => jitter::run(&arguments),
        Verb::Load(arguments) => load::run(&arguments),
        Verb::Dahdi(arguments) => dahdi::run(&arguments),
    }
}

/// Prints what is wrong with the arguments, or the help that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    // That nobody reads it is no reason to end otherwise.
    let _ = error.print();
    if error.exit_code() == 0 {
        return ExitCode::SUCCESS;
    }
    let verb = std::env::args_os().nth(1).unwrap_or_default();
    ExitCode::from(match verb.to_str() {
        Some("doctor") => doctor::USAGE,
        Some("dahdi") => dahdi::USAGE,
        _ => WRONG_INPUT,
    })
}

/// The configuration in a file, or the defaults. Errors are for people, complete and with the program's name.
fn configuration(path: Option<&Path>) -> Result<Config, String> {
    let Some(path) = path else {
        return Ok(Config::default());
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!(
            "unisono: cannot read the configuration {}: {error}",
            path.display()
        )
    })?;
    Config::parse(&text, &path.display().to_string()).map_err(|errors| errors.to_string())
}

/// Prints an error the way every verb does.
fn complain(error: &dyn std::fmt::Display) {
    eprintln!("unisono: {error}");
}

/// The control plane's threads. Two are enough: audio never runs here.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("unisono-control")
        .enable_all()
        .build()
}
