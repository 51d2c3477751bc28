//! One measurement after the other, until the end or Ctrl-C.

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
use crate::jitter::TokioBeat;

/// How often what is shown is looked after.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// What came of it.
pub(super) struct Measured {
    /// Every run that was begun, in order.
    pub(super) runs: Vec<Run>,
    /// Those that were not.
    pub(super) not_begun: Vec<Plan>,
    /// What the loads got done.
    pub(super) work: Vec<WorkDone>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum MeasuringError {
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    #[error("no load: {0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Jitter(#[from] JitterError),
    #[error("a measuring thread ended without a result; please report what it said above")]
    Vanished,
}

/// Measures each group of plans, those in a group at the same time, with loads around all of them.
pub(super) fn measure_all(
    groups: &[Vec<Plan>],
    loads: &[Load],
) -> Result<Measured, MeasuringError> {
    // One thread that mostly sleeps: it shows figures and hears of signals.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut stops = Stops {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        };
        let loads = match loads {
            [] => None,
            loads => Some(Loads::start(loads)?),
        };
        let mut view = View::new();
        view.announce(groups);
        let mut runs = Vec::new();
        let mut not_begun = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            let (measured, stopped) = measure_group(group, &mut stops, &mut view).await?;
            runs.extend(measured);
            if stopped {
                view.say("ended early; this is what was measured until then");
                not_begun = groups[place + 1..].concat();
                break;
            }
        }
        let work = loads.map_or_else(Vec::new, Loads::stop);
        Ok(Measured {
            runs,
            not_begun,
            work,
        })
    })
}

/// The signals that end it early.
struct Stops {
    interrupt: Signal,
    terminate: Signal,
}

impl Stops {
    async fn recv(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Measures all of a group at once, and tells whether it was stopped.
async fn measure_group(
    group: &[Plan],
    stops: &mut Stops,
    view: &mut View,
) -> Result<(Vec<Run>, bool), MeasuringError> {
    let lives: Vec<Live> = group.iter().map(|_| Live::new()).collect();
    let (done, mut results) = mpsc::channel(group.len());
    for (place, plan) in group.iter().enumerate() {
        let (plan, live, done) = (plan.clone(), lives[place].clone(), done.clone());
        thread::Builder::new()
            .name("jitter".to_owned())
            .spawn(move || {
                // There is room for everybody's.
                let _ = done.blocking_send((place, measure_one(&plan, &live)));
            })
            .inspect_err(|_| lives.iter().for_each(Live::stop))?;
    }
    // Its own is not among those waited for.
    drop(done);

    view.begin(group);
    let mut shown = interval(SHOWN_EVERY);
    shown.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopped = false;
    let mut found: Vec<Option<Result<Run, JitterError>>> = group.iter().map(|_| None).collect();
    loop {
        tokio::select! {
            result = results.recv() => match result {
                Some((place, result)) => found[place] = Some(result),
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
    let runs = found
        .into_iter()
        .map(|result| Ok(result.ok_or(MeasuringError::Vanished)??))
        .collect::<Result<_, MeasuringError>>()?;
    Ok((runs, stopped))
}

fn measure_one(plan: &Plan, live: &Live) -> Result<Run, JitterError> {
    match plan.method {
        Method::Tokio => measure_with(plan, live, |schedule| {
            Ok(Box::new(TokioBeat::new(schedule)?))
        }),
        _ => measure(plan, live),
    }
}
