//! Real-time treatment: what is asked for, and the answers as text.

use std::ffi::{c_char, c_int};
use std::sync::Mutex;
use std::time::Duration;

use timer::{RealtimeGrant, RealtimeRequest};

use crate::status::{Status, guarded};
use crate::table::Table;
use crate::text::{check, give, give_text};

/// What a thread would like to have, and what became of it.
pub struct unisono_realtime(());

/// A request for nothing yet. Any thread.
///
/// UNISONO_E_INVALID, UNISONO_E_TOO_MANY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_realtime_new(realtime: *mut *mut unisono_realtime) -> c_int {
    guarded(|| {
        check(realtime)?;
        let handle = REQUESTS.insert(Mutex::new(Asked {
            request: RealtimeRequest::new(),
            grant: None,
        }))?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(realtime, handle) }
    })
}

/// Asks for SCHED_FIFO at `priority`, 1 (least) to 99. One thread at a time, as for all that take a request.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_fifo(
    realtime: *const unisono_realtime,
    priority: c_int,
) -> c_int {
    guarded(|| {
        let priority = checked_priority(priority)?;
        change(realtime, |request| request.fifo(priority))
    })
}

/// Asks for SCHED_RR at `priority`, 1 (least) to 99.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_round_robin(
    realtime: *const unisono_realtime,
    priority: c_int,
) -> c_int {
    guarded(|| {
        let priority = checked_priority(priority)?;
        change(realtime, |request| request.round_robin(priority))
    })
}

/// Asks that all memory of the process, present and future, is kept from being swapped out.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_lock_memory(realtime: *const unisono_realtime) -> c_int {
    guarded(|| change(realtime, RealtimeRequest::lock_memory))
}

/// Asks that the thread runs on processor `cpu` only.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_pin_to(realtime: *const unisono_realtime, cpu: usize) -> c_int {
    guarded(|| change(realtime, |request| request.pin_to(cpu)))
}

/// Asks that `bytes` of the thread's stack are touched beforehand.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_prefault_stack(
    realtime: *const unisono_realtime,
    bytes: usize,
) -> c_int {
    guarded(|| change(realtime, |request| request.prefault_stack(bytes)))
}

/// Asks that sleeps of the thread are delayed by at most `slack_ns` to bundle wake-ups.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_timer_slack(
    realtime: *const unisono_realtime,
    slack_ns: u64,
) -> c_int {
    guarded(|| {
        let slack = Duration::from_nanos(slack_ns);
        change(realtime, |request| request.timer_slack(slack))
    })
}

/// Asks that processors which idle wake within `longest_ns`, until the request is freed or applied again.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_dma_latency(
    realtime: *const unisono_realtime,
    longest_ns: u64,
) -> c_int {
    guarded(|| {
        let longest = Duration::from_nanos(longest_ns);
        change(realtime, |request| request.dma_latency(longest))
    })
}

/// Asks the system, for the calling thread and (memory) its process. Takes milliseconds: once, as a thread starts.
///
/// UNISONO_OK when all was granted, UNISONO_PARTLY when not; unisono_realtime_text says what, why, and what mends it.
/// UNISONO_E_HANDLE, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_apply(realtime: *const unisono_realtime) -> c_int {
    guarded(|| {
        let entered = REQUESTS.enter(realtime)?;
        let mut asked = entered.try_lock().map_err(|_| Status::Busy)?;
        // What was held for an earlier answer goes first.
        asked.grant = None;
        let grant = asked.request.apply();
        let partly = grant.reason().is_some();
        asked.grant = Some(grant);
        if partly { Err(Status::Partly) } else { Ok(()) }
    })
}

/// The answers, one sentence a part, as a text of at most `size` bytes with its zero. `*needed`, unless null, is the
/// size of the whole text. Before unisono_realtime_apply it says so.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_realtime_text(
    realtime: *const unisono_realtime,
    text: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    guarded(|| {
        let entered = REQUESTS.enter(realtime)?;
        let asked = entered.try_lock().map_err(|_| Status::Busy)?;
        let answer = asked
            .grant
            .as_ref()
            .map_or_else(|| "not asked yet".to_owned(), ToString::to_string);
        // SAFETY: the caller's pointers are as the header demands.
        unsafe { give_text(&answer, text, size, needed) }
    })
}

/// Closes the request. What a thread was granted it keeps, but for unisono_realtime_dma_latency. Any thread.
///
/// UNISONO_E_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_free(realtime: *const unisono_realtime) -> c_int {
    guarded(|| REQUESTS.close(realtime))
}

/// A copy of what is asked for.
pub(crate) fn request_of(realtime: *const unisono_realtime) -> Result<RealtimeRequest, Status> {
    let entered = REQUESTS.enter(realtime)?;
    let asked = entered.try_lock().map_err(|_| Status::Busy)?;
    Ok(asked.request.clone())
}

struct Asked {
    request: RealtimeRequest,
    grant: Option<RealtimeGrant>,
}

fn change(
    realtime: *const unisono_realtime,
    change: impl FnOnce(RealtimeRequest) -> RealtimeRequest,
) -> Result<(), Status> {
    let entered = REQUESTS.enter(realtime)?;
    let mut asked = entered.try_lock().map_err(|_| Status::Busy)?;
    asked.request = change(asked.request.clone());
    Ok(())
}

fn checked_priority(priority: c_int) -> Result<u8, Status> {
    match u8::try_from(priority) {
        Ok(priority @ 1..=99) => Ok(priority),
        _ => Err(Status::Invalid),
    }
}

static REQUESTS: Table<Mutex<Asked>, unisono_realtime> = Table::new(2);
