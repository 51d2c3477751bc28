//! A measurement allocates nothing from its first tick on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use unisono_timer::jitter::{Beat, JitterError, Live, Method, Plan, Wakeup, measure_with};
use unisono_timer::{Schedule, Ticker};

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

/// Tells how often the measuring thread allocated between its first wait and its last.
struct Counted {
    ticker: Ticker,
    before_first: Option<u64>,
    since_first: Arc<AtomicU64>,
}

impl Beat for Counted {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        let first = *self.before_first.get_or_insert_with(|| CALLS.get());
        self.since_first
            .store(CALLS.get() - first, Ordering::Relaxed);
        let tick = self.ticker.wait()?;
        Ok(Wakeup {
            number: tick.number,
            deadline: tick.deadline,
            woke: tick.woke,
            missed: tick.missed,
        })
    }
}

#[test]
fn from_the_first_tick_on_nothing_is_allocated() {
    let ms = Duration::from_millis;
    let mut plan = Plan::new(Method::Timerfd, ms(1), ms(300));
    // Every tick is an outlier, so that each is stored.
    plan.outlier_threshold = Duration::ZERO;
    let since_first = Arc::new(AtomicU64::new(u64::MAX));
    let told = Arc::clone(&since_first);
    let run = measure_with(&plan, &Live::new(), |schedule: Schedule| {
        Ok(Box::new(Counted {
            ticker: Ticker::new(schedule)?,
            before_first: None,
            since_first: told,
        }))
    })
    .unwrap();
    assert!(run.outlier_count > 1);
    assert_eq!(since_first.load(Ordering::Relaxed), 0);
    assert!(CALLS.get() > 0, "the counter counts");
}
