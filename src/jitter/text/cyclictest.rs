//! Latencies in whole microseconds, laid out as `cyclictest -h` does, so that what reads its output reads this.
//!
//! One column a run. As there, each wake-up counts once, with the time since the first deadline that it was to serve.

use std::io::{self, Write};

use crate::jitter::figures::nanos;
use crate::jitter::naming::run_name;
use crate::jitter::report::Judged;

/// Latencies of as many microseconds or more are overflows.
const ROWS: usize = 20_000;

/// Writes the histogram.
///
/// # Errors
///
/// Those of `to`.
pub fn write_histogram(to: &mut dyn Write, runs: &[Judged]) -> io::Result<()> {
    let columns: Vec<Column> = runs.iter().map(Column::of).collect();
    for (place, judged) in runs.iter().enumerate() {
        writeln!(to, "# Thread {place}: {}", run_name(&judged.run))?;
    }
    writeln!(to, "# Histogram")?;
    let rows = columns.iter().map(|column| column.counts.len()).max();
    for row in 0..rows.unwrap_or(0) {
        let counts = columns
            .iter()
            .map(|column| column.counts.get(row).copied().unwrap_or(0));
        writeln!(to, "{row:06} {}", joined(counts, 6, "\t"))?;
    }
    let line = |value: fn(&Column) -> u64, width| joined(columns.iter().map(value), width, " ");
    writeln!(to, "# Total: {}", line(|column| column.total, 9))?;
    writeln!(to, "# Min Latencies: {}", line(|column| column.min, 5))?;
    writeln!(to, "# Avg Latencies: {}", line(Column::mean, 5))?;
    writeln!(to, "# Max Latencies: {}", line(|column| column.max, 5))?;
    writeln!(
        to,
        "# Histogram Overflows: {}",
        line(|column| column.overflows, 5)
    )
}

#[derive(Default)]
struct Column {
    counts: Vec<u64>,
    overflows: u64,
    total: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Column {
    fn of(judged: &Judged) -> Self {
        let period = nanos(judged.run.period);
        let mut column = Self {
            min: u64::MAX,
            ..Self::default()
        };
        for sample in &judged.run.samples {
            let own = u64::try_from(sample.lateness_ns).unwrap_or(0);
            let latency =
                own.saturating_add(u64::from(sample.missed).saturating_mul(period)) / 1000;
            column.total += 1;
            column.sum = column.sum.saturating_add(latency);
            column.min = column.min.min(latency);
            column.max = column.max.max(latency);
            match usize::try_from(latency) {
                Ok(row) if row < ROWS => {
                    if row >= column.counts.len() {
                        column.counts.resize(row + 1, 0);
                    }
                    column.counts[row] += 1;
                }
                _ => column.overflows += 1,
            }
        }
        if column.total == 0 {
            column.min = 0;
        }
        column
    }

    fn mean(&self) -> u64 {
        self.sum.checked_div(self.total).unwrap_or(0)
    }
}

fn joined(values: impl Iterator<Item = u64>, width: usize, between: &str) -> String {
    let texts: Vec<String> = values.map(|value| format!("{value:0width$}")).collect();
    texts.join(between)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::synthetic::{Shape, report, run_of};

    fn written(runs: &[Judged]) -> String {
        let mut text = Vec::new();
        write_histogram(&mut text, runs).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// The numbers of the line that begins with `# name:`.
    fn summary(text: &str, name: &str) -> Vec<u64> {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("# {name}: ")));
        let numbers = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        numbers
            .split(' ')
            .map(|number| number.parse().unwrap())
            .collect()
    }

    #[test]
    fn rows_overflows_and_totals_agree() {
        let report = report(&[Shape::quiet(1), Shape::stalling(2)]);
        let text = written(&report.runs);
        let mut sums = summary(&text, "Histogram Overflows");
        assert!(sums[1] > 0, "stalls are longer than 20 ms");
        for row in text.lines().filter(|line| !line.starts_with('#')) {
            let (_, counts) = row.split_once(' ').unwrap();
            for (sum, count) in sums.iter_mut().zip(counts.split('\t')) {
                *sum += count.parse::<u64>().unwrap();
            }
        }
        let ticks: Vec<u64> = report
            .runs
            .iter()
            .map(|judged| judged.figures.ticks())
            .collect();
        assert_eq!(sums, ticks);
        assert_eq!(summary(&text, "Total"), ticks);
        let max = report
            .runs
            .iter()
            .map(|judged| judged.figures.corrected.max() / 1000);
        assert_eq!(summary(&text, "Max Latencies"), max.collect::<Vec<_>>());
    }

    #[test]
    fn a_histogram_is_laid_out_as_cyclictest_does() {
        let run = run_of(20, &[(0, 1_500, 0), (1, 3_999, 0), (3, 2_000, 1)]);
        let text = written(&[Judged::new(run, &[], None, false)]);
        let expected = "# Thread 0: timerfd, 20 ms, fifo:80\n# Histogram\n\
                        000000 000000\n000001 000001\n000002 000000\n000003 000001\n\
                        # Total: 000000003\n# Min Latencies: 00001\n# Avg Latencies: 06668\n\
                        # Max Latencies: 20002\n# Histogram Overflows: 00001\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_run_without_ticks_is_all_zero() {
        let text = written(&[Judged::new(run_of(20, &[]), &[], None, false)]);
        assert_eq!(summary(&text, "Min Latencies"), [0]);
        assert_eq!(summary(&text, "Avg Latencies"), [0]);
    }
}
