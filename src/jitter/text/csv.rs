//! Every tick of every run, for spreadsheets and statistics programs.

use std::io::{self, Write};

use crate::jitter::figures::nanos;
use crate::jitter::naming::{method_name, policy_name};
use crate::jitter::report::Judged;

/// The first line.
const HEAD: &str = "run,method,period_ns,policy,number,due_ns,lateness_ns,missed,cpu";

/// Writes one line a tick. `run` counts from 1, `due_ns` is since the run's start, `missed` says how many deadlines passed
/// without a tick before this one, and `cpu` where it woke.
///
/// # Errors
///
/// Those of `to`.
pub fn write_csv(to: &mut dyn Write, runs: &[Judged]) -> io::Result<()> {
    writeln!(to, "{HEAD}")?;
    for (place, Judged { run, .. }) in runs.iter().enumerate() {
        let period = nanos(run.period);
        let (method, policy) = (method_name(run.method), policy_name(run.policy));
        for sample in &run.samples {
            writeln!(
                to,
                "{},{method},{period},{policy},{},{},{},{},{}",
                place + 1,
                sample.number,
                sample.number.saturating_mul(period),
                sample.lateness_ns,
                sample.missed,
                sample.cpu,
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::synthetic::{Shape, report};

    #[test]
    fn every_tick_is_a_line_and_the_sums_are_those_of_the_histograms() {
        let report = report(&[Shape::quiet(1), Shape::stalling(2)]);
        let mut text = Vec::new();
        write_csv(&mut text, &report.runs).unwrap();
        let text = String::from_utf8(text).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(HEAD));
        let mut found = [(0_u64, 0_i64, 0_u64); 2];
        for line in lines {
            let fields: Vec<&str> = line.split(',').collect();
            let run = &mut found[fields[0].parse::<usize>().unwrap() - 1];
            let number: u64 = fields[4].parse().unwrap();
            assert_eq!(fields[5].parse(), Ok(number * 20_000_000));
            run.0 += 1;
            run.1 += fields[6].parse::<i64>().unwrap();
            run.2 += fields[7].parse::<u64>().unwrap();
        }
        for (judged, (ticks, lateness, missed)) in report.runs.iter().zip(found) {
            let figures = &judged.figures;
            assert_eq!((ticks, missed), (figures.ticks(), figures.missed));
            let mean = lateness as f64 / ticks as f64;
            assert!((mean - figures.raw.mean()).abs() < 1e-3);
        }
    }
}
