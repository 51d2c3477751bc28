//! `GET /metrics`: OpenMetrics text, made anew from the meters at each scrape.

use std::fmt::{Debug, Error};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Extension;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::{MetricType, TypedMetric};
use prometheus_client::registry::Registry;

use super::Problem;
use super::meter::{CLASSES, WebMeter};
use crate::conference::LinkView;
use crate::control::{ControlHandle, Overview, WorkerOverview};

/// Upper bounds of the lateness histogram, seconds: from a good real-time guest to a lost tick.
const LATENESS_BOUNDS: [f64; 11] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1,
];

pub(crate) async fn show(
    State(control): State<ControlHandle>,
    Extension(web): Extension<Arc<WebMeter>>,
) -> Result<Response, Problem> {
    let overview = control.overview().await?;
    let mut registry = Registry::with_prefix("unisono");
    registry.register_collector(Box::new(Snapshot(overview, web)));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        Problem::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            error.to_string(),
        )
    })?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

#[derive(Debug)]
struct Snapshot(Overview, Arc<WebMeter>);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let out = &mut encoder;
        let overview = &self.0;
        gauge(
            out,
            "uptime_seconds",
            "Seconds since the start",
            overview.uptime.as_secs_f64(),
        )?;
        gauge(
            out,
            "realtime_granted",
            "1 when every media thread has real-time priority",
            f64::from(u8::from(overview.realtime)),
        )?;
        gauge(
            out,
            "conferences",
            "Conferences that exist",
            overview.conferences as f64,
        )?;
        gauge(
            out,
            "participants",
            "Participants in conferences",
            overview.participants as f64,
        )?;
        gauge(
            out,
            "calls",
            "Calls answered: participants, those entering a PIN, those being told why they are hung up",
            overview.calls as f64,
        )?;
        gauge(out, "legs", "Legs on the media plane", overview.legs as f64)?;
        gauge(
            out,
            "shared_port_legs",
            "Legs on a port that phones share",
            overview.shared_legs as f64,
        )?;
        gauge(
            out,
            "rooms",
            "Conferences on the media plane",
            overview.rooms as f64,
        )?;
        gauge(
            out,
            "conference_parts",
            "Parts of conferences: one for each worker that mixes one",
            overview.parts as f64,
        )?;
        gauge(
            out,
            "split_conferences",
            "Conferences that several workers mix",
            overview.split as f64,
        )?;
        gauge(
            out,
            "legs_limit",
            "Legs this server can carry at once",
            overview.legs_limit as f64,
        )?;
        for (name, help, value) in overview.signalling.iter() {
            counter(out, name, help, *value)?;
        }
        refusals(out, overview)?;
        worker_counter(
            out,
            overview,
            "intervals_mixed",
            "20 ms intervals mixed",
            |w| w.figures.intervals,
        )?;
        worker_counter(
            out,
            overview,
            "intervals_caught_up",
            "Intervals mixed late, together with a later one",
            |w| w.figures.caught_up,
        )?;
        worker_counter(
            out,
            overview,
            "intervals_skipped",
            "Intervals nobody heard, after a stall",
            |w| w.figures.skipped,
        )?;
        worker_counter(
            out,
            overview,
            "datagrams_received",
            "RTP and RTCP datagrams received",
            |w| w.figures.datagrams_in,
        )?;
        worker_counter(
            out,
            overview,
            "datagrams_sent",
            "RTP and RTCP datagrams sent",
            |w| w.figures.datagrams_out,
        )?;
        worker_counter(
            out,
            overview,
            "send_failures",
            "Datagrams the kernel did not take",
            |w| w.figures.send_failures,
        )?;
        worker_counter(
            out,
            overview,
            "datagrams_malformed",
            "Datagrams for a leg that are no RTP or RTCP, or of a payload type not agreed on",
            |w| w.figures.malformed,
        )?;
        worker_counter(
            out,
            overview,
            "datagrams_foreign",
            "Datagrams for a leg from another source than its phone's",
            |w| w.figures.foreign,
        )?;
        worker_counter(
            out,
            overview,
            "shared_port_strangers",
            "Datagrams to the shared port from addresses that no phone announced",
            |w| w.figures.strangers,
        )?;
        worker_counter(
            out,
            overview,
            "shared_port_overflows",
            "Datagrams to the shared port lost because its receive buffer was full",
            |w| w.figures.shared_overflows,
        )?;
        worker_counter(
            out,
            overview,
            "events_dropped",
            "Events the control plane did not read in time",
            |w| w.figures.events_dropped,
        )?;
        worker_counter(out, overview, "encodes", "Mixes encoded", |w| {
            w.figures.encodes
        })?;
        worker_counter(
            out,
            overview,
            "mixes_limited",
            "Mixes whose peaks the limiter took down",
            |w| w.figures.limited,
        )?;
        worker_counter(
            out,
            overview,
            "overruns",
            "Wake-ups that were still at work when the next was due",
            |w| w.figures.overruns,
        )?;
        worker_counter(
            out,
            overview,
            "ticks_missed",
            "Wake-ups that never came",
            |w| w.missed_ticks,
        )?;
        worker_counter(
            out,
            overview,
            "partial_sums_added",
            "Sums of other workers' parts of a conference that were mixed in",
            |w| w.figures.sums_added,
        )?;
        worker_counter(
            out,
            overview,
            "partial_sums_missed",
            "Sums of other workers' parts of a conference that had not come in time: silence instead",
            |w| w.figures.sums_missed,
        )?;
        worker_gauge(out, overview, "worker_legs", "Legs a worker serves", |w| {
            w.figures.legs as f64
        })?;
        worker_gauge(
            out,
            overview,
            "worker_demoted",
            "1 when the watchdog took real-time priority away",
            |w| f64::from(u8::from(w.demoted)),
        )?;
        worker_gauge(
            out,
            overview,
            "worker_load_ratio",
            "Share of a worker's time that its work takes, smoothed; what the host takes away is not its time",
            |w| w.figures.load_permille as f64 / 1000.0,
        )?;
        worker_gauge(
            out,
            overview,
            "overload_level",
            "What a worker has given up: 0 nothing, 1 new calls, 2 costly options, 3 silent legs",
            |w| f64::from(w.level as u8),
        )?;
        worker_gauge(
            out,
            overview,
            "worker_dozing_legs",
            "Silent legs that are not decoded, for want of time",
            |w| w.figures.dozing as f64,
        )?;
        worker_counter(
            out,
            overview,
            "packets_unread",
            "Packets of silent legs dropped undecoded, for want of time",
            |w| w.figures.packets_unread,
        )?;
        calls_refused(out, overview)?;
        http(out, &self.1)?;
        seconds(
            out,
            overview,
            "worker_busy_seconds",
            "Time a worker has spent working",
            |w| w.figures.busy_ns,
        )?;
        seconds(
            out,
            overview,
            "worker_cpu_seconds",
            "Processor time a worker has used for its work",
            |w| w.figures.cpu_ns,
        )?;
        lateness(out, overview)?;
        links(out, overview)
    }
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: f64) -> Result<(), Error> {
    let metric = ConstGauge::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn counter(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> Result<(), Error> {
    let metric = ConstCounter::new(value);
    metric.encode(out.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn worker_counter(
    out: &mut DescriptorEncoder<'_>,
    overview: &Overview,
    name: &str,
    help: &str,
    value: impl Fn(&WorkerOverview) -> u64,
) -> Result<(), Error> {
    let mut family =
        out.encode_descriptor(name, help, None, <ConstCounter<u64> as TypedMetric>::TYPE)?;
    for (index, worker) in overview.workers.iter().enumerate() {
        ConstCounter::new(value(worker))
            .encode(family.encode_family(&[("worker", index.to_string())])?)?;
    }
    Ok(())
}

fn worker_gauge(
    out: &mut DescriptorEncoder<'_>,
    overview: &Overview,
    name: &str,
    help: &str,
    value: impl Fn(&WorkerOverview) -> f64,
) -> Result<(), Error> {
    let mut family =
        out.encode_descriptor(name, help, None, <ConstGauge<f64> as TypedMetric>::TYPE)?;
    for (index, worker) in overview.workers.iter().enumerate() {
        ConstGauge::new(value(worker))
            .encode(family.encode_family(&[("worker", index.to_string())])?)?;
    }
    Ok(())
}

fn refusals(out: &mut DescriptorEncoder<'_>, overview: &Overview) -> Result<(), Error> {
    let mut family = out.encode_descriptor(
        "sip_refusals",
        "SIP requests refused, by status",
        None,
        MetricType::Counter,
    )?;
    for (status, count) in &overview.refusals {
        ConstCounter::new(*count)
            .encode(family.encode_family(&[("status", status.to_string())])?)?;
    }
    Ok(())
}

fn calls_refused(out: &mut DescriptorEncoder<'_>, overview: &Overview) -> Result<(), Error> {
    let mut family = out.encode_descriptor(
        "calls_refused",
        "Calls refused, by reason",
        None,
        MetricType::Counter,
    )?;
    for (reason, count) in &overview.calls_refused {
        ConstCounter::new(*count).encode(family.encode_family(&[("reason", *reason)])?)?;
    }
    Ok(())
}

fn http(out: &mut DescriptorEncoder<'_>, web: &WebMeter) -> Result<(), Error> {
    let help = "HTTP requests answered, by class of status";
    let mut family = out.encode_descriptor("http_requests", help, None, MetricType::Counter)?;
    for (class, count) in CLASSES.iter().zip(&web.requests) {
        ConstCounter::new(count.load(Relaxed))
            .encode(family.encode_family(&[("status", *class)])?)?;
    }
    for (name, help, count) in [
        (
            "http_connections_failed",
            "HTTP connections ended by an error: no HTTP, too slow, or broken",
            &web.connections_failed,
        ),
        (
            "http_connections_refused",
            "HTTP connections closed because there were too many",
            &web.connections_refused,
        ),
        (
            "http_accept_failures",
            "HTTP connections that the system could not hand over",
            &web.accept_failures,
        ),
    ] {
        counter(out, name, help, count.load(Relaxed))?;
    }
    Ok(())
}

fn seconds(
    out: &mut DescriptorEncoder<'_>,
    overview: &Overview,
    name: &str,
    help: &str,
    nanoseconds: impl Fn(&WorkerOverview) -> u64,
) -> Result<(), Error> {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (index, worker) in overview.workers.iter().enumerate() {
        ConstCounter::new(nanoseconds(worker) as f64 / 1e9)
            .encode(family.encode_family(&[("worker", index.to_string())])?)?;
    }
    Ok(())
}

fn lateness(out: &mut DescriptorEncoder<'_>, overview: &Overview) -> Result<(), Error> {
    let help = "How long after its deadline a worker woke";
    let mut family =
        out.encode_descriptor("tick_lateness_seconds", help, None, MetricType::Histogram)?;
    for (index, worker) in overview.workers.iter().enumerate() {
        let snapshot = &worker.lateness;
        let mut below = 0;
        let mut buckets: Vec<(f64, u64)> = LATENESS_BOUNDS
            .iter()
            .map(|bound| {
                let up_to = snapshot.count() - snapshot.count_above((bound * 1e9) as u64);
                let bucket = (*bound, up_to - below);
                below = up_to;
                bucket
            })
            .collect();
        // The encoder adds the buckets up, and writes this bound as +Inf.
        buckets.push((f64::INFINITY, snapshot.count() - below));
        let sum = snapshot.mean() * snapshot.count() as f64 / 1e9;
        let labels = [("worker", index.to_string())];
        family
            .encode_family(&labels)?
            .encode_histogram::<NoLabelSet>(sum, snapshot.count(), &buckets, None)?;
    }
    Ok(())
}

/// Links to conferences elsewhere; nothing where none is configured.
fn links(out: &mut DescriptorEncoder<'_>, overview: &Overview) -> Result<(), Error> {
    if overview.links.is_empty() {
        return Ok(());
    }
    let labels = |conference: &str, link: &LinkView| {
        [
            ("kind", link.kind.to_owned()),
            ("number", link.number.to_string()),
            ("conference", conference.to_owned()),
        ]
    };
    let help = "1 while a link to a conference elsewhere is connected";
    let gauge_type = <ConstGauge<f64> as TypedMetric>::TYPE;
    let mut family = out.encode_descriptor("link_connected", help, None, gauge_type)?;
    for (conference, link) in &overview.links {
        ConstGauge::new(f64::from(u8::from(link.connected)))
            .encode(family.encode_family(&labels(conference, link))?)?;
    }
    type Figure = fn(&LinkView) -> u64;
    let counters: [(&str, &str, Figure); 4] = [
        (
            "link_frames_in",
            "Frames from elsewhere that were mixed",
            |l| l.frames_in,
        ),
        ("link_frames_out", "Frames of mixes taken elsewhere", |l| {
            l.frames_out
        }),
        (
            "link_frames_missing",
            "Intervals of silence because no frame had come over a link in time",
            |l| l.frames_missing,
        ),
        (
            "link_frames_dropped",
            "Frames of links that had become too old",
            |l| l.frames_dropped,
        ),
    ];
    for (name, help, value) in counters {
        let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (conference, link) in &overview.links {
            ConstCounter::new(value(link))
                .encode(family.encode_family(&labels(conference, link))?)?;
        }
    }
    Ok(())
}
