//! What a leg sends: frames encoded, put into packets of its ptime, under its own header.

use std::net::SocketAddr;

use unisono_rtp::codec::{Codec, MAX_PAYLOAD};
use unisono_rtp::outbound::PacketBuf;

use super::RtpStream;
use crate::engine::sockets::Channel;
use crate::engine::{LegId, Outlet};

/// Room for one frame on its way out; one serves all legs of a worker.
#[derive(Debug)]
pub(crate) struct SendBuffers {
    pub(crate) payload: Box<[u8; MAX_PAYLOAD]>,
    pub(crate) packet: PacketBuf,
}

impl SendBuffers {
    pub(crate) fn new() -> Self {
        Self {
            payload: Box::new([0; MAX_PAYLOAD]),
            packet: PacketBuf::new(),
        }
    }
}

/// Intervals of silence sent whole, after which the far end's decoder and its playout buffer have come to rest.
const SETTLING: u32 = 10;

/// Intervals from one packet to the next for who is to hear nothing: one second, so that nobody on the way takes the call for dead.
const KEEP_ALIVE: u32 = 50;

/// Silence that is sent to one leg alone.
#[derive(Debug, Default)]
pub(super) struct Hush {
    /// Intervals of it so far.
    run: u32,
}

impl Hush {
    /// There is something to be heard.
    fn end(&mut self) {
        self.run = 0;
    }

    /// Another interval of silence.
    fn go_on(&mut self) {
        self.run = self.run.saturating_add(1);
    }

    /// Whether nothing need be sent of an interval to who `may_hear` the conference or not.
    fn is_left_out(&self, may_hear: bool) -> bool {
        !may_hear && self.run > SETTLING && !(self.run - SETTLING).is_multiple_of(KEEP_ALIVE)
    }
}

/// Intervals that a leg's own G.722 encoder is given to come to the same octets as the shared one.
const MOST_APART: u32 = 100;

impl RtpStream {
    /// Sends the conference's shared payload of `frame`. A G.722 leg that comes from a stream of its own stays on it until
    /// both encoders make the same octets of the same audio, which they do soon, as both forget; before, its decoder
    /// would click. (Opus decoders pass over such a seam as over a lost packet.) True if it was encoded anew.
    pub(crate) fn send_shared(
        &mut self,
        shared: &[u8],
        frame: &[i16],
        csrcs: &[u32],
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) -> bool {
        self.hush.end();
        let SendBuffers { payload, packet } = buffers;
        let apart = !self.shares_stream && self.media.codec == Codec::G722;
        if apart && self.apart < MOST_APART {
            self.apart += 1;
            let length = self.encoder.encode(frame, &mut payload[..]);
            self.shares_stream = payload[..length] == *shared;
            self.send_payload(&payload[..length], csrcs, packet, outlet);
        } else {
            self.shares_stream = true;
            self.send_payload(shared, csrcs, packet, outlet);
        }
        apart
    }

    /// Encodes and sends a frame that only this leg hears.
    pub(crate) fn send_own(
        &mut self,
        frame: &[i16],
        csrcs: &[u32],
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        self.hush.end();
        self.encode_and_send(frame, csrcs, buffers, outlet);
    }

    /// Sends a frame of `silence`, because the leg hears nobody: who only waits for others to talk, in a stream without
    /// a break; who may not hear (`may_hear`) the conference, a packet a second. True if it was encoded.
    pub(crate) fn send_silence(
        &mut self,
        silence: &[i16],
        may_hear: bool,
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) -> bool {
        self.hush.go_on();
        if self.hush.is_left_out(may_hear) {
            self.pass_interval(buffers, outlet);
            return false;
        }
        self.encode_and_send(silence, &[], buffers, outlet);
        true
    }

    fn encode_and_send(
        &mut self,
        frame: &[i16],
        csrcs: &[u32],
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        self.shares_stream = false;
        self.apart = 0;
        let SendBuffers { payload, packet } = buffers;
        if self.media.codec == Codec::Opus && self.media.ptime_ms == 10 {
            let destination = self.latch.destination();
            let csrcs = self.told(csrcs);
            let (id, count) = (self.leg, &mut self.counts.packets_out);
            for half in frame.chunks_exact(frame.len() / 2) {
                let length = self.encoder.encode(half, &mut payload[..]);
                self.outbound
                    .push_packed(&payload[..length], 10, csrcs, packet, |datagram| {
                        send(id, destination, datagram, count, outlet);
                    });
            }
            return;
        }
        let length = self.encoder.encode(frame, &mut payload[..]);
        self.send_payload(&payload[..length], csrcs, packet, outlet);
    }

    /// Sends an encoded frame in packets of the leg's ptime, under its own header.
    fn send_payload(
        &mut self,
        payload: &[u8],
        csrcs: &[u32],
        packet: &mut PacketBuf,
        outlet: &mut impl Outlet,
    ) {
        let destination = self.latch.destination();
        let csrcs = self.told(csrcs);
        let (id, count) = (self.leg, &mut self.counts.packets_out);
        let mut emit = |datagram: &[u8]| send(id, destination, datagram, count, outlet);
        if self.media.codec == Codec::Opus {
            self.opus.push(payload, |packed, duration_ms| {
                self.outbound
                    .push_packed(packed, duration_ms, csrcs, packet, &mut emit);
            });
        } else {
            self.outbound.push(payload, csrcs, packet, emit);
        }
    }

    /// Nothing is sent in this interval; what waited to fill a longer packet goes out first.
    pub(crate) fn send_nothing(&mut self, buffers: &mut SendBuffers, outlet: &mut impl Outlet) {
        self.hush.end();
        self.pass_interval(buffers, outlet);
    }

    fn pass_interval(&mut self, buffers: &mut SendBuffers, outlet: &mut impl Outlet) {
        self.shares_stream = false;
        self.flush(buffers, outlet);
        self.outbound.skip(1);
    }

    /// Sends what waits to fill a packet of a longer ptime.
    pub(super) fn flush(&mut self, buffers: &mut SendBuffers, outlet: &mut impl Outlet) {
        let destination = self.latch.destination();
        let (id, count) = (self.leg, &mut self.counts.packets_out);
        let mut emit = |datagram: &[u8]| send(id, destination, datagram, count, outlet);
        let packet = &mut buffers.packet;
        self.outbound.flush(packet, &mut emit);
        self.opus.flush(|packed, duration_ms| {
            self.outbound
                .push_packed(packed, duration_ms, &[], packet, &mut emit);
        });
    }

    /// Intervals that were missed: their time passes, and what waited to fill a packet is too old to be sent.
    pub(super) fn skip_sending(&mut self, intervals: u32) {
        let held = self.opus.clear();
        self.outbound.skip(intervals.saturating_add(held));
    }

    /// The talkers as far as packets name them.
    fn told<'a>(&self, csrcs: &'a [u32]) -> &'a [u32] {
        if self.names_talkers { csrcs } else { &[] }
    }
}

fn send(
    leg: LegId,
    destination: Option<SocketAddr>,
    datagram: &[u8],
    count: &mut u64,
    outlet: &mut impl Outlet,
) {
    if let Some(destination) = destination {
        *count += 1;
        outlet.send(leg, Channel::Rtp, destination, datagram);
    }
}
