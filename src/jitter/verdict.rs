//! Whether a beat like the one measured can carry a 20 ms conference.
//!
//! The limits, and why they are where they are, for people: `docs/jitter.md`. All of them look at the corrected
//! lateness, so that a stall counts for every deadline that fell into it.

use std::time::Duration;

use unisono_timer::jitter::Run;

use super::figures::{Figures, GAP, LATE_BY_MS, nanos};
use super::naming::{measured, percent, span};

/// One frame of a conference, in ms.
const FRAME_MS: u64 = 20;
/// Frames are sent too late for a small playout buffer from this lateness on, in ms: half a frame.
const TOO_LATE_MS: u64 = 10;
/// More of the deadlines may not be later than [`TOO_LATE_MS`]: one in a thousand, one every 20 s.
const TOO_LATE_SHARE: f64 = 0.001;
/// One audible gap is forgiven in each whole span of this length.
const GAP_FORGIVEN: Duration = Duration::from_secs(600);
/// A good beat's 99.9th percentile, ns.
const GOOD_P999_NS: u64 = 1_000_000;
/// A good beat's maximum, ns.
const GOOD_MAX_NS: u64 = 5_000_000;
/// With fewer deadlines the 99.9th percentile is one single tick.
const ENOUGH_DEADLINES: u64 = 1000;

/// How good a beat is for 20 ms conferencing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Frames would be lost or late so often that people hear it.
    Fail,
    /// Nobody hears anything, at the price of a playout buffer that covers the lateness.
    Fair,
    /// As good as hardware: 99.9 % within 1 ms, nothing beyond 5 ms.
    Good,
}

impl Grade {
    /// `fail`, `fair` or `good`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Fair => "fair",
            Self::Good => "good",
        }
    }
}

/// How many deadlines were later than a limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LateShare {
    /// The limit, ms.
    pub over_ms: u64,
    /// Deadlines later than it.
    pub count: u64,
    /// The same as a share of all, 0 to 1.
    pub share: f64,
}

/// What an operator wants to know of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// How good it is.
    pub grade: Grade,
    /// What was held against it, each a sentence; for a good one what speaks for it.
    pub reasons: Vec<String>,
    /// What to know about the figures themselves.
    pub remarks: Vec<String>,
    /// Playout buffer that covers such a beat at both ends, ms, in whole frames. What the network adds comes on top.
    pub buffer_ms: u64,
    /// Deadlines later than 1, 5, 10 and 20 ms.
    pub late: Vec<LateShare>,
}

impl Verdict {
    /// Judges a run by its figures.
    pub fn of(run: &Run, figures: &Figures) -> Self {
        let against = held_against(run, figures);
        let p999 = figures.corrected.quantile(0.999);
        let max = figures.corrected.max();
        let good = figures.missed == 0 && p999 <= GOOD_P999_NS && max <= GOOD_MAX_NS;
        let (grade, reasons) = match (against.is_empty(), good) {
            (false, _) => (Grade::Fail, against),
            (true, true) => (
                Grade::Good,
                vec![format!(
                    "99.9 % of the ticks came within {} and the latest was {} late",
                    measured(p999),
                    measured(max)
                )],
            ),
            (true, false) => (Grade::Fair, short_of_good(figures, p999, max)),
        };
        Self {
            grade,
            reasons,
            remarks: remarks(run, figures),
            buffer_ms: buffer_ms(p999),
            late: LATE_BY_MS
                .map(|over_ms| LateShare {
                    over_ms,
                    count: figures.later_than_ms(over_ms),
                    share: figures.corrected.share_above(over_ms * 1_000_000),
                })
                .to_vec(),
        }
    }

    /// Whether a conference can be held on it.
    pub fn passed(&self) -> bool {
        self.grade != Grade::Fail
    }
}

/// The playout buffer for two ends whose 99.9th percentile of lateness is `p999` ns: a packet may leave that late and the
/// other end's tick may be due that early against it, so twice the lateness, in whole frames, and at least one.
fn buffer_ms(p999: u64) -> u64 {
    let frame_ns = FRAME_MS * 1_000_000;
    p999.saturating_mul(2)
        .div_ceil(frame_ns)
        .max(1)
        .saturating_mul(FRAME_MS)
}

/// What makes it fail.
fn held_against(run: &Run, figures: &Figures) -> Vec<String> {
    if figures.ticks() == 0 {
        return vec!["no tick was measured, so there is nothing to judge".to_owned()];
    }
    let mut against = Vec::new();
    let share = figures.corrected.share_above(TOO_LATE_MS * 1_000_000);
    if share > TOO_LATE_SHARE {
        against.push(format!(
            "{} of the ticks came more than {TOO_LATE_MS} ms late, or not at all ({} of {}); more than {} is heard as choppy speech",
            percent(share),
            figures.later_than_ms(TOO_LATE_MS),
            figures.deadlines(),
            percent(TOO_LATE_SHARE),
        ));
    }
    let forgiven =
        u64::try_from(run.elapsed.as_nanos() / GAP_FORGIVEN.as_nanos()).unwrap_or(u64::MAX);
    if figures.gaps > forgiven {
        against.push(format!(
            "time stood still for {} or longer {} in {}, the longest for {}: a gap in everybody's speech each time",
            span(GAP),
            times(figures.gaps),
            measured(nanos(run.elapsed)),
            measured(figures.corrected.max()),
        ));
    }
    against
}

/// Why it is not good, when it does not fail.
fn short_of_good(figures: &Figures, p999: u64, max: u64) -> Vec<String> {
    let mut reasons = Vec::new();
    if p999 > GOOD_P999_NS {
        reasons.push(format!(
            "the latest tick in a thousand comes {} late; good is {} or less",
            measured(p999),
            measured(GOOD_P999_NS)
        ));
    }
    if max > GOOD_MAX_NS {
        reasons.push(format!(
            "the latest tick of all was {} late; good is {} or less",
            measured(max),
            measured(GOOD_MAX_NS)
        ));
    }
    if figures.missed > 0 {
        reasons.push(format!(
            "{} had no tick of their own ({} at most in a row)",
            counted(figures.missed, "deadline"),
            figures.most_missed
        ));
    }
    if figures.gaps > 0 {
        reasons.push(format!(
            "time stood still for {} or longer {}, which a run of this length forgives",
            span(GAP),
            times(figures.gaps)
        ));
    }
    reasons
}

/// What to know about the figures themselves.
fn remarks(run: &Run, figures: &Figures) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(why) = &run.ended_early {
        remarks.push(format!("the run was ended early: {why}"));
    }
    let deadlines = figures.deadlines();
    if deadlines > 0 && deadlines < ENOUGH_DEADLINES {
        let enough = run.period * u32::try_from(ENOUGH_DEADLINES).unwrap_or(u32::MAX);
        remarks.push(format!(
            "{} are few: p99.9 and beyond are the one worst tick; --duration {} says more",
            counted(deadlines, "deadline"),
            span(Duration::from_secs(enough.as_secs().max(1))).replace(' ', "")
        ));
    }
    if run.period != Duration::from_millis(FRAME_MS) {
        remarks.push(format!(
            "measured every {}; the verdict is for {FRAME_MS} ms frames on a machine with such wake-ups",
            span(run.period)
        ));
    }
    for part in run.grant.iter().filter(|part| !part.granted) {
        remarks.push(format!("{} not granted: {}", part.part, part.detail));
    }
    remarks
}

/// `1 deadline`, `5 deadlines`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// `once`, `5 times`.
fn times(count: u64) -> String {
    if count == 1 {
        "once".to_owned()
    } else {
        format!("{count} times")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::synthetic::{Shape, run, run_of};

    const MS: i64 = 1_000_000;

    fn judged(run: &Run) -> Verdict {
        Verdict::of(run, &Figures::of(run))
    }

    /// `count` ticks 20 ms apart, of which each `every`th is `late_ms` late.
    fn beat(count: u64, every: u64, late_ms: i64) -> Run {
        let samples: Vec<_> = (0..count)
            .map(|number| {
                let late = (number % every == every - 1).then_some(late_ms * MS);
                (number, late.unwrap_or(50_000), 0)
            })
            .collect();
        run_of(20, &samples)
    }

    #[test]
    fn a_quiet_machine_is_good_and_needs_one_frame_of_buffer() {
        let verdict = judged(&run(&Shape::quiet(1)));
        assert_eq!((verdict.grade, verdict.buffer_ms), (Grade::Good, 20));
        assert!(verdict.passed());
        assert!(verdict.reasons[0].contains("99.9 %"), "{verdict:?}");
    }

    #[test]
    fn ticks_that_are_late_but_not_too_late_are_fair() {
        let verdict = judged(&beat(5000, 100, 9));
        assert_eq!(verdict.grade, Grade::Fair);
        assert!(verdict.reasons[0].contains("9.00 ms"), "{verdict:?}");
        let counts: Vec<u64> = verdict.late.iter().map(|late| late.count).collect();
        assert_eq!(counts, [50, 50, 0, 0]);
    }

    #[test]
    fn one_tick_in_a_thousand_may_be_too_late_and_no_more() {
        assert_eq!(judged(&beat(5000, 1000, 15)).grade, Grade::Fair);
        let verdict = judged(&beat(5000, 500, 15));
        assert_eq!(verdict.grade, Grade::Fail);
        assert!(verdict.reasons[0].contains("0.20 %"), "{verdict:?}");
    }

    #[test]
    fn a_gap_fails_a_short_run_and_is_forgiven_once_in_ten_minutes() {
        let with_gap = |seconds: u64| {
            let last = seconds * 50;
            let samples: Vec<_> = (0..100)
                .map(|number| (number, 0, 0))
                .chain([(103, 5 * MS, 3)])
                .chain((104..=last).map(|number| (number, 0, 0)))
                .collect();
            judged(&run_of(20, &samples))
        };
        let short = with_gap(60);
        assert_eq!(short.grade, Grade::Fail);
        assert!(
            short
                .reasons
                .iter()
                .any(|reason| reason.contains("stood still")),
            "{short:?}"
        );
        assert_eq!(with_gap(601).grade, Grade::Fair);
    }

    #[test]
    fn two_missed_ticks_are_mended_and_no_gap() {
        let samples: Vec<_> = (0..2000)
            .map(|number| (number, 0, 0))
            .chain([(2002, MS, 2)])
            .chain((2003..4000).map(|number| (number, 0, 0)))
            .collect();
        let verdict = judged(&run_of(20, &samples));
        assert_eq!(verdict.grade, Grade::Fair, "{verdict:?}");
        assert!(
            verdict
                .reasons
                .iter()
                .any(|reason| reason.contains("2 deadlines"))
        );
    }

    #[test]
    fn the_buffer_is_twice_the_lateness_in_whole_frames() {
        assert_eq!(buffer_ms(0), 20);
        assert_eq!(buffer_ms(10_000_000), 20);
        assert_eq!(buffer_ms(10_000_001), 40);
        assert_eq!(buffer_ms(45_000_000), 100);
        assert_eq!(buffer_ms(u64::MAX) % 20, 0);
    }

    #[test]
    fn what_was_refused_and_few_ticks_are_remarked() {
        let verdict = judged(&beat(100, 100, 0));
        assert!(
            verdict
                .remarks
                .iter()
                .any(|remark| remark.contains("--duration 20s")),
            "{verdict:?}"
        );
        assert!(
            verdict
                .remarks
                .iter()
                .any(|remark| remark.contains("memory not granted"))
        );
    }

    #[test]
    fn nothing_measured_is_no_pass() {
        assert_eq!(judged(&run_of(20, &[])).grade, Grade::Fail);
    }
}
