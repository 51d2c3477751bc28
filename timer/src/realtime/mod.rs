//! Asking the system for real-time treatment, and saying what was granted.
//!
//! Nothing here fails: each part of a [`RealtimeRequest`] is asked for separately, and answered in the
//! [`RealtimeGrant`] with [`Outcome::Granted`] or with [`Outcome::Refused`], which has the reason and the
//! exact command or unit-file line that removes it. A program that was refused everything runs
//! all the same, only later at times.
//!
//! [`RealtimeRequest::apply`] reads `/proc`, allocates and takes milliseconds: call it once as a thread
//! starts, before its first tick.

mod affinity;
mod deadline;
mod host;
mod idle;
mod memory;
mod outcome;
mod scheduling;
mod stack;

use std::fmt;
use std::time::Duration;

pub use self::affinity::allowed_cpus;
use self::idle::Hold;
pub use self::outcome::{Outcome, Refusal, Remedy};
use crate::scheduler::Fixed;

/// What a thread would like to have. Nothing is asked for until a method says so.
///
/// ```no_run
/// use unisono_timer::RealtimeRequest;
///
/// let grant = RealtimeRequest::new().fifo(70).lock_memory().prefault_stack(256 * 1024).apply();
/// eprintln!("{grant}");
/// if !grant.realtime_granted() {
///     eprintln!("ticks may be late: {}", grant.reason().unwrap_or_default());
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "nothing is asked for until `apply` is called"]
pub struct RealtimeRequest {
    scheduling: Option<Scheduling>,
    lock_memory: bool,
    cpu: Option<usize>,
    stack: Option<usize>,
    timer_slack: Option<Duration>,
    dma_latency: Option<Duration>,
    preloaded: bool,
}

/// A thread has one scheduling class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheduling {
    Fixed(Fixed, u8),
    Deadline { runtime: Duration, period: Duration },
}

impl RealtimeRequest {
    /// Asks for nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// SCHED_FIFO for the calling thread at `priority`, 1 (least) to 99. Where RLIMIT_RTPRIO allows only a
    /// lower one, that is taken, and the grant says so.
    ///
    /// Threads and processes that the thread starts do not inherit it (SCHED_RESET_ON_FORK). Pair it with
    /// a [`Watchdog`](crate::Watchdog), which keeps a runaway loop from taking the machine.
    ///
    /// A thread has one scheduling class: of `fifo`, [`round_robin`](Self::round_robin) and
    /// [`deadline`](Self::deadline) the last call wins.
    pub fn fifo(mut self, priority: u8) -> Self {
        self.scheduling = Some(Scheduling::Fixed(Fixed::Fifo, priority));
        self
    }

    /// SCHED_RR for the calling thread: as [`fifo`](Self::fifo), but threads of the same priority take turns
    /// (`kernel.sched_rr_timeslice_ms`, usually 100 ms, so only who overruns notices).
    pub fn round_robin(mut self, priority: u8) -> Self {
        self.scheduling = Some(Scheduling::Fixed(Fixed::RoundRobin, priority));
        self
    }

    /// SCHED_DEADLINE for the calling thread: `runtime` of CPU time, from 1.024 us on, within each `period`
    /// (by default 100 us to 4.19 s), which is its deadline too. It comes before all SCHED_FIFO threads.
    ///
    /// * The kernel promises the time or refuses ([`Refusal::DeadlineAdmission`]). A thread that uses it up,
    ///   by spinning in precise mode for instance, stands still until the period's end.
    /// * It needs CAP_SYS_NICE; no resource limit stands in for it.
    /// * It must be allowed all CPUs: together with [`pin_to`](Self::pin_to), or under `taskset`, `CPUAffinity=`
    ///   or a cpuset, it is refused ([`Refusal::DeadlineAffinity`]).
    /// * Threads and processes that the thread starts are ordinary ones (SCHED_FLAG_RESET_ON_FORK), as
    ///   with `fifo`; without that flag the kernel would refuse to start them.
    pub fn deadline(mut self, runtime: Duration, period: Duration) -> Self {
        self.scheduling = Some(Scheduling::Deadline { runtime, period });
        self
    }

    /// Idle CPUs of the *whole machine* only sleep so deeply that they wake within `longest`, rounded down to
    /// microseconds (`/dev/cpu_dma_latency`).
    ///
    /// It lasts as long as the [`RealtimeGrant`] or a copy of it, which holds the open descriptor: keep it
    /// for as long as the thread ticks. A process that forks shares it until the child execs or ends.
    ///
    /// Zero means that idle CPUs do not sleep but poll: the quickest wake-up, at the price of power, and
    /// in a guest of the host's CPUs (whose owner may see it as 100 % use, and throttle).
    pub fn dma_latency(mut self, longest: Duration) -> Self {
        self.dma_latency = Some(longest);
        self
    }

    /// All memory of the *process*, present and future, is kept from being swapped or dropped.
    ///
    /// Pages are locked as they are first touched (MCL_ONFAULT): otherwise every thread stack (8 MiB with
    /// the C library's default) and every large allocation would be filled with real pages at once, and
    /// starting a thread would take milliseconds. So touch what a tick uses while setting up; the
    /// program's own text is brought in here.
    ///
    /// Under a finite RLIMIT_MEMLOCK only what is mapped now is locked, since a lock on the future
    /// would make allocations fail once the limit is reached.
    pub fn lock_memory(mut self) -> Self {
        self.lock_memory = true;
        self
    }

    /// The calling thread runs on `cpu` only, one of [`allowed_cpus`].
    pub fn pin_to(mut self, cpu: usize) -> Self {
        self.cpu = Some(cpu);
        self
    }

    /// Touches `bytes` of the calling thread's stack, so that its first deep call causes no page fault.
    pub fn prefault_stack(mut self, bytes: usize) -> Self {
        self.stack = Some(bytes);
        self
    }

    /// How long the kernel may delay the calling thread's sleeps to bundle wake-ups (the default is
    /// 50 us); between 1 ns and 4 s is asked for.
    ///
    /// Bears on `poll`, `epoll` and `nanosleep` timeouts of a normal thread. A [`Ticker`](crate::Ticker)'s
    /// deadlines are never delayed by it, nor is anything in a real-time thread.
    pub fn timer_slack(mut self, slack: Duration) -> Self {
        self.timer_slack = Some(slack);
        self
    }

    /// The program depends on a preloaded library (`LD_PRELOAD`): no remedy is to give it capabilities of its own by `setcap`, since the
    /// loader of a program that has some preloads nothing.
    pub fn preloaded(mut self) -> Self {
        self.preloaded = true;
        self
    }

    /// Asks the system, for the calling thread and (memory) its process, and tells what came of it.
    ///
    /// Soft limits are raised to the hard ones first. May be called again at any time, for instance
    /// after a limit was raised.
    pub fn apply(&self) -> RealtimeGrant {
        // Memory first, so that what is touched next is locked; scheduling last, so that nothing slow
        // runs at real-time priority.
        let memory = if self.lock_memory {
            memory::lock()
        } else {
            Outcome::NotAsked
        };
        let stack = self.stack.map_or(Outcome::NotAsked, stack::prefault);
        let timer_slack = self
            .timer_slack
            .map_or(Outcome::NotAsked, scheduling::set_timer_slack);
        let cpu = self.cpu.map_or(Outcome::NotAsked, affinity::pin);
        let (dma_latency, hold) = self
            .dma_latency
            .map_or((Outcome::NotAsked, None), idle::limit);
        let scheduling = match self.scheduling {
            None => Outcome::NotAsked,
            Some(Scheduling::Fixed(class, priority)) => scheduling::set_fixed(class, priority),
            Some(Scheduling::Deadline { runtime, period }) => deadline::set(runtime, period),
        };
        let mut grant = RealtimeGrant {
            scheduling,
            memory,
            cpu,
            stack,
            timer_slack,
            dma_latency,
            hold,
        };
        if self.preloaded {
            grant.withhold(&host::setcap_command());
        }
        grant
    }
}

/// What became of a [`RealtimeRequest`], part by part. Displays as one readable line.
///
/// When [`dma_latency`](Self::dma_latency) was granted, this and its copies hold the descriptor that keeps
/// it in force: idle CPUs sleep as before once the last copy is dropped. All else stays.
#[derive(Clone, Debug)]
#[must_use = "a granted `dma_latency` ends when this is dropped"]
#[non_exhaustive]
pub struct RealtimeGrant {
    /// The thread's real-time scheduling: SCHED_FIFO, SCHED_RR or SCHED_DEADLINE.
    pub scheduling: Outcome,
    /// The process's memory lock.
    pub memory: Outcome,
    /// The thread's processor.
    pub cpu: Outcome,
    /// The thread's stack.
    pub stack: Outcome,
    /// The thread's timer slack.
    pub timer_slack: Outcome,
    /// The latency of idle CPUs.
    pub dma_latency: Outcome,
    #[expect(dead_code, reason = "it is kept, not read")]
    hold: Option<Hold>,
}

impl RealtimeGrant {
    /// Whether the thread runs with real-time scheduling: what matters most for punctual ticks.
    pub const fn realtime_granted(&self) -> bool {
        matches!(self.scheduling, Outcome::Granted { .. })
    }

    /// Why not everything that was asked for was granted, with the remedies; `None` when it was.
    pub fn reason(&self) -> Option<String> {
        let refused = self.parts().filter(|(_, outcome)| outcome.is_refused());
        let sentences: Vec<String> = refused
            .map(|(name, outcome)| format!("{name} {outcome}"))
            .collect();
        if sentences.is_empty() {
            None
        } else {
            Some(sentences.join("; "))
        }
    }

    /// Each part that was asked for, with its name, in the order of importance.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, &Outcome)> {
        let all = [
            ("scheduling", &self.scheduling),
            ("memory lock", &self.memory),
            ("CPU", &self.cpu),
            ("stack", &self.stack),
            ("timer slack", &self.timer_slack),
            ("idle latency", &self.dma_latency),
        ];
        all.into_iter()
            .filter(|(_, outcome)| **outcome != Outcome::NotAsked)
    }

    /// Leaves a command out of the remedies.
    fn withhold(&mut self, command: &str) {
        self.scheduling.withhold(command);
        self.memory.withhold(command);
    }
}

impl PartialEq for RealtimeGrant {
    /// Whether the same was answered.
    fn eq(&self, other: &Self) -> bool {
        self.parts().eq(other.parts())
    }
}

impl Eq for RealtimeGrant {}

impl fmt::Display for RealtimeGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, outcome) in self.parts() {
            match outcome {
                Outcome::Granted { detail } => write!(f, "{separator}{detail}")?,
                outcome => write!(f, "{separator}{name} {outcome}")?,
            }
            separator = "; ";
        }
        if separator.is_empty() {
            f.write_str("nothing asked for")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(scheduling: Outcome) -> RealtimeGrant {
        RealtimeGrant {
            scheduling,
            memory: Outcome::granted("memory locked"),
            cpu: Outcome::NotAsked,
            stack: Outcome::NotAsked,
            timer_slack: Outcome::NotAsked,
            dma_latency: Outcome::NotAsked,
            hold: None,
        }
    }

    #[test]
    fn a_full_grant_reads_as_one_line_without_reason() {
        let grant = grant(Outcome::granted("SCHED_FIFO priority 70"));
        assert!(grant.realtime_granted());
        assert_eq!(grant.reason(), None);
        assert_eq!(grant.to_string(), "SCHED_FIFO priority 70; memory locked");
    }

    #[test]
    fn a_refusal_reads_with_reason_and_remedy() {
        let refusal = Refusal::RealtimePriority {
            limit: 0,
            asked: 70,
            namespaced: false,
        };
        let grant = grant(Outcome::refused(refusal, Remedy::unit("LimitRTPRIO=70")));
        assert!(!grant.realtime_granted());
        let reason = "scheduling refused: RLIMIT_RTPRIO is 0 and CAP_SYS_NICE is missing \
                      (remedy: LimitRTPRIO=70 in the unit file)";
        assert_eq!(grant.reason().unwrap(), reason);
        assert_eq!(grant.to_string(), format!("{reason}; memory locked"));
    }

    #[test]
    fn only_the_command_that_is_withheld_is_left_out_of_a_remedy() {
        let refusal = || Refusal::Seccomp { call: "call" };
        let remedy = |command: &str| Remedy::unit("Line=").or_command(command);
        let mut grant = grant(Outcome::refused(refusal(), remedy("this")));
        grant.memory = Outcome::refused(refusal(), remedy("that"));
        grant.withhold("this");
        assert_eq!(
            (grant.scheduling, grant.memory),
            (
                Outcome::refused(refusal(), Remedy::unit("Line=")),
                Outcome::refused(refusal(), remedy("that"))
            )
        );
    }

    #[test]
    fn only_what_was_asked_for_is_a_part() {
        let grant = grant(Outcome::granted("SCHED_RR priority 5"));
        let names: Vec<_> = grant.parts().map(|(name, _)| name).collect();
        assert_eq!(names, ["scheduling", "memory lock"]);
    }

    #[test]
    fn of_several_scheduling_classes_the_last_wins() {
        let (runtime, period) = (Duration::from_millis(2), Duration::from_millis(20));
        let request = RealtimeRequest::new().deadline(runtime, period).fifo(3);
        assert_eq!(request, RealtimeRequest::new().round_robin(9).fifo(3));
        assert_ne!(request, RealtimeRequest::new().fifo(3).round_robin(3));
    }

    #[test]
    fn nothing_asked_for_is_nothing_granted() {
        let grant = RealtimeRequest::new().apply();
        assert!(!grant.realtime_granted());
        assert_eq!(
            (grant.reason(), grant.to_string().as_str()),
            (None, "nothing asked for")
        );
    }
}
