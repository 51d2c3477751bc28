//! Session descriptions: what a phone's SDP offers, what it is answered, and what both then agree on.
//!
//! Guarantees: pure functions of their arguments, no sockets and no clock; no text from outside panics, text beyond
//! [`MAX_SDP_BYTES`] or [`MAX_MEDIA_LINES`] is refused unread, and no line of an answer is made of more than one field
//! of the offer. An answer has the
//! offer's `m=` lines in number and order (RFC 3264 section 6) and names exactly one codec, so that what arrives
//! needs no guessing.
//!
//! Only the lines that decide something are read (`v=`, `c=`, `m=`, `a=`): an odd `o=` or `b=` refuses no call.

mod answer;
mod nat;
mod offer;
mod remote;
#[cfg(test)]
mod tests;
mod write;

use std::net::{IpAddr, SocketAddr};

use unisono_rtp::codec::Codec;

pub use answer::answer;
pub use nat::{Network, NetworkError, advertised_address};
pub use offer::{agree, offer, reoffer};

/// Longest session description that is read, bytes.
pub const MAX_SDP_BYTES: usize = 16 * 1024;

/// Most `m=` lines that are answered.
pub const MAX_MEDIA_LINES: usize = 32;

/// Shortest packet, milliseconds.
pub const MIN_PTIME_MS: u8 = 10;

/// Longest packet, milliseconds.
pub const MAX_PTIME_MS: u8 = 60;

/// What this side has for one call: the input of every offer and answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalMedia {
    /// Address written into `c=` and `o=`; see [`advertised_address`].
    pub address: IpAddr,
    /// Port on which RTP is received.
    pub rtp_port: u16,
    /// Port on which RTCP is received when it is not multiplexed; `None` if there is none.
    pub rtcp_port: Option<u16>,
    /// Accept and offer RTP and RTCP on one port (RFC 5761).
    pub rtcp_mux: bool,
    /// The codecs, best first.
    pub codecs: Vec<Codec>,
    /// Whose order decides between the common codecs of an offer.
    pub codec_order: CodecOrder,
    /// Packet duration that is asked for, milliseconds, a multiple of 10 from 10 to 60. `None` follows the
    /// other side, and is 20 when that is silent too.
    pub ptime_ms: Option<u8>,
    /// Take DTMF as RFC 4733 events.
    pub telephone_event: bool,
    /// Take comfort noise (RFC 3389).
    pub comfort_noise: bool,
    /// The `o=` line's session id: one per call.
    pub session_id: u64,
    /// The `o=` line's version: one more for each changed description of the call (RFC 3264 section 8).
    pub session_version: u64,
}

/// Whose order of preference picks the codec of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CodecOrder {
    /// The first format of the offer that is known here (RFC 3264 section 6.1).
    #[default]
    Theirs,
    /// The first of [`LocalMedia::codecs`] that was offered.
    Ours,
}

/// What both sides agreed on for the one audio stream of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed {
    /// The codec, both ways.
    pub codec: Codec,
    /// Payload type of the packets sent.
    pub payload_type: u8,
    /// Payload type of the packets received.
    pub receive_payload_type: u8,
    /// DTMF events, if both know them.
    pub telephone_event: Option<TelephoneEvent>,
    /// Comfort noise, if both know it at the codec's clock.
    pub comfort_noise: Option<ComfortNoise>,
    /// Duration of the packets sent, milliseconds: a multiple of 10 from 10 to 60; of Opus 10, 20, 40 or 60.
    pub ptime_ms: u8,
    /// Where RTP is sent; `None` while the other side gives no address (`c=0.0.0.0`).
    pub remote_rtp: Option<SocketAddr>,
    /// Where RTCP is sent; equal to `remote_rtp` when multiplexed.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port, both ways.
    pub rtcp_mux: bool,
    /// What this side does.
    pub direction: Direction,
    /// What the other side wants of Opus; the defaults of RFC 7587 for any other codec.
    pub opus: OpusParameters,
    lines: Lines,
}

/// The `m=` lines of a session, which every later offer repeats (RFC 3264 section 8).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lines {
    /// Which of them carries the audio.
    audio: usize,
    /// Media, transport and one format of each, with blanks between them: a line for each.
    all: Box<str>,
}

impl Lines {
    fn of(medias: &[sdp_types::Media], audio: usize) -> Self {
        let line = |m: &sdp_types::Media| {
            let format = remote::formats(m).next().unwrap_or("0");
            format!("{} {} {format}", m.media, m.proto)
        };
        let all: Vec<String> = medias.iter().map(line).collect();
        Self {
            audio,
            all: all.join("\n").into(),
        }
    }

    /// Media, transport and one format of each.
    fn all(&self) -> impl Iterator<Item = [&str; 3]> {
        self.all.split('\n').map(|line| {
            let mut parts = line.splitn(3, ' ');
            [(); 3].map(|()| parts.next().unwrap_or_default())
        })
    }
}

/// DTMF as RTP events, RFC 4733.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TelephoneEvent {
    /// Payload type to send.
    pub payload_type: u8,
    /// Payload type received.
    pub receive_payload_type: u8,
    /// Clock of the event durations, Hz: the codec's, or 8000 where the other side knows no other.
    pub clock_rate: u32,
}

/// Comfort noise, RFC 3389, at the codec's RTP clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ComfortNoise {
    /// Payload type to send.
    pub payload_type: u8,
    /// Payload type received.
    pub receive_payload_type: u8,
}

/// Which way media flows, seen from the side that says it (RFC 3264 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendReceive,
    /// This side only sends.
    SendOnly,
    /// This side only receives.
    ReceiveOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The direction with these two halves.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendReceive,
            (true, false) => Self::SendOnly,
            (false, true) => Self::ReceiveOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether this side sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendReceive | Self::SendOnly)
    }

    /// Whether this side receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendReceive | Self::ReceiveOnly)
    }

    /// The same seen from the other side.
    pub const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// As an SDP attribute.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendReceive => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::ReceiveOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// What a receiver of Opus asks of the sender, RFC 7587 section 6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpusParameters {
    /// Highest sampling rate worth sending, Hz, 8000 to 48000.
    pub max_playback_rate: u32,
    /// Highest average bit rate, bit/s, 6000 to 510000; `None` leaves it to the sender.
    pub max_average_bitrate: Option<u32>,
    /// Use in-band forward error correction.
    pub in_band_fec: bool,
    /// Use discontinuous transmission.
    pub dtx: bool,
    /// Constant bit rate only.
    pub constant_bitrate: bool,
}

impl Default for OpusParameters {
    fn default() -> Self {
        Self {
            max_playback_rate: 48000,
            max_average_bitrate: None,
            in_band_fec: false,
            dtx: false,
            constant_bitrate: false,
        }
    }
}

/// Why there is no agreement. [`SdpError::status`] is the SIP response, the `Display` text its explanation, safe to
/// be put between quotes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpError {
    /// Not a session description. The sender has to be repaired.
    #[error("malformed SDP: {reason}")]
    Malformed {
        /// What is wrong, with the line.
        reason: String,
    },
    /// Larger than [`MAX_SDP_BYTES`] or more `m=` lines than [`MAX_MEDIA_LINES`].
    #[error("SDP too large: {what}")]
    TooLarge {
        /// Which limit, and by how much.
        what: String,
    },
    /// No `m=audio` line, or each with port 0. Only audio is conferenced here.
    #[error("no audio stream offered")]
    NoAudio,
    /// No audio line over plain RTP. Switch the phone's media encryption off, or to optional.
    #[error("media transport {proto} not available, RTP/AVP is")]
    Transport {
        /// The transport offered.
        proto: String,
    },
    /// None of the offered formats is configured here. Enable one of ours in the phone, or more here.
    #[error("no common codec: {theirs} offered, {ours} available")]
    NoCommonCodec {
        /// The formats of the other side.
        theirs: String,
        /// The formats configured here.
        ours: String,
    },
    /// `c=` is not of network type `IN`.
    #[error("network type of the c= line is not IN")]
    NetworkType,
    /// `c=` has no address but a host name, which is not resolved here.
    #[error("c= must be an IP address, not a host name")]
    HostName,
    /// `c=` is not of the address family that this call's socket has.
    #[error("{theirs} media address cannot be reached from {ours}")]
    AddressFamily {
        /// `IPv4` or `IPv6`: the family of the `c=` line.
        theirs: &'static str,
        /// The family of the local address.
        ours: &'static str,
    },
    /// `c=` is a multicast or broadcast address. A conference sends to each participant by itself.
    #[error("multicast media not available")]
    Multicast,
    /// An answer that refuses the stream, or does not fit the offer it answers. End the call.
    #[error("answer does not fit the offer: {what}")]
    AnswerMismatch {
        /// In what it differs.
        what: &'static str,
    },
}

impl SdpError {
    /// The SIP status with which to refuse (RFC 3261 section 21.4).
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. } => 400,
            Self::TooLarge { .. } => 413,
            _ => 488,
        }
    }

    /// The `warn-code` of the Warning header that goes with a 488 (RFC 3261 section 20.43).
    pub const fn warn_code(&self) -> Option<u16> {
        match self {
            Self::Malformed { .. } | Self::TooLarge { .. } => None,
            Self::NoAudio => Some(304),
            Self::Transport { .. } => Some(302),
            Self::NoCommonCodec { .. } => Some(305),
            Self::NetworkType => Some(300),
            Self::HostName | Self::AddressFamily { .. } => Some(301),
            Self::Multicast => Some(330),
            Self::AnswerMismatch { .. } => Some(399),
        }
    }
}

/// Longest packet of a codec that stays within an Ethernet frame, milliseconds. Linear audio is held under 1400 bytes a packet.
const fn longest_ptime(codec: Codec) -> u8 {
    match codec {
        Codec::L16 { rate: 48000.. } => 10,
        Codec::L16 { rate: 24000.. } => 20,
        Codec::L16 { rate: 16000.. } => 40,
        _ => MAX_PTIME_MS,
    }
}
