//! What the HTTP side asks of the control plane.

use std::time::{Duration, Instant};

use tracing::warn;

use super::call::Call;
use super::handle::{ControlError, Overview, ParticipantChange, Reply, Request, WorkerOverview};
use super::overload::overload_problem;
use super::switchboard::Switchboard;
use crate::conference::{
    Action, CallId, CommandError, ConferenceView, MediaView, ParticipantId, ParticipantView,
};
use crate::sip::SipStatus;

/// A worker with legs that has not ticked for so long is in trouble.
const STALLED: Duration = Duration::from_secs(2);

/// Strangers' datagrams are logged no more often.
const BETWEEN_COMPLAINTS: Duration = Duration::from_secs(600);

/// When each worker was last seen to be alive.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    workers: Vec<Beat>,
    /// Datagrams to the shared port that were nobody's when that was last logged, and when.
    strangers: (u64, Option<Instant>),
}

impl Pulse {
    /// Says now and then that datagrams to the shared port are dropped, and what to do.
    fn note_strangers(&mut self, total: u64, now: Instant) {
        let (before, logged) = self.strangers;
        let is_due = logged.is_none_or(|at| now.duration_since(at) > BETWEEN_COMPLAINTS);
        if total > before && is_due {
            warn!(
                "{} datagrams came to the shared media port from addresses that no phone announced, and were dropped; if phones \
                 are not heard, they send from elsewhere than they say: set [media] shared_port = false",
                total - before
            );
            self.strangers = (total, Some(now));
        }
    }
}

#[derive(Debug)]
struct Beat {
    intervals: u64,
    seen: Instant,
}

impl Switchboard {
    pub(super) async fn on_request(&mut self, request: Request) {
        // Who asked may have gone: then nobody waits for the answer.
        match request {
            Request::Conferences(reply) => {
                let views = self.model.views().into_iter();
                drop(reply.send(views.map(|view| self.with_links(view)).collect()));
            }
            Request::Conference(name, reply) => drop(reply.send(self.conference(&name))),
            Request::Lock(name, locked, reply) => {
                let decided = self.model.set_locked(self.now(), &name, locked);
                let done = self.carry_out_if(&name, None, decided).await;
                drop(reply.send(done.and_then(|()| self.conference(&name))));
            }
            Request::End(name, reply) => {
                let decided = self.model.end(self.now(), &name);
                let done = self.carry_out_if(&name, None, decided).await;
                drop(reply.send(done));
            }
            Request::Participants(name, reply) => drop(reply.send(self.participants(&name))),
            Request::Participant(name, id, reply) => drop(reply.send(self.participant(&name, id))),
            Request::Change(name, id, change, reply) => {
                self.on_change(name, id, change, reply).await
            }
            Request::Kick(name, id, reply) => {
                let decided = self.model.kick(self.now(), &name, ParticipantId(id));
                let done = self.carry_out_if(&name, Some(id), decided).await;
                drop(reply.send(done));
            }
            Request::Overview(reply) => {
                let overview = self.overview().await;
                drop(reply.send(overview));
            }
            Request::SetOverload(settings, reply) => {
                self.engine.set_overload(settings);
                let _ = reply.send(());
            }
            // The task's loop takes it.
            Request::Stop(_) => {}
        }
    }

    /// Notes which workers are alive.
    pub(super) fn take_pulse(&mut self) {
        let now = Instant::now();
        let reports = self.engine.reports();
        let strangers = reports.iter().map(|report| report.figures.strangers).sum();
        self.pulse.note_strangers(strangers, now);
        self.pulse.workers.resize_with(reports.len(), || Beat {
            intervals: 0,
            seen: now,
        });
        for (beat, report) in self.pulse.workers.iter_mut().zip(&reports) {
            let intervals = report.figures.intervals + report.figures.skipped;
            if intervals != beat.intervals || report.figures.legs == 0 {
                *beat = Beat {
                    intervals,
                    seen: now,
                };
            }
        }
    }

    async fn on_change(
        &mut self,
        name: String,
        id: u64,
        change: ParticipantChange,
        reply: Reply<ParticipantView>,
    ) {
        let participant = ParticipantId(id);
        let mut done = Ok(());
        if let Some(muted) = change.muted {
            let decided = self.model.set_muted(self.now(), &name, participant, muted);
            done = self.carry_out_if(&name, Some(id), decided).await;
        }
        if let (Some(deaf), Ok(())) = (change.deaf, &done) {
            let decided = self.model.set_deaf(self.now(), &name, participant, deaf);
            done = self.carry_out_if(&name, Some(id), decided).await;
        }
        if done.is_ok()
            && let Some((call, _)) = self.model.participant(&name, participant)
            && let Some(leg) = self.leg_of(call)
        {
            self.engine
                .set_gains(leg, change.input_gain_db, change.output_gain_db);
        }
        drop(reply.send(done.and_then(|()| self.participant(&name, id))));
    }

    async fn carry_out_if(
        &mut self,
        conference: &str,
        participant: Option<u64>,
        decided: Result<Vec<Action>, CommandError>,
    ) -> Result<(), ControlError> {
        let actions = decided.map_err(|error| match (error, participant) {
            (CommandError::NoSuchParticipant, Some(participant)) => {
                no_such_participant(conference, participant)
            }
            _ => no_such(conference),
        })?;
        self.carry_out(actions).await;
        Ok(())
    }

    fn conference(&self, name: &str) -> Result<ConferenceView, ControlError> {
        let view = self.model.view(name).ok_or_else(|| no_such(name))?;
        Ok(self.with_links(view))
    }

    fn with_links(&self, view: ConferenceView) -> ConferenceView {
        let links = self.links.of(&view.name, &self.engine).collect();
        ConferenceView { links, ..view }
    }

    fn participants(&self, name: &str) -> Result<Vec<ParticipantView>, ControlError> {
        let participants = self.model.participants(name).ok_or_else(|| no_such(name))?;
        Ok(participants
            .into_iter()
            .map(|(call, view)| self.with_media(call, view))
            .collect())
    }

    fn participant(&self, name: &str, id: u64) -> Result<ParticipantView, ControlError> {
        if self.model.view(name).is_none() {
            return Err(no_such(name));
        }
        let (call, view) = self
            .model
            .participant(name, ParticipantId(id))
            .ok_or_else(|| no_such_participant(name, id))?;
        Ok(self.with_media(call, view))
    }

    fn with_media(&self, call: CallId, view: ParticipantView) -> ParticipantView {
        let media = self.calls.get(&call).and_then(|call| self.media_view(call));
        ParticipantView {
            media: media.map(Box::new),
            ..view
        }
    }

    fn media_view(&self, call: &Call) -> Option<MediaView> {
        let leg = call.leg()?;
        let spec = self.engine.media(leg)?;
        let figures = self.engine.figures(leg)?;
        let (input_gain_db, output_gain_db) = self.engine.gains(leg)?;
        let lost = u64::try_from(figures.lost_in).unwrap_or(0);
        let expected = figures.packets_in + lost;
        Some(MediaView {
            codec: spec.codec.encoding_name().to_owned(),
            sample_rate: spec.codec.sample_rate(),
            ptime_ms: spec.ptime_ms,
            on_hold: call.is_on_hold(),
            shared_port: self.engine.is_shared(leg),
            level_in_dbov: figures.level_in_cb as f32 / 100.0,
            input_gain_db,
            output_gain_db,
            jitter_ms: figures.jitter_us as f32 / 1000.0,
            loss_fraction: if expected == 0 {
                0.0
            } else {
                lost as f32 / expected as f32
            },
            packets_lost: lost,
            packets_received: figures.packets_in,
            packets_sent: figures.packets_out,
            packets_late: figures.late,
            packets_refused: figures.foreign + figures.malformed,
            playout_ms: figures.playout_ms as f32,
            concealed_ms: figures.concealed_samples * 1000 / u64::from(spec.codec.sample_rate()),
            round_trip_ms: (figures.round_trip_us > 0)
                .then_some(figures.round_trip_us as f32 / 1000.0),
            remote_loss_fraction: (figures.has_remote_report)
                .then_some(figures.remote_fraction_lost as f32 / 256.0),
        })
    }

    async fn overview(&mut self) -> Overview {
        let status = self.sip.status().await.unwrap_or_default();
        let reports = self.engine.reports();
        let demotions = self.engine.demoted();
        let mut problems = Vec::new();
        for (number, report) in reports.iter().enumerate() {
            let stalled = self
                .pulse
                .workers
                .get(number)
                .is_some_and(|beat| beat.seen.elapsed() > STALLED);
            if report.dead {
                problems.push(format!(
                    "media worker {number} has ended; restart the server"
                ));
            } else if stalled && report.figures.legs > 0 {
                problems.push(format!(
                    "media worker {number} has not ticked for {} s",
                    STALLED.as_secs()
                ));
            }
        }
        let (parts, split) = self.engine.room_counts();
        Overview {
            uptime: self.started.elapsed(),
            realtime: self.engine.grants().all(|grant| grant.realtime_granted()),
            realtime_detail: self.realtime_detail(),
            conferences: self.model.len() as u64,
            participants: self.model.participant_count() as u64,
            calls: self.calls.len() as u64,
            legs: self.engine.leg_count().saturating_sub(self.links.legs()) as u64,
            rooms: self.room_count() as u64,
            shared_legs: self.engine.shared_leg_count() as u64,
            parts: parts as u64,
            split: split as u64,
            legs_limit: self.capacity.legs.into(),
            links: self.links.all(&self.engine),
            problems,
            link_problem: self.links.problem(),
            overload_problem: overload_problem(&reports, self.engine.overload_settings()),
            overload: self.engine.overload_settings(),
            calls_refused: self.refusals.all().to_vec(),
            workers: reports
                .into_iter()
                .zip(demotions)
                .map(|(report, demoted)| WorkerOverview {
                    figures: report.figures,
                    level: report.level,
                    lateness: report.lateness,
                    missed_ticks: report.missed_ticks,
                    demoted,
                })
                .collect(),
            signalling: signalling(&status),
            refusals: status.agent.rejected.into_iter().collect(),
        }
    }

    fn realtime_detail(&self) -> String {
        let refused = self.engine.grants().find_map(|grant| grant.reason());
        refused.unwrap_or_else(|| {
            self.engine
                .grants()
                .next()
                .map(ToString::to_string)
                .unwrap_or_default()
        })
    }
}

/// Counters of the phones' side, for /metrics.
fn signalling(status: &SipStatus) -> Vec<(&'static str, &'static str, u64)> {
    let agent = &status.agent;
    vec![
        (
            "sip_messages_received",
            "SIP messages received",
            agent.messages_in,
        ),
        ("sip_messages_sent", "SIP messages sent", agent.messages_out),
        (
            "sip_malformed",
            "SIP messages that could not be read",
            agent.malformed,
        ),
        (
            "sip_retransmissions_sent",
            "SIP messages sent again",
            agent.retransmissions_out,
        ),
        (
            "sip_retransmissions_received",
            "SIP messages that came again",
            agent.retransmissions_in,
        ),
        ("sip_calls_received", "Calls that came in", agent.calls_in),
        (
            "sip_sessions_expired",
            "Calls ended by their session timer",
            agent.sessions_expired,
        ),
        (
            "sip_credentials_refused",
            "Requests with wrong credentials",
            agent.credentials_refused,
        ),
        (
            "sip_connections_refused",
            "TCP connections refused",
            status.connections_refused,
        ),
        (
            "sip_connections_overrun",
            "TCP connections closed because the peer did not read",
            status.connections_overrun,
        ),
        (
            "sip_datagrams_unsent",
            "SIP datagrams the kernel did not take; they are sent again",
            status.datagrams_unsent,
        ),
    ]
}

fn no_such_participant(conference: &str, participant: u64) -> ControlError {
    ControlError::NoSuchParticipant {
        conference: conference.to_owned(),
        participant: participant.to_string(),
    }
}

fn no_such(conference: &str) -> ControlError {
    ControlError::NoSuchConference {
        name: conference.to_owned(),
    }
}
