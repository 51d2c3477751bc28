//! What observers are told, numbered so that they notice what they missed.

use std::collections::VecDeque;

use serde::Serialize;

use super::{ConferenceName, ParticipantId, ParticipantView, Timestamp};

/// Something that happened in a conference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// One more than the event before, from 1.
    pub sequence: u64,
    /// When.
    pub at: Timestamp,
    /// Where.
    pub conference: ConferenceName,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The first participant is about to join.
    ConferenceStarted,
    /// The last participant has left.
    ConferenceEnded,
    /// Somebody joined.
    ParticipantJoined {
        /// Who, as it joined.
        participant: Box<ParticipantView>,
    },
    /// Somebody left.
    ParticipantLeft {
        /// Who.
        id: ParticipantId,
        /// Why.
        reason: LeaveReason,
    },
    /// Somebody is heard.
    TalkingStarted {
        /// Who.
        id: ParticipantId,
    },
    /// Somebody is no longer heard.
    TalkingStopped {
        /// Who.
        id: ParticipantId,
    },
    /// Muted or no longer muted.
    MutedChanged {
        /// Who.
        id: ParticipantId,
        /// Now.
        muted: bool,
    },
    /// Deaf or no longer deaf.
    DeafChanged {
        /// Who.
        id: ParticipantId,
        /// Now.
        deaf: bool,
    },
    /// Locked or unlocked.
    LockedChanged {
        /// Now.
        locked: bool,
    },
    /// A call gave up on the PIN.
    PinRefused {
        /// Who would have joined.
        id: ParticipantId,
    },
}

/// Why somebody left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveReason {
    /// Its call ended.
    HungUp,
    /// Removed.
    Kicked,
    /// The conference was ended.
    Ended,
}

/// The latest events. When it is full the oldest is dropped; the sequence numbers show the gap.
#[derive(Debug)]
pub struct EventLog {
    events: VecDeque<Event>,
    capacity: usize,
    last: u64,
}

impl EventLog {
    /// Keeps this many events.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            events: VecDeque::new(),
            capacity,
            last: 0,
        }
    }

    pub(super) fn push(&mut self, at: Timestamp, conference: &ConferenceName, kind: EventKind) {
        self.last += 1;
        if self.events.len() == self.capacity {
            self.events.pop_front();
        }
        self.events.push_back(Event {
            sequence: self.last,
            at,
            conference: conference.clone(),
            kind,
        });
    }

    /// Number of the latest event; 0 before the first.
    pub fn last_sequence(&self) -> u64 {
        self.last
    }

    /// The events after this number that are still here, in order.
    pub fn after(&self, sequence: u64) -> impl ExactSizeIterator<Item = &Event> {
        let first = self
            .events
            .front()
            .map_or(self.last + 1, |event| event.sequence);
        let passed = sequence
            .saturating_add(1)
            .saturating_sub(first)
            .min(self.events.len() as u64);
        self.events.range(passed as usize..)
    }
}
