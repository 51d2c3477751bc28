//! The report as JSON, schema `unisono-jitter/1`: written after a measurement, read for a comparison.
//!
//! Every field is described in `docs/jitter.md`, formally in `docs/jitter.schema.json`. Fields may be added within a
//! version; readers ignore those they do not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unisono_timer::jitter::{Cause, ClockJump, GrantedPart, Outlier};

use super::distribution::{Distribution, QUANTILES};
use super::figures::nanos;
use super::interval::{Interval, interval_length};
use super::naming::{method_name, policy_name};
use super::report::{Judged, LoadRecord, Report};

/// The version of the format.
pub const SCHEMA: &str = "unisono-jitter/1";

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program and its version.
    pub tool: String,
    /// When it was written, RFC 3339 in UTC.
    pub created: String,
    /// The command line.
    pub command: Vec<String>,
    /// What the machine is.
    pub host: Vec<Fact>,
    /// What the tool's own loads got done.
    #[serde(default)]
    pub loads: Vec<LoadRecord>,
    /// Whether every run passed and met every condition.
    pub passed: bool,
    /// The runs in order.
    pub runs: Vec<RunRecord>,
}

/// One thing known of the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// What it is about.
    pub label: String,
    /// What it says.
    pub value: String,
}

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// The method's name.
    pub method: String,
    /// Time between deadlines.
    pub period_ns: u64,
    /// The scheduling asked for, as on the command line: `fifo:80`.
    pub policy: String,
    /// The CPU it was pinned to.
    pub cpu: Option<usize>,
    /// The tool's own loads.
    pub loads: Vec<String>,
    /// What the system granted.
    pub grant: Vec<GrantedPart>,
    /// When deadline number 0 was, RFC 3339 in UTC.
    pub started: String,
    /// From the first deadline to the last tick.
    pub elapsed_ns: u64,
    /// Why it ended early, if it did.
    pub ended_early: Option<String>,
    /// Ticks that came.
    pub ticks: u64,
    /// Deadlines that there were: ticks and those missed.
    pub deadlines: u64,
    /// Deadlines without a tick of their own.
    pub missed: u64,
    /// The most of them in a row.
    pub most_missed: u64,
    /// Stalls of 60 ms or more.
    pub gaps: u64,
    /// Ticks before their deadline.
    pub early: u64,
    /// The earliest of them, ns before its deadline.
    pub earliest_ns: u64,
    /// Lateness of ticks, and of all deadlines.
    pub lateness: Lateness,
    /// How far the time between two ticks was from the period.
    pub period_error: DistributionRecord,
    /// Share of one CPU that the measuring thread used.
    pub cpu_share: f64,
    /// CPU time taken by the hypervisor, as a share of one CPU.
    pub steal_share: Option<f64>,
    /// Share of the time throttled by the CPU quota.
    pub throttled_share: Option<f64>,
    /// The verdict for 20 ms conferencing.
    pub verdict: VerdictRecord,
    /// The conditions of `--assert`.
    pub asserts: Vec<AssertRecord>,
    /// What dahdi_test would say, in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dahdi_test: Option<DahdiRecord>,
    /// Late ticks and their causes.
    pub outliers: OutlierRecord,
    /// Jumps between clocks.
    pub clock_jumps: Vec<ClockJump>,
    /// The observer's own lateness, the greatest.
    pub observer_max_ns: Option<u64>,
    /// How long each of `intervals` is.
    pub interval_ns: u64,
    /// The run in intervals, without gaps.
    pub intervals: Vec<IntervalRecord>,
}

/// Lateness twice.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lateness {
    /// Of every tick that came.
    pub raw: DistributionRecord,
    /// Of every deadline, corrected for coordinated omission.
    pub corrected: DistributionRecord,
}

/// A distribution with its histogram, all in ns.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DistributionRecord {
    /// How many values.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// Percentiles by name: `p50` to `p99.99`.
    pub percentiles: BTreeMap<String, u64>,
    /// The greatest.
    pub max: u64,
    /// Value (the greatest its bucket stands for, three digits) and how often, ascending.
    pub buckets: Vec<(u64, u64)>,
}

/// The verdict.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// Whether a conference can be held.
    pub pass: bool,
    /// `good`, `fair` or `fail`.
    pub grade: String,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// What to know about the figures.
    pub remarks: Vec<String>,
    /// The playout buffer for such a beat at both ends.
    pub playout_buffer_ms: u64,
    /// Deadlines later than 1, 5, 10, 20 ms.
    pub late: Vec<LateRecord>,
}

/// Deadlines later than a limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LateRecord {
    /// The limit.
    pub over_ms: u64,
    /// How many.
    pub count: u64,
    /// As a share of all, 0 to 1.
    pub share: f64,
}

/// A condition and whether it held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AssertRecord {
    /// As written.
    pub condition: String,
    /// What was found.
    pub measured: String,
    /// Whether it holds.
    pub held: bool,
}

/// The figure of dahdi_test, percent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DahdiRecord {
    /// Each pass.
    pub passes: Vec<f64>,
    /// The best pass.
    pub best: f64,
    /// The worst pass.
    pub worst: f64,
    /// The mean of the passes.
    pub mean: f64,
    /// Over all passes together.
    pub cumulative: f64,
}

/// Late ticks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OutlierRecord {
    /// From which lateness on.
    pub threshold_ns: u64,
    /// How many there were.
    pub count: u64,
    /// Those in `list` by cause.
    pub causes: BTreeMap<Cause, u64>,
    /// Them, or the latest of them when there were too many.
    pub list: Vec<Outlier>,
}

/// One interval; its length is the run's `interval_ns`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IntervalRecord {
    /// Deadlines due in it.
    pub deadlines: u64,
    /// Those without a tick of their own.
    pub missed: u64,
    /// Stalls of 60 ms or more that began in it. `None`: the file is of a version that did not count them.
    #[serde(default)]
    pub gaps: Option<u64>,
    /// Median of the corrected lateness, ns.
    pub p50: u64,
    /// Its 99th percentile, ns.
    pub p99: u64,
    /// The greatest, ns.
    pub max: u64,
    /// Steal of all CPUs.
    pub steal_ns: Option<u64>,
    /// Throttled time.
    pub throttled_ns: Option<u64>,
    /// Corrected lateness in ns (two digits) and how often, ascending.
    pub buckets: Vec<(u64, u64)>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It is not JSON, or a field is missing or of another type.
    #[error("not a report of 'unisono jitter --json': {0}")]
    Format(#[from] serde_json::Error),
    /// It is JSON of something else, or of another version.
    #[error(
        "the schema is '{found}', and this program reads '{SCHEMA}': measure again with this version"
    )]
    Schema {
        /// What `schema` says.
        found: String,
    },
    /// A run contradicts itself.
    #[error("run {run} contradicts itself: {what}; the file was changed or cut off")]
    Contradiction {
        /// The run's place, counted from 1.
        run: usize,
        /// What does not agree.
        what: String,
    },
}

impl Document {
    /// Reads a report that was written before.
    ///
    /// # Errors
    ///
    /// [`DocumentError`], which says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.schema != SCHEMA {
            return Err(DocumentError::Schema { found: head.schema });
        }
        let document: Self = serde_json::from_str(text)?;
        for (place, run) in document.runs.iter().enumerate() {
            run.check().map_err(|what| DocumentError::Contradiction {
                run: place + 1,
                what,
            })?;
        }
        Ok(document)
    }

    /// The report as text: one field a line, histograms on one line each.
    pub fn to_json(&self) -> String {
        // Numbers, strings and string keys can always be written.
        serde_json::to_string(self).expect("a report can be written as JSON")
    }
}

impl From<&Report> for Document {
    fn from(report: &Report) -> Self {
        let fact = |(label, value): &(String, String)| Fact {
            label: label.clone(),
            value: value.clone(),
        };
        Self {
            schema: SCHEMA.to_owned(),
            tool: report.tool.clone(),
            created: humantime::format_rfc3339_seconds(report.created).to_string(),
            command: report.command.clone(),
            host: report.host.iter().map(fact).collect(),
            loads: report.loads.clone(),
            passed: report.passed(),
            runs: report.runs.iter().map(RunRecord::from).collect(),
        }
    }
}

impl RunRecord {
    /// What does not agree in it.
    fn check(&self) -> Result<(), String> {
        for (name, distribution) in [
            ("lateness.raw", &self.lateness.raw),
            ("lateness.corrected", &self.lateness.corrected),
            ("period_error", &self.period_error),
        ] {
            check_buckets(name, distribution.count, &distribution.buckets)?;
        }
        for (place, interval) in self.intervals.iter().enumerate() {
            let name = format!("interval {place}");
            check_buckets(&name, interval.deadlines, &interval.buckets)?;
        }
        let in_intervals = self.intervals.iter().fold(0_u64, |sum, interval| {
            sum.saturating_add(interval.deadlines)
        });
        if in_intervals != self.lateness.corrected.count {
            return Err(format!(
                "its intervals hold {in_intervals} deadlines and its histogram {}",
                self.lateness.corrected.count
            ));
        }
        Ok(())
    }
}

fn check_buckets(name: &str, count: u64, buckets: &[(u64, u64)]) -> Result<(), String> {
    let held = buckets
        .iter()
        .try_fold(0_u64, |sum, &(_, count)| sum.checked_add(count));
    if held != Some(count) {
        return Err(format!(
            "the buckets of {name} do not hold its {count} values"
        ));
    }
    if !buckets.is_sorted_by(|before, after| before.0 < after.0) {
        return Err(format!("the buckets of {name} do not ascend"));
    }
    Ok(())
}

impl From<&Judged> for RunRecord {
    fn from(judged: &Judged) -> Self {
        let Judged {
            run,
            figures,
            verdict,
            outcomes,
            dahdi,
            load_failed,
        } = judged;
        Self {
            method: method_name(run.method).to_owned(),
            period_ns: nanos(run.period),
            policy: policy_name(run.policy),
            cpu: run.cpu,
            loads: run.loads.clone(),
            grant: run.grant.clone(),
            started: humantime::format_rfc3339_millis(run.started).to_string(),
            elapsed_ns: nanos(run.elapsed),
            ended_early: run.ended_early.clone(),
            ticks: figures.ticks(),
            deadlines: figures.deadlines(),
            missed: figures.missed,
            most_missed: figures.most_missed,
            gaps: figures.gaps,
            early: figures.early,
            earliest_ns: figures.earliest_ns,
            lateness: Lateness {
                raw: (&figures.raw).into(),
                corrected: (&figures.corrected).into(),
            },
            period_error: (&figures.period_error).into(),
            cpu_share: figures.cpu_share,
            steal_share: figures.steal_share,
            throttled_share: figures.throttled_share,
            verdict: VerdictRecord {
                pass: verdict.passed() && !load_failed,
                grade: verdict.grade.name().to_owned(),
                reasons: verdict.reasons.clone(),
                remarks: verdict.remarks.clone(),
                playout_buffer_ms: verdict.buffer_ms,
                late: verdict
                    .late
                    .iter()
                    .map(|late| LateRecord {
                        over_ms: late.over_ms,
                        count: late.count,
                        share: late.share,
                    })
                    .collect(),
            },
            asserts: outcomes
                .iter()
                .map(|outcome| AssertRecord {
                    condition: outcome.condition.clone(),
                    measured: outcome.measured.clone(),
                    held: outcome.held,
                })
                .collect(),
            dahdi_test: dahdi.as_ref().map(|dahdi| DahdiRecord {
                passes: dahdi.passes.clone(),
                best: dahdi.best,
                worst: dahdi.worst,
                mean: dahdi.mean,
                cumulative: dahdi.cumulative,
            }),
            outliers: OutlierRecord {
                threshold_ns: nanos(run.outlier_threshold),
                count: run.outlier_count,
                causes: figures.causes.clone(),
                list: run.outliers.clone(),
            },
            clock_jumps: run.clock_jumps.clone(),
            observer_max_ns: run.observer_lateness.iter().max().copied(),
            interval_ns: nanos(interval_length(run)),
            intervals: figures.intervals.iter().map(IntervalRecord::from).collect(),
        }
    }
}

impl From<&Distribution> for DistributionRecord {
    fn from(distribution: &Distribution) -> Self {
        let named = |(name, q): (&str, f64)| (name.to_owned(), distribution.quantile(q));
        Self {
            count: distribution.count(),
            min: distribution.min(),
            mean: distribution.mean(),
            percentiles: QUANTILES.into_iter().map(named).collect(),
            max: distribution.max(),
            buckets: distribution.buckets().collect(),
        }
    }
}

impl From<&Interval> for IntervalRecord {
    fn from(interval: &Interval) -> Self {
        Self {
            deadlines: interval.deadlines,
            missed: interval.missed,
            gaps: Some(interval.gaps),
            p50: interval.p50,
            p99: interval.p99,
            max: interval.max,
            steal_ns: interval.steal_ns,
            throttled_ns: interval.throttled_ns,
            buckets: interval.buckets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jitter::synthetic::{Shape, report, run_of};

    fn written() -> String {
        Document::from(&report(&[Shape::quiet(1), Shape::stalling(2)])).to_json()
    }

    /// The report after somebody changed one value in it.
    fn changed(pointer: &str, value: Value) -> String {
        let mut document: Value = serde_json::from_str(&written()).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        document.to_string()
    }

    #[test]
    fn what_is_written_can_be_read_and_is_the_same() {
        let text = written();
        assert_eq!(Document::parse(&text).unwrap().to_json(), text);
    }

    #[test]
    fn what_is_written_follows_the_published_schema() {
        let schema: Value =
            serde_json::from_str(include_str!("../../docs/jitter.schema.json")).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let mut reports = vec![written()];
        // With all that may be missing, and with nothing at all.
        let empty = Report {
            runs: vec![Judged::new(run_of(20, &[]), &[], None, false)],
            ..report(&[])
        };
        reports.push(Document::from(&empty).to_json());
        for text in reports {
            let document: Value = serde_json::from_str(&text).unwrap();
            let errors: Vec<String> = validator
                .iter_errors(&document)
                .map(|error| format!("{} at {}", error, error.instance_path()))
                .collect();
            assert!(errors.is_empty(), "{errors:#?}");
        }
        let without: Value = serde_json::from_str(&changed("/runs/0/lateness", json!({}))).unwrap();
        assert!(!validator.is_valid(&without), "the schema asks for nothing");
        let surplus: Value =
            serde_json::from_str(&changed("/runs/0/verdict/grade", json!("great"))).unwrap();
        assert!(!validator.is_valid(&surplus));
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_reason() {
        let refused = |text: &str| Document::parse(text).unwrap_err().to_string();
        assert!(refused("").contains("unisono jitter --json"));
        assert!(refused("[]").contains("unisono jitter --json"));
        assert!(
            refused(&changed("/schema", json!("unisono-jitter/9"))).contains("unisono-jitter/9")
        );
        assert!(
            refused(&changed("/runs/0/ticks", json!("many"))).contains("ticks")
                || refused(&changed("/runs/0/ticks", json!("many"))).contains("many")
        );
        let text = written();
        assert!(refused(&text[..text.len() / 2]).contains("EOF"));
    }

    #[test]
    fn a_run_that_contradicts_itself_is_named() {
        let refused = |pointer, value| {
            Document::parse(&changed(pointer, value))
                .unwrap_err()
                .to_string()
        };
        let error = refused("/runs/1/lateness/raw/count", json!(7));
        assert!(
            error.contains("run 2") && error.contains("lateness.raw"),
            "{error}"
        );
        let error = refused("/runs/0/intervals", json!([]));
        assert!(
            error.contains("run 1") && error.contains("0 deadlines"),
            "{error}"
        );
        let error = refused("/runs/0/period_error/buckets/0/1", json!(u64::MAX));
        assert!(error.contains("period_error"), "{error}");
        let error = refused("/runs/0/intervals/0/buckets/0/0", json!(u64::MAX));
        assert!(error.contains("ascend"), "{error}");
    }
}
