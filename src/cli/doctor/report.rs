//! The diagnosis for people: one screen, the verdict first and what to do last. What the machine tells of itself is for who
//! asks for it.

use std::fmt::{self, Write as _};

use unisono_timer::host::Container;
use unisono_timer::{HostFacts, Outcome};

use crate::cli::page::{COLUMNS, GLUE, Paint, wrapped};
use crate::doctor::{
    Beat, Diagnosis, Examination, Finding, Remedy, Severity, Verdict, topic_of_part,
};
use crate::jitter::{measured, percent, span};

/// Where values begin.
const INDENT: usize = 11;

/// The diagnosis, and all `facts` if wanted; lines are of [`COLUMNS`] at most, but for commands, which are for copying.
pub(super) fn text(
    examination: &Examination,
    diagnosis: &Diagnosis,
    facts: bool,
    paint: Paint,
) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_all(&mut text, examination, diagnosis, facts, paint);
    text
}

fn write_all(
    out: &mut String,
    examination: &Examination,
    diagnosis: &Diagnosis,
    facts: bool,
    paint: Paint,
) -> fmt::Result {
    write_verdict(out, diagnosis, paint)?;
    writeln!(out)?;
    if !facts {
        write_entry(out, "machine", &machine(&examination.facts))?;
    }
    write_granted(out, examination)?;
    write_measured(out, examination, diagnosis.beat.as_ref())?;
    let legs = examination.capacity.legs;
    let workers = match examination.workers {
        1 => "one media worker".to_owned(),
        workers => format!("{workers} media workers"),
    };
    write_entry(
        out,
        "room for",
        &format!("{legs} legs on {workers} by ports, files and memory, not by CPU"),
    )?;
    write_fine(out, diagnosis, facts)?;
    if examination.facts.rights.user == Some(0) {
        write_entry(
            out,
            "note",
            "asked as root; a service gets what its unit says (docs/doctor.md)",
        )?;
    }
    let wrong = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.severity != Severity::Ok);
    // A remedy that mends two things is written out once.
    let mut told: Vec<&Remedy> = Vec::new();
    for finding in wrong {
        writeln!(out)?;
        write_finding(out, finding, &mut told, paint)?;
    }
    // In these there is no systemd.
    let container = matches!(
        examination.facts.virtualization.container,
        Some(Container::Docker | Container::Podman | Container::Kubernetes)
    );
    if !container {
        write_unit(out, &told)?;
    }
    if facts {
        writeln!(out)?;
        for (label, value) in examination.facts.lines() {
            write_entry(out, label, &value)?;
        }
    }
    Ok(())
}

/// What kind of machine it is, in a line.
fn machine(facts: &HostFacts) -> String {
    let lines = facts.lines();
    let kind = lines.iter().find(|(label, _)| *label == "machine");
    let mut parts: Vec<String> = kind.map(|(_, kind)| kind.clone()).into_iter().collect();
    parts.extend(facts.cpus.online_count().map(|cpus| match cpus {
        1 => glued("one CPU"),
        cpus => glued(&format!("{cpus} CPUs")),
    }));
    parts.extend(
        facts
            .kernel
            .release
            .as_ref()
            .map(|release| glued(&format!("Linux {release}"))),
    );
    parts.join("; ")
}

/// What is well, and how to see the figures behind it.
fn write_fine(out: &mut String, diagnosis: &Diagnosis, facts: bool) -> fmt::Result {
    let fine = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::Ok);
    let mut topics: Vec<String> = fine.map(|finding| glued(finding.topic)).collect();
    topics.dedup();
    if topics.is_empty() {
        return Ok(());
    }
    let more = if facts {
        String::new()
    } else {
        format!(" {}", glued("(more: --facts)"))
    };
    write_entry(out, "fine", &format!("{}{more}", topics.join(", ")))
}

fn write_verdict(out: &mut String, diagnosis: &Diagnosis, paint: Paint) -> fmt::Result {
    let count = |severity| {
        diagnosis
            .findings
            .iter()
            .filter(|finding| finding.severity == severity)
            .count()
    };
    let (word, colour, sentence) = match diagnosis.verdict() {
        Verdict::Fit => ("FIT", 32, "this machine can carry voice.".to_owned()),
        Verdict::FitWithWarnings => {
            let warnings = match count(Severity::Warning) {
                1 => "one thing".to_owned(),
                warnings => format!("{warnings} things"),
            };
            let sentence = format!("it can carry voice, but {warnings} should be mended.");
            ("FIT WITH WARNINGS", 33, sentence)
        }
        Verdict::Unfit => {
            let topics: Vec<&str> = diagnosis
                .findings
                .iter()
                .filter(|finding| finding.severity == Severity::Unfit)
                .map(|finding| finding.topic)
                .collect();
            let sentence = format!("callers would hear it: {}.", topics.join(", "));
            ("UNFIT", 31, sentence)
        }
    };
    writeln!(out, "{}  {sentence}", painted(word, colour, paint))
}

fn painted(word: &str, colour: u8, paint: Paint) -> String {
    match paint {
        Paint::Ansi => format!("\x1b[1;{colour}m{word}\x1b[0m"),
        Paint::Plain => word.to_owned(),
    }
}

fn write_granted(out: &mut String, examination: &Examination) -> fmt::Result {
    let parts = examination.grant.parts();
    let parts: Vec<String> = parts
        .filter_map(|(part, outcome)| match outcome {
            Outcome::NotAsked => None,
            Outcome::Granted { detail } => Some(detail.clone()),
            Outcome::Refused { .. } => Some(format!("NOT {}", topic_of_part(part))),
        })
        .collect();
    if parts.is_empty() {
        write_entry(out, "granted", "nothing was asked for")
    } else {
        write_entry(out, "granted", &parts.join("; "))
    }
}

fn write_measured(out: &mut String, examination: &Examination, beat: Option<&Beat>) -> fmt::Result {
    let (Ok(run), Some(beat)) = (&examination.run, beat) else {
        return write_entry(out, "measured", "nothing, see below");
    };
    let figures = &beat.figures;
    let figure = |name: &str, nanos| glued(&format!("{name} {}", measured(nanos)));
    let lateness = |name, quantile| figure(name, beat.quantile(quantile));
    let missed = match figures.missed {
        0 => "none".to_owned(),
        missed => missed.to_string(),
    };
    let punctuality = format!(
        "{} wake-ups, one every {} as in a busy worker: late by {}, {}, {}, {}; {missed} missed",
        beat.wake_ups(),
        glued(&span(run.period)),
        lateness("p50", 0.5),
        lateness("p99", 0.99),
        lateness("p99.9", 0.999),
        figure("max", beat.latest()),
    );
    write_entry(out, "measured", &punctuality)?;
    let mut host = Vec::new();
    host.extend(
        examination
            .facts
            .cpus
            .online_count()
            .and_then(|cpus| beat.steal_share(cpus))
            .map(|share| format!("steal {} of the CPUs' time", percent(share))),
    );
    host.extend(
        figures
            .throttled_share
            .filter(|&share| share > 0.0)
            .map(|share| format!("CPU quota used up for {} of the time", percent(share))),
    );
    let causes: Vec<String> = figures
        .causes
        .iter()
        .map(|(cause, count)| format!("{count} by {cause}"))
        .collect();
    if !causes.is_empty() {
        let limit = span(run.outlier_threshold);
        host.push(format!("later than {limit}: {}", causes.join(", ")));
    }
    if host.is_empty() {
        Ok(())
    } else {
        write_entry(out, "", &host.join("; "))
    }
}

/// What no line is broken in.
fn glued(text: &str) -> String {
    text.replace(' ', &GLUE.to_string())
}

fn write_finding<'a>(
    out: &mut String,
    finding: &'a Finding,
    told: &mut Vec<&'a Remedy>,
    paint: Paint,
) -> fmt::Result {
    let (word, colour) = match finding.severity {
        Severity::Unfit => ("UNFIT", 31),
        _ => ("WARNING", 33),
    };
    let mut head = format!("{word:<INDENT$}").replacen(word, &painted(word, colour, paint), 1);
    let found = format!("{}: {}", finding.topic, finding.found);
    for line in wrapped(&found, COLUMNS - INDENT) {
        writeln!(out, "{head}{line}")?;
        head = " ".repeat(INDENT);
    }
    write_entry(out, "  why", &finding.why)?;
    let mut label = "  do";
    if finding.remedies.iter().any(|remedy| told.contains(&remedy)) {
        write_entry(out, label, "the same as above")?;
        label = "  or";
    }
    for remedy in &finding.remedies {
        if told.contains(&remedy) {
            continue;
        }
        told.push(remedy);
        match remedy {
            // Never wrapped, so that they can be copied.
            Remedy::UnitLine(line) => {
                writeln!(out, "{label:<INDENT$}{line}   (unit file, [Service])")?;
            }
            Remedy::Command(command) => writeln!(out, "{label:<INDENT$}{command}")?,
            Remedy::Advice(advice) => write_entry(out, label, advice)?,
        }
        label = "  or";
    }
    Ok(())
}

/// All unit-file lines once more, when there are several, to be pasted at once.
fn write_unit(out: &mut String, told: &[&Remedy]) -> fmt::Result {
    let lines: Vec<&str> = told
        .iter()
        .filter_map(|remedy| match remedy {
            Remedy::UnitLine(line) => Some(line.as_str()),
            _ => None,
        })
        .collect();
    if lines.len() < 2 {
        return Ok(());
    }
    writeln!(out)?;
    write_entry(
        out,
        "all lines",
        "sudo systemctl edit unisono, paste, sudo systemctl restart unisono",
    )?;
    writeln!(out, "  [Service]")?;
    for line in lines {
        writeln!(out, "  {line}")?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Capacity, Limit};
    use crate::doctor::synthetic::{healthy, no_lock, no_priority, run};

    fn shown(examination: &Examination, paint: Paint) -> String {
        text(examination, &Diagnosis::of(examination), false, paint)
    }

    /// A machine that grants nothing.
    fn strict() -> Examination {
        let mut examination = healthy();
        examination.grant.scheduling = no_priority();
        examination.grant.memory = no_lock();
        examination
    }

    #[test]
    fn a_healthy_machine_fits_a_screen_and_begins_with_the_verdict() {
        let text = shown(&healthy(), Paint::Plain);
        assert!(
            text.starts_with("FIT  this machine can carry voice.\n"),
            "{text}"
        );
        assert!(text.lines().count() <= 24, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= COLUMNS),
            "{text}"
        );
        for part in [
            "machine    not told; 2 CPUs\n",
            "granted    SCHED_FIFO priority 50; memory locked\n",
            "measured   1200 wake-ups",
            "none missed",
            "(more: --facts)\n",
            "room for   10000 legs on 2 media workers by ports, files and memory, not by CPU\n",
            "fine       CPU quota, steal, real-time priority, memory lock, wake-ups,",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("WARNING"), "{text}");
    }

    #[test]
    fn what_is_refused_comes_with_lines_to_paste() {
        let text = shown(&strict(), Paint::Plain);
        for part in [
            "FIT WITH WARNINGS  it can carry voice, but 2 things should be mended.",
            "granted    NOT real-time priority; NOT memory lock\n",
            "  do       LimitRTPRIO=50   (unit file, [Service])\n",
            "  [Service]\n  LimitRTPRIO=50\n  LimitMEMLOCK=infinity\n",
            "sudo systemctl restart unisono",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn three_things_to_mend_fit_a_screen_too() {
        let mut examination = strict();
        examination.facts.rights.user = Some(0);
        examination.facts.kernel.release = Some("6.18.44-fc-v857".to_owned());
        examination.capacity = Capacity {
            legs: 384,
            wanted: 10_000,
            connections: 128,
            connections_wanted: 12_000,
            limit: Some(Limit::Descriptors),
        };
        let text = shown(&examination, Paint::Plain);
        assert!(text.contains("3 things should be mended"), "{text}");
        assert!(text.lines().count() <= 40, "{text}");
        assert!(text.ends_with("  LimitNOFILE=32384\n"), "{text}");
    }

    #[test]
    fn facts_are_told_to_who_asks_for_them() {
        let examination = healthy();
        let diagnosis = Diagnosis::of(&examination);
        let all = text(&examination, &diagnosis, true, Paint::Plain);
        for (label, _) in examination.facts.lines() {
            let begins = |line: &&str| line.starts_with(&format!("{label:<INDENT$}"));
            assert_eq!(all.lines().filter(begins).count(), 1, "{label} in\n{all}");
        }
        assert!(!text(&examination, &diagnosis, false, Paint::Plain).contains("\nclock "));
    }

    #[test]
    fn a_container_has_no_unit_and_one_command_for_both_rights() {
        let mut examination = strict();
        examination.facts.virtualization.container = Some(Container::Docker);
        let text = shown(&examination, Paint::Plain);
        assert!(!text.contains("systemctl"), "{text}");
        assert!(!text.contains("all lines"), "{text}");
        let same = "  do       the same as above\n  or       LimitMEMLOCK=infinity";
        assert!(text.contains(same), "{text}");
        assert_eq!(text.matches("docker run").count(), 1, "{text}");
    }

    #[test]
    fn a_remedy_that_was_told_already_is_referred_to() {
        let mut examination = strict();
        examination.grant.memory = no_priority();
        let text = shown(&examination, Paint::Plain);
        assert_eq!(text.matches("LimitRTPRIO=50").count(), 1, "{text}");
        assert!(text.contains("  do       the same as above\n"), "{text}");
    }

    #[test]
    fn an_unfit_machine_is_called_so_by_what_makes_it_unfit() {
        let mut examination = healthy();
        examination.run = Ok(run(&[30_000_000, 30_000_000]));
        let text = shown(&examination, Paint::Plain);
        assert!(
            text.starts_with("UNFIT  callers would hear it: wake-ups.\n"),
            "{text}"
        );
        assert!(
            text.contains("\nUNFIT      wake-ups: 99.9 % came within"),
            "{text}"
        );
        examination.run = Err("no timers".to_owned());
        let text = shown(&examination, Paint::Plain);
        assert!(text.contains("measured   nothing, see below\n"), "{text}");
        assert!(
            text.contains("no beat could be measured: no timers"),
            "{text}"
        );
    }

    #[test]
    fn only_a_terminal_gets_colours() {
        assert!(
            shown(&strict(), Paint::Ansi).starts_with("\x1b[1;33mFIT WITH WARNINGS\x1b[0m  it")
        );
        assert!(!shown(&strict(), Paint::Plain).contains('\x1b'));
    }
}
