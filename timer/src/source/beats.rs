//! Which handles are due when: pure, in whatever time it is told.
//!
//! Handles with the same period and phase form one *beat*. A heap orders the beats by their next deadline, so
//! ten thousand handles at 50 Hz, whose phases are whole milliseconds, are a heap of twenty. Serving a handle is then a
//! step in a list, whatever their number.
//!
//! All memory is there from the start: [`Beats::with_capacity`] allocates, [`Beats::adopt`] moves into a larger
//! one, and nothing else does.

use std::time::Duration;

use crate::clock::MonoTime;
use crate::schedule::{Period, Schedule};

#[derive(Debug)]
pub(super) struct Beats {
    /// By handle.
    members: Vec<Member>,
    beats: Vec<Beat>,
    /// The first of the unused beats, chained by `next_alike`.
    unused: u32,
    heap: Vec<Due>,
    /// The first beat for each hash of period and phase, chained by `next_alike`. A power of two long.
    alike: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    beat: u32,
    before: u32,
    after: u32,
    /// The number, in the beat's schedule, up to which deadlines have been served.
    served: u64,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    /// With the earliest origin there is, so that it does not matter whose came first.
    schedule: Schedule,
    first: u32,
    next_alike: u32,
    in_heap: u32,
}

#[derive(Clone, Copy, Debug)]
struct Due {
    deadline: MonoTime,
    beat: u32,
}

impl Beats {
    /// Place for the handles 0 to `handles` - 1, none of which has a period.
    pub(super) fn with_capacity(handles: u32) -> Self {
        let mut beats = Self {
            members: vec![STOPPED; handles as usize],
            beats: vec![UNUSED; handles as usize],
            unused: NONE,
            heap: Vec::with_capacity(handles as usize),
            alike: vec![NONE; (handles as usize).next_power_of_two()],
        };
        beats.chain_unused(0);
        beats
    }

    /// Takes over everything from a smaller one, without allocating.
    pub(super) fn adopt(&mut self, smaller: &Self) {
        debug_assert!(self.heap.is_empty());
        let count = smaller.members.len().min(self.members.len());
        self.members[..count].copy_from_slice(&smaller.members[..count]);
        self.beats[..count].copy_from_slice(&smaller.beats[..count]);
        self.heap.extend_from_slice(&smaller.heap);
        self.unused = smaller.unused;
        self.chain_unused(count);
        for at in 0..self.heap.len() {
            let beat = self.heap[at].beat;
            self.chain_alike(beat);
        }
    }

    /// When the next deadline is, if any handle has a period.
    pub(super) fn next_deadline(&self) -> Option<MonoTime> {
        self.heap.first().map(|due| due.deadline)
    }

    /// Whether the handle has a period.
    #[cfg(test)]
    fn is_running(&self, handle: u32) -> bool {
        self.members[handle as usize].beat != NONE
    }

    /// From `schedule`'s deadline 1 on, the handle is due. What it ran on before must have been
    /// [stopped](Self::stop).
    pub(super) fn start(&mut self, handle: u32, schedule: Schedule) {
        debug_assert_eq!(self.members[handle as usize].beat, NONE);
        let canonical = canonical(schedule);
        let beat = match self.find(canonical) {
            Some(beat) => beat,
            None => self.add_beat(canonical),
        };
        let first = self.beats[beat as usize].first;
        let served = canonical.number_at(schedule.origin());
        self.members[handle as usize] = Member {
            beat,
            before: NONE,
            after: first,
            served,
        };
        if first != NONE {
            self.members[first as usize].before = handle;
        }
        self.beats[beat as usize].first = handle;
        let deadline = canonical.deadline(served.saturating_add(1));
        let at = self.beats[beat as usize].in_heap;
        if at == NONE {
            let at = self.heap.len();
            self.heap.push(Due { deadline, beat });
            self.beats[beat as usize].in_heap = at as u32;
            self.sift_up(at);
        } else if deadline < self.heap[at as usize].deadline {
            self.heap[at as usize].deadline = deadline;
            self.sift_up(at as usize);
        }
    }

    /// The handle is due no more.
    pub(super) fn stop(&mut self, handle: u32) {
        let Member {
            beat,
            before,
            after,
            ..
        } = self.members[handle as usize];
        if beat == NONE {
            return;
        }
        self.members[handle as usize] = STOPPED;
        if after != NONE {
            self.members[after as usize].before = before;
        }
        if before == NONE {
            self.beats[beat as usize].first = after;
        } else {
            self.members[before as usize].after = after;
        }
        if self.beats[beat as usize].first == NONE {
            self.remove_beat(beat);
        }
    }

    /// Serves every deadline up to `now`: `serve` is told of each handle that is due and how many
    /// deadlines have come since it was last served.
    pub(super) fn serve(&mut self, now: MonoTime, mut serve: impl FnMut(u32, u64)) {
        // Each beat comes once, since its next deadline is then later than now.
        while let Some(&Due { deadline, beat }) = self.heap.first()
            && deadline <= now
        {
            let Beat {
                schedule, first, ..
            } = self.beats[beat as usize];
            let number = schedule.number_at(now);
            let mut handle = first;
            while handle != NONE {
                let member = &mut self.members[handle as usize];
                let after = member.after;
                if number > member.served {
                    let ticks = number - member.served;
                    member.served = number;
                    serve(handle, ticks);
                }
                handle = after;
            }
            let next = schedule.deadline(number.saturating_add(1));
            if next <= now {
                // The end of time; nothing sensible is later.
                return;
            }
            self.heap[0].deadline = next;
            self.sift_down(0);
        }
    }

    fn find(&self, canonical: Schedule) -> Option<u32> {
        let mut beat = self.alike[self.hash(canonical)];
        while beat != NONE && self.beats[beat as usize].schedule != canonical {
            beat = self.beats[beat as usize].next_alike;
        }
        (beat != NONE).then_some(beat)
    }

    /// There are as many beats as handles, so one is always unused when a handle has none.
    fn add_beat(&mut self, schedule: Schedule) -> u32 {
        let beat = self.unused;
        self.unused = self.beats[beat as usize].next_alike;
        self.beats[beat as usize] = Beat { schedule, ..UNUSED };
        self.chain_alike(beat);
        beat
    }

    fn remove_beat(&mut self, beat: u32) {
        let Beat {
            schedule, in_heap, ..
        } = self.beats[beat as usize];
        let at = in_heap as usize;
        self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.place(at);
            self.sift_up(at);
            self.sift_down(at);
        }
        let slot = self.hash(schedule);
        let next = self.beats[beat as usize].next_alike;
        if self.alike[slot] == beat {
            self.alike[slot] = next;
        } else {
            let mut at = self.alike[slot];
            while self.beats[at as usize].next_alike != beat {
                at = self.beats[at as usize].next_alike;
            }
            self.beats[at as usize].next_alike = next;
        }
        self.beats[beat as usize] = Beat {
            next_alike: self.unused,
            ..UNUSED
        };
        self.unused = beat;
    }

    fn chain_alike(&mut self, beat: u32) {
        let slot = self.hash(self.beats[beat as usize].schedule);
        self.beats[beat as usize].next_alike = self.alike[slot];
        self.alike[slot] = beat;
    }

    fn chain_unused(&mut self, from: usize) {
        for beat in (from..self.beats.len()).rev() {
            self.beats[beat].next_alike = self.unused;
            self.unused = beat as u32;
        }
    }

    fn hash(&self, schedule: Schedule) -> usize {
        let mixed = schedule.origin().as_nanos()
            ^ schedule
                .period()
                .cycle_nanos()
                .wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize & (self.alike.len() - 1)
    }

    fn sift_up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.heap[parent].deadline <= self.heap[at].deadline {
                return;
            }
            self.swap(at, parent);
            at = parent;
        }
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child].deadline < self.heap[least].deadline
                {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place(a);
        self.place(b);
    }

    fn place(&mut self, at: usize) {
        self.beats[self.heap[at].beat as usize].in_heap = at as u32;
    }
}

/// The first deadline is one period after this: now, rounded up to a whole millisecond (below 1 ms of
/// period to 125 us), so that handles share few phases and one wake-up serves many.
pub(super) fn origin_at(now: MonoTime, period: Period) -> MonoTime {
    let grain = if period.to_duration().as_nanos() < u128::from(COARSE_GRAIN) {
        FINE_GRAIN
    } else {
        COARSE_GRAIN
    };
    let grains = now.as_nanos().div_ceil(grain);
    MonoTime::from_nanos(grains.saturating_mul(grain))
}

/// The same deadlines, counted from the earliest origin there is.
const fn canonical(schedule: Schedule) -> Schedule {
    let cycle = schedule.period().cycle_nanos();
    let origin = MonoTime::from_nanos(schedule.origin().as_nanos() % cycle);
    Schedule::new(origin, schedule.period())
}

const COARSE_GRAIN: u64 = 1_000_000;
const FINE_GRAIN: u64 = 125_000;
const NONE: u32 = u32::MAX;

const STOPPED: Member = Member {
    beat: NONE,
    before: NONE,
    after: NONE,
    served: 0,
};

const ANY_PERIOD: Period = match Period::from_duration(Duration::from_secs(1)) {
    Ok(period) => period,
    Err(_) => unreachable!(),
};

const UNUSED: Beat = Beat {
    schedule: Schedule::new(MonoTime::from_nanos(0), ANY_PERIOD),
    first: NONE,
    next_alike: NONE,
    in_heap: NONE,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn rate(ticks: u64, seconds: u64) -> Period {
        Period::from_rate(ticks, seconds).unwrap()
    }

    fn at_millis(millis: u64) -> MonoTime {
        MonoTime::from_nanos(millis * 1_000_000)
    }

    fn served(beats: &mut Beats, now: MonoTime) -> BTreeMap<u32, u64> {
        let mut served = BTreeMap::new();
        beats.serve(now, |handle, ticks| {
            assert_eq!(served.insert(handle, ticks), None, "served twice");
        });
        served
    }

    #[test]
    fn a_million_ticks_come_each_at_its_exact_deadline() {
        // L2: 50, 33.3… and 30 Hz, and 8 samples of 8000 Hz.
        for period in [rate(50, 1), rate(100, 3), rate(30, 1), rate(8_000, 8)] {
            let mut beats = Beats::with_capacity(1);
            let schedule = Schedule::new(at_millis(12_345), period);
            beats.start(0, schedule);
            for number in 1..=1_000_000 {
                let deadline = beats.next_deadline().unwrap();
                assert_eq!(deadline, schedule.deadline(number), "{period}");
                let mut ticks = 0;
                beats.serve(deadline, |_, due| ticks += due);
                assert_eq!(ticks, 1);
            }
        }
    }

    #[test]
    fn nothing_is_due_a_nanosecond_early() {
        let mut beats = Beats::with_capacity(1);
        beats.start(0, Schedule::new(at_millis(7), rate(50, 1)));
        let deadline = beats.next_deadline().unwrap();
        assert_eq!(deadline, at_millis(27));
        assert!(served(&mut beats, deadline - Duration::from_nanos(1)).is_empty());
        assert_eq!(served(&mut beats, deadline)[&0], 1);
    }

    #[test]
    fn equal_rates_in_phase_share_a_beat() {
        let mut beats = Beats::with_capacity(100);
        for handle in 0..100 {
            let origin = at_millis(1_000 + 20 * u64::from(handle % 7));
            beats.start(handle, Schedule::new(origin, rate(50, 1)));
        }
        assert_eq!(beats.heap.len(), 1);
        assert_eq!(served(&mut beats, at_millis(1_120)).len(), 86);
        assert_eq!(served(&mut beats, at_millis(1_140)).len(), 100);
        for handle in 0..100 {
            beats.stop(handle);
        }
        assert_eq!(beats.next_deadline(), None);
    }

    #[test]
    fn hours_in_which_nobody_looked_are_one_service_not_a_storm() {
        let mut beats = Beats::with_capacity(2);
        beats.start(0, Schedule::new(at_millis(0), rate(50, 1)));
        let twelve_hours = at_millis(12 * 3_600_000);
        assert_eq!(served(&mut beats, twelve_hours)[&0], 12 * 3_600 * 50);
        assert!(served(&mut beats, twelve_hours).is_empty());
        assert_eq!(
            beats.next_deadline(),
            Some(twelve_hours + Duration::from_millis(20))
        );
    }

    #[test]
    fn a_command_that_arrives_late_loses_no_tick_of_its_handle() {
        let mut beats = Beats::with_capacity(2);
        beats.start(0, Schedule::new(at_millis(0), rate(50, 1)));
        served(&mut beats, at_millis(100));
        // In phase with the first, from 40 ms on, but told at 105 ms only.
        beats.start(1, Schedule::new(at_millis(40), rate(50, 1)));
        assert_eq!(
            served(&mut beats, at_millis(105)),
            BTreeMap::from([(1, 3)]),
            "60, 80 and 100 ms"
        );
    }

    #[test]
    fn origins_are_a_grain_apart_and_never_before_now() {
        let now = MonoTime::from_nanos(5_000_001);
        assert_eq!(origin_at(now, rate(50, 1)), at_millis(6));
        assert_eq!(origin_at(at_millis(6), rate(50, 1)), at_millis(6));
        assert_eq!(origin_at(now, rate(8_000, 1)).as_nanos(), 5_125_000);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Start(u32, usize),
        Stop(u32),
        Serve,
        Grow,
    }

    fn ops() -> impl Strategy<Value = Vec<(Op, u64)>> {
        let op = prop_oneof![
            (0_u32..12, 0_usize..RATES.len()).prop_map(|(handle, rate)| Op::Start(handle, rate)),
            (0_u32..12).prop_map(Op::Stop),
            Just(Op::Serve),
            Just(Op::Grow),
        ];
        prop::collection::vec((op, 0_u64..70_000_000), 1..200)
    }

    const RATES: [(u64, u64); 6] = [(50, 1), (100, 3), (30, 1), (8_000, 100), (8_000, 1), (1, 2)];

    proptest! {
        /// Against the plainest reckoning there is: a schedule for each handle by itself.
        #[test]
        fn every_handle_is_served_every_deadline_of_its_own_schedule(ops in ops()) {
            let mut beats = Beats::with_capacity(12);
            let mut now = MonoTime::from_nanos(77_000_123);
            let mut running: BTreeMap<u32, (Schedule, u64)> = BTreeMap::new();
            for (op, nanos) in ops {
                now = now + Duration::from_nanos(nanos);
                match op {
                    Op::Start(handle, rate_index) => {
                        let (ticks, seconds) = RATES[rate_index];
                        beats.stop(handle);
                        let period = rate(ticks, seconds);
                        let schedule = Schedule::new(origin_at(now, period), period);
                        beats.start(handle, schedule);
                        running.insert(handle, (schedule, 0));
                    }
                    Op::Stop(handle) => {
                        beats.stop(handle);
                        running.remove(&handle);
                    }
                    Op::Serve => {
                        for (handle, ticks) in served(&mut beats, now) {
                            running.get_mut(&handle).unwrap().1 += ticks;
                        }
                        for (schedule, got) in running.values() {
                            prop_assert_eq!(*got, schedule.number_at(now));
                        }
                    }
                    Op::Grow => {
                        let mut larger = Beats::with_capacity(beats.members.len() as u32 + 1);
                        larger.adopt(&beats);
                        beats = larger;
                    }
                }
                let expected = running
                    .values()
                    .map(|(schedule, got)| schedule.deadline(got + 1))
                    .min();
                // A beat whose earliest member was stopped may be looked at early, never late.
                prop_assert_eq!(beats.next_deadline().is_some(), expected.is_some());
                if let (Some(next), Some(expected)) = (beats.next_deadline(), expected) {
                    prop_assert!(next <= expected);
                }
                for handle in 0..12 {
                    prop_assert_eq!(beats.is_running(handle), running.contains_key(&handle));
                }
            }
        }
    }
}
