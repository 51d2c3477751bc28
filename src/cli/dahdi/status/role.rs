//! What a channel does, in words.

use unisono_dahdi::request::confmode;

/// What the mode of a channel means, in two or three words.
pub(super) fn role(mode: i32) -> &'static str {
    let member = |talker, listener| match (mode & talker != 0, mode & listener != 0) {
        (true, true) => "talks and listens",
        (true, false) => "talks",
        (false, true) => "listens",
        (false, false) => "waits",
    };
    match mode & confmode::MASK {
        0 => "nothing",
        confmode::CONF => member(confmode::TALKER, confmode::LISTENER),
        confmode::REAL_AND_PSEUDO => member(confmode::PSEUDO_TALKER, confmode::PSEUDO_LISTENER),
        confmode::ANNOUNCE => "announces",
        confmode::LISTEN => "hears all",
        confmode::ANNOUNCE_LISTEN => "announces, hears all",
        confmode::MONITOR
        | confmode::MONITOR_TX
        | confmode::MONITOR_BOTH
        | confmode::DIGITAL_MONITOR
        | confmode::MONITOR_PREECHO
        | confmode::MONITOR_TX_PREECHO
        | confmode::MONITOR_BOTH_PREECHO => "monitors a channel",
        _ => "an unknown mode",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_meetme_sets_has_a_name() {
        for (mode, name) in [
            (0, "nothing"),
            (4, "waits"),
            (0x104, "listens"),
            (0x106, "hears all"),
            (0x204, "talks"),
            (0x304, "talks and listens"),
            (7, "announces, hears all"),
            (3, "monitors a channel"),
            (0xfe, "an unknown mode"),
        ] {
            assert_eq!(role(mode), name, "{mode:#x}");
        }
    }
}
