//! Merged Opus packets decode to the same audio and are those that libopus would make.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use unisono_rtp::codec::opus_pack::{MergeError, merge, samples_in};
use unisono_rtp::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD};

mod voice;
use voice::voice;

#[test]
fn merged_packets_decode_to_the_same_audio() {
    let packets = packets(960);
    for count in 1..=6 {
        let (mut single, mut merged) = (Decoder::new(Codec::Opus), Decoder::new(Codec::Opus));
        let mut compared = 0;
        for group in packets.chunks_exact(count) {
            let mut known = Vec::new();
            for packet in group {
                let mut out = [0; 960];
                assert_eq!(single.decode(packet, &mut out), Ok(960));
                known.extend_from_slice(&out);
            }
            let slices: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
            let mut packet = [0; 4000];
            let mut heard = vec![0; 960 * count];
            match merge(&slices, &mut packet) {
                Ok(length) => {
                    assert_eq!(samples_in(&packet[..length]), Some(960 * count));
                    assert_eq!(
                        merged.decode(&packet[..length], &mut heard),
                        Ok(960 * count)
                    );
                    compared += 1;
                }
                Err(MergeError::ConfigurationDiffers) => {
                    for (packet, out) in group.iter().zip(heard.chunks_mut(960)) {
                        assert_eq!(merged.decode(packet, out), Ok(960));
                    }
                }
                Err(error) => panic!("{error}"),
            }
            assert!(heard == known, "{count} packets at once");
        }
        assert!(
            compared * count > packets.len() / 2,
            "only {compared} packets of {count} were merged"
        );
    }
}

#[test]
fn what_cannot_be_merged_is_refused_with_the_reason() {
    let (long, short) = (packets(960), packets(480));
    let mut out = [0; 4000];
    assert_eq!(merge(&[], &mut out), Err(MergeError::Malformed));
    assert_eq!(
        merge(&[&long[0], &[]], &mut out),
        Err(MergeError::Malformed)
    );
    assert_eq!(
        merge(&[&long[0], &short[0]], &mut out),
        Err(MergeError::ConfigurationDiffers)
    );
    assert_eq!(
        merge(&[&long[0][..]; 7], &mut out),
        Err(MergeError::TooLong)
    );
    let length = merge(&[&long[0][..]; 3], &mut out).unwrap();
    assert_eq!(
        merge(&[&long[0][..]; 3], &mut out[..length - 1]),
        Err(MergeError::OutputTooSmall)
    );
}

/// RFC 6716 section 3.4, rule by rule.
#[test]
fn malformed_packets_have_no_duration() {
    let frame_too_long = [&[0x78][..], &[0; 1276]].concat();
    let two_frames_too_long = [&[0x79][..], &[0; 2552]].concat();
    for (packet, rule) in [
        (&[][..], "R1: at least one octet"),
        (&frame_too_long, "R2: a frame has at most 1275 octets"),
        (&two_frames_too_long, "R2 for two frames"),
        (&[0x79, 1, 2, 3], "R3: two equal frames have an even length"),
        (&[0x7a], "R4: the first frame's length is missing"),
        (
            &[0x7a, 252],
            "R4: half of the first frame's length is missing",
        ),
        (
            &[0x7a, 3, 1, 2],
            "R4: the first frame is longer than the packet",
        ),
        (&[0x7b], "R6: the count is missing"),
        (&[0x7b, 0], "R5: no frames"),
        (&[0x7b, 7, 1, 2, 3, 4, 5, 6, 7], "R5: 140 ms"),
        (
            &[0x7b, 2, 1, 2, 3],
            "R6: equal frames do not divide the packet",
        ),
        (&[0x7b, 0x41, 5, 1, 2], "R6: more padding than packet"),
        (&[0x7b, 0x41, 255], "R6: the padding's length is cut off"),
        (&[0x7b, 0x82], "R7: the list of lengths is cut off"),
        (
            &[0x7b, 0x82, 4, 1, 2, 3],
            "R7: the frames are longer than the packet",
        ),
    ] {
        assert_eq!(samples_in(packet), None, "{rule}");
    }
    for (packet, samples) in [
        (&[0x78][..], 960),
        (&[0x7b, 6, 1, 2, 3, 4, 5, 6], 5760),
        (&[0x7b, 0x41, 2, 9, 0, 0], 960),
        (&[0x18, 1], 2880),
        (&[0xe0, 1], 120),
        (&[0x68, 1], 960),
    ] {
        assert_eq!(samples_in(packet), Some(samples), "{packet:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(6716), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_makes_the_packets_that_libopus_makes(frames in frames()) {
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let mut ours = vec![0; 8000];
        let length = merge(&slices, &mut ours).unwrap();
        let mut theirs = vec![std::mem::MaybeUninit::new(0u8); 8000];
        let their_length = opusic_c::repacketizer::Repacketizer::new().unwrap().combine_all(&slices, &mut theirs).unwrap();
        prop_assert_eq!(length, their_length);
        // SAFETY: every octet was written when the vector was made.
        let theirs = theirs.iter().map(|octet| unsafe { octet.assume_init() });
        prop_assert!(ours[..length].iter().copied().eq(theirs.take(length)));
    }

    #[test]
    fn merging_in_steps_is_merging_at_once(frames in frames(), cut in 0usize..6) {
        let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let cut = 1 + cut % slices.len();
        let (mut at_once, mut first, mut second, mut in_steps) = ([0; 8000], [0; 8000], [0; 8000], [0; 8000]);
        let length = merge(&slices, &mut at_once).unwrap();
        let first_length = merge(&slices[..cut], &mut first).unwrap();
        let steps = if cut < slices.len() {
            let second_length = merge(&slices[cut..], &mut second).unwrap();
            merge(&[&first[..first_length], &second[..second_length]], &mut in_steps).unwrap()
        } else {
            merge(&[&first[..first_length]], &mut in_steps).unwrap()
        };
        prop_assert!(at_once[..length] == in_steps[..steps]);
    }
}

/// One to six packets of one frame each, 20 ms, of all lengths that are written differently.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let length = prop_oneof![Just(40usize), 0usize..4, 250usize..258, 0usize..=1275];
    let frame = length.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    prop::collection::vec(
        frame.prop_map(|frame| [&[0x78][..], &frame].concat()),
        1..=6,
    )
}

fn packets(frame: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(Codec::Opus);
    let said = voice(48000, 2.0, 12);
    let encode = |frame: &[i16]| {
        let mut payload = [0; MAX_PAYLOAD];
        let length = encoder.encode(frame, &mut payload);
        payload[..length].to_vec()
    };
    said.chunks_exact(frame).map(encode).collect()
}
