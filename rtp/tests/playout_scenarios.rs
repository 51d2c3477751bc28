//! The classic situations of a jitter buffer, for voice and for comfort noise, one test each.

mod support;

use support::{Datagram, Listener, MS, Source, tone};
use unisono_rtp::codec::Codec;
use unisono_rtp::playout::{Inserted, PacketKind, PlayoutConfig, Pulled};

const L16: Codec = Codec::L16 { rate: 8000 };

fn signal() -> impl Fn(usize) -> i16 + Copy {
    tone(500.0, 8000, 9000.0)
}

/// Comfort-noise packets every 100 ms.
fn noises(source: &mut Source, count: usize) -> Vec<Datagram> {
    (0..count)
        .map(|_| {
            let datagram = source.send_noise(&[50]);
            source.pause(100);
            datagram
        })
        .collect()
}

#[test]
fn nominal_voice() {
    let sent = Source::new(L16).run(2000, 20, signal());
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 100);
    let stats = listener.stats();
    assert_eq!(stats.inserted, 100);
    assert_eq!(stats.voice_samples, 16_000);
    assert_eq!(
        (
            stats.late,
            stats.lost,
            stats.duplicates,
            stats.reordered,
            stats.resyncs
        ),
        (0, 0, 0, 0, 0)
    );
}

#[test]
fn nominal_noise() {
    let sent = noises(&mut Source::new(L16), 10);
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 100);
    assert_eq!(listener.stats().inserted, 10);
    assert!(listener.count(Pulled::ComfortNoise) >= 44);
    assert_eq!(listener.count(Pulled::Concealed), 0);
}

#[test]
fn voice_out_of_order_is_put_in_order() {
    let ramp = |n: usize| (n % 30_000) as i16 + 1;
    let mut sent = Source::new(L16).run(2000, 20, ramp);
    for pair in sent.chunks_mut(10) {
        let (a, b) = (pair[4].at_ns, pair[5].at_ns);
        pair.swap(4, 5);
        (pair[4].at_ns, pair[5].at_ns) = (a + 10 * MS, b);
    }
    let mut listener = Listener::with(&PlayoutConfig {
        initial_delay_ms: 80,
        min_delay_ms: 60,
        ..PlayoutConfig::new(L16)
    });
    listener.listen(&sent, 100);
    let stats = listener.stats();
    assert_eq!(stats.reordered, 10);
    assert_eq!(
        (
            stats.late,
            stats.lost,
            stats.concealed_samples - concealed_at_end(&listener)
        ),
        (0, 0, 0)
    );
    let onset = listener.heard.iter().position(|&s| s != 0).unwrap();
    for n in 0..15_900 {
        assert_eq!(listener.heard[onset + n], ramp(n));
    }
}

/// Samples that were concealed because the stream ended.
fn concealed_at_end(listener: &Listener) -> u64 {
    160 * listener
        .frames
        .iter()
        .rev()
        .take_while(|&&frame| frame == Pulled::Concealed)
        .count() as u64
}

#[test]
fn noise_out_of_order_changes_nothing() {
    let mut source = Source::new(L16);
    let mut sent = source.run(200, 20, signal());
    sent.extend(noises(&mut source, 4));
    let last = sent.len() - 1;
    let at = sent[last].at_ns;
    sent.swap(last, last - 1);
    sent[last - 1].at_ns = at;
    sent[last].at_ns = at + MS;
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 200);
    assert_eq!(listener.stats().reordered, 1);
    assert_eq!(listener.frames.last(), Some(&Pulled::ComfortNoise));
    assert_eq!(listener.stats().lost, 0);
}

#[test]
fn lost_voice_is_concealed_in_its_place() {
    let mut sent = Source::new(L16).run(2000, 20, signal());
    sent.retain(|datagram| datagram.sequence % 10 != 5);
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    let stats = listener.stats();
    assert_eq!(stats.lost, 10);
    assert_eq!(stats.concealment_events, 10);
    assert_eq!(stats.concealed_samples, 1600);
    assert_eq!((stats.late, stats.resyncs, stats.stretches), (0, 0, 0));
    // A periodic sound loses nothing audible: it goes on in phase and at its place.
    let onset = listener.heard.iter().position(|&s| s != 0).unwrap();
    for (n, &heard) in listener.heard[onset..].iter().enumerate() {
        assert!(
            (heard - signal()(n + 1)).abs() < 200,
            "sample {n}: {heard} {}",
            signal()(n + 1)
        );
    }
}

#[test]
fn lost_noise_is_noise_all_the_same() {
    let mut source = Source::new(L16);
    let mut sent = source.run(200, 20, signal());
    sent.extend(noises(&mut source, 10));
    sent.remove(15);
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    assert_eq!(listener.stats().lost, 1);
    assert_eq!(listener.count(Pulled::Concealed), 0);
    assert!(listener.count(Pulled::ComfortNoise) >= 43);
}

#[test]
fn late_voice_is_dropped_once_later_audio_was_played() {
    let mut sent = Source::new(L16).run(2000, 20, signal());
    let mut late = sent.remove(50);
    late.at_ns += 100 * MS;
    let position = sent.partition_point(|datagram| datagram.at_ns <= late.at_ns);
    let mut listener = Listener::new(L16);
    listener.listen(&sent[..position], 0);
    assert_eq!(listener.stats().lost, 1);
    assert_eq!(listener.playout.insert(&late.packet()), Inserted::Late);
    assert_eq!((listener.stats().lost, listener.stats().late), (0, 1));
    assert_eq!(listener.playout.insert(&late.packet()), Inserted::Duplicate);
    listener.listen(&sent[position..], 0);
    assert_eq!(listener.stats().late, 1);
}

#[test]
fn late_noise_is_dropped() {
    let mut source = Source::new(L16);
    let mut sent = source.run(200, 20, signal());
    let mut noise = source.send_noise(&[40]);
    sent.extend(source.run(400, 20, signal()));
    noise.at_ns += 300 * MS;
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    assert_eq!(listener.playout.insert(&noise.packet()), Inserted::Late);
    assert_eq!(listener.tick(), Pulled::Voice);
}

#[test]
fn overflow_of_voice_drops_the_oldest_and_jumps_once() {
    let mut source = Source::new(L16);
    let mut sent = source.run(400, 20, signal());
    let mut burst = source.run(2000, 20, signal());
    for datagram in &mut burst {
        datagram.at_ns = sent[19].at_ns + 20 * MS;
    }
    let after = source.run(400, 20, signal());
    sent.extend(burst);
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 20);
    let stats = listener.stats();
    assert!(stats.overflowed > 60, "{stats:?}");
    assert_eq!(stats.resyncs, 1);
    assert!(stats.delay_ms <= 400, "{}", stats.delay_ms);
    listener.listen(&after, 0);
    assert!(listener.stats().delay_ms <= 400);
    assert_eq!(listener.frames.last(), Some(&Pulled::Voice));
}

#[test]
fn overflow_of_noise_is_harmless() {
    let mut source = Source::new(L16);
    let mut listener = Listener::new(L16);
    for _ in 0..1000 {
        let _ = listener.playout.insert(&source.send_noise(&[60]).packet());
    }
    for _ in 0..10 {
        let _ = listener.tick();
    }
    assert_eq!(listener.frames.last(), Some(&Pulled::ComfortNoise));
    assert!(listener.stats().overflowed > 900);
}

#[test]
fn voice_resynchronises_once_on_any_jump() {
    // Timestamp ahead, timestamp back, both numbers, sequence only.
    for (sequence, timestamp, marker) in [
        (0u16, 1_000_000u32, false),
        (0, 0u32.wrapping_sub(1_000_000), false),
        (0, 1 << 31, false),
        (20_000, 777_777, false),
        (20_000, 777_777, true),
        (40_000, 0u32.wrapping_sub(777_777), false),
        (30_000, 0, false),
    ] {
        let mut source = Source::new(L16);
        let sent = source.run(1000, 20, signal());
        let mut listener = Listener::new(L16);
        listener.listen(&sent, 0);
        source.sequence = source.sequence.wrapping_add(sequence);
        source.timestamp = source.timestamp.wrapping_add(timestamp);
        source.marker = marker;
        let sent = source.run(1000, 20, signal());
        listener.listen(&sent, 0);
        let stats = listener.stats();
        assert_eq!(
            stats.resyncs, 1,
            "{sequence} {timestamp} {marker}: {stats:?}"
        );
        assert!(stats.unconfirmed <= u64::from(sequence != 0 && timestamp != 0 && !marker));
        assert!(
            stats.concealed_samples <= 2 * 160 * (stats.unconfirmed + 1),
            "{stats:?}"
        );
        assert_eq!(stats.lost, 0);
        assert!(stats.delay_ms <= 60, "{}", stats.delay_ms);
        assert_eq!(listener.frames.last(), Some(&Pulled::Voice));
    }
}

#[test]
fn noise_resynchronises_once_on_any_jump() {
    let mut source = Source::new(L16);
    let sent = noises(&mut source, 10);
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    source.timestamp = source.timestamp.wrapping_add(123_456_789);
    let sent = noises(&mut source, 10);
    listener.listen(&sent, 0);
    assert_eq!(listener.stats().resyncs, 1);
    assert_eq!(listener.frames.last(), Some(&Pulled::ComfortNoise));
}

#[test]
fn one_stray_packet_disturbs_nothing() {
    let mut source = Source::new(L16);
    let mut listener = Listener::new(L16);
    listener.listen(&source.run(1000, 20, signal()), 0);
    let mut stray = source.clone().send(20, |_| 20_000);
    stray.sequence = stray.sequence.wrapping_add(9000);
    stray.timestamp = stray.timestamp.wrapping_add(1 << 30);
    assert_eq!(
        listener.playout.insert(&stray.packet()),
        Inserted::Unconfirmed
    );
    listener.listen(&source.run(1000, 20, signal()), 0);
    let stats = listener.stats();
    assert_eq!(
        (stats.resyncs, stats.concealed_samples, stats.lost),
        (0, 0, 0)
    );
}

#[test]
fn duplicates_are_counted_and_dropped() {
    let mut listener = Listener::new(L16);
    for datagram in Source::new(L16).run(400, 20, signal()) {
        listener.listen(std::slice::from_ref(&datagram), 0);
        assert_eq!(
            listener.playout.insert(&datagram.packet()),
            Inserted::Duplicate
        );
    }
    assert_eq!(listener.stats().duplicates, 20);
    assert_eq!(listener.stats().inserted, 20);
}

#[test]
fn malformed_payloads_are_counted_and_dropped() {
    let mut listener = Listener::new(L16);
    for payload in [&[][..], &[1], &[0; 100_000]] {
        let datagram = Datagram {
            sequence: 1,
            timestamp: 1,
            marker: false,
            payload: payload.to_vec(),
            kind: PacketKind::Voice,
            at_ns: 1,
        };
        assert_eq!(
            listener.playout.insert(&datagram.packet()),
            Inserted::Malformed
        );
    }
    assert_eq!(listener.stats().malformed, 3);
    assert_eq!(listener.tick(), Pulled::Idle);
}

#[test]
fn another_source_and_another_format_start_afresh() {
    let mut listener = Listener::new(L16);
    listener.listen(&Source::new(L16).run(1000, 20, signal()), 0);
    listener.playout.reset();
    assert_eq!(listener.tick(), Pulled::Idle);
    let mut other = Source::new(L16);
    other.sequence = 7;
    other.timestamp = 99;
    other.now_ns = listener.now_ns as f64;
    listener.listen(&other.run(1000, 20, signal()), 0);
    assert_eq!(listener.stats().lost, 0);
    assert_eq!(listener.frames.last(), Some(&Pulled::Voice));

    let memory = listener.playout.memory();
    assert!(!listener.playout.set_codec(Codec::L16 { rate: 48_000 }));
    assert_eq!(listener.playout.codec(), L16);
    assert!(listener.playout.set_codec(Codec::Pcmu));
    assert_eq!(listener.playout.memory(), memory);
    let mut source = Source::new(Codec::Pcmu);
    source.now_ns = listener.now_ns as f64;
    listener.decoder = unisono_rtp::codec::Decoder::new(Codec::Pcmu);
    listener.listen(&source.run(1000, 20, signal()), 0);
    assert_eq!(listener.frames.last(), Some(&Pulled::Voice));
}

#[test]
fn a_leg_of_g711_takes_at_most_eight_kibibytes() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let memory = Listener::new(codec).playout.memory();
        assert!(memory <= 8 * 1024, "{memory}");
        assert!(memory >= 4160, "room for the largest delay");
    }
}
