//! What a tick calls allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use unisono_timer::{
    LatePolicy, MonoTime, Period, Precision, Schedule, TickStats, Ticker, Watchdog,
};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Counts each thread's allocations and releases.
struct Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: as the caller guarantees.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        // SAFETY: as the caller guarantees.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls_in(work: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    work();
    CALLS.get() - before
}

#[test]
fn waiting_and_recording_allocate_nothing() {
    let period = Period::from_duration(Duration::from_millis(1)).unwrap();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    nix::unistd::write(&writer, b"x").unwrap();
    let stats = TickStats::new();
    let watchdog = Watchdog::watch(Duration::from_secs(1)).unwrap();
    let status = watchdog.status();
    let ticker = || Ticker::new(Schedule::new(MonoTime::now(), period)).unwrap();
    let precise = || ticker().precise(Precision::default());
    for mut ticker in [
        ticker(),
        ticker().without_lead(),
        ticker().with_late_policy(LatePolicy::Skip),
        ticker().with_late_policy(LatePolicy::Count { at_most: 2 }),
        precise(),
        precise().with_late_policy(LatePolicy::Skip),
    ] {
        let calls = calls_in(|| {
            for _ in 0..20 {
                stats.record(&ticker.wait().unwrap());
                stats.record(&ticker.wait_for(ticker.next_number() + 1).unwrap());
                ticker
                    .wait_for_or(ticker.next_number() + 1, &reader)
                    .unwrap();
                ticker.idle_until(&reader).unwrap();
                ticker.arm(ticker.next_number()).unwrap();
                ticker.disarm().unwrap();
                ticker.resync();
                assert!(!status.demoted());
                let _ = ticker.precision();
                let _ = ticker.lead();
            }
        });
        assert_eq!(calls, 0);
    }
    assert!(
        calls_in(|| drop(stats.lateness().snapshot())) >= 2,
        "the counter counts"
    );
}
