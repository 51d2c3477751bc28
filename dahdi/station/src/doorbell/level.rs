//! What a doorbell shows, and what makes it show the truth: pure.
//!
//! A program's descriptor is readable while a *token* is queued to it, and not writable while it is *barred*: while what was
//! sent through it fills its buffer. The station's end of the pair can put a token and take a bar away; only through the
//! program's own descriptor can a token be taken and a bar be put. So whatever makes a channel ready can be shown by the mixing
//! thread, and what makes it less ready is always something that the program does through its descriptor.

/// What a descriptor shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Level {
    /// A token is queued: POLLIN.
    pub(crate) rung: bool,
    /// The buffer is full: no POLLOUT.
    pub(crate) barred: bool,
}

/// What a descriptor is to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// Which ends of the pair are at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The station's.
    Station,
    /// The program's too.
    Both,
}

/// One system call that never waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Puts a token, from the station's end.
    Ring,
    /// Takes the token, through the program's descriptor.
    Silence,
    /// Fills the buffer, through the program's descriptor.
    Bar,
    /// Empties it, from the station's end.
    Unbar,
}

impl Level {
    /// What is still to be done, as far as it is within reach.
    pub(crate) const fn next(self, wanted: Wanted, reach: Reach) -> Option<Act> {
        let both = matches!(reach, Reach::Both);
        match (wanted.readable, self.rung) {
            (true, false) => return Some(Act::Ring),
            (false, true) if both => return Some(Act::Silence),
            _ => {}
        }
        match (wanted.writable, self.barred) {
            (true, true) => Some(Act::Unbar),
            (false, false) if both => Some(Act::Bar),
            _ => None,
        }
    }

    /// What is shown once that is done.
    pub(crate) const fn after(self, act: Act) -> Self {
        match act {
            Act::Ring => Self { rung: true, ..self },
            Act::Silence => Self {
                rung: false,
                ..self
            },
            Act::Bar => Self {
                barred: true,
                ..self
            },
            Act::Unbar => Self {
                barred: false,
                ..self
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOLS: [bool; 2] = [false, true];

    fn levels() -> impl Iterator<Item = Level> {
        BOOLS
            .into_iter()
            .flat_map(|rung| BOOLS.map(|barred| Level { rung, barred }))
    }

    fn wishes() -> impl Iterator<Item = Wanted> {
        BOOLS
            .into_iter()
            .flat_map(|readable| BOOLS.map(|writable| Wanted { readable, writable }))
    }

    fn shows(level: Level, wanted: Wanted) -> bool {
        level.rung == wanted.readable && level.barred != wanted.writable
    }

    fn settled(mut level: Level, wanted: Wanted, reach: Reach) -> Level {
        for _ in 0..2 {
            if let Some(act) = level.next(wanted, reach) {
                level = level.after(act);
            }
        }
        assert_eq!(level.next(wanted, reach), None, "two acts are enough");
        level
    }

    #[test]
    fn with_both_ends_every_level_becomes_what_is_wanted() {
        for level in levels() {
            for wanted in wishes() {
                assert!(shows(settled(level, wanted, Reach::Both), wanted));
            }
        }
    }

    #[test]
    fn the_station_alone_makes_ready_and_never_takes_readiness_away() {
        for level in levels() {
            for wanted in wishes() {
                let after = settled(level, wanted, Reach::Station);
                assert_eq!(after.rung, level.rung || wanted.readable);
                assert_eq!(after.barred, level.barred && !wanted.writable);
            }
        }
    }

    /// What one of the two threads does: a change of the truth, then a settlement that sees the newest truth.
    #[derive(Clone, Copy)]
    enum Step {
        Change(Wanted),
        Settle(Reach),
    }

    /// Every order in which the steps of the two come.
    fn interleave(
        level: Level,
        truth: Wanted,
        tick: &[Step],
        program: &[Step],
        ends: &mut impl FnMut(Level, Wanted),
    ) {
        if tick.is_empty() && program.is_empty() {
            return ends(level, truth);
        }
        let step = |step: Step| match step {
            Step::Change(wanted) => (level, wanted),
            Step::Settle(reach) => (settled(level, truth, reach), truth),
        };
        if let [first, rest @ ..] = tick {
            let (level, truth) = step(*first);
            interleave(level, truth, rest, program, ends);
        }
        if let [first, rest @ ..] = program {
            let (level, truth) = step(*first);
            interleave(level, truth, tick, rest, ends);
        }
    }

    /// The tick only ever makes ready; the program makes anything of it.
    #[test]
    fn every_interleaving_of_tick_and_program_ends_with_the_truth_shown() {
        let mut orders = 0;
        let mut ends = |level, truth| {
            orders += 1;
            assert!(shows(level, truth), "{level:?} {truth:?}");
        };
        for start in wishes() {
            let shown = settled(Level::default(), start, Reach::Both);
            for first in wishes() {
                for second in wishes() {
                    let ready = Wanted {
                        readable: true,
                        writable: true,
                    };
                    let tick = [Step::Change(ready), Step::Settle(Reach::Station)].repeat(2);
                    let program = [
                        Step::Change(first),
                        Step::Settle(Reach::Both),
                        Step::Change(second),
                        Step::Settle(Reach::Both),
                    ];
                    interleave(shown, start, &tick, &program, &mut ends);
                }
            }
        }
        assert_eq!(orders, 64 * 70);
    }
}
