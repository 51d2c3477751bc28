//! The control plane's model of conferences: who may join, what each hears said, who is told.
//!
//! Guarantees: no audio, no sockets, no clock and no randomness. Every function takes what happened and [`Now`], and
//! returns what is to be done; the same events give the same decisions. A participant is in one conference only, a
//! call that is not known is never acted on, and nothing that callers send panics. Look-ups are hashed: thousands of
//! conferences cost no more than one.
//!
//! The life of a call:
//!
//! 1. [`Conferences::incoming`] decides on the INVITE: admitted, to be asked for the PIN, or refused with a SIP status.
//! 2. [`Conferences::connected`] once it is answered and audio flows: it joins, or hears the PIN prompt.
//! 3. [`Conferences::digit`], [`Conferences::timeout`], [`Conferences::talking`] and the commands while it lasts.
//! 4. [`Conferences::hung_up`] when it is over, whoever ended it. After an [`Action::HangUp`] the call is forgotten
//!    already and this does nothing.

mod action;
mod command;
mod conferences;
mod event;
mod pin;
mod settings;
#[cfg(test)]
mod tests;
mod time;
mod view;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub use action::{Action, Decision, HangUpReason, Prompt, Refusal, Target};
pub use command::CommandError;
pub use conferences::Conferences;
pub use event::{Event, EventKind, EventLog, LeaveReason};
pub use settings::{Policy, RoomRate, Settings, is_conference_name, is_pin};
pub use time::{Now, Timestamp};
pub use view::{ConferenceView, LinkView, MediaView, ParticipantView};

/// A call of the signalling side, unique while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "call-{}", self.0)
    }
}

/// A participant, unique as long as the server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ParticipantId(pub u64);

/// Name of a conference: what is dialled. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConferenceName(Arc<str>);

impl ConferenceName {
    /// The name, if it can be one; see [`is_conference_name`].
    pub fn new(name: &str) -> Option<Self> {
        is_conference_name(name).then(|| Self(name.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConferenceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for ConferenceName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for ConferenceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Who calls, as the phone says: not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Caller {
    /// Display name; empty if there is none.
    pub name: String,
    /// Number or user part; empty if there is none.
    pub number: String,
}
