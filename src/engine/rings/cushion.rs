//! How many frames wait in a ring so that neither side's lateness is heard, and when they are too many. Pure.

use super::RING_FRAMES;

/// Frames that are gathered before the first is taken. One is taken at once, and one may come late by its whole length.
const START: usize = 2;

/// More frames than this are a stall's, and too old. A reader that makes up for two late ticks finds so many.
const MOST: usize = START + 4;

/// Frames over which the least surplus is looked for: 1 s.
const WINDOW: u32 = 50;

/// What is to be done when a frame is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Draw {
    /// So many of the oldest are dropped first.
    pub(super) discard: usize,
    /// Then one is taken.
    pub(super) take: bool,
    /// None is, although the conversation has begun.
    pub(super) starved: bool,
}

/// The state of one reader.
#[derive(Debug, Default)]
pub(super) struct Cushion {
    begun: bool,
    /// Frames flow; otherwise they are gathered.
    flows: bool,
    /// Fewest frames left over in the present window.
    least: Option<usize>,
    seen: u32,
}

impl Cushion {
    /// A frame is due and so many wait.
    pub(super) fn draw(&mut self, waiting: usize) -> Draw {
        let nothing = |discard, begun| Draw {
            discard,
            take: false,
            starved: begun,
        };
        if waiting >= RING_FRAMES {
            // The newest ones found no place: what there is, is older than anything that still belongs together.
            self.gather();
            return nothing(waiting, self.begun);
        }
        if waiting == 0 || (!self.flows && waiting < START) {
            self.gather();
            return nothing(0, self.begun);
        }
        let mut discard = 0;
        if !self.flows || waiting > MOST {
            discard = self.surplus(waiting);
            self.gather();
            self.flows = true;
            self.begun = true;
        }
        let left = waiting - discard - 1;
        let least = self.least.map_or(left, |least| least.min(left));
        self.least = Some(least);
        self.seen += 1;
        if self.seen == WINDOW {
            // What was never needed in all that time is only delay.
            discard += least.saturating_sub(START - 1);
            self.least = None;
            self.seen = 0;
        }
        Draw {
            discard,
            take: true,
            starved: false,
        }
    }

    /// How many of the waiting frames are older than they need to be.
    pub(super) fn surplus(&self, waiting: usize) -> usize {
        waiting.saturating_sub(START)
    }

    fn gather(&mut self) {
        self.flows = false;
        self.least = None;
        self.seen = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ring that is written and read in virtual time; frames are numbers.
    #[derive(Default)]
    struct Ring {
        frames: std::collections::VecDeque<u32>,
        next: u32,
        cushion: Cushion,
    }

    impl Ring {
        fn write(&mut self, count: usize) {
            for _ in 0..count {
                if self.frames.len() < RING_FRAMES {
                    self.frames.push_back(self.next);
                }
                self.next += 1;
            }
        }

        fn read(&mut self) -> Option<u32> {
            let draw = self.cushion.draw(self.frames.len());
            self.frames.drain(..draw.discard);
            if draw.take {
                self.frames.pop_front()
            } else {
                None
            }
        }
    }

    #[test]
    fn a_writer_late_by_less_than_a_frame_leaves_no_gap() {
        let mut ring = Ring::default();
        ring.write(2);
        let mut last = ring.read().unwrap();
        for n in 0..1000_u32 {
            // Every other frame comes with the next one.
            ring.write(if n % 2 == 0 { 0 } else { 2 });
            let frame = ring.read().unwrap();
            assert_eq!(frame, last + 1);
            last = frame;
        }
    }

    #[test]
    fn a_reader_that_catches_up_two_ticks_loses_nothing() {
        let mut ring = Ring::default();
        ring.write(2);
        assert_eq!(ring.read(), Some(0));
        ring.write(3);
        let caught_up: Vec<_> = (0..3).map(|_| ring.read()).collect();
        assert_eq!(caught_up, [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn a_burst_after_a_stall_is_heard_from_its_end() {
        let mut ring = Ring::default();
        ring.write(2);
        assert_eq!(ring.read(), Some(0));
        assert_eq!(ring.read(), Some(1));
        assert_eq!(ring.read(), None);
        assert_eq!(ring.read(), None);
        // Frames 2 and 3 belong to intervals that have passed.
        ring.write(4);
        assert_eq!(ring.read(), Some(4));
    }

    #[test]
    fn a_surplus_that_is_never_needed_is_dropped_within_two_seconds() {
        let mut ring = Ring::default();
        ring.write(2);
        ring.read();
        ring.write(3);
        for _ in 0..2 * WINDOW {
            ring.write(1);
            ring.read();
        }
        assert_eq!(ring.frames.len(), START - 1);
    }

    proptest! {
        #[test]
        fn whatever_happens_frames_are_in_order_and_delay_is_bounded(
            steps in proptest::collection::vec((0_usize..12, 0_usize..12), 1..300)
        ) {
            let mut ring = Ring::default();
            let mut last = None;
            for (writes, reads) in steps {
                ring.write(writes);
                for _ in 0..reads {
                    if let Some(frame) = ring.read() {
                        prop_assert!(last.is_none_or(|last| frame > last));
                        prop_assert!(ring.frames.len() < MOST, "{} wait", ring.frames.len());
                        last = Some(frame);
                    }
                }
            }
            // Once both keep time again, everything is heard, and soon.
            for _ in 0..2 * WINDOW {
                ring.write(1);
                ring.read();
            }
            for _ in 0..10 {
                ring.write(1);
                let newest = ring.next - 1;
                let heard = ring.read();
                prop_assert!(heard.is_some_and(|frame| frame + START as u32 > newest), "{heard:?}");
            }
        }
    }
}
