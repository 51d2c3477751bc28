//! The media plane: workers, legs and the tick. Real-time code, and only that.
//!
//! [`Engine`] is the control plane's side: it allocates, binds and frees everything, and talks to its workers through
//! wait-free single-producer rings. A worker is one real-time thread; it neither allocates nor frees nor waits for
//! anybody but its ticker.
//!
//! | file | what |
//! |---|---|
//! | `worker.rs`, `outbox.rs` | the thread: sleep, commands, datagrams, phases; where its output goes |
//! | `plane.rs`, `mixing.rs` | what a worker does, without clock and sockets: who is served where, and the tick |
//! | `room.rs`, `leg/` | a conference, a participant's media stream |
//! | `rings/` | legs that are no RTP: frames to and from another thread |
//! | `media.rs` | what a negotiation agreed on |
//! | `phase.rs` | what is due when, and what becomes of late ticks |
//! | `command.rs`, `event.rs`, `meter.rs` | what passes between control plane and worker |
//! | `overload/` | how busy a worker is, and what it gives up when that is too much |
//! | `rehearsal.rs` | the media plane in virtual time, for tests and benchmarks |
//! | `registry.rs`, `reports.rs` | which leg lives where; what is told of them |
//! | `housing.rs` | which legs are on a shared port |
//! | `shared.rs`, `sources/` | a worker's shared port, and whose datagrams are whose |
//! | `span/` | which conference lives where, and how several workers mix one |
//! | `hand.rs` | the control plane's hand on one worker |

mod command;
mod event;
mod hand;
mod housing;
mod leg;
mod media;
mod meter;
mod mixing;
mod opus_sender;
mod outbox;
mod overload;
mod phase;
mod plane;
mod player;
mod registry;
mod regulars;
#[doc(hidden)]
pub mod rehearsal;
mod reports;
mod rings;
mod room;
mod shared;
mod sockets;
mod sources;
mod span;
#[cfg(test)]
mod tests;
mod worker;

use std::net::SocketAddr;

pub use command::Remote;
pub use event::Event;
pub(crate) use hand::realtime_request;
pub use media::{LegPolicy, MediaSpec};
pub use meter::{FlowFigures, LegFigures, WorkerFigures};
pub use overload::{Level, OverloadSettings};
pub use phase::{MAX_CATCH_UP, PHASES, SLOT};
pub use player::Sound;
pub use registry::{Engine, EngineConfig, EngineError};
pub use reports::WorkerReport;
pub use rings::{RING_FRAMES, RingEnd, RingFigures};
pub use room::ANNOUNCEMENT_RATE;
pub use sockets::Channel;

/// One leg, for as long as it exists; never used again for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LegId {
    worker: u16,
    index: u32,
    serial: u32,
}

/// One conference on the media plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConferenceId(u32);

/// What of a conference one worker mixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoomId {
    worker: u16,
    index: u32,
    serial: u32,
}

/// Where the media plane's output goes. No method may block, allocate or free.
pub(crate) trait Outlet {
    /// Sends a datagram from one of a leg's sockets.
    fn send(&mut self, leg: LegId, channel: Channel, destination: SocketAddr, datagram: &[u8]);
    /// Tells the control plane.
    fn event(&mut self, event: Event);
    /// Gives memory back.
    fn discard(&mut self, garbage: event::Garbage);
}
