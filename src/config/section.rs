//! Reading a TOML table key by key, with the place of each for errors, and a suggestion for a key misspelt.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

/// Collects the mistakes of one text.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    file: &'t str,
    /// Where each line begins, bytes.
    lines: Vec<usize>,
    pub(super) errors: Vec<ConfigError>,
    /// Keys that were looked for and are not there, with their section.
    pub(super) unset: Vec<String>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str, file: &'t str) -> Self {
        let lines = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            text,
            file,
            lines,
            errors: Vec::new(),
            unset: Vec::new(),
        }
    }

    /// Notes a mistake at this byte of the text.
    pub(super) fn error(&mut self, at: usize, key: &str, message: impl Into<String>) {
        let (line, column) = self.place(at);
        self.errors.push(ConfigError {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: message.into(),
        });
    }

    /// Line and column of a byte, both from 1.
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at);
        let before = self.text.get(self.lines[line - 1]..at).unwrap_or("");
        (line, before.chars().count() + 1)
    }
}

/// One table. Each key is asked for once; what nobody asked for is unknown.
#[derive(Debug)]
pub(super) struct Section<'a, 'i> {
    name: String,
    table: Option<&'a DeTable<'i>>,
    known: Vec<&'static str>,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) at: Range<usize>,
    pub(super) key: String,
}

impl<'a, 'i> Section<'a, 'i> {
    /// `name` is empty for the top of the file.
    pub(super) fn new(name: impl Into<String>, table: Option<&'a DeTable<'i>>) -> Self {
        Self {
            name: name.into(),
            table,
            known: Vec::new(),
        }
    }

    /// The section below this key; empty if it is not there.
    pub(super) fn section(&mut self, key: &'static str, report: &mut Report<'_>) -> Self {
        let table = self.get(key, "a section", report, |value| value.as_table());
        Section::new(self.path(key), table.map(|found| found.value))
    }

    /// The tables of `[[key]]`.
    pub(super) fn sections(
        &mut self,
        key: &'static str,
        report: &mut Report<'_>,
    ) -> Vec<Found<Self>> {
        let expected = format!("sections written [[{}]]", self.path(key));
        let Some(array) = self.get(key, &expected, report, |value| value.as_array()) else {
            return Vec::new();
        };
        let mut sections = Vec::new();
        for value in array.value.iter() {
            match value.get_ref().as_table() {
                Some(table) => {
                    let value_at = value.span();
                    let section = Section::new(self.path(key), Some(table));
                    sections.push(Found {
                        value: section,
                        at: value_at,
                        key: self.path(key),
                    });
                }
                None => report.error(
                    value.span().start,
                    &array.key,
                    mismatch(&expected, value.get_ref()),
                ),
            }
        }
        sections
    }

    /// The value of a key, if it is there and `read` takes it; if `read` does not, that is a mistake.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        report: &mut Report<'_>,
        read: impl FnOnce(&'a DeValue<'i>) -> Option<T>,
    ) -> Option<Found<T>> {
        self.known.push(key);
        let path = self.path(key);
        let Some(spanned) = self.table.and_then(|table| table.get(key)) else {
            report.unset.push(path);
            return None;
        };
        match read(spanned.get_ref()) {
            Some(value) => Some(Found {
                value,
                at: spanned.span(),
                key: path,
            }),
            None => {
                report.error(
                    spanned.span().start,
                    &path,
                    mismatch(expected, spanned.get_ref()),
                );
                None
            }
        }
    }

    /// As [`Self::get`], but the value is not repeated in the message, which may end up in a log.
    pub(super) fn get_secret<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        report: &mut Report<'_>,
        read: impl FnOnce(&'a DeValue<'i>) -> Option<T>,
    ) -> Option<Found<T>> {
        let found = self.get(key, expected, report, Some)?;
        let value = read(found.value);
        if value.is_none() {
            report.error(found.at.start, &found.key, format!("expected {expected}"));
        }
        Some(Found {
            value: value?,
            at: found.at,
            key: found.key,
        })
    }

    /// As [`Self::get`], into a place that keeps its default otherwise.
    pub(super) fn set<T>(
        &mut self,
        place: &mut T,
        key: &'static str,
        expected: &str,
        report: &mut Report<'_>,
        read: impl FnOnce(&'a DeValue<'i>) -> Option<T>,
    ) -> Option<Range<usize>> {
        let found = self.get(key, expected, report, read)?;
        *place = found.value;
        Some(found.at)
    }

    /// Every item of an array, into a place that keeps its default otherwise. Yields where it is if all could be read.
    pub(super) fn set_list<T: PartialEq>(
        &mut self,
        place: &mut Vec<T>,
        key: &'static str,
        expected: &str,
        report: &mut Report<'_>,
        read: impl Fn(&DeValue<'i>) -> Option<T>,
    ) -> Option<Range<usize>> {
        let array = self.get(key, &format!("a list, each {expected}"), report, |value| {
            value.as_array()
        })?;
        let mut list = Vec::with_capacity(array.value.len());
        for item in array.value.iter() {
            match read(item.get_ref()) {
                Some(value) if list.contains(&value) => {
                    let message =
                        format!("expected each once, found {} again", shown(item.get_ref()));
                    report.error(item.span().start, &array.key, message);
                }
                Some(value) => list.push(value),
                None => report.error(
                    item.span().start,
                    &array.key,
                    mismatch(expected, item.get_ref()),
                ),
            }
        }
        let all_read = list.len() == array.value.len();
        *place = list;
        all_read.then_some(array.at)
    }

    /// All keys of a section whose keys are names of somebody's own.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'a str, Range<usize>, &'a DeValue<'i>, Range<usize>)> {
        self.table.into_iter().flat_map(|table| {
            table.iter().map(|(key, value)| {
                (
                    key.get_ref().as_ref(),
                    key.span(),
                    value.get_ref(),
                    value.span(),
                )
            })
        })
    }

    /// Notes the keys that nobody asked for.
    pub(super) fn finish(self, report: &mut Report<'_>) {
        for (name, at, ..) in self.entries() {
            if self.known.contains(&name) {
                continue;
            }
            let message = match nearest(name, &self.known) {
                Some(near) => format!("unknown key, did you mean \"{near}\"?"),
                None => format!("unknown key, expected one of {}", self.known.join(", ")),
            };
            report.error(at.start, &self.path(name), message);
        }
    }

    /// The key with its section.
    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

/// `expected this, found that`.
fn mismatch(expected: &str, found: &DeValue<'_>) -> String {
    format!("expected {expected}, found {}", shown(found))
}

/// An integer within these bounds.
pub(super) fn integer<T: TryFrom<i64> + PartialOrd>(
    value: &DeValue<'_>,
    range: std::ops::RangeInclusive<T>,
) -> Option<T> {
    let integer = value.as_integer()?;
    let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
    T::try_from(number)
        .ok()
        .filter(|number| range.contains(number))
}

/// A value as its writer would recognise it, not longer than a message bears.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => {
            let short: String = text.chars().take(40).flat_map(char::escape_debug).collect();
            if text.chars().nth(40).is_some() {
                format!("\"{short}...\"")
            } else {
                format!("\"{short}\"")
            }
        }
        DeValue::Integer(integer) => integer.to_string(),
        DeValue::Float(float) => float.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a section".into(),
    }
}

/// The known key that differs least, if it is near enough to be meant.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let longest_meant = (name.chars().count() / 3).max(2);
    known
        .iter()
        .map(|candidate| (edits(name, candidate), *candidate))
        .min()
        .filter(|(distance, _)| *distance <= longest_meant)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements between two words.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A key of a hundred characters is near to none.
    for (i, x) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
