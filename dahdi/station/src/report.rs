//! What the process says of itself when it is asked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use unisono_dahdi::exchange::ChannelNumber;
use unisono_dahdi::request::Errno;
use unisono_dahdi_trunk::report::{
    ChannelReport, ConferenceReport, LatenessReport, ProcessReport, StepsReport, WaitReport,
};
use unisono_timer::Snapshot;

use crate::shared::Shared;

/// A report of now. Takes the desk's lock once a channel, each time for no longer than a read does.
pub(crate) fn of(shared: &Shared) -> ProcessReport {
    let mut report = ProcessReport {
        pid: std::process::id(),
        program: program(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: shared.uptime().as_secs_f64(),
        grant: shared
            .grant
            .get()
            .map_or_else(|| "not asked for yet".into(), ToString::to_string),
        channels: channels(shared),
        lateness: lateness(&shared.lateness.snapshot()),
        lock_wait: lock_wait(&shared.lock_waits.snapshot()),
        ..ProcessReport::default()
    };
    let mut conferences = Vec::with_capacity(shared.channels());
    if let Ok(desk) = shared.desk() {
        conferences.extend(desk.exchange.conferences());
        let stats = desk.exchange.exchange_stats();
        report.steps = StepsReport {
            mixed: stats.steps,
            caught_up: stats.caught_up,
            skipped: stats.skipped,
        };
        report.lateness.missed = stats.skipped;
    }
    conferences.sort_unstable();
    let mut trunk = None;
    let mut apart = BTreeMap::new();
    if let Ok(control) = shared.control() {
        report.alone = control.shares.alone().map(str::to_owned);
        trunk = control.shares.trunk().cloned();
        apart.clone_from(control.shares.apart());
    }
    report.conferences = conferences
        .into_iter()
        .map(|(number, members)| ConferenceReport {
            number,
            members,
            shared_with: trunk
                .as_ref()
                .filter(|_| !apart.contains_key(&number))
                .map_or_else(Vec::new, |trunk| trunk.sharers(number)),
            // Where there is no trunk the process says why, once for all of them.
            alone: apart.remove(&number).filter(|_| trunk.is_some()),
        })
        .collect();
    if let Some(trunk) = trunk {
        report.directory = Some(trunk.directory().path().display().to_string());
        report.trunk = Some(trunk.stats().into());
    }
    shared.complete(&mut report);
    report
}

/// What the program is called, for others to see.
pub(crate) fn program() -> String {
    let executable = std::fs::read_link("/proc/self/exe").ok();
    executable
        .as_deref()
        .and_then(Path::file_name)
        .map_or_else(|| "unknown".into(), |name| name.to_string_lossy().into())
}

fn channels(shared: &Shared) -> Vec<ChannelReport> {
    let mut numbers = Vec::with_capacity(shared.channels());
    if let Ok(desk) = shared.desk() {
        numbers.extend(desk.exchange.channels());
    }
    let mut blocks = Vec::with_capacity(numbers.len());
    if let Ok(control) = shared.control() {
        blocks.extend(numbers.iter().map(|&number| control.block(number)));
    }
    // One that is closed meanwhile is left out.
    let each = numbers.into_iter().zip(blocks);
    each.filter_map(|(number, block)| channel(shared, number, block).ok())
        .collect()
}

fn channel(shared: &Shared, number: ChannelNumber, block: usize) -> Result<ChannelReport, Errno> {
    let desk = shared.desk()?;
    let stats = desk.exchange.stats(number)?;
    let place = desk.exchange.conference(number)?;
    drop(desk);
    // Who never reads, as MeetMe's own channels, misses nothing.
    let unread = if stats.reads > 0 {
        stats.dropped_samples
    } else {
        0
    };
    Ok(ChannelReport {
        number: number.get(),
        conference: place.conference,
        mode: place.mode,
        block,
        queued_ms: ms(stats.backlog as u64),
        standing_ms: ms(stats.standing_backlog as u64),
        cut_ms: ms(stats.trimmed_samples),
        lost_ms: ms(unread + stats.skipped_samples),
        underruns: stats.underruns,
    })
}

fn lateness(nanos: &Snapshot) -> LatenessReport {
    LatenessReport {
        p50_us: us(nanos.quantile(0.5)),
        p99_us: us(nanos.quantile(0.99)),
        max_us: us(nanos.max()),
        missed: 0,
    }
}

fn lock_wait(nanos: &Snapshot) -> WaitReport {
    WaitReport {
        p99_us: us(nanos.quantile(0.99)),
        max_us: us(nanos.max()),
    }
}

fn ms(samples: u64) -> f64 {
    samples as f64 / 8.0
}

fn us(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e6
}
