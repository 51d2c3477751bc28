//! Which packets came: duplicates, reordering and jumps of the sequence number.

/// Packets behind the highest sequence number whose arrival is remembered.
const WINDOW: u16 = 64;
/// Largest step ahead that is loss and not a new source, RFC 3550 appendix A.1 (MAX_DROPOUT).
const MOST_LOST: u16 = 3000;
/// Largest step back that is reordering and not a new source, RFC 3550 appendix A.1 (MAX_MISORDER).
const MOST_BACK: u16 = 100;

/// What a sequence number says about its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The one after the highest.
    Next,
    /// Further ahead: those between are lost or late.
    Ahead,
    /// Behind the highest, not seen yet.
    Behind,
    /// Seen already.
    Duplicate,
    /// Too far away to be of the same run.
    Jump,
}

#[derive(Debug, Default)]
pub(super) struct SequenceWindow {
    highest: u16,
    /// Bit n: `highest - n` came.
    seen: u64,
}

impl SequenceWindow {
    pub(super) fn restart(&mut self, sequence: u16) {
        self.highest = sequence;
        self.seen = 1;
    }

    pub(super) fn step(&self, sequence: u16) -> Step {
        let ahead = sequence.wrapping_sub(self.highest);
        let back = self.highest.wrapping_sub(sequence);
        match ahead {
            1 => Step::Next,
            2..=MOST_LOST => Step::Ahead,
            _ if back < WINDOW && self.seen >> back & 1 == 1 => Step::Duplicate,
            _ if back <= MOST_BACK => Step::Behind,
            _ => Step::Jump,
        }
    }

    /// Notes a packet whose step was not a jump.
    pub(super) fn note(&mut self, sequence: u16) {
        let ahead = sequence.wrapping_sub(self.highest);
        if ahead <= MOST_LOST {
            self.seen = if ahead < WINDOW {
                self.seen << ahead | 1
            } else {
                1
            };
            self.highest = sequence;
        } else {
            let back = self.highest.wrapping_sub(sequence);
            if back < WINDOW {
                self.seen |= 1 << back;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_told_apart_across_the_wrap() {
        let mut window = SequenceWindow::default();
        window.restart(65_534);
        for (sequence, step) in [
            (65_535, Step::Next),
            (1, Step::Ahead),
            (0, Step::Behind),
            (0, Step::Duplicate),
            (1, Step::Duplicate),
            (65_534, Step::Duplicate),
            (2, Step::Next),
            (65_500, Step::Behind),
            (65_500, Step::Duplicate),
        ] {
            assert_eq!(window.step(sequence), step, "{sequence}");
            window.note(sequence);
        }
        assert_eq!(window.step(30_000), Step::Jump);
        assert_eq!(window.step(2u16.wrapping_sub(500)), Step::Jump);
        assert_eq!(window.step(2 + 3000), Step::Ahead);
    }
}
