//! Reports for tests: a plain run that holds, and a ramp that breaks.

use super::{
    Callers, CodecShare, Failure, Generator, Hearing, Limit, LoadReport, MachineFact, MouthToEar,
    Pace, Packets, Percentiles, Plan, Process, ReachedBy, SCHEMA, Server, Step, Streams, Verdict,
    WorstStream,
};

/// 100 callers for five seconds.
pub(crate) fn plain() -> LoadReport {
    LoadReport {
        schema: SCHEMA.to_owned(),
        tool: "unisono 0.1.0".to_owned(),
        started_unix_s: 1_795_350_000,
        command: ["unisono", "load", "sip:room{}@127.0.0.1:5060"]
            .map(str::to_owned)
            .into(),
        machine: vec![MachineFact {
            label: "CPU".to_owned(),
            value: "2 × Xeon <test>".to_owned(),
        }],
        server: Server {
            reached_by: ReachedBy::Sip,
            target: "sip:room{}@127.0.0.1:5060".to_owned(),
            name: Some("unisono/0.1.0".to_owned()),
            pid: Some(4711),
            process_name: Some("unisono".to_owned()),
        },
        plan: Plan {
            callers: 100,
            conferences: 1,
            talk: "3".to_owned(),
            codecs: vec![share("pcmu", 100.0)],
            ptime_ms: 20,
            pace: Pace::Even,
            seconds: 5.0,
            warm_up_seconds: 2.0,
            listen_to: 10,
            ramp: None,
            until: vec![],
        },
        steps: vec![step(100)],
        verdict: Verdict::Held { callers: 100 },
    }
}

/// 100 to 1,600 callers, each time twice as many; the last step is too much.
pub(crate) fn ramp() -> LoadReport {
    let mut steps: Vec<Step> = [100, 200, 400, 800, 1600].map(step).into();
    let last = &mut steps[4];
    last.callers.connected = 1597;
    last.callers.failed = vec![Failure {
        reason: "503 Service Unavailable".to_owned(),
        count: 3,
    }];
    last.streams.deviation_us = spread(400_000, 900.0, 31_500.0);
    last.streams.gaps = 1234;
    last.streams.stream_gaps = spread(1597, 1.0, 4.0);
    last.streams.longest_gap_ms = 310.0;
    last.streams.packets.lost = 4_000;
    last.mouth_to_ear = None;
    if let Some(hearing) = &mut last.hearing {
        hearing.heard = 27;
        hearing.missing = 3;
        hearing.wrong = vec!["caller 17 did not hear talker 2 <at all>".to_owned()];
    }
    let plain = plain();
    LoadReport {
        plan: Plan {
            callers: 1600,
            codecs: vec![share("pcmu", 70.0), share("opus", 30.0)],
            ramp: Some("100:1600:x2".to_owned()),
            until: vec![limit("p99-ms", 10.0), limit("loss", 0.1)],
            ..plain.plan
        },
        steps,
        verdict: Verdict::Broke {
            callers: 1600,
            held_callers: Some(800),
            criterion: "p99-ms".to_owned(),
            measured: 31.5,
            limit: 10.0,
            sentence: "the 99th percentile of the deviation is 31.5 ms, more than 10 ms".to_owned(),
        },
        ..plain
    }
}

fn share(codec: &str, percent: f64) -> CodecShare {
    CodecShare {
        codec: codec.to_owned(),
        percent,
    }
}

fn limit(criterion: &str, most: f64) -> Limit {
    Limit {
        criterion: criterion.to_owned(),
        most,
    }
}

fn step(callers: usize) -> Step {
    let size = callers as f64;
    let packets = callers as u64 * 250;
    Step {
        callers: Callers {
            asked: callers,
            connected: callers,
            failed: vec![],
        },
        conferences: 1,
        seconds: 5.0,
        streams: Streams {
            count: callers,
            silent: 0,
            loss_percent: Percentiles::default(),
            deviation_us: spread(packets, 20.0 + size / 10.0, 100.0 + size),
            stream_deviation_p99_us: spread(callers as u64, 80.0 + size, 150.0 + size),
            stream_deviation_max_us: spread(callers as u64, 160.0 + size, 200.0 + size),
            stream_gaps: Percentiles {
                count: callers as u64,
                ..Percentiles::default()
            },
            worst: Some(WorstStream {
                caller: 5,
                conference: 0,
                deviation_us: spread(250, 40.0, 300.0 + 2.0 * size),
                loss_percent: 0.0,
            }),
            gaps: 0,
            longest_gap_ms: 0.0,
            packets: Packets {
                sent: packets,
                received: packets,
                ..Packets::default()
            },
        },
        hearing: Some(Hearing {
            listeners: 10,
            expected: 30,
            heard: 30,
            missing: 0,
            strangers: 0,
            own_voice: 0,
            wrong: vec![],
        }),
        mouth_to_ear: Some(MouthToEar {
            how: "marks in the talkers' voices".to_owned(),
            delay_ms: spread(90, 21.0, 24.0 + size / 1000.0),
        }),
        process: Some(Process {
            cpu_us_per_participant_frame: 3.0 + 20.0 / size,
            cpu_percent: size * 0.02,
            user_percent: size * 0.005,
            system_percent: size * 0.015,
            rss_kib: 9000 + callers as u64 * 14,
            rss_per_participant_kib: Some(14.0),
            threads: 6,
            voluntary_switches_per_s: 400.0,
            involuntary_switches_per_s: 3.0,
        }),
        generator: Generator {
            threads: 1,
            lateness_us: spread(packets, 15.0, 90.0),
            cpu_percent: size * 0.03,
            send_failures: 0,
            receive_drops: 0,
            steal_percent: 0.1,
        },
    }
}

fn spread(count: u64, p50: f64, p99: f64) -> Percentiles {
    Percentiles {
        count,
        p50,
        p90: (p50 + p99) / 2.0,
        p99,
        p99_9: p99 * 1.3,
        max: p99 * 2.0,
    }
}
