//! Percentiles as HdrHistogram prints them (`.hgrm`), in ms to the nanosecond, for its plotter and others'.

use std::io::{self, Write};

use crate::jitter::distribution::Distribution;

/// Percentiles printed for each halving of what is left to 100 %.
const STEPS_A_HALVING: u32 = 5;
const NANOS_IN_MS: f64 = 1e6;

/// Writes the percentiles of one distribution.
///
/// # Errors
///
/// Those of `to`.
pub fn write_hgrm(to: &mut dyn Write, distribution: &Distribution) -> io::Result<()> {
    writeln!(
        to,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let histogram = distribution.histogram();
    let mut total = 0;
    for step in histogram.iter_quantiles(STEPS_A_HALVING) {
        total += step.count_since_last_iteration();
        let value = step.value_iterated_to().min(distribution.max()) as f64 / NANOS_IN_MS;
        let share = step.quantile_iterated_to();
        write!(to, "{value:12.6} {share:2.12} {total:10}")?;
        // The last one would be a division by zero.
        if share < 1.0 {
            write!(to, " {:14.2}", 1.0 / (1.0 - share))?;
        }
        writeln!(to)?;
    }
    writeln!(
        to,
        "#[Mean    = {:12.6}, StdDeviation   = {:12.6}]",
        distribution.mean() / NANOS_IN_MS,
        histogram.stdev() / NANOS_IN_MS
    )?;
    writeln!(
        to,
        "#[Max     = {:12.6}, Total count    = {:12}]",
        distribution.max() as f64 / NANOS_IN_MS,
        distribution.count()
    )?;
    let sub_buckets = 2_u64 * 10_u64.pow(u32::from(histogram.sigfig()));
    writeln!(
        to,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.buckets(),
        sub_buckets.next_power_of_two()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::figures::Figures;
    use crate::jitter::synthetic::{Shape, run};

    #[test]
    fn percentiles_ascend_to_the_maximum_and_the_whole_count() {
        let lateness = Figures::of(&run(&Shape::stalling(4))).corrected;
        let mut text = Vec::new();
        write_hgrm(&mut text, &lateness).unwrap();
        let text = String::from_utf8(text).unwrap();
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                line.split_whitespace()
                    .map(|field| field.parse().unwrap())
                    .collect()
            })
            .collect();
        assert!(rows.len() > 20, "{text}");
        assert!(rows.is_sorted_by(|before, after| before[0] <= after[0] && before[1] <= after[1]));
        let last = rows.last().unwrap();
        assert_eq!(
            (last.len(), last[1], last[2]),
            (3, 1.0, lateness.count() as f64)
        );
        assert!((last[0] - lateness.max() as f64 / NANOS_IN_MS).abs() < 0.000_001);
        for row in &rows[..rows.len() - 1] {
            // What is printed is what sorting would say, give or take one value and the digits printed.
            let value = |q: f64| lateness.quantile(q) as f64 / NANOS_IN_MS;
            let one = 1.5 / lateness.count() as f64;
            assert!(
                row[0] >= value(row[1]) - 0.000_001 && row[0] <= value(row[1] + one) + 0.000_001,
                "{row:?}"
            );
            assert!((row[3] - 1.0 / (1.0 - row[1])).abs() <= 0.005 + row[3] * 1e-6 * row[3]);
        }
        assert!(text.contains(&format!("Total count    = {:12}]", lateness.count())));
    }

    #[test]
    fn nothing_measured_is_a_file_without_percentiles() {
        let mut text = Vec::new();
        write_hgrm(&mut text, &Distribution::new()).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("Total count    =            0]"), "{text}");
    }
}
