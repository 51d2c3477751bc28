//! What the outside sees of conferences: the resources of the HTTP interface and of events, in snake case.

use serde::Serialize;

use super::conferences::{Call, Conference, Conferences, Member, State};
use super::{CallId, Caller, ConferenceName, ParticipantId, RoomRate, Timestamp};

/// A conference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConferenceView {
    /// What is dialled.
    pub name: ConferenceName,
    /// Number of participants in it.
    pub participants: usize,
    /// Those heard now, in the order in which they called.
    pub talkers: Vec<ParticipantId>,
    /// Nobody else may join.
    pub locked: bool,
    /// Callers are asked for a PIN.
    pub pin_required: bool,
    /// It is in the configuration and stays when it is empty.
    pub configured: bool,
    /// Most participants, 0 without limit.
    pub max_participants: u32,
    /// Rate of the mix as set: `"auto"` or Hz.
    pub rate: RoomRate,
    /// Since when it is known: the first call to it, or the start of the server.
    pub created_at: Timestamp,
    /// Conferences elsewhere that it is joined with; they are no participants. The model, which knows of none, leaves it empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkView>,
}

/// A conference elsewhere that is joined with this one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkView {
    /// Where: `"dahdi"`.
    pub kind: &'static str,
    /// Its number there.
    pub number: u16,
    /// Somebody is there, and somebody is here: both hear each other.
    pub connected: bool,
    /// Somebody there is heard now.
    pub talking: bool,
    /// Level of what is said there, dBov: 0 is full scale, -127 is silence.
    pub level_in_dbov: f32,
    /// Frames of 20 ms from there that were mixed here, since the start, as the others.
    pub frames_in: u64,
    /// Frames from here that were taken there.
    pub frames_out: u64,
    /// Intervals of silence, on either side, because no frame had come in time.
    pub frames_missing: u64,
    /// Frames dropped because they had become too old.
    pub frames_dropped: u64,
}

/// A participant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParticipantView {
    /// Unique as long as the server runs.
    pub id: ParticipantId,
    /// Who it says it is.
    pub caller: Caller,
    /// The others do not hear it.
    pub muted: bool,
    /// It does not hear the others.
    pub deaf: bool,
    /// It is heard now.
    pub talking: bool,
    /// It came in with the administrators' PIN.
    pub admin: bool,
    /// When it joined.
    pub joined_at: Timestamp,
    /// Its audio, where that is known; the model leaves it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Box<MediaView>>,
}

/// The audio of a participant's leg, as the media plane last reported it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MediaView {
    /// Name of the codec as in SDP.
    pub codec: String,
    /// Rate of the linear audio, Hz.
    pub sample_rate: u32,
    /// Length of the packets sent, ms.
    pub ptime_ms: u8,
    /// The phone has put the conference on hold: it hears nothing, and nothing is heard of it.
    pub on_hold: bool,
    /// It is on the port that phones share, not on ports of its own.
    pub shared_port: bool,
    /// Level of what it says, dBov: 0 is full scale, -127 is silence.
    pub level_in_dbov: f32,
    /// Gain on what it says, dB.
    pub input_gain_db: f32,
    /// Gain on what it hears, dB.
    pub output_gain_db: f32,
    /// Interarrival jitter (RFC 3550 section 6.4.1), ms.
    pub jitter_ms: f32,
    /// Share of packets lost on the way here since the start, 0 to 1.
    pub loss_fraction: f32,
    /// Packets lost on the way here since the start.
    pub packets_lost: u64,
    /// Packets received.
    pub packets_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets that came too late to be played.
    pub packets_late: u64,
    /// Datagrams refused: from elsewhere than the participant, or not of the agreed formats.
    pub packets_refused: u64,
    /// Present playout delay, ms.
    pub playout_ms: f32,
    /// Time concealed since the start, ms.
    pub concealed_ms: u64,
    /// Round trip as far as its RTCP tells, ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f32>,
    /// Packets lost on the way there, 0 to 1, as far as its RTCP tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_loss_fraction: Option<f32>,
}

impl Conferences {
    /// All conferences, sorted by name.
    pub fn views(&self) -> Vec<ConferenceView> {
        let mut views: Vec<_> = self
            .conferences
            .iter()
            .map(|(name, found)| self.view_of(name, found))
            .collect();
        views.sort_by(|a, b| a.name.cmp(&b.name));
        views
    }

    /// One conference.
    pub fn view(&self, conference: &str) -> Option<ConferenceView> {
        self.conferences
            .get_key_value(conference)
            .map(|(name, found)| self.view_of(name, found))
    }

    /// The participants of a conference in the order in which they called, each with its call, by which the media plane knows
    /// it.
    pub fn participants(&self, conference: &str) -> Option<Vec<(CallId, ParticipantView)>> {
        let found = self.conferences.get(conference)?;
        Some(
            found
                .members
                .values()
                .filter_map(|call| Some((*call, self.calls.get(call)?.view()?)))
                .collect(),
        )
    }

    /// One participant of a conference, with its call.
    pub fn participant(
        &self,
        conference: &str,
        id: ParticipantId,
    ) -> Option<(CallId, ParticipantView)> {
        let call = self.member(conference, id).ok()?;
        Some((call, self.calls.get(&call)?.view()?))
    }

    fn view_of(&self, name: &ConferenceName, found: &Conference) -> ConferenceView {
        let talks = |call: &CallId| {
            matches!(
                self.calls.get(call).map(|call| &call.state),
                Some(State::Joined(Member { talking: true, .. }))
            )
        };
        ConferenceView {
            name: name.clone(),
            participants: found.members.len(),
            talkers: found
                .members
                .iter()
                .filter(|(_, call)| talks(call))
                .map(|(id, _)| *id)
                .collect(),
            locked: found.locked,
            pin_required: found.settings.pin.is_some(),
            configured: found.configured,
            max_participants: found.settings.max_participants,
            rate: found.settings.rate,
            created_at: found.created_at,
            links: Vec::new(),
        }
    }
}

impl Call {
    pub(super) fn view(&self) -> Option<ParticipantView> {
        let State::Joined(member) = &self.state else {
            return None;
        };
        Some(ParticipantView {
            id: self.participant,
            caller: self.caller.clone(),
            muted: member.muted,
            deaf: member.deaf,
            talking: member.talking,
            admin: member.admin,
            joined_at: member.joined_at,
            media: None,
        })
    }
}
