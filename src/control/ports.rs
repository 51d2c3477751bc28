//! Which ports a call's media gets: its worker's shared ones, or its own.
//!
//! A phone can share when its address is known beforehand: it is in the offer, on the host that the INVITE came from, and
//! no other phone's. Behind a NAT that rewrites, or where another machine sends the media, a phone is only known by
//! what comes to a port that is its alone.

use std::net::IpAddr;

use tracing::{info, warn};
use unisono_rtp::net::{MediaPorts, PortError, SocketOptions};

use super::call::{Local, media_spec};
use super::switchboard::Switchboard;
use crate::conference::CallId;
use crate::config::Media;
use crate::engine::{ConferenceId, LegId};
use crate::sip::Incoming;
use crate::sip::sdp;

/// Receive buffer of a shared port: bytes for each leg, as the kernel counts them. Ten small datagrams: a stall of 200 ms loses
/// nothing.
const BUFFER_PER_LEG: usize = 8 * 1024;
const BUFFER: std::ops::RangeInclusive<usize> = 1 << 20..=64 << 20;

/// The shared ports of `workers` workers, if they are configured.
pub(super) fn bind_shared(
    media: &Media,
    ip: IpAddr,
    workers: usize,
    legs: usize,
) -> Result<Vec<MediaPorts>, PortError> {
    let Some(first) = media.shared_port else {
        return Ok(Vec::new());
    };
    let wanted = (legs * BUFFER_PER_LEG).clamp(*BUFFER.start(), *BUFFER.end());
    let options = SocketOptions {
        dscp: media.dscp,
        receive_buffer: Some(wanted),
    };
    let ports = (0..workers.max(1))
        .map(|worker| MediaPorts::bind(ip, first + 2 * worker as u16, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let granted = ports.first().map_or(0, |ports| ports.rtp.receive_buffer());
    if granted < wanted {
        warn!(
            "the shared port's receive buffer is {} KiB instead of {} KiB: many phones at once will lose packets; \
             give the program CAP_NET_ADMIN, or raise net.core.rmem_max to {}",
            granted / 1024,
            wanted / 1024,
            wanted
        );
    }
    Ok(ports)
}

/// The numbers of a leg's own ports, for RTP and RTCP.
pub(super) fn port_numbers(ports: &MediaPorts) -> (u16, Option<u16>) {
    let rtcp = ports.rtcp.as_ref().map(|rtcp| rtcp.local_addr().port());
    (ports.rtp.local_addr().port(), rtcp)
}

impl Switchboard {
    /// The shared port for a phone that offers this, if it can share.
    pub(super) fn shared_port_for(
        &self,
        offer: &str,
        incoming: &Incoming,
        room: ConferenceId,
    ) -> Option<(u16, Option<u16>)> {
        self.config.media.shared_port?;
        let agreed = self.preview(offer, incoming.ours)?;
        is_at(&agreed, incoming.source.ip())
            .then(|| self.engine.shared_port(room, &media_spec(&agreed).remote))?
    }

    /// Ports of its own for a leg that can no longer share, when it is told of them in the answer to `offer`, or in our
    /// offer if there is none; `local` then names them.
    pub(super) fn own_ports_after(
        &mut self,
        call: CallId,
        leg: LegId,
        signalling: IpAddr,
        offer: Option<&str>,
        local: &mut Local,
    ) -> Option<MediaPorts> {
        if !self.engine.is_shared(leg) {
            return None;
        }
        let stays = offer.is_some_and(|offer| {
            // One that cannot be answered changes nothing.
            self.preview(offer, local.address).is_none_or(|agreed| {
                agreed.remote_rtp.is_none()
                    || is_at(&agreed, signalling)
                        && self.engine.can_stay(leg, &media_spec(&agreed).remote)
            })
        });
        if stays {
            return None;
        }
        match self.ports.bind_pair(false) {
            Ok(ports) => {
                local.ports = port_numbers(&ports);
                info!(%call, port = local.ports.0, "leaves the shared port: its phone's media is elsewhere now");
                Some(ports)
            }
            Err(error) => {
                warn!(%call, "stays on the shared port, and may be silent: {error}");
                None
            }
        }
    }

    /// What would be agreed on. The ports of this side have no part in that.
    fn preview(&self, offer: &str, ours: IpAddr) -> Option<sdp::Agreed> {
        let local = Local::new(ours, (2, Some(3)), 0).media(&self.config);
        sdp::answer(offer, &local).ok().map(|(agreed, _)| agreed)
    }
}

/// Whether the phone's media is where its signalling comes from.
fn is_at(agreed: &sdp::Agreed, signalling: IpAddr) -> bool {
    agreed
        .remote_rtp
        .is_some_and(|rtp| rtp.ip().to_canonical() == signalling.to_canonical())
}
