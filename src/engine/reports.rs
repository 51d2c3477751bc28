//! What the engine tells of its legs and workers.

use unisono_timer::{Snapshot, WatchdogStatus};

use super::LegId;
use super::media::MediaSpec;
use super::meter::{LegFigures, WorkerFigures};
use super::overload::Level;
use super::registry::{Engine, Transport};
use super::rings::RingFigures;

/// One worker as seen from outside.
#[derive(Debug, Clone)]
pub struct WorkerReport {
    /// Its counters.
    pub figures: WorkerFigures,
    /// What it has given up to finish in time.
    pub level: Level,
    /// How late it woke, ns.
    pub lateness: Snapshot,
    /// Wake-ups that never came.
    pub missed_ticks: u64,
    /// The thread is gone.
    pub dead: bool,
}

impl Engine {
    /// A leg's gains, dB: on what it says, on what it hears.
    pub fn gains(&self, leg: LegId) -> Option<(f32, f32)> {
        self.legs.get(&leg).map(|entry| entry.gains)
    }

    /// A leg's media as negotiated; `None` for a leg by rings, too.
    pub fn media(&self, leg: LegId) -> Option<MediaSpec> {
        match self.legs.get(&leg)?.transport {
            Transport::Rtp(media) => Some(media),
            Transport::Rings(_) => None,
        }
    }

    /// What passed through a leg's rings; `None` for a leg by RTP, too.
    pub fn ring_figures(&self, leg: LegId) -> Option<RingFigures> {
        match &self.legs.get(&leg)?.transport {
            Transport::Rtp(_) => None,
            Transport::Rings(meters) => Some(meters.read()),
        }
    }

    /// A leg's figures.
    pub fn figures(&self, leg: LegId) -> Option<LegFigures> {
        self.legs.get(&leg).map(|entry| entry.meter.read())
    }

    /// How the workers are.
    pub fn reports(&self) -> Vec<WorkerReport> {
        self.workers
            .iter()
            .map(|hand| WorkerReport {
                figures: hand.meter.read(),
                level: hand.level(),
                lateness: hand.ticks.lateness().snapshot(),
                missed_ticks: hand.ticks.missed(),
                dead: hand.has_ended(),
            })
            .collect()
    }

    /// For each worker, whether its watchdog took real-time priority away.
    pub fn demoted(&self) -> Vec<bool> {
        self.workers
            .iter()
            .map(|hand| hand.watchdog.as_ref().is_some_and(WatchdogStatus::demoted))
            .collect()
    }
}
