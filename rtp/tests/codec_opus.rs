//! Opus: moving a listener between streams, loss, and packets of other people's encoders.

use unisono_rtp::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusSettings};

mod likeness;
mod voice;
use likeness::{alignment, signal_to_noise};
use voice::voice;

const FRAME: usize = 960;

#[test]
fn a_copied_state_goes_on_as_the_original_would() {
    for codec in [Codec::Opus, Codec::G722] {
        let frame = codec.sample_rate() as usize / 50;
        let (common, own) = (
            voice(codec.sample_rate(), 2.0, 1),
            voice(codec.sample_rate(), 2.0, 2),
        );
        let (common, own) = (frames(&common, frame), frames(&own, frame));
        let mut stay = Encoder::new(codec);
        let mut moved = Encoder::new(codec);
        let mut fresh = Encoder::new(codec);
        let (mut listener, mut mover) = (Decoder::new(codec), Decoder::new(codec));
        let mut fresh_differs = false;
        for (number, (&common, &own)) in common.iter().zip(&own).enumerate() {
            if number == 50 {
                assert!(moved.copy_state_from(&stay));
            }
            let payload = encode(&mut stay, common);
            let other = encode(&mut moved, if number < 50 { own } else { common });
            if number >= 50 {
                fresh_differs |= encode(&mut fresh, common) != payload;
            }
            let heard = decode(&mut listener, &payload);
            let heard_by_mover = decode(&mut mover, if number < 50 { &payload } else { &other });
            assert!(heard == heard_by_mover, "{codec:?} frame {number}");
        }
        assert!(fresh_differs, "the state makes no difference");
    }
}

#[test]
fn a_copied_state_outlives_the_original() {
    let said = voice(48000, 1.0, 3);
    let said = frames(&said, FRAME);
    let mut original = Encoder::new(Codec::Opus);
    said[..20]
        .iter()
        .for_each(|frame| drop(encode(&mut original, frame)));
    let mut copy = Encoder::new(Codec::Opus);
    copy.copy_state_from(&original);
    let known: Vec<_> = said[20..]
        .iter()
        .map(|frame| encode(&mut original, frame))
        .collect();
    drop(original);
    let moved = Box::new(copy);
    let mut copy = *moved;
    let copied: Vec<_> = said[20..]
        .iter()
        .map(|frame| encode(&mut copy, frame))
        .collect();
    assert!(copied == known);
}

#[test]
fn states_of_different_formats_are_not_copied() {
    assert!(!Encoder::new(Codec::Opus).copy_state_from(&Encoder::new(Codec::G722)));
    assert!(
        !Encoder::new(Codec::L16 { rate: 8000 })
            .copy_state_from(&Encoder::new(Codec::L16 { rate: 16000 }))
    );
    assert!(Encoder::new(Codec::Pcmu).copy_state_from(&Encoder::new(Codec::Pcmu)));
}

#[test]
fn reset_encoders_and_decoders_are_as_new() {
    let said = voice(48000, 0.4, 4);
    let said = frames(&said, FRAME);
    let (mut encoder, mut decoder) = (Encoder::new(Codec::Opus), Decoder::new(Codec::Opus));
    let mut run = || -> Vec<Vec<i16>> {
        said.iter()
            .map(|frame| decode(&mut decoder, &encode(&mut encoder, frame)))
            .collect()
    };
    let first = run();
    assert!(run() != first);
    encoder.reset();
    decoder.reset();
    let mut run = || -> Vec<Vec<i16>> {
        said.iter()
            .map(|frame| decode(&mut decoder, &encode(&mut encoder, frame)))
            .collect()
    };
    assert!(run() == first);
}

#[test]
fn redundancy_recovers_what_concealment_can_only_guess() {
    let said = voice(48000, 4.0, 5);
    let payloads = payloads(
        OpusSettings {
            expected_loss: 20,
            ..OpusSettings::default()
        },
        &said,
    );
    let mut whole = Decoder::new(Codec::Opus);
    let reference: Vec<_> = payloads
        .iter()
        .map(|payload| decode(&mut whole, payload))
        .collect();

    // Every tenth frame is lost, first just before the syllables change.
    let lost = |number: usize| number % 10 == 1 && number > 10;
    let play = |recover: bool| {
        let mut decoder = Decoder::new(Codec::Opus);
        let mut repaired = Vec::new();
        for (number, payload) in payloads.iter().enumerate() {
            if !lost(number) {
                decode(&mut decoder, payload);
                continue;
            }
            let mut out = [0; FRAME];
            if recover {
                assert!(
                    decoder.recover(&payloads[number + 1], &mut out),
                    "no redundancy after frame {number}"
                );
            } else {
                assert!(decoder.conceal(&mut out));
            }
            repaired.extend_from_slice(&out);
        }
        let known: Vec<_> = (0..payloads.len())
            .filter(|&number| lost(number))
            .flat_map(|number| reference[number].clone())
            .collect();
        signal_to_noise(&known, &repaired)
    };
    let (recovered, concealed) = (play(true), play(false));
    println!("recovered {recovered:.1} dB, concealed {concealed:.1} dB");
    assert!(
        recovered > concealed + 3.0,
        "recovered {recovered} dB, concealed {concealed} dB"
    );
}

#[test]
fn without_redundancy_nothing_is_recovered() {
    let said = voice(48000, 0.4, 6);
    let settings = OpusSettings {
        fec: false,
        ..OpusSettings::default()
    };
    let mut decoder = Decoder::new(Codec::Opus);
    for payload in payloads(settings, &said) {
        let mut out = [7; FRAME];
        assert!(!decoder.recover(&payload, &mut out));
        assert_eq!(out, [7; FRAME]);
        decode(&mut decoder, &payload);
    }
    assert!(!Decoder::new(Codec::G722).recover(&[0; 160], &mut [0; 320]));
    assert!(!Decoder::new(Codec::Pcmu).conceal(&mut [0; 160]));
}

#[test]
fn concealment_fades_and_takes_any_length_of_opus() {
    let said = voice(48000, 0.5, 7);
    let mut decoder = Decoder::new(Codec::Opus);
    for payload in payloads(OpusSettings::default(), &said) {
        decode(&mut decoder, &payload);
    }
    for length in [0, 119, 121, 5880] {
        assert!(!decoder.conceal(&mut vec![0; length]), "{length}");
    }
    for length in [120, 480, 960, 1080, 2880, 5760] {
        assert!(decoder.conceal(&mut vec![0; length]), "{length}");
    }
    let mut out = [0; 5760];
    (0..20).for_each(|_| assert!(decoder.conceal(&mut out)));
    let loudest = out.iter().map(|sample| sample.unsigned_abs()).max();
    assert!(loudest < Some(100), "{loudest:?} after two seconds");
}

#[test]
fn a_stereo_stream_is_heard_in_mono() {
    let (left, right) = (voice(48000, 1.0, 8), voice(48000, 1.0, 9));
    let mut encoder = opusic_c::Encoder::new(
        opusic_c::Channels::Stereo,
        opusic_c::SampleRate::Hz48000,
        opusic_c::Application::Audio,
    )
    .unwrap();
    encoder
        .set_bitrate(opusic_c::Bitrate::Value(256_000))
        .unwrap();
    let mut decoder = Decoder::new(Codec::Opus);
    let mut heard = Vec::new();
    for (left, right) in left.chunks(FRAME).zip(right.chunks(FRAME)) {
        let both: Vec<f32> = left
            .iter()
            .zip(right)
            .flat_map(|(&l, &r)| [f32::from(l) / 32768.0, f32::from(r) / 32768.0])
            .collect();
        let mut payload = [0; MAX_PAYLOAD];
        let length = encoder.encode_float_to_slice(&both, &mut payload).unwrap();
        assert_eq!(payload[0] & 4, 4, "the packet is stereo");
        heard.extend(decode(&mut decoder, &payload[..length]));
    }
    let mono: Vec<i16> = left
        .iter()
        .zip(&right)
        .map(|(&l, &r)| l / 2 + r / 2)
        .collect();
    let (lag, ratio) = alignment(&mono, &heard, FRAME);
    assert!(ratio > 20.0, "{ratio} dB, {lag} samples late");
}

#[test]
fn frames_of_every_length_of_opus_are_encoded_and_others_refused() {
    let said = voice(48000, 0.1, 10);
    for length in [120, 240, 480, 960, 1920, 2880] {
        let payload = encode(&mut Encoder::new(Codec::Opus), &said[..length]);
        assert_eq!(Decoder::new(Codec::Opus).samples_in(&payload), Some(length));
    }
    let mut encoder = Encoder::new(Codec::Opus);
    for length in [0, 100, 961, 3000] {
        assert_eq!(
            encoder.encode(&said[..length], &mut [0; MAX_PAYLOAD]),
            0,
            "{length}"
        );
    }
    assert_eq!(encoder.encode(&said[..960], &mut []), 0);
}

#[test]
fn settings_change_the_bit_rate_and_extremes_are_tamed() {
    let said = voice(48000, 1.0, 11);
    let octets = |settings| {
        payloads(settings, &said)
            .iter()
            .map(Vec::len)
            .sum::<usize>()
    };
    let normal = octets(OpusSettings::default());
    assert!(
        (2000..=6000).contains(&normal),
        "{normal} octets a second at 32 kbit/s"
    );
    let low = octets(OpusSettings {
        bitrate: 12_000,
        ..OpusSettings::default()
    });
    assert!(low * 3 < normal * 2, "{low} against {normal}");
    let wild = OpusSettings {
        bitrate: u32::MAX,
        complexity: 255,
        fec: true,
        expected_loss: 255,
    };
    assert!(octets(wild) > normal);
}

#[test]
fn packets_that_only_mark_a_pause_are_silent() {
    let decoder = Decoder::new(Codec::Opus);
    assert!(decoder.is_silent(&[0x78]));
    assert!(decoder.is_silent(&[0x78, 0]));
    assert!(!decoder.is_silent(&[0x78, 0, 0]));
}

fn payloads(settings: OpusSettings, said: &[i16]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::opus(settings);
    said.chunks_exact(FRAME)
        .map(|frame| encode(&mut encoder, frame))
        .collect()
}

fn frames(samples: &[i16], length: usize) -> Vec<&[i16]> {
    samples.chunks_exact(length).collect()
}

fn encode(encoder: &mut Encoder, frame: &[i16]) -> Vec<u8> {
    let mut payload = [0; MAX_PAYLOAD];
    let length = encoder.encode(frame, &mut payload);
    assert_ne!(length, 0);
    payload[..length].to_vec()
}

fn decode(decoder: &mut Decoder, payload: &[u8]) -> Vec<i16> {
    let mut out = [0; 5760];
    let samples = decoder.decode(payload, &mut out).unwrap();
    out[..samples].to_vec()
}
