//! What the model decides: answers to a call, and things to be done.

use super::{CallId, ConferenceName, ParticipantId, RoomRate};

/// What becomes of an INVITE.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Decision {
    /// Answer it; a place is kept.
    Admit {
        /// Where it will join.
        conference: ConferenceName,
        /// As whom.
        participant: ParticipantId,
    },
    /// Answer it; the PIN is asked for once it is connected.
    AskPin {
        /// Where it wants to join.
        conference: ConferenceName,
        /// As whom.
        participant: ParticipantId,
    },
    /// Refuse it.
    Refuse(Refusal),
}

/// Why a call is refused before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Not configured, and [`super::Policy::allow_unknown`] is off; or no name of a conference.
    #[error("No such conference")]
    Unknown,
    /// Locked, and nobody could turn out to be an administrator. Calling again does not help, so 403.
    #[error("Conference is locked")]
    Locked,
    /// As many participants as it may have. Calling again later may help, so 486.
    #[error("Conference is full")]
    Full,
    /// As many conferences as the server may have.
    #[error("Too many conferences")]
    TooManyConferences,
    /// A call with this id is here already.
    #[error("Call is already here")]
    Duplicate,
}

impl Refusal {
    /// SIP status (RFC 3261 section 21); the `Display` text is its reason phrase.
    pub const fn status(self) -> u16 {
        match self {
            Self::Unknown => 404,
            Self::Locked => 403,
            Self::Full => 486,
            Self::TooManyConferences => 503,
            Self::Duplicate => 482,
        }
    }
}

/// Something to be done, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Make a mix: its first participant comes.
    OpenRoom {
        /// Of this conference.
        conference: ConferenceName,
        /// At this rate.
        rate: RoomRate,
    },
    /// Connect the call's leg to the mix.
    JoinRoom {
        /// The call.
        call: CallId,
        /// The conference.
        conference: ConferenceName,
    },
    /// Take the call's leg out of the mix.
    LeaveRoom {
        /// The call.
        call: CallId,
        /// The conference.
        conference: ConferenceName,
    },
    /// Give the mix up: its last participant has left.
    CloseRoom {
        /// Of this conference.
        conference: ConferenceName,
    },
    /// Play prompts one after another, behind what is playing there already.
    Play {
        /// To whom.
        to: Target,
        /// What.
        prompts: Vec<Prompt>,
    },
    /// Break off what plays to this call: it answers before the end.
    StopPlaying {
        /// The call.
        call: CallId,
    },
    /// Others no longer hear this leg, or hear it again.
    SetMuted {
        /// The call.
        call: CallId,
        /// On or off.
        muted: bool,
    },
    /// This leg no longer hears the others, or hears them again.
    SetDeaf {
        /// The call.
        call: CallId,
        /// On or off.
        deaf: bool,
    },
    /// End the call, after these prompts if it is answered. The model has forgotten it.
    HangUp {
        /// The call.
        call: CallId,
        /// Why.
        reason: HangUpReason,
        /// To be played to the end first.
        prompts: Vec<Prompt>,
    },
}

/// Who is to hear a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One call.
    Call(CallId),
    /// Everyone in the conference.
    Conference(ConferenceName),
}

/// Why the server ends a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum HangUpReason {
    /// The PIN was wrong as often as it may be.
    #[error("Wrong PIN")]
    WrongPin,
    /// The PIN was right, but the conference had been locked.
    #[error("Conference is locked")]
    Locked,
    /// The PIN was right, but the last place had been taken.
    #[error("Conference is full")]
    Full,
    /// Somebody in charge removed the participant.
    #[error("Removed from the conference")]
    Kicked,
    /// The conference was ended.
    #[error("Conference has ended")]
    Ended,
}

/// Something said or sounded, named as in Asterisk's sound packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prompt {
    /// Asks for the PIN.
    GetPin,
    /// The PIN was wrong.
    InvalidPin,
    /// Nobody else is here.
    OnlyPerson,
    /// Somebody joins.
    Join,
    /// Somebody leaves.
    Leave,
    /// You were removed.
    Kicked,
    /// The conference is locked, you cannot join.
    Locked,
    /// The conference is full, you cannot join.
    Full,
    /// The conference has been locked.
    LockedNow,
    /// The conference has been unlocked.
    UnlockedNow,
    /// You are muted.
    Muted,
    /// You are no longer muted.
    Unmuted,
}

impl Prompt {
    /// Every prompt that can be asked for.
    pub const ALL: [Self; 12] = [
        Self::GetPin,
        Self::InvalidPin,
        Self::OnlyPerson,
        Self::Join,
        Self::Leave,
        Self::Kicked,
        Self::Locked,
        Self::Full,
        Self::LockedNow,
        Self::UnlockedNow,
        Self::Muted,
        Self::Unmuted,
    ];

    /// Name of the sound file, without extension.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::GetPin => "conf-getpin",
            Self::InvalidPin => "conf-invalidpin",
            Self::OnlyPerson => "conf-onlyperson",
            Self::Join => "confbridge-join",
            Self::Leave => "confbridge-leave",
            Self::Kicked => "conf-kicked",
            Self::Locked => "conf-locked",
            Self::Full => "conf-full",
            Self::LockedNow => "conf-lockednow",
            Self::UnlockedNow => "conf-unlockednow",
            Self::Muted => "conf-muted",
            Self::Unmuted => "conf-unmuted",
        }
    }
}
