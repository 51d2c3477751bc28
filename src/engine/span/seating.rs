//! On which worker a leg is to be, and in which phase a room. Pure.

use std::time::Duration;

use crate::engine::phase::{PHASES, SLOT};

/// A worker that is busy for more than this share of the time is given no more legs while another is not.
const CROWDED: f32 = 0.5;

/// How often it is looked at how busy the workers are: a second.
const LOOK_NS: u64 = 1_000_000_000;

/// A worker, to somebody who looks for a place in a conference.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct Place {
    /// It lives, and has a place for a leg.
    pub(in crate::engine) is_free: bool,
    /// It has a place for a room.
    pub(in crate::engine) has_room: bool,
    /// Busy for more than half of the time.
    pub(in crate::engine) is_crowded: bool,
    /// Its legs, of all conferences.
    pub(in crate::engine) legs: usize,
    /// Legs of this conference, if it has a room there.
    pub(in crate::engine) near: Option<usize>,
}

/// The worker for a leg that is to join a conference; `None` when there is no place.
///
/// A conference stays on one worker until that is crowded, or has `split_above` of its legs; 0 is no such limit. It then goes
/// on on the worker with the fewest legs. When there is none it has not been to, its rooms grow alike.
pub(in crate::engine) fn choose(places: &[Place], split_above: usize) -> Option<usize> {
    let free = || places.iter().enumerate().filter(|(_, place)| place.is_free);
    let own = || free().filter_map(|(n, place)| Some((n, place, place.near?)));
    let fresh = || free().filter(|(_, place)| place.near.is_none() && place.has_room);
    let fits = |near: usize| split_above == 0 || near < split_above;

    let with_room_left = own()
        .filter(|(_, place, near)| !place.is_crowded && fits(*near))
        .min_by_key(|(_, place, near)| (*near, place.legs))
        .map(|(n, ..)| n);
    let another = || {
        fresh()
            .filter(|(_, place)| !place.is_crowded)
            .min_by_key(|(_, place)| place.legs)
            .map(|(n, _)| n)
    };
    let full = || {
        own()
            .min_by_key(|(_, place, near)| (place.is_crowded, *near, place.legs))
            .map(|(n, ..)| n)
    };
    let last = || {
        fresh()
            .min_by_key(|(_, place)| (place.is_crowded, place.legs))
            .map(|(n, _)| n)
    };
    with_room_left.or_else(another).or_else(full).or_else(last)
}

/// When intervals of a phase begin on a worker, ns after those of phase 0 on worker 0: workers are staggered over one slot, so
/// that they do not all wake, and send, at once.
pub(in crate::engine) fn offset_ns(phase: usize, worker: usize, workers: usize) -> u64 {
    phase as u64 * SLOT.as_nanos() as u64 + stagger(worker, workers).as_nanos() as u64
}

/// How much later than worker 0 another one wakes.
pub(in crate::engine) fn stagger(worker: usize, workers: usize) -> Duration {
    SLOT * worker as u32 / workers.max(1) as u32
}

/// The phase for a room on a worker with so many legs in each phase: as far as possible from those of the conference's other
/// rooms, so that sums are fresh when they are read; and among those the quietest.
pub(in crate::engine) fn phase(load: &[usize; PHASES], others: &[usize]) -> usize {
    let distance = |phase: usize| {
        let to = |other: &usize| {
            let apart = phase.abs_diff(*other);
            apart.min(PHASES - apart)
        };
        others.iter().map(to).min().unwrap_or(PHASES)
    };
    (0..PHASES)
        .min_by_key(|phase| (PHASES - distance(*phase), load[*phase]))
        .unwrap_or(0)
}

/// How busy a worker is, from what its meter says now and said a while ago.
#[derive(Debug, Default)]
pub(in crate::engine) struct Busyness {
    looked_at_ns: u64,
    busy_ns: u64,
    share: f32,
}

impl Busyness {
    /// Takes note of the meter, once a second.
    pub(in crate::engine) fn note(&mut self, now_ns: u64, busy_ns: u64) {
        let passed = now_ns.saturating_sub(self.looked_at_ns);
        if passed >= LOOK_NS {
            self.share = busy_ns.saturating_sub(self.busy_ns) as f32 / passed as f32;
            self.looked_at_ns = now_ns;
            self.busy_ns = busy_ns;
        }
    }

    /// Whether it was busy for more than half of the last second.
    pub(in crate::engine) fn is_crowded(&self) -> bool {
        self.share > CROWDED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(legs: usize, near: Option<usize>) -> Place {
        Place {
            is_free: true,
            has_room: true,
            is_crowded: false,
            legs,
            near,
        }
    }

    #[test]
    fn a_conference_stays_on_its_worker_while_that_has_room() {
        let places = [worker(500, Some(500)), worker(0, None)];
        assert_eq!(choose(&places, 0), Some(0));
        assert_eq!(choose(&places, 501), Some(0));
        assert_eq!(choose(&places, 500), Some(1));
        let alone = [worker(500, Some(500))];
        assert_eq!(choose(&alone, 100), Some(0), "there is no other worker");
    }

    #[test]
    fn a_crowded_worker_is_left_for_one_that_is_not() {
        let crowded = |place: Place| Place {
            is_crowded: true,
            ..place
        };
        let home = crowded(worker(900, Some(3)));
        assert_eq!(choose(&[home, worker(950, None)], 0), Some(1));
        assert_eq!(choose(&[home, crowded(worker(10, None))], 0), Some(0));
    }

    #[test]
    fn where_all_workers_have_a_room_they_grow_alike() {
        let mut near = [2, 2, 0];
        for _ in 0..9 {
            let places = near.map(|near| worker(near, Some(near)));
            near[choose(&places, 2).expect("a place")] += 1;
        }
        assert_eq!(near.iter().sum::<usize>(), 13);
        assert!(near.iter().all(|near| (4..=5).contains(near)));
    }

    #[test]
    fn a_worker_without_a_place_is_not_chosen() {
        let full = |near| Place {
            is_free: false,
            ..worker(4, near)
        };
        assert_eq!(choose(&[full(Some(4)), worker(9, None)], 0), Some(1));
        assert_eq!(choose(&[full(Some(4)), full(None)], 0), None);
        let no_room = Place {
            has_room: false,
            ..worker(0, None)
        };
        assert_eq!(choose(&[worker(7, Some(7)), no_room], 5), Some(0));
        assert_eq!(choose(&[no_room], 5), None);
    }

    #[test]
    fn rooms_of_a_conference_are_far_apart_and_workers_staggered() {
        assert_eq!(phase(&[1, 1, 0, 1, 1, 1, 1, 1], &[]), 2);
        assert_eq!(phase(&[0; 8], &[2]), 6);
        assert_eq!(phase(&[0, 0, 0, 0, 9, 0, 0, 0], &[0]), 4, "freshness first");
        assert_eq!(phase(&[9, 0, 0, 0, 0, 0, 0, 0], &[2, 6]), 4);
        assert_eq!(offset_ns(4, 0, 2), 10_000_000);
        assert_eq!(offset_ns(4, 1, 2), 11_250_000);
        assert_eq!(stagger(0, 0), Duration::ZERO);
    }

    #[test]
    fn how_busy_a_worker_is_is_of_the_last_second() {
        let mut busyness = Busyness::default();
        busyness.note(10_000_000_000, 0);
        busyness.note(10_500_000_000, 500_000_000);
        assert!(!busyness.is_crowded(), "not looked at yet");
        busyness.note(11_000_000_000, 510_000_000);
        assert!(busyness.is_crowded());
        busyness.note(12_000_000_000, 600_000_000);
        assert!(!busyness.is_crowded());
    }
}
