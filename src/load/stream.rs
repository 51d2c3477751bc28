//! What one caller gets back, measured packet by packet: loss, order, and how even the packets come.

use unisono_rtp::reception::{Order, Reception};

use super::deviations::Deviations;

/// The packet time, ns.
pub(super) const FRAME_NS: u64 = 20_000_000;

/// Two packets further apart are a gap, ns.
const GAP_NS: u64 = 60_000_000;

/// A stream that ends in a silence longer than this has lost what should have come in it, ns.
const ENDED_NS: u64 = 1_000_000_000;

/// How far a timestamp may be from the time that passed for the sender to have paused on purpose, ns.
const IN_STEP_NS: u64 = 60_000_000;

/// One packet, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Synchronisation source.
    pub(super) ssrc: u32,
    /// Sequence number.
    pub(super) sequence: u16,
    /// RTP timestamp.
    pub(super) timestamp: u32,
    /// The marker bit.
    pub(super) marker: bool,
    /// When the kernel got it, ns.
    pub(super) at_ns: u64,
}

/// How a packet followed the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Following {
    /// This far from when it was due, ns.
    Off(u64),
    /// After a silence that the sender marked as one. Whether that was right is not decided here.
    Pause {
        /// When the packet before came, ns.
        from_ns: u64,
        /// When this one came, ns.
        to_ns: u64,
    },
    /// No statement: the first packet, or one out of order.
    Nothing,
}

/// The measurement of one received stream. Time is an argument.
#[derive(Debug)]
pub(super) struct Stream {
    clock_rate: u32,
    source: Option<u32>,
    reception: Reception,
    newest: Arrival,
    base: Counts,
    /// Of sources before this one in the window.
    earlier: Counts,
    window: Window,
}

/// What was counted since the window was opened.
#[derive(Debug, Clone, Copy)]
struct Window {
    opened_ns: u64,
    deviations: Deviations,
    gaps: u64,
    longest_gap_ns: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    expected: u64,
    received: u64,
    late: u64,
    duplicated: u64,
}

/// What came of one stream in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StreamFigures {
    /// Packets received, each once.
    pub(super) received: u64,
    /// Packets that should have come and did not, by sequence numbers; of a stream that ended or never began, by time.
    pub(super) lost: u64,
    /// Packets out of order.
    pub(super) late: u64,
    /// Packets that came twice.
    pub(super) duplicated: u64,
    /// Silences of more than 60 ms.
    pub(super) gaps: u64,
    /// The longest, ns.
    pub(super) longest_gap_ns: u64,
    /// Deviations of the packets from when they were due.
    pub(super) deviations: Deviations,
}

impl Stream {
    /// Nothing received yet, of a codec with this RTP clock in Hz.
    pub(super) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            source: None,
            reception: Reception::new(clock_rate),
            newest: Arrival {
                ssrc: 0,
                sequence: 0,
                timestamp: 0,
                marker: false,
                at_ns: 0,
            },
            base: Counts::default(),
            earlier: Counts::default(),
            window: Window::opened(0),
        }
    }

    /// Begins to count anew.
    pub(super) fn open(&mut self, now_ns: u64) {
        self.base = self.counts();
        self.earlier = Counts::default();
        self.window = Window::opened(now_ns);
    }

    /// A packet arrived.
    pub(super) fn on_packet(&mut self, packet: Arrival) -> Following {
        if self.source != Some(packet.ssrc) {
            self.change_source(packet.ssrc);
        }
        let order = self
            .reception
            .on_packet(packet.sequence, packet.timestamp, packet.at_ns);
        match order {
            Order::First => {
                let before = std::mem::replace(&mut self.newest, packet);
                // A stream that began anew: what was between is a gap, and no deviation.
                if before.at_ns > 0 {
                    self.window.gap(packet.at_ns.saturating_sub(before.at_ns));
                }
                Following::Nothing
            }
            Order::Restarted => {
                // The statistics began anew with this packet.
                self.base = Counts::default();
                self.newest = packet;
                Following::Nothing
            }
            Order::Late | Order::Duplicate | Order::Leap => Following::Nothing,
            Order::Newer => {
                let before = std::mem::replace(&mut self.newest, packet);
                self.follow(&before, &packet)
            }
        }
    }

    /// What came since the window was opened.
    pub(super) fn figures(&self, now_ns: u64) -> StreamFigures {
        let window = &self.window;
        let counts = self.counts().since(self.base).plus(self.earlier);
        // A silence that has not ended began with the last packet or with the window.
        let silence = now_ns.saturating_sub(self.newest.at_ns.max(window.opened_ns));
        let mut gaps = *window;
        gaps.gap(silence);
        let owed = match silence {
            0..=ENDED_NS => 0,
            longer => longer / FRAME_NS,
        };
        StreamFigures {
            received: counts.received.saturating_sub(counts.duplicated),
            lost: counts.lost() + owed,
            late: counts.late,
            duplicated: counts.duplicated,
            gaps: gaps.gaps,
            longest_gap_ns: gaps.longest_gap_ns,
            deviations: window.deviations,
        }
    }

    fn follow(&mut self, before: &Arrival, packet: &Arrival) -> Following {
        let apart = packet.at_ns.saturating_sub(before.at_ns);
        let packets = packet.sequence.wrapping_sub(before.sequence);
        if apart > GAP_NS && packets == 1 && packet.marker && self.in_step(before, packet, apart) {
            return Following::Pause {
                from_ns: before.at_ns,
                to_ns: packet.at_ns,
            };
        }
        let off = apart.abs_diff(u64::from(packets) * FRAME_NS);
        self.window.deviations.count(off);
        self.window.gap(apart);
        Following::Off(off)
    }

    /// Whether the timestamps advanced with the time.
    fn in_step(&self, before: &Arrival, packet: &Arrival, apart_ns: u64) -> bool {
        let units = u64::from(packet.timestamp.wrapping_sub(before.timestamp));
        let advanced_ns = units.saturating_mul(1_000_000_000) / u64::from(self.clock_rate);
        advanced_ns.abs_diff(apart_ns) <= IN_STEP_NS
    }

    fn change_source(&mut self, ssrc: u32) {
        self.earlier = self.earlier.plus(self.counts().since(self.base));
        self.base = Counts::default();
        self.reception = Reception::new(self.clock_rate);
        self.source = Some(ssrc);
    }

    fn counts(&self) -> Counts {
        let reception = &self.reception;
        if self.source.is_none() || reception.received() == 0 {
            return Counts::default();
        }
        Counts {
            expected: reception.expected().into(),
            received: reception.received().into(),
            late: reception.late().into(),
            duplicated: reception.duplicates().into(),
        }
    }
}

impl Counts {
    fn since(self, base: Self) -> Self {
        Self {
            expected: self.expected.saturating_sub(base.expected),
            received: self.received.saturating_sub(base.received),
            late: self.late.saturating_sub(base.late),
            duplicated: self.duplicated.saturating_sub(base.duplicated),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            expected: self.expected + other.expected,
            received: self.received + other.received,
            late: self.late + other.late,
            duplicated: self.duplicated + other.duplicated,
        }
    }

    fn lost(self) -> u64 {
        let once = self.received.saturating_sub(self.duplicated);
        self.expected.saturating_sub(once)
    }
}

impl Window {
    fn opened(now_ns: u64) -> Self {
        Self {
            opened_ns: now_ns,
            deviations: Deviations::none(),
            gaps: 0,
            longest_gap_ns: 0,
        }
    }

    /// A silence is a gap if it is long enough.
    fn gap(&mut self, silence_ns: u64) {
        if silence_ns > GAP_NS {
            self.gaps += 1;
            self.longest_gap_ns = self.longest_gap_ns.max(silence_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;
    const START: u64 = 5_000 * MS;

    fn packet(number: u64, at_ns: u64) -> Arrival {
        Arrival {
            ssrc: 9,
            sequence: 65_500_u16.wrapping_add(number as u16),
            timestamp: (u32::MAX - 999).wrapping_add(160 * number as u32),
            marker: false,
            at_ns,
        }
    }

    fn due(number: u64) -> u64 {
        START + number * FRAME_NS
    }

    /// A stream with an open window that began with packet 0.
    fn begun() -> Stream {
        let mut stream = Stream::new(8000);
        stream.on_packet(packet(0, due(0)));
        stream.open(due(0));
        stream
    }

    #[test]
    fn an_even_stream_has_nothing_to_report_however_often_its_numbers_wrap() {
        let mut stream = begun();
        for n in 1..=150_000 {
            assert_eq!(stream.on_packet(packet(n, due(n))), Following::Off(0));
        }
        let figures = stream.figures(due(150_000));
        assert_eq!((figures.received, figures.lost), (150_000, 0));
        assert_eq!((figures.late, figures.duplicated, figures.gaps), (0, 0, 0));
        assert_eq!(figures.deviations.max_ns(), 0);
        assert_eq!(figures.deviations.len(), 150_000);
    }

    #[test]
    fn deviations_are_those_of_the_arrivals_from_the_packet_time() {
        let mut stream = begun();
        // Every second packet 3 ms late: 3 ms off, and 3 ms off again.
        for n in 1..=100 {
            let late = if n % 2 == 1 { 3 * MS } else { 0 };
            assert_eq!(
                stream.on_packet(packet(n, due(n) + late)),
                Following::Off(3 * MS)
            );
        }
        let deviations = stream.figures(due(100)).deviations;
        assert_eq!(deviations.quantile_ns(0.5), 3 * MS);
        assert_eq!(deviations.max_ns(), 3 * MS);
    }

    #[test]
    fn lost_late_and_double_packets_are_told_apart() {
        let mut stream = begun();
        for n in [1, 2, 4, 3, 5, 5, 8, 9] {
            stream.on_packet(packet(n, due(n)));
        }
        let figures = stream.figures(due(9));
        assert_eq!((figures.received, figures.lost), (7, 2));
        assert_eq!((figures.late, figures.duplicated), (1, 1));
        // Neither a lost packet nor a late one is a deviation of the others.
        assert_eq!(figures.deviations.max_ns(), 0);
    }

    #[test]
    fn a_window_counts_what_came_in_it_only() {
        let mut stream = begun();
        for n in [1, 2, 5, 6] {
            stream.on_packet(packet(n, due(n)));
        }
        stream.open(due(6));
        for n in 7..=10 {
            stream.on_packet(packet(n, due(n)));
        }
        let figures = stream.figures(due(10));
        assert_eq!((figures.received, figures.lost, figures.gaps), (4, 0, 0));
    }

    #[test]
    fn silence_without_a_word_is_a_gap_and_with_one_a_question() {
        let mut stream = begun();
        // 200 ms nothing, and the sequence goes on: a stall.
        let stall = Arrival {
            at_ns: due(10),
            ..packet(1, 0)
        };
        assert_eq!(stream.on_packet(stall), Following::Off(180 * MS));
        // The same with marker and timestamps that went on with the time: perhaps silence was suppressed.
        let pause = Arrival {
            marker: true,
            timestamp: stall.timestamp.wrapping_add(160 * 10),
            at_ns: due(20),
            ..packet(2, 0)
        };
        assert_eq!(
            stream.on_packet(pause),
            Following::Pause {
                from_ns: due(10),
                to_ns: due(20)
            }
        );
        let figures = stream.figures(due(20));
        assert_eq!((figures.gaps, figures.longest_gap_ns), (1, 200 * MS));
    }

    #[test]
    fn a_stream_that_ends_or_never_begins_owes_its_packets() {
        let mut stream = begun();
        for n in 1..=50 {
            stream.on_packet(packet(n, due(n)));
        }
        let figures = stream.figures(due(150));
        assert_eq!((figures.received, figures.lost), (50, 100));
        assert_eq!((figures.gaps, figures.longest_gap_ns), (1, 2000 * MS));
        let mut silent = Stream::new(8000);
        silent.open(START);
        let figures = silent.figures(START + 2000 * MS);
        assert_eq!((figures.received, figures.lost), (0, 100));
        assert!(figures.deviations.len() == 0);
    }

    #[test]
    fn a_new_source_goes_on_counting() {
        let mut stream = begun();
        for n in 1..=10 {
            stream.on_packet(packet(n, due(n)));
        }
        for n in 11..=20 {
            let other = Arrival {
                ssrc: 77,
                sequence: n as u16 + 500,
                ..packet(n, due(n))
            };
            stream.on_packet(other);
        }
        let figures = stream.figures(due(20));
        assert_eq!((figures.received, figures.lost, figures.gaps), (20, 0, 0));
    }

    proptest! {
        #[test]
        fn no_packets_however_strange_panic(packets in prop::collection::vec((any::<u16>(), any::<u32>(), any::<bool>(), any::<u64>(), 0_u32..3), 0..200)) {
            let mut stream = Stream::new(48_000);
            for (sequence, timestamp, marker, at_ns, ssrc) in packets {
                stream.on_packet(Arrival { ssrc, sequence, timestamp, marker, at_ns });
            }
            let figures = stream.figures(u64::MAX);
            prop_assert!(figures.deviations.quantile_ns(0.99) <= figures.deviations.max_ns());
        }
    }
}
