//! G.711 and L16: every input against an independent implementation or the definition.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use unisono_rtp::codec::{Codec, Decoder, Encoder, SILENCE_PEAK};

#[test]
fn every_sample_encodes_as_the_reference_does() {
    let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    for (codec, reference) in [
        (Codec::Pcmu, encode_ulaw as fn(i16) -> u8),
        (Codec::Pcma, encode_alaw),
    ] {
        let mut codes = vec![0; all.len()];
        assert_eq!(Encoder::new(codec).encode(&all, &mut codes), all.len());
        for (&sample, &code) in all.iter().zip(&codes) {
            assert_eq!(code, reference(sample), "{codec:?} of {sample}");
        }
    }
}

#[test]
fn every_code_decodes_as_the_reference_does() {
    let all: Vec<u8> = (0..=255).collect();
    for (codec, reference) in [
        (Codec::Pcmu, decode_ulaw as fn(u8) -> i16),
        (Codec::Pcma, decode_alaw),
    ] {
        let mut samples = vec![0; all.len()];
        assert_eq!(
            Decoder::new(codec).decode(&all, &mut samples),
            Ok(all.len())
        );
        for (&code, &sample) in all.iter().zip(&samples) {
            assert_eq!(sample, reference(code), "{codec:?} of {code:#04x}");
        }
    }
}

/// Synchronous coding: a chain of conferences adds no noise.
#[test]
fn coding_again_changes_nothing() {
    let all: Vec<u8> = (0..=255).collect();
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let (mut samples, mut codes, mut again) = ([0; 256], [0; 256], [0; 256]);
        Decoder::new(codec).decode(&all, &mut samples).unwrap();
        Encoder::new(codec).encode(&samples, &mut codes);
        Decoder::new(codec).decode(&codes, &mut again).unwrap();
        assert_eq!(samples, again);
    }
}

#[test]
fn silence_is_told_by_the_peak() {
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::L16 { rate: 16000 }] {
        let mut decoder = Decoder::new(codec);
        let silence = code_of(codec, 0);
        for sample in (i16::MIN..=i16::MAX).step_by(7).chain(-200..200) {
            // One sample at the end of an otherwise silent payload.
            let code = code_of(codec, sample);
            let payload = [silence.repeat(159), code.clone()].concat();
            let mut decoded = [0; 1];
            decoder.decode(&code, &mut decoded).unwrap();
            let silent = decoded[0].unsigned_abs() <= SILENCE_PEAK;
            assert_eq!(decoder.is_silent(&payload), silent, "{codec:?} of {sample}");
        }
    }
}

#[test]
fn l16_is_big_endian_and_exact() {
    let codec = Codec::L16 { rate: 48000 };
    let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
    let mut octets = vec![0; all.len() * 2];
    assert_eq!(Encoder::new(codec).encode(&all, &mut octets), octets.len());
    assert_eq!(octets[..4], [0x80, 0x00, 0x80, 0x01]);
    let mut back = vec![0; all.len()];
    assert_eq!(
        Decoder::new(codec).decode(&octets, &mut back),
        Ok(all.len())
    );
    assert!(back == all);
}

fn code_of(codec: Codec, sample: i16) -> Vec<u8> {
    let mut octets = [0; 2];
    let length = Encoder::new(codec).encode(&[sample], &mut octets);
    octets[..length].to_vec()
}
