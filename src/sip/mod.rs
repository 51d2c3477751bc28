//! Phones: SIP over UDP and TCP (RFC 3261).
//!
//! The user agent knows neither sockets nor clock; [`bind`] puts it on real sockets, with
//! [`SipHandle`] for decisions and a receiver for events. [`sdp`] agrees on media. `dialog` keeps
//! what one call needs to send requests, `digest` asks and answers who somebody is, and `wire` is
//! the only place that knows which crate parses messages. Nothing a peer sends panics or grows
//! memory without bound.

mod agent;
mod dialog;
mod digest;
pub mod sdp;
mod transport;
mod wire;

pub use agent::{
    Addressing, Agent, AgentConfig, AgentError, CallId, Counters, EndedBy, Event, Flow, Incoming,
    InviteRequest, Output, Party, Transport,
};
pub use digest::{Algorithm, Credentials, DigestConfig, Secret};
pub use transport::{BindError, MAX_CONNECTIONS, SipConfig, SipError, SipHandle, SipStatus, bind};
