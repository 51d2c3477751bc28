//! Words and tables of the page.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use crate::jitter::svg::escaped;
use crate::load::report::words::{
    self, counted, doubts, figure, grouped, heard, plan_sentence, server_sentence, verdict_sentence,
};
use crate::load::report::{LoadReport, Step, Verdict};

/// What the words of the page mean.
pub(super) const READING: &str = "<section class=\"reading\">\n<h2>How to read this</h2>\n<dl>\n\
<dt>Deviation</dt><dd>How far the time between two packets of a stream was from the packet time, by the kernel\u{2019}s time \
stamps of arrival, over the packets of all streams. A phone\u{2019}s playout buffer must cover it.</dd>\n\
<dt>p99</dt><dd>99 of 100 values are at most this.</dd>\n\
<dt>Lost</dt><dd>Missing sequence numbers, and what a silent stream owes, as a share of what should have come.</dd>\n\
<dt>Gap</dt><dd>More than 60 ms without a packet in a stream that should flow.</dd>\n\
<dt>From mouth to ear</dt><dd>From a packet sent to its sound in what the server sends back. The phone\u{2019}s own packetising \
(20 ms) and playout come on top.</dd>\n\
<dt>Processor time per participant and packet</dt><dd>User and system time of the server\u{2019}s process, divided by \
participants and packet times. 20,000 \u{b5}s divided by it is what one core could carry at the most.</dd>\n\
<dt>Memory</dt><dd>Resident memory beyond what the process had before the first call, by caller.</dd>\n\
<dt>Heard</dt><dd>What listeners that were chosen by lot heard, by ear: each talker of their own conference, no other, and not \
themselves.</dd>\n</dl>\n</section>\n";

/// The page's title.
pub(super) fn title(report: &LoadReport) -> String {
    match report.verdict {
        Verdict::Held { callers } => format!("Load: {} held", counted(callers, "caller")),
        Verdict::Broke { callers, .. } => format!("Load: broke at {}", counted(callers, "caller")),
    }
}

/// Heading, verdict, and what was asked for.
pub(super) fn head(report: &LoadReport) -> String {
    let (class, word) = match report.verdict {
        Verdict::Held { .. } => ("good", "HELD"),
        Verdict::Broke { .. } => ("fail", "BROKE"),
    };
    let started = UNIX_EPOCH + Duration::from_secs(report.started_unix_s);
    let started = humantime::format_rfc3339_seconds(started).to_string();
    format!(
        "<header>\n<p class=\"eyebrow\">{} &middot; {}</p>\n<h1>How many callers does it carry?</h1>\n\
         <p class=\"verdict\"><b class=\"badge {class}\">{word}</b> {}</p>\n<p>{}</p>\n<p class=\"lead\">{}.</p>\n</header>\n",
        escaped(&report.tool),
        escaped(&started.replace('T', " ").replace('Z', " UTC")),
        escaped(&verdict_sentence(&report.verdict)),
        escaped(&server_sentence(&report.server)),
        escaped(&plan_sentence(&report.plan)),
    )
}

/// One row a step.
pub(super) fn steps(report: &LoadReport) -> String {
    if report.steps.is_empty() {
        return "<p>Nothing was measured.</p>\n".to_owned();
    }
    let mut text = "<div class=\"wide\"><table class=\"steps\">\n<thead>\
        <tr><th></th><th></th><th colspan=\"4\">deviation, ms</th><th></th><th colspan=\"2\">mouth to ear, ms</th>\
        <th colspan=\"3\">server\u{2019}s CPU</th><th>memory</th><th></th></tr>\
        <tr><th>Callers</th><th>Lost %</th><th>p50</th><th>p99</th><th>p99.9</th><th>max</th><th>Gaps</th><th>p50</th>\
        <th>p99</th><th>\u{b5}s each</th><th>% of core</th><th>system %</th><th>KiB each</th><th>Heard</th></tr></thead>\n<tbody>\n"
        .to_owned();
    let broke = matches!(report.verdict, Verdict::Broke { .. });
    for (place, step) in report.steps.iter().enumerate() {
        let class = if broke && place + 1 == report.steps.len() {
            " class=\"broke\""
        } else {
            ""
        };
        let _ = write!(
            text,
            "<tr{class}><th scope=\"row\">{}</th>",
            grouped(step.callers.asked as u64)
        );
        for cell in cells(step) {
            let _ = write!(text, "<td>{}</td>", escaped(&cell));
        }
        text += "</tr>\n";
    }
    text += "</tbody>\n</table></div>\n";
    text
}

fn cells(step: &Step) -> [String; 13] {
    let ms = |us: f64| figure(us / 1000.0);
    let known = |value: Option<f64>| value.map_or_else(|| "\u{2013}".to_owned(), figure);
    let deviation = &step.streams.deviation_us;
    let delay = step
        .mouth_to_ear
        .as_ref()
        .map(|ear| ear.delay_ms)
        .filter(|delay| delay.count > 0);
    let process = step.process.as_ref();
    [
        figure(step.streams.packets.loss_percent()),
        ms(deviation.p50),
        ms(deviation.p99),
        ms(deviation.p99_9),
        ms(deviation.max),
        grouped(step.streams.gaps),
        known(delay.map(|delay| delay.p50)),
        known(delay.map(|delay| delay.p99)),
        known(process.map(|process| process.cpu_us_per_participant_frame)),
        known(process.map(|process| process.cpu_percent)),
        known(process.map(|process| process.system_percent)),
        known(process.and_then(|process| process.rss_per_participant_kib)),
        heard(step),
    ]
}

/// Calls that failed, streams that were silent or had gaps, and what was wrong by ear.
pub(super) fn troubles(report: &LoadReport) -> String {
    let items: Vec<String> = report.steps.iter().flat_map(words::troubles).collect();
    if items.is_empty() {
        return String::new();
    }
    let mut text = "<section>\n<h2>What went wrong</h2>\n<ul class=\"troubles\">\n".to_owned();
    for item in items {
        let _ = writeln!(text, "<li>{}</li>", escaped(&item));
    }
    text += "</ul>\n</section>\n";
    text
}

/// How the generator itself did, in its worst step.
pub(super) fn generator(report: &LoadReport) -> String {
    let steps = &report.steps;
    let most = |value: fn(&Step) -> f64| steps.iter().map(value).fold(0.0, f64::max);
    let sum = |value: fn(&Step) -> u64| grouped(steps.iter().map(value).sum());
    let threads = steps.last().map_or(0, |step| step.generator.threads);
    let tiles = [
        ("threads", threads.to_string()),
        (
            "late p99",
            figure(most(|step| step.generator.lateness_us.p99) / 1000.0) + "\u{a0}ms",
        ),
        (
            "late max",
            figure(most(|step| step.generator.lateness_us.max) / 1000.0) + "\u{a0}ms",
        ),
        (
            "of a core",
            figure(most(|step| step.generator.cpu_percent)) + "\u{a0}%",
        ),
        ("sends refused", sum(|step| step.generator.send_failures)),
        ("dropped", sum(|step| step.generator.receive_drops)),
        (
            "steal",
            figure(most(|step| step.generator.steal_percent)) + "\u{a0}%",
        ),
    ];
    let mut text = "<section>\n<h2>The generator itself</h2>\n<p class=\"lead\">In its worst step. Where it is late, the figures \
                    above are not the server\u{2019}s fault.</p>\n<dl class=\"tiles\">\n"
        .to_owned();
    for (label, value) in tiles {
        let _ = writeln!(
            text,
            "<div><dt>{label}</dt><dd>{}</dd></div>",
            escaped(&value)
        );
    }
    text += "</dl>\n";
    let doubts = doubts(report);
    if !doubts.is_empty() {
        text += "<ul class=\"troubles\">\n";
        for doubt in doubts {
            let _ = writeln!(
                text,
                "<li class=\"broken-condition\">{}</li>",
                escaped(&doubt)
            );
        }
        text += "</ul>\n";
    }
    text += "</section>\n";
    text
}

/// What the machine is, and the command.
pub(super) fn machine(report: &LoadReport) -> String {
    let mut text = "<section>\n<h2>The machine</h2>\n<dl class=\"facts\">\n".to_owned();
    for fact in &report.machine {
        let _ = writeln!(
            text,
            "<dt>{}</dt><dd>{}</dd>",
            escaped(&fact.label),
            escaped(&fact.value)
        );
    }
    let _ = write!(
        text,
        "<dt>command</dt><dd><code>{}</code></dd>\n</dl>\n</section>\n",
        escaped(&report.command.join(" "))
    );
    text
}
