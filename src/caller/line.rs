//! The media of one call, without clock and sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use unisono_rtp::codec::opus_pack::MAX_SAMPLES;
use unisono_rtp::codec::{Decoder, Encoder, MAX_PAYLOAD};
use unisono_rtp::outbound::{Format, Origin, Outbound, PacketBuf};
use unisono_rtp::packet::{Kind, RtpPacket};
use unisono_rtp::reception::{Order, Reception};
use unisono_rtp::rtcp::{Cname, Config as RtcpConfig, NtpTime, Sending, Session};

use super::recording::{Recorder, Recording};

/// Length of a frame, ns: one is spoken every so often.
pub const FRAME_NS: u64 = 20_000_000;

/// Talkers that a [`LineMeter`] tells; a packet names no more.
pub const MAX_TALKERS: usize = unisono_rtp::packet::MAX_CSRCS;

/// Nothing heard for so long is silence: a conference sends nothing when nobody speaks.
const SILENT_AFTER_NS: u64 = 3 * FRAME_NS;

/// How the meter falls, a frame.
const RELEASE: f32 = 0.85;

/// What a line sends, keeps and calls itself.
#[derive(Debug, Clone)]
pub struct LineConfig {
    /// What is sent, as agreed.
    pub format: Format,
    /// Payload type of what is received.
    pub receive_payload_type: u8,
    /// What is said, over and over, at the codec's sampling rate. Empty is silence.
    pub speech: Arc<[i16]>,
    /// How much of what is heard is kept, seconds; 0 keeps nothing.
    pub keep_seconds: u32,
    /// Where the RTP source begins.
    pub origin: Origin,
    /// Random bytes for the canonical name and the time of the first report.
    pub random: [u8; 16],
}

/// The media of one call. Time is an argument; nothing allocates but `new` and `finish`.
#[derive(Debug)]
pub struct Line {
    receive_payload_type: u8,
    speech: Arc<[i16]>,
    /// Where in the clip the next frame begins.
    position: usize,
    speak_from_ns: Option<u64>,
    /// When the clip's first sample was spoken.
    spoken_ns: Option<u64>,
    encoder: Encoder,
    outbound: Outbound,
    reception: Reception,
    /// The source that is heard.
    source: Option<u32>,
    rtcp: Session,
    decoder: Decoder,
    recorder: Recorder,
    scratch: Box<Scratch>,
    packet: PacketBuf,
    sent: u64,
    strangers: u64,
    heard_ns: u64,
    level: f32,
    meter: Arc<LineMeter>,
}

#[derive(Debug)]
struct Scratch {
    frame: [i16; MAX_SAMPLES],
    payload: [u8; MAX_PAYLOAD],
}

/// A line while it runs, for other threads. Values may be of neighbouring frames.
#[derive(Debug, Default)]
pub struct LineMeter {
    sent: AtomicU64,
    received: AtomicU64,
    lost: AtomicU64,
    level: AtomicU32,
    talkers: [AtomicU32; MAX_TALKERS],
    talker_count: AtomicU32,
}

/// What a line counted, in packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineCounts {
    /// Sent.
    pub sent: u64,
    /// Received, each once.
    pub received: u64,
    /// What was received should have been this many, by the sequence numbers.
    pub expected: u64,
    /// Not of this call: another payload type, another source, or no RTP at all.
    pub strangers: u64,
}

impl Line {
    /// A line on which nothing was said yet. `now_ns` is when it begins to report by RTCP.
    pub fn new(config: LineConfig, now_ns: u64) -> Self {
        let codec = config.format.codec;
        let [a, b, c, d, name @ ..] = config.random;
        let rtcp = RtcpConfig {
            cname: Cname::from_random(name),
            tool: concat!("unisono caller ", env!("CARGO_PKG_VERSION")),
            session_bandwidth: 80_000,
            reduced_minimum: false,
        };
        let random = u32::from_be_bytes([a, b, c, d]);
        let outbound = Outbound::new(config.format, config.origin);
        Self {
            receive_payload_type: config.receive_payload_type,
            speech: config.speech,
            position: 0,
            speak_from_ns: None,
            spoken_ns: None,
            encoder: Encoder::new(codec),
            reception: Reception::new(codec.clock_rate()),
            source: None,
            rtcp: Session::new(rtcp, config.origin.ssrc, now_ns, random),
            decoder: Decoder::new(codec),
            recorder: Recorder::new(codec, outbound.ptime_ms(), config.keep_seconds),
            scratch: Box::new(Scratch {
                frame: [0; MAX_SAMPLES],
                payload: [0; MAX_PAYLOAD],
            }),
            outbound,
            packet: PacketBuf::new(),
            sent: 0,
            strangers: 0,
            heard_ns: 0,
            level: 0.0,
            meter: Arc::new(LineMeter::default()),
        }
    }

    /// Begins to speak with the first frame that begins at or after `from_ns`; until then silence is sent.
    pub fn speak_from(&mut self, from_ns: u64) {
        self.speak_from_ns = Some(from_ns);
    }

    /// The frame that ended at `deadline_ns` is sent. It began 20 ms before: that is when its first sample was spoken, whenever
    /// this is called.
    pub fn tick(&mut self, deadline_ns: u64, mut send: impl FnMut(&[u8])) {
        let began_ns = deadline_ns.saturating_sub(FRAME_NS);
        let samples = self.frame_samples();
        let frame = &mut self.scratch.frame[..samples];
        match self.speak_from_ns {
            Some(from_ns) if began_ns >= from_ns && !self.speech.is_empty() => {
                self.spoken_ns.get_or_insert(began_ns);
                for sample in frame.iter_mut() {
                    *sample = self.speech[self.position];
                    self.position = (self.position + 1) % self.speech.len();
                }
            }
            _ => frame.fill(0),
        }
        let length = self.encoder.encode(frame, &mut self.scratch.payload);
        let payload = &self.scratch.payload[..length];
        self.outbound
            .push(payload, &[], &mut self.packet, |packet| {
                self.sent += 1;
                send(packet);
            });
        if deadline_ns.saturating_sub(self.heard_ns) > SILENT_AFTER_NS {
            self.level *= RELEASE;
            self.meter.talker_count.store(0, Relaxed);
        }
        self.publish();
    }

    /// Frames that could not be sent in time never will be: the clip goes on as if they had been.
    pub fn skip(&mut self, frames: u32) {
        self.outbound.skip(frames);
        if self.spoken_ns.is_some() {
            let samples = self.frame_samples() * frames as usize;
            self.position = (self.position + samples) % self.speech.len();
        }
    }

    /// A report by RTCP, if one is due; `out` is written and the length returned.
    pub fn report(
        &mut self,
        now_ns: u64,
        ntp: NtpTime,
        random: u64,
        out: &mut [u8],
    ) -> Option<usize> {
        let sending = Sending {
            rtp_timestamp: self.outbound.timestamp_at(now_ns, now_ns),
            totals: self.outbound.totals(),
        };
        let reception = self.source.is_some().then_some(&mut self.reception);
        self.rtcp
            .poll(now_ns, ntp, random, &sending, reception, out)
    }

    /// A datagram of the call's peer arrived.
    pub fn receive(&mut self, datagram: &[u8], arrival_ns: u64) {
        match Kind::of(datagram) {
            Kind::Rtp => {
                if self.receive_rtp(datagram, arrival_ns).is_none() {
                    self.strangers += 1;
                }
            }
            Kind::Rtcp => {
                // A malformed report changes nothing.
                let _ = self.rtcp.on_rtcp(datagram, arrival_ns);
            }
            Kind::Other => self.strangers += 1,
        }
    }

    /// Synchronisation source of what is sent: how a mixer names this line among the talkers.
    pub fn ssrc(&self) -> u32 {
        self.outbound.ssrc()
    }

    /// The line as others may watch it.
    pub fn meter(&self) -> Arc<LineMeter> {
        Arc::clone(&self.meter)
    }

    /// What was counted.
    pub fn counts(&self) -> LineCounts {
        LineCounts {
            sent: self.sent,
            received: u64::from(self.reception.received()),
            expected: match self.source {
                Some(_) => u64::from(self.reception.expected()),
                None => 0,
            },
            strangers: self.strangers,
        }
    }

    /// When the clip's first sample was spoken, ns of the clock of [`tick`](Self::tick).
    pub fn spoken_ns(&self) -> Option<u64> {
        self.spoken_ns
    }

    /// What was heard. Decodes all of it.
    pub fn recording(&self) -> Option<Recording> {
        self.recorder.recording()
    }

    /// `None` if the packet is not of this call.
    fn receive_rtp(&mut self, datagram: &[u8], arrival_ns: u64) -> Option<()> {
        let packet = RtpPacket::parse(datagram).ok()?;
        if packet.payload_type != self.receive_payload_type
            || *self.source.get_or_insert(packet.ssrc) != packet.ssrc
        {
            return None;
        }
        self.rtcp.on_rtp(packet.ssrc, arrival_ns);
        match self
            .reception
            .on_packet(packet.sequence, packet.timestamp, arrival_ns)
        {
            Order::Leap | Order::Duplicate => return Some(()),
            Order::Restarted => self.recorder.clear(),
            _ => {}
        }
        self.recorder
            .keep(packet.timestamp, packet.payload, arrival_ns);
        self.heard_ns = arrival_ns;
        if let Ok(count) = self.decoder.decode(packet.payload, &mut self.scratch.frame) {
            let level = root_mean_square(&self.scratch.frame[..count]);
            self.level = level.max(self.level * RELEASE);
        }
        let talkers = packet.csrcs();
        self.meter.talker_count.store(talkers.len() as u32, Relaxed);
        for (shown, talker) in self.meter.talkers.iter().zip(talkers) {
            shown.store(talker, Relaxed);
        }
        Some(())
    }

    fn frame_samples(&self) -> usize {
        self.encoder.codec().sample_rate() as usize / 50
    }

    fn publish(&self) {
        let counts = self.counts();
        self.meter.sent.store(counts.sent, Relaxed);
        self.meter.received.store(counts.received, Relaxed);
        self.meter.lost.store(counts.lost(), Relaxed);
        self.meter.level.store(self.level.to_bits(), Relaxed);
    }
}

impl LineCounts {
    /// Packets that the sequence numbers say were sent here and that never came.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }
}

impl LineMeter {
    /// Packets sent.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Packets received.
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Packets lost on the way here.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Level of what is heard, dBov: 0 is full scale, -127 silence. It rises at once and falls slowly.
    pub fn level_dbov(&self) -> f32 {
        let level = f32::from_bits(self.level.load(Relaxed)) / 32768.0;
        (20.0 * level.log10()).clamp(-127.0, 0.0)
    }

    /// Sources that are heard now, as the mixer names them: at most [`MAX_TALKERS`].
    pub fn talkers(&self) -> impl Iterator<Item = u32> + '_ {
        let count = self.talker_count.load(Relaxed) as usize;
        self.talkers
            .iter()
            .take(count)
            .map(|talker| talker.load(Relaxed))
    }
}

fn root_mean_square(samples: &[i16]) -> f32 {
    let sum: f32 = samples.iter().map(|&s| f32::from(s).powi(2)).sum();
    (sum / samples.len().max(1) as f32).sqrt()
}

#[cfg(test)]
mod tests {
    use unisono_rtp::codec::Codec;

    use super::*;

    const START_NS: u64 = 1_000_000_000;

    fn line(codec: Codec, ssrc: u32, speech: &[i16]) -> Line {
        let config = LineConfig {
            format: Format {
                codec,
                payload_type: 96,
                ptime_ms: 20,
            },
            receive_payload_type: 96,
            speech: speech.into(),
            keep_seconds: 5,
            origin: Origin {
                ssrc,
                sequence: 65_530,
                timestamp: 7,
            },
            random: [1; 16],
        };
        Line::new(config, START_NS)
    }

    fn ramp() -> Vec<i16> {
        (1..=1000).collect()
    }

    /// `frames` frames from one line to the other, 1 ms under way; packets for which `lose` says so are lost.
    fn talk(from: &mut Line, to: &mut Line, frames: u64, lose: impl Fn(u64) -> bool) {
        for n in 0..frames {
            let deadline = START_NS + n * FRAME_NS;
            from.tick(deadline, |packet| {
                if !lose(n) {
                    to.receive(packet, deadline + 1_000_000);
                }
            });
            to.tick(deadline, |_| {});
        }
    }

    #[test]
    fn the_clip_is_heard_from_the_moment_agreed_and_over_and_over() {
        let codec = Codec::L16 { rate: 8000 };
        let (mut anna, mut ben) = (line(codec, 1, &ramp()), line(codec, 2, &[]));
        let from = START_NS + 95_000_000;
        anna.speak_from(from);
        talk(&mut anna, &mut ben, 50, |_| false);
        // The first frame that begins after 95 ms begins at 100 ms and is sent at 120 ms.
        assert_eq!(anna.spoken_ns(), Some(START_NS + 100_000_000));
        let recording = ben.recording().unwrap();
        let silence = 6 * 160;
        assert!(recording.samples[..silence].iter().all(|s| *s == 0));
        let heard = &recording.samples[silence..];
        assert!(heard.iter().zip(ramp().iter().cycle()).all(|(a, b)| a == b));
        // Mouth to ear: 20 ms of packet, 1 ms under way.
        let spoken = recording.index_at(anna.spoken_ns().unwrap());
        assert_eq!(silence as i64 - spoken, 21 * 8);
    }

    #[test]
    fn lost_packets_are_counted_and_leave_gaps() {
        let codec = Codec::L16 { rate: 8000 };
        let (mut anna, mut ben) = (line(codec, 1, &[100; 99]), line(codec, 2, &[]));
        anna.speak_from(0);
        talk(&mut anna, &mut ben, 100, |n| n == 10 || n == 20);
        let counts = ben.counts();
        assert_eq!((counts.expected, counts.received), (100, 98));
        assert_eq!((counts.lost(), counts.strangers), (2, 0));
        assert_eq!(ben.meter().lost(), 2);
        let gaps = ben.recording().unwrap().samples;
        assert_eq!(gaps.iter().filter(|s| **s == 0).count(), 2 * 160);
    }

    #[test]
    fn skipped_frames_do_not_shift_what_is_said_later() {
        let codec = Codec::L16 { rate: 8000 };
        let (mut anna, mut ben) = (line(codec, 1, &ramp()), line(codec, 2, &[]));
        anna.speak_from(0);
        let mut send = |anna: &mut Line, n: u64| {
            let deadline = START_NS + n * FRAME_NS;
            anna.tick(deadline, |packet| ben.receive(packet, deadline));
        };
        send(&mut anna, 0);
        anna.skip(3);
        send(&mut anna, 4);
        assert_eq!(ben.counts().lost(), 0);
        let heard = ben.recording().unwrap().samples;
        assert_eq!(heard.len(), 5 * 160);
        assert_eq!(heard[4 * 160], 641);
    }

    #[test]
    fn the_meter_shows_the_level_and_falls_when_nothing_comes() {
        let (mut anna, mut ben) = (
            line(Codec::Pcmu, 1, &[3277; 160]),
            line(Codec::Pcmu, 2, &[]),
        );
        anna.speak_from(0);
        talk(&mut anna, &mut ben, 10, |_| false);
        let level = ben.meter().level_dbov();
        assert!((-20.5..-19.5).contains(&level), "{level}");
        for n in 20..40 {
            ben.tick(START_NS + n * FRAME_NS, |_| {});
        }
        assert!(ben.meter().level_dbov() < -40.0);
    }

    #[test]
    fn other_sources_and_other_formats_are_strangers() {
        let (mut anna, mut eve) = (line(Codec::Pcmu, 1, &[]), line(Codec::Pcmu, 3, &[]));
        let mut ben = line(Codec::Pcmu, 2, &[]);
        anna.tick(START_NS, |packet| ben.receive(packet, START_NS));
        eve.tick(START_NS, |packet| ben.receive(packet, START_NS));
        ben.receive(&[0x80, 0, 1], START_NS);
        ben.receive(b"\x00\x01not rtp", START_NS);
        let counts = ben.counts();
        assert_eq!((counts.received, counts.strangers), (1, 3));
        assert_eq!(line(Codec::Pcmu, 4, &[]).counts(), LineCounts::default());
    }

    #[test]
    fn lines_report_to_each_other() {
        let (mut anna, mut ben) = (line(Codec::Pcmu, 1, &[]), line(Codec::Pcmu, 2, &[]));
        talk(&mut anna, &mut ben, 50, |_| false);
        let mut out = [0; 512];
        let now = START_NS + 10_000_000_000;
        let length = ben.report(now, NtpTime(1 << 40), 1, &mut out).unwrap();
        anna.receive(&out[..length], now);
        assert_eq!(
            anna.rtcp.peer_report().map(|report| report.cumulative_lost),
            Some(0)
        );
        assert_eq!(anna.counts().strangers, 0);
    }
}
