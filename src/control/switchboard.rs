//! The task that owns everything: events come in, decisions are asked of the model, deeds go out.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::eventfd::EventFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tracing::{debug, info, warn};
use unisono_mixer::SampleRate;
use unisono_rtp::net::PortPool;

use super::call::{Call, Farewell, KeyWay};
use super::capacity::Capacity;
use super::handle::Request;
use super::links::Links;
use super::overload::{OverloadLog, Refusals};
use super::requests::Pulse;
use crate::conference::{
    Action, CallId, ConferenceName, Conferences, HangUpReason, Now, Prompt, RoomRate, Target,
    Timestamp,
};
use crate::config::Config;
use crate::engine::{self, ANNOUNCEMENT_RATE, ConferenceId, Engine, EngineError, LegId, Sound};
use crate::prompts::PromptLibrary;
use crate::sip::{self, SipHandle};

/// Someone who is being told why the call ends is waited for so much longer than the prompt lasts: other prompts may
/// still be playing.
const PATIENCE: Duration = Duration::from_secs(15);

/// A prompt's end may be reported so much early: ticks that were late are played at once.
const EARLY: Duration = Duration::from_millis(100);

/// Time for phones to answer the BYE when the server ends: a first repetition falls into it (RFC 3261's T1 is 0.5 s).
const LAST_WORDS: Duration = Duration::from_millis(1800);

const GOING_DOWN: &str = "Server is shutting down";

/// How often the media plane is looked at although it gave no sign.
const ROUND: Duration = Duration::from_millis(250);

/// What a switchboard is made of.
#[derive(Debug)]
pub(super) struct SwitchboardParts {
    pub(super) config: Config,
    pub(super) capacity: Capacity,
    pub(super) engine: Engine,
    pub(super) sip: SipHandle,
    pub(super) ports: PortPool,
    pub(super) prompts: Arc<PromptLibrary>,
    pub(super) links: Links,
}

/// The owner of all calls.
#[derive(Debug)]
pub(super) struct Switchboard {
    pub(super) config: Config,
    pub(super) capacity: Capacity,
    pub(super) engine: Engine,
    pub(super) sip: SipHandle,
    pub(super) model: Conferences,
    pub(super) calls: HashMap<CallId, Box<Call>>,
    pub(super) started: Instant,
    pub(super) pulse: Pulse,
    pub(super) ports: PortPool,
    pub(super) by_leg: HashMap<LegId, CallId>,
    pub(super) links: Links,
    pub(super) refusals: Refusals,
    pub(super) overload_log: OverloadLog,
    prompts: Arc<PromptLibrary>,
    /// When those who are being told why are hung up at the latest.
    farewells: BTreeSet<(Instant, CallId)>,
    rooms: HashMap<ConferenceName, RoomUse>,
    notifier: AsyncFd<Notifier>,
}

/// A conference on the media plane, and how many calls are in it or on their way to it.
#[derive(Debug)]
struct RoomUse {
    room: ConferenceId,
    calls: usize,
}

impl Switchboard {
    pub(super) fn new(parts: SwitchboardParts) -> Result<Self, EngineError> {
        let SwitchboardParts {
            config,
            capacity,
            engine,
            sip,
            ports,
            prompts,
            links,
        } = parts;
        let configured = config.conferences.iter().filter_map(|conference| {
            Some((
                ConferenceName::new(&conference.name)?,
                conference.settings.clone(),
            ))
        });
        let started = Instant::now();
        let now = Now {
            monotonic: Duration::ZERO,
            wall: Timestamp::from(SystemTime::now()),
        };
        let model = Conferences::new(now, config.policy.clone(), configured);
        // SAFETY: the notifier owns a share of the descriptor, so it stays open, and is always the same, for as long
        // as tokio has it registered.
        let notifier = unsafe { AsyncFd::register(Notifier(engine.notifier())) };
        let notifier = notifier.map_err(io::Error::from)?;
        Ok(Self {
            config,
            capacity,
            engine,
            sip,
            model,
            calls: HashMap::new(),
            started,
            pulse: Pulse::default(),
            ports,
            prompts,
            by_leg: HashMap::new(),
            links,
            refusals: Refusals::default(),
            overload_log: OverloadLog::default(),
            farewells: BTreeSet::new(),
            rooms: HashMap::new(),
            notifier,
        })
    }

    /// Works until asked to stop, or until everybody who could ask is gone.
    pub(super) async fn run(
        mut self,
        mut phones: mpsc::Receiver<sip::Event>,
        mut requests: mpsc::Receiver<Request>,
    ) {
        let mut round = tokio::time::interval(ROUND);
        round.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let linked = self.links.changed();
        let silence_check = self.silence_check();
        let mut silence = tokio::time::interval(silence_check.unwrap_or(ROUND));
        silence.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let timeout = self.next_timeout();
            tokio::select! {
                event = phones.recv() => match event {
                    Some(event) => self.on_phone(event).await,
                    None => return warn!("signalling has stopped"),
                },
                ready = self.notifier.readable() => if let Ok(mut ready) = ready {
                    let _ = ready.get_inner().0.read();
                    ready.clear_ready();
                },
                request = requests.recv() => match request {
                    Some(Request::Stop(done)) => {
                        self.hang_up_all(&mut phones).await;
                        let _ = done.send(());
                        return;
                    }
                    Some(request) => self.on_request(request).await,
                    None => return,
                },
                () = tokio::time::sleep_until(timeout.into()) => self.on_timeout().await,
                () = linked.notified() => self.settle_links(),
                _ = round.tick() => {
                    self.take_pulse();
                    self.watch_load();
                }
                _ = silence.tick(), if silence_check.is_some() => self.ask_silent_phones().await,
            }
            self.on_media().await;
        }
    }

    pub(super) fn now(&self) -> Now {
        Now {
            monotonic: self.started.elapsed(),
            wall: Timestamp::from(SystemTime::now()),
        }
    }

    /// Carries out what the model decided, in its order.
    pub(super) async fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            debug!(?action, "decided");
            match action {
                // The media plane's conference is opened with its first call, which is before this.
                Action::OpenRoom { conference, .. } | Action::CloseRoom { conference } => {
                    self.settle_link(&conference);
                }
                Action::JoinRoom { call, .. } => {
                    if let Some((leg, room)) = self
                        .calls
                        .get(&call)
                        .and_then(|call| Some((call.leg()?, call.room)))
                    {
                        self.engine.join(leg, room);
                    }
                }
                Action::LeaveRoom { call, .. } => {
                    if let Some(leg) = self.leg_of(call) {
                        self.engine.leave(leg);
                    }
                }
                Action::Play {
                    to: Target::Call(call),
                    prompts,
                } => {
                    self.play(call, &prompts);
                }
                Action::Play {
                    to: Target::Conference(conference),
                    prompts,
                } => {
                    if let Some(used) = self.rooms.get(&conference) {
                        let room = used.room;
                        let sounds = self.sounds(&prompts, ANNOUNCEMENT_RATE.hz());
                        self.engine.announce(room, sounds);
                    }
                }
                Action::StopPlaying { call } => {
                    if let Some(leg) = self.leg_of(call) {
                        self.engine.stop_playing(leg);
                    }
                }
                Action::SetMuted { call, muted } => {
                    if let Some(leg) = self.leg_of(call) {
                        self.engine.set_muted(leg, muted);
                    }
                }
                Action::SetDeaf { call, deaf } => {
                    if let Some(leg) = self.leg_of(call) {
                        self.engine.set_deaf(leg, deaf);
                    }
                }
                Action::HangUp {
                    call,
                    reason,
                    prompts,
                } => self.say_farewell(call, reason, &prompts).await,
            }
        }
    }

    pub(super) fn leg_of(&self, call: CallId) -> Option<LegId> {
        self.calls.get(&call)?.leg()
    }

    /// Everything the media plane has to say.
    async fn on_media(&mut self) {
        while let Some(event) = self.engine.poll() {
            match event {
                engine::Event::TalkStarted(leg) => self.on_talk(leg, true),
                engine::Event::TalkStopped(leg) => self.on_talk(leg, false),
                engine::Event::Digit { leg, digit } => {
                    if let Some(call) = self.by_leg.get(&leg).copied() {
                        self.on_key(call, digit, KeyWay::Media).await;
                    }
                }
                engine::Event::PlayFinished(leg) => {
                    if let Some(call) = self.by_leg.get(&leg).copied()
                        && self
                            .calls
                            .get(&call)
                            .and_then(|entry| entry.farewell.as_ref())
                            .is_some_and(|farewell| Instant::now() >= farewell.earliest)
                    {
                        self.hang_up(call).await;
                    }
                }
                // Whether the call is over is for the signalling to say.
                engine::Event::RemoteBye(leg) => debug!(?leg, "RTCP BYE"),
            }
        }
    }

    fn on_talk(&mut self, leg: LegId, talking: bool) {
        if let Some(call) = self.by_leg.get(&leg) {
            self.model.talking(self.now(), *call, talking);
        }
    }

    /// When something is due that nobody will send an event for.
    fn next_timeout(&self) -> Instant {
        let model = self.model.next_timeout().map(|at| self.started + at);
        let farewell = self.farewells.first().map(|(deadline, _)| *deadline);
        let never = Instant::now() + Duration::from_secs(3600);
        [model, farewell]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(never)
    }

    async fn on_timeout(&mut self) {
        let actions = self.model.timeout(self.now());
        self.carry_out(actions).await;
        let now = Instant::now();
        while let Some((_, call)) = self
            .farewells
            .first()
            .copied()
            .filter(|(deadline, _)| *deadline <= now)
        {
            self.hang_up(call).await;
        }
    }

    /// Plays prompts to one call, behind what it is being played already; returns how long they are.
    fn play(&mut self, call: CallId, prompts: &[Prompt]) -> Duration {
        let Some(leg) = self.leg_of(call) else {
            return Duration::ZERO;
        };
        let Some(media) = self.engine.media(leg) else {
            return Duration::ZERO;
        };
        let rate = media.codec.sample_rate();
        let sounds = self.sounds(prompts, rate);
        let samples: usize = sounds.iter().map(|sound| sound.len()).sum();
        self.engine.play(leg, sounds);
        Duration::from_millis(samples as u64 * 1000 / u64::from(rate))
    }

    fn sounds(&self, prompts: &[Prompt], rate: u32) -> Vec<Sound> {
        prompts
            .iter()
            .filter_map(|prompt| self.prompts.get(prompt.file_name(), rate))
            .collect()
    }

    /// Ends a call: at once, or after it has been told why.
    async fn say_farewell(&mut self, call: CallId, reason: HangUpReason, prompts: &[Prompt]) {
        let length = self.play(call, prompts);
        let Some(entry) = self.calls.get_mut(&call) else {
            return;
        };
        let now = Instant::now();
        let farewell = Farewell {
            reason,
            earliest: (now + length)
                .checked_sub(EARLY)
                .map_or(now, |earliest| earliest.max(now)),
            deadline: now + length + PATIENCE,
        };
        self.farewells.insert((farewell.deadline, call));
        entry.farewell = Some(Box::new(farewell));
        if length.is_zero() {
            self.hang_up(call).await;
        }
    }

    /// Ends a call at once.
    async fn hang_up(&mut self, call: CallId) {
        let Some(entry) = self.release(call) else {
            return;
        };
        let reason = entry
            .farewell
            .map_or_else(String::new, |farewell| farewell.reason.to_string());
        let seconds = entry.began.elapsed().as_secs();
        info!(%call, conference = %entry.conference, reason, seconds, "hanging up");
        if let Err(error) = self.sip.hang_up(sip::CallId(call.0), reason).await {
            debug!(%call, "not hung up: {error}");
        }
    }

    /// Gives up a call's ports, leg and claim on its conference.
    pub(super) fn release(&mut self, call: CallId) -> Option<Box<Call>> {
        let entry = self.calls.remove(&call)?;
        if let Some(leg) = entry.leg() {
            self.by_leg.remove(&leg);
            self.engine.close_leg(leg);
        }
        if let Some(farewell) = &entry.farewell {
            self.farewells.remove(&(farewell.deadline, call));
        }
        self.release_room(&entry.conference);
        Some(entry)
    }

    /// A conference on the media plane, if there is one.
    pub(super) fn room(&self, conference: &ConferenceName) -> Option<ConferenceId> {
        self.rooms.get(conference).map(|used| used.room)
    }

    pub(super) fn room_count(&self) -> usize {
        self.rooms.len()
    }

    pub(super) fn acquire_room(
        &mut self,
        conference: &ConferenceName,
    ) -> Result<ConferenceId, EngineError> {
        if let Some(used) = self.rooms.get_mut(conference) {
            used.calls += 1;
            return Ok(used.room);
        }
        let rate = match self.model.view(conference.as_str()).map(|view| view.rate) {
            Some(RoomRate::Fixed(hz)) => SampleRate::from_hz(hz),
            Some(RoomRate::Auto) | None => None,
        };
        let room = self.engine.open_conference(rate)?;
        self.rooms
            .insert(conference.clone(), RoomUse { room, calls: 1 });
        Ok(room)
    }

    pub(super) fn release_room(&mut self, conference: &ConferenceName) {
        let Some(used) = self.rooms.get_mut(conference) else {
            return;
        };
        used.calls -= 1;
        if used.calls == 0 {
            let room = used.room;
            self.rooms.remove(conference);
            self.settle_link(conference);
            self.engine.close_conference(room);
        }
    }

    /// Says BYE to everybody, and waits a little for their answers. Whoever calls meanwhile is told to try later.
    async fn hang_up_all(&mut self, phones: &mut mpsc::Receiver<sip::Event>) {
        let calls: Vec<CallId> = self.calls.keys().copied().collect();
        if calls.is_empty() {
            return;
        }
        info!(calls = calls.len(), "hanging up on everybody");
        let before = self.sip.status().await.unwrap_or_default();
        for call in &calls {
            self.release(*call);
            let _ = self.sip.hang_up(sip::CallId(call.0), GOING_DOWN).await;
        }
        // What came in since is the answers, or more: then somebody is not waited for, who is unlikely to answer.
        let answered = before.agent.messages_in + calls.len() as u64;
        let deadline = tokio::time::Instant::now() + LAST_WORDS;
        let mut look = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                event = phones.recv() => match event {
                    Some(sip::Event::Incoming(incoming)) => {
                        let retry = Some(("Retry-After".to_owned(), "30".to_owned()));
                        self.refuse(CallId(incoming.call.0), 503, GOING_DOWN, retry).await;
                    }
                    Some(_) => {}
                    None => return,
                },
                _ = look.tick() => match self.sip.status().await {
                    Ok(status) if status.agent.calls_open == 0
                        && status.agent.messages_in >= answered => return,
                    Ok(_) => {}
                    Err(_) => return,
                },
                () = tokio::time::sleep_until(deadline) => return,
            }
        }
    }
}

/// The engine's eventfd, for tokio.
#[derive(Debug)]
struct Notifier(Arc<EventFd>);

impl AsRawFd for Notifier {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
