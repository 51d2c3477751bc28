//! From what was observed to a verdict. Pure: the same observation, the same verdict.

use std::num::NonZero;
use std::time::Duration;

use unisono_rtp::codec::Codec;
use unisono_timer::Snapshot;

use super::conversation::{Observed, ObservedCaller};
use crate::caller::Recording;
use crate::conference::MediaView;
use crate::listening::{Heard, Listener, quantile};

/// Packets' lateness enters the delays by so many of its quantiles.
const LATENESS_QUANTILES: usize = 100;

/// Most time of each recording that is listened to, seconds, and the least: enough for 50 voices at once.
const LISTENED_SECONDS: std::ops::RangeInclusive<u64> = 6..=60;

/// Listening takes a processor some milliseconds for each second and pair of callers; so many of them are worth waiting for.
const PAIR_SECONDS: u64 = 4000;

/// What is to be said of the demo.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) codec: Codec,
    pub(super) spoken: Duration,
    pub(super) callers: Vec<CallerVerdict>,
    /// Why it is no success; empty if it is one.
    pub(super) faults: Vec<String>,
    /// Of all packets that the sequence numbers tell of, those that never arrived, 0 to 1; both directions.
    pub(super) loss: f64,
    /// Over all callers and all whom they hear.
    pub(super) delay: Option<Delay>,
    pub(super) lateness: Lateness,
    pub(super) missed_ticks: u64,
    pub(super) realtime: bool,
    pub(super) realtime_detail: String,
}

/// What is to be said of one caller.
#[derive(Debug, Clone)]
pub(super) struct CallerVerdict {
    pub(super) name: String,
    pub(super) hears: Vec<String>,
    pub(super) misses: Vec<String>,
    pub(super) hears_itself: bool,
    pub(super) sent: u64,
    pub(super) received: u64,
    /// On the way from the server, and of how many.
    pub(super) lost: Loss,
    /// On the way to the server, and of how many.
    pub(super) lost_to_server: Loss,
    pub(super) delay: Option<Delay>,
    /// Level of what is heard, dBov.
    pub(super) level_dbov: f32,
    /// The server's side of the call, where it still had one at the end.
    pub(super) server: Option<MediaView>,
}

/// Packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) lost: u64,
    pub(super) of: u64,
}

/// From a sample being spoken to the same sample having arrived, ms.
///
/// A caller speaks sample by sample and sends a packet when its 20 ms are complete; a sample has arrived when it could be played by
/// a listener who begins to play each packet on arrival. So the caller's packet time is in it, the network both ways, the
/// server's playout buffer and mixing, and the codecs' own delay; a sound card and the listener's own playout buffer are not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Delay {
    pub(super) p50: f32,
    pub(super) p99: f32,
}

/// How late the server's ticks were, microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lateness {
    pub(super) ticks: u64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Verdict {
    pub(super) fn passed(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn heard_all_others(&self) -> bool {
        self.callers.iter().all(|caller| caller.misses.is_empty())
    }

    pub(super) fn heard_self(&self) -> bool {
        self.callers.iter().any(|caller| caller.hears_itself)
    }

    /// Packets lost and expected, both directions.
    pub(super) fn lost(&self) -> Loss {
        let ways = |caller: &CallerVerdict| [caller.lost, caller.lost_to_server];
        let sum = |sum: Loss, one: Loss| Loss {
            lost: sum.lost + one.lost,
            of: sum.of + one.of,
        };
        self.callers
            .iter()
            .flat_map(ways)
            .fold(Loss::default(), sum)
    }
}

/// Listens to all recordings, on all processors.
pub(super) fn judge(observed: &Observed) -> Verdict {
    let clips: Vec<&[i16]> = observed
        .callers
        .iter()
        .map(|caller| &*caller.clip)
        .collect();
    let listener = Listener::new(observed.codec.sample_rate(), &clips);
    let heard = listen_to_all(&listener, &observed.callers);
    let mut delays = Vec::new();
    let mut callers = Vec::new();
    for (number, (caller, heard)) in observed.callers.iter().zip(&heard).enumerate() {
        let own = heard.as_ref().map_or(Vec::new(), |heard| {
            let lateness = caller.recording.as_ref().map(lateness_ms);
            delays_ms(heard, number, &lateness.unwrap_or_default())
        });
        callers.push(judge_caller(number, observed, heard.as_ref(), &own));
        delays.extend(own);
    }
    let mut verdict = Verdict {
        codec: observed.codec,
        spoken: observed.spoken,
        callers,
        faults: Vec::new(),
        loss: 0.0,
        delay: Delay::of(&delays),
        lateness: Lateness::of(&observed.lateness),
        missed_ticks: observed.missed_ticks,
        realtime: observed.realtime,
        realtime_detail: observed.realtime_detail.clone(),
    };
    let lost = verdict.lost();
    verdict.loss = lost.lost as f64 / lost.of.max(1) as f64;
    verdict.faults = faults(observed, &verdict);
    verdict
}

fn judge_caller(
    number: usize,
    observed: &Observed,
    heard: Option<&Heard>,
    delays: &[f32],
) -> CallerVerdict {
    let caller = &observed.callers[number];
    let present = heard.map_or(Vec::new(), Heard::present);
    let names = |hears: bool| {
        let others = observed.callers.iter().enumerate();
        others
            .filter(|(other, _)| *other != number && present.contains(other) == hears)
            .map(|(_, other)| other.name.clone())
            .collect()
    };
    let counts = caller.counts;
    let lost = match counts.received {
        // Without a single packet there are no sequence numbers; a packet for each one sent was due.
        0 => Loss {
            lost: counts.sent,
            of: counts.sent,
        },
        _ => Loss {
            lost: counts.lost(),
            of: counts.expected,
        },
    };
    let lost_to_server = match &caller.server {
        Some(media) => Loss {
            lost: media.packets_lost,
            of: media.packets_lost + media.packets_received,
        },
        None => Loss::default(),
    };
    CallerVerdict {
        name: caller.name.clone(),
        hears: names(true),
        misses: names(false),
        hears_itself: present.contains(&number),
        sent: counts.sent,
        received: counts.received,
        lost,
        lost_to_server,
        delay: Delay::of(delays),
        level_dbov: heard.map_or(f32::NEG_INFINITY, |heard| heard.level_dbov),
        server: caller.server.clone(),
    }
}

/// What is wrong, most important first, each a clause of a sentence.
fn faults(observed: &Observed, verdict: &Verdict) -> Vec<String> {
    let mut faults = Vec::new();
    for caller in &observed.callers {
        if let Some(reason) = &caller.cut_off {
            faults.push(format!("{} was cut off ({reason})", caller.name));
        }
    }
    for caller in &verdict.callers {
        if !caller.misses.is_empty() {
            let missed = some_of(&caller.misses);
            faults.push(format!("{} does not hear {missed}", caller.name));
        }
    }
    let echoes: Vec<String> = verdict
        .callers
        .iter()
        .filter(|caller| caller.hears_itself)
        .map(|caller| caller.name.clone())
        .collect();
    match echoes.as_slice() {
        [] => {}
        [one] => faults.push(format!("{one} hears itself")),
        many => faults.push(format!("{} hear themselves", some_of(many))),
    }
    let lost = verdict.lost();
    if lost.lost > 0 {
        let (lost, of) = (lost.lost, lost.of);
        faults.push(format!("{lost} of {of} packets were lost"));
    }
    if observed.interrupted && !faults.is_empty() {
        let seconds = observed.spoken.as_secs_f32();
        faults.push(format!("it was interrupted after {seconds:.1} s"));
    }
    faults
}

/// The names, or the first of many.
pub(super) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 4;
    match names {
        [] => "nobody".to_owned(),
        [one] => one.clone(),
        [first @ .., last] if names.len() <= SHOWN => format!("{} and {last}", first.join(", ")),
        _ => {
            let shown = names[..SHOWN - 1].join(", ");
            format!("{shown} and {} more", names.len() - (SHOWN - 1))
        }
    }
}

fn listen_to_all(listener: &Listener, callers: &[ObservedCaller]) -> Vec<Option<Heard>> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = callers.len().div_ceil(processors).max(1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = callers
            .chunks(share)
            .map(|chunk| {
                scope.spawn(move || {
                    let listen = |caller: &ObservedCaller| {
                        let recording = latest(caller.recording.as_ref()?, callers.len());
                        Some(listen_to(listener, &recording, callers))
                    };
                    chunk.iter().map(listen).collect::<Vec<_>>()
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<Option<Heard>>>| {
            let joined = thread.join();
            joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    })
}

/// The last part of a recording: all of it when few callers were there for a minute or less.
fn latest(recording: &Recording, callers: usize) -> Recording {
    let pairs = (callers * callers).max(1) as u64;
    let seconds = (PAIR_SECONDS / pairs).clamp(*LISTENED_SECONDS.start(), *LISTENED_SECONDS.end());
    let length = recording.samples.len() as u64 * 1_000_000_000 / u64::from(recording.sample_rate);
    let skipped = length.saturating_sub(seconds * 1_000_000_000);
    recording.clone().since(recording.start_ns + skipped)
}

fn listen_to(listener: &Listener, recording: &Recording, callers: &[ObservedCaller]) -> Heard {
    // One who never spoke is looked for as one who has just begun, and not found.
    let end = recording.samples.len() as i64;
    let started: Vec<i64> = callers
        .iter()
        .map(|caller| caller.spoken_ns.map_or(end, |ns| recording.index_at(ns)))
        .collect();
    listener.analyse(&recording.samples, &started)
}

/// The delays of all whom `number` hears: those of its recording's line, each as late as its packets were, by their quantiles.
fn delays_ms(heard: &Heard, number: usize, lateness_ms: &[f32]) -> Vec<f32> {
    let others = heard.speakers.iter().enumerate();
    let on_the_line = others
        .filter(|(speaker, found)| *speaker != number && found.present)
        .flat_map(|(_, found)| match found.delays_ms.as_slice() {
            [] => std::slice::from_ref(&found.delay_ms),
            windows => windows,
        });
    on_the_line
        .flat_map(|delay| lateness_ms.iter().map(move |late| delay + late))
        .collect()
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

impl Delay {
    fn of(delays_ms: &[f32]) -> Option<Self> {
        Some(Self {
            p50: quantile(delays_ms, 0.5)?,
            p99: quantile(delays_ms, 0.99)?,
        })
    }
}

impl Lateness {
    fn of(snapshot: &Snapshot) -> Self {
        let microseconds = |ns: u64| ns as f64 / 1000.0;
        let quantile = |q| microseconds(snapshot.quantile(q));
        Self {
            ticks: snapshot.count(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            max: microseconds(snapshot.max()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{LineCounts, voices};

    const RATE: u32 = 8000;
    const START_NS: u64 = 5_000_000_000;

    /// Callers who spoke for five seconds. `gain` says how loud the first hears the second, and what arrives is `delay_ms` old.
    fn observed(delay_ms: u32, hears: impl Fn(usize, usize) -> bool) -> Observed {
        let voices = voices(3, RATE);
        let length = 5 * RATE as usize;
        let delay = (delay_ms * RATE / 1000) as usize;
        let recording = |listener: usize| {
            let mut samples = vec![0; length];
            for (n, sample) in samples.iter_mut().enumerate().skip(delay) {
                for (speaker, voice) in voices.iter().enumerate() {
                    if hears(listener, speaker) {
                        *sample += voice.clip[(n - delay) % voice.clip.len()] / 4;
                    }
                }
            }
            Recording {
                samples,
                sample_rate: RATE,
                start_ns: START_NS,
                lateness_ns: vec![1_000_000; 250],
                undecodable: 0,
            }
        };
        let caller = |number: usize| ObservedCaller {
            name: voices[number].name.clone(),
            clip: voices[number].clip.clone(),
            spoken_ns: Some(START_NS),
            counts: LineCounts {
                sent: 250,
                received: 250,
                expected: 250,
                strangers: 0,
            },
            recording: Some(recording(number)),
            cut_off: None,
            server: None,
        };
        Observed {
            codec: Codec::Pcmu,
            spoken: Duration::from_secs(5),
            interrupted: false,
            callers: (0..3).map(caller).collect(),
            lateness: Snapshot::empty(),
            missed_ticks: 0,
            realtime: true,
            realtime_detail: "SCHED_FIFO priority 50".to_owned(),
        }
    }

    #[test]
    fn who_hears_all_others_and_not_itself_passes() {
        let verdict = judge(&observed(65, |listener, speaker| listener != speaker));
        assert_eq!(verdict.faults, Vec::<String>::new());
        assert!(verdict.passed() && verdict.heard_all_others() && !verdict.heard_self());
        // The delay on the line, and the millisecond that the packets were late.
        let delay = verdict.delay.unwrap();
        assert!((delay.p50 - 66.0).abs() < 1.0, "{delay:?}");
        assert!((delay.p99 - 66.0).abs() < 1.0, "{delay:?}");
    }

    #[test]
    fn who_is_not_heard_is_named() {
        let verdict = judge(&observed(40, |l, s| l != s && (l, s) != (1, 2)));
        assert!(!verdict.passed() && !verdict.heard_all_others());
        assert_eq!(
            verdict.faults,
            ["ben does not hear carol".replace("carol", &verdict.callers[2].name)]
        );
        assert_eq!(verdict.callers[1].misses, [verdict.callers[2].name.clone()]);
    }

    #[test]
    fn who_hears_itself_fails() {
        let verdict = judge(&observed(40, |l, s| l != s || l == 0));
        assert!(verdict.heard_self() && verdict.heard_all_others());
        assert_eq!(verdict.faults, ["anna hears itself"]);
    }

    #[test]
    fn one_lost_packet_in_either_direction_fails() {
        let mut observed = observed(40, |listener, speaker| listener != speaker);
        observed.callers[1].counts.received = 249;
        let verdict = judge(&observed);
        assert_eq!(verdict.faults, ["1 of 750 packets were lost"]);
        assert!((verdict.loss - 1.0 / 750.0).abs() < 1e-9);
    }

    #[test]
    fn a_caller_without_any_packet_lost_all_and_hears_nobody() {
        let mut observed = observed(40, |listener, speaker| listener != speaker);
        observed.callers[2].counts = LineCounts {
            sent: 250,
            ..LineCounts::default()
        };
        observed.callers[2].recording = None;
        observed.callers[2].cut_off = Some("session timer".to_owned());
        observed.interrupted = true;
        let verdict = judge(&observed);
        assert_eq!(verdict.callers[2].misses.len(), 2);
        assert_eq!(verdict.callers[2].lost, Loss { lost: 250, of: 250 });
        assert!(verdict.faults[0].ends_with("was cut off (session timer)"));
        assert!(
            verdict
                .faults
                .last()
                .unwrap()
                .contains("interrupted after 5.0 s")
        );
        assert_eq!(verdict.callers[2].delay, None);
    }

    #[test]
    fn many_names_are_cut_short() {
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        assert_eq!(some_of(&names[..1]), "a");
        assert_eq!(some_of(&names[..4]), "a, b, c and d");
        assert_eq!(some_of(&names), "a, b, c and 2 more");
        assert_eq!(some_of(&[]), "nobody");
    }
}
