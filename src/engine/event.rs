//! What a worker tells the control plane, through wait-free rings.

use super::LegId;
use super::leg::Leg;
use super::media::MediaUpdate;
use super::player::Sound;
use super::room::{Room, SharedEncoder};
use super::sockets::LegSockets;
use super::span::Ties;

/// Something that happened on the media plane. When the ring is full an event is dropped and counted: none of
/// these is needed to stay consistent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A talk-spurt began (after the mixer's smoothing).
    TalkStarted(LegId),
    /// A talk-spurt ended (after hang-over).
    TalkStopped(LegId),
    /// A key was pressed (RFC 4733): one of `0-9 * # A-D`.
    Digit {
        /// Who pressed it.
        leg: LegId,
        /// The key.
        digit: char,
    },
    /// The last queued prompt of a leg was played to its end.
    PlayFinished(LegId),
    /// The far end said BYE in RTCP.
    RemoteBye(LegId),
}

/// Memory that a worker no longer needs. It is freed by whoever reads the ring.
#[derive(Debug)]
pub(crate) enum Garbage {
    Leg(Box<Leg>, Option<LegSockets>),
    Sockets(#[expect(dead_code, reason = "held only to be freed outside the tick")] LegSockets),
    Room(Box<Room>),
    Update(
        #[expect(dead_code, reason = "held only to be freed outside the tick")] Box<MediaUpdate>,
    ),
    Encoder(
        #[expect(dead_code, reason = "held only to be freed outside the tick")] Box<SharedEncoder>,
    ),
    Members(#[expect(dead_code, reason = "held only to be freed outside the tick")] Vec<u32>),
    Sound(#[expect(dead_code, reason = "held only to be freed outside the tick")] Sound),
    Ties(#[expect(dead_code, reason = "held only to be freed outside the tick")] Box<Ties>),
}
