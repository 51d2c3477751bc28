//! The tick of the links in virtual time, and the threads with another process on the trunk, in the same process.

use std::path::Path;
use std::time::{Duration, Instant};

use unisono_dahdi::exchange::{Lines, STEP};
use unisono_dahdi_trunk::{Directory, Trunk, survey};

use super::mover::Patches;
use super::watch::Said;
use super::{Bridge, BridgeError, LINK_RATE};
use crate::engine::rehearsal::Rehearsal;
use crate::engine::{LegPolicy, RingEnd};

/// Long enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

type Frame = [i16; STEP];

/// Lines to two DAHDI conferences, 1001 and 1002, with somebody who counts the samples in each.
#[derive(Debug, Default)]
struct Counters {
    heard: [Vec<i16>; 2],
    begun: Vec<u64>,
    /// Nobody says anything.
    silent: bool,
}

impl Lines for Counters {
    fn begin(&mut self, step: u64) {
        self.begun.push(step);
    }

    fn is_shared(&self, _: i32) -> bool {
        true
    }

    fn incoming(&mut self, conference: i32, step: u64, into: &mut Frame) -> bool {
        if !self.silent {
            *into = counted(conference, step);
        }
        !self.silent
    }

    fn outgoing(&mut self, conference: i32, _: u64, sum: &Frame) {
        self.heard[(conference - 1001) as usize].extend_from_slice(sum);
    }
}

/// What is said in a DAHDI conference in the step at this sample time.
fn counted(conference: i32, step: u64) -> Frame {
    std::array::from_fn(|n| {
        (step as i32 % 16_000 + n as i32) as i16 * (2 * (conference % 2) as i16 - 1)
    })
}

/// A conference here, with a link and somebody at a leg of its own.
struct Hall {
    plane: Rehearsal,
    patches: Patches,
    somebody: Vec<RingEnd>,
    heard: [Vec<i16>; 2],
    step: u64,
}

impl Hall {
    /// Two conferences, linked to 1001 and 1002.
    fn new() -> Self {
        let mut plane = Rehearsal::new(8, 2, LegPolicy::default());
        let mut patches = Patches::new(2);
        let mut somebody = Vec::new();
        for link in 0..2 {
            let room = plane.open_room(4 * link, None);
            let (leg, end) = plane.open_ring_leg(LINK_RATE);
            plane.join(leg, room);
            assert!(patches.connect(link, 1001 + link as i32, end).is_none());
            let (leg, end) = plane.open_ring_leg(LINK_RATE);
            plane.join(leg, room);
            somebody.push(end);
        }
        Self {
            plane,
            patches,
            somebody,
            heard: [Vec::new(), Vec::new()],
            step: 800_000,
        }
    }

    /// Whoever is here says the samples of conference `1002 - n`, and listens.
    fn run(&mut self, lines: &mut Counters, steps: usize) {
        for _ in 0..steps {
            self.patches.step(self.step, lines);
            for (n, end) in self.somebody.iter_mut().enumerate() {
                end.send(&counted(1002 - n as i32, self.step));
            }
            self.plane.tick();
            for (end, heard) in self.somebody.iter_mut().zip(&mut self.heard) {
                let mut frame = [0; STEP];
                if end.receive(&mut frame) {
                    heard.extend_from_slice(&frame);
                }
            }
            self.plane.stage.clear();
            self.step += STEP as u64;
        }
    }
}

/// Asserts that the last frames are what was said in `conference`, sample for sample, at most `most` frames ago.
fn assert_heard(heard: &[i16], conference: i32, until: u64, most: u64) {
    let frames = 50;
    let last = &heard[heard.len() - frames * STEP..];
    let said = |behind: u64| {
        let first = until - (frames as u64 + behind) * STEP as u64;
        (0..frames as u64).flat_map(move |n| counted(conference, first + n * STEP as u64))
    };
    assert!(
        (0..=most).any(|behind| said(behind).eq(last.iter().copied())),
        "{:?}",
        &last[..8]
    );
}

#[test]
fn both_sides_of_each_link_hear_the_other_sample_for_sample() {
    let (mut hall, mut lines) = (Hall::new(), Counters::default());
    hall.run(&mut lines, 200);
    for n in 0..2 {
        let (here, there) = (1002 - n as i32, 1001 + n as i32);
        assert_heard(&lines.heard[n], here, hall.step, 5);
        assert_heard(&hall.heard[n], there, hall.step, 5);
    }
    assert_eq!(
        lines.begun.len(),
        200,
        "once each step, whatever the number of links"
    );
}

#[test]
fn silence_there_is_silence_here_and_a_beat_all_the_same() {
    let mut hall = Hall::new();
    let mut lines = Counters {
        silent: true,
        ..Counters::default()
    };
    hall.run(&mut lines, 100);
    assert!(hall.heard[0].iter().all(|sample| *sample == 0));
    assert!(hall.heard[0].len() > 90 * STEP);
}

#[test]
fn after_a_stall_of_either_thread_both_sides_hear_the_present() {
    let (mut hall, mut lines) = (Hall::new(), Counters::default());
    hall.run(&mut lines, 100);
    // The thread of the links stands still for 10 steps, then skips them.
    for _ in 0..10 {
        for (n, end) in hall.somebody.iter_mut().enumerate() {
            end.send(&counted(1002 - n as i32, hall.step));
        }
        hall.plane.tick();
        hall.plane.stage.clear();
        hall.step += STEP as u64;
    }
    hall.patches.skip();
    hall.run(&mut lines, 160);
    assert_heard(&lines.heard[0], 1002, hall.step, 5);
    assert_heard(&hall.heard[0], 1001, hall.step, 5);

    // The media worker does.
    for _ in 0..10 {
        hall.patches.step(hall.step, &mut lines);
        for (n, end) in hall.somebody.iter_mut().enumerate() {
            end.send(&counted(1002 - n as i32, hall.step));
        }
        hall.step += STEP as u64;
    }
    hall.plane.tick_after_stall(9);
    hall.plane.stage.clear();
    hall.run(&mut lines, 160);
    assert_heard(&lines.heard[1], 1001, hall.step, 5);
    assert_heard(&hall.heard[1], 1002, hall.step, 5);
}

#[test]
fn a_link_that_is_disconnected_gives_its_ring_back_and_the_other_goes_on() {
    let (mut hall, mut lines) = (Hall::new(), Counters::default());
    hall.run(&mut lines, 10);
    assert!(hall.patches.disconnect(0).is_some());
    assert!(hall.patches.disconnect(0).is_none() && !hall.patches.are_none());
    let before = lines.heard[0].len();
    hall.run(&mut lines, 80);
    assert_eq!(lines.heard[0].len(), before);
    assert_heard(&lines.heard[1], 1001, hall.step, 5);
    assert!(hall.patches.disconnect(1).is_some() && hall.patches.are_none());
    let (_, stray) = hall.plane.open_ring_leg(LINK_RATE);
    assert!(hall.patches.connect(7, 1001, stray).is_some());
}

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_bridge_sees_who_comes_and_goes_and_is_in_no_conference_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(Some(folder.path()), &[1023, 7], None).unwrap();
    assert_eq!(bridge.directory(), Ok(folder.path()));
    let directory = Directory::at(folder.path()).unwrap();
    let meetme = Trunk::open(&directory, "meetme").unwrap();
    assert_eq!(
        meetme.numbers().reserve(),
        Some(1023),
        "a link holds no number"
    );
    until("1023 is seen", || bridge.is_occupied(0));
    assert!(!bridge.is_occupied(1) && !bridge.is_occupied(2));
    meetme.open_line(1023).unwrap();

    let mut plane = Rehearsal::new(1, 1, LegPolicy::default());
    let (_, end) = plane.open_ring_leg(LINK_RATE);
    bridge.connect(0, end);
    until("its line is seen", || {
        meetme.refresh().unwrap();
        !meetme.sharers(1023).is_empty()
    });
    let listed = || {
        let reports: Vec<_> = survey(&directory, PATIENCE)
            .unwrap()
            .into_iter()
            .flatten()
            .collect();
        reports
            .into_iter()
            .find(|report| report.program == "unisono serve")
    };
    let report = listed().expect("it answers");
    assert_eq!(report.conferences.len(), 1);
    assert_eq!(
        (report.conferences[0].number, report.conferences[0].members),
        (1023, 1)
    );
    until("steps are made", || {
        listed().is_some_and(|report| report.steps.mixed > 2)
    });

    bridge.disconnect(0);
    until("its line is gone", || {
        meetme.refresh().unwrap();
        meetme.sharers(1023).is_empty()
    });
    meetme.numbers().release(1023);
    until("1023 is left", || !bridge.is_occupied(0));
    drop(bridge);
    assert!(listed().is_none(), "nothing is left behind");
}

/// The files of segments in a folder.
fn segments(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path().display().to_string());
    paths.filter(|path| path.ends_with(".segment")).collect()
}

/// Parts of segments in a folder that this process has in its memory; of segments that `whose` accepts, by their path.
fn mapped(folder: &Path, whose: impl Fn(&str) -> bool) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps
        .lines()
        .filter_map(|line| Some(&line[line.find('/')?..]));
    let segments = paths.filter(|path| path.starts_with(folder.to_str().unwrap()));
    segments.filter(|path| whose(path)).count()
}

#[test]
fn a_bridge_without_a_connected_link_lets_go_of_the_dead_and_heeds_newcomers() {
    let folder = tempfile::tempdir().unwrap();
    let bridge = Bridge::start(Some(folder.path()), &[7], None).unwrap();
    let own = mapped(folder.path(), |_| true);
    let bridges = segments(folder.path());
    let directory = Directory::at(folder.path()).unwrap();
    // There is room to tell of 64 processes: not for the second forty, if the first have not been let go.
    for _ in 0..2 {
        let others: Vec<Trunk> = (0..40)
            .map(|_| Trunk::open(&directory, "short").unwrap())
            .collect();
        let mut theirs = segments(folder.path());
        theirs.retain(|path| !bridges.contains(path));
        assert_eq!(theirs.len(), 40);
        // Each has its own before it has this name, and the last is seen by nobody but the bridge.
        until("all are heeded", || {
            theirs
                .iter()
                .all(|segment| mapped(folder.path(), |path| path == segment) > 0)
        });
        drop(others);
        until("none is left in memory", || {
            mapped(folder.path(), |_| true) == own
        });
    }
    drop(bridge);
}

#[test]
fn a_directory_that_was_removed_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dahdi");
    let bridge = Bridge::start(Some(&path), &[5], None).unwrap();
    // The bridge may be making files there at this moment.
    until("it is removed", || std::fs::remove_dir_all(&path).is_ok());
    until("it is there again", || path.is_dir());
    let mut meetme = None;
    until("5 is seen", || {
        // The directory may be there a moment before it can be used.
        if meetme.is_none() {
            meetme = Directory::at(&path)
                .and_then(|at| Trunk::open(&at, "meetme"))
                .ok();
        }
        if let Some(meetme) = &meetme {
            meetme.numbers().hold(5).unwrap();
        }
        bridge.is_occupied(0)
    });
}

#[test]
fn a_directory_that_cannot_be_used_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dahdi");
    std::fs::write(&path, "in the way").unwrap();
    let bridge = Bridge::start(Some(&path), &[5], None).unwrap();
    let told = bridge.directory().unwrap_err().to_owned();
    assert!(
        told.contains(path.to_str().unwrap()) && told.contains("[dahdi] directory"),
        "{told}"
    );
    assert_eq!(bridge.problem(), Some(told));
    assert!(!bridge.is_broken() && !bridge.is_occupied(0));
    // One that waits ends when it is told to.
    drop(Bridge::start(Some(&path), &[6], None).unwrap());

    std::fs::remove_file(&path).unwrap();
    let meetme = Trunk::open(&Directory::at(&path).unwrap(), "meetme").unwrap();
    meetme.numbers().hold(5).unwrap();
    until("5 is seen", || bridge.is_occupied(0));
    assert_eq!(bridge.problem(), None);

    // Later it is the same.
    drop(meetme);
    until("it is in the way again", || {
        // The bridge may be making it anew at this moment.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::write(&path, "in the way").is_ok()
    });
    until("it is missed", || bridge.problem().is_some());
    std::fs::remove_file(&path).unwrap();
    until("it is there again", || {
        path.is_dir() && bridge.problem().is_none()
    });
}

#[test]
fn a_directory_that_names_no_place_is_an_error() {
    let error = Bridge::start(Some(Path::new("run/dahdi")), &[5], None).unwrap_err();
    assert!(matches!(error, BridgeError::Trunk(_)));
    assert!(error.to_string().contains("absolute"), "{error}");
}

#[test]
fn each_complaint_is_said_once_and_another_one_too() {
    let mut said = Said::default();
    let news = ["a", "a", "b", "b", "a"].map(|what| said.is_news(what));
    assert_eq!(news, [true, false, true, false, true]);
}
