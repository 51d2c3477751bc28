//! Payload formats: what a codec is called on the wire, and the encoders and decoders.
//!
//! Guarantees: no function but the constructors allocates; any octets may be decoded, none makes a decoder panic or
//! write beyond its output; an encoder's state can be handed to another, so that a listener changes between two
//! streams of one format without a glitch.
//!
//! | file | format |
//! |---|---|
//! | `g711.rs`, `g711/vector.rs` | PCMU, PCMA |
//! | `g722.rs` | G722 |
//! | `l16.rs` | L16 |
//! | `opus.rs` | Opus, by libopus |
//! | [`opus_pack`] | the framing of Opus packets: measuring and merging them |

mod g711;
mod g722;
mod l16;
#[allow(unsafe_code)]
// libopus is C; the other codecs have none but where G.711 chooses its vectors.
mod opus;
pub mod opus_pack;

use thiserror::Error;

pub use opus::OpusSettings;

/// A payload format that this crate encodes and decodes, always mono.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law, RFC 3551 section 4.5.14, static payload type 0.
    Pcmu,
    /// G.711 A-law, RFC 3551 section 4.5.14, static payload type 8.
    Pcma,
    /// G.722 at 64 kbit/s, RFC 3551 section 4.5.2: 16 kHz audio on an 8 kHz RTP clock, static payload type 9.
    G722,
    /// Linear 16-bit big-endian PCM, RFC 3551 section 4.5.11.
    L16 {
        /// Sampling rate and RTP clock, Hz: 8000, 16000, 24000 or 48000.
        rate: u32,
    },
    /// Opus, RFC 7587: 48 kHz RTP clock, decoded and encoded at 48 kHz mono.
    Opus,
}

impl Codec {
    /// RTP timestamp clock, Hz (8000 for G.722: RFC 3551 section 4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            Self::L16 { rate } => rate,
            Self::Opus => 48000,
        }
    }

    /// Rate of the linear audio, Hz: 8000, 16000, 24000 or 48000.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
            Self::G722 => 16000,
            Self::L16 { rate } => rate,
            Self::Opus => 48000,
        }
    }

    /// Encoding name as written in `a=rtpmap` (matched without regard to case).
    pub const fn encoding_name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::L16 { .. } => "L16",
            Self::Opus => "opus",
        }
    }

    /// Payload type fixed by RFC 3551 table 4, if there is one.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::L16 { .. } | Self::Opus => None,
        }
    }

    /// Channels in `a=rtpmap`: 2 for Opus, whatever is sent (RFC 7587 section 7), else 1, which is not written out.
    pub const fn channels_in_rtpmap(self) -> u32 {
        match self {
            Self::Opus => 2,
            _ => 1,
        }
    }

    /// Parameters to offer in `a=fmtp` (RFC 7587 section 6.1): that packets of 10 ms are the shortest wished for,
    /// and that redundancy will be used. Mono and continuous transmission are the defaults.
    pub const fn fmtp(self) -> Option<&'static str> {
        match self {
            Self::Opus => Some("minptime=10;useinbandfec=1"),
            _ => None,
        }
    }

    /// Whether payloads are a plain run of octets that can be cut anywhere between samples, so that one encoder's
    /// output serves any ptime. Opus is not: see [`opus_pack::merge`].
    pub const fn is_sample_based(self) -> bool {
        !matches!(self, Self::Opus)
    }

    /// Length in octets of the payload of `samples` at [`Codec::sample_rate`]: G.711 and G.722 have 8 octets a
    /// millisecond, L16 two a sample. `None` where the length depends on the audio (Opus).
    pub const fn bytes_for_samples(self, samples: usize) -> Option<usize> {
        match self {
            Self::Pcmu | Self::Pcma => Some(samples),
            Self::G722 => Some(samples / 2),
            Self::L16 { .. } => Some(samples * 2),
            Self::Opus => None,
        }
    }

    /// What a payload tells without being decoded, cheaply.
    ///
    /// G.711's codes are ordered by magnitude, so its peak is exact. L16 is looked at for silence only. Opus packets of at most
    /// 2 octets just mark discontinuous transmission; those of its voice modes carry their encoder's own judgement whether there
    /// is speech in them, which is no statement of level. G.722 tells nothing: silence shows only in its decoder's state.
    pub fn glance(self, payload: &[u8]) -> Glance {
        let by_peak = |peak| Glance {
            content: if peak <= SILENCE_PEAK {
                Content::Silence
            } else {
                Content::Sound
            },
            peak,
        };
        let by_content = |content| Glance {
            content,
            peak: u16::MAX,
        };
        match self {
            Self::Pcmu => by_peak(g711::peak_ulaw(payload)),
            Self::Pcma => by_peak(g711::peak_alaw(payload)),
            Self::L16 { .. } if l16::is_silent(payload) => by_content(Content::Silence),
            Self::Opus if payload.len() <= 2 => by_content(Content::Silence),
            Self::Opus if opus_pack::is_inactive(payload) => by_content(Content::Inactive),
            Self::G722 | Self::L16 { .. } | Self::Opus => by_content(Content::Sound),
        }
    }

    /// The codec of a payload type that RFC 3551 table 4 fixes, for use without `a=rtpmap`.
    pub const fn from_static_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            _ => None,
        }
    }

    /// The codec of `a=rtpmap:PT name/clock_rate/channels`; `None` if it is not one of ours. `channels` is 1 where
    /// the attribute has none.
    pub fn from_rtpmap(name: &str, clock_rate: u32, channels: u32) -> Option<Self> {
        let known = [Self::Pcmu, Self::Pcma, Self::G722, Self::Opus]
            .into_iter()
            .chain([8000, 16000, 24000, 48000].map(|rate| Self::L16 { rate }));
        known.into_iter().find(|codec| {
            codec.encoding_name().eq_ignore_ascii_case(name)
                && codec.clock_rate() == clock_rate
                && codec.channels_in_rtpmap() == channels
        })
    }
}

/// Largest payload of one 20 ms frame, octets: L16 at 48 kHz.
pub const MAX_PAYLOAD: usize = 1920;

/// Largest magnitude that [`Codec::glance`] takes for silence: -62.7 dBov, the quantising noise of G.711.
pub const SILENCE_PEAK: u16 = 24;

/// What a payload tells without being decoded: see [`Codec::glance`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// What it carries.
    pub content: Content,
    /// No sample's magnitude is beyond this; `u16::MAX` where the format does not tell.
    pub peak: u16,
}

/// What a payload carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Something, or that cannot be told.
    Sound,
    /// No speech, as its encoder says.
    Inactive,
    /// Silence, or all but silence: no sample is beyond [`SILENCE_PEAK`].
    Silence,
}

/// A payload that was not decoded. The output is untouched, the decoder's state too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload's length or contents do not fit the format, or it is empty: treat it as lost.
    #[error("the payload is not of its format")]
    Malformed,
    /// The output slice is shorter than the decoded audio, which [`Decoder::samples_in`] tells.
    #[error("the output is shorter than the payload's audio")]
    OutputTooSmall,
}

/// One direction's decoder. `new` allocates; nothing else does.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    state: DecoderState,
}

#[derive(Debug)]
enum DecoderState {
    None,
    G722(Box<g722::Decoder>),
    Opus(opus::Decoder),
}

impl Decoder {
    /// A decoder in its initial state.
    pub fn new(codec: Codec) -> Self {
        g711::prepare();
        let state = match codec {
            Codec::Pcmu | Codec::Pcma | Codec::L16 { .. } => DecoderState::None,
            Codec::G722 => DecoderState::G722(Box::new(g722::Decoder::new())),
            Codec::Opus => DecoderState::Opus(opus::Decoder::new()),
        };
        Self { codec, state }
    }

    /// The payload format.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes held on the heap.
    pub fn memory(&self) -> usize {
        match &self.state {
            DecoderState::None => 0,
            DecoderState::G722(decoder) => size_of_val(&**decoder),
            DecoderState::Opus(decoder) => decoder.memory(),
        }
    }

    /// Duration of a payload, in samples at [`Codec::sample_rate`], never 0; `None` if malformed. No state is
    /// changed. Opus is at most [`opus_pack::MAX_SAMPLES`], the others as long as the payload.
    pub fn samples_in(&self, payload: &[u8]) -> Option<usize> {
        let octets = payload.len();
        let samples = match self.codec {
            Codec::Pcmu | Codec::Pcma => octets,
            Codec::G722 => octets * 2,
            Codec::L16 { .. } if octets.is_multiple_of(2) => octets / 2,
            Codec::L16 { .. } => return None,
            Codec::Opus => opus_pack::samples_in(payload)?,
        };
        (samples > 0).then_some(samples)
    }

    /// Whether a payload is (all but) silence: see [`Codec::glance`].
    pub fn is_silent(&self, payload: &[u8]) -> bool {
        self.codec.glance(payload).content == Content::Silence
    }

    /// Decodes one payload; returns the number of samples written, at [`Codec::sample_rate`]: that of
    /// [`Decoder::samples_in`].
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError> {
        let samples = self.samples_in(payload).ok_or(DecodeError::Malformed)?;
        let out = out.get_mut(..samples).ok_or(DecodeError::OutputTooSmall)?;
        match (self.codec, &mut self.state) {
            (_, DecoderState::G722(decoder)) => decoder.decode(payload, out),
            (_, DecoderState::Opus(decoder)) => {
                return decoder.decode(payload, out).ok_or(DecodeError::Malformed);
            }
            (Codec::Pcmu, _) => g711::decode_ulaw(payload, out),
            (Codec::Pcma, _) => g711::decode_alaw(payload, out),
            _ => l16::decode(payload, out),
        }
        Ok(samples)
    }

    /// Lets a codec with concealment of its own (Opus) fill `out` for lost audio; false for all others,
    /// and then `out` is untouched. Also false if `out` is no multiple of 2.5 ms or longer than 120 ms.
    pub fn conceal(&mut self, out: &mut [i16]) -> bool {
        match &mut self.state {
            DecoderState::Opus(decoder) => decoder.conceal(out),
            _ => false,
        }
    }

    /// Recovers the audio *before* this payload from its in-band redundancy (Opus FEC) into `out`, whose length is
    /// that of the lost audio, a multiple of 2.5 ms up to 120 ms; what the redundancy does not reach back to, is
    /// concealed. False where the format or this payload has none: then nothing happened, use [`Decoder::conceal`].
    /// The payload itself is to be decoded afterwards, as always.
    pub fn recover(&mut self, next_payload: &[u8], out: &mut [i16]) -> bool {
        match &mut self.state {
            DecoderState::Opus(decoder) => decoder.recover(next_payload, out),
            _ => false,
        }
    }

    /// Back to the initial state (new source).
    pub fn reset(&mut self) {
        match &mut self.state {
            DecoderState::None => {}
            DecoderState::G722(decoder) => **decoder = g722::Decoder::new(),
            DecoderState::Opus(decoder) => decoder.reset(),
        }
    }
}

/// One direction's encoder. `new` allocates; nothing else does.
#[derive(Debug)]
pub struct Encoder {
    codec: Codec,
    state: EncoderState,
}

#[derive(Debug)]
enum EncoderState {
    None,
    G722(Box<g722::Encoder>),
    Opus(opus::Encoder),
}

impl Encoder {
    /// An encoder in its initial state; Opus with [`OpusSettings::default`].
    pub fn new(codec: Codec) -> Self {
        g711::prepare();
        let state = match codec {
            Codec::Pcmu | Codec::Pcma | Codec::L16 { .. } => EncoderState::None,
            Codec::G722 => EncoderState::G722(Box::new(g722::Encoder::new())),
            Codec::Opus => return Self::opus(OpusSettings::default()),
        };
        Self { codec, state }
    }

    /// An Opus encoder in its initial state. Settings beyond their range are taken as the nearest in range.
    pub fn opus(settings: OpusSettings) -> Self {
        Self {
            codec: Codec::Opus,
            state: EncoderState::Opus(opus::Encoder::new(settings)),
        }
    }

    /// The payload format.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Bytes held on the heap.
    pub fn memory(&self) -> usize {
        match &self.state {
            EncoderState::None => 0,
            EncoderState::G722(encoder) => size_of_val(&**encoder),
            EncoderState::Opus(encoder) => encoder.memory(),
        }
    }

    /// Encodes a frame at [`Codec::sample_rate`]; returns the payload's length in octets. [`MAX_PAYLOAD`] octets of
    /// room in `out` are enough for 20 ms.
    ///
    /// Opus takes 2.5, 5, 10, 20, 40 or 60 ms, G.722 an even number of samples, the others any. Where a frame is not
    /// of such a length or `out` is too short for it, 0 is returned and nothing is encoded.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> usize {
        if let EncoderState::Opus(encoder) = &mut self.state {
            return encoder.encode(frame, out);
        }
        let length = match self.codec.bytes_for_samples(frame.len()) {
            Some(length) if self.codec != Codec::G722 || frame.len().is_multiple_of(2) => length,
            _ => return 0,
        };
        let Some(out) = out.get_mut(..length) else {
            return 0;
        };
        match (self.codec, &mut self.state) {
            (_, EncoderState::G722(encoder)) => encoder.encode(frame, out),
            (Codec::Pcmu, _) => g711::encode_ulaw(frame, out),
            (Codec::Pcma, _) => g711::encode_alaw(frame, out),
            _ => l16::encode(frame, out),
        }
        length
    }

    /// Opus: from the next frame on encodes with the least effort (complexity 0), or as configured again. What is sent
    /// stays one stream of the same bit rate, somewhat less true to the voice. Others have one effort only.
    pub fn save_effort(&mut self, saves: bool) {
        if let EncoderState::Opus(encoder) = &mut self.state {
            encoder.save_effort(saves);
        }
    }

    /// Takes over another encoder's state, so that a listener can be moved from one stream to another of the same
    /// format without a glitch: from then on both encode the same audio to the same octets. Opus settings are taken
    /// over too. Both must be of one [`Codec`]; otherwise nothing happens and false is returned.
    pub fn copy_state_from(&mut self, other: &Self) -> bool {
        if self.codec != other.codec {
            return false;
        }
        match (&mut self.state, &other.state) {
            (EncoderState::G722(encoder), EncoderState::G722(other)) => encoder.clone_from(other),
            (EncoderState::Opus(encoder), EncoderState::Opus(other)) => {
                encoder.copy_state_from(other)
            }
            _ => {}
        }
        true
    }

    /// Back to the initial state; Opus keeps its settings.
    pub fn reset(&mut self) {
        match &mut self.state {
            EncoderState::None => {}
            EncoderState::G722(encoder) => **encoder = g722::Encoder::new(),
            EncoderState::Opus(encoder) => encoder.reset(),
        }
    }
}
