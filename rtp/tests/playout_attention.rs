//! What nobody listens to is not decoded, and nothing is missing when somebody listens again.

use std::f32::consts::TAU;

use unisono_rtp::codec::opus_pack::merge;
use unisono_rtp::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD};
use unisono_rtp::playout::{Attention, Packet, PacketKind, Playout, PlayoutConfig, Pulled};

const MS: u64 = 1_000_000;

/// Frames of a quiet room, then of somebody who speaks.
const QUIET: usize = 150;
const SPOKEN: usize = 25;

/// A quiet room of -64 dBov, in which a voice begins.
fn recording(rate: usize) -> Vec<i16> {
    let mut state = 1_u32;
    (0..(QUIET + SPOKEN) * rate / 50)
        .map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = state as i32 as f32 / 2_147_483_648.0 * 35.0;
            let t = n as f32 / rate as f32 - QUIET as f32 / 50.0;
            let voice = (1..12).map(|h| (t * 140.0 * h as f32 * TAU).sin() / h as f32);
            let level = if t < 0.0 {
                0.0
            } else {
                4000.0 * (t * 100.0).min(1.0)
            };
            (noise + voice.sum::<f32>() * level) as i16
        })
        .collect()
}

/// What is played of it, and how many frames were not decoded. Full attention begins, as in a mixer, with the frame after
/// the first that is loud.
fn played(codec: Codec, attention: Attention) -> (Vec<i16>, usize) {
    let length = codec.sample_rate() as usize / 50;
    let mut encoder = Encoder::new(codec);
    let mut decoder = Decoder::new(codec);
    let mut playout = Playout::new(&PlayoutConfig::new(codec));
    let mut payload = [0; MAX_PAYLOAD];
    let (mut out, mut unheard, mut awake) = (Vec::new(), 0, false);
    for (n, frame) in recording(codec.sample_rate() as usize)
        .chunks_exact(length)
        .enumerate()
    {
        let now = 1_000 * MS + n as u64 * 20 * MS;
        let octets = encoder.encode(frame, &mut payload);
        let _ = playout.insert(&Packet {
            sequence: n as u16,
            timestamp: n as u32 * codec.clock_rate() / 50,
            marker: n == 0,
            payload: &payload[..octets],
            kind: PacketKind::Voice,
            arrival_ns: now,
        });
        let mut heard = vec![0; length];
        let attention = if awake { Attention::Full } else { attention };
        let pulled = playout.pull_with(&mut decoder, now + 5 * MS, &mut heard, attention);
        unheard += usize::from(pulled == Pulled::Unheard);
        awake |= heard.iter().any(|sample| sample.unsigned_abs() > 400);
        out.extend(heard);
    }
    (out, unheard)
}

/// Signal to difference, dB.
fn likeness(expected: &[i16], heard: &[i16]) -> f64 {
    let power = |x: f64| x * x;
    let signal: f64 = expected.iter().map(|&s| power(s.into())).sum();
    let noise: f64 = expected
        .iter()
        .zip(heard)
        .map(|(&a, &b)| power(f64::from(a) - f64::from(b)))
        .sum();
    10.0 * (signal / noise.max(1.0)).log10()
}

#[test]
fn a_voice_that_begins_in_a_quiet_room_begins_whole() {
    for (codec, least_spared, least_db) in [
        (Codec::Pcmu, QUIET * 9 / 10, 60.0),
        (Codec::Pcma, QUIET * 9 / 10, 60.0),
        (Codec::Opus, QUIET / 2, 15.0),
    ] {
        let (all, none_spared) = played(codec, Attention::Full);
        assert_eq!(none_spared, 0);
        let (spared, count) = played(codec, Attention::Above { peak: 100 });
        assert!(
            count >= least_spared,
            "{codec:?}: {count} of {QUIET} were spared"
        );
        let loud = |sample: &i16| sample.unsigned_abs() > 400;
        let onset = all.iter().position(loud).unwrap();
        let begin = spared.iter().position(loud).unwrap();
        let ms = codec.sample_rate() as usize / 1000;
        assert!(
            begin <= onset + ms,
            "{codec:?}: {} ms late",
            (begin - onset) / ms
        );
        let first = onset..onset + 60 * ms;
        let db = likeness(&all[first.clone()], &spared[first]);
        println!("{codec:?}: {count} spared, first 60 ms alike to {db:.1} dB");
        assert!(db >= least_db, "{codec:?}: {db} dB");
    }
}

#[test]
fn nothing_is_decoded_for_nobody() {
    for codec in [
        Codec::Pcmu,
        Codec::G722,
        Codec::Opus,
        Codec::L16 { rate: 16_000 },
    ] {
        let (_, count) = played(codec, Attention::None);
        assert!(count >= QUIET + SPOKEN - 5, "{codec:?}: {count}");
    }
}

#[test]
fn the_rest_of_a_long_packet_that_was_spared_is_unheard_too() {
    const PACKETS: usize = 20;
    let mut encoder = Encoder::new(Codec::Opus);
    let mut decoder = Decoder::new(Codec::Opus);
    let mut playout = Playout::new(&PlayoutConfig::new(Codec::Opus));
    let (mut frames, mut merged) = ([[0; MAX_PAYLOAD]; 2], [0; 2 * MAX_PAYLOAD]);
    let mut heard = vec![0; 960];
    let mut seen = Vec::new();
    for n in 0..PACKETS {
        let lengths = frames
            .each_mut()
            .map(|frame| encoder.encode(&[0; 960], frame));
        let parts: [&[u8]; 2] = std::array::from_fn(|part| &frames[part][..lengths[part]]);
        // Frames of two modes cannot share a packet: those are at the very beginning.
        let Ok(length) = merge(&parts, &mut merged) else {
            continue;
        };
        let now = 1_000 * MS + n as u64 * 40 * MS;
        let _ = playout.insert(&Packet {
            sequence: n as u16,
            timestamp: n as u32 * 1920,
            marker: n == 0,
            payload: &merged[..length],
            kind: PacketKind::Voice,
            arrival_ns: now,
        });
        for half in 0..2 {
            let at = now + half * 20 * MS + 5 * MS;
            seen.push(playout.pull_with(&mut decoder, at, &mut heard, Attention::None));
        }
    }
    let unheard = seen.iter().filter(|pulled| **pulled == Pulled::Unheard);
    assert!(unheard.count() >= 2 * PACKETS - 8, "{seen:?}");
}
