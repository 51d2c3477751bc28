//! A whole run: callers enter, it settles, it is measured, it is listened to; and again with more, until something breaks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};
use unisono_rtp::codec::Codec;
use unisono_timer::HostFacts;
use unisono_timer::realtime::allowed_cpus;

use super::cast::{Cast, Grouping};
use super::clip::Background;
use super::dial::{Party, Stage, Way};
use super::ears::{self, Scene};
use super::endpoints::codec_name;
use super::limits::{Fault, judge};
use super::prepare::{PRIORITY, prepare};
use super::process::{Usage, Watched};
use super::ramp::Ramp;
use super::report::{
    self, Callers, CodecShare, Limit, LoadReport, MachineFact, Pace, ReachedBy, SCHEMA, Step,
    Verdict,
};
use super::talk::TalkPattern;
use super::target::Target;
use super::window::{Between, Reading, between, p99_since};
use super::{Interrupt, LoadError, Progress, Second, Watcher};

/// Most seconds of what a listener hears that are kept.
const KEPT_SECONDS: f64 = 8.0;

/// A window that was cut short by Ctrl-C is told if it is at least so long.
const SHORTEST: Duration = Duration::from_secs(1);

/// Which process is the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhichProcess {
    /// The one that has the target's port, if it is on this machine and can be seen; else none.
    #[default]
    IfFound,
    /// The one that has the target's port.
    Auto,
    /// This one.
    Pid(u32),
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// Who is called.
    pub target: Target,
    /// How many call; `None`: all of a list, or 10.
    pub callers: Option<usize>,
    /// Where they meet; a list says that itself.
    pub grouping: Grouping,
    /// The codecs and how many of a hundred callers use each; a list says that itself.
    pub codecs: Vec<(Codec, f64)>,
    /// Who talks.
    pub talk: TalkPattern,
    /// What the others send.
    pub background: Background,
    /// How packets are spread over the packet time.
    pub pace: Pace,
    /// How long each step is measured.
    pub duration: Duration,
    /// How long each step settles before.
    pub warm_up: Duration,
    /// More and more callers.
    pub ramp: Option<Ramp>,
    /// What ends it.
    pub limits: Vec<Limit>,
    /// The server's process.
    pub process: WhichProcess,
    /// Generator threads; `None`: one fewer than there are CPUs, at least 1.
    pub threads: Option<usize>,
    /// CPUs that they are pinned to in turn.
    pub cpus: Vec<usize>,
    /// How many callers are listened to.
    pub listen_to: usize,
    /// Another seed: other talk spurts, other places in the packet time.
    pub seed: u64,
    /// The command line, for the report.
    pub command: Vec<String>,
}

/// Runs the plan. Whatever happens, everybody has hung up at the end, as far as the server allows.
///
/// # Errors
/// Why there is no result at all. A server that breaks is a result.
pub async fn run(
    plan: &LoadPlan,
    watcher: &mut dyn Watcher,
    interrupt: &mut Interrupt,
) -> Result<LoadReport, LoadError> {
    let started = SystemTime::now();
    let ready = prepare(plan, watcher).await?;
    let mut way = ready.way;
    let mut party = Party::default();
    let stage = Stage {
        cast: &ready.cast,
        clips: &ready.clips,
        generator: &ready.generator,
        listeners: &ready.listeners,
        keep_seconds: plan.duration.as_secs_f64().ceil().min(KEPT_SECONDS) as u32,
    };
    let mut run = Run {
        plan,
        stage,
        server: ready.server.as_ref(),
        empty: ready.server.as_ref().and_then(Watched::usage),
        watcher,
        interrupt,
    };
    let went = run.steps(&ready.numbers, &mut party, &mut way).await;
    run.watcher.show(Progress::Doing("hanging up ..."));
    if !party.leave(run.interrupt).await {
        run.watcher.show(Progress::Doing(
            "some calls could not be hung up in time; the server will notice that they are silent",
        ));
    }
    let (steps, verdict) = went?;
    let refused = ready.generator.realtime_refused().map(str::to_owned);
    // It has given all it had; how it ends changes no figure.
    let _ = ready.generator.finish();
    let mut machine: Vec<MachineFact> = HostFacts::read()
        .lines()
        .into_iter()
        .map(|(label, value)| MachineFact {
            label: label.to_owned(),
            value,
        })
        .collect();
    machine.push(MachineFact {
        label: "generator's priority".to_owned(),
        value: refused.unwrap_or_else(|| format!("SCHED_FIFO {PRIORITY}")),
    });
    Ok(LoadReport {
        schema: SCHEMA.to_owned(),
        tool: concat!("unisono ", env!("CARGO_PKG_VERSION")).to_owned(),
        started_unix_s: started
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        command: plan.command.clone(),
        machine,
        server: report::Server {
            reached_by: match plan.target {
                Target::Sip { .. } => ReachedBy::Sip,
                Target::Rtp(_) => ReachedBy::Rtp,
            },
            target: plan.target.to_string(),
            name: ready.name,
            pid: ready.server.as_ref().map(Watched::pid),
            process_name: ready.server.as_ref().and_then(Watched::name),
        },
        plan: described(plan, &ready.cast),
        steps,
        verdict,
    })
}

fn described(plan: &LoadPlan, cast: &Cast) -> report::Plan {
    let mut codecs: Vec<CodecShare> = Vec::new();
    let one = 100.0 / cast.callers as f64;
    for number in 0..cast.callers {
        let codec = codec_name(cast.part(number).codec);
        match codecs.iter_mut().find(|share| share.codec == codec) {
            Some(share) => share.percent += one,
            None => codecs.push(CodecShare {
                codec: codec.to_owned(),
                percent: one,
            }),
        }
    }
    for share in &mut codecs {
        share.percent = (share.percent * 10.0).round() / 10.0;
    }
    report::Plan {
        callers: cast.callers,
        conferences: cast.conferences(cast.callers),
        talk: plan.talk.to_string(),
        codecs,
        ptime_ms: 20,
        pace: plan.pace,
        seconds: plan.duration.as_secs_f64(),
        warm_up_seconds: plan.warm_up.as_secs_f64(),
        listen_to: plan.listen_to,
        ramp: plan.ramp.map(|ramp| ramp.to_string()),
        until: plan.limits.clone(),
    }
}

/// A run under way.
struct Run<'a> {
    plan: &'a LoadPlan,
    stage: Stage<'a>,
    server: Option<&'a Watched>,
    /// The server before the first call.
    empty: Option<Usage>,
    watcher: &'a mut dyn Watcher,
    interrupt: &'a mut Interrupt,
}

impl Run<'_> {
    async fn steps(
        &mut self,
        numbers: &[usize],
        party: &mut Party,
        way: &mut Way,
    ) -> Result<(Vec<Step>, Verdict), LoadError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut held = None;
        for &callers in numbers {
            let stage = self.stage;
            let interrupted = party
                .grow(callers, way, &stage, self.watcher, self.interrupt)
                .await?
                || self.pass(party.parts.len(), self.plan.warm_up, true).await;
            if interrupted {
                break;
            }
            let (step, fault, interrupted) = self.measure(callers, party).await?;
            self.watcher.show(Progress::Step(&step));
            steps.push(step);
            if let Some(fault) = fault {
                return Ok((steps, broke(callers, held, fault)));
            }
            held = Some(callers);
            if interrupted {
                break;
            }
        }
        match held {
            Some(callers) => Ok((steps, Verdict::Held { callers })),
            None => Err(LoadError::Interrupted),
        }
    }

    /// One window; true if it was cut short.
    async fn measure(
        &mut self,
        callers: usize,
        party: &mut Party,
    ) -> Result<(Step, Option<Fault>, bool), LoadError> {
        let generator = self.stage.generator;
        let began = Instant::now();
        generator.open()?;
        let before = Reading::now(generator, self.server);
        let interrupted = self
            .pass(party.parts.len(), self.plan.duration, false)
            .await;
        if interrupted && began.elapsed() < SHORTEST {
            return Err(LoadError::Interrupted);
        }
        // Threads answer within a packet time; other tasks go on elsewhere meanwhile.
        let findings = tokio::task::block_in_place(|| generator.close())?;
        let after = Reading::now(generator, self.server);
        party.notice_ends();
        let scene = Scene {
            parts: &party.parts,
            clips: self.stage.clips,
            beat: generator.beat(),
        };
        let Between {
            seconds,
            streams,
            process,
            generator,
            mut around,
        } = between(&before, &after, &findings, scene, self.empty.as_ref());
        around.cut_off = party.cut_off();
        let heard = (!findings.recordings.is_empty()).then(|| {
            self.watcher
                .show(Progress::Doing("listening to what was heard ..."));
            let threads = allowed_cpus().len();
            tokio::task::block_in_place(|| ears::listen(scene, &findings.recordings, threads))
        });
        let (hearing, mouth_to_ear) = heard.map_or((None, None), |heard| {
            (Some(heard.hearing), heard.mouth_to_ear)
        });
        let step = Step {
            callers: Callers {
                asked: callers,
                connected: party.parts.len(),
                failed: party.failures(),
            },
            conferences: self.stage.cast.conferences(callers),
            seconds,
            streams,
            hearing,
            mouth_to_ear,
            process,
            generator,
        };
        let fault = judge(&step, &self.plan.limits, around);
        Ok((step, fault, interrupted))
    }

    /// Lets time pass and tells of each second; true if it was interrupted.
    async fn pass(&mut self, callers: usize, of: Duration, warming_up: bool) -> bool {
        let meter = self.stage.generator.meter();
        let (mut deviation, mut lateness) = (meter.deviation.snapshot(), meter.lateness.snapshot());
        let mut packets = meter.packets();
        let start = Instant::now();
        let mut next = start;
        while next < start + of {
            next = (next + Duration::from_secs(1)).min(start + of);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.interrupt.wait() => return true,
            }
            let now = meter.packets();
            self.watcher.show(Progress::Second(Second {
                callers,
                warming_up,
                elapsed: start.elapsed(),
                of,
                sent: now.0 - packets.0,
                received: now.1 - packets.1,
                deviation_p99_ns: p99_since(&meter.deviation, &mut deviation),
                lateness_p99_ns: p99_since(&meter.lateness, &mut lateness),
            }));
            packets = now;
        }
        false
    }
}

fn broke(callers: usize, held_callers: Option<usize>, fault: Fault) -> Verdict {
    Verdict::Broke {
        callers,
        held_callers,
        criterion: fault.criterion,
        measured: fault.measured,
        limit: fault.limit,
        sentence: fault.sentence,
    }
}
