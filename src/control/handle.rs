//! What the rest of the program asks of the control plane.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

use crate::conference::{ConferenceView, LinkView, ParticipantView};
use crate::engine::{Level, OverloadSettings, WorkerFigures};
use unisono_timer::Snapshot;

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No conference of that name exists now.
    #[error("There is no conference '{name}'. GET /v1/conferences lists those that exist.")]
    NoSuchConference {
        /// The name asked for.
        name: String,
    },
    /// The conference has no such participant (any more).
    #[error(
        "Conference '{conference}' has no participant {participant}; perhaps they left. GET /v1/conferences/{conference}/participants lists who is there."
    )]
    NoSuchParticipant {
        /// The conference's name.
        conference: String,
        /// The identifier asked for, as it was written.
        participant: String,
    },
    /// The server is shutting down.
    #[error("The server is shutting down; ask again when it is back.")]
    Stopping,
}

/// What may be changed of a participant; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParticipantChange {
    /// Not heard by the others.
    pub muted: Option<bool>,
    /// Does not hear the others.
    pub deaf: Option<bool>,
    /// Gain on what the participant says, dB, -60 to 24.
    pub input_gain_db: Option<f32>,
    /// Gain on what the participant hears, dB, -60 to 24.
    pub output_gain_db: Option<f32>,
}

impl ParticipantChange {
    /// The first gain that is not from -60 to 24 dB.
    pub fn gain_out_of_range(&self) -> Option<f32> {
        [self.input_gain_db, self.output_gain_db]
            .into_iter()
            .flatten()
            .find(|gain| !(-60.0..=24.0).contains(gain))
    }
}

/// One worker, as an overview shows it.
#[derive(Debug, Clone)]
pub struct WorkerOverview {
    /// Its counters.
    pub figures: WorkerFigures,
    /// What it has given up to finish in time.
    pub level: Level,
    /// How late it woke.
    pub lateness: Snapshot,
    /// Wake-ups that never came.
    pub missed_ticks: u64,
    /// The watchdog took real-time priority away from it.
    pub demoted: bool,
}

/// The whole server at a glance.
#[derive(Debug, Clone)]
pub struct Overview {
    /// Time since the start.
    pub uptime: Duration,
    /// Every media thread has real-time priority.
    pub realtime: bool,
    /// What was granted, or why not, in one line.
    pub realtime_detail: String,
    /// Conferences that exist.
    pub conferences: u64,
    /// Participants in conferences.
    pub participants: u64,
    /// Calls: participants, those who are entering a PIN, and those who are being told why they are hung up.
    pub calls: u64,
    /// Legs on the media plane, without those of links.
    pub legs: u64,
    /// Those of them on a shared port.
    pub shared_legs: u64,
    /// Conferences on the media plane: those that calls are in or on their way to.
    pub rooms: u64,
    /// Their parts: one for each worker that mixes one.
    pub parts: u64,
    /// Those that several workers mix.
    pub split: u64,
    /// Legs this server can carry at once.
    pub legs_limit: u64,
    /// Links to conferences elsewhere, each with the conference here.
    pub links: Vec<(String, LinkView)>,
    /// What is wrong now and keeps calls from being served; empty when nothing is.
    pub problems: Vec<String>,
    /// Why links are not made, if they are not; calls work meanwhile.
    pub link_problem: Option<String>,
    /// What workers give up for want of time, and what to do, if any does; calls that are up work meanwhile.
    pub overload_problem: Option<String>,
    /// The loads above which workers shed.
    pub overload: OverloadSettings,
    /// Calls refused since the start, by reason.
    pub calls_refused: Vec<(&'static str, u64)>,
    /// The media workers.
    pub workers: Vec<WorkerOverview>,
    /// Counters of the signalling: name, help, value.
    pub signalling: Vec<(&'static str, &'static str, u64)>,
    /// SIP requests refused, by status.
    pub refusals: Vec<(u16, u64)>,
}

/// A request on its way to the control plane, with the place for its answer.
#[derive(Debug)]
pub(crate) enum Request {
    Conferences(oneshot::Sender<Vec<ConferenceView>>),
    Conference(String, Reply<ConferenceView>),
    Lock(String, bool, Reply<ConferenceView>),
    End(String, Reply<()>),
    Participants(String, Reply<Vec<ParticipantView>>),
    Participant(String, u64, Reply<ParticipantView>),
    Change(String, u64, ParticipantChange, Reply<ParticipantView>),
    Kick(String, u64, Reply<()>),
    Overview(oneshot::Sender<Overview>),
    SetOverload(OverloadSettings, oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

pub(crate) type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// A way to ask the control plane; cheap to clone.
#[derive(Debug, Clone)]
pub struct ControlHandle {
    requests: mpsc::Sender<Request>,
}

impl ControlHandle {
    pub(crate) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self { requests }
    }

    /// All conferences.
    ///
    /// # Errors
    /// [`ControlError::Stopping`], as all methods here.
    pub async fn conferences(&self) -> Result<Vec<ConferenceView>, ControlError> {
        self.ask(Request::Conferences).await
    }

    /// One conference.
    ///
    /// # Errors
    /// [`ControlError::NoSuchConference`].
    pub async fn conference(&self, name: String) -> Result<ConferenceView, ControlError> {
        self.ask(|reply| Request::Conference(name, reply)).await?
    }

    /// Lets nobody else in, or lets them in again.
    ///
    /// # Errors
    /// [`ControlError::NoSuchConference`].
    pub async fn lock(&self, name: String, locked: bool) -> Result<ConferenceView, ControlError> {
        self.ask(|reply| Request::Lock(name, locked, reply)).await?
    }

    /// Hangs up on everyone in a conference.
    ///
    /// # Errors
    /// [`ControlError::NoSuchConference`].
    pub async fn end(&self, name: String) -> Result<(), ControlError> {
        self.ask(|reply| Request::End(name, reply)).await?
    }

    /// Who is in a conference.
    ///
    /// # Errors
    /// [`ControlError::NoSuchConference`].
    pub async fn participants(&self, name: String) -> Result<Vec<ParticipantView>, ControlError> {
        self.ask(|reply| Request::Participants(name, reply)).await?
    }

    /// One participant.
    ///
    /// # Errors
    /// [`ControlError::NoSuchConference`], [`ControlError::NoSuchParticipant`].
    pub async fn participant(
        &self,
        conference: String,
        id: u64,
    ) -> Result<ParticipantView, ControlError> {
        self.ask(|reply| Request::Participant(conference, id, reply))
            .await?
    }

    /// Mutes, deafens, changes gains.
    ///
    /// # Errors
    /// [`ControlError::NoSuchConference`], [`ControlError::NoSuchParticipant`].
    pub async fn change_participant(
        &self,
        conference: String,
        id: u64,
        change: ParticipantChange,
    ) -> Result<ParticipantView, ControlError> {
        self.ask(|reply| Request::Change(conference, id, change, reply))
            .await?
    }

    /// Removes a participant, who is told so first.
    ///
    /// # Errors
    /// [`ControlError::NoSuchConference`], [`ControlError::NoSuchParticipant`].
    pub async fn kick(&self, conference: String, id: u64) -> Result<(), ControlError> {
        self.ask(|reply| Request::Kick(conference, id, reply))
            .await?
    }

    /// The whole server at a glance.
    ///
    /// # Errors
    /// [`ControlError::Stopping`].
    pub async fn overview(&self) -> Result<Overview, ControlError> {
        self.ask(Request::Overview).await
    }

    /// Sets the loads above which workers shed, until the server ends. `refuse_above` 0 refuses all new calls.
    ///
    /// # Errors
    /// [`ControlError::Stopping`].
    pub async fn set_overload(&self, settings: OverloadSettings) -> Result<(), ControlError> {
        self.ask(|reply| Request::SetOverload(settings, reply))
            .await
    }

    /// Hangs up on everyone and ends.
    ///
    /// # Errors
    /// [`ControlError::Stopping`] when that is under way already.
    pub async fn stop(&self) -> Result<(), ControlError> {
        self.ask(Request::Stop).await
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, ControlError> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(request(reply))
            .await
            .map_err(|_| ControlError::Stopping)?;
        answer.await.map_err(|_| ControlError::Stopping)
    }
}
