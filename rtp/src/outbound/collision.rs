//! Another source under one's own SSRC (RFC 3550 section 8.2).

use std::net::SocketAddr;

use crate::packet::RtpPacket;

/// Addresses that are remembered. A leg has one peer; more are a symptom.
const REMEMBERED: usize = 4;

/// An address that has not offended for so long may collide anew: ten report intervals of the usual five seconds.
const FORGET_NS: u64 = 50_000_000_000;

/// What a packet with one's own SSRC is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnSsrcSeen {
    /// Another source has by chance chosen the same SSRC. Say BYE for it
    /// ([`crate::rtcp::Session::change_ssrc`]), go on under a new one ([`super::Outbound::restart`]), and go on
    /// listening to the peer.
    Collision,
    /// One's own packets come back, directly or through another mixer. Drop the packet and keep the SSRC: a new one
    /// would come back as well.
    Loop,
}

/// Tells collisions from loops: an address that collides again after the SSRC was changed is an echo.
#[derive(Debug, Clone, Copy, Default)]
pub struct CollisionDetector {
    conflicts: [Option<(SocketAddr, u64)>; REMEMBERED],
}

impl CollisionDetector {
    /// Nothing has collided yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at a packet that the latch accepted from `source`. `None`, the usual case, costs one comparison.
    pub fn check(
        &mut self,
        packet: &RtpPacket<'_>,
        own_ssrc: u32,
        source: SocketAddr,
        now_ns: u64,
    ) -> Option<OwnSsrcSeen> {
        if packet.ssrc == own_ssrc {
            return Some(self.conflict(source, now_ns));
        }
        // A mixer that lists us as a contributor is sending us our own audio.
        packet
            .csrcs()
            .any(|csrc| csrc == own_ssrc)
            .then_some(OwnSsrcSeen::Loop)
    }

    /// The same for the SSRC of an RTCP packet.
    pub fn check_rtcp(
        &mut self,
        ssrc: u32,
        own_ssrc: u32,
        source: SocketAddr,
        now_ns: u64,
    ) -> Option<OwnSsrcSeen> {
        (ssrc == own_ssrc).then(|| self.conflict(source, now_ns))
    }

    fn conflict(&mut self, source: SocketAddr, now_ns: u64) -> OwnSsrcSeen {
        for slot in &mut self.conflicts {
            if slot.is_some_and(|(_, last_ns)| now_ns.saturating_sub(last_ns) >= FORGET_NS) {
                *slot = None;
            }
        }
        for (known, last_ns) in self.conflicts.iter_mut().flatten() {
            if *known == source {
                *last_ns = now_ns;
                return OwnSsrcSeen::Loop;
            }
        }
        if let Some(slot) = self
            .conflicts
            .iter_mut()
            .min_by_key(|slot| slot.map(|(_, last_ns)| last_ns))
        {
            *slot = Some((source, now_ns));
        }
        OwnSsrcSeen::Collision
    }
}
