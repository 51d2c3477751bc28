//! Where one room's sums are written, and the other rooms of its conference read them; nobody waits for anybody.
//!
//! A ring of the last [`SLOTS`] intervals. The one writer marks a slot as being written, writes, and labels it with the
//! interval's number; a reader takes a slot only if the label was the same before and after. All cells are atomic, so
//! a reader that is overtaken reads nonsense, notices, and drops it: it is no undefined behaviour, and no `unsafe`.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use unisono_mixer::{MAX_FRAME, SampleRate};
use unisono_rtp::packet::MAX_CSRCS;

/// Intervals that are kept: for a reader that makes up for two late ones, three intervals behind, and two more.
const SLOTS: usize = 8;

/// Labels of a slot that was never written, and of one that is being written.
const EMPTY: u64 = u64::MAX;
const WRITING: u64 = u64::MAX - 1;

/// [`Broadcast::since`] of a room without members.
const NEVER: u64 = u64::MAX;

/// The sums of one room: about 32 KiB.
#[derive(Debug)]
pub(crate) struct Broadcast {
    /// The first interval since the room had no members.
    since: AtomicU64,
    slots: [Slot; SLOTS],
}

/// One interval's sum.
#[derive(Debug)]
struct Slot {
    /// The interval, [`EMPTY`] or [`WRITING`].
    label: AtomicU64,
    contributors: AtomicU32,
    rate_hz: AtomicU32,
    talker_count: AtomicU32,
    talkers: [AtomicU32; MAX_CSRCS],
    /// Two samples each: half as many loads and stores.
    samples: [AtomicU64; MAX_FRAME / 2],
}

/// What was found for an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// The room had no members: none is to be expected.
    AtRest,
    /// It has not come, or has been overwritten.
    Missing,
    /// Nobody spoke.
    Nothing,
    /// There is a sum.
    Sum,
}

/// What was read for an interval.
#[derive(Debug)]
pub(super) enum Reading {
    AtRest,
    Missing,
    Nothing,
    Sum(Sum),
}

/// What comes with the samples of a sum.
#[derive(Debug)]
pub(super) struct Sum {
    pub(super) rate: SampleRate,
    pub(super) contributors: u32,
    talkers: [u32; MAX_CSRCS],
    talker_count: usize,
}

impl Sum {
    /// SSRCs of those who are heard in it, as far as they are known.
    pub(super) fn talkers(&self) -> &[u32] {
        &self.talkers[..self.talker_count]
    }
}

impl Reading {
    pub(super) fn state(&self) -> State {
        match self {
            Self::AtRest => State::AtRest,
            Self::Missing => State::Missing,
            Self::Nothing => State::Nothing,
            Self::Sum(_) => State::Sum,
        }
    }
}

impl Default for Broadcast {
    fn default() -> Self {
        Self {
            since: AtomicU64::new(NEVER),
            slots: std::array::from_fn(|_| Slot {
                label: AtomicU64::new(EMPTY),
                contributors: AtomicU32::new(0),
                rate_hz: AtomicU32::new(0),
                talker_count: AtomicU32::new(0),
                talkers: std::array::from_fn(|_| AtomicU32::new(0)),
                samples: std::array::from_fn(|_| AtomicU64::new(0)),
            }),
        }
    }
}

impl Broadcast {
    /// Publishes the sum of an interval; `None` when nobody speaks. Only one thread at a time may publish, and
    /// intervals come in order.
    pub(super) fn publish(
        &self,
        interval: u64,
        rate: SampleRate,
        sum: Option<&[i32]>,
        contributors: u32,
        talkers: &[u32],
    ) {
        let slot = self.slot(interval);
        slot.label.store(WRITING, Relaxed);
        // What is written below is not seen before the mark.
        fence(Release);
        let sum = sum.unwrap_or(&[]);
        let contributors = if sum.is_empty() {
            0
        } else {
            contributors.max(1)
        };
        slot.contributors.store(contributors, Relaxed);
        slot.rate_hz.store(rate.hz(), Relaxed);
        let talkers = &talkers[..talkers.len().min(MAX_CSRCS)];
        slot.talker_count.store(talkers.len() as u32, Relaxed);
        for (cell, ssrc) in slot.talkers.iter().zip(talkers) {
            cell.store(*ssrc, Relaxed);
        }
        for (cell, pair) in slot.samples.iter().zip(sum.chunks_exact(2)) {
            let pair = u64::from(pair[0] as u32) | u64::from(pair[1] as u32) << 32;
            cell.store(pair, Relaxed);
        }
        slot.label.store(interval, Release);
        if self.since.load(Relaxed) == NEVER {
            self.since.store(interval, Release);
        }
    }

    /// The room has no members: nothing is to be expected of it until the next [`publish`](Self::publish).
    pub(super) fn rest(&self) {
        self.since.store(NEVER, Release);
    }

    /// Reads the sum of an interval; its samples go to the beginning of `samples`, which otherwise may be
    /// overwritten with anything.
    pub(super) fn read(&self, interval: u64, samples: &mut [i32; MAX_FRAME]) -> Reading {
        if interval < self.since.load(Acquire) {
            return Reading::AtRest;
        }
        let slot = self.slot(interval);
        if slot.label.load(Acquire) != interval {
            return Reading::Missing;
        }
        let contributors = slot.contributors.load(Relaxed);
        let rate = SampleRate::from_hz(slot.rate_hz.load(Relaxed));
        let mut sum = Sum {
            rate: rate.unwrap_or(SampleRate::Hz8000),
            contributors,
            talkers: [0; MAX_CSRCS],
            talker_count: (slot.talker_count.load(Relaxed) as usize).min(MAX_CSRCS),
        };
        if contributors > 0 {
            for (ssrc, cell) in sum.talkers.iter_mut().zip(&slot.talkers) {
                *ssrc = cell.load(Relaxed);
            }
            let pairs = samples[..sum.rate.frame_len()].chunks_exact_mut(2);
            for (pair, cell) in pairs.zip(&slot.samples) {
                let both = cell.load(Relaxed);
                pair[0] = both as u32 as i32;
                pair[1] = (both >> 32) as u32 as i32;
            }
        }
        // What was read above is not younger than the label below.
        fence(Acquire);
        if slot.label.load(Relaxed) != interval {
            return Reading::Missing;
        }
        match contributors {
            0 => Reading::Nothing,
            _ => Reading::Sum(sum),
        }
    }

    /// What there is for an interval, without reading it.
    pub(super) fn state(&self, interval: u64) -> State {
        if interval < self.since.load(Acquire) {
            return State::AtRest;
        }
        let slot = self.slot(interval);
        if slot.label.load(Acquire) != interval {
            return State::Missing;
        }
        let contributors = slot.contributors.load(Relaxed);
        fence(Acquire);
        match (slot.label.load(Relaxed) == interval, contributors) {
            (false, _) => State::Missing,
            (true, 0) => State::Nothing,
            (true, _) => State::Sum,
        }
    }

    fn slot(&self, interval: u64) -> &Slot {
        &self.slots[(interval % SLOTS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const RATE: SampleRate = SampleRate::Hz48000;

    #[test]
    fn a_sum_is_read_as_it_was_written_for_as_long_as_it_is_kept() {
        let broadcast = Broadcast::default();
        let mut samples = [0; MAX_FRAME];
        assert_eq!(broadcast.read(5, &mut samples).state(), State::AtRest);
        let sum: Vec<i32> = (0..960).map(|n| (n - 480) * 4_000_000).collect();
        broadcast.publish(5, RATE, Some(&sum), 3, &[7, 8]);
        for later in 6..5 + SLOTS as u64 {
            broadcast.publish(later, SampleRate::Hz8000, None, 0, &[]);
        }
        let Reading::Sum(read) = broadcast.read(5, &mut samples) else {
            panic!("it is there");
        };
        assert_eq!(
            (read.rate, read.contributors, read.talkers()),
            (RATE, 3, &[7, 8][..])
        );
        assert_eq!(&samples[..], sum);
        assert_eq!(broadcast.read(6, &mut samples).state(), State::Nothing);
        assert_eq!(broadcast.state(6), State::Nothing);
        assert_eq!(broadcast.read(4, &mut samples).state(), State::AtRest);
        broadcast.publish(5 + SLOTS as u64, RATE, None, 0, &[]);
        assert_eq!(broadcast.read(5, &mut samples).state(), State::Missing);
        assert_eq!(broadcast.state(5 + SLOTS as u64 + 1), State::Missing);
        broadcast.rest();
        assert_eq!(broadcast.state(5 + SLOTS as u64), State::AtRest);
    }

    #[test]
    fn a_reader_that_is_overtaken_notices() {
        const INTERVALS: u64 = 60_000;
        let broadcast = Arc::new(Broadcast::default());
        let writer = Arc::clone(&broadcast);
        let thread = std::thread::spawn(move || {
            for interval in 0..INTERVALS {
                let value = interval as i32;
                writer.publish(
                    interval,
                    RATE,
                    Some(&[value; 960]),
                    value as u32 + 1,
                    &[value as u32; 15],
                );
            }
        });
        let mut samples = [0; MAX_FRAME];
        while !thread.is_finished() {
            let labels = broadcast.slots.iter().map(|slot| slot.label.load(Relaxed));
            let Some(newest) = labels.filter(|label| *label < WRITING).max() else {
                continue;
            };
            // The oldest one is the next to be overwritten.
            let oldest = newest.saturating_sub(SLOTS as u64 - 1);
            match broadcast.read(oldest, &mut samples) {
                Reading::Sum(sum) => {
                    assert!(samples.iter().all(|sample| *sample == oldest as i32));
                    assert_eq!(sum.contributors, oldest as u32 + 1);
                    assert_eq!(sum.talkers(), [oldest as u32; 15]);
                }
                Reading::Nothing => panic!("there is a sum in every interval"),
                Reading::AtRest | Reading::Missing => {}
            }
        }
        thread.join().expect("the writer");
        assert!(matches!(
            broadcast.read(INTERVALS - 1, &mut samples),
            Reading::Sum(_)
        ));
    }
}
