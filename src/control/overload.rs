//! What the control plane does about workers that have too much to do: it refuses new calls, and tells.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::switchboard::Switchboard;
use crate::conference::ConferenceName;
use crate::engine::{Level, OverloadSettings, WorkerReport};

/// Seconds after which a refused caller may try again, at the least, by the worst worker's level; as many again are drawn,
/// so that callers do not come back all at once.
const RETRY_SECONDS: [u32; 4] = [5, 10, 20, 30];

/// Log lines on one worker: so many at once, and one more each time this has passed.
const LINES_AT_ONCE: u32 = 6;
const A_LINE_EVERY: Duration = Duration::from_secs(10);

/// Why calls were refused, for /metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusalReason {
    /// The worker has too much to do.
    Overload,
    /// No port or no leg is free.
    Resources,
    /// No common codec, or a description that cannot be read.
    Media,
    /// A rule of the conference.
    Conference,
}

/// Calls refused since the start.
#[derive(Debug, Default)]
pub(super) struct Refusals([u64; 4]);

impl Refusals {
    pub(super) fn count(&mut self, reason: RefusalReason) {
        self.0[reason as usize] += 1;
    }

    /// Each reason with its count.
    pub(super) fn all(&self) -> [(&'static str, u64); 4] {
        let [overload, resources, media, conference] = self.0;
        [
            ("overload", overload),
            ("resources", resources),
            ("media", media),
            ("conference", conference),
        ]
    }

    fn of_overload(&self) -> u64 {
        self.0[RefusalReason::Overload as usize]
    }
}

/// What the log was told of the workers' levels.
#[derive(Debug, Default)]
pub(super) struct OverloadLog {
    workers: Vec<Told>,
    /// Refusals of which it was told.
    refused: u64,
}

impl Switchboard {
    /// How long the caller of a new call to `conference` is to wait, if it must not come now.
    pub(super) fn turned_away(&self, conference: &ConferenceName) -> Option<u32> {
        if self.engine.takes_calls(self.room(conference)) {
            return None;
        }
        let reports = self.engine.reports();
        let worst = reports.iter().map(|report| report.level).max();
        let least = RETRY_SECONDS[worst.unwrap_or_default() as usize];
        Some(least + rand::random_range(0..=least))
    }

    /// Tells the log of changed levels, once each, but not too often.
    pub(super) fn watch_load(&mut self) {
        let now = Instant::now();
        let settings = self.engine.overload_settings();
        let log = &mut self.overload_log;
        let reports = self.engine.reports();
        log.workers.resize_with(reports.len(), Told::default);
        for (number, (told, report)) in log.workers.iter_mut().zip(&reports).enumerate() {
            let Some(before) = told.tell(report.level, now) else {
                continue;
            };
            let news = describe(number, before, report, settings);
            if report.level > before {
                warn!("{news}");
            } else {
                info!("{news}");
            }
            if report.level == Level::Normal {
                let refused = self.refusals.of_overload();
                let lately = refused - std::mem::replace(&mut log.refused, refused);
                if lately > 0 {
                    info!("{lately} calls were refused for overload meanwhile");
                }
            }
        }
    }
}

/// Why the server is not at its best, for people; `None` when no worker gives anything up.
pub(super) fn overload_problem(
    reports: &[WorkerReport],
    settings: OverloadSettings,
) -> Option<String> {
    let troubled: Vec<String> = reports
        .iter()
        .enumerate()
        .filter(|(_, report)| report.level > Level::Normal)
        .map(|(number, report)| describe(number, Level::Normal, report, settings))
        .collect();
    (!troubled.is_empty()).then(|| troubled.join("; "))
}

/// What a worker does at its level, why, and what to do about it.
fn describe(
    number: usize,
    before: Level,
    report: &WorkerReport,
    settings: OverloadSettings,
) -> String {
    let percent = report.figures.load_permille / 10;
    let load = format!(
        "media worker {number} is {}, at {percent} % of its time",
        report.level.name()
    );
    let setting = |key: &str, above: u8| match above {
        0 => format!(" ([overload] {key} is 0)"),
        above => format!(" (above {above} %)"),
    };
    let means = match report.level {
        Level::Normal => {
            return format!("{load}: it does everything again, after {}", before.name());
        }
        Level::Refusing => format!(
            "new calls to it get 503{}",
            setting("refuse_above", settings.refuse_above)
        ),
        Level::Trimming => format!(
            "new calls get 503, and Opus is encoded with the least effort{}",
            setting("trim_above", settings.trim_above)
        ),
        Level::Shedding => format!(
            "new calls get 503, Opus is encoded with the least effort, and of silent legs one packet in seven is decoded{}",
            setting("shed_above", settings.shed_above)
        ),
    };
    format!(
        "{load}: {means}. If that lasts, there are too many calls for this machine: see docs/overload.md"
    )
}

/// What the log was told of one worker.
#[derive(Debug)]
struct Told {
    level: Level,
    lines: u32,
    since: Option<Instant>,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            level: Level::Normal,
            lines: LINES_AT_ONCE,
            since: None,
        }
    }
}

impl Told {
    /// The level that was told of before, if this one is news and may be told.
    fn tell(&mut self, level: Level, now: Instant) -> Option<Level> {
        let since = *self.since.get_or_insert(now);
        let earned =
            (now.saturating_duration_since(since).as_secs() / A_LINE_EVERY.as_secs()) as u32;
        if earned > 0 {
            self.lines = self.lines.saturating_add(earned).min(LINES_AT_ONCE);
            self.since = Some(since + A_LINE_EVERY * earned);
        }
        if level == self.level || self.lines == 0 {
            return None;
        }
        self.lines -= 1;
        Some(std::mem::replace(&mut self.level, level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_once_and_swinging_not_for_ever() {
        use Level::{Normal, Refusing, Shedding, Trimming};
        let start = Instant::now();
        let mut told = Told::default();
        assert_eq!(told.tell(Normal, start), None);
        for (level, before) in [
            (Refusing, Normal),
            (Trimming, Refusing),
            (Shedding, Trimming),
        ] {
            assert_eq!(told.tell(level, start), Some(before));
            assert_eq!(told.tell(level, start), None, "it is known");
        }
        // An hour of a change every second.
        let mut lines = 0;
        for second in 0..3600 {
            let level = if second % 2 == 0 { Normal } else { Refusing };
            let now = start + Duration::from_secs(second);
            lines += u32::from(told.tell(level, now).is_some());
        }
        assert!((360..=370).contains(&lines), "{lines}");
        let later = start + Duration::from_secs(4000);
        told.tell(Normal, later);
        assert_eq!(told.tell(Shedding, later), Some(Normal));
    }

    #[test]
    fn what_is_said_names_the_level_the_load_and_the_remedy() {
        let mut report = crate::engine::WorkerReport {
            figures: Default::default(),
            level: Level::Shedding,
            lateness: unisono_timer::TickStats::new().lateness().snapshot(),
            missed_ticks: 0,
            dead: false,
        };
        report.figures.load_permille = 983;
        let settings = OverloadSettings::default();
        let said = overload_problem(&[report.clone()], settings).unwrap();
        for word in [
            "worker 0",
            "shedding",
            "98 %",
            "503",
            "above 97 %",
            "docs/overload.md",
        ] {
            assert!(said.contains(word), "{word}: {said}");
        }
        report.level = Level::Refusing;
        let drained = OverloadSettings {
            refuse_above: 0,
            ..settings
        };
        let said = overload_problem(&[report.clone()], drained).unwrap();
        assert!(said.contains("refuse_above is 0"), "{said}");
        report.level = Level::Normal;
        assert_eq!(overload_problem(&[report], settings), None);
    }
}
