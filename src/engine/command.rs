//! What the control plane asks of a worker, through a wait-free ring.
//!
//! Everything a command needs was allocated by the control plane and comes with it; whatever a worker no longer
//! needs goes back as [`Garbage`](super::event::Garbage).

use std::net::SocketAddr;

use super::leg::Leg;
use super::media::MediaUpdate;
use super::player::Sound;
use super::room::{Room, SharedEncoder};
use super::sockets::LegSockets;
use super::span::Ties;
use super::{LegId, RoomId};

/// One request; applied between two ticks, in order.
#[derive(Debug)]
pub(crate) enum Command {
    /// A conference begins to have a room on this worker. It costs nothing until a leg joins.
    OpenRoom(Box<Room>),
    /// A room ceases to exist, and its memory goes back; legs that are in it stay outside any.
    CloseRoom(RoomId),
    /// A room is one of several of its conference from now on, or the only one.
    Tie {
        room: RoomId,
        ties: Option<Box<Ties>>,
    },
    /// A leg begins: it is served from the next tick of its phase, outside any conference.
    OpenLeg {
        leg: Box<Leg>,
        /// Absent for a leg whose datagrams come another way.
        sockets: Option<LegSockets>,
    },
    /// A leg says BYE in RTCP and goes back.
    CloseLeg(LegId),
    /// A leg takes part in a conference.
    Join {
        leg: LegId,
        room: RoomId,
        /// The conference's shared encoder for the leg's format, if it may be the first to use it.
        encoder: Option<Box<SharedEncoder>>,
        /// A longer member list, when the conference's would overflow.
        members: Option<Vec<u32>>,
    },
    /// A leg stays connected outside any conference.
    Leave(LegId),
    /// A re-negotiation: another format, address or direction.
    Update {
        leg: LegId,
        update: Box<MediaUpdate>,
    },
    /// A leg leaves the shared port for ports of its own.
    MoveOut { leg: LegId, sockets: LegSockets },
    /// A prompt only this leg hears, after those already queued.
    Play { leg: LegId, sound: Sound },
    /// An end to what the leg is played.
    StopPlaying(LegId),
    /// A prompt everyone in the conference hears.
    Announce { room: RoomId, sound: Sound },
    /// The participant is not heard.
    SetMuted { leg: LegId, muted: bool },
    /// The participant hears nothing of the conference.
    SetDeaf { leg: LegId, deaf: bool },
    /// Gains in dB, clamped to -60..=24.
    SetGains {
        leg: LegId,
        input_db: f32,
        output_db: f32,
    },
    /// The worker returns everything and ends.
    Shutdown,
}

/// Where a leg's media goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remote {
    /// RTP destination from SDP; `None` while on hold without an address.
    pub rtp: Option<SocketAddr>,
    /// RTCP destination from SDP; with rtcp-mux the same as `rtp`.
    pub rtcp: Option<SocketAddr>,
    /// RTP and RTCP share one port (RFC 5761).
    pub rtcp_mux: bool,
}
