//! What was measured against the number of callers: deviation, loss, processor time, delay.

use crate::jitter::svg::{Svg, escaped};
use crate::load::report::words::{figure, grouped};
use crate::load::report::{LoadReport, Step, Verdict};

const WIDTH: f64 = 500.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 484.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 252.0;
/// A limit is drawn into the field only if the curves come this near: else it would press them to the ground.
const NEAR: f64 = 0.25;

/// One drawing.
struct Plot {
    title: &'static str,
    unit: &'static str,
    curves: Vec<Curve>,
    /// A value that must not be passed, with the criterion's name in the plan.
    criterion: Option<&'static str>,
}

struct Curve {
    /// Its name in the legend.
    name: &'static str,
    /// Its colour in the style sheet.
    series: &'static str,
    value: fn(&Step) -> Option<f64>,
}

/// The four drawings; of one step nothing can be drawn that the table does not say.
pub(super) fn section(report: &LoadReport) -> String {
    if report.steps.len() < 2 {
        return String::new();
    }
    let mut text =
        "<section>\n<h2>Against the number of callers</h2>\n<div class=\"plots\">\n".to_owned();
    for plot in plots() {
        text += &plot.draw(report);
    }
    text += "</div>\n</section>\n";
    text
}

fn plots() -> [Plot; 4] {
    let curve = |name, series, value| Curve {
        name,
        series,
        value,
    };
    [
        Plot {
            title: "Deviation from the packet time",
            unit: "ms",
            curves: vec![
                curve("worst stream p99", "s1", |step| {
                    let worst = step.streams.worst.as_ref()?;
                    Some(worst.deviation_us.p99 / 1000.0)
                }),
                curve("p99", "s0", |step| {
                    Some(step.streams.deviation_us.p99 / 1000.0)
                }),
                curve("p50", "s2", |step| {
                    Some(step.streams.deviation_us.p50 / 1000.0)
                }),
            ],
            criterion: Some("p99-ms"),
        },
        Plot {
            title: "Packets lost",
            unit: "%",
            curves: vec![
                curve("worst stream", "s1", |step| {
                    Some(step.streams.loss_percent.max)
                }),
                curve("all", "s0", |step| {
                    Some(step.streams.packets.loss_percent())
                }),
            ],
            criterion: Some("loss"),
        },
        Plot {
            title: "Processor time per participant and packet",
            unit: "µs",
            curves: vec![
                curve("user and system", "s0", |step| {
                    Some(step.process.as_ref()?.cpu_us_per_participant_frame)
                }),
                curve("of it, system", "s5", |step| {
                    let process = step.process.as_ref()?;
                    let share = process.system_percent / process.cpu_percent.max(f64::MIN_POSITIVE);
                    Some(process.cpu_us_per_participant_frame * share)
                }),
            ],
            criterion: None,
        },
        Plot {
            title: "From mouth to ear, through the server",
            unit: "ms",
            curves: vec![
                curve("p99", "s0", |step| {
                    Some(step.mouth_to_ear.as_ref()?.delay_ms.p99)
                }),
                curve("p50", "s2", |step| {
                    Some(step.mouth_to_ear.as_ref()?.delay_ms.p50)
                }),
            ],
            criterion: None,
        },
    ]
}

impl Plot {
    fn draw(&self, report: &LoadReport) -> String {
        let steps = &report.steps;
        let measured = |curve: &Curve| -> Vec<(usize, f64)> {
            let values = steps
                .iter()
                .map(|step| (step.callers.asked, (curve.value)(step)));
            values
                .filter_map(|(callers, value)| Some((callers, value?)))
                .collect()
        };
        let curves: Vec<(&Curve, Vec<(usize, f64)>)> = self
            .curves
            .iter()
            .map(|curve| (curve, measured(curve)))
            .collect();
        let limit = self.criterion.and_then(|wanted| {
            let known = report
                .plan
                .until
                .iter()
                .find(|limit| limit.criterion == wanted);
            known.map(|limit| limit.most)
        });
        let greatest = curves
            .iter()
            .flat_map(|(_, points)| points)
            .fold(0.0, |greatest: f64, (_, value)| greatest.max(*value));
        let shown = match limit {
            Some(limit) if greatest >= limit * NEAR || greatest == 0.0 => greatest.max(limit),
            None if greatest == 0.0 => 1.0,
            _ => greatest,
        };
        let axes = Axes::over(steps, shown);
        let mut svg = Svg::new(WIDTH, HEIGHT, &format!("{} against callers", self.title));
        axes.draw(&mut svg);
        if greatest == 0.0 && curves.iter().all(|(_, points)| points.is_empty()) {
            svg.words(
                "middle",
                ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0),
                "not measured",
            );
        }
        let broke = match report.verdict {
            Verdict::Broke { callers, .. } => Some(callers),
            Verdict::Held { .. } => None,
        };
        for (curve, points) in &curves {
            let places: Vec<(f64, f64)> = points
                .iter()
                .map(|&(callers, value)| axes.place(callers, value))
                .collect();
            svg.curve(&format!("curve {}", curve.series), &places);
            for (&(callers, value), &at) in points.iter().zip(&places) {
                let class = if broke == Some(callers) {
                    "fail"
                } else {
                    curve.series
                };
                let words = format!(
                    "{} callers: {} {} {}",
                    grouped(callers as u64),
                    curve.name,
                    figure(value),
                    self.unit
                );
                svg.mark(&format!("mark {class}"), at, 4.0, &words);
            }
        }
        if let Some(limit) = limit {
            axes.limit(
                &mut svg,
                limit,
                &format!("limit {} {}", round(limit), self.unit),
            );
        }
        format!(
            "<figure>\n<h3>{}, {}</h3>\n{}<figcaption>{}</figcaption>\n</figure>\n",
            escaped(self.title),
            self.unit,
            svg.finish(),
            legend(&curves)
        )
    }
}

fn legend(curves: &[(&Curve, Vec<(usize, f64)>)]) -> String {
    let drawn = curves.iter().filter(|(_, points)| !points.is_empty());
    drawn
        .map(|(curve, _)| {
            format!(
                "<span class=\"key\"><i class=\"swatch {}\"></i>{}</span> ",
                curve.series,
                escaped(curve.name)
            )
        })
        .collect()
}

/// From callers and values to places on the paper.
struct Axes {
    least: f64,
    most: f64,
    /// Whether each doubling of callers takes the same room, which a ramp by factors wants.
    doubling: bool,
    top: f64,
    step: f64,
    callers: Vec<usize>,
}

impl Axes {
    fn over(steps: &[Step], greatest: f64) -> Self {
        let callers: Vec<usize> = steps.iter().map(|step| step.callers.asked).collect();
        let least = callers.iter().copied().min().unwrap_or(0) as f64;
        let most = callers.iter().copied().max().unwrap_or(1) as f64;
        let step = nice_step(greatest.max(1e-6) * 1.04 / 5.0);
        Self {
            least: least.max(1.0),
            most: most.max(1.0),
            doubling: least > 0.0 && most / least >= 8.0,
            top: (greatest.max(1e-6) * 1.04 / step).ceil() * step,
            step,
            callers,
        }
    }

    fn place(&self, callers: usize, value: f64) -> (f64, f64) {
        (self.x(callers), self.y(value))
    }

    fn x(&self, callers: usize) -> f64 {
        let callers = (callers as f64).max(1.0);
        let share = if self.most <= self.least {
            0.5
        } else if self.doubling {
            (callers / self.least).ln() / (self.most / self.least).ln()
        } else {
            (callers - self.least) / (self.most - self.least)
        };
        // Room for the outer marks.
        LEFT + 14.0 + share.clamp(0.0, 1.0) * (RIGHT - LEFT - 28.0)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (value / self.top).clamp(0.0, 1.0) * (BOTTOM - TOP)
    }

    fn draw(&self, svg: &mut Svg) {
        let lines = (self.top / self.step).round() as u32;
        for number in 0..=lines {
            let value = self.step * f64::from(number);
            let y = self.y(value);
            svg.line("grid", (LEFT, y), (RIGHT, y));
            svg.words("end", (LEFT - 8.0, y + 4.5), &round(value));
        }
        let mut free_from = f64::MIN;
        for &callers in &self.callers {
            let x = self.x(callers);
            let words = grouped(callers as u64);
            let half = words.len() as f64 * 3.8;
            if x - half >= free_from {
                svg.line("grid", (x, BOTTOM), (x, BOTTOM + 5.0));
                svg.words("middle", (x, BOTTOM + 20.0), &words);
                free_from = x + half + 8.0;
            }
        }
        svg.words("middle", ((LEFT + RIGHT) / 2.0, BOTTOM + 42.0), "callers");
    }

    /// A limit within the field, as a line; beyond it, as a word at its edge.
    fn limit(&self, svg: &mut Svg, limit: f64, words: &str) {
        if limit <= self.top {
            let y = self.y(limit);
            svg.line("limit", (LEFT, y), (RIGHT, y));
            svg.words("note", (LEFT + 6.0, y - 5.0), words);
        } else {
            svg.words(
                "note",
                (LEFT + 6.0, TOP - 5.0),
                &format!("{words}, beyond this field"),
            );
        }
    }
}

/// The least of 1, 2, 2.5 and 5 times a power of ten that is not below.
fn nice_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0];
    let fits = factors
        .into_iter()
        .find(|factor| factor * power >= least * 0.999_999);
    fits.unwrap_or(10.0) * power
}

/// A label without useless noughts: `0.25`, `10`.
fn round(value: f64) -> String {
    let text = format!("{value:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text.split_once('.') {
        None => text.parse().map_or_else(|_| text.to_owned(), grouped),
        Some(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::sample;

    #[test]
    fn steps_of_the_axis_are_round() {
        for (least, step) in [
            (0.9, 1.0),
            (1.0, 1.0),
            (1.2, 2.0),
            (2.2, 2.5),
            (26.0, 50.0),
            (60.0, 100.0),
            (0.0021, 0.0025),
        ] {
            assert!(
                (nice_step(least) / step - 1.0).abs() < 1e-9,
                "{least}: {}",
                nice_step(least)
            );
        }
        assert_eq!(
            [0.0, 0.25, 10.0, 12_000.0, 0.0025].map(round),
            ["0", "0.25", "10", "12,000", "0.0025"]
        );
    }

    #[test]
    fn more_callers_are_further_right_and_more_is_higher() {
        let report = sample::ramp();
        let axes = Axes::over(&report.steps, 31.5);
        let right: Vec<f64> = report
            .steps
            .iter()
            .map(|step| axes.x(step.callers.asked))
            .collect();
        assert!(right.is_sorted() && right[0] > LEFT && right[4] < RIGHT);
        // Each doubling takes the same room.
        assert!((right[1] - right[0] - (right[4] - right[3])).abs() < 0.01);
        assert!(axes.y(31.5) > TOP && axes.y(31.5) < axes.y(10.0) && axes.y(0.0) == BOTTOM);
    }

    #[test]
    fn where_nothing_is_lost_the_limit_is_the_measure() {
        let mut report = sample::ramp();
        report.steps.truncate(3);
        let [_, loss, ..] = plots();
        let drawing = loss.draw(&report);
        assert!(
            drawing.contains(">limit 0.1 %<") && drawing.contains(">0.125<"),
            "{drawing}"
        );
        report.plan.until.clear();
        assert!(loss.draw(&report).contains(">1<"));
    }

    #[test]
    fn a_single_step_stands_in_the_middle() {
        let axes = Axes::over(&sample::plain().steps, 0.0);
        assert_eq!(axes.x(100), (LEFT + RIGHT) / 2.0);
        assert!(axes.y(0.0).is_finite());
        assert!(Axes::over(&[], 0.0).x(5).is_finite());
    }
}
