//! The interval log of HdrHistogram (`.hlog`), version 2, compressed: one histogram an interval, in ns.

use std::io::{self, Write};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::jitter::figures::nanos;
use crate::jitter::interval::{cut, interval_length};
use crate::jitter::naming::{method_name, policy_name, run_name};
use crate::jitter::report::Judged;

/// Writes the corrected lateness of all runs. Each interval's tag names its run; times count from the first run's start.
///
/// # Errors
///
/// Those of `to`.
pub fn write_hlog(to: &mut dyn Write, runs: &[Judged]) -> io::Result<()> {
    let Some(first) = runs.iter().map(|judged| judged.run.started).min() else {
        return Ok(());
    };
    let mut serializer = V2DeflateSerializer::new();
    // Its writer wants a sized one.
    let mut to = to;
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("Lateness of wake-ups in ns, corrected for coordinated omission; the column Interval_Max is in ms");
    for judged in runs {
        builder.add_comment(&format!("Tag {}: {}", tag(judged), run_name(&judged.run)));
    }
    builder
        .with_start_time(first)
        .with_base_time(first)
        .with_max_value_divisor(1e6);
    let mut log = builder.begin_log_with(&mut to, &mut serializer)?;
    for judged in runs {
        let tag = tag(judged);
        let offset = judged.run.started.duration_since(first).unwrap_or_default();
        let length = interval_length(&judged.run);
        let mut result = Ok(());
        cut(&judged.run, 3, |start, lateness, _| {
            if result.is_ok() {
                let written = log.write_histogram(
                    lateness.histogram(),
                    offset + start,
                    length,
                    Tag::new(&tag),
                );
                result = written.map_err(io::Error::other);
            }
        });
        result?;
    }
    Ok(())
}

/// The run's name without spaces and commas: `timerfd/20000us/fifo:80/cpu1/cpu+disk`.
pub(super) fn tag(judged: &Judged) -> String {
    let run = &judged.run;
    let mut tag = format!(
        "{}/{}us/{}",
        method_name(run.method),
        nanos(run.period) / 1000,
        policy_name(run.policy)
    );
    if let Some(cpu) = run.cpu {
        tag += &format!("/cpu{cpu}");
    }
    if !run.loads.is_empty() {
        tag += &format!("/{}", run.loads.join("+"));
    }
    tag
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use base64::Engine;
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
    use unisono_timer::jitter::Method;

    use super::*;
    use crate::jitter::synthetic::{Shape, report};

    #[test]
    fn what_the_crate_reads_back_is_the_whole_histogram_of_each_run() {
        let precise = Shape {
            method: Method::Precise,
            ..Shape::stalling(2)
        };
        let mut report = report(&[Shape::quiet(1), precise]);
        report.runs[1].run.started += Duration::from_secs(30);
        let mut text = Vec::new();
        write_hlog(&mut text, &report.runs).unwrap();

        let mut found: BTreeMap<String, (Histogram<u64>, u64)> = BTreeMap::new();
        let (mut started, mut based) = (false, false);
        for entry in IntervalLogIterator::new(&text) {
            match entry.expect("a line that the crate reads") {
                LogEntry::StartTime(at) => started = at.as_secs() == 1_750_000_000,
                LogEntry::BaseTime(at) => based = at.as_secs() == 1_750_000_000,
                LogEntry::Interval(interval) => {
                    let bytes = base64::engine::general_purpose::STANDARD
                        .decode(interval.encoded_histogram())
                        .unwrap();
                    let histogram: Histogram<u64> = Deserializer::new()
                        .deserialize(&mut bytes.as_slice())
                        .unwrap();
                    let tag = interval.tag().unwrap().as_str().to_owned();
                    let offset = if tag.starts_with("precise") { 30 } else { 0 };
                    let (sum, count) = found.entry(tag).or_insert_with(|| {
                        (
                            Histogram::new_with_bounds(1, 3_600_000_000_000, 3).unwrap(),
                            0,
                        )
                    });
                    assert_eq!(interval.start_timestamp().as_secs(), offset + *count);
                    assert_eq!(interval.duration(), Duration::from_secs(1));
                    sum.add(&histogram).unwrap();
                    *count += 1;
                }
            }
        }
        assert!(started && based);
        assert_eq!(found.len(), 2);
        for judged in &report.runs {
            let (histogram, count) = &found[&tag(judged)];
            assert_eq!(histogram, judged.figures.corrected.histogram());
            assert_eq!(*count, judged.figures.intervals.len() as u64);
        }
    }
}
