//! What a program writes: at most a block a call, taken by the conference as a stream.

use super::backlog::{Backlog, Trim};
use super::{Counters, STEP};

/// Most buffers of a channel in one direction.
pub(super) const MAX_BUFFERS: usize = 32;

/// The sending buffers of a channel.
#[derive(Debug)]
pub(super) struct Transmit {
    ring: Box<[i16]>,
    head: usize,
    len: usize,
    block: usize,
    buffers: usize,
    /// Samples left of each write, oldest first, in a ring of their own: each occupies a buffer, however short it is.
    writes: [u16; MAX_BUFFERS],
    oldest: usize,
    pending: usize,
    /// 0 begins at once, 1 when all buffers are full, 2 when half of them are.
    policy: i32,
    /// Whether the conference takes from here; not before the policy is satisfied.
    running: bool,
    /// Whether the last step found something.
    flowing: bool,
    /// Whether the program waits for room, so that its writing follows the channel's clock: then a full buffer is no delay of
    /// anything live, and nothing is cut away until it has run dry.
    paced: bool,
    backlog: Backlog,
}

impl Transmit {
    pub(super) fn new(block: usize, buffers: usize, policy: i32) -> Self {
        Self {
            ring: vec![0; block * buffers].into_boxed_slice(),
            head: 0,
            len: 0,
            block,
            buffers: buffers.min(MAX_BUFFERS),
            writes: [0; MAX_BUFFERS],
            oldest: 0,
            pending: 0,
            policy,
            running: false,
            flowing: false,
            paced: false,
            backlog: Backlog::new(),
        }
    }

    /// Before anything is written.
    pub(super) fn set_policy(&mut self, policy: i32) {
        self.policy = policy;
    }

    /// Whether a write finds a buffer.
    pub(super) fn has_room(&self) -> bool {
        self.pending < self.buffers
    }

    /// Whether nothing is waiting.
    pub(super) fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// Samples that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Samples a write may bring.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Samples of the standing backlog, see [`super::backlog`].
    pub(super) fn standing(&self) -> usize {
        self.backlog.standing()
    }

    /// Takes one write of at most a block; there must be room.
    pub(super) fn write(&mut self, samples: impl Iterator<Item = i16>) {
        if !self.has_room() {
            return;
        }
        let before = self.len;
        for sample in samples.take(self.block) {
            let at = self.index(self.len);
            self.ring[at] = sample;
            self.len += 1;
        }
        let written = self.len - before;
        if written == 0 {
            return;
        }
        self.writes[(self.oldest + self.pending) % MAX_BUFFERS] = written as u16;
        self.pending += 1;
        self.running |= match self.policy {
            1 => self.pending == self.buffers,
            2 => self.pending >= self.buffers / 2,
            _ => true,
        };
    }

    /// The program waits for room: see the field.
    pub(super) fn pace(&mut self) {
        self.paced = true;
    }

    /// Starts sending whatever the policy says.
    pub(super) fn start(&mut self) {
        self.running = true;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.len = 0;
        self.pending = 0;
        self.ran_dry();
    }

    /// Takes one step of 20 ms; what is missing is silence. Returns whether there was anything.
    pub(super) fn take(&mut self, frame: &mut [i16; STEP], counters: &mut Counters) -> bool {
        let count = if self.running { self.len.min(STEP) } else { 0 };
        let first = count.min(self.ring.len() - self.head);
        frame[..first].copy_from_slice(&self.ring[self.head..self.head + first]);
        frame[first..count].copy_from_slice(&self.ring[..count - first]);
        frame[count..].fill(0);
        self.discard(count as u64);
        if self.flowing && count < STEP {
            counters.underruns += 1;
            self.backlog.ran_short();
        }
        self.flowing = count == STEP;
        if self.running && !self.paced {
            self.trim(counters);
        }
        count > 0
    }

    /// Lets time pass in which nobody listens.
    pub(super) fn discard(&mut self, samples: u64) {
        if !self.running || self.pending == 0 {
            return;
        }
        let mut rest = samples.min(self.len as u64) as usize;
        self.head = self.index(rest);
        self.len -= rest;
        while self.pending > 0 {
            let write = &mut self.writes[self.oldest];
            let taken = rest.min(usize::from(*write));
            *write -= taken as u16;
            rest -= taken;
            if *write > 0 {
                break;
            }
            self.oldest = (self.oldest + 1) % MAX_BUFFERS;
            self.pending -= 1;
        }
        if self.pending == 0 {
            self.ran_dry();
        }
    }

    /// Samples until a buffer is free.
    pub(super) fn until_room(&self) -> Option<u64> {
        (self.running && !self.has_room()).then(|| u64::from(self.writes[self.oldest]))
    }

    /// Samples until nothing waits.
    pub(super) fn until_empty(&self) -> Option<u64> {
        (self.running && !self.is_empty()).then_some(self.len as u64)
    }

    fn ran_dry(&mut self) {
        self.running = !matches!(self.policy, 1 | 2);
        self.paced = false;
        self.backlog.ran_dry();
    }

    fn trim(&mut self, counters: &mut Counters) {
        let cut = match self.backlog.after_step(self.len) {
            Trim::Nothing => return,
            Trim::WhenQuiet if self.is_quiet() => {
                self.backlog.trimmed_step();
                STEP
            }
            Trim::WhenQuiet => return,
            Trim::Now(samples) => samples,
        };
        // A single quiet block that is cut has nothing behind it to fade into.
        let fade = FADE.min(self.len.saturating_sub(cut));
        for n in 0..fade {
            let (out, into) = (self.index(n), self.index(cut + n));
            let (fading, coming) = (i32::from(self.ring[out]), i32::from(self.ring[into]));
            let (now, all) = (n as i32 + 1, fade as i32 + 1);
            self.ring[into] = ((fading * (all - now) + coming * now) / all) as i16;
        }
        self.discard(cut as u64);
        counters.trims += 1;
        counters.trimmed_samples += cut as u64;
    }

    /// Whether the next step is quiet enough to be missed by nobody.
    fn is_quiet(&self) -> bool {
        let count = self.len.min(STEP);
        let energy: i64 = (0..count)
            .map(|n| i64::from(self.ring[self.index(n)]))
            .map(|sample| sample * sample)
            .sum();
        energy <= QUIET_MEAN_SQUARE * count as i64
    }

    fn index(&self, offset: usize) -> usize {
        let at = self.head + offset;
        if at < self.ring.len() {
            at
        } else {
            at - self.ring.len()
        }
    }
}

/// Samples over which a cut is cross-faded: 5 ms.
const FADE: usize = 40;

/// -50 dBov.
const QUIET_MEAN_SQUARE: i64 = 10_737;

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(block: usize, buffers: usize, policy: i32) -> Transmit {
        let mut transmit = Transmit::new(block, buffers, policy);
        while transmit.has_room() {
            transmit.write(std::iter::repeat_n(20_000, block));
        }
        transmit
    }

    #[test]
    fn short_writes_take_a_buffer_each_and_join_without_a_gap() {
        let mut transmit = Transmit::new(160, 3, 0);
        for part in [0..100, 100..150, 150..260] {
            assert!(transmit.has_room());
            transmit.write(part);
        }
        assert!(!transmit.has_room());
        let mut frame = [0; STEP];
        assert!(transmit.take(&mut frame, &mut Counters::default()));
        assert!(frame.iter().copied().eq(0..160));
        assert_eq!(transmit.until_empty(), Some(100));
        assert!(transmit.take(&mut frame, &mut Counters::default()));
        assert!(frame[..100].iter().copied().eq(160..260));
        assert_eq!(frame[100..], [0; 60]);
        assert!(!transmit.take(&mut frame, &mut Counters::default()));
    }

    #[test]
    fn policies_wait_until_full_or_half_full() {
        for (policy, needed) in [(0, 1), (1, 4), (2, 2), (3, 1)] {
            let mut transmit = Transmit::new(160, 4, policy);
            let mut frame = [0; STEP];
            for written in 1..=4 {
                transmit.write(std::iter::repeat_n(7, 160));
                let starts = transmit.until_empty().is_some();
                assert_eq!(
                    starts,
                    written >= needed,
                    "policy {policy}, {written} written"
                );
            }
            for _ in 0..4 {
                assert!(transmit.take(&mut frame, &mut Counters::default()));
            }
            transmit.write(std::iter::repeat_n(7, 160));
            assert_eq!(transmit.until_empty().is_some(), needed == 1, "and again");
        }
    }

    #[test]
    fn a_cut_is_faded_and_leaves_what_is_promised() {
        let mut transmit = filled(160, 32, 0);
        let mut counters = Counters::default();
        let mut frame = [0; STEP];
        for step in 0..100 {
            assert!(transmit.take(&mut frame, &mut counters));
            if step < 99 {
                transmit.write(std::iter::repeat_n(20_000, 160));
            }
        }
        assert_eq!(
            (counters.trims, transmit.len()),
            (1, super::super::backlog::TARGET)
        );
    }

    #[test]
    fn one_block_too_many_goes_in_a_pause_and_stays_in_speech() {
        for (level, left) in [(50, 0), (20_000, 160)] {
            let mut transmit = Transmit::new(160, 32, 0);
            let mut counters = Counters::default();
            transmit.write(std::iter::repeat_n(level, 160));
            for _ in 0..300 {
                transmit.write(std::iter::repeat_n(level, 160));
                assert!(transmit.take(&mut [0; STEP], &mut counters));
            }
            assert_eq!(transmit.len(), left, "level {level}");
            assert_eq!(counters.underruns, 0);
        }
    }

    #[test]
    fn what_waits_to_be_enough_is_not_a_backlog() {
        let mut transmit = Transmit::new(160, 8, 1);
        let mut counters = Counters::default();
        for _ in 0..7 {
            transmit.write(std::iter::repeat_n(20_000, 160));
        }
        for _ in 0..500 {
            assert!(!transmit.take(&mut [0; STEP], &mut counters));
        }
        assert_eq!((transmit.len(), counters.trims), (7 * 160, 0));
    }

    #[test]
    fn who_waits_for_room_loses_nothing() {
        let mut transmit = filled(160, 32, 0);
        transmit.pace();
        let mut counters = Counters::default();
        for _ in 0..500 {
            transmit.take(&mut [0; STEP], &mut counters);
            transmit.write(std::iter::repeat_n(20_000, 160));
        }
        assert_eq!((counters.trims, transmit.len()), (0, 32 * 160));
    }
}
