//! A run over time: percentiles of each interval, what the host took, and each tick that was very late.

use std::fmt::Write;

use unisono_timer::jitter::{Cause, Outlier};

use super::axis::{Field, LatenessAxis, TimeAxis};
use super::sections::evidence;
use super::svg::Svg;
use crate::jitter::interval::{Interval, interval_length};
use crate::jitter::naming::{measured, percent, span};
use crate::jitter::report::Judged;

const FIELD: Field = Field {
    left: 76.0,
    right: 944.0,
    top: 14.0,
    bottom: 246.0,
};
/// Intervals are joined until there are no more than this.
const MOST_STEPS: usize = 434;
/// Only the latest outliers are marked.
const MOST_MARKS: usize = 300;
/// Steal or throttling of this share of the time is shown at full strength.
const FULL_SHARE: f64 = 0.2;

/// Drawing and legend.
pub(super) fn figure(judged: &Judged) -> String {
    let length = interval_length(&judged.run);
    let steps = steps(&judged.figures.intervals);
    let least = steps.iter().map(|step| step.p50).min().unwrap_or(0);
    let greatest = steps.iter().map(|step| step.max).max().unwrap_or(0);
    let axis = LatenessAxis::over(FIELD, least, greatest);
    let time = TimeAxis::to(FIELD, judged.run.elapsed.max(length));

    let mut svg = Svg::new(960.0, 274.0, "Lateness over time");
    let (stolen, throttled) = shade(&mut svg, &steps, &time);
    axis.draw(&mut svg);
    time.draw(&mut svg);
    axis.limit(&mut svg, 20_000_000, "20 ms: a whole frame");
    let line = |value: fn(&Step) -> u64| -> Vec<(f64, f64)> {
        let ends = |step: &Step| {
            let y = axis.y(value(step));
            [(time.x(step.from), y), (time.x(step.to), y)]
        };
        steps.iter().flat_map(ends).collect()
    };
    svg.curve("curve max", &line(|step| step.max));
    svg.curve("curve p99", &line(|step| step.p99));
    svg.curve("curve p50", &line(|step| step.p50));
    let causes = mark(&mut svg, &judged.run.outliers, &axis, &time);

    let joined = steps.first().map_or(1.0, |step| step.to - step.from);
    let mut legend = format!(
        "Each {}: <span class=\"key\"><i class=\"swatch p50\"></i>p50</span> \
         <span class=\"key\"><i class=\"swatch p99\"></i>p99</span> \
         <span class=\"key\"><i class=\"swatch max\"></i>max</span> ",
        span(std::time::Duration::from_secs_f64(joined.round().max(1.0)))
    );
    if stolen {
        legend += "<span class=\"key\"><i class=\"swatch band steal\"></i>steal</span> ";
    }
    if throttled {
        legend += "<span class=\"key\"><i class=\"swatch band throttled\"></i>throttled</span> ";
    }
    for cause in causes {
        let _ = write!(
            legend,
            "<span class=\"key\"><i class=\"swatch dot {}\"></i>{cause}</span> ",
            class(cause)
        );
    }
    format!(
        "<figure>\n{}<figcaption>{legend}</figcaption>\n</figure>\n",
        svg.finish()
    )
}

/// The class of a cause in the style sheet.
pub(super) fn class(cause: Cause) -> &'static str {
    match cause {
        Cause::Steal => "c-steal",
        Cause::Throttling => "c-throttling",
        Cause::ClockJump => "c-clock",
        Cause::PageFault => "c-fault",
        Cause::InvoluntarySwitch => "c-switch",
        Cause::Migration => "c-migration",
        _ => "c-unknown",
    }
}

/// One or more intervals.
struct Step {
    from: f64,
    to: f64,
    p50: u64,
    p99: u64,
    max: u64,
    steal: f64,
    throttled: f64,
}

/// The intervals, joined where they are too many: the worst p99 and max, and the middle p50, stand for them.
fn steps(intervals: &[Interval]) -> Vec<Step> {
    let group = intervals.len().div_ceil(MOST_STEPS).max(1);
    let length = match intervals {
        [first, second, ..] => (second.start - first.start).as_secs_f64(),
        _ => 1.0,
    };
    let step = |joined: &[Interval]| {
        let from = joined[0].start.as_secs_f64();
        let lasted = length * joined.len() as f64;
        let share = |counter: fn(&Interval) -> Option<u64>| {
            joined.iter().filter_map(counter).sum::<u64>() as f64 / (lasted * 1e9)
        };
        let mut medians: Vec<u64> = joined.iter().map(|interval| interval.p50).collect();
        medians.sort_unstable();
        Step {
            from,
            to: from + lasted,
            p50: medians[medians.len() / 2],
            p99: joined
                .iter()
                .map(|interval| interval.p99)
                .max()
                .unwrap_or(0),
            max: joined
                .iter()
                .map(|interval| interval.max)
                .max()
                .unwrap_or(0),
            steal: share(|interval| interval.steal_ns),
            throttled: share(|interval| interval.throttled_ns),
        }
    };
    intervals.chunks(group).map(step).collect()
}

/// Shades steal and throttling, and tells which there were.
fn shade(svg: &mut Svg, steps: &[Step], time: &TimeAxis) -> (bool, bool) {
    let mut seen = (false, false);
    for step in steps {
        for (class, name, share) in [
            ("steal", "steal", step.steal),
            ("throttled", "throttled", step.throttled),
        ] {
            if share <= 0.0 {
                continue;
            }
            seen.0 |= class == "steal";
            seen.1 |= class == "throttled";
            let (from, to) = (time.x(step.from), time.x(step.to));
            let words = format!(
                "{name} {} of a CPU, {:.0} s to {:.0} s",
                percent(share),
                step.from,
                step.to
            );
            svg.area(
                class,
                (from, FIELD.top),
                (to - from, FIELD.bottom - FIELD.top),
                (share / FULL_SHARE).clamp(0.15, 1.0) * 0.5,
                &words,
            );
        }
    }
    seen
}

/// Marks the latest outliers, and tells their causes.
fn mark(svg: &mut Svg, outliers: &[Outlier], axis: &LatenessAxis, time: &TimeAxis) -> Vec<Cause> {
    let mut latest: Vec<&Outlier> = outliers.iter().collect();
    latest.sort_by_key(|outlier| std::cmp::Reverse(outlier.lateness_ns));
    latest.truncate(MOST_MARKS);
    let mut causes: Vec<Cause> = latest.iter().map(|outlier| outlier.cause).collect();
    causes.sort_unstable();
    causes.dedup();
    for outlier in latest {
        let words = format!(
            "{} late at {}: {}; {}",
            measured(outlier.lateness_ns),
            measured(outlier.at_ns),
            outlier.cause,
            evidence(outlier)
        );
        let at = (
            time.x(outlier.at_ns as f64 / 1e9),
            axis.y(outlier.lateness_ns),
        );
        svg.mark(
            &format!("outlier {}", class(outlier.cause)),
            at,
            3.5,
            &words,
        );
    }
    causes
}
