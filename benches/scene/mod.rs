//! Conferences for the benchmarks of a tick: a thousand phones of which some talk, without sockets.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod mixing;

use std::f32::consts::TAU;
use std::time::{Duration, Instant};

use unisono::engine::rehearsal::{Rehearsal, address};
use unisono::engine::{Channel, LegId, LegPolicy, MediaSpec, Remote};
use unisono_rtp::codec::{Codec, Encoder, MAX_PAYLOAD, OpusSettings};
use unisono_rtp::packet::{Header, MAX_HEADER};

/// Intervals after which what the phones say begins anew.
const SECOND: usize = 50;

/// What a conference is measured with.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How it is called in tables.
    pub name: &'static str,
    pub codec: Codec,
    pub legs: u16,
    pub rooms: u16,
    /// How many talk; the first ones of all legs.
    pub talkers: u16,
    /// What the others do.
    pub others: Others,
}

/// What those do who do not talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Send encoded zeroes.
    Silence,
    /// Send the noise of a quiet room, -60 dBov, below the gate.
    Noise,
    /// Talk, and are muted.
    Muted,
    /// Are on hold: they send nothing and are sent nothing.
    Held,
}

/// Everything that is measured.
pub const PLANS: [Plan; 12] = [
    plan("g711-3-talk", Codec::Pcmu, 1, 3, Others::Silence),
    plan("g711-3-talk-noise", Codec::Pcmu, 1, 3, Others::Noise),
    plan("g711-3-talk-muted", Codec::Pcmu, 1, 3, Others::Muted),
    plan("g711-3-talk-held", Codec::Pcmu, 1, 3, Others::Held),
    plan("g711-all-talk", Codec::Pcmu, 1, LEGS, Others::Silence),
    plan("g711-100-of-10", Codec::Pcmu, 100, 100, Others::Silence),
    plan(
        "g711-100-of-10-all-talk",
        Codec::Pcmu,
        100,
        LEGS,
        Others::Silence,
    ),
    plan("g722-3-talk-noise", Codec::G722, 1, 3, Others::Noise),
    plan("opus-3-talk", Codec::Opus, 1, 3, Others::Silence),
    plan("opus-3-talk-noise", Codec::Opus, 1, 3, Others::Noise),
    plan("opus-3-talk-muted", Codec::Opus, 1, 3, Others::Muted),
    plan("opus-3-talk-held", Codec::Opus, 1, 3, Others::Held),
];

const LEGS: u16 = 1000;

const fn plan(name: &'static str, codec: Codec, rooms: u16, talkers: u16, others: Others) -> Plan {
    Plan {
        name,
        codec,
        legs: LEGS,
        rooms,
        talkers,
        others,
    }
}

/// A plan brought to life.
pub struct Scene {
    plan: Plan,
    pub plane: Rehearsal,
    phones: Vec<Phone>,
    voice: Vec<Vec<u8>>,
    rest: Vec<Vec<u8>>,
    interval: usize,
    arriving: Vec<u8>,
}

struct Phone {
    leg: LegId,
    header: Header,
    number: u16,
}

impl Scene {
    /// Everybody has joined, and all has run for two seconds.
    pub fn new(plan: Plan) -> Self {
        let mut plane = Rehearsal::new(plan.legs.into(), plan.rooms.into(), LegPolicy::default());
        let rooms: Vec<_> = (0..plan.rooms).map(|_| plane.open_room(0, None)).collect();
        let phones = (0..plan.legs)
            .map(|number| {
                let talks = number < plan.talkers;
                let held = !talks && plan.others == Others::Held;
                let leg = plane.open_leg(media(plan.codec, number, !held));
                plane.join(leg, rooms[usize::from(number) % rooms.len()]);
                plane.set_muted(leg, !talks && plan.others == Others::Muted);
                Phone {
                    leg,
                    number,
                    header: Header {
                        payload_type: plan.codec.static_payload_type().unwrap_or(111),
                        marker: false,
                        sequence: number.wrapping_mul(7919),
                        timestamp: u32::from(number).wrapping_mul(0x0101_0101),
                        ssrc: 0x1000_0000 + u32::from(number),
                    },
                }
            })
            .collect();
        let rest = match plan.others {
            Others::Silence | Others::Held => payloads(plan.codec, |_| 0.0),
            Others::Noise => {
                let mut state = 1_u32;
                payloads(plan.codec, move |_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // Uniform noise: its root mean square is the peak by the root of three.
                    (state as i32 as f32 / 2_147_483_648.0) * 57.0
                })
            }
            Others::Muted => payloads(plan.codec, voice),
        };
        let mut scene = Self {
            plan,
            plane,
            phones,
            voice: payloads(plan.codec, voice),
            rest,
            interval: 0,
            arriving: Vec::new(),
        };
        for _ in 0..2 * SECOND {
            scene.tick();
        }
        scene
    }

    /// One interval; the time that the media plane took.
    pub fn tick(&mut self) -> Duration {
        self.plane.stage.clear();
        let count = self.say();
        let started = Instant::now();
        self.work(count);
        started.elapsed()
    }

    /// One interval whose instructions count. Its name is not to begin with that of [`counted`](Self::counted), at whose entry and end
    /// callgrind begins and stops counting.
    pub fn one_counted(&mut self) {
        self.plane.stage.clear();
        let count = self.say();
        self.counted(count);
    }

    /// Callgrind counts while this runs: the name is what `benches/instructions` gives it.
    #[inline(never)]
    fn counted(&mut self, datagrams: usize) {
        self.work(datagrams);
    }

    /// The media plane's part of an interval, and nothing else.
    #[inline(always)]
    fn work(&mut self, datagrams: usize) {
        for datagram in self.arriving.chunks_exact(SLOT).take(datagrams) {
            let [number, length, ..] = words(datagram);
            let phone = &self.phones[number];
            let datagram = &datagram[HEAD..][..length];
            let source = address(phone.number);
            self.plane
                .receive(phone.leg, Channel::Rtp, datagram, source);
        }
        self.plane.tick();
    }

    /// A number that depends on every byte that is sent in so many intervals, and to whom.
    pub fn fingerprint(&mut self, intervals: usize) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for _ in 0..intervals {
            self.tick();
            for sent in self.plane.stage.sent() {
                for byte in sent.datagram {
                    hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
                hash = (hash ^ u64::from(sent.destination.port())).wrapping_mul(0x0100_0000_01b3);
            }
            hash ^= self.plane.stage.events.len() as u64;
        }
        hash
    }

    /// Bytes that the scene itself takes, beside the media plane.
    pub fn own_bytes(&self) -> usize {
        let sent = self.plane.stage.sent();
        let stage: usize = sent.map(|sent| sent.datagram.len() + 64).sum();
        self.arriving.len() + stage + size_of_val(&self.phones[..])
    }

    /// Writes the next datagram of each phone; how many there are.
    fn say(&mut self) -> usize {
        self.arriving.resize(self.phones.len() * SLOT, 0);
        let samples = self.plan.codec.clock_rate() / 50;
        let mut slots = self.arriving.chunks_exact_mut(SLOT);
        let mut count = 0;
        for (index, phone) in self.phones.iter_mut().enumerate() {
            let talks = phone.number < self.plan.talkers;
            if !talks && self.plan.others == Others::Held {
                continue;
            }
            let said = if talks { &self.voice } else { &self.rest };
            let payload = &said[(self.interval + usize::from(phone.number)) % SECOND];
            let Some(slot) = slots.next() else { break };
            let length = phone.header.write(&mut slot[HEAD..], &[]);
            slot[HEAD + length..][..payload.len()].copy_from_slice(payload);
            slot[..4].copy_from_slice(&(index as u32).to_ne_bytes());
            slot[4..8].copy_from_slice(&((length + payload.len()) as u32).to_ne_bytes());
            phone.header.sequence = phone.header.sequence.wrapping_add(1);
            phone.header.timestamp = phone.header.timestamp.wrapping_add(samples);
            count += 1;
        }
        self.interval += 1;
        count
    }
}

/// Whose datagram it is and how long, before each of them.
const HEAD: usize = 8;
const SLOT: usize = (HEAD + MAX_HEADER + MAX_PAYLOAD).next_multiple_of(64);

fn words(slot: &[u8]) -> [usize; 2] {
    let word = |at: usize| {
        let bytes = [slot[at], slot[at + 1], slot[at + 2], slot[at + 3]];
        u32::from_ne_bytes(bytes) as usize
    };
    [word(0), word(4)]
}

/// A second of a signal, given by its time in seconds, in packets of 20 ms.
fn payloads(codec: Codec, mut signal: impl FnMut(f32) -> f32) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(codec);
    let length = codec.sample_rate() as usize / 50;
    let rate = codec.sample_rate() as f32;
    let mut frame = vec![0; length];
    let mut payload = [0; MAX_PAYLOAD];
    (0..SECOND)
        .map(|interval| {
            for (n, sample) in frame.iter_mut().enumerate() {
                *sample = signal((interval * length + n) as f32 / rate) as i16;
            }
            let length = encoder.encode(&frame, &mut payload);
            payload[..length].to_vec()
        })
        .collect()
}

/// Something like a voice: a low tone with harmonics, louder and softer.
fn voice(t: f32) -> f32 {
    let pitch = (1..8).map(|h| (t * 150.0 * h as f32 * TAU).sin() / h as f32);
    pitch.sum::<f32>() * (2000.0 + 1500.0 * (t * 19.0).sin())
}

fn media(codec: Codec, number: u16, active: bool) -> MediaSpec {
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
        sends: active,
        receives: active,
        opus: OpusSettings::default(),
    }
}
