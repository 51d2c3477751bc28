//! Whether a worker takes new calls, as the control plane sees it.

use std::sync::atomic::Ordering::Relaxed;

use super::{Level, OverloadSettings};
use crate::engine::hand::Hand;
use crate::engine::{ConferenceId, Engine};

impl Engine {
    /// The loads above which workers shed.
    pub fn overload_settings(&self) -> OverloadSettings {
        let mut workers = self.workers.iter();
        workers
            .next()
            .map_or_else(OverloadSettings::default, |hand| hand.thresholds.get())
    }

    /// Sets them for all workers. A worker heeds them within half a second.
    pub fn set_overload(&mut self, settings: OverloadSettings) {
        for hand in &self.workers {
            hand.thresholds.set(settings);
        }
    }

    /// Whether a new call may come: to the worker that the next leg of the conference `near` would be on, or, for one that is yet to be
    /// opened, to any. That no worker has a place is no question of load, and is found out when its leg is opened.
    pub fn takes_calls(&self, near: Option<ConferenceId>) -> bool {
        match near {
            Some(conference) => self
                .next_worker(conference)
                .is_none_or(|worker| !self.workers[usize::from(worker)].level().refuses()),
            None => {
                let alive = self.workers.iter().filter(|hand| !hand.has_ended());
                let least = alive.map(Hand::level).min();
                least.is_none_or(|level| !level.refuses())
            }
        }
    }
}

impl Hand {
    /// What the worker has given up; at once what is given up whatever the load.
    pub(in crate::engine) fn level(&self) -> Level {
        let published = Level::from_number(self.meter.overload_level.load(Relaxed));
        published.max(self.thresholds.get().least())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{EngineConfig, LegPolicy};

    fn engine(workers: usize) -> Engine {
        Engine::start(EngineConfig {
            workers,
            cpus: Vec::new(),
            priority: None,
            legs: 4,
            rooms: 4,
            split_above: 0,
            policy: LegPolicy::default(),
        })
        .expect("an engine")
    }

    fn overload(engine: &Engine, worker: usize, level: Level) {
        let meter = &engine.workers[worker].meter;
        meter.overload_level.store(level as u64, Relaxed);
    }

    /// Lets somebody join, and tells on which worker.
    fn join(engine: &mut Engine, conference: ConferenceId) -> usize {
        let (leg, _) = engine
            .open_ring_leg(unisono_mixer::SampleRate::Hz8000, conference)
            .expect("a leg");
        engine.join(leg, conference);
        usize::from(leg.worker)
    }

    #[test]
    fn who_comes_is_sent_where_calls_are_taken_and_refused_where_none_are() {
        let _alone = crate::engine::tests::alone();
        let mut engine = engine(2);
        let first = engine.open_conference(None).expect("a conference");
        let busy = join(&mut engine, first);
        overload(&engine, busy, Level::Refusing);
        assert!(engine.takes_calls(None) && engine.takes_calls(Some(first)));
        let second = engine.open_conference(None).expect("a conference");
        assert_eq!(join(&mut engine, second), 1 - busy);
        // The conference of who was here before goes on on the other worker.
        assert_eq!(join(&mut engine, first), 1 - busy);
        overload(&engine, 1 - busy, Level::Trimming);
        assert!(!engine.takes_calls(None) && !engine.takes_calls(Some(first)));
        overload(&engine, busy, Level::Normal);
        assert!(engine.takes_calls(None) && engine.takes_calls(Some(first)));
    }

    #[test]
    fn a_threshold_of_zero_refuses_at_once_even_where_nobody_is_served() {
        let _alone = crate::engine::tests::alone();
        let mut engine = engine(1);
        assert_eq!(engine.overload_settings(), OverloadSettings::default());
        let drained = OverloadSettings {
            refuse_above: 0,
            ..OverloadSettings::default()
        };
        engine.set_overload(drained);
        assert_eq!(engine.overload_settings(), drained);
        assert!(!engine.takes_calls(None));
        engine.set_overload(OverloadSettings::default());
        assert!(engine.takes_calls(None));
    }
}
