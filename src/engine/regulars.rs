//! Legs that send something in every interval, as phones do: their sockets are read without asking epoll first whether there is
//! anything, as there nearly always is. Asking costs about a third of what reading does.
//!
//! A leg is a regular from the moment it is taken in, so that nothing is lost whatever came before, and whenever epoll tells of it. One
//! that was visited in vain three times in a row is watched by epoll again, which tells of it once.
//!
//! A visit takes one datagram, as a second reading, most often in vain, would cost what was saved. More are taken where there
//! must be more: the first has waited since the visit before, it was not the leg's, or the next frame has not come yet.

/// Visits in vain after which a leg is watched: a pause, not a packet that is late.
const MOST_IN_VAIN: u8 = 3;

/// A datagram that came so long ago was there at the last visit already: there may be another. A little less than an interval, ns.
const WAITED_NS: u64 = 19_500_000;

/// How each leg's socket is attended to.
#[derive(Debug)]
pub(super) struct Regulars {
    legs: Box<[Standing]>,
    /// Those that are visited now.
    round: Vec<u32>,
    /// Where the next round begins: somebody else comes first each time, as not all may have their fill.
    first: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// By epoll, or it has no socket.
    Watched,
    /// By visits, the last of which were in vain.
    Regular { in_vain: u8 },
}

impl Regulars {
    /// For legs whose index is below `legs`; nobody is a regular. Allocates.
    pub(super) fn new(legs: usize) -> Self {
        Self {
            legs: vec![Standing::Watched; legs].into(),
            round: Vec::with_capacity(legs),
            first: 0,
        }
    }

    /// The leg has, or has again, something to be read.
    pub(super) fn admit(&mut self, leg: u32) {
        self.set(leg, Standing::Regular { in_vain: 0 });
    }

    /// The leg has no socket any more.
    pub(super) fn dismiss(&mut self, leg: u32) {
        self.set(leg, Standing::Watched);
    }

    /// Begins a round over the regulars among `legs`, and says how many they are.
    pub(super) fn begin_round<'a>(&mut self, legs: impl Iterator<Item = &'a u32>) -> usize {
        let Self {
            legs: all,
            round,
            first,
        } = self;
        round.clear();
        let is_regular =
            |leg: &u32| matches!(all.get(*leg as usize), Some(Standing::Regular { .. }));
        // Each leg is served in one place, so they are never more than there is room for.
        round.extend(legs.copied().filter(is_regular).take(all.len()));
        *first = first.wrapping_add(1);
        let start = *first % round.len().max(1);
        round.rotate_left(start);
        round.len()
    }

    /// The leg of a place in the round.
    pub(super) fn visited(&self, place: usize) -> Option<u32> {
        self.round.get(place).copied()
    }

    /// Something was there; whether to look for more, given how long it had waited, ns, and whether more is wanted in any case.
    pub(super) fn found(&mut self, leg: u32, waited_ns: u64, wants_more: bool) -> bool {
        self.admit(leg);
        wants_more || waited_ns >= WAITED_NS
    }

    /// Nothing was there; true if the leg is to be watched from now on.
    pub(super) fn found_nothing(&mut self, leg: u32) -> bool {
        let Some(standing) = self.legs.get_mut(leg as usize) else {
            return false;
        };
        *standing = match *standing {
            Standing::Regular { in_vain } if in_vain + 1 < MOST_IN_VAIN => Standing::Regular {
                in_vain: in_vain + 1,
            },
            _ => Standing::Watched,
        };
        *standing == Standing::Watched
    }

    fn set(&mut self, leg: u32, standing: Standing) {
        if let Some(place) = self.legs.get_mut(leg as usize) {
            *place = standing;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(regulars: &mut Regulars) -> Vec<u32> {
        let count = regulars.begin_round([0, 1, 2, 3].iter());
        let mut legs: Vec<u32> = (0..count).filter_map(|n| regulars.visited(n)).collect();
        legs.sort_unstable();
        legs
    }

    #[test]
    fn three_visits_in_vain_in_a_row_and_it_is_watched() {
        let mut regulars = Regulars::new(4);
        assert!(round(&mut regulars).is_empty());
        regulars.admit(1);
        regulars.admit(3);
        assert_eq!(round(&mut regulars), [1, 3]);
        assert!(!regulars.found_nothing(1));
        assert!(!regulars.found_nothing(1));
        assert!(!regulars.found(1, 10_000_000, false));
        assert!(!regulars.found_nothing(1));
        assert!(!regulars.found_nothing(1));
        assert!(regulars.found_nothing(1));
        assert_eq!(round(&mut regulars), [3]);
        regulars.admit(1);
        regulars.dismiss(3);
        assert_eq!(round(&mut regulars), [1]);
    }

    #[test]
    fn everybody_comes_first_in_turn() {
        let mut regulars = Regulars::new(4);
        (0..4).for_each(|leg| regulars.admit(leg));
        let mut first: Vec<_> = (0..4)
            .map(|_| {
                regulars.begin_round([0, 1, 2, 3].iter());
                regulars.visited(0)
            })
            .collect();
        first.sort_unstable();
        assert_eq!(first, [Some(0), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn more_is_looked_for_where_there_must_be_more() {
        let mut regulars = Regulars::new(1);
        regulars.admit(0);
        assert!(!regulars.found(0, 0, false));
        assert!(!regulars.found(0, 19_000_000, false));
        assert!(regulars.found(0, 20_000_000, false));
        assert!(regulars.found(0, 1_000_000, true));
    }

    #[test]
    fn a_leg_that_is_not_there_is_nothing() {
        let mut regulars = Regulars::new(1);
        regulars.admit(7);
        regulars.dismiss(7);
        assert!(!regulars.found_nothing(7));
        assert_eq!(regulars.begin_round([7].iter()), 0);
        assert_eq!(regulars.visited(0), None);
    }
}
