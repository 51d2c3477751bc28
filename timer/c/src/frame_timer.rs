//! The timer that blocks and counts samples.

use std::ffi::c_int;
use std::sync::Mutex;

use timer::source::{Check, FrameTimer};

use crate::status::{Status, guarded};
use crate::table::Table;
use crate::text::{check, give};

/// Counts frames of samples, one every interval, and sleeps until the next. Takes no descriptor and no thread.
pub struct unisono_frame_timer(());

/// A timer whose first tick comes `interval_ms` (1 to 60000) after now, with `samples` (1 or more) an interval. Any thread.
///
/// UNISONO_E_INVALID, UNISONO_E_TOO_MANY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_frame_timer_new(
    interval_ms: u32,
    samples: u32,
    timer: *mut *mut unisono_frame_timer,
) -> c_int {
    guarded(|| {
        check(timer)?;
        let handle = TIMERS.insert(Mutex::new(FrameTimer::new(interval_ms, samples)?))?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(timer, handle) }
    })
}

/// Sleeps until the next tick, counts it and all that have come since; `*ticks`, unless null, is how many. One thread at a
/// time, as for all that take a frame timer: another is answered UNISONO_E_BUSY.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY, UNISONO_E_SYSTEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_frame_timer_next(
    timer: *const unisono_frame_timer,
    ticks: *mut u64,
) -> c_int {
    guarded(|| {
        if !ticks.is_null() {
            check(ticks)?;
        }
        let came = with(timer, |timer| Ok(timer.next_tick()?))?;
        if ticks.is_null() {
            return Ok(());
        }
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(ticks, came) }
    })
}

/// Counts one tick, whether it has come or not.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_frame_timer_step(timer: *const unisono_frame_timer) -> c_int {
    guarded(|| {
        with(timer, |timer| {
            timer.step();
            Ok(())
        })
    })
}

/// Brings the counters to where the clock is.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_frame_timer_sync(timer: *const unisono_frame_timer) -> c_int {
    guarded(|| {
        with(timer, |timer| {
            timer.sync();
            Ok(())
        })
    })
}

/// UNISONO_OK when the next tick has come, and counts it when `step` is not 0; UNISONO_EARLY when not. `*diff`, unless
/// null, is how many ticks it is away: 0 when it has come. Does not sleep.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_frame_timer_check(
    timer: *const unisono_frame_timer,
    step: c_int,
    diff: *mut u64,
) -> c_int {
    guarded(|| {
        if !diff.is_null() {
            check(diff)?;
        }
        let found = with(timer, |timer| Ok(timer.check(step != 0)))?;
        let ticks = match found {
            Check::Ready { .. } => 0,
            Check::Early { ticks, .. } => ticks,
        };
        if !diff.is_null() {
            // SAFETY: the caller's pointer is as the header demands.
            unsafe { give(diff, ticks) }?;
        }
        if ticks == 0 {
            Ok(())
        } else {
            Err(Status::Early)
        }
    })
}

/// Ticks and samples counted; either may be null.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_frame_timer_counts(
    timer: *const unisono_frame_timer,
    ticks: *mut u64,
    samples: *mut u64,
) -> c_int {
    guarded(|| {
        let counted = with(timer, |timer| Ok((timer.tick(), timer.sample_count())))?;
        for (place, count) in [(ticks, counted.0), (samples, counted.1)] {
            if !place.is_null() {
                // SAFETY: the caller's pointer is as the header demands.
                unsafe { give(place, count) }?;
            }
        }
        Ok(())
    })
}

/// Closes the timer. A thread that sleeps on it comes back at its tick. Any thread.
///
/// UNISONO_E_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_frame_timer_free(timer: *const unisono_frame_timer) -> c_int {
    guarded(|| TIMERS.close(timer))
}

fn with<R>(
    timer: *const unisono_frame_timer,
    act: impl FnOnce(&mut FrameTimer) -> Result<R, Status>,
) -> Result<R, Status> {
    let entered = TIMERS.enter(timer)?;
    let mut timer = entered.try_lock().map_err(|_| Status::Busy)?;
    act(&mut timer)
}

static TIMERS: Table<Mutex<FrameTimer>, unisono_frame_timer> = Table::new(5);
