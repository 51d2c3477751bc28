//! The four sample rates of linear audio in a conference.

/// Samples in the longest frame: 20 ms at 48 kHz.
pub const MAX_FRAME: usize = 960;

/// A rate at which frames of 20 ms are mixed, given or heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SampleRate {
    /// Narrow-band: G.711.
    Hz8000,
    /// Wide-band: G.722.
    Hz16000,
    /// Super-wide-band.
    Hz24000,
    /// Full-band: Opus.
    Hz48000,
}

impl SampleRate {
    /// All rates, lowest first.
    pub const ALL: [Self; 4] = [Self::Hz8000, Self::Hz16000, Self::Hz24000, Self::Hz48000];

    /// The rate of `hz` samples a second, if it is one of the four.
    pub const fn from_hz(hz: u32) -> Option<Self> {
        match hz {
            8_000 => Some(Self::Hz8000),
            16_000 => Some(Self::Hz16000),
            24_000 => Some(Self::Hz24000),
            48_000 => Some(Self::Hz48000),
            _ => None,
        }
    }

    /// Samples a second.
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz8000 => 8_000,
            Self::Hz16000 => 16_000,
            Self::Hz24000 => 24_000,
            Self::Hz48000 => 48_000,
        }
    }

    /// Samples in a frame of 20 ms: 160, 320, 480 or 960.
    pub const fn frame_len(self) -> usize {
        self.hz() as usize / 50
    }

    /// Position in [`Self::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}
