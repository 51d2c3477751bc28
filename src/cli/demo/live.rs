//! What is shown while the callers speak.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::codec_name;
use super::conversation::Plan;
use crate::caller::LineMeter;
use crate::cli::page::COLUMNS;

/// Callers that have a line of their own: with the head they fit a terminal of 24 lines.
const ROWS: usize = 18;

/// Cells of the level meter.
const METER: usize = 14;

/// The level at which the meter is empty, dBov.
const FLOOR_DBOV: f32 = -60.0;

/// One caller, to be shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    /// How the mixer names it among the talkers.
    pub(super) ssrc: u32,
    pub(super) meter: Arc<LineMeter>,
}

/// Where progress is shown.
#[derive(Debug)]
pub(super) struct View {
    kind: Kind,
    /// Lines of the terminal that are drawn over next time.
    drawn: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A terminal, redrawn in place.
    Live,
    /// One line a second.
    Plain,
    /// Nothing.
    None,
}

impl View {
    pub(super) fn live() -> Self {
        Self::of(Kind::Live)
    }

    pub(super) fn plain() -> Self {
        Self::of(Kind::Plain)
    }

    pub(super) fn none() -> Self {
        Self::of(Kind::None)
    }

    /// Time between two drawings.
    pub(super) fn interval(&self) -> Duration {
        match self.kind {
            Kind::Live => Duration::from_millis(125),
            Kind::Plain | Kind::None => Duration::from_secs(1),
        }
    }

    /// What is being done. A terminal shows the latest only.
    pub(super) fn say(&mut self, what: &str) {
        match self.kind {
            Kind::Live => self.replace(&[cut(what)]),
            Kind::Plain => put(&format!("{what}\n")),
            Kind::None => {}
        }
    }

    /// What is being done, where nothing is kept: on a terminal only.
    pub(super) fn detail(&mut self, what: &str) {
        if self.kind == Kind::Live {
            self.say(what);
        }
    }

    /// The callers, `elapsed` after they began to speak.
    pub(super) fn draw(&mut self, elapsed: Duration, plan: &Plan, shown: &[Shown]) {
        match self.kind {
            Kind::Live => self.replace(&table(elapsed, plan, shown)),
            Kind::Plain if elapsed.as_millis() >= 500 => {
                put(&format!("{}\n", line(elapsed, shown)))
            }
            Kind::Plain | Kind::None => {}
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn erase(&mut self) {
        if self.kind == Kind::Live {
            self.replace(&[]);
        }
    }

    fn of(kind: Kind) -> Self {
        Self { kind, drawn: 0 }
    }

    /// Draws over what was drawn before, in one write so that nothing flickers.
    fn replace(&mut self, lines: &[String]) {
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the first of them, then everything below goes.
            let _ = write!(text, "\x1b[{}A\r", self.drawn);
        }
        for line in lines {
            let _ = writeln!(text, "{line}\x1b[K");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.len();
        put(&text);
    }
}

/// A terminal that is gone does not keep the demo from its verdict.
fn put(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

fn table(elapsed: Duration, plan: &Plan, shown: &[Shown]) -> Vec<String> {
    let seconds = elapsed.as_secs_f32();
    let of = plan.duration.as_secs();
    let count = shown.len();
    let mut lines = vec![
        format!("unisono demo   {count} callers speak in one conference   {seconds:4.1} of {of} s"),
        String::new(),
        format!(
            "{:<9}{:<6}{:>7}{:>9}{:>6}  {:<width$}     hears",
            "caller",
            "codec",
            "sent",
            "received",
            "lost",
            "level",
            width = METER
        ),
    ];
    let codec = codec_name(plan.codec);
    for caller in shown.iter().take(ROWS) {
        let meter = &caller.meter;
        let level = meter.level_dbov();
        lines.push(cut(&format!(
            "{:<9}{codec:<6}{:>7}{:>9}{:>6}  {}{:>4} {}",
            caller.name,
            meter.sent(),
            meter.received(),
            meter.lost(),
            bar(level),
            if level > -100.0 {
                format!("{level:.0}")
            } else {
                String::new()
            },
            talkers(caller, shown),
        )));
    }
    if let Some(more @ 1..) = count.checked_sub(ROWS) {
        lines.push(format!("and {more} more"));
    }
    lines
}

fn line(elapsed: Duration, shown: &[Shown]) -> String {
    let sum = |of: fn(&LineMeter) -> u64| -> u64 { shown.iter().map(|s| of(&s.meter)).sum() };
    let (sent, received) = (sum(LineMeter::sent), sum(LineMeter::received));
    let hearing = shown
        .iter()
        .filter(|caller| caller.meter.talkers().next().is_some());
    format!(
        "{:3.0} s  {sent} packets sent, {received} received, {} lost; {} of {} hear somebody now",
        elapsed.as_secs_f32(),
        sum(LineMeter::lost),
        hearing.count(),
        shown.len()
    )
}

/// Whom a caller hears now, as the packets say.
fn talkers(caller: &Shown, shown: &[Shown]) -> String {
    let name = |ssrc: u32| shown.iter().find(|other| other.ssrc == ssrc);
    let names: Vec<&str> = caller
        .meter
        .talkers()
        .filter_map(name)
        .map(|other| &*other.name)
        .collect();
    names.join(" ")
}

/// A level as a bar, by eighths of a cell.
fn bar(level_dbov: f32) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let part = (1.0 - level_dbov / FLOOR_DBOV).clamp(0.0, 1.0);
    let eighths = (part * (METER * 8) as f32).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if eighths / 8 < METER {
        bar.push(EIGHTHS[eighths % 8]);
    }
    let filled = bar.chars().count();
    bar.extend(std::iter::repeat_n(' ', METER - filled));
    bar
}

/// At most a terminal's line: a longer one would wrap, and drawing over it would go wrong.
fn cut(line: &str) -> String {
    match line.char_indices().nth(COLUMNS) {
        None => line.to_owned(),
        Some(_) => line.chars().take(COLUMNS - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use unisono_rtp::codec::Codec;

    use super::*;

    fn shown(count: usize) -> Vec<Shown> {
        let one = |n: usize| Shown {
            name: format!("caller{n}"),
            ssrc: n as u32,
            meter: Arc::default(),
        };
        (0..count).map(one).collect()
    }

    fn plan(callers: usize) -> Plan {
        Plan {
            callers,
            codec: Codec::G722,
            duration: Duration::from_secs(10),
        }
    }

    #[test]
    fn the_table_fits_a_terminal_however_many_call() {
        for count in [2, 18, 19, 50] {
            let lines = table(Duration::from_secs(3), &plan(count), &shown(count));
            assert!(lines.len() <= 23, "{count}: {} lines", lines.len());
            assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS));
            assert_eq!(
                lines.iter().any(|line| line.starts_with("and ")),
                count > ROWS
            );
        }
    }

    #[test]
    fn the_meter_is_as_wide_at_every_level() {
        for level in -130..=0 {
            assert_eq!(bar(level as f32).chars().count(), METER, "{level}");
        }
        assert_eq!(bar(0.0), "█".repeat(METER));
        assert_eq!(bar(-127.0).trim(), "");
    }

    #[test]
    fn a_long_line_is_cut() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(COLUMNS)).chars().count(), COLUMNS);
        assert!(cut(&"x".repeat(COLUMNS + 1)).ends_with("x…"));
    }
}
