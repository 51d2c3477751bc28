//! G.711 µ-law and A-law (ITU-T G.711), one octet a sample.
//!
//! Stateless and total: every octet decodes and every sample encodes. Encoding is branch-free, so that the compiler
//! turns it into vector code; decoding looks up a 512-octet table, which measured faster than computing it.

/// Decodes a µ-law payload, as many samples as the shorter slice holds.
pub(super) fn decode_ulaw(payload: &[u8], out: &mut [i16]) {
    look_up(&ULAW, payload, out);
}

/// Decodes an A-law payload, as many samples as the shorter slice holds.
pub(super) fn decode_alaw(payload: &[u8], out: &mut [i16]) {
    look_up(&ALAW, payload, out);
}

/// Encodes to µ-law, as many samples as the shorter slice holds.
pub(super) fn encode_ulaw(frame: &[i16], out: &mut [u8]) {
    for (code, &sample) in out.iter_mut().zip(frame) {
        *code = compress_ulaw(sample);
    }
}

/// Encodes to A-law, as many samples as the shorter slice holds.
pub(super) fn encode_alaw(frame: &[i16], out: &mut [u8]) {
    for (code, &sample) in out.iter_mut().zip(frame) {
        *code = compress_alaw(sample);
    }
}

/// Whether every µ-law sample is within [`super::SILENCE_PEAK`]: zero and three steps to each side of it.
pub(super) fn is_silent_ulaw(payload: &[u8]) -> bool {
    // Magnitudes count down from 0x7f, so the four smallest differ only in the two lowest bits.
    every(payload, |code| code & 0x7c == 0x7c)
}

/// Whether every A-law sample is within [`super::SILENCE_PEAK`]: two steps to each side of zero.
pub(super) fn is_silent_alaw(payload: &[u8]) -> bool {
    // Magnitude 0 is sent as 0x55 and 1 as 0x54 (even bits inverted).
    every(payload, |code| code & 0x7e == 0x54)
}

/// Whether no µ-law sample's magnitude is beyond `peak`.
pub(super) fn is_within_ulaw(payload: &[u8], peak: u16) -> bool {
    // All bits are inverted: without its sign a code counts down from 0x7f.
    let magnitude = |step: u8| ULAW[usize::from(!step)].unsigned_abs();
    match last_step(compress_ulaw(clamped(peak)) ^ 0x7f, peak, magnitude) {
        Some(last) => every(payload, |code| (code ^ 0x7f) & 0x7f <= last),
        None => false,
    }
}

/// Whether no A-law sample's magnitude is beyond `peak`.
pub(super) fn is_within_alaw(payload: &[u8], peak: u16) -> bool {
    let magnitude = |step: u8| ALAW[usize::from(step ^ 0x55)].unsigned_abs();
    match last_step(compress_alaw(clamped(peak)) ^ 0x55, peak, magnitude) {
        Some(last) => every(payload, |code| (code ^ 0x55) & 0x7f <= last),
        None => false,
    }
}

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

static ULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = expand_ulaw(code as u8);
        code += 1;
    }
    table
};

static ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = expand_alaw(code as u8);
        code += 1;
    }
    table
};

/// ITU-T G.711 table 2: chord and step with all bits inverted, on a 14-bit scale that is offset by 33 so that each
/// chord doubles the step; shifted left by 2 to the 16-bit scale.
const fn expand_ulaw(code: u8) -> i16 {
    let code = !code;
    let chord = (code >> 4) & 7;
    let step = (code & 0x0f) as i16;
    let magnitude = ((((step << 1) + 33) << chord) - 33) << 2;
    if code & 0x80 != 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// ITU-T G.711 table 1: even bits inverted, a 13-bit scale whose two lowest chords share one step size; shifted
/// left by 3 to the 16-bit scale. The middle of each interval is returned.
const fn expand_alaw(code: u8) -> i16 {
    let code = code ^ 0x55;
    let chord = (code >> 4) & 7;
    let step = (code & 0x0f) as i16;
    let magnitude = match chord {
        0 => ((step << 1) + 1) << 3,
        _ => ((step << 1) + 33) << (chord + 2),
    };
    if code & 0x80 != 0 {
        magnitude
    } else {
        -magnitude
    }
}

fn compress_ulaw(sample: i16) -> u8 {
    let sign = sample >> 15;
    // One's complement makes -1 the twin of 0, as the recommendation's 14-bit scale has it.
    let magnitude = i32::from((sample ^ sign) >> 2);
    let biased = (magnitude + 33).min(8191);
    // The exponent of a float is the chord (5 for the lowest) and its top four fraction bits are the step.
    let chord_and_step = (exponent_and_step(biased) - (5 << 4)) as u8;
    !(chord_and_step | (sign as u8 & 0x80))
}

fn compress_alaw(sample: i16) -> u8 {
    let sign = sample >> 15;
    let magnitude = i32::from((sample ^ sign) >> 4);
    // The lowest chord is linear like the second, so there the magnitude is itself chord and step.
    let chord_and_step = if magnitude < 16 {
        magnitude
    } else {
        exponent_and_step(magnitude) - (3 << 4)
    };
    (chord_and_step as u8 | (!sign as u8 & 0x80)) ^ 0x55
}

/// `16 * floor(log2(value))` plus the four bits after the leading one, by way of the float format, where the
/// conversion is exact and, unlike counting leading zeros, exists as a vector instruction on every x86-64.
#[inline]
fn exponent_and_step(value: i32) -> i32 {
    ((value as f32).to_bits() >> 19) as i32 - (127 << 4)
}

fn look_up(table: &[i16; 256], payload: &[u8], out: &mut [i16]) {
    for (sample, &code) in out.iter_mut().zip(payload) {
        *sample = table[usize::from(code)];
    }
}

/// Tests blocks without a branch inside, so that it vectorises, and stops at the first block with sound in it.
fn every(payload: &[u8], quiet: impl Fn(u8) -> bool) -> bool {
    payload
        .chunks(32)
        .all(|block| block.iter().fold(true, |all, &code| all & quiet(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_within_a_peak_as_its_sample_is() {
        for code in 0..=255_u8 {
            for peak in (0..=33_000).step_by(7).chain([u16::MAX]) {
                let sample = |table: &[i16; 256]| table[usize::from(code)].unsigned_abs();
                assert_eq!(
                    is_within_ulaw(&[code], peak),
                    sample(&ULAW) <= peak,
                    "µ-law {code:#x} within {peak}"
                );
                assert_eq!(
                    is_within_alaw(&[code], peak),
                    sample(&ALAW) <= peak,
                    "A-law {code:#x} within {peak}"
                );
            }
        }
    }

    #[test]
    fn one_loud_sample_is_enough() {
        let mut payload = [0xff; 160];
        assert!(is_within_ulaw(&payload, 0));
        payload[159] = compress_ulaw(300);
        assert!(!is_within_ulaw(&payload, 100));
        assert!(is_within_ulaw(&payload, 400));
    }
}
