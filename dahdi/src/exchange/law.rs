//! How samples look to the program: companded octets or 16-bit linear.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};

/// The companding of a channel (ITU-T G.711).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Law {
    #[default]
    Mu,
    A,
}

/// Octets of a program's buffer, read and written as samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Format {
    pub(super) law: Law,
    pub(super) linear: bool,
}

impl Format {
    /// Octets of one sample.
    pub(super) const fn width(self) -> usize {
        if self.linear { 2 } else { 1 }
    }

    /// Writes samples until either side ends; half a sample at the end is written too. Returns the octets written.
    pub(super) fn encode(self, samples: &[i16], octets: &mut [u8]) -> usize {
        let count = octets.len().min(samples.len() * self.width());
        let octets = &mut octets[..count];
        if self.linear {
            for (octets, sample) in octets.chunks_mut(2).zip(samples) {
                octets.copy_from_slice(&sample.to_ne_bytes()[..octets.len()]);
            }
        } else {
            let encode = match self.law {
                Law::Mu => encode_ulaw,
                Law::A => encode_alaw,
            };
            for (octet, &sample) in octets.iter_mut().zip(samples) {
                *octet = encode(sample);
            }
        }
        count
    }

    /// The samples in a program's buffer; half a sample at the end is none.
    pub(super) fn decode(self, octets: &[u8]) -> impl Iterator<Item = i16> {
        octets
            .chunks_exact(self.width())
            .map(move |octets| match *octets {
                [low, high] => i16::from_ne_bytes([low, high]),
                [octet] if self.law == Law::A => decode_alaw(octet),
                [octet] => decode_ulaw(octet),
                _ => 0,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_what_programs_expect() {
        let mut octet = [0];
        Format::default().encode(&[0], &mut octet);
        assert_eq!(octet, [0xff]);
        let a_law = Format {
            law: Law::A,
            linear: false,
        };
        a_law.encode(&[0], &mut octet);
        assert_eq!(octet, [0xd5]);
    }

    #[test]
    fn all_octets_come_back_from_samples() {
        for law in [Law::Mu, Law::A] {
            let format = Format { law, linear: false };
            for code in 0..=255_u8 {
                let sample: Vec<i16> = format.decode(&[code]).collect();
                let mut back = [0];
                assert_eq!(format.encode(&sample, &mut back), 1);
                // The two zeros of µ-law are one sample.
                assert!(back[0] == code || (sample[0] == 0 && law == Law::Mu));
            }
        }
    }

    #[test]
    fn linear_is_untouched_and_may_end_within_a_sample() {
        let format = Format {
            law: Law::Mu,
            linear: true,
        };
        let mut octets = [0; 5];
        assert_eq!(format.encode(&[1, -2, i16::MIN], &mut octets), 5);
        assert_eq!(format.decode(&octets).collect::<Vec<_>>(), [1, -2]);
    }
}
