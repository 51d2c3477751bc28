//! Encoding and decoding of one 20 ms frame in every format, and the tests that spare decoding.
//!
//! Each step works on the next frame of a second of changing sound, because the cost of Opus depends on what it hears.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use unisono_rtp::codec::{Codec, Decoder, Encoder, MAX_PAYLOAD, OpusSettings, opus_pack};

const ALL: [(&str, Codec); 6] = [
    ("pcmu", Codec::Pcmu),
    ("pcma", Codec::Pcma),
    ("g722", Codec::G722),
    ("l16-16k", Codec::L16 { rate: 16000 }),
    ("l16-48k", Codec::L16 { rate: 48000 }),
    ("opus", Codec::Opus),
];

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for (name, codec) in ALL {
        group.bench_function(name, |bencher| bench_encoder(bencher, Encoder::new(codec)));
    }
    for complexity in [0, 10] {
        let settings = OpusSettings {
            complexity,
            ..OpusSettings::default()
        };
        group.bench_function(format!("opus-complexity-{complexity}"), |bencher| {
            bench_encoder(bencher, Encoder::opus(settings));
        });
    }
    group.finish();
}

fn bench_encoder(bencher: &mut criterion::Bencher<'_>, mut encoder: Encoder) {
    let sound = sound(encoder.codec());
    let mut frames = sound.iter().cycle();
    let mut payload = [0; MAX_PAYLOAD];
    bencher.iter(|| encoder.encode(black_box(frames.next().unwrap()), &mut payload));
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for (name, codec) in ALL {
        let payloads = payloads(codec);
        let mut payloads = payloads.iter().cycle();
        let mut decoder = Decoder::new(codec);
        let mut out = [0; 960];
        group.bench_function(name, |bencher| {
            bencher.iter(|| decoder.decode(black_box(payloads.next().unwrap()), &mut out));
        });
    }
    let mut decoder = Decoder::new(Codec::Opus);
    let mut out = [0; 960];
    let payloads = payloads(Codec::Opus);
    payloads
        .iter()
        .for_each(|payload| assert!(decoder.decode(payload, &mut out).is_ok()));
    group.bench_function("opus-conceal", |bencher| {
        bencher.iter(|| decoder.conceal(black_box(&mut out)))
    });
    group.finish();
}

fn is_silent(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("is_silent");
    for (name, codec) in ALL
        .into_iter()
        .filter(|(_, codec)| !matches!(codec, Codec::G722 | Codec::Opus))
    {
        let mut payload = [0; MAX_PAYLOAD];
        let frame = vec![0; codec.sample_rate() as usize / 50];
        let length = Encoder::new(codec).encode(&frame, &mut payload);
        let decoder = Decoder::new(codec);
        assert!(decoder.is_silent(&payload[..length]));
        group.bench_function(name, |bencher| {
            bencher.iter(|| decoder.is_silent(black_box(&payload[..length])))
        });
    }
    group.finish();
}

fn opus_framing(criterion: &mut Criterion) {
    let payloads = payloads(Codec::Opus);
    let three: Vec<&[u8]> = payloads[30..33].iter().map(Vec::as_slice).collect();
    let mut out = [0; MAX_PAYLOAD];
    assert!(opus_pack::merge(&three, &mut out).is_ok());
    criterion.bench_function("merge 3 opus packets", |bencher| {
        bencher.iter(|| opus_pack::merge(black_box(&three), &mut out));
    });
    let mut encoder = Encoder::new(Codec::Opus);
    let other = Encoder::new(Codec::Opus);
    criterion.bench_function("copy opus encoder state", |bencher| {
        bencher.iter(|| encoder.copy_state_from(black_box(&other)));
    });
}

/// A second of gliding harmonics in 50 frames, loud and soft by turns.
fn sound(codec: Codec) -> Vec<Vec<i16>> {
    let rate = codec.sample_rate();
    let mut phase = 0.0_f64;
    let mut next = |n: u32| {
        let time = f64::from(n) / f64::from(rate);
        phase += (120.0 + 40.0 * (9.0 * time).sin()) / f64::from(rate) * std::f64::consts::TAU;
        let harmonics: f64 = (1..20)
            .map(|k| (phase * f64::from(k)).sin() / f64::from(k))
            .sum();
        (5000.0 * harmonics * (0.5 + 0.5 * (25.0 * time).cos())) as i16
    };
    let samples: Vec<i16> = (0..rate).map(&mut next).collect();
    samples
        .chunks_exact(rate as usize / 50)
        .map(<[i16]>::to_vec)
        .collect()
}

fn payloads(codec: Codec) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec);
    let encode = |frame: &Vec<i16>| {
        let mut payload = [0; MAX_PAYLOAD];
        let length = encoder.encode(frame, &mut payload);
        payload[..length].to_vec()
    };
    sound(codec).iter().map(encode).collect()
}

fn settings() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = benches;
    config = settings();
    targets = encode, decode, is_silent, opus_framing
}
criterion_main!(benches);
