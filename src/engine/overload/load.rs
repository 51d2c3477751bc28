//! How much of the time that a worker has its work takes.
//!
//! Time in which the thread was ready but did not run (the host's steal, other processes) is neither work nor time it
//! had: it is taken out of both. So a stall of the machine is not mistaken for load, and a worker that is left with half a
//! processor is full when it uses that half.

/// Work is added up for so long, ns: 25 intervals, so that what is caught up after a stall is evened out.
pub(super) const WINDOW_NS: u64 = 500_000_000;

/// A window's share of the smoothed load while load rises, and while it falls.
const RISE: f32 = 1.0 / 3.0;
const FALL: f32 = 1.0 / 8.0;

/// After so many windows without work nothing is left of the load before.
const MOST_WINDOWS: u64 = 64;

/// Turns stretches of work into a load from 0 to 1.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// `None` until the first work.
    window_began_ns: Option<u64>,
    /// When the last work ended.
    ended_ns: u64,
    /// Processor time used for work, and time lost, in this window.
    work_ns: u64,
    lost_ns: u64,
    smoothed: f32,
}

/// One stretch of work: from a wake-up to the next sleep. Times of the monotonic clock, ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    /// When it was to begin, and when it did.
    pub(super) due_ns: u64,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    /// Processor time that the thread used meanwhile.
    pub(super) cpu_ns: u64,
}

impl Load {
    /// Takes a stretch into account. The smoothed load, when a window has ended with it.
    pub(super) fn worked(&mut self, stretch: Stretch) -> Option<f32> {
        let Stretch {
            due_ns,
            began_ns,
            ended_ns,
            cpu_ns,
        } = stretch;
        let began_ns = began_ns.min(ended_ns);
        let window_began_ns = *self.window_began_ns.get_or_insert(began_ns);
        let wall_ns = ended_ns - began_ns;
        // The two clocks are read one after the other.
        let cpu_ns = cpu_ns.min(wall_ns);
        // Who begins late because the work before took so long has lost nothing.
        let late_ns = began_ns.saturating_sub(due_ns.max(self.ended_ns).max(window_began_ns));
        self.ended_ns = ended_ns;
        self.work_ns += cpu_ns;
        self.lost_ns += late_ns + (wall_ns - cpu_ns);
        let span_ns = ended_ns.saturating_sub(window_began_ns);
        if span_ns < WINDOW_NS {
            return None;
        }
        let had_ns = span_ns.saturating_sub(self.lost_ns);
        let work_ns = std::mem::take(&mut self.work_ns);
        self.lost_ns = 0;
        self.window_began_ns = Some(ended_ns);
        // What little was left of a window says little of the load.
        if had_ns < WINDOW_NS / 8 {
            return None;
        }
        let share = (work_ns as f32 / had_ns as f32).min(1.0);
        let weight = if share > self.smoothed { RISE } else { FALL };
        for _ in 0..(had_ns / WINDOW_NS).clamp(1, MOST_WINDOWS) {
            self.smoothed += (share - self.smoothed) * weight;
        }
        Some(self.smoothed)
    }

    /// There is nothing to do any more.
    pub(super) fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Works `cpu` ms of every 20, without loss, for so many intervals.
    fn work(load: &mut Load, from_ns: &mut u64, cpu: u64, intervals: u64) -> Option<f32> {
        let mut last = None;
        for _ in 0..intervals {
            let stretch = Stretch {
                due_ns: *from_ns,
                began_ns: *from_ns,
                ended_ns: *from_ns + cpu * MS,
                cpu_ns: cpu * MS,
            };
            last = load.worked(stretch).or(last);
            *from_ns += 20 * MS;
        }
        last
    }

    #[test]
    fn steady_work_is_its_share_of_the_time() {
        for cpu in [1, 5, 10, 15, 19, 20] {
            let (mut load, mut now) = (Load::default(), 0);
            let seen = work(&mut load, &mut now, cpu, 2000).unwrap();
            assert!(
                (seen - cpu as f32 / 20.0).abs() < 0.01,
                "{cpu} ms of 20: {seen}"
            );
        }
    }

    #[test]
    fn load_rises_within_two_seconds_and_falls_within_some() {
        let (mut load, mut now) = (Load::default(), 0);
        work(&mut load, &mut now, 10, 500);
        let up = work(&mut load, &mut now, 20, 100).unwrap();
        assert!(up > 0.8, "{up}");
        work(&mut load, &mut now, 20, 500);
        let soon = work(&mut load, &mut now, 4, 50).unwrap();
        assert!(soon > 0.7, "{soon}");
        let later = work(&mut load, &mut now, 4, 500).unwrap();
        assert!(later < 0.3, "{later}");
    }

    #[test]
    fn a_stall_at_work_or_before_it_is_no_load() {
        let (mut load, mut now) = (Load::default(), 0);
        let before = work(&mut load, &mut now, 10, 1000).unwrap();
        for n in 0..50 {
            // 100 ms are lost, now before the work, now within it; then two seconds pass as usual.
            let late = if n % 2 == 0 { 100 * MS } else { 0 };
            load.worked(Stretch {
                due_ns: now,
                began_ns: now + late,
                ended_ns: now + 110 * MS,
                cpu_ns: 10 * MS,
            });
            now += 120 * MS;
            work(&mut load, &mut now, 10, 20);
            let seen = load.smoothed;
            assert!((seen - before).abs() < 0.08, "{seen} after {before}");
        }
    }

    #[test]
    fn who_is_left_with_half_a_processor_is_full_when_using_that_half() {
        let (mut load, mut now) = (Load::default(), 0);
        let mut seen = 0.0;
        for _ in 0..2000 {
            let stretch = Stretch {
                due_ns: now,
                began_ns: now,
                ended_ns: now + 20 * MS,
                cpu_ns: 10 * MS,
            };
            seen = load.worked(stretch).unwrap_or(seen);
            now += 20 * MS;
        }
        assert!(seen > 0.98, "{seen}");
    }

    #[test]
    fn clocks_that_disagree_and_go_back_are_borne() {
        let mut load = Load::default();
        for (began_ns, ended_ns, cpu_ns) in [
            (5_000, 4_000, 9_000),
            (0, u64::MAX / 2, u64::MAX),
            (10, 20, 0),
            (0, WINDOW_NS * 2, 1),
        ] {
            let stretch = Stretch {
                due_ns: 7,
                began_ns,
                ended_ns,
                cpu_ns,
            };
            let seen = load.worked(stretch).unwrap_or(0.0);
            assert!((0.0..=1.0).contains(&seen), "{seen}");
        }
        load.rest();
        assert_eq!(load.smoothed, 0.0);
    }
}
