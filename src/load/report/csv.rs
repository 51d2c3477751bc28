//! One line a step, for spreadsheets and statistics programs.

use super::{LoadReport, Step};

/// A column: its name with the unit, and its value; none is an empty field.
type Column = (&'static str, fn(&Step) -> Option<f64>);

const COLUMNS: [Column; 37] = [
    ("callers_asked", |s| Some(s.callers.asked as f64)),
    ("callers_connected", |s| Some(s.callers.connected as f64)),
    ("conferences", |s| Some(s.conferences as f64)),
    ("seconds", |s| Some(s.seconds)),
    ("packets_sent", |s| Some(s.streams.packets.sent as f64)),
    ("packets_received", |s| {
        Some(s.streams.packets.received as f64)
    }),
    ("packets_lost", |s| Some(s.streams.packets.lost as f64)),
    ("packets_late", |s| Some(s.streams.packets.late as f64)),
    ("packets_duplicated", |s| {
        Some(s.streams.packets.duplicated as f64)
    }),
    ("loss_percent", |s| Some(s.streams.packets.loss_percent())),
    ("stream_loss_max_percent", |s| {
        Some(s.streams.loss_percent.max)
    }),
    ("streams_silent", |s| Some(s.streams.silent as f64)),
    ("deviation_p50_us", |s| Some(s.streams.deviation_us.p50)),
    ("deviation_p99_us", |s| Some(s.streams.deviation_us.p99)),
    ("deviation_p99_9_us", |s| Some(s.streams.deviation_us.p99_9)),
    ("deviation_max_us", |s| Some(s.streams.deviation_us.max)),
    ("worst_stream_deviation_p99_us", |s| {
        s.streams.worst.as_ref().map(|w| w.deviation_us.p99)
    }),
    ("gaps", |s| Some(s.streams.gaps as f64)),
    ("longest_gap_ms", |s| Some(s.streams.longest_gap_ms)),
    ("hearing_expected", |s| {
        s.hearing.as_ref().map(|h| h.expected as f64)
    }),
    ("hearing_missing", |s| {
        s.hearing.as_ref().map(|h| h.missing as f64)
    }),
    ("hearing_strangers", |s| {
        s.hearing.as_ref().map(|h| h.strangers as f64)
    }),
    ("hearing_own_voice", |s| {
        s.hearing.as_ref().map(|h| h.own_voice as f64)
    }),
    ("mouth_to_ear_p50_ms", |s| {
        s.mouth_to_ear.as_ref().map(|m| m.delay_ms.p50)
    }),
    ("mouth_to_ear_p99_ms", |s| {
        s.mouth_to_ear.as_ref().map(|m| m.delay_ms.p99)
    }),
    ("cpu_us_per_participant_frame", |s| {
        s.process.as_ref().map(|p| p.cpu_us_per_participant_frame)
    }),
    ("cpu_percent", |s| s.process.as_ref().map(|p| p.cpu_percent)),
    ("rss_kib", |s| s.process.as_ref().map(|p| p.rss_kib as f64)),
    ("rss_per_participant_kib", |s| {
        s.process.as_ref().and_then(|p| p.rss_per_participant_kib)
    }),
    ("generator_lateness_p99_us", |s| {
        Some(s.generator.lateness_us.p99)
    }),
    ("generator_cpu_percent", |s| Some(s.generator.cpu_percent)),
    ("generator_send_failures", |s| {
        Some(s.generator.send_failures as f64)
    }),
    ("generator_receive_drops", |s| {
        Some(s.generator.receive_drops as f64)
    }),
    ("steal_percent", |s| Some(s.generator.steal_percent)),
    ("stream_deviation_p99_p99_us", |s| {
        Some(s.streams.stream_deviation_p99_us.p99)
    }),
    ("stream_deviation_max_p99_us", |s| {
        Some(s.streams.stream_deviation_max_us.p99)
    }),
    ("stream_gaps_max", |s| Some(s.streams.stream_gaps.max)),
];

/// A head line with names and units, and one line a step. What was not measured is empty.
pub fn csv(report: &LoadReport) -> String {
    let mut text = COLUMNS.map(|(name, _)| name).join(",") + "\n";
    for step in &report.steps {
        let fields = COLUMNS
            .map(|(_, value)| value(step).map_or_else(String::new, |value| value.to_string()));
        text += &fields.join(",");
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::report::sample;

    #[test]
    fn every_step_is_a_line_that_reads_back() {
        let report = sample::ramp();
        let text = csv(&report);
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap().split(',').collect();
        let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert_eq!(rows.len(), report.steps.len());
        let field = |row: usize, name: &str| {
            assert_eq!(rows[row].len(), head.len());
            let place = head.iter().position(|field| *field == name).unwrap();
            rows[row][place].parse::<f64>().ok()
        };
        for (row, step) in report.steps.iter().enumerate() {
            assert_eq!(field(row, "callers_asked"), Some(step.callers.asked as f64));
            assert_eq!(
                field(row, "deviation_p99_us"),
                Some(step.streams.deviation_us.p99)
            );
            assert_eq!(
                field(row, "cpu_us_per_participant_frame"),
                step.process
                    .as_ref()
                    .map(|process| process.cpu_us_per_participant_frame)
            );
        }
        assert_eq!(field(4, "callers_connected"), Some(1597.0));
        assert_eq!(field(4, "mouth_to_ear_p99_ms"), None, "not measured");
        assert_eq!(field(3, "mouth_to_ear_p99_ms"), Some(24.8));
        assert_eq!(field(4, "loss_percent"), Some(100.0 * 4.0 / 404.0));
    }
}
