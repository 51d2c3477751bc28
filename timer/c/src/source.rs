//! The timing source: many timers with descriptors, one thread.

use std::ffi::{c_char, c_int};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use timer::source::{Event, MAX_RATE};
use timer::{Period, SourceSettings, TimerHandle, TimingSource};

use crate::realtime::{request_of, unisono_realtime};
use crate::status::{Status, guarded};
use crate::table::{Entered, Table};
use crate::text::{check, give, give_text};

/// What timers are opened from. One real-time thread serves them all.
pub struct unisono_source(());

/// One timer: a rate, ticks that wait to be acknowledged, and a descriptor that is readable meanwhile.
pub struct unisono_timer(());

/// Why a timer's descriptor is readable.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum unisono_event {
    /// It is not.
    UNISONO_EVENT_NONE = 0,
    /// Ticks are pending.
    UNISONO_EVENT_EXPIRED = 1,
    /// Continuous mode is on; ticks may be pending as well.
    UNISONO_EVENT_CONTINUOUS = 2,
}

/// A source. Its thread starts with the first rate that is set, and asks for `realtime`, which may be freed afterwards; null asks for
/// SCHED_FIFO priority 70. `backlog_ns` is how much unacknowledged time a timer keeps, in ticks; 0 means one second.
/// Any thread.
///
/// UNISONO_E_INVALID, UNISONO_E_HANDLE (the request's), UNISONO_E_BUSY, UNISONO_E_THREAD, UNISONO_E_TOO_MANY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_source_new(
    realtime: *const unisono_realtime,
    backlog_ns: u64,
    source: *mut *mut unisono_source,
) -> c_int {
    guarded(|| {
        check(source)?;
        let mut settings = SourceSettings::new();
        if !realtime.is_null() {
            settings = settings.realtime(request_of(realtime)?);
        }
        if backlog_ns > 0 {
            settings = settings.backlog(Duration::from_nanos(backlog_ns));
        }
        let handle = SOURCES.insert(TimingSource::with_settings(settings)?)?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(source, handle) }
    })
}

/// What the source's thread was granted, as unisono_realtime_text; and whether it was since demoted to an ordinary thread for work without sleep, or
/// cannot be watched for that. Any thread.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_source_text(
    source: *const unisono_source,
    text: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> c_int {
    guarded(|| {
        let source = SOURCES.enter(source)?;
        if source.is_forked() {
            return Err(Status::Forked);
        }
        let answer = source.describe();
        // SAFETY: the caller's pointers are as the header demands.
        unsafe { give_text(&answer, text, size, needed) }
    })
}

/// How often the source's thread was demoted to an ordinary one because it worked for two seconds of processor time without sleep. Any
/// thread.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_source_demotions(
    source: *const unisono_source,
    demotions: *mut u64,
) -> c_int {
    guarded(|| {
        let source = SOURCES.enter(source)?;
        if source.is_forked() {
            return Err(Status::Forked);
        }
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(demotions, source.demotions()) }
    })
}

/// Closes the source. Timers opened from it stay; its thread ends with the last of them. Any thread.
///
/// UNISONO_E_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_source_free(source: *const unisono_source) -> c_int {
    guarded(|| SOURCES.close(source))
}

/// Ticks per second that unisono_timer_set_rate takes at most. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_timer_max_rate() -> u32 {
    MAX_RATE
}

/// Opens a timer, stopped and quiet. Takes one descriptor, closed on exec. Any thread.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_DESCRIPTOR, UNISONO_E_FORKED, UNISONO_E_TOO_MANY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_timer_open(
    source: *const unisono_source,
    timer: *mut *mut unisono_timer,
) -> c_int {
    guarded(|| {
        check(timer)?;
        let opened = SOURCES.enter(source)?.open()?;
        let handle = TIMERS.insert(opened)?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(timer, handle) }
    })
}

/// Closes the timer and its descriptor; once for all threads, and as soon as no call is at work on it. In a forked child only the child's
/// copy. Any thread.
///
/// UNISONO_E_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_timer_close(timer: *const unisono_timer) -> c_int {
    guarded(|| TIMERS.close(timer))
}

/// The timer's descriptor, to be polled for POLLIN until the timer is closed: never read, written or closed.
/// Readable exactly while ticks are pending or continuous mode is on. Any thread, as for all that take a timer.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_timer_fd(timer: *const unisono_timer, fd: *mut c_int) -> c_int {
    guarded(|| {
        let timer = own(timer)?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(fd, timer.as_fd().as_raw_fd()) }
    })
}

/// From now on `rate` ticks per second, up to unisono_timer_max_rate; 0 stops. The same rate as before keeps its phase. Allowed in
/// continuous mode. Ticks pending stay pending.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_THREAD, UNISONO_E_FORKED. The rate before then stays.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_timer_set_rate(timer: *const unisono_timer, rate: u32) -> c_int {
    guarded(|| Ok(TIMERS.enter(timer)?.set_rate(rate)?))
}

/// From now on a tick every `samples` samples at `hz` samples per second, exactly, and 125 us apart or more; 0 samples stop.
///
/// As unisono_timer_set_rate.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_timer_set_samples(
    timer: *const unisono_timer,
    samples: u32,
    hz: u32,
) -> c_int {
    guarded(|| {
        let timer = TIMERS.enter(timer)?;
        let period = match samples {
            0 => None,
            samples => Some(Period::from_rate(hz.into(), samples.into())?),
        };
        Ok(timer.set_period(period)?)
    })
}

/// Acknowledges up to `ticks` ticks; `*acknowledged`, unless null, is how many there were.
///
/// UNISONO_E_NOTHING_PENDING, UNISONO_E_HANDLE, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_timer_ack(
    timer: *const unisono_timer,
    ticks: u32,
    acknowledged: *mut u32,
) -> c_int {
    guarded(|| {
        if !acknowledged.is_null() {
            check(acknowledged)?;
        }
        let taken = TIMERS.enter(timer)?.ack(ticks)?;
        if acknowledged.is_null() {
            return Ok(());
        }
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(acknowledged, taken) }
    })
}

/// Acknowledges all pending ticks as one; otherwise as unisono_timer_ack.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_timer_ack_all(
    timer: *const unisono_timer,
    acknowledged: *mut u32,
) -> c_int {
    // SAFETY: as the caller guarantees.
    unsafe { unisono_timer_ack(timer, u32::MAX, acknowledged) }
}

/// Ticks that have come and have not been acknowledged.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_timer_pending(
    timer: *const unisono_timer,
    pending: *mut u32,
) -> c_int {
    guarded(|| {
        let timer = own(timer)?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(pending, timer.pending()) }
    })
}

/// Ticks that came when the backlog was full already, and are gone.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_timer_missed(
    timer: *const unisono_timer,
    missed: *mut u64,
) -> c_int {
    guarded(|| {
        let timer = own(timer)?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(missed, timer.missed()) }
    })
}

/// Makes the descriptor readable, whatever the rate, until unisono_timer_disable_continuous. One write at most.
///
/// UNISONO_E_HANDLE, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_timer_enable_continuous(timer: *const unisono_timer) -> c_int {
    guarded(|| Ok(TIMERS.enter(timer)?.enable_continuous()?))
}

/// Ends continuous mode: the descriptor is readable only while ticks are pending. One read at most.
///
/// UNISONO_E_HANDLE, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_timer_disable_continuous(timer: *const unisono_timer) -> c_int {
    guarded(|| Ok(TIMERS.enter(timer)?.disable_continuous()?))
}

/// Why the descriptor is readable: an unisono_event in `*event`.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_timer_event(
    timer: *const unisono_timer,
    event: *mut c_int,
) -> c_int {
    guarded(|| {
        let found = match TIMERS.enter(timer)?.event()? {
            Some(Event::Continuous) => unisono_event::UNISONO_EVENT_CONTINUOUS,
            Some(Event::Expired) => unisono_event::UNISONO_EVENT_EXPIRED,
            None => unisono_event::UNISONO_EVENT_NONE,
        };
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(event, found as c_int) }
    })
}

/// A timer that is not a forked child's copy, whose figures stand still.
fn own(
    timer: *const unisono_timer,
) -> Result<Entered<'static, TimerHandle, unisono_timer>, Status> {
    let entered = TIMERS.enter(timer)?;
    if entered.is_forked() {
        return Err(Status::Forked);
    }
    Ok(entered)
}

static SOURCES: Table<TimingSource, unisono_source> = Table::new(3);
static TIMERS: Table<TimerHandle, unisono_timer> = Table::new(4);

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use crate::status::unisono_status::{
        UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_NOTHING_PENDING, UNISONO_OK,
    };

    #[test]
    fn handles_that_are_not_open_and_places_that_are_not_there_are_told() {
        let (ok, closed) = (UNISONO_OK as c_int, UNISONO_E_HANDLE as c_int);
        let invalid = UNISONO_E_INVALID as c_int;
        let (mut source, mut timer) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: null is recognised, the places are valid, and handles may be anything.
        unsafe {
            assert_eq!(unisono_source_new(ptr::null(), 0, ptr::null_mut()), invalid);
        }
        // SAFETY: as above.
        let opened = unsafe { unisono_source_new(ptr::null(), 0, &raw mut source) };
        assert_eq!(opened, ok);
        // SAFETY: as above.
        let opened = unsafe { unisono_timer_open(source, &raw mut timer) };
        assert_eq!(opened, ok);
        // SAFETY: as above.
        let acked = unsafe { unisono_timer_ack(timer, 1, ptr::null_mut()) };
        assert_eq!(acked, UNISONO_E_NOTHING_PENDING as c_int);
        // SAFETY: as above.
        let found = unsafe { unisono_timer_fd(timer, ptr::null_mut()) };
        assert_eq!(found, invalid);
        assert_eq!(unisono_timer_set_rate(timer, 1_001), invalid);
        assert_eq!(unisono_timer_set_samples(timer, 160, 0), invalid);
        // A source is no timer.
        assert_eq!(unisono_timer_close(source.cast()), closed);
        assert_eq!(unisono_timer_close(timer), ok);
        assert_eq!(unisono_timer_close(timer), closed);
        assert_eq!(unisono_timer_enable_continuous(timer), closed);
        assert_eq!(unisono_timer_set_rate(ptr::null(), 50), closed);
        assert_eq!(unisono_source_free(source), ok);
        assert_eq!(unisono_source_free(source), closed);
    }
}
