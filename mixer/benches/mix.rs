//! What a tick of a room costs, per leg; and its parts: limiter, resamplers.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use unisono_mixer::limiter::Limiter;
use unisono_mixer::resample::Resampler;
use unisono_mixer::{Desk, Hearing, Room, SampleRate, Strip, StripSettings};

criterion_group!(benches, ticks, mixed_rates, limiter, resamplers);
criterion_main!(benches);

/// What those do who do not talk.
#[derive(Clone, Copy)]
enum Others {
    /// Nothing comes from them.
    Silence,
    /// Noise below the gate, of which the server decodes one frame in 128: what nearly all do in a real conference.
    Unheard,
    /// Noise below the gate, every frame of which is decoded and measured.
    Hiss,
}

/// One whole tick, all legs at the room's rate.
fn ticks(c: &mut Criterion) {
    for rate in [SampleRate::Hz8000, SampleRate::Hz16000, SampleRate::Hz48000] {
        let mut group = c.benchmark_group(format!("tick/{}", rate.hz()));
        for legs in [3_usize, 10, 100, 1_000] {
            group.throughput(Throughput::Elements(legs as u64));
            let mut bench = Bench::new(rate, legs, |_| rate);
            for talkers in [1, 3] {
                for (name, others) in [
                    ("silence", Others::Silence),
                    ("unheard", Others::Unheard),
                    ("hiss", Others::Hiss),
                ] {
                    let id = BenchmarkId::new(format!("{talkers}-talk-{name}"), legs);
                    group.bench_function(id, |b| b.iter(|| bench.tick(talkers, others)));
                }
            }
            group.bench_function(BenchmarkId::new("all-talk", legs), |b| {
                b.iter(|| bench.tick(legs, Others::Silence));
            });
        }
        group.finish();
    }
}

/// A 16 kHz room in which every second leg is a telephone.
fn mixed_rates(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick/8000-in-16000");
    for (legs, talkers) in [(100, 3), (100, 100)] {
        group.throughput(Throughput::Elements(legs));
        let mut bench = Bench::new(SampleRate::Hz16000, legs as usize, |n| {
            if n % 2 == 0 {
                SampleRate::Hz8000
            } else {
                SampleRate::Hz16000
            }
        });
        group.bench_function(BenchmarkId::new(format!("{talkers}-talk"), legs), |b| {
            b.iter(|| bench.tick(talkers, Others::Silence));
        });
    }
    group.finish();
}

fn limiter(c: &mut Criterion) {
    let mut group = c.benchmark_group("limiter");
    for rate in [SampleRate::Hz8000, SampleRate::Hz48000] {
        for (name, peak) in [("transparent", 30_000), ("limiting", 90_000)] {
            let mix: Vec<i32> = voice(rate, 1)
                .iter()
                .map(|&s| i32::from(s) * peak / 8_000)
                .collect();
            let mut out = vec![0; mix.len()];
            let mut limiter = Limiter::new();
            group.bench_function(BenchmarkId::new(name, rate.hz()), |b| {
                b.iter(|| limiter.process(black_box(&mix), &mut out));
            });
        }
    }
    group.finish();
}

fn resamplers(c: &mut Criterion) {
    let mut group = c.benchmark_group("resample");
    for from in SampleRate::ALL {
        for to in SampleRate::ALL.into_iter().filter(|&to| to != from) {
            let frame = voice(from, 1);
            let mut out = vec![0; to.frame_len()];
            let mut resampler = Resampler::new(from, to);
            group.bench_function(BenchmarkId::new(from.hz().to_string(), to.hz()), |b| {
                b.iter(|| resampler.process(black_box(&frame), &mut out));
            });
        }
    }
    group.finish();
}

/// A room with its legs scattered over the heap, as in a server.
struct Bench {
    desk: Desk,
    room: Room,
    legs: Vec<Leg>,
    hiss: Vec<i16>,
    ticks: usize,
}

/// Ticks from one frame of an unheard leg that is decoded to the next, as in the server's engine.
const MEASURE_EVERY: usize = 128;

struct Leg {
    strip: Box<Strip>,
    voice: Vec<i16>,
}

impl Bench {
    fn new(room: SampleRate, legs: usize, rate: impl Fn(usize) -> SampleRate) -> Self {
        let leg = |n| {
            let strip = Box::new(Strip::new(rate(n), StripSettings::default()));
            Leg {
                strip,
                voice: voice(rate(n), n),
            }
        };
        let legs = (0..legs).map(leg).collect();
        Self {
            desk: Desk::new(),
            room: Room::new(room),
            legs,
            hiss: vec![8; 960],
            ticks: 0,
        }
    }

    fn tick(&mut self, talkers: usize, others: Others) -> i32 {
        self.ticks += 1;
        let mut intake = self.desk.begin(&mut self.room);
        for (n, Leg { strip, voice }) in self.legs.iter_mut().enumerate() {
            if n < talkers {
                intake.add(strip, voice);
                continue;
            }
            let measured = !strip.is_resting() || (self.ticks + n).is_multiple_of(MEASURE_EVERY);
            match others {
                Others::Silence => intake.add_silence(strip),
                Others::Unheard if !measured => intake.add_unheard(strip),
                Others::Unheard | Others::Hiss => {
                    let len = strip.rate().frame_len();
                    intake.add(strip, &self.hiss[..len])
                }
            };
        }
        let mut mix = intake.finish();
        let mut heard = 0;
        for Leg { strip, .. } in &mut self.legs {
            heard += match black_box(mix.hear(strip, None)) {
                Hearing::Nothing => 0,
                Hearing::Common(_) => 1,
                Hearing::Own(frame) => i32::from(frame[7]),
            };
        }
        heard
    }
}

/// A frame of noise at about -17 dBov.
fn voice(rate: SampleRate, seed: usize) -> Vec<i16> {
    let mut state = seed as u32 * 2_654_435_761 + 1;
    (0..rate.frame_len())
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i32 % 16_001 - 8_000) as i16
        })
        .collect()
}
