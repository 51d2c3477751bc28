//! Which of another process's frames is heard in a step.
//!
//! Normally that of the step before: the youngest that is sure to be there. If it is late, as the other was not woken in time,
//! nothing is said, and from then on its frames are heard a step later, and so on up to three steps; so none is lost. In the next
//! quiet frame, or after two seconds without trouble by a cross-fade, the step is won back.

use unisono_dahdi::exchange::STEP;

use crate::segment::Frame;

/// Furthest behind that anybody follows: 60 ms.
pub(crate) const MAX_LAG: u8 = 3;

/// Steps behind which a process has not come late, but stands still.
const STANDSTILL: u64 = 8;

/// Steps without trouble after which a step is won back even if nobody pauses: 2 s.
const CALM: u8 = 100;

/// Samples of a cross-fade: 5 ms.
const FADE: usize = 40;

/// -50 dBov.
const QUIET_MEAN_SQUARE: i64 = 10_737;

/// How one conference of another process is followed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Follower {
    /// Steps behind, less one.
    extra: u8,
    calm: u8,
    /// Whether the last step had a frame, or was late.
    flowing: bool,
}

/// What a step brought, besides audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Heard {
    /// Whether there is a frame.
    pub(crate) any: bool,
    /// A frame is not there yet.
    pub(crate) late: bool,
    /// Frames that are gone.
    pub(crate) lost: u64,
    /// A frame was left out, to win back a step.
    pub(crate) cut: bool,
}

impl Follower {
    /// Hears step number `now` of a process whose newest frame is of step `newest`; `read` gives the frame of a step, if it can be
    /// had.
    pub(crate) fn hear(
        &mut self,
        now: u64,
        newest: Option<u64>,
        into: &mut Frame,
        mut read: impl FnMut(u64, &mut Frame) -> bool,
    ) -> Heard {
        let mut heard = Heard::default();
        let Some(newest) = newest else {
            *self = Self::default();
            return heard;
        };
        let behind = self.extra + 1;
        for lag in (1..=behind).rev() {
            let Some(step) = now.checked_sub(lag.into()) else {
                continue;
            };
            if read(step, into) {
                heard.any = true;
                heard.lost = if self.flowing {
                    (behind - lag).into()
                } else {
                    0
                };
                self.flowing = true;
                self.extra = lag - 1;
                heard.cut = self.extra > 0 && self.win_back(step, newest, into, read);
                return heard;
            }
        }
        self.calm = 0;
        let missing = now.saturating_sub(behind.into());
        if newest < missing && now.saturating_sub(newest) <= STANDSTILL && self.flowing {
            heard.late = true;
            self.extra = (self.extra + 1).min(MAX_LAG - 1);
        } else {
            heard.lost = (self.flowing && newest >= missing).into();
            *self = Self::default();
        }
        heard
    }

    /// Leaves out the frame of `step`, which is in `frame`, if that is due and the next one is there.
    fn win_back(
        &mut self,
        step: u64,
        newest: u64,
        frame: &mut Frame,
        mut read: impl FnMut(u64, &mut Frame) -> bool,
    ) -> bool {
        self.calm = self.calm.saturating_add(1);
        let mut next = [0; STEP];
        let due = is_quiet(frame) || self.calm >= CALM;
        if !due || newest <= step || !read(step + 1, &mut next) {
            return false;
        }
        for (n, (into, &from)) in next.iter_mut().zip(&frame[..FADE]).enumerate() {
            let (now, all) = (n as i32 + 1, FADE as i32 + 1);
            *into = ((i32::from(from) * (all - now) + i32::from(*into) * now) / all) as i16;
        }
        *frame = next;
        self.extra -= 1;
        self.calm = 0;
        true
    }
}

fn is_quiet(frame: &Frame) -> bool {
    let squares = frame.iter().map(|&sample| i64::from(sample).pow(2));
    squares.sum::<i64>() <= QUIET_MEAN_SQUARE * STEP as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOUD: i16 = 5_000;

    /// A process that writes each step's frame when it is told to.
    #[derive(Default)]
    struct Process {
        frames: std::collections::BTreeMap<u64, i16>,
    }

    impl Process {
        fn says(&mut self, step: u64, what: i16) {
            self.frames.insert(step, what);
        }

        /// What the frame that is heard ends with, and what else was noticed.
        fn heard_by(&self, follower: &mut Follower, now: u64) -> (Option<i16>, Heard) {
            let mut frame = [0; STEP];
            let newest = self.frames.keys().next_back().copied();
            let heard = follower.hear(now, newest, &mut frame, |step, frame| {
                self.frames
                    .get(&step)
                    .map(|&what| *frame = [what; STEP])
                    .is_some()
            });
            (heard.any.then_some(frame[STEP - 1]), heard)
        }
    }

    #[test]
    fn in_time_each_frame_is_heard_one_step_later() {
        let (mut process, mut follower) = (Process::default(), Follower::default());
        assert_eq!(
            process.heard_by(&mut follower, 99),
            (None, Heard::default())
        );
        for step in 100..200 {
            process.says(step, LOUD + step as i16);
            let (frame, heard) = process.heard_by(&mut follower, step + 1);
            assert_eq!(frame, Some(LOUD + step as i16));
            assert!(!heard.late && heard.lost == 0 && !heard.cut);
        }
    }

    #[test]
    fn what_is_late_by_two_steps_is_heard_whole_and_the_delay_won_back_in_pauses() {
        let (mut process, mut follower) = (Process::default(), Follower::default());
        let mut said: Vec<i16> = Vec::new();
        let mut recording = Vec::new();
        for now in 1..60_u64 {
            // Its steps 20 to 22 come at once, at the end of the 22nd.
            let ready = if (21..=22).contains(&now) {
                19
            } else {
                now - 1
            };
            for step in 0..=ready {
                if !process.frames.contains_key(&step) {
                    let what = if (40..50).contains(&step) {
                        step as i16
                    } else {
                        LOUD + step as i16
                    };
                    process.says(step, what);
                    said.push(what);
                }
            }
            recording.extend(process.heard_by(&mut follower, now).0);
        }
        let loud = |of: &[i16]| {
            of.iter()
                .copied()
                .filter(|&what| what >= LOUD)
                .collect::<Vec<_>>()
        };
        assert_eq!(loud(&recording), loud(&said));
        assert_eq!(
            recording.len(),
            said.len() - 2,
            "two quiet ones are left out"
        );
        assert_eq!(follower.extra, 0);
    }

    #[test]
    fn delay_without_a_pause_is_won_back_after_two_seconds() {
        let (mut process, mut follower) = (Process::default(), Follower::default());
        let mut cuts = Vec::new();
        for now in 1..400_u64 {
            if now != 10 {
                process.says(now - 1, LOUD);
            }
            if now == 11 {
                process.says(9, LOUD);
            }
            let (frame, heard) = process.heard_by(&mut follower, now);
            assert_eq!(frame, (now != 10).then_some(LOUD), "step {now}");
            if heard.cut {
                cuts.push(now);
            }
        }
        assert_eq!(cuts, [10 + u64::from(CALM)]);
    }

    #[test]
    fn a_frame_that_never_comes_costs_itself_and_no_delay() {
        let (mut process, mut follower) = (Process::default(), Follower::default());
        let mut lost = 0;
        for now in 1..100_u64 {
            if !(30..33).contains(&now) {
                process.says(now - 1, LOUD);
            }
            let (_, heard) = process.heard_by(&mut follower, now);
            lost += heard.lost;
        }
        assert_eq!(follower.extra, 0);
        assert!(lost <= 3, "{lost}");
        assert_eq!(process.heard_by(&mut follower, 100).0, None);
    }

    #[test]
    fn who_stands_still_is_silent_and_heard_again_without_delay() {
        let (mut process, mut follower) = (Process::default(), Follower::default());
        let mut late = 0;
        for now in 1..1_000_u64 {
            let stopped = (100..900).contains(&now);
            if !stopped {
                process.says(now - 1, LOUD);
            }
            let (frame, heard) = process.heard_by(&mut follower, now);
            late += u64::from(heard.late);
            assert_eq!(frame.is_some(), !stopped, "step {now}");
        }
        assert!(late <= STANDSTILL, "{late}");
        assert_eq!(follower.extra, 0);
    }

    #[test]
    fn no_frame_is_heard_twice_whatever_comes_when() {
        use proptest::prelude::*;
        proptest!(|(waits in prop::collection::vec(0_u64..6, 1..300), skips in prop::collection::vec(0_u64..5, 300))| {
            let mut follower = Follower::default();
            let mut process = Process::default();
            let (mut now, mut last) = (10, None);
            let mut written = 0;
            for (wait, skip) in waits.iter().zip(skips) {
                now += 1 + skip.saturating_sub(2);
                let until = now.saturating_sub(*wait);
                while written < until {
                    process.says(written, LOUD + written as i16);
                    written += 1;
                }
                if let (Some(frame), _) = process.heard_by(&mut follower, now) {
                    prop_assert!(last < Some(frame), "{frame} after {last:?}");
                    last = Some(frame);
                }
            }
        });
    }
}
