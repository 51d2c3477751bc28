//! What was found, for people: conferences first, then each process.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Duration;

use unisono_dahdi_trunk::report::{ChannelReport, ProcessReport};

use super::found::{Found, NOBODY, Place};
use super::role::role;
use crate::cli::page::{COLUMNS, Paint, wrapped};
use crate::jitter::measured;

/// Where values of a process begin.
const INDENT: usize = 13;

/// Everything; lines are of [`COLUMNS`] at most. With `each`, every channel has a line.
pub(super) fn text(found: &Found, each: bool, paint: Paint) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, found, each, paint);
    text
}

fn write_all(out: &mut String, found: &Found, each: bool, paint: Paint) -> fmt::Result {
    write_headline(out, found, paint)?;
    for place in &found.places {
        if found.places.len() > 1 || place.answered().is_empty() {
            writeln!(out)?;
            write_entry(out, "looked in", &place.path.display().to_string())?;
        }
        if let Err(error) = &place.processes {
            write_trouble(out, "NOT SEEN", error, paint)?;
        }
        for (process, error) in &place.unanswered {
            let silent = format!("process {process}: {error}");
            write_trouble(out, "NO ANSWER", &silent, paint)?;
        }
        write_conferences(out, place)?;
        for process in place.answered() {
            write_process(out, process, each, paint)?;
        }
    }
    if found.status() == NOBODY {
        write_advice(out)?;
    }
    Ok(())
}

fn write_headline(out: &mut String, found: &Found, paint: Paint) -> fmt::Result {
    // What processes say of themselves may be anything.
    let sum = |count: fn(&ProcessReport) -> usize| {
        let counts = found.processes().map(count);
        counts.fold(0, usize::saturating_add)
    };
    let processes = found.processes().count();
    if processes == 0 {
        let silent = found.places.iter().any(|p| !p.unanswered.is_empty());
        let nobody = if silent {
            "Nobody who runs with unisono's DAHDI library answers."
        } else {
            "Nobody is seen to run with unisono's DAHDI library."
        };
        return writeln!(out, "{}", painted(nobody, BOLD, paint));
    }
    let conferences: usize = found.places.iter().map(|p| p.conferences().len()).sum();
    let headline = format!(
        "{}, {}, {}, {}",
        counted(processes, "process", "processes"),
        counted(conferences, "conference", "conferences"),
        counted(sum(|p| p.channels.len()), "channel", "channels"),
        counted(sum(|p| p.timers.open), "timer", "timers"),
    );
    writeln!(out, "{}", painted(&headline, BOLD, paint))
}

fn write_advice(out: &mut String) -> fmt::Result {
    writeln!(out)?;
    write_entry(out, "start one", "unisono dahdi -- PROGRAM ARGS")?;
    write_entry(
        out,
        "a service",
        "'unisono dahdi unit SERVICE' prints its lines",
    )?;
    write_entry(
        out,
        "note",
        "Processes are seen in /run/unisono/dahdi, and in the folders of users; of one that may not write there, or that is in \
         another container, nothing is seen. UNISONO_DAHDI_DIR names another folder.",
    )
}

fn write_conferences(out: &mut String, place: &Place) -> fmt::Result {
    let conferences = place.conferences();
    if conferences.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nconference  members")?;
    for conference in conferences {
        let shares: Vec<String> = conference
            .shares
            .iter()
            .map(|&(n, members)| {
                let process = &place.answered()[n];
                format!("{} of {} ({})", members, process.program, process.pid)
            })
            .collect();
        let mut head = format!("{:<10}  {:>7}  ", conference.number, conference.members());
        for line in wrapped(&shares.join(", "), COLUMNS - head.len()) {
            writeln!(out, "{head}{line}")?;
            head = " ".repeat(head.len());
        }
    }
    Ok(())
}

fn write_process(
    out: &mut String,
    process: &ProcessReport,
    each: bool,
    paint: Paint,
) -> fmt::Result {
    let head = format!("{}, process {}", process.program, process.pid);
    let age = humantime::format_duration(Duration::from_secs(process.uptime_s as u64));
    let version = match process.version.as_str() {
        env!("CARGO_PKG_VERSION") => String::new(),
        other => format!(", unisono {other}"),
    };
    writeln!(out, "\n{}  for {age}{version}", painted(&head, BOLD, paint))?;
    let micros = |micros: f64| measured((micros * 1000.0) as u64);
    if !process.grant.is_empty() {
        write_entry(out, "  real time", &process.grant)?;
    }
    let late = process.lateness;
    // Who has timers only has no thread that mixes.
    if late.max_us > 0.0 || late.missed > 0 {
        let lateness = format!(
            "late by p50 {}, p99 {}, max {}; {} missed",
            micros(late.p50_us),
            micros(late.p99_us),
            micros(late.max_us),
            number(late.missed)
        );
        write_entry(out, "  wake-ups", &lateness)?;
    }
    let steps = process.steps;
    if steps.mixed > 0 || steps.skipped > 0 {
        let held_up = if process.lock_wait.max_us > 0.0 {
            format!(
                "p99 {}, max {}",
                micros(process.lock_wait.p99_us),
                micros(process.lock_wait.max_us)
            )
        } else {
            "never".to_owned()
        };
        let mixing = format!(
            "{} steps of 20 ms, {} caught up, {} skipped; held up by the program: {held_up}",
            steps.mixed,
            number(steps.caught_up),
            number(steps.skipped),
        );
        write_entry(out, "  mixing", &mixing)?;
    }
    let timers = process.timers;
    if timers.open > 0 || timers.ticks > 0 {
        let timers = format!(
            "{} open, {} running; {} ticks, {} missed",
            number(timers.open as u64),
            number(timers.running as u64),
            timers.ticks,
            number(timers.missed)
        );
        write_entry(out, "  timers", &timers)?;
    }
    if let Some(trunk) = process
        .trunk
        .filter(|trunk| trunk.frames > 0 || trunk.lost > 0)
    {
        let heard = format!(
            "{} frames heard, {} late, {} lost, {} cut to win back delay",
            trunk.frames,
            number(trunk.late),
            number(trunk.lost),
            number(trunk.cut)
        );
        write_entry(out, "  others", &heard)?;
    }
    if let Some(why) = &process.alone {
        write_entry(out, "  alone", why)?;
    }
    for conference in &process.conferences {
        if let Some(why) = &conference.alone {
            let why = format!("conference {}: {why}", conference.number);
            write_entry(out, "  alone", &why)?;
        }
    }
    if process.channels.is_empty() {
        Ok(())
    } else if each {
        write_each_channel(out, &process.channels)
    } else {
        write_channels(out, &process.channels)
    }
}

/// Channels that do the same in one line, with the greatest figures of any: fifty users of a conference are one or two.
#[derive(Debug, Default)]
struct Alike {
    numbers: Vec<i32>,
    queued_ms: f64,
    cut_ms: f64,
    lost_ms: f64,
}

fn write_channels(out: &mut String, channels: &[ChannelReport]) -> fmt::Result {
    let mut groups: BTreeMap<(Reverse<i32>, &str), Alike> = BTreeMap::new();
    for channel in channels {
        // The highest first, as conferences are given out; none is last.
        let group = (Reverse(channel.conference), role(channel.mode));
        let alike = groups.entry(group).or_default();
        alike.numbers.push(channel.number);
        alike.queued_ms = alike.queued_ms.max(channel.queued_ms);
        alike.cut_ms = alike.cut_ms.max(channel.cut_ms);
        alike.lost_ms = alike.lost_ms.max(channel.lost_ms);
    }
    writeln!(
        out,
        "   conf    n  does                  queued     cut    lost  channels"
    )?;
    let mut before = None;
    for ((Reverse(conference), does), alike) in groups {
        let shown = if before == Some(conference) {
            String::new()
        } else {
            conference_name(conference)
        };
        before = Some(conference);
        let mut head = format!(
            "  {shown:>5} {:>4}  {does:<20} {:>7} {:>7} {:>7}  ",
            alike.numbers.len(),
            millis(alike.queued_ms),
            millis(alike.cut_ms),
            millis(alike.lost_ms),
        );
        for line in wrapped(&ranges(alike.numbers), COLUMNS - head.len()) {
            writeln!(out, "{head}{line}")?;
            head = " ".repeat(head.len());
        }
    }
    Ok(())
}

fn write_each_channel(out: &mut String, channels: &[ChannelReport]) -> fmt::Result {
    writeln!(
        out,
        "   conf channel  does                  queued standing     cut    lost short"
    )?;
    for channel in channels {
        writeln!(
            out,
            "  {:>5} {:>7}  {:<20} {:>7} {:>8} {:>7} {:>7} {:>5}",
            conference_name(channel.conference),
            channel.number,
            role(channel.mode),
            millis(channel.queued_ms),
            millis(channel.standing_ms),
            millis(channel.cut_ms),
            millis(channel.lost_ms),
            channel.underruns,
        )?;
    }
    Ok(())
}

/// A value with its label, on as many lines as it needs.
fn write_entry(out: &mut String, label: &str, value: &str) -> fmt::Result {
    let mut label = label;
    for line in wrapped(value, COLUMNS - INDENT) {
        writeln!(out, "{label:<INDENT$}{line}")?;
        label = "";
    }
    Ok(())
}

/// An entry that is not to be overlooked.
fn write_trouble(out: &mut String, label: &str, value: &str, paint: Paint) -> fmt::Result {
    let mut text = String::new();
    write_entry(&mut text, label, value)?;
    out.push_str(&text.replacen(label, &painted(label, RED, paint), 1));
    Ok(())
}

/// The conference's number, the channel's that is monitored, or that there is none.
fn conference_name(conference: i32) -> String {
    match conference {
        0 => "none".to_owned(),
        number => number.to_string(),
    }
}

/// Numbers with neighbours put together: `32768-32815, 32820`.
fn ranges(mut numbers: Vec<i32>) -> String {
    numbers.sort_unstable();
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let ranges: Vec<String> = ranges
        .into_iter()
        .map(|(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first}-{last}"),
        })
        .collect();
    ranges.join(", ")
}

fn millis(millis: f64) -> String {
    if millis > 0.0 {
        measured((millis * 1e6) as u64)
    } else {
        "0".to_owned()
    }
}

/// A count that is better read as "none".
fn number(count: u64) -> String {
    match count {
        0 => "none".to_owned(),
        count => count.to_string(),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    match count {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

const BOLD: &str = "1";
const RED: &str = "1;31";

fn painted(text: &str, style: &str, paint: Paint) -> String {
    match paint {
        Paint::Ansi => format!("\x1b[{style}m{text}\x1b[0m"),
        Paint::Plain => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use unisono_dahdi_trunk::report::{
        ConferenceReport, LatenessReport, TimersReport, TrunkReport,
    };

    use super::*;

    fn channel(number: i32, conference: i32, mode: i32) -> ChannelReport {
        ChannelReport {
            number,
            conference,
            mode,
            block: 160,
            queued_ms: f64::from(number % 3) * 20.0,
            ..ChannelReport::default()
        }
    }

    /// A PBX with fifty in a conference, which it shares with a server.
    fn busy() -> Found {
        let mut channels = vec![channel(32_768, 1023, 7)];
        channels.extend((1..=48).map(|n| channel(32_768 + n, 1023, 0x304)));
        channels.push(channel(32_817, 1023, 0x106));
        channels.push(channel(32_820, 0, 0));
        channels[3].cut_ms = 620.0;
        let pbx = ProcessReport {
            pid: 4711,
            program: "asterisk".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: 11_520.4,
            grant: "SCHED_FIFO 50, memory locked".to_owned(),
            timers: TimersReport {
                open: 52,
                running: 51,
                ticks: 29_376_000,
                missed: 3,
            },
            channels,
            conferences: vec![ConferenceReport {
                number: 1023,
                members: 50,
                shared_with: vec![812],
                alone: None,
            }],
            lateness: LatenessReport {
                p50_us: 12.0,
                p99_us: 80.5,
                max_us: 95_000.0,
                missed: 4,
            },
            ..ProcessReport::default()
        };
        let server = ProcessReport {
            pid: 812,
            program: "unisono".to_owned(),
            version: "0.0.9".to_owned(),
            conferences: vec![ConferenceReport {
                number: 1023,
                members: 1,
                shared_with: vec![4711],
                alone: None,
            }],
            channels: vec![channel(32_768, 1023, 0x304)],
            ..ProcessReport::default()
        };
        Found {
            places: vec![Place {
                path: PathBuf::from("/run/unisono/dahdi"),
                processes: Ok(vec![pbx, server]),
                unanswered: vec![(
                    99,
                    "no answer in time: it is stopped, or very busy (look at it with ps)"
                        .to_owned(),
                )],
            }],
        }
    }

    fn nobody(processes: Result<Vec<ProcessReport>, String>) -> Found {
        Found {
            places: vec![Place {
                path: PathBuf::from("/run/unisono/dahdi"),
                processes,
                unanswered: Vec::new(),
            }],
        }
    }

    #[track_caller]
    fn assert_has(text: &str, parts: &[&str]) {
        for part in parts {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let fits = text.lines().all(|line| line.chars().count() <= COLUMNS);
        assert!(fits, "{text}");
    }

    #[test]
    fn fifty_users_fit_a_screen() {
        let text = text(&busy(), false, Paint::Plain);
        assert_has(
            &text,
            &[
                "2 processes, 1 conference, 52 channels, 52 timers\n",
                "NO ANSWER    process 99: no answer in time",
                "1023             51  50 of asterisk (4711), 1 of unisono (812)\n",
                "asterisk, process 4711  for 3h 12m\n",
                "late by p50 12.0 us, p99 80.5 us, max 95.0 ms; 4 missed",
                "52 open, 51 running; 29376000 ticks, 3 missed",
                "   1023    1  announces, hears all 40.0 ms       0       0  32768\n",
                "          48  talks and listens    40.0 ms  620 ms       0  32769-32816\n",
                "   none    1  nothing                    0       0       0  32820\n",
                "unisono 0.0.9",
            ],
        );
        assert!(text.lines().count() <= 24, "{text}");
    }

    #[test]
    fn a_conference_that_is_not_shared_is_named_with_the_reason() {
        let mut busy = busy();
        let processes = busy.places[0].processes.as_mut().unwrap();
        processes[1].conferences[0].alone = Some("its number cannot be held".to_owned());
        let text = text(&busy, false, Paint::Plain);
        assert_has(&text, &["conference 1023: its number cannot be held\n"]);
    }

    #[test]
    fn each_channel_has_a_line_if_asked() {
        let text = text(&busy(), true, Paint::Plain);
        assert_has(
            &text,
            &["   1023   32771  talks and listens    40.0 ms        0  620 ms       0     0\n"],
        );
        assert!(text.lines().count() > 52, "{text}");
    }

    #[test]
    fn nobody_and_no_permission_are_said_plainly() {
        let alone = text(&nobody(Ok(Vec::new())), false, Paint::Plain);
        assert_has(
            &alone,
            &[
                "Nobody is seen to run",
                "looked in    /run/unisono/dahdi",
                "unisono dahdi -- PROGRAM",
            ],
        );
        let denied = text(
            &nobody(Err("permission denied: ask as root".to_owned())),
            false,
            Paint::Plain,
        );
        assert_has(&denied, &["NOT SEEN     permission denied: ask as root"]);
        let mut stopped = nobody(Ok(Vec::new()));
        stopped.places[0].unanswered = vec![(99, "no answer in time".to_owned())];
        let stopped = text(&stopped, false, Paint::Plain);
        assert_has(&stopped, &["library answers.", "NO ANSWER    process 99"]);
        assert!(!stopped.contains("unisono dahdi --"), "{stopped}");
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        assert!(text(&busy(), false, Paint::Ansi).contains("\x1b[1;31mNO ANSWER\x1b[0m"));
        assert!(!text(&busy(), false, Paint::Plain).contains('\x1b'));
    }

    #[test]
    fn neighbours_are_put_together() {
        assert_eq!(ranges(vec![5, 1, 2, 3, 9, 8]), "1-3, 5, 8, 9");
        assert_eq!(ranges(vec![]), "");
        assert_eq!(ranges(vec![i32::MAX, i32::MIN]), "-2147483648, 2147483647");
    }

    #[test]
    fn strange_reports_do_not_stop_it() {
        let mut found = busy();
        if let Ok(processes) = &mut found.places[0].processes {
            processes[0].uptime_s = f64::NAN;
            processes[0].lateness.max_us = f64::INFINITY;
            processes[0].channels[0].queued_ms = -1.0;
            processes[0].channels[1].conference = i32::MIN;
            processes[0].trunk = Some(TrunkReport {
                frames: u64::MAX,
                lost: u64::MAX,
                ..TrunkReport::default()
            });
            for process in processes {
                process.timers.open = usize::MAX;
            }
        }
        assert!(!text(&found, true, Paint::Plain).is_empty());
        assert!(!text(&found, false, Paint::Plain).is_empty());
    }
}
