//! How late, and how often: lateness over percentiles, on an axis that gives each further nine the same room.

use super::axis::{Field, LatenessAxis};
use super::svg::{Svg, escaped};
use crate::jitter::distribution::{Distribution, QUANTILES};
use crate::jitter::naming::{measured, run_name};
use crate::jitter::report::Judged;

const FIELD: Field = Field {
    left: 76.0,
    right: 944.0,
    top: 16.0,
    bottom: 332.0,
};
/// Steps smaller than this are not drawn.
const NEAR: f64 = 0.6;
/// How far the last step goes: to half of one in all.
const LAST_STEP: f64 = 0.5;

/// The drawing of all runs, with its heading and legend.
pub(super) fn section(runs: &[Judged]) -> String {
    let all = runs.iter().map(|judged| &judged.figures);
    let least = all.clone().map(|figures| figures.raw.quantile(0.01)).min();
    let greatest = all.clone().map(|figures| figures.corrected.max()).max();
    let most = all.map(|figures| figures.deadlines()).max();
    let axis = LatenessAxis::over(FIELD, least.unwrap_or(0), greatest.unwrap_or(0));
    let nines = Nines::to(most.unwrap_or(1));

    let mut svg = Svg::new(960.0, 372.0, "Lateness over percentiles, one curve a run");
    axis.draw(&mut svg);
    nines.draw(&mut svg);
    axis.limit(&mut svg, 1_000_000, "1 ms: good for 99.9 %");
    axis.limit(&mut svg, 5_000_000, "5 ms: good for the latest");
    axis.limit(&mut svg, 20_000_000, "20 ms: a whole frame");
    for (place, judged) in runs.iter().enumerate() {
        let figures = &judged.figures;
        let series = place % super::sections::SERIES;
        if figures.missed > 0 {
            svg.curve(
                &format!("curve raw s{series}"),
                &points(&figures.raw, &axis, &nines),
            );
        }
        svg.curve(
            &format!("curve s{series}"),
            &points(&figures.corrected, &axis, &nines),
        );
    }
    for (place, judged) in runs.iter().enumerate() {
        let corrected = &judged.figures.corrected;
        let series = place % super::sections::SERIES;
        let within = |q: f64| corrected.count() as f64 * (1.0 - q) >= 1.0;
        for (name, q) in QUANTILES.into_iter().filter(|&(_, q)| within(q)) {
            let value = corrected.quantile(q);
            let words = format!("{}: {name} {}", run_name(&judged.run), measured(value));
            svg.mark(
                &format!("mark s{series}"),
                (nines.x(q), axis.y(value)),
                3.0,
                &words,
            );
        }
    }
    format!(
        "<section>\n<h2>How late, and how often</h2>\n\
         <p class=\"lead\">Read from a percentile up to the curve: so many of the deadlines were met within that time. Each \
         step to the right is ten times rarer.</p>\n<figure>\n{}<figcaption>{}</figcaption>\n</figure>\n</section>\n",
        svg.finish(),
        legend(runs)
    )
}

fn legend(runs: &[Judged]) -> String {
    let mut text = String::new();
    for (place, judged) in runs.iter().enumerate() {
        let series = place % super::sections::SERIES;
        text += &format!(
            "<span class=\"key\"><i class=\"swatch s{series}\"></i>{}</span> ",
            escaped(&run_name(&judged.run))
        );
    }
    if runs.iter().any(|judged| judged.figures.missed > 0) {
        text += "<span class=\"key\"><i class=\"swatch broken\"></i>raw: only deadlines that had a tick of their own</span>";
    }
    text
}

/// The curve of one distribution, in steps: each value from the share that is below it to the share that it completes.
fn points(distribution: &Distribution, axis: &LatenessAxis, nines: &Nines) -> Vec<(f64, f64)> {
    let total = distribution.count() as f64;
    let mut points: Vec<(f64, f64)> = Vec::new();
    let (mut below, mut from) = (0, nines.x(0.0));
    for (value, count) in distribution.buckets() {
        below += count;
        // The greatest stands for one in all, and has a step of its own.
        let to = nines.x((below as f64 / total).min(1.0 - LAST_STEP / total));
        let y = axis.y(value.min(distribution.max()));
        if points.last().is_none_or(|last| (y - last.1).abs() >= NEAR) {
            points.push((from, y));
        } else if let Some(last) = points.last_mut().filter(|_| to - from < NEAR) {
            // Too little to be seen: the step before goes on.
            last.0 = to;
            from = to;
            continue;
        }
        points.push((to, y));
        from = to;
    }
    points
}

/// Percentiles rightwards: 0 %, 90 %, 99 % and so on.
struct Nines {
    most: f64,
}

impl Nines {
    /// An axis to the resolution of `count` values.
    fn to(count: u64) -> Self {
        let most = (count.max(10) as f64 / LAST_STEP).log10();
        Self { most: most * 1.01 }
    }

    fn x(&self, q: f64) -> f64 {
        let nines = -(1.0 - q).max(1e-12).log10();
        FIELD.left + (nines / self.most).clamp(0.0, 1.0) * (FIELD.right - FIELD.left)
    }

    fn draw(&self, svg: &mut Svg) {
        let shown = [
            0.0,
            0.5,
            0.9,
            0.99,
            0.999,
            0.9999,
            0.99999,
            0.999_999,
            0.999_999_9,
        ];
        let labels = [
            "0 %",
            "50 %",
            "90 %",
            "99 %",
            "99.9 %",
            "99.99 %",
            "99.999 %",
            "99.9999 %",
            "99.99999 %",
        ];
        let fits = |q: f64| -(1.0 - q).log10() <= self.most;
        for (q, label) in shown.into_iter().zip(labels).filter(|&(q, _)| fits(q)) {
            let x = self.x(q);
            svg.line("grid", (x, FIELD.top), (x, FIELD.bottom));
            svg.words("middle", (x, FIELD.bottom + 18.0), label);
        }
        svg.words(
            "end",
            (FIELD.right, FIELD.bottom + 36.0),
            "share of deadlines met within the time",
        );
    }
}
