//! A step's figures: from what was read at both ends of a window to what is told of it.

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;

use unisono_timer::host::HostFacts;
use unisono_timer::{LatencyHistogram, MonoTime, Snapshot};

use super::cast::Part;
use super::ears::{Scene, was_gap};
use super::generator::{Findings, Generator};
use super::limits::Circumstances;
use super::process::{Usage, Watched, thread_seconds};
use super::report;
use super::report::{Packets, Percentiles, Streams, WorstStream};
use super::stream::{FRAME_NS, StreamFigures};

/// Everything that is read at the beginning of a window, and again at its end.
#[derive(Debug)]
pub(super) struct Reading {
    at: MonoTime,
    deviation: Snapshot,
    lateness: Snapshot,
    sent: u64,
    unsent: u64,
    skipped: u64,
    /// Of each generator thread, seconds.
    threads_s: Vec<f64>,
    server: Option<Usage>,
    machine: Option<unisono_timer::host::CpuTime>,
}

/// What lies between two readings.
#[derive(Debug)]
pub(super) struct Between {
    pub(super) seconds: f64,
    pub(super) streams: Streams,
    pub(super) process: Option<report::Process>,
    pub(super) generator: report::Generator,
    pub(super) around: Circumstances,
}

impl Reading {
    pub(super) fn now(generator: &Generator, server: Option<&Watched>) -> Self {
        let meter = generator.meter();
        Self {
            at: MonoTime::now(),
            deviation: meter.deviation.snapshot(),
            lateness: meter.lateness.snapshot(),
            sent: meter.sent.load(Relaxed),
            unsent: meter.unsent.load(Relaxed),
            skipped: meter.skipped.load(Relaxed),
            threads_s: generator.tids().into_iter().map(thread_seconds).collect(),
            server: server.and_then(Watched::usage),
            machine: HostFacts::read().pressure.cpu_time,
        }
    }
}

/// Puts a window together. `empty` is the server before its first call.
pub(super) fn between(
    before: &Reading,
    after: &Reading,
    findings: &Findings,
    scene: Scene<'_>,
    empty: Option<&Usage>,
) -> Between {
    let seconds = after.at.since(before.at).as_secs_f64().max(1e-3);
    let connected = scene.parts.len();
    let threads: Vec<f64> = after
        .threads_s
        .iter()
        .zip(&before.threads_s)
        .map(|(after, before)| 100.0 * (after - before) / seconds)
        .collect();
    let passed = |count: fn(&Reading) -> u64| count(after).saturating_sub(count(before));
    let (sent, unsent, skipped) = (
        passed(|r| r.sent),
        passed(|r| r.unsent),
        passed(|r| r.skipped),
    );
    let steal = match (&after.machine, &before.machine) {
        (Some(after), Some(before)) => after.steal_share_since(before),
        _ => None,
    };
    Between {
        seconds,
        streams: streams(before, after, findings, scene, sent),
        process: match (&before.server, &after.server) {
            (Some(before), Some(after)) => Some(process(before, after, empty, seconds, connected)),
            _ => None,
        },
        generator: report::Generator {
            threads: threads.len(),
            lateness_us: microseconds(&after.lateness.since(&before.lateness)),
            cpu_percent: threads.iter().sum(),
            send_failures: unsent,
            receive_drops: findings.receive_drops,
            steal_percent: 100.0 * steal.unwrap_or(0.0),
        },
        around: Circumstances {
            server_gone: before.server.is_some() && after.server.is_none(),
            cut_off: 0,
            busiest_percent: threads.into_iter().fold(0.0, f64::max),
            unsent_percent: 100.0 * (unsent + skipped) as f64
                / (sent + unsent + skipped).max(1) as f64,
        },
    }
}

/// The 99th percentile of what was recorded since `before`, ns, and the new state.
pub(super) fn p99_since(histogram: &LatencyHistogram, before: &mut Snapshot) -> u64 {
    let now = histogram.snapshot();
    let p99 = now.since(before).quantile(0.99);
    *before = now;
    p99
}

fn streams(
    before: &Reading,
    after: &Reading,
    findings: &Findings,
    scene: Scene<'_>,
    sent: u64,
) -> Streams {
    let mut deviation = after.deviation.since(&before.deviation);
    let here = |number: usize| {
        scene
            .parts
            .binary_search_by_key(&number, |part| part.number)
            .ok()
    };
    // Who was cut off is told as a call that failed, not as a stream.
    let flowing: Vec<(&Part, &StreamFigures)> = findings
        .streams
        .iter()
        .filter_map(|(number, figures)| Some((&scene.parts[here(*number)?], figures)))
        .collect();
    let mut packets = Packets {
        sent,
        ..Packets::default()
    };
    let (mut gaps, mut longest_gap_ns) = (0, 0);
    let mut gaps_of: HashMap<usize, u64> = HashMap::with_capacity(flowing.len());
    for (part, figures) in &flowing {
        gaps_of.insert(part.number, figures.gaps);
        packets.received += figures.received;
        packets.lost += figures.lost;
        packets.late += figures.late;
        packets.duplicated += figures.duplicated;
        gaps += figures.gaps;
        longest_gap_ns = longest_gap_ns.max(figures.longest_gap_ns);
    }
    // Silences that the server marked although somebody talked.
    let held_against = LatencyHistogram::new();
    for pause in findings
        .pauses
        .iter()
        .filter(|pause| was_gap(scene, **pause))
    {
        let silence = pause.to_ns.saturating_sub(pause.from_ns);
        gaps += 1;
        gaps_of.entry(pause.caller).and_modify(|gaps| *gaps += 1);
        longest_gap_ns = longest_gap_ns.max(silence);
        held_against.record(silence.saturating_sub(FRAME_NS));
    }
    deviation.merge(&held_against.snapshot());
    let worst = flowing
        .iter()
        .max_by_key(|(_, figures)| figures.deviations.quantile_ns(0.99));
    let over_streams = |value: fn(&StreamFigures) -> f64| {
        percentiles(flowing.iter().map(|(_, figures)| value(figures)).collect())
    };
    Streams {
        count: flowing.len(),
        silent: flowing
            .iter()
            .filter(|(_, figures)| figures.received == 0)
            .count(),
        loss_percent: over_streams(loss_percent),
        deviation_us: microseconds(&deviation),
        stream_deviation_p99_us: over_streams(|figures| {
            figures.deviations.quantile_ns(0.99) as f64 / 1000.0
        }),
        stream_deviation_max_us: over_streams(|figures| {
            figures.deviations.max_ns() as f64 / 1000.0
        }),
        stream_gaps: percentiles(gaps_of.into_values().map(|gaps| gaps as f64).collect()),
        worst: worst.map(|(part, figures)| {
            let deviations = &figures.deviations;
            let at = |q| deviations.quantile_ns(q) as f64 / 1000.0;
            WorstStream {
                caller: part.number,
                conference: part.conference,
                deviation_us: Percentiles {
                    count: deviations.len(),
                    p50: at(0.5),
                    p90: at(0.9),
                    p99: at(0.99),
                    p99_9: at(0.999),
                    max: deviations.max_ns() as f64 / 1000.0,
                },
                loss_percent: loss_percent(figures),
            }
        }),
        gaps,
        longest_gap_ms: longest_gap_ns as f64 / 1e6,
        packets,
    }
}

fn loss_percent(figures: &StreamFigures) -> f64 {
    100.0 * figures.lost as f64 / (figures.lost + figures.received).max(1) as f64
}

fn process(
    before: &Usage,
    after: &Usage,
    empty: Option<&Usage>,
    seconds: f64,
    connected: usize,
) -> report::Process {
    let user = (after.user_s - before.user_s).max(0.0);
    let system = (after.system_s - before.system_s).max(0.0);
    let frames = connected.max(1) as f64 * seconds * 1e9 / FRAME_NS as f64;
    let per_second = |after: u64, before: u64| after.saturating_sub(before) as f64 / seconds;
    let grown = empty.map(|empty| after.rss_kib.saturating_sub(empty.rss_kib) as f64);
    report::Process {
        cpu_us_per_participant_frame: (user + system) * 1e6 / frames,
        cpu_percent: 100.0 * (user + system) / seconds,
        user_percent: 100.0 * user / seconds,
        system_percent: 100.0 * system / seconds,
        rss_kib: after.rss_kib,
        rss_per_participant_kib: grown.map(|grown| grown / connected.max(1) as f64),
        threads: after.threads,
        voluntary_switches_per_s: per_second(after.voluntary_switches, before.voluntary_switches),
        involuntary_switches_per_s: per_second(
            after.involuntary_switches,
            before.involuntary_switches,
        ),
    }
}

fn microseconds(snapshot: &Snapshot) -> Percentiles {
    let at = |q| snapshot.quantile(q) as f64 / 1000.0;
    Percentiles {
        count: snapshot.count(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        max: snapshot.max() as f64 / 1000.0,
    }
}

fn percentiles(mut values: Vec<f64>) -> Percentiles {
    values.sort_by(f64::total_cmp);
    let at = |q: f64| {
        let rank = (q * values.len() as f64).ceil() as usize;
        values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    };
    Percentiles {
        count: values.len() as u64,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        max: at(1.0),
    }
}
