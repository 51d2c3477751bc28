//! Scenes to be counted and compared rather than timed: `benches/instructions` runs this under callgrind, which counts what is
//! done inside the functions that are called `counted`.
//!
//! ```text
//! count run SCENE TICKS       runs a scene for so many intervals, after two seconds to settle
//! count time [SCENE...] TICKS ns a leg of each, alternating: least, median, most of the intervals
//! count print [SCENE...]      fingerprints of everything that the scenes send in five seconds
//! count memory                resident bytes that a participant takes, by codec
//! count list                  the scenes
//! ```

mod scene;

use std::fs;

use scene::mixing::Mixing;
use scene::{PLANS, Plan, Scene};
use unisono_rtp::codec::Codec;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", Mixing::NAME, ticks] => {
            let mut mixing = Mixing::new();
            (0..number(ticks)).for_each(|_| mixing.counted());
        }
        ["run", name, ticks] => {
            let mut scene = Scene::new(find(name));
            (0..number(ticks)).for_each(|_| scene.one_counted());
        }
        ["time", ref names @ .., ticks] => time(&plans(names), number(ticks)),
        ["print", ref names @ ..] => {
            for plan in plans(names) {
                println!(
                    "{:26} {:016x}",
                    plan.name,
                    Scene::new(plan).fingerprint(250)
                );
            }
        }
        ["memory"] => memory(),
        ["list"] => {
            println!("{}", Mixing::NAME);
            PLANS.iter().for_each(|plan| println!("{}", plan.name));
        }
        // `cargo bench` and `cargo test --benches` run every benchmark: there is nothing to be timed here.
        _ => println!("see the head of benches/count.rs"),
    }
}

fn time(plans: &[Plan], ticks: usize) {
    let mut mixing = (Mixing::new(), Vec::new());
    let mut scenes: Vec<_> = plans
        .iter()
        .map(|plan| (Scene::new(*plan), Vec::new()))
        .collect();
    for _ in 0..ticks {
        mixing.1.push(mixing.0.tick().as_nanos() as u64);
        for (scene, times) in &mut scenes {
            // The first tick after another scene finds cold caches, as does a worker's after the kernel's work.
            times.push(scene.tick().as_nanos() as u64);
        }
    }
    print_times(Mixing::NAME, Mixing::LEGS as u64, mixing.1);
    for ((_, times), plan) in scenes.into_iter().zip(plans) {
        print_times(plan.name, plan.legs.into(), times);
    }
}

fn print_times(name: &str, legs: u64, mut times: Vec<u64>) {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    let per_leg = |n: usize| times.get(n).copied().unwrap_or_default() / legs;
    println!(
        "{name:26} {:6} {:6} {:6} ns a leg",
        per_leg(0),
        per_leg(last / 2),
        per_leg(last)
    );
}

/// What a thousand participants who have talked add to the resident memory, everything included but sockets; and what 250
/// intervals add.
fn memory() {
    for (name, codec) in [
        ("G.711", Codec::Pcmu),
        ("G.722", Codec::G722),
        ("Opus", Codec::Opus),
    ] {
        let plan = PLANS.iter().find(|plan| plan.codec == codec);
        let Some(plan) = plan.copied() else { continue };
        // What the first scene of a codec takes once and for all is not the legs'.
        let small = Plan {
            legs: 10,
            talkers: 10,
            ..plan
        };
        drop(Scene::new(small));
        let before = resident_kib();
        let mut scene = Scene::new(Plan {
            talkers: plan.legs,
            ..plan
        });
        let after = resident_kib();
        let legs = after - before - scene.own_bytes() as i64 / 1024;
        scene.fingerprint(250);
        println!(
            "{name:6} {:6.1} KiB a participant, {} KiB more for all of them after 250 intervals",
            legs as f64 / f64::from(plan.legs),
            resident_kib() - after
        );
    }
}

fn resident_kib() -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Those named; all if none is.
fn plans(names: &[&str]) -> Vec<Plan> {
    if names.is_empty() {
        PLANS.to_vec()
    } else {
        names.iter().map(|name| find(name)).collect()
    }
}

fn find(name: &str) -> Plan {
    match PLANS.iter().find(|plan| plan.name == name) {
        Some(plan) => *plan,
        None => panic!("no scene is called {name}; `list` says which there are"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("the number of ticks")
}
