//! `[dahdi]`: links to DAHDI conferences.

use std::collections::HashMap;
use std::path::PathBuf;

use super::section::{Report, Section, integer};
use super::{Conference, Dahdi, DahdiConference};

/// Reads the section; a link is to one of `conferences`.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    dahdi: &mut Dahdi,
    conferences: &[Conference],
    report: &mut Report<'_>,
) {
    let directory = section.get("directory", "a folder", report, |value| {
        value.as_str().filter(|d| !d.is_empty())
    });
    dahdi.directory = directory.map(|found| PathBuf::from(found.value));
    // What a value was first seen for, and in which line.
    let mut lines: HashMap<String, usize> = HashMap::new();
    let mut once = |key: &str, at: usize, value: String, report: &mut Report<'_>| {
        let line = report.place(at).0;
        if let Some(first) = lines.insert(format!("{key} {value}"), line) {
            let message = format!("expected each once, {value} is in line {first} too");
            report.error(at, key, message);
        }
    };
    for entry in section.sections("conference", report) {
        let mut link = entry.value;
        let numbers = "the number of a DAHDI conference, 1 to 1024";
        let number = link.get("number", numbers, report, |value| {
            integer(value, 1..=1024_u16)
        });
        let names = "the name of a [[conference]], in quotes";
        let conference = link.get("conference", names, report, |value| value.as_str());
        for (key, expected) in [("number", numbers), ("conference", names)] {
            if link.entries().all(|(name, ..)| name != key) {
                let message = format!("expected {expected}, found none");
                report.error(entry.at.start, &link.path(key), message);
            }
        }
        if let Some(number) = &number {
            once(
                &number.key,
                number.at.start,
                number.value.to_string(),
                report,
            );
        }
        if let Some(name) = &conference {
            if conferences.iter().all(|known| known.name != name.value) {
                let message = format!(
                    "expected {names}, found \"{}\", which is none",
                    name.value.escape_debug()
                );
                report.error(name.at.start, &name.key, message);
            }
            let quoted = format!("\"{}\"", name.value.escape_debug());
            once(&name.key, name.at.start, quoted, report);
        }
        link.finish(report);
        if let (Some(number), Some(conference)) = (number, conference) {
            dahdi.conferences.push(DahdiConference {
                number: number.value,
                conference: conference.value.to_owned(),
            });
        }
    }
}
