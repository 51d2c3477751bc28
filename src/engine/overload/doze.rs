//! A leg whose silence is not decoded: one packet in a while is looked at, so that whoever begins to talk is heard.

/// A leg that has not talked for so long may doze, ns: longer than talkers pause.
const SILENT_FOR_NS: u64 = 5_000_000_000;

/// One that was woken without talking then may doze again after this, ns.
const FALSE_ALARM_NS: u64 = 1_000_000_000;

/// While a leg dozes, a packet that comes so long after the last one looked at is looked at, ns. With 20 ms in a packet
/// every seventh is: a voice waits for at most six.
const LOOK_EVERY_NS: u64 = 130_000_000;

/// Whether a leg's audio is attended to.
#[derive(Debug, Default)]
pub(crate) struct Doze {
    asleep: bool,
    /// Not put to sleep before this.
    awake_until_ns: u64,
    looked_ns: u64,
    unread: u64,
}

/// What to do with a packet of audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    /// Play it, as always.
    Play,
    /// Decode it, and call [`Doze::wake`] if it would be heard.
    Look,
    /// Drop it unread.
    None,
}

impl Doze {
    /// Whether the leg dozes.
    pub(crate) fn is_asleep(&self) -> bool {
        self.asleep
    }

    /// The leg has stopped talking.
    pub(crate) fn fell_silent(&mut self, now_ns: u64) {
        self.awake_until_ns = now_ns + SILENT_FOR_NS;
    }

    /// Once an interval for a leg that does not talk, while silent legs are shed: true when it falls asleep now.
    pub(crate) fn nod(&mut self, now_ns: u64) -> bool {
        let falls_asleep = !self.asleep && now_ns >= self.awake_until_ns;
        if falls_asleep {
            self.asleep = true;
            self.looked_ns = now_ns;
        }
        falls_asleep
    }

    /// What to do with a packet of audio that arrived now. `begins` is true where the sender says that talking begins.
    pub(crate) fn attend(&mut self, now_ns: u64, begins: bool) -> Attention {
        if !self.asleep {
            return Attention::Play;
        }
        if begins || now_ns.saturating_sub(self.looked_ns) >= LOOK_EVERY_NS {
            self.looked_ns = now_ns;
            return Attention::Look;
        }
        self.unread += 1;
        Attention::None
    }

    /// It is attended to again.
    pub(crate) fn wake(&mut self, now_ns: u64) {
        self.asleep = false;
        self.awake_until_ns = now_ns + FALSE_ALARM_NS;
    }

    /// Packets dropped unread since this was last asked.
    pub(crate) fn take_unread(&mut self) -> u64 {
        std::mem::take(&mut self.unread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: u64 = 20_000_000;

    #[test]
    fn of_a_dozing_leg_every_seventh_packet_is_looked_at() {
        let mut doze = Doze::default();
        assert_eq!(doze.attend(0, false), Attention::Play);
        assert!(doze.nod(0));
        assert!(!doze.nod(0), "it sleeps already");
        let attentions: Vec<_> = (1..=70).map(|n| doze.attend(n * PACKET, false)).collect();
        for (n, attention) in attentions.iter().enumerate() {
            let looked = (n + 1) % 7 == 0;
            let expected = if looked {
                Attention::Look
            } else {
                Attention::None
            };
            assert_eq!(*attention, expected, "packet {n}");
        }
        assert_eq!(doze.take_unread(), 60);
        assert_eq!(doze.take_unread(), 0);
        assert_eq!(
            doze.attend(71 * PACKET, true),
            Attention::Look,
            "a spurt begins"
        );
    }

    #[test]
    fn who_talked_lately_stays_awake() {
        let mut doze = Doze::default();
        doze.fell_silent(1_000_000_000);
        assert!(!doze.nod(5_900_000_000));
        assert!(doze.nod(6_000_000_000));
        doze.wake(7_000_000_000);
        assert!(!doze.is_asleep());
        assert!(
            !doze.nod(7_900_000_000),
            "it may be the beginning of a word"
        );
        assert!(doze.nod(8_000_000_000));
    }
}
