//! All conferences of a server, and every call that is in one or on its way in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::event::{EventKind, EventLog, LeaveReason};
use super::pin::{Outcome, PinEntry};
use super::{
    Action, CallId, Caller, ConferenceName, Decision, HangUpReason, Now, ParticipantId, Policy,
    Prompt, Refusal, Settings, Target, Timestamp,
};

/// Events that are kept for observers.
const EVENTS_KEPT: usize = 4096;

/// All conferences of a server. See the [module](super) for the life of a call.
#[derive(Debug)]
pub struct Conferences {
    policy: Policy,
    pub(super) conferences: HashMap<ConferenceName, Conference>,
    pub(super) calls: HashMap<CallId, Box<Call>>,
    /// Those who joined.
    pub(super) participants: HashMap<ParticipantId, CallId>,
    /// When each caller who is asked for a PIN has taken too long.
    deadlines: BTreeSet<(Duration, CallId)>,
    last_participant: u64,
    pub(super) events: EventLog,
}

#[derive(Debug)]
pub(super) struct Conference {
    pub(super) settings: Settings,
    /// Stays when it is empty.
    pub(super) configured: bool,
    pub(super) locked: bool,
    pub(super) created_at: Timestamp,
    /// Those who joined, in the order in which they called.
    pub(super) members: BTreeMap<ParticipantId, CallId>,
    /// Calls that have not joined yet.
    pub(super) waiting: BTreeSet<CallId>,
    /// How many of `waiting` have a place kept.
    pub(super) reserved: usize,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) conference: ConferenceName,
    pub(super) participant: ParticipantId,
    pub(super) caller: Caller,
    pub(super) state: State,
}

#[derive(Debug)]
pub(super) enum State {
    /// To be asked for the PIN once connected.
    BeforePin,
    /// Being asked.
    Pin {
        entry: PinEntry,
        deadline: Duration,
        prompt_plays: bool,
    },
    /// To join once connected; has a place.
    Admitted,
    /// In the conference.
    Joined(Member),
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) admin: bool,
    pub(super) muted: bool,
    pub(super) deaf: bool,
    pub(super) talking: bool,
    pub(super) joined_at: Timestamp,
}

impl Conferences {
    /// The server's conferences at its start: those configured, with nobody in them. Of two with one name the last
    /// counts.
    pub fn new(
        now: Now,
        policy: Policy,
        configured: impl IntoIterator<Item = (ConferenceName, Settings)>,
    ) -> Self {
        let conferences = configured
            .into_iter()
            .map(|(name, settings)| (name, Conference::new(settings, true, now.wall)))
            .collect();
        Self {
            policy,
            conferences,
            calls: HashMap::new(),
            participants: HashMap::new(),
            deadlines: BTreeSet::new(),
            last_participant: 0,
            events: EventLog::new(EVENTS_KEPT),
        }
    }

    /// An INVITE for this number: decides what becomes of it, and keeps a place for it if it is admitted.
    pub fn incoming(&mut self, now: Now, call: CallId, number: &str, caller: Caller) -> Decision {
        self.admit(now, call, number, caller)
            .unwrap_or_else(Decision::Refuse)
    }

    /// The call is answered and its audio flows: it joins, or is asked for the PIN.
    pub fn connected(&mut self, now: Now, call: CallId) -> Vec<Action> {
        let Some(known) = self.calls.get_mut(&call) else {
            return Vec::new();
        };
        match known.state {
            State::BeforePin => {
                let deadline = now.monotonic + self.policy.pin_timeout;
                known.state = State::Pin {
                    entry: PinEntry::new(self.policy.pin_tries),
                    deadline,
                    prompt_plays: true,
                };
                self.deadlines.insert((deadline, call));
                vec![Action::Play {
                    to: Target::Call(call),
                    prompts: vec![Prompt::GetPin],
                }]
            }
            State::Admitted => self.join(now, call, false),
            State::Pin { .. } | State::Joined(_) => Vec::new(),
        }
    }

    /// A key was pressed: `0` to `9`, `*`, `#`, `A` to `D`. Anything else does nothing, as do keys of participants.
    pub fn digit(&mut self, now: Now, call: CallId, key: char) -> Vec<Action> {
        if !matches!(key, '0'..='9' | '*' | '#' | 'A'..='D') {
            return Vec::new();
        }
        let Some(known) = self.calls.get_mut(&call) else {
            return Vec::new();
        };
        let State::Pin {
            entry,
            prompt_plays,
            ..
        } = &mut known.state
        else {
            return Vec::new();
        };
        let Some(conference) = self.conferences.get(&known.conference) else {
            return Vec::new();
        };
        let outcome = entry.key(key, &conference.settings);
        let mut actions = Vec::new();
        if outcome != Outcome::Ignored && std::mem::take(prompt_plays) {
            actions.push(Action::StopPlaying { call });
        }
        actions.extend(self.pin_outcome(now, call, outcome));
        actions
    }

    /// When [`Self::timeout`] is to be called next, on the monotonic clock; `None` while nothing waits.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Time has passed: whoever has taken too long is prompted again, or given up.
    pub fn timeout(&mut self, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        while let Some((_, call)) = self
            .deadlines
            .first()
            .copied()
            .filter(|(deadline, _)| *deadline <= now.monotonic)
        {
            self.deadlines.pop_first();
            let Some(known) = self.calls.get_mut(&call) else {
                continue;
            };
            let State::Pin { entry, .. } = &mut known.state else {
                continue;
            };
            let Some(conference) = self.conferences.get(&known.conference) else {
                continue;
            };
            let outcome = entry.timeout(&conference.settings);
            actions.extend(self.pin_outcome(now, call, outcome));
        }
        actions
    }

    /// The call's leg is heard, or no longer heard.
    pub fn talking(&mut self, now: Now, call: CallId, talking: bool) {
        let Some(known) = self.calls.get_mut(&call) else {
            return;
        };
        let State::Joined(member) = &mut known.state else {
            return;
        };
        // A report from before the mute arrived may still be under way.
        let talking = talking && !member.muted;
        if std::mem::replace(&mut member.talking, talking) != talking {
            let id = known.participant;
            let kind = if talking {
                EventKind::TalkingStarted { id }
            } else {
                EventKind::TalkingStopped { id }
            };
            self.events.push(now.wall, &known.conference, kind);
        }
    }

    /// The call is over: ended by either side, or given up before it was answered.
    pub fn hung_up(&mut self, now: Now, call: CallId) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(gone) = self.forget(call) {
            self.left(now, call, &gone, LeaveReason::HungUp, &mut actions);
            self.drop_if_empty(&gone.conference);
        }
        actions
    }

    /// The latest events.
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// Number of conferences, empty ones included.
    pub fn len(&self) -> usize {
        self.conferences.len()
    }

    /// Whether there is no conference, not even an empty one.
    pub fn is_empty(&self) -> bool {
        self.conferences.is_empty()
    }

    /// Number of participants in all conferences.
    pub fn participant_count(&self) -> usize {
        self.participants.len()
    }

    fn admit(
        &mut self,
        now: Now,
        call: CallId,
        number: &str,
        caller: Caller,
    ) -> Result<Decision, Refusal> {
        if self.calls.contains_key(&call) {
            return Err(Refusal::Duplicate);
        }
        let name = match self.conferences.get_key_value(number) {
            Some((name, _)) => name.clone(),
            None if !self.policy.allow_unknown => return Err(Refusal::Unknown),
            None => ConferenceName::new(number).ok_or(Refusal::Unknown)?,
        };
        let known = self.conferences.len();
        let conference = match self.conferences.get_mut(&name) {
            Some(conference) => conference,
            None if known >= self.policy.max_conferences => {
                return Err(Refusal::TooManyConferences);
            }
            None => {
                let opened = Conference::new(self.policy.defaults.clone(), false, now.wall);
                opened.door()?;
                self.conferences.entry(name.clone()).or_insert(opened)
            }
        };
        conference.door()?;

        self.last_participant += 1;
        let participant = ParticipantId(self.last_participant);
        let asks = conference.settings.pin.is_some();
        conference.waiting.insert(call);
        conference.reserved += usize::from(!asks);
        let state = if asks {
            State::BeforePin
        } else {
            State::Admitted
        };
        self.calls.insert(
            call,
            Box::new(Call {
                conference: name.clone(),
                participant,
                caller,
                state,
            }),
        );
        Ok(if asks {
            Decision::AskPin {
                conference: name,
                participant,
            }
        } else {
            Decision::Admit {
                conference: name,
                participant,
            }
        })
    }

    fn pin_outcome(&mut self, now: Now, call: CallId, outcome: Outcome) -> Vec<Action> {
        let prompts = match outcome {
            Outcome::Ignored => return Vec::new(),
            Outcome::More => Vec::new(),
            Outcome::Wrong => vec![Prompt::InvalidPin, Prompt::GetPin],
            Outcome::Nothing => vec![Prompt::GetPin],
            Outcome::GaveUp => {
                if let Some(known) = self.calls.get(&call) {
                    let kind = EventKind::PinRefused {
                        id: known.participant,
                    };
                    self.events.push(now.wall, &known.conference, kind);
                }
                return self.turn_away(call, HangUpReason::WrongPin, Prompt::InvalidPin);
            }
            Outcome::Admitted { admin } => return self.enter(now, call, admin),
        };
        let Some(State::Pin {
            deadline,
            prompt_plays,
            ..
        }) = self.calls.get_mut(&call).map(|known| &mut known.state)
        else {
            return Vec::new();
        };
        self.deadlines.remove(&(*deadline, call));
        *deadline = now.monotonic + self.policy.pin_timeout;
        self.deadlines.insert((*deadline, call));
        if prompts.is_empty() {
            return Vec::new();
        }
        *prompt_plays = true;
        vec![Action::Play {
            to: Target::Call(call),
            prompts,
        }]
    }

    /// The PIN was right. What has changed while it was entered counts, except for administrators.
    fn enter(&mut self, now: Now, call: CallId, admin: bool) -> Vec<Action> {
        let conference = self
            .calls
            .get(&call)
            .and_then(|known| self.conferences.get(&known.conference));
        match conference {
            Some(conference) if conference.locked && !admin => {
                self.turn_away(call, HangUpReason::Locked, Prompt::Locked)
            }
            Some(conference) if conference.is_full() && !admin => {
                self.turn_away(call, HangUpReason::Full, Prompt::Full)
            }
            _ => self.join(now, call, admin),
        }
    }

    fn turn_away(&mut self, call: CallId, reason: HangUpReason, prompt: Prompt) -> Vec<Action> {
        let Some(gone) = self.forget(call) else {
            return Vec::new();
        };
        self.drop_if_empty(&gone.conference);
        vec![Action::HangUp {
            call,
            reason,
            prompts: vec![prompt],
        }]
    }

    fn join(&mut self, now: Now, call: CallId, admin: bool) -> Vec<Action> {
        let Some(known) = self.calls.get_mut(&call) else {
            return Vec::new();
        };
        let Some(conference) = self.conferences.get_mut(&known.conference) else {
            return Vec::new();
        };
        let name = known.conference.clone();
        let member = Member {
            admin,
            muted: false,
            deaf: false,
            talking: false,
            joined_at: now.wall,
        };
        match std::mem::replace(&mut known.state, State::Joined(member)) {
            State::Admitted => conference.reserved -= 1,
            State::Pin { deadline, .. } => {
                self.deadlines.remove(&(deadline, call));
            }
            State::BeforePin | State::Joined(_) => {}
        }
        conference.waiting.remove(&call);
        let first = conference.members.is_empty();
        conference.members.insert(known.participant, call);
        self.participants.insert(known.participant, call);

        let mut actions = Vec::new();
        if first {
            actions.push(Action::OpenRoom {
                conference: name.clone(),
                rate: conference.settings.rate,
            });
            self.events
                .push(now.wall, &name, EventKind::ConferenceStarted);
        } else if conference.settings.announce_join_leave {
            // Before it joins, so that only the others hear it from its beginning.
            actions.push(Action::Play {
                to: Target::Conference(name.clone()),
                prompts: vec![Prompt::Join],
            });
        }
        actions.push(Action::JoinRoom {
            call,
            conference: name.clone(),
        });
        if let Some(participant) = known.view() {
            self.events.push(
                now.wall,
                &name,
                EventKind::ParticipantJoined {
                    participant: Box::new(participant),
                },
            );
        }
        if first && conference.settings.announce_only_person {
            actions.push(Action::Play {
                to: Target::Call(call),
                prompts: vec![Prompt::OnlyPerson],
            });
        }
        actions
    }

    /// Takes a call out of all books.
    pub(super) fn forget(&mut self, call: CallId) -> Option<Box<Call>> {
        let gone = self.calls.remove(&call)?;
        match gone.state {
            State::Pin { deadline, .. } => {
                self.deadlines.remove(&(deadline, call));
            }
            State::Joined(_) => {
                self.participants.remove(&gone.participant);
            }
            State::BeforePin | State::Admitted => {}
        }
        if let Some(conference) = self.conferences.get_mut(&gone.conference) {
            conference.members.remove(&gone.participant);
            conference.waiting.remove(&call);
            conference.reserved -= usize::from(matches!(gone.state, State::Admitted));
        }
        Some(gone)
    }

    /// What follows from a forgotten call, if it had joined.
    pub(super) fn left(
        &mut self,
        now: Now,
        call: CallId,
        gone: &Call,
        reason: LeaveReason,
        actions: &mut Vec<Action>,
    ) {
        let State::Joined(member) = &gone.state else {
            return;
        };
        let name = &gone.conference;
        let id = gone.participant;
        if member.talking {
            self.events
                .push(now.wall, name, EventKind::TalkingStopped { id });
        }
        self.events
            .push(now.wall, name, EventKind::ParticipantLeft { id, reason });
        actions.push(Action::LeaveRoom {
            call,
            conference: name.clone(),
        });
        let Some(conference) = self.conferences.get_mut(name) else {
            return;
        };
        if conference.members.is_empty() {
            conference.locked = conference.settings.locked;
            actions.push(Action::CloseRoom {
                conference: name.clone(),
            });
            self.events.push(now.wall, name, EventKind::ConferenceEnded);
        } else if conference.settings.announce_join_leave && reason != LeaveReason::Ended {
            actions.push(Action::Play {
                to: Target::Conference(name.clone()),
                prompts: vec![Prompt::Leave],
            });
        }
    }

    pub(super) fn drop_if_empty(&mut self, name: &ConferenceName) {
        let done = |c: &Conference| !c.configured && c.members.is_empty() && c.waiting.is_empty();
        if self.conferences.get(name).is_some_and(done) {
            self.conferences.remove(name);
        }
    }
}

impl Conference {
    fn new(settings: Settings, configured: bool, created_at: Timestamp) -> Self {
        Self {
            locked: settings.locked,
            settings,
            configured,
            created_at,
            members: BTreeMap::new(),
            waiting: BTreeSet::new(),
            reserved: 0,
        }
    }

    /// Whether a new call need not be answered to know that it cannot join.
    fn door(&self) -> Result<(), Refusal> {
        // Only the PIN tells an administrator, and administrators may always join.
        if self.settings.pin.is_some() && self.settings.admin_pin.is_some() {
            return Ok(());
        }
        match (self.locked, self.is_full()) {
            (true, _) => Err(Refusal::Locked),
            (_, true) => Err(Refusal::Full),
            _ => Ok(()),
        }
    }

    fn is_full(&self) -> bool {
        let most = self.settings.max_participants as usize;
        most != 0 && self.members.len() + self.reserved >= most
    }
}
