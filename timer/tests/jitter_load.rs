//! Loads work, stop, and leave nothing behind.

use std::fs;
use std::time::{Duration, Instant};

use unisono_timer::jitter::load::{Load, LoadError, Loads, WorkDone};

/// So that a load that never does anything fails the test instead of hanging it.
const LONGEST: Duration = Duration::from_secs(60);

/// Runs `loads` until each has done something.
fn work_of(loads: &[Load]) -> Vec<WorkDone> {
    let start = Instant::now();
    let running = Loads::start(loads).unwrap();
    while running.work_done().iter().any(|work| work.amount == 0) {
        assert!(start.elapsed() < LONGEST, "{:?}", running.work_done());
        std::thread::sleep(Duration::from_millis(5));
    }
    running.stop()
}

/// Whether threads of a load are left. Tests share the process; only one of them starts loads.
fn threads_are_left() -> bool {
    let start = Instant::now();
    let is_load = |task: std::io::Result<fs::DirEntry>| {
        let name = task.and_then(|task| fs::read_to_string(task.path().join("comm")));
        name.is_ok_and(|name| name.starts_with("load-"))
    };
    // One that has been joined may be listed for another moment.
    while fs::read_dir("/proc/self/task").unwrap().any(is_load) {
        if start.elapsed() > LONGEST {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn each_load_works_stops_and_leaves_nothing_behind() {
    let before = descriptors();
    for load in Load::ALL {
        let done = work_of(&[load]);
        assert_eq!(done.len(), 1);
        assert_eq!((done[0].load, &done[0].error), (load, &None));
        assert!(done[0].amount > 0 && !done[0].unit.is_empty());
        assert!(!threads_are_left(), "{load}");
        assert_eq!(descriptors(), before, "{load}");
    }

    // All at once, each once, and dropped instead of stopped.
    let twice = [Load::ALL, Load::ALL].concat();
    let done = work_of(&twice);
    let loads: Vec<Load> = done.iter().map(|work| work.load).collect();
    assert_eq!(loads, Load::ALL);
    drop(Loads::start(&Load::ALL).unwrap());
    assert!(!threads_are_left());
    assert_eq!(descriptors(), before);
    assert!(Loads::start(&[]).unwrap().stop().is_empty());
}

#[test]
fn loads_have_names_and_other_names_are_refused() {
    for load in Load::ALL {
        assert_eq!(load.to_string().parse::<Load>().unwrap(), load);
    }
    let refused = "gpu".parse::<Load>().unwrap_err();
    assert!(matches!(&refused, LoadError::Unknown { name } if name == "gpu"));
    let words = refused.to_string();
    assert!(words.contains("cpu, mem, disk and net"), "{words}");
}
