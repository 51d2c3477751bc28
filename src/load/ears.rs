//! Who is heard: what some callers received is decoded after a window and compared with what everybody said in it.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::cast::{Part, Saying};
use super::clip::{Clips, LISTENING_HZ};
use super::generator::{Beat, Pause};
use super::report::{Hearing, MouthToEar, Percentiles};
use crate::caller::{Recorder, Recording};
use crate::listening::{Listener, quantile};
use crate::prompts::convert;

/// Speakers that one listener looks for: talkers of its own conference, and of others.
const OWN_CONFERENCE: usize = 6;
const OTHER_CONFERENCES: usize = 2;

/// What was said so long before the recording may still be in it, frames: the listening looks 2 s back.
const BEFORE: u64 = 120;

/// A talker must have been audible for so many frames of the recording to be expected in it, or half of the frames if those are fewer.
const ENOUGH: usize = 75;

/// Packets' lateness enters the delays by so many of its quantiles.
const LATENESS_QUANTILES: usize = 50;

/// Faults told in words.
const TOLD: usize = 8;

/// Frames audible in a silence, from which on the silence was no pause of the talkers.
const SPOKEN_THROUGH: usize = 3;

/// From a word to its arrival takes at most about so long, ns.
const ON_THE_WAY_NS: u64 = 140_000_000;

/// How the delay was measured, for the report.
const HOW: &str = "from the moment at which a packet was due to be sent to the arrival of the packet that brings its first sample back, found by \
                   correlation in the talkers' voices, with the codecs' own delay and the generator's lateness; 20 ms of packetisation before \
                   and the listener's playout after are not in it";

/// Everybody who is connected, with what they say and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    /// Who is connected.
    pub(super) parts: &'a [Part],
    /// What they say.
    pub(super) clips: &'a Clips,
    /// When.
    pub(super) beat: Beat,
}

/// What listening found.
#[derive(Debug)]
pub(super) struct Heard {
    /// Who was heard.
    pub(super) hearing: Hearing,
    /// How late, if anybody was heard.
    pub(super) mouth_to_ear: Option<MouthToEar>,
}

/// Callers worth listening to: talkers and others alternately, spread over the conferences.
pub(super) fn choose(parts: &[Part], count: usize) -> Vec<usize> {
    let (talkers, others): (Vec<&Part>, Vec<&Part>) = parts
        .iter()
        .partition(|part| part.saying != Saying::Nothing);
    let mut chosen = Vec::new();
    let mut take = |from: &[&Part], wanted: usize| {
        let wanted = wanted.min(from.len());
        // Evenly over the numbers, and so over conferences however callers are spread.
        chosen.extend((0..wanted).map(|n| from[(2 * n + 1) * from.len() / (2 * wanted)].number));
    };
    let silent = (count / 2).min(others.len());
    take(&talkers, count - silent);
    take(&others, count - (count - silent).min(talkers.len()));
    chosen.sort_unstable();
    chosen
}

/// Listens to all recordings, on so many threads.
pub(super) fn listen(scene: Scene<'_>, recordings: &[(usize, Recorder)], threads: usize) -> Heard {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, recordings.len().max(1)) {
            scope.spawn(|| {
                while let Some((number, recorder)) = recordings.get(next.fetch_add(1, Relaxed)) {
                    let Some(listener) = scene.part(*number) else {
                        continue;
                    };
                    let heard = scene.listen_as(listener, recorder.recording());
                    // Nobody panics while holding it.
                    if let Ok(mut found) = found.lock() {
                        found.push((*number, heard));
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_default();
    found.sort_by_key(|(number, _)| *number);
    sum_up(found.into_iter().map(|(_, heard)| heard))
}

/// Whether somebody else in the caller's conference was talking through a silence that the server marked: then it was no pause.
pub(super) fn was_gap(scene: Scene<'_>, pause: Pause) -> bool {
    let Some(listener) = scene.part(pause.caller) else {
        return true;
    };
    // A server that falls silent on purpose does so some time after the last word.
    let (from, to) = (pause.from_ns, pause.to_ns.saturating_sub(ON_THE_WAY_NS));
    if from >= to {
        return true;
    }
    let others = scene
        .parts
        .iter()
        .filter(|part| part.conference == listener.conference && part.number != listener.number);
    others.into_iter().any(|part| {
        let frames = scene.beat.frame_at(from, part.slot)..scene.beat.frame_at(to, part.slot);
        scene.audible(part, frames).count() >= SPOKEN_THROUGH
    })
}

/// What one listener heard.
#[derive(Debug, Default)]
struct One {
    expected: usize,
    heard: usize,
    strangers: usize,
    own_voice: bool,
    wrong: Vec<String>,
    delays_ms: Vec<f32>,
}

/// A speaker that is looked for.
struct Speaker<'a> {
    part: &'a Part,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Expected,
    /// Talked too little to be looked for in earnest, and is taken out of the way of the others.
    Perhaps,
    Stranger,
    Own,
}

impl<'a> Scene<'a> {
    fn part(&self, number: usize) -> Option<&'a Part> {
        let index = self.parts.binary_search_by_key(&number, |part| part.number);
        index.ok().map(|index| &self.parts[index])
    }

    /// The frames among `frames` in which this caller is audible.
    fn audible(
        &self,
        part: &Part,
        frames: std::ops::Range<u64>,
    ) -> impl Iterator<Item = u64> + use<'a> {
        let spoken = self.clips.spoken(part.saying);
        let (mut gate, offset) = (part.gate.clone(), part.offset);
        frames.filter(move |frame| {
            gate.talks(*frame)
                && spoken.is_some_and(|spoken| spoken.is_audible((offset + frame) as usize))
        })
    }

    fn listen_as(&self, listener: &Part, recording: Option<Recording>) -> One {
        let Some(recording) = recording else {
            return self.deaf(listener);
        };
        let length_ns =
            recording.samples.len() as u64 * 1_000_000_000 / u64::from(recording.sample_rate);
        let (from_ns, to_ns) = (recording.start_ns, recording.start_ns + length_ns);
        let samples = convert(&recording.samples, recording.sample_rate, LISTENING_HZ);
        let speakers = self.speakers(listener, from_ns, to_ns);
        let signals: Vec<(Vec<i16>, i64)> = speakers
            .iter()
            .map(|speaker| self.signal(speaker.part, from_ns, to_ns))
            .collect();
        let references: Vec<&[i16]> = signals.iter().map(|(signal, _)| &**signal).collect();
        let started: Vec<i64> = signals.iter().map(|(_, start)| *start).collect();
        let heard = Listener::new(LISTENING_HZ, &references).analyse(&samples, &started);

        let mut one = One::default();
        let lateness = lateness_ms(&recording);
        for (speaker, found) in speakers.iter().zip(&heard.speakers) {
            let part = speaker.part;
            let is = |what: &str| {
                format!(
                    "caller {} of conference {} {what}",
                    listener.number, listener.conference
                )
            };
            match (speaker.role, found.present) {
                (Role::Expected, true) => {
                    one.expected += 1;
                    one.heard += 1;
                    let delays = match found.delays_ms.as_slice() {
                        [] => std::slice::from_ref(&found.delay_ms),
                        windows => windows,
                    };
                    let all = delays
                        .iter()
                        .flat_map(|delay| lateness.iter().map(move |late| delay + late));
                    one.delays_ms.extend(all);
                }
                (Role::Expected, false) => {
                    one.expected += 1;
                    one.wrong
                        .push(is(&format!("does not hear caller {}", part.number)));
                }
                (Role::Stranger, true) => {
                    one.strangers += 1;
                    one.wrong.push(is(&format!(
                        "hears caller {} of conference {}",
                        part.number, part.conference
                    )));
                }
                (Role::Own, true) => {
                    one.own_voice = true;
                    one.wrong.push(is("hears itself"));
                }
                (Role::Stranger | Role::Own, false) | (Role::Perhaps, _) => {}
            }
        }
        one
    }

    /// Whom somebody misses who got no packet at all.
    fn deaf(&self, listener: &Part) -> One {
        let expected = self.companions(listener).count().min(OWN_CONFERENCE);
        One {
            expected,
            wrong: vec![format!(
                "caller {} of conference {} hears nothing at all",
                listener.number, listener.conference
            )],
            ..One::default()
        }
    }

    /// Talkers of the listener's conference who can be told by ear, beginning with another one for each listener.
    fn companions(&self, listener: &Part) -> impl Iterator<Item = &'a Part> + use<'a> {
        let (number, conference) = (listener.number, listener.conference);
        let all: Vec<&Part> = self
            .parts
            .iter()
            .filter(|part| part.told && part.conference == conference && part.number != number)
            .collect();
        let first = number.checked_rem(all.len()).unwrap_or(0);
        let count = all.len();
        (0..count).map(move |n| all[(first + n) % count])
    }

    fn speakers(&self, listener: &'a Part, from_ns: u64, to_ns: u64) -> Vec<Speaker<'a>> {
        let role = |part: &Part, role: Role| {
            let frames =
                self.beat.frame_at(from_ns, part.slot)..self.beat.frame_at(to_ns, part.slot);
            let enough = ENOUGH.min(frames.clone().count() / 2);
            // The last words of the window have not come back when it ends.
            let frames = frames.start..frames.end.saturating_sub(10);
            if self.audible(part, frames).count() >= enough.max(1) {
                role
            } else {
                Role::Perhaps
            }
        };
        let mut speakers: Vec<Speaker<'a>> = self
            .companions(listener)
            .take(OWN_CONFERENCE)
            .map(|part| Speaker {
                part,
                role: role(part, Role::Expected),
            })
            .collect();
        let known: HashSet<Saying> = self
            .parts
            .iter()
            .filter(|part| part.conference == listener.conference)
            .map(|part| part.saying)
            .collect();
        let strangers = self.parts.iter().filter(|part| {
            part.told && part.conference != listener.conference && !known.contains(&part.saying)
        });
        // Of each listener other neighbours; a voice once.
        let strangers: Vec<&Part> = strangers.collect();
        let start = (listener.number * 7)
            .checked_rem(strangers.len())
            .unwrap_or(0);
        let (before, after) = strangers.split_at(start);
        let mut sayings = known;
        for part in after.iter().chain(before) {
            let enough = role(part, Role::Stranger) == Role::Stranger;
            if enough && sayings.insert(part.saying) {
                speakers.push(Speaker {
                    part,
                    role: Role::Stranger,
                });
            }
            let found = speakers
                .iter()
                .filter(|speaker| speaker.role == Role::Stranger);
            if found.count() >= OTHER_CONFERENCES {
                break;
            }
        }
        // Somebody whose voice others in the conference have as well cannot be told from them.
        if listener.told {
            speakers.push(Speaker {
                part: listener,
                role: role(listener, Role::Own),
            });
        }
        speakers
    }

    /// What a caller said around a recording, and the sample of the recording at which it began to.
    fn signal(&self, part: &Part, from_ns: u64, to_ns: u64) -> (Vec<i16>, i64) {
        let first = self
            .beat
            .frame_at(from_ns, part.slot)
            .saturating_sub(BEFORE);
        let last = self.beat.frame_at(to_ns, part.slot) + 1;
        let mut gate = part.gate.clone();
        let mut signal = Vec::new();
        for frame in first..=last {
            match self.clips.spoken(part.saying) {
                Some(spoken) if gate.talks(frame) => {
                    signal.extend_from_slice(spoken.frame((part.offset + frame) as usize));
                }
                _ => signal.resize(signal.len() + LISTENING_HZ as usize / 50, 0),
            }
        }
        let began_ns = i128::from(self.beat.sent_ns(first, part.slot)) - i128::from(from_ns);
        let start = (began_ns * i128::from(LISTENING_HZ)).div_euclid(1_000_000_000);
        (signal, start as i64)
    }
}

fn lateness_ms(recording: &Recording) -> Vec<f32> {
    let all: Vec<f32> = recording
        .lateness_ns
        .iter()
        .map(|ns| *ns as f32 / 1e6)
        .collect();
    (0..LATENESS_QUANTILES)
        .filter_map(|n| quantile(&all, (n as f32 + 0.5) / LATENESS_QUANTILES as f32))
        .collect()
}

fn sum_up(listeners: impl Iterator<Item = One>) -> Heard {
    let mut hearing = Hearing {
        listeners: 0,
        expected: 0,
        heard: 0,
        missing: 0,
        strangers: 0,
        own_voice: 0,
        wrong: Vec::new(),
    };
    let mut delays = Vec::new();
    for one in listeners {
        hearing.listeners += 1;
        hearing.expected += one.expected;
        hearing.heard += one.heard;
        hearing.missing += one.expected - one.heard;
        hearing.strangers += one.strangers;
        hearing.own_voice += usize::from(one.own_voice);
        hearing.wrong.extend(one.wrong);
        delays.extend(one.delays_ms);
    }
    hearing.wrong.truncate(TOLD);
    let at = |p| f64::from(quantile(&delays, p).unwrap_or(0.0));
    let mouth_to_ear = (!delays.is_empty()).then(|| MouthToEar {
        how: HOW.to_owned(),
        delay_ms: Percentiles {
            count: delays.len() as u64,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: at(1.0),
        },
    });
    Heard {
        hearing,
        mouth_to_ear,
    }
}
