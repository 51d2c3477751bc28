//! G.711 µ-law and A-law (ITU-T G.711), one octet a sample.
//!
//! Stateless and total: every octet decodes and every sample encodes. Both ways are branch-free arithmetic, by way of the
//! exponent of a float, which the compiler turns into vector code on every target; [`vector`] chooses the widest at run time.
//! That measured faster than a table of 512 octets, without vectors of more than 128 bits too.

mod vector;

pub(super) use vector::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw, prepare};

/// Whether every µ-law sample is within [`super::SILENCE_PEAK`]: zero and three steps to each side of it.
pub(super) fn is_silent_ulaw(payload: &[u8]) -> bool {
    is_within(payload, ULAW_ZERO, 3)
}

/// Whether every A-law sample is within [`super::SILENCE_PEAK`]: two steps to each side of zero.
pub(super) fn is_silent_alaw(payload: &[u8]) -> bool {
    is_within(payload, ALAW_ZERO, 1)
}

/// Whether no µ-law sample's magnitude is beyond `peak`.
pub(super) fn is_within_ulaw(payload: &[u8], peak: u16) -> bool {
    let magnitude = |step: u8| expand_ulaw(step ^ ULAW_ZERO).unsigned_abs();
    let nearest = compress_ulaw(clamped(peak)) ^ ULAW_ZERO;
    last_step(nearest, peak, magnitude).is_some_and(|last| is_within(payload, ULAW_ZERO, last))
}

/// Whether no A-law sample's magnitude is beyond `peak`.
pub(super) fn is_within_alaw(payload: &[u8], peak: u16) -> bool {
    let magnitude = |step: u8| expand_alaw(step ^ ALAW_ZERO).unsigned_abs();
    let nearest = compress_alaw(clamped(peak)) ^ ALAW_ZERO;
    last_step(nearest, peak, magnitude).is_some_and(|last| is_within(payload, ALAW_ZERO, last))
}

/// Chord and step of a code are counted from zero after exclusive or with this: all bits of µ-law are inverted.
const ULAW_ZERO: u8 = 0x7f;
/// Every second bit of A-law is inverted.
const ALAW_ZERO: u8 = 0x55;

fn clamped(peak: u16) -> i16 {
    i16::try_from(peak).unwrap_or(i16::MAX)
}

/// The greatest chord and step whose magnitude is at most `peak`, given the nearest one.
fn last_step(nearest: u8, peak: u16, magnitude: impl Fn(u8) -> u16) -> Option<u8> {
    let nearest = nearest & 0x7f;
    if magnitude(nearest) <= peak {
        Some(nearest)
    } else {
        nearest.checked_sub(1)
    }
}

/// Decodes a µ-law payload, as many samples as the shorter slice holds. For [`vector`] to compile, as are the next three.
#[inline(always)]
fn decode_ulaw_inline(payload: &[u8], out: &mut [i16]) {
    for (sample, &code) in out.iter_mut().zip(payload) {
        *sample = expand_ulaw(code);
    }
}

/// Decodes an A-law payload, as many samples as the shorter slice holds.
#[inline(always)]
fn decode_alaw_inline(payload: &[u8], out: &mut [i16]) {
    for (sample, &code) in out.iter_mut().zip(payload) {
        *sample = expand_alaw(code);
    }
}

/// Encodes to µ-law, as many samples as the shorter slice holds.
#[inline(always)]
fn encode_ulaw_inline(frame: &[i16], out: &mut [u8]) {
    for (code, &sample) in out.iter_mut().zip(frame) {
        *code = compress_ulaw(sample);
    }
}

/// Encodes to A-law, as many samples as the shorter slice holds.
#[inline(always)]
fn encode_alaw_inline(frame: &[i16], out: &mut [u8]) {
    for (code, &sample) in out.iter_mut().zip(frame) {
        *code = compress_alaw(sample);
    }
}

/// Whether chord and step of every code are at most `last`. Tests blocks without a branch inside, so that it vectorises, and
/// stops at the first block with a louder one. Wider vectors gain nothing here.
fn is_within(payload: &[u8], zero: u8, last: u8) -> bool {
    let excess = |code: u8| ((code ^ zero) & 0x7f).saturating_sub(last);
    let (blocks, rest) = payload.as_chunks::<32>();
    blocks
        .iter()
        .all(|block| block.iter().fold(0, |any, &code| any | excess(code)) == 0)
        && rest.iter().fold(0, |any, &code| any | excess(code)) == 0
}

/// ITU-T G.711 table 2: chord and step with all bits inverted, on a 14-bit scale that is offset by 33 so that each
/// chord doubles the step; shifted left by 2 to the 16-bit scale.
#[inline(always)]
fn expand_ulaw(code: u8) -> i16 {
    let code = !code;
    with_sign(offset_magnitude(code & 0x7f) - (33 << 2), code & 0x80 != 0)
}

/// ITU-T G.711 table 1: even bits inverted, a 13-bit scale whose two lowest chords share one step size; shifted
/// left by 3 to the 16-bit scale. The middle of each interval is returned.
#[inline(always)]
fn expand_alaw(code: u8) -> i16 {
    let code = code ^ ALAW_ZERO;
    let chord_and_step = code & 0x7f;
    // The lowest chord is the second without what is before its first step.
    let (chord_and_step, before) = if chord_and_step < 16 {
        (chord_and_step + 16, 32 << 3)
    } else {
        (chord_and_step, 0)
    };
    with_sign(offset_magnitude(chord_and_step) - before, code & 0x80 == 0)
}

#[inline(always)]
fn with_sign(magnitude: i16, negative: bool) -> i16 {
    if negative { -magnitude } else { magnitude }
}

/// `(2 * step + 33) << (chord + 2)`: chord and step are the exponent and the upper bits of the fraction of a float.
#[inline(always)]
fn offset_magnitude(chord_and_step: u8) -> i16 {
    /// 2^23: added to it, a smaller integer is in the low bits.
    const TO_INTEGER: f32 = 8_388_608.0;
    let bits = (u32::from(chord_and_step) << 19) + (1 << 18) + ((127 + 5 + 2) << 23);
    (f32::from_bits(bits) + TO_INTEGER).to_bits() as i16
}

#[inline(always)]
fn compress_ulaw(sample: i16) -> u8 {
    let sign = sample >> 15;
    // One's complement makes -1 the twin of 0, as the recommendation's 14-bit scale has it.
    let magnitude = (sample ^ sign) >> 2;
    let biased = (magnitude + 33).min(8191);
    // The exponent of a float is the chord (5 for the lowest) and its top four fraction bits are the step.
    let chord_and_step = (exponent_and_step(biased) - (5 << 4)) as u8;
    !(chord_and_step | (sign as u8 & 0x80))
}

#[inline(always)]
fn compress_alaw(sample: i16) -> u8 {
    let sign = sample >> 15;
    let magnitude = (sample ^ sign) >> 4;
    // The lowest chord is linear like the second, so there the magnitude is itself chord and step.
    let chord_and_step = if magnitude < 16 {
        magnitude
    } else {
        exponent_and_step(magnitude) - (3 << 4)
    };
    (chord_and_step as u8 | (!sign as u8 & 0x80)) ^ ALAW_ZERO
}

/// `16 * floor(log2(value))` plus the four bits after the leading one, by way of the float format, where the
/// conversion is exact and, unlike counting leading zeros, exists as a vector instruction on every x86-64.
#[inline(always)]
fn exponent_and_step(value: i16) -> i16 {
    (f32::from(value).to_bits() >> 19) as i16 - (127 << 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_within_a_peak_as_its_sample_is() {
        for code in 0..=255_u8 {
            for peak in (0..=33_000).step_by(7).chain([u16::MAX]) {
                assert_eq!(
                    is_within_ulaw(&[code], peak),
                    expand_ulaw(code).unsigned_abs() <= peak,
                    "µ-law {code:#x} within {peak}"
                );
                assert_eq!(
                    is_within_alaw(&[code], peak),
                    expand_alaw(code).unsigned_abs() <= peak,
                    "A-law {code:#x} within {peak}"
                );
            }
        }
    }

    #[test]
    fn one_loud_code_is_enough_wherever_it_is() {
        for length in [1, 31, 32, 33, 80, 160, 161] {
            for place in 0..length {
                let mut payload = vec![0xff; length];
                assert!(is_within_ulaw(&payload, 0));
                payload[place] = compress_ulaw(300);
                assert!(!is_within_ulaw(&payload, 100), "{place} of {length}");
                assert!(is_within_ulaw(&payload, 400));
            }
        }
    }
}
