//! What a measurement leaves behind: plain data, from which every figure, table and plot is made.

use std::time::{Duration, SystemTime};

use super::cause::Outlier;
use crate::realtime::{Outcome, RealtimeGrant};

/// How a thread waits for its next deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Method {
    /// This crate's [`Ticker`](crate::Ticker), as it is made: asleep until a little before the deadline, by what
    /// every wake-up costs.
    Ticker,
    /// A timerfd armed with the absolute deadline, and a blocking `read` of it.
    Timerfd,
    /// `clock_nanosleep` until an absolute time, as cyclictest does.
    Nanosleep,
    /// This crate's ticker in precise mode: asleep until shortly before the deadline, then spinning.
    Precise,
    /// `epoll_wait` with a timeout in whole milliseconds, as event loops do.
    Epoll,
    /// `tokio::time::interval`.
    Tokio,
    /// `std::thread::sleep` for what is left of the period.
    Sleep,
    /// `usleep` of a quarter of the period (at most 5 ms) and a look at the clock, again and again, as
    /// some conference mixers do.
    Usleep,
}

/// The scheduling that a measurement asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Policy {
    /// SCHED_OTHER, what every program has.
    Other,
    /// SCHED_FIFO at a priority, 1 to 99.
    Fifo(u8),
    /// SCHED_RR at a priority, 1 to 99.
    RoundRobin(u8),
    /// SCHED_DEADLINE with a runtime within each period.
    Deadline,
}

/// One part of what was asked of the system: `scheduling`, `memory`, `cpu` and so on, and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct GrantedPart {
    /// What was asked for, in a word.
    pub part: String,
    /// Whether it is in force.
    pub granted: bool,
    /// What exactly is in force, or why it is not and what would grant it.
    pub detail: String,
}

impl GrantedPart {
    /// Each part of `grant` that was asked for.
    pub(super) fn all_of(grant: &RealtimeGrant) -> impl Iterator<Item = Self> {
        grant.parts().filter_map(|(name, outcome)| {
            let detail = match outcome {
                Outcome::NotAsked => return None,
                Outcome::Granted { detail } => detail.clone(),
                Outcome::Refused { reason, remedy } => format!("{reason} (remedy: {remedy})"),
            };
            Some(Self {
                part: name.to_owned(),
                granted: outcome.is_granted(),
                detail,
            })
        })
    }
}

/// One thread's measurement by one method, from its first deadline to its last.
#[derive(Clone, Debug)]
pub struct Run {
    /// How it waited.
    pub method: Method,
    /// Time between deadlines.
    pub period: Duration,
    /// The scheduling asked for.
    pub policy: Policy,
    /// The CPU it was pinned to; `None` when it could run anywhere.
    pub cpu: Option<usize>,
    /// What else the tool itself made the machine do, by name (`cpu`, `mem`, `disk`, `net`).
    pub loads: Vec<String>,
    /// What the system granted.
    pub grant: Vec<GrantedPart>,
    /// Wall-clock time of deadline number 0.
    pub started: SystemTime,
    /// From deadline number 0 until the last tick.
    pub elapsed: Duration,
    /// Every tick, in order.
    pub samples: Vec<Sample>,
    /// Ticks that were late beyond the threshold, with their causes, in order. Bounded: when it is full, the
    /// least late are dropped.
    pub outliers: Vec<Outlier>,
    /// Late beyond the threshold, including those dropped from `outliers`.
    pub outlier_count: u64,
    /// From which lateness on a tick is an outlier.
    pub outlier_threshold: Duration,
    /// Jumps between clocks that were seen.
    pub clock_jumps: Vec<ClockJump>,
    /// What the observer saw of the host, in order, about ten times a second.
    pub host: Vec<HostSample>,
    /// How late the observer's own wake-ups were, ns, one for each of `host`.
    pub observer_lateness: Vec<u64>,
    /// CPU time the measuring thread used, from first to last tick.
    pub cpu_time: Duration,
    /// Set when the run was ended early (a signal, or an error that says which).
    pub ended_early: Option<String>,
}

/// One tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The deadline's number: its time since `started` is number times period.
    pub number: u64,
    /// Nanoseconds between deadline and wake-up. Negative for methods that may wake too early.
    pub lateness_ns: i64,
    /// Deadlines that passed without a tick of their own before this one.
    pub missed: u32,
    /// The CPU it woke on.
    pub cpu: u32,
}

/// A clock that went a different way than CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClockJump {
    /// Since the run's start, ns.
    pub at_ns: u64,
    /// Which clock.
    pub clock: Clock,
    /// By how much it moved against CLOCK_MONOTONIC, ns.
    pub by_ns: i64,
}

/// A clock that is compared with CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Clock {
    /// CLOCK_REALTIME: somebody set the time, or a leap second.
    Realtime,
    /// CLOCK_BOOTTIME: the machine was suspended.
    Boottime,
    /// CLOCK_MONOTONIC_RAW: the clock source itself jumped, or is slewed hard.
    Raw,
}

/// Counters of the host at one moment, since the run began. Fields that the machine does not tell are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct HostSample {
    /// Since the run's start, ns.
    pub at_ns: u64,
    /// CPU time that the hypervisor took, all CPUs, ns.
    pub steal_ns: Option<u64>,
    /// Time the control group was throttled by its CPU quota, ns.
    pub throttled_ns: Option<u64>,
    /// CPU time used by everybody, all CPUs, ns (user, nice, system, interrupts).
    pub busy_ns: Option<u64>,
    /// Time that some task waited for a CPU (pressure stall information), ns.
    pub cpu_stall_ns: Option<u64>,
    /// Pages brought in from disk by anybody.
    pub major_faults: Option<u64>,
}
