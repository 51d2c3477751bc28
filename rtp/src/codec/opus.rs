//! Opus (RFC 6716, RFC 7587) at 48 kHz mono, by libopus.
//!
//! An encoder and a decoder are each one block of memory, allocated when made and never again: libopus works on
//! its stack. This is the only module of the codecs with unsafe code; it calls the C functions directly, because the safe binding
//! neither copies an encoder's state nor takes samples as `i16`.

use std::mem::MaybeUninit;
use std::{fmt, ptr};

use opusic_c::sys;

use super::opus_pack;

/// How to encode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpusSettings {
    /// Mean rate, bit/s, of 6000 to 510,000: RFC 7587 section 3.1.1 suggests 28,000 to 40,000 for fullband speech.
    pub bitrate: u32,
    /// Effort, 0 to 10. The processor time of a conference is mostly this.
    pub complexity: u8,
    /// Whether packets may carry a low-bitrate copy of the audio before them, for [`super::Decoder::recover`]. They
    /// do if loss is expected and the bit rate has room.
    pub fec: bool,
    /// Expected loss, percent, 0 to 100: the higher, the more of the bit rate goes into redundancy.
    pub expected_loss: u8,
}

impl Default for OpusSettings {
    /// 32 kbit/s, complexity 5, redundancy for 5 % of loss.
    fn default() -> Self {
        Self {
            bitrate: 32_000,
            complexity: 5,
            fec: true,
            expected_loss: 5,
        }
    }
}

/// An encoder for voice; frames of 2.5, 5, 10, 20, 40 or 60 ms.
pub(super) struct Encoder {
    state: State,
    /// Effort as configured, and whether the least is made instead.
    complexity: u8,
    saves_effort: bool,
}

impl Encoder {
    /// Values beyond a setting's range are taken as the nearest in range.
    pub(super) fn new(settings: OpusSettings) -> Self {
        // SAFETY: a pure function of the number of channels.
        let size = unsafe { sys::opus_encoder_get_size(MONO) };
        let mut encoder = Self {
            state: State::new(size),
            complexity: settings.complexity.min(10),
            saves_effort: false,
        };
        // SAFETY: the block is as large as the library asked for, and aligned as by malloc.
        let result = unsafe {
            sys::opus_encoder_init(encoder.as_ptr(), RATE, MONO, sys::OPUS_APPLICATION_VOIP)
        };
        assert_eq!(
            result,
            sys::OPUS_OK,
            "libopus refused a 48 kHz mono encoder"
        );
        encoder.set(
            sys::OPUS_SET_BITRATE_REQUEST,
            settings.bitrate.clamp(6000, 510_000) as i32,
        );
        encoder.set(sys::OPUS_SET_COMPLEXITY_REQUEST, encoder.complexity.into());
        encoder.set(sys::OPUS_SET_SIGNAL_REQUEST, sys::OPUS_SIGNAL_VOICE);
        encoder.set(sys::OPUS_SET_INBAND_FEC_REQUEST, settings.fec.into());
        encoder.set(
            sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
            settings.expected_loss.min(100).into(),
        );
        encoder
    }

    /// Returns the packet's length, or 0 if the frame has no length of Opus or the packet does not fit.
    pub(super) fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> usize {
        if !matches!(frame.len(), 120 | 240 | 480 | 960 | 1920 | 2880) {
            return 0;
        }
        let room = i32::try_from(out.len()).unwrap_or(i32::MAX);
        // SAFETY: the state was initialised; `frame` holds the mono samples and `out` the octets that it is said to.
        let length = unsafe {
            sys::opus_encode(
                self.as_ptr(),
                frame.as_ptr(),
                frame.len() as i32,
                out.as_mut_ptr(),
                room,
            )
        };
        usize::try_from(length).unwrap_or(0)
    }

    /// Takes over all of the other's state, its settings too.
    pub(super) fn copy_state_from(&mut self, other: &Self) {
        self.state.copy_from(&other.state);
        self.complexity = other.complexity;
        self.saves_effort = other.saves_effort;
    }

    /// Encodes with the least effort, or as configured again.
    pub(super) fn save_effort(&mut self, saves: bool) {
        if std::mem::replace(&mut self.saves_effort, saves) != saves {
            let complexity = if saves { 0 } else { self.complexity };
            self.set(sys::OPUS_SET_COMPLEXITY_REQUEST, complexity.into());
        }
    }

    /// Forgets the audio, keeps the settings.
    pub(super) fn reset(&mut self) {
        // SAFETY: the state was initialised, and this request has no argument.
        let result = unsafe { sys::opus_encoder_ctl(self.as_ptr(), sys::OPUS_RESET_STATE) };
        debug_assert_eq!(result, sys::OPUS_OK);
    }

    pub(super) fn memory(&self) -> usize {
        self.state.memory()
    }

    fn set(&mut self, request: i32, value: i32) {
        // SAFETY: the state was initialised, and every request passed here has one integer argument.
        let result = unsafe { sys::opus_encoder_ctl(self.as_ptr(), request, value) };
        assert_eq!(
            result,
            sys::OPUS_OK,
            "libopus refused setting {request} to {value}"
        );
    }

    fn as_ptr(&mut self) -> *mut sys::OpusEncoder {
        self.state.as_mut_ptr().cast()
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// A decoder to mono, whatever the number of channels in the packets.
pub(super) struct Decoder {
    state: State,
}

impl Decoder {
    pub(super) fn new() -> Self {
        // SAFETY: a pure function of the number of channels.
        let size = unsafe { sys::opus_decoder_get_size(MONO) };
        let mut decoder = Self {
            state: State::new(size),
        };
        // SAFETY: the block is as large as the library asked for, and aligned as by malloc.
        let result = unsafe { sys::opus_decoder_init(decoder.as_ptr(), RATE, MONO) };
        assert_eq!(
            result,
            sys::OPUS_OK,
            "libopus refused a 48 kHz mono decoder"
        );
        decoder
    }

    /// Returns the number of samples; `None` if the packet is malformed. `out` must have room for it.
    pub(super) fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Option<usize> {
        self.run(Some(packet), out, false)
    }

    /// Fills `out` for a lost packet; false if its length is not a multiple of 2.5 ms up to 120 ms.
    pub(super) fn conceal(&mut self, out: &mut [i16]) -> bool {
        is_whole(out) && self.run(None, out, false).is_some()
    }

    /// Fills `out`, whose end is the beginning of `next`, from redundancy in `next`; false if there is none.
    pub(super) fn recover(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        // Where the redundancy is shorter than `out`, libopus conceals the time before it; were it longer, it would
        // be left unused.
        opus_pack::redundancy_in(next).is_some_and(|samples| samples <= out.len())
            && is_whole(out)
            && self.run(Some(next), out, true).is_some()
    }

    pub(super) fn reset(&mut self) {
        // SAFETY: the state was initialised, and this request has no argument.
        let result = unsafe { sys::opus_decoder_ctl(self.as_ptr(), sys::OPUS_RESET_STATE) };
        debug_assert_eq!(result, sys::OPUS_OK);
    }

    pub(super) fn memory(&self) -> usize {
        self.state.memory()
    }

    fn run(&mut self, packet: Option<&[u8]>, out: &mut [i16], redundancy: bool) -> Option<usize> {
        let (data, length) =
            packet.map_or((ptr::null(), 0), |packet| (packet.as_ptr(), packet.len()));
        let length = i32::try_from(length).ok()?;
        // More room than the longest packet has no use, and the library sizes its stack by it.
        let room = out.len().min(opus_pack::MAX_SAMPLES) as i32;
        // SAFETY: the state was initialised; `data` is null or holds `length` octets; `out` has room for as many
        // mono samples as said.
        let samples = unsafe {
            sys::opus_decode(
                self.as_ptr(),
                data,
                length,
                out.as_mut_ptr(),
                room,
                redundancy.into(),
            )
        };
        usize::try_from(samples).ok()
    }

    fn as_ptr(&mut self) -> *mut sys::OpusDecoder {
        self.state.as_mut_ptr().cast()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").finish_non_exhaustive()
    }
}

/// The memory of an encoder or decoder. libopus documents that a state is contiguous and may be copied as memory
/// (opus.h, on the encoder and on the decoder), so it has no address of its own and the block may move.
struct State {
    blocks: Box<[MaybeUninit<Block>]>,
}

/// Aligned as malloc aligns, which is what the library would have called.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Block([u8; 16]);

impl State {
    fn new(octets: i32) -> Self {
        let octets = usize::try_from(octets).expect("libopus states the size of a mono state");
        Self {
            blocks: Box::new_uninit_slice(octets.div_ceil(size_of::<Block>())),
        }
    }

    fn memory(&self) -> usize {
        size_of_val(&*self.blocks)
    }

    fn copy_from(&mut self, other: &Self) {
        self.blocks.copy_from_slice(&other.blocks);
    }

    fn as_mut_ptr(&mut self) -> *mut Block {
        self.blocks.as_mut_ptr().cast()
    }
}

fn is_whole(out: &[i16]) -> bool {
    !out.is_empty() && out.len() <= opus_pack::MAX_SAMPLES && out.len().is_multiple_of(120)
}

const RATE: i32 = 48_000;
const MONO: i32 = 1;
