//! Threads that never sleep lose their real-time scheduling instead of taking the machine.
//!
//! The watch itself belongs to its thread and lives in a thread-local. What C holds is the watch's status, which any thread may
//! read.

use std::cell::RefCell;
use std::ffi::c_int;
use std::time::Duration;

use timer::{Watchdog, WatchdogStatus};

use crate::status::{Status, guarded};
use crate::table::Table;
use crate::text::{check, give};

/// The watch over one real-time thread.
pub struct unisono_watchdog(());

/// Watches the calling thread, until it ends or frees this: while it is SCHED_FIFO, SCHED_RR or SCHED_DEADLINE it may use `limit_ns`
/// of processor time without sleeping (2000000000 is a good one); beyond that it becomes an ordinary thread and goes on. Takes no
/// thread and nothing in the tick. Handles SIGXCPU in the process and unblocks it in the thread; that of other origin acts as before.
///
/// UNISONO_E_WATCHED, UNISONO_E_INVALID, UNISONO_E_SYSTEM, UNISONO_E_TOO_MANY. Go on without and say so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_watchdog_new(
    limit_ns: u64,
    watchdog: *mut *mut unisono_watchdog,
) -> c_int {
    guarded(|| {
        check(watchdog)?;
        if limit_ns == 0 {
            return Err(Status::Invalid);
        }
        end_watch_if(|handle| WATCHES.enter(handle).is_err());
        let watch = Watchdog::watch(Duration::from_nanos(limit_ns))?;
        let handle = WATCHES.insert(watch.status())?;
        // In a forked child a copy of the parent's may be there, which watches nobody.
        let before = OF_THIS_THREAD.replace(Some((handle, watch)));
        drop(before);
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(watchdog, handle) }
    })
}

/// How often the thread was demoted to an ordinary one, also after it has ended. Any thread.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_watchdog_demotions(
    watchdog: *const unisono_watchdog,
    demotions: *mut u64,
) -> c_int {
    guarded(|| {
        let watch = WATCHES.enter(watchdog)?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(demotions, watch.demotions()) }
    })
}

/// Ends the watch when the watched thread calls it. Any other thread may close the handle so, too; the thread is then watched until it
/// ends or asks for another watchdog.
///
/// UNISONO_E_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_watchdog_free(watchdog: *const unisono_watchdog) -> c_int {
    guarded(|| {
        WATCHES.close(watchdog)?;
        end_watch_if(|handle| std::ptr::eq(handle, watchdog));
        Ok(())
    })
}

/// Ends the calling thread's watch if it is so of its handle.
fn end_watch_if(is_so: impl FnOnce(*const unisono_watchdog) -> bool) {
    OF_THIS_THREAD.with_borrow_mut(|watched| {
        if watched.as_ref().is_some_and(|(handle, _)| is_so(*handle)) {
            *watched = None;
        }
    });
}

thread_local! {
    static OF_THIS_THREAD: RefCell<Option<(*mut unisono_watchdog, Watchdog)>> =
        const { RefCell::new(None) };
}

static WATCHES: Table<WatchdogStatus, unisono_watchdog> = Table::new(7);

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use crate::status::unisono_status::{
        UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_WATCHED, UNISONO_OK,
    };

    const LIMIT: u64 = 2_000_000_000;
    const OK: c_int = UNISONO_OK as c_int;
    const CLOSED: c_int = UNISONO_E_HANDLE as c_int;

    fn watch() -> (c_int, *mut unisono_watchdog) {
        let mut watchdog = ptr::null_mut();
        // SAFETY: the place is valid.
        let status = unsafe { unisono_watchdog_new(LIMIT, &raw mut watchdog) };
        (status, watchdog)
    }

    fn demotions(watchdog: *const unisono_watchdog) -> (c_int, u64) {
        let mut demotions = 7;
        // SAFETY: the place is valid, and a handle may be anything.
        let status = unsafe { unisono_watchdog_demotions(watchdog, &raw mut demotions) };
        (status, demotions)
    }

    #[test]
    fn a_thread_has_one_watchdog_until_it_frees_it() {
        let (status, first) = watch();
        assert_eq!(status, OK);
        assert_eq!(demotions(first), (OK, 0));
        assert_eq!(watch().0, UNISONO_E_WATCHED as c_int);
        assert_eq!(unisono_watchdog_free(first), OK);
        assert_eq!(unisono_watchdog_free(first), CLOSED);
        assert_eq!(demotions(first), (CLOSED, 7));
        let (status, second) = watch();
        assert_eq!((status, unisono_watchdog_free(second)), (OK, OK));
    }

    #[test]
    fn a_handle_that_another_thread_closed_is_not_in_the_way_of_a_new_one() {
        let (status, first) = watch();
        assert_eq!(status, OK);
        let address = first.expose_provenance();
        let elsewhere = std::thread::spawn(move || {
            let first = ptr::with_exposed_provenance(address);
            (demotions(first), unisono_watchdog_free(first))
        });
        assert_eq!(elsewhere.join().unwrap(), ((OK, 0), OK));
        let (status, second) = watch();
        assert_eq!((status, unisono_watchdog_free(second)), (OK, OK));
    }

    #[test]
    fn impossible_watches_are_told() {
        let invalid = UNISONO_E_INVALID as c_int;
        let mut watchdog = ptr::null_mut();
        // SAFETY: null is recognised.
        let status = unsafe { unisono_watchdog_new(LIMIT, ptr::null_mut()) };
        assert_eq!(status, invalid);
        // SAFETY: the place is valid.
        let status = unsafe { unisono_watchdog_new(0, &raw mut watchdog) };
        assert_eq!(status, invalid);
        assert_eq!(unisono_watchdog_free(ptr::null()), CLOSED);
        assert_eq!(watch().0, OK, "nothing was left behind");
    }
}
