//! What became of one thing asked for.

use std::fmt;
use std::time::Duration;

use nix::errno::Errno;

/// The answer to one part of a [`RealtimeRequest`](super::RealtimeRequest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not asked for.
    NotAsked,
    /// It is in force.
    Granted {
        /// What exactly, readable by a person.
        detail: String,
    },
    /// It is not in force.
    Refused {
        /// Why.
        reason: Refusal,
        /// What an administrator does about it.
        remedy: Remedy,
    },
}

impl Outcome {
    /// Whether it was asked for and is in force.
    pub const fn is_granted(&self) -> bool {
        matches!(self, Self::Granted { .. })
    }

    /// Whether it was asked for and is not in force.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// Leaves a command out of the remedy.
    pub(super) fn withhold(&mut self, command: &str) {
        if let Self::Refused { remedy, .. } = self {
            remedy.command.take_if(|advised| advised == command);
        }
    }

    pub(super) fn granted(detail: impl Into<String>) -> Self {
        Self::Granted {
            detail: detail.into(),
        }
    }

    pub(super) const fn refused(reason: Refusal, remedy: Remedy) -> Self {
        Self::Refused { reason, remedy }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("not asked for"),
            Self::Granted { detail } => write!(f, "granted: {detail}"),
            Self::Refused { reason, remedy } => write!(f, "refused: {reason} (remedy: {remedy})"),
        }
    }
}

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The process may not have real-time priority: neither its limit nor a capability allows it.
    #[error("RLIMIT_RTPRIO is {limit} and {}", missing_nice(*.namespaced))]
    RealtimePriority {
        /// The hard RLIMIT_RTPRIO: the greatest priority allowed.
        limit: u64,
        /// The priority asked for.
        asked: u8,
        /// The process is in a user namespace, where a capability does not count for this.
        namespaced: bool,
    },
    /// Real-time priorities are 1 to 99.
    #[error("there is no real-time priority {asked}")]
    NoSuchPriority {
        /// The priority asked for.
        asked: u8,
    },
    /// The process's control group has no real-time budget (a kernel with CONFIG_RT_GROUP_SCHED); this
    /// refuses even root.
    #[error("the control group {group} has no real-time budget{}", budget(*.runtime_us))]
    RealtimeBudget {
        /// The group, as in `/proc/self/cgroup`.
        group: String,
        /// Its `cpu.rt_runtime_us`, where that can be read (cgroup v1).
        runtime_us: Option<i64>,
    },
    /// SCHED_DEADLINE needs CAP_SYS_NICE; no limit stands in for it.
    #[error("SCHED_DEADLINE needs CAP_SYS_NICE, and {}", missing_nice(*.namespaced))]
    DeadlineCapability {
        /// The process is in a user namespace, where a capability does not count for this.
        namespaced: bool,
    },
    /// A SCHED_DEADLINE thread must be allowed to run on all CPUs of its root domain: it cannot be pinned,
    /// nor have a mask (`taskset`, `CPUAffinity=`) or a common cpuset.
    #[error("SCHED_DEADLINE goes with all CPUs only, and this thread is kept to {allowed}")]
    DeadlineAffinity {
        /// The CPUs it may use, as a list of ranges.
        allowed: String,
    },
    /// Together with what is promised to other SCHED_DEADLINE threads it would be more than the CPUs have.
    #[error("{runtime:?} in every {period:?} cannot be promised beside what is promised already")]
    DeadlineAdmission {
        /// The runtime asked for.
        runtime: Duration,
        /// The period asked for.
        period: Duration,
    },
    /// No such runtime or period can be had.
    #[error("a runtime of {runtime:?} in every {period:?} is impossible")]
    DeadlineBounds {
        /// The runtime asked for.
        runtime: Duration,
        /// The period asked for.
        period: Duration,
    },
    /// The kernel has no driver for idle CPUs: they halt, whatever latency is asked for.
    #[error("no cpuidle driver is in use, so there are no idle states to choose among")]
    NoIdleStates,
    /// A device cannot be opened or written to.
    #[error("{device}: {errno}")]
    Device {
        /// Its path.
        device: &'static str,
        /// The kernel's answer.
        errno: Errno,
    },
    /// A seccomp filter (of a container or a unit) forbids the system call.
    #[error("a seccomp filter forbids {call}")]
    Seccomp {
        /// The system call.
        call: &'static str,
    },
    /// The limit of locked memory is too low, and CAP_IPC_LOCK is missing.
    #[error("RLIMIT_MEMLOCK is {limit} bytes, {needed} are needed, and CAP_IPC_LOCK is missing")]
    LockedMemory {
        /// The hard RLIMIT_MEMLOCK in bytes.
        limit: u64,
        /// What is mapped now and may yet be added to the main stack, in bytes.
        needed: u64,
    },
    /// The processor does not exist, is offline, or is not among those the process may use.
    #[error("CPU {cpu} is not among the allowed ones ({allowed})")]
    CpuNotAllowed {
        /// The one asked for.
        cpu: usize,
        /// Those allowed, as a list of ranges.
        allowed: String,
    },
    /// The thread's stack has no room for so much.
    #[error("{asked} bytes of stack were asked for, {available} are free")]
    StackTooSmall {
        /// Bytes asked for.
        asked: usize,
        /// Bytes that can be used.
        available: usize,
    },
    /// The kernel refused for another reason.
    #[error("{call}: {errno}")]
    Kernel {
        /// The system call.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
}

/// What removes a refusal: a line for the `[Service]` section of a systemd unit, a command, or both
/// (either suffices).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remedy {
    /// For example `LimitRTPRIO=70`.
    pub unit_line: Option<String>,
    /// For example `sudo setcap cap_sys_nice,cap_ipc_lock=ep /usr/bin/unisono`.
    pub command: Option<String>,
    /// What the program or its caller changes, where no administrator can.
    pub advice: Option<String>,
}

impl Remedy {
    pub(super) fn unit(line: impl Into<String>) -> Self {
        Self {
            unit_line: Some(line.into()),
            ..Self::default()
        }
    }

    pub(super) fn command(command: impl Into<String>) -> Self {
        Self {
            command: Some(command.into()),
            ..Self::default()
        }
    }

    pub(super) fn advice(advice: impl Into<String>) -> Self {
        Self {
            advice: Some(advice.into()),
            ..Self::default()
        }
    }

    pub(super) fn or_advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    pub(super) fn or_command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        if let Some(line) = &self.unit_line {
            write!(f, "{line} in the unit file")?;
            separator = ", or: ";
        }
        for words in [&self.command, &self.advice].into_iter().flatten() {
            write!(f, "{separator}{words}")?;
            separator = ", or: ";
        }
        Ok(())
    }
}

fn missing_nice(namespaced: bool) -> &'static str {
    if namespaced {
        "CAP_SYS_NICE does not count in a user namespace"
    } else {
        "CAP_SYS_NICE is missing"
    }
}

fn budget(runtime_us: Option<i64>) -> String {
    runtime_us.map_or_else(String::new, |runtime| {
        format!(" (cpu.rt_runtime_us is {runtime})")
    })
}
