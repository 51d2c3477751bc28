//! What a process says of itself when it is asked: see [`crate::survey()`].
//!
//! As JSON between processes, which may run different versions: what one does not know is left out, and what is missing has its default.
//! Times are in the unit that their name ends with.

use serde::{Deserialize, Serialize};

/// One process under the library, or a server that takes part.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessReport {
    /// Its number, as it sees itself.
    pub pid: u32,
    /// Its program's name.
    pub program: String,
    /// Version of unisono.
    pub version: String,
    /// Since its first open of a DAHDI device.
    pub uptime_s: f64,
    /// What its mixing thread was granted, such as `SCHED_FIFO 50, memory locked`.
    pub grant: String,
    /// Where it shares conferences, if it does.
    pub directory: Option<String>,
    /// Why it shares none, if it does not.
    pub alone: Option<String>,
    /// Opens of `/dev/dahdi/timer`.
    pub timers: TimersReport,
    /// Opens of `/dev/dahdi/pseudo`, lowest number first.
    pub channels: Vec<ChannelReport>,
    /// Conferences that it is in, lowest number first.
    pub conferences: Vec<ConferenceReport>,
    /// Steps of its conferences.
    pub steps: StepsReport,
    /// How late its mixing thread was woken.
    pub lateness: LatenessReport,
    /// How long its mixing thread waited for a thread of the program.
    pub lock_wait: WaitReport,
    /// What came from other processes.
    pub trunk: Option<TrunkReport>,
}

impl ProcessReport {
    /// As it may be shown: any local user can answer, and what it says may reach the terminal of root.
    pub(crate) fn printable(mut self) -> Self {
        let texts = [&mut self.program, &mut self.version, &mut self.grant];
        let maybe = [&mut self.directory, &mut self.alone];
        let conferences = self.conferences.iter_mut();
        let reasons = conferences.filter_map(|conference| conference.alone.as_mut());
        let maybe = maybe.into_iter().flatten().chain(reasons);
        for text in texts.into_iter().chain(maybe) {
            *text = printable(text);
        }
        self
    }
}

/// With a mark in place of each control character, such as those that begin a terminal's commands.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// The timers of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TimersReport {
    /// Open.
    pub open: usize,
    /// Of these, with a rate.
    pub running: usize,
    /// Ticks delivered.
    pub ticks: u64,
    /// Ticks that were missed.
    pub missed: u64,
}

/// A pseudo channel.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChannelReport {
    /// As `CHANNO` answers it.
    pub number: i32,
    /// The conference it is in, the channel it monitors, or 0.
    pub conference: i32,
    /// What it does there, as in `SETCONF`.
    pub mode: i32,
    /// Samples of a block.
    pub block: usize,
    /// Written and not heard yet.
    pub queued_ms: f64,
    /// The least that was queued in the last second: delay that no jitter needs.
    pub standing_ms: f64,
    /// Cut away, to bound the delay.
    pub cut_ms: f64,
    /// Dropped, as the program did not read.
    pub lost_ms: f64,
    /// Steps for which it had written too little.
    pub underruns: u64,
}

/// A conference, as one process knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConferenceReport {
    /// From 1 to 1024.
    pub number: i32,
    /// Channels of this process that are in it.
    pub members: usize,
    /// Other processes in it.
    pub shared_with: Vec<u32>,
    /// Why it is this process's alone, although the process shares others.
    pub alone: Option<String>,
}

/// Steps of 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StepsReport {
    /// Mixed.
    pub mixed: u64,
    /// Of these, late ones that were mixed at once.
    pub caught_up: u64,
    /// Skipped after a standstill.
    pub skipped: u64,
}

/// Lateness of the mixing thread.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LatenessReport {
    /// Median.
    pub p50_us: f64,
    /// Exceeded once in a hundred times.
    pub p99_us: f64,
    /// Greatest.
    pub max_us: f64,
    /// Deadlines that passed unseen.
    pub missed: u64,
}

/// Waits of the mixing thread.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitReport {
    /// Exceeded once in a hundred times.
    pub p99_us: f64,
    /// Greatest.
    pub max_us: f64,
}

/// What a process heard of others, in frames of 20 ms of one conference of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrunkReport {
    /// Heard.
    pub frames: u64,
    /// Not there in time, and heard later.
    pub late: u64,
    /// Lost.
    pub lost: u64,
    /// Left out, to win back delay.
    pub cut: u64,
}

impl From<crate::TrunkStats> for TrunkReport {
    fn from(stats: crate::TrunkStats) -> Self {
        Self {
            frames: stats.frames,
            late: stats.late,
            lost: stats.lost,
            cut: stats.cut,
        }
    }
}
