//! The control plane's wiring: what phones say becomes the conference model's decisions, and those become deeds of the
//! signalling and of the media plane.
//!
//! One task owns the model, the engine and all calls, so nothing here is shared and nothing is locked. Others ask it
//! through a [`ControlHandle`].
//!
//! | file | what |
//! |---|---|
//! | `server.rs` | start and end of everything |
//! | `switchboard.rs` | the task: events in, deeds out |
//! | `phones.rs` | what phones do by SIP |
//! | `links.rs` | links to DAHDI conferences |
//! | `liveness.rs` | phones that vanished |
//! | `call.rs` | a call's signalling and media: offers, answers, legs |
//! | `ports.rs` | which ports a call's media gets: its own, or its worker's shared ones |
//! | `requests.rs` | what the HTTP side asks |
//! | `overload.rs` | new calls refused where there is too much to do, and who is told |
//! | `capacity.rs` | how many legs this machine carries, and what limits them |
//! | `handle.rs` | the way to ask |

mod call;
mod capacity;
mod handle;
mod links;
mod liveness;
mod overload;
mod phones;
mod ports;
mod requests;
mod server;
mod switchboard;

pub(crate) use capacity::Resources;
pub use capacity::{Capacity, Limit};
pub use handle::{ControlError, ControlHandle, Overview, ParticipantChange, WorkerOverview};
pub(crate) use server::engine_config;
pub use server::{Server, StartError};
