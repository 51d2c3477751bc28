//! The users' side of a source: numbers of handles, storage ahead of need, the thread's life.
//!
//! Its lock is never taken by the tick thread.

use std::mem::{self, ManuallyDrop};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nix::errno::Errno;

use super::fork::Generation;
use super::hub::{Hub, Storage};
use super::level::Level;
use super::{MAX_HANDLES, SourceError, SourceSettings, thread};
use crate::schedule::Period;

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) hub: Arc<Hub>,
    generation: Generation,
    settings: SourceSettings,
    book: ManuallyDrop<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    /// Numbers below `next` that are not in use.
    free: Vec<u32>,
    next: u32,
    /// Handles for which the tick thread has storage, or finds it when it looks.
    capacity: u32,
    thread: Option<JoinHandle<Box<Storage>>>,
}

impl Registry {
    pub(super) fn new(settings: SourceSettings) -> Result<Self, SourceError> {
        Ok(Self {
            hub: Arc::default(),
            generation: Generation::join().map_err(SourceError::Thread)?,
            settings,
            book: ManuallyDrop::default(),
        })
    }

    /// [`SourceError::Forked`] in a child. Comes before anything is locked or written.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        if self.generation.is_current() {
            Ok(())
        } else {
            Err(SourceError::Forked)
        }
    }

    /// A number for a new handle.
    pub(super) fn take_number(&self) -> Result<u32, SourceError> {
        let mut book = self.book();
        for closed in self.hub.returned.take() {
            book.free.push(closed.number);
        }
        if let Some(number) = book.free.pop() {
            return Ok(number);
        }
        if book.next == MAX_HANDLES {
            return Err(SourceError::TooManyHandles);
        }
        if book.next == book.capacity {
            let capacity = (2 * book.capacity).clamp(LEAST_CAPACITY, MAX_HANDLES);
            self.hub.grow(Storage::with_capacity(capacity));
            book.capacity = capacity;
        }
        book.next += 1;
        Ok(book.next - 1)
    }

    /// Gives back the number of a handle that the tick thread has never heard of.
    pub(super) fn give_back(&self, number: u32) {
        self.book().free.push(number);
    }

    /// Starts the tick thread unless it runs.
    pub(super) fn ensure_thread(&self) -> Result<(), SourceError> {
        let mut book = self.book();
        if book.thread.is_none() {
            let hub = Arc::clone(&self.hub);
            let spawned = thread::spawn(hub, self.settings.realtime.clone());
            let thread = spawned.map_err(|error| {
                SourceError::Thread(Errno::from_raw(error.raw_os_error().unwrap_or(0)))
            })?;
            book.thread = Some(thread);
        }
        Ok(())
    }

    /// How many ticks of `period` may be pending.
    pub(super) fn backlog(&self, period: Period) -> u32 {
        let ticks = self.settings.backlog.as_nanos() / period.to_duration().as_nanos().max(1);
        u32::try_from(ticks).map_or(Level::MAX_PENDING, |ticks| {
            ticks.clamp(1, Level::MAX_PENDING)
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // In a child there is no thread to end, and the lock may be held for ever: leave all of it.
        if !self.generation.is_current() {
            return;
        }
        let book = mem::take(&mut *self.book());
        if let Some(thread) = book.thread {
            self.hub.stop();
            // What it gives back is freed here. It does not panic; if it did, there is nothing left to do.
            drop(thread.join());
        }
    }
}

const LEAST_CAPACITY: u32 = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_backlog_is_a_seconds_worth_and_at_least_one_tick() {
        let registry = Registry::new(SourceSettings::new()).unwrap();
        let backlog = |ticks, seconds| registry.backlog(Period::from_rate(ticks, seconds).unwrap());
        assert_eq!(backlog(50, 1), 50);
        assert_eq!(backlog(8_000, 1), 8_000);
        assert_eq!(backlog(1, 3_600), 1);
        let long = SourceSettings::new().backlog(Duration::MAX);
        let registry = Registry::new(long).unwrap();
        let backlog = registry.backlog(Period::from_rate(50, 1).unwrap());
        assert_eq!(backlog, Level::MAX_PENDING);
    }
}
