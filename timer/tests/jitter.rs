//! What holds for every measurement, however the machine behaves.

mod child;

use std::io::{BufRead, BufReader};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use unisono_timer::jitter::{
    Beat, JitterError, Live, Method, Plan, Policy, Run, Wakeup, measure, measure_with,
};
use unisono_timer::realtime::allowed_cpus;
use unisono_timer::{MonoTime, Schedule, Ticker};

const OURS: [Method; 7] = [
    Method::Ticker,
    Method::Timerfd,
    Method::Precise,
    Method::Nanosleep,
    Method::Epoll,
    Method::Sleep,
    Method::Usleep,
];

fn plan(method: Method, period_ms: u64, duration_ms: u64) -> Plan {
    let ms = Duration::from_millis;
    Plan::new(method, ms(period_ms), ms(duration_ms))
}

/// On a CPU of its own: then the observer is on another, if there is one, and what it sees counts.
fn with_a_witness(mut plan: Plan) -> Plan {
    plan.cpu = Some(allowed_cpus()[0]);
    plan
}

fn has_witness() -> bool {
    allowed_cpus().len() > 1
}

/// What every run keeps to.
fn check(run: &Run) {
    let mut next = 0;
    for sample in &run.samples {
        assert_eq!(sample.number - u64::from(sample.missed), next, "{sample:?}");
        assert!(sample.lateness_ns >= 0, "{sample:?}");
        next = sample.number + 1;
    }
    let served: u64 = run
        .samples
        .iter()
        .map(|one| 1 + u64::from(one.missed))
        .sum();
    assert_eq!(served, next);

    let period_ns = run.period.as_nanos() as u64;
    if let Some(last) = run.samples.last() {
        let due_ns = last.number * period_ns;
        assert_eq!(
            run.elapsed.as_nanos() as u64,
            due_ns + last.lateness_ns as u64
        );
    }
    let late = |one: &&unisono_timer::jitter::Sample| {
        let late_ns = one.lateness_ns as u64 + u64::from(one.missed) * period_ns;
        late_ns >= run.outlier_threshold.as_nanos() as u64
    };
    assert_eq!(
        run.outlier_count,
        run.samples.iter().filter(late).count() as u64
    );
    assert!(run.outliers.len() as u64 <= run.outlier_count);
    for outlier in &run.outliers {
        let place = run
            .samples
            .binary_search_by_key(&outlier.number, |one| one.number);
        let sample = run.samples[place.unwrap()];
        let slept_through = u64::from(sample.missed) * period_ns;
        assert_eq!(
            outlier.lateness_ns,
            sample.lateness_ns as u64 + slept_through
        );
        assert_eq!(
            outlier.at_ns,
            sample.number * period_ns + sample.lateness_ns as u64
        );
    }
    assert!(!run.host.is_empty());
    assert_eq!(run.host.len(), run.observer_lateness.len());
    assert!(run.host.is_sorted_by_key(|sample| sample.at_ns));
}

#[test]
fn every_method_accounts_for_every_deadline() {
    for method in OURS {
        let live = Live::new();
        let run = measure(&plan(method, 2, 100), &live).unwrap();
        check(&run);
        assert_eq!((run.method, run.ended_early.as_deref()), (method, None));
        assert!(run.samples.last().unwrap().number >= 49, "{method:?}");
        let stats = live.stats();
        assert_eq!(stats.ticks(), run.samples.len() as u64);
        let missed: u64 = run.samples.iter().map(|one| u64::from(one.missed)).sum();
        assert_eq!(stats.missed(), missed);
        assert_eq!((live.progress(), live.outliers()), (1.0, run.outlier_count));
        assert!(live.steal().is_some(), "Linux counts steal, if only as 0");
        assert!(run.cpu_time > Duration::ZERO);
    }
}

#[test]
fn a_stopped_run_keeps_what_it_has() {
    let live = Live::new();
    let run = std::thread::scope(|scope| {
        let running = scope.spawn(|| measure(&plan(Method::Timerfd, 1, 3_600_000), &live));
        while live.stats().ticks() < 20 && !running.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        assert!(live.progress() > 0.0 && live.progress() < 1.0);
        live.stop();
        running.join().unwrap().unwrap()
    });
    check(&run);
    assert!(run.samples.len() >= 20);
    assert_eq!(run.ended_early.as_deref(), Some("stopped"));
}

#[test]
fn a_run_stopped_before_it_begins_is_empty() {
    let live = Live::new();
    live.stop();
    let run = measure(&plan(Method::Sleep, 1, 1_000), &live).unwrap();
    check(&run);
    assert!(run.samples.is_empty() && run.ended_early.is_some());
    assert_eq!(
        (run.elapsed, run.cpu_time),
        (Duration::ZERO, Duration::ZERO)
    );
}

#[test]
fn runs_on_every_cpu_at_once_do_not_disturb_each_others_figures() {
    let cpus = allowed_cpus();
    let runs: Vec<Run> = std::thread::scope(|scope| {
        let running: Vec<_> = cpus
            .iter()
            .map(|&cpu| {
                scope.spawn(move || {
                    let mut plan = plan(Method::Nanosleep, 2, 200);
                    (plan.cpu, plan.policy) = (Some(cpu), Policy::Fifo(10));
                    plan.lock_memory = true;
                    measure(&plan, &Live::new()).unwrap()
                })
            })
            .collect();
        running.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for (run, cpu) in runs.iter().zip(cpus) {
        check(run);
        // Refused or not, each thing asked for has its answer.
        for part in ["scheduling", "memory lock", "CPU"] {
            assert!(
                run.grant.iter().any(|one| one.part == part),
                "{:?}",
                run.grant
            );
        }
        if let Some(pinned) = run.cpu {
            assert_eq!(pinned, cpu);
            assert!(run.samples.iter().all(|one| one.cpu as usize == cpu));
        }
    }
}

#[test]
fn every_policy_is_asked_for_and_answered() {
    let policies = [
        Policy::Other,
        Policy::Fifo(20),
        Policy::RoundRobin(20),
        Policy::Deadline,
    ];
    for policy in policies {
        let mut plan = plan(Method::Precise, 2, 60);
        plan.policy = policy;
        plan.dma_latency = true;
        let run = measure(&plan, &Live::new()).unwrap();
        check(&run);
        let answer = |name: &str| run.grant.iter().find(|part| part.part == name);
        assert_eq!(answer("scheduling").is_some(), policy != Policy::Other);
        assert_eq!(
            answer("observer scheduling").is_some(),
            policy != Policy::Other
        );
        assert!(answer("idle latency").is_some(), "{:?}", run.grant);
        if let (Policy::Deadline, Some(part)) = (policy, answer("scheduling")) {
            assert!(
                !part.granted || part.detail.contains("SCHED_DEADLINE"),
                "{part:?}"
            );
        }
    }
}

#[test]
fn a_process_that_is_stopped_wakes_once_and_counts_what_it_missed() {
    const ROLE: &str = "a_process_that_is_stopped_wakes_once_and_counts_what_it_missed";
    if child::is(ROLE) {
        let live = Live::new();
        let plan = with_a_witness(plan(Method::Timerfd, 2, 60_000));
        let run = std::thread::scope(|scope| {
            let running = scope.spawn(|| measure(&plan, &live));
            while live.stats().ticks() == 0 && !running.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Until a tick has missed nearly 200 ms. Read before the parent can stop this.
            let mut missed = live.stats().missed();
            println!("> measuring");
            loop {
                std::thread::sleep(Duration::from_millis(5));
                let before = std::mem::replace(&mut missed, live.stats().missed());
                if missed - before >= 95 || running.is_finished() {
                    break;
                }
            }
            live.stop();
            running.join().unwrap().unwrap()
        });
        check(&run);
        let latest = run
            .outliers
            .iter()
            .max_by_key(|one| one.lateness_ns)
            .unwrap();
        let observer = latest.evidence.observer_lateness_ns.unwrap_or(0);
        println!("> {} {observer}", latest.lateness_ns);
        return;
    }
    let mut stopped = child::start(ROLE, || Ok(()));
    let mut answers = BufReader::new(stopped.stdout.take().unwrap()).lines();
    let mut answer = || {
        let said = answers.find_map(|line| Some(line.unwrap().split_once("> ")?.1.to_owned()));
        said.unwrap()
    };
    assert_eq!(answer(), "measuring");
    let pid = Pid::from_raw(stopped.id() as i32);
    kill(pid, Signal::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(pid, Signal::SIGCONT).unwrap();
    let figures = answer();
    let (late, observer) = figures.split_once(' ').unwrap();
    // Less than the 300 ms, since the signal takes its time to reach each thread.
    assert!(late.parse::<u64>().unwrap() >= 100_000_000, "{figures}");
    assert!(
        !has_witness() || observer.parse::<u64>().unwrap() >= 90_000_000,
        "{figures}"
    );
    assert!(stopped.wait().unwrap().success());
}

#[test]
fn what_is_refused_is_said_and_measured_without() {
    let mut plan = plan(Method::Timerfd, 1, 20);
    plan.cpu = Some(100_000);
    plan.policy = Policy::Fifo(100);
    let run = measure(&plan, &Live::new()).unwrap();
    check(&run);
    assert_eq!(run.cpu, None);
    let refused = run.grant.iter().filter(|part| !part.granted);
    let named: Vec<&str> = refused.map(|part| part.part.as_str()).collect();
    assert!(
        named.contains(&"CPU") && named.contains(&"scheduling"),
        "{:?}",
        run.grant
    );
}

#[test]
fn a_tick_that_was_held_up_is_an_outlier_with_a_cause() {
    // A beat that sleeps through its deadlines once, for 30 ms whatever the machine does.
    struct Heavy {
        ticker: Ticker,
        slept: bool,
    }
    impl Beat for Heavy {
        fn wait(&mut self) -> Result<Wakeup, JitterError> {
            if self.ticker.next_number() >= 5 && !self.slept {
                self.slept = true;
                let due = self.ticker.schedule().deadline(self.ticker.next_number());
                while MonoTime::now() < due + Duration::from_millis(30) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            let tick = self.ticker.wait()?;
            Ok(wakeup(&tick, tick.woke))
        }
    }
    let plan = with_a_witness(plan(Method::Tokio, 2, 200));
    let run = measure_with(&plan, &Live::new(), |schedule| {
        let ticker = Ticker::new(schedule)?;
        Ok(Box::new(Heavy {
            ticker,
            slept: false,
        }))
    })
    .unwrap();
    check(&run);
    assert!(run.outlier_count >= 1);
    let latest = run
        .outliers
        .iter()
        .max_by_key(|one| one.lateness_ns)
        .unwrap();
    assert!(latest.lateness_ns >= 30_000_000, "{latest:?}");
    // The observer had wake-ups due in that time.
    assert_eq!(
        latest.evidence.observer_lateness_ns.is_some(),
        has_witness(),
        "{latest:?}"
    );
    assert_eq!(
        latest.evidence.steal_ns.is_some(),
        run.host[0].steal_ns.is_some()
    );
}

fn wakeup(tick: &unisono_timer::Tick, woke: MonoTime) -> Wakeup {
    Wakeup {
        number: tick.number,
        deadline: tick.deadline,
        woke,
        missed: tick.missed,
    }
}

/// Ten good wake-ups, then whatever `then` says.
struct Failing {
    ticker: Ticker,
    then: fn() -> Result<Wakeup, JitterError>,
}

impl Failing {
    fn boxed(
        schedule: Schedule,
        then: fn() -> Result<Wakeup, JitterError>,
    ) -> Result<Box<dyn Beat>, JitterError> {
        let ticker = Ticker::new(schedule)?;
        Ok(Box::new(Self { ticker, then }))
    }
}

impl Beat for Failing {
    fn wait(&mut self) -> Result<Wakeup, JitterError> {
        if self.ticker.next_number() >= 10 {
            return (self.then)();
        }
        let tick = self.ticker.wait()?;
        Ok(wakeup(&tick, tick.woke))
    }
}

#[test]
fn a_beat_that_fails_ends_the_run_with_what_it_has() {
    let live = Live::new();
    let run = measure_with(&plan(Method::Tokio, 1, 1_000), &live, |schedule| {
        Failing::boxed(schedule, || Err(JitterError::Beat("out of order".into())))
    })
    .unwrap();
    check(&run);
    assert_eq!(
        run.ended_early.as_deref(),
        Some("the beat failed: out of order")
    );
}

#[test]
fn a_beat_that_goes_back_is_not_believed() {
    let run = measure_with(&plan(Method::Tokio, 1, 1_000), &Live::new(), |schedule| {
        Failing::boxed(schedule, || {
            let zero = MonoTime::default();
            Ok(Wakeup {
                number: 3,
                deadline: zero,
                woke: zero,
                missed: 0,
            })
        })
    })
    .unwrap();
    check(&run);
    let why = run.ended_early.unwrap();
    assert!(
        why.starts_with("the beat returned deadline 3 after "),
        "{why}"
    );
}

#[test]
fn a_beat_that_cannot_be_made_is_an_error() {
    let made = measure_with(&plan(Method::Tokio, 1, 1_000), &Live::new(), |_| {
        Err(JitterError::Beat("no runtime".into()))
    });
    assert_eq!(made.unwrap_err().to_string(), "the beat failed: no runtime");
    let alone = measure(&plan(Method::Tokio, 1, 1_000), &Live::new());
    assert!(matches!(alone, Err(JitterError::NoTokio)));
}

#[test]
#[should_panic(expected = "a beat of no use")]
fn a_beat_that_panics_panics_in_the_caller() {
    let _ = measure_with(&plan(Method::Tokio, 1, 1_000), &Live::new(), |schedule| {
        Failing::boxed(schedule, || panic!("a beat of no use"))
    });
}
