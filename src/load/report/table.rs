//! The report in a terminal: the plan, one row a step, what broke and why, and how the generator itself did.

use std::fmt::Write;

use super::words::{
    counted, doubts, figure, grouped, heard, plan_sentence, server_sentence, streams_sentence,
    troubles, verdict_sentence,
};
use super::{LoadReport, Percentiles, Step, Verdict};
use crate::jitter::{Paint, broken};

/// No line is longer, unless a single word is.
const COLUMNS: usize = 100;

/// Everything a person wants to know at once. Within 100 columns.
pub fn table(report: &LoadReport, paint: Paint) -> String {
    let mut text = String::new();
    say(
        &mut text,
        "",
        &server_sentence(&report.server),
        str::to_owned,
    );
    say(&mut text, "", &plan_sentence(&report.plan), str::to_owned);
    text.push('\n');
    let _ = writeln!(
        text,
        "{:>7} {:>7} {:>6} {:>6} {:>6} {:>5} {:>7} {:>7} {:>7} {:>6} {:>6} {:>6}  heard",
        "callers",
        "loss %",
        "p50",
        "p99",
        "max",
        "gaps",
        "ear p50",
        "ear p99",
        "CPU us",
        "CPU %",
        "sys %",
        "KiB",
    );
    for (place, step) in report.steps.iter().enumerate() {
        let broke =
            matches!(report.verdict, Verdict::Broke { .. }) && place + 1 == report.steps.len();
        let row = row(step);
        let _ = writeln!(text, "{}", if broke { paint.bad(&row) } else { row });
    }
    let _ = writeln!(
        text,
        "{}",
        paint.dim(
            "p50, p99, max: deviation from the packet time, ms. ear: from a packet sent to its sound in what\n\
             comes back, ms. CPU us: of the server, per participant and packet. KiB: memory per participant."
        )
    );
    text.push('\n');
    let verdict = verdict_sentence(&report.verdict);
    match report.verdict {
        Verdict::Held { .. } => say(&mut text, "HELD   ", &verdict, |line| paint.good(line)),
        Verdict::Broke { .. } => say(&mut text, "BROKE  ", &verdict, |line| paint.bad(line)),
    }
    for step in &report.steps {
        for trouble in troubles(step) {
            say(&mut text, "       ", &trouble, str::to_owned);
        }
    }
    if let Some(streams) = report.steps.last().and_then(streams_sentence) {
        say(&mut text, "", &streams, str::to_owned);
    }
    say(&mut text, "", &generator(&report.steps), |line| {
        paint.dim(line)
    });
    for doubt in doubts(report) {
        say(&mut text, "  ! ", &doubt, |line| paint.fair(line));
    }
    text
}

fn row(step: &Step) -> String {
    let ms = |us: f64| figure(us / 1000.0);
    let deviation = &step.streams.deviation_us;
    let ear = |value: fn(&Percentiles) -> f64| match &step.mouth_to_ear {
        Some(ear) if ear.delay_ms.count > 0 => figure(value(&ear.delay_ms)),
        _ => "-".to_owned(),
    };
    let process = step.process.as_ref();
    let used = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
    format!(
        "{:>7} {:>7} {:>6} {:>6} {:>6} {:>5} {:>7} {:>7} {:>7} {:>6} {:>6} {:>6}  {}",
        grouped(step.callers.asked as u64),
        figure(step.streams.packets.loss_percent()),
        ms(deviation.p50),
        ms(deviation.p99),
        ms(deviation.max),
        step.streams.gaps,
        ear(|delay| delay.p50),
        ear(|delay| delay.p99),
        used(process.map(|process| process.cpu_us_per_participant_frame)),
        used(process.map(|process| process.cpu_percent)),
        used(process.map(|process| process.system_percent)),
        used(process.and_then(|process| process.rss_per_participant_kib)),
        heard(step),
    )
}

/// How the generator did, in its worst step.
fn generator(steps: &[Step]) -> String {
    let most = |value: fn(&Step) -> f64| steps.iter().map(value).fold(0.0, f64::max);
    let sum = |value: fn(&Step) -> u64| steps.iter().map(value).sum::<u64>();
    format!(
        "Generator: {}, at worst p99 {} ms late (max {} ms), {} % of a core, {} sends refused, {} packets dropped, steal {} %.",
        counted(
            steps.last().map_or(0, |step| step.generator.threads),
            "thread"
        ),
        figure(most(|step| step.generator.lateness_us.p99) / 1000.0),
        figure(most(|step| step.generator.lateness_us.max) / 1000.0),
        figure(most(|step| step.generator.cpu_percent)),
        grouped(sum(|step| step.generator.send_failures)),
        grouped(sum(|step| step.generator.receive_drops)),
        figure(most(|step| step.generator.steal_percent)),
    )
}

/// Appends words, broken into lines that begin with `head`, or where it would be.
fn say(text: &mut String, head: &str, words: &str, paint: impl Fn(&str) -> String) {
    let indent = head.chars().count();
    for (number, line) in broken(words, COLUMNS - indent).iter().enumerate() {
        let before = if number == 0 {
            head.to_owned()
        } else {
            " ".repeat(indent)
        };
        let _ = writeln!(text, "{}", paint(&(before + line)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::sample;

    #[test]
    fn a_ramp_that_breaks_says_where_and_why() {
        let text = table(&sample::ramp(), Paint::Plain);
        let expected = include_str!("sample_table.txt");
        assert_eq!(text, expected, "\n{text}");
    }

    #[test]
    fn rows_read_back_as_the_steps() {
        let report = sample::ramp();
        let text = table(&report, Paint::Plain);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip_while(|line| !line.trim_start().starts_with("callers"))
            .skip(1)
            .take(report.steps.len())
            .map(|line| line.split_whitespace().collect())
            .collect();
        for (row, step) in rows.iter().zip(&report.steps) {
            assert_eq!(row[0].replace(',', ""), step.callers.asked.to_string());
            let p99: f64 = row[3].parse().unwrap();
            let measured = step.streams.deviation_us.p99 / 1000.0;
            assert!((p99 - measured).abs() <= measured * 0.01, "{row:?}");
        }
        assert_eq!(rows[4][6], "-", "no delay was measured");
    }

    #[test]
    fn it_fits_a_screen_and_says_what_is_doubtful() {
        let mut report = sample::ramp();
        report.steps[2].generator.receive_drops = 12;
        let text = table(&report, Paint::Plain);
        let width = text.lines().map(|line| line.chars().count()).max();
        assert!(width <= Some(COLUMNS), "{width:?} in\n{text}");
        assert!(text.lines().count() <= 24, "\n{text}");
        assert!(text.contains("  ! At 400 callers packets were dropped"));
        assert!(!text.contains('\x1b'));
        assert!(table(&report, Paint::Ansi).contains("\x1b[31;1mBROKE"));
    }

    #[test]
    fn a_run_that_measured_no_process_is_a_table_as_well() {
        let mut report = sample::plain();
        report.server.pid = None;
        report.server.process_name = None;
        let step = &mut report.steps[0];
        (step.process, step.mouth_to_ear, step.hearing) = (None, None, None);
        let text = table(&report, Paint::Plain);
        assert!(text.contains("its process is not measured"));
        assert!(text.contains("HELD   100 callers held, within every limit."));
        report.steps.clear();
        assert!(table(&report, Paint::Plain).contains("HELD"));
    }
}
