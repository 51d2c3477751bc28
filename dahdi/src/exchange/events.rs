//! Events that wait for `GETEVENT`.

/// Most events that wait; what comes on top is forgotten.
const MAX_EVENTS: usize = 64;

/// A queue of events, oldest first.
#[derive(Debug)]
pub(super) struct Events {
    ring: [i32; MAX_EVENTS],
    first: usize,
    len: usize,
}

impl Events {
    pub(super) const fn new() -> Self {
        Self {
            ring: [0; MAX_EVENTS],
            first: 0,
            len: 0,
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether there was room.
    pub(super) fn push(&mut self, event: i32) -> bool {
        let room = self.len < MAX_EVENTS;
        if room {
            self.ring[(self.first + self.len) % MAX_EVENTS] = event;
            self.len += 1;
        }
        room
    }

    pub(super) fn pop(&mut self) -> Option<i32> {
        if self.is_empty() {
            return None;
        }
        let event = self.ring[self.first];
        self.first = (self.first + 1) % MAX_EVENTS;
        self.len -= 1;
        Some(event)
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_the_queue_is_bounded() {
        let mut events = Events::new();
        for round in 0..3 {
            assert!((0..64).all(|event| events.push(event + round)));
            assert!(!events.push(99));
            assert!((0..64).all(|event| events.pop() == Some(event + round)));
            assert_eq!(events.pop(), None);
        }
    }
}
