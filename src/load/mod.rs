//! Load on a conference server, from outside, and what is said of it.
//!
//! Callers enter conferences by SIP or by a list of endpoints, send speech or silence 50 times a second, and measure what they get back. It
//! shares nothing with the server, ours or another's, but datagrams and what the kernel tells of its process.
//!
//! | file | what |
//! |---|---|
//! | `run.rs` | the whole run: who is called, step by step, until something breaks |
//! | `prepare.rs` | what is done before the first call |
//! | `target.rs`, `endpoints.rs` | who is called |
//! | `dial.rs` | everybody's way in and out |
//! | `cast.rs`, `talk.rs`, `clip.rs` | who is who, who talks when, and what is said |
//! | `generator/` | the threads that send and receive |
//! | `stream.rs`, `deviations.rs` | one received stream, measured |
//! | `window.rs` | a step's figures |
//! | `ears.rs` | who is heard |
//! | `process.rs` | what the server's process uses |
//! | `ramp.rs`, `limits.rs` | how many callers, and when it is enough |
//! | [`report`] | what is said of it: JSON, table, plot |

mod cast;
mod clip;
mod deviations;
mod dial;
mod ears;
pub mod endpoints;
mod generator;
mod limits;
mod prepare;
mod process;
mod ramp;
pub mod report;
mod run;
mod stream;
mod talk;
mod target;
mod window;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use unisono_rtp::net::PortError;

pub use cast::Grouping;
pub use clip::Background;
pub use generator::GeneratorError;
pub use limits::parse as parse_limits;
pub use process::ProcessError;
pub use ramp::Ramp;
pub use run::{LoadPlan, WhichProcess, run};
pub use talk::TalkPattern;
pub use target::{Target, TargetError};

use crate::sip::BindError;

/// How far a run is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Progress<'a> {
    /// What is done now.
    Doing(&'a str),
    /// Callers dial.
    Calling {
        /// Who is connected.
        connected: usize,
        /// Calls that failed in this step.
        failed: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// Another second was measured, or waited.
    Second(Second),
    /// A step is done.
    Step(&'a report::Step),
}

/// One second of a run.
#[derive(Debug, Clone, Copy)]
pub struct Second {
    /// Callers connected.
    pub callers: usize,
    /// It settles, and is not measured yet.
    pub warming_up: bool,
    /// Since the step's warm-up or its measurement began.
    pub elapsed: Duration,
    /// How long that takes.
    pub of: Duration,
    /// Packets sent and received in the last second.
    pub sent: u64,
    /// See there.
    pub received: u64,
    /// 99th percentile of the deviations in the last second, ns.
    pub deviation_p99_ns: u64,
    /// The same of the generator's own lateness, ns.
    pub lateness_p99_ns: u64,
}

/// Who is told how far a run is.
pub trait Watcher: Send {
    /// Something happened.
    fn show(&mut self, progress: Progress<'_>);
}

/// Ctrl-C, and the other way of asking a program to end.
#[derive(Debug)]
pub struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// From now on the signals end nothing by themselves.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Until one comes.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// Who is called cannot be called.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The list of endpoints is wrong.
    #[error(transparent)]
    Endpoints(#[from] endpoints::EndpointError),
    /// The list is too short.
    #[error(
        "the list has {listed} endpoints, and {asked} callers were asked for; list more or ask for fewer"
    )]
    TooFewEndpoints {
        /// How many it has.
        listed: usize,
        /// How many callers should be.
        asked: usize,
    },
    /// Several conferences, one number.
    #[error(
        "'{target}' is one number for {conferences} conferences: write {{}} where the conference belongs, as in sip:room{{}}@127.0.0.1:5060"
    )]
    OneNumber {
        /// The target.
        target: String,
        /// How many conferences.
        conferences: usize,
    },
    /// A process cannot be measured.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Not enough descriptors.
    #[error(
        "{callers} callers need {wanted} open files, and this process may have {available}: raise the limit (ulimit -n {wanted}; for a \
         service LimitNOFILE=), or ask for at most {possible} callers"
    )]
    Descriptors {
        /// Callers asked for.
        callers: usize,
        /// What they need.
        wanted: u64,
        /// What there is.
        available: u64,
        /// Callers for which that is enough.
        possible: u64,
    },
    /// The limit of descriptors cannot be read.
    #[error("cannot find out how many files may be open: {0}")]
    Limit(#[source] io::Error),
    /// No port for a caller.
    #[error("no port for another caller: {0}; ask for fewer callers")]
    Ports(#[source] PortError),
    /// An endpoint's own port cannot be had.
    #[error(
        "endpoint {number} of the list cannot listen on {address}: {source}; end who has the port, or list another"
    )]
    LocalPort {
        /// Which, from 1.
        number: usize,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// SIP cannot be used.
    #[error(transparent)]
    Sip(#[from] BindError),
    /// Not one call came about.
    #[error("not one call was answered: {reason}")]
    NoCalls {
        /// Why most of them were not.
        reason: String,
    },
    /// The server agreed to something that was not offered.
    #[error("the server answered with {codec}, which was not offered; its answer is wrong")]
    Codec {
        /// What it answered.
        codec: &'static str,
    },
    /// The generator's threads cannot run.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// Nobody can listen for Ctrl-C.
    #[error("cannot listen for Ctrl-C: {0}")]
    Signals(#[source] io::Error),
    /// Ended before there was anything to tell.
    #[error("interrupted before anything was measured")]
    Interrupted,
    /// A task of the program itself broke down.
    #[error("listening broke down: {0}")]
    Listening(#[from] tokio::task::JoinError),
}
