//! One measurement after the other, until the end, a failure, or Ctrl-C.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use unisono_timer::jitter::load::{Load, LoadError, Loads, WorkDone};
use unisono_timer::jitter::{JitterError, Live, Method, Plan, Run, measure, measure_with};

use super::live::View;
use crate::jitter::{LoadRecord, TokioBeat, plan_name};

/// How often what is shown is looked after.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// What came of it.
pub(super) struct Measured {
    /// Every run that was made, in order.
    pub(super) runs: Vec<Measurement>,
    /// Those that were not.
    pub(super) not_begun: Vec<Plan>,
    /// Why they were not, when nobody asked for that.
    pub(super) failure: Option<MeasuringError>,
    /// What the loads got done.
    pub(super) work: Vec<WorkDone>,
}

/// One run, and how the loads stood at its end.
pub(super) struct Measurement {
    pub(super) run: Run,
    pub(super) loads: Vec<LoadRecord>,
}

/// Why something was not measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum MeasuringError {
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    #[error("no load: {0}")]
    Load(#[from] LoadError),
    #[error("{name}: {error}")]
    Jitter { name: String, error: JitterError },
    #[error(
        "{name}: the measuring thread ended without a result; please report what it said above"
    )]
    Vanished { name: String },
}

/// Makes one run.
type Measure = fn(&Plan, &Live) -> Result<Run, JitterError>;

/// Measures each group of plans, those in a group at the same time, with loads around all of them. What was measured
/// before a failure is kept.
pub(super) fn measure_all(
    groups: &[Vec<Plan>],
    loads: &[Load],
) -> Result<Measured, MeasuringError> {
    measure_all_with(groups, loads, measure_one)
}

fn measure_all_with(
    groups: &[Vec<Plan>],
    loads: &[Load],
    measure: Measure,
) -> Result<Measured, MeasuringError> {
    // One thread that mostly sleeps: it shows figures and hears of signals.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stops = Stops::listen()?;
        let loads = match loads {
            [] => None,
            loads => Some(Loads::start(loads)?),
        };
        let mut view = View::new();
        view.announce(groups);
        let mut measured = Measured {
            runs: Vec::new(),
            not_begun: Vec::new(),
            failure: None,
            work: Vec::new(),
        };
        for (place, group) in groups.iter().enumerate() {
            let found = measure_group(group, measure, &mut stops, &mut view).await;
            let work = loads.as_ref().map_or_else(Vec::new, Loads::work_done);
            let loads: Vec<LoadRecord> = work.into_iter().map(LoadRecord::from).collect();
            measured.runs.extend(found.runs.into_iter().map(|run| {
                let loads = loads.clone();
                Measurement { run, loads }
            }));
            measured.failure = found.failure;
            if found.stopped || measured.failure.is_some() {
                view.say("ended early; this is what was measured until then");
                measured.not_begun = found.not_measured;
                measured.not_begun.extend(groups[place + 1..].concat());
                break;
            }
        }
        measured.work = loads.map_or_else(Vec::new, Loads::stop);
        match measured {
            // There is nothing to report on.
            Measured {
                runs,
                failure: Some(failure),
                ..
            } if runs.is_empty() => Err(failure),
            measured => Ok(measured),
        }
    })
}

/// The signals that end it early, with a report of what was measured until then.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
    /// The terminal is gone. `None`: whoever started this wants it to go on then, as `nohup` does.
    hangup: Option<Signal>,
}

impl Stops {
    fn listen() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = match ignores_hangup(&status) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup,
        })
    }

    async fn recv(&mut self) {
        let hung_up = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = hung_up => {}
        }
    }
}

/// Whether a process whose `/proc/PID/status` this is ignores SIGHUP: the lowest bit of a mask in hexadecimal.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}

/// What came of a group.
struct Found {
    runs: Vec<Run>,
    not_measured: Vec<Plan>,
    /// Why they were not, the first reason.
    failure: Option<MeasuringError>,
    /// Whether somebody ended it.
    stopped: bool,
}

/// Measures all of a group at once. One that fails does not end the others, whose time is spent already.
async fn measure_group(
    group: &[Plan],
    measure: Measure,
    stops: &mut Stops,
    view: &mut View,
) -> Found {
    let lives: Vec<Live> = group.iter().map(|_| Live::new()).collect();
    let mut results: Vec<Option<Result<Run, JitterError>>> = group.iter().map(|_| None).collect();
    let (done, mut arriving) = mpsc::channel(group.len());
    for (place, plan) in group.iter().enumerate() {
        let (plan, live, done) = (plan.clone(), lives[place].clone(), done.clone());
        let spawned = thread::Builder::new()
            .name("jitter".to_owned())
            .spawn(move || {
                // There is room for everybody's.
                let _ = done.blocking_send((place, measure(&plan, &live)));
            });
        if let Err(error) = spawned {
            results[place] = Some(Err(JitterError::Thread(error)));
        }
    }
    // Its own is not among those waited for.
    drop(done);

    view.begin(group);
    let mut shown = interval(SHOWN_EVERY);
    shown.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopped = false;
    loop {
        tokio::select! {
            result = arriving.recv() => match result {
                Some((place, result)) => results[place] = Some(result),
                None => break,
            },
            () = stops.recv() => {
                stopped = true;
                lives.iter().for_each(Live::stop);
            }
            _ = shown.tick() => view.show(group, &lives),
        }
    }
    view.end(group, &lives);
    let mut found = Found {
        runs: Vec::new(),
        not_measured: Vec::new(),
        failure: None,
        stopped,
    };
    for (plan, result) in group.iter().zip(results) {
        let name = plan_name(plan);
        let error = match result {
            Some(Ok(run)) => {
                found.runs.push(run);
                continue;
            }
            Some(Err(error)) => MeasuringError::Jitter { name, error },
            None => MeasuringError::Vanished { name },
        };
        found.not_measured.push(plan.clone());
        found.failure.get_or_insert(error);
    }
    found
}

fn measure_one(plan: &Plan, live: &Live) -> Result<Run, JitterError> {
    match plan.method {
        Method::Tokio => measure_with(plan, live, |schedule| {
            Ok(Box::new(TokioBeat::new(schedule)?))
        }),
        _ => measure(plan, live),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jitter::synthetic::run_of;

    /// The second method fails, the third panics.
    fn partly(plan: &Plan, _: &Live) -> Result<Run, JitterError> {
        match plan.method {
            Method::Epoll => Err(JitterError::NoTokio),
            Method::Sleep => panic!("as it is told to"),
            method => Ok(Run {
                method,
                ..run_of(20, &[(0, 0, 0)])
            }),
        }
    }

    fn measured(groups: &[&[Method]]) -> Result<Measured, MeasuringError> {
        let (period, duration) = (Duration::from_millis(20), Duration::from_secs(1));
        let plans = groups.iter().map(|group| {
            let plans = group
                .iter()
                .map(|&method| Plan::new(method, period, duration));
            plans.collect()
        });
        measure_all_with(&plans.collect::<Vec<_>>(), &[], partly)
    }

    fn methods(measured: &Measured) -> (Vec<Method>, Vec<Method>) {
        let made = measured.runs.iter().map(|one| one.run.method);
        let not = measured.not_begun.iter().map(|plan| plan.method);
        (made.collect(), not.collect())
    }

    #[test]
    fn what_was_measured_before_a_failure_is_kept_and_the_rest_is_named() {
        use Method::{Epoll, Precise, Sleep, Ticker, Timerfd};
        let all = measured(&[&[Ticker], &[Timerfd]]).unwrap_or_else(|error| panic!("{error}"));
        assert!(all.failure.is_none());
        assert_eq!(methods(&all), (vec![Ticker, Timerfd], vec![]));

        let some = measured(&[&[Ticker], &[Epoll, Timerfd], &[Precise]]);
        let some = some.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            methods(&some),
            (vec![Ticker, Timerfd], vec![Epoll, Precise])
        );
        let failure = some.failure.unwrap().to_string();
        assert!(
            failure.starts_with("epoll, 20 ms, other: this crate has no tokio"),
            "{failure}"
        );

        let some = measured(&[&[Ticker], &[Sleep]]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(methods(&some), (vec![Ticker], vec![Sleep]));
        let failure = some.failure.unwrap().to_string();
        assert!(failure.starts_with("sleep, 20 ms, other: the measuring thread"));

        let nothing = measured(&[&[Epoll], &[Ticker]]);
        assert!(matches!(nothing, Err(MeasuringError::Jitter { .. })));
    }

    #[test]
    fn a_hangup_that_is_ignored_stays_so() {
        assert!(ignores_hangup("Name:\tx\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("Name:\tx\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_hangup(""));
    }
}
