//! `unisono jitter compare`: two reports of `--json`, side by side.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{paint, refuse};
use crate::jitter::{Certainty, Comparison, Document, comparison_table};

/// Arguments of `unisono jitter compare`.
#[derive(Debug, Args)]
#[command(
    after_help = "Runs are matched by method, period, policy, CPU and load; several of a kind count as one longer run. Each figure \
                  of B is divided by that of A. The range beside a ratio is where the true one lies with the confidence asked for: \
                  seconds of both runs are drawn again and again, so what came in bursts stays in bursts. What one passing \
                  trouble explains is no difference; longer runs find smaller ones. A run that only A has, and scheduling that \
                  only B was refused, count as worse.\n\
                  Exit status: 0 nothing got worse; 1 something did; 2 files that cannot be compared."
)]
pub(super) struct CompareArguments {
    /// The report before
    #[arg(value_name = "A.json")]
    a: PathBuf,
    /// The report after
    #[arg(value_name = "B.json")]
    b: PathBuf,
    /// How sure to be, in percent
    #[arg(long, value_name = "PERCENT", default_value = "99", value_parser = confidence)]
    confidence: f64,
    /// Differences up to this are none, in percent
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = tolerance)]
    tolerance: f64,
}

/// Compares, and tells the exit status.
pub(super) fn run(arguments: &CompareArguments) -> ExitCode {
    let certainty = Certainty {
        confidence: arguments.confidence / 100.0,
        tolerance: arguments.tolerance / 100.0,
    };
    let compared = document(&arguments.a).and_then(|a| {
        let b = document(&arguments.b)?;
        Comparison::of(&a, &b, certainty).map_err(|error| error.to_string())
    });
    match compared {
        Ok(comparison) => {
            let text = comparison_table(&comparison, paint(std::io::stdout().is_terminal()));
            // That nobody reads it does not change the answer.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::from(u8::from(comparison.worse()))
        }
        Err(complaint) => refuse(&complaint),
    }
}

fn document(path: &Path) -> Result<Document, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Document::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn confidence(text: &str) -> Result<f64, String> {
    within(text, 50.0, 99.9)
}

fn tolerance(text: &str) -> Result<f64, String> {
    within(text, 0.0, 1000.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: Option<f64> = text.trim_end_matches('%').trim_end().parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("expected percent from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_a_number_within_bounds() {
        assert_eq!(confidence("95"), Ok(95.0));
        assert_eq!(confidence("99.5 %"), Ok(99.5));
        assert_eq!(tolerance("0"), Ok(0.0));
        for wrong in ["", "100", "NaN", "inf", "x", "49"] {
            assert!(confidence(wrong).is_err(), "{wrong}");
        }
    }
}
