//! A thread's own beat.

use std::ffi::c_int;
use std::sync::Mutex;
use std::time::Duration;

use timer::{LatePolicy, MonoTime, Period, Precision, Schedule, Ticker};

use crate::status::{Status, guarded};
use crate::table::Table;
use crate::text::{check, give};

/// One thread's beat on absolute deadlines. Takes one descriptor.
pub struct unisono_ticker(());

/// One deadline that has come. Times are nanoseconds of CLOCK_MONOTONIC.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct unisono_tick {
    /// The deadline's number.
    pub number: u64,
    /// When it was due.
    pub deadline_ns: u64,
    /// When the thread ran again; never before.
    pub woke_ns: u64,
    /// Deadlines missed before it.
    pub missed: u64,
}

/// What a ticker does with deadlines that are late.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum unisono_late_policy {
    /// One tick, the latest, for all that is due. The default.
    UNISONO_LATE_COALESCE = 0,
    /// Each deadline is a tick of its own, at once and in order, up to a number behind.
    UNISONO_LATE_COUNT = 1,
    /// What is late is dropped and counted as missed.
    UNISONO_LATE_SKIP = 2,
}

/// What precise mode does and costs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct unisono_precision {
    /// How long before a deadline the ticker wakes in order to spin.
    pub window_ns: u64,
    /// Time spent spinning, and its share of one CPU.
    pub spun_ns: u64,
    /// Share of one CPU, 0 to 1.
    pub cpu_share: f64,
}

/// A ticker whose first tick comes `period_ns` after now; 1000 ns or more. The handle is in `*ticker`. Any thread.
///
/// UNISONO_E_INVALID, UNISONO_E_DESCRIPTOR, UNISONO_E_TOO_MANY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_ticker_new(
    period_ns: u64,
    ticker: *mut *mut unisono_ticker,
) -> c_int {
    guarded(|| {
        let period = Period::from_duration(Duration::from_nanos(period_ns))?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { open(period, ticker) }
    })
}

/// As unisono_ticker_new, with `ticks` deadlines every `seconds`, exactly: 30 and 1 are 30 Hz, 100 and 3 are 33.3 Hz.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_ticker_new_rate(
    ticks: u64,
    seconds: u64,
    ticker: *mut *mut unisono_ticker,
) -> c_int {
    guarded(|| {
        let period = Period::from_rate(ticks, seconds)?;
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { open(period, ticker) }
    })
}

/// Sleeps until the next deadline, at once when it has come. `tick` may be null. One thread at a time: another is
/// answered UNISONO_E_BUSY. Allocates nothing and locks nothing. After a fork the child shares the kernel's timer with its
/// parent: make a new one there.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY, UNISONO_E_SYSTEM.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_ticker_wait(
    ticker: *const unisono_ticker,
    tick: *mut unisono_tick,
) -> c_int {
    guarded(|| {
        if !tick.is_null() {
            check(tick)?;
        }
        let came = with(ticker, |ticker| Ok(ticker.wait()?))?;
        if tick.is_null() {
            return Ok(());
        }
        let came = unisono_tick {
            number: came.number,
            deadline_ns: came.deadline.as_nanos(),
            woke_ns: came.woke.as_nanos(),
            missed: came.missed,
        };
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(tick, came) }
    })
}

/// From now on the ticker sleeps to shortly before each deadline and spins from there, using at most `cpu_share`
/// (above 0, at most 1; 0.01 is a good one) of one CPU. Like unisono_ticker_wait, one thread at a time.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_ticker_precise(ticker: *const unisono_ticker, cpu_share: f64) -> c_int {
    guarded(|| {
        let precision = Precision::new(cpu_share).map_err(|_| Status::Invalid)?;
        replace(ticker, |ticker| ticker.precise(precision))
    })
}

/// What the ticker does with late deadlines: an unisono_late_policy. `at_most` is how many a tick may be behind under
/// UNISONO_LATE_COUNT, and not looked at otherwise. Like unisono_ticker_wait, one thread at a time.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_ticker_late_policy(
    ticker: *const unisono_ticker,
    policy: c_int,
    at_most: u32,
) -> c_int {
    const COALESCE: c_int = unisono_late_policy::UNISONO_LATE_COALESCE as c_int;
    const COUNT: c_int = unisono_late_policy::UNISONO_LATE_COUNT as c_int;
    const SKIP: c_int = unisono_late_policy::UNISONO_LATE_SKIP as c_int;
    guarded(|| {
        let policy = match policy {
            COALESCE => LatePolicy::Coalesce,
            COUNT => LatePolicy::Count { at_most },
            SKIP => LatePolicy::Skip,
            _ => return Err(Status::Invalid),
        };
        replace(ticker, |ticker| ticker.with_late_policy(policy))
    })
}

/// What precise mode does and costs; all zero when it is off. Like unisono_ticker_wait, one thread at a time.
///
/// UNISONO_E_HANDLE, UNISONO_E_INVALID, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_ticker_precision(
    ticker: *const unisono_ticker,
    precision: *mut unisono_precision,
) -> c_int {
    guarded(|| {
        check(precision)?;
        let status = with(ticker, |ticker| Ok(ticker.precision()))?;
        let answer = unisono_precision {
            window_ns: status.map_or(0, |status| nanos(status.window)),
            spun_ns: status.map_or(0, |status| nanos(status.spun)),
            cpu_share: status.map_or(0.0, |status| status.cpu_share),
        };
        // SAFETY: the caller's pointer is as the header demands.
        unsafe { give(precision, answer) }
    })
}

/// By how much sleeps of a ticker that is not precise end ahead of their deadlines, to make up for what every wake-up costs, in `*ahead_ns`, and for
/// how long it has spun since its first wait, in `*spun_ns`: never more than 0.1 % of one CPU and a millisecond. Either may be null. 0 in precise
/// mode and without lead. Like unisono_ticker_wait, one thread at a time.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unisono_ticker_lead(
    ticker: *const unisono_ticker,
    ahead_ns: *mut u64,
    spun_ns: *mut u64,
) -> c_int {
    guarded(|| {
        let status = with(ticker, |ticker| Ok(ticker.lead()))?.unwrap_or_default();
        for (place, span) in [(ahead_ns, status.ahead), (spun_ns, status.spun)] {
            if !place.is_null() {
                // SAFETY: the caller's pointer is as the header demands.
                unsafe { give(place, nanos(span)) }?;
            }
        }
        Ok(())
    })
}

/// From now on no sleep ends ahead of its deadline: a ticker that is not precise never spins, and is later by what every wake-up costs. Like
/// unisono_ticker_wait, one thread at a time.
///
/// UNISONO_E_HANDLE, UNISONO_E_BUSY.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_ticker_without_lead(ticker: *const unisono_ticker) -> c_int {
    guarded(|| replace(ticker, Ticker::without_lead))
}

/// Closes the ticker. A thread that waits on it comes back at its deadline, and the ticker goes then. Any thread.
///
/// UNISONO_E_HANDLE.
#[unsafe(no_mangle)]
pub extern "C" fn unisono_ticker_free(ticker: *const unisono_ticker) -> c_int {
    guarded(|| TICKERS.close(ticker))
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// # Safety
///
/// `place` is null or valid to write to.
unsafe fn open(period: Period, place: *mut *mut unisono_ticker) -> Result<(), Status> {
    check(place)?;
    let ticker = Ticker::new(Schedule::new(MonoTime::now(), period))?;
    let handle = TICKERS.insert(Mutex::new(Some(ticker)))?;
    // SAFETY: as the caller guarantees.
    unsafe { give(place, handle) }
}

fn with<R>(
    ticker: *const unisono_ticker,
    act: impl FnOnce(&mut Ticker) -> Result<R, Status>,
) -> Result<R, Status> {
    let entered = TICKERS.enter(ticker)?;
    // Never waited for: a lock that a fork left held is busy for ever, not a hang.
    let mut ticker = entered.try_lock().map_err(|_| Status::Busy)?;
    act(ticker.as_mut().ok_or(Status::Busy)?)
}

fn replace(
    ticker: *const unisono_ticker,
    change: impl FnOnce(Ticker) -> Ticker,
) -> Result<(), Status> {
    let entered = TICKERS.enter(ticker)?;
    let mut ticker = entered.try_lock().map_err(|_| Status::Busy)?;
    *ticker = ticker.take().map(change);
    Ok(())
}

static TICKERS: Table<Mutex<Option<Ticker>>, unisono_ticker> = Table::new(1);
