//! A leg's audio as RTP on a worker's sockets, both ways.
//!
//! `inbound.rs` takes datagrams in, `measuring.rs` says when who is not heard is decoded for its level, `sending.rs` sends
//! audio, `reports.rs` does RTCP and figures.

mod inbound;
mod measuring;
mod reports;
mod sending;

use std::mem::offset_of;
use std::net::SocketAddr;
use std::sync::Arc;

use unisono_mixer::SampleRate;
use unisono_rtp::cache;
use unisono_rtp::codec::{Codec, Decoder, Encoder, OpusSettings};
use unisono_rtp::dtmf::DtmfReceiver;
use unisono_rtp::latch::Latch;
use unisono_rtp::outbound::{CollisionDetector, Origin, Outbound};
use unisono_rtp::playout::{Attention, Playout, Pulled};
use unisono_rtp::reception::Reception;
use unisono_rtp::rtcp::{self, Cname};

use crate::engine::media::{LegPolicy, MediaSpec, MediaUpdate};
use crate::engine::meter::LegMeter;
use crate::engine::opus_sender::OpusSender;
use crate::engine::overload::Doze;
use crate::engine::plane::TickTime;
use crate::engine::room::SharedEncoders;
use crate::engine::{LegId, Outlet};

pub(crate) use sending::SendBuffers;

use measuring::Measuring;
use sending::Hush;

use super::Taken;

/// One participant's stream of packets.
#[derive(Debug)]
#[repr(C)] // What every packet and every tick looks at comes first, what is rare last: a thousand legs share the caches.
pub(crate) struct RtpStream {
    /// The leg it belongs to.
    leg: LegId,
    /// Intervals for which it has heard what all hear, from an encoder of its own.
    apart: u32,
    hush: Hush,
    remote_ssrc: Option<u32>,
    /// What is sent is the conference's shared stream, whose encoder this leg's must continue when that changes.
    pub(crate) shares_stream: bool,
    /// Packets name the talkers.
    names_talkers: bool,
    /// Its turn to be measured has come, and no packet was decoded since.
    owes_level: bool,
    /// A new identity that it takes on with the next interval: another participant chose the same SSRC.
    next_origin: Option<Origin>,
    counts: Counts,
    pub(super) doze: Doze,
    media: MediaSpec,
    reception: Reception,
    latch: Latch,
    dtmf: DtmfReceiver,
    playout: Playout,
    decoder: Decoder,
    pub(crate) encoder: Encoder,
    opus: OpusSender,
    rtcp: rtcp::Session,
    outbound: Outbound,
    random: Random,
    collisions: CollisionDetector,
    /// Where the peer's RTCP came from.
    rtcp_source: Option<SocketAddr>,
    /// Arrival of the last packet that the RTCP session knows of, ns.
    told_rtcp_ns: u64,
    meter: Arc<LegMeter>,
    measuring: Measuring,
}

/// Octets of a stream that are looked at with every packet, both ways: up to the latch's source.
const HOT: usize = offset_of!(RtpStream, latch) + 64;

/// What is counted with every packet. It is published now and then: to count where others read would touch one more line of
/// the cache for each packet.
#[derive(Debug, Default)]
struct Counts {
    packets_in: u64,
    packets_out: u64,
    malformed: u64,
    foreign: u64,
    /// Arrival of the last RTP packet, and of the last one of either kind, ns.
    last_rtp_ns: u64,
    last_packet_ns: u64,
}

/// Why a datagram was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not what was agreed on, or no packet at all.
    Malformed,
    /// It is from somebody else.
    Foreign,
}

impl RtpStream {
    /// The stream of `leg`. `random`, from a secure source, makes its SSRC and the start of its sequence numbers and
    /// timestamps unpredictable, as RFC 3550 section 5.1 asks.
    pub(super) fn new(
        leg: LegId,
        meter: Arc<LegMeter>,
        media: MediaSpec,
        policy: &LegPolicy,
        cname: Cname,
        random: [u8; 18],
        now_ns: u64,
    ) -> Self {
        let (origin, seed) = random.split_at(10);
        let origin = Origin::from_random(origin.try_into().unwrap_or_default());
        let mut random = Random::new(seed.try_into().unwrap_or_default());
        let rtcp_config = rtcp::Config {
            cname,
            tool: concat!("unisono ", env!("CARGO_PKG_VERSION")),
            session_bandwidth: media.session_bandwidth(),
            reduced_minimum: false,
        };
        Self {
            leg,
            meter,
            counts: Counts::default(),
            told_rtcp_ns: 0,
            encoder: media.encoder(),
            shares_stream: false,
            apart: 0,
            decoder: Decoder::new(media.codec),
            playout: media.playout(policy),
            reception: Reception::new(media.codec.clock_rate()),
            latch: Latch::new(media.remote.rtp, policy.latch, now_ns),
            dtmf: media.dtmf_receiver(),
            outbound: Outbound::new(media.format(), origin),
            opus: media.opus_sender(),
            rtcp: rtcp::Session::new(rtcp_config, origin.ssrc, now_ns, random.next() as u32),
            rtcp_source: None,
            collisions: CollisionDetector::new(),
            next_origin: None,
            random,
            remote_ssrc: None,
            doze: Doze::default(),
            measuring: Measuring::default(),
            owes_level: false,
            hush: Hush::default(),
            media,
            names_talkers: policy.csrcs,
        }
    }

    /// Fetches into the cache what a packet and an interval need.
    #[inline]
    pub(super) fn fetch(&self) {
        cache::fetch_front(self, HOT);
        self.playout.fetch();
        cache::fetch_front(&self.outbound, Outbound::FRONT);
    }

    /// Fetches what a packet needs beyond that, when that is there.
    #[inline]
    pub(super) fn fetch_for_packet(&self) {
        self.playout.fetch_for_insert();
    }

    /// Fetches what an interval needs beyond that, when that is there.
    #[inline]
    pub(super) fn fetch_for_interval(&self) {
        self.playout.fetch_for_pull();
        cache::fetch(&self.dtmf);
        cache::fetch_front(&self.rtcp, rtcp::Session::FRONT);
    }

    /// Fetches what sending needs.
    #[inline]
    pub(super) fn fetch_for_sending(&self) {
        cache::fetch_front(self, HOT);
        cache::fetch_front(&self.outbound, Outbound::FRONT);
    }

    /// The codec in use.
    pub(crate) fn codec(&self) -> Codec {
        self.media.codec
    }

    /// Rate of the linear audio on both sides of the leg.
    pub(crate) fn rate(&self) -> SampleRate {
        self.media.sample_rate()
    }

    /// SSRC of what is received, for others' CSRC lists.
    pub(crate) fn remote_ssrc(&self) -> Option<u32> {
        self.remote_ssrc
    }

    /// Where its RTP comes from, once that has proved itself.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.latch.source()
    }

    /// Whether audio is to be sent now: the far end wants it, and its address is known.
    pub(crate) fn sends(&self) -> bool {
        self.media.sends && self.latch.destination().is_some()
    }

    /// Whether what it is sent can be the conference's shared stream: the far end asked for nothing particular.
    pub(crate) fn can_share(&self) -> bool {
        self.media.codec != Codec::Opus
            || (self.media.ptime_ms >= 20 && self.media.opus == OpusSettings::default())
    }

    /// Whether the next frame has not come yet, though it is time for it.
    pub(super) fn lacks_frame(&self) -> bool {
        self.playout.lacks_frame()
    }

    /// Whether it is decoded for its level, which it may have to be when it is its `turn`, and then has to be until a packet was.
    /// `quiet`: it was not heard, and too quiet for that when it was last decoded.
    pub(super) fn is_to_be_measured(&mut self, turn: bool, quiet: bool) -> bool {
        if turn {
            let spared = self.playout.take_spared();
            self.owes_level |= self.measuring.is_due(quiet, &spared);
        }
        self.owes_level
    }

    /// This interval's 20 ms of what the participant says, in `frame`.
    pub(super) fn take_frame(
        &mut self,
        now_ns: u64,
        attention: Attention,
        frame: &mut [i16],
        outlet: &mut impl Outlet,
    ) -> Taken {
        self.report_digits(now_ns, outlet);
        let attention = if self.media.receives {
            attention
        } else {
            Attention::None
        };
        let pulled = self
            .playout
            .pull_with(&mut self.decoder, now_ns, frame, attention);
        if self.owes_level && pulled == Pulled::Voice {
            self.owes_level = false;
            // That it was decoded for this says nothing of what is sent.
            let _ = self.playout.take_spared();
        }
        match pulled {
            Pulled::Voice | Pulled::Concealed | Pulled::ComfortNoise if self.media.receives => {
                Taken::Audio
            }
            Pulled::Unheard if self.media.receives => Taken::Unheard,
            _ => Taken::Silence,
        }
    }

    /// Once an interval: lets it doze when it may and has been silent for long, or wakes it.
    pub(super) fn rest(&mut self, may_doze: bool, now_ns: u64) {
        if !may_doze {
            if self.doze.is_asleep() {
                self.doze.wake(now_ns);
            }
        } else if self.doze.nod(now_ns) {
            // What still waits is silence, and what comes next begins anew.
            self.playout.reset();
        }
    }

    /// `intervals` passed without a tick: the time lines of both directions jump over them, once.
    pub(super) fn skip(&mut self, intervals: u64) {
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        self.playout.skip(intervals);
        self.skip_sending(intervals);
    }

    /// Applies the outcome of a re-negotiation; what it no longer needs is left in `update`.
    pub(super) fn update(
        &mut self,
        update: &mut MediaUpdate,
        time: TickTime,
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        self.flush(buffers, outlet);
        self.hush = Hush::default();
        let new_clock = self.media.codec.clock_rate() != update.media.codec.clock_rate();
        if new_clock {
            self.say_goodbye(time, buffers, outlet);
        }
        let before = std::mem::replace(&mut self.media, update.media);
        if let Some(replacement) = &mut update.replacement {
            std::mem::swap(&mut self.decoder, &mut replacement.decoder);
            std::mem::swap(&mut self.encoder, &mut replacement.encoder);
            std::mem::swap(&mut self.playout, &mut replacement.playout);
            self.reception.set_clock_rate(self.media.codec.clock_rate());
            self.shares_stream = false;
        }
        if let Some(opus) = &mut update.opus {
            std::mem::swap(&mut self.opus, opus);
        }
        if before.format() != self.media.format() {
            self.outbound
                .set_format(self.media.format(), &mut update.room);
        }
        if new_clock {
            self.go_on_as(update.origin);
        }
        if before.telephone_event != self.media.telephone_event {
            self.dtmf = self.media.dtmf_receiver();
        }
        self.latch.relearn(self.media.remote.rtp, time.now_ns);
    }

    /// What is sent from now on is no longer the conference's shared stream, whose encoder's state is taken over, so
    /// that the change is not heard.
    pub(crate) fn part_from(&mut self, encoders: &mut SharedEncoders) {
        if std::mem::take(&mut self.shares_stream)
            && let Some(shared) = encoders.get(self.codec())
        {
            self.encoder.copy_state_from(&shared.encoder);
        }
    }

    /// Goes on as another source. The old one has said BYE.
    fn go_on_as(&mut self, origin: Origin) {
        self.outbound.restart(origin);
        self.rtcp.change_ssrc(origin.ssrc);
        self.next_origin = None;
    }
}

/// A generator for what must vary, not be secret: when reports are sent (xorshift64*).
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn new(seed: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(seed) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
