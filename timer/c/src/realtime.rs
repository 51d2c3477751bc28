//! Real-time treatment: what is asked for, and the answers as text.

use std::ffi::{c_char, c_int};
use std::sync::Mutex;
use std::time::Duration;

use timer::{Outcome, RealtimeGrant, RealtimeRequest};
use unisono_answer::{UNISONO_ANSWER_GRANTED, UNISONO_ANSWER_NONE, UNISONO_ANSWER_REFUSED};

use crate::status::{Status, guarded};
use crate::table::Table;
use crate::text::{check, give, give_text};

/// What a thread would like to have, and what became of it.
pub struct unisono_realtime(());

/// What can be asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum unisono_realtime_part {
    /// SCHED_FIFO, SCHED_RR or SCHED_DEADLINE.
    UNISONO_PART_SCHEDULING = 0,
    /// Memory that is not swapped out.
    UNISONO_PART_MEMORY = 1,
    /// One processor.
    UNISONO_PART_CPU = 2,
    /// Stack that was touched.
    UNISONO_PART_STACK = 3,
    /// Sleeps that are not delayed.
    UNISONO_PART_TIMER_SLACK = 4,
    /// Processors that do not sleep deeply.
    UNISONO_PART_DMA_LATENCY = 5,
}

/// What became of one thing that can be asked for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum unisono_answer {
    /// It was not asked for, or unisono_realtime_apply was not called yet.
    UNISONO_ANSWER_NONE = 0,
    /// It is in force.
    UNISONO_ANSWER_GRANTED = 1,
    /// It is not.
    UNISONO_ANSWER_REFUSED = 2,
}

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

/// Asks for SCHED_DEADLINE: `runtime_ns` of processor time within each `period_ns`, before all SCHED_FIFO threads. Needs CAP_SYS_NICE,
/// and that the thread may run on all processors: it does not go with unisono_realtime_pin_to. Of the scheduling classes the last one
/// asked for counts.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_realtime_deadline(
    realtime: *const unisono_realtime,
    runtime_ns: u64,
    period_ns: u64,
) -> c_int {
    guarded(|| {
        let runtime = Duration::from_nanos(runtime_ns);
        let period = Duration::from_nanos(period_ns);
        change(realtime, |request| request.deadline(runtime, period))
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

/// The answer about one part, an unisono_realtime_part: in `*answer` an unisono_answer, and the sentence about it as a text like that of
/// unisono_realtime_text.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID (no such part, too), UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_realtime_answer(
    realtime: *const unisono_realtime,
    part: c_int,
    answer: *mut c_int,
    text: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    guarded(|| {
        check(answer)?;
        let part = part_of(part)?;
        let entered = REQUESTS.enter(realtime)?;
        let asked = entered.try_lock().map_err(|_| Status::Busy)?;
        let (found, sentence) = match &asked.grant {
            Some(grant) => answer_of(part(grant)),
            None => (UNISONO_ANSWER_NONE, "not asked yet".to_owned()),
        };
        // SAFETY: the caller's pointers are as the header demands.
        unsafe { give_text(&sentence, text, size, needed) }?;
        // SAFETY: as above.
        unsafe { give(answer, found as c_int) }
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

/// Where a grant has the answer about a part.
fn part_of(part: c_int) -> Result<fn(&RealtimeGrant) -> &Outcome, Status> {
    const SCHEDULING: c_int = unisono_realtime_part::UNISONO_PART_SCHEDULING as c_int;
    const MEMORY: c_int = unisono_realtime_part::UNISONO_PART_MEMORY as c_int;
    const CPU: c_int = unisono_realtime_part::UNISONO_PART_CPU as c_int;
    const STACK: c_int = unisono_realtime_part::UNISONO_PART_STACK as c_int;
    const TIMER_SLACK: c_int = unisono_realtime_part::UNISONO_PART_TIMER_SLACK as c_int;
    const DMA_LATENCY: c_int = unisono_realtime_part::UNISONO_PART_DMA_LATENCY as c_int;
    let part: fn(&RealtimeGrant) -> &Outcome = match part {
        SCHEDULING => |grant| &grant.scheduling,
        MEMORY => |grant| &grant.memory,
        CPU => |grant| &grant.cpu,
        STACK => |grant| &grant.stack,
        TIMER_SLACK => |grant| &grant.timer_slack,
        DMA_LATENCY => |grant| &grant.dma_latency,
        _ => return Err(Status::Invalid),
    };
    Ok(part)
}

fn answer_of(outcome: &Outcome) -> (unisono_answer, String) {
    let answer = match outcome {
        Outcome::NotAsked => UNISONO_ANSWER_NONE,
        Outcome::Granted { .. } => UNISONO_ANSWER_GRANTED,
        Outcome::Refused { .. } => UNISONO_ANSWER_REFUSED,
    };
    (answer, outcome.to_string())
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
