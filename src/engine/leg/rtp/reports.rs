//! RTCP of a leg, and the figures it publishes.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;

use unisono_rtp::rtcp::Sending;

use super::RtpStream;
use super::sending::SendBuffers;
use crate::engine::Outlet;
use crate::engine::plane::TickTime;
use crate::engine::sockets::Channel;

impl RtpStream {
    /// Whether a report may be due, or the stream is to go on as another source.
    pub(crate) fn owes_report(&self, now_ns: u64) -> bool {
        now_ns >= self.rtcp.due_ns() || self.next_origin.is_some()
    }

    /// Sends an RTCP report when one is due. `next_tick_ns` is the deadline of the next interval.
    pub(crate) fn report(
        &mut self,
        time: TickTime,
        next_tick_ns: u64,
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        if let Some(origin) = self.next_origin.take() {
            self.say_goodbye(time, buffers, outlet);
            self.go_on_as(origin);
        }
        if time.now_ns < self.rtcp.due_ns() {
            return;
        }
        self.tell_rtcp();
        let sending = self.sending(time.now_ns, next_tick_ns);
        let length = self.rtcp.poll(
            time.now_ns,
            time.ntp(),
            self.random.next(),
            &sending,
            self.remote_ssrc.is_some().then_some(&mut self.reception),
            &mut buffers.payload[..],
        );
        if let Some(length) = length {
            self.send_rtcp(&buffers.payload[..length], outlet);
        }
        if let Some(report) = self.rtcp.peer_report() {
            self.meter.has_remote_report.store(true, Relaxed);
            let round_trip_us = report.round_trip_ns.unwrap_or(0) / 1000;
            self.meter
                .remote_fraction_lost
                .store(report.fraction_lost.into(), Relaxed);
            self.meter
                .round_trip_us
                .store(round_trip_us as u32, Relaxed);
        }
    }

    /// Says BYE in RTCP.
    pub(crate) fn say_goodbye(
        &mut self,
        time: TickTime,
        buffers: &mut SendBuffers,
        outlet: &mut impl Outlet,
    ) {
        self.tell_rtcp();
        let sending = self.sending(time.now_ns, time.now_ns);
        let reception = self.remote_ssrc.is_some().then_some(&mut self.reception);
        let out = &mut buffers.payload[..];
        if let Some(length) =
            self.rtcp
                .goodbye(time.now_ns, time.ntp(), &sending, reception, "", out)
        {
            self.send_rtcp(&buffers.payload[..length], outlet);
        }
    }

    /// Writes the slow-moving figures where the control plane reads them.
    pub(crate) fn publish(&self) {
        let (meter, counts) = (&self.meter, &self.counts);
        let playout = self.playout.stats();
        meter.packets_in.store(counts.packets_in, Relaxed);
        meter.packets_out.store(counts.packets_out, Relaxed);
        meter.malformed.store(counts.malformed, Relaxed);
        meter.foreign.store(counts.foreign, Relaxed);
        meter.last_packet_ns.store(counts.last_packet_ns, Relaxed);
        meter.lost_in.store(self.reception.lost() as i32, Relaxed);
        meter.late.store(playout.late, Relaxed);
        meter
            .jitter_us
            .store((self.reception.jitter_ms() * 1000.0) as u32, Relaxed);
        meter.playout_ms.store(playout.delay_ms, Relaxed);
        meter
            .concealed_samples
            .store(playout.concealed_samples, Relaxed);
    }

    /// Lets the RTCP session know that packets came since it was told last. It need not know of each.
    pub(super) fn tell_rtcp(&mut self) {
        if let Some(ssrc) = self.remote_ssrc
            && self.told_rtcp_ns != self.counts.last_rtp_ns
        {
            self.told_rtcp_ns = self.counts.last_rtp_ns;
            self.rtcp.on_rtp(ssrc, self.told_rtcp_ns);
        }
    }

    fn sending(&self, now_ns: u64, next_tick_ns: u64) -> Sending {
        // Opus frames that wait to be merged are not on the time line yet.
        let next_ns = next_tick_ns.saturating_sub(self.opus.held_ms() * 1_000_000);
        Sending {
            rtp_timestamp: self.outbound.timestamp_at(now_ns, next_ns),
            totals: self.outbound.totals(),
        }
    }

    fn send_rtcp(&self, compound: &[u8], outlet: &mut impl Outlet) {
        if let Some((channel, destination)) = self.rtcp_destination() {
            outlet.send(self.leg, channel, destination, compound);
        }
    }

    /// RTCP goes where it was signalled to, unless the RTP turned out to come from elsewhere: then it goes back to
    /// where RTCP came from or, by convention, to the port after RTP's.
    fn rtcp_destination(&self) -> Option<(Channel, SocketAddr)> {
        let rtp = self.latch.destination()?;
        if self.media.remote.rtcp_mux {
            return Some((Channel::Rtp, rtp));
        }
        let here = |address: &SocketAddr| address.ip() == rtp.ip();
        let as_signalled = self.media.remote.rtp == Some(rtp);
        let destination = self
            .rtcp_source
            .filter(here)
            .or(self
                .media
                .remote
                .rtcp
                .filter(|address| as_signalled || here(address)))
            .or_else(|| Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)))?;
        Some((Channel::Rtcp, destination))
    }
}
