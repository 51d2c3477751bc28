//! Cuts the byte stream of a sample-based format into packets of the agreed duration.

use std::mem::offset_of;

use super::{Format, MAX_PACKET_PAYLOAD, TICK_MS};
use crate::codec::Codec;
use crate::packet::MAX_CSRCS;

/// Duration of the unit in which packets are measured, ms: the shortest packet.
pub(super) const UNIT_MS: u32 = 10;

/// Units in the audio of a tick.
const UNITS_IN_TICK: usize = (TICK_MS / UNIT_MS) as usize;

/// Memory for what does not fill a packet yet, as a format needs it: none where every 20 ms are packets as they are.
#[derive(Debug, Clone, Default)]
pub struct PacketRoom {
    bytes: Box<[u8]>,
}

impl PacketRoom {
    /// Allocates what packets of this format need.
    pub fn new(format: Format) -> Self {
        let (unit, packet) = sizes(format);
        let bytes = if waits(unit, packet) { packet } else { 0 };
        Self {
            bytes: vec![0; bytes].into(),
        }
    }

    /// Octets held.
    pub fn memory(&self) -> usize {
        self.bytes.len()
    }
}

/// Holds what does not fill a packet yet.
#[derive(Debug, Clone)]
#[repr(C)] // What every packet looks at comes first.
pub(super) struct Packetiser {
    /// Bytes in a unit; 0 for formats that cannot be cut.
    unit: usize,
    /// Bytes in a packet.
    packet: usize,
    pending_len: usize,
    csrc_count: usize,
    /// Talkers of the ticks that are pending.
    csrcs: [u32; MAX_CSRCS],
    pending: PacketRoom,
}

impl Packetiser {
    /// Octets at the front that every packet looks at.
    pub(super) const FRONT: usize = offset_of!(Self, csrcs);

    /// Packets are of 20 ms where the room is too small for longer ones: it was made for another format.
    pub(super) fn new(format: Format, pending: PacketRoom) -> Self {
        let (unit, packet) = sizes(format);
        let packet = if waits(unit, packet) && pending.bytes.len() < packet {
            unit * UNITS_IN_TICK
        } else {
            packet
        };
        Self {
            unit,
            packet,
            pending,
            pending_len: 0,
            csrcs: [0; MAX_CSRCS],
            csrc_count: 0,
        }
    }

    /// Appends one tick's payload and gives each complete packet, with its talkers, to `emit`.
    pub(super) fn push(
        &mut self,
        payload: &[u8],
        csrcs: &[u32],
        mut emit: impl FnMut(&[u8], &[u32]),
    ) {
        if self.pending_len == 0 && payload.len().is_multiple_of(self.packet.max(1)) {
            for packet in payload.chunks_exact(self.packet.max(1)) {
                emit(packet, csrcs);
            }
            return;
        }
        let mut rest = payload;
        while !rest.is_empty() {
            let room = self.packet.saturating_sub(self.pending_len);
            let (taken, left) = rest.split_at(rest.len().min(room));
            self.pending.bytes[self.pending_len..][..taken.len()].copy_from_slice(taken);
            self.pending_len += taken.len();
            self.merge(csrcs);
            rest = left;
            if self.pending_len == self.packet {
                self.flush(&mut emit);
            }
        }
    }

    /// Whether a tick's payload of this length is one packet as it is: the usual case of a ptime of 20 ms.
    #[inline]
    pub(super) fn passes(&self, length: usize) -> bool {
        self.pending_len == 0
            && length == self.packet
            && self.packet == self.unit * UNITS_IN_TICK
            && self.unit > 0
    }

    /// Gives what is pending to `emit`.
    pub(super) fn flush(&mut self, mut emit: impl FnMut(&[u8], &[u32])) {
        if self.pending_len > 0 {
            emit(
                &self.pending.bytes[..self.pending_len],
                &self.csrcs[..self.csrc_count],
            );
        }
        self.clear();
    }

    /// Gives its memory back, and is of no more use.
    pub(super) fn take_room(&mut self) -> PacketRoom {
        self.clear();
        std::mem::take(&mut self.pending)
    }

    /// Forgets what is pending.
    pub(super) fn clear(&mut self) {
        self.pending_len = 0;
        self.csrc_count = 0;
    }

    /// Bytes in 10 ms; `None` for a format whose payloads cannot be cut.
    pub(super) fn unit(&self) -> Option<usize> {
        Some(self.unit).filter(|unit| *unit > 0)
    }

    /// Audio in a packet, ms.
    pub(super) fn packet_ms(&self) -> u32 {
        self.packet.checked_div(self.unit).unwrap_or(0) as u32 * UNIT_MS
    }

    /// Audio that is pending, ms.
    pub(super) fn pending_ms(&self) -> u32 {
        self.pending_len.checked_div(self.unit).unwrap_or(0) as u32 * UNIT_MS
    }

    fn merge(&mut self, csrcs: &[u32]) {
        for csrc in csrcs {
            let known = self.csrcs[..self.csrc_count].contains(csrc);
            if !known && let Some(slot) = self.csrcs.get_mut(self.csrc_count) {
                *slot = *csrc;
                self.csrc_count += 1;
            }
        }
    }
}

/// Bytes in a unit, 0 for formats that cannot be cut, and in a packet.
fn sizes(format: Format) -> (usize, usize) {
    let unit = match format.codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => 80,
        Codec::L16 { rate } => (rate / 100 * 2) as usize,
        Codec::Opus => 0,
    };
    let wanted = (format.ptime_ms / UNIT_MS).clamp(1, 6) as usize;
    let fitting = MAX_PACKET_PAYLOAD.checked_div(unit).unwrap_or(0);
    let unit = if fitting == 0 { 0 } else { unit };
    (unit, unit * wanted.min(fitting))
}

/// Whether the audio of a tick has to wait until a packet is full.
fn waits(unit: usize, packet: usize) -> bool {
    packet > 0 && !(unit * UNITS_IN_TICK).is_multiple_of(packet)
}
