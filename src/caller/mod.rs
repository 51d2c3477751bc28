//! A phone in software: it calls over SIP, speaks a clip over RTP, and keeps what it hears.
//!
//! The demo, tests and load runs use it to judge a server from outside, so it shares no state with the server: only
//! datagrams on real sockets pass between them.
//!
//! Guarantees: nothing from the network panics, and what is kept of it is bounded when a line is made. The media of all
//! lines of a [`MediaThread`] run on one thread, which asks for real-time priority and goes on without; what that thread
//! does late shows up as delay, never as loss.
//!
//! | file | what |
//! |---|---|
//! | `phone.rs` | calls: SIP on one socket for many calls at a time |
//! | `line.rs` | the media of one call, without clock and sockets |
//! | `media.rs` | the thread that keeps the time of many lines and moves their datagrams |
//! | `recording.rs` | what was heard, put together from the packets afterwards |
//! | `voices.rs` | who speaks, and what |

mod line;
mod media;
mod phone;
mod recording;
mod voices;

pub use line::{FRAME_NS, Line, LineConfig, LineCounts, LineMeter, MAX_TALKERS};
pub use media::{FinishedLine, LineAddress, MediaError, MediaThread};
pub use phone::{Call, CallError, CallRequest, Phone};
pub use recording::{Recorder, Recording};
pub use voices::{VOICES, Voice, voices};

#[cfg(test)]
mod tests;
