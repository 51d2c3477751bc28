//! What is shown while it runs, all of it on standard error: on a terminal a line that changes, elsewhere a line a second.

use std::io::{IsTerminal, Write, stderr};

use crate::cli::page::COLUMNS;
use crate::load::report::Step;
use crate::load::{Progress, Second, Watcher};

/// What is shown, and how.
pub(super) struct View {
    terminal: bool,
}

impl View {
    pub(super) fn new() -> Self {
        Self {
            terminal: stderr().is_terminal(),
        }
    }

    /// Takes away the line that changes.
    pub(super) fn end(&self) {
        if self.terminal {
            put("\r\x1b[K");
        }
    }

    /// A line that the next one replaces, where that is possible.
    fn passing(&self, line: &str) {
        if self.terminal {
            let line: String = line.chars().take(COLUMNS).collect();
            put(&format!("\r\x1b[K{line}"));
        } else {
            put(&format!("{line}\n"));
        }
    }

    /// A line that stays.
    fn staying(&self, line: &str) {
        self.end();
        put(&format!("{line}\n"));
    }
}

impl Watcher for View {
    fn show(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Doing(what) => self.passing(what),
            Progress::Calling {
                connected,
                failed,
                wanted,
            } => self.passing(&calling(connected, failed, wanted)),
            Progress::Second(second) => self.passing(&line(&second)),
            Progress::Step(step) => self.staying(&summary(step)),
        }
    }
}

fn calling(connected: usize, failed: usize, wanted: usize) -> String {
    let failed = match failed {
        0 => String::new(),
        count => format!(", {count} calls failed"),
    };
    format!("{connected} of {wanted} callers connected{failed}")
}

fn line(second: &Second) -> String {
    let what = if second.warming_up {
        "settles"
    } else {
        "measured"
    };
    format!(
        "{} callers, {what} {:.0}/{:.0} s: {} out, {} in, deviation {}, own lateness {}",
        second.callers,
        second.elapsed.as_secs_f64(),
        second.of.as_secs_f64(),
        second.sent,
        second.received,
        milliseconds(second.deviation_p99_ns as f64 / 1e6),
        milliseconds(second.lateness_p99_ns as f64 / 1e6),
    )
}

/// A step that is done, in a line.
fn summary(step: &Step) -> String {
    let hearing = match &step.hearing {
        None => String::new(),
        Some(hearing) if hearing.is_right() => ", all heard right".to_owned(),
        Some(hearing) => format!(
            ", WRONG AUDIO ({} of {} heard)",
            hearing.heard, hearing.expected
        ),
    };
    let cpu = match &step.process {
        None => String::new(),
        Some(process) => format!(", server {:.0} % of a core", process.cpu_percent),
    };
    format!(
        "{} callers: deviation p99 {}, loss {:.2} %{hearing}{cpu}",
        step.callers.connected,
        milliseconds(step.streams.deviation_us.p99 / 1000.0),
        step.streams.packets.loss_percent(),
    )
}

fn milliseconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2} ms")
    } else {
        format!("{value:.0} ms")
    }
}

/// That nobody can read it is no reason to stop.
fn put(text: &str) {
    let mut to = stderr().lock();
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_is_a_line_with_its_figures() {
        let second = Second {
            callers: 1000,
            warming_up: false,
            elapsed: Duration::from_secs(3),
            of: Duration::from_secs(10),
            sent: 50_000,
            received: 49_998,
            deviation_p99_ns: 1_234_000,
            lateness_p99_ns: 15_000_000,
        };
        assert_eq!(
            line(&second),
            "1000 callers, measured 3/10 s: 50000 out, 49998 in, deviation 1.23 ms, own lateness 15 ms"
        );
        assert_eq!(calling(3, 0, 5), "3 of 5 callers connected");
        assert_eq!(calling(3, 2, 5), "3 of 5 callers connected, 2 calls failed");
    }
}
