//! Why a tick was late: evidence taken at the tick, and what it says.

use std::fmt;

/// A tick that was late beyond the threshold.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Outlier {
    /// The deadline's number.
    pub number: u64,
    /// Since the run's start, ns: when it woke.
    pub at_ns: u64,
    /// How late it woke, ns: after the first deadline that passed unserved, so that a tick which missed others
    /// counts from the first of them.
    pub lateness_ns: u64,
    /// What most likely made it late.
    pub cause: Cause,
    /// What was seen.
    pub evidence: Evidence,
}

/// What most likely made a tick late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "kebab-case")
)]
#[non_exhaustive]
pub enum Cause {
    /// The hypervisor ran somebody else.
    Steal,
    /// The control group had used up its CPU quota.
    Throttling,
    /// The clock itself jumped.
    ClockJump,
    /// A page had to be brought in, from disk or (minor) from elsewhere.
    PageFault,
    /// Another thread had the CPU while this one was ready to run.
    InvoluntarySwitch,
    /// The thread was moved to another CPU.
    Migration,
    /// Nothing of the above shows.
    Unknown,
}

/// What changed between the tick before and the late one. `None`: the machine does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Evidence {
    /// Steal on all CPUs around the tick, ns (the kernel counts in steps of 10 ms).
    pub steal_ns: Option<u64>,
    /// The control group's throttled time around the tick, ns.
    pub throttled_ns: Option<u64>,
    /// Time that the thread was ready but had no CPU, ns.
    pub run_delay_ns: Option<u64>,
    /// Page faults of the thread without and with input or output.
    pub minor_faults: u64,
    /// See `minor_faults`.
    pub major_faults: u64,
    /// Times the thread was taken off the CPU.
    pub involuntary_switches: u64,
    /// The CPU before and after, when they differ.
    pub migrated: Option<(u32, u32)>,
    /// The greatest jump of another clock against CLOCK_MONOTONIC, ns.
    pub clock_jump_ns: i64,
    /// How late the observer was at that time on another CPU than the tick's, ns: late too means that the whole guest
    /// stood still. `None`: it was to wake neither then nor shortly before, or woke on the same CPU and is no second witness.
    pub observer_lateness_ns: Option<u64>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steal => "steal",
            Self::Throttling => "throttling",
            Self::ClockJump => "clock jump",
            Self::PageFault => "page fault",
            Self::InvoluntarySwitch => "involuntary switch",
            Self::Migration => "migration",
            Self::Unknown => "unknown",
        })
    }
}
