//! One whole tick of a worker without sockets: datagrams taken in, decoded, mixed, encoded, put into packets.
//!
//! Times are for all legs; criterion's throughput line gives legs a second, of which the inverse is the time a leg.

use std::f32::consts::TAU;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use unisono::engine::rehearsal::{Mouth, Rehearsal, address};
use unisono::engine::{Channel, LegId, LegPolicy, MediaSpec, Remote};
use unisono_rtp::codec::{Codec, OpusSettings};

const LEGS: u16 = 1000;

fn tick(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick");
    group.throughput(Throughput::Elements(LEGS.into()));
    for (name, codec, rooms, talkers) in [
        ("G.711, one conference, 3 talkers", Codec::Pcmu, 1, 3),
        ("G.711, one conference, all talk", Codec::Pcmu, 1, LEGS),
        ("G.711, 100 of 10, one talks in each", Codec::Pcmu, 100, 100),
        ("G.711, 100 of 10, all talk", Codec::Pcmu, 100, LEGS),
        ("Opus, one conference, 3 talkers", Codec::Opus, 1, 3),
    ] {
        let mut stage = Scene::new(codec, rooms, talkers);
        group.bench_function(BenchmarkId::new(name, LEGS), |b| {
            b.iter_custom(|ticks| (0..ticks).map(|_| stage.tick()).sum());
        });
    }
    group.finish();
}

/// Conferences in one phase whose first legs talk and whose others send silence.
struct Scene {
    plane: Rehearsal,
    phones: Vec<(LegId, Mouth)>,
    talkers: u16,
    voice: Vec<i16>,
    position: usize,
}

impl Scene {
    fn new(codec: Codec, rooms: u16, talkers: u16) -> Self {
        let mut plane = Rehearsal::new(LEGS.into(), rooms.into(), LegPolicy::default());
        let rooms: Vec<_> = (0..rooms).map(|_| plane.open_room(0, None)).collect();
        let phones = (0..LEGS)
            .map(|number| {
                let media = media(codec, number);
                let leg = plane.open_leg(media);
                plane.join(leg, rooms[usize::from(number) % rooms.len()]);
                (leg, Mouth::new(number, &media))
            })
            .collect();
        // Something like a voice: a low tone with harmonics, louder and softer.
        let rate = codec.sample_rate() as f32;
        let voice = (0..codec.sample_rate())
            .map(|n| {
                let t = n as f32 / rate;
                let pitch = (1..8).map(|h| (t * 150.0 * h as f32 * TAU).sin() / h as f32);
                (pitch.sum::<f32>() * (2000.0 + 1500.0 * (t * 19.0).sin())) as i16
            })
            .collect();
        let mut scene = Self {
            plane,
            phones,
            talkers,
            voice,
            position: 0,
        };
        for _ in 0..100 {
            scene.tick();
        }
        scene
    }

    /// One interval; the time that the media plane took.
    fn tick(&mut self) -> Duration {
        let length = self.voice.len() / 50;
        let frame = &self.voice[self.position * length..][..length];
        self.position = (self.position + 1) % 50;
        let silence = vec![0; length];
        let talkers = usize::from(self.talkers);
        let mut arriving = Vec::new();
        for (number, (leg, mouth)) in self.phones.iter_mut().enumerate() {
            let source = mouth.address;
            let datagram = mouth.say(if number < talkers { frame } else { &silence });
            arriving.push((*leg, source, datagram.to_vec()));
        }
        let started = Instant::now();
        for (leg, source, datagram) in &arriving {
            self.plane.receive(*leg, Channel::Rtp, datagram, *source);
        }
        self.plane.tick();
        let busy = started.elapsed();
        black_box(&self.plane.stage);
        self.plane.stage.clear();
        busy
    }
}

fn media(codec: Codec, number: u16) -> MediaSpec {
    let payload_type = codec.static_payload_type().unwrap_or(111);
    MediaSpec {
        codec,
        payload_type,
        receive_payload_type: payload_type,
        telephone_event: Some((101, 8000)),
        comfort_noise: None,
        ptime_ms: 20,
        remote: Remote {
            rtp: Some(address(number)),
            rtcp: None,
            rtcp_mux: true,
        },
        sends: true,
        receives: true,
        opus: OpusSettings::default(),
    }
}

criterion_group!(benches, tick);
criterion_main!(benches);
