//! The loads above which a worker sheds. Set by the control plane at any time, read by workers without waiting.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use super::Level;

/// Loads above which each level begins, percent of a worker's time. 0 holds the level whatever the load, 100 never
/// comes to it. Each is at least the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverloadSettings {
    /// New calls are refused.
    pub refuse_above: u8,
    /// Costly options are switched off.
    pub trim_above: u8,
    /// Silent legs are not decoded.
    pub shed_above: u8,
}

impl Default for OverloadSettings {
    fn default() -> Self {
        Self {
            refuse_above: 80,
            trim_above: 90,
            shed_above: 97,
        }
    }
}

impl OverloadSettings {
    /// Whether these are percentages in order.
    pub fn are_in_order(&self) -> bool {
        self.refuse_above <= self.trim_above
            && self.trim_above <= self.shed_above
            && self.shed_above <= 100
    }

    /// The level that holds whatever the load.
    pub fn least(&self) -> Level {
        let always = |level: &Level| self.above(*level) == 0;
        Level::ALL
            .into_iter()
            .take_while(always)
            .last()
            .unwrap_or_default()
    }

    /// The load in percent above which `level` begins; for [`Level::Normal`] 0.
    pub(super) fn above(&self, level: Level) -> u8 {
        match level {
            Level::Normal => 0,
            Level::Refusing => self.refuse_above,
            Level::Trimming => self.trim_above,
            Level::Shedding => self.shed_above,
        }
    }
}

/// The settings as both sides see them.
#[derive(Debug)]
pub(crate) struct Thresholds {
    refuse_above: AtomicU8,
    trim_above: AtomicU8,
    shed_above: AtomicU8,
}

impl Default for Thresholds {
    fn default() -> Self {
        let OverloadSettings {
            refuse_above,
            trim_above,
            shed_above,
        } = OverloadSettings::default();
        Self {
            refuse_above: refuse_above.into(),
            trim_above: trim_above.into(),
            shed_above: shed_above.into(),
        }
    }
}

impl Thresholds {
    /// Replaces them. A worker that reads meanwhile may see some old and some new ones, once.
    pub(crate) fn set(&self, settings: OverloadSettings) {
        self.refuse_above.store(settings.refuse_above, Relaxed);
        self.trim_above.store(settings.trim_above, Relaxed);
        self.shed_above.store(settings.shed_above, Relaxed);
    }

    pub(crate) fn get(&self) -> OverloadSettings {
        OverloadSettings {
            refuse_above: self.refuse_above.load(Relaxed),
            trim_above: self.trim_above.load(Relaxed),
            shed_above: self.shed_above.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_and_the_defaults_are_in_order() {
        let thresholds = Thresholds::default();
        assert_eq!(thresholds.get(), OverloadSettings::default());
        assert!(thresholds.get().are_in_order());
        let settings = OverloadSettings {
            refuse_above: 1,
            trim_above: 2,
            shed_above: 3,
        };
        thresholds.set(settings);
        assert_eq!(thresholds.get(), settings);
    }

    #[test]
    fn a_threshold_of_zero_holds_its_level() {
        let at = |refuse_above, trim_above, shed_above| {
            OverloadSettings {
                refuse_above,
                trim_above,
                shed_above,
            }
            .least()
        };
        assert_eq!(at(80, 90, 97), Level::Normal);
        assert_eq!(at(0, 90, 97), Level::Refusing);
        assert_eq!(at(0, 0, 97), Level::Trimming);
        assert_eq!(at(0, 0, 0), Level::Shedding);
    }
}
