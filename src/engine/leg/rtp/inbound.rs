//! What arrives for a leg by RTP: judged, counted, and handed to the playout buffer, the digit receiver or RTCP.

use std::net::SocketAddr;

use unisono_mixer::Strip;
use unisono_rtp::codec::opus_pack::MAX_SAMPLES;
use unisono_rtp::latch::{Evidence, Verdict};
use unisono_rtp::outbound::{Origin, OwnSsrcSeen};
use unisono_rtp::packet::{Kind, RtpPacket};
use unisono_rtp::playout::{Packet, PacketKind};
use unisono_rtp::reception::{Order, Reception};

use super::{Refusal, RtpStream};
use crate::engine::Outlet;
use crate::engine::event::Event;
use crate::engine::overload::Attention;
use crate::engine::sockets::Channel;

impl RtpStream {
    /// Takes a datagram from one of the leg's sockets. Whatever is not right is counted and dropped; it is said why.
    pub(crate) fn receive(
        &mut self,
        channel: Channel,
        datagram: &[u8],
        source: SocketAddr,
        arrival_ns: u64,
        strip: &Strip,
        outlet: &mut impl Outlet,
    ) -> Result<(), Refusal> {
        let taken = match Kind::of(datagram) {
            Kind::Rtp if channel == Channel::Rtp => {
                self.receive_rtp(datagram, source, arrival_ns, strip, outlet)
            }
            Kind::Rtcp if self.takes_rtcp(channel) => {
                self.receive_rtcp(datagram, source, arrival_ns, outlet)
            }
            _ => Err(Refusal::Malformed),
        };
        match taken {
            Ok(()) => {}
            Err(Refusal::Malformed) => self.counts.malformed += 1,
            Err(Refusal::Foreign) => self.counts.foreign += 1,
        }
        taken
    }

    /// Digits that have become certain.
    pub(super) fn report_digits(&mut self, now_ns: u64, outlet: &mut impl Outlet) {
        while let Some(digit) = self.dtmf.poll(now_ns) {
            outlet.event(Event::Digit {
                leg: self.leg,
                digit: digit.digit,
            });
        }
    }

    fn takes_rtcp(&self, channel: Channel) -> bool {
        (channel == Channel::Rtp) == self.media.remote.rtcp_mux
    }

    fn receive_rtp(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        arrival_ns: u64,
        strip: &Strip,
        outlet: &mut impl Outlet,
    ) -> Result<(), Refusal> {
        let Ok(packet) = RtpPacket::parse(datagram) else {
            return Err(Refusal::Malformed);
        };
        let what = self.meaning(packet.payload_type);
        let evidence = Evidence {
            ssrc: packet.ssrc,
            sequence: packet.sequence,
            known_payload_type: what != Meaning::Unknown,
        };
        match self.latch.on_packet(source, evidence, arrival_ns) {
            Verdict::Accept | Verdict::AcceptNewSource => {}
            _ => return Err(Refusal::Foreign),
        }
        self.counts.packets_in += 1;
        self.counts.last_packet_ns = arrival_ns;
        match self
            .collisions
            .check(&packet, self.outbound.ssrc(), source, arrival_ns)
        {
            None => {}
            Some(OwnSsrcSeen::Loop) => return Ok(()),
            Some(OwnSsrcSeen::Collision) => self.choose_new_source(),
        }
        let ours = self.remote_ssrc == Some(packet.ssrc);
        if !ours && what != Meaning::Event {
            if what == Meaning::Unknown {
                return Err(Refusal::Malformed);
            }
            self.begin_source(packet.ssrc, arrival_ns);
        }
        // Some gateways send digits under an SSRC of their own, beside the voice.
        if ours || what != Meaning::Event {
            self.counts.last_rtp_ns = arrival_ns;
            let order = self
                .reception
                .on_packet(packet.sequence, packet.timestamp, arrival_ns);
            if order == Order::Leap {
                return Ok(());
            }
        }
        let kind = match what {
            Meaning::Voice => PacketKind::Voice,
            Meaning::ComfortNoise => PacketKind::ComfortNoise,
            Meaning::Event => {
                self.dtmf
                    .on_packet(packet.payload, packet.timestamp, arrival_ns);
                self.report_digits(arrival_ns, outlet);
                if !ours {
                    return Ok(());
                }
                PacketKind::Event
            }
            Meaning::Unknown => return Err(Refusal::Malformed),
        };
        if self.sleeps_through(&packet, kind, arrival_ns, strip) {
            return Ok(());
        }
        // What becomes of the packet is in the playout buffer's statistics.
        let _ = self.playout.insert(&Packet {
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            payload: packet.payload,
            kind,
            arrival_ns,
        });
        Ok(())
    }

    /// Whether a packet is left unplayed, because the leg dozes and the packet does not wake it.
    fn sleeps_through(
        &mut self,
        packet: &RtpPacket<'_>,
        kind: PacketKind,
        arrival_ns: u64,
        strip: &Strip,
    ) -> bool {
        match self.doze.attend(arrival_ns, packet.marker) {
            Attention::Play => return false,
            Attention::None => return true,
            Attention::Look => {}
        }
        if kind == PacketKind::Voice && !self.decoder.is_silent(packet.payload) {
            // It has not followed the stream; nor has what is played from here on.
            self.decoder.reset();
            let mut frame = [0; MAX_SAMPLES];
            let decoded = self.decoder.decode(packet.payload, &mut frame);
            if decoded.is_ok_and(|samples| strip.would_hear(&frame[..samples])) {
                self.doze.wake(arrival_ns);
                self.decoder.reset();
            }
        }
        self.doze.is_asleep()
    }

    fn receive_rtcp(
        &mut self,
        datagram: &[u8],
        source: SocketAddr,
        arrival_ns: u64,
        outlet: &mut impl Outlet,
    ) -> Result<(), Refusal> {
        if !self.latch.permits_rtcp(source) {
            return Err(Refusal::Foreign);
        }
        self.tell_rtcp();
        let Ok(heard) = self.rtcp.on_rtcp(datagram, arrival_ns) else {
            return Err(Refusal::Malformed);
        };
        self.counts.last_packet_ns = arrival_ns;
        self.rtcp_source = Some(source);
        if heard.own_ssrc {
            let seen = self.collisions.check_rtcp(
                self.outbound.ssrc(),
                self.outbound.ssrc(),
                source,
                arrival_ns,
            );
            if seen == Some(OwnSsrcSeen::Collision) {
                self.choose_new_source();
            }
        }
        if heard.peer_left {
            outlet.event(Event::RemoteBye(self.leg));
        }
        Ok(())
    }

    /// Another participant chose the same SSRC (RFC 3550 section 8.2): this leg takes a new one.
    fn choose_new_source(&mut self) {
        if self.next_origin.is_none() {
            let mut random = [0; 10];
            random[..8].copy_from_slice(&self.random.next().to_be_bytes());
            random[8..].copy_from_slice(&self.random.next().to_be_bytes()[..2]);
            self.next_origin = Some(Origin::from_random(random));
        }
    }

    fn meaning(&self, payload_type: u8) -> Meaning {
        let media = &self.media;
        if payload_type == media.receive_payload_type {
            Meaning::Voice
        } else if media
            .telephone_event
            .is_some_and(|(event, _)| event == payload_type)
        {
            Meaning::Event
        } else if media.comfort_noise == Some(payload_type) {
            Meaning::ComfortNoise
        } else {
            Meaning::Unknown
        }
    }

    /// Another SSRC from the accepted address: the peer restarted, or somebody else speaks there now.
    fn begin_source(&mut self, ssrc: u32, arrival_ns: u64) {
        if self.remote_ssrc.is_some() {
            self.playout.reset();
            self.decoder.reset();
            self.dtmf.reset();
        }
        self.reception = Reception::new(self.media.codec.clock_rate());
        self.remote_ssrc = Some(ssrc);
        self.rtcp.on_rtp(ssrc, arrival_ns);
        self.told_rtcp_ns = arrival_ns;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Voice,
    ComfortNoise,
    Event,
    Unknown,
}
