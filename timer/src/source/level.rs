//! The state of a handle in one word, and the protocol that keeps its descriptor true to it.
//!
//! The descriptor is an eventfd in semaphore mode: a write adds one, a read takes one, and it is
//! readable while something is there. It has to be readable exactly while a tick is pending or
//! continuous mode is on, although the word and the descriptor cannot be changed together.
//!
//! * Whoever changes the word from quiet to readable has the duty to write, *once*; whoever changes it
//!   back has the duty to read, *once*. Additions and subtractions commute, so late ones do no harm.
//! * A read that comes before the write it belongs to finds nothing. While such a write is under way (the
//!   word counts them) the reader leaves its duty behind as a debt, which the writer pays when it
//!   has written. Otherwise the write has been done, and reading again succeeds.
//!
//! So nobody ever waits for anybody, a tick thread stopped in the midst of it included; each change costs
//! at most one system call; and when all duties are done, the descriptor holds one if the word is readable,
//! else nothing. `every_interleaving_ends_with_a_descriptor_true_to_the_word` walks through all of them.
//!
//! This module is pure: it says what follows, [`signal`](super::signal) does it.

/// What is true of a handle.
///
/// | bits | meaning |
/// |---|---|
/// | 0 to 23 | ticks pending |
/// | 24 to 39 | writes to the descriptor under way |
/// | 40 to 55 | reads owed |
/// | 56 | continuous mode |
/// | 57 | closed by its user |
/// | 58 | the tick thread is using the descriptor |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Level(u64);

/// What follows from a change, for the one who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Duty {
    /// Nothing.
    None,
    /// Write to the descriptor, then [`Level::raised`].
    Raise,
    /// Read from the descriptor, then [`Level::lowered`], or [`Level::not_lowered`] when nothing was there.
    Lower,
    /// Close the descriptor: nobody uses it any more.
    Close,
}

/// Who does a duty. Closing must not take the descriptor from under the tick thread; the handle's users
/// cannot be at work when it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    User,
    TickThread,
}

impl Level {
    /// The most ticks that can be pending.
    pub(super) const MAX_PENDING: u32 = PENDING as u32;

    pub(super) const fn from_word(word: u64) -> Self {
        Self(word)
    }

    pub(super) const fn word(self) -> u64 {
        self.0
    }

    pub(super) const fn pending(self) -> u32 {
        (self.0 & PENDING) as u32
    }

    pub(super) const fn is_continuous(self) -> bool {
        self.0 & CONTINUOUS != 0
    }

    /// Adds ticks while no more than `cap` are pending. Also says how many found no room.
    /// Only for the tick thread. A closed handle takes none.
    pub(super) fn add(self, ticks: u64, cap: u32) -> (Self, Duty, u64) {
        if self.0 & CLOSED != 0 {
            return (self, Duty::None, 0);
        }
        let room = cap.min(Self::MAX_PENDING).saturating_sub(self.pending());
        let taken = ticks.min(u64::from(room));
        let (after, duty) = self.followed_by(Self(self.0 + taken));
        let after = match duty {
            Duty::None => after,
            _ => Self(after.0 | BUSY),
        };
        (after, duty, ticks - taken)
    }

    /// Takes up to `ticks` pending ones, and says how many.
    pub(super) fn ack(self, ticks: u32) -> (Self, Duty, u32) {
        let taken = ticks.min(self.pending());
        let (after, duty) = self.followed_by(Self(self.0 - u64::from(taken)));
        (after, duty, taken)
    }

    pub(super) fn set_continuous(self, on: bool) -> (Self, Duty) {
        let rest = self.0 & !CONTINUOUS;
        self.followed_by(Self(if on { rest | CONTINUOUS } else { rest }))
    }

    /// After a write.
    pub(super) fn raised(self, who: Who) -> (Self, Duty) {
        let after = Self(self.0 - ONE_WRITE);
        if after.0 & OWED != 0 {
            (Self(after.0 - ONE_OWED), Duty::Lower)
        } else {
            after.lowered(who)
        }
    }

    /// After a read. With no write under way, what is still owed is there to be paid.
    pub(super) const fn lowered(self, who: Who) -> (Self, Duty) {
        if self.0 & OWED != 0 && self.0 & WRITES == 0 {
            return (Self(self.0 - ONE_OWED), Duty::Lower);
        }
        match who {
            Who::User => (self, Duty::None),
            Who::TickThread if self.0 & CLOSED != 0 => (Self(self.0 & !BUSY), Duty::Close),
            Who::TickThread => (Self(self.0 & !BUSY), Duty::None),
        }
    }

    /// After a read that found nothing.
    pub(super) const fn not_lowered(self, who: Who) -> (Self, Duty) {
        if self.0 & WRITES == 0 {
            (self, Duty::Lower)
        } else {
            Self(self.0 + ONE_OWED).lowered(who)
        }
    }

    /// The user closes the handle.
    pub(super) const fn close(self) -> (Self, Duty) {
        let duty = if self.0 & BUSY == 0 {
            Duty::Close
        } else {
            Duty::None
        };
        (Self(self.0 | CLOSED), duty)
    }

    const fn is_readable(self) -> bool {
        self.0 & (PENDING | CONTINUOUS) != 0
    }

    const fn followed_by(self, after: Self) -> (Self, Duty) {
        match (self.is_readable(), after.is_readable()) {
            (false, true) => (Self(after.0 + ONE_WRITE), Duty::Raise),
            (true, false) => (after, Duty::Lower),
            _ => (after, Duty::None),
        }
    }
}

const PENDING: u64 = (1 << 24) - 1;
const ONE_WRITE: u64 = 1 << 24;
const WRITES: u64 = 0xffff << 24;
const ONE_OWED: u64 = 1 << 40;
const OWED: u64 = 0xffff << 40;
const CONTINUOUS: u64 = 1 << 56;
const CLOSED: u64 = 1 << 57;
const BUSY: u64 = 1 << 58;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Op {
        Add(u64),
        Ack(u32),
        Continuous(bool),
        Close,
    }

    /// A thread that is at some point of its operations.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Thread {
        who: Who,
        ops: Vec<Op>,
        at: Point,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Point {
        Must(Duty),
        Wrote,
        Read,
        ReadNothing,
    }

    /// The machine: a word, a descriptor, and what has become of the ticks.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Machine {
        level: Level,
        descriptor: Option<u32>,
        threads: Vec<Thread>,
        due: u64,
        missed: u64,
        acked: u64,
    }

    const CAP: u32 = 2;

    impl Machine {
        fn new(threads: &[(Who, &[Op])]) -> Self {
            let threads = threads.iter().map(|&(who, ops)| Thread {
                who,
                ops: ops.to_vec(),
                at: Point::Must(Duty::None),
            });
            Self {
                level: Level::default(),
                descriptor: Some(0),
                threads: threads.collect(),
                due: 0,
                missed: 0,
                acked: 0,
            }
        }

        fn is_done(&self, thread: usize) -> bool {
            let thread = &self.threads[thread];
            thread.at == Point::Must(Duty::None) && thread.ops.is_empty()
        }

        /// One indivisible action of one thread.
        fn step(&mut self, index: usize) {
            let others_done = (0..self.threads.len())
                .filter(|&other| other != index)
                .all(|other| self.is_done(other));
            let thread = &mut self.threads[index];
            let descriptor = || self.descriptor.expect("used after it was closed");
            let (level, duty) = match thread.at {
                Point::Must(Duty::None) => match thread.ops.remove(0) {
                    Op::Add(ticks) => {
                        let (level, duty, missed) = self.level.add(ticks, CAP);
                        self.due += ticks;
                        self.missed += missed;
                        (level, duty)
                    }
                    Op::Ack(ticks) => {
                        let (level, duty, taken) = self.level.ack(ticks);
                        self.acked += u64::from(taken);
                        (level, duty)
                    }
                    Op::Continuous(on) => self.level.set_continuous(on),
                    Op::Close => self.level.close(),
                },
                Point::Must(Duty::Raise) => {
                    self.descriptor = Some(descriptor() + 1);
                    thread.at = Point::Wrote;
                    return;
                }
                Point::Must(Duty::Lower) => {
                    let there = descriptor();
                    thread.at = if there > 0 {
                        self.descriptor = Some(there - 1);
                        Point::Read
                    } else {
                        assert!(!others_done, "reads for ever: {:?}", self.level);
                        Point::ReadNothing
                    };
                    return;
                }
                Point::Must(Duty::Close) => {
                    descriptor();
                    self.descriptor = None;
                    (self.level, Duty::None)
                }
                Point::Wrote => self.level.raised(thread.who),
                Point::Read => self.level.lowered(thread.who),
                Point::ReadNothing => self.level.not_lowered(thread.who),
            };
            self.level = level;
            thread.at = Point::Must(duty);
        }

        fn assert_consistent_at_rest(&self) {
            if self.level.0 & CLOSED != 0 {
                assert_eq!(self.descriptor, None, "left open");
                return;
            }
            let readable = u32::from(self.level.is_readable());
            assert_eq!(self.descriptor, Some(readable), "{:?}", self.level);
            assert_eq!(self.level.0 & (WRITES | OWED | BUSY), 0);
            let accounted = self.acked + self.missed + u64::from(self.level.pending());
            assert_eq!(accounted, self.due);
        }
    }

    /// Every order in which the threads can act. Returns how many states there are.
    fn explore(start: Machine) -> usize {
        let mut seen = HashSet::new();
        let mut open = vec![start];
        while let Some(machine) = open.pop() {
            let able: Vec<usize> = (0..machine.threads.len())
                .filter(|&thread| !machine.is_done(thread))
                .collect();
            if able.is_empty() {
                machine.assert_consistent_at_rest();
            }
            for thread in able {
                let mut next = machine.clone();
                next.step(thread);
                if seen.insert(next.clone()) {
                    open.push(next);
                }
            }
        }
        seen.len()
    }

    use Op::{Ack, Add, Close, Continuous};
    use Who::{TickThread, User};

    #[test]
    fn every_interleaving_ends_with_a_descriptor_true_to_the_word() {
        let ticks: &[Op] = &[Add(1), Add(2), Add(1), Add(1)];
        let toggles: &[Op] = &[
            Continuous(true),
            Continuous(false),
            Continuous(true),
            Continuous(false),
        ];
        let acks: &[Op] = &[Ack(1), Ack(9), Ack(1), Ack(9)];
        let states = [
            explore(Machine::new(&[
                (TickThread, ticks),
                (User, acks),
                (User, toggles),
            ])),
            explore(Machine::new(&[
                (TickThread, &ticks[..2]),
                (User, &acks[..2]),
                (User, &[Ack(9), Continuous(true), Continuous(false)]),
                (User, &toggles[..2]),
            ])),
        ];
        // Far more than a test by chance would meet.
        assert!(states.iter().all(|&states| states > 1_000), "{states:?}");
    }

    #[test]
    fn a_descriptor_is_closed_once_and_never_used_afterwards() {
        let ticks: &[Op] = &[Add(1), Add(2), Add(1)];
        let user: &[Op] = &[Ack(9), Continuous(true), Ack(1), Continuous(false), Close];
        explore(Machine::new(&[(TickThread, ticks), (User, user)]));
    }

    #[test]
    fn only_the_edge_costs_a_system_call() {
        let (level, duty, missed) = Level::default().add(1, 9);
        assert_eq!((duty, missed), (Duty::Raise, 0));
        let (level, _) = level.raised(TickThread);
        let (level, duty, _) = level.add(1, 9);
        assert_eq!(duty, Duty::None);
        let (level, duty) = level.set_continuous(true);
        assert_eq!(duty, Duty::None);
        let (level, duty, taken) = level.ack(9);
        assert_eq!((duty, taken), (Duty::None, 2));
        let (level, duty) = level.set_continuous(false);
        assert_eq!((duty, level.is_readable()), (Duty::Lower, false));
    }

    proptest! {
        #[test]
        fn ticks_are_pending_or_missed_up_to_any_cap(
            ticks in prop::collection::vec(0_u64..1 << 40, 1..20), cap in 0_u32..=u32::MAX
        ) {
            let mut level = Level::default();
            let mut missed = 0;
            for &ticks in &ticks {
                let (after, duty, without_room) = level.add(ticks, cap);
                level = if duty == Duty::Raise { after.raised(TickThread).0 } else { after };
                missed += without_room;
                prop_assert!(level.pending() <= cap);
            }
            prop_assert_eq!(u64::from(level.pending()) + missed, ticks.iter().sum::<u64>());
            prop_assert_eq!(level.0 & !PENDING, 0);
        }
    }
}
