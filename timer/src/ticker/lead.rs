//! How much ahead of its deadline a sleep ends, so that what every wake-up costs is not lateness.
//!
//! A wake-up that is quicker than those before it spins for the difference. What is spun is counted, and bounded by
//! [`SHARE`] of one CPU, with the bucket that bounds precise mode: a sleep ends no further ahead than what is in it.

use std::time::Duration;

use super::precise::Budget;
use crate::clock::{MonoTime, saturating_nanos};

/// What waking ahead of deadlines does at present, and has cost since the ticker's first wait.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LeadStatus {
    /// How much ahead of its deadline the latest sleep was to end.
    pub ahead: Duration,
    /// Time spent spinning.
    pub spun: Duration,
    /// Share of one CPU spent spinning: `spun` of the time since the first wait. 0 before that.
    pub cpu_share: f64,
    /// Waits whose lead the budget cut short: their wake-ups were lateness.
    pub curtailed: u64,
}

/// The latest wake-up latencies of one ticker.
#[derive(Debug)]
pub(super) struct Lead {
    latest: [u32; REMEMBERED],
    /// How many have been recorded, ever.
    count: usize,
    /// The most that a sleep ends ahead, ns.
    longest: u32,
    budget: Budget,
    /// The first wait, and the time up to which the budget is filled.
    began: Option<MonoTime>,
    last: MonoTime,
    ahead: u64,
    spun: u64,
    curtailed: u64,
}

impl Lead {
    /// Nothing is known yet, and nothing led. `period` is the distance of two deadlines.
    pub(super) fn new(period: Duration) -> Self {
        Self {
            latest: [0; REMEMBERED],
            count: 0,
            longest: LONGEST.min(saturating_nanos(period) / 16) as u32,
            budget: Budget::full(SHARE),
            began: None,
            last: MonoTime::default(),
            ahead: 0,
            spun: 0,
            curtailed: 0,
        }
    }

    /// A sleep ended so long after it was to end.
    pub(super) fn record(&mut self, latency: Duration) {
        let latency = saturating_nanos(latency).min(u64::from(u32::MAX));
        self.latest[self.count % REMEMBERED] = latency as u32;
        self.count = self.count.wrapping_add(1);
    }

    /// By how much a sleep that begins `now` is to end before its deadline: what seven in eight of the latest took at
    /// least, if the budget has as much.
    pub(super) fn ahead(&mut self, now: MonoTime) -> Duration {
        self.advance(now);
        let (wanted, allowed) = (u64::from(self.wanted()), self.budget.nanos());
        self.curtailed += u64::from(allowed < wanted);
        self.ahead = wanted.min(allowed);
        Duration::from_nanos(self.ahead)
    }

    /// A wait for `deadline` is over that was asleep until `woke` and then spun.
    pub(super) fn reached(&mut self, deadline: MonoTime, woke: MonoTime) {
        let spun = saturating_nanos(deadline.since(woke));
        self.budget.take(spun);
        self.advance(deadline.max(woke));
        self.spun = self.spun.saturating_add(spun);
    }

    pub(super) fn status(&self) -> LeadStatus {
        let spun = Duration::from_nanos(self.spun);
        let elapsed = self.last.since(self.began.unwrap_or(self.last));
        LeadStatus {
            ahead: Duration::from_nanos(self.ahead),
            spun,
            cpu_share: if elapsed.is_zero() {
                0.0
            } else {
                spun.as_secs_f64() / elapsed.as_secs_f64()
            },
            curtailed: self.curtailed,
        }
    }

    fn advance(&mut self, now: MonoTime) {
        self.last = self.last.max(*self.began.get_or_insert(now));
        self.budget.refill(now.since(self.last));
        self.last = self.last.max(now);
    }

    fn wanted(&self) -> u32 {
        let held = self.count.min(REMEMBERED);
        if held == 0 {
            return 0;
        }
        let mut sorted = self.latest;
        let (_, latency, _) = sorted[..held].select_nth_unstable(held / QUICKER);
        (*latency).min(self.longest)
    }
}

const REMEMBERED: usize = 32;

/// One in so many of those remembered may have been quicker: it spins for the difference.
const QUICKER: usize = 8;

/// The most that is spun, ns, should a wake-up take no time at all.
const LONGEST: u64 = 200_000;

/// The most that is spun of one CPU, in millionths: 0.1 %, so that nobody has to ask whether a ticker that did not ask for
/// precise mode costs something. It is 20 us of every 20 ms and 1 us of every ms, where wake-ups that are alike spin for less; it bites where one
/// wake-up in eight is quicker by far, and there costs some of the lead and nothing else.
const SHARE: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);

    fn after(latencies: impl IntoIterator<Item = u64>) -> Duration {
        let mut lead = Lead::new(PERIOD);
        for latency in latencies {
            lead.record(Duration::from_micros(latency));
        }
        lead.ahead(MonoTime::default())
    }

    /// Waits for `ticks` deadlines of a period of `micros`, the nth wake-up taking as long as `latency` says, in us; and
    /// how long all of that took.
    fn after_waits(
        ticks: u64,
        micros: u64,
        latency: impl Fn(u64) -> u64,
    ) -> (LeadStatus, Duration) {
        let period = Duration::from_micros(micros);
        let mut lead = Lead::new(period);
        let began = MonoTime::from_nanos(1_000_000_000);
        let mut now = began;
        for n in 0..ticks {
            let deadline = now + period;
            let wake_time = deadline - lead.ahead(now);
            let latency = Duration::from_micros(latency(n));
            let woke = wake_time + latency;
            lead.record(latency);
            lead.reached(deadline, woke);
            now = deadline.max(woke);
        }
        (lead.status(), now.since(began))
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
        let ahead = lead.ahead(MonoTime::default());
        assert_eq!(ahead, Duration::from_nanos(62_500));
    }

    #[test]
    fn however_wake_ups_come_no_more_than_a_thousandth_of_a_cpu_is_spun() {
        // As many quick ones as do not shorten the lead.
        let uneven = |n: u64| if n.is_multiple_of(8) { 0 } else { 200 };
        for (ticks, micros) in [(200_000, 1_000), (20_000, 20_000), (500_000, 125)] {
            let (status, time) = after_waits(ticks, micros, uneven);
            let bound = time / 1_000 + Duration::from_millis(1);
            assert!(status.spun <= bound, "{micros} us: {status:?}");
            assert!(status.cpu_share > 0.0005, "{micros} us: {status:?}");
            assert!(status.curtailed > 0, "{micros} us: {status:?}");
        }
    }

    #[test]
    fn wake_ups_that_are_alike_are_led_in_full() {
        for micros in [1_000, 20_000] {
            let (status, _) = after_waits(100_000, micros, |n| 48 + n % 5);
            assert_eq!(status.curtailed, 0, "{status:?}");
            assert_eq!(status.ahead, Duration::from_micros(48));
            assert_eq!(status.spun, Duration::ZERO, "{status:?}");
        }
    }
}
