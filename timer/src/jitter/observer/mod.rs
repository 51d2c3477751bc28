//! A second, independent pair of eyes: was it the measuring thread that stood still, or the machine?
//!
//! The observer wakes every 10 ms on a grid of its own, and notes how late it was and whether CPU time was stolen or
//! withheld since (that every 100 ms only, where reading it costs much). Every 100 ms it reads whatever the kernel
//! counts for the whole machine.
//!
//! # How it is scheduled
//!
//! Like the measuring thread, but one priority lower when that is real-time (and at the lowest real-time
//! priority beside SCHED_DEADLINE): so nothing ordinary delays it, and it never delays the
//! measurement, as its reading of `/proc` (some 100 us) would. When the measuring thread is pinned, it is pinned to
//! another CPU, if there is one. Otherwise both run where the kernel likes, and what the observer saw from the CPU of a
//! late tick is no evidence: see `witness.rs`.

mod counters;
mod witness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use self::counters::HostCounters;
use super::evidence::current_cpu;
use super::live::Live;
use super::plan::{JitterError, Plan};
use super::record::{GrantedPart, HostSample, Policy};
use crate::clock::{MonoTime, saturating_nanos};
use crate::realtime::{RealtimeRequest, allowed_cpus};
use crate::schedule::{Period, Schedule};
use crate::ticker::Ticker;

/// What the observer saw.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// Host counters, in order.
    pub(super) host: Vec<HostSample>,
    /// The latest wake-up up to each of `host` since the one before, ns.
    pub(super) lateness: Vec<u64>,
    /// How late the wake-up for each of its deadlines was, ns; deadline `n` was [`WAKE_OFFSET`] and `n` times
    /// [`WAKE_PERIOD`] after the run's origin.
    pub(super) wakes: Vec<u32>,
    /// The CPU on which it woke for each of `wakes`.
    pub(super) wake_cpus: Vec<u32>,
    /// When CPU time was stolen or withheld, in order.
    pub(super) taken: Vec<Taken>,
    /// How it was scheduled, if it asked for more than an ordinary thread has, and whether it failed.
    pub(super) grant: Vec<GrantedPart>,
}

/// CPU time that was taken between two readings, whose times are since the run's origin, ns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
    /// By the hypervisor, all CPUs.
    pub(super) steal_ns: u64,
    /// By the control group's quota.
    pub(super) throttled_ns: u64,
}

/// Made before the run begins, so that its files are open and its counters have a base.
pub(super) struct Observer {
    counters: HostCounters,
    base: HostSample,
    /// The latest reading, since `base`.
    last: HostSample,
    /// Whether steal and throttling are read at every wake-up.
    closely: bool,
    request: RealtimeRequest,
    seen: Observed,
    since_sample: u64,
}

impl Observer {
    pub(super) fn new(plan: &Plan) -> Self {
        let mut counters = HostCounters::open();
        let closely = counters.cost_of_taken() <= CHEAP;
        let base = counters.read();
        let first = since(base, base, 0);
        let samples = (plan.duration.as_millis() / SAMPLE_PERIOD.as_millis()) as usize + SPARE;
        let mut observer = Self {
            counters,
            base,
            last: first,
            closely,
            request: request_beside(plan, &allowed_cpus()),
            seen: Observed {
                host: Vec::with_capacity(samples),
                lateness: Vec::with_capacity(samples),
                wakes: Vec::with_capacity(samples * WAKES_PER_SAMPLE as usize),
                wake_cpus: Vec::with_capacity(samples * WAKES_PER_SAMPLE as usize),
                taken: Vec::new(),
                grant: Vec::new(),
            },
            since_sample: 0,
        };
        observer.push(first);
        observer
    }

    /// Observes on the calling thread, from the run's origin until `done`; nothing if no origin comes. Should it
    /// fail, the measurement goes on without, and `grant` of what was seen says so.
    pub(super) fn run(
        mut self,
        origin: &Receiver<MonoTime>,
        done: &AtomicBool,
        live: &Live,
    ) -> Observed {
        let granted = self.request.apply();
        let asked = GrantedPart::all_of(&granted).filter(|part| part.part == "scheduling");
        self.seen.grant = asked
            .map(|part| GrantedPart {
                part: format!("observer {}", part.part),
                ..part
            })
            .collect();
        if let Ok(origin) = origin.recv()
            && let Err(error) = self.observe(origin, done, live)
        {
            self.seen.grant.push(GrantedPart {
                part: "observer".to_owned(),
                granted: false,
                detail: error.to_string(),
            });
        }
        self.seen
    }

    fn observe(
        &mut self,
        origin: MonoTime,
        done: &AtomicBool,
        live: &Live,
    ) -> Result<(), JitterError> {
        let period = Period::from_duration(WAKE_PERIOD).map_err(JitterError::Grid)?;
        let mut ticker = Ticker::new(Schedule::new(origin + WAKE_OFFSET, period))?;
        let mut next_sample = 0;
        // Once more after the end, so that the last ticks have a wake-up and a sample after them.
        let mut last = false;
        while !last {
            last = done.load(Ordering::Relaxed);
            let tick = ticker.wait()?;
            let lateness_ns = saturating_nanos(tick.lateness());
            self.note_wake(tick.number, lateness_ns, current_cpu());
            if last || tick.number >= next_sample {
                next_sample = tick.number - tick.number % WAKES_PER_SAMPLE + WAKES_PER_SAMPLE;
                let counted = self.counters.read();
                let sample = self.note_counters(counted, MonoTime::now().since(origin));
                live.set_steal(sample.steal_ns);
                self.push(sample);
            } else if self.closely {
                let counted = self.counters.read_taken();
                self.note_counters(counted, MonoTime::now().since(origin));
            }
        }
        Ok(())
    }

    /// The wake-up for deadline `number`, which served also those before it that had none.
    fn note_wake(&mut self, number: u64, lateness_ns: u64, cpu: u32) {
        let first = self.seen.wakes.len() as u64;
        for earlier in first..=number {
            let periods = (number - earlier) * saturating_nanos(WAKE_PERIOD);
            let late = lateness_ns.saturating_add(periods);
            self.since_sample = self.since_sample.max(late);
            self.seen
                .wakes
                .push(u32::try_from(late).unwrap_or(u32::MAX));
            self.seen.wake_cpus.push(cpu);
        }
    }

    /// Counters read at a time since the origin: notes what was taken, and returns them since the base.
    fn note_counters(&mut self, counted: HostSample, at: Duration) -> HostSample {
        let now = since(counted, self.base, saturating_nanos(at));
        let last = std::mem::replace(&mut self.last, now);
        let grown = |now: Option<u64>, last: Option<u64>| {
            now.zip(last)
                .map_or(0, |(now, last)| now.saturating_sub(last))
        };
        let taken = Taken {
            from_ns: last.at_ns,
            to_ns: now.at_ns,
            steal_ns: grown(now.steal_ns, last.steal_ns),
            throttled_ns: grown(now.throttled_ns, last.throttled_ns),
        };
        if taken.steal_ns > 0 || taken.throttled_ns > 0 {
            self.seen.taken.push(taken);
        }
        now
    }

    fn push(&mut self, sample: HostSample) {
        self.seen.host.push(sample);
        self.seen.lateness.push(self.since_sample);
        self.since_sample = 0;
    }
}

/// What the observer asks for beside a measuring thread of `plan`.
fn request_beside(plan: &Plan, allowed: &[usize]) -> RealtimeRequest {
    let request = RealtimeRequest::new().timer_slack(Duration::from_nanos(1));
    let request = match plan.policy {
        Policy::Other => request,
        Policy::Fifo(priority) | Policy::RoundRobin(priority) => {
            request.fifo(priority.saturating_sub(1).max(1))
        }
        Policy::Deadline => request.fifo(1),
    };
    let after = |cpu: &usize| plan.cpu.is_some_and(|measured| *cpu > measured);
    let other = |cpu: &usize| plan.cpu.is_some_and(|measured| *cpu != measured);
    let next = allowed.iter().copied().find(after);
    match next.or_else(|| allowed.iter().copied().find(other)) {
        Some(cpu) => request.pin_to(cpu),
        None => request,
    }
}

/// Counters since the base.
fn since(now: HostSample, base: HostSample, at_ns: u64) -> HostSample {
    let grown = |now: Option<u64>, base: Option<u64>| Some(now?.saturating_sub(base?));
    HostSample {
        at_ns,
        steal_ns: grown(now.steal_ns, base.steal_ns),
        throttled_ns: grown(now.throttled_ns, base.throttled_ns),
        busy_ns: grown(now.busy_ns, base.busy_ns),
        cpu_stall_ns: grown(now.cpu_stall_ns, base.cpu_stall_ns),
        major_faults: grown(now.major_faults, base.major_faults),
    }
}

/// Between the observer's wake-ups.
pub(super) const WAKE_PERIOD: Duration = Duration::from_millis(10);
/// So that it never wakes at the very moment that a tick is due.
pub(super) const WAKE_OFFSET: Duration = Duration::from_micros(437);
/// A two-hundredth of a CPU at 100 readings a second.
const CHEAP: Duration = Duration::from_micros(50);
const SAMPLE_PERIOD: Duration = Duration::from_millis(100);
const WAKES_PER_SAMPLE: u64 = 10;
/// For the first and the last sample, and some while the run gets under way.
const SPARE: usize = 16;

#[cfg(test)]
mod tests {
    use super::super::record::Method;
    use super::*;

    fn plan(policy: Policy, cpu: Option<usize>) -> Plan {
        let mut plan = Plan::new(
            Method::Timerfd,
            Duration::from_millis(20),
            Duration::from_secs(1),
        );
        (plan.policy, plan.cpu) = (policy, cpu);
        plan
    }

    fn expected() -> RealtimeRequest {
        RealtimeRequest::new().timer_slack(Duration::from_nanos(1))
    }

    #[test]
    fn the_observer_is_one_priority_lower_and_elsewhere() {
        let beside = |policy, cpu| request_beside(&plan(policy, cpu), &[0, 1, 3]);
        assert_eq!(beside(Policy::Other, None), expected());
        assert_eq!(beside(Policy::Fifo(70), None), expected().fifo(69));
        assert_eq!(beside(Policy::RoundRobin(1), None), expected().fifo(1));
        assert_eq!(beside(Policy::Deadline, None), expected().fifo(1));
        assert_eq!(beside(Policy::Other, Some(0)), expected().pin_to(1));
        assert_eq!(beside(Policy::Other, Some(1)), expected().pin_to(3));
        assert_eq!(beside(Policy::Other, Some(3)), expected().pin_to(0));
        let alone = request_beside(&plan(Policy::Other, Some(0)), &[0]);
        assert_eq!(alone, expected());
    }

    #[test]
    fn a_wake_up_serves_every_deadline_it_slept_through() {
        let mut observer = Observer::new(&plan(Policy::Other, None));
        observer.note_wake(0, 70_000, 1);
        observer.note_wake(3, 2_000_000, 0);
        assert_eq!(
            observer.seen.wakes,
            [70_000, 22_000_000, 12_000_000, 2_000_000]
        );
        assert_eq!(observer.since_sample, 22_000_000);
        assert_eq!(observer.seen.wake_cpus, [1, 0, 0, 0]);
        observer.note_wake(4, 10 * u64::from(u32::MAX), 0);
        assert_eq!(observer.seen.wakes.last(), Some(&u32::MAX));
    }

    #[test]
    fn time_that_was_taken_is_noted_with_when() {
        let mut observer = Observer::new(&plan(Policy::Other, None));
        let base = observer.base;
        let mut note = |at_ms, steal_ns: u64, throttled_ns: u64| {
            let counted = HostSample {
                steal_ns: base.steal_ns.map(|before| before + steal_ns),
                throttled_ns: Some(throttled_ns),
                ..base
            };
            observer.base.throttled_ns = Some(0);
            observer.last.throttled_ns.get_or_insert(0);
            observer.note_counters(counted, Duration::from_millis(at_ms))
        };
        note(10, 0, 0);
        note(20, 30_000_000, 0);
        note(30, 30_000_000, 7);
        let now = note(40, 30_000_000, 7);
        assert_eq!((now.at_ns, now.steal_ns), (40_000_000, Some(30_000_000)));
        let taken = observer.seen.taken.iter();
        let seen: Vec<_> = taken
            .map(|one| (one.from_ns, one.to_ns, one.steal_ns, one.throttled_ns))
            .collect();
        assert_eq!(
            seen,
            [
                (10_000_000, 20_000_000, 30_000_000, 0),
                (20_000_000, 30_000_000, 0, 7)
            ]
        );
    }

    #[test]
    fn it_samples_the_host_until_told_to_end() {
        let live = Live::new();
        let observer = Observer::new(&plan(Policy::Other, None));
        let done = AtomicBool::new(false);
        let seen = std::thread::scope(|scope| {
            let (say_origin, origin) = std::sync::mpsc::sync_channel(1);
            say_origin.send(MonoTime::now()).unwrap();
            let running = scope.spawn(|| {
                let origin = origin;
                observer.run(&origin, &done, &live)
            });
            // Known from the first sample on.
            while live.steal().is_none() && !running.is_finished() {
                std::thread::sleep(Duration::from_millis(5));
            }
            done.store(true, Ordering::Relaxed);
            running.join().unwrap()
        });
        // The base, the first, and the last.
        assert!(seen.host.len() >= 3, "{seen:?}");
        assert_eq!(seen.host.len(), seen.lateness.len());
        assert_eq!(seen.grant, []);
        let base = seen.host[0];
        assert_eq!((base.at_ns, base.busy_ns), (0, Some(0)));
        assert!(
            seen.host
                .is_sorted_by_key(|sample| (sample.at_ns, sample.busy_ns))
        );
        // Every deadline that came has its wake-up, up to the last.
        let last = seen.host[seen.host.len() - 1].at_ns;
        let deadlines = last / saturating_nanos(WAKE_PERIOD);
        assert!(seen.wakes.len() as u64 <= deadlines + 1);
        assert_eq!(seen.wakes.len(), seen.wake_cpus.len());
        assert!(!seen.wakes.is_empty());
    }
}
