//! What must not be heard: nothing of the buffer, on a network that gives no reason for it.

mod support;

use support::{Listener, MS, Source, tone};
use unisono_rtp::codec::Codec;
use unisono_rtp::playout::{PacketKind, Pulled};

const L16: Codec = Codec::L16 { rate: 8000 };

/// The heard samples from the first that is not zero on.
fn from_onset(heard: &[i16]) -> &[i16] {
    let onset = heard.iter().position(|&s| s != 0).unwrap();
    &heard[onset..]
}

#[test]
fn a_tone_of_ten_minutes_comes_out_bit_exact() {
    let signal = tone(1000.0, 8000, 12_000.0);
    let mut source = Source::new(L16);
    let sent = source.run(600_000, 20, |n| signal(n + 1));
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    let heard = from_onset(&listener.heard);
    assert!(heard.len() > 4_790_000, "{}", heard.len());
    for (n, &sample) in heard.iter().enumerate() {
        assert_eq!(sample, signal(n + 1), "sample {n}");
    }
    let stats = listener.stats();
    assert_eq!(
        (
            stats.concealed_samples,
            stats.stretches,
            stats.resyncs,
            stats.lost,
            stats.late
        ),
        (0, 0, 0, 0, 0)
    );
    assert!(stats.delay_ms <= 40, "{}", stats.delay_ms);
}

#[test]
fn the_packet_duration_may_change_at_any_time() {
    // A ramp: every sample tells its place.
    let ramp = |n: usize| (n % 30_000) as i16 + 100;
    let mut source = Source::new(L16);
    let mut sent = Vec::new();
    for ptime in [20, 10, 30, 60, 40, 20, 50, 10, 20] {
        sent.extend(source.run(1200, ptime, ramp));
    }
    // A packet is sent when its last sample is there, so longer ones arrive later.
    for datagram in &mut sent {
        datagram.at_ns += datagram.payload.len() as u64 / 16 * MS;
    }
    let mut config = unisono_rtp::playout::PlayoutConfig::new(L16);
    config.min_delay_ms = 80;
    config.initial_delay_ms = 100;
    let mut listener = Listener::with(&config);
    listener.listen(&sent, 0);
    assert_eq!(
        listener.stats().lost + listener.stats().late + listener.stats().concealed_samples,
        0
    );
    assert_eq!(listener.stats().stretches, 0, "{:?}", listener.stats());
    for (n, &sample) in from_onset(&listener.heard).iter().enumerate() {
        assert_eq!(sample, ramp(n), "sample {n}");
    }
}

#[test]
fn pauses_keep_their_length_and_cost_nothing() {
    let signal = tone(500.0, 8000, 9000.0);
    let mut source = Source::new(L16);
    let mut sent = Vec::new();
    for _ in 0..20 {
        sent.extend(source.run(600, 20, signal));
        source.pause(700);
    }
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 100);
    let stats = listener.stats();
    assert_eq!(
        (stats.lost, stats.late, stats.resyncs, stats.delayed_outages),
        (0, 0, 0, 0)
    );
    // Every frame that was sent is heard, whole.
    assert_eq!(stats.voice_samples, 20 * 600 * 8);
    assert!(
        listener.count(Pulled::Silence) > 19 * 25,
        "{}",
        listener.count(Pulled::Silence)
    );
}

#[test]
fn comfort_noise_fills_pauses_until_the_voice_returns() {
    let signal = tone(500.0, 8000, 9000.0);
    let mut source = Source::new(L16);
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.extend(source.run(600, 20, signal));
        sent.push(source.send_noise(&[45, 100, 140]));
        source.pause(900);
    }
    sent.extend(source.run(200, 20, signal));
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    assert_eq!(listener.count(Pulled::Concealed), 0);
    let noisy = listener.count(Pulled::ComfortNoise);
    assert!((5 * 44..=5 * 46).contains(&noisy), "{noisy}");
    // No hole between voice and noise, once started.
    let started = listener
        .frames
        .iter()
        .position(|&frame| frame == Pulled::Voice)
        .unwrap();
    assert!(
        listener.frames[started..]
            .iter()
            .all(|frame| matches!(frame, Pulled::Voice | Pulled::ComfortNoise))
    );
    // The noise has the level that was sent, -45 dBov.
    let noise: Vec<f64> = listener
        .heard
        .chunks(160)
        .zip(&listener.frames)
        .filter(|(_, frame)| **frame == Pulled::ComfortNoise)
        .flat_map(|(samples, _)| samples.iter().map(|&s| f64::from(s)))
        .collect();
    let rms = (noise.iter().map(|s| s * s).sum::<f64>() / noise.len() as f64).sqrt();
    let level = 20.0 * (rms / 32_768.0).log10();
    assert!((level + 45.0).abs() < 1.0, "{level}");
}

#[test]
fn silent_packets_are_not_decoded_and_wide_rates_work() {
    for rate in [16_000, 24_000, 48_000] {
        let codec = Codec::L16 { rate };
        let signal = tone(400.0, rate, 9000.0);
        let mut source = Source::new(codec);
        let mut sent = source.run(1000, 20, signal);
        sent.extend(source.run(1000, 20, |_| 0));
        sent.extend(source.run(1000, 20, signal));
        let mut listener = Listener::new(codec);
        listener.listen(&sent, 100);
        let stats = listener.stats();
        assert_eq!(
            stats.silent_samples / u64::from(rate / 1000) / 20,
            listener.count(Pulled::Silence) as u64
        );
        assert!(listener.count(Pulled::Silence) >= 49);
        assert_eq!(stats.voice_samples, u64::from(rate) * 2);
        assert_eq!(stats.lost, 0);
    }
}

#[test]
fn a_stream_that_ends_becomes_idle() {
    let mut source = Source::new(L16);
    let sent = source.run(500, 20, tone(500.0, 8000, 9000.0));
    let mut listener = Listener::new(L16);
    assert_eq!(listener.tick(), Pulled::Idle);
    listener.listen(&sent, 3000);
    assert_eq!(listener.frames.last(), Some(&Pulled::Idle));
    // The last sound fades out, it is not cut off.
    assert!((2..=5).contains(&listener.count(Pulled::Concealed)));
    // And it starts again.
    source.pause(3000);
    let again = source.run(500, 20, tone(500.0, 8000, 9000.0));
    assert_eq!(again[0].kind, PacketKind::Voice);
    listener.listen(&again, 0);
    assert_eq!(listener.frames.last(), Some(&Pulled::Voice));
    assert_eq!(listener.stats().lost, 0);
}
