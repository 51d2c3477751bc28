//! Measuring what a machine does to wake-ups: how late, how often missed, and why.
//!
//! [`measure`] carries out a [`Plan`]: one thread waits for deadline after deadline by the [`Method`]
//! chosen and notes when it woke and what happened to it; another, the observer, watches the host
//! and its own punctuality, so that a stall of the whole guest is told from one of the measuring thread.
//! What comes back is a [`Run`], plain data; nothing here prints. [`Live`] shows the figures while it runs.
//!
//! ```
//! use std::time::Duration;
//! use unisono_timer::jitter::{Live, Method, Plan, measure};
//!
//! let plan = Plan::new(Method::Ticker, Duration::from_millis(5), Duration::from_millis(100));
//! let run = measure(&plan, &Live::new())?;
//! let worst = run.samples.iter().map(|sample| sample.lateness_ns).max();
//! println!("{} ticks, the worst {worst:?} ns late", run.samples.len());
//! # Ok::<(), unisono_timer::jitter::JitterError>(())
//! ```
//!
//! # What the measuring thread does besides waiting
//!
//! After each wake-up, and after the time has been taken: two system calls (`getrusage`, and `pread` of its
//! scheduling statistics where that takes at most 5 us) and some clock readings, 2 to 10 us in all. It
//! allocates nothing, takes no lock and writes to no file. [`Run::cpu_time`] includes this work.
//!
//! Several runs may go on at once, each with a [`Live`] of its own; for one on each CPU call [`measure`] from
//! as many threads. The memory lock belongs to the process and outlasts the run.

mod beat;
mod cause;
mod clocks;
mod dahdi;
mod evidence;
mod explain;
mod live;
pub mod load;
mod measure;
mod observer;
mod outliers;
mod plan;
mod record;

pub use self::beat::{Beat, Wakeup};
pub use self::cause::{Cause, Evidence, Outlier};
pub use self::dahdi::{DahdiTest, dahdi_test};
pub use self::explain::classify;
pub use self::live::Live;
pub use self::measure::{measure, measure_with};
pub use self::plan::{JitterError, Plan};
pub use self::record::{Clock, ClockJump, GrantedPart, HostSample, Method, Policy, Run, Sample};
