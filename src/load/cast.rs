//! Who is who: each caller's conference, codec, voice and place in the packet time, from its number alone, so that a run can be
//! repeated and a ramp changes nothing for those who are there already.

use unisono_rtp::codec::Codec;

use super::talk::{Gate, Random, TalkPattern};
use crate::caller::VOICES;

/// Slots in the packet time over which callers are spread.
pub(super) const SLOTS: u64 = 20;

/// In conferences with up to this many voices each can be told by ear; in larger ones so many of them.
const ALL_TOLD: usize = 24;
const SOME_TOLD: usize = 8;

/// Voices that are told by ear; the others are for the crowd.
const TOLD_VOICES: usize = 48;

/// Conferences whose voices differ, if there are enough voices: a voice that strayed from a neighbour is noticed.
const NEIGHBOURS: usize = 4;

/// So many may talk at full level at a time; more talk more softly, so that a sum of them stays within the range of 16 bits.
const FULL_LEVEL_TALKERS: f64 = 4.0;

/// Nobody talks more softly than this, dB, or mixers would take it for silence.
const SOFTEST_DB: f64 = -20.0;

/// How callers are spread over conferences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// So many conferences, whatever the number of callers.
    Conferences(usize),
    /// So many callers in each conference.
    Members(usize),
}

/// What a caller says while it talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Saying {
    /// The background only.
    Nothing,
    /// A voice.
    Voice {
        /// Which, below [`VOICES`].
        voice: usize,
        /// How loud, against the voice's usual -20 dBov.
        gain_db: i8,
    },
}

/// One caller.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// From 0.
    pub(super) number: usize,
    /// From 0.
    pub(super) conference: usize,
    /// What it sends and hopes to get.
    pub(super) codec: Codec,
    /// What it says when it talks.
    pub(super) saying: Saying,
    /// Whether its voice is nobody else's in the conference, so that it can be told by ear.
    pub(super) told: bool,
    /// When it talks.
    pub(super) gate: Gate,
    /// The clip's frame that it says in frame 0.
    pub(super) offset: u64,
    /// Its place in the packet time, below [`SLOTS`].
    pub(super) slot: u64,
}

/// The rules by which callers get their parts.
#[derive(Debug, Clone)]
pub(super) struct Cast {
    /// Where callers are, if that is not given by [`places`](Self::places).
    pub(super) grouping: Grouping,
    /// For a list of endpoints: the conference and the codec of each.
    pub(super) places: Option<Vec<(usize, Codec)>>,
    /// The codecs and how many of a hundred callers use each.
    pub(super) codecs: Vec<(Codec, f64)>,
    /// Who talks.
    pub(super) talk: TalkPattern,
    /// All at once, at the beginning of the packet time.
    pub(super) burst: bool,
    /// Callers in the end, by which levels are chosen.
    pub(super) callers: usize,
    /// Another seed is another run.
    pub(super) seed: u64,
}

impl Cast {
    /// How many conferences `callers` are spread over.
    pub(super) fn conferences(&self, callers: usize) -> usize {
        if let Some(places) = &self.places {
            let mut all: Vec<usize> = places.iter().take(callers).map(|place| place.0).collect();
            all.sort_unstable();
            all.dedup();
            return all.len();
        }
        match self.grouping {
            Grouping::Conferences(count) => count.min(callers),
            Grouping::Members(members) => callers.div_ceil(members.max(1)),
        }
    }

    /// Caller `number`.
    pub(super) fn part(&self, number: usize) -> Part {
        let (conference, place) = self.place(number);
        let mut random = Random::new(self.seed, number as u64);
        let members = self.members();
        let voices = self.talk.voices(members);
        let told = if voices <= ALL_TOLD {
            voices
        } else {
            SOME_TOLD
        };
        let at_a_time = self.talk.at_a_time(members);
        let (saying, is_told) = if place >= voices {
            (Saying::Nothing, false)
        } else if place < told {
            let pool =
                (told * self.conferences(self.callers).clamp(1, NEIGHBOURS)).min(TOLD_VOICES);
            let voice = (conference * told + place) % pool.max(1);
            let gain_db = softer(at_a_time.min(told as f64));
            (Saying::Voice { voice, gain_db }, true)
        } else {
            let crowd = VOICES - TOLD_VOICES;
            let voice = TOLD_VOICES + random.below(crowd as u64) as usize;
            let gain_db = softer(at_a_time);
            (Saying::Voice { voice, gain_db }, false)
        };
        let gate = match (self.talk, saying) {
            (_, Saying::Nothing) => Gate::Never,
            (TalkPattern::Speech, _) => Gate::spurts(self.seed, number as u64),
            _ => Gate::Always,
        };
        Part {
            number,
            conference,
            codec: self.codec(number),
            saying,
            told: is_told,
            gate,
            offset: random.below(10_000),
            slot: if self.burst { 0 } else { spread(number as u64) },
        }
    }

    /// The conference of a caller, and which of its members it is.
    fn place(&self, number: usize) -> (usize, usize) {
        if let Some(places) = &self.places {
            let conference = places.get(number).map_or(0, |place| place.0);
            let before = places.iter().take(number);
            return (
                conference,
                before.filter(|place| place.0 == conference).count(),
            );
        }
        match self.grouping {
            Grouping::Conferences(count) => (number % count.max(1), number / count.max(1)),
            Grouping::Members(members) => (number / members.max(1), number % members.max(1)),
        }
    }

    /// Members of a conference in the end.
    fn members(&self) -> usize {
        self.callers.div_ceil(self.conferences(self.callers).max(1))
    }

    fn codec(&self, number: usize) -> Codec {
        if let Some(places) = &self.places
            && let Some(place) = places.get(number)
        {
            return place.1;
        }
        let all: f64 = self.codecs.iter().map(|codec| codec.1).sum();
        // Another multiplier than that of the slots: each codec gets all of them.
        let mut at = even(number as u64, 0x8cb9_2ba7_2f3d_8dd7) * all;
        for (codec, share) in &self.codecs {
            if at < *share {
                return *codec;
            }
            at -= share;
        }
        self.codecs.first().map_or(Codec::Pcmu, |codec| codec.0)
    }
}

/// How much softer each talks when so many do at a time, dB.
fn softer(at_a_time: f64) -> i8 {
    let db = -10.0 * (at_a_time / FULL_LEVEL_TALKERS).max(1.0).log10();
    db.max(SOFTEST_DB).round() as i8
}

/// Consecutive numbers, however many, lie evenly over the slots (multiples of the golden ratio).
fn spread(number: u64) -> u64 {
    (even(number, 0x9e37_79b9_7f4a_7c15) * SLOTS as f64) as u64
}

fn even(number: u64, multiplier: u64) -> f64 {
    (number.wrapping_mul(multiplier) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn cast(grouping: Grouping, callers: usize, talk: TalkPattern) -> Cast {
        Cast {
            grouping,
            places: None,
            codecs: vec![(Codec::Pcmu, 100.0)],
            talk,
            burst: false,
            callers,
            seed: 1,
        }
    }

    #[test]
    fn callers_are_spread_over_conferences_and_slots() {
        let cast = cast(Grouping::Conferences(7), 1000, TalkPattern::Talkers(3));
        let mut members = [0; 7];
        let mut slots = [0; SLOTS as usize];
        for number in 0..1000 {
            let part = cast.part(number);
            members[part.conference] += 1;
            slots[part.slot as usize] += 1;
        }
        assert!(members.iter().all(|&count| (142..=143).contains(&count)));
        assert!(
            slots.iter().all(|&count| (48..=52).contains(&count)),
            "{slots:?}"
        );
        let pairs = Cast {
            grouping: Grouping::Members(2),
            ..cast
        };
        assert_eq!((pairs.conferences(5), pairs.part(5).conference), (3, 2));
    }

    #[test]
    fn talkers_of_a_conference_have_voices_of_their_own_and_neighbours_have_others() {
        let cast = cast(Grouping::Conferences(3), 30, TalkPattern::Talkers(3));
        let mut voices: HashMap<usize, HashSet<Saying>> = HashMap::new();
        for number in 0..30 {
            let part = cast.part(number);
            assert_eq!(part.told, matches!(part.saying, Saying::Voice { .. }));
            if part.told {
                voices
                    .entry(part.conference)
                    .or_default()
                    .insert(part.saying);
            }
        }
        assert!(voices.values().all(|voices| voices.len() == 3));
        let all: HashSet<_> = voices.values().flatten().collect();
        assert_eq!(all.len(), 9);
    }

    #[test]
    fn in_a_crowd_some_speak_up_and_the_others_softly() {
        let cast = cast(Grouping::Conferences(1), 1000, TalkPattern::All);
        let parts: Vec<Part> = (0..1000).map(|number| cast.part(number)).collect();
        let told: Vec<_> = parts.iter().filter(|part| part.told).collect();
        assert_eq!(told.len(), SOME_TOLD);
        assert_eq!(
            told[0].saying,
            Saying::Voice {
                voice: 0,
                gain_db: -3
            }
        );
        for part in parts.iter().filter(|part| !part.told) {
            let Saying::Voice { voice, gain_db } = part.saying else {
                panic!("{part:?}");
            };
            assert!(voice >= TOLD_VOICES && gain_db == -20);
        }
    }

    #[test]
    fn codecs_have_their_shares() {
        let mut cast = cast(Grouping::Conferences(1), 1000, TalkPattern::Speech);
        cast.codecs = vec![(Codec::Pcmu, 70.0), (Codec::Opus, 30.0)];
        let opus = (0..1000)
            .filter(|&n| cast.part(n).codec == Codec::Opus)
            .count();
        assert!((295..=305).contains(&opus), "{opus}");
        assert!(matches!(cast.part(3).gate, Gate::Spurts(_)));
    }

    #[test]
    fn a_list_says_who_is_where() {
        let mut cast = cast(Grouping::Conferences(1), 3, TalkPattern::Talkers(1));
        cast.places = Some(vec![(8, Codec::Opus), (5, Codec::Pcma), (8, Codec::Pcmu)]);
        assert_eq!(cast.conferences(3), 2);
        let part = cast.part(2);
        assert_eq!((part.conference, part.codec), (8, Codec::Pcmu));
        assert_eq!(part.saying, Saying::Nothing);
        assert!(cast.part(1).told);
    }
}
