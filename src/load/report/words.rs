//! Figures and plans as people read them.

use super::{Failure, Hearing, LoadReport, Pace, Plan, ReachedBy, Server, Step, Verdict};

/// Whole numbers in groups of three: `10,000`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things, with an s where it is not one.
pub(super) fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number as u64))
}

/// A measured value with three digits that count, never in powers of ten: `0.05`, `1.30`, `12.4`, `117`.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.0005 => "<0.001".to_owned(),
        size if size < 0.095 => format!("{value:.3}"),
        size if size < 9.95 => format!("{value:.2}"),
        size if size < 99.5 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// What was asked for, in one line.
pub(super) fn plan_sentence(plan: &Plan) -> String {
    let talk = match plan.talk.as_str() {
        "all" => "everybody talks".to_owned(),
        "speech" => "talk spurts as in speech".to_owned(),
        "1" => "1 talker in each".to_owned(),
        number => format!("{number} talkers in each"),
    };
    let pace = match plan.pace {
        Pace::Even => "paced evenly",
        Pace::Burst => "in bursts",
    };
    format!(
        "{} in {}, {talk}; {}, {} ms, {pace}; {} s measured after {} s",
        counted(plan.callers, "caller"),
        counted(plan.conferences, "conference"),
        codecs(plan),
        plan.ptime_ms,
        plan.seconds,
        plan.warm_up_seconds,
    )
}

/// The codecs with their shares, where there are several.
pub(super) fn codecs(plan: &Plan) -> String {
    match plan.codecs.as_slice() {
        [only] => codec_name(&only.codec),
        several => several
            .iter()
            .map(|share| format!("{} {} %", codec_name(&share.codec), share.percent))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn codec_name(codec: &str) -> String {
    match codec {
        "opus" => "Opus".to_owned(),
        "g722" => "G.722".to_owned(),
        other => other.to_uppercase(),
    }
}

/// Who was called, in one line.
pub(super) fn server_sentence(server: &Server) -> String {
    let how = match server.reached_by {
        ReachedBy::Sip => "by SIP",
        ReachedBy::Rtp => "plain RTP",
    };
    let mut parts = vec![how.to_owned()];
    parts.extend(server.name.clone());
    match (&server.process_name, server.pid) {
        (Some(name), Some(pid)) => parts.push(format!("process {name} ({pid})")),
        (None, Some(pid)) => parts.push(format!("process {pid}")),
        _ => parts.push("its process is not measured".to_owned()),
    }
    format!("{}: {}", server.target, parts.join(", "))
}

/// The verdict in a sentence.
pub(super) fn verdict_sentence(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held { callers } => {
            let callers = counted(*callers, "caller");
            format!("{callers} held, within every limit.")
        }
        Verdict::Broke {
            callers,
            held_callers,
            sentence,
            ..
        } => {
            let before = match held_callers {
                Some(held) => format!("{} held.", counted(*held, "caller")),
                None => "No smaller number was tried, or none held.".to_owned(),
            };
            let stop = if sentence.ends_with('.') { "" } else { "." };
            format!(
                "At {}: {sentence}{stop} {before}",
                counted(*callers, "caller")
            )
        }
    }
}

/// How the streams of a step fared one by one, and whose was the worst; nothing where no packet followed another.
pub(super) fn streams_sentence(step: &Step) -> Option<String> {
    let worst = step.streams.worst.as_ref()?;
    let each = &step.streams.stream_deviation_p99_us;
    let ms = |us: f64| figure(us / 1000.0);
    (worst.deviation_us.count > 0 && each.count > 0).then(|| {
        format!(
            "Streams at {}: half of them have a p99 of at most {} ms, 99 % of at most {} ms; worst: caller {} in conference {}, p99 {} ms, \
             max {} ms, loss {} %.",
            counted(step.callers.asked, "caller"),
            ms(each.p50),
            ms(each.p99),
            worst.caller,
            worst.conference,
            ms(worst.deviation_us.p99),
            ms(worst.deviation_us.max),
            figure(worst.loss_percent),
        )
    })
}

/// What went wrong in a step beside its figures, a sentence each.
pub(super) fn troubles(step: &Step) -> Vec<String> {
    let mut troubles = Vec::new();
    let callers = &step.callers;
    let at = counted(callers.asked, "caller");
    if callers.connected < callers.asked {
        let calls = counted(callers.asked - callers.connected, "call");
        troubles.push(format!(
            "At {at} {calls} failed{}.",
            failures(&callers.failed)
        ));
    }
    if step.streams.silent > 0 {
        let streams = counted(step.streams.silent, "stream");
        troubles.push(format!("At {at} {streams} brought no packet at all."));
    }
    if step.streams.gaps > 0 {
        let gaps = counted(step.streams.gaps as usize, "gap");
        let longest = figure(step.streams.longest_gap_ms);
        troubles.push(format!(
            "At {at} {gaps} of more than 60 ms, the longest {longest} ms."
        ));
    }
    if let Some(hearing) = step.hearing.as_ref().filter(|hearing| !hearing.is_right()) {
        let examples: Vec<&str> = hearing
            .wrong
            .iter()
            .take(MOST_EXAMPLES)
            .map(String::as_str)
            .collect();
        let colon = if examples.is_empty() { "" } else { ": " };
        troubles.push(format!(
            "At {at} {}{colon}{}.",
            wrong_by_ear(hearing),
            examples.join("; ")
        ));
    }
    troubles
}

/// Calls that failed, after a colon: `: 3 × 486 Busy Here, 1 × no answer`.
fn failures(failed: &[Failure]) -> String {
    let reasons: Vec<String> = failed
        .iter()
        .map(|failure| format!("{} × {}", grouped(failure.count as u64), failure.reason))
        .collect();
    match reasons.as_slice() {
        [] => String::new(),
        reasons => format!(": {}", reasons.join(", ")),
    }
}

/// What listeners heard that they should not have, or did not.
fn wrong_by_ear(hearing: &Hearing) -> String {
    let mut parts = Vec::new();
    if hearing.missing > 0 {
        parts.push(format!(
            "{} of {} talkers were not heard",
            hearing.missing, hearing.expected
        ));
    }
    if hearing.strangers > 0 {
        parts.push(format!(
            "{} of other conferences were heard",
            hearing.strangers
        ));
    }
    if hearing.own_voice > 0 {
        let listeners = counted(hearing.own_voice, "listener");
        parts.push(format!("{listeners} heard their own voice"));
    }
    parts.join(", ")
}

/// Talkers that were heard, and whether that is right: `30 ok`, `27/30`.
pub(super) fn heard(step: &Step) -> String {
    match &step.hearing {
        None => "-".to_owned(),
        Some(hearing) if hearing.is_right() => format!("{} ok", hearing.heard),
        Some(hearing) => format!("{}/{}", hearing.heard, hearing.expected),
    }
}

/// Examples of what was wrong by ear.
const MOST_EXAMPLES: usize = 3;
/// Lateness of the generator, 99th percentile, from which on its own figures are doubtful.
const LATE_US: f64 = 2000.0;
/// Steal, percent, from which on they are.
const MOST_STEAL_PERCENT: f64 = 1.5;

/// Why the figures may not be the server's, one sentence a reason.
pub(super) fn doubts(report: &LoadReport) -> Vec<String> {
    let mut doubts = Vec::new();
    let mut doubt = |steps: Vec<usize>, what: &str| {
        if let (Some(first), Some(last)) = (steps.first(), steps.last()) {
            let at = if first == last {
                format!("At {}", counted(*first, "caller"))
            } else {
                format!(
                    "Between {} and {}",
                    grouped(*first as u64),
                    counted(*last, "caller")
                )
            };
            doubts.push(format!("{at} {what}"));
        }
    };
    let at = |wrong: &dyn Fn(&Step) -> bool| -> Vec<usize> {
        let wrong = report.steps.iter().filter(|step| wrong(step));
        wrong.map(|step| step.callers.asked).collect()
    };
    doubt(
        at(&|step| step.generator.lateness_us.p99 > LATE_US),
        "the generator itself sent 1 % of its packets more than 2 ms late: give it more threads or another CPU.",
    );
    doubt(
        at(&|step| step.generator.send_failures > 0),
        "the kernel refused some of the generator's packets.",
    );
    doubt(
        at(&|step| step.generator.receive_drops > 0),
        "packets were dropped since the generator did not read them in time: they count as lost.",
    );
    doubt(
        at(&|step| step.generator.steal_percent > MOST_STEAL_PERCENT),
        "the host took more than 1.5 % of the machine's time (steal).",
    );
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::sample;

    #[test]
    fn numbers_are_grouped_and_figures_short() {
        let grouped: Vec<String> = [0, 7, 999, 1000, 1_234_567].map(grouped).into();
        assert_eq!(grouped, ["0", "7", "999", "1,000", "1,234,567"]);
        let figures = [
            0.0, 0.0001, 0.0005, 0.05, 0.0949, 0.1, 9.949, 9.96, 99.4, 99.6, 12_345.6,
        ];
        assert_eq!(
            figures.map(figure),
            [
                "0", "<0.001", "0.001", "0.050", "0.095", "0.10", "9.95", "10.0", "99.4", "100",
                "12346"
            ]
        );
    }

    #[test]
    fn a_plan_and_its_verdict_are_sentences() {
        let report = sample::ramp();
        assert_eq!(
            plan_sentence(&report.plan),
            "1,600 callers in 1 conference, 3 talkers in each; PCMU 70 %, Opus 30 %, 20 ms, paced evenly; \
             5 s measured after 2 s"
        );
        assert_eq!(
            verdict_sentence(&report.verdict),
            "At 1,600 callers: the 99th percentile of the deviation is 31.5 ms, more than 10 ms. 800 callers held."
        );
        assert_eq!(
            verdict_sentence(&sample::plain().verdict),
            "100 callers held, within every limit."
        );
    }

    #[test]
    fn doubts_name_the_steps_they_are_of() {
        assert!(doubts(&sample::plain()).is_empty());
        let mut report = sample::ramp();
        report.steps[1].generator.lateness_us.p99 = 2500.0;
        report.steps[3].generator.lateness_us.p99 = 9000.0;
        report.steps[2].generator.steal_percent = 4.0;
        let doubts = doubts(&report);
        assert_eq!(doubts.len(), 2, "{doubts:?}");
        assert!(doubts[0].starts_with("Between 200 and 800 callers the generator itself"));
        assert!(doubts[1].starts_with("At 400 callers the host took"));
    }
}
