//! How long a payload lasts, known before it is decoded, and whether it can be decoded piecewise.

use crate::codec::Codec;

/// Longest Opus packet, RFC 6716 section 3.4 (requirement R5), ms.
pub(super) const LONGEST_OPUS_MS: usize = 120;

/// Shape of a payload format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// A run of equal units: any stretch of it can be decoded by itself.
    Run {
        /// Bytes and samples of a unit.
        bytes: usize,
        samples: usize,
    },
    /// Opus: a packet is decoded whole.
    Whole,
}

impl Layout {
    pub(super) const fn of(codec: Codec) -> Self {
        match codec {
            Codec::Pcmu | Codec::Pcma => Self::Run {
                bytes: 1,
                samples: 1,
            },
            Codec::G722 => Self::Run {
                bytes: 1,
                samples: 2,
            },
            Codec::L16 { .. } => Self::Run {
                bytes: 2,
                samples: 1,
            },
            Codec::Opus => Self::Whole,
        }
    }

    /// Samples in a voice payload; `None` if it is not of this shape.
    pub(super) fn samples(self, payload: &[u8]) -> Option<u16> {
        let samples = match self {
            Self::Run { bytes, samples } if payload.len().is_multiple_of(bytes) => {
                payload.len() / bytes * samples
            }
            Self::Run { .. } => return None,
            Self::Whole => opus_samples(payload)?,
        };
        u16::try_from(samples).ok().filter(|&samples| samples > 0)
    }
}

/// Typical bytes in a millisecond, for the memory that a delay takes.
pub(super) const fn bytes_per_ms(codec: Codec) -> usize {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => 8,
        Codec::L16 { rate } => 2 * per_ms(rate),
        // 96 kbit/s; speech takes a quarter of it.
        Codec::Opus => 12,
    }
}

/// Samples in a millisecond at this rate (one of the four of [`Codec::L16`]; the next higher otherwise).
pub(super) const fn per_ms(rate: u32) -> usize {
    match rate {
        0..=8000 => 8,
        8001..=16_000 => 16,
        16_001..=24_000 => 24,
        _ => 48,
    }
}

/// Duration of an Opus packet at 48 kHz from its first bytes, RFC 6716 section 3.1.
fn opus_samples(payload: &[u8]) -> Option<usize> {
    let toc = *payload.first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => usize::from(*payload.get(1)? & 0x3F),
    };
    let samples = frame * frames;
    (samples > 0 && samples <= LONGEST_OPUS_MS * 48).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_without_decoding() {
        assert_eq!(Layout::of(Codec::Pcmu).samples(&[0; 160]), Some(160));
        assert_eq!(Layout::of(Codec::G722).samples(&[0; 160]), Some(320));
        assert_eq!(
            Layout::of(Codec::L16 { rate: 16_000 }).samples(&[0; 640]),
            Some(320)
        );
        assert_eq!(
            Layout::of(Codec::L16 { rate: 16_000 }).samples(&[0; 641]),
            None
        );
        assert_eq!(Layout::of(Codec::Pcma).samples(&[]), None);
        // Opus: SILK 60 ms, hybrid 20 ms, CELT 2.5 ms, two frames, three frames by count, too many.
        for (packet, samples) in [
            (&[3 << 3, 0][..], Some(2880)),
            (&[13 << 3], Some(960)),
            (&[16 << 3], Some(120)),
            (&[19 << 3 | 1], Some(1920)),
            (&[19 << 3 | 3, 3], Some(2880)),
            (&[19 << 3 | 3, 7], None),
            (&[19 << 3 | 3], None),
            (&[19 << 3 | 3, 0], None),
            (&[], None),
        ] {
            assert_eq!(Layout::of(Codec::Opus).samples(packet), samples);
        }
    }
}
