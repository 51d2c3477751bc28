//! G.711 µ-law and A-law (ITU-T G.711), one octet a sample.
//!
//! Stateless and total: every octet decodes and every sample encodes. Both ways are branch-free arithmetic, by way of the
//! exponent of a float, which the compiler turns into vector code on every target; [`vector`] chooses the widest at run time.
//! That measured faster than a table of 512 octets, without vectors of more than 128 bits too.

mod vector;

pub(super) use vector::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw, prepare};

/// The largest magnitude among µ-law samples; 0 of none.
pub(super) fn peak_ulaw(payload: &[u8]) -> u16 {
    expand_ulaw(last_step(payload, ULAW_ZERO) ^ ULAW_ZERO).unsigned_abs()
}

/// The largest magnitude among A-law samples; that of the code next to zero of none.
pub(super) fn peak_alaw(payload: &[u8]) -> u16 {
    expand_alaw(last_step(payload, ALAW_ZERO) ^ ALAW_ZERO).unsigned_abs()
}

/// Chord and step of a code are counted from zero after exclusive or with this: all bits of µ-law are inverted.
const ULAW_ZERO: u8 = 0x7f;
/// Every second bit of A-law is inverted.
const ALAW_ZERO: u8 = 0x55;

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

/// The greatest chord and step. Without a branch, so that it vectorises; wider vectors gain nothing here.
fn last_step(payload: &[u8], zero: u8) -> u8 {
    payload
        .iter()
        .fold(0, |last, &code| last.max((code ^ zero) & 0x7f))
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
    fn the_peak_of_a_code_is_its_samples_magnitude() {
        for code in 0..=255_u8 {
            assert_eq!(peak_ulaw(&[code]), expand_ulaw(code).unsigned_abs());
            assert_eq!(peak_alaw(&[code]), expand_alaw(code).unsigned_abs());
        }
    }

    #[test]
    fn one_loud_code_is_the_peak_wherever_it_is() {
        for length in [1, 31, 32, 33, 80, 160, 161] {
            for place in 0..length {
                let mut payload = vec![0xff; length];
                assert_eq!(peak_ulaw(&payload), 0);
                payload[place] = compress_ulaw(-300);
                assert!(
                    (290..=310).contains(&peak_ulaw(&payload)),
                    "{place} of {length}"
                );
                let mut payload = vec![0xd5; length];
                payload[place] = compress_alaw(-300);
                assert!(
                    (290..=310).contains(&peak_alaw(&payload)),
                    "{place} of {length}"
                );
            }
        }
    }
}
