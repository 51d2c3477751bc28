//! `unisono serve`: the conference server.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::{WRONG_INPUT, complain};
use crate::config::Config;
use crate::control::Server;

#[derive(Debug, Args)]
#[command(
    after_help = "Without a configuration it listens on loopback only, and any number dialled opens a conference of \
                        that name.\ndocs/unisono.toml lists every key with its default. Set UNISONO_LOG=debug for more words."
)]
pub(super) struct ServeArguments {
    /// Configuration (TOML); every key has a default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where phones call, over UDP and TCP [default: 127.0.0.1:5060]
    #[arg(long, value_name = "ADDR:PORT")]
    sip: Option<SocketAddr>,
    /// Where the HTTP API, /healthz and /metrics are [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
}

pub(super) fn run(arguments: &ServeArguments) -> ExitCode {
    let config = match configuration(arguments) {
        Ok(config) => config,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::from(WRONG_INPUT);
        }
    };
    if let Err(complaint) = log_to_stderr() {
        complain(&complaint);
        return ExitCode::from(WRONG_INPUT);
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!("cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(config))
}

/// Logs what `UNISONO_LOG` asks for: colours for a terminal, none for a journal.
fn log_to_stderr() -> Result<(), String> {
    let wanted = std::env::var("UNISONO_LOG").unwrap_or_default();
    let wanted = if wanted.is_empty() { "info" } else { &wanted };
    let filter = EnvFilter::try_new(wanted).map_err(|error| {
        format!(
            "UNISONO_LOG={wanted}: {error}; expected error, warn, info, debug or trace, or for one part \
             unisono::sip=debug"
        )
    })?;
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(coloured)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

fn configuration(arguments: &ServeArguments) -> Result<Config, String> {
    let mut config = super::configuration(arguments.config.as_deref())?;
    if let Some(sip) = arguments.sip {
        config.sip.listen = sip;
    }
    if let Some(http) = arguments.http {
        config.http.listen = http;
    }
    Ok(config)
}

async fn serve(config: Config) -> ExitCode {
    // First of all: who is told that the server is ready may end it at once.
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        complain(&"cannot listen for signals");
        return ExitCode::FAILURE;
    };
    let mut server = match Server::start(config).await {
        Ok(server) => server,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    say(&server.greeting().join("\n"));
    let reason = tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "asked to end",
        ended = server.ended() => {
            complain(&format_args!("the server ended by itself: {ended}"));
            return ExitCode::FAILURE;
        }
    };
    say(&format!(
        "{reason}: hanging up on everybody; once more ends at once"
    ));
    tokio::select! {
        () = server.stop() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::FAILURE,
        _ = terminate.recv() => ExitCode::FAILURE,
    }
}

/// Prints for people. That nobody reads it is no reason to end.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
