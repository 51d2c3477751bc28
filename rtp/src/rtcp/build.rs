//! Writing compound packets into a caller's buffer.

use super::packet_type::{GOODBYE, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION};
use super::{ReportBlock, SenderInfo};

/// Longest text of an SDES item or a BYE reason, bytes.
const MAX_TEXT: usize = 255;

/// A canonical name: one per server and call, the same for all SSRCs of a leg.
///
/// RFC 7022 section 5 wants it unlinkable to a person or an address: 96 random bits in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cname {
    text: [u8; 16],
}

impl Cname {
    /// A name made of random bytes.
    pub fn from_random(random: [u8; 12]) -> Self {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = [0; 16];
        let (triples, _) = random.as_chunks::<3>();
        let (quads, _) = text.as_chunks_mut::<4>();
        for ([a, b, c], quad) in triples.iter().zip(quads) {
            let bits = u32::from_be_bytes([0, *a, *b, *c]);
            *quad = [18, 12, 6, 0].map(|shift| ALPHABET[(bits >> shift & 63) as usize]);
        }
        Self { text }
    }

    /// The name as it is sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}

/// Writes the packets of a compound one after the other.
///
/// A packet that does not fit leaves the compound unusable, and [`finish`](Self::finish) says so; so the steps in
/// between need no checks. A valid compound is a report, then a description, then whatever else.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
    overflowed: bool,
}

impl<'a> Writer<'a> {
    /// Writes to the beginning of `out`; 256 bytes hold any compound of this crate.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self {
            out,
            length: 0,
            overflowed: false,
        }
    }

    /// SR of a source that has sent; at most 31 blocks.
    pub fn sender_report(&mut self, ssrc: u32, info: &SenderInfo, blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(31)];
        self.packet(SENDER_REPORT, blocks.len(), |writer| {
            writer.word(ssrc);
            writer.word((info.ntp.0 >> 32) as u32);
            writer.word(info.ntp.0 as u32);
            writer.word(info.rtp_timestamp);
            writer.word(info.packets);
            writer.word(info.octets);
            blocks.iter().for_each(|block| writer.block(block));
        });
    }

    /// RR of a source that has not sent; at most 31 blocks.
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) {
        let blocks = &blocks[..blocks.len().min(31)];
        self.packet(RECEIVER_REPORT, blocks.len(), |writer| {
            writer.word(ssrc);
            blocks.iter().for_each(|block| writer.block(block));
        });
    }

    /// SDES with a canonical name and, unless empty, the application's name and version. Texts are cut at 255 bytes.
    pub fn source_description(&mut self, ssrc: u32, cname: &[u8], tool: &str) {
        self.packet(SOURCE_DESCRIPTION, 1, |writer| {
            writer.word(ssrc);
            writer.bytes(&[1]);
            writer.text(cname);
            if !tool.is_empty() {
                writer.bytes(&[6]);
                writer.text(tool.as_bytes());
            }
            // One null ends the chunk; filling up to a word follows for every packet.
            writer.bytes(&[0]);
        });
    }

    /// BYE of up to 31 sources, with a reason unless it is empty.
    pub fn goodbye(&mut self, ssrcs: &[u32], reason: &str) {
        let ssrcs = &ssrcs[..ssrcs.len().min(31)];
        self.packet(GOODBYE, ssrcs.len(), |writer| {
            ssrcs.iter().for_each(|ssrc| writer.word(*ssrc));
            if !reason.is_empty() {
                writer.text(reason.as_bytes());
            }
        });
    }

    /// Length of the compound; `None` if it did not fit.
    pub fn finish(self) -> Option<usize> {
        (!self.overflowed).then_some(self.length)
    }

    /// Writes a common header, the body, and nulls up to a whole word.
    fn packet(&mut self, packet_type: u8, count: usize, body: impl FnOnce(&mut Self)) {
        let start = self.length;
        self.bytes(&[0x80 | count as u8, packet_type, 0, 0]);
        body(self);
        let missing = (self.length - start).next_multiple_of(4) - (self.length - start);
        self.bytes(&[0; 3][..missing]);
        let words = ((self.length - start) / 4).saturating_sub(1) as u16;
        if let Some(length) = self.out.get_mut(start + 2..start + 4) {
            length.copy_from_slice(&words.to_be_bytes());
        }
    }

    fn block(&mut self, block: &ReportBlock) {
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        self.word(block.ssrc);
        self.word(u32::from(block.fraction_lost) << 24 | lost);
        self.word(block.extended_highest);
        self.word(block.jitter);
        self.word(block.last_sender_report);
        self.word(block.delay_since_last);
    }

    fn text(&mut self, text: &[u8]) {
        let text = &text[..text.len().min(MAX_TEXT)];
        self.bytes(&[text.len() as u8]);
        self.bytes(text);
    }

    fn word(&mut self, word: u32) {
        self.bytes(&word.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match self.out.get_mut(self.length..self.length + bytes.len()) {
            Some(room) if !self.overflowed => {
                room.copy_from_slice(bytes);
                self.length += bytes.len();
            }
            _ => self.overflowed = true,
        }
    }
}
