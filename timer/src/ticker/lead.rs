//! How much ahead of its deadline a sleep ends, so that what every wake-up costs is not lateness.

use std::time::Duration;

use crate::clock::saturating_nanos;

/// The latest wake-up latencies of one ticker.
#[derive(Debug)]
pub(super) struct Lead {
    latest: [u32; REMEMBERED],
    /// How many have been recorded, ever.
    count: usize,
    /// The most that a sleep ends ahead, ns.
    longest: u32,
}

impl Lead {
    /// Nothing is known yet, and nothing led. `period` is the distance of two deadlines.
    pub(super) fn new(period: Duration) -> Self {
        Self {
            latest: [0; REMEMBERED],
            count: 0,
            longest: LONGEST.min(saturating_nanos(period) / 16) as u32,
        }
    }

    /// A sleep ended so long after it was to end.
    pub(super) fn record(&mut self, latency: Duration) {
        let latency = saturating_nanos(latency).min(u64::from(u32::MAX));
        self.latest[self.count % REMEMBERED] = latency as u32;
        self.count = self.count.wrapping_add(1);
    }

    /// By how much the next sleep is to end before its deadline: what seven in eight of the latest took at least.
    pub(super) fn ahead(&self) -> Duration {
        let held = self.count.min(REMEMBERED);
        if held == 0 {
            return Duration::ZERO;
        }
        let mut sorted = self.latest;
        let (_, latency, _) = sorted[..held].select_nth_unstable(held / QUICKER);
        Duration::from_nanos(u64::from((*latency).min(self.longest)))
    }
}

const REMEMBERED: usize = 32;

/// One in so many of those remembered may have been quicker: it spins for the difference.
const QUICKER: usize = 8;

/// The most that is spun, ns, should a wake-up take no time at all.
const LONGEST: u64 = 200_000;

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);

    fn after(latencies: impl IntoIterator<Item = u64>) -> Duration {
        let mut lead = Lead::new(PERIOD);
        for latency in latencies {
            lead.record(Duration::from_micros(latency));
        }
        lead.ahead()
    }

    #[test]
    fn the_first_wake_ups_teach_how_much_to_lead() {
        assert_eq!(after([]), Duration::ZERO);
        assert_eq!(after([50]), Duration::from_micros(50));
        assert_eq!(after([50, 40, 60]), Duration::from_micros(40));
        assert_eq!(after([50; 3 * REMEMBERED]), Duration::from_micros(50));
    }

    #[test]
    fn one_in_eight_may_be_quicker() {
        let latencies: Vec<u64> = (0..REMEMBERED as u64)
            .map(|n| if n % 8 == 3 { 5 } else { 40 + n })
            .collect();
        assert_eq!(after(latencies), Duration::from_micros(40));
    }

    #[test]
    fn stalls_do_not_lengthen_it() {
        let stalls = (0..100).map(|n| if n % 4 == 0 { 98_000 } else { 30 });
        assert_eq!(after(stalls), Duration::from_micros(30));
        assert_eq!(after([98_000; 64]), Duration::from_nanos(LONGEST));
    }

    #[test]
    fn a_short_period_is_led_by_a_sixteenth_at_most() {
        let mut lead = Lead::new(Duration::from_millis(1));
        for _ in 0..REMEMBERED {
            lead.record(Duration::from_micros(150));
        }
        assert_eq!(lead.ahead(), Duration::from_nanos(62_500));
    }
}
