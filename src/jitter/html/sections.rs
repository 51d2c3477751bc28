//! Words and tables of the page.

use std::fmt::Write;

use unisono_timer::jitter::Outlier;

use super::svg::escaped;
use super::{periods, timeline};
use crate::jitter::naming::{measured, method_name, percent, policy_name, run_name, span};
use crate::jitter::report::{Judged, Report};
use crate::jitter::text::dahdi_lines;
use crate::jitter::verdict::Grade;

/// Colours for curves in the style sheet; further runs begin anew.
pub(super) const SERIES: usize = 7;
/// Rows in a table of outliers.
const MOST_ROWS: usize = 20;

/// What the words of the page mean.
pub(super) const READING: &str = "<section class=\"reading\">\n<h2>How to read this</h2>\n<dl>\n\
<dt>Lateness</dt><dd>Time between a deadline and the moment the thread ran again. Figures count every deadline: one that \
was missed counts as late as work for it began (\u{201c}corrected for coordinated omission\u{201d}), so a long stall is not \
one late tick among thousands.</dd>\n\
<dt>p99.9</dt><dd>999 of 1000 deadlines were met within this time.</dd>\n\
<dt>Good, fair, fail</dt><dd>Good: 99.9 % within 1 ms, none beyond 5 ms, none missed. Fail: more than 0.1 % later than 10 ms, \
or a stall of 60 ms or longer more often than once in ten minutes. Fair: in between; the playout buffer covers it.</dd>\n\
<dt>Playout buffer</dt><dd>Twice the 99.9th percentile, as both ends may be late, in whole frames of 20 ms. What the network \
adds comes on top.</dd>\n\
<dt>Steal</dt><dd>CPU time the hypervisor gave to somebody else while this machine wanted it, of all its CPUs.</dd>\n\
<dt>Throttled</dt><dd>Time in which the control group had used up its CPU quota.</dd>\n</dl>\n</section>\n";

/// The page's title.
pub(super) fn title(report: &Report) -> String {
    let verdict = if report.passed() { "PASS" } else { "FAIL" };
    format!("Jitter: {verdict}")
}

/// Heading, verdict and the table of all runs.
pub(super) fn head(report: &Report) -> String {
    let passed = report.passed();
    let (class, words) = match (report.runs.is_empty(), passed) {
        (true, _) => ("fail", "Nothing was measured"),
        (false, true) => ("good", "PASS"),
        (false, false) => ("fail", "FAIL"),
    };
    let sentence = match (report.runs.is_empty(), passed) {
        (true, _) => "",
        (false, true) => "Every beat measured can carry a conference with frames of 20 ms.",
        (false, false) => {
            "Not every beat measured can carry a conference with frames of 20 ms, met its conditions, or was measured under all that was asked for."
        }
    };
    let mut text = format!(
        "<header>\n<p class=\"eyebrow\">{} &middot; {}</p>\n<h1>How punctual is this machine?</h1>\n\
         <p class=\"verdict\"><b class=\"badge {class}\">{words}</b> {sentence}</p>\n</header>\n",
        escaped(&report.tool),
        escaped(
            &humantime::format_rfc3339_seconds(report.created)
                .to_string()
                .replace('T', " ")
                .replace('Z', " UTC")
        ),
    );
    if report.runs.is_empty() {
        return text;
    }
    text += "<div class=\"wide\"><table class=\"figures\">\n<thead><tr><th>Method</th><th>Period</th><th>Policy</th><th>CPU</th>\
             <th>Ticks</th><th>p50</th><th>p99</th><th>p99.9</th><th>Max</th><th>Missed</th><th>&gt;10&nbsp;ms</th>\
             <th>Buffer</th><th>Verdict</th></tr></thead>\n<tbody>\n";
    for (place, judged) in report.runs.iter().enumerate() {
        let Judged {
            run,
            figures,
            verdict,
            ..
        } = judged;
        let p = |q| unbroken(&measured(figures.corrected.quantile(q)));
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\"><i class=\"swatch s{}\"></i>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            place % SERIES,
            method_name(run.method),
            unbroken(&span(run.period)),
            policy_name(run.policy),
            run.cpu
                .map_or_else(|| "any".to_owned(), |cpu| cpu.to_string()),
            figures.ticks(),
            p(0.5),
            p(0.99),
            p(0.999),
            unbroken(&measured(figures.corrected.max())),
            figures.missed,
            escaped(&unbroken(&percent(
                figures.corrected.share_above(10_000_000)
            ))),
            unbroken(&format!("{} ms", verdict.buffer_ms)),
            badge(judged),
        );
    }
    text += "</tbody>\n</table></div>\n";
    text
}

/// Everything about one run.
pub(super) fn run(place: usize, judged: &Judged) -> String {
    let Judged {
        run,
        verdict,
        outcomes,
        dahdi,
        ..
    } = judged;
    let mut text = format!(
        "<section class=\"run\">\n<h2><i class=\"swatch s{}\"></i>{} {}</h2>\n<ul class=\"reasons\">\n",
        place % SERIES,
        escaped(&run_name(run)),
        badge(judged)
    );
    for reason in &verdict.reasons {
        let _ = writeln!(text, "<li>{}</li>", escaped(&sentence(reason)));
    }
    for outcome in outcomes {
        let held = if outcome.held {
            "holds"
        } else {
            "does not hold"
        };
        let _ = writeln!(
            text,
            "<li class=\"{}\"><code>{}</code> {held}: {}</li>",
            if outcome.held {
                "held"
            } else {
                "broken-condition"
            },
            escaped(&outcome.condition),
            escaped(&outcome.measured)
        );
    }
    text += "</ul>\n";
    text += &tiles(judged);
    if judged.figures.ticks() > 1 {
        text += &timeline::figure(judged);
        text += &periods::figure(judged);
    }
    text += &outliers(judged);
    text += &grants(judged);
    if let Some(dahdi) = dahdi {
        let lines = escaped(&dahdi_lines(dahdi, judged));
        let _ = write!(
            text,
            "<h3>As dahdi_test would have it</h3>\n<pre>{lines}</pre>\n"
        );
    }
    if !verdict.remarks.is_empty() {
        text += "<ul class=\"remarks\">\n";
        for remark in &verdict.remarks {
            let _ = writeln!(text, "<li>{}</li>", escaped(&sentence(remark)));
        }
        text += "</ul>\n";
    }
    text += "</section>\n";
    text
}

/// What the machine is, and how it was measured.
pub(super) fn machine(report: &Report) -> String {
    let mut text = "<section>\n<h2>The machine</h2>\n<dl class=\"facts\">\n".to_owned();
    for (label, value) in &report.host {
        let _ = writeln!(
            text,
            "<dt>{}</dt><dd>{}</dd>",
            escaped(label),
            escaped(value)
        );
    }
    for load in &report.loads {
        let _ = writeln!(text, "<dt>load</dt><dd>{}</dd>", escaped(&load.line()));
    }
    let _ = write!(
        text,
        "<dt>command</dt><dd><code>{}</code></dd>\n</dl>\n</section>\n",
        escaped(&report.command.join(" "))
    );
    text
}

/// What was seen of an outlier, in words.
pub(super) fn evidence(outlier: &Outlier) -> String {
    let evidence = &outlier.evidence;
    let mut seen = Vec::new();
    let mut time = |name: &str, nanos: Option<u64>| {
        if let Some(nanos) = nanos.filter(|&nanos| nanos > 0) {
            seen.push(format!("{name} {}", measured(nanos)));
        }
    };
    time("steal", evidence.steal_ns);
    time("throttled", evidence.throttled_ns);
    time("ready without a CPU", evidence.run_delay_ns);
    time("observer late", evidence.observer_lateness_ns);
    for (name, count) in [
        ("minor faults", evidence.minor_faults),
        ("major faults", evidence.major_faults),
        ("involuntary switches", evidence.involuntary_switches),
    ] {
        if count > 0 {
            seen.push(format!("{name} {count}"));
        }
    }
    if let Some((from, to)) = evidence.migrated {
        seen.push(format!("CPU {from} to {to}"));
    }
    if evidence.clock_jump_ns != 0 {
        seen.push(format!(
            "clock jump {:+.3} ms",
            evidence.clock_jump_ns as f64 / 1e6
        ));
    }
    if seen.is_empty() {
        "nothing was seen".to_owned()
    } else {
        seen.join(", ")
    }
}

/// The figures that no drawing shows.
fn tiles(judged: &Judged) -> String {
    let figures = &judged.figures;
    let told = |share: Option<f64>| share.map_or_else(|| "not told".to_owned(), percent);
    let mut tiles: Vec<(String, String)> = judged
        .verdict
        .late
        .iter()
        .map(|late| (format!(">{} ms late", late.over_ms), percent(late.share)))
        .collect();
    tiles.extend([
        (
            "period off by, p99".to_owned(),
            measured(figures.period_error.quantile(0.99)),
        ),
        ("steal".to_owned(), told(figures.steal_share)),
        ("throttled".to_owned(), told(figures.throttled_share)),
        ("CPU used".to_owned(), percent(figures.cpu_share)),
    ]);
    let mut text = "<dl class=\"tiles\">\n".to_owned();
    for (label, value) in tiles {
        let _ = writeln!(
            text,
            "<div><dt>{}</dt><dd>{}</dd></div>",
            escaped(&label),
            escaped(&unbroken(&value))
        );
    }
    text += "</dl>\n";
    text
}

fn outliers(judged: &Judged) -> String {
    let run = &judged.run;
    let threshold = span(run.outlier_threshold);
    if run.outliers.is_empty() {
        return format!("<p>No tick was {threshold} or more late.</p>\n");
    }
    let mut latest: Vec<&Outlier> = run.outliers.iter().collect();
    latest.sort_by_key(|outlier| std::cmp::Reverse(outlier.lateness_ns));
    latest.truncate(MOST_ROWS);
    let causes = judged.figures.causes.iter();
    let causes: Vec<String> = causes
        .map(|(cause, count)| format!("{cause} {count}"))
        .collect();
    let plural = if run.outlier_count == 1 { "" } else { "s" };
    let mut text = format!(
        "<h3>{} tick{plural} {threshold} or more late: {}</h3>\n<div class=\"wide\"><table>\n<thead><tr><th>At</th>\
         <th>Late by</th><th>Cause</th><th>What was seen</th></tr></thead>\n<tbody>\n",
        run.outlier_count,
        escaped(&causes.join(", "))
    );
    for outlier in &latest {
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td class=\"cause\"><i class=\"swatch dot {}\"></i>{}</td><td class=\"words\">{}</td></tr>",
            unbroken(&format!("{:.3} s", outlier.at_ns as f64 / 1e9)),
            unbroken(&measured(outlier.lateness_ns)),
            timeline::class(outlier.cause),
            outlier.cause,
            escaped(&evidence(outlier))
        );
    }
    text += "</tbody>\n</table></div>\n";
    if run.outlier_count > latest.len() as u64 {
        let _ = writeln!(
            text,
            "<p class=\"fine\">The {} latest are shown; the JSON report has more.</p>",
            latest.len()
        );
    }
    text
}

fn grants(judged: &Judged) -> String {
    if judged.run.grant.is_empty() {
        return String::new();
    }
    let mut text =
        "<h3>What the system granted</h3>\n<div class=\"wide\"><table class=\"grants\">\n<tbody>\n"
            .to_owned();
    for part in &judged.run.grant {
        let (class, word) = if part.granted {
            ("held", "granted")
        } else {
            ("broken-condition", "not granted")
        };
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{}</th><td class=\"{class}\">{word}</td><td class=\"words\">{}</td></tr>",
            escaped(&part.part),
            escaped(&part.detail)
        );
    }
    text += "</tbody>\n</table></div>\n";
    text
}

fn badge(judged: &Judged) -> String {
    let grade = judged.verdict.grade;
    let words = match grade {
        _ if judged.load_failed => return "<b class=\"badge fail\">NO LOAD</b>".to_owned(),
        Grade::Good => "PASS good",
        Grade::Fair => "PASS fair",
        Grade::Fail => "FAIL",
    };
    format!("<b class=\"badge {}\">{words}</b>", grade.name())
}

/// With spaces at which no line is broken.
fn unbroken(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// With a capital and a full stop.
fn sentence(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(char::to_uppercase);
    first
        .into_iter()
        .flatten()
        .chain(chars)
        .chain(['.'])
        .collect()
}
