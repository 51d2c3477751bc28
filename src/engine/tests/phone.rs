//! A far end: it speaks a tone, and keeps and decodes what it is sent.

use std::collections::HashMap;
use std::f32::consts::TAU;
use std::net::SocketAddr;

use unisono_rtp::codec::{Codec, Decoder, OpusSettings};
use unisono_rtp::packet::RtpPacket;

use crate::engine::rehearsal::{Mouth, Rehearsal, address};
use crate::engine::sockets::Channel;
use crate::engine::{Event, LegId, LegPolicy, MediaSpec, Remote};

/// An agreement on `codec` with the `number`th far end: 20 ms, RTCP on the next port, telephone events.
pub(super) fn media(codec: Codec, number: u16) -> MediaSpec {
    let rtp = address(number);
    let mut rtcp = rtp;
    rtcp.set_port(rtp.port() + 1);
    let payload_type = codec.static_payload_type().unwrap_or(111);
    MediaSpec {
        codec,
        payload_type,
        receive_payload_type: payload_type,
        telephone_event: Some((101, 8000)),
        comfort_noise: Some(13),
        ptime_ms: 20,
        remote: Remote {
            rtp: Some(rtp),
            rtcp: Some(rtcp),
            rtcp_mux: false,
        },
        sends: true,
        receives: true,
        opus: OpusSettings::default(),
    }
}

/// One RTP packet that was sent.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) csrcs: Vec<u32>,
    pub(super) payload: Vec<u8>,
    /// Interval in which it was sent.
    pub(super) tick: usize,
}

/// A phone, with the leg that serves it.
#[derive(Debug)]
pub(super) struct Phone {
    pub(super) leg: LegId,
    pub(super) media: MediaSpec,
    pub(super) mouth: Mouth,
    /// What it says, Hz; `None` while silent.
    pub(super) tone: Option<f32>,
    pub(super) heard: Vec<Heard>,
    position: usize,
}

impl Phone {
    pub(super) fn said(&mut self) -> Vec<i16> {
        let rate = self.media.codec.sample_rate() as usize;
        let start = self.position;
        self.position += rate / 50;
        (start..self.position)
            .map(|n| match self.tone {
                None => 0,
                Some(hz) => ((n as f32 * hz * TAU / rate as f32).sin() * 6000.0) as i16,
            })
            .collect()
    }

    /// Everything that it was sent, decoded.
    pub(super) fn audio(&self) -> Vec<i16> {
        let mut decoder = Decoder::new(self.media.codec);
        let mut out = vec![0; 5760];
        let mut audio = Vec::new();
        for packet in &self.heard {
            let samples = decoder.decode(&packet.payload, &mut out).unwrap();
            audio.extend_from_slice(&out[..samples]);
        }
        audio
    }

    /// Amplitude of a tone in the last `seconds` of what it was sent.
    pub(super) fn amplitude(&self, hz: f32, seconds: f32) -> f32 {
        let rate = self.media.codec.sample_rate() as f32;
        let audio = self.audio();
        let from = audio.len().saturating_sub((rate * seconds) as usize);
        amplitude(&audio[from..], hz, rate)
    }

    /// Asserts that its packets are one stream: numbers in a row, timestamps as long as the packets, no marker but
    /// in the first.
    pub(super) fn assert_continuous(&self) {
        let decoder = Decoder::new(self.media.codec);
        let clock = self.media.codec.clock_rate() as usize;
        let rate = self.media.codec.sample_rate() as usize;
        for (n, pair) in self.heard.windows(2).enumerate() {
            let (a, b) = (&pair[0], &pair[1]);
            let samples = decoder.samples_in(&a.payload).unwrap();
            assert_eq!(b.ssrc, a.ssrc);
            assert_eq!(b.sequence, a.sequence.wrapping_add(1), "packet {n}");
            assert_eq!(
                b.timestamp.wrapping_sub(a.timestamp) as usize,
                samples * clock / rate,
                "packet {n}"
            );
            assert!(!b.marker, "packet {}", n + 1);
        }
    }
}

/// Amplitude of a tone in a signal.
pub(super) fn amplitude(signal: &[i16], hz: f32, rate: f32) -> f32 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in signal.iter().enumerate() {
        // Hann's window keeps a tone's side lobes from other tones' places.
        let window = 1.0 - (TAU * n as f32 / signal.len() as f32).cos();
        let angle = TAU * hz * n as f32 / rate;
        re += f32::from(*sample) * window * angle.cos();
        im += f32::from(*sample) * window * angle.sin();
    }
    2.0 * re.hypot(im) / signal.len().max(1) as f32
}

/// One compound of RTCP that was sent.
#[derive(Debug)]
pub(super) struct Rtcp {
    pub(super) leg: LegId,
    pub(super) channel: Channel,
    pub(super) destination: SocketAddr,
    pub(super) datagram: Vec<u8>,
}

/// A media plane and its phones.
#[derive(Debug)]
pub(super) struct Hall {
    pub(super) plane: Rehearsal,
    pub(super) phones: Vec<Phone>,
    /// What happened so far.
    pub(super) events: Vec<Event>,
    /// RTCP that was sent so far.
    pub(super) rtcp: Vec<Rtcp>,
    by_leg: HashMap<LegId, usize>,
    /// Intervals so far.
    pub(super) tick: usize,
}

impl Hall {
    pub(super) fn new() -> Self {
        Self::with_policy(LegPolicy::default())
    }

    pub(super) fn with_policy(policy: LegPolicy) -> Self {
        Self {
            plane: Rehearsal::new(64, 16, policy),
            phones: Vec::new(),
            events: Vec::new(),
            rtcp: Vec::new(),
            by_leg: HashMap::new(),
            tick: 0,
        }
    }

    /// Adds a phone outside any conference, and returns its number.
    pub(super) fn call(&mut self, media: MediaSpec) -> usize {
        let number = self.phones.len();
        let leg = self.plane.open_leg(media);
        self.by_leg.insert(leg, number);
        self.phones.push(Phone {
            leg,
            media,
            mouth: Mouth::new(number as u16, &media),
            tone: None,
            heard: Vec::new(),
            position: 0,
        });
        number
    }

    /// Adds a phone with a codec, in whose address is its number.
    pub(super) fn call_with(&mut self, codec: Codec) -> usize {
        self.call(media(codec, self.phones.len() as u16))
    }

    pub(super) fn leg(&self, phone: usize) -> LegId {
        self.phones[phone].leg
    }

    /// All phones say their 20 ms, and the media plane its.
    pub(super) fn run(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.speak();
            self.plane.tick();
            self.tick += 1;
            self.listen();
        }
    }

    /// All phones say their 20 ms.
    pub(super) fn speak(&mut self) {
        for phone in &mut self.phones {
            let frame = phone.said();
            let source = phone.mouth.address;
            let datagram = phone.mouth.say(&frame);
            self.plane
                .receive(phone.leg, Channel::Rtp, datagram, source);
        }
    }

    /// Hands what was sent to the phones, and keeps RTCP and events.
    pub(super) fn listen(&mut self) {
        for sent in self.plane.stage.sent() {
            if sent.channel == Channel::Rtcp || (192..224).contains(&sent.datagram[1]) {
                self.rtcp.push(Rtcp {
                    leg: sent.leg,
                    channel: sent.channel,
                    destination: sent.destination,
                    datagram: sent.datagram.to_vec(),
                });
                continue;
            }
            let phone = &mut self.phones[self.by_leg[&sent.leg]];
            let packet = RtpPacket::parse(sent.datagram).unwrap();
            assert_eq!(sent.destination, phone.mouth.address);
            phone.heard.push(Heard {
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                ssrc: packet.ssrc,
                payload_type: packet.payload_type,
                csrcs: packet.csrcs().collect(),
                payload: packet.payload.to_vec(),
                tick: self.tick,
            });
        }
        self.events.append(&mut self.plane.stage.events);
        self.plane.stage.clear();
    }

    /// Re-negotiates, and the phone speaks accordingly from then on.
    pub(super) fn update(&mut self, phone: usize, media: MediaSpec) {
        let phone = &mut self.phones[phone];
        self.plane.update(phone.leg, &phone.media, media);
        let before = std::mem::replace(&mut phone.mouth, Mouth::new(0, &media));
        phone.mouth.address = before.address;
        phone.mouth.ssrc = before.ssrc;
        phone.mouth.sequence = before.sequence;
        phone.mouth.timestamp = before.timestamp;
        phone.media = media;
        phone.position = 0;
        self.listen();
    }

    /// Forgets what the phones heard so far.
    pub(super) fn forget(&mut self) {
        self.phones.iter_mut().for_each(|phone| phone.heard.clear());
    }
}
