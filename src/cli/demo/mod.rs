//! `unisono demo`: proof, for a person or a script, that this machine carries a conference.
//!
//! A server is started in this process, on free ports of the loopback interface, with the defaults of `unisono serve`. Callers dial one conference over
//! real SIP and RTP, each speaks embedded speech, and what each hears is recorded from the packets it received. Then the recordings are
//! listened to: who is in them decides the verdict, not what the server says of itself.
//!
//! | file | what |
//! |---|---|
//! | `conversation.rs` | the server, the calls, the speech: what was observed |
//! | `live.rs` | what is shown meanwhile |
//! | `judge.rs` | from what was observed to a verdict |
//! | `report.rs`, `json.rs`, `wav.rs` | the verdict for people, for programs, for ears |

mod conversation;
mod json;
mod judge;
mod live;
mod report;
mod wav;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use unisono_rtp::codec::Codec;

use self::conversation::{DemoError, Plan};
use self::live::View;
use super::complain;
use super::page::Paint;

/// The codecs that can be named, best known first.
const CODECS: [(&str, Codec); 5] = [
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
    ("g722", Codec::G722),
    ("opus", Codec::Opus),
    ("l16", Codec::L16 { rate: 16000 }),
];

/// Arguments of `unisono demo`.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is installed and nobody is called: server and callers are this process, on free ports of 127.0.0.1.\n\
                  Delay is from mouth to ear: from a sample being spoken to it being received, 20 ms of packet included.\n\
                  Exit status: 0 every caller heard all others and not itself, and no packet was lost; 1 not so; 2 wrong arguments."
)]
pub(super) struct DemoArguments {
    /// How long the callers speak, 3 to 3600
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(3..=3600))]
    seconds: u32,
    /// How many call, 2 to 50; each with a voice of its own
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=50))]
    callers: u32,
    /// What they speak: pcmu, pcma, g722, opus or l16 (16 kHz)
    #[arg(long, value_name = "NAME", default_value = "pcmu", value_parser = codec_named)]
    codec: Codec,
    /// Write what each caller heard into this folder, as WAV
    #[arg(long, value_name = "DIR")]
    wav: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Runs the demo and tells its exit status.
pub(super) fn run(arguments: &DemoArguments) -> ExitCode {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format_args!("cannot start threads: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let passed = runtime.block_on(demonstrate(arguments));
    // Nobody waits for what is still being listened to after Ctrl-C.
    runtime.shutdown_background();
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether the demo passed.
async fn demonstrate(arguments: &DemoArguments) -> Result<bool, DemoError> {
    if let Some(folder) = &arguments.wav {
        // A wrong folder is noticed before anybody has waited.
        wav::prepare(folder)?;
    }
    let terminal = std::io::stdout().is_terminal();
    let mut view = match (arguments.json, terminal) {
        (true, _) => View::none(),
        (false, true) => View::live(),
        (false, false) => View::plain(),
    };
    let plan = Plan {
        callers: arguments.callers as usize,
        codec: arguments.codec,
        duration: Duration::from_secs(arguments.seconds.into()),
    };
    // Once heard of, Ctrl-C no longer ends the process: it ends the conversation, and after that the listening.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DemoError::Signals)?;
    let observed = conversation::hold(&plan, &mut interrupt, &mut view).await?;
    view.say("listening to what each caller heard ...");
    let listening = tokio::task::spawn_blocking(move || (judge::judge(&observed), observed));
    let (verdict, observed) = tokio::select! {
        judged = listening => judged?,
        _ = interrupt.recv() => return Err(DemoError::Interrupted),
    };
    view.erase();
    let files = match &arguments.wav {
        Some(folder) => wav::write(folder, &observed)?,
        None => Vec::new(),
    };
    if arguments.json {
        println!("{}", json::object(&verdict, &files));
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none();
        let paint = if colours { Paint::Ansi } else { Paint::Plain };
        print!("{}", report::text(&verdict, &files, paint));
    }
    Ok(verdict.passed())
}

fn codec_named(name: &str) -> Result<Codec, String> {
    let known = CODECS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    known.map(|(_, codec)| *codec).ok_or_else(|| {
        let names: Vec<&str> = CODECS.iter().map(|(name, _)| *name).collect();
        format!("it is one of {}", names.join(", "))
    })
}

/// The codec as a person writes it.
fn codec_name(codec: Codec) -> &'static str {
    let known = CODECS.iter().find(|(_, known)| *known == codec);
    known.map_or(codec.encoding_name(), |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_known_by_name_and_others_are_told_the_names() {
        assert_eq!(codec_named("G722"), Ok(Codec::G722));
        assert_eq!(codec_name(Codec::L16 { rate: 16000 }), "l16");
        let complaint = codec_named("g729").unwrap_err();
        assert_eq!(complaint, "it is one of pcmu, pcma, g722, opus, l16");
    }
}
