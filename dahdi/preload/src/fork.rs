//! Forks: nothing is half done in a child, and nothing is done there until it is asked for.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use unisono_dahdi_station::Station;

use crate::failure::Failure;
use crate::opens::{self, BookGuard};
use crate::process;

/// Has `fork` call us, from now on. Once, however often it is asked. Whoever calls holds the book.
pub(crate) fn watch() -> Result<(), Failure> {
    static WATCHING: AtomicBool = AtomicBool::new(false);
    if WATCHING.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the handlers are functions of this library, which is never unloaded.
    let result = unsafe { libc::pthread_atfork(Some(prepare), Some(in_parent), Some(in_child)) };
    if result == 0 {
        WATCHING.store(true, Ordering::Relaxed);
        Ok(())
    } else {
        Err(Failure(result))
    }
}

extern "C" fn prepare() {
    if let Some(book) = opens::book() {
        HELD.put(Some(book));
    }
    Station::prepare_fork();
}

extern "C" fn in_parent() {
    Station::after_fork_in_parent();
    HELD.put(None);
}

extern "C" fn in_child() {
    process::next_generation();
    Station::after_fork_in_child();
    HELD.put(None);
}

/// The book, while a fork is under way. A fork in a signal handler of who holds it leaves it alone.
struct Held(UnsafeCell<Option<BookGuard>>);

// SAFETY: only touched by the thread that forks, between the book's being locked and its being given back by `in_parent` or
// `in_child`; or, if that thread had locked it before, by nobody else at the time.
unsafe impl Sync for Held {}

impl Held {
    fn put(&self, book: Option<BookGuard>) {
        // SAFETY: nobody else touches it, see above.
        let before = unsafe { &mut *self.0.get() };
        *before = book;
    }
}

static HELD: Held = Held(UnsafeCell::new(None));
