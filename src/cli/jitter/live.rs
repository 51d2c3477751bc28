//! What is shown while it is measured: on a terminal a line that changes, elsewhere a line now and then. All of it on
//! standard error, so that standard output is nothing but the report.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use unisono_timer::Snapshot;
use unisono_timer::jitter::{Live, Plan};

use crate::jitter::{measured, method_name, policy_name, span};

/// Where no line can be rewritten, one is written so often.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// A line that is rewritten must not be longer than any terminal.
const COLUMNS: usize = 79;

/// What is shown, and how.
pub(super) struct View {
    terminal: bool,
    last: Instant,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            terminal: stderr().is_terminal(),
            last: Instant::now(),
        }
    }

    /// Says how long everything will take.
    pub(super) fn announce(&mut self, groups: &[Vec<Plan>]) {
        let together: Duration = groups
            .iter()
            .filter_map(|group| group.first())
            .map(|plan| plan.duration)
            .sum();
        let runs = match groups.len() {
            1 => "one run".to_owned(),
            runs => format!("{runs} runs, one after the other"),
        };
        let on = match groups.first() {
            Some(group) if group.len() > 1 => format!(", each on {} CPUs at once", group.len()),
            _ => String::new(),
        };
        self.say(&format!(
            "{runs}{on}: {} in all; Ctrl-C ends early and still reports",
            span(together)
        ));
    }

    /// A line that stays.
    pub(super) fn say(&mut self, words: &str) {
        self.write(&format!("{words}\n"));
    }

    /// That a group begins.
    pub(super) fn begin(&mut self, group: &[Plan]) {
        self.last = Instant::now();
        if let (false, Some(plan)) = (self.terminal, group.first()) {
            self.say(&format!(
                "{}, {}: measuring for {}",
                name(plan),
                policy_name(plan.policy),
                span(plan.duration)
            ));
        }
    }

    /// How far it is.
    pub(super) fn show(&mut self, group: &[Plan], lives: &[Live]) {
        if self.terminal {
            let line = line(group, lives);
            self.write(&format!("\r\x1b[K{line}"));
        } else if self.last.elapsed() >= PLAIN_EVERY {
            self.last = Instant::now();
            let line = line(group, lives);
            self.say(&line);
        }
    }

    /// That a group is over.
    pub(super) fn end(&mut self, group: &[Plan], lives: &[Live]) {
        if self.terminal {
            self.write("\r\x1b[K");
        } else {
            let line = line(group, lives);
            self.say(&line);
        }
    }

    /// That nobody can read it is no reason to stop measuring.
    fn write(&self, text: &str) {
        let mut to = stderr().lock();
        let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
    }
}

/// `timerfd 20 ms`.
fn name(plan: &Plan) -> String {
    format!("{} {}", method_name(plan.method), span(plan.period))
}

/// The figures so far, of all CPUs together and of every deadline, as the table has them.
fn line(group: &[Plan], lives: &[Live]) -> String {
    let Some(plan) = group.first() else {
        return String::new();
    };
    let progress = lives.iter().map(Live::progress).fold(1.0, f64::min);
    let mut lateness = Snapshot::empty();
    let mut missed = 0;
    for live in lives {
        lateness.merge(&live.corrected().snapshot());
        missed += live.stats().missed();
    }
    figures(&name(plan), progress, &lateness, missed)
}

fn figures(name: &str, progress: f64, lateness: &Snapshot, missed: u64) -> String {
    let percent = (progress * 100.0).floor();
    let line = if lateness.count() == 0 {
        format!("{name} {percent:3}%")
    } else {
        let p = |q| measured(lateness.quantile(q));
        format!(
            "{name} {percent:3}% p50 {} p99 {} p99.9 {} max {} missed {missed}",
            p(0.5),
            p(0.99),
            p(0.999),
            measured(lateness.max())
        )
    };
    line.chars().take(COLUMNS).collect()
}

#[cfg(test)]
mod tests {
    use unisono_timer::LatencyHistogram;

    use super::*;

    #[test]
    fn a_line_fits_a_terminal_and_has_the_figures() {
        assert_eq!(
            figures("timerfd 20 ms", 0.0, &Snapshot::empty(), 0),
            "timerfd 20 ms   0%"
        );
        let lateness = LatencyHistogram::new();
        (1..=1000).for_each(|micros| lateness.record(micros * 1000));
        let line = figures("nanosleep 2.5 ms", 0.999, &lateness.snapshot(), 12_345);
        assert!(line.starts_with("nanosleep 2.5 ms  99% p50 "), "{line}");
        assert!(line.contains("max 1.00 ms"), "{line}");
        assert!(line.chars().count() <= COLUMNS);
    }
}
