//! Packets waiting for their turn: payloads in one byte ring, ordered by position on the media line.
//!
//! Descriptors and payload bytes are both first-in first-out by arrival, so freeing needs no search and no
//! compaction; a small index keeps the order of play. A packet freed out of order leaves a hole until the older
//! ones are gone, which reordering bounds.

use super::PacketKind;
use crate::cache;
use crate::codec::{Content, Glance};

/// Most packets that can wait; the order of play is kept in bytes.
const MOST_PACKETS: usize = 255;

/// One waiting packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Media position of the first sample.
    pub(super) position: i64,
    /// Duration in samples; 0 for comfort noise and events.
    pub(super) samples: u16,
    /// RTP sequence number.
    pub(super) sequence: u16,
    /// Nothing is missing before it although the sequence number may say so: the source started anew.
    pub(super) restart: bool,
    pub(super) kind: PacketKind,
    /// What its payload tells, so that it need not be looked at again.
    pub(super) content: Content,
    pub(super) peak: u16,
    used: bool,
    offset: u32,
    len: u16,
}

impl Entry {
    const EMPTY: Self = Self {
        position: 0,
        samples: 0,
        sequence: 0,
        restart: false,
        kind: PacketKind::Voice,
        content: Content::Sound,
        peak: u16::MAX,
        used: false,
        offset: 0,
        len: 0,
    };

    pub(super) fn new(
        position: i64,
        samples: u16,
        sequence: u16,
        restart: bool,
        kind: PacketKind,
    ) -> Self {
        Self {
            position,
            samples,
            sequence,
            restart,
            kind,
            ..Self::EMPTY
        }
    }

    /// The same packet, of which this can be told.
    pub(super) fn seen(self, Glance { content, peak }: Glance) -> Self {
        Self {
            content,
            peak,
            ..self
        }
    }

    /// Media position after the last sample.
    pub(super) fn end(&self) -> i64 {
        self.position + i64::from(self.samples)
    }
}

#[derive(Debug)]
pub(super) struct Queue {
    bytes: Box<[u8]>,
    entries: Box<[Entry]>,
    /// Descriptors in the order of play: a ring, of which `len` from `head` on are packets.
    order: Box<[u8]>,
    head: usize,
    len: usize,
    /// Oldest descriptor by arrival, and how many follow it, holes included.
    first: usize,
    occupied: usize,
    /// Where the next payload goes.
    tail: usize,
}

impl Queue {
    pub(super) fn new(bytes: usize, packets: usize) -> Self {
        let packets = packets.clamp(4, MOST_PACKETS);
        Self {
            bytes: vec![0; bytes.max(64)].into(),
            entries: vec![Entry::EMPTY; packets].into(),
            order: vec![0; packets].into(),
            head: 0,
            len: 0,
            first: 0,
            occupied: 0,
            tail: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn heap(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.entries) + self.order.len()
    }

    /// Fetches what putting in a packet of `octets` needs.
    #[inline]
    pub(super) fn fetch_for_push(&self, octets: usize) {
        if let Some(place) = self.bytes.get(self.tail..) {
            cache::fetch_front(place, octets.min(place.len()));
        }
        if let Some(entry) = self
            .entries
            .get((self.first + self.occupied) % self.entries.len())
        {
            cache::fetch(entry);
        }
        cache::fetch_front(&*self.order, self.order.len());
    }

    /// Fetches what looking at the packet to be played first needs.
    #[inline]
    pub(super) fn fetch_for_pop(&self) {
        if let Some(entry) = self.entries.get(self.first) {
            cache::fetch(entry);
        }
        cache::fetch_front(&*self.order, self.order.len());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The packet to be played first.
    pub(super) fn front(&self) -> Option<&Entry> {
        self.nth(0)
    }

    /// The packet to be played after `n` others.
    pub(super) fn nth(&self, n: usize) -> Option<&Entry> {
        if n < self.len {
            Some(&self.entries[usize::from(self.order[self.place(n)])])
        } else {
            None
        }
    }

    /// Where in `order` the packet is that is played after `n` others.
    fn place(&self, n: usize) -> usize {
        let place = self.head + n;
        if place < self.order.len() {
            place
        } else {
            place - self.order.len()
        }
    }

    /// Media position after the last packet.
    pub(super) fn end(&self) -> Option<i64> {
        self.nth(self.len.wrapping_sub(1)).map(Entry::end)
    }

    pub(super) fn payload(&self, entry: &Entry) -> &[u8] {
        let start = entry.offset as usize;
        &self.bytes[start..start + usize::from(entry.len)]
    }

    /// Queues a packet in its place; false, and nothing changes, where there is no room.
    pub(super) fn push(&mut self, mut entry: Entry, payload: &[u8]) -> bool {
        if self.occupied == self.entries.len() || payload.is_empty() {
            return false;
        }
        let Some(offset) = self.reserve(payload.len()) else {
            return false;
        };
        self.bytes[offset..offset + payload.len()].copy_from_slice(payload);
        self.tail = offset + payload.len();
        entry.offset = offset as u32;
        entry.len = payload.len() as u16;
        entry.used = true;
        let mut index = self.first + self.occupied;
        if index >= self.entries.len() {
            index -= self.entries.len();
        }
        self.entries[index] = entry;
        self.occupied += 1;

        let mut n = self.len;
        while n > 0 {
            let before = self.order[self.place(n - 1)];
            if self.entries[usize::from(before)].position <= entry.position {
                break;
            }
            self.order[self.place(n)] = before;
            n -= 1;
        }
        self.order[self.place(n)] = index as u8;
        self.len += 1;
        true
    }

    /// Removes the packet to be played first.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        if self.len == 0 {
            return None;
        }
        let index = usize::from(self.order[self.head]);
        self.head = self.place(1);
        self.len -= 1;
        self.entries[index].used = false;
        let entry = self.entries[index];
        while self.occupied > 0 && !self.entries[self.first].used {
            self.first += 1;
            if self.first == self.entries.len() {
                self.first = 0;
            }
            self.occupied -= 1;
        }
        if self.occupied == 0 {
            // An empty queue begins where it began: few packets that wait take few lines of the cache.
            self.tail = 0;
            self.first = 0;
            self.head = 0;
        }
        Some(entry)
    }

    pub(super) fn clear(&mut self) {
        self.head = 0;
        self.len = 0;
        self.first = 0;
        self.occupied = 0;
        self.tail = 0;
    }

    /// A contiguous free stretch. Payloads are never empty, so a tail that meets the head means full.
    fn reserve(&self, len: usize) -> Option<usize> {
        if self.occupied == 0 {
            return (len <= self.bytes.len()).then_some(0);
        }
        let head = self.entries[self.first].offset as usize;
        if self.tail > head {
            if self.bytes.len() - self.tail >= len {
                return Some(self.tail);
            }
            return (len <= head).then_some(0);
        }
        (head - self.tail >= len).then_some(self.tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn voice(position: i64) -> Entry {
        Entry::new(position, 160, position as u16, false, PacketKind::Voice)
    }

    #[test]
    fn packets_leave_in_the_order_of_their_positions() {
        let mut queue = Queue::new(256, 8);
        for position in [480, 0, 320, 160] {
            assert!(queue.push(voice(position), &[position as u8; 40]));
        }
        assert_eq!(queue.end(), Some(640));
        for position in [0, 160, 320, 480] {
            let front = *queue.front().unwrap();
            assert_eq!(queue.payload(&front), [position as u8; 40]);
            assert_eq!(queue.pop().unwrap().position, position);
        }
        assert!(queue.is_empty());
    }

    proptest! {
        #[test]
        fn payloads_survive_any_order_of_pushes_and_pops(
            steps in prop::collection::vec((any::<bool>(), 0i64..50, 1usize..90), 1..400),
        ) {
            let mut queue = Queue::new(300, 9);
            let mut model: Vec<(i64, Vec<u8>)> = Vec::new();
            for (n, (push, position, len)) in steps.into_iter().enumerate() {
                if push {
                    let payload = vec![n as u8; len];
                    if queue.push(voice(position), &payload) {
                        let place = model.partition_point(|(other, _)| *other <= position);
                        model.insert(place, (position, payload));
                    } else {
                        prop_assert!(!model.is_empty(), "an empty queue has room");
                    }
                } else if let Some(front) = queue.front().copied() {
                    let (position, payload) = model.remove(0);
                    prop_assert_eq!(queue.payload(&front), &payload[..]);
                    prop_assert_eq!(queue.pop().unwrap().position, position);
                } else {
                    prop_assert!(model.is_empty());
                }
            }
        }
    }
}
