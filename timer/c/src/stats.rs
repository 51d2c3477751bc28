//! How late the ticks were.

use std::ffi::c_int;

use timer::{MonoTime, Tick, TickStats};

use crate::status::guarded;
use crate::table::Table;
use crate::text::{check, give};
use crate::ticker::unisono_tick;

/// Counters and a histogram of lateness.
pub struct unisono_stats(());

/// What they say. Lateness in nanoseconds, to 0.8 % from 1 us on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct unisono_lateness {
    /// Ticks recorded.
    pub ticks: u64,
    /// Deadlines missed.
    pub missed: u64,
    /// Arithmetic mean.
    pub mean_ns: f64,
    /// Half of the ticks were no later.
    pub p50_ns: u64,
    /// 99 of 100 were no later.
    pub p99_ns: u64,
    /// 999 of 1000 were no later.
    pub p999_ns: u64,
    /// The latest.
    pub max_ns: u64,
}

/// Empty ones, about 32 KiB. Any thread.
///
/// UNISONO_E_INVALID, UNISONO_E_TOO_MANY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_stats_new(stats: *mut *mut unisono_stats) -> c_int {
    guarded(|| {
        check(stats)?;
        let handle = STATS.insert(TickStats::new())?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(stats, handle) }
    })
}

/// Counts one tick. Allocates, locks and waits for nothing. One thread at a time, while others may read; of two that
/// record together a count may be lost.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_stats_record(
    stats: *const unisono_stats,
    tick: *const unisono_tick,
) -> c_int {
    guarded(|| {
        check(tick.cast_mut())?;
        // SAFETY: neither null nor misaligned, so valid to read as the header demands.
        let tick = unsafe { *tick };
        STATS.enter(stats)?.record(&Tick {
            number: tick.number,
            deadline: MonoTime::from_nanos(tick.deadline_ns),
            woke: MonoTime::from_nanos(tick.woke_ns),
            missed: tick.missed,
        });
        Ok(())
    })
}

/// What has been recorded so far. Any thread, without disturbing the one that records.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_stats_read(
    stats: *const unisono_stats,
    lateness: *mut unisono_lateness,
) -> c_int {
    guarded(|| {
        let stats = STATS.enter(stats)?;
        let figures = stats.lateness().snapshot();
        let figures = unisono_lateness {
            ticks: stats.ticks(),
            missed: stats.missed(),
            mean_ns: figures.mean(),
            p50_ns: figures.quantile(0.5),
            p99_ns: figures.quantile(0.99),
            p999_ns: figures.quantile(0.999),
            max_ns: figures.max(),
        };
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(lateness, figures) }
    })
}

/// Closes them. Any thread.
///
/// UNISONO_E_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_stats_free(stats: *const unisono_stats) -> c_int {
    guarded(|| STATS.close(stats))
}

static STATS: Table<TickStats, unisono_stats> = Table::new(6);
