//! When a leg that nobody hears is decoded for its level: the rarer, the longer its packets stay as they are.

use unisono_rtp::playout::Spared;

/// Most turns from one measurement to the next.
const MOST_TURNS: u8 = 4;

/// Packets of a turn that say something of what is sent.
const TELLING: u32 = 16;

/// Octets up to which packets of 20 ms are those of silence, even where all are alike.
const OF_SILENCE: u16 = 8;

/// What was seen when a leg was last decoded for its level.
#[derive(Debug, Default)]
pub(super) struct Measuring {
    /// Turns from one measurement to the next, and how many are left.
    turns: u8,
    left: u8,
    /// Mean size of the packets before, in sixteenths of an octet.
    size: u32,
}

impl Measuring {
    /// Whether a leg is measured now that it is its turn. `quiet`: it was not heard, and below what is heard when it was last
    /// decoded. `spared` are its packets of this turn that were not.
    pub(super) fn is_due(&mut self, quiet: bool, spared: &Spared) -> bool {
        let size = spared.octets.saturating_mul(16) / spared.packets.max(1);
        // Where the sender makes all packets equally large, their size says nothing.
        let is_telling =
            spared.packets >= TELLING && (spared.least != spared.most || spared.most <= OF_SILENCE);
        let is_alike = size.abs_diff(self.size) <= self.size / 4;
        if !(quiet && is_telling && is_alike) || spared.interrupted {
            *self = Self {
                turns: 1,
                left: 0,
                size,
            };
            return true;
        }
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        self.turns = (self.turns * 2).clamp(1, MOST_TURNS);
        self.left = self.turns - 1;
        self.size = size;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 128 packets of which the mean is `size`.
    fn packets(size: u16) -> Spared {
        Spared {
            packets: 128,
            octets: 128 * u32::from(size),
            least: size - 1,
            most: size + 1,
            interrupted: false,
        }
    }

    /// The turns, of so many, at which it is measured.
    fn measured(turns: usize, mut turn: impl FnMut(usize) -> (bool, Spared)) -> Vec<usize> {
        let mut measuring = Measuring::default();
        let mut due = |n| {
            let (quiet, spared) = turn(n);
            measuring.is_due(quiet, &spared)
        };
        (0..turns).filter(|n| due(*n)).collect()
    }

    #[test]
    fn a_quiet_leg_is_measured_ever_more_rarely_up_to_a_bound() {
        assert_eq!(measured(16, |_| (true, packets(40))), [0, 1, 3, 7, 11, 15]);
        let silence = Spared {
            least: 3,
            most: 3,
            ..packets(3)
        };
        assert_eq!(measured(16, |_| (true, silence)), [0, 1, 3, 7, 11, 15]);
    }

    #[test]
    fn whatever_changes_brings_it_back_to_every_turn() {
        let expected = [0, 1, 3, 7, 9, 10, 12, 16];
        let grows = |n| (true, packets(if n < 9 { 40 } else { 60 }));
        assert_eq!(measured(17, grows), expected);
        let shrinks = |n| (true, packets(if n < 9 { 60 } else { 40 }));
        assert_eq!(measured(17, shrinks), expected);
        let is_heard = |n| (n != 9, packets(40));
        assert_eq!(measured(17, is_heard), expected);
        let is_decoded = |n| {
            let interrupted = n == 9;
            let spared = packets(40);
            (
                true,
                Spared {
                    interrupted,
                    ..spared
                },
            )
        };
        assert_eq!(measured(17, is_decoded), expected);
    }

    #[test]
    fn packets_that_tell_nothing_are_measured_at_every_turn() {
        let every: Vec<usize> = (0..16).collect();
        let constant = Spared {
            least: 80,
            most: 80,
            ..packets(80)
        };
        assert_eq!(measured(16, |_| (true, constant)), every);
        let few = Spared {
            packets: 15,
            octets: 15 * 40,
            ..packets(40)
        };
        assert_eq!(measured(16, |_| (true, few)), every);
        assert_eq!(measured(16, |_| (true, Spared::default())), every);
        assert_eq!(measured(16, |_| (false, packets(40))), every);
    }
}
