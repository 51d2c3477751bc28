//! One leg: a participant's audio, both ways, and how it is treated.
//!
//! It travels as RTP (`rtp/`) or by rings of frames ([`RingEnd`]).

mod rtp;

use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use unisono_mixer::{SampleRate, Strip};
use unisono_rtp::cache;
use unisono_rtp::playout::Attention;
use unisono_rtp::rtcp::Cname;

use super::event::{Event, Garbage};
use super::media::{LegPolicy, MediaSpec, MediaUpdate};
use super::meter::{LegMeter, WorkerMeter, bump};
use super::plane::TickTime;
use super::player::Player;
use super::rings::RingEnd;
use super::room::SharedEncoders;
use super::sockets::Channel;
use super::{LegId, Outlet};

pub(crate) use rtp::{Refusal, RtpStream, SendBuffers};

/// Prompts a leg can have waiting.
pub(crate) const PROMPTS: usize = 16;

/// One participant's audio. Made by the control plane, lives on a worker, allocates nothing there.
#[derive(Debug)]
#[repr(C)] // What every interval looks at is at the front, and at the front of the strip and of the stream.
pub(crate) struct Leg {
    pub(crate) id: LegId,
    pub(crate) phase: usize,
    /// Slab index of its conference, while in one.
    pub(crate) room: Option<u32>,
    was_playing: bool,
    /// Position among the members of its conference, or among the phase's legs without one.
    pub(crate) seat: usize,
    pub(crate) player: Player,
    pub(crate) meter: Arc<LegMeter>,
    pub(crate) strip: Strip,
    pub(crate) transport: Transport,
}

/// Octets at the front of a [`Transport`] in which its kind is told.
const FIRST: usize = 64;

/// What a leg had to say in an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A frame of audio.
    Audio,
    /// Nothing, or silence.
    Silence,
    /// Something that was not decoded, as nobody would have heard it.
    Unheard,
}

/// How a leg's audio travels.
#[derive(Debug)]
#[repr(u8)] // Its kind comes first, and not in a niche anywhere.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all legs are of RTP; a box would cost each of them a detour on every tick"
)]
pub(crate) enum Transport {
    /// Packets on sockets.
    Rtp(RtpStream),
    /// Linear frames to and from another thread. Outside any conference such a leg rests: it is not served, and keeps no worker
    /// awake. What it is to be played waits until it joins one.
    Rings(RingEnd),
}

impl Leg {
    /// A leg by RTP that is to be served in `phase`. `random`, from a secure source, is for its packets: see [`RtpStream`].
    pub(crate) fn by_rtp(
        id: LegId,
        phase: usize,
        media: MediaSpec,
        policy: &LegPolicy,
        cname: Cname,
        random: [u8; 18],
        now_ns: u64,
    ) -> Self {
        let meter = Arc::new(LegMeter::default());
        let stream = RtpStream::new(id, Arc::clone(&meter), media, policy, cname, random, now_ns);
        let rate = media.sample_rate();
        Self::new(id, phase, rate, policy, meter, Transport::Rtp(stream))
    }

    /// A leg by rings that is to be served in `phase`.
    pub(crate) fn by_rings(id: LegId, phase: usize, end: RingEnd, policy: &LegPolicy) -> Self {
        let meter = Arc::new(LegMeter::default());
        let rate = end.rate();
        Self::new(id, phase, rate, policy, meter, Transport::Rings(end))
    }

    fn new(
        id: LegId,
        phase: usize,
        rate: SampleRate,
        policy: &LegPolicy,
        meter: Arc<LegMeter>,
        transport: Transport,
    ) -> Self {
        Self {
            id,
            phase,
            room: None,
            seat: 0,
            strip: Strip::new(rate, policy.strip),
            player: Player::new(PROMPTS),
            meter,
            transport,
            was_playing: false,
        }
    }

    /// Fetches the leg's front into the cache, for the walks over many legs, whose memory is in no near cache. What follows looks at
    /// what was fetched before, so each is to be called a leg or more ahead of the next: front, stream, then datagram or interval;
    /// or front, then sending.
    #[inline]
    pub(crate) fn fetch_front(&self) {
        cache::fetch_front(self, offset_of!(Self, strip) + Strip::FRONT);
        cache::fetch_front(&self.transport, FIRST);
    }

    /// Fetches what a datagram and an interval need.
    #[inline]
    pub(crate) fn fetch_stream(&self) {
        if let Transport::Rtp(stream) = &self.transport {
            stream.fetch();
        }
    }

    /// Fetches what a datagram needs beyond that.
    #[inline]
    pub(crate) fn fetch_for_datagram(&self) {
        if let Transport::Rtp(stream) = &self.transport {
            stream.fetch_for_packet();
        }
    }

    /// Fetches what an interval needs beyond that.
    #[inline]
    pub(crate) fn fetch_for_interval(&self) {
        if let Transport::Rtp(stream) = &self.transport {
            stream.fetch_for_interval();
        }
    }

    /// Fetches what a packet to be sent needs.
    #[inline]
    pub(crate) fn fetch_for_sending(&self) {
        if let Transport::Rtp(stream) = &self.transport {
            stream.fetch_for_sending();
        }
    }

    /// Rate of the linear audio on both sides of the leg.
    pub(crate) fn rate(&self) -> SampleRate {
        match &self.transport {
            Transport::Rtp(stream) => stream.rate(),
            Transport::Rings(end) => end.rate(),
        }
    }

    /// Whether what it is sent can be the conference's shared stream of packets.
    pub(crate) fn can_share(&self) -> bool {
        matches!(&self.transport, Transport::Rtp(stream) if stream.can_share())
    }

    /// Whether it is not served outside conferences.
    pub(crate) fn rests_alone(&self) -> bool {
        matches!(self.transport, Transport::Rings(_))
    }

    /// SSRC of what is received, for others' CSRC lists.
    pub(crate) fn remote_ssrc(&self) -> Option<u32> {
        match &self.transport {
            Transport::Rtp(stream) => stream.remote_ssrc(),
            Transport::Rings(_) => None,
        }
    }

    /// Where its RTP comes from, once that has proved itself.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        match &self.transport {
            Transport::Rtp(stream) => stream.source(),
            Transport::Rings(_) => None,
        }
    }

    /// It joins a conference: what came by rings before was not meant for it.
    pub(crate) fn enter(&mut self) {
        if let Transport::Rings(end) = &mut self.transport {
            end.restart();
        }
    }

    /// It leaves a conference with these encoders.
    pub(crate) fn part_from(&mut self, encoders: &mut SharedEncoders) {
        if let Transport::Rtp(stream) = &mut self.transport {
            stream.part_from(encoders);
        }
    }

    /// Takes a datagram from one of the leg's sockets, or says why not.
    pub(crate) fn receive(
        &mut self,
        channel: Channel,
        datagram: &[u8],
        source: SocketAddr,
        arrival_ns: u64,
        outlet: &mut impl Outlet,
    ) -> Result<(), Refusal> {
        match &mut self.transport {
            Transport::Rtp(stream) => {
                let strip = &self.strip;
                stream.receive(channel, datagram, source, arrival_ns, strip, outlet)
            }
            Transport::Rings(_) => Ok(()),
        }
    }

    /// Whether its silence is not decoded, as there is too much to do.
    pub(crate) fn dozes(&self) -> bool {
        matches!(&self.transport, Transport::Rtp(stream) if stream.doze.is_asleep())
    }

    /// Once an interval while silent legs are shed, and once when they are no longer: whether it dozes.
    pub(crate) fn rest(&mut self, shed: bool, now_ns: u64, meter: &WorkerMeter) -> bool {
        let Transport::Rtp(stream) = &mut self.transport else {
            return false;
        };
        stream.rest(shed && !self.strip.is_talking(), now_ns);
        bump(&meter.packets_unread, stream.doze.take_unread());
        stream.doze.is_asleep()
    }

    /// The participant has stopped talking.
    pub(crate) fn fell_silent(&mut self, now_ns: u64) {
        if let Transport::Rtp(stream) = &mut self.transport {
            stream.doze.fell_silent(now_ns);
        }
    }

    /// Whether the next frame has not come yet, though it is time for it.
    pub(crate) fn lacks_frame(&self) -> bool {
        matches!(&self.transport, Transport::Rtp(stream) if stream.lacks_frame())
    }

    /// This interval's 20 ms of what the participant says, in `frame`. Who may not speak, or has been too quiet to be mixed for
    /// a while, is decoded only where it could be speech, or for its level, which may be needed if it is its `turn`.
    pub(crate) fn take_frame(
        &mut self,
        now_ns: u64,
        turn: bool,
        frame: &mut [i16],
        outlet: &mut impl Outlet,
    ) -> Taken {
        match &mut self.transport {
            Transport::Rtp(stream) => {
                let is_resting = self.strip.is_resting();
                let peak = self.strip.unheard_peak();
                let measured = stream.is_to_be_measured(turn, is_resting && peak > 0);
                let attention = if !is_resting || measured {
                    Attention::Full
                } else if !self.strip.may_speak() || self.room.is_none() {
                    Attention::None
                } else {
                    match peak {
                        // Without a gate all that is sent is heard.
                        0 => Attention::Full,
                        peak => Attention::Above { peak },
                    }
                };
                stream.take_frame(now_ns, attention, frame, outlet)
            }
            // Digital silence costs the mixer no more than nothing.
            Transport::Rings(end) => {
                if end.receive(frame) && frame.iter().any(|sample| *sample != 0) {
                    Taken::Audio
                } else {
                    Taken::Silence
                }
            }
        }
    }

    /// Whether nothing is queued that only this participant is told, nor was in the last interval.
    pub(crate) fn is_told_nothing(&self) -> bool {
        !self.was_playing && self.player.is_empty()
    }

    /// This interval's 20 ms of what only this participant is told; false when nothing is queued.
    pub(crate) fn take_prompt(&mut self, frame: &mut [i16], outlet: &mut impl Outlet) -> bool {
        let playing = self
            .player
            .next_frame(frame, &mut |garbage| outlet.discard(garbage));
        if self.was_playing && !playing {
            outlet.event(Event::PlayFinished(self.id));
        }
        self.was_playing = playing;
        playing
    }

    /// `intervals` passed without a tick: the time lines of both directions jump over them, once.
    pub(crate) fn skip(&mut self, intervals: u64) {
        match &mut self.transport {
            Transport::Rtp(stream) => stream.skip(intervals),
            Transport::Rings(end) => end.skip(),
        }
    }

    /// Applies the outcome of a re-negotiation; what it no longer needs is left in `update`.
    pub(crate) fn update(
        &mut self,
        update: &mut MediaUpdate,
        time: TickTime,
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        let before = self.rate();
        let Transport::Rtp(stream) = &mut self.transport else {
            return;
        };
        stream.update(update, time, buffers, outlet);
        if self.rate() != before {
            self.strip.set_rate(self.rate());
            // What is queued was made for the old rate.
            self.stop_playing(outlet);
        }
    }

    /// Drops the prompts that are waiting.
    pub(crate) fn stop_playing(&mut self, outlet: &mut impl Outlet) {
        self.player
            .clear(&mut |sound: Garbage| outlet.discard(sound));
    }

    /// Whether there is anything to [`report`](Self::report).
    pub(crate) fn owes_report(&self, now_ns: u64) -> bool {
        matches!(&self.transport, Transport::Rtp(stream) if stream.owes_report(now_ns))
    }

    /// Does what is due outside the audio: RTCP. `next_tick_ns` is the deadline of the next interval.
    pub(crate) fn report(
        &mut self,
        time: TickTime,
        next_tick_ns: u64,
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        if let Transport::Rtp(stream) = &mut self.transport {
            stream.report(time, next_tick_ns, buffers, outlet);
        }
    }

    /// Says BYE in RTCP, where the leg has any.
    pub(crate) fn say_goodbye(
        &mut self,
        time: TickTime,
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        if let Transport::Rtp(stream) = &mut self.transport {
            stream.say_goodbye(time, buffers, outlet);
        }
    }

    /// Writes the slow-moving figures where the control plane reads them.
    pub(crate) fn publish(&self) {
        self.meter
            .level_in_cb
            .store((self.strip.level_dbov() * 100.0) as i32, Relaxed);
        let talking = self.room.is_some() && self.strip.is_talking();
        self.meter.talking.store(talking, Relaxed);
        if let Transport::Rtp(stream) = &self.transport {
            stream.publish();
        }
    }
}
