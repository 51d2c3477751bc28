//! The verdict for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::codec_name;
use super::conversation::CONFERENCE;
use super::judge::{CallerVerdict, Delay, Loss, Verdict, some_of};
use crate::cli::page::{COLUMNS, Paint, wrapped};

/// Faults that are named; the table shows the rest.
const NAMED_FAULTS: usize = 3;

/// Table, figures, and one sentence that says it all.
pub(super) fn text(verdict: &Verdict, files: &[PathBuf], paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, verdict, files, paint);
    text
}

fn write_all(
    out: &mut String,
    verdict: &Verdict,
    files: &[PathBuf],
    paint: Paint,
) -> std::fmt::Result {
    let count = verdict.callers.len();
    let seconds = verdict.spoken.as_secs_f32();
    let codec = codec_name(verdict.codec);
    writeln!(
        out,
        "{count} callers spoke {codec} in one conference for {seconds:.1} s. They heard:\n"
    )?;
    let rows: Vec<[String; 5]> = verdict.callers.iter().map(row).collect();
    let head = [
        "caller",
        "hears",
        "itself",
        "packets lost",
        "delay p50 / p99",
    ]
    .map(str::to_owned);
    let width = |column: usize| {
        let cells = rows
            .iter()
            .chain([&head])
            .map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    for row in [&head].into_iter().chain(&rows) {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(
            out,
            "  {}",
            cells.collect::<Vec<_>>().join("   ").trim_end()
        )?;
    }
    writeln!(out)?;
    write_figures(out, verdict)?;
    if !files.is_empty() {
        writeln!(out, "\nWhat each caller heard is in")?;
        for file in files {
            writeln!(out, "  {}", file.display())?;
        }
    }
    writeln!(out)?;
    write_sentence(out, verdict, paint)
}

fn row(caller: &CallerVerdict) -> [String; 5] {
    let others = caller.hears.len() + caller.misses.len();
    let hears = match (caller.hears.len(), caller.misses.is_empty()) {
        (0, _) => "nobody".to_owned(),
        (_, true) if others <= 4 => some_of(&caller.hears),
        (_, true) => format!("all {others} others"),
        (heard, false) => format!("{heard} of {others}, not {}", some_of(&caller.misses)),
    };
    let itself = if caller.hears_itself { "YES" } else { "no" };
    let Loss { lost, of } = Loss {
        lost: caller.lost.lost + caller.lost_to_server.lost,
        of: caller.lost.of + caller.lost_to_server.of,
    };
    [
        caller.name.clone(),
        hears,
        itself.to_owned(),
        format!("{lost} of {of}"),
        caller.delay.map_or("-".to_owned(), milliseconds),
    ]
}

fn milliseconds(delay: Delay) -> String {
    format!("{:.0} / {:.0} ms", delay.p50, delay.p99)
}

fn write_figures(out: &mut String, verdict: &Verdict) -> std::fmt::Result {
    if let Some(delay) = verdict.delay {
        let ms = milliseconds(delay);
        write_figure(
            out,
            "delay",
            &format!("{ms}, from mouth to ear (20 ms of packet included)"),
        )?;
    }
    let late = &verdict.lateness;
    let punctuality = format!(
        "late by p50 {}, p99 {}, p99.9 {}, max {}",
        microseconds(late.p50),
        microseconds(late.p99),
        microseconds(late.p999),
        microseconds(late.max)
    );
    write_figure(out, "ticks", &punctuality)?;
    let missed = match verdict.missed_ticks {
        0 => "none".to_owned(),
        missed => format!(
            "{missed}: the machine stood still for up to {}, which can be heard",
            microseconds(late.max)
        ),
    };
    write_figure(out, "missed", &missed)?;
    let granted = match verdict.realtime {
        true => "granted",
        false => "NOT granted; it works without, but may stutter on a busy machine",
    };
    write_figure(out, "real time", granted)?;
    for part in verdict.realtime_detail.split("; ") {
        write_figure(out, "", part)?;
    }
    Ok(())
}

/// A figure with its name, on as many lines as it needs.
fn write_figure(out: &mut String, name: &str, text: &str) -> std::fmt::Result {
    const INDENT: usize = 13;
    let mut name = name;
    for line in wrapped(text, COLUMNS - INDENT) {
        writeln!(out, "  {name:<width$}{line}", width = INDENT - 2)?;
        name = "";
    }
    Ok(())
}

fn microseconds(value: f64) -> String {
    match value {
        0.0..1000.0 => format!("{value:.0} us"),
        _ => format!("{:.1} ms", value / 1000.0),
    }
}

fn write_sentence(out: &mut String, verdict: &Verdict, paint: Paint) -> std::fmt::Result {
    let (word, colour, sentence, next) = if verdict.passed() {
        let sentence =
            "every caller heard all others and not itself, no packet was lost.".to_owned();
        let next = format!(
            "run 'unisono serve', then dial sip:{CONFERENCE}@127.0.0.1 with a softphone here."
        );
        ("PASS", 32, sentence, next)
    } else {
        let faults = &verdict.faults;
        let mut sentence = faults[..faults.len().min(NAMED_FAULTS)].join("; ");
        if let Some(more @ 1..) = faults.len().checked_sub(NAMED_FAULTS) {
            write!(sentence, "; and {more} more")?;
        }
        sentence.push('.');
        let next = match verdict.realtime {
            true => "run it again with nothing else running; --wav DIR lets you listen yourself.",
            false => {
                "grant real-time priority as said above and run it again; --wav DIR lets you listen yourself."
            }
        };
        ("FAIL", 31, sentence, next.to_owned())
    };
    for (head, colour, text) in [(word, Some(colour), sentence), ("Next", None, next)] {
        let mut lines = wrapped(&text, COLUMNS - 6).into_iter();
        let first = lines.next().unwrap_or_default();
        match (paint, colour) {
            (Paint::Ansi, Some(colour)) => writeln!(out, "\x1b[1;{colour}m{head}\x1b[0m  {first}")?,
            _ => writeln!(out, "{head}  {first}")?,
        }
        for line in lines {
            writeln!(out, "      {line}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unisono_rtp::codec::Codec;

    use super::super::judge::Lateness;
    use super::*;

    fn caller(name: &str, hears: &[&str], misses: &[&str]) -> CallerVerdict {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        CallerVerdict {
            name: name.to_owned(),
            hears: owned(hears),
            misses: owned(misses),
            hears_itself: false,
            sent: 500,
            received: 500,
            lost: Loss { lost: 0, of: 500 },
            lost_to_server: Loss { lost: 0, of: 499 },
            delay: Some(Delay {
                p50: 61.2,
                p99: 70.0,
            }),
            level_dbov: -20.0,
            server: None,
        }
    }

    fn verdict() -> Verdict {
        Verdict {
            codec: Codec::Pcmu,
            spoken: Duration::from_secs(10),
            callers: vec![
                caller("anna", &["ben", "carla"], &[]),
                caller("ben", &["anna", "carla"], &[]),
                caller("carla", &["anna", "ben"], &[]),
            ],
            faults: Vec::new(),
            loss: 0.0,
            delay: Some(Delay {
                p50: 61.2,
                p99: 70.0,
            }),
            lateness: Lateness {
                ticks: 1000,
                p50: 40.0,
                p99: 90.4,
                p999: 200.0,
                max: 1234.0,
            },
            missed_ticks: 0,
            realtime: true,
            realtime_detail: "SCHED_FIFO priority 50; memory locked".to_owned(),
        }
    }

    #[test]
    fn a_success_says_so_and_what_comes_next() {
        let expected = "\
3 callers spoke pcmu in one conference for 10.0 s. They heard:

  caller   hears            itself   packets lost   delay p50 / p99
  anna     ben and carla    no       0 of 999       61 / 70 ms
  ben      anna and carla   no       0 of 999       61 / 70 ms
  carla    anna and ben     no       0 of 999       61 / 70 ms

  delay      61 / 70 ms, from mouth to ear (20 ms of packet included)
  ticks      late by p50 40 us, p99 90 us, p99.9 200 us, max 1.2 ms
  missed     none
  real time  granted
             SCHED_FIFO priority 50
             memory locked

PASS  every caller heard all others and not itself, no packet was lost.
Next  run 'unisono serve', then dial sip:100@127.0.0.1 with a softphone here.
";
        assert_eq!(text(&verdict(), &[], Paint::Plain), expected);
    }

    #[test]
    fn a_failure_names_the_faults_and_what_to_do() {
        let mut verdict = verdict();
        verdict.callers[0] = caller("anna", &["ben"], &["carla"]);
        verdict.callers[1].hears_itself = true;
        verdict.callers[2] = caller("carla", &[], &["anna", "ben"]);
        verdict.faults = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        verdict.realtime = false;
        verdict.missed_ticks = 2;
        let text = text(&verdict, &["/tmp/anna-heard.wav".into()], Paint::Plain);
        for part in [
            "anna     1 of 2, not carla",
            "YES",
            "carla    nobody",
            "missed     2: the machine stood still for up to 1.2 ms",
            "real time  NOT granted",
            "  /tmp/anna-heard.wav\n",
            "\nFAIL  a; b; c; and 1 more.\nNext  grant real-time priority",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS));
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        assert!(text(&verdict(), &[], Paint::Ansi).contains("\x1b[1;32mPASS\x1b[0m  every"));
        assert!(!text(&verdict(), &[], Paint::Plain).contains('\x1b'));
    }
}
