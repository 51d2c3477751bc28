//! Which level follows from a load: one step at a time, up soon, down late, so that a worker does not swing between two.

use super::{Level, OverloadSettings};

/// Between two steps up, ns: what a level saves must show before the next is asked for.
const STEP_UP_NS: u64 = 400_000_000;

/// A level is left when the load has been so much below its threshold, percent, ...
const MARGIN: f32 = 10.0;

/// ... for so long, ns. Whoever comes back to a level soon after leaving it left too early, and stays twice as long the next
/// time, up to the longest.
const HOLD_NS: u64 = 5_000_000_000;
const LONGEST_HOLD_NS: u64 = 80_000_000_000;
const SOON_NS: u64 = 60_000_000_000;

/// The level a worker is at, and when it may be another.
#[derive(Debug)]
pub(super) struct Ladder {
    level: Level,
    settings: OverloadSettings,
    stepped_up_ns: Option<u64>,
    stepped_down_ns: Option<u64>,
    /// Since when the load has been low enough for the level below.
    calm_since_ns: Option<u64>,
    hold_ns: u64,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            level: Level::Normal,
            settings: OverloadSettings::default(),
            stepped_up_ns: None,
            stepped_down_ns: None,
            calm_since_ns: None,
            hold_ns: HOLD_NS,
        }
    }
}

impl Ladder {
    /// The level at a load from 0 to 1.
    pub(super) fn judge(&mut self, load: f32, now_ns: u64, settings: OverloadSettings) -> Level {
        let percent = load * 100.0;
        if std::mem::replace(&mut self.settings, settings) != settings {
            // Somebody in charge knows better: what the new thresholds do not ask for ends at once.
            while self.level > Level::Normal && !exceeds(percent, settings.above(self.level)) {
                self.level = self.level.below();
            }
            self.stepped_up_ns = None;
            self.calm_since_ns = None;
            self.hold_ns = HOLD_NS;
        }
        if let Some(next) = self.level.above()
            && exceeds(percent, settings.above(next))
        {
            self.step_up(next, now_ns);
        } else {
            self.step_down(percent, now_ns);
        }
        self.level
    }

    /// There is nothing to do any more.
    pub(super) fn rest(&mut self) {
        *self = Self::default();
    }

    fn step_up(&mut self, next: Level, now_ns: u64) {
        self.calm_since_ns = None;
        if self
            .stepped_up_ns
            .is_some_and(|at| now_ns.saturating_sub(at) < STEP_UP_NS)
        {
            return;
        }
        self.hold_ns = match self.stepped_down_ns {
            Some(at) if now_ns.saturating_sub(at) < SOON_NS => {
                (self.hold_ns * 2).min(LONGEST_HOLD_NS)
            }
            Some(_) => HOLD_NS,
            None => self.hold_ns,
        };
        self.stepped_down_ns = None;
        self.level = next;
        self.stepped_up_ns = Some(now_ns);
    }

    fn step_down(&mut self, percent: f32, now_ns: u64) {
        let threshold = self.settings.above(self.level);
        if self.level == Level::Normal
            || threshold == 0
            || percent >= (f32::from(threshold) - MARGIN).max(f32::from(threshold) / 2.0)
        {
            self.calm_since_ns = None;
            return;
        }
        let since = *self.calm_since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) >= self.hold_ns {
            self.level = self.level.below();
            self.stepped_down_ns = Some(now_ns);
            self.calm_since_ns = None;
        }
    }
}

/// A threshold of 0 is always exceeded, one of 100 never: no load is above it.
fn exceeds(percent: f32, threshold: u8) -> bool {
    threshold == 0 || percent > f32::from(threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: u64 = super::super::load::WINDOW_NS;

    /// Judges the same load for so many seconds; each change of level with its second.
    fn judge(
        ladder: &mut Ladder,
        now: &mut u64,
        load: f32,
        seconds: u64,
        settings: OverloadSettings,
    ) -> Vec<(f32, Level)> {
        let began = *now;
        let mut changes = Vec::new();
        while *now - began < seconds * 1_000_000_000 {
            let before = ladder.level;
            let level = ladder.judge(load, *now, settings);
            if level != before {
                changes.push(((*now - began) as f32 / 1e9, level));
            }
            *now += WINDOW;
        }
        changes
    }

    fn levels(changes: &[(f32, Level)]) -> Vec<Level> {
        changes.iter().map(|(_, level)| *level).collect()
    }

    #[test]
    fn overload_climbs_in_order_and_recovers_in_order() {
        use Level::{Normal, Refusing, Shedding, Trimming};
        let (mut ladder, mut now) = (Ladder::default(), 0);
        let usual = OverloadSettings::default();
        let up = judge(&mut ladder, &mut now, 0.99, 10, usual);
        assert_eq!(levels(&up), [Refusing, Trimming, Shedding]);
        assert!(up[2].0 <= 1.0, "{up:?}");
        let down = judge(&mut ladder, &mut now, 0.3, 30, usual);
        assert_eq!(levels(&down), [Trimming, Refusing, Normal]);
        assert!(down[0].0 >= 5.0 && down[2].0 <= 16.0, "{down:?}");
    }

    #[test]
    fn a_load_between_two_thresholds_stays_between_them() {
        let (mut ladder, mut now) = (Ladder::default(), 0);
        let usual = OverloadSettings::default();
        let up = judge(&mut ladder, &mut now, 0.85, 60, usual);
        assert_eq!(levels(&up), [Level::Refusing]);
        let margin = judge(&mut ladder, &mut now, 0.75, 60, usual);
        assert_eq!(
            margin,
            [],
            "within the margin of its threshold a level stays"
        );
    }

    #[test]
    fn who_comes_back_to_a_level_soon_stays_longer() {
        let (mut ladder, mut now) = (Ladder::default(), 0);
        let usual = OverloadSettings::default();
        let mut stays = Vec::new();
        for _ in 0..6 {
            judge(&mut ladder, &mut now, 0.85, 2, usual);
            let down = judge(&mut ladder, &mut now, 0.5, 100, usual);
            assert_eq!(levels(&down), [Level::Normal]);
            stays.push(down[0].0);
            // Back as soon as it was left.
            now -= 100_000_000_000 - (down[0].0 * 1e9) as u64;
        }
        for (stay, expected) in stays.iter().zip([5.0, 10.0, 20.0, 40.0, 80.0, 80.0]) {
            assert!((stay - expected).abs() < 0.5, "{stays:?}");
        }
        now += 2 * SOON_NS;
        judge(&mut ladder, &mut now, 0.85, 2, usual);
        let down = judge(&mut ladder, &mut now, 0.5, 100, usual);
        assert!(
            down[0].0 < 6.0,
            "after a quiet minute it is as at first: {down:?}"
        );
    }

    #[test]
    fn thresholds_of_zero_hold_and_of_a_hundred_never_come() {
        let settings = |refuse_above, trim_above, shed_above| OverloadSettings {
            refuse_above,
            trim_above,
            shed_above,
        };
        let (mut ladder, mut now) = (Ladder::default(), 0);
        let drained = judge(&mut ladder, &mut now, 0.0, 30, settings(0, 90, 97));
        assert_eq!(levels(&drained), [Level::Refusing]);
        let all = judge(&mut ladder, &mut now, 0.0, 30, settings(0, 0, 0));
        assert_eq!(levels(&all), [Level::Trimming, Level::Shedding]);
        let over = judge(&mut ladder, &mut now, 0.0, 30, OverloadSettings::default());
        assert_eq!(over, [(0.0, Level::Normal)], "at once");
        let off = judge(&mut ladder, &mut now, 1.0, 30, settings(100, 100, 100));
        assert_eq!(off, []);
        let low = judge(&mut ladder, &mut now, 0.1, 10, settings(5, 90, 97));
        assert_eq!(levels(&low), [Level::Refusing]);
        let low = judge(&mut ladder, &mut now, 0.01, 10, settings(5, 90, 97));
        assert_eq!(
            levels(&low),
            [Level::Normal],
            "even a low threshold is left"
        );
    }
}
