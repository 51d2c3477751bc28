//! `unisono load`: callers for any conference server, as many as it bears, and what they got for it.
//!
//! | file | what |
//! |---|---|
//! | `choices.rs` | how codecs, CPUs, times and processes are written on the command line |
//! | `live.rs` | what is shown meanwhile |
//! | `outputs.rs` | the files asked for |

mod choices;
mod live;
mod outputs;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::choices::{Codecs, Cpus, codecs, cpus, pace, process, seconds, window};
use self::live::View;
use self::outputs::Outputs;
use super::{WRONG_INPUT, complain};
use crate::jitter::Paint;
use crate::load::report::{Limit, LoadReport, Pace, Verdict, table};
use crate::load::{
    Background, Grouping, Interrupt, LoadError, LoadPlan, Ramp, TalkPattern, Target, WhichProcess,
    parse_limits,
};

/// Arguments of `unisono load`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
                  unisono load 'sip:room{}@127.0.0.1:5060' --callers 300 --conferences 100\n  \
                  unisono load sip:100@127.0.0.1 --ramp 100:5000:x1.5 --cpus 1 --html ramp.html\n  \
                  unisono load sip:100@127.0.0.1 --callers 50 --talk speech --codec mix:pcmu=70,opus=30\n  \
                  unisono load rtp:legs.json --pid 4711 --json -\n\n\
                  Everybody sends 50 packets a second and is sent as many; those who do not talk send silence. Callers are not registered and \
                  give no password. RTCP is not sent. Give server and generator CPUs of their own: what they take from each other is not the \
                  server's fault. Ctrl-C ends early, hangs up on everybody and still reports; FILE - is the standard output.\n\
                  Exit status: 0 everything held; 1 something broke, or the generator was at its own limit; 2 it could not be run.")]
pub(super) struct LoadArguments {
    /// sip:NUMBER@HOST[:PORT], where {} in NUMBER is the conference, from 0; or rtp:FILE, a list of endpoints
    ///
    /// rtp:FILE is JSON: [{"local_port": 20000, "remote": "127.0.0.1:30000", "conference": 1, "codec": "pcmu", "payload_type": 0}, ...].
    /// Nobody is called then: the server has been told of the ports already.
    #[arg(value_name = "TARGET")]
    target: Target,

    /// How many call [default: 10, or all of a list]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "ramp", help_heading = "Who calls")]
    callers: Option<u32>,
    /// More and more callers, until something breaks: FROM:TO, FROM:TO:STEP or FROM:TO:xFACTOR
    #[arg(long, value_name = "RAMP", help_heading = "Who calls")]
    ramp: Option<Ramp>,
    /// How many conferences they are spread over
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Who calls")]
    conferences: u32,
    /// So many callers in each conference, instead: a ramp then opens more and more conferences
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "conferences", help_heading = "Who calls")]
    per_conference: Option<u32>,
    /// pcmu, pcma, g722, opus, or a mixture: mix:pcmu=70,opus=30
    #[arg(long, value_name = "NAME", default_value = "pcmu", value_parser = codecs, help_heading = "Who calls")]
    codec: Codecs,

    /// Who talks in each conference: a number of talkers, all, or speech (all, in talk spurts as people do, ITU-T P.59)
    #[arg(
        long,
        value_name = "K|all|speech",
        default_value = "3",
        help_heading = "What they do"
    )]
    talk: TalkPattern,
    /// Those who do not talk send noise at -65 dBov, as open microphones do, and not digital silence
    #[arg(long, help_heading = "What they do")]
    noise: bool,
    /// How callers' packets lie in the 20 ms: even, or burst (all at once)
    #[arg(long, value_name = "PACE", default_value = "even", value_parser = pace, help_heading = "What they do")]
    pace: Pace,
    /// Another seed is another run of talk spurts
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "What they do"
    )]
    seed: u64,

    /// How long each step is measured
    #[arg(long, value_name = "S", default_value = "10", value_parser = window, help_heading = "What to measure")]
    seconds: Duration,
    /// How long each step settles before
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds, help_heading = "What to measure")]
    warm_up: Duration,
    /// What counts as broken, beside failed calls and wrong audio
    ///
    /// p99-ms: 99th percentile of how far packets come from every 20 ms. loss: percent of packets. gap-ms: longest silence of a stream.
    /// delay-ms: 99th percentile of the delay through the server. cpu: percent of a core that the server uses.
    #[arg(long, value_name = "LIMITS", default_value = "p99-ms=10,loss=0.1", value_parser = limits, help_heading = "What to measure")]
    until: Limits,
    /// How many callers are listened to: whom they hear, whom not, and how late
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(0..=1000), help_heading = "What to measure")]
    listen_to: u32,
    /// Number of the server's process, of which CPU and memory are measured [default: who has the target's port, if that can be seen]
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "server_pid", help_heading = "What to measure")]
    pid: Option<u32>,
    /// auto: it is an error if the server's process cannot be seen; or its number
    #[arg(long, value_name = "auto|PID", value_parser = process, help_heading = "What to measure")]
    server_pid: Option<WhichProcess>,

    /// Threads that send and receive [default: one fewer than there are CPUs]
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(u32).range(1..=256), help_heading = "With what")]
    threads: Option<u32>,
    /// CPUs that they are pinned to, as 1 or 0,2,4-7
    #[arg(long, value_name = "LIST", value_parser = cpus, help_heading = "With what")]
    cpus: Option<Cpus>,

    /// Everything, for programs (docs/load.md)
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    json: Option<PathBuf>,
    /// One self-contained page with curves
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    html: Option<PathBuf>,
    /// One line a step
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    csv: Option<PathBuf>,
}

/// What ends a run. A type of its own, or clap would take it for a list of values.
#[derive(Debug, Clone)]
struct Limits(Vec<Limit>);

/// Runs the load and tells its exit status.
pub(super) fn run(arguments: &LoadArguments) -> ExitCode {
    // A file that cannot be written is noticed before anybody has waited.
    let outputs = match Outputs::prepare(arguments) {
        Ok(outputs) => outputs,
        Err(complaint) => return refuse(&complaint),
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format_args!("cannot start threads: {error}")),
    };
    let plan = plan(arguments);
    let mut view = View::new();
    let result = runtime.block_on(async {
        // On a thread of the runtime, so that it may block for a moment while the others go on.
        let running = tokio::spawn(async move {
            let mut interrupt = Interrupt::listen().map_err(LoadError::Signals)?;
            let report = crate::load::run(&plan, &mut view, &mut interrupt).await;
            view.end();
            report
        });
        running.await?
    });
    runtime.shutdown_background();
    let report = match result {
        Ok(report) => report,
        Err(error) => return refuse(&error),
    };
    // First to people: a disk that is full must not cost them what was measured.
    show(&report, outputs.uses_stdout());
    let failures = outputs.write(&report);
    if !failures.is_empty() {
        failures.iter().for_each(|failure| complain(failure));
        return ExitCode::from(WRONG_INPUT);
    }
    ExitCode::from(match report.verdict {
        Verdict::Held { .. } => 0,
        Verdict::Broke { .. } => 1,
    })
}

fn refuse(complaint: &dyn std::fmt::Display) -> ExitCode {
    complain(complaint);
    ExitCode::from(WRONG_INPUT)
}

fn plan(arguments: &LoadArguments) -> LoadPlan {
    LoadPlan {
        target: arguments.target.clone(),
        callers: arguments.callers.map(|callers| callers as usize),
        grouping: match arguments.per_conference {
            Some(members) => Grouping::Members(members as usize),
            None => Grouping::Conferences(arguments.conferences as usize),
        },
        codecs: arguments.codec.0.clone(),
        talk: arguments.talk,
        background: if arguments.noise {
            Background::Noise
        } else {
            Background::Silence
        },
        pace: arguments.pace,
        duration: arguments.seconds,
        warm_up: arguments.warm_up,
        ramp: arguments.ramp,
        limits: arguments.until.0.clone(),
        process: match (arguments.pid, arguments.server_pid) {
            (Some(pid), _) => WhichProcess::Pid(pid),
            (None, Some(which)) => which,
            (None, None) => WhichProcess::IfFound,
        },
        threads: arguments.threads.map(|threads| threads as usize),
        cpus: arguments.cpus.clone().map_or_else(Vec::new, |cpus| cpus.0),
        listen_to: arguments.listen_to as usize,
        seed: arguments.seed,
        command: std::env::args_os()
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
    }
}

/// Prints the table where it does not disturb.
fn show(report: &LoadReport, stdout_is_taken: bool) {
    // That nobody reads it does not change the verdict.
    if stdout_is_taken {
        let text = table(report, paint(std::io::stderr().is_terminal()));
        let _ = std::io::stderr().write_all(text.as_bytes());
    } else {
        let text = table(report, paint(std::io::stdout().is_terminal()));
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}

fn paint(terminal: bool) -> Paint {
    if terminal && std::env::var_os("NO_COLOR").is_none() {
        Paint::Ansi
    } else {
        Paint::Plain
    }
}

fn limits(text: &str) -> Result<Limits, String> {
    parse_limits(text).map(Limits)
}
