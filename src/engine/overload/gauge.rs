//! A worker's own load and level: kept by it alone, published for everybody.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use nix::time::{ClockId, clock_gettime};

use super::ladder::Ladder;
use super::load::{Load, Stretch};
use super::{Level, Thresholds};
use crate::engine::meter::{WorkerMeter, bump};

/// The beginning of a stretch of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// When it was due, ns of the monotonic clock.
    pub(crate) due_ns: u64,
    /// When it began.
    pub(crate) now_ns: u64,
    /// Processor time that the thread had used by then, ns.
    pub(crate) cpu_ns: u64,
}

impl Moment {
    /// A stretch of work of the calling thread that was due, and begins now.
    pub(crate) fn new(due_ns: u64, now_ns: u64) -> Self {
        Self {
            due_ns,
            now_ns,
            cpu_ns: thread_cpu_ns(),
        }
    }
}

/// Turns stretches of work into a level.
#[derive(Debug)]
pub(crate) struct Gauge {
    load: Load,
    ladder: Ladder,
    level: Level,
    thresholds: Arc<Thresholds>,
}

impl Gauge {
    pub(crate) fn new(thresholds: Arc<Thresholds>) -> Self {
        Self {
            load: Load::default(),
            ladder: Ladder::default(),
            level: Level::Normal,
            thresholds,
        }
    }

    /// The calling thread has finished what it began at `began`, and goes to sleep. The level from now on.
    pub(crate) fn worked(&mut self, began: Moment, now_ns: u64, meter: &WorkerMeter) -> Level {
        self.worked_for(
            began,
            now_ns,
            thread_cpu_ns().saturating_sub(began.cpu_ns),
            meter,
        )
    }

    /// Nobody is served any more: no load, and nothing to shed.
    pub(crate) fn rest(&mut self, meter: &WorkerMeter) -> Level {
        self.load.rest();
        self.ladder.rest();
        self.publish(0.0, Level::Normal, meter);
        self.level
    }

    fn worked_for(
        &mut self,
        began: Moment,
        now_ns: u64,
        cpu_ns: u64,
        meter: &WorkerMeter,
    ) -> Level {
        bump(&meter.cpu_ns, cpu_ns);
        let stretch = Stretch {
            due_ns: began.due_ns,
            began_ns: began.now_ns,
            ended_ns: now_ns,
            cpu_ns,
        };
        if let Some(load) = self.load.worked(stretch) {
            let level = self.ladder.judge(load, now_ns, self.thresholds.get());
            self.publish(load, level, meter);
        }
        self.level
    }

    fn publish(&mut self, load: f32, level: Level, meter: &WorkerMeter) {
        meter
            .load_permille
            .store((load * 1000.0).round() as u64, Relaxed);
        if level != self.level {
            self.level = level;
            meter.overload_level.store(level as u64, Relaxed);
        }
    }
}

/// Processor time of the calling thread. One system call, which cannot wait for anything.
fn thread_cpu_ns() -> u64 {
    // Where the clock cannot be had, work counts as none: then nothing is shed.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}

#[cfg(test)]
mod tests {
    use super::super::OverloadSettings;
    use super::*;

    const MS: u64 = 1_000_000;
    const INTERVAL: u64 = 20 * MS;

    /// A worker in virtual time, whose work takes as long as said.
    struct Scene {
        gauge: Gauge,
        meter: WorkerMeter,
        now: u64,
        /// Of xorshift.
        random: u64,
        changes: Vec<Level>,
    }

    impl Scene {
        fn new() -> Self {
            Self {
                gauge: Gauge::new(Arc::new(Thresholds::default())),
                meter: WorkerMeter::default(),
                now: 1_000_000 * MS,
                random: 0x9e37_79b9_7f4a_7c15,
                changes: Vec::new(),
            }
        }

        /// Intervals of `cpu` work each, of which one in `rare` loses up to `stall` somewhere.
        fn run(&mut self, intervals: u64, cpu: u64, rare: u64, stall: u64) {
            let end = self.now + intervals * INTERVAL;
            let mut due = self.now;
            while due < end {
                let stalls = self.draw().is_multiple_of(rare);
                let lost = if stalls { self.draw() % stall } else { 0 };
                let (before, within) = if self.draw().is_multiple_of(2) {
                    (lost, 0)
                } else {
                    (0, lost)
                };
                let began = Moment {
                    due_ns: due,
                    now_ns: self.now.max(due) + before,
                    cpu_ns: 0,
                };
                let ended = began.now_ns + cpu + within;
                let level = self.gauge.worked_for(began, ended, cpu, &self.meter);
                if self.changes.last() != Some(&level) {
                    self.changes.push(level);
                }
                // Up to two missed intervals are caught up, the others skipped.
                let behind = ended.saturating_sub(due + INTERVAL) / INTERVAL;
                due += INTERVAL * (1 + behind.saturating_sub(2));
                self.now = ended;
            }
            self.now = self.now.max(due);
        }

        fn draw(&mut self) -> u64 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.random
        }

        fn load(&self) -> f32 {
            self.meter.read().load_permille as f32 / 1000.0
        }
    }

    #[test]
    fn stalls_of_the_host_do_not_shed() {
        let mut scene = Scene::new();
        // An hour at six tenths; every second or so up to 100 ms are taken away.
        scene.run(180_000, 12 * MS, 50, 100 * MS);
        assert_eq!(scene.changes, [Level::Normal]);
        assert!((scene.load() - 0.63).abs() < 0.1, "{}", scene.load());
        // A burst of them: a fifth of the time, for half a minute.
        scene.run(1500, 8 * MS, 10, 100 * MS);
        assert_eq!(scene.changes, [Level::Normal]);
    }

    #[test]
    fn too_much_work_sheds_in_order_and_recovers_in_order() {
        use Level::{Normal, Refusing, Shedding, Trimming};
        let mut scene = Scene::new();
        scene.run(500, 10 * MS, 50, 100 * MS);
        scene.run(500, 22 * MS, 50, 100 * MS);
        assert_eq!(scene.changes, [Normal, Refusing, Trimming, Shedding]);
        let published = scene.meter.read();
        assert_eq!(published.overload_level, Shedding as u64);
        assert!(published.load_permille > 970, "{published:?}");
        scene.run(3000, 10 * MS, 50, 100 * MS);
        assert_eq!(
            scene.changes,
            [
                Normal, Refusing, Trimming, Shedding, Trimming, Refusing, Normal
            ]
        );
    }

    #[test]
    fn a_worker_without_legs_has_no_load_and_no_level() {
        let mut scene = Scene::new();
        scene.run(1000, 20 * MS, 50, 1);
        assert!(scene.gauge.level.sheds());
        assert_eq!(scene.gauge.rest(&scene.meter), Level::Normal);
        let published = scene.meter.read();
        assert_eq!((published.load_permille, published.overload_level), (0, 0));
    }

    #[test]
    fn thresholds_may_change_at_any_time() {
        let mut scene = Scene::new();
        scene.run(100, 2 * MS, 50, 1);
        scene.gauge.thresholds.set(OverloadSettings {
            refuse_above: 0,
            ..OverloadSettings::default()
        });
        scene.run(60, 2 * MS, 50, 1);
        assert_eq!(scene.changes, [Level::Normal, Level::Refusing]);
        scene.gauge.thresholds.set(OverloadSettings::default());
        scene.run(60, 2 * MS, 50, 1);
        assert_eq!(
            scene.changes,
            [Level::Normal, Level::Refusing, Level::Normal]
        );
    }

    #[test]
    fn a_thread_that_works_uses_processor_time() {
        let before = thread_cpu_ns();
        let mut sum = 0_u64;
        while thread_cpu_ns() - before < MS {
            sum = std::hint::black_box(sum.wrapping_mul(31) + 7);
        }
        assert!(thread_cpu_ns() > before);
    }
}
