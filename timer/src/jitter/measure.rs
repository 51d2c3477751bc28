//! The measuring thread.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

use super::beat::{Beat, Wakeup, beat_of};
use super::cause::{Cause, Outlier};
use super::clocks::Clocks;
use super::evidence::Probe;
use super::explain::explain;
use super::live::Live;
use super::observer::Observer;
use super::outliers::Outliers;
use super::plan::{JitterError, Plan};
use super::record::{ClockJump, GrantedPart, Method, Policy, Run, Sample};
use crate::clock::{MonoTime, saturating_nanos};
use crate::realtime::RealtimeRequest;
use crate::schedule::{Period, Schedule};
use crate::ticker::Tick;
use crate::watchdog::Watchdog;

/// Carries out `plan`, on threads of its own, and returns when it is over or was
/// [stopped](Live::stop).
///
/// What the system refuses is in [`Run::grant`]. A failure after the first tick ends the run, which says so
/// in [`Run::ended_early`].
///
/// # Errors
///
/// Any [`JitterError`]: that the plan is impossible, or that the first tick cannot be waited for.
pub fn measure(plan: &Plan, live: &Live) -> Result<Run, JitterError> {
    if plan.method == Method::Tokio {
        return Err(JitterError::NoTokio);
    }
    measure_with(plan, live, |schedule| beat_of(plan.method, schedule))
}

/// As [`measure`], with a beat from outside: what `make` returns is asked to wait for the deadlines of the schedule
/// that it is given, whose first is 100 ms ahead. `make` runs on the measuring thread.
///
/// # Errors
///
/// As [`measure`], and what `make` returns.
pub fn measure_with(
    plan: &Plan,
    live: &Live,
    make: impl FnOnce(Schedule) -> Result<Box<dyn Beat>, JitterError> + Send,
) -> Result<Run, JitterError> {
    let ticks = plan.ticks()?;
    plan.check_memory(ticks)?;
    let period = Period::from_duration(plan.period).map_err(JitterError::Grid)?;
    // Its memory is taken and touched here, before anything has a deadline.
    let tape = Tape::new(plan, ticks);
    let observer = Observer::new(plan);
    live.begin(ticks);

    let done = AtomicBool::new(false);
    let (say_origin, origin) = mpsc::sync_channel(1);
    let (measured, observed) = thread::scope(|scope| {
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let observing = named("jitter-observer")
            .spawn_scoped(scope, || {
                let origin = origin;
                observer.run(&origin, &done, live)
            })
            .map_err(JitterError::Thread)?;
        let measuring = named("jitter-measure")
            .spawn_scoped(scope, move || {
                measure_here(plan, live, period, tape, make, say_origin)
            })
            .map_err(JitterError::Thread)?;
        // However it ended: the observer waits for this.
        let measured = measuring.join();
        done.store(true, Ordering::Relaxed);
        let observed = observing.join();
        Ok::<_, JitterError>((or_panic(measured)?, or_panic(observed)))
    })?;

    let Measured {
        tape,
        mut grant,
        started,
        cpu_time,
        ended_early,
    } = measured;
    grant.extend(observed.grant.iter().cloned());
    let outlier_count = tape.outliers.count();
    let mut outliers = tape.outliers.into_sorted();
    explain(&mut outliers, &observed);
    observed.keep_what_was_seen_elsewhere(&mut outliers, &tape.samples);
    let pinned = grant
        .iter()
        .any(|part| part.part == CPU_PART && part.granted);
    Ok(Run {
        method: plan.method,
        period: plan.period,
        policy: plan.policy,
        cpu: plan.cpu.filter(|_| pinned),
        loads: plan.loads.clone(),
        grant,
        started,
        elapsed: tape.elapsed,
        samples: tape.samples,
        outliers,
        outlier_count,
        outlier_threshold: plan.outlier_threshold,
        clock_jumps: tape.clock_jumps,
        host: observed.host,
        observer_lateness: observed.lateness,
        cpu_time,
        ended_early,
    })
}

/// What the measuring thread leaves behind.
struct Measured {
    tape: Tape,
    grant: Vec<GrantedPart>,
    started: SystemTime,
    cpu_time: Duration,
    ended_early: Option<String>,
}

/// The whole life of the measuring thread.
fn measure_here(
    plan: &Plan,
    live: &Live,
    period: Period,
    mut tape: Tape,
    make: impl FnOnce(Schedule) -> Result<Box<dyn Beat>, JitterError>,
    say_origin: SyncSender<MonoTime>,
) -> Result<Measured, JitterError> {
    // A real-time thread that the beat lets run wild must not take the machine with it.
    let watchdog = (plan.policy != Policy::Other).then(|| Watchdog::watch(LONGEST_WITHOUT_SLEEP));
    let granted = request(plan).apply();
    let mut grant: Vec<GrantedPart> = GrantedPart::all_of(&granted).collect();

    let now = MonoTime::now();
    let schedule = Schedule::new(now + LEAD, period);
    let started = SystemTime::now() + LEAD;
    let mut beat = make(schedule)?;
    let mut eyes = Eyes {
        probe: Probe::of_this_thread(),
        clocks: Clocks::new(),
    };
    // The observer waits for it; should that have ended, its own error is told.
    let _ = say_origin.send(schedule.origin());
    let ended_early = tape.record(&mut *beat, schedule, &mut eyes, live)?;
    let cpu_time = tape.cpu_time_at_first.map_or(Duration::ZERO, |first| {
        cpu_time_used().saturating_sub(first)
    });
    tape.clock_jumps = eyes.clocks.into_jumps();

    match watchdog {
        None => {}
        Some(Ok(watchdog)) if watchdog.status().demoted() => grant.push(GrantedPart {
            part: "watchdog".to_owned(),
            granted: false,
            detail: format!(
                "the thread ran for {LONGEST_WITHOUT_SLEEP:?} without sleeping and was made ordinary"
            ),
        }),
        Some(Ok(_)) => {}
        Some(Err(error)) => grant.push(GrantedPart {
            part: "watchdog".to_owned(),
            granted: false,
            detail: error.to_string(),
        }),
    }
    Ok(Measured {
        tape,
        grant,
        started,
        cpu_time,
        ended_early,
    })
}

fn request(plan: &Plan) -> RealtimeRequest {
    let mut request = RealtimeRequest::new().prefault_stack(STACK_BYTES);
    request = match plan.policy {
        Policy::Other => request,
        Policy::Fifo(priority) => request.fifo(priority),
        Policy::RoundRobin(priority) => request.round_robin(priority),
        Policy::Deadline => request.deadline(runtime_of(plan.period), plan.period),
    };
    // Event loops and plain sleeps are measured with the slack that every program has.
    if matches!(
        plan.method,
        Method::Ticker | Method::Precise | Method::Timerfd | Method::Nanosleep
    ) {
        request = request.timer_slack(Duration::from_nanos(1));
    }
    if plan.lock_memory {
        request = request.lock_memory();
    }
    if plan.dma_latency {
        request = request.dma_latency(Duration::ZERO);
    }
    match plan.cpu {
        Some(cpu) => request.pin_to(cpu),
        None => request,
    }
}

/// What SCHED_DEADLINE lets the thread run in each period: a tenth, many times what a tick takes.
fn runtime_of(period: Duration) -> Duration {
    period / 10
}

/// What the measuring thread looks at after each wake-up.
struct Eyes {
    probe: Probe,
    clocks: Clocks,
}

/// Everything that ticks write, allocated and touched before the first.
struct Tape {
    ticks: u64,
    period_ns: u64,
    threshold_ns: u64,
    samples: Vec<Sample>,
    outliers: Outliers,
    clock_jumps: Vec<ClockJump>,
    elapsed: Duration,
    /// `None` before the first tick.
    cpu_time_at_first: Option<Duration>,
}

impl Tape {
    fn new(plan: &Plan, ticks: u64) -> Self {
        let blank = Sample {
            number: u64::MAX,
            lateness_ns: -1,
            missed: u32::MAX,
            cpu: u32::MAX,
        };
        // At most `ticks`, since numbers rise; written to, so that every page is there.
        let mut samples = vec![blank; ticks as usize];
        samples.clear();
        Self {
            ticks,
            period_ns: saturating_nanos(plan.period),
            threshold_ns: saturating_nanos(plan.outlier_threshold),
            samples,
            outliers: Outliers::with_room_for(MOST_OUTLIERS.min(ticks as usize)),
            clock_jumps: Vec::new(),
            elapsed: Duration::ZERO,
            cpu_time_at_first: None,
        }
    }

    /// Records tick after tick, without allocating; `Some` tells why it ended before the last.
    fn record(
        &mut self,
        beat: &mut dyn Beat,
        schedule: Schedule,
        eyes: &mut Eyes,
        live: &Live,
    ) -> Result<Option<String>, JitterError> {
        let mut next = 0;
        while next < self.ticks {
            if live.stopped() {
                return Ok(Some("stopped".to_owned()));
            }
            let waited = beat.wait().and_then(|wakeup| rising(wakeup, next));
            match waited {
                Ok(wakeup) => self.note(wakeup, next, schedule, eyes, live),
                Err(error) if self.samples.is_empty() => return Err(error),
                Err(error) => return Ok(Some(error.to_string())),
            }
            next = self
                .samples
                .last()
                .map_or(0, |last| last.number.saturating_add(1));
        }
        Ok(None)
    }

    /// One tick; `next` is the first deadline that it may serve.
    fn note(
        &mut self,
        wakeup: Wakeup,
        next: u64,
        schedule: Schedule,
        eyes: &mut Eyes,
        live: &Live,
    ) {
        let Wakeup {
            number,
            deadline,
            woke,
            ..
        } = wakeup;
        let missed = number - next;
        // A wake-up that serves deadlines it slept through is as late as the first of them says.
        let late_ns = saturating_nanos(woke.since(schedule.deadline(next)));
        let is_outlier = late_ns >= self.threshold_ns;
        let mut evidence = eyes.probe.changes(is_outlier);
        evidence.clock_jump_ns = eyes.clocks.compare(schedule.origin());

        self.cpu_time_at_first.get_or_insert_with(cpu_time_used);
        self.elapsed = woke.since(schedule.origin());
        self.samples.push(Sample {
            number,
            lateness_ns: woke.as_nanos().wrapping_sub(deadline.as_nanos()) as i64,
            missed: u32::try_from(missed).unwrap_or(u32::MAX),
            cpu: eyes.probe.cpu(),
        });
        if is_outlier {
            self.outliers.add(Outlier {
                number,
                at_ns: saturating_nanos(self.elapsed),
                lateness_ns: late_ns,
                cause: Cause::Unknown,
                evidence,
            });
            live.set_outliers(self.outliers.count());
        }
        live.stats().record(&Tick {
            number,
            deadline,
            woke,
            missed,
        });
        let own_late_ns = saturating_nanos(woke.since(deadline));
        live.note_deadlines(own_late_ns, missed, self.period_ns);
        live.set_done(number.saturating_add(1));
    }
}

fn rising(wakeup: Wakeup, next: u64) -> Result<Wakeup, JitterError> {
    if wakeup.number >= next {
        Ok(wakeup)
    } else {
        Err(JitterError::NotRising {
            number: wakeup.number,
            last: next - 1,
        })
    }
}

/// CPU time of the calling thread.
fn cpu_time_used() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// A panic of a beat goes on in the caller.
fn or_panic<T>(ended: thread::Result<T>) -> T {
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// From the measuring thread's readiness to deadline 0: the observer gets ready meanwhile.
const LEAD: Duration = Duration::from_millis(100);
const LONGEST_WITHOUT_SLEEP: Duration = Duration::from_secs(2);
const STACK_BYTES: usize = 64 * 1024;
const MOST_OUTLIERS: usize = 4096;
/// What a grant calls the pinning.
const CPU_PART: &str = "CPU";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(20);
    const ORIGIN: MonoTime = MonoTime::from_nanos(5_000_000_000);

    /// Wakes as it is told, in no time.
    struct Scripted {
        schedule: Schedule,
        next: u64,
        /// Deadlines missed, and ns between deadline and wake-up.
        steps: std::vec::IntoIter<(u64, i64)>,
    }

    impl Beat for Scripted {
        fn wait(&mut self) -> Result<Wakeup, JitterError> {
            let ended = || JitterError::Beat("the script is over".into());
            let (missed, lateness_ns) = self.steps.next().ok_or_else(ended)?;
            let number = self.next + missed;
            self.next = number + 1;
            let deadline = self.schedule.deadline(number);
            let woke = deadline.as_nanos().saturating_add_signed(lateness_ns);
            Ok(Wakeup {
                number,
                deadline,
                woke: MonoTime::from_nanos(woke),
                missed,
            })
        }
    }

    fn record(plan: &Plan, steps: Vec<(u64, i64)>, live: &Live) -> (Tape, Option<String>) {
        let schedule = Schedule::new(ORIGIN, Period::from_duration(PERIOD).unwrap());
        let mut beat = Scripted {
            schedule,
            next: 0,
            steps: steps.into_iter(),
        };
        let mut eyes = Eyes {
            probe: Probe::of_this_thread(),
            clocks: Clocks::new(),
        };
        let ticks = plan.ticks().unwrap();
        live.begin(ticks);
        let mut tape = Tape::new(plan, ticks);
        let ended = tape.record(&mut beat, schedule, &mut eyes, live).unwrap();
        (tape, ended)
    }

    #[test]
    fn a_run_is_over_with_its_last_deadline_even_if_that_is_missed() {
        let plan = Plan::new(Method::Tokio, PERIOD, 5 * PERIOD);
        let live = Live::new();
        let (tape, ended) = record(&plan, vec![(0, 0), (1, 7), (9, 3)], &live);
        assert_eq!(ended, None);
        let numbers: Vec<_> = tape.samples.iter().map(|one| one.number).collect();
        assert_eq!(numbers, [0, 2, 12]);
        assert_eq!(live.progress(), 1.0);
        assert_eq!(live.stats().missed(), 10);
    }

    #[test]
    fn a_tick_that_missed_others_is_as_late_as_the_first_of_them() {
        let plan = Plan::new(Method::Tokio, PERIOD, 9 * PERIOD);
        let steps = vec![(0, 999_999), (0, 1_000_000), (2, 300), (0, -5_000_000)];
        let (tape, ended) = record(&plan, steps, &Live::new());
        assert_eq!(
            ended.as_deref(),
            Some("the beat failed: the script is over")
        );
        assert_eq!(tape.samples[3].lateness_ns, -5_000_000);
        let outliers = tape.outliers.into_sorted();
        let seen: Vec<_> = outliers
            .iter()
            .map(|one| (one.number, one.lateness_ns))
            .collect();
        assert_eq!(seen, [(1, 1_000_000), (4, 40_000_300)]);
        assert_eq!(outliers[1].at_ns, 4 * 20_000_000 + 300);
    }

    proptest! {
        #[test]
        fn every_deadline_is_a_sample_or_missed(
            steps in prop::collection::vec((0_u64..4, -1_000_000_i64..20_000_000), 1..60),
            threshold_us in 0_u64..30_000,
        ) {
            let mut plan = Plan::new(Method::Tokio, PERIOD, 240 * PERIOD);
            plan.outlier_threshold = Duration::from_micros(threshold_us);
            let live = Live::new();
            let (tape, _) = record(&plan, steps.clone(), &live);
            prop_assert_eq!(tape.samples.len(), steps.len());
            let served: u64 = tape.samples.iter().map(|one| 1 + u64::from(one.missed)).sum();
            let last = tape.samples[tape.samples.len() - 1];
            prop_assert_eq!(served, last.number + 1);
            let woke_ns = (last.number * 20_000_000).saturating_add_signed(last.lateness_ns);
            prop_assert_eq!(tape.elapsed, Duration::from_nanos(woke_ns));
            let late = steps.iter().filter(|(missed, lateness_ns)| {
                let after_first = *missed as i64 * 20_000_000 + lateness_ns;
                after_first.max(0) as u64 >= threshold_us * 1_000
            });
            prop_assert_eq!(tape.outliers.count(), late.count() as u64);
            prop_assert_eq!(live.stats().ticks(), steps.len() as u64);
            prop_assert_eq!(live.outliers(), tape.outliers.count());
            let corrected = live.corrected().snapshot();
            prop_assert_eq!(corrected.count(), last.number + 1);
            let latest = steps
                .iter()
                .map(|(missed, lateness_ns)| missed * 20_000_000 + (*lateness_ns).max(0) as u64);
            prop_assert_eq!(Some(corrected.max()), latest.max());
        }
    }
}
