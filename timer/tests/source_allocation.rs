//! The tick thread of a source neither allocates nor frees once it runs, whatever its users do.

mod handles;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use handles::{eventually, ordinary_source};

static CALLS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this is the tick thread, once known.
    static IS_TICK_THREAD: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Counts what the tick thread does.
struct Counting;

impl Counting {
    fn count() {
        let is_tick_thread = IS_TICK_THREAD.get().unwrap_or_else(|| {
            let mut name = [0_u8; 16];
            // SAFETY: the kernel writes 16 bytes at most.
            unsafe { nix::libc::prctl(nix::libc::PR_GET_NAME, name.as_mut_ptr()) };
            let is = CStr::from_bytes_until_nul(&name) == Ok(c"unisono-ticks");
            // A thread gets its name shortly after its first allocation.
            if is {
                IS_TICK_THREAD.set(Some(true));
            }
            is
        });
        if is_tick_thread {
            CALLS.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count();
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        Self::count();
        // SAFETY: as the caller guarantees.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn serving_handles_that_come_change_and_go_neither_allocates_nor_frees() {
    let source = ordinary_source();
    let first = source.open().unwrap();
    first.set_rate(1_000).unwrap();
    eventually("a tick", || first.pending() > 0);
    let at_start = CALLS.load(Ordering::Relaxed);
    assert!(
        at_start > 0,
        "asking for real-time treatment allocates, so counting works"
    );

    thread::scope(|scope| {
        for seed in 0..2 {
            let source = &source;
            scope.spawn(move || {
                let mut open = Vec::new();
                for round in 0..3_000_u32 {
                    let timer = source.open().unwrap();
                    timer.set_rate(1 + (round * 7 + seed) % 1_000).unwrap();
                    timer.enable_continuous().unwrap();
                    open.push(timer);
                    // Storage grows several times.
                    if open.len() > 400 {
                        open.drain(..300);
                    }
                    open[0].set_rate(round % 3).unwrap();
                }
            });
        }
    });
    let _ = first.ack_all();
    eventually("a tick after the storm", || first.pending() > 0);
    assert_eq!(CALLS.load(Ordering::Relaxed), at_start);
}
