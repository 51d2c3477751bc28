//! Networks as they are: jitter, bursts, loss, drift and stalls, in virtual time.

mod support;

use support::voice::{segmental_snr, spectral_distance, speech};
use support::{Datagram, Jitter, Listener, MS, Network, Random, Source, tone};
use unisono_rtp::codec::Codec;
use unisono_rtp::playout::Pulled;

const L16: Codec = Codec::L16 { rate: 8000 };

/// Share of the frames from `from` on that were concealed.
fn concealed(listener: &Listener, from: usize) -> f64 {
    let frames = &listener.frames[from..];
    frames
        .iter()
        .filter(|&&frame| frame == Pulled::Concealed)
        .count() as f64
        / frames.len() as f64
}

#[test]
fn the_delay_suits_the_jitter() {
    for (jitter, least, most) in [
        (Jitter::None, 20, 40),
        (Jitter::Uniform(10.0), 20, 60),
        (Jitter::Uniform(60.0), 50, 110),
        (Jitter::Uniform(150.0), 140, 220),
        (Jitter::Exponential(15.0), 40, 140),
    ] {
        for keeps_order in [true, false] {
            let voice = speech(8000, 60, 1);
            let sent = Source::new(L16).run(60_000, 20, |n| voice[n]);
            let mut network = Network {
                jitter,
                keeps_order,
                ..Network::new(2)
            };
            let mut listener = Listener::new(L16);
            listener.listen(&network.carry(sent), 0);
            let delays = &listener.delays[1000..];
            let mean = delays.iter().sum::<u32>() / delays.len() as u32;
            assert!(
                (least..=most).contains(&mean),
                "{jitter:?} {keeps_order}: {mean} ms"
            );
            let share = concealed(&listener, 1000);
            assert!(share < 0.04, "{jitter:?} {keeps_order}: {share}");
            assert_eq!(listener.stats().resyncs, 0, "{jitter:?} {keeps_order}");
        }
    }
}

#[test]
fn a_bursty_source_is_smooth_after_adaptation() {
    for chunk_ms in [120.0, 200.0, 300.0] {
        let voice = speech(8000, 60, 3);
        let sent = Source::new(L16).run(60_000, 20, |n| voice[n]);
        let mut network = Network {
            chunk_ms,
            ..Network::new(4)
        };
        let mut listener = Listener::new(L16);
        listener.listen(&network.carry(sent), 0);
        let before = listener.stats();
        assert!(before.resyncs <= 1, "{chunk_ms}: {before:?}");
        assert_eq!(concealed(&listener, 500), 0.0, "{chunk_ms}");
        assert_eq!(before.lost, 0);
        let worst = *listener.delays[500..].iter().max().unwrap();
        assert!(f64::from(worst) <= chunk_ms + 60.0, "{chunk_ms}: {worst}");
    }
}

#[test]
fn after_an_episode_of_jitter_the_delay_returns() {
    let voice = speech(8000, 60, 5);
    let mut source = Source::new(L16);
    let calm = source.run(10_000, 20, |n| voice[n]);
    let wild = source.run(10_000, 20, |n| voice[n]);
    let after = source.run(30_000, 20, |n| voice[n]);
    let mut network = Network::new(6);
    let mut arrived = network.carry(calm);
    network.jitter = Jitter::Uniform(200.0);
    arrived.extend(network.carry(wild));
    network.jitter = Jitter::None;
    arrived.extend(network.carry(after));
    let mut listener = Listener::new(L16);
    listener.listen(&arrived, 0);
    assert!(listener.delays[400] <= 50);
    assert!(*listener.delays[750..1000].iter().max().unwrap() >= 150);
    // Fifteen seconds later all is as before.
    assert!(
        listener.delays[1750..].iter().all(|&ms| ms <= 60),
        "{:?}",
        &listener.delays[1750..1800]
    );
    assert_eq!(listener.stats().resyncs, 0);
    assert!(listener.stats().accelerated_samples > 0);
}

#[test]
fn an_hour_of_clock_drift_is_followed_by_rare_splices() {
    for ppm in [200.0, -200.0] {
        let second = speech(8000, 20, 7);
        let mut source = Source::new(L16);
        source.drift_ppm = ppm;
        let sent = source.run(3_600_000, 20, |n| second[n % second.len()]);
        let mut listener = Listener::new(L16);
        listener.listen(&sent, 0);
        let stats = listener.stats();
        assert_eq!(
            (stats.resyncs, stats.lost, stats.late),
            (0, 0, 0),
            "{ppm}: {stats:?}"
        );
        assert!(stats.concealed_samples <= 160, "{ppm}: {stats:?}");
        // 200 ppm of an hour is 720 ms.
        let moved = if ppm > 0.0 {
            stats.accelerated_samples
        } else {
            stats.expanded_samples
        };
        let back = if ppm > 0.0 {
            stats.expanded_samples
        } else {
            stats.accelerated_samples
        };
        assert!(
            (680 * 8..=900 * 8).contains(&(moved - back)),
            "{ppm}: {stats:?}"
        );
        assert!(back < moved / 4, "{ppm}: {stats:?}");
        assert!(
            stats.stretches < 360,
            "{ppm}: less than one in ten seconds: {stats:?}"
        );
        let delays = &listener.delays[100..];
        let (least, most) = (*delays.iter().min().unwrap(), *delays.iter().max().unwrap());
        println!(
            "{ppm} ppm: {} splices, delay {least} to {most} ms",
            stats.stretches
        );
        assert!(least >= 10 && most <= 80, "{least} {most}");
    }
}

#[test]
fn drift_of_a_pure_tone_makes_no_click() {
    for ppm in [200.0, -200.0] {
        let signal = tone(500.0, 8000, 8000.0);
        let mut source = Source::new(L16);
        source.drift_ppm = ppm;
        let sent = source.run(600_000, 20, signal);
        let mut listener = Listener::new(L16);
        listener.listen(&sent, 0);
        assert!(listener.stats().stretches > 0);
        assert_eq!(listener.stats().concealed_samples, 0);
        // A clean 500 Hz tone at 8 kHz obeys x[n] = 2 cos(w) x[n-1] - x[n-2]; a click does not.
        let factor = 2.0 * (std::f64::consts::TAU * 500.0 / 8000.0).cos();
        for window in listener.heard[1600..].windows(3) {
            let error = f64::from(window[2]) - factor * f64::from(window[1]) + f64::from(window[0]);
            assert!(error.abs() < 12.0, "{ppm}: {window:?}");
        }
    }
}

#[test]
fn concealment_is_better_than_muting() {
    for (fail, heal) in [(0.03, 0.97), (0.05, 0.5), (0.1, 0.9)] {
        let voice = speech(8000, 60, 8);
        let sent = Source::new(L16).run(60_000, 20, |n| voice[n]);
        let first = sent[0].sequence;
        let mut network = Network {
            gilbert: Some((fail, heal)),
            ..Network::new(9)
        };
        let mut arrived = network.carry(sent.clone());
        if arrived[0].sequence != first {
            arrived.insert(0, sent[0].clone());
        }
        // As muting has it: zeros where packets are missing.
        let mut muted = vec![0i16; voice.len()];
        for datagram in &arrived {
            let start = usize::from(datagram.sequence.wrapping_sub(first)) * 160;
            muted[start..start + 160].copy_from_slice(&voice[start..start + 160]);
        }
        let mut listener = Listener::new(L16);
        listener.listen(&arrived, 200);
        assert_eq!(listener.stats().stretches, 0, "{:?}", listener.stats());
        let onset = listener
            .frames
            .iter()
            .position(|&frame| frame == Pulled::Voice)
            .unwrap()
            * 160;
        let count = (listener.heard.len() - onset).min(voice.len());
        let heard = &listener.heard[onset..onset + count];
        // Signal-to-error ratio of the lost frames, and how the spectrum suffers there and at the edges.
        let lost = |other: &[i16]| {
            let (mut sum, mut frames) = (0.0, 0.0);
            for start in (0..count - 160).step_by(160) {
                let clean = &voice[start..start + 160];
                let missing = muted[start..start + 160].iter().all(|&s| s == 0);
                if missing && clean.iter().map(|s| i64::from(s.abs())).sum::<i64>() > 160 * 400 {
                    sum += segmental_snr(clean, &other[start..start + 160], 8000);
                    frames += 1.0;
                }
            }
            sum / frames
        };
        let (ours_lost, theirs_lost) = (lost(heard), lost(&muted));
        let distance = spectral_distance(&voice[..count], heard, 8000);
        let muted_distance = spectral_distance(&voice[..count], &muted[..count], 8000);
        println!("{fail}/{heal}: ratio {ours_lost:.2} dB, muted {theirs_lost:.2} dB");
        println!("    spectral distance {distance:.2} dB, muted {muted_distance:.2} dB");
        assert!(
            ours_lost > theirs_lost + 1.0,
            "{fail}/{heal}: {ours_lost} {theirs_lost}"
        );
        assert!(
            distance < 0.7 * muted_distance,
            "{fail}/{heal}: {distance} {muted_distance}"
        );
    }
}

#[test]
fn a_fifth_of_the_packets_lost_does_not_break_it() {
    let voice = speech(8000, 120, 10);
    let sent = Source::new(L16).run(120_000, 20, |n| voice[n]);
    let mut network = Network {
        gilbert: Some((0.125, 0.5)),
        jitter: Jitter::Exponential(8.0),
        duplicate: 0.05,
        overtaken: 0.03,
        keeps_order: false,
        ..Network::new(11)
    };
    let arrived = network.carry(sent);
    let mut listener = Listener::new(L16);
    listener.listen(&arrived, 0);
    let stats = listener.stats();
    assert_eq!(stats.resyncs, 0);
    assert!(stats.duplicates > 150 && stats.reordered > 60);
    assert!((1000..1500).contains(&stats.lost), "{stats:?}");
    assert!(listener.delays[500..].iter().all(|&ms| ms <= 150));
    let share = concealed(&listener, 100);
    assert!((0.12..0.3).contains(&share), "{share}");
}

#[test]
fn a_stall_of_the_source_or_the_path_leaves_no_lasting_delay() {
    for stall_ms in [100u64, 250, 350, 500, 800, 3000] {
        let voice = speech(8000, 40, 12);
        let mut source = Source::new(L16);
        let mut sent = source.run(35_000, 20, |n| voice[n]);
        let resumes = sent[500].at_ns + stall_ms * MS;
        for datagram in &mut sent[500..] {
            datagram.at_ns = datagram.at_ns.max(resumes);
        }
        let mut listener = Listener::new(L16);
        listener.listen(&sent, 0);
        let stats = listener.stats();
        assert!(stats.resyncs <= 1, "{stall_ms}: {stats:?}");
        assert!(listener.delays.iter().all(|&ms| ms <= 420), "{stall_ms}");
        assert!(
            listener.delays[1500..].iter().all(|&ms| ms <= 60),
            "{stall_ms}: {:?}",
            listener.delays.last()
        );
        assert_eq!(listener.frames.last(), Some(&Pulled::Voice));
    }
}

#[test]
fn skipped_intervals_are_not_replayed() {
    let ramp = |n: usize| (n % 32_000) as i16 + 1;
    let mut source = Source::new(L16);
    let sent = source.run(3000, 20, ramp);
    let mut listener = Listener::new(L16);
    listener.listen(&sent[..75], 0);
    let delay = listener.stats().delay_ms;
    // 500 ms without a tick; the packets are all there afterwards.
    listener.forget();
    for datagram in &sent[75..100] {
        let _ = listener.playout.insert(&datagram.packet());
    }
    listener.now_ns += 25 * 20 * MS;
    listener.playout.skip(25);
    listener.listen(&sent[100..], 0);
    let stats = listener.stats();
    assert_eq!(stats.resyncs, 1);
    assert_eq!(stats.skipped_intervals, 25);
    assert!(stats.late >= 23, "{stats:?}");
    assert!(
        stats.delay_ms.abs_diff(delay) <= 5,
        "{} {delay}",
        stats.delay_ms
    );
    assert_eq!(
        (stats.concealed_samples, stats.stretches),
        (0, 0),
        "{stats:?}"
    );
    // After the cross-fade the right place of the ramp is heard: nothing old.
    let heard = &listener.heard[80..1000];
    assert!(heard.windows(2).all(|pair| pair[1] == pair[0] + 1));
    let place = usize::try_from(heard[0]).unwrap() - 1 - 80;
    assert!(place >= (75 + 20) * 160, "{place}");
}

#[test]
fn a_receiver_that_pauses_without_saying_so_resynchronises_once() {
    let voice = speech(8000, 20, 13);
    let mut source = Source::new(L16);
    let sent = source.run(15_000, 20, |n| voice[n]);
    let mut listener = Listener::new(L16);
    listener.listen(&sent[..200], 0);
    listener.now_ns += 1000 * MS;
    listener.listen(&sent[200..], 0);
    let stats = listener.stats();
    assert_eq!(stats.resyncs, 1, "{stats:?}");
    assert!(stats.delay_ms <= 60, "{stats:?}");
}

#[test]
fn a_source_that_holds_its_timestamps_while_it_pauses_is_heard_again_at_once() {
    let signal = tone(500.0, 8000, 8000.0);
    let mut source = Source::new(L16);
    let mut sent = source.run(2000, 20, signal);
    source.now_ns += 8.0e9;
    sent.extend(source.run(2000, 20, signal));
    let mut listener = Listener::new(L16);
    listener.listen(&sent, 0);
    let stats = listener.stats();
    assert!(stats.resyncs <= 1);
    assert!(stats.voice_samples >= (4000 - 80) * 8, "{stats:?}");
    assert!(stats.delay_ms <= 60, "{stats:?}");
}

#[test]
fn clocks_that_drift_apart_in_a_long_pause_cost_no_delay_afterwards() {
    for drift_ms in [-250.0, -100.0, 100.0, 250.0, 390.0, 1500.0] {
        let signal = tone(500.0, 8000, 8000.0);
        let mut source = Source::new(L16);
        let mut sent = source.run(2000, 20, signal);
        source.pause(600_000);
        source.now_ns += drift_ms * 1.0e6;
        sent.extend(source.run(1000, 20, signal));
        let mut listener = Listener::new(L16);
        listener.listen(&sent, 0);
        let stats = listener.stats();
        assert!(stats.delay_ms <= 60, "{drift_ms}: {stats:?}");
        assert_eq!(stats.stretches, 0, "{drift_ms}: {stats:?}");
        assert!(stats.voice_samples >= 2960 * 8, "{drift_ms}: {stats:?}");
    }
}

#[test]
fn late_wake_ups_of_the_listener_do_not_raise_the_delay() {
    let signal = tone(1000.0, 8000, 8000.0);
    let sent: Vec<Datagram> = Source::new(L16).run(60_000, 20, signal);
    let mut listener = Listener::new(L16);
    let mut random = Random::new(14);
    let mut next = sent.iter().peekable();
    let mut out = vec![0; 160];
    listener.now_ns -= 100 * MS;
    for _ in 0..5 {
        let _ = listener.tick();
    }
    for tick in 0..2990u64 {
        let deadline = 1_007 * MS + tick * 20 * MS;
        let woke = deadline
            + if random.chance(0.05) {
                (random.unit() * 15.0) as u64 * MS
            } else {
                0
            };
        while let Some(datagram) = next.next_if(|datagram| datagram.at_ns <= woke) {
            let _ = listener.playout.insert(&datagram.packet());
        }
        let _ = listener.playout.pull(&mut listener.decoder, woke, &mut out);
    }
    let stats = listener.stats();
    assert_eq!(
        (stats.concealed_samples, stats.stretches, stats.resyncs),
        (0, 0, 0),
        "{stats:?}"
    );
}
