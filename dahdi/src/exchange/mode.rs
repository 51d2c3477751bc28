//! What the mode of a conference means for a pseudo channel.

use crate::request::confmode;

/// What a channel does in the conference, or to the channel, that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Writes to nobody and reads silence.
    Normal,
    /// In a conference.
    Member { talks: bool, hears: Hears },
    /// Hears one channel: what it says, what it hears, or both.
    Monitor { said: bool, heard: bool },
}

/// What a member of a conference reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    Nothing,
    /// Everybody but itself.
    Others,
    /// Everybody.
    All,
}

impl Mode {
    /// The meaning of [`crate::request::ConfInfo::mode`]. Modes that DAHDI does not know it stores, and does nothing.
    pub(super) const fn of(mode: i32) -> Self {
        let (talks, hears) = match mode & confmode::MASK {
            confmode::CONF => (
                mode & confmode::TALKER != 0,
                Hears::others(mode & confmode::LISTENER),
            ),
            confmode::REAL_AND_PSEUDO => (
                mode & confmode::PSEUDO_TALKER != 0,
                Hears::others(mode & confmode::PSEUDO_LISTENER),
            ),
            confmode::ANNOUNCE => (true, Hears::Nothing),
            confmode::LISTEN => (false, Hears::All),
            confmode::ANNOUNCE_LISTEN => (true, Hears::All),
            confmode::MONITOR | confmode::DIGITAL_MONITOR | confmode::MONITOR_PREECHO => {
                return Self::Monitor {
                    said: true,
                    heard: false,
                };
            }
            confmode::MONITOR_TX | confmode::MONITOR_TX_PREECHO => {
                return Self::Monitor {
                    said: false,
                    heard: true,
                };
            }
            confmode::MONITOR_BOTH | confmode::MONITOR_BOTH_PREECHO => {
                return Self::Monitor {
                    said: true,
                    heard: true,
                };
            }
            _ => return Self::Normal,
        };
        Self::Member { talks, hears }
    }
}

impl Hears {
    const fn others(flag: i32) -> Self {
        if flag == 0 {
            Self::Nothing
        } else {
            Self::Others
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meetmes_modes_mean_what_it_takes_them_for() {
        let member = |talks, hears| Mode::Member { talks, hears };
        assert_eq!(Mode::of(0x304), member(true, Hears::Others));
        assert_eq!(Mode::of(0x106), member(false, Hears::All));
        assert_eq!(Mode::of(0x204), member(true, Hears::Nothing));
        assert_eq!(Mode::of(4), member(false, Hears::Nothing));
        assert_eq!(Mode::of(7), member(true, Hears::All));
        assert_eq!(Mode::of(0), Mode::Normal);
    }

    #[test]
    fn mode_8_means_the_flags_of_the_pseudo_side() {
        let member = |talks, hears| Mode::Member { talks, hears };
        assert_eq!(Mode::of(0xc08), member(true, Hears::Others));
        assert_eq!(Mode::of(0x808), member(true, Hears::Nothing));
        assert_eq!(Mode::of(0x408), member(false, Hears::Others));
        // Those of a real line's side are not meant.
        assert_eq!(Mode::of(0x308), member(false, Hears::Nothing));
    }
}
