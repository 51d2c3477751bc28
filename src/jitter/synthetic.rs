//! Runs that never happened, for tests: seeded, so that they are the same each time.

use std::time::{Duration, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use unisono_timer::jitter::{
    Cause, Clock, ClockJump, Evidence, GrantedPart, HostSample, Method, Outlier, Policy, Run,
    Sample,
};

/// What a made-up run is like.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) seed: u64,
    pub(crate) method: Method,
    pub(crate) period_ms: u64,
    pub(crate) seconds: u64,
    /// The usual lateness, ns; it varies by half of it either way.
    pub(crate) usual_ns: i64,
    /// How many ticks of a thousand are later, up to 4 ms.
    pub(crate) late_per_mille: u32,
    /// How many ticks of a thousand are preceded by a stall of 70 to 110 ms, with steal.
    pub(crate) stall_per_mille: u32,
}

impl Shape {
    /// A good machine.
    pub(crate) fn quiet(seed: u64) -> Self {
        Self {
            seed,
            method: Method::Timerfd,
            period_ms: 20,
            seconds: 20,
            usual_ns: 60_000,
            late_per_mille: 0,
            stall_per_mille: 0,
        }
    }

    /// One that loses the CPU now and then.
    pub(crate) fn stalling(seed: u64) -> Self {
        Self {
            late_per_mille: 20,
            stall_per_mille: 5,
            ..Self::quiet(seed)
        }
    }
}

/// A run of that shape.
pub(crate) fn run(shape: &Shape) -> Run {
    let mut random = StdRng::seed_from_u64(shape.seed);
    let period = shape.period_ms * 1_000_000;
    let deadlines = shape.seconds * 1000 / shape.period_ms;
    let mut samples = Vec::new();
    let mut outliers = Vec::new();
    let mut stalls: Vec<(u64, u64)> = Vec::new();
    let mut number = 0;
    let mut previous = None;
    while number < deadlines {
        let chance = random.random_range(0..1000_u32);
        let mut lateness =
            shape.usual_ns + random.random_range(-shape.usual_ns / 2..=shape.usual_ns / 2);
        if chance < shape.stall_per_mille && number > 0 {
            let stall = random.random_range(70_000_000..110_000_000_u64);
            stalls.push((number * period, stall));
            number += stall / period;
            lateness = (stall % period) as i64;
        } else if chance < shape.stall_per_mille + shape.late_per_mille {
            lateness += random.random_range(200_000..4_000_000_i64);
        }
        let missed = previous.map_or(number, |previous: u64| number - previous - 1);
        if lateness + missed as i64 * period as i64 > 1_000_000 {
            let stolen = missed > 0;
            outliers.push(Outlier {
                number,
                at_ns: number * period + lateness as u64,
                lateness_ns: lateness as u64 + missed * period,
                cause: if stolen {
                    Cause::Steal
                } else {
                    Cause::InvoluntarySwitch
                },
                evidence: Evidence {
                    steal_ns: Some(if stolen { 80_000_000 } else { 0 }),
                    run_delay_ns: Some(lateness as u64),
                    involuntary_switches: u64::from(!stolen),
                    observer_lateness_ns: stolen.then_some(75_000_000),
                    ..Evidence::default()
                },
            });
        }
        samples.push(Sample {
            number,
            lateness_ns: lateness,
            missed: u32::try_from(missed).unwrap(),
            cpu: random.random_range(0..2),
        });
        previous = Some(number);
        number += 1;
    }
    let host = (0..=shape.seconds * 10)
        .map(|step| {
            let at_ns = step * 100_000_000;
            let before = stalls.iter().filter(|(at, length)| at + length <= at_ns);
            HostSample {
                at_ns,
                steal_ns: Some(before.map(|(_, length)| length).sum()),
                throttled_ns: Some(0),
                ..HostSample::default()
            }
        })
        .collect();
    let mut run = run_of(shape.period_ms, &[]);
    run.method = shape.method;
    run.elapsed = Duration::from_secs(shape.seconds);
    run.samples = samples;
    run.outlier_count = outliers.len() as u64;
    run.outliers = outliers;
    run.host = host;
    run.observer_lateness = vec![50_000; run.host.len()];
    run.clock_jumps = vec![ClockJump {
        at_ns: 3_500_000_000,
        clock: Clock::Realtime,
        by_ns: -250_000_000,
    }];
    run
}

/// A run of exactly these ticks: number, lateness in ns, missed before it.
pub(crate) fn run_of(period_ms: u64, samples: &[(u64, i64, u32)]) -> Run {
    let period = Duration::from_millis(period_ms);
    let last = samples.last().map_or(0, |&(number, _, _)| number);
    Run {
        method: Method::Timerfd,
        period,
        policy: Policy::Fifo(80),
        cpu: None,
        loads: Vec::new(),
        grant: vec![
            GrantedPart {
                part: "scheduling".to_owned(),
                granted: true,
                detail: "SCHED_FIFO 80".to_owned(),
            },
            GrantedPart {
                part: "memory".to_owned(),
                granted: false,
                detail: "refused: RLIMIT_MEMLOCK is <8 MiB>; raise it with LimitMEMLOCK=infinity"
                    .to_owned(),
            },
        ],
        started: UNIX_EPOCH + Duration::from_secs(1_750_000_000),
        elapsed: period * u32::try_from(last).unwrap(),
        samples: samples
            .iter()
            .map(|&(number, lateness_ns, missed)| Sample {
                number,
                lateness_ns,
                missed,
                cpu: 0,
            })
            .collect(),
        outliers: Vec::new(),
        outlier_count: 0,
        outlier_threshold: Duration::from_millis(1),
        clock_jumps: Vec::new(),
        host: Vec::new(),
        observer_lateness: Vec::new(),
        cpu_time: Duration::from_millis(5),
        ended_early: None,
    }
}

/// A report of such runs.
pub(crate) fn report(shapes: &[Shape]) -> super::Report {
    let gate: super::Gate = "p99<1s,missed=0".parse().unwrap();
    super::Report {
        tool: "unisono 0.0.0".to_owned(),
        created: UNIX_EPOCH + Duration::from_secs(1_750_000_100),
        command: ["unisono", "jitter", "--assert", "p99<1s,missed=0"]
            .map(str::to_owned)
            .to_vec(),
        loads: Vec::new(),
        host: vec![("kernel".to_owned(), "Linux <6.1> & more".to_owned())],
        runs: shapes
            .iter()
            .map(|shape| super::Judged::new(run(shape), &[], Some(&gate), true))
            .collect(),
        not_begun: Vec::new(),
    }
}
