//! `unisono jitter`: how punctual wake-ups are on this machine, and whether that is good enough for voice.
//!
//! | file | what |
//! |---|---|
//! | `choices.rs` | how methods, times, policies and CPUs are written on the command line |
//! | `plans.rs` | from the arguments to what is measured |
//! | `measuring.rs` | one measurement after the other, until the end or Ctrl-C |
//! | `live.rs` | what is shown meanwhile |
//! | `outputs.rs` | the files asked for |
//! | `compare.rs` | `unisono jitter compare` |

mod choices;
mod compare;
mod live;
mod measuring;
mod outputs;
mod plans;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use unisono_timer::host::HostFacts;
use unisono_timer::jitter::Policy;
use unisono_timer::jitter::load::Load;

use self::choices::{Cpus, Methods, cpus, duration, load, methods, policy};
use self::measuring::{Measured, Measurement};
use self::outputs::Outputs;
use super::{WRONG_INPUT, complain};
use crate::jitter::{Gate, Judged, LoadRecord, Paint, Report, plan_name, table};

/// Arguments of `unisono jitter`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  \
                  unisono jitter                                        20 s, and a verdict\n  \
                  unisono jitter --duration 1h --html night.html        a long run, as a page\n  \
                  unisono jitter --method all --period 5ms,20ms         every way of waiting\n  \
                  unisono jitter --load cpu,disk --assert 'p99.9<1ms,missed=0'\n  \
                  unisono jitter --json a.json; ...; unisono jitter compare a.json b.json\n\n\
                  Times are written with a unit: 500us, 2.5ms, 20ms, 90s, 10min, 1h. FILE - is the standard output; the table \
                  then goes to standard error. Ctrl-C ends early and still reports.\n\
                  Exit status: 0 every run passed and every condition holds; 1 not so; 2 wrong arguments or files."
)]
pub(super) struct JitterArguments {
    #[command(subcommand)]
    verb: Option<JitterVerb>,

    /// Ways to wait: ticker, precise, timerfd, nanosleep, epoll, tokio, sleep, usleep, or all
    ///
    /// ticker and precise are this program's own; timerfd is what PBXes use, nanosleep what cyclictest does; epoll and
    /// tokio are those of event loops; sleep and usleep those of other mixers.
    #[arg(long, value_name = "LIST", default_value = "ticker,precise", value_parser = methods, help_heading = "What to measure")]
    method: Methods,
    /// Times between deadlines, 1ms to 60ms [default: 20ms; with --dahdi-test 4ms]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = duration, help_heading = "What to measure")]
    period: Vec<Duration>,
    /// How long each run takes
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration, help_heading = "What to measure")]
    duration: Duration,
    /// From which lateness on the cause of a late tick is looked for
    #[arg(long, value_name = "TIME", default_value = "1ms", value_parser = duration, help_heading = "What to measure")]
    outlier_threshold: Duration,

    /// Scheduling: other, fifo[:N], rr[:N] or deadline; what is refused is reported, and measured without
    #[arg(long, value_name = "POLICY", default_value = "fifo:80", value_parser = policy, help_heading = "Under which conditions")]
    policy: Policy,
    /// One CPU by number, each one at the same time, or any
    #[arg(long, value_name = "N|each|any", default_value = "any", value_parser = cpus, help_heading = "Under which conditions")]
    cpu: Cpus,
    /// Real work for the machine meanwhile: cpu, mem, disk, net
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = load, help_heading = "Under which conditions")]
    load: Vec<Load>,
    /// Do not lock memory
    #[arg(long, help_heading = "Under which conditions")]
    no_lock_memory: bool,
    /// Do not keep processors out of deep sleep (/dev/cpu_dma_latency)
    #[arg(long, help_heading = "Under which conditions")]
    no_dma_latency: bool,

    /// Conditions that every run has to meet, as 'p99.9<1ms,missed=0,max<=5ms,late10ms<0.1%,steal<1%'
    ///
    /// Names: p50, p90, p99, p99.9 or any other percentile, min, mean, max: lateness of all deadlines, missed ones
    /// included. With raw. before it (raw.p99): of those that had a tick. With period. (period.p99): error of the time between ticks.
    /// late10ms: deadlines later than that, a number or percent. missed: deadlines without a tick, a number or percent. gaps: stalls of 60 ms or
    /// more. jumps: of clocks. outliers, ticks. steal, throttled, cpu: percent.
    #[arg(long, value_name = "CONDITIONS", help_heading = "What to make of it")]
    assert: Option<Gate>,
    /// Also the figure of dahdi_test, as its users know it
    #[arg(long, help_heading = "What to make of it")]
    dahdi_test: bool,

    /// One self-contained page with curves, for people and for paper
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    html: Option<PathBuf>,
    /// Everything, histograms included, for programs and for 'compare' (docs/jitter.md)
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    json: Option<PathBuf>,
    /// Every tick, one a line
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    csv: Option<PathBuf>,
    /// Percentiles as HdrHistogram prints them, for its plotter; several runs make several files
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    hgrm: Option<PathBuf>,
    /// Interval log of HdrHistogram, all runs
    #[arg(long, value_name = "FILE", help_heading = "What to write")]
    hlog: Option<PathBuf>,
    /// Histogram in microseconds laid out as cyclictest -h does, on the standard output without FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", help_heading = "What to write")]
    histogram: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum JitterVerb {
    /// Compare two reports of --json, run by run: what got better, what got worse, and what is chance
    Compare(compare::CompareArguments),
}

/// Measures, or compares, and tells the exit status.
pub(super) fn run(arguments: &JitterArguments) -> ExitCode {
    if let Some(JitterVerb::Compare(arguments)) = &arguments.verb {
        return compare::run(arguments);
    }
    let plans = match plans::plans(arguments) {
        Ok(plans) => plans,
        Err(complaint) => return refuse(&complaint),
    };
    // A file that cannot be written is noticed before anybody has waited.
    let outputs = match Outputs::prepare(arguments) {
        Ok(outputs) => outputs,
        Err(complaint) => return refuse(&complaint),
    };
    let measured = match measuring::measure_all(&plans, &arguments.load) {
        Ok(measured) => measured,
        Err(error) => {
            complain(&error);
            return ExitCode::FAILURE;
        }
    };
    let failure = measured.failure.as_ref().map(ToString::to_string);
    let report = report(measured, arguments);
    // First to people: a disk that is full must not cost them what was measured.
    show(&report, outputs.uses_stdout());
    if let Some(failure) = failure {
        complain(&failure);
    }
    let failures = outputs.write(&report);
    if !failures.is_empty() {
        failures.iter().for_each(|failure| complain(failure));
        return ExitCode::from(WRONG_INPUT);
    }
    ExitCode::from(u8::from(!report.passed()))
}

fn refuse(complaint: &dyn std::fmt::Display) -> ExitCode {
    complain(complaint);
    ExitCode::from(WRONG_INPUT)
}

fn report(measured: Measured, arguments: &JitterArguments) -> Report {
    let host = HostFacts::read()
        .lines()
        .into_iter()
        .map(|(label, value)| (label.to_owned(), value))
        .collect();
    let judged = |Measurement { run, loads }| {
        let (gate, dahdi) = (arguments.assert.as_ref(), arguments.dahdi_test);
        Judged::new(run, &loads, gate, dahdi)
    };
    Report {
        tool: concat!("unisono ", env!("CARGO_PKG_VERSION")).to_owned(),
        created: SystemTime::now(),
        command: std::env::args_os()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect(),
        host,
        loads: measured.work.into_iter().map(LoadRecord::from).collect(),
        runs: measured.runs.into_iter().map(judged).collect(),
        not_begun: measured.not_begun.iter().map(plan_name).collect(),
    }
}

/// Prints the table where it does not disturb.
fn show(report: &Report, stdout_is_taken: bool) {
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
