//! Plays prompts from memory, 20 ms at a time, without allocating or freeing.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::event::Garbage;

/// Linear samples at a known rate, shared with the prompt library.
pub type Sound = Arc<[i16]>;

/// A queue of sounds that one leg, or one conference, hears one after the other.
#[derive(Debug)]
pub(crate) struct Player {
    queue: VecDeque<Sound>,
    /// Samples of the front sound that have been played.
    position: usize,
}

impl Player {
    /// An empty player that holds up to `capacity` sounds.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::with_capacity(capacity),
            position: 0,
        }
    }

    /// Appends a sound; gives it back when the queue is full.
    pub(crate) fn push(&mut self, sound: Sound) -> Result<(), Sound> {
        if self.queue.len() == self.queue.capacity() {
            return Err(sound);
        }
        self.queue.push_back(sound);
        Ok(())
    }

    /// Whether nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Drops everything that is queued into `garbage`.
    pub(crate) fn clear(&mut self, garbage: &mut impl FnMut(Garbage)) {
        self.position = 0;
        while let Some(sound) = self.queue.pop_front() {
            garbage(Garbage::Sound(sound));
        }
    }

    /// The next `frame.len()` samples; false, with `frame` untouched, when nothing is queued. Sounds follow one
    /// another without a gap; the end of the last is padded with zeroes. A sound that was played to its end goes
    /// to `garbage`, as freeing it is not this thread's work.
    pub(crate) fn next_frame(
        &mut self,
        frame: &mut [i16],
        garbage: &mut impl FnMut(Garbage),
    ) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        let mut filled = 0;
        while let Some(sound) = self.queue.front() {
            let rest = &sound[self.position.min(sound.len())..];
            let count = rest.len().min(frame.len() - filled);
            frame[filled..filled + count].copy_from_slice(&rest[..count]);
            filled += count;
            self.position += count;
            if count < rest.len() {
                break;
            }
            self.position = 0;
            if let Some(sound) = self.queue.pop_front() {
                garbage(Garbage::Sound(sound));
            }
            if filled == frame.len() {
                break;
            }
        }
        frame[filled..].fill(0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(player: &mut Player, frame: usize) -> (Vec<i16>, usize) {
        let mut out = Vec::new();
        let mut freed = 0;
        let mut buffer = vec![0; frame];
        while player.next_frame(&mut buffer, &mut |_| freed += 1) {
            out.extend_from_slice(&buffer);
        }
        (out, freed)
    }

    #[test]
    fn sounds_follow_without_a_gap_and_the_end_is_padded() {
        let mut player = Player::new(4);
        player.push((1..=250).collect()).unwrap();
        player.push((251..=300).collect()).unwrap();
        let (out, freed) = drain(&mut player, 160);
        let mut expected: Vec<i16> = (1..=300).collect();
        expected.resize(320, 0);
        assert_eq!(out, expected);
        assert_eq!(freed, 2);
        assert!(player.queue.is_empty());
    }

    #[test]
    fn a_full_player_gives_the_sound_back() {
        let mut player = Player::new(1);
        let capacity = player.queue.capacity();
        for _ in 0..capacity {
            player.push([1].into()).unwrap();
        }
        assert!(player.push([2].into()).is_err());
        let mut freed = 0;
        player.clear(&mut |_| freed += 1);
        assert_eq!(freed, capacity);
    }

    #[test]
    fn an_empty_sound_is_stepped_over() {
        let mut player = Player::new(3);
        player.push([].into()).unwrap();
        player.push([7].into()).unwrap();
        assert_eq!(drain(&mut player, 2), (vec![7, 0], 2));
    }
}
