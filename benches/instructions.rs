//! Scenes to be counted and compared rather than timed: `benches/instructions` runs this under callgrind, which counts what is
//! done inside `Scene::counted`.
//!
//! ```text
//! instructions run SCENE TICKS     runs a scene
//! instructions time SCENE... TICKS ns a leg of each, alternating: least, median, most of the ticks
//! instructions print SCENE...      fingerprints of everything that the scenes send in five seconds
//! instructions list                the scenes
//! ```

mod scene;

use scene::{PLANS, Plan, Scene};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["run", name, ticks] => {
            let ticks = number(ticks);
            let mut scene = Scene::new(find(name));
            for _ in 0..ticks {
                scene.counted_tick();
            }
            println!("{} {}", find(name).legs, ticks);
        }
        ["time", ref names @ .., ticks] => time(&plans(names), number(ticks)),
        ["print", ref names @ ..] => {
            for plan in plans(names) {
                println!("{:26} {:016x}", plan.name, Scene::new(plan).fingerprint(250));
            }
        }
        ["list"] => PLANS.iter().for_each(|plan| println!("{}", plan.name)),
        // `cargo bench` and `cargo test --benches` run every benchmark: there is nothing to be timed here.
        _ => println!("see the head of benches/instructions.rs"),
    }
}

fn time(plans: &[Plan], ticks: usize) {
    let mut scenes: Vec<_> = plans.iter().map(|plan| (Scene::new(*plan), Vec::new())).collect();
    for _ in 0..ticks {
        for (scene, times) in &mut scenes {
            // The first tick after another scene finds cold caches, as does a worker's.
            times.push(scene.tick().as_nanos() as u64);
        }
    }
    for ((_, times), plan) in scenes.iter_mut().zip(plans) {
        times.sort_unstable();
        let per_leg = |nanoseconds: u64| nanoseconds / u64::from(plan.legs);
        let last = times.len() - 1;
        println!(
            "{:26} {:6} {:6} {:6} ns a leg",
            plan.name,
            per_leg(times[0]),
            per_leg(times[last / 2]),
            per_leg(times[last])
        );
    }
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
