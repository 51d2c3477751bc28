//! From times to places on the paper.

use super::svg::Svg;
use crate::jitter::naming::span;
use std::time::Duration;

/// Where a drawing's field is: left, right, top, bottom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// Lateness upwards, in decades.
#[derive(Clone, Copy, Debug)]
pub(super) struct LatenessAxis {
    field: Field,
    /// Powers of ten of nanoseconds.
    low: i32,
    high: i32,
}

impl LatenessAxis {
    /// An axis of whole decades which holds both, ns.
    pub(super) fn over(field: Field, least: u64, greatest: u64) -> Self {
        let decade = |nanos: u64| (nanos.max(1) as f64).log10();
        let low = (decade(least).floor() as i32).clamp(1, 9);
        let high = (decade(greatest).ceil() as i32).clamp(low + 2, 13);
        Self { field, low, high }
    }

    /// How high a lateness is.
    pub(super) fn y(&self, nanos: u64) -> f64 {
        let decades = (nanos.max(1) as f64).log10() - f64::from(self.low);
        let share = decades / f64::from(self.high - self.low);
        let field = self.field;
        field.bottom - share.clamp(0.0, 1.0) * (field.bottom - field.top)
    }

    /// Draws lines and labels.
    pub(super) fn draw(&self, svg: &mut Svg) {
        let field = self.field;
        for power in self.low..=self.high {
            let nanos = 10_u64.pow(power.unsigned_abs());
            let y = self.y(nanos);
            svg.line("grid", (field.left, y), (field.right, y));
            let label = match nanos {
                0..1000 => format!("{nanos} ns"),
                _ => span(Duration::from_nanos(nanos)),
            };
            svg.words("end", (field.left - 8.0, y + 4.0), &label);
        }
    }

    /// Draws a limit and what it is, if it is within the field.
    pub(super) fn limit(&self, svg: &mut Svg, nanos: u64, words: &str) {
        if nanos >= 10_u64.pow(self.high.unsigned_abs())
            || nanos <= 10_u64.pow(self.low.unsigned_abs())
        {
            return;
        }
        let y = self.y(nanos);
        svg.line("limit", (self.field.left, y), (self.field.right, y));
        svg.words("note", (self.field.left + 6.0, y - 4.0), words);
    }
}

/// Time from the run's start, rightwards.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeAxis {
    field: Field,
    seconds: f64,
}

impl TimeAxis {
    /// An axis from 0 to `end`.
    pub(super) fn to(field: Field, end: Duration) -> Self {
        Self {
            field,
            seconds: end.as_secs_f64().max(0.001),
        }
    }

    /// How far right a time in seconds is.
    pub(super) fn x(&self, seconds: f64) -> f64 {
        let share = (seconds / self.seconds).clamp(0.0, 1.0);
        self.field.left + share * (self.field.right - self.field.left)
    }

    /// Draws ticks and labels, about ten.
    pub(super) fn draw(&self, svg: &mut Svg) {
        let field = self.field;
        let step = self.step();
        let steps = (self.seconds / step).floor() as u32;
        for number in 0..=steps {
            let seconds = step * f64::from(number);
            let x = self.x(seconds);
            svg.line("grid", (x, field.top), (x, field.bottom));
            svg.words(
                "middle",
                (x, field.bottom + 18.0),
                &self.label(seconds, step),
            );
        }
    }

    fn step(&self) -> f64 {
        const STEPS: [f64; 20] = [
            0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0,
            1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0,
        ];
        let fits = STEPS.into_iter().find(|step| self.seconds / step <= 12.0);
        fits.unwrap_or(self.seconds / 10.0)
    }

    fn label(&self, seconds: f64, step: f64) -> String {
        if seconds == 0.0 {
            "0".to_owned()
        } else if step >= 3600.0 {
            format!("{:.0} h", seconds / 3600.0)
        } else if step >= 60.0 {
            format!("{:.0} min", seconds / 60.0)
        } else if step >= 1.0 {
            format!("{seconds:.0} s")
        } else {
            span(Duration::from_secs_f64(seconds))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: Field = Field {
        left: 100.0,
        right: 900.0,
        top: 20.0,
        bottom: 320.0,
    };

    #[test]
    fn lateness_rises_by_decades_within_the_field() {
        let axis = LatenessAxis::over(FIELD, 30_000, 9_000_000);
        assert_eq!(axis.y(10_000), 320.0);
        assert_eq!(axis.y(10_000_000), 20.0);
        assert!((axis.y(100_000) - 220.0).abs() < 0.01);
        assert_eq!((axis.y(0), axis.y(u64::MAX)), (320.0, 20.0));
    }

    #[test]
    fn any_times_make_an_axis() {
        for (least, greatest) in [(0, 0), (5, 5), (u64::MAX, u64::MAX), (0, u64::MAX)] {
            let axis = LatenessAxis::over(FIELD, least, greatest);
            let mut svg = Svg::new(1.0, 1.0, "");
            axis.draw(&mut svg);
            assert!(axis.y(greatest).is_finite());
        }
    }

    #[test]
    fn time_has_a_handful_of_round_labels() {
        for seconds in [0.0, 0.02, 1.0, 10.0, 600.0, 3600.0, 86_400.0, 1e7] {
            let axis = TimeAxis::to(FIELD, Duration::from_secs_f64(seconds));
            let mut svg = Svg::new(1.0, 1.0, "");
            axis.draw(&mut svg);
            let labels = svg.finish().matches("<text").count();
            assert!((1..=13).contains(&labels), "{labels} for {seconds} s");
        }
        let hour = TimeAxis::to(FIELD, Duration::from_secs(3600));
        assert_eq!(hour.label(1800.0, hour.step()), "30 min");
    }
}
