//! Conditions for a build or a roll-out: `p99.9<1ms,missed=0,late10ms<0.1%`.

use std::fmt;
use std::str::FromStr;

use unisono_timer::jitter::Run;

use super::figures::Figures;
use super::naming::{measured, percent};

/// The figures that can be named, for messages and help.
pub const NAMES: &str = "p50, p90, p99, p99.9 or any other percentile, min, mean, max (each also as raw.p99 or period.p99), \
                         lateNms as late10ms, missed, gaps, jumps, outliers, ticks, steal, throttled, cpu";

/// Conditions that every run has to meet.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate {
    conditions: Vec<Condition>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    figure: Figure,
    comparison: Comparison,
    limit: Limit,
}

/// What a condition found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The condition as it was written.
    pub condition: String,
    /// What was measured, with its unit.
    pub measured: String,
    /// Whether it holds.
    pub held: bool,
}

/// A condition that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}', at character {position}: found '{found}', expected {expected}")]
pub struct GateError {
    /// Everything that was written.
    pub text: String,
    /// The character at which it went wrong, counted from 1.
    pub position: usize,
    /// What is there.
    pub found: String,
    /// What would have been right.
    pub expected: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Figure {
    Time(Source, Statistic),
    LateBy { nanos: u64 },
    Missed,
    Gaps,
    Jumps,
    Outliers,
    Ticks,
    Steal,
    Throttled,
    Cpu,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Corrected,
    Raw,
    Period,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Statistic {
    Min,
    Mean,
    Max,
    Quantile(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// What a figure is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Time,
    Count,
    Share,
    CountOrShare,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    Nanos(f64),
    Count(f64),
    Share(f64),
}

impl Gate {
    /// What each condition says of a run.
    pub fn check(&self, run: &Run, figures: &Figures) -> Vec<Outcome> {
        let check = |condition: &Condition| condition.check(run, figures);
        self.conditions.iter().map(check).collect()
    }
}

impl FromStr for Gate {
    type Err = GateError;

    fn from_str(text: &str) -> Result<Self, GateError> {
        let mut conditions = Vec::new();
        let mut start = 0;
        for part in text.split(',') {
            conditions.push(
                Reader {
                    text,
                    at: start,
                    end: start + part.len(),
                }
                .condition()?,
            );
            start += part.len() + 1;
        }
        Ok(Self { conditions })
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.conditions.iter().map(|c| c.text.as_str()).collect();
        f.write_str(&texts.join(","))
    }
}

impl Condition {
    fn check(&self, run: &Run, figures: &Figures) -> Outcome {
        let found = self.figure.of(run, figures, self.limit);
        let (held, measured) = match found {
            // A figure that the machine does not tell proves nothing.
            None => (false, "this machine does not tell".to_owned()),
            Some(value) => (
                self.comparison.holds(value, self.limit.value()),
                self.limit.show(value),
            ),
        };
        Outcome {
            condition: self.text.clone(),
            measured,
            held,
        }
    }
}

impl Figure {
    fn kind(self) -> Kind {
        match self {
            Self::Time(..) => Kind::Time,
            Self::LateBy { .. } | Self::Missed => Kind::CountOrShare,
            Self::Gaps | Self::Jumps | Self::Outliers | Self::Ticks => Kind::Count,
            Self::Steal | Self::Throttled | Self::Cpu => Kind::Share,
        }
    }

    /// Its value in the limit's unit.
    fn of(self, run: &Run, figures: &Figures, limit: Limit) -> Option<f64> {
        let deadlines = figures.deadlines().max(1) as f64;
        let of_deadlines = |count: u64| match limit {
            Limit::Share(_) => count as f64 / deadlines,
            Limit::Nanos(_) | Limit::Count(_) => count as f64,
        };
        Some(match self {
            Self::Time(source, statistic) => {
                let distribution = match source {
                    Source::Corrected => &figures.corrected,
                    Source::Raw => &figures.raw,
                    Source::Period => &figures.period_error,
                };
                // Without a single value nothing is known, and nothing holds.
                if distribution.is_empty() {
                    return None;
                }
                match statistic {
                    Statistic::Min => distribution.min() as f64,
                    Statistic::Mean => distribution.mean(),
                    Statistic::Max => distribution.max() as f64,
                    Statistic::Quantile(q) => distribution.quantile(q) as f64,
                }
            }
            Self::LateBy { nanos } => of_deadlines(figures.corrected.above(nanos)),
            Self::Missed => of_deadlines(figures.missed),
            Self::Gaps => figures.gaps as f64,
            Self::Jumps => run.clock_jumps.len() as f64,
            Self::Outliers => run.outlier_count as f64,
            Self::Ticks => figures.ticks() as f64,
            Self::Steal => figures.steal_share?,
            Self::Throttled => figures.throttled_share?,
            Self::Cpu => figures.cpu_share,
        })
    }
}

impl Comparison {
    fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::AtMost => value <= limit,
            Self::Equal => value == limit,
            Self::AtLeast => value >= limit,
            Self::More => value > limit,
        }
    }
}

impl Limit {
    fn value(self) -> f64 {
        match self {
            Self::Nanos(value) | Self::Count(value) | Self::Share(value) => value,
        }
    }

    /// A measured value in this limit's unit.
    fn show(self, value: f64) -> String {
        match self {
            Self::Nanos(_) => measured(value.round() as u64),
            Self::Count(_) => format!("{value}"),
            Self::Share(_) => percent(value),
        }
    }
}

/// Reads one condition: `text[at..end]`.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    fn condition(mut self) -> Result<Condition, GateError> {
        self.skip_spaces();
        let whole = self.rest().trim_end().to_owned();
        let figure = self.figure()?;
        self.skip_spaces();
        let comparison = self.comparison()?;
        self.skip_spaces();
        let limit = self.limit(figure.kind())?;
        Ok(Condition {
            text: whole,
            figure,
            comparison,
            limit,
        })
    }

    fn figure(&mut self) -> Result<Figure, GateError> {
        let name = self.take(|c| c.is_ascii_alphanumeric() || c == '.');
        named(name).ok_or_else(|| self.error(name, &format!("one of {NAMES}")))
    }

    fn comparison(&mut self) -> Result<Comparison, GateError> {
        let sign = self.take(|c| matches!(c, '<' | '>' | '='));
        match sign {
            "<" => Ok(Comparison::Less),
            "<=" => Ok(Comparison::AtMost),
            "=" | "==" => Ok(Comparison::Equal),
            ">=" => Ok(Comparison::AtLeast),
            ">" => Ok(Comparison::More),
            _ => Err(self.error(sign, "one of < <= = >= >")),
        }
    }

    fn limit(&mut self, kind: Kind) -> Result<Limit, GateError> {
        let expected = match kind {
            Kind::Time => "a time with its unit, as 500us or 1ms",
            Kind::Count => "a whole number",
            Kind::Share => "a share in percent, as 0.1%",
            Kind::CountOrShare => "a whole number, or a share in percent, as 0.1%",
        };
        let written = self.rest().trim_end();
        let digits = written
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(written.len());
        let (number, unit) = written.split_at(digits);
        let wrong = || self.error_here(expected);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let whole = unit.is_empty() && number.fract() == 0.0;
        let limit = match (kind, unit.trim_start()) {
            (Kind::Time, "ns") => Limit::Nanos(number),
            (Kind::Time, "us" | "µs") => Limit::Nanos(number * 1e3),
            (Kind::Time, "ms") => Limit::Nanos(number * 1e6),
            (Kind::Time, "s") => Limit::Nanos(number * 1e9),
            (Kind::Time, "") if number == 0.0 => Limit::Nanos(0.0),
            (Kind::Share | Kind::CountOrShare, "%") => Limit::Share(number / 100.0),
            (Kind::Share, "") if number == 0.0 => Limit::Share(0.0),
            (Kind::Count | Kind::CountOrShare, "") if whole => Limit::Count(number),
            _ => return Err(wrong()),
        };
        Ok(limit)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..self.end]
    }

    fn skip_spaces(&mut self) {
        self.take(char::is_whitespace);
    }

    /// What comes next as long as `wanted` likes it.
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// That `taken`, just read, is not what was expected.
    fn error(&self, taken: &str, expected: &str) -> GateError {
        Self {
            at: self.at - taken.len(),
            ..*self
        }
        .error_here(expected)
    }

    /// That what comes next is not what was expected.
    fn error_here(&self, expected: &str) -> GateError {
        let found = self.rest().trim_end();
        GateError {
            text: self.text.to_owned(),
            position: self.text[..self.at].chars().count() + 1,
            found: if found.is_empty() {
                "nothing".to_owned()
            } else {
                found.to_owned()
            },
            expected: expected.to_owned(),
        }
    }
}

/// The figure of that name.
fn named(name: &str) -> Option<Figure> {
    let known = match name {
        "missed" => Figure::Missed,
        "gaps" => Figure::Gaps,
        "jumps" => Figure::Jumps,
        "outliers" => Figure::Outliers,
        "ticks" => Figure::Ticks,
        "steal" => Figure::Steal,
        "throttled" => Figure::Throttled,
        "cpu" => Figure::Cpu,
        _ => {
            if let Some(limit) = name.strip_prefix("late") {
                let ms: f64 = limit.strip_suffix("ms")?.parse().ok()?;
                return (0.0..=1e6).contains(&ms).then_some(Figure::LateBy {
                    nanos: (ms * 1e6) as u64,
                });
            }
            let (source, statistic) = match name.split_once('.') {
                Some(("raw", statistic)) => (Source::Raw, statistic),
                Some(("period", statistic)) => (Source::Period, statistic),
                _ => (Source::Corrected, name),
            };
            let statistic = match statistic {
                "min" => Statistic::Min,
                "mean" => Statistic::Mean,
                "max" => Statistic::Max,
                _ => {
                    let percentile: f64 = statistic.strip_prefix('p')?.parse().ok()?;
                    let inside = (0.0..=100.0).contains(&percentile);
                    return inside.then_some(Figure::Time(
                        source,
                        Statistic::Quantile(percentile / 100.0),
                    ));
                }
            };
            Figure::Time(source, statistic)
        }
    };
    Some(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jitter::synthetic::{Shape, run, run_of};

    const MS: i64 = 1_000_000;

    fn held(run: &Run, text: &str) -> Vec<bool> {
        let gate: Gate = text.parse().unwrap_or_else(|error| panic!("{error}"));
        let outcomes = gate.check(run, &Figures::of(run));
        outcomes.iter().map(|outcome| outcome.held).collect()
    }

    #[test]
    fn conditions_are_held_against_the_corrected_figures() {
        let run = run_of(20, &[(0, 0, 0), (1, MS / 2, 0), (4, MS, 2), (5, 0, 0)]);
        assert_eq!(held(&run, "max<=41ms, max<41ms"), [true, false]);
        assert_eq!(held(&run, "raw.max<=1ms,raw.max<1000us"), [true, false]);
        assert_eq!(
            held(&run, "missed=2,missed=0,missed<33.4%,missed<33.3%"),
            [true, false, true, false]
        );
        assert_eq!(
            held(&run, "late10ms=2,late10ms<40%,late30ms>1"),
            [true, true, false]
        );
        assert_eq!(held(&run, "ticks>=4,outliers=0,jumps=0,gaps=0"), [true; 4]);
        assert_eq!(
            held(&run, "p75<1ms,p100>40ms,period.max>=40ms"),
            [false, true, true]
        );
    }

    #[test]
    fn what_the_machine_does_not_tell_does_not_hold() {
        let silent = run_of(20, &[(0, 0, 0)]);
        let gate: Gate = "steal<100%".parse().unwrap();
        let outcome = &gate.check(&silent, &Figures::of(&silent))[0];
        assert!(!outcome.held);
        assert!(outcome.measured.contains("does not tell"));
        assert_eq!(
            held(&run(&Shape::quiet(1)), "steal<1%,throttled=0"),
            [true, true]
        );
        assert_eq!(held(&run_of(20, &[]), "p99<1s"), [false]);
    }

    #[test]
    fn outcomes_say_what_was_measured() {
        let run = run_of(20, &[(0, 1_234_567, 0)]);
        let gate: Gate = " p99 <= 1 ms , missed=0".parse().unwrap();
        assert_eq!(gate.to_string(), "p99 <= 1 ms,missed=0");
        let outcomes = gate.check(&run, &Figures::of(&run));
        assert_eq!(outcomes[0].condition, "p99 <= 1 ms");
        assert_eq!(outcomes[0].measured, "1.23 ms");
        assert_eq!(outcomes[1].measured, "0");
    }

    #[test]
    fn mistakes_are_placed_and_told_what_was_expected() {
        for (text, position, found, expected) in [
            ("p99.9<1", 7, "1", "unit"),
            ("p99<1ms,misst=0", 9, "misst=0", "missed"),
            ("p99", 4, "nothing", "one of <"),
            ("p99=<1ms", 4, "=<1ms", "one of <"),
            ("missed=1.5", 8, "1.5", "whole number"),
            ("steal<1", 7, "1", "percent"),
            ("gaps<1%", 6, "1%", "whole number"),
            ("p101<1ms", 1, "p101<1ms", "percentile"),
            ("late10<1%", 1, "late10<1%", "late10ms"),
            ("", 1, "nothing", "p50"),
            ("p99<1ms,", 9, "nothing", "p50"),
            ("p99<1ms 2", 5, "1ms 2", "unit"),
            ("p50<µs", 5, "µs", "unit"),
        ] {
            let error = text.parse::<Gate>().unwrap_err();
            assert_eq!(
                (error.position, error.found.as_str()),
                (position, found),
                "{text}"
            );
            assert!(error.expected.contains(expected), "{error}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_makes_it_panic(text in "\\PC{0,40}") {
            let _ = text.parse::<Gate>();
        }

        #[test]
        fn something_like_a_condition_does_not_either(text in "(p|late|raw\\.|missed|max)[0-9.]{0,4}(ms)?[<>=]{0,2}[0-9.]{0,5}(ms|us|%|s)?,?") {
            if let Ok(gate) = text.parse::<Gate>() {
                let run = run_of(20, &[(0, 5, 0), (2, 7, 1)]);
                prop_assert!(!gate.check(&run, &Figures::of(&run)).is_empty());
            }
        }
    }
}
