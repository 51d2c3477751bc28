//! Who talks when: all the time, never, or in talk spurts as people do.

use std::fmt;
use std::str::FromStr;

/// Frames in a second: everybody sends one every 20 ms.
const FRAMES_PER_SECOND: f64 = 50.0;

/// Mean length of a talk spurt and of a pause in one person's speech, seconds (ITU-T P.59).
const MEAN_SPURT_SECONDS: f64 = 1.004;
const MEAN_PAUSE_SECONDS: f64 = 1.587;

/// Who talks in each conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TalkPattern {
    /// The first so many, all the time; the others are silent.
    Talkers(usize),
    /// Everybody, all the time.
    All,
    /// Everybody, in talk spurts and pauses of exponential length.
    Speech,
}

impl TalkPattern {
    /// Of `members` of a conference, how many talk at a time on average.
    pub fn at_a_time(self, members: usize) -> f64 {
        match self {
            Self::Talkers(count) => count.min(members) as f64,
            Self::All => members as f64,
            Self::Speech => members as f64 * activity(),
        }
    }

    /// Of `members` of a conference, how many ever talk.
    pub fn voices(self, members: usize) -> usize {
        match self {
            Self::Talkers(count) => count.min(members),
            Self::All | Self::Speech => members,
        }
    }
}

impl fmt::Display for TalkPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Talkers(count) => write!(f, "{count}"),
            Self::All => f.write_str("all"),
            Self::Speech => f.write_str("speech"),
        }
    }
}

impl FromStr for TalkPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "speech" => Ok(Self::Speech),
            number => number.parse().map(Self::Talkers).map_err(|_| {
                "expected a number of talkers in each conference, all, or speech".to_owned()
            }),
        }
    }
}

/// Numbers that look random and are the same for the same seed (SplitMix64): a run can be repeated.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers of `seed`, for purpose or person `stream`.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut mixed = Self(seed ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03));
        mixed.draw();
        mixed
    }

    /// The next number.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between 0 and 1, both excluded.
    pub(super) fn share(&mut self) -> f64 {
        ((self.draw() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    fn exponential_frames(&mut self, mean_seconds: f64) -> u64 {
        let frames = -self.share().ln() * mean_seconds * FRAMES_PER_SECOND;
        (frames.round() as u64).max(1)
    }
}

/// Whether one caller talks, frame by frame, from frame 0 on.
#[derive(Debug, Clone)]
pub(super) enum Gate {
    /// Silent throughout.
    Never,
    /// Talks throughout.
    Always,
    /// In spurts.
    Spurts(Spurts),
}

/// Talk spurts and pauses.
#[derive(Debug, Clone)]
pub(super) struct Spurts {
    random: Random,
    talking: bool,
    /// The frame with which the other state begins.
    until: u64,
}

impl Gate {
    /// The talk spurts of caller `number` in the run of `seed`.
    pub(super) fn spurts(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, number);
        let talking = random.share() < activity();
        let mut spurts = Spurts {
            random,
            talking,
            until: 0,
        };
        // Exponential lengths have no memory: what is left of the first is as long as a whole one.
        spurts.until = spurts.length();
        Self::Spurts(spurts)
    }

    /// Whether the caller talks in `frame`. Frames must be asked for in ascending order; some may be left out.
    pub(super) fn talks(&mut self, frame: u64) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Spurts(spurts) => spurts.talks(frame),
        }
    }
}

impl Spurts {
    fn talks(&mut self, frame: u64) -> bool {
        while frame >= self.until {
            self.talking = !self.talking;
            self.until += self.length();
        }
        self.talking
    }

    fn length(&mut self) -> u64 {
        let mean = if self.talking {
            MEAN_SPURT_SECONDS
        } else {
            MEAN_PAUSE_SECONDS
        };
        self.random.exponential_frames(mean)
    }
}

/// The share of the time in which one person talks.
fn activity() -> f64 {
    MEAN_SPURT_SECONDS / (MEAN_SPURT_SECONDS + MEAN_PAUSE_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spurts_and_pauses_have_the_lengths_of_speech() {
        let (mut talked, mut spurts, mut starts) = (0_u64, 0_u64, 0);
        let (callers, frames) = (400, 50 * 300);
        for number in 0..callers {
            let mut gate = Gate::spurts(7, number);
            let mut before = gate.talks(0);
            starts += u64::from(before);
            for frame in 0..frames {
                let now = gate.talks(frame);
                talked += u64::from(now);
                spurts += u64::from(now && !before);
                before = now;
            }
        }
        let all = (callers * frames) as f64;
        assert!((talked as f64 / all - activity()).abs() < 0.01, "{talked}");
        // A spurt and a pause together last 2.59 s; rounding to frames adds a little.
        let cycle = all / FRAMES_PER_SECOND / spurts as f64;
        assert!((cycle - 2.6).abs() < 0.05, "{cycle}");
        // Not everybody begins to talk at the same moment.
        let at_once = starts as f64 / callers as f64;
        assert!((at_once - activity()).abs() < 0.1, "{at_once}");
    }

    #[test]
    fn a_seed_repeats_and_callers_differ() {
        let pattern = |seed, number| -> Vec<bool> {
            let mut gate = Gate::spurts(seed, number);
            (0..1000).map(|frame| gate.talks(frame)).collect()
        };
        assert_eq!(pattern(1, 2), pattern(1, 2));
        assert_ne!(pattern(1, 2), pattern(1, 3));
        assert_ne!(pattern(1, 2), pattern(2, 2));
        // Frames that are left out change nothing for those that follow.
        let mut gate = Gate::spurts(1, 2);
        assert_eq!(gate.talks(777), pattern(1, 2)[777]);
    }

    #[test]
    fn patterns_are_numbers_and_words() {
        assert_eq!("3".parse(), Ok(TalkPattern::Talkers(3)));
        assert_eq!("all".parse(), Ok(TalkPattern::All));
        assert_eq!(
            TalkPattern::Speech.to_string().parse(),
            Ok(TalkPattern::Speech)
        );
        assert!("some".parse::<TalkPattern>().is_err());
        assert_eq!(TalkPattern::Talkers(5).voices(3), 3);
        assert!((TalkPattern::Speech.at_a_time(100) - 38.7).abs() < 0.1);
    }
}
