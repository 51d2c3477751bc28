//! The buffer with the formats that are more than a row of samples: G.722's clock, Opus and its own concealment.

mod support;

use support::voice::speech;
use support::{Datagram, Listener, Network};
use unisono_rtp::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusSettings};
use unisono_rtp::playout::{PacketKind, Pulled};

/// Encodes a voice into 20 ms packets, and decodes them in one go as the reference.
fn encoded(codec: Codec, seconds: usize) -> (Vec<Datagram>, Vec<i16>) {
    encoded_by(Encoder::new(codec), seconds)
}

fn encoded_by(mut encoder: Encoder, seconds: usize) -> (Vec<Datagram>, Vec<i16>) {
    let codec = encoder.codec();
    let frame = codec.sample_rate() as usize / 50;
    let voice = speech(codec.sample_rate(), seconds, 1);
    let mut decoder = Decoder::new(codec);
    let mut reference = Vec::new();
    let mut sent = Vec::new();
    for (n, samples) in voice.chunks_exact(frame).enumerate() {
        let mut payload = vec![0; MAX_PAYLOAD];
        let len = encoder.encode(samples, &mut payload);
        payload.truncate(len);
        let mut out = vec![0; frame];
        assert_eq!(decoder.decode(&payload, &mut out), Ok(frame));
        reference.extend_from_slice(&out);
        sent.push(Datagram {
            sequence: n as u16,
            timestamp: (n as u32)
                .wrapping_mul(codec.clock_rate() / 50)
                .wrapping_sub(5000),
            marker: n == 0,
            payload,
            kind: PacketKind::Voice,
            at_ns: 1_000_000_000 + n as u64 * 20_000_000,
        });
    }
    (sent, reference)
}

#[test]
fn an_undisturbed_stream_is_decoded_as_it_is() {
    for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus] {
        let (sent, reference) = encoded(codec, 20);
        let mut listener = Listener::new(codec);
        listener.listen(&sent, 60);
        let stats = listener.stats();
        assert_eq!(
            (stats.lost, stats.late, stats.resyncs, stats.stretches),
            (0, 0, 0, 0),
            "{codec:?}: {stats:?}"
        );
        let start = listener
            .frames
            .iter()
            .position(|&frame| frame != Pulled::Idle && frame != Pulled::Silence);
        let start = start.unwrap() * listener.frame;
        let count = reference.len() - 2 * listener.frame;
        let differing = reference[..count]
            .iter()
            .zip(&listener.heard[start..])
            .filter(|(a, b)| a != b && a.unsigned_abs() > 64)
            .count();
        assert_eq!(differing, 0, "{codec:?}");
    }
}

#[test]
fn losses_are_concealed_and_counted_in_every_format() {
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        let (sent, _) = encoded(codec, 30);
        let mut network = Network {
            gilbert: Some((0.05, 0.6)),
            ..Network::new(3)
        };
        let arrived = network.carry(sent.clone());
        let missing = (sent.len() - arrived.len()) as u64;
        let mut listener = Listener::new(codec);
        listener.listen(&arrived, 0);
        let stats = listener.stats();
        assert!(
            stats.lost.abs_diff(missing) <= 3,
            "{codec:?}: {stats:?} {missing}"
        );
        let made_up = (stats.concealed_samples + stats.recovered_samples) / listener.frame as u64;
        assert!(
            made_up * 10 >= missing * 9,
            "{codec:?}: {made_up} of {missing}, {stats:?}"
        );
        assert_eq!((stats.resyncs, stats.malformed), (0, 0));
        assert!(stats.delay_ms <= 80);
    }
}

#[test]
fn opus_delay_is_changed_by_splices_and_never_by_lost_frames() {
    let (mut sent, _) = encoded(Codec::Opus, 40);
    // The source's clock is 1000 ppm slow, then fast.
    for ppm in [1000i64, -1000] {
        for (n, datagram) in sent.iter_mut().enumerate() {
            datagram.at_ns = 1_000_000_000 + n as u64 * (20_000_000 + 20 * ppm) as u64;
        }
        let mut listener = Listener::new(Codec::Opus);
        listener.listen(&sent, 0);
        let stats = listener.stats();
        assert_eq!(
            (stats.lost, stats.late, stats.resyncs),
            (0, 0, 0),
            "{stats:?}"
        );
        assert!(stats.stretches > 0, "{stats:?}");
        assert!(stats.concealed_samples <= 960 * 2, "{stats:?}");
        assert!(
            listener.delays[50..]
                .iter()
                .all(|&ms| (10..=90).contains(&ms))
        );
    }
}

#[test]
fn redundancy_in_the_next_opus_packet_replaces_the_lost_one() {
    let settings = OpusSettings {
        expected_loss: 20,
        ..OpusSettings::default()
    };
    let (mut sent, _) = encoded_by(Encoder::opus(settings), 30);
    let all = sent.clone();
    sent.retain(|datagram| datagram.sequence % 10 != 5);
    let mut listener = Listener::new(Codec::Opus);
    listener.listen(&sent, 60);
    let stats = listener.stats();
    let lost = (all.len() - sent.len()) as u64;
    assert_eq!(stats.lost, lost);
    assert!(stats.recovered_samples / 960 > lost / 2, "{stats:?}");
    assert_eq!(
        stats.recovered_samples + stats.concealed_samples,
        (lost + 1) * 960
    );
    assert_eq!(stats.resyncs + stats.stretches, 0);
}

#[test]
fn a_packet_that_cannot_be_decoded_is_concealed() {
    let (mut sent, _) = encoded(Codec::Opus, 10);
    // A table of contents that promises two frames of equal length, and an odd rest.
    sent[200].payload = vec![19 << 3 | 1, 0, 0, 0];
    for datagram in &mut sent[201..] {
        datagram.timestamp = datagram.timestamp.wrapping_add(960);
        datagram.at_ns += 20_000_000;
    }
    let mut listener = Listener::new(Codec::Opus);
    listener.listen(&sent, 0);
    let stats = listener.stats();
    assert_eq!(
        (stats.malformed, stats.lost, stats.resyncs),
        (1, 1, 0),
        "{stats:?}"
    );
    assert_eq!(stats.concealment_events, 1, "{stats:?}");
    assert_eq!(stats.concealed_samples + stats.recovered_samples, 2 * 960);
}

#[test]
fn memory_is_reported_for_every_format() {
    for codec in [
        Codec::Pcmu,
        Codec::G722,
        Codec::L16 { rate: 16_000 },
        Codec::L16 { rate: 48_000 },
        Codec::Opus,
    ] {
        let memory = Listener::new(codec).playout.memory();
        println!("{codec:?}: {memory} bytes");
        assert!(memory <= 72 * 1024, "{codec:?}: {memory}");
    }
}
