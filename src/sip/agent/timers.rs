//! All deadlines of an agent in one ordered queue.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::event::CallId;
use crate::sip::wire::{Timer, TransactionKey};

/// What a deadline is for. Setting the same alarm again moves it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Alarm {
    /// A timer of RFC 3261 section 17.
    Transaction(TransactionKey, Timer),
    /// A transaction of ours outlived its call, and may wait for a response that never comes.
    Orphan(TransactionKey),
    /// A timer of a call.
    Call(CallId, CallTimer),
}

/// The timers of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CallTimer {
    /// Send the 2xx again (RFC 3261 section 13.3.1.4).
    Resend,
    /// No ACK for the 2xx.
    NoAck,
    /// Refresh the session, or give it up (RFC 4028).
    Session,
    /// The session's end, when refreshing it is our job and does not work.
    Expiry,
    /// Try the re-INVITE again after a 491.
    Retry,
    /// Nobody answers.
    Ring,
    /// A cancelled INVITE got no final response.
    Cancelled,
    /// The layer above did not answer an offer of the peer.
    Undecided,
    /// The peer says that it works on our re-INVITE, and does not get done.
    Unchanged,
}

/// An ordered set of alarms.
#[derive(Debug)]
pub(super) struct TimerQueue {
    /// What times are counted from, in nanoseconds: half as large as an instant, and a call has several alarms.
    epoch: Instant,
    by_time: BTreeMap<(u64, u64), Alarm>,
    by_alarm: HashMap<Alarm, (u64, u64)>,
    sequence: u64,
}

impl TimerQueue {
    /// Without alarms. None may be set for a time before `epoch`.
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            by_time: BTreeMap::new(),
            by_alarm: HashMap::new(),
            sequence: 0,
        }
    }

    /// Sets or moves an alarm.
    pub(super) fn set(&mut self, alarm: Alarm, at: Instant) {
        self.clear(&alarm);
        self.sequence += 1;
        let slot = (self.count(at), self.sequence);
        self.by_time.insert(slot, alarm.clone());
        self.by_alarm.insert(alarm, slot);
    }

    /// Removes an alarm, if it is set.
    pub(super) fn clear(&mut self, alarm: &Alarm) {
        if let Some(slot) = self.by_alarm.remove(alarm) {
            self.by_time.remove(&slot);
        }
    }

    /// Takes the earliest alarm that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Alarm> {
        let (&slot, _) = self.by_time.first_key_value()?;
        if slot.0 > self.count(now) {
            return None;
        }
        let alarm = self.by_time.remove(&slot)?;
        self.by_alarm.remove(&alarm);
        Some(alarm)
    }

    /// When the earliest alarm is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let (slot, _) = self.by_time.first_key_value()?;
        Some(self.epoch + Duration::from_nanos(slot.0))
    }

    /// Enough for 584 years.
    fn count(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.epoch).as_nanos() as u64
    }
}
