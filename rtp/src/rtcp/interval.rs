//! When to report: RFC 3550 section 6.3 and appendix A.7.

/// Shortest mean interval between reports, ns (section 6.2: five seconds).
const MINIMUM_NS: u64 = 5_000_000_000;

/// Randomising with reconsideration makes intervals longer; dividing by e - 3/2 makes up for it.
const COMPENSATION: f64 = std::f64::consts::E - 1.5;

/// What an interval is calculated from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Bandwidth of the media session, bit/s; RTCP may use 5 % of it.
    pub session_bandwidth: u32,
    /// Members of the session that are known, with oneself.
    pub members: u32,
    /// How many of these have sent lately.
    pub senders: u32,
    /// Whether one has sent oneself.
    pub we_sent: bool,
    /// Mean size of a compound packet with UDP and IP headers, bytes.
    pub average_size: f64,
    /// Whether no report was sent yet: the first comes after half the minimum.
    pub initial: bool,
    /// Whether the minimum shrinks with bandwidth, to 360 s divided by kbit/s (section 6.2).
    pub reduced_minimum: bool,
}

impl Interval {
    /// The deterministic interval Td of section 6.3.1, ns.
    pub fn deterministic_ns(&self) -> u64 {
        let bandwidth = f64::from(self.session_bandwidth.max(1)) / 8.0 * 0.05;
        let members = f64::from(self.members.max(1));
        let senders = f64::from(self.senders);
        // While senders are a minority, a quarter of the bandwidth is theirs.
        let (sharing, share) = match senders <= members * 0.25 {
            true if self.we_sent => (senders.max(1.0), 0.25),
            true => (members - senders, 0.75),
            false => (members, 1.0),
        };
        let reported = sharing * self.average_size / (bandwidth * share) * 1e9;
        reported.max(self.minimum_ns() as f64) as u64
    }

    /// The interval to wait: the deterministic one times a factor of 0.5 to 1.5, ns.
    pub fn randomised_ns(&self, random: u32) -> u64 {
        let factor = 0.5 + f64::from(random) / 4_294_967_296.0;
        (self.deterministic_ns() as f64 * factor / COMPENSATION) as u64
    }

    fn minimum_ns(&self) -> u64 {
        let minimum = match self.reduced_minimum {
            true => {
                (360_000_000_000_000 / u64::from(self.session_bandwidth.max(1))).min(MINIMUM_NS)
            }
            false => MINIMUM_NS,
        };
        if self.initial { minimum / 2 } else { minimum }
    }
}

/// The transmission timer with reconsideration, sections 6.3.2 to 6.3.6.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// When the last report was sent: tp.
    previous_ns: u64,
    /// When the next is due: tn.
    next_ns: u64,
    /// Members when `next_ns` was calculated.
    members: u32,
}

impl Timing {
    /// Starts the timer for the first report.
    pub fn start(now_ns: u64, interval: &Interval, random: u32) -> Self {
        Self {
            previous_ns: now_ns,
            next_ns: now_ns.saturating_add(interval.randomised_ns(random)),
            members: interval.members,
        }
    }

    /// Whether a report is to be sent now. If it was due but the session has grown meanwhile, it is put off.
    pub fn expired(&mut self, now_ns: u64, interval: &Interval, random: u32) -> bool {
        if now_ns < self.next_ns {
            return false;
        }
        self.members = interval.members;
        self.next_ns = self
            .previous_ns
            .saturating_add(interval.randomised_ns(random));
        self.next_ns <= now_ns
    }

    /// A report was sent: the timer starts again.
    pub fn sent(&mut self, now_ns: u64, interval: &Interval, random: u32) {
        *self = Self::start(now_ns, interval, random);
    }

    /// The session has shrunk: the report comes sooner (reverse reconsideration, section 6.3.4).
    pub fn members_left(&mut self, now_ns: u64, members: u32) {
        if members >= self.members {
            return;
        }
        let scaled =
            |span: u64| (span as f64 * f64::from(members) / f64::from(self.members)) as u64;
        self.next_ns = now_ns.saturating_add(scaled(self.next_ns.saturating_sub(now_ns)));
        self.previous_ns = now_ns.saturating_sub(scaled(now_ns.saturating_sub(self.previous_ns)));
        self.members = members;
    }

    /// When the next report may be due, ns. Nothing has to be asked before.
    pub fn due_ns(&self) -> u64 {
        self.next_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Interval {
        Interval {
            session_bandwidth: 80_000,
            members: 2,
            senders: 2,
            we_sent: true,
            average_size: 120.0,
            initial: false,
            reduced_minimum: false,
        }
    }

    #[test]
    fn a_call_reports_every_five_seconds_and_the_first_time_after_half_of_that() {
        assert_eq!(call().deterministic_ns(), 5_000_000_000);
        assert_eq!(
            Interval {
                initial: true,
                ..call()
            }
            .deterministic_ns(),
            2_500_000_000
        );
    }

    #[test]
    fn the_minimum_shrinks_with_bandwidth_if_asked() {
        let fast = Interval {
            reduced_minimum: true,
            session_bandwidth: 800_000,
            ..call()
        };
        assert_eq!(fast.deterministic_ns(), 450_000_000);
        let slow = Interval {
            session_bandwidth: 20_000,
            ..fast
        };
        assert_eq!(slow.deterministic_ns(), 5_000_000_000);
    }

    #[test]
    fn reports_stay_within_five_percent_of_the_bandwidth() {
        // 1000 listeners of one sender share three quarters of 500 byte/s.
        let crowd = Interval {
            members: 1001,
            senders: 1,
            we_sent: false,
            ..call()
        };
        assert_eq!(crowd.deterministic_ns(), 320_000_000_000);
        let speaker = Interval {
            we_sent: true,
            ..crowd
        };
        assert_eq!(speaker.deterministic_ns(), 5_000_000_000);
        let all = Interval {
            senders: 1001,
            ..crowd
        };
        assert_eq!(all.deterministic_ns(), 240_240_000_000);
    }

    #[test]
    fn randomisation_spreads_over_half_to_one_and_a_half() {
        let low = call().randomised_ns(0) as f64;
        let high = call().randomised_ns(u32::MAX) as f64;
        assert!((low - 2.5e9 / COMPENSATION).abs() < 2.0);
        assert!((high - 7.5e9 / COMPENSATION).abs() < 10.0);
    }

    #[test]
    fn growth_puts_a_due_report_off_and_departure_brings_it_forward() {
        let interval = call();
        let mut timing = Timing::start(0, &interval, 1 << 31);
        let due = timing.due_ns();
        let crowd = Interval {
            members: 1000,
            senders: 1000,
            ..interval
        };
        assert!(!timing.expired(due, &crowd, 1 << 31));
        let put_off = timing.due_ns();
        assert!(put_off > 40 * due);
        timing.members_left(due, 2);
        assert!(timing.due_ns() - due <= (put_off - due) / 499);
        let mut now = timing.due_ns();
        while !timing.expired(now, &interval, 1 << 31) {
            assert!(timing.due_ns() > now, "put off, not asked again at once");
            now = timing.due_ns();
        }
        assert!(now - due < 5_000_000_000);
    }
}
