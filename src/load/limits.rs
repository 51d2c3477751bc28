//! When a step is no longer good, and whose fault that is.

use super::report::{Limit, Step};

/// The criteria that can be limited, with what is measured for each.
type Measure = fn(&Step) -> Option<f64>;
const CRITERIA: [(&str, Measure); 5] = [
    ("p99-ms", |step| {
        Some(step.streams.deviation_us.p99 / 1000.0)
    }),
    ("loss", |step| Some(step.streams.packets.loss_percent())),
    ("gap-ms", |step| Some(step.streams.longest_gap_ms)),
    ("delay-ms", |step| {
        Some(step.mouth_to_ear.as_ref()?.delay_ms.p99)
    }),
    ("cpu", |step| Some(step.process.as_ref()?.cpu_percent)),
];

/// Where a generator thread has no more to give, percent of a core.
const WORN_OUT_PERCENT: f64 = 97.0;

/// The share of its frames that the generator may fail to send, percent.
const MOST_UNSENT_PERCENT: f64 = 0.1;

/// How late the generator may send and still be believed where a limit of the server's is broken, ms: what is late there comes late.
const MOST_LATE_MS: f64 = 5.0;

/// More of the machine's time taken by the host than this is worth a word, percent.
const MUCH_STEAL_PERCENT: f64 = 1.5;

/// What is known of a step beside its figures.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Circumstances {
    /// The server's process ended.
    pub(super) server_gone: bool,
    /// Calls that the server ended.
    pub(super) cut_off: usize,
    /// Use of a core by the generator's busiest thread, percent.
    pub(super) busiest_percent: f64,
    /// Frames that were not sent, being too late or refused by the kernel, of those that should have been, percent.
    pub(super) unsent_percent: f64,
}

/// Why a step is not good.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    /// A criterion of the limits, or `server`, `calls`, `hearing`, `generator`.
    pub(super) criterion: String,
    /// What was measured.
    pub(super) measured: f64,
    /// What was allowed.
    pub(super) limit: f64,
    /// The same in words.
    pub(super) sentence: String,
}

/// Limits as they are written: `p99-ms=10,loss=0.1`.
///
/// # Errors
/// What is wrong and what is possible.
pub fn parse(text: &str) -> Result<Vec<Limit>, String> {
    let names = || {
        let names: Vec<&str> = CRITERIA.iter().map(|(name, _)| *name).collect();
        format!(
            "expected limits as p99-ms=10,loss=0.1; the names are {}",
            names.join(", ")
        )
    };
    text.split(',')
        .map(|part| {
            let (name, most) = part.split_once('=').ok_or_else(names)?;
            let name = name.trim();
            let most: f64 = most.trim().parse().map_err(|_| names())?;
            if !CRITERIA.iter().any(|(known, _)| *known == name) || most.is_nan() || most < 0.0 {
                return Err(names());
            }
            Ok(Limit {
                criterion: name.to_owned(),
                most,
            })
        })
        .collect()
}

/// What is wrong with a step, if something is; what explains most comes first.
pub(super) fn judge(step: &Step, limits: &[Limit], around: Circumstances) -> Option<Fault> {
    let fault = |criterion: &str, measured: f64, limit: f64, sentence: String| {
        Some(Fault {
            criterion: criterion.to_owned(),
            measured,
            limit,
            sentence,
        })
    };
    if around.server_gone {
        return fault("server", 0.0, 1.0, "the server's process ended".to_owned());
    }
    if around.busiest_percent > WORN_OUT_PERCENT {
        let sentence = format!(
            "the generator, not the server, was at its limit: one of its threads used {:.0} % of a core; give it more threads (--threads) or \
             CPUs of its own (--cpus)",
            around.busiest_percent
        );
        return fault(
            "generator",
            around.busiest_percent,
            WORN_OUT_PERCENT,
            sentence,
        );
    }
    if around.unsent_percent > MOST_UNSENT_PERCENT {
        let sentence = format!(
            "the generator, not the server, was at its limit: it could not send {:.2} % of its packets in time{}",
            around.unsent_percent,
            steal(step)
        );
        return fault(
            "generator",
            around.unsent_percent,
            MOST_UNSENT_PERCENT,
            sentence,
        );
    }
    let failed: usize = step
        .callers
        .failed
        .iter()
        .map(|failure| failure.count)
        .sum();
    if failed > 0 {
        let reason = &step.callers.failed[0].reason;
        let cut = match around.cut_off {
            0 => String::new(),
            count => format!(", {count} of them ended by the server"),
        };
        let calls = if failed == 1 { "call" } else { "calls" };
        let sentence = format!("{failed} {calls} failed{cut}: {reason}");
        return fault("calls", failed as f64, 0.0, sentence);
    }
    let broken = limits.iter().find_map(|limit| {
        let (_, measure) = CRITERIA.iter().find(|(name, _)| *name == limit.criterion)?;
        let measured = measure(step)?;
        (measured > limit.most).then_some((limit, measured))
    });
    let late_ms = step.generator.lateness_us.p99 / 1000.0;
    if let Some((limit, measured)) = broken {
        let (criterion, most) = (limit.criterion.as_str(), limit.most);
        let sentence = sentence(criterion, measured, most) + &worst(criterion, step);
        if late_ms > MOST_LATE_MS {
            let sentence = format!(
                "{sentence}; but the generator itself sent 1 % of its packets {late_ms:.1} ms late or more, so this may not be the server's \
                 fault{}",
                steal(step)
            );
            return fault("generator", late_ms, MOST_LATE_MS, sentence);
        }
        if step.generator.receive_drops > 0 && criterion == "loss" {
            let drops = step.generator.receive_drops;
            let sentence = format!(
                "{sentence}; but {drops} packets were dropped since the generator did not read them in time{}",
                steal(step)
            );
            return fault("generator", drops as f64, 0.0, sentence);
        }
        return fault(
            criterion,
            measured,
            most,
            format!("{sentence}{}", steal(step)),
        );
    }
    if let Some(hearing) = step.hearing.as_ref().filter(|hearing| !hearing.is_right()) {
        let wrong = hearing.missing + hearing.strangers + hearing.own_voice;
        let example = hearing.wrong.first().cloned().unwrap_or_default();
        let sentence = format!("wrong audio, {wrong} times: {example}");
        return fault("hearing", wrong as f64, 0.0, sentence);
    }
    None
}

fn sentence(criterion: &str, measured: f64, most: f64) -> String {
    match criterion {
        "p99-ms" => format!(
            "1 % of the packets came {measured:.1} ms or more from when they were due (limit {most} ms)"
        ),
        "loss" => format!("{measured:.2} % of the packets were lost (limit {most} %)"),
        "gap-ms" => format!("a stream fell silent for {measured:.0} ms (limit {most} ms)"),
        "delay-ms" => format!("1 % of the delays were {measured:.0} ms or more (limit {most} ms)"),
        _ => format!("the server used {measured:.0} % of a core (limit {most} %)"),
    }
}

/// Whose packets came most unevenly, where it is that which broke.
fn worst(criterion: &str, step: &Step) -> String {
    match &step.streams.worst {
        Some(worst) if criterion == "p99-ms" => format!(
            "; worst: caller {} in conference {}, {:.1} ms",
            worst.caller,
            worst.conference,
            worst.deviation_us.p99 / 1000.0
        ),
        _ => String::new(),
    }
}

/// A word on the host, where it took time.
fn steal(step: &Step) -> String {
    match step.generator.steal_percent {
        percent if percent > MUCH_STEAL_PERCENT => {
            format!("; the host took {percent:.1} % of this machine's time meanwhile")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::{
        Callers, Failure, Generator, Hearing, Packets, Percentiles, Streams, WorstStream,
    };
    use super::*;

    fn good() -> Step {
        Step {
            callers: Callers {
                asked: 10,
                connected: 10,
                failed: Vec::new(),
            },
            conferences: 1,
            seconds: 5.0,
            streams: Streams {
                count: 10,
                silent: 0,
                loss_percent: Percentiles::default(),
                deviation_us: Percentiles {
                    count: 2500,
                    p99: 2000.0,
                    ..Percentiles::default()
                },
                stream_deviation_p99_us: Percentiles::default(),
                stream_deviation_max_us: Percentiles::default(),
                stream_gaps: Percentiles::default(),
                worst: None,
                gaps: 0,
                longest_gap_ms: 0.0,
                packets: Packets {
                    sent: 2500,
                    received: 2500,
                    ..Packets::default()
                },
            },
            hearing: None,
            mouth_to_ear: None,
            process: None,
            generator: Generator {
                threads: 1,
                lateness_us: Percentiles::default(),
                cpu_percent: 20.0,
                send_failures: 0,
                receive_drops: 0,
                steal_percent: 0.0,
            },
        }
    }

    fn limits() -> Vec<Limit> {
        parse("p99-ms=10,loss=0.1").unwrap()
    }

    fn criterion(step: &Step, around: Circumstances) -> String {
        judge(step, &limits(), around).map_or("none".to_owned(), |fault| fault.criterion)
    }

    #[test]
    fn a_good_step_has_no_fault() {
        assert_eq!(criterion(&good(), Circumstances::default()), "none");
    }

    #[test]
    fn what_breaks_a_limit_is_named_with_figures() {
        let mut step = good();
        step.streams.deviation_us.p99 = 12_300.0;
        let fault = judge(&step, &limits(), Circumstances::default()).unwrap();
        assert_eq!((fault.criterion.as_str(), fault.limit), ("p99-ms", 10.0));
        assert!(fault.sentence.contains("12.3 ms"), "{}", fault.sentence);
        step.streams.worst = Some(WorstStream {
            caller: 17,
            conference: 4,
            deviation_us: Percentiles {
                p99: 31_000.0,
                ..Percentiles::default()
            },
            loss_percent: 0.0,
        });
        let sentence = judge(&step, &limits(), Circumstances::default())
            .unwrap()
            .sentence;
        let named = "worst: caller 17 in conference 4, 31.0 ms";
        assert!(sentence.ends_with(named), "{sentence}");
        step.streams.deviation_us.p99 = 100.0;
        step.streams.packets.lost = 25;
        let fault = judge(&step, &limits(), Circumstances::default()).unwrap();
        assert_eq!(fault.criterion, "loss");
        // Of whom most is lost is not known.
        assert!(!fault.sentence.contains("caller"), "{}", fault.sentence);
        let limit = parse("delay-ms=1,cpu=5").unwrap();
        assert_eq!(judge(&step, &limit, Circumstances::default()), None);
    }

    #[test]
    fn the_generators_own_weakness_is_not_held_against_the_server() {
        let mut step = good();
        step.streams.deviation_us.p99 = 12_300.0;
        step.generator.lateness_us.p99 = 9_000.0;
        step.generator.steal_percent = 4.0;
        let fault = judge(&step, &limits(), Circumstances::default()).unwrap();
        assert_eq!(fault.criterion, "generator");
        assert!(fault.sentence.contains("4.0 %"), "{}", fault.sentence);
        step.streams.deviation_us.p99 = 1000.0;
        assert_eq!(criterion(&step, Circumstances::default()), "none");
        let busy = Circumstances {
            busiest_percent: 99.0,
            ..Circumstances::default()
        };
        assert_eq!(criterion(&good(), busy), "generator");
        let unsent = Circumstances {
            unsent_percent: 0.5,
            ..Circumstances::default()
        };
        assert_eq!(criterion(&good(), unsent), "generator");
        let mut step = good();
        step.streams.packets.lost = 25;
        step.generator.receive_drops = 25;
        assert_eq!(criterion(&step, Circumstances::default()), "generator");
    }

    #[test]
    fn failed_calls_wrong_audio_and_a_dead_server_break_a_step() {
        let mut step = good();
        step.callers.failed = vec![Failure {
            reason: "503 Full".to_owned(),
            count: 2,
        }];
        let fault = judge(&step, &limits(), Circumstances::default()).unwrap();
        assert_eq!((fault.criterion.as_str(), fault.measured), ("calls", 2.0));
        assert!(fault.sentence.contains("503 Full"));
        let mut step = good();
        step.hearing = Some(Hearing {
            listeners: 4,
            expected: 12,
            heard: 11,
            missing: 1,
            strangers: 0,
            own_voice: 0,
            wrong: vec!["caller 1 does not hear caller 2".to_owned()],
        });
        let fault = judge(&step, &limits(), Circumstances::default()).unwrap();
        assert!(fault.criterion == "hearing" && fault.sentence.contains("caller 2"));
        let gone = Circumstances {
            server_gone: true,
            ..Circumstances::default()
        };
        assert_eq!(criterion(&good(), gone), "server");
    }

    #[test]
    fn limits_are_names_and_numbers() {
        assert_eq!(limits().len(), 2);
        for wrong in ["", "p99-ms", "p98-ms=3", "loss=much", "loss=-1", "loss=NaN"] {
            assert!(parse(wrong).unwrap_err().contains("p99-ms"), "{wrong}");
        }
    }
}
