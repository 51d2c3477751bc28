//! G.722 against known answers of independent codecs, which `codec_g722/make_fixtures.py` makes and documents.

use unisono_rtp::codec::{Codec, Decoder, Encoder};

#[test]
fn encodes_as_ffmpeg_and_libspandsp_do() {
    let signal = samples(include_bytes!("codec_g722/signal.pcm"));
    let known = include_bytes!("codec_g722/signal.g722");
    let mut encoder = Encoder::new(Codec::G722);
    let mut out = [0; 160];
    for (frame, known) in signal.chunks(320).zip(known.chunks(160)) {
        assert_eq!(encoder.encode(frame, &mut out), 160);
        assert_eq!(out, known);
    }
}

#[test]
fn decodes_as_ffmpeg_and_libspandsp_do() {
    let coded = include_bytes!("codec_g722/signal.g722");
    assert_decodes(coded, &samples(include_bytes!("codec_g722/decoded.pcm")));
}

#[test]
fn decodes_octets_that_no_encoder_sends_as_ffmpeg_does() {
    let coded = include_bytes!("codec_g722/noise.g722");
    assert_decodes(coded, &samples(include_bytes!("codec_g722/noise.pcm")));
}

#[test]
fn payloads_can_be_cut_anywhere() {
    let coded = include_bytes!("codec_g722/signal.g722");
    let known = samples(include_bytes!("codec_g722/decoded.pcm"));
    let mut decoder = Decoder::new(Codec::G722);
    let mut decoded = Vec::new();
    let mut rest = &coded[..];
    for length in [80, 160, 1, 7, 240, 480].into_iter().cycle() {
        let (payload, after) = rest.split_at(length.min(rest.len()));
        let mut out = [0; 960];
        let count = decoder.decode(payload, &mut out).unwrap();
        decoded.extend_from_slice(&out[..count]);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert!(decoded == known);
}

#[test]
fn reset_forgets_the_last_source() {
    let coded = include_bytes!("codec_g722/signal.g722");
    let known = samples(include_bytes!("codec_g722/decoded.pcm"));
    let mut decoder = Decoder::new(Codec::G722);
    let mut out = vec![0; known.len()];
    decoder.decode(coded, &mut out).unwrap();
    decoder.reset();
    decoder.decode(coded, &mut out).unwrap();
    assert!(out == known);
}

fn assert_decodes(coded: &[u8], known: &[i16]) {
    let mut decoder = Decoder::new(Codec::G722);
    let mut out = [0; 320];
    for (number, (payload, known)) in coded.chunks(160).zip(known.chunks(320)).enumerate() {
        let count = decoder.decode(payload, &mut out).unwrap();
        let differs = out[..count]
            .iter()
            .zip(known)
            .position(|(ours, theirs)| ours != theirs);
        assert_eq!((count, differs), (known.len(), None), "frame {number}");
    }
}

fn samples(octets: &[u8]) -> Vec<i16> {
    octets
        .as_chunks()
        .0
        .iter()
        .map(|&pair| i16::from_le_bytes(pair))
        .collect()
}
