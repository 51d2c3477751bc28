//! How much of what was written is standing in the buffers, and when it is trimmed.
//!
//! What a step leaves in the buffers is delay. Its lowest value over a second is *standing*: no jitter needs it. A program
//! that once wrote faster than it was heard, as Asterisk does after a stall, would keep that delay for ever; and one block that came
//! too late for its step leaves the next one standing.
//!
//! A single block may be there for a reason: it is what jitter is made good from. So it has to stand for a *patience*, which is doubled when its
//! cutting was followed by a shortage, and halved when it was not.

/// What stays when a backlog is trimmed: one step of 20 ms, samples.
pub const TARGET: usize = 160;

/// A backlog that stands so long for a second is trimmed where the talker is quiet: 40 ms, samples.
pub const QUIET_BOUND: usize = 320;

/// A backlog that stands so long for two seconds is trimmed at once: 60 ms, samples.
pub const HARD_BOUND: usize = 480;

/// How long a single block stands before it is cut away where it is quiet, at first and at least: 5 s, in steps.
pub(super) const PATIENCE: u32 = 5 * STEPS;

/// The same for a program whose writing is uneven: 60 s, in steps.
pub(super) const GREATEST_PATIENCE: u32 = 60 * STEPS;

/// A shortage this soon after a cut is put down to it: 10 s, in steps.
const BLAME: u32 = 10 * STEPS;

/// Steps of a measurement: one second.
const STEPS: u32 = 50;

/// Measures the standing backlog of one channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    steps: u32,
    /// Lowest of the second that is running.
    lowest: usize,
    /// Of the one before; 0 if there was none.
    before: usize,
    /// What is to be cut away where it is quiet.
    excess: usize,
    /// Steps since which each has left a block.
    calm: u32,
    patience: u32,
    /// Steps since a cut, until it is judged.
    on_trial: Option<u32>,
}

/// What to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trim {
    /// Nothing.
    Nothing,
    /// Cut away one step of 20 ms if the next is quiet.
    WhenQuiet,
    /// Cut away so many samples, loud or not.
    Now(usize),
}

impl Backlog {
    pub(super) const fn new() -> Self {
        Self {
            steps: 0,
            lowest: usize::MAX,
            before: 0,
            excess: 0,
            calm: 0,
            patience: PATIENCE,
            on_trial: None,
        }
    }

    /// Begins anew, as nothing is left; what was learnt of the program stays.
    pub(super) fn ran_dry(&mut self) {
        *self = Self {
            patience: self.patience,
            on_trial: self.on_trial,
            ..Self::new()
        };
    }

    /// Takes note that a step found too little of a stream.
    pub(super) fn ran_short(&mut self) {
        if self.on_trial.take().is_some() {
            self.patience = (self.patience * 2).min(GREATEST_PATIENCE);
        }
    }

    /// Takes note of the samples that a step left.
    pub(super) fn after_step(&mut self, left: usize) -> Trim {
        self.judge_cut();
        self.calm = if left < TARGET {
            0
        } else {
            self.calm.saturating_add(1)
        };
        self.lowest = self.lowest.min(left);
        self.steps += 1;
        if left < QUIET_BOUND {
            self.excess = if self.calm < self.patience { 0 } else { TARGET };
        }
        if self.steps == STEPS {
            let standing = self.lowest;
            let long = standing.min(self.before);
            self.steps = 0;
            self.lowest = usize::MAX;
            self.before = standing;
            if long >= HARD_BOUND {
                self.before = TARGET;
                self.excess = 0;
                return Trim::Now(standing - TARGET);
            }
            if standing >= QUIET_BOUND {
                self.excess = standing - TARGET;
            }
        }
        if self.excess >= TARGET {
            Trim::WhenQuiet
        } else {
            Trim::Nothing
        }
    }

    /// Takes note that a quiet step was cut away.
    pub(super) fn trimmed_step(&mut self) {
        self.excess = self.excess.saturating_sub(TARGET);
        self.calm = 0;
        self.on_trial = Some(0);
        self.before = self.before.saturating_sub(TARGET);
        if self.lowest != usize::MAX {
            self.lowest = self.lowest.saturating_sub(TARGET);
        }
    }

    /// The standing backlog of the last whole second, samples.
    pub(super) const fn standing(&self) -> usize {
        self.before
    }

    /// A cut that no shortage followed for long enough was right.
    fn judge_cut(&mut self) {
        let Some(age) = &mut self.on_trial else {
            return;
        };
        *age += 1;
        if *age == BLAME {
            self.on_trial = None;
            self.patience = (self.patience / 2).max(PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_low_once_a_second_is_not_standing() {
        let mut backlog = Backlog::new();
        for step in 0..1_000 {
            let left = if step % 40 == 0 { 159 } else { 3_200 };
            assert_eq!(backlog.after_step(left), Trim::Nothing);
        }
        assert_eq!(backlog.standing(), 159);
    }

    #[test]
    fn a_great_backlog_waits_a_second_for_quiet_and_another_at_most() {
        let mut backlog = Backlog::new();
        let verdicts: Vec<Trim> = (0..100).map(|_| backlog.after_step(4_960)).collect();
        assert!(verdicts[..49].iter().all(|&trim| trim == Trim::Nothing));
        assert!(verdicts[49..99].iter().all(|&trim| trim == Trim::WhenQuiet));
        assert_eq!(verdicts[99], Trim::Now(4_800));
    }

    #[test]
    fn two_blocks_wait_for_quiet_for_ever() {
        let mut backlog = Backlog::new();
        for _ in 0..49 {
            backlog.after_step(320);
        }
        for _ in 0..1_000 {
            assert_eq!(backlog.after_step(320), Trim::WhenQuiet);
        }
        backlog.trimmed_step();
        assert_eq!(backlog.after_step(160), Trim::Nothing);
    }

    #[test]
    fn a_block_that_is_never_quiet_enough_to_cut_stands_for_years() {
        let mut backlog = Backlog {
            calm: u32::MAX - 1,
            ..Backlog::new()
        };
        for _ in 0..3 {
            assert_eq!(backlog.after_step(160), Trim::WhenQuiet);
        }
    }

    #[test]
    fn one_block_that_is_always_left_is_cut_after_its_patience() {
        let mut backlog = Backlog::new();
        assert_eq!(steps_to_cut(&mut backlog), PATIENCE);
        assert_eq!(backlog.after_step(0), Trim::Nothing);
    }

    #[test]
    fn a_block_that_is_needed_now_and_then_is_left() {
        let mut backlog = Backlog::new();
        for step in 1..10_000 {
            let left = if step % (PATIENCE - 1) == 0 { 0 } else { 160 };
            assert_eq!(backlog.after_step(left), Trim::Nothing);
        }
    }

    #[test]
    fn patience_grows_when_a_cut_was_wrong_and_shrinks_when_it_was_right() {
        let mut backlog = Backlog::new();
        let mut patience = PATIENCE;
        for _ in 0..6 {
            assert_eq!(steps_to_cut(&mut backlog), patience);
            backlog.after_step(0);
            backlog.ran_dry();
            backlog.ran_short();
            patience = (patience * 2).min(GREATEST_PATIENCE);
        }
        for _ in 0..6 {
            assert_eq!(steps_to_cut(&mut backlog), patience);
            for _ in 0..BLAME {
                backlog.after_step(0);
            }
            backlog.ran_short();
            patience = (patience / 2).max(PATIENCE);
        }
    }

    /// Leaves one block after every step until it is to be cut, and cuts it.
    fn steps_to_cut(backlog: &mut Backlog) -> u32 {
        for step in 1..=2 * GREATEST_PATIENCE {
            if backlog.after_step(160) == Trim::WhenQuiet {
                backlog.trimmed_step();
                return step;
            }
        }
        panic!("never");
    }
}
