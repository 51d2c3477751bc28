//! One leg's RTCP: who takes part, when a report is due, what it says, and what the peer's reports said.

use super::interval::{Interval, Timing};
use super::parse::{Packet, ReportBlocks, RtcpError, parse};
use super::{Cname, NtpTime, ReportBlock, SenderInfo, Writer};
use crate::outbound::SentTotals;
use crate::reception::Reception;

/// IPv4 and UDP headers, which count as RTCP bandwidth (RFC 3550 section 6.2), bytes.
const OVERHEAD: usize = 28;

/// A member that was silent for so many deterministic intervals has gone (RFC 3550 section 6.3.5).
const MEMBER_TIMEOUT: u64 = 5;
/// A sender that sent no RTP for so many intervals is a sender no longer.
const SENDER_TIMEOUT: u64 = 2;

/// Packets that were on their way when their source said BYE do not bring it back for so long.
const BYE_LINGER_NS: u64 = 1_000_000_000;

/// Sender reports that a peer may refer to.
const REMEMBERED_REPORTS: usize = 4;

/// What a session is and stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Canonical name of the leg.
    pub cname: Cname,
    /// Name and version of the application for SDES TOOL; empty for none.
    pub tool: &'static str,
    /// Bandwidth of the media with all headers, bit/s; RTCP takes at most 5 % of it. G.711 at 20 ms: 80000.
    pub session_bandwidth: u32,
    /// Report more often than every five seconds where bandwidth allows (RFC 3550 section 6.2).
    pub reduced_minimum: bool,
}

/// What the leg has sent, for its sender reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sending {
    /// RTP timestamp of the moment of the report: [`crate::outbound::Outbound::timestamp_at`].
    pub rtp_timestamp: u32,
    /// [`crate::outbound::Outbound::totals`].
    pub totals: SentTotals,
}

/// What the peer reported about the leg's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerReport {
    /// Share of packets lost on the way to the peer since its previous report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost on the way to the peer since the beginning.
    pub cumulative_lost: i32,
    /// Jitter that the peer measured, in units of the RTP clock of what the leg sends.
    pub jitter: u32,
    /// Round-trip time, ns; `None` until the peer refers to a sender report.
    pub round_trip_ns: Option<u64>,
}

/// What a datagram told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// The peer's report on the leg's packets, if there was one.
    pub report: Option<PeerReport>,
    /// The peer said BYE. Its media ends; whether the call does is signalling's business.
    pub peer_left: bool,
    /// The reporter used the leg's own SSRC: a collision or a loop. Give it to
    /// [`crate::outbound::CollisionDetector::check_rtcp`]; nothing else of the packet was used.
    pub own_ssrc: bool,
}

/// RTCP of one leg.
///
/// Call [`on_rtp`](Self::on_rtp) and [`on_rtcp`](Self::on_rtcp) for what was accepted from the peer, and
/// [`poll`](Self::poll) when [`due_ns`](Self::due_ns) has come.
#[derive(Debug, Clone)]
#[repr(C)] // When a report is due is asked in every interval, the rest once in some seconds.
pub struct Session {
    timing: Timing,
    config: Config,
    ssrc: u32,
    initial: bool,
    average_size: f64,
    peer: Option<Peer>,
    peer_report: Option<PeerReport>,
    /// Packets sent as of the last report and the one before.
    packets_at_report: [u32; 2],
    /// NTP middles and times of the last sender reports, newest first.
    reports_sent: [(u32, u64); REMEMBERED_REPORTS],
    has_sent: bool,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    ssrc: u32,
    /// When anything was heard of it.
    heard_ns: u64,
    /// When RTP was heard of it.
    rtp_ns: Option<u64>,
    /// NTP middle of its last sender report and when that arrived.
    last_report: Option<(u32, u64)>,
    left_ns: Option<u64>,
}

impl Session {
    /// Octets at the front in which it stands when a report is due: worth fetching into the cache ahead, where there are many.
    pub const FRONT: usize = size_of::<Timing>();

    /// A session under `ssrc` of which nobody else is known; the first report comes after 1.25 to 3.75 seconds,
    /// divided by 1.2, or sooner with a reduced minimum.
    pub fn new(config: Config, ssrc: u32, now_ns: u64, random: u32) -> Self {
        // A report with one block, a name and a tool.
        let average_size = 128.0;
        let interval = Interval {
            session_bandwidth: config.session_bandwidth,
            members: 1,
            senders: 0,
            we_sent: false,
            average_size,
            initial: true,
            reduced_minimum: config.reduced_minimum,
        };
        Self {
            config,
            ssrc,
            timing: Timing::start(now_ns, &interval, random),
            initial: true,
            average_size,
            peer: None,
            peer_report: None,
            packets_at_report: [0; 2],
            reports_sent: [(0, 0); REMEMBERED_REPORTS],
            has_sent: false,
        }
    }

    /// An RTP packet of the peer arrived.
    pub fn on_rtp(&mut self, ssrc: u32, arrival_ns: u64) {
        self.heard(ssrc, arrival_ns, true);
    }

    /// An RTCP datagram arrived, from a source that [`crate::latch::Latch::permits_rtcp`].
    pub fn on_rtcp(&mut self, datagram: &[u8], arrival_ns: u64) -> Result<Heard, RtcpError> {
        let packets = parse(datagram)?;
        self.count_size(datagram.len());
        let mut heard = Heard::default();
        for packet in packets {
            match packet {
                Packet::SenderReport { ssrc, .. } | Packet::ReceiverReport { ssrc, .. }
                    if ssrc == self.ssrc =>
                {
                    return Ok(Heard {
                        own_ssrc: true,
                        ..Heard::default()
                    });
                }
                Packet::SenderReport { ssrc, info, blocks } => {
                    self.heard(ssrc, arrival_ns, false);
                    if let Some(peer) = self.peer.as_mut().filter(|peer| peer.ssrc == ssrc) {
                        peer.last_report = Some((info.ntp.middle(), arrival_ns));
                    }
                    heard.report = self.read_blocks(blocks, arrival_ns).or(heard.report);
                }
                Packet::ReceiverReport { ssrc, blocks } => {
                    self.heard(ssrc, arrival_ns, false);
                    heard.report = self.read_blocks(blocks, arrival_ns).or(heard.report);
                }
                Packet::Goodbye(goodbye) => {
                    if let Some(peer) = &mut self.peer
                        && peer.left_ns.is_none()
                        && goodbye.ssrcs().any(|ssrc| ssrc == peer.ssrc)
                    {
                        peer.left_ns = Some(arrival_ns);
                        heard.peer_left = true;
                        self.timing.members_left(arrival_ns, 1);
                    }
                }
                Packet::SourceDescription(_) | Packet::Other { .. } => {}
            }
        }
        self.peer_report = heard.report.or(self.peer_report);
        Ok(heard)
    }

    /// Writes a report into `out` if one is due, and returns its length. `reception` is the peer's statistics; the
    /// interval of its loss fraction ends here. `ntp` is the wall clock at `now_ns`, `random` any 64 random bits.
    pub fn poll(
        &mut self,
        now_ns: u64,
        ntp: NtpTime,
        random: u64,
        sending: &Sending,
        reception: Option<&mut Reception>,
        out: &mut [u8],
    ) -> Option<usize> {
        if now_ns < self.timing.due_ns() {
            return None;
        }
        self.time_out_peer(now_ns, sending.totals);
        let interval = self.interval(now_ns, sending.totals);
        if !self
            .timing
            .expired(now_ns, &interval, (random >> 32) as u32)
        {
            return None;
        }
        let length = self.compose(now_ns, ntp, sending, reception, None, out);
        self.count_size(length.unwrap_or(0));
        self.initial = false;
        self.packets_at_report = [sending.totals.packets, self.packets_at_report[0]];
        let interval = self.interval(now_ns, sending.totals);
        self.timing.sent(now_ns, &interval, random as u32);
        length
    }

    /// Writes the last compound, with a BYE (RFC 3550 section 6.3.7; fewer than 50 members need not wait). `None` if
    /// nothing was ever sent under this SSRC, as then nobody is to be told.
    pub fn goodbye(
        &mut self,
        now_ns: u64,
        ntp: NtpTime,
        sending: &Sending,
        reception: Option<&mut Reception>,
        reason: &str,
        out: &mut [u8],
    ) -> Option<usize> {
        match self.has_sent || sending.totals.packets > 0 {
            true => self.compose(now_ns, ntp, sending, reception, Some(reason), out),
            false => None,
        }
    }

    /// Goes on under another SSRC. Write the [`goodbye`](Self::goodbye) of the old one first.
    pub fn change_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
        self.packets_at_report = [0; 2];
        self.reports_sent = [(0, 0); REMEMBERED_REPORTS];
        self.has_sent = false;
        self.peer_report = None;
    }

    /// When [`poll`](Self::poll) may next have something to say.
    pub fn due_ns(&self) -> u64 {
        self.timing.due_ns()
    }

    /// SSRC that reports are sent under.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// SSRC of the peer, if it was heard and has not left.
    pub fn peer(&self) -> Option<u32> {
        self.peer
            .filter(|peer| peer.left_ns.is_none())
            .map(|peer| peer.ssrc)
    }

    /// The peer's latest report.
    pub fn peer_report(&self) -> Option<PeerReport> {
        self.peer_report
    }

    fn heard(&mut self, ssrc: u32, now_ns: u64, is_rtp: bool) {
        match &mut self.peer {
            Some(peer) if peer.ssrc == ssrc => {
                if peer
                    .left_ns
                    .is_some_and(|left_ns| now_ns.saturating_sub(left_ns) < BYE_LINGER_NS)
                {
                    return;
                }
                peer.left_ns = None;
                peer.heard_ns = now_ns;
                if is_rtp {
                    peer.rtp_ns = Some(now_ns);
                }
            }
            // RTP says who the peer is; a report under another SSRC than the running stream's does not change that.
            Some(peer) if !is_rtp && peer.rtp_ns.is_some() && peer.left_ns.is_none() => {}
            _ => {
                self.peer = Some(Peer {
                    ssrc,
                    heard_ns: now_ns,
                    rtp_ns: is_rtp.then_some(now_ns),
                    last_report: None,
                    left_ns: None,
                });
            }
        }
    }

    fn read_blocks(&self, mut blocks: ReportBlocks<'_>, arrival_ns: u64) -> Option<PeerReport> {
        let block = blocks.find(|block| block.ssrc == self.ssrc)?;
        Some(PeerReport {
            fraction_lost: block.fraction_lost,
            cumulative_lost: block.cumulative_lost,
            jitter: block.jitter,
            round_trip_ns: self.round_trip_ns(&block, arrival_ns),
        })
    }

    /// Section 6.4.1's A - LSR - DLSR, but on the monotonic clock: the report referred to is looked up, so that
    /// neither a stepped wall clock nor an invented reference yields a time.
    fn round_trip_ns(&self, block: &ReportBlock, arrival_ns: u64) -> Option<u64> {
        let (_, sent_ns) = self
            .reports_sent
            .iter()
            .find(|(middle, _)| *middle != 0 && *middle == block.last_sender_report)?;
        let held_ns = u64::from(block.delay_since_last) * 1_000_000_000 / 65_536;
        Some(arrival_ns.saturating_sub(*sent_ns).saturating_sub(held_ns))
    }

    fn interval(&self, now_ns: u64, totals: SentTotals) -> Interval {
        let we_sent = totals.packets != self.packets_at_report[1];
        let members = 1 + u32::from(self.peer().is_some());
        let mut interval = Interval {
            session_bandwidth: self.config.session_bandwidth,
            members,
            senders: we_sent.into(),
            we_sent,
            average_size: self.average_size,
            initial: self.initial,
            reduced_minimum: self.config.reduced_minimum,
        };
        let span = interval.deterministic_ns().saturating_mul(SENDER_TIMEOUT);
        let is_sender = |peer: Peer| {
            peer.rtp_ns
                .is_some_and(|at| now_ns.saturating_sub(at) <= span)
        };
        if self
            .peer
            .is_some_and(|peer| peer.left_ns.is_none() && is_sender(peer))
        {
            interval.senders += 1;
        }
        interval
    }

    fn time_out_peer(&mut self, now_ns: u64, totals: SentTotals) {
        // Section 6.3.5: the interval for this is that of a receiver, with the full minimum.
        let interval = Interval {
            we_sent: false,
            initial: false,
            reduced_minimum: false,
            ..self.interval(now_ns, totals)
        };
        let span = interval.deterministic_ns().saturating_mul(MEMBER_TIMEOUT);
        if self
            .peer
            .is_some_and(|peer| now_ns.saturating_sub(peer.heard_ns) > span)
        {
            self.peer = None;
            self.timing.members_left(now_ns, 1);
        }
    }

    fn compose(
        &mut self,
        now_ns: u64,
        ntp: NtpTime,
        sending: &Sending,
        reception: Option<&mut Reception>,
        goodbye: Option<&str>,
        out: &mut [u8],
    ) -> Option<usize> {
        let block = self.block(now_ns, reception);
        let blocks = block.as_slice();
        let mut writer = Writer::new(out);
        // Section 6.4: a source that sent since the report before the last reports as a sender.
        if sending.totals.packets != self.packets_at_report[1] {
            let info = SenderInfo {
                ntp,
                rtp_timestamp: sending.rtp_timestamp,
                packets: sending.totals.packets,
                octets: sending.totals.octets,
            };
            writer.sender_report(self.ssrc, &info, blocks);
            self.reports_sent.rotate_right(1);
            self.reports_sent[0] = (ntp.middle(), now_ns);
        } else {
            writer.receiver_report(self.ssrc, blocks);
        }
        writer.source_description(self.ssrc, self.config.cname.as_bytes(), self.config.tool);
        if let Some(reason) = goodbye {
            writer.goodbye(&[self.ssrc], reason);
        }
        self.has_sent = true;
        writer.finish()
    }

    fn block(&self, now_ns: u64, reception: Option<&mut Reception>) -> Option<ReportBlock> {
        let peer = self.peer?;
        let report = reception?.report()?;
        let (last_sender_report, arrived_ns) = peer.last_report.unwrap_or((0, now_ns));
        let held = u128::from(now_ns.saturating_sub(arrived_ns)) * 65_536 / 1_000_000_000;
        Some(ReportBlock {
            ssrc: peer.ssrc,
            fraction_lost: report.fraction_lost,
            cumulative_lost: report.cumulative_lost,
            extended_highest: report.extended_highest,
            jitter: report.jitter,
            last_sender_report,
            delay_since_last: held.min(u32::MAX.into()) as u32,
        })
    }

    fn count_size(&mut self, length: usize) {
        self.average_size += ((length + OVERHEAD) as f64 - self.average_size) / 16.0;
    }
}
