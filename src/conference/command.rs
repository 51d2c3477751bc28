//! What those in charge may order.

use super::conferences::{Conferences, Member, State};
use super::event::{EventKind, LeaveReason};
use super::{Action, CallId, ConferenceName, HangUpReason, Now, ParticipantId, Prompt, Target};

/// A command that names what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// No conference has this name; the list of conferences has those there are.
    #[error("no such conference")]
    NoSuchConference,
    /// No participant of this conference has this id; it may have left.
    #[error("no such participant in this conference")]
    NoSuchParticipant,
}

impl Conferences {
    /// Mutes a participant, or lets it be heard again, and tells it so.
    ///
    /// # Errors
    ///
    /// If there is no such conference, or no such participant in it.
    pub fn set_muted(
        &mut self,
        now: Now,
        conference: &str,
        participant: ParticipantId,
        muted: bool,
    ) -> Result<Vec<Action>, CommandError> {
        let call = self.member(conference, participant)?;
        let Some((name, member)) = self.joined(call) else {
            return Err(CommandError::NoSuchParticipant);
        };
        if member.muted == muted {
            return Ok(Vec::new());
        }
        member.muted = muted;
        let silenced = std::mem::take(&mut member.talking);
        if silenced {
            self.events.push(
                now.wall,
                &name,
                EventKind::TalkingStopped { id: participant },
            );
        }
        self.events.push(
            now.wall,
            &name,
            EventKind::MutedChanged {
                id: participant,
                muted,
            },
        );
        let prompt = if muted {
            Prompt::Muted
        } else {
            Prompt::Unmuted
        };
        Ok(vec![
            Action::SetMuted { call, muted },
            Action::Play {
                to: Target::Call(call),
                prompts: vec![prompt],
            },
        ])
    }

    /// Keeps a participant from hearing the others, or lets it hear them again.
    ///
    /// # Errors
    ///
    /// If there is no such conference, or no such participant in it.
    pub fn set_deaf(
        &mut self,
        now: Now,
        conference: &str,
        participant: ParticipantId,
        deaf: bool,
    ) -> Result<Vec<Action>, CommandError> {
        let call = self.member(conference, participant)?;
        let Some((name, member)) = self.joined(call) else {
            return Err(CommandError::NoSuchParticipant);
        };
        if std::mem::replace(&mut member.deaf, deaf) == deaf {
            return Ok(Vec::new());
        }
        self.events.push(
            now.wall,
            &name,
            EventKind::DeafChanged {
                id: participant,
                deaf,
            },
        );
        Ok(vec![Action::SetDeaf { call, deaf }])
    }

    /// Removes a participant and ends its call.
    ///
    /// # Errors
    ///
    /// If there is no such conference, or no such participant in it.
    pub fn kick(
        &mut self,
        now: Now,
        conference: &str,
        participant: ParticipantId,
    ) -> Result<Vec<Action>, CommandError> {
        let call = self.member(conference, participant)?;
        let gone = self.forget(call).ok_or(CommandError::NoSuchParticipant)?;
        let mut actions = Vec::new();
        self.left(now, call, &gone, LeaveReason::Kicked, &mut actions);
        self.drop_if_empty(&gone.conference);
        actions.push(Action::HangUp {
            call,
            reason: HangUpReason::Kicked,
            prompts: vec![Prompt::Kicked],
        });
        Ok(actions)
    }

    /// Locks a conference, so that nobody but administrators joins, or unlocks it, and tells everyone in it. A
    /// configured conference is as configured again when it is empty.
    ///
    /// # Errors
    ///
    /// If there is no such conference.
    pub fn set_locked(
        &mut self,
        now: Now,
        conference: &str,
        locked: bool,
    ) -> Result<Vec<Action>, CommandError> {
        let (name, found) = self
            .conferences
            .get_key_value(conference)
            .ok_or(CommandError::NoSuchConference)?;
        if found.locked == locked {
            return Ok(Vec::new());
        }
        let name = name.clone();
        let anybody = !found.members.is_empty();
        if let Some(found) = self.conferences.get_mut(&name) {
            found.locked = locked;
        }
        self.events
            .push(now.wall, &name, EventKind::LockedChanged { locked });
        let prompt = if locked {
            Prompt::LockedNow
        } else {
            Prompt::UnlockedNow
        };
        let play = Action::Play {
            to: Target::Conference(name),
            prompts: vec![prompt],
        };
        Ok(if anybody { vec![play] } else { Vec::new() })
    }

    /// Ends a conference: everyone in it, and everyone on the way in, is hung up.
    ///
    /// # Errors
    ///
    /// If there is no such conference.
    pub fn end(&mut self, now: Now, conference: &str) -> Result<Vec<Action>, CommandError> {
        let (name, found) = self
            .conferences
            .get_key_value(conference)
            .ok_or(CommandError::NoSuchConference)?;
        let name = name.clone();
        let calls: Vec<CallId> = found
            .members
            .values()
            .chain(&found.waiting)
            .copied()
            .collect();
        let mut actions = Vec::new();
        for call in &calls {
            if let Some(gone) = self.forget(*call) {
                self.left(now, *call, &gone, LeaveReason::Ended, &mut actions);
            }
        }
        actions.extend(calls.into_iter().map(|call| Action::HangUp {
            call,
            reason: HangUpReason::Ended,
            prompts: Vec::new(),
        }));
        self.drop_if_empty(&name);
        Ok(actions)
    }

    pub(super) fn member(
        &self,
        conference: &str,
        participant: ParticipantId,
    ) -> Result<CallId, CommandError> {
        let found = self
            .conferences
            .get(conference)
            .ok_or(CommandError::NoSuchConference)?;
        found
            .members
            .get(&participant)
            .copied()
            .ok_or(CommandError::NoSuchParticipant)
    }

    fn joined(&mut self, call: CallId) -> Option<(ConferenceName, &mut Member)> {
        let known = self.calls.get_mut(&call)?;
        match &mut known.state {
            State::Joined(member) => Some((known.conference.clone(), member)),
            _ => None,
        }
    }
}
