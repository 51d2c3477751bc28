//! What each overload level saves: the same whole tick of a worker without sockets, at the level and without it.
//!
//! Times are for all legs of an interval. Listeners send room noise, which has to be decoded to be known as silence.

use std::f32::consts::TAU;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use unisono::engine::rehearsal::{Mouth, Rehearsal, address};
use unisono::engine::{Channel, LegId, LegPolicy, Level, MediaSpec, Remote};
use unisono_rtp::codec::{Codec, OpusSettings};

fn overload(c: &mut Criterion) {
    let mut group = c.benchmark_group("overload");
    for (name, codec, legs, rooms, talkers, csrcs) in [
        ("G.711, 1000 in one, 3 talk", Codec::Pcmu, 1000, 1, 3, true),
        ("the same without CSRCs", Codec::Pcmu, 1000, 1, 3, false),
        ("G.722, 1000 in one, 3 talk", Codec::G722, 1000, 1, 3, true),
        ("Opus, 200 in one, 3 talk", Codec::Opus, 200, 1, 3, true),
        ("Opus, 20 of three, all talk", Codec::Opus, 60, 20, 60, true),
    ] {
        group.throughput(Throughput::Elements(legs.into()));
        for level in [Level::Normal, Level::Trimming, Level::Shedding] {
            let mut scene = Scene::new(codec, legs, rooms, talkers, csrcs, level);
            group.bench_function(BenchmarkId::new(name, level.name()), |b| {
                b.iter_custom(|ticks| (0..ticks).map(|_| scene.tick()).sum());
            });
        }
    }
    group.finish();
}

/// Phones that repeat a second of voice or noise, encoded beforehand.
struct Scene {
    plane: Rehearsal,
    phones: Vec<Phone>,
    tick: usize,
}

struct Phone {
    leg: LegId,
    mouth: Mouth,
    /// Fifty packets.
    said: Vec<Vec<u8>>,
    /// Of the RTP clock, in a packet.
    step: u32,
}

impl Scene {
    fn new(codec: Codec, legs: u16, rooms: usize, talkers: u16, csrcs: bool, level: Level) -> Self {
        let policy = LegPolicy {
            csrcs,
            ..LegPolicy::default()
        };
        let mut plane = Rehearsal::new(legs.into(), rooms, policy);
        let rooms: Vec<_> = (0..rooms).map(|_| plane.open_room(0, None)).collect();
        let phones = (0..legs)
            .map(|number| {
                let media = media(codec, number);
                let leg = plane.open_leg(media);
                plane.join(leg, rooms[usize::from(number) % rooms.len()]);
                let mut mouth = Mouth::new(number, &media);
                let said = second(codec, number, number < talkers);
                let length = said.len() / 50;
                let said = said
                    .chunks_exact(length)
                    .map(|frame| mouth.say(frame).to_vec())
                    .collect();
                Phone {
                    leg,
                    mouth,
                    said,
                    step: codec.clock_rate() / 50,
                }
            })
            .collect();
        let mut scene = Self {
            plane,
            phones,
            tick: 0,
        };
        for _ in 0..50 {
            scene.tick();
        }
        scene.plane.set_level(level);
        for _ in 0..350 {
            scene.tick();
        }
        scene
    }

    /// One interval; the time that the media plane took.
    fn tick(&mut self) -> Duration {
        for phone in &mut self.phones {
            let Mouth {
                sequence,
                timestamp,
                ..
            } = &mut phone.mouth;
            let datagram = &mut phone.said[self.tick % 50];
            datagram[2..4].copy_from_slice(&sequence.to_be_bytes());
            datagram[4..8].copy_from_slice(&timestamp.to_be_bytes());
            *sequence = sequence.wrapping_add(1);
            *timestamp = timestamp.wrapping_add(phone.step);
        }
        let started = Instant::now();
        for phone in &self.phones {
            let datagram = &phone.said[self.tick % 50];
            let source = phone.mouth.address;
            self.plane
                .receive(phone.leg, Channel::Rtp, datagram, source);
        }
        self.plane.tick();
        let busy = started.elapsed();
        black_box(&self.plane.stage);
        self.plane.stage.clear();
        self.tick += 1;
        busy
    }
}

/// A second of something like a voice, or of noise at -60 dBov.
fn second(codec: Codec, number: u16, talks: bool) -> Vec<i16> {
    let rate = codec.sample_rate();
    let mut random = u64::from(number) | 1;
    (0..rate)
        .map(|n| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let t = n as f32 / rate as f32;
            if !talks {
                return (random % 113) as i16 - 56;
            }
            let pitch = 110.0 + f32::from(number % 16) * 10.0;
            let voice = (1..8).map(|h| (t * pitch * h as f32 * TAU).sin() / h as f32);
            (voice.sum::<f32>() * (2000.0 + 1500.0 * (t * 19.0).sin())) as i16
        })
        .collect()
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

criterion_group!(benches, overload);
criterion_main!(benches);
