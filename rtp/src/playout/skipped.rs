//! The last packet that was not decoded: decoders that predict are warmed up with it when they are needed again.

use crate::codec::{Codec, Decoder};

/// Longest packet that is kept: 100 kbit/s. After a longer one decoding goes on without it.
const LONGEST: usize = 256;

/// What was not decoded of late: by the sizes of packets it can be guessed whether what they carry has changed. Only formats
/// whose packets depend on one another are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spared {
    /// Packets that were not decoded.
    pub packets: u32,
    /// Their octets together.
    pub octets: u32,
    /// Octets of the smallest.
    pub least: u16,
    /// Octets of the largest.
    pub most: u16,
    /// Some were decoded besides.
    pub interrupted: bool,
}

/// What a decoder was spared.
#[derive(Debug)]
pub(super) struct Skipped {
    /// Empty for formats whose packets do not depend on one another.
    last: Box<[u8]>,
    length: usize,
    /// The decoder does not know of the last packets.
    behind: bool,
    spared: Spared,
}

impl Skipped {
    pub(super) fn new(codec: Codec) -> Self {
        let length = if predicts(codec) { LONGEST } else { 0 };
        Self {
            last: vec![0; length].into(),
            length: 0,
            behind: false,
            spared: Spared::default(),
        }
    }

    pub(super) fn heap(&self) -> usize {
        self.last.len()
    }

    /// Whether it has the memory for this format.
    pub(super) fn serves(&self, codec: Codec) -> bool {
        !predicts(codec) || !self.last.is_empty()
    }

    /// A packet passes that is not decoded, or a part of one.
    pub(super) fn keep(&mut self, payload: &[u8]) {
        if self.last.is_empty() {
            return;
        }
        self.behind = true;
        self.count(payload.len());
        self.length = 0;
        if let Some(room) = self.last.get_mut(..payload.len()) {
            room.copy_from_slice(payload);
            self.length = payload.len();
        }
    }

    /// Whether the decoder's past is not the stream's.
    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Shows the decoder the last packet that it was spared, before one that is heard. What it makes of it, in `scratch`, is of
    /// no use.
    pub(super) fn catch_up(&mut self, decoder: &mut Decoder, scratch: &mut [i16]) {
        self.spared.interrupted = true;
        if std::mem::take(&mut self.behind) && self.length > 0 {
            // One that is malformed or too long for the room leaves the decoder as it was.
            let _ = decoder.decode(&self.last[..self.length], scratch);
        }
    }

    /// A new stream begins.
    pub(super) fn forget(&mut self) {
        self.behind = false;
    }

    /// What was spared since this was asked last.
    pub(super) fn take_spared(&mut self) -> Spared {
        std::mem::take(&mut self.spared)
    }

    fn count(&mut self, octets: usize) {
        let size = u16::try_from(octets).unwrap_or(u16::MAX);
        let spared = &mut self.spared;
        spared.least = if spared.packets == 0 {
            size
        } else {
            spared.least.min(size)
        };
        spared.most = spared.most.max(size);
        spared.packets = spared.packets.saturating_add(1);
        spared.octets = spared.octets.saturating_add(size.into());
    }
}

/// Whether a format's decoder remembers packets before.
fn predicts(codec: Codec) -> bool {
    matches!(codec, Codec::G722 | Codec::Opus)
}
