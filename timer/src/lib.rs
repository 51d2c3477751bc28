//! Beats for real-time audio in user space: absolute deadlines that never drift, real-time treatment
//! asked for and honestly reported, lateness counted without a lock.
//!
//! # Guarantees
//!
//! * A [`Schedule`]'s deadlines are exact: after any number of ticks, at any rate, less than a nanosecond off.
//! * [`Ticker`]'s waits, [`TickStats::record`] and [`LatencyHistogram::record`] never allocate, free, lock
//!   or log; the two `record`s never block either. All memory is allocated in the constructors.
//! * Time that the machine lost is counted and never replayed as a storm: one late tick that says how many
//!   were missed, or what else the [`LatePolicy`] says.
//! * [`Ticker::precise`] spins shortly before deadlines and never exceeds its share of a CPU; an ordinary [`Ticker`] spins for
//!   0.1 % of one at most, and [`without_lead`](Ticker::without_lead) never.
//! * What the system refuses ([`RealtimeRequest`]) and a runaway thread's demotion ([`Watchdog`]) are states
//!   with reason and remedy, not failures.
//!
//! Linux only: timerfd, CLOCK_MONOTONIC, real-time scheduling classes.
//!
//! # A worker in one page
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use unisono_timer::{MonoTime, Period, RealtimeRequest, Schedule, TickStats, Ticker, Watchdog};
//!
//! let stats = Arc::new(TickStats::new());
//! let worker = std::thread::spawn({
//!     let stats = Arc::clone(&stats);
//!     move || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//!         // Ask first; whatever is refused, the beat goes on.
//!         let grant = RealtimeRequest::new().fifo(70).prefault_stack(64 * 1024).apply();
//!         println!("{grant}");
//!         // Never freeze the machine: two seconds without sleep, and the thread is ordinary again.
//!         let watchdog = Watchdog::watch(Duration::from_secs(2))?;
//!
//!         let schedule = Schedule::new(MonoTime::now(), Period::from_rate(50, 1)?);
//!         let mut ticker = Ticker::new(schedule)?;
//!         for _ in 0..3 {
//!             let tick = ticker.wait()?;
//!             stats.record(&tick);
//!             // Mix `1 + tick.missed` frames here, or skip over those missed.
//!         }
//!         assert!(!watchdog.status().demoted());
//!         Ok(())
//!     }
//! });
//! worker.join().unwrap()?;
//!
//! // Any thread, at any time, without disturbing the worker:
//! let lateness = stats.lateness().snapshot();
//! assert_eq!(lateness.count(), stats.ticks());
//! println!("p99 {} us, max {:?}", lateness.quantile(0.99) / 1000, stats.max_lateness());
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! A worker that serves only some slots of a fine grid uses [`Ticker::wait_for`]; one that also
//! listens for commands [`Ticker::wait_for_or`]; one with nothing to do [`Ticker::idle_until`].
#![deny(unsafe_code)]

#[cfg(not(target_os = "linux"))]
compile_error!("unisono-timer is built on Linux's timerfd and scheduling classes");

pub mod clock;
pub mod host;
pub mod jitter;
pub mod realtime;
pub mod schedule;
mod scheduler;
pub mod source;
pub mod stats;
pub mod ticker;
pub mod watchdog;

pub use clock::MonoTime;
pub use host::HostFacts;
pub use realtime::{Outcome, RealtimeGrant, RealtimeRequest};
pub use schedule::{Period, PeriodError, Schedule};
pub use source::{SourceError, SourceSettings, TimerHandle, TimingSource};
pub use stats::{LatencyHistogram, Snapshot, TickStats};
pub use ticker::{
    LatePolicy, LeadStatus, Precision, PrecisionError, PrecisionStatus, Tick, Ticker, TickerError,
    Wake,
};
pub use watchdog::{Watchdog, WatchdogError, WatchdogStatus};
