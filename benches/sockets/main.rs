//! The kernel's price of a participant-frame, and what our own way through the sockets costs beside it.
//!
//! `cargo bench --bench sockets -- [--legs N] [--rounds R] [--ticks T] [--server-cpu C] [--generator-cpu C] [--only TEXT] [--json]`
//!
//! Every 20 ms a generator sends one datagram of G.711's size to each leg, and half an interval later a server takes all of
//! them in and sends one to each. Only the server's thread is measured, by its CPU time. The ways of serving take turns,
//! so that whatever happens to the machine meanwhile happens to all of them; each round runs all of them over the very same sockets.

mod bare;
mod connected;
mod generator;
mod ours;
mod ring;
mod ways;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use unisono_rtp::net::{MediaSocket, SocketOptions, descriptor_limit};

use generator::Generator;
use ways::{Cost, Kind, WAYS, Way};

/// RTP header and 20 ms of G.711.
const DATAGRAM: usize = 172;
const INTERVAL: Duration = Duration::from_millis(20);

fn main() {
    let plan = match Plan::from_arguments(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("{why}");
            std::process::exit(2);
        }
    };
    let ways: Vec<Kind> = WAYS
        .into_iter()
        .filter(|kind| kind.name().contains(plan.only.as_str()))
        .collect();
    let sockets = Sockets::bind(plan.legs);
    let mut results: Vec<Rounds> = vec![Rounds::default(); ways.len()];
    // The first round warms up caches, routes and the kernel's memory.
    for round in 0..=plan.rounds {
        for (kind, rounds) in ways.iter().zip(&mut results) {
            if rounds.refused.is_some() {
                continue;
            }
            match sockets.serve(*kind, &plan) {
                Ok(cost) if round > 0 => rounds.add(cost),
                Ok(_) => {}
                Err(why) => rounds.refused = Some(why),
            }
        }
    }
    if plan.json {
        report_json(&plan, &ways, &results);
    } else {
        report_text(&plan, &ways, &results);
    }
}

/// The rounds of one way.
#[derive(Debug, Clone, Default)]
struct Rounds {
    whole: Vec<Cost>,
    /// Rounds in which datagrams were missing, in or out: the generator was kept from sending them in time, or the way loses them.
    left_out: usize,
    /// Why it cannot be measured here.
    refused: Option<String>,
}

impl Rounds {
    fn add(&mut self, cost: Cost) {
        if cost.complete() < 0.98 {
            self.left_out += 1;
        } else {
            self.whole.push(cost);
        }
    }

    /// Least, median and most; nothing if no round was whole.
    fn spread(&self, value: fn(&Cost) -> f64) -> Option<[f64; 3]> {
        let mut values: Vec<f64> = self.whole.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        Some([*values.first()?, values[values.len() / 2], *values.last()?])
    }
}

/// What is measured, and where.
#[derive(Debug)]
struct Plan {
    legs: usize,
    rounds: usize,
    /// Intervals in a round.
    ticks: u32,
    server_cpu: Option<usize>,
    generator_cpu: Option<usize>,
    only: String,
    json: bool,
}

impl Plan {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self {
            legs: 1000,
            rounds: 7,
            ticks: 25,
            server_cpu: None,
            generator_cpu: None,
            only: String::new(),
            json: false,
        };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let text = arguments.next().unwrap_or_default();
                text.parse::<usize>()
                    .map_err(|_| format!("{argument} wants a number, found \"{text}\""))
            };
            match argument.as_str() {
                "--legs" => plan.legs = number()?.clamp(1, 20_000),
                "--rounds" => plan.rounds = number()?.max(1),
                "--ticks" => plan.ticks = number()?.clamp(2, 10_000) as u32,
                "--server-cpu" => plan.server_cpu = Some(number()?),
                "--generator-cpu" => plan.generator_cpu = Some(number()?),
                "--only" => plan.only = arguments.next().unwrap_or_default(),
                "--json" => plan.json = true,
                // Cargo's own.
                "--bench" => {}
                other => {
                    return Err(format!(
                        "{other} is not known; --legs, --rounds, --ticks, --server-cpu, --generator-cpu, --only, --json are"
                    ));
                }
            }
        }
        Ok(plan)
    }
}

/// The sockets that all ways are measured on.
struct Sockets {
    /// One a leg.
    own: Vec<MediaSocket>,
    /// One for all.
    shared: MediaSocket,
    generator: Generator,
}

impl Sockets {
    fn bind(legs: usize) -> Self {
        let wanted = 2 * legs as u64 + 64;
        let limit = descriptor_limit(wanted).expect("the limit of open files can be read");
        assert!(
            !limit.falls_short(),
            "{wanted} open files are needed and {} allowed: raise ulimit -n or ask for fewer --legs",
            limit.available
        );
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bind = |options: &SocketOptions| {
            MediaSocket::bind(any, options).expect("loopback has ports left")
        };
        Self {
            own: (0..legs).map(|_| bind(&SocketOptions::default())).collect(),
            shared: bind(&SocketOptions {
                receive_buffer: Some(legs * 2048 + (1 << 20)),
                ..SocketOptions::default()
            }),
            generator: Generator::bind(legs),
        }
    }

    /// One round of one way; an error is why there is none.
    fn serve(&self, kind: Kind, plan: &Plan) -> Result<Cost, String> {
        let peers = self.generator.addresses();
        let targets: Vec<SocketAddr> = if kind.is_shared() {
            vec![self.shared.local_addr(); self.own.len()]
        } else {
            self.own.iter().map(MediaSocket::local_addr).collect()
        };
        self.generator.drain();
        std::thread::scope(|scope| {
            let (ready, readiness) = mpsc::channel();
            let peers = &peers;
            let server = scope.spawn(move || {
                pin(plan.server_cpu);
                let mut way = Way::new(kind, &self.own, &self.shared, peers)?;
                let start = Instant::now() + INTERVAL;
                let _ = ready.send(start);
                let mut cost = Cost::default();
                for tick in 0..plan.ticks {
                    sleep_until(start + INTERVAL * tick + INTERVAL / 2);
                    way.tick(&mut cost);
                }
                way.check().map(|()| cost)
            });
            // There is none to wait for if there is no such way.
            let mut delivered = 0;
            if let Ok(start) = readiness.recv() {
                let generator = scope.spawn(move || {
                    pin(plan.generator_cpu);
                    let mut delivered = 0;
                    for tick in 0..plan.ticks {
                        sleep_until(start + INTERVAL * tick);
                        // What the server waits for comes first.
                        self.generator.send(&targets);
                        delivered += self.generator.drain();
                    }
                    delivered
                });
                delivered = generator.join().expect("the generator ends by itself");
            }
            let mut cost = server.join().expect("the server's thread ends by itself")?;
            cost.delivered = delivered + self.generator.drain();
            Ok(cost)
        })
    }
}

fn pin(cpu: Option<usize>) {
    let Some(cpu) = cpu else { return };
    // SAFETY: cpu_set_t is an array of bits; zero is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is alive, and a number beyond its end is left out.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is alive and of the length given; thread 0 is this one.
    let done = unsafe { libc::sched_setaffinity(0, std::mem::size_of_val(&set), &raw const set) };
    assert!(done == 0, "CPU {cpu} does not exist or may not be used");
}

fn sleep_until(deadline: Instant) {
    std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
}

fn report_json(plan: &Plan, ways: &[Kind], results: &[Rounds]) {
    let results: Vec<_> = ways
        .iter()
        .zip(results)
        .map(|(kind, rounds)| {
            let total = rounds.spread(Cost::total);
            let median = |value| rounds.spread(value).map(|[_, median, _]| median);
            json!({
                "name": kind.name(), "legs": plan.legs,
                "rounds": rounds.whole.len(), "rounds_left_out": rounds.left_out,
                "ns_per_frame": total.map(|total| total[1]),
                "min": total.map(|total| total[0]), "max": total.map(|total| total[2]),
                "receive_ns": median(Cost::receive), "send_ns": median(Cost::send),
                "refused": rounds.refused,
            })
        })
        .collect();
    println!("{}", json!({ "results": results }));
}

fn report_text(plan: &Plan, ways: &[Kind], results: &[Rounds]) {
    println!(
        "{} legs, {} rounds of {} intervals; CPU ns of the server's thread for one datagram in and one out, median (least to most)",
        plan.legs, plan.rounds, plan.ticks
    );
    println!(
        "{:52} {:>22} {:>22} {:>22} {:>9}",
        "", "both", "in", "out", "left out"
    );
    for (kind, rounds) in ways.iter().zip(results) {
        if let Some(why) = &rounds.refused {
            println!("{:52} {why}", kind.name());
            continue;
        }
        let show = |value| match rounds.spread(value) {
            Some([min, median, max]) => format!("{median:.0} ({min:.0} to {max:.0})"),
            None => "-".to_owned(),
        };
        println!(
            "{:52} {:>22} {:>22} {:>22} {:>9}",
            kind.name(),
            show(Cost::total),
            show(Cost::receive),
            show(Cost::send),
            rounds.left_out
        );
    }
}
