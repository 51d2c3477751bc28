//! Reading compound packets. Validity is judged once, for the whole datagram; afterwards iterating cannot fail.

use super::packet_type::{GOODBYE, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION};
use super::{NtpTime, ReportBlock, SenderInfo};

const HEADER: usize = 4;
const SSRC: usize = 4;
const SENDER_INFO: usize = 20;
const REPORT_BLOCK: usize = 24;

/// Reads a datagram that [`crate::packet::Kind::of`] called RTCP, or that came to an RTCP port.
///
/// Tolerant where senders are known to differ: a compound need not begin with a report (RFC 5506), and packets of
/// unknown type (APP, feedback, XR) are yielded as [`Packet::Other`]. An error concerns the datagram as a whole:
/// count it and drop it.
pub fn parse(datagram: &[u8]) -> Result<Packets<'_>, RtcpError> {
    let mut rest = datagram;
    if rest.is_empty() {
        return Err(RtcpError::Truncated);
    }
    while !rest.is_empty() {
        let (packet, after) = split(rest)?;
        packet.check()?;
        if packet.padding > 0 && !after.is_empty() {
            return Err(RtcpError::Padding);
        }
        rest = after;
    }
    Ok(Packets { rest: datagram })
}

/// The packets of one valid datagram, in order.
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

/// One packet of a compound.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Packet<'a> {
    /// SR: a source that sends.
    SenderReport {
        /// Who reports.
        ssrc: u32,
        /// What it sent.
        info: SenderInfo,
        /// What it received.
        blocks: ReportBlocks<'a>,
    },
    /// RR: a source that only receives.
    ReceiverReport {
        /// Who reports.
        ssrc: u32,
        /// What it received.
        blocks: ReportBlocks<'a>,
    },
    /// SDES: names.
    SourceDescription(SourceDescription<'a>),
    /// BYE: sources that leave.
    Goodbye(Goodbye<'a>),
    /// A packet of another type, which is of no use here.
    Other {
        /// Its packet type.
        packet_type: u8,
    },
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let (packet, rest) = split(self.rest).ok()?;
        self.rest = rest;
        Some(packet.read())
    }
}

/// Report blocks of an SR or RR, at most 31.
#[derive(Debug, Clone)]
pub struct ReportBlocks<'a> {
    blocks: &'a [[u8; REPORT_BLOCK]],
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.blocks.split_first()?;
        self.blocks = rest;
        let loss = word(block, 4);
        Some(ReportBlock {
            ssrc: word(block, 0),
            fraction_lost: (loss >> 24) as u8,
            // Sign extension of 24 bits.
            cumulative_lost: (loss << 8) as i32 >> 8,
            extended_highest: word(block, 8),
            jitter: word(block, 12),
            last_sender_report: word(block, 16),
            delay_since_last: word(block, 20),
        })
    }
}

/// The first chunk of an SDES packet: an end system names only itself.
#[derive(Debug, Clone, Copy)]
pub struct SourceDescription<'a> {
    /// The source described; `None` if the packet has no chunk.
    pub ssrc: Option<u32>,
    items: &'a [u8],
}

impl<'a> SourceDescription<'a> {
    /// The canonical name (item 1), by which a source is known over changes of its SSRC. UTF-8 by the standard, but
    /// that is not checked.
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.item(1)
    }

    /// Name and version of the sending application (item 6).
    pub fn tool(&self) -> Option<&'a [u8]> {
        self.item(6)
    }

    fn item(&self, wanted: u8) -> Option<&'a [u8]> {
        let mut rest = self.items;
        // A chunk ends with an item of type 0. One that runs out of bytes ends there as well.
        while let [item, length, text @ ..] = rest
            && *item != 0
        {
            let (text, after) = text.split_at_checked(usize::from(*length))?;
            if *item == wanted {
                return Some(text);
            }
            rest = after;
        }
        None
    }
}

/// A BYE packet.
#[derive(Debug, Clone, Copy)]
pub struct Goodbye<'a> {
    ssrcs: &'a [[u8; SSRC]],
    /// Reason for leaving; empty if none is given.
    pub reason: &'a [u8],
}

impl<'a> Goodbye<'a> {
    /// The sources that leave.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.ssrcs.iter().map(|ssrc| u32::from_be_bytes(*ssrc))
    }
}

/// A datagram that is not RTCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// A packet is longer than its datagram, or shorter than its contents.
    #[error("truncated RTCP packet")]
    Truncated,
    /// Another version of RTP, or something else altogether.
    #[error("not RTCP version 2")]
    Version,
    /// Padding of an impossible length, or not in the last packet.
    #[error("impossible RTCP padding")]
    Padding,
}

/// One packet, taken apart as far as all types share it.
struct Raw<'a> {
    packet_type: u8,
    count: usize,
    /// What follows the common header, without padding.
    body: &'a [u8],
    padding: usize,
}

fn split(bytes: &[u8]) -> Result<(Raw<'_>, &[u8]), RtcpError> {
    let [flags, packet_type, high, low, ..] = *bytes else {
        return Err(RtcpError::Truncated);
    };
    if flags >> 6 != 2 {
        return Err(RtcpError::Version);
    }
    let length = HEADER + 4 * usize::from(u16::from_be_bytes([high, low]));
    let (packet, rest) = bytes.split_at_checked(length).ok_or(RtcpError::Truncated)?;
    let mut body = &packet[HEADER..];
    let mut padding = 0;
    if flags & 0x20 != 0 {
        padding = body.last().copied().map_or(0, usize::from);
        if padding == 0 || padding > body.len() {
            return Err(RtcpError::Padding);
        }
        body = &body[..body.len() - padding];
    }
    Ok((
        Raw {
            packet_type,
            count: usize::from(flags & 0x1f),
            body,
            padding,
        },
        rest,
    ))
}

impl<'a> Raw<'a> {
    /// Whether the body holds what its type and count announce.
    fn check(&self) -> Result<(), RtcpError> {
        let needed = match self.packet_type {
            SENDER_REPORT => SSRC + SENDER_INFO + self.count * REPORT_BLOCK,
            RECEIVER_REPORT => SSRC + self.count * REPORT_BLOCK,
            // A chunk is a source and at least the null item, padded to four bytes.
            SOURCE_DESCRIPTION => self.count * 8,
            GOODBYE => self.count * SSRC,
            _ => 0,
        };
        match self.body.len() >= needed {
            true => Ok(()),
            false => Err(RtcpError::Truncated),
        }
    }

    /// Reads the body, which was checked.
    fn read(&self) -> Packet<'a> {
        match self.packet_type {
            SENDER_REPORT => Packet::SenderReport {
                ssrc: word(self.body, 0),
                info: SenderInfo {
                    ntp: NtpTime(
                        u64::from(word(self.body, 4)) << 32 | u64::from(word(self.body, 8)),
                    ),
                    rtp_timestamp: word(self.body, 12),
                    packets: word(self.body, 16),
                    octets: word(self.body, 20),
                },
                blocks: self.blocks(SSRC + SENDER_INFO),
            },
            RECEIVER_REPORT => Packet::ReceiverReport {
                ssrc: word(self.body, 0),
                blocks: self.blocks(SSRC),
            },
            SOURCE_DESCRIPTION => Packet::SourceDescription(match self.count {
                0 => SourceDescription {
                    ssrc: None,
                    items: &[],
                },
                _ => SourceDescription {
                    ssrc: Some(word(self.body, 0)),
                    items: self.body.get(SSRC..).unwrap_or(&[]),
                },
            }),
            GOODBYE => {
                let (words, rest) = self.body.as_chunks::<SSRC>();
                let (ssrcs, after) = words.split_at(self.count.min(words.len()));
                let reason = match after.as_flattened().iter().chain(rest).next() {
                    Some(length) => {
                        let start = self.count * SSRC + 1;
                        self.body
                            .get(start..start + usize::from(*length))
                            .unwrap_or(&[])
                    }
                    None => &[],
                };
                Packet::Goodbye(Goodbye { ssrcs, reason })
            }
            packet_type => Packet::Other { packet_type },
        }
    }

    fn blocks(&self, start: usize) -> ReportBlocks<'a> {
        let (blocks, _) = self
            .body
            .get(start..)
            .unwrap_or(&[])
            .as_chunks::<REPORT_BLOCK>();
        // What follows the announced blocks is a profile's extension.
        ReportBlocks {
            blocks: &blocks[..self.count.min(blocks.len())],
        }
    }
}

/// The big-endian word at a byte offset; 0 beyond the end, which the checks have ruled out.
fn word(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map_or(0, |word| u32::from_be_bytes(*word))
}
