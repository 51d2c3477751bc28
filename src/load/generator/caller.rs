//! One caller: what it sends, and what it makes of what it receives.

use unisono_rtp::codec::Codec;
use unisono_rtp::net::{ClockOffset, MediaSocket, RecvBuf, SendCounters};
use unisono_rtp::packet::{Header, Kind, RtpPacket};

use super::{CallerSetup, Pause};
use crate::caller::Recorder;
use crate::load::clip::Clip;
use crate::load::stream::{Arrival, FRAME_NS, Following, Stream, StreamFigures};
use crate::load::talk::Gate;

use std::net::SocketAddr;
use std::sync::Arc;

/// Datagrams that are taken in one turn at most: a flood on one port keeps nobody else waiting.
const MOST_IN_A_TURN: usize = 64;

/// One caller.
#[derive(Debug)]
pub(super) struct Caller {
    number: usize,
    pub(super) slot: u64,
    socket: MediaSocket,
    remote: SocketAddr,
    receive_payload_type: u8,
    header: Header,
    first_timestamp: u32,
    /// Units of the RTP clock in a frame.
    units: u32,
    clip: Arc<Clip>,
    background: Arc<Clip>,
    gate: Gate,
    talking: bool,
    offset: u64,
    stream: Stream,
    codec: Codec,
    keep_seconds: u32,
    recorder: Option<Box<Recorder>>,
    dropped: u32,
    dropped_before: u32,
}

/// What one turn of receiving brought.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Turn {
    pub(super) received: u64,
    pub(super) other: u64,
}

impl Caller {
    pub(super) fn new(setup: CallerSetup) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = setup.random;
        let clock = setup.codec.clock_rate();
        let mut caller = Self {
            number: setup.number,
            slot: setup.slot,
            socket: setup.socket,
            remote: setup.remote,
            receive_payload_type: setup.receive_payload_type,
            header: Header {
                payload_type: setup.payload_type,
                marker: true,
                sequence: u16::from_be_bytes([e & 0x7f, f]),
                timestamp: 0,
                ssrc: u32::from_be_bytes([a, b, c, d]),
            },
            first_timestamp: u32::from_be_bytes([g, h, i, j]),
            units: clock / 50,
            clip: setup.clip,
            background: setup.background,
            gate: setup.gate,
            talking: false,
            offset: setup.offset,
            stream: Stream::new(clock),
            codec: setup.codec,
            keep_seconds: setup.keep_seconds,
            recorder: None,
            dropped: 0,
            dropped_before: 0,
        };
        caller.recorder = caller.new_recorder();
        caller
    }

    /// Sends frame number `frame`; false if the kernel did not take it.
    pub(super) fn send(
        &mut self,
        frame: u64,
        packet: &mut [u8],
        counters: &mut SendCounters,
    ) -> bool {
        let talks = self.gate.talks(frame);
        // The first packet of a talk spurt is marked (RFC 3551 section 4.1).
        self.header.marker |= talks && !self.talking;
        self.talking = talks;
        let clip = if talks { &self.clip } else { &self.background };
        let payload = clip.frame((self.offset + frame) as usize);
        self.header.timestamp = self
            .first_timestamp
            .wrapping_add((frame as u32).wrapping_mul(self.units));
        let start = self.header.write(packet, &[]);
        let end = start + payload.len();
        let Some(room) = packet.get_mut(start..end) else {
            return false;
        };
        room.copy_from_slice(payload);
        self.header.marker = false;
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.socket.send_to(&packet[..end], self.remote, counters)
    }

    /// Takes what has come: one datagram, and more while they are older than a packet time.
    pub(super) fn receive(
        &mut self,
        buf: &mut RecvBuf,
        clock: ClockOffset,
        mut followed: impl FnMut(Following),
    ) -> Turn {
        let mut turn = Turn::default();
        for _ in 0..MOST_IN_A_TURN {
            // A socket that is of no more use brings nothing, which shows as a stream that ended.
            let Ok(Some(received)) = self.socket.recv(buf, clock) else {
                break;
            };
            self.dropped = received.dropped;
            let arrival_ns = received.arrival_ns;
            let datagram = buf.datagram(&received);
            let rtp = (Kind::of(datagram) == Kind::Rtp)
                .then(|| RtpPacket::parse(datagram).ok())
                .flatten();
            let Some(rtp) = rtp else {
                turn.other += 1;
                continue;
            };
            turn.received += 1;
            let following = self.stream.on_packet(Arrival {
                ssrc: rtp.ssrc,
                sequence: rtp.sequence,
                timestamp: rtp.timestamp,
                marker: rtp.marker,
                at_ns: arrival_ns,
            });
            followed(following);
            if let Some(recorder) = &mut self.recorder
                && rtp.payload_type == self.receive_payload_type
            {
                recorder.keep(rtp.timestamp, rtp.payload, arrival_ns);
            }
            if clock.now_ns().saturating_sub(arrival_ns) < FRAME_NS {
                break;
            }
        }
        turn
    }

    pub(super) fn open(&mut self, now_ns: u64) {
        self.stream.open(now_ns);
        self.dropped_before = self.dropped;
        if let Some(recorder) = &mut self.recorder {
            recorder.clear();
        }
    }

    pub(super) fn figures(&self, now_ns: u64) -> (usize, StreamFigures) {
        (self.number, self.stream.figures(now_ns))
    }

    /// What was heard since it was last asked for.
    pub(super) fn take_recorder(&mut self) -> Option<(usize, Recorder)> {
        let fresh = self.new_recorder()?;
        let recorder = self.recorder.replace(fresh)?;
        Some((self.number, *recorder))
    }

    /// Datagrams dropped since the window was opened.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.wrapping_sub(self.dropped_before).into()
    }

    pub(super) fn pause(&self, from_ns: u64, to_ns: u64) -> Pause {
        Pause {
            caller: self.number,
            from_ns,
            to_ns,
        }
    }

    fn new_recorder(&self) -> Option<Box<Recorder>> {
        (self.keep_seconds > 0).then(|| Box::new(Recorder::new(self.codec, 20, self.keep_seconds)))
    }
}
