//! What a run of `unisono load` found: plain values, written as JSON (schema [`SCHEMA`]) and read by every other output.
//!
//! Units are in the names of the fields. Percentages are 0 to 100. Fields may be added within a version; readers ignore
//! those they do not know. `docs/load.md` says what each figure means.
//!
//! | file | what |
//! |---|---|
//! | `table.rs` | for a terminal: one row a step, what broke and why, how the generator did |
//! | `csv.rs` | one line a step, for spreadsheets |
//! | `page/` | one page of HTML, with drawings |
//! | `words.rs` | figures and plans as people read them |

mod csv;
mod page;
#[cfg(test)]
pub(crate) mod sample;
mod table;
mod words;

pub use self::csv::csv;
pub use self::page::page;
pub use self::table::table;

use serde::{Deserialize, Serialize};

/// The version of the format.
pub const SCHEMA: &str = "unisono-load/1";

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program and its version: `unisono 0.1.0`.
    pub tool: String,
    /// When the run began, seconds since 1970 in UTC.
    pub started_unix_s: u64,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// What the machine is.
    pub machine: Vec<MachineFact>,
    /// Who was called.
    pub server: Server,
    /// What was asked for.
    pub plan: Plan,
    /// What was found: one for a plain run, one for each number of callers of a ramp, in order.
    pub steps: Vec<Step>,
    /// Whether it held.
    pub verdict: Verdict,
}

impl LoadReport {
    /// The report as JSON, indented, with a line feed at the end.
    ///
    /// # Errors
    ///
    /// None that is known: only if a value cannot be written as JSON at all.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// A report from JSON.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if it is none, or one of another version.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        let Schema { schema } = serde_json::from_str(text).map_err(ReadError::NoReport)?;
        if schema != SCHEMA {
            return Err(ReadError::OtherSchema(schema));
        }
        serde_json::from_str(text).map_err(ReadError::NoReport)
    }
}

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Something else, or cut short.
    #[error("this is no report of `unisono load`: {0}. Give a file written with --json")]
    NoReport(#[source] serde_json::Error),
    /// A report that this version does not read.
    #[error(
        "this report has the schema {0:?}, and {SCHEMA:?} is read here. Use the version of unisono that wrote it"
    )]
    OtherSchema(String),
}

/// One thing known of the machine that the generator ran on: `CPU`, `2 × Xeon`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineFact {
    /// What it is about.
    pub label: String,
    /// What it says.
    pub value: String,
}

/// Who was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// How it was reached.
    pub reached_by: ReachedBy,
    /// The target as on the command line: `sip:room{}@127.0.0.1:5060` or `rtp:FILE`.
    pub target: String,
    /// What it calls itself in SIP's `Server` or `User-Agent`.
    pub name: Option<String>,
    /// The process that was measured.
    pub pid: Option<u32>,
    /// That process's name.
    pub process_name: Option<String>,
}

/// How a server was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReachedBy {
    /// Calls by SIP.
    Sip,
    /// A list of endpoints, without signalling.
    Rtp,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Callers at the end: of a ramp, its last step.
    pub callers: usize,
    /// Conferences they are spread over at the end.
    pub conferences: usize,
    /// Who talks: `3`, `all` or `speech`.
    pub talk: String,
    /// The codecs and how many of 100 callers use each.
    pub codecs: Vec<CodecShare>,
    /// Length of a packet.
    pub ptime_ms: u32,
    /// How packets are spread over the packet time.
    pub pace: Pace,
    /// How long each step is measured.
    pub seconds: f64,
    /// How long each step is let settle before it is measured.
    pub warm_up_seconds: f64,
    /// Listeners that are checked by ear in each step.
    pub listen_to: usize,
    /// The ramp as on the command line: `100:4000:100` or `100:4000:x1.5`.
    pub ramp: Option<String>,
    /// What ends it.
    pub until: Vec<Limit>,
}

/// A codec and its share of the callers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodecShare {
    /// `pcmu`, `pcma`, `g722` or `opus`.
    pub codec: String,
    /// Of 100 callers.
    pub percent: f64,
}

/// How packets are spread over the packet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Each caller at its own place in it.
    Even,
    /// All at once.
    Burst,
}

/// A limit that a step must keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// `p99-ms` (of the deviation, milliseconds) or `loss` (percent of packets), as on the command line.
    pub criterion: String,
    /// The greatest value that is still good, in the criterion's unit.
    pub most: f64,
}

/// What was found with one number of callers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Who was there.
    pub callers: Callers,
    /// Conferences they were spread over.
    pub conferences: usize,
    /// How long it was measured.
    pub seconds: f64,
    /// What came back from the server.
    pub streams: Streams,
    /// Who was heard, if it was checked.
    pub hearing: Option<Hearing>,
    /// How long a voice takes through the server, if it was measured.
    pub mouth_to_ear: Option<MouthToEar>,
    /// What the server's process used, if it is on this machine and known.
    pub process: Option<Process>,
    /// How the generator itself did.
    pub generator: Generator,
}

/// Who was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Callers {
    /// How many should have been there.
    pub asked: usize,
    /// How many were, to the end of the step.
    pub connected: usize,
    /// Why others were not.
    pub failed: Vec<Failure>,
}

/// Calls that failed for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `486 Busy Here`, `no answer in 10 s`.
    pub reason: String,
    /// How many.
    pub count: usize,
}

/// What came back from the server, one stream a caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// Streams that should have flowed.
    pub count: usize,
    /// Of these, streams that brought no packet.
    pub silent: usize,
    /// Packets lost as a share of those expected, over the streams.
    pub loss_percent: Percentiles,
    /// How far the time between two packets of a stream was from the packet time, over the packets of all streams.
    /// By kernel time stamps of arrival.
    pub deviation_us: Percentiles,
    /// Each stream's own 99th percentile of the deviation, over the streams: whether some fare worse than others.
    #[serde(default)]
    pub stream_deviation_p99_us: Percentiles,
    /// Each stream's greatest deviation, over the streams.
    #[serde(default)]
    pub stream_deviation_max_us: Percentiles,
    /// Each stream's silences of more than 60 ms, how many, over the streams.
    #[serde(default)]
    pub stream_gaps: Percentiles,
    /// The stream with the greatest 99th percentile.
    pub worst: Option<WorstStream>,
    /// Silences of more than 60 ms in a stream that should flow.
    pub gaps: u64,
    /// The longest of them; 0 without.
    pub longest_gap_ms: f64,
    /// Packets in numbers.
    pub packets: Packets,
}

/// The stream that did worst.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorstStream {
    /// Whose it is, from 0.
    pub caller: usize,
    /// In which conference, from 0.
    pub conference: usize,
    /// Its deviation from the packet time.
    pub deviation_us: Percentiles,
    /// Its loss.
    pub loss_percent: f64,
}

/// Packets of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packets {
    /// By the callers.
    pub sent: u64,
    /// From the server.
    pub received: u64,
    /// By the gaps in the sequence numbers, and the packets that a silent stream owes.
    pub lost: u64,
    /// Out of order.
    pub late: u64,
    /// More than once.
    pub duplicated: u64,
}

impl Packets {
    /// Loss as a share of what was expected; 0 where nothing was.
    pub fn loss_percent(&self) -> f64 {
        match self.received + self.lost {
            0 => 0.0,
            expected => 100.0 * self.lost as f64 / expected as f64,
        }
    }
}

/// Who was heard by those listeners that were checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hearing {
    /// Listeners checked.
    pub listeners: usize,
    /// Talkers that they should have heard, summed over the listeners.
    pub expected: usize,
    /// Of these, heard.
    pub heard: usize,
    /// Of these, not heard.
    pub missing: usize,
    /// Talkers of other conferences that were heard.
    pub strangers: usize,
    /// Listeners that heard themselves.
    pub own_voice: usize,
    /// Some of what was wrong, in sentences.
    pub wrong: Vec<String>,
}

impl Hearing {
    /// Whether everybody heard whom they should, and nobody else.
    pub fn is_right(&self) -> bool {
        self.missing == 0 && self.strangers == 0 && self.own_voice == 0
    }
}

/// From a packet sent to the first sample of it that is heard in what comes back: without packetisation before and
/// playout after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MouthToEar {
    /// How it was measured, in words.
    pub how: String,
    /// The delay.
    pub delay_ms: Percentiles,
}

/// What the server's process used during a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// User and system time, per connected caller and packet time.
    pub cpu_us_per_participant_frame: f64,
    /// Both as a share of one core.
    pub cpu_percent: f64,
    /// User time as a share of one core.
    pub user_percent: f64,
    /// System time as a share of one core.
    pub system_percent: f64,
    /// Resident memory at the end of the step.
    pub rss_kib: u64,
    /// How much of it came with the callers: beyond what it was before the first call, per connected caller.
    pub rss_per_participant_kib: Option<f64>,
    /// Threads at the end.
    pub threads: u64,
    /// Times a thread slept, per second.
    pub voluntary_switches_per_s: f64,
    /// Times a thread was put aside, per second.
    pub involuntary_switches_per_s: f64,
}

/// How the generator itself did: where it was late, the figures are no fault of the server's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Threads that send and receive.
    pub threads: usize,
    /// How long after its time a packet was sent.
    pub lateness_us: Percentiles,
    /// User and system time of all its threads, as a share of one core.
    pub cpu_percent: f64,
    /// Packets that the kernel did not take.
    pub send_failures: u64,
    /// Packets that came and were dropped since the generator did not read in time.
    pub receive_drops: u64,
    /// Time that the host took from this machine, of all its CPUs' time.
    pub steal_percent: f64,
}

/// A distribution in a few figures. The unit is the one in the name of the field that has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many values; all others are 0 where it is 0.
    pub count: u64,
    /// Half are at most this.
    pub p50: f64,
    /// 90 % are at most this.
    pub p90: f64,
    /// 99 % are at most this.
    pub p99: f64,
    /// 99.9 % are at most this.
    pub p99_9: f64,
    /// The greatest.
    pub max: f64,
}

/// Whether it held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "lowercase")]
pub enum Verdict {
    /// Every step kept every limit.
    Held {
        /// The most callers there were.
        callers: usize,
    },
    /// A step did not.
    Broke {
        /// The callers of that step.
        callers: usize,
        /// The most callers of a step before it, which held.
        held_callers: Option<usize>,
        /// What was not kept: a criterion of the limits, or `hearing`, `calls`, `generator`.
        criterion: String,
        /// What was measured, in the criterion's unit.
        measured: f64,
        /// The limit, in the same unit.
        limit: f64,
        /// The same in words.
        sentence: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_back_as_it_was() {
        for report in [sample::plain(), sample::ramp()] {
            let text = report.json().unwrap();
            assert_eq!(LoadReport::from_json(&text).unwrap(), report);
        }
    }

    #[test]
    fn json_names_what_other_programs_look_for() {
        let text = sample::ramp().json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["schema"], "unisono-load/1");
        assert_eq!(value["server"]["reached_by"], "sip");
        assert_eq!(value["plan"]["pace"], "even");
        assert_eq!(value["verdict"]["result"], "broke");
        assert_eq!(value["verdict"]["held_callers"], 800);
        let step = &value["steps"][4];
        assert_eq!(step["streams"]["deviation_us"]["p99"], 31_500.0);
        assert_eq!(step["callers"]["failed"][0]["count"], 3);
        assert!(step["mouth_to_ear"].is_null());
    }

    #[test]
    fn fields_of_later_versions_are_ignored_and_other_schemas_refused() {
        let mut value = serde_json::to_value(sample::plain()).unwrap();
        value["moon"] = "full".into();
        value["steps"][0]["streams"]["colour"] = 3.into();
        assert_eq!(
            LoadReport::from_json(&value.to_string()).unwrap(),
            sample::plain()
        );
        value["schema"] = "unisono-load/2".into();
        let error = LoadReport::from_json(&value.to_string()).unwrap_err();
        assert!(error.to_string().contains("unisono-load/2"), "{error}");
        let error = LoadReport::from_json("[1]").unwrap_err();
        assert!(error.to_string().contains("--json"), "{error}");
    }

    #[test]
    fn a_report_of_before_streams_were_told_apart_is_still_read() {
        let mut value = serde_json::to_value(sample::plain()).unwrap();
        let streams = value["steps"][0]["streams"].as_object_mut().unwrap();
        for later in [
            "stream_deviation_p99_us",
            "stream_deviation_max_us",
            "stream_gaps",
        ] {
            assert!(streams.remove(later).is_some(), "{later}");
        }
        let report = LoadReport::from_json(&value.to_string()).unwrap();
        assert_eq!(report.steps[0].streams.stream_gaps, Percentiles::default());
    }

    #[test]
    fn loss_is_a_share_of_what_was_expected() {
        let packets = Packets {
            received: 900,
            lost: 100,
            ..Packets::default()
        };
        assert_eq!(packets.loss_percent(), 10.0);
        assert_eq!(Packets::default().loss_percent(), 0.0);
    }
}
