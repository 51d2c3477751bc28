//! What a C program holds is a number that looks like a pointer, never an address: kind, place and generation. So a null,
//! closed, foreign or invented handle is told from a live one without touching memory, also when another thread
//! closes it in the same instant.
//!
//! No locks, so that a forked child finds none held. What is closed while a call is at work on it is taken down by that call as
//! it leaves.

use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use crate::status::Status;

/// All live objects of one kind, which C knows as pointers to `Name`.
pub(crate) struct Table<T, Name> {
    kind: u8,
    chunks: [AtomicPtr<Chunk<T>>; CHUNKS],
    /// Places ever used.
    used: AtomicU32,
    /// The first free place, and in the upper half a count that makes each change unique.
    free: AtomicU64,
    name: PhantomData<fn() -> Name>,
}

type Chunk<T> = [Slot<T>; CHUNK];

struct Slot<T> {
    /// Generation in the upper half; whether it is open; how many calls are at work on it.
    state: AtomicU64,
    next_free: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: values are shared between threads by reference (`Sync`), and dropped by any of them (`Send`).
unsafe impl<T: Send + Sync, Name> Sync for Table<T, Name> {}

/// One call's use of an object, which is not taken down meanwhile.
pub(crate) struct Entered<'a, T: Send + Sync, Name> {
    table: &'a Table<T, Name>,
    place: u32,
    slot: &'a Slot<T>,
}

impl<T: Send + Sync, Name> Table<T, Name> {
    /// `kind` is below 128, and no two tables have the same.
    pub(crate) const fn new(kind: u8) -> Self {
        Self {
            kind,
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            used: AtomicU32::new(0),
            free: AtomicU64::new(NO_PLACE as u64),
            name: PhantomData,
        }
    }

    pub(crate) fn insert(&self, value: T) -> Result<*mut Name, Status> {
        let place = self.take_place().ok_or(Status::TooMany)?;
        let slot = self.slot(place).ok_or(Status::TooMany)?;
        // SAFETY: the place was free, so nobody else looks at its value.
        unsafe { *slot.value.get() = Some(value) };
        let generation = slot.state.load(Ordering::Relaxed) >> 32;
        slot.state.store(generation << 32 | OPEN, Ordering::Release);
        Ok(self.encode(generation, place))
    }

    /// Keeps the object for the length of a call.
    pub(crate) fn enter(&self, handle: *const Name) -> Result<Entered<'_, T, Name>, Status> {
        let (generation, place, slot) = self.decode(handle)?;
        let mut state = slot.state.load(Ordering::Acquire);
        loop {
            if state >> 32 != generation || state & OPEN == 0 {
                return Err(Status::Handle);
            }
            let entered = slot.state.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match entered {
                Ok(_) => break,
                Err(actual) => state = actual,
            }
        }
        Ok(Entered {
            table: self,
            place,
            slot,
        })
    }

    /// Ends the handle at once. The object goes with the last call that is at work on it.
    pub(crate) fn close(&self, handle: *const Name) -> Result<(), Status> {
        let (generation, place, slot) = self.decode(handle)?;
        let mut state = slot.state.load(Ordering::Acquire);
        loop {
            if state >> 32 != generation || state & OPEN == 0 {
                return Err(Status::Handle);
            }
            let closed = slot.state.compare_exchange_weak(
                state,
                state & !OPEN,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match closed {
                Ok(_) => break,
                Err(actual) => state = actual,
            }
        }
        if state & USERS == 0 {
            self.take_down(place, slot);
        }
        Ok(())
    }

    fn take_down(&self, place: u32, slot: &Slot<T>) {
        // SAFETY: closed and with no user left, which happens once; the place is not free yet.
        let value = unsafe { &mut *slot.value.get() }.take();
        let generation = (slot.state.load(Ordering::Relaxed) >> 32).wrapping_add(1) & GENERATIONS;
        slot.state.store(generation << 32, Ordering::Release);
        self.give_place(place, slot);
        drop(value);
    }

    fn take_place(&self) -> Option<u32> {
        let mut free = self.free.load(Ordering::Acquire);
        while free as u32 != NO_PLACE {
            let place = free as u32;
            let next = self.slot(place)?.next_free.load(Ordering::Relaxed);
            let after = stamped(free, next);
            match self
                .free
                .compare_exchange_weak(free, after, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(place),
                Err(actual) => free = actual,
            }
        }
        let place = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used < (CHUNK * CHUNKS) as u32).then_some(used + 1)
            })
            .ok()?;
        self.ensure_chunk(place);
        Some(place)
    }

    fn give_place(&self, place: u32, slot: &Slot<T>) {
        let mut free = self.free.load(Ordering::Relaxed);
        loop {
            slot.next_free.store(free as u32, Ordering::Relaxed);
            let after = stamped(free, place);
            match self
                .free
                .compare_exchange_weak(free, after, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(actual) => free = actual,
            }
        }
    }

    fn ensure_chunk(&self, place: u32) {
        let chunk = &self.chunks[place as usize / CHUNK];
        if !chunk.load(Ordering::Acquire).is_null() {
            return;
        }
        let new: Box<Chunk<T>> = Box::new(std::array::from_fn(|_| Slot {
            state: AtomicU64::new(0),
            next_free: AtomicU32::new(NO_PLACE),
            value: UnsafeCell::new(None),
        }));
        let new = Box::into_raw(new);
        let installed =
            chunk.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        if installed.is_err() {
            // SAFETY: just made, and another thread's was taken instead.
            drop(unsafe { Box::from_raw(new) });
        }
    }

    fn slot(&self, place: u32) -> Option<&Slot<T>> {
        let chunk = self.chunks.get(place as usize / CHUNK)?;
        // SAFETY: null, or a chunk that was made by `ensure_chunk` and is never freed.
        let chunk = unsafe { chunk.load(Ordering::Acquire).as_ref() }?;
        Some(&chunk[place as usize % CHUNK])
    }

    fn encode(&self, generation: u64, place: u32) -> *mut Name {
        // Odd, so that no pointer to anything looks like it.
        let number = generation << 28 | u64::from(place) << 8 | u64::from(self.kind) << 1 | 1;
        ptr::without_provenance_mut(number as usize)
    }

    fn decode(&self, handle: *const Name) -> Result<(u64, u32, &Slot<T>), Status> {
        let number = handle.addr() as u64;
        if number & 0xff != u64::from(self.kind) << 1 | 1 {
            return Err(Status::Handle);
        }
        let place = (number >> 8) as u32 & PLACES;
        let slot = self.slot(place).ok_or(Status::Handle)?;
        Ok((number >> 28, place, slot))
    }
}

impl<T: Send + Sync, Name> std::ops::Deref for Entered<'_, T, Name> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the object is there while a call is at work on it.
        let value = unsafe { &*self.slot.value.get() };
        value.as_ref().expect("an open place has a value")
    }
}

impl<T: Send + Sync, Name> Drop for Entered<'_, T, Name> {
    fn drop(&mut self) {
        let state = self.slot.state.fetch_sub(1, Ordering::AcqRel) - 1;
        if state & (OPEN | USERS) == 0 {
            self.table.take_down(self.place, self.slot);
        }
    }
}

const fn stamped(before: u64, place: u32) -> u64 {
    ((before >> 32).wrapping_add(1) << 32) | place as u64
}

const CHUNK: usize = 256;
/// Together with `CHUNK` as many places as fit 20 bits.
const CHUNKS: usize = 4_096;
const PLACES: u32 = (1 << 20) - 1;
const NO_PLACE: u32 = u32::MAX;
/// In a handle, above kind and place.
const GENERATIONS: u64 = (1 << 32) - 1;
const OPEN: u64 = 1 << 31;
const USERS: u64 = OPEN - 1;

#[cfg(target_pointer_width = "32")]
compile_error!("handles need pointers of 64 bits");

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    struct Name;

    #[test]
    fn only_a_live_handle_of_the_kind_is_entered() {
        static TABLE: Table<u32, Name> = Table::new(1);
        static OTHER: Table<u32, Name> = Table::new(2);
        let handle = TABLE.insert(7).unwrap();
        let foreign = OTHER.insert(8).unwrap();
        assert_eq!(*TABLE.enter(handle).ok().unwrap(), 7);
        let local = 5_u64;
        let invented = [
            ptr::null(),
            foreign.cast_const(),
            (&raw const local).cast(),
            ptr::without_provenance(usize::MAX),
            ptr::without_provenance(handle.addr() + (1 << 8)),
            ptr::without_provenance(handle.addr() + (1 << 28)),
        ];
        for handle in invented {
            assert!(TABLE.enter(handle).is_err() && TABLE.close(handle).is_err());
        }
        assert!(TABLE.close(handle).is_ok());
        assert!(TABLE.enter(handle).is_err() && TABLE.close(handle).is_err());
        // The place is used again, and the old handle is still known to be closed.
        let again = TABLE.insert(9).unwrap();
        assert_ne!(again, handle);
        assert!(TABLE.enter(handle).is_err());
        assert_eq!(*TABLE.enter(again).ok().unwrap(), 9);
    }

    #[test]
    fn what_is_closed_in_mid_call_goes_when_the_call_leaves() {
        static TABLE: Table<Arc<()>, Name> = Table::new(1);
        let value = Arc::new(());
        let handle = TABLE.insert(Arc::clone(&value)).unwrap();
        let first = TABLE.enter(handle).ok().unwrap();
        let second = TABLE.enter(handle).ok().unwrap();
        assert!(TABLE.close(handle).is_ok());
        assert!(TABLE.enter(handle).is_err());
        drop(first);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(second);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn storms_of_open_use_and_close_lose_and_leak_nothing() {
        static TABLE: Table<Counted, Name> = Table::new(1);
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        struct Counted;
        impl Drop for Counted {
            fn drop(&mut self) {
                ALIVE.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let shared: Vec<AtomicUsize> = (0..8).map(|_| AtomicUsize::new(0)).collect();
        std::thread::scope(|scope| {
            for seed in 0..4_usize {
                let shared = &shared;
                scope.spawn(move || {
                    for round in 0..20_000 {
                        ALIVE.fetch_add(1, Ordering::Relaxed);
                        let new = TABLE.insert(Counted).unwrap();
                        let place = &shared[(seed + round) % 8];
                        let old = place.swap(new.addr(), Ordering::AcqRel);
                        let old = ptr::without_provenance::<Name>(old);
                        // Somebody else may be at work on what is closed here.
                        let other = shared[round % 8].load(Ordering::Acquire);
                        drop(TABLE.enter(ptr::without_provenance(other)));
                        assert_eq!(TABLE.close(old).is_ok(), !old.is_null());
                    }
                });
            }
        });
        assert_eq!(ALIVE.load(Ordering::Relaxed), 8);
        // Never more at a time than four threads and eight places hold, and one each in hand.
        assert!(TABLE.used.load(Ordering::Relaxed) <= 24);
    }
}
