//! Two reports side by side: what got better, what got worse, and what is only chance.
//!
//! Runs are matched by method, period, policy, CPU and load; several of a kind in one file count as one longer run. Each
//! figure of B is divided by that of A: lateness, and how often a deadline was missed and time stood still. How much such a ratio varies by chance is found by a block bootstrap: whole intervals
//! of a second are drawn again and again from both, so that ticks that are late together stay together. The random numbers
//! are seeded: the same files give the same answer.

mod bootstrap;
mod text;

use std::collections::BTreeMap;

use super::distribution::Distribution;
use super::document::{Document, IntervalRecord, RunRecord};
use bootstrap::Blocks;

pub use self::text::comparison_table;

/// What is compared, besides the maximum.
const COMPARED: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// With fewer intervals on either side nothing can be said of chance,
const FEWEST_INTERVALS: usize = 5;
/// and of what is rare in them, p99.9, the maximum and gaps, with fewer than these.
const FEWEST_FOR_TAILS: usize = 20;

/// How sure a comparison wants to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Certainty {
    /// Confidence of the interval around each ratio, 0 to 1.
    pub confidence: f64,
    /// Differences up to this share are none, however sure they are.
    pub tolerance: f64,
}

/// All runs that both reports have.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Runs of the same kind.
    pub pairs: Vec<Pair>,
    /// What only A has, by name: B was not measured so, or failed to.
    pub only_a: Vec<String>,
    /// What only B has.
    pub only_b: Vec<String>,
    /// How sure it is.
    pub certainty: Certainty,
}

/// One kind of run in both.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// What kind: `timerfd, 20 ms, fifo:80`.
    pub name: String,
    /// Deadlines in A and B.
    pub deadlines: [u64; 2],
    /// Missed ones.
    pub missed: [u64; 2],
    /// Whether the scheduling asked for was refused.
    pub refused: [bool; 2],
    /// p50, p99, p99.9 and max of the corrected lateness; missed deadlines and gaps.
    pub differences: Vec<Difference>,
}

/// One figure of A and B.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its name.
    pub figure: &'static str,
    /// In what it is.
    pub unit: Unit,
    /// A's value.
    pub a: u64,
    /// B's.
    pub b: u64,
    /// B's over A's, of counts for each deadline; infinite for what only B has.
    pub ratio: f64,
    /// Between which ratios the true one is, with the confidence asked for. `None`: too few intervals to tell.
    pub between: Option<(f64, f64)>,
    /// What to make of it.
    pub judgement: Judgement,
}

/// What a figure is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds of lateness.
    Nanos,
    /// How often something happened.
    Count,
}

/// What a ratio says of B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Less late, or less often, and not by chance.
    Better,
    /// Later, or more often, and not by chance.
    Worse,
    /// It may be chance, or it is too little to matter.
    Same,
    /// The runs are too short.
    Unknown,
}

/// Why two reports cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// No run of one is like a run of the other.
    #[error(
        "no run of A is like one of B in method, period, policy, CPU and load\n  A has {a}\n  B has {b}\nmeasure both with the same options"
    )]
    NothingAlike {
        /// The runs of A.
        a: String,
        /// The runs of B.
        b: String,
    },
}

impl Default for Certainty {
    fn default() -> Self {
        Self {
            confidence: 0.99,
            tolerance: 0.05,
        }
    }
}

impl Comparison {
    /// Compares B with A.
    ///
    /// # Errors
    ///
    /// [`CompareError::NothingAlike`].
    pub fn of(a: &Document, b: &Document, certainty: Certainty) -> Result<Self, CompareError> {
        let (a, b) = (kinds(a), kinds(b));
        let alone = |these: &BTreeMap<String, Kind>, those: &BTreeMap<String, Kind>| {
            let names = these.keys().filter(|name| !those.contains_key(*name));
            names.cloned().collect::<Vec<_>>()
        };
        let (only_a, only_b) = (alone(&a, &b), alone(&b, &a));
        let pairs: Vec<Pair> = a
            .iter()
            .filter_map(|(name, kind)| Some(pair(name, kind, b.get(name)?, certainty)))
            .collect();
        if pairs.is_empty() {
            let list = |names: Vec<String>| match names.is_empty() {
                true => "no run".to_owned(),
                false => names.join("; "),
            };
            let (a, b) = (list(only_a), list(only_b));
            return Err(CompareError::NothingAlike { a, b });
        }
        Ok(Self {
            pairs,
            only_a,
            only_b,
            certainty,
        })
    }

    /// Whether anything got worse: a figure, the scheduling, which B was refused and A was not, or a run that B does not
    /// have any more.
    pub fn worse(&self) -> bool {
        let worse = |difference: &Difference| difference.judgement == Judgement::Worse;
        let pair_is_worse =
            |pair: &Pair| pair.refused == [false, true] || pair.differences.iter().any(worse);
        !self.only_a.is_empty() || self.pairs.iter().any(pair_is_worse)
    }
}

/// All runs of one kind in a file, as one.
struct Kind {
    lateness: Distribution,
    missed: u64,
    gaps: u64,
    /// Whether gaps were counted in every interval.
    gaps_told: bool,
    refused: bool,
    blocks: Blocks,
}

fn kinds(document: &Document) -> BTreeMap<String, Kind> {
    let mut runs: BTreeMap<String, Vec<&RunRecord>> = BTreeMap::new();
    for run in &document.runs {
        runs.entry(text::kind_name(run)).or_default().push(run);
    }
    let kinds = runs.into_iter().map(|(name, runs)| (name, Kind::of(&runs)));
    kinds.collect()
}

impl Kind {
    fn of(runs: &[&RunRecord]) -> Self {
        let mut lateness = Distribution::new();
        for &(value, count) in runs.iter().flat_map(|run| &run.lateness.corrected.buckets) {
            lateness.record_n(value, count);
        }
        let intervals = runs.iter().flat_map(|run| &run.intervals);
        let events = |interval: &IntervalRecord| [interval.missed, interval.gaps.unwrap_or(0)];
        let sum = |count: fn(&RunRecord) -> u64| {
            let counts = runs.iter().map(|&run| count(run));
            counts.fold(0, u64::saturating_add)
        };
        let refused = |run: &&RunRecord| {
            let mut parts = run.grant.iter();
            parts.any(|part| part.part == "scheduling" && !part.granted)
        };
        Self {
            lateness,
            missed: sum(|run| run.missed),
            gaps: sum(|run| run.gaps),
            gaps_told: intervals.clone().all(|interval| interval.gaps.is_some()),
            refused: runs.iter().any(refused),
            blocks: Blocks::of(
                intervals.map(|interval| (interval.buckets.as_slice(), events(interval))),
            ),
        }
    }
}

fn pair(name: &str, a: &Kind, b: &Kind, certainty: Certainty) -> Pair {
    let quantiles = COMPARED.map(|(_, q)| q);
    let (a_blocks, b_blocks) = (a.blocks.len(), b.blocks.len());
    let enough = a_blocks.min(b_blocks) >= FEWEST_INTERVALS;
    let drawn = enough.then(|| bootstrap::ratios(&a.blocks, &b.blocks, &quantiles));
    let times = COMPARED.iter().map(|&(figure, q)| {
        let values = [a.lateness.quantile(q), b.lateness.quantile(q)];
        (figure, Unit::Nanos, values)
    });
    let max = [a.lateness.max(), b.lateness.max()];
    // In the order of what is drawn.
    let figures = times.chain([
        ("max", Unit::Nanos, max),
        ("missed", Unit::Count, [a.missed, b.missed]),
        ("gaps", Unit::Count, [a.gaps, b.gaps]),
    ]);
    let deadlines = [a.lateness.count(), b.lateness.count()];
    let differences = figures
        .enumerate()
        .map(|(place, (figure, unit, [of_a, of_b]))| {
            let ratio = match unit {
                Unit::Nanos => bootstrap::ratio(of_a, of_b),
                Unit::Count => {
                    let rates = [(of_a, deadlines[0]), (of_b, deadlines[1])]
                        .map(|(count, deadlines)| bootstrap::rate(count, deadlines));
                    bootstrap::ratio_of_rates(rates[0], rates[1])
                }
            };
            let enough = match figure {
                "gaps" if !(a.gaps_told && b.gaps_told) => false,
                "p99.9" | "max" | "gaps" => a_blocks.min(b_blocks) >= FEWEST_FOR_TAILS,
                _ => true,
            };
            let between = drawn.as_ref().filter(|_| enough).map(|drawn| {
                let (low, high) = bootstrap::middle(&drawn[place], certainty.confidence);
                // The intervals' histograms are a little coarser than the whole's.
                (low.min(ratio), high.max(ratio))
            });
            Difference {
                figure,
                unit,
                a: of_a,
                b: of_b,
                ratio,
                between,
                judgement: judge(ratio, between, certainty.tolerance),
            }
        })
        .collect();
    Pair {
        name: name.to_owned(),
        deadlines,
        missed: [a.missed, b.missed],
        refused: [a.refused, b.refused],
        differences,
    }
}

fn judge(ratio: f64, between: Option<(f64, f64)>, tolerance: f64) -> Judgement {
    match between {
        None => Judgement::Unknown,
        Some((low, _)) if low > 1.0 && ratio > 1.0 + tolerance => Judgement::Worse,
        Some((_, high)) if high < 1.0 && ratio < 1.0 / (1.0 + tolerance) => Judgement::Better,
        Some(_) => Judgement::Same,
    }
}

#[cfg(test)]
mod tests {
    use unisono_timer::jitter::Method;

    use super::*;
    use crate::jitter::synthetic::{Shape, report};

    fn document(shapes: &[Shape]) -> Document {
        Document::from(&report(shapes))
    }

    fn compared(a: &[Shape], b: &[Shape]) -> Comparison {
        Comparison::of(&document(a), &document(b), Certainty::default()).unwrap()
    }

    fn judgements(comparison: &Comparison) -> Vec<Judgement> {
        let differences = comparison.pairs.iter().flat_map(|pair| &pair.differences);
        differences.map(|difference| difference.judgement).collect()
    }

    #[test]
    fn a_file_is_no_different_from_itself() {
        let comparison = compared(&[Shape::stalling(1)], &[Shape::stalling(1)]);
        assert_eq!(judgements(&comparison), [Judgement::Same; 6]);
        assert!(!comparison.worse());
        for difference in &comparison.pairs[0].differences {
            assert_eq!(difference.ratio, 1.0);
            let (low, high) = difference.between.unwrap();
            assert!(low <= 1.0 && high >= 1.0);
        }
    }

    #[test]
    fn the_same_machine_at_another_time_is_no_different() {
        for seed in 0..10 {
            let comparison = compared(&[Shape::quiet(seed)], &[Shape::quiet(seed + 100)]);
            assert_eq!(judgements(&comparison), [Judgement::Same; 6], "seed {seed}");
        }
    }

    #[test]
    fn a_slower_machine_is_worse_and_the_other_way_round_better() {
        let slower = Shape {
            usual_ns: 90_000,
            ..Shape::quiet(2)
        };
        let comparison = compared(&[Shape::quiet(1)], std::slice::from_ref(&slower));
        assert_eq!(judgements(&comparison)[..4], [Judgement::Worse; 4]);
        assert_eq!(judgements(&comparison)[4..], [Judgement::Same; 2]);
        assert!(comparison.worse());
        let comparison = compared(&[slower], &[Shape::quiet(1)]);
        assert_eq!(judgements(&comparison)[..4], [Judgement::Better; 4]);
        assert!(!comparison.worse());
    }

    #[test]
    fn a_machine_that_now_stalls_is_worse_at_the_tail_only() {
        let comparison = compared(&[Shape::quiet(1)], &[Shape::stalling(2)]);
        let judged = judgements(&comparison);
        assert_eq!((judged[0], judged[3]), (Judgement::Same, Judgement::Worse));
    }

    #[test]
    fn deadlines_missed_and_gaps_are_judged_and_not_only_shown() {
        let comparison = compared(&[Shape::quiet(1)], &[Shape::stalling(2)]);
        let counted = &comparison.pairs[0].differences[4..];
        for (difference, figure) in counted.iter().zip(["missed", "gaps"]) {
            assert_eq!(difference.figure, figure);
            assert_eq!(difference.a, 0);
            assert!(difference.b > 0, "{difference:?}");
        }
        // The lateness is the same; but nobody served some of the deadlines of every second.
        let quiet = document(&[Shape::quiet(1)]);
        let mut missing = quiet.clone();
        for interval in &mut missing.runs[0].intervals {
            interval.missed = 2;
        }
        missing.runs[0].missed = 40;
        let comparison = Comparison::of(&quiet, &missing, Certainty::default()).unwrap();
        let judged = judgements(&comparison);
        assert_eq!(judged[..4], [Judgement::Same; 4]);
        assert_eq!(judged[4..], [Judgement::Worse, Judgement::Same]);
        assert!(comparison.worse());
        let comparison = Comparison::of(&missing, &quiet, Certainty::default()).unwrap();
        assert_eq!(judgements(&comparison)[4], Judgement::Better);
        // One second may be chance.
        missing = quiet.clone();
        missing.runs[0].intervals[7].missed = 3;
        missing.runs[0].missed = 3;
        let comparison = Comparison::of(&quiet, &missing, Certainty::default()).unwrap();
        assert_eq!(judgements(&comparison)[4], Judgement::Same);
    }

    #[test]
    fn gaps_that_a_file_does_not_tell_by_the_second_are_not_judged() {
        let new = document(&[Shape::stalling(1)]);
        let mut old = new.clone();
        for interval in &mut old.runs[0].intervals {
            interval.gaps = None;
        }
        let comparison = Comparison::of(&old, &new, Certainty::default()).unwrap();
        let judged = judgements(&comparison);
        assert_eq!(judged[4..], [Judgement::Same, Judgement::Unknown]);
    }

    #[test]
    fn scheduling_that_only_b_was_refused_is_worse() {
        let granted = document(&[Shape::quiet(1)]);
        let mut refused = granted.clone();
        refused.runs[0].grant[0].granted = false;
        let of = |a, b| Comparison::of(a, b, Certainty::default()).unwrap();
        let comparison = of(&granted, &refused);
        assert_eq!(judgements(&comparison), [Judgement::Same; 6]);
        assert!(comparison.worse());
        assert!(!of(&refused, &granted).worse());
        assert!(!of(&refused, &refused).worse());
    }

    #[test]
    fn a_run_that_b_does_not_have_any_more_is_worse() {
        let tokio = Shape {
            method: Method::Tokio,
            ..Shape::quiet(2)
        };
        let (one, both) = ([Shape::quiet(1)], [Shape::quiet(1), tokio]);
        assert!(compared(&both, &one).worse());
        assert!(!compared(&one, &both).worse());
    }

    #[test]
    fn one_stall_in_one_second_may_be_chance() {
        let quiet = document(&[Shape::quiet(1)]);
        let mut stalled = quiet.clone();
        let late = 80_000_000;
        let run = &mut stalled.runs[0];
        for buckets in [
            &mut run.lateness.corrected.buckets,
            &mut run.intervals[4].buckets,
        ] {
            buckets.last_mut().unwrap().1 -= 1;
            buckets.push((late, 1));
        }
        let comparison = Comparison::of(&quiet, &stalled, Certainty::default()).unwrap();
        let max = &comparison.pairs[0].differences[3];
        assert!(max.ratio > 100.0);
        assert_eq!(max.judgement, Judgement::Same, "{max:?}");
    }

    #[test]
    fn what_is_within_the_tolerance_is_the_same() {
        let a_little = Shape {
            usual_ns: 62_000,
            ..Shape::quiet(1)
        };
        let comparison = compared(&[Shape::quiet(1)], &[a_little]);
        assert_eq!(judgements(&comparison)[0], Judgement::Same);
    }

    #[test]
    fn runs_are_matched_by_kind_and_pooled() {
        let precise = Shape {
            method: Method::Precise,
            ..Shape::quiet(3)
        };
        let a = [Shape::quiet(1), precise.clone(), Shape::quiet(2)];
        let comparison = compared(
            &a,
            &[
                Shape {
                    method: Method::Epoll,
                    ..Shape::quiet(4)
                },
                Shape::quiet(5),
            ],
        );
        assert_eq!(comparison.pairs.len(), 1);
        assert_eq!(comparison.pairs[0].deadlines, [2000, 1000]);
        assert_eq!(comparison.only_a, ["precise, 20 ms, fifo:80"]);
        assert_eq!(comparison.only_b, ["epoll, 20 ms, fifo:80"]);

        let nothing = Comparison::of(
            &document(&[precise]),
            &document(&[Shape::quiet(1)]),
            Certainty::default(),
        );
        let error = nothing.unwrap_err().to_string();
        assert!(
            error.contains("precise") && error.contains("timerfd"),
            "{error}"
        );
        assert!(Comparison::of(&document(&[]), &document(&[]), Certainty::default()).is_err());
    }

    #[test]
    fn too_short_runs_say_so() {
        let short = Shape {
            seconds: 3,
            ..Shape::quiet(1)
        };
        let slower = Shape {
            usual_ns: 900_000,
            ..short.clone()
        };
        assert_eq!(
            judgements(&compared(&[short], &[slower])),
            [Judgement::Unknown; 6]
        );
    }
}
