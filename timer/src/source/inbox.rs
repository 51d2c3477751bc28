//! What users tell the tick thread, without a lock and without memory to be freed.
//!
//! * Each handle has a [`Mail`] of three cells: one that its user writes, one that the tick thread reads, and one
//!   in the middle which is exchanged. The latest wish counts; neither side ever waits for the other. So that no tick is
//!   lost with a wish that was overwritten, each says how many ticks all schedules before it have had.
//! * A handle with mail is once in the inbox, a [`Stack`] which any thread pushes to and only the tick thread
//!   empties, all at once. So the inbox is never longer than there are handles.
//!
//! Orderings: whoever writes mail releases the cell by its exchange and then marks the handle as queued; who finds
//! it marked already leaves it there. The tick thread unmarks it and only then looks for more mail. Both are exchanges
//! of the same flag, so one of the two sees the other.
#![allow(
    unsafe_code,
    reason = "a stack of counted references, and cells that two threads take turns with"
)]

use std::cell::UnsafeCell;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};

use super::signal::Signal;
use crate::schedule::Schedule;

/// What a handle's user would like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Ticks on `schedule` from its deadline 1 on, at most `backlog` pending. `due` ticks came before that.
    Run {
        due: u64,
        schedule: Schedule,
        backlog: u32,
    },
    /// No ticks beyond `due`, at most `backlog` pending.
    Stop { due: u64, backlog: u32 },
    /// Nothing ever again.
    Close,
}

/// What user and tick thread share of a handle. As large as two cache lines, so that two handles never share one.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Shared {
    pub(super) signal: Signal,
    pub(super) number: u32,
    mail: Mail,
    is_queued: AtomicBool,
    next: AtomicPtr<Self>,
}

impl Shared {
    pub(super) const fn new(number: u32, signal: Signal) -> Self {
        Self {
            signal,
            number,
            mail: Mail::new(),
            is_queued: AtomicBool::new(false),
            next: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

/// The user's side of a handle's mail. One at a time: it is kept under the handle's lock.
#[derive(Debug)]
pub(super) struct Pen {
    cell: u8,
}

impl Pen {
    /// For a new handle, once.
    pub(super) const fn new() -> Self {
        Self { cell: 0 }
    }

    /// Leaves `wish` in the mail of `shared`, whose pen this must be. Says whether `shared` has to be pushed to the
    /// inbox.
    pub(super) fn write(&mut self, shared: &Shared, wish: Wish) -> bool {
        let mail = &shared.mail;
        // SAFETY: the pen's cell is neither in the middle nor the tick thread's.
        unsafe { *mail.cells[usize::from(self.cell)].get() = wish };
        self.cell = mail.middle.swap(self.cell | NEW, Ordering::AcqRel) & !NEW;
        !shared.is_queued.swap(true, Ordering::AcqRel)
    }
}

/// Handles, each at most once in one stack: pushed one by one, taken all at once.
#[derive(Debug, Default)]
pub(super) struct Stack {
    top: AtomicPtr<Shared>,
}

impl Stack {
    /// Sequentially consistent, so that a thread that is about to sleep either sees it or is seen asleep.
    pub(super) fn push(&self, shared: Arc<Shared>) {
        let new = Arc::into_raw(shared).cast_mut();
        let mut top = self.top.load(Ordering::Relaxed);
        loop {
            // SAFETY: valid, as the reference count just given up is now the stack's.
            unsafe { &*new }.next.store(top, Ordering::Relaxed);
            let pushed =
                self.top
                    .compare_exchange_weak(top, new, Ordering::SeqCst, Ordering::Relaxed);
            match pushed {
                Ok(_) => return,
                Err(actual) => top = actual,
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.top.load(Ordering::SeqCst).is_null()
    }

    /// Everything there is; the last pushed first.
    pub(super) fn take(&self) -> Taken {
        Taken {
            next: self.top.swap(ptr::null_mut(), Ordering::AcqRel),
        }
    }

    /// For the tick thread: the wish of a handle that it took from this stack. What comes after it goes back onto
    /// the stack. A handle with [`Wish::Close`] never comes back.
    pub(super) fn open_mail(&self, shared: &Arc<Shared>) -> Option<Wish> {
        let wish = shared.mail.read();
        // A closed handle stays marked, so that its user's last push cannot happen as well.
        if !matches!(wish, Some(Wish::Close)) {
            shared.is_queued.swap(false, Ordering::AcqRel);
            if shared.mail.has_new() && !shared.is_queued.swap(true, Ordering::AcqRel) {
                self.push(Arc::clone(shared));
            }
        }
        wish
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.take().for_each(drop);
    }
}

/// What was in a stack.
pub(super) struct Taken {
    next: *mut Shared,
}

impl Iterator for Taken {
    type Item = Arc<Shared>;

    fn next(&mut self) -> Option<Arc<Shared>> {
        if self.next.is_null() {
            return None;
        }
        // SAFETY: came from `Arc::into_raw` in `push`, and was taken from the stack by us alone.
        let shared = unsafe { Arc::from_raw(self.next) };
        self.next = shared.next.load(Ordering::Relaxed);
        Some(shared)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

#[derive(Debug)]
struct Mail {
    cells: [UnsafeCell<Wish>; 3],
    /// Which cell is in the middle, and whether it is new.
    middle: AtomicU8,
    /// Which cell is the tick thread's; only it uses this.
    reading: AtomicU8,
}

// SAFETY: of the three cells one belongs to the pen, one to the tick thread and one to nobody, and a cell changes hands
// by an exchange of `middle` with acquire and release.
unsafe impl Sync for Mail {}

impl Mail {
    const fn new() -> Self {
        Self {
            cells: [const { UnsafeCell::new(Wish::Close) }; 3],
            middle: AtomicU8::new(1),
            reading: AtomicU8::new(2),
        }
    }

    fn has_new(&self) -> bool {
        self.middle.load(Ordering::Acquire) & NEW != 0
    }

    fn read(&self) -> Option<Wish> {
        if !self.has_new() {
            return None;
        }
        let read = self.reading.load(Ordering::Relaxed);
        let cell = self.middle.swap(read, Ordering::AcqRel) & !NEW;
        self.reading.store(cell, Ordering::Relaxed);
        // SAFETY: the cell has just become the tick thread's, which is who calls this.
        Some(unsafe { *self.cells[usize::from(cell)].get() })
    }
}

const NEW: u8 = 4;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn stop(due: u64) -> Wish {
        Wish::Stop { due, backlog: 1 }
    }

    fn due(wish: Option<Wish>) -> Option<u64> {
        match wish {
            Some(Wish::Stop { due, .. }) => Some(due),
            _ => None,
        }
    }

    #[test]
    fn of_several_wishes_the_latest_counts_and_the_handle_is_queued_once() {
        let shared = Arc::new(Shared::new(0, Signal::new(0).unwrap()));
        let mut pen = Pen::new();
        let inbox = Stack::default();
        for round in 0..10 {
            assert!(pen.write(&shared, stop(10 * round)));
            inbox.push(Arc::clone(&shared));
            assert!(!pen.write(&shared, stop(10 * round + 1)));
            assert!(!pen.write(&shared, stop(10 * round + 2)));
            let taken: Vec<_> = inbox.take().collect();
            assert_eq!(taken.len(), 1);
            assert_eq!(due(inbox.open_mail(&taken[0])), Some(10 * round + 2));
            assert!(inbox.open_mail(&taken[0]).is_none() && inbox.is_empty());
        }
    }

    #[test]
    fn a_storm_from_four_threads_leaves_each_handle_with_its_last_wish() {
        let handles: Vec<_> = (0..4)
            .map(|number| Arc::new(Shared::new(number, Signal::new(0).unwrap())))
            .collect();
        let pens: Vec<_> = (0..4).map(|_| Mutex::new(Pen::new())).collect();
        let inbox = Stack::default();
        let mut last = [0; 4];
        let mut drain = || {
            for shared in inbox.take() {
                if let Some(got) = due(inbox.open_mail(&shared)) {
                    let last = &mut last[shared.number as usize];
                    assert!(got > *last, "{got} after {last}");
                    *last = got;
                }
            }
        };
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4_u64)
                .map(|_| {
                    scope.spawn(|| {
                        for round in 0..100_000_usize {
                            let shared = &handles[round % 4];
                            let mut pen = pens[round % 4].lock().unwrap();
                            static CLOCK: AtomicU64 = AtomicU64::new(0);
                            let before = CLOCK.fetch_add(1, Ordering::Relaxed);
                            if pen.write(shared, stop(before + 1)) {
                                inbox.push(Arc::clone(shared));
                            }
                        }
                    })
                })
                .collect();
            while writers.iter().any(|writer| !writer.is_finished()) {
                drain();
            }
        });
        // What was left, and what mail was put back by a drain.
        drain();
        drain();
        assert!(inbox.is_empty());
        assert_eq!(last.iter().max(), Some(&400_000));
        for shared in handles {
            assert!(!shared.mail.has_new());
            assert_eq!(Arc::strong_count(&shared), 1);
            shared.signal.close();
        }
    }
}
