//! The report in a terminal: one row a run, then what was said of it.

use std::fmt::Write;

use unisono_timer::jitter::{Cause, Run};

use crate::jitter::figures::Figures;
use crate::jitter::gate::Outcome;
use crate::jitter::naming::{measured, method_name, percent, policy_name, run_name, span};
use crate::jitter::report::{Judged, Report};
use crate::jitter::verdict::Grade;

use super::dahdi_lines;

/// Whether colours are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Escape sequences of a terminal.
    Ansi,
    /// Nothing but text.
    Plain,
}

impl Paint {
    /// For what is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// For what is between.
    pub(crate) fn fair(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// For what is not.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31;1", text)
    }

    /// For what matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// No line is longer, unless a single word is.
const COLUMNS: usize = 100;

/// Everything a person wants to know at once. Within 100 columns.
pub fn table(report: &Report, paint: Paint) -> String {
    let mut text = String::new();
    if !report.loads.is_empty() {
        text += "Load while measuring:\n";
    }
    for load in &report.loads {
        say(&mut text, &load.line(), |line| match load.error {
            Some(_) => paint.bad(line),
            None => line.to_owned(),
        });
    }
    let _ = writeln!(
        text,
        "{:<9} {:>6} {:<8} {:>3} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>7} {:>6}  verdict",
        "method",
        "period",
        "policy",
        "cpu",
        "ticks",
        "p50",
        "p99",
        "p99.9",
        "max",
        "missed",
        ">10 ms",
        "buffer",
    );
    for judged in &report.runs {
        let _ = writeln!(text, "{}", row(judged, paint));
    }
    let _ = writeln!(
        text,
        "{}",
        paint.dim(
            "p50 to max: how late work for a deadline began; those that a late tick swallowed count as well.\n\
             >10 ms: share of deadlines later than that. buffer: playout buffer for such a beat at both ends,\n\
             to which the network's jitter adds. cpu: the one it was pinned to."
        )
    );
    if report.runs.iter().any(|judged| refused(&judged.run)) {
        let _ = writeln!(
            text,
            "{}",
            paint.dim("!: this scheduling was refused, and measured without.")
        );
    }
    for name in &report.not_begun {
        let _ = writeln!(text, "Not measured, as it ended early: {name}");
    }
    let shared = shared_remarks(report);
    for judged in &report.runs {
        text.push('\n');
        text += &said(judged, &shared, paint);
    }
    if !shared.is_empty() {
        text += "\nEvery run:\n";
        shared
            .iter()
            .for_each(|remark| say(&mut text, remark, |line| paint.dim(line)));
    }
    text
}

/// What there is to remark of all of several runs.
fn shared_remarks(report: &Report) -> Vec<String> {
    match report.runs.as_slice() {
        [first, others @ ..] if !others.is_empty() => {
            let everywhere = |remark: &&String| {
                others
                    .iter()
                    .all(|other| other.verdict.remarks.contains(remark))
            };
            first
                .verdict
                .remarks
                .iter()
                .filter(everywhere)
                .cloned()
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the scheduling asked for was refused.
fn refused(run: &Run) -> bool {
    let scheduling = run.grant.iter().find(|part| part.part == "scheduling");
    scheduling.is_some_and(|part| !part.granted)
}

/// Appends words, broken into lines and indented.
fn say(text: &mut String, words: &str, paint: impl Fn(&str) -> String) {
    for (number, line) in broken(words, COLUMNS - 4).iter().enumerate() {
        let indent = if number == 0 { "  " } else { "    " };
        let _ = writeln!(text, "{indent}{}", paint(line));
    }
}

/// Words in lines of at most `columns`, unless a single word is longer.
pub(crate) fn broken(words: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in words.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= columns => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn row(judged: &Judged, paint: Paint) -> String {
    let Judged {
        run,
        figures,
        verdict,
        load_failed,
        ..
    } = judged;
    let p = |q| measured(figures.corrected.quantile(q));
    format!(
        "{:<9} {:>6} {:<8} {:>3} {:>7} {:>7} {:>7} {:>7} {:>7} {:>6} {:>7} {:>6}  {}",
        method_name(run.method),
        span(run.period),
        // What was refused was measured without.
        if refused(run) {
            format!("{}!", policy_name(run.policy))
        } else {
            policy_name(run.policy)
        },
        run.cpu
            .map_or_else(|| "any".to_owned(), |cpu| cpu.to_string()),
        figures.ticks(),
        p(0.5),
        p(0.99),
        p(0.999),
        measured(figures.corrected.max()),
        figures.missed,
        percent(figures.corrected.share_above(10_000_000)).replace(' ', ""),
        format!("{} ms", verdict.buffer_ms),
        match verdict.grade {
            _ if *load_failed => paint.bad("NO LOAD"),
            Grade::Good => paint.good("PASS"),
            Grade::Fair => paint.fair("PASS"),
            Grade::Fail => paint.bad("FAIL"),
        },
    )
}

fn grade(judged: &Judged, paint: Paint) -> String {
    match judged.verdict.grade {
        _ if judged.load_failed => paint.bad("NO LOAD"),
        Grade::Good => paint.good("PASS good"),
        Grade::Fair => paint.fair("PASS fair"),
        Grade::Fail => paint.bad("FAIL"),
    }
}

/// Reasons, remarks, causes and conditions of one run.
fn said(judged: &Judged, shared: &[String], paint: Paint) -> String {
    let Judged {
        run,
        figures,
        verdict,
        outcomes,
        dahdi,
        ..
    } = judged;
    let mut text = format!("{}: {}\n", run_name(run), grade(judged, paint));
    let mut plain = |words: &str| say(&mut text, words, str::to_owned);
    verdict.reasons.iter().for_each(|reason| plain(reason));
    plain(&machine(figures));
    if run.outlier_count > 0 {
        plain(&causes(judged));
    }
    for jump in &run.clock_jumps {
        plain(&format!(
            "{:?} clock jumped by {:+.3} ms after {}",
            jump.clock,
            jump.by_ns as f64 / 1e6,
            measured(jump.at_ns)
        ));
    }
    for remark in verdict
        .remarks
        .iter()
        .filter(|remark| !shared.contains(remark))
    {
        say(&mut text, remark, |line| paint.dim(line));
    }
    for outcome in outcomes {
        let _ = writeln!(text, "  {}", condition(outcome, paint));
    }
    if let Some(dahdi) = dahdi {
        say(&mut text, "As dahdi_test would have it:", str::to_owned);
        for line in dahdi_lines(dahdi, judged).lines() {
            say(&mut text, line, |line| format!("  {line}"));
        }
    }
    text
}

/// What the run cost, and what the host took.
fn machine(figures: &Figures) -> String {
    let told = |share: Option<f64>| share.map_or_else(|| "not told".to_owned(), percent);
    format!(
        "measuring used {} of a CPU; steal {} of one, throttled {} of the time",
        percent(figures.cpu_share),
        told(figures.steal_share),
        told(figures.throttled_share)
    )
}

fn causes(judged: &Judged) -> String {
    let mut causes: Vec<_> = judged.figures.causes.iter().collect();
    causes.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let guest_stood_still = judged.run.outliers.iter().filter(|outlier| {
        let observer = outlier.evidence.observer_lateness_ns.unwrap_or(0);
        outlier.cause == Cause::Unknown && observer >= (outlier.lateness_ns / 2).max(1)
    });
    let also_late = guest_stood_still.count();
    let causes: Vec<String> = causes
        .iter()
        .map(|&(cause, count)| match cause {
            Cause::Unknown if also_late > 0 => {
                format!(
                    "{cause} {count} ({also_late} with the observer on another CPU late as well)"
                )
            }
            _ => format!("{cause} {count}"),
        })
        .collect();
    let plural = if judged.run.outlier_count == 1 {
        ""
    } else {
        "s"
    };
    format!(
        "{} tick{plural} {} or more late: {}",
        judged.run.outlier_count,
        span(judged.run.outlier_threshold),
        causes.join(", ")
    )
}

fn condition(outcome: &Outcome, paint: Paint) -> String {
    let held = if outcome.held {
        paint.good("holds")
    } else {
        paint.bad("does not hold")
    };
    format!("{} {held}: {}", outcome.condition, outcome.measured)
}

#[cfg(test)]
mod tests {
    use unisono_timer::jitter::{Method, Policy};

    use super::*;
    use crate::jitter::synthetic::{Shape, report, run};
    use crate::jitter::{Document, LoadRecord, page};

    #[test]
    fn what_is_true_of_all_runs_is_said_once() {
        let report = report(&[Shape::quiet(1), Shape::stalling(2)]);
        let text = table(&report, Paint::Plain);
        assert_eq!(text.matches("memory not granted").count(), 1, "{text}");
        let alone = Report {
            runs: report.runs[..1].to_vec(),
            ..report
        };
        assert!(table(&alone, Paint::Plain).contains("memory not granted"));
    }

    #[test]
    fn a_load_says_what_it_did_and_one_that_failed_is_no_pass() {
        let quiet = report(&[Shape::quiet(1)]);
        assert!(quiet.passed());
        let load = |load: &str, error: Option<&str>| LoadRecord {
            load: load.to_owned(),
            amount: 320,
            unit: "MiB copied".to_owned(),
            error: error.map(str::to_owned),
        };
        let under = |loads: Vec<LoadRecord>| Report {
            runs: vec![Judged::new(run(&Shape::quiet(1)), &loads, None, false)],
            loads,
            ..quiet.clone()
        };
        let well = under(vec![load("mem", None)]);
        assert!(well.passed());
        let text = table(&well, Paint::Plain);
        assert!(
            text.starts_with("Load while measuring:\n  mem: 320 MiB copied\nmethod "),
            "{text}"
        );

        let failed = under(vec![load("mem", None), load("disk", Some("no space left"))]);
        assert!(!failed.passed());
        let text = table(&failed, Paint::Plain);
        for words in [
            "  mem: 320 MiB copied\n  disk: 320 MiB copied, then it FAILED: no space left\n",
            "the load disk failed (no space left)",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        assert!(!text.contains("PASS"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
        let document = Document::from(&failed);
        assert_eq!(document.loads, failed.loads);
        assert!(!document.passed && !document.runs[0].verdict.pass);
        assert!(page(&failed).contains("NO LOAD"));
    }

    #[test]
    fn ticks_that_nothing_explains_say_how_often_the_guest_stood_still() {
        let mut report = report(&[Shape::stalling(1)]);
        let outliers = &mut report.runs[0].run.outliers;
        assert!(outliers.len() >= 3);
        outliers.truncate(3);
        for (outlier, observer_ms) in outliers.iter_mut().zip([Some(4), Some(5), None]) {
            outlier.cause = Cause::Unknown;
            outlier.lateness_ns = 10_000_000;
            outlier.evidence.observer_lateness_ns = observer_ms.map(|ms| ms * 1_000_000);
        }
        report.runs[0] = Judged::new(report.runs[0].run.clone(), &[], None, false);
        let text = table(&report, Paint::Plain);
        let words = "unknown 3 (1 with the observer on another CPU late as well)";
        let unbroken: Vec<&str> = text.split_whitespace().collect();
        assert!(unbroken.join(" ").contains(words), "{text}");
    }

    #[test]
    fn words_are_broken_between_words() {
        assert_eq!(broken("one two three", 7), ["one two", "three"]);
        assert_eq!(
            broken("one twothreefour five", 7),
            ["one", "twothreefour", "five"]
        );
        assert_eq!(broken("", 7), [""]);
    }

    #[test]
    fn each_run_is_a_row_within_a_hundred_columns() {
        let mut report = report(&[Shape::quiet(1), Shape::stalling(2)]);
        report.runs[0].run.method = Method::Nanosleep;
        report.runs[0].run.policy = Policy::Deadline;
        report.runs[0].run.cpu = Some(127);
        let text = table(&report, Paint::Plain);
        let rows: Vec<&str> = text.lines().take(3).collect();
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(COLUMNS), "{longest:?} in\n{text}");
        assert!(
            rows[1].starts_with("nanosleep  20 ms deadline 127"),
            "{text}"
        );
        assert!(rows[1].ends_with("PASS"), "{text}");
        assert!(rows[2].ends_with("FAIL"), "{text}");
        for words in [
            "stood still",
            "steal",
            "memory not granted",
            "missed=0 does not hold",
            "p99<1s holds",
            "Best:",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        assert!(!text.contains('\x1b'));
        assert!(table(&report, Paint::Ansi).contains("\x1b[32mPASS good\x1b[0m"));
    }
}
