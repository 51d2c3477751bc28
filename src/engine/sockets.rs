//! The sockets of one leg.

use unisono_rtp::net::{MediaPorts, MediaSocket};

use super::Remote;

/// One leg's sockets: bound by the control plane, read and written by a worker, closed by the control plane.
#[derive(Debug)]
pub(crate) enum LegSockets {
    /// Its own.
    Own(MediaPorts),
    /// Its worker's shared ones. The peer announced this address.
    Shared(Remote),
}

impl LegSockets {
    /// A socket of its own.
    pub(crate) fn own(&self, channel: Channel) -> Option<&MediaSocket> {
        match (self, channel) {
            (Self::Own(ports), Channel::Rtp) => Some(&ports.rtp),
            (Self::Own(ports), Channel::Rtcp) => ports.rtcp.as_ref(),
            (Self::Shared(_), _) => None,
        }
    }
}

/// Which of a leg's two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// RTP, and RTCP where it is multiplexed.
    Rtp,
    /// RTCP on a port of its own.
    Rtcp,
}

/// The poller's token of a leg's socket.
pub(crate) fn token(leg: u32, channel: Channel) -> u64 {
    u64::from(leg) << 1 | u64::from(channel == Channel::Rtcp)
}

/// The leg and socket of a poller's token.
pub(crate) fn from_token(token: u64) -> (u32, Channel) {
    (
        (token >> 1) as u32,
        if token & 1 == 1 {
            Channel::Rtcp
        } else {
            Channel::Rtp
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_leg_and_channel() {
        for leg in [0, 1, 9_999, u32::MAX] {
            for channel in [Channel::Rtp, Channel::Rtcp] {
                assert_eq!(from_token(token(leg, channel)), (leg, channel));
            }
        }
    }
}
