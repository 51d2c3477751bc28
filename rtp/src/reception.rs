//! Statistics of one received RTP source: what a report block says of it (RFC 3550 section 6.4.1 and appendix A).
//!
//! Guarantees: pure arithmetic on a small `Copy` structure; time is an argument; no sequence of packets panics.

/// A sequence number may run ahead by this many packets (of 50 a second: one minute) and still be of one stream.
const MAX_DROPOUT: u16 = 3000;
/// A sequence number may be this far behind and still be a late packet.
const MAX_MISORDER: u16 = 100;

/// How a packet's sequence number continues its source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The source's first packet.
    First,
    /// A newer packet than any before; some between may be missing.
    Newer,
    /// An older packet which had been missing, or is too old to tell.
    Late,
    /// A packet that was received before.
    Duplicate,
    /// A leap too large to be a gap. Not counted; the packet is not to be played. If the next packet continues
    /// the leap, the source has restarted.
    Leap,
    /// The second packet in a row after a leap: the source has restarted its numbers, and so have the statistics.
    Restarted,
}

/// What a report block says of a source, RFC 3550 section 6.4.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReceptionReport {
    /// Packets lost since the last report, as a fraction of 256.
    pub fraction_lost: u8,
    /// Packets lost since the beginning, -2^23 to 2^23 - 1; duplicates make it less.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of wraps in the upper half.
    pub extended_highest: u32,
    /// Interarrival jitter in units of the RTP clock.
    pub jitter: u32,
}

/// Statistics of one source (one SSRC). For another SSRC make another.
///
/// There is no probation: [`crate::latch`] has seen to it that the source is the leg's peer.
#[derive(Debug, Clone, Copy)]
pub struct Reception {
    clock_rate: u32,
    started: bool,
    highest: u16,
    /// Wraps of the sequence number, times 2^16.
    cycles: u32,
    first_extended: u32,
    /// The sequence number that would prove a restart.
    after_leap: Option<u16>,
    /// Bit n: the packet n before the highest was received.
    history: u64,
    received: u32,
    expected_at_report: u32,
    received_at_report: u32,
    duplicates: u32,
    late: u32,
    /// Transit time and timestamp of the last packet that was measured.
    transit: Option<(u32, u32)>,
    /// Sixteen times the jitter, as appendix A.8 keeps it.
    jitter_scaled: u32,
}

impl Reception {
    /// Nothing received yet, from a source whose RTP clock has this rate in Hz (8000 for G.722).
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            started: false,
            highest: 0,
            cycles: 0,
            first_extended: 0,
            after_leap: None,
            history: 0,
            received: 0,
            expected_at_report: 0,
            received_at_report: 0,
            duplicates: 0,
            late: 0,
            transit: None,
            jitter_scaled: 0,
        }
    }

    /// Takes one packet into account: sequence per appendix A.1, jitter per appendix A.8.
    pub fn on_packet(&mut self, sequence: u16, timestamp: u32, arrival_ns: u64) -> Order {
        let order = self.place(sequence);
        match order {
            Order::Leap => return order,
            Order::Late => self.late = self.late.wrapping_add(1),
            Order::Duplicate => self.duplicates = self.duplicates.wrapping_add(1),
            Order::First | Order::Newer | Order::Restarted => {}
        }
        self.received = self.received.wrapping_add(1);
        self.measure(timestamp, arrival_ns);
        order
    }

    /// The source goes on with a clock of another rate (a new payload format): jitter starts anew, counts go on.
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            self.clock_rate = clock_rate;
            self.transit = None;
            self.jitter_scaled = 0;
        }
    }

    /// The figures for a report block; the interval of its `fraction_lost` ends here (appendix A.3).
    /// `None` while nothing has been received.
    pub fn report(&mut self) -> Option<ReceptionReport> {
        if !self.started {
            return None;
        }
        let expected = self.expected();
        let interval = expected.wrapping_sub(self.expected_at_report);
        let arrived = self.received.wrapping_sub(self.received_at_report);
        self.expected_at_report = expected;
        self.received_at_report = self.received;
        // More arrived than expected (late ones, duplicates) is no loss.
        let lost = interval.saturating_sub(arrived);
        let fraction_lost = match interval {
            0 => 0,
            _ => (u64::from(lost) * 256 / u64::from(interval)).min(255) as u8,
        };
        Some(ReceptionReport {
            fraction_lost,
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            extended_highest: self.extended_highest(),
            jitter: self.jitter(),
        })
    }

    /// Highest sequence number received, with the count of wraps in the upper half.
    pub fn extended_highest(&self) -> u32 {
        self.cycles.wrapping_add(u32::from(self.highest))
    }

    /// Packets that the source sent, judged by its sequence numbers.
    pub fn expected(&self) -> u32 {
        match self.started {
            true => self
                .extended_highest()
                .wrapping_sub(self.first_extended)
                .wrapping_add(1),
            false => 0,
        }
    }

    /// Packets received, with late ones and duplicates.
    pub fn received(&self) -> u32 {
        self.received
    }

    /// Packets missing; negative when duplicates outnumber them.
    pub fn lost(&self) -> i64 {
        i64::from(self.expected()) - i64::from(self.received)
    }

    /// Packets received more than once.
    pub fn duplicates(&self) -> u32 {
        self.duplicates
    }

    /// Packets received after a newer one.
    pub fn late(&self) -> u32 {
        self.late
    }

    /// Interarrival jitter in units of the RTP clock (RFC 3550 section 6.4.1: a mean deviation, smoothed by 16).
    pub fn jitter(&self) -> u32 {
        self.jitter_scaled >> 4
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> f32 {
        self.jitter_scaled as f32 / 16.0 * 1000.0 / self.clock_rate.max(1) as f32
    }

    /// Appendix A.1's judgement of a sequence number.
    fn place(&mut self, sequence: u16) -> Order {
        if !self.started {
            self.start(sequence);
            return Order::First;
        }
        let ahead = sequence.wrapping_sub(self.highest);
        let behind = self.highest.wrapping_sub(sequence);
        if ahead == 0 {
            self.after_leap = None;
            Order::Duplicate
        } else if ahead < MAX_DROPOUT {
            self.after_leap = None;
            if sequence < self.highest {
                self.cycles = self.cycles.wrapping_add(1 << 16);
            }
            self.highest = sequence;
            self.history = self.history.checked_shl(ahead.into()).unwrap_or(0) | 1;
            Order::Newer
        } else if behind <= MAX_MISORDER {
            self.after_leap = None;
            match 1_u64.checked_shl(behind.into()) {
                Some(bit) if self.history & bit != 0 => Order::Duplicate,
                bit => {
                    self.history |= bit.unwrap_or(0);
                    Order::Late
                }
            }
        } else if self.after_leap == Some(sequence) {
            let clock_rate = self.clock_rate;
            *self = Self::new(clock_rate);
            self.start(sequence);
            Order::Restarted
        } else {
            self.after_leap = Some(sequence.wrapping_add(1));
            Order::Leap
        }
    }

    fn start(&mut self, sequence: u16) {
        self.started = true;
        self.highest = sequence;
        self.first_extended = u32::from(sequence);
        self.history = 1;
    }

    fn measure(&mut self, timestamp: u32, arrival_ns: u64) {
        let seconds = arrival_ns / 1_000_000_000;
        let rest = arrival_ns % 1_000_000_000;
        let rate = u64::from(self.clock_rate);
        let arrival = seconds
            .wrapping_mul(rate)
            .wrapping_add(rest * rate / 1_000_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        match self.transit {
            // Updates of one telephone event share a timestamp though they are sent apart: that is not jitter.
            Some((_, last)) if last == timestamp => return,
            Some((last, _)) => {
                let deviation = (transit.wrapping_sub(last) as i32).unsigned_abs();
                // A leap of the timestamps within one stream is no jitter either; a second bounds what counts.
                if deviation < self.clock_rate {
                    self.jitter_scaled = self.jitter_scaled.saturating_add(deviation)
                        - (self.jitter_scaled.saturating_add(8) >> 4);
                }
            }
            None => {}
        }
        self.transit = Some((transit, timestamp));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn feed(reception: &mut Reception, sequences: impl IntoIterator<Item = u16>) {
        for sequence in sequences {
            reception.on_packet(
                sequence,
                u32::from(sequence) * 160,
                u64::from(sequence) * 20 * MS,
            );
        }
    }

    #[test]
    fn nothing_received_is_nothing_to_report() {
        assert_eq!(Reception::new(8000).report(), None);
    }

    #[test]
    fn loss_is_counted_since_the_last_report_and_since_the_beginning() {
        let mut reception = Reception::new(8000);
        feed(&mut reception, (0..100).filter(|n| n % 4 != 1));
        let report = reception.report().unwrap();
        assert_eq!(report.cumulative_lost, 25);
        assert_eq!(report.fraction_lost, 64);
        assert_eq!(report.extended_highest, 99);
        feed(&mut reception, 100..200);
        let report = reception.report().unwrap();
        assert_eq!(report.cumulative_lost, 25);
        assert_eq!(report.fraction_lost, 0);
    }

    #[test]
    fn sequence_numbers_wrap_into_cycles() {
        let mut reception = Reception::new(8000);
        for n in 65_000_u32..70_000 {
            reception.on_packet(n as u16, n.wrapping_mul(160), u64::from(n) * 20 * MS);
        }
        assert_eq!(reception.extended_highest(), 69_999);
        assert_eq!(reception.lost(), 0);
        assert_eq!(reception.jitter(), 0);
    }

    #[test]
    fn late_and_double_packets_are_told_apart() {
        let mut reception = Reception::new(8000);
        assert_eq!(reception.on_packet(10, 0, 0), Order::First);
        assert_eq!(reception.on_packet(12, 320, 40 * MS), Order::Newer);
        assert_eq!(reception.on_packet(11, 160, 41 * MS), Order::Late);
        assert_eq!(reception.on_packet(11, 160, 42 * MS), Order::Duplicate);
        assert_eq!(reception.on_packet(12, 320, 43 * MS), Order::Duplicate);
        assert_eq!((reception.late(), reception.duplicates()), (1, 2));
        assert_eq!(
            reception.lost(),
            -2,
            "appendix A.3 counts duplicates as received"
        );
    }

    #[test]
    fn one_stray_number_is_ignored_and_two_in_a_row_are_a_restart() {
        let mut reception = Reception::new(8000);
        feed(&mut reception, 0..50);
        assert_eq!(reception.on_packet(40_000, 0, 0), Order::Leap);
        assert_eq!(reception.on_packet(50, 8000, 1000 * MS), Order::Newer);
        assert_eq!(reception.on_packet(40_001, 0, 0), Order::Leap);
        assert_eq!(reception.received(), 51);
        assert_eq!(reception.on_packet(40_002, 160, 20 * MS), Order::Restarted);
        assert_eq!(reception.extended_highest(), 40_002);
        assert_eq!((reception.received(), reception.lost()), (1, 0));
    }

    #[test]
    fn alternating_delay_converges_to_its_mean_deviation() {
        let mut reception = Reception::new(8000);
        for n in 0_u32..2000 {
            let delay = if n % 2 == 0 { 0 } else { 10 * MS };
            reception.on_packet(n as u16, n * 160, u64::from(n) * 20 * MS + delay);
        }
        // Every difference is 10 ms, which is 80 units.
        assert!(
            (79..=80).contains(&reception.jitter()),
            "{}",
            reception.jitter()
        );
        assert!((reception.jitter_ms() - 10.0).abs() < 0.1);
    }

    #[test]
    fn updates_of_a_telephone_event_are_not_jitter() {
        let mut reception = Reception::new(8000);
        feed(&mut reception, 0..50);
        for n in 50..60_u16 {
            reception.on_packet(n, 50 * 160, u64::from(n) * 20 * MS);
        }
        feed(&mut reception, 60..100);
        assert_eq!(reception.jitter(), 0);
    }

    #[test]
    fn jitter_starts_anew_with_another_clock() {
        let mut reception = Reception::new(8000);
        reception.on_packet(0, 0, 0);
        reception.on_packet(1, 160, 90 * MS);
        assert!(reception.jitter() > 0);
        reception.set_clock_rate(48_000);
        reception.on_packet(2, 5_000_000, 100 * MS);
        reception.on_packet(3, 5_000_960, 120 * MS);
        assert_eq!(reception.jitter(), 0);
    }

    proptest! {
        #[test]
        fn any_packets_leave_consistent_figures(
            packets in prop::collection::vec((any::<u16>(), any::<u32>(), any::<u64>()), 0..400),
            rate in prop::sample::select(vec![0_u32, 8000, 48_000, u32::MAX]),
        ) {
            let mut reception = Reception::new(rate);
            for (sequence, timestamp, arrival) in packets {
                reception.on_packet(sequence, timestamp, arrival);
                prop_assert!(reception.duplicates() + reception.late() < reception.received());
            }
            if let Some(report) = reception.report() {
                prop_assert!((-0x80_0000..0x80_0000).contains(&report.cumulative_lost));
            }
        }

        #[test]
        fn losing_any_packets_but_the_ends_is_counted_exactly(
            start in any::<u16>(),
            kept in prop::collection::vec(any::<bool>(), 1..2000),
        ) {
            let mut reception = Reception::new(8000);
            reception.on_packet(start, 0, 0);
            for (n, kept) in kept.iter().enumerate() {
                if *kept {
                    reception.on_packet(start.wrapping_add(n as u16 + 1), 0, 0);
                }
            }
            reception.on_packet(start.wrapping_add(kept.len() as u16 + 1), 0, 0);
            let missing = kept.iter().filter(|kept| !**kept).count();
            prop_assert_eq!(reception.lost(), missing as i64);
        }
    }
}
