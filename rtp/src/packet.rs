//! RTP packets on the wire (RFC 3550 section 5.1): borrowed from a datagram when read, header bytes when written.
//!
//! Guarantees: no function here allocates, and none panics, whatever the bytes.

use rtp_rs::{RtpReader, RtpReaderError};

/// Most contributing sources that a header can name (RFC 3550 section 5.1: the count has four bits).
pub const MAX_CSRCS: usize = 15;

/// Longest header that [`Header::write`] produces, bytes.
pub const MAX_HEADER: usize = 12 + 4 * MAX_CSRCS;

/// Length of the header without contributing sources.
const FIXED_HEADER: usize = 12;

/// First octet of a header of version 2 without padding, extension and contributing sources.
const PLAIN: u8 = 0x80;

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
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        match datagram.split_first_chunk::<FIXED_HEADER>() {
            Some((header, payload)) if header[0] == PLAIN => Ok(Self::plain(header, payload)),
            _ => Self::parse_any(datagram),
        }
    }

    /// A packet of the usual kind: no padding, no extension, no contributing sources.
    #[inline]
    fn plain(header: &[u8; FIXED_HEADER], payload: &'a [u8]) -> Self {
        let [_, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3] = *header;
        Self {
            ssrc: u32::from_be_bytes([i0, i1, i2, i3]),
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            payload_type: second & 0x7f,
            marker: second & 0x80 != 0,
            payload,
            extension: None,
            csrcs: &[],
        }
    }

    fn parse_any(datagram: &'a [u8]) -> Result<Self, PacketError> {
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
    #[inline]
    pub fn write(&self, out: &mut [u8], csrcs: &[u32]) -> usize {
        let csrcs = &csrcs[..csrcs.len().min(MAX_CSRCS)];
        let length = FIXED_HEADER + 4 * csrcs.len();
        let Some((fixed, sources)) = out
            .get_mut(..length)
            .and_then(<[u8]>::split_first_chunk_mut::<FIXED_HEADER>)
        else {
            return 0;
        };
        fixed[0] = PLAIN | csrcs.len() as u8;
        fixed[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        fixed[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        fixed[8..].copy_from_slice(&self.ssrc.to_be_bytes());
        for (source, csrc) in sources.as_chunks_mut::<4>().0.iter_mut().zip(csrcs) {
            *source = csrc.to_be_bytes();
        }
        length
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
    use proptest::prelude::*;
    use rtp_rs::{RtpPacketBuilder, Seq};

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

    proptest! {
        #[test]
        fn the_usual_packets_are_read_as_all_others_are(
            datagram in prop::collection::vec(any::<u8>(), 0..200),
            plain in any::<bool>(),
        ) {
            let mut datagram = datagram;
            if plain && let Some(first) = datagram.first_mut() {
                *first = PLAIN;
            }
            prop_assert_eq!(RtpPacket::parse(&datagram), RtpPacket::parse_any(&datagram));
        }

        #[test]
        fn headers_are_written_as_the_library_writes_them(
            payload_type in any::<u8>(),
            marker in any::<bool>(),
            sequence in any::<u16>(),
            timestamp in any::<u32>(),
            ssrc in any::<u32>(),
            csrcs in prop::collection::vec(any::<u32>(), 0..=MAX_CSRCS),
        ) {
            let header = Header { payload_type, marker, sequence, timestamp, ssrc };
            let mut ours = [0; MAX_HEADER];
            let length = header.write(&mut ours, &csrcs);
            let mut theirs = [0; MAX_HEADER];
            let expected = RtpPacketBuilder::new()
                .payload_type(payload_type & 0x7f)
                .marked(marker)
                .sequence(Seq::from(sequence))
                .timestamp(timestamp)
                .ssrc(ssrc)
                .set_csrc(&csrcs)
                .build_into(&mut theirs)
                .unwrap();
            prop_assert_eq!(&ours[..length], &theirs[..expected]);
        }
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
