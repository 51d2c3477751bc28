//! The figure that people who ran DAHDI know, and beside it what it hides.

use std::time::Duration;

use unisono_timer::jitter::DahdiTest;

use crate::jitter::naming::{measured, span};
use crate::jitter::report::Judged;

/// What dahdi_test reads at a time: 1024 samples of 8 kHz.
const BLOCK: Duration = Duration::from_millis(128);
/// Passes on one line, as dahdi_test has them.
const PASSES_A_LINE: usize = 8;

/// The passes in percent, best, worst and average, and the percentiles of lateness.
pub fn dahdi_lines(dahdi: &DahdiTest, judged: &Judged) -> String {
    let mut text = String::new();
    if dahdi.passes.is_empty() {
        return "no pass was completed: one takes 1.024 s; measure for longer\n".to_owned();
    }
    for line in dahdi.passes.chunks(PASSES_A_LINE) {
        let passes: Vec<String> = line.iter().map(|pass| format!("{pass:.3}%")).collect();
        text += &format!("{}\n", passes.join(" "));
    }
    let period = judged.run.period;
    let ticks = (BLOCK.as_secs_f64() / period.as_secs_f64())
        .round()
        .max(1.0);
    let block = period.mul_f64(ticks);
    let exact = block == BLOCK;
    let figures = &judged.figures;
    let p = |q| measured(figures.corrected.quantile(q));
    text += &format!(
        "--- Results after {} passes ---\n\
         Best: {:.3}% -- Worst: {:.3}% -- Average: {:.3}%\n\
         Cumulative accuracy (not per pass): {:.3}%\n\
         Lateness: p50 {}, p99 {}, p99.9 {}, max {}; missed {} of {} deadlines\n\
         The percentage sees only when the last tick of each {} came: a stall in between costs it nothing and is heard all the \
         same, so read the percentiles.{}\n",
        dahdi.passes.len(),
        dahdi.best,
        dahdi.worst,
        dahdi.mean,
        dahdi.cumulative,
        p(0.5),
        p(0.99),
        p(0.999),
        measured(figures.corrected.max()),
        figures.missed,
        figures.deadlines(),
        span(block),
        if exact {
            ""
        } else {
            " At this period it is close to dahdi_test's, not the same: 1, 2, 4, 8, 16 and 32 ms divide its blocks of 128 ms."
        },
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::synthetic::{Shape, report};

    #[test]
    fn passes_are_written_as_people_know_them_with_percentiles_beside() {
        let report = report(&[Shape::quiet(1)]);
        let dahdi = DahdiTest {
            passes: vec![99.987, 99.994, 100.0],
            best: 100.0,
            worst: 99.987,
            mean: 99.993_666,
            cumulative: 99.999,
        };
        let text = dahdi_lines(&dahdi, &report.runs[0]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "99.987% 99.994% 100.000%");
        assert_eq!(lines[1], "--- Results after 3 passes ---");
        assert_eq!(
            lines[2],
            "Best: 100.000% -- Worst: 99.987% -- Average: 99.994%"
        );
        assert!(lines[3].contains("99.999%"));
        assert!(lines[4].contains("p99.9"));
        assert!(lines[5].contains("read the percentiles"));
    }
}
