//! What a tick calls neither allocates nor frees, whoever comes and goes.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use unisono_dahdi::exchange::{Lines, STEP};
use unisono_dahdi_trunk::{Directory, Trunk};

#[test]
fn lines_never_allocate_while_processes_come_and_go() {
    let path = tempfile::tempdir().unwrap();
    let directory = Directory::at(path.path()).unwrap();
    let a = Trunk::open(&directory, "a").unwrap();
    let b = Trunk::open(&directory, "b").unwrap();
    let mut third = None;
    let mut ends = [a.lines().unwrap(), b.lines().unwrap()];
    for trunk in [&a, &b] {
        for conference in 1..=20 {
            trunk.open_line(conference).unwrap();
        }
        trunk.refresh().unwrap();
    }
    a.refresh().unwrap();

    let (mut shared, mut heard) = (0, 0);
    for step in (0..600).map(|n| (1_000 + n) * STEP as u64) {
        match step / STEP as u64 % 50 {
            10 => third = Some(Trunk::open(&directory, "c").unwrap()),
            20 => third = None,
            30 => a.close_line(7),
            40 => a.open_line(7).unwrap(),
            _ => {}
        }
        a.refresh().unwrap();
        COUNT.set(Some(0));
        for lines in &mut ends {
            lines.begin(step);
            for conference in 0..=21 {
                if lines.is_shared(conference) {
                    let mut frame = [0; STEP];
                    shared += 1;
                    heard += u32::from(lines.incoming(conference, step, &mut frame));
                    lines.outgoing(conference, step, &[9; STEP]);
                }
            }
        }
        assert_eq!(COUNT.take(), Some(0), "at {step}");
    }
    drop(third);
    assert!(shared > 20_000 && heard > 20_000, "{heard} of {shared}");

    // The counter itself works.
    COUNT.set(Some(0));
    drop(Box::new(1_u8));
    assert_eq!(COUNT.take(), Some(2));
}

thread_local! {
    /// Calls of the allocator by this thread, while counting.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

struct Counting;

fn count() {
    COUNT.set(COUNT.get().map(|calls| calls + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller keeps the contract of `dealloc`, and `block` came from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`, and `block` came from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
