//! Every time between two ticks, as its difference from the period.

use std::collections::BTreeSet;
use std::time::Duration;

use super::axis::{Field, TimeAxis};
use super::svg::Svg;
use crate::jitter::figures::nanos;
use crate::jitter::naming::span;
use crate::jitter::report::Judged;

const FIELD: Field = Field {
    left: 76.0,
    right: 944.0,
    top: 14.0,
    bottom: 186.0,
};
/// Dots nearer than this are one.
const DOT: f64 = 2.0;
/// Differences below this, ns, are drawn as none: a microsecond.
const NOTHING: f64 = 1000.0;

/// Drawing and caption.
pub(super) fn figure(judged: &Judged) -> String {
    let run = &judged.run;
    let period = i128::from(nanos(run.period));
    let greatest = judged.figures.period_error.max();
    let axis = DifferenceAxis::to(greatest);
    let time = TimeAxis::to(FIELD, run.elapsed.max(Duration::from_secs(1)));

    let mut svg = Svg::new(
        960.0,
        214.0,
        "Time between ticks, as difference from the period",
    );
    axis.draw(&mut svg);
    time.draw(&mut svg);
    let mut places: BTreeSet<(i32, i32)> = BTreeSet::new();
    for pair in run.samples.windows(2) {
        let woke = |sample: &unisono_timer::jitter::Sample| {
            i128::from(sample.number) * period + i128::from(sample.lateness_ns)
        };
        let at = woke(&pair[1]);
        let difference = (at - woke(&pair[0]) - period) as f64;
        let place = |value: f64| (value / DOT).round() as i32;
        places.insert((place(time.x(at as f64 / 1e9)), place(axis.y(difference))));
    }
    let dots = places
        .iter()
        .map(|&(x, y)| (f64::from(x) * DOT, f64::from(y) * DOT));
    svg.dots("cloud", dots);
    format!(
        "<figure>\n{}<figcaption>Time between two ticks, less the period of {}: a late tick is a dot above and, as the next one \
         is on time again, one below.</figcaption>\n</figure>\n",
        svg.finish(),
        span(run.period)
    )
}

/// Differences up and down, in decades either way of a microsecond.
struct DifferenceAxis {
    decades: f64,
}

impl DifferenceAxis {
    fn to(greatest: u64) -> Self {
        let decades = (greatest as f64 / NOTHING).max(1.0).log10().ceil();
        Self {
            decades: decades.clamp(2.0, 12.0),
        }
    }

    fn y(&self, difference: f64) -> f64 {
        let decades = (difference.abs() / NOTHING).max(1.0).log10();
        let share = (decades / self.decades).min(1.0) * difference.signum();
        FIELD.top.midpoint(FIELD.bottom) - share * (FIELD.bottom - FIELD.top) / 2.0
    }

    fn draw(&self, svg: &mut Svg) {
        let mut label = |nanos: f64, words: &str| {
            let y = self.y(nanos);
            svg.line("grid", (FIELD.left, y), (FIELD.right, y));
            svg.words("end", (FIELD.left - 8.0, y + 4.0), words);
        };
        label(0.0, "0");
        let decades = self.decades as u32;
        // Labels of every decade only where there is room for them.
        let step = if decades > 4 { 2 } else { 1 };
        for power in (1..=decades).rev().step_by(step) {
            let nanos = 1000 * 10_u64.pow(power);
            let words = span(Duration::from_nanos(nanos));
            label(nanos as f64, &format!("+{words}"));
            label(-(nanos as f64), &format!("\u{2212}{words}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_as_far_up_as_down() {
        let axis = DifferenceAxis::to(10_000_000);
        assert_eq!(axis.y(0.0), 100.0);
        assert_eq!(axis.y(999.0), 100.0);
        assert_eq!((axis.y(1e7), axis.y(-1e7)), (14.0, 186.0));
        assert_eq!(axis.y(1e9), 14.0);
    }
}
