//! Decoded samples: those waiting to be handed out and, before them, the last ones that were.

/// One contiguous stretch of samples. `read` splits what was handed out (history) from what waits (staged).
#[derive(Debug)]
pub(super) struct Staging {
    samples: Box<[i16]>,
    read: usize,
    write: usize,
    /// All samples from here on are zero.
    silent_from: usize,
    /// Samples of the past that are kept at least.
    history: usize,
}

impl Staging {
    pub(super) fn new(history: usize, room: usize) -> Self {
        Self {
            samples: vec![0; history + room].into(),
            read: history,
            write: history,
            silent_from: 0,
            history,
        }
    }

    pub(super) fn heap(&self) -> usize {
        size_of_val(&*self.samples)
    }

    /// Whether a buffer of these dimensions would fit into this one's memory.
    pub(super) fn fits(&self, history: usize, room: usize) -> bool {
        history + room <= self.samples.len()
    }

    /// Empties, with a history of another length that [`Self::fits`].
    pub(super) fn reshape(&mut self, history: usize) {
        self.history = history.min(self.samples.len());
        self.clear();
    }

    /// Silence behind, nothing ahead.
    pub(super) fn clear(&mut self) {
        self.samples[..self.history].fill(0);
        self.read = self.history;
        self.write = self.history;
        self.silent_from = 0;
    }

    /// Samples waiting.
    pub(super) fn staged(&self) -> usize {
        self.write - self.read
    }

    /// Whether the whole history and all that waits is zero.
    pub(super) fn is_zero(&self) -> bool {
        self.silent_from <= self.read - self.history
    }

    /// Whether all that waits is zero.
    pub(super) fn staged_is_zero(&self) -> bool {
        self.silent_from <= self.read
    }

    /// Drops what waits.
    pub(super) fn discard_staged(&mut self) {
        self.write = self.read;
        self.silent_from = self.silent_from.min(self.write);
    }

    /// Takes back the last `count` samples that were pushed.
    pub(super) fn retract(&mut self, count: usize) {
        self.write -= count.min(self.staged());
        self.silent_from = self.silent_from.min(self.write);
    }

    /// Room for up to `count` more samples (fewer where memory ends), to be confirmed by [`Self::commit`].
    pub(super) fn spare(&mut self, count: usize) -> &mut [i16] {
        if self.write + count > self.samples.len() {
            let from = self.read - self.history;
            self.samples.copy_within(from..self.write, 0);
            self.read -= from;
            self.write -= from;
            self.silent_from = self.silent_from.saturating_sub(from);
        }
        let end = (self.write + count).min(self.samples.len());
        &mut self.samples[self.write..end]
    }

    /// `count` samples were written into the room given last; they are not silent.
    pub(super) fn commit(&mut self, count: usize) {
        self.write = (self.write + count).min(self.samples.len());
        self.silent_from = self.write;
    }

    /// Stages zeros; returns how many.
    pub(super) fn push_zeros(&mut self, count: usize) -> usize {
        let spare = self.spare(count);
        spare.fill(0);
        let count = spare.len();
        self.write += count;
        count
    }

    /// History and staged samples as one slice, and the index of the first staged one. The caller may change
    /// samples; [`Self::silent_from`] then no longer holds.
    pub(super) fn all_mut(&mut self) -> (&mut [i16], usize) {
        self.silent_from = self.silent_from.max(self.write);
        let start = self.read - self.history;
        (&mut self.samples[start..self.write], self.history)
    }

    /// History and staged samples as one slice, and the index of the first staged one.
    pub(super) fn all(&self) -> (&[i16], usize) {
        (
            &self.samples[self.read - self.history..self.write],
            self.history,
        )
    }

    /// Removes the first `count` staged samples.
    pub(super) fn remove(&mut self, count: usize) {
        let count = count.min(self.staged());
        self.samples
            .copy_within(self.read + count..self.write, self.read);
        self.write -= count;
        self.silent_from = self.silent_from.min(self.write);
    }

    /// Opens a gap of `count` samples before the first staged one, for the caller to fill; false without room.
    pub(super) fn insert(&mut self, count: usize) -> bool {
        if self.spare(count).len() < count {
            return false;
        }
        self.samples
            .copy_within(self.read..self.write, self.read + count);
        self.write += count;
        self.silent_from = self.write;
        true
    }

    /// Hands out the next `out.len()` samples, of which at least so many must be staged.
    pub(super) fn take(&mut self, out: &mut [i16]) {
        let count = out.len().min(self.staged());
        out[..count].copy_from_slice(&self.samples[self.read..self.read + count]);
        self.read += count;
    }

    /// Hands out `count` samples without showing them.
    pub(super) fn advance(&mut self, count: usize) {
        self.read += count.min(self.staged());
    }
}
