//! The two time lines: local time and the source's media time, both in samples.

/// Nanoseconds in a millisecond.
const MS: i64 = 1_000_000;

/// Local time in samples, and the filtered moments of the pulls.
#[derive(Debug)]
pub(super) struct PullClock {
    per_ms: i64,
    frame: i64,
    epoch: Option<u64>,
    now: Option<i64>,
}

impl PullClock {
    pub(super) fn new(per_ms: i64) -> Self {
        Self {
            per_ms,
            frame: 20 * per_ms,
            epoch: None,
            now: None,
        }
    }

    /// Samples since the first time stamp seen, whichever way it came.
    pub(super) fn samples(&mut self, at_ns: u64) -> i64 {
        let epoch = *self.epoch.get_or_insert(at_ns);
        let ns = at_ns.wrapping_sub(epoch) as i64;
        (ns / MS) * self.per_ms + (ns % MS) * self.per_ms / MS
    }

    /// The next pull. Pulls are 20 ms apart by definition; the given time only sets their phase, and follows early
    /// wake-ups fast and late ones slowly, because lateness is noise. Far off, it is believed at once.
    pub(super) fn tick(&mut self, now_ns: u64) -> i64 {
        let given = self.samples(now_ns);
        let now = match self.now {
            None => given,
            Some(last) => {
                let expected = last + self.frame;
                let error = given - expected;
                if error.abs() > 4 * self.frame {
                    given
                } else if error < 0 {
                    expected + error / 2
                } else {
                    expected + error / 64
                }
            }
        };
        self.now = Some(now);
        now
    }

    /// The pulls of this many intervals are left out.
    pub(super) fn skip(&mut self, intervals: u32) {
        if let Some(now) = &mut self.now {
            *now += i64::from(intervals) * self.frame;
        }
    }

    /// Time of the last pull.
    pub(super) fn now(&self) -> i64 {
        self.now.unwrap_or(0)
    }
}

/// RTP timestamps unwrapped to positions in samples.
#[derive(Debug, Default)]
pub(super) struct MediaLine {
    timestamp: u32,
    position: i64,
    /// Samples per unit of the RTP clock: 2 for G.722, else 1.
    scale: i64,
}

impl MediaLine {
    pub(super) fn new(scale: i64) -> Self {
        Self {
            timestamp: 0,
            position: 0,
            scale,
        }
    }

    /// From now on `timestamp` stands at `position`.
    pub(super) fn anchor(&mut self, timestamp: u32, position: i64) {
        self.timestamp = timestamp;
        self.position = position;
    }

    /// The position of a timestamp less than half a wrap from the anchor.
    pub(super) fn position(&self, timestamp: u32) -> i64 {
        self.position + i64::from(timestamp.wrapping_sub(self.timestamp) as i32) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_go_on_across_the_wrap_of_the_timestamp() {
        let mut line = MediaLine::new(2);
        line.anchor(u32::MAX - 79, 1000);
        assert_eq!(line.position(80), 1320);
        line.anchor(80, 1320);
        assert_eq!(line.position(u32::MAX - 79), 1000);
    }

    #[test]
    fn one_late_wake_up_hardly_moves_the_pull_clock() {
        let mut clock = PullClock::new(8);
        for n in 0..100u64 {
            let late = if n == 50 { 30_000_000 } else { 0 };
            clock.tick(1_000_000_000 + n * 20_000_000 + late);
        }
        assert!((clock.now() - 99 * 160).abs() <= 2, "{}", clock.now());
    }

    #[test]
    fn far_off_pulls_are_believed() {
        let mut clock = PullClock::new(8);
        clock.tick(0);
        assert_eq!(clock.tick(1_000_000_000), 8000);
        clock.skip(10);
        assert_eq!(clock.tick(1_220_000_000), 8000 + 11 * 160);
    }
}
