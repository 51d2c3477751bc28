//! One conference on several workers.
//!
//! Each worker mixes a room of the conference, with members of its own. In each interval a room publishes the exact sum of
//! its own members ([`Broadcast`]) and adds the sums that the other rooms published for an interval that is fixed by
//! both rooms' phases ([`Lag`]). So everybody hears its own room at once and the others 5 to 25 ms later, 10 ms when there are two.
//! No worker waits for another: a sum that has not come in time is silence, and is counted.
//!
//! Intervals have the same numbers on all workers, because all count slots from one origin: so it is never a
//! question which sum is to be added, however late either side is, and none is added twice.
//!
//! | file | what |
//! |---|---|
//! | `broadcast.rs` | where one room's sums are written, and the others read them, without waiting |
//! | `lag.rs` | which interval of another room belongs to one of this room. Pure |
//! | `seating.rs` | on which worker a leg is to be, and in which phase a room. Pure |
//! | `register.rs` | the control plane's register of conferences and their rooms |

mod broadcast;
mod lag;
pub(super) mod register;
pub(super) mod seating;

use std::sync::Arc;

use unisono_mixer::{Feed, Intake, MAX_FRAME};

use self::broadcast::{Broadcast, Reading};
use self::lag::Lag;
use super::RoomId;
use super::meter::{WorkerMeter, bump};
use super::room::Talkers;

/// What ties a room to the other rooms of its conference. Made by the control plane, lives with the room.
#[derive(Debug)]
pub(crate) struct Ties {
    /// Where this room's sums go. Only the room that holds these ties writes there.
    own: Arc<Broadcast>,
    others: Vec<Tie>,
    samples: Box<[i32; MAX_FRAME]>,
}

/// What one room keeps of another one.
#[derive(Debug)]
struct Tie {
    room: RoomId,
    broadcast: Arc<Broadcast>,
    lag: Lag,
    feed: Feed,
}

/// A room, to those who make ties.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) room: RoomId,
    pub(super) broadcast: Arc<Broadcast>,
    /// When its intervals begin, ns after those of phase 0 on worker 0.
    pub(super) offset_ns: u64,
}

impl End {
    pub(super) fn new(room: RoomId, offset_ns: u64) -> Self {
        Self {
            room,
            broadcast: Arc::default(),
            offset_ns,
        }
    }
}

impl Ties {
    /// The ties of `ends[own]` to all the others; allocates.
    pub(super) fn new(ends: &[End], own: usize) -> Self {
        let here = &ends[own];
        let others = ends.iter().filter(|end| end.room != here.room);
        let others = others.map(|end| Tie {
            room: end.room,
            broadcast: Arc::clone(&end.broadcast),
            lag: Lag::between(end.offset_ns, here.offset_ns),
            feed: Feed::new(),
        });
        Self {
            own: Arc::clone(&here.broadcast),
            others: others.collect(),
            samples: Box::new([0; MAX_FRAME]),
        }
    }

    /// Goes on from the ties that the room had before, so that nothing is heard of the change.
    pub(super) fn continue_from(&mut self, before: &mut Self) {
        for tie in &mut self.others {
            if let Some(old) = before.others.iter_mut().find(|old| old.room == tie.room) {
                std::mem::swap(tie, old);
            }
        }
    }

    /// Publishes what was added so far, which is the sum of the room's own members in `interval`, and who is heard in it.
    pub(super) fn publish(&self, interval: u64, intake: &Intake<'_>, talkers: &Talkers) {
        self.own.publish(
            interval,
            intake.rate(),
            intake.sum(),
            intake.contributors(),
            talkers.all(),
        );
    }

    /// Adds what the other rooms published, and those who are heard there.
    pub(super) fn add_others(
        &mut self,
        interval: u64,
        intake: &mut Intake<'_>,
        talkers: &mut Talkers,
        meter: &WorkerMeter,
    ) {
        for tie in &mut self.others {
            let label = tie.lag.label(interval);
            let reading = tie.broadcast.read(label, &mut self.samples);
            let next = tie.broadcast.state(label + 1);
            tie.lag.learn(reading.state(), next);
            match reading {
                Reading::Sum(sum) => {
                    let frame = &self.samples[..sum.rate.frame_len()];
                    intake.add_sum(&mut tie.feed, sum.rate, frame, sum.contributors);
                    for ssrc in sum.talkers() {
                        talkers.add(*ssrc);
                    }
                    bump(&meter.sums_added, 1);
                    continue;
                }
                Reading::Missing => bump(&meter.sums_missed, 1),
                Reading::Nothing | Reading::AtRest => {}
            }
            intake.add_no_sum(&mut tie.feed);
        }
    }

    /// The room has no members any more: nobody is to wait for its sums.
    pub(super) fn rest(&self) {
        self.own.rest();
    }
}
