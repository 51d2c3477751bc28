//! What a program reads: whole blocks, and new samples are dropped while all buffers are full.

/// The receiving buffers of a channel.
#[derive(Debug)]
pub(super) struct Receive {
    /// Room for all buffers; a block never wraps around, as only whole ones are taken.
    ring: Box<[i16]>,
    block: usize,
    head: usize,
    len: usize,
    dropped: u64,
}

impl Receive {
    pub(super) fn new(block: usize, buffers: usize) -> Self {
        Self {
            ring: vec![0; block * buffers].into_boxed_slice(),
            block,
            head: 0,
            len: 0,
            dropped: 0,
        }
    }

    /// Whether it has room for just this.
    pub(super) fn is_of(&self, block: usize, buffers: usize) -> bool {
        self.block == block && self.ring.len() == block * buffers
    }

    /// Whole blocks that wait.
    pub(super) fn blocks(&self) -> usize {
        self.len / self.block
    }

    /// Samples until the next block is whole.
    pub(super) fn missing(&self) -> usize {
        self.block - self.len % self.block
    }

    /// Samples dropped as all buffers were full.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes samples as far as there is room and drops the rest.
    pub(super) fn push(&mut self, samples: &[i16]) {
        let room = self.make_room(samples.len() as u64);
        let (end, first) = self.free_run(room);
        self.ring[end..end + first].copy_from_slice(&samples[..first]);
        self.ring[..room - first].copy_from_slice(&samples[first..room]);
        self.len += room;
    }

    /// The same for silence of any length.
    pub(super) fn push_silence(&mut self, samples: u64) {
        let room = self.make_room(samples);
        let (end, first) = self.free_run(room);
        self.ring[end..end + first].fill(0);
        self.ring[..room - first].fill(0);
        self.len += room;
    }

    /// The oldest whole block.
    pub(super) fn front(&self) -> Option<&[i16]> {
        (self.len >= self.block).then(|| &self.ring[self.head..self.head + self.block])
    }

    /// Forgets the oldest whole block.
    pub(super) fn pop(&mut self) {
        if self.len >= self.block {
            self.head = (self.head + self.block) % self.ring.len();
            self.len -= self.block;
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.head = 0;
        self.len = 0;
    }

    /// Forgets the block that is not whole yet, so that the next sample begins one.
    pub(super) fn realign(&mut self) {
        self.len -= self.len % self.block;
    }

    fn make_room(&mut self, samples: u64) -> usize {
        let free = (self.ring.len() - self.len) as u64;
        let dropped = samples.saturating_sub(free);
        self.dropped = self.dropped.saturating_add(dropped);
        samples.min(free) as usize
    }

    /// Where the next samples go, and how many of them until the ring wraps around.
    fn free_run(&self, samples: usize) -> (usize, usize) {
        let end = (self.head + self.len) % self.ring.len();
        (end, samples.min(self.ring.len() - end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_in_order_and_new_samples_are_dropped_when_full() {
        let mut receive = Receive::new(16, 2);
        let samples: Vec<i16> = (0..40).collect();
        receive.push(&samples[..10]);
        assert_eq!((receive.blocks(), receive.missing()), (0, 6));
        receive.push(&samples[10..]);
        assert_eq!((receive.blocks(), receive.dropped()), (2, 8));
        assert_eq!(receive.front().unwrap(), &samples[..16]);
        receive.pop();
        receive.push(&samples[..20]);
        assert_eq!(receive.front().unwrap(), &samples[16..32]);
        receive.pop();
        assert_eq!(receive.front().unwrap(), &samples[..16]);
        receive.pop();
        assert_eq!(receive.front(), None);
        receive.pop();
        assert_eq!(receive.blocks(), 0);
    }

    #[test]
    fn eternal_silence_fills_the_buffers_and_no_more() {
        let mut receive = Receive::new(1024, 2);
        receive.push_silence(u64::MAX);
        assert_eq!((receive.blocks(), receive.dropped()), (2, u64::MAX - 2048));
        receive.push_silence(u64::MAX);
        receive.push(&[1; 160]);
        assert_eq!((receive.blocks(), receive.dropped()), (2, u64::MAX));
    }

    #[test]
    fn realigning_drops_only_what_is_not_whole() {
        let mut receive = Receive::new(16, 4);
        receive.push_silence(37);
        receive.realign();
        assert_eq!((receive.blocks(), receive.missing()), (2, 16));
    }
}
