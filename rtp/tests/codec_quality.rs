//! How well each codec keeps a voice: the delay, and the noise it adds. The thresholds are about 2 dB below what was
//! measured; they catch a broken codec, not a matter of taste.

use unisono_rtp::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD};

mod likeness;
mod voice;
use likeness::alignment;
use voice::voice;

#[test]
fn g711_adds_no_delay_and_little_noise() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        assert_quality(codec, 0..=0, 35.0);
    }
}

/// A quadrature mirror filter of 24 taps, twice, less one sample that both count.
#[test]
fn g722_delays_by_its_filters() {
    assert_quality(Codec::G722, 22..=22, 33.0);
}

#[test]
fn l16_changes_nothing() {
    for rate in [8000, 16000, 24000, 48000] {
        assert_quality(Codec::L16 { rate }, 0..=0, 100.0);
    }
}

/// The lookahead of libopus is 6.5 ms, 312 samples.
#[test]
fn opus_keeps_the_waveform_of_a_voice() {
    assert_quality(Codec::Opus, 300..=320, 11.0);
}

fn assert_quality(codec: Codec, delay: std::ops::RangeInclusive<usize>, least: f64) {
    let rate = codec.sample_rate();
    let said = voice(rate, 1.0, 1);
    let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
    let mut heard = Vec::with_capacity(said.len());
    for frame in said.chunks_exact(rate as usize / 50) {
        let (mut payload, mut decoded) = ([0; MAX_PAYLOAD], [0; 960]);
        let length = encoder.encode(frame, &mut payload);
        let samples = decoder.decode(&payload[..length], &mut decoded).unwrap();
        assert_eq!(samples, frame.len());
        heard.extend_from_slice(&decoded[..samples]);
    }
    let (lag, ratio) = alignment(&said, &heard, rate as usize / 50);
    println!("{codec:?}: {lag} samples late, {ratio:.1} dB");
    assert!(delay.contains(&lag), "{codec:?} is {lag} samples late");
    assert!(ratio >= least, "{codec:?} has {ratio} dB");
}
