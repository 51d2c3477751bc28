//! Linear 16-bit PCM in network byte order (RFC 3551 section 4.5.11), two octets a sample. Stateless.

/// Decodes a payload, as many samples as the shorter slice holds.
pub(super) fn decode(payload: &[u8], out: &mut [i16]) {
    let (samples, _) = payload.as_chunks::<2>();
    for (sample, octets) in out.iter_mut().zip(samples) {
        *sample = i16::from_be_bytes(*octets);
    }
}

/// Encodes a frame, as many samples as the shorter slice holds.
pub(super) fn encode(frame: &[i16], out: &mut [u8]) {
    let (octets, _) = out.as_chunks_mut::<2>();
    for (octets, sample) in octets.iter_mut().zip(frame) {
        *octets = sample.to_be_bytes();
    }
}

/// Whether every sample is within [`super::SILENCE_PEAK`].
pub(super) fn is_silent(payload: &[u8]) -> bool {
    let (samples, _) = payload.as_chunks::<2>();
    samples.chunks(32).all(|block| {
        let peak = block.iter().fold(0, |peak, octets| {
            i16::from_be_bytes(*octets).unsigned_abs().max(peak)
        });
        peak <= super::SILENCE_PEAK
    })
}
