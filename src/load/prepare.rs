//! What is done before the first call: who is who, what is said, the way there, the threads.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;

use unisono_rtp::codec::Codec;
use unisono_rtp::net::descriptor_limit;
use unisono_timer::realtime::allowed_cpus;

use super::cast::{Cast, Saying};
use super::clip::Clips;
use super::dial::Way;
use super::ears;
use super::endpoints;
use super::generator::{Generator, Threads};
use super::process::Watched;
use super::report::Pace;
use super::target::{self, Target};
use super::{LoadError, LoadPlan, Progress, Watcher, WhichProcess};

/// Descriptors beside those of the callers.
const OTHER_DESCRIPTORS: u64 = 64;

/// SCHED_FIFO priority asked for: below a server's, so that on a machine shared with one it is the generator that is late, and says so.
pub(super) const PRIORITY: u8 = 40;

/// All that is there before the first call.
pub(super) struct Ready {
    pub(super) cast: Cast,
    pub(super) clips: Arc<Clips>,
    pub(super) generator: Generator,
    pub(super) way: Way,
    /// Callers of each step.
    pub(super) numbers: Vec<usize>,
    pub(super) listeners: Vec<usize>,
    pub(super) server: Option<Watched>,
    pub(super) name: Option<String>,
}

pub(super) async fn prepare(
    plan: &LoadPlan,
    watcher: &mut dyn Watcher,
) -> Result<Ready, LoadError> {
    let listed = match &plan.target {
        Target::Rtp(path) => Some(endpoints::read(path)?),
        Target::Sip { .. } => None,
    };
    let callers = match (plan.ramp, plan.callers, &listed) {
        (Some(ramp), ..) => ramp.end(),
        (None, Some(callers), _) => callers,
        (None, None, Some(listed)) => listed.len(),
        (None, None, None) => 10,
    };
    if let Some(listed) = &listed
        && listed.len() < callers
    {
        return Err(LoadError::TooFewEndpoints {
            listed: listed.len(),
            asked: callers,
        });
    }
    let places = listed.as_ref().map(|listed| {
        listed
            .iter()
            .map(|endpoint| (endpoint.conference, endpoint.codec))
            .collect()
    });
    let cast = Cast {
        grouping: plan.grouping,
        places,
        codecs: plan.codecs.clone(),
        talk: plan.talk,
        burst: plan.pace == Pace::Burst,
        callers,
        seed: plan.seed,
    };
    let conferences = cast.conferences(callers);
    if conferences > 1 && !plan.target.tells_conferences() {
        return Err(LoadError::OneNumber {
            target: plan.target.to_string(),
            conferences,
        });
    }
    descriptors(callers)?;
    let (way, address, name) = way_to(plan, listed).await?;
    let server = match plan.process {
        WhichProcess::Pid(pid) => Some(Watched::new(pid)?),
        WhichProcess::Auto => Some(Watched::with_udp_port(address)?),
        WhichProcess::IfFound => Watched::with_udp_port(address).ok(),
    };
    watcher.show(Progress::Doing("encoding what the callers say ..."));
    let needed: HashSet<(Saying, Codec)> = (0..callers)
        .map(|number| cast.part(number))
        .flat_map(|part| [(part.saying, part.codec), (Saying::Nothing, part.codec)])
        .collect();
    let background = plan.background;
    let clips = tokio::task::spawn_blocking(move || Clips::new(needed, background)).await?;
    let generator = Generator::start(&Threads {
        count: plan.threads.unwrap_or_else(default_threads),
        cpus: plan.cpus.clone(),
        priority: Some(PRIORITY),
    })?;
    let numbers = plan.ramp.map_or_else(|| vec![callers], |ramp| ramp.steps());
    let all: Vec<_> = (0..callers).map(|number| cast.part(number)).collect();
    // Half of them are among those of the first step, so that they are there in all; the others come as it grows.
    let mut listeners = ears::choose(&all[..numbers[0]], plan.listen_to.div_ceil(2));
    let others = ears::choose(&all, plan.listen_to - listeners.len());
    listeners.extend(others);
    if numbers.len() == 1 {
        listeners = ears::choose(&all, plan.listen_to);
    }
    listeners.sort_unstable();
    listeners.dedup();
    Ok(Ready {
        clips: Arc::new(clips),
        generator,
        way,
        numbers,
        listeners,
        server,
        name,
        cast,
    })
}

async fn way_to(
    plan: &LoadPlan,
    listed: Option<Vec<endpoints::Endpoint>>,
) -> Result<(Way, SocketAddr, Option<String>), LoadError> {
    match (&plan.target, listed) {
        (Target::Sip { host, port, .. }, _) => {
            let reached = target::reach(host, *port).await?;
            let way = Way::sip(plan.target.clone(), &reached)?;
            Ok((way, reached.address, reached.name))
        }
        (Target::Rtp(_), listed) => {
            let endpoints = listed.unwrap_or_default();
            let mut local = Vec::with_capacity(endpoints.len());
            for endpoint in &endpoints {
                local.push(target::local_towards(endpoint.remote).await?);
            }
            let address = endpoints.first().map_or_else(
                || SocketAddr::from(([0, 0, 0, 0], 0)),
                |endpoint| endpoint.remote,
            );
            Ok((Way::List { local, endpoints }, address, None))
        }
    }
}

fn descriptors(callers: usize) -> Result<(), LoadError> {
    let wanted = callers as u64 + OTHER_DESCRIPTORS;
    let limit = descriptor_limit(wanted).map_err(LoadError::Limit)?;
    if limit.falls_short() {
        return Err(LoadError::Descriptors {
            callers,
            wanted,
            available: limit.available,
            possible: limit.available.saturating_sub(OTHER_DESCRIPTORS),
        });
    }
    Ok(())
}

fn default_threads() -> usize {
    allowed_cpus().len().saturating_sub(1).max(1)
}
