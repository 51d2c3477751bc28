//! What can be set for a conference, and for all of them.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Longest name of a conference, bytes.
const MAX_NAME: usize = 64;

/// Longest PIN, digits.
const MAX_PIN: usize = 16;

/// Whether a text can name a conference: 1 to 64 letters, digits and `-._+~`, which a SIP user part and a path of
/// the HTTP interface carry as they are.
pub fn is_conference_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._+~".contains(&b))
        // A path segment of dots alone means another place.
        && name.bytes().any(|b| b != b'.')
}

/// Whether a text can be a PIN: 1 to 16 digits, which every telephone has.
pub fn is_pin(pin: &str) -> bool {
    (1..=MAX_PIN).contains(&pin.len()) && pin.bytes().all(|b| b.is_ascii_digit())
}

/// Settings of one conference.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// PIN that callers are asked for; `None` lets everyone in.
    pub pin: Option<String>,
    /// PIN that makes its caller an administrator; only beside `pin`, and different from it.
    pub admin_pin: Option<String>,
    /// Most participants; 0 is no limit but the server's. Administrators are let in beyond it.
    pub max_participants: u32,
    /// Sample rate of the mix.
    pub rate: RoomRate,
    /// Locked from the start: nobody joins before someone unlocks it, administrators excepted.
    pub locked: bool,
    /// A short tone for the others when somebody joins or leaves.
    pub announce_join_leave: bool,
    /// Tell the first participant that nobody else is there.
    pub announce_only_person: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pin: None,
            admin_pin: None,
            max_participants: 0,
            rate: RoomRate::Auto,
            locked: false,
            announce_join_leave: true,
            announce_only_person: true,
        }
    }
}

// PINs do not reach logs by way of `{:?}`.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("pin", &self.pin.is_some())
            .field("admin_pin", &self.admin_pin.is_some())
            .field("max_participants", &self.max_participants)
            .field("rate", &self.rate)
            .field("locked", &self.locked)
            .field("announce_join_leave", &self.announce_join_leave)
            .field("announce_only_person", &self.announce_only_person)
            .finish()
    }
}

/// Sample rate of a conference's mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RoomRate {
    /// The highest rate that a participant's codec has.
    #[default]
    Auto,
    /// Fixed, Hz: 8000, 16000, 24000 or 48000.
    Fixed(u32),
}

/// As in the configuration: `"auto"` or the number.
impl Serialize for RoomRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(rate) => serializer.serialize_u32(*rate),
        }
    }
}

/// Rules for all conferences of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A number that is not configured opens a conference of that name.
    pub allow_unknown: bool,
    /// Most conferences at a time, configured ones included.
    pub max_conferences: usize,
    /// Wrong PINs before the call is ended.
    pub pin_tries: u32,
    /// How long a caller who is asked for the PIN may press no key; from the start of the prompt.
    pub pin_timeout: Duration,
    /// Settings of conferences opened on demand.
    pub defaults: Settings,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            allow_unknown: true,
            max_conferences: 20_000,
            pin_tries: 3,
            pin_timeout: Duration::from_secs(10),
            defaults: Settings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_a_phone_and_a_path_can_carry() {
        for good in ["1000", "team-a", "a.b_c+d~e", "..a", &"9".repeat(64)] {
            assert!(is_conference_name(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "a/b",
            "a\"b",
            "\u{e9}",
            "a%20",
            "a\r\n",
            &"9".repeat(65),
        ] {
            assert!(!is_conference_name(bad), "{bad}");
        }
    }

    #[test]
    fn pins_are_digits() {
        assert!(is_pin("0") && is_pin("0123456789012345"));
        for bad in ["", "12a4", "1 2", "#", "\u{661}", "01234567890123456"] {
            assert!(!is_pin(bad), "{bad}");
        }
    }
}
