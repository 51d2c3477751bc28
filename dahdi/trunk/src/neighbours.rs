//! The other processes, as the tick hears them and as the control side keeps account of them.

use std::sync::Arc;

use rtrb::{Consumer, Producer, RingBuffer};
use unisono_dahdi::exchange::MAX_CONFERENCE;

use crate::follower::{Follower, Heard};
use crate::segment::{Frame, Mapping, Tag};

/// Processes that can be heard at a time.
pub(crate) const MAX_NEIGHBOURS: usize = 64;

/// Another process, as the tick has it.
#[derive(Debug)]
pub(crate) struct Heeded {
    id: u64,
    segment: Arc<Mapping>,
    followers: Box<[Follower]>,
}

impl Heeded {
    fn new(id: u64, segment: Arc<Mapping>) -> Self {
        Self {
            id,
            segment,
            followers: vec![Follower::default(); MAX_CONFERENCE as usize + 1].into(),
        }
    }

    /// Whether it is in a conference.
    pub(crate) fn is_in(&self, conference: u16) -> bool {
        self.segment.line(conference).is_some()
    }

    /// What it said in a conference, for step number `step`.
    pub(crate) fn hear(&mut self, conference: u16, step: u64, into: &mut Frame) -> Heard {
        let Some(follower) = self.followers.get_mut(usize::from(conference)) else {
            return Heard::default();
        };
        let Some(line) = self.segment.line(conference) else {
            *follower = Follower::default();
            return Heard::default();
        };
        let newest = self.segment.newest(line, conference);
        follower.hear(step, newest, into, |step, frame| {
            self.segment.read(line, Tag::new(step, conference), frame)
        })
    }
}

#[derive(Debug)]
enum Change {
    Come(Heeded),
    Gone(u64),
}

/// Both ends of what passes between control side and tick.
pub(crate) fn crossing() -> (Roll, Audience) {
    // Each that is heeded comes and goes once before there is room for another.
    let (changes, from_control) = RingBuffer::new(2 * MAX_NEIGHBOURS);
    let (to_control, returned) = RingBuffer::new(MAX_NEIGHBOURS);
    let roll = Roll {
        changes,
        returned,
        next: 0,
        lent: 0,
    };
    let audience = Audience {
        changes: from_control,
        returned: to_control,
        heeded: Vec::with_capacity(MAX_NEIGHBOURS),
    };
    (roll, audience)
}

/// The control side's end.
#[derive(Debug)]
pub(crate) struct Roll {
    changes: Producer<Change>,
    returned: Consumer<Heeded>,
    next: u64,
    /// How many the tick has, or will have.
    lent: usize,
}

impl Roll {
    /// Frees what the tick has given back.
    pub(crate) fn collect(&mut self) {
        while let Ok(heeded) = self.returned.pop() {
            drop(heeded);
            self.lent = self.lent.saturating_sub(1);
        }
    }

    /// Lets the tick heed a process. `None` if it heeds as many as it can.
    pub(crate) fn add(&mut self, segment: Arc<Mapping>) -> Option<u64> {
        // Room is kept for the going of all who came.
        if self.lent >= MAX_NEIGHBOURS || self.changes.slots() <= MAX_NEIGHBOURS {
            return None;
        }
        let id = self.next;
        self.changes
            .push(Change::Come(Heeded::new(id, segment)))
            .ok()?;
        self.next += 1;
        self.lent += 1;
        Some(id)
    }

    /// Lets the tick forget a process. Returns whether there was room to tell.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        self.changes.push(Change::Gone(id)).is_ok()
    }
}

/// The tick's end.
#[derive(Debug)]
pub(crate) struct Audience {
    changes: Consumer<Change>,
    returned: Producer<Heeded>,
    heeded: Vec<Heeded>,
}

impl Audience {
    /// Carries out what the control side asked for.
    pub(crate) fn update(&mut self) {
        while let Ok(change) = self.changes.pop() {
            match change {
                // There is always room: the control side counts.
                Change::Come(heeded) => self.heeded.push(heeded),
                Change::Gone(id) => {
                    if let Some(at) = self.heeded.iter().position(|heeded| heeded.id == id)
                        && let Err(rtrb::PushError::Full(heeded)) =
                            self.returned.push(self.heeded.swap_remove(at))
                    {
                        self.heeded.push(heeded);
                    }
                }
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Heeded> {
        self.heeded.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Heeded> {
        self.heeded.iter_mut()
    }
}
