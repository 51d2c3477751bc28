//! Which channels are in which conference.

use unisono_mixer::{Room, SampleRate, Strip};

use super::channel::new_strip;
use super::spares::Spares;

/// Highest number of a conference, as DAHDI has it.
pub const MAX_CONFERENCE: i32 = 1024;

/// One conference that has members.
#[derive(Debug)]
pub(super) struct Conference {
    pub(super) number: i32,
    pub(super) room: Room,
    /// Of the line to other exchanges.
    pub(super) line: Box<Strip>,
    /// Slots of the channels.
    pub(super) members: Vec<usize>,
}

impl Conference {
    /// One without members, and with room for so many.
    pub(super) fn new(members: usize) -> Self {
        Self {
            number: 0,
            room: Room::new(SampleRate::Hz8000),
            line: Box::new(new_strip()),
            members: Vec::with_capacity(members),
        }
    }
}

/// All conferences that have members, in no order.
#[derive(Debug)]
pub(super) struct Conferences {
    pub(super) active: Vec<Conference>,
    /// Most members of one.
    members: usize,
}

impl Conferences {
    /// For so many channels.
    pub(super) fn new(channels: usize) -> Self {
        Self {
            active: Vec::with_capacity(channels.min(MAX_CONFERENCE as usize)),
            members: channels,
        }
    }

    /// Whether a number can be a conference's.
    pub(super) fn is_number(number: i32) -> bool {
        (1..=MAX_CONFERENCE).contains(&number)
    }

    /// A conference without members, from 1023 downwards.
    pub(super) fn first_empty(&self) -> Option<i32> {
        let mut taken = [false; MAX_CONFERENCE as usize];
        for conference in &self.active {
            if let Some(taken) = taken.get_mut(conference.number as usize) {
                *taken = true;
            }
        }
        (1..MAX_CONFERENCE)
            .rev()
            .find(|&number| !taken[number as usize])
    }

    /// Of a new conference the memory is taken from `spares`, if there is some.
    pub(super) fn join(&mut self, number: i32, slot: usize, spares: &mut Spares) {
        if !Self::is_number(number) {
            return;
        }
        if let Some(at) = self.find(number) {
            self.active[at].members.push(slot);
            return;
        }
        let spare = spares.conference.take();
        let mut conference = spare.unwrap_or_else(|| Conference::new(self.members));
        conference.number = number;
        conference.members.push(slot);
        self.active.push(conference);
    }

    /// A conference that nobody is in any more is left in `spares`.
    pub(super) fn leave(&mut self, number: i32, slot: usize, spares: &mut Spares) {
        if let Some(at) = self.find(number) {
            self.active[at].members.retain(|&member| member != slot);
            if self.active[at].members.is_empty() {
                spares.left = Some(self.active.swap_remove(at));
            }
        }
    }

    pub(super) fn find(&self, number: i32) -> Option<usize> {
        self.active
            .iter()
            .position(|conference| conference.number == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_from_1023_downwards_and_used_again() {
        let mut conferences = Conferences::new(1024);
        for slot in 0..1023 {
            let number = conferences.first_empty().unwrap();
            assert_eq!(number, 1023 - slot as i32);
            conferences.join(number, slot, &mut Spares::default());
        }
        assert_eq!(conferences.first_empty(), None);
        conferences.leave(500, 523, &mut Spares::default());
        assert_eq!(conferences.first_empty(), Some(500));
        conferences.join(1024, 523, &mut Spares::default());
        assert_eq!(conferences.active.len(), 1023);
    }
}
