//! No octets from outside make a decoder panic or write where it should not.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use unisono_rtp::codec::{Codec, DecodeError, Decoder, opus_pack};

const ALL: [Codec; 5] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::L16 { rate: 16000 },
    Codec::Opus,
];
const UNTOUCHED: i16 = 0x5a5a;

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(6716), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_writes_exactly_what_it_says(payloads in prop::collection::vec(payload(), 1..4), room in 0usize..6000) {
        for codec in ALL {
            let mut decoder = Decoder::new(codec);
            for payload in &payloads {
                let mut out = [UNTOUCHED; 6400];
                let expected = decoder.samples_in(payload);
                let result = decoder.decode(payload, &mut out[..room]);
                match expected {
                    None => prop_assert_eq!(result, Err(DecodeError::Malformed)),
                    Some(samples) if samples > room => prop_assert_eq!(result, Err(DecodeError::OutputTooSmall)),
                    Some(samples) => prop_assert_eq!(result, Ok(samples)),
                }
                let written = result.unwrap_or(0);
                prop_assert!(out[written..].iter().all(|&sample| sample == UNTOUCHED));
                let _ = decoder.is_silent(payload);
            }
        }
    }

    #[test]
    fn recovery_and_concealment_stay_within_their_output(payload in payload(), room in 0usize..6000) {
        for codec in ALL {
            let mut decoder = Decoder::new(codec);
            let mut out = [UNTOUCHED; 6400];
            for room in [room, room / 120 * 120] {
                let recovered = decoder.recover(&payload, &mut out[..room]);
                let concealed = decoder.conceal(&mut out[..room]);
                prop_assert_eq!(concealed, codec == Codec::Opus && room.is_multiple_of(120) && (120..=5760).contains(&room));
                prop_assert!(concealed || !recovered);
            }
            prop_assert!(out[room..].iter().all(|&sample| sample == UNTOUCHED));
        }
    }

    /// libopus judges the same way, and so RFC 6716 section 3.4 is kept.
    #[test]
    fn opus_packets_are_measured_as_libopus_measures_them(payload in payload()) {
        let mut reference = opusic_c::Decoder::new(opusic_c::Channels::Mono, opusic_c::SampleRate::Hz48000).unwrap();
        let mut out = [0; 5760];
        let theirs = if payload.is_empty() { None } else { reference.decode_to_slice(&payload, &mut out, false).ok() };
        prop_assert_eq!(opus_pack::samples_in(&payload), theirs);
    }

    #[test]
    fn merging_writes_only_packets(payloads in prop::collection::vec(payload(), 0..4), room in 0usize..3000) {
        let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
        let mut out = vec![0; room];
        if let Ok(length) = opus_pack::merge(&payloads, &mut out) {
            let parts = payloads.iter().map(|payload| opus_pack::samples_in(payload).unwrap());
            prop_assert_eq!(opus_pack::samples_in(&out[..length]), Some(parts.sum()));
        }
    }
}

#[test]
fn empty_payloads_are_malformed() {
    for codec in ALL {
        assert_eq!(Decoder::new(codec).samples_in(&[]), None);
        assert_eq!(
            Decoder::new(codec).decode(&[], &mut [0; 960]),
            Err(DecodeError::Malformed)
        );
    }
}

#[test]
fn half_a_sample_is_malformed() {
    let mut decoder = Decoder::new(Codec::L16 { rate: 8000 });
    assert_eq!(
        decoder.decode(&[1, 2, 3], &mut [0; 4]),
        Err(DecodeError::Malformed)
    );
}

/// Random octets, half of them with an Opus header of several frames, whose lengths are where mistakes live.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let octets = prop::collection::vec(any::<u8>(), 0..1500);
    let framed = (
        any::<u8>(),
        prop_oneof![0u8..8, 0x40u8..0x48, 0x80u8..0x88, any::<u8>()],
        0usize..1500,
    )
        .prop_flat_map(|(toc, count, length)| {
            prop::collection::vec(prop_oneof![0u8..20, any::<u8>()], length)
                .prop_map(move |body| [vec![toc | 3, count], body].concat())
        });
    let short = prop::collection::vec(prop_oneof![Just(255u8), 0u8..8, any::<u8>()], 0..12);
    prop_oneof![octets, framed, short]
}
