//! What a codec is called and measured by in SDP.

use unisono_rtp::codec::Codec;

const ALL: [Codec; 8] = [
    Codec::Pcmu,
    Codec::Pcma,
    Codec::G722,
    Codec::L16 { rate: 8000 },
    Codec::L16 { rate: 16000 },
    Codec::L16 { rate: 24000 },
    Codec::L16 { rate: 48000 },
    Codec::Opus,
];

#[test]
fn every_codec_is_found_by_its_own_rtpmap() {
    for codec in ALL {
        let name = codec.encoding_name().to_uppercase();
        let found = Codec::from_rtpmap(&name, codec.clock_rate(), codec.channels_in_rtpmap());
        assert_eq!(found, Some(codec));
    }
}

#[test]
fn every_static_payload_type_leads_back_to_its_codec() {
    for codec in ALL {
        if let Some(payload_type) = codec.static_payload_type() {
            assert_eq!(Codec::from_static_payload_type(payload_type), Some(codec));
        }
    }
    let known = (0..=127).filter(|&number| Codec::from_static_payload_type(number).is_some());
    assert_eq!(known.collect::<Vec<u8>>(), [0, 8, 9]);
}

#[test]
fn formats_that_are_not_ours_are_refused() {
    for (name, clock_rate, channels) in [
        ("PCMU", 16000, 1),
        ("PCMU", 8000, 2),
        ("G722", 16000, 1),
        ("L16", 44100, 1),
        ("L16", 48000, 2),
        ("opus", 48000, 1),
        ("opus", 16000, 2),
        ("telephone-event", 8000, 1),
        ("", 8000, 1),
    ] {
        assert_eq!(
            Codec::from_rtpmap(name, clock_rate, channels),
            None,
            "{name}/{clock_rate}/{channels}"
        );
    }
}

#[test]
fn payload_lengths_are_those_of_rfc_3551() {
    let lengths = ALL.map(|codec| codec.bytes_for_samples(codec.sample_rate() as usize / 50));
    assert_eq!(
        lengths,
        [
            Some(160),
            Some(160),
            Some(160),
            Some(320),
            Some(640),
            Some(960),
            Some(1920),
            None
        ]
    );
    assert_eq!(
        ALL.map(Codec::is_sample_based),
        lengths.map(|length| length.is_some())
    );
}
