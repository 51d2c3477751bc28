//! The server, the calls, the speech: what was observed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use unisono_rtp::codec::Codec;
use unisono_rtp::net::{PortError, PortPool, SocketOptions};
use unisono_rtp::outbound::{Format, Origin};
use unisono_timer::{MonoTime, Snapshot};

use super::live::{Shown, View};
use crate::caller::{
    Call, CallError, CallRequest, Line, LineAddress, LineConfig, LineCounts, MediaError,
    MediaThread, Phone, Recording, Voice, voices,
};
use crate::conference::MediaView;
use crate::config::Config;
use crate::control::{ControlError, ControlHandle, Overview, Server, StartError};
use crate::sip::BindError;
use crate::sip::sdp::{CodecOrder, LocalMedia};

/// The conference that is called.
pub(super) const CONFERENCE: &str = "100";

/// Of long runs the last part is recorded; loss is counted over all.
const RECORDED_SECONDS: u32 = 60;

/// From the last call being answered to the first word: playout buffers settle.
const SETTLING: Duration = Duration::from_millis(500);

/// One begins to speak after the other, all within so much time.
const STAGGER: Duration = Duration::from_millis(600);

/// Beyond the last word, so that it arrives.
const TAIL: Duration = Duration::from_millis(300);

/// Ports of the callers' sockets: above those of the server's default.
const PORTS: std::ops::RangeInclusive<u16> = 50_000..=65_000;

/// Least priority below the server's that the callers' thread asks for.
const PRIORITY_BELOW: u8 = 10;

/// What is to be shown.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) callers: usize,
    pub(super) codec: Codec,
    /// How long is spoken.
    pub(super) duration: Duration,
}

/// What was observed.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) codec: Codec,
    /// How long was spoken.
    pub(super) spoken: Duration,
    /// Somebody pressed Ctrl-C before the time was over.
    pub(super) interrupted: bool,
    pub(super) callers: Vec<ObservedCaller>,
    /// How late the server's workers woke, while there were calls.
    pub(super) lateness: Snapshot,
    pub(super) missed_ticks: u64,
    /// Real-time priority was granted to all media threads.
    pub(super) realtime: bool,
    /// What was granted, or why not and what helps.
    pub(super) realtime_detail: String,
}

/// One caller, as observed.
#[derive(Debug)]
pub(super) struct ObservedCaller {
    pub(super) name: String,
    /// What it said, over and over.
    pub(super) clip: Arc<[i16]>,
    /// When it began to say it, on the clock of the recordings.
    pub(super) spoken_ns: Option<u64>,
    pub(super) counts: LineCounts,
    /// What it heard from the first word on.
    pub(super) recording: Option<Recording>,
    /// Why the call ended before we hung up.
    pub(super) cut_off: Option<String>,
    /// The server's side of the call.
    pub(super) server: Option<MediaView>,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum DemoError {
    #[error("cannot start the server: {0}")]
    Server(#[from] StartError),
    #[error("the callers cannot use SIP: {0}")]
    Sip(#[from] BindError),
    #[error("no port for caller {caller}: {source}; fewer callers need fewer (--callers)")]
    Ports { caller: String, source: PortError },
    #[error("{caller} cannot call: {source}")]
    Call { caller: String, source: CallError },
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("the server has ended early: {0}")]
    Control(#[from] ControlError),
    #[error("the folder {} cannot be used: {source}; name another with --wav", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("{} cannot be written: {source}", path.display())]
    Wav { path: PathBuf, source: hound::Error },
    #[error("cannot listen for Ctrl-C: {0}")]
    Signals(#[source] io::Error),
    #[error("interrupted before there was a verdict")]
    Interrupted,
    #[error("listening to the recordings broke down: {0}")]
    Listening(#[from] tokio::task::JoinError),
}

/// Everything from the server's start to its end.
pub(super) async fn hold(
    plan: &Plan,
    interrupt: &mut Signal,
    view: &mut View,
) -> Result<Observed, DemoError> {
    let config = server_config();
    let priority = config.media.realtime_priority;
    let priority = priority.map(|priority| priority.saturating_sub(PRIORITY_BELOW).max(1));
    view.say("starting a server ...");
    let server = Server::start(config).await?;
    let observed = converse(plan, &server, priority, interrupt, view).await;
    server.stop().await;
    observed
}

/// The defaults, but ports that are free, and no announcements: whatever is heard has been said by a caller.
fn server_config() -> Config {
    let mut config = Config::default();
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.sip.listen = free;
    config.http.listen = free;
    config.policy.defaults.announce_join_leave = false;
    config.policy.defaults.announce_only_person = false;
    config
}

async fn converse(
    plan: &Plan,
    server: &Server,
    priority: Option<u8>,
    interrupt: &mut Signal,
    view: &mut View,
) -> Result<Observed, DemoError> {
    let control = server.control();
    view.say(&format!(
        "a server listens on {}; {} callers dial {CONFERENCE}",
        server.sip_address(),
        plan.callers
    ));
    let mut callers = tokio::select! {
        callers = dial_all(plan, server.sip_address(), priority, view) => callers?,
        _ = interrupt.recv() => return Err(DemoError::Interrupted),
    };
    let before = control.overview().await?;

    let speech = MonoTime::now() + SETTLING;
    let step = STAGGER / plan.callers as u32;
    for number in 0..plan.callers {
        let from = speech + step * number as u32;
        callers.media.speak_from(number, from.as_nanos())?;
    }
    sleep(SETTLING).await;
    let interrupted = show(plan, &callers.shown, interrupt, view).await;
    let spoken = MonoTime::now().since(speech).min(plan.duration);
    sleep(TAIL).await;

    let after = control.overview().await?;
    let server_side = server_side(&control).await;
    let cut_off: Vec<Option<String>> = callers.calls.iter_mut().map(Call::ended).collect();
    let lines = callers.media.finish()?;
    let mut ending: JoinSet<()> = callers
        .calls
        .into_iter()
        .map(|call| call.hang_up("the demo is over"))
        .collect();
    while ending.join_next().await.is_some() {}

    let mut observed = Vec::new();
    for ((voice, finished), cut_off) in callers.voices.into_iter().zip(lines).zip(cut_off) {
        let line = finished.line;
        observed.push(ObservedCaller {
            server: server_side.get(&voice.name).cloned(),
            name: voice.name,
            clip: voice.clip,
            spoken_ns: line.spoken_ns(),
            counts: line.counts(),
            recording: line
                .recording()
                .map(|recording| recording.since(speech.as_nanos())),
            cut_off,
        });
    }
    Ok(Observed {
        codec: plan.codec,
        spoken,
        interrupted,
        callers: observed,
        lateness: lateness(&after).since(&lateness(&before)),
        missed_ticks: missed_ticks(&after).saturating_sub(missed_ticks(&before)),
        realtime: after.realtime,
        realtime_detail: after.realtime_detail,
    })
}

/// Callers who are in the conference and silent.
struct Callers {
    media: MediaThread,
    calls: Vec<Call>,
    voices: Vec<Voice>,
    shown: Vec<Shown>,
}

async fn dial_all(
    plan: &Plan,
    server: SocketAddr,
    priority: Option<u8>,
    view: &mut View,
) -> Result<Callers, DemoError> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let phone = Phone::bind((loopback, 0).into())?;
    let mut ports = PortPool::new(loopback, PORTS, SocketOptions::default(), rand::random());
    let voices = voices(plan.callers, plan.codec.sample_rate());
    let keep_seconds = (plan.duration + SETTLING + TAIL).as_secs() as u32 + 1;
    let media = MediaThread::start(priority)?;
    let mut calls = Vec::new();
    let mut shown = Vec::new();
    for voice in &voices {
        let socket = ports
            .bind_pair(true)
            .map_err(|source| DemoError::Ports {
                caller: voice.name.clone(),
                source,
            })?
            .rtp;
        view.detail(&format!("{} dials {CONFERENCE}", voice.name));
        let request = CallRequest {
            server,
            number: CONFERENCE,
            caller: &voice.name,
            media: local_media(socket.local_addr(), plan.codec),
        };
        let call = phone
            .call(request)
            .await
            .map_err(|source| DemoError::Call {
                caller: voice.name.clone(),
                source,
            })?;
        let agreed = call.agreed();
        let config = LineConfig {
            format: Format {
                codec: agreed.codec,
                payload_type: agreed.payload_type,
                ptime_ms: agreed.ptime_ms.into(),
            },
            receive_payload_type: agreed.receive_payload_type,
            speech: Arc::clone(&voice.clip),
            keep_seconds: keep_seconds.min(RECORDED_SECONDS),
            origin: Origin::from_random(rand::random()),
            random: rand::random(),
        };
        let line = Line::new(config, MonoTime::now().as_nanos());
        shown.push(Shown {
            name: voice.name.clone(),
            ssrc: line.ssrc(),
            meter: line.meter(),
        });
        let remote = call.remote();
        media.add(line, LineAddress { socket, remote })?;
        calls.push(call);
    }
    Ok(Callers {
        media,
        calls,
        voices,
        shown,
    })
}

fn local_media(address: SocketAddr, codec: Codec) -> LocalMedia {
    LocalMedia {
        address: address.ip(),
        rtp_port: address.port(),
        rtcp_port: None,
        rtcp_mux: true,
        codecs: vec![codec],
        codec_order: CodecOrder::Ours,
        ptime_ms: Some(20),
        telephone_event: false,
        comfort_noise: false,
        session_id: u64::from(rand::random::<u32>()),
        session_version: 1,
    }
}

/// Shows the callers until the time is over; true if somebody pressed Ctrl-C before.
async fn show(plan: &Plan, shown: &[Shown], interrupt: &mut Signal, view: &mut View) -> bool {
    let start = Instant::now();
    let mut next = start;
    while next < start + plan.duration {
        view.draw(start.elapsed(), plan, shown);
        next = (next + view.interval()).min(start + plan.duration);
        tokio::select! {
            () = sleep_until(next) => {}
            _ = interrupt.recv() => return true,
        }
    }
    view.draw(plan.duration, plan, shown);
    false
}

/// The server's view of each call, by the caller's name. Empty if the conference is gone: then the calls were cut off, which is told.
async fn server_side(control: &ControlHandle) -> HashMap<String, MediaView> {
    let participants = control.participants(CONFERENCE.to_owned()).await;
    let media = participants.unwrap_or_default().into_iter();
    media
        .filter_map(|participant| Some((participant.caller.number, *participant.media?)))
        .collect()
}

fn lateness(overview: &Overview) -> Snapshot {
    let mut all = Snapshot::empty();
    for worker in &overview.workers {
        all.merge(&worker.lateness);
    }
    all
}

fn missed_ticks(overview: &Overview) -> u64 {
    overview
        .workers
        .iter()
        .map(|worker| worker.missed_ticks)
        .sum()
}
