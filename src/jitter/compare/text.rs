//! A comparison in a terminal.

use std::fmt::Write;
use std::time::Duration;

use super::{Comparison, Difference, Judgement, Unit};
use crate::jitter::document::RunRecord;
use crate::jitter::naming::{measured, span};
use crate::jitter::text::Paint;

/// What kind of run it is: runs of one kind are compared.
pub(super) fn kind_name(run: &RunRecord) -> String {
    let period = span(Duration::from_nanos(run.period_ns));
    let mut name = format!("{}, {period}, {}", run.method, run.policy);
    if let Some(cpu) = run.cpu {
        name += &format!(", CPU {cpu}");
    }
    if !run.loads.is_empty() {
        name += &format!(", load {}", run.loads.join("+"));
    }
    name
}

/// All pairs, figure by figure.
pub fn comparison_table(comparison: &Comparison, paint: Paint) -> String {
    let confidence = comparison.certainty.confidence * 100.0;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{:<8} {:>10} {:>10} {:>8}   {:<20} B is",
        "lateness",
        "A",
        "B",
        "B / A",
        format!("with {confidence} % chance"),
    );
    for pair in &comparison.pairs {
        let _ = writeln!(
            text,
            "\n{}\n  A {} deadlines, {} missed; B {}, {} missed",
            pair.name, pair.deadlines[0], pair.missed[0], pair.deadlines[1], pair.missed[1]
        );
        for difference in &pair.differences {
            let _ = writeln!(text, "{}", row(difference, paint));
        }
        let remark = match pair.refused {
            [false, true] => paint.bad(
                "B was refused this scheduling and measured without, which is worse whatever the figures say",
            ),
            [true, false] => "A was refused this scheduling and measured without".to_owned(),
            [true, true] => "both were refused this scheduling and measured without".to_owned(),
            [false, false] => continue,
        };
        let _ = writeln!(text, "  {remark}");
    }
    for name in &comparison.only_a {
        let what = paint.bad("B was not measured so, which counts as worse");
        let _ = writeln!(text, "\nonly in A: {name}\n  {what}");
    }
    for name in &comparison.only_b {
        let _ = writeln!(text, "\nonly in B: {name}");
    }
    text
}

fn row(difference: &Difference, paint: Paint) -> String {
    let between = match difference.between {
        Some((low, _)) if low.is_infinite() => "only B has any".to_owned(),
        Some((_, high)) if high <= 0.0 => "only A has any".to_owned(),
        Some((low, high)) => format!("{} to {}", times(low), times(high)),
        None => "-".to_owned(),
    };
    let judgement = match difference.judgement {
        Judgement::Better => paint.good("better"),
        Judgement::Worse => paint.bad("worse"),
        Judgement::Same => "no different".to_owned(),
        Judgement::Unknown => "too short a run to tell".to_owned(),
    };
    let value = |value: u64| match difference.unit {
        Unit::Nanos => measured(value),
        Unit::Count => value.to_string(),
    };
    format!(
        "  {:<6} {:>10} {:>10} {:>8}   {between:<20} {judgement}",
        difference.figure,
        value(difference.a),
        value(difference.b),
        times(difference.ratio),
    )
}

/// A ratio with three digits; infinite for what only B has.
fn times(ratio: f64) -> String {
    if ratio.is_infinite() {
        return "inf".to_owned();
    }
    let decimals = match ratio {
        ratio if ratio < 0.1 => 4,
        ratio if ratio < 1.0 => 3,
        ratio if ratio < 10.0 => 2,
        ratio if ratio < 100.0 => 1,
        _ => 0,
    };
    format!("{ratio:.decimals$}")
}

#[cfg(test)]
mod tests {
    use unisono_timer::jitter::Method;

    use super::*;
    use crate::jitter::compare::Certainty;
    use crate::jitter::document::Document;
    use crate::jitter::synthetic::{Shape, report};

    #[test]
    fn figures_stand_side_by_side() {
        let slower = Shape {
            usual_ns: 90_000,
            ..Shape::quiet(2)
        };
        let a = Document::from(&report(&[Shape::quiet(1)]));
        let b = Document::from(&report(&[slower]));
        let comparison = Comparison::of(&a, &b, Certainty::default()).unwrap();
        let text = comparison_table(&comparison, Paint::Plain);
        assert!(text.contains("with 99 % chance"), "{text}");
        assert!(
            text.contains(
                "timerfd, 20 ms, fifo:80\n  A 1000 deadlines, 0 missed; B 1000, 0 missed\n"
            )
        );
        let p50 = text.lines().find(|line| line.starts_with("  p50")).unwrap();
        assert!(p50.contains("1.5") && p50.ends_with("worse"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100));
        assert!(
            !text.contains("refused") && !text.contains("only in"),
            "{text}"
        );
    }

    #[test]
    fn what_was_refused_and_what_is_missing_is_said() {
        let tokio = Shape {
            method: Method::Tokio,
            ..Shape::quiet(2)
        };
        let a = Document::from(&report(&[Shape::quiet(1), tokio]));
        let mut b = Document::from(&report(&[Shape::stalling(3)]));
        b.runs[0].grant[0].granted = false;
        let comparison = Comparison::of(&a, &b, Certainty::default()).unwrap();
        let text = comparison_table(&comparison, Paint::Plain);
        for words in [
            "  B was refused this scheduling",
            "only in A: tokio, 20 ms, fifo:80\n  B was not measured so, which counts as worse\n",
            "  missed          0 ",
            " inf ",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 100));
    }
}
