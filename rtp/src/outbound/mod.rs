//! What a leg sends: its SSRC, sequence numbers and timestamps, and the cutting of 20 ms payloads into packets.
//!
//! Guarantees: nothing allocates but [`PacketBuf::new`]; time and randomness are arguments; nothing panics.
//!
//! Each leg is a source of its own (RFC 3550 section 7.1: a mixer sends under its own SSRC and lists whom it mixed as
//! contributing sources). Its timestamps are a line on which every tick is 20 ms of the payload format's RTP clock,
//! exactly, whether something is sent in it or not: [`Outbound::push`] and [`Outbound::skip`] between them are called
//! for every tick.

mod collision;
mod packetiser;

pub use collision::{CollisionDetector, OwnSsrcSeen};
pub use packetiser::PacketRoom;
use std::mem::offset_of;

use packetiser::{Packetiser, UNIT_MS};

use crate::codec::Codec;
use crate::dtmf::EventPacket;
use crate::packet::{Header, MAX_HEADER};

/// Length of a tick and of the payloads that [`Outbound::push`] takes, ms.
pub const TICK_MS: u32 = 20;

/// Largest payload of a packet, bytes: with RTP, UDP and IPv6 headers it stays under an Ethernet frame's 1500 and
/// leaves room for SRTP and a tunnel.
pub const MAX_PACKET_PAYLOAD: usize = 1400;

/// The payload format that a leg sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The codec.
    pub codec: Codec,
    /// Its payload type in this session, 0 to 127.
    pub payload_type: u8,
    /// Audio in a packet as negotiated, ms: 10 to 60 in steps of 10; other values are rounded down to that.
    pub ptime_ms: u32,
}

/// Where a source begins: all three have to be unpredictable (RFC 3550 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Synchronisation source, unique in its session.
    pub ssrc: u32,
    /// First sequence number.
    pub sequence: u16,
    /// First timestamp.
    pub timestamp: u32,
}

impl Origin {
    /// An origin made of random bytes. The sequence starts in the lower half of its range, as RFC 3711 section 3.3.1
    /// advises: a wrap within the first packets would be ambiguous to a receiver of SRTP that misses them.
    pub fn from_random(random: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = random;
        Self {
            ssrc: u32::from_be_bytes([a, b, c, d]),
            sequence: u16::from_be_bytes([e & 0x7f, f]),
            timestamp: u32::from_be_bytes([g, h, i, j]),
        }
    }
}

/// What a sender report says of a source (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SentTotals {
    /// Packets sent under this SSRC, modulo 2^32.
    pub packets: u32,
    /// Payload bytes sent under this SSRC, modulo 2^32.
    pub octets: u32,
}

/// Room for one packet while it is put together; one serves all legs of a worker.
#[derive(Debug)]
pub struct PacketBuf {
    bytes: Box<[u8; MAX_HEADER + MAX_PACKET_PAYLOAD]>,
}

impl PacketBuf {
    /// Allocates the buffer.
    pub fn new() -> Self {
        Self {
            bytes: Box::new([0; MAX_HEADER + MAX_PACKET_PAYLOAD]),
        }
    }
}

impl Default for PacketBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// The sending half of one leg.
#[derive(Debug, Clone)]
#[repr(C)] // What every packet looks at comes first.
pub struct Outbound {
    source: Source,
    format: Format,
    /// Timestamp of the next sample to be pushed.
    timestamp: u32,
    /// Units of the RTP clock in a tick.
    tick_units: u32,
    packetiser: Packetiser,
}

impl Outbound {
    /// Octets at the front that every packet looks at: worth fetching into the cache ahead, where there are many.
    pub const FRONT: usize = offset_of!(Self, packetiser) + Packetiser::FRONT;

    /// A source that has sent nothing. Allocates the room that packets longer than 20 ms need.
    pub fn new(format: Format, origin: Origin) -> Self {
        Self {
            format,
            source: Source::new(origin),
            timestamp: origin.timestamp,
            tick_units: units_in(format, TICK_MS),
            packetiser: Packetiser::new(format, PacketRoom::new(format)),
        }
    }

    /// Takes the encoded audio of one tick (20 ms) and hands each packet that is thereby complete to `send`, as a
    /// whole datagram: two for a ptime of 10 ms, one every second or third tick for longer ones.
    ///
    /// `csrcs` names the talkers of this tick; the first 15 are told, and a packet of several ticks tells those of all.
    /// A payload that is not 20 ms long counts as a missed tick.
    ///
    /// Opus packets hold 20 ms here, whatever the ptime: for longer ones merge payloads and use
    /// [`push_packed`](Self::push_packed).
    pub fn push(
        &mut self,
        payload: &[u8],
        csrcs: &[u32],
        buf: &mut PacketBuf,
        mut send: impl FnMut(&[u8]),
    ) {
        if self.packetiser.passes(payload.len()) {
            let at = self.timestamp;
            self.timestamp = at.wrapping_add(self.tick_units);
            self.source
                .emit(self.format.payload_type, at, payload, csrcs, buf, &mut send);
            return;
        }
        let Some(unit) = self.packetiser.unit() else {
            return self.push_packed(payload, TICK_MS, csrcs, buf, send);
        };
        if payload.len() != unit * (TICK_MS / UNIT_MS) as usize {
            return self.skip(1);
        }
        let mut at = self.pending_timestamp();
        let step = self.units_of(self.packetiser.packet_ms());
        self.timestamp = self.timestamp.wrapping_add(self.units_of(TICK_MS));
        let (source, payload_type) = (&mut self.source, self.format.payload_type);
        self.packetiser.push(payload, csrcs, |cut, csrcs| {
            source.emit(payload_type, at, cut, csrcs, buf, &mut send);
            at = at.wrapping_add(step);
        });
    }

    /// Sends `payload`, which is one packet of `duration_ms` that ends with this tick, as it is: the seam for formats
    /// whose payloads are merged elsewhere (Opus with a ptime of 40 or 60 ms is pushed every second or third tick).
    /// The time line advances by the duration. A payload that is empty or longer than [`MAX_PACKET_PAYLOAD`] is not
    /// sent.
    pub fn push_packed(
        &mut self,
        payload: &[u8],
        duration_ms: u32,
        csrcs: &[u32],
        buf: &mut PacketBuf,
        mut send: impl FnMut(&[u8]),
    ) {
        let at = self.timestamp;
        self.timestamp = at.wrapping_add(self.units_of(duration_ms));
        if payload.is_empty() || payload.len() > MAX_PACKET_PAYLOAD {
            self.source.marker = true;
        } else {
            self.source
                .emit(self.format.payload_type, at, payload, csrcs, buf, &mut send);
        }
    }

    /// Sends what is left of a ptime longer than 20 ms as a shorter packet: call it before falling silent, or the end
    /// of the last word is lost.
    pub fn flush(&mut self, buf: &mut PacketBuf, mut send: impl FnMut(&[u8])) {
        let at = self.pending_timestamp();
        let (source, payload_type) = (&mut self.source, self.format.payload_type);
        self.packetiser.flush(|cut, csrcs| {
            source.emit(payload_type, at, cut, csrcs, buf, &mut send);
        });
    }

    /// Nothing is sent in `ticks` ticks, which were silent or were missed: the timestamps advance over them, what
    /// was not flushed is dropped, and the next packet has the marker.
    pub fn skip(&mut self, ticks: u32) {
        self.packetiser.clear();
        self.timestamp = self
            .timestamp
            .wrapping_add(self.units_of(TICK_MS).wrapping_mul(ticks));
        self.source.marker = true;
    }

    /// Sends one packet of a telephone event (RFC 4733), which has a payload type and a timestamp of its own. It takes
    /// the place of this tick's audio: [`skip`](Self::skip) the tick besides.
    pub fn push_event(
        &mut self,
        event: &EventPacket,
        payload_type: u8,
        buf: &mut PacketBuf,
        mut send: impl FnMut(&[u8]),
    ) {
        let header = self
            .source
            .header(payload_type, event.marker, event.timestamp);
        self.source
            .write(header, &event.payload, &[], buf, &mut send);
    }

    /// Goes on in another format (after a re-INVITE) on the same time line. With another clock rate take a new SSRC as
    /// well ([`restart`](Self::restart)): receivers cannot tell units of one clock from those of another (RFC 7160).
    ///
    /// `room` is [made](PacketRoom::new) for the new format, and is the old one's afterwards: nothing is allocated here. With too
    /// little room packets are of 20 ms.
    pub fn set_format(&mut self, format: Format, room: &mut PacketRoom) {
        let old = self.packetiser.take_room();
        self.format = format;
        self.tick_units = units_in(format, TICK_MS);
        self.packetiser = Packetiser::new(format, std::mem::replace(room, old));
        self.source.marker = true;
    }

    /// Becomes a new source (collision, new clock rate), and returns the SSRC that has to say BYE.
    pub fn restart(&mut self, origin: Origin) -> u32 {
        let old = self.source.ssrc;
        self.source = Source::new(origin);
        self.timestamp = origin.timestamp;
        self.packetiser.clear();
        old
    }

    /// The format sent.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Audio in each packet of [`push`](Self::push), ms: the negotiated ptime, or less where that would make packets
    /// larger than [`MAX_PACKET_PAYLOAD`] (L16 at 48 kHz: 10 ms).
    pub fn ptime_ms(&self) -> u32 {
        match self.packetiser.unit() {
            Some(_) => self.packetiser.packet_ms(),
            None => TICK_MS,
        }
    }

    /// Synchronisation source of this leg's packets.
    pub fn ssrc(&self) -> u32 {
        self.source.ssrc
    }

    /// Packets and bytes sent under this SSRC.
    pub fn totals(&self) -> SentTotals {
        self.source.totals
    }

    /// The RTP timestamp of the next sample to be pushed: where a telephone event pressed now begins.
    pub fn next_timestamp(&self) -> u32 {
        self.timestamp
    }

    /// The RTP timestamp of the moment `now_ns`, for sender reports, given the deadline of the tick that is pushed or
    /// skipped next.
    pub fn timestamp_at(&self, now_ns: u64, next_tick_ns: u64) -> u32 {
        let rate = u128::from(self.format.codec.clock_rate());
        let units = |ns: u64| (u128::from(ns) * rate / 1_000_000_000) as u32;
        match now_ns.checked_sub(next_tick_ns) {
            Some(past) => self.timestamp.wrapping_add(units(past)),
            None => self.timestamp.wrapping_sub(units(next_tick_ns - now_ns)),
        }
    }

    /// The RTP timestamp of the first sample that was pushed and not yet sent.
    fn pending_timestamp(&self) -> u32 {
        self.timestamp
            .wrapping_sub(self.units_of(self.packetiser.pending_ms()))
    }

    /// Milliseconds in units of the RTP clock, exact for the rates and durations there are.
    fn units_of(&self, ms: u32) -> u32 {
        units_in(self.format, ms)
    }
}

fn units_in(format: Format, ms: u32) -> u32 {
    (u64::from(format.codec.clock_rate()) * u64::from(ms) / 1000) as u32
}

/// What the packets of all payload types have in common.
#[derive(Debug, Clone)]
struct Source {
    ssrc: u32,
    /// Sequence number of the next packet.
    sequence: u16,
    /// The next audio packet begins a talk-spurt.
    marker: bool,
    totals: SentTotals,
}

impl Source {
    fn new(origin: Origin) -> Self {
        Self {
            ssrc: origin.ssrc,
            sequence: origin.sequence,
            marker: true,
            totals: SentTotals::default(),
        }
    }

    fn header(&self, payload_type: u8, marker: bool, timestamp: u32) -> Header {
        Header {
            payload_type,
            marker,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
        }
    }

    /// Sends an audio packet.
    fn emit(
        &mut self,
        payload_type: u8,
        timestamp: u32,
        payload: &[u8],
        csrcs: &[u32],
        buf: &mut PacketBuf,
        send: &mut impl FnMut(&[u8]),
    ) {
        let header = self.header(payload_type, self.marker, timestamp);
        self.marker = false;
        self.write(header, payload, csrcs, buf, send);
    }

    fn write(
        &mut self,
        header: Header,
        payload: &[u8],
        csrcs: &[u32],
        buf: &mut PacketBuf,
        send: &mut impl FnMut(&[u8]),
    ) {
        let start = header.write(&mut buf.bytes[..], csrcs);
        let end = start + payload.len();
        let Some(room) = buf.bytes.get_mut(start..end) else {
            return;
        };
        room.copy_from_slice(payload);
        send(&buf.bytes[..end]);
        self.sequence = self.sequence.wrapping_add(1);
        self.totals.packets = self.totals.packets.wrapping_add(1);
        self.totals.octets = self.totals.octets.wrapping_add(payload.len() as u32);
    }
}
