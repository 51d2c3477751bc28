//! RTP packets on the wire (RFC 3550 section 5.1): borrowed from a datagram when read, header bytes when written.
//!
//! Guarantees: no function here allocates, and none panics, whatever the bytes.

use rtp_rs::{RtpPacketBuilder, RtpReader, RtpReaderError, Seq};

/// Most contributing sources that a header can name (RFC 3550 section 5.1: the count has four bits).
pub const MAX_CSRCS: usize = 15;

/// Longest header that [`Header::write`] produces, bytes.
pub const MAX_HEADER: usize = 12 + 4 * MAX_CSRCS;

/// What a datagram that arrived on a media port carries, judged by its first two bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// RTP: give it to [`RtpPacket::parse`].
    Rtp,
    /// RTCP: give it to [`crate::rtcp::parse`].
    Rtcp,
    /// Neither: STUN, DTLS (RFC 7983), a keep-alive or noise.
    Other,
}

impl Kind {
    /// Tells RTP from RTCP on one port, RFC 5761 section 4: RTCP's packet types 192 to 223 are where a marked RTP
    /// payload type of 64 to 95 would be, which is why those payload types are not used with multiplexing.
    pub fn of(datagram: &[u8]) -> Self {
        match datagram {
            [first, second, ..] if first >> 6 == 2 => match second {
                192..=223 => Self::Rtcp,
                _ => Self::Rtp,
            },
            _ => Self::Other,
        }
    }
}

/// One RTP packet, borrowing from its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// Synchronisation source: who sent it.
    pub ssrc: u32,
    /// Sequence number, modulo 2^16.
    pub sequence: u16,
    /// Sampling instant of the payload's first sample in the payload format's clock, modulo 2^32.
    pub timestamp: u32,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Marker: for audio the first packet after silence (RFC 3551 section 4.1).
    pub marker: bool,
    /// The payload without padding.
    pub payload: &'a [u8],
    /// Header extension: its profile-defined identifier and data (for one, RFC 8285's elements).
    pub extension: Option<(u16, &'a [u8])>,
    /// Contributing sources, four bytes each.
    csrcs: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Reads a datagram that [`Kind::of`] called RTP. Errors mean: count it and drop it.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        let reader = RtpReader::new(datagram)?;
        let csrcs_end = RtpReader::MIN_HEADER_LEN + 4 * usize::from(reader.csrc_count());
        Ok(Self {
            ssrc: reader.ssrc(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            payload_type: reader.payload_type(),
            marker: reader.mark(),
            payload: reader.payload(),
            extension: reader.extension(),
            csrcs: datagram
                .get(RtpReader::MIN_HEADER_LEN..csrcs_end)
                .unwrap_or(&[]),
        })
    }

    /// Contributing sources: whom a mixer mixed into this packet.
    pub fn csrcs(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        let (words, _) = self.csrcs.as_chunks::<4>();
        words.iter().map(|word| u32::from_be_bytes(*word))
    }
}

/// The fields of an RTP header to be written; the list of contributing sources is an argument, as many packets
/// of a tick share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 0 to 127; the highest bit is ignored.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// Writes the header and returns its length: 12 bytes and 4 for each of the first [`MAX_CSRCS`] sources.
    /// Returns 0, and leaves `out` as it was, when that does not fit.
    ///
    /// ```
    /// use unisono_rtp::packet::{Header, RtpPacket};
    ///
    /// let header = Header { payload_type: 0, marker: true, sequence: 7, timestamp: 160, ssrc: 0xfeed };
    /// let mut datagram = [0xff; 16 + 160];
    /// let length = header.write(&mut datagram, &[42]);
    /// assert_eq!(length, 16);
    /// let packet = RtpPacket::parse(&datagram)?;
    /// assert_eq!(packet.csrcs().collect::<Vec<_>>(), [42]);
    /// assert_eq!(packet.payload.len(), 160);
    /// # Ok::<(), unisono_rtp::packet::PacketError>(())
    /// ```
    pub fn write(&self, out: &mut [u8], csrcs: &[u32]) -> usize {
        // The builder would panic on a sixteenth source, hence the cut.
        let csrcs = &csrcs[..csrcs.len().min(MAX_CSRCS)];
        RtpPacketBuilder::new()
            .payload_type(self.payload_type & 0x7f)
            .marked(self.marker)
            .sequence(Seq::from(self.sequence))
            .timestamp(self.timestamp)
            .ssrc(self.ssrc)
            .set_csrc(csrcs)
            .build_into(out)
            .unwrap_or(0)
    }
}

/// A datagram that is not RTP version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Shorter than the fixed header or than the header says it is.
    #[error("truncated RTP header")]
    Truncated,
    /// Another version of RTP, or something else altogether.
    #[error("not RTP version 2")]
    Version,
    /// The padding's length is zero or more than there is.
    #[error("impossible RTP padding")]
    Padding,
}

impl From<RtpReaderError> for PacketError {
    fn from(error: RtpReaderError) -> Self {
        match error {
            RtpReaderError::BufferTooShort(_) | RtpReaderError::HeadersTruncated { .. } => {
                Self::Truncated
            }
            RtpReaderError::UnsupportedVersion(_) => Self::Version,
            RtpReaderError::PaddingLengthInvalid(_) => Self::Padding,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rtcp_is_told_from_rtp_on_one_port() {
        assert_eq!(Kind::of(&[0x80, 0]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 0x80 | 101]), Kind::Rtp);
        for sr_to_xr in 200..=207 {
            assert_eq!(Kind::of(&[0x81, sr_to_xr]), Kind::Rtcp);
        }
        assert_eq!(Kind::of(&[0x80, 191]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 224]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x00, 0x01]), Kind::Other, "STUN binding request");
        assert_eq!(Kind::of(&[22, 254]), Kind::Other, "DTLS handshake");
        assert_eq!(Kind::of(&[0x80]), Kind::Other);
        assert_eq!(Kind::of(&[]), Kind::Other);
    }

    #[test]
    fn reads_extension_and_leaves_out_padding() {
        let datagram = [
            0xb1, 0x80, 0, 9, 0, 0, 0, 8, 0, 0, 0,
            7, // fixed header: padding, extension, one source
            0, 0, 0, 6, // source
            0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0, // one-byte extension elements
            1, 2, 3, 0, 0, 3, // three bytes of payload, three of padding
        ];
        let packet = RtpPacket::parse(&datagram).unwrap();
        assert!(packet.marker);
        assert_eq!((packet.sequence, packet.timestamp, packet.ssrc), (9, 8, 7));
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [6]);
        assert_eq!(packet.extension, Some((0xbede, &[0x10, 0xaa, 0, 0][..])));
        assert_eq!(packet.payload, [1, 2, 3]);
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(RtpPacket::parse(&[0x80; 11]), Err(PacketError::Truncated));
        assert_eq!(RtpPacket::parse(&[0x40; 12]), Err(PacketError::Version));
        assert_eq!(RtpPacket::parse(&[0x8f; 40]), Err(PacketError::Truncated));
        let mut padded = [0; 12 + 2];
        padded[0] = 0xa0;
        assert_eq!(RtpPacket::parse(&padded), Err(PacketError::Padding));
    }

    #[test]
    fn a_header_that_does_not_fit_is_not_begun() {
        let header = Header {
            payload_type: 0,
            marker: false,
            sequence: 0,
            timestamp: 0,
            ssrc: 0,
        };
        let mut out = [0xaa; 15];
        assert_eq!(header.write(&mut out, &[1]), 0);
        assert_eq!(out, [0xaa; 15]);
        assert_eq!(header.write(&mut out, &[]), 12);
    }

    #[test]
    fn sources_beyond_fifteen_are_left_out() {
        let header = Header {
            payload_type: 0xff,
            marker: false,
            sequence: 0,
            timestamp: 0,
            ssrc: 0,
        };
        let mut out = [0; 200];
        assert_eq!(header.write(&mut out, &[5; 20]), MAX_HEADER);
        let packet = RtpPacket::parse(&out).unwrap();
        assert_eq!(packet.csrcs().len(), MAX_CSRCS);
        assert!(
            !packet.marker,
            "a payload type's eighth bit must not reach the marker"
        );
    }
}
