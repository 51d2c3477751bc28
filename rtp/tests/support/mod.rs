//! A network in virtual time: what a source sends, what the network makes of it, and a listener's ticks.
//!
//! All randomness is seeded; the same test gives the same packets and the same samples.
#![allow(dead_code, unreachable_pub)]

pub mod voice;

use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::playout::{Packet, PacketKind, Playout, PlayoutConfig, PlayoutStats, Pulled};

/// Nanoseconds in a millisecond.
pub const MS: u64 = 1_000_000;

/// Marsaglia's xorshift64*.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }
}

/// A packet on its way.
#[derive(Debug, Clone)]
pub struct Datagram {
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub payload: Vec<u8>,
    pub kind: PacketKind,
    /// When it was sent, and after the network: when it arrived.
    pub at_ns: u64,
}

impl Datagram {
    pub fn packet(&self) -> Packet<'_> {
        Packet {
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: self.marker,
            payload: &self.payload,
            kind: self.kind,
            arrival_ns: self.at_ns,
        }
    }
}

/// A sender: L16 or PCMU packets of a signal, on a clock of its own.
#[derive(Debug, Clone)]
pub struct Source {
    pub codec: Codec,
    pub sequence: u16,
    pub timestamp: u32,
    /// Next sample of the signal.
    pub sample: usize,
    pub now_ns: f64,
    /// How much faster than true time the source's clock runs.
    pub drift_ppm: f64,
    pub marker: bool,
}

impl Source {
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            sequence: 65_500,
            timestamp: u32::MAX - 8000,
            sample: 0,
            now_ns: 1.0e9,
            drift_ppm: 0.0,
            marker: true,
        }
    }

    fn per_ms(&self) -> usize {
        self.codec.sample_rate() as usize / 1000
    }

    /// Sends the next `ptime_ms` of a signal (at the sample rate) at the end of that time.
    pub fn send(&mut self, ptime_ms: usize, signal: impl Fn(usize) -> i16) -> Datagram {
        let count = ptime_ms * self.per_ms();
        let payload = encode(self.codec, (self.sample..self.sample + count).map(signal));
        let datagram = self.datagram(payload, PacketKind::Voice);
        self.advance(ptime_ms);
        datagram
    }

    /// Sends comfort-noise parameters; takes no time.
    pub fn send_noise(&mut self, payload: &[u8]) -> Datagram {
        self.datagram(payload.to_vec(), PacketKind::ComfortNoise)
    }

    /// Sends a telephone event that began at a timestamp; takes no time.
    pub fn send_event(&mut self, begin: u32) -> Datagram {
        let datagram = self.datagram(vec![5, 10, 0, 160], PacketKind::Event);
        Datagram {
            timestamp: begin,
            ..datagram
        }
    }

    /// Says nothing for a while; signal and timestamps go on.
    pub fn pause(&mut self, ms: usize) {
        self.advance(ms);
        self.marker = true;
    }

    pub fn run(
        &mut self,
        ms: usize,
        ptime_ms: usize,
        signal: impl Fn(usize) -> i16 + Copy,
    ) -> Vec<Datagram> {
        (0..ms / ptime_ms)
            .map(|_| self.send(ptime_ms, signal))
            .collect()
    }

    fn datagram(&mut self, payload: Vec<u8>, kind: PacketKind) -> Datagram {
        let datagram = Datagram {
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: std::mem::take(&mut self.marker) && kind == PacketKind::Voice,
            payload,
            kind,
            at_ns: self.now_ns as u64,
        };
        self.sequence = self.sequence.wrapping_add(1);
        datagram
    }

    fn advance(&mut self, ms: usize) {
        self.sample += ms * self.per_ms();
        self.timestamp = self
            .timestamp
            .wrapping_add((ms as u32) * (self.codec.clock_rate() / 1000));
        self.now_ns += ms as f64 * 1.0e6 / (1.0 + self.drift_ppm * 1.0e-6);
    }
}

fn encode(codec: Codec, samples: impl Iterator<Item = i16>) -> Vec<u8> {
    match codec {
        Codec::L16 { .. } => samples.flat_map(i16::to_be_bytes).collect(),
        Codec::Pcmu => samples.map(mu_law).collect(),
        _ => panic!("the test sources speak L16 and PCMU"),
    }
}

/// µ-law by the definition: sign, segment, interval.
fn mu_law(sample: i16) -> u8 {
    let magnitude = (i32::from(sample).abs() + 132).min(32_767);
    let segment = (magnitude.ilog2() as i32 - 7).clamp(0, 7);
    let interval = magnitude >> (segment + 3) & 15;
    !(if sample < 0 { 0x80 } else { 0 } | segment << 4 | interval) as u8
}

/// How late packets are on top of the constant delay.
#[derive(Debug, Clone, Copy)]
pub enum Jitter {
    None,
    /// Uniform between 0 and so many ms.
    Uniform(f64),
    /// Exponential with this mean, ms: a long tail.
    Exponential(f64),
}

/// What a network does to packets.
#[derive(Debug, Clone)]
pub struct Network {
    pub random: Random,
    pub delay_ms: f64,
    pub jitter: Jitter,
    /// Gilbert model: chance to go from good to bad, from bad to good, a packet. All packets in the bad state are
    /// lost.
    pub gilbert: Option<(f64, f64)>,
    pub bad: bool,
    pub duplicate: f64,
    /// Chance that a packet is held back by 30 ms, so that the next overtakes it.
    pub overtaken: f64,
    /// Whether jitter may reorder packets; a queue does not.
    pub keeps_order: bool,
    /// Packets are delivered together at multiples of this, ms.
    pub chunk_ms: f64,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            delay_ms: 30.0,
            jitter: Jitter::None,
            gilbert: None,
            bad: false,
            duplicate: 0.0,
            overtaken: 0.0,
            keeps_order: true,
            chunk_ms: 0.0,
        }
    }

    /// Carries packets; the result is in order of arrival.
    pub fn carry(&mut self, sent: Vec<Datagram>) -> Vec<Datagram> {
        let mut arrived = Vec::with_capacity(sent.len());
        let mut last = 0;
        for mut datagram in sent {
            if let Some((fail, heal)) = self.gilbert {
                self.bad = if self.bad {
                    !self.random.chance(heal)
                } else {
                    self.random.chance(fail)
                };
                if self.bad {
                    continue;
                }
            }
            let jitter = match self.jitter {
                Jitter::None => 0.0,
                Jitter::Uniform(most) => most * self.random.unit(),
                Jitter::Exponential(mean) => -mean * (1.0 - self.random.unit()).ln(),
            };
            let mut at = datagram.at_ns as f64 / 1.0e6 + self.delay_ms + jitter;
            if self.overtaken > 0.0 && self.random.chance(self.overtaken) {
                at += 30.0;
            }
            if self.chunk_ms > 0.0 {
                at = (at / self.chunk_ms).ceil() * self.chunk_ms;
            }
            datagram.at_ns = (at * 1.0e6) as u64;
            if self.keeps_order && self.overtaken == 0.0 {
                datagram.at_ns = datagram.at_ns.max(last);
                last = datagram.at_ns;
            }
            if self.duplicate > 0.0 && self.random.chance(self.duplicate) {
                let mut copy = datagram.clone();
                copy.at_ns += 5 * MS;
                arrived.push(copy);
            }
            arrived.push(datagram);
        }
        arrived.sort_by_key(|datagram| datagram.at_ns);
        arrived
    }
}

/// A playout buffer, its decoder, and the ticks that pull.
#[derive(Debug)]
pub struct Listener {
    pub playout: Playout,
    pub decoder: Decoder,
    pub frame: usize,
    /// The next tick.
    pub now_ns: u64,
    /// All that was heard (silence written out), and what each frame was.
    pub heard: Vec<i16>,
    pub frames: Vec<Pulled>,
    /// Delay at each tick, ms.
    pub delays: Vec<u32>,
}

impl Listener {
    pub fn new(codec: Codec) -> Self {
        Self::with(&PlayoutConfig::new(codec))
    }

    pub fn with(config: &PlayoutConfig) -> Self {
        Self {
            playout: Playout::new(config),
            decoder: Decoder::new(config.codec),
            frame: config.codec.sample_rate() as usize / 50,
            now_ns: 1_007 * MS,
            heard: Vec::new(),
            frames: Vec::new(),
            delays: Vec::new(),
        }
    }

    /// Takes what arrives until the end of the last packet's arrival (and `tail_ms`), ticking meanwhile.
    pub fn listen(&mut self, arrived: &[Datagram], tail_ms: u64) {
        for datagram in arrived {
            while self.now_ns < datagram.at_ns {
                let _ = self.tick();
            }
            let _ = self.playout.insert(&datagram.packet());
        }
        let end = arrived.last().map_or(self.now_ns, |last| last.at_ns) + tail_ms * MS;
        while self.now_ns < end {
            let _ = self.tick();
        }
    }

    pub fn tick(&mut self) -> Pulled {
        let mut out = vec![0; self.frame];
        let pulled = self.playout.pull(&mut self.decoder, self.now_ns, &mut out);
        self.now_ns += 20 * MS;
        if matches!(pulled, Pulled::Silence | Pulled::Idle) {
            assert!(out.iter().all(|&s| s == 0), "silence is not written");
        }
        self.heard.extend_from_slice(&out);
        self.frames.push(pulled);
        self.delays.push(self.playout.stats().delay_ms);
        pulled
    }

    pub fn stats(&self) -> PlayoutStats {
        self.playout.stats()
    }

    /// Forgets what was heard so far.
    pub fn forget(&mut self) {
        self.heard.clear();
        self.frames.clear();
        self.delays.clear();
    }

    pub fn count(&self, kind: Pulled) -> usize {
        self.frames.iter().filter(|&&frame| frame == kind).count()
    }
}

/// A tone at 8 kHz whose period is a whole number of samples where 8000 / `hz` is.
pub fn tone(hz: f64, rate: u32, amplitude: f64) -> impl Fn(usize) -> i16 + Copy {
    move |n| {
        (amplitude * (std::f64::consts::TAU * hz * n as f64 / f64::from(rate)).sin()).round() as i16
    }
}
