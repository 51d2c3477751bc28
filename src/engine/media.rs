//! What a leg is made of: the outcome of a negotiation, and of a re-negotiation.

use unisono_mixer::{SampleRate, StripSettings};
use unisono_rtp::codec::{Codec, Decoder, Encoder, OpusSettings};
use unisono_rtp::dtmf::DtmfReceiver;
use unisono_rtp::latch::Policy;
use unisono_rtp::outbound::{Format, Origin, PacketRoom};
use unisono_rtp::playout::{Playout, PlayoutConfig};

use super::command::Remote;
use super::opus_sender::OpusSender;

/// The outcome of a negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MediaSpec {
    /// The codec, both ways.
    pub codec: Codec,
    /// Payload type of the packets sent.
    pub payload_type: u8,
    /// Payload type of the packets received.
    pub receive_payload_type: u8,
    /// Payload type and clock (Hz) of telephone events received (RFC 4733).
    pub telephone_event: Option<(u8, u32)>,
    /// Payload type of comfort noise received (RFC 3389).
    pub comfort_noise: Option<u8>,
    /// Audio in each packet sent, ms: 10 to 60.
    pub ptime_ms: u8,
    /// Where media is sent.
    pub remote: Remote,
    /// This side sends.
    pub sends: bool,
    /// This side listens.
    pub receives: bool,
    /// How Opus is encoded, where it is the codec.
    pub opus: OpusSettings,
}

/// How a server treats all its legs.
#[derive(Debug, Clone, Copy)]
pub struct LegPolicy {
    /// Least and most delay of the playout buffer, ms.
    pub playout_ms: (u32, u32),
    /// Level below which a leg is not heard, and other matters of the channel strip.
    pub strip: StripSettings,
    /// How an address is learnt.
    pub latch: Policy,
    /// Name the talkers in each packet (RFC 3550 section 5.1).
    pub csrcs: bool,
}

impl Default for LegPolicy {
    fn default() -> Self {
        Self {
            playout_ms: (20, 400),
            strip: StripSettings::default(),
            latch: Policy::default(),
            csrcs: true,
        }
    }
}

impl MediaSpec {
    /// The mixer's name for the codec's rate. Codecs have no other rates than these four.
    pub(crate) fn sample_rate(&self) -> SampleRate {
        SampleRate::from_hz(self.codec.sample_rate()).unwrap_or(SampleRate::Hz8000)
    }

    /// What is sent.
    pub(super) fn format(&self) -> Format {
        Format {
            codec: self.codec,
            payload_type: self.payload_type,
            ptime_ms: u32::from(self.ptime_ms),
        }
    }

    /// Bandwidth of the media with RTP, UDP and IP headers, bit/s.
    pub(super) fn session_bandwidth(&self) -> u32 {
        let payload = match self.codec {
            Codec::Opus => self.opus.bitrate,
            Codec::L16 { rate } => rate * 16,
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 64_000,
        };
        payload + 40 * 8 * 1000 / u32::from(self.ptime_ms.max(10))
    }

    pub(super) fn encoder(&self) -> Encoder {
        match self.codec {
            Codec::Opus => Encoder::opus(self.opus),
            codec => Encoder::new(codec),
        }
    }

    pub(super) fn playout(&self, policy: &LegPolicy) -> Playout {
        let (min, max) = policy.playout_ms;
        Playout::new(&PlayoutConfig {
            min_delay_ms: min,
            max_delay_ms: max,
            ..PlayoutConfig::new(self.codec)
        })
    }

    pub(super) fn dtmf_receiver(&self) -> DtmfReceiver {
        DtmfReceiver::new(self.telephone_event.map_or(8000, |(_, clock)| clock))
    }

    /// Only Opus frames have to be merged; other codecs are cut by
    /// [`Outbound`](unisono_rtp::outbound::Outbound).
    pub(super) fn opus_sender(&self) -> OpusSender {
        OpusSender::new(match self.codec {
            Codec::Opus => self.ptime_ms,
            _ => 20,
        })
    }
}

/// What a leg becomes by a re-negotiation. Everything in it was allocated by the control plane, which gets it back.
#[derive(Debug)]
pub(crate) struct MediaUpdate {
    pub(super) media: MediaSpec,
    /// Used if the new format has another RTP clock: then it has to be a new source (RFC 7160).
    pub(super) origin: Origin,
    /// Present when the codec changed.
    pub(super) replacement: Option<Replacement>,
    /// Present when packets are put together in another way.
    pub(super) opus: Option<OpusSender>,
    /// For packets of the new format; of the old one, when the update comes back.
    pub(super) room: PacketRoom,
}

/// The parts of a leg that belong to its codec.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(super) decoder: Decoder,
    pub(super) encoder: Encoder,
    pub(super) playout: Playout,
}

impl MediaUpdate {
    /// Prepares a change from `before` to `media`.
    pub(crate) fn new(
        before: &MediaSpec,
        media: MediaSpec,
        policy: &LegPolicy,
        random: [u8; 10],
    ) -> Self {
        let same = before.codec == media.codec && before.opus == media.opus;
        let replacement = (!same).then(|| Replacement {
            decoder: Decoder::new(media.codec),
            encoder: media.encoder(),
            playout: media.playout(policy),
        });
        let repacked = before.codec != media.codec || before.ptime_ms != media.ptime_ms;
        Self {
            media,
            origin: Origin::from_random(random),
            replacement,
            opus: repacked.then(|| media.opus_sender()),
            room: PacketRoom::new(media.format()),
        }
    }
}
