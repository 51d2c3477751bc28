//! What a packet and a frame cost in the playout buffer: steady state, silence, idle and loss.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::playout::{Packet, PacketKind, Playout, PlayoutConfig};

/// One packet in and one frame out every 20 ms, in virtual time.
struct Stream {
    playout: Playout,
    decoder: Decoder,
    payload: Vec<u8>,
    out: Vec<i16>,
    step: u32,
    sequence: u16,
    timestamp: u32,
    now: u64,
}

impl Stream {
    fn new(codec: Codec, payload: Vec<u8>) -> Self {
        Self {
            playout: Playout::new(&PlayoutConfig::new(codec)),
            decoder: Decoder::new(codec),
            payload,
            out: vec![0; codec.sample_rate() as usize / 50],
            step: codec.clock_rate() / 50,
            sequence: 0,
            timestamp: 0,
            now: 1_000_000_000,
        }
    }

    fn interval(&mut self, lose: bool) {
        if !lose {
            let packet = Packet {
                sequence: self.sequence,
                timestamp: self.timestamp,
                marker: false,
                payload: &self.payload,
                kind: PacketKind::Voice,
                arrival_ns: self.now,
            };
            let _ = black_box(self.playout.insert(&packet));
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.step);
        self.now += 20_000_000;
        let _ = black_box(self.playout.pull(
            &mut self.decoder,
            self.now - 13_000_000,
            &mut self.out,
        ));
    }
}

/// A 1 kHz tone in µ-law.
fn tone() -> Vec<u8> {
    (0..160)
        .map(|n| [0x8F, 0x9A, 0xA8, 0xBC, 0x3C, 0x28, 0x1A, 0x0F][n % 8])
        .collect()
}

fn playout(c: &mut Criterion) {
    let mut group = c.benchmark_group("playout");
    let l16: Vec<u8> = (0..960i32)
        .flat_map(|n| (((n % 48) * 400 - 9600) as i16).to_be_bytes())
        .collect();

    group.bench_function("pcmu/insert+pull", |b| {
        let mut stream = Stream::new(Codec::Pcmu, tone());
        b.iter(|| stream.interval(false));
        assert_eq!(stream.playout.stats().concealed_samples, 0);
    });
    group.bench_function("pcmu/decode_alone", |b| {
        let payload = tone();
        let mut decoder = Decoder::new(Codec::Pcmu);
        let mut out = vec![0; 160];
        b.iter(|| {
            (
                black_box(decoder.is_silent(black_box(&payload))),
                decoder.decode(black_box(&payload), &mut out),
            )
        });
    });
    group.bench_function("pcmu/silent_packets", |b| {
        let mut stream = Stream::new(Codec::Pcmu, vec![0xFF; 160]);
        b.iter(|| stream.interval(false));
    });
    group.bench_function("pcmu/idle_pull", |b| {
        let mut stream = Stream::new(Codec::Pcmu, tone());
        b.iter(|| stream.interval(true));
    });
    for (name, codec, payload) in [
        ("pcmu", Codec::Pcmu, tone()),
        ("l16_48k", Codec::L16 { rate: 48_000 }, l16.clone()),
    ] {
        group.bench_function(format!("{name}/every_second_lost"), |b| {
            let mut stream = Stream::new(codec, payload.clone());
            let mut lose = false;
            b.iter(|| {
                lose = !lose;
                stream.interval(lose);
            });
        });
    }
    group.bench_function("l16_48k/insert+pull", |b| {
        let mut stream = Stream::new(Codec::L16 { rate: 48_000 }, l16.clone());
        b.iter(|| stream.interval(false));
    });
    group.finish();
}

criterion_group!(benches, playout);
criterion_main!(benches);
