//! Digits sent as telephone events (RFC 4733 section 2): a receiver that reports each key press once, and a sender.
//!
//! Guarantees: no allocation, no clock; every payload is judged by length and value, and none panics.
//!
//! A press is reported *as soon as it is certain*: when it has lasted [`CERTAIN_MS`] (the shortest tone that a
//! receiver must accept, ITU-T Q.24), or has ended, whichever comes first. So a digit neither waits for the key to be
//! let go, nor is lost with its end packets. The packets of one press share one RTP timestamp, which is what tells two
//! presses of the same key apart and makes the repeated end packets one end.

use std::fmt;

/// Duration after which a press is reported although it goes on, ms.
pub const CERTAIN_MS: u32 = 40;

/// A press of which nothing is heard for so long has ended, its end packets being lost. RFC 4733 section 2.5.1.2
/// has senders update every 50 ms or oftener; this bridges three lost updates.
const SILENCE_NS: u64 = 200_000_000;

/// A later segment of a long press may begin this far from the last duration that was received, ms: updates may
/// have been lost just before the seam.
const SEAM_MS: u32 = 100;

/// One press of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// `0` to `9`, `*`, `#`, `A` to `D`.
    pub digit: char,
    /// How long it had lasted when it was reported, ms: its whole length only if it was over by then.
    pub duration_ms: u32,
    /// Level of the tone, dBm0: 0 (loudest) to -63.
    pub level_dbm0: i8,
}

/// Collects the telephone events of one source into digits.
///
/// Give it every packet of the negotiated payload type with [`on_packet`](Self::on_packet), then take digits from
/// [`poll`](Self::poll) until there are none; poll once a tick, too, for presses whose end was lost.
#[derive(Clone)]
pub struct DtmfReceiver {
    clock_rate: u32,
    press: Option<Press>,
    /// At most two presses can become certain between two polls that follow the contract.
    ready: [Option<Digit>; 2],
    ignored: u32,
}

#[derive(Debug, Clone, Copy)]
struct Press {
    event: Event,
    /// Timestamp of the current segment.
    timestamp: u32,
    /// Timestamp units in segments before this one.
    before: u32,
    last_arrival_ns: u64,
    reported: bool,
    over: bool,
}

impl DtmfReceiver {
    /// A receiver for `telephone-event` with this RTP clock, Hz: 8000 in most sessions, 48000 beside Opus.
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            press: None,
            ready: [None; 2],
            ignored: 0,
        }
    }

    /// Takes one packet's payload and RTP timestamp. Only the first event of a payload is looked at: what follows
    /// it is, in practice, padding.
    pub fn on_packet(&mut self, payload: &[u8], timestamp: u32, arrival_ns: u64) {
        let Some(event) = Event::parse(payload).filter(|event| event.digit().is_some()) else {
            self.ignored = self.ignored.wrapping_add(1);
            return;
        };
        if let Some(press) = &mut self.press {
            let since = timestamp.wrapping_sub(press.timestamp);
            let seam = since.wrapping_sub(press.event.duration.into());
            let continues = !press.over && event.code == press.event.code;
            if since == 0 {
                // An update, a repeated end, or one of them late.
                press.last_arrival_ns = press.last_arrival_ns.max(arrival_ns);
                if continues && event.duration >= press.event.duration {
                    press.event = event;
                }
                press.over |= event.end && event.code == press.event.code;
            } else if continues && seam <= SEAM_MS * (self.clock_rate / 1000) && since <= 0xffff {
                press.before = press.before.saturating_add(since);
                press.timestamp = timestamp;
                press.event = event;
                press.over = event.end;
                press.last_arrival_ns = press.last_arrival_ns.max(arrival_ns);
            } else if since as i32 > 0 || is_stale(press, arrival_ns) {
                press.over = true;
                self.report();
                self.begin(event, timestamp, arrival_ns);
            }
            // Else: a late packet of a press before this one.
        } else {
            self.begin(event, timestamp, arrival_ns);
        }
        self.report();
    }

    /// The next digit that is certain by now, oldest first.
    pub fn poll(&mut self, now_ns: u64) -> Option<Digit> {
        if let Some(press) = &mut self.press
            && is_stale(press, now_ns)
        {
            press.over = true;
            self.report();
        }
        let digit = self.ready[0].take();
        self.ready.swap(0, 1);
        digit
    }

    /// Whether a key is held down now, as far as the packets tell. (The audio of this time may carry the tone, too.)
    pub fn is_pressed(&self, now_ns: u64) -> bool {
        self.press
            .as_ref()
            .is_some_and(|press| !press.over && !is_stale(press, now_ns))
    }

    /// Payloads that were no digit: too short, or other events.
    pub fn ignored(&self) -> u32 {
        self.ignored
    }

    /// Forgets the source's timestamps: another source, or the same restarted, comes next.
    pub fn reset(&mut self) {
        self.press = None;
    }

    fn begin(&mut self, event: Event, timestamp: u32, arrival_ns: u64) {
        self.press = Some(Press {
            event,
            timestamp,
            before: 0,
            last_arrival_ns: arrival_ns,
            reported: false,
            over: event.end,
        });
    }

    fn report(&mut self) {
        let Some(press) = &mut self.press else { return };
        let duration = u64::from(press.before) + u64::from(press.event.duration);
        let duration_ms = (duration * 1000 / u64::from(self.clock_rate)) as u32;
        if press.reported || !(press.over || duration_ms >= CERTAIN_MS) {
            return;
        }
        if let Some(digit) = press.event.digit()
            && let Some(slot) = self.ready.iter_mut().find(|slot| slot.is_none())
        {
            press.reported = true;
            *slot = Some(Digit {
                digit,
                duration_ms,
                level_dbm0: -(press.event.volume as i8),
            });
        }
    }
}

impl fmt::Debug for DtmfReceiver {
    /// Leaves out the digits: they may be somebody's PIN.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DtmfReceiver")
            .field("clock_rate", &self.clock_rate)
            .field("ignored", &self.ignored)
            .finish_non_exhaustive()
    }
}

fn is_stale(press: &Press, now_ns: u64) -> bool {
    now_ns.saturating_sub(press.last_arrival_ns) >= SILENCE_NS
}

/// One packet to be sent: give it to [`crate::outbound::Outbound::push_event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// The payload.
    pub payload: [u8; 4],
    /// RTP timestamp: the press's beginning, the same in all of its packets.
    pub timestamp: u32,
    /// Marker bit: set on the press's first packet.
    pub marker: bool,
}

/// Sends one press as telephone events: an update each time it is asked, then the end three times.
#[derive(Debug, Clone)]
pub struct DtmfSender {
    code: u8,
    volume: u8,
    timestamp: u32,
    /// Timestamp units sent of the current segment, still to be sent, and in one update.
    elapsed: u32,
    remaining: u32,
    step: u32,
    first: bool,
    ends: u8,
}

impl DtmfSender {
    /// A press of `digit` (`0` to `9`, `*`, `#`, `A` to `D`) for `duration_ms`, beginning at the RTP timestamp
    /// `timestamp` of a clock of `clock_rate` Hz, updated every `update_ms` (the ptime), at -10 dBm0.
    /// `None` if there is no such key.
    pub fn new(
        digit: char,
        duration_ms: u32,
        timestamp: u32,
        clock_rate: u32,
        update_ms: u32,
    ) -> Option<Self> {
        let code = DIGITS
            .iter()
            .position(|d| *d == digit.to_ascii_uppercase())?;
        let per_ms = clock_rate / 1000;
        Some(Self {
            code: code as u8,
            volume: 10,
            timestamp,
            elapsed: 0,
            remaining: duration_ms.saturating_mul(per_ms),
            // A segment holds 2^16 - 1 units; an update must fit one.
            step: update_ms.saturating_mul(per_ms).clamp(1, 0xffff),
            first: true,
            ends: 0,
        })
    }

    /// The packet for the next update interval; `None` when the press and its three end packets are through.
    pub fn next_packet(&mut self) -> Option<EventPacket> {
        if self.ends == 3 {
            return None;
        }
        if self.ends == 0 {
            let step = self.step.min(self.remaining);
            if self.elapsed + step > 0xffff {
                // RFC 4733 section 2.5.1.3: a longer press goes on in another segment, without a marker.
                self.timestamp = self.timestamp.wrapping_add(self.elapsed);
                self.elapsed = 0;
            }
            self.elapsed += step;
            self.remaining -= step;
        }
        let end = self.remaining == 0;
        self.ends += u8::from(end);
        let [high, low] = (self.elapsed as u16).to_be_bytes();
        let marker = std::mem::take(&mut self.first);
        Some(EventPacket {
            payload: [self.code, u8::from(end) << 7 | self.volume, high, low],
            timestamp: self.timestamp,
            marker,
        })
    }
}

/// RFC 4733 section 3.2, table 3: the keys in the order of their event codes.
const DIGITS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// The payload's fields, RFC 4733 section 2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    code: u8,
    end: bool,
    volume: u8,
    duration: u16,
}

impl Event {
    fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk::<4>()?;
        Some(Self {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    fn digit(self) -> Option<char> {
        DIGITS.get(usize::from(self.code)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    /// What a receiver makes of timed packets, polled every 20 ms until a second after the last.
    fn collect(packets: &[(u64, EventPacket)]) -> Vec<Digit> {
        let mut receiver = DtmfReceiver::new(8000);
        let mut digits = Vec::new();
        let end = packets.iter().map(|(at, _)| at + 1000).max().unwrap_or(0);
        for now_ms in (0..end).step_by(20) {
            for (_, packet) in packets
                .iter()
                .filter(|(at, _)| (now_ms..now_ms + 20).contains(at))
            {
                receiver.on_packet(&packet.payload, packet.timestamp, now_ms * MS);
                digits.extend(std::iter::from_fn(|| receiver.poll(now_ms * MS)));
            }
            digits.extend(std::iter::from_fn(|| receiver.poll(now_ms * MS)));
        }
        assert!(!receiver.is_pressed(end * MS));
        digits
    }

    /// A press beginning at `start_ms`, one packet every 20 ms.
    fn press(digit: char, start_ms: u64, duration_ms: u32) -> Vec<(u64, EventPacket)> {
        let mut sender =
            DtmfSender::new(digit, duration_ms, start_ms as u32 * 8, 8000, 20).unwrap();
        (0..)
            .map_while(|n| Some((start_ms + 20 * n, sender.next_packet()?)))
            .collect()
    }

    fn text(digits: &[Digit]) -> String {
        digits.iter().map(|digit| digit.digit).collect()
    }

    #[test]
    fn a_press_is_one_digit_however_many_packets_it_takes() {
        let packets = press('5', 0, 100);
        assert_eq!(packets.len(), 5 + 2);
        assert!(packets[0].1.marker && !packets[1].1.marker);
        assert!(
            packets[4..]
                .iter()
                .all(|(_, p)| p.payload == [5, 0x8a, 0x03, 0x20])
        );
        let digits = collect(&packets);
        assert_eq!(
            digits,
            [Digit {
                digit: '5',
                duration_ms: 40,
                level_dbm0: -10
            }]
        );
    }

    #[test]
    fn every_key_arrives() {
        let keys = "1234567890*#ABCD";
        let packets: Vec<_> = keys
            .chars()
            .zip(0..)
            .flat_map(|(key, n)| press(key, n * 200, 80))
            .collect();
        assert_eq!(text(&collect(&packets)), keys);
        assert!(DtmfSender::new('x', 80, 0, 8000, 20).is_none());
    }

    #[test]
    fn the_same_key_twice_is_two_digits() {
        let packets = [press('1', 0, 60), press('1', 140, 60)].concat();
        assert_eq!(text(&collect(&packets)), "11");
    }

    #[test]
    fn a_held_key_is_reported_before_it_is_let_go() {
        let mut receiver = DtmfReceiver::new(8000);
        let packets = press('#', 0, 10_000);
        receiver.on_packet(&packets[0].1.payload, 0, 0);
        assert_eq!(receiver.poll(0), None, "20 ms may be a click");
        receiver.on_packet(&packets[1].1.payload, 0, 20 * MS);
        assert_eq!(receiver.poll(20 * MS).map(|digit| digit.digit), Some('#'));
        assert!(receiver.is_pressed(20 * MS));
    }

    #[test]
    fn a_single_end_packet_suffices() {
        let packets = press('7', 0, 100);
        let digits = collect(&packets[6..]);
        assert_eq!(
            digits,
            [Digit {
                digit: '7',
                duration_ms: 100,
                level_dbm0: -10
            }]
        );
    }

    #[test]
    fn lost_ends_are_made_up_by_the_next_press_or_by_time() {
        let first_only = |key, at| press(key, at, 60)[..1].to_vec();
        let packets = [
            first_only('1', 0),
            first_only('2', 100),
            first_only('2', 500),
        ]
        .concat();
        assert_eq!(text(&collect(&packets)), "122");
    }

    #[test]
    fn a_press_longer_than_a_segment_is_one_digit() {
        let packets = press('9', 0, 30_000);
        let stamps: std::collections::BTreeSet<_> =
            packets.iter().map(|(_, p)| p.timestamp).collect();
        assert_eq!(stamps.len(), 4, "8.19 s fit one segment");
        assert_eq!(text(&collect(&packets)), "9");
        // The updates around the seams are lost.
        let holey: Vec<_> = packets
            .iter()
            .filter(|(at, _)| (60..8100).contains(&(at % 8180)))
            .copied()
            .collect();
        assert_eq!(text(&collect(&holey)), "9");
    }

    #[test]
    fn late_packets_of_an_earlier_press_change_nothing() {
        let (one, two) = (press('1', 0, 60), press('2', 100, 200));
        let mut packets = [one.clone(), two].concat();
        packets.extend(one.iter().map(|(at, packet)| (at + 130, *packet)));
        packets.sort_by_key(|(at, _)| *at);
        assert_eq!(text(&collect(&packets)), "12");
    }

    #[test]
    fn timestamps_that_step_back_after_silence_are_a_new_press() {
        let mut early = press('4', 0, 60);
        for (at, packet) in &mut early {
            *at += 1000;
            packet.timestamp = 5;
        }
        let packets = [press('3', 500, 60), early].concat();
        assert_eq!(text(&collect(&packets)), "34");
    }

    #[test]
    fn other_events_are_no_digits() {
        let mut receiver = DtmfReceiver::new(8000);
        receiver.on_packet(&[16, 0x80, 0x10, 0], 0, 0); // flash-hook
        receiver.on_packet(&[1, 0x80, 0x10], 0, 0);
        assert_eq!(receiver.poll(0), None);
        assert_eq!(receiver.ignored(), 2);
    }

    #[test]
    fn digits_do_not_reach_debug_output() {
        let mut receiver = DtmfReceiver::new(8000);
        receiver.on_packet(&[7, 0x80, 0x10, 0], 0, 0);
        assert!(!format!("{receiver:?}").contains('7'));
    }

    proptest! {
        #[test]
        fn presses_survive_loss_reordering_and_doubling(
            keys in "[0-9*#A-D]{1,12}",
            keep in prop::collection::vec(any::<bool>(), 7 * 12),
            delay in prop::collection::vec(0_u64..40, 7 * 12),
            double in any::<bool>(),
        ) {
            let mut packets = Vec::new();
            for (n, key) in keys.chars().enumerate() {
                let own = press(key, n as u64 * 300, 100);
                let fate = keep[n * 7..].iter().zip(&delay[n * 7..]);
                let mut survivors: Vec<_> = own
                    .iter()
                    .zip(fate)
                    .filter(|(_, (keep, _))| **keep)
                    .map(|((at, packet), (_, delay))| (at + delay, *packet))
                    .collect();
                if survivors.is_empty() {
                    survivors.push(own[0]);
                }
                packets.extend(survivors);
            }
            if double {
                packets.extend(packets.clone());
            }
            packets.sort_by_key(|(at, _)| *at);
            prop_assert_eq!(text(&collect(&packets)), keys);
        }

        #[test]
        fn any_bytes_at_any_time_are_survived(
            packets in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..8), any::<u32>(), any::<u64>()), 0..200),
            rate in prop::sample::select(vec![0_u32, 8000, 48_000, u32::MAX]),
        ) {
            let mut receiver = DtmfReceiver::new(rate);
            for (payload, timestamp, arrival) in packets {
                receiver.on_packet(&payload, timestamp, arrival);
                receiver.poll(arrival);
            }
        }
    }
}
