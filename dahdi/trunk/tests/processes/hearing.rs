//! Who hears whom.

use unisono_dahdi::exchange::{Lines, STEP};
use unisono_dahdi_trunk::{Directory, Trunk};

use super::member::{Member, Process, directory, files};

#[test]
fn two_processes_hear_each_other_and_neither_itself() {
    let directory = directory();
    let mut a = Process::start(directory.path());
    let mut b = Process::start(directory.path());
    for process in [&mut a, &mut b] {
        process.tell("join 1000");
        process.tell("refresh");
    }
    a.tell("refresh");
    for step in 1_000..1_050 {
        let (by_a, by_b) = (a.step(step, 1_000), b.step(step, 30));
        if step >= 1_003 {
            assert_eq!((by_a, by_b), (30, 1_000), "step {step}");
        }
    }
    a.leave();
    b.leave();
    assert_eq!(files(directory.path(), ".segment"), [""; 0]);
    assert_eq!(files(directory.path(), ".status"), [""; 0]);
}

#[test]
fn three_processes_hear_the_sum_of_the_others_even_if_it_is_too_loud() {
    let directory = directory();
    let mut all = [(); 3].map(|()| Member::new(directory.path()));
    for member in &mut all {
        member.join(1);
    }
    for member in &all {
        assert_eq!(member.trunk.refresh().unwrap().processes, 2);
    }
    let mut hear = |steps: std::ops::Range<u64>, says: [i16; 3]| {
        let mut heard = [0; 3];
        for step in steps {
            for ((member, says), heard) in all.iter_mut().zip(says).zip(&mut heard) {
                *heard = member.step(step, says);
            }
        }
        heard
    };
    assert_eq!(hear(100..150, [1, 20, 300]), [320, 301, 21]);
    // Louder than 16 bits: as loud as can be, and not torn.
    let [by_first, ..] = hear(150..200, [0, 30_000, 30_000]);
    assert!(by_first > 25_000, "{by_first}");
}

#[test]
fn processes_in_other_conferences_are_not_heard() {
    let directory = directory();
    let mut a = Member::new(directory.path());
    let mut b = Member::new(directory.path());
    a.join(5);
    b.join(6);
    a.trunk.refresh().unwrap();
    for step in 100..120 {
        assert_eq!((b.step(step, 1_000), a.step(step, 1_000)), (0, 0));
    }
    assert_eq!(
        (a.trunk.sharers(5), a.trunk.sharers(6)),
        (vec![], vec![std::process::id()])
    );
    // The other comes, is heard, and goes.
    for (from, conference, heard) in [(200, 5, 1_000), (300, 7, 0), (400, 5, 1_000)] {
        b.join(conference);
        let mut last = 0;
        for step in from..from + 20 {
            b.step(step, 1_000);
            last = a.step(step, 0);
        }
        assert_eq!(last, heard, "in {conference}");
    }
}

#[test]
fn a_killed_process_is_silent_and_leaves_nothing_behind() {
    let directory = directory();
    let mut a = Member::new(directory.path());
    let mut b = Process::start(directory.path());
    a.join(1_000);
    b.tell("join 1000");
    b.tell("refresh");
    a.trunk.refresh().unwrap();
    for step in 1_000..1_020 {
        b.step(step, 500);
        let heard = a.step(step, 0);
        assert!(step < 1_003 || heard == 500, "step {step}: {heard}");
    }
    assert_eq!(a.trunk.sharers(1_000), [b.pid()]);
    assert!(a.trunk.numbers().is_held_elsewhere(1_000));
    assert_eq!(files(directory.path(), ".segment").len(), 2);
    b.kill();

    // One frame is still there; what comes later is silence.
    a.step(1_020, 0);
    for step in 1_021..1_100 {
        assert_eq!(a.step(step, 0), 0, "step {step}");
    }
    assert!(!a.trunk.numbers().is_held_elsewhere(1_000));
    let found = a.trunk.refresh().unwrap();
    assert_eq!((found.processes, found.gone), (0, 1));
    assert_eq!(files(directory.path(), ".segment").len(), 1);
    assert_eq!(files(directory.path(), ".status").len(), 1);
    assert!(a.trunk.sharers(1_000).is_empty());
    a.step(1_100, 0);
    assert_eq!(a.trunk.refresh().unwrap().gone, 0);
}

#[test]
fn a_stopped_process_is_silent_and_heard_again_when_it_goes_on() {
    let directory = directory();
    let mut a = Member::new(directory.path());
    let mut b = Member::new(directory.path());
    for member in [&mut a, &mut b] {
        member.join(3);
    }
    a.trunk.refresh().unwrap();
    b.trunk.refresh().unwrap();
    let mut heard = Vec::new();
    for step in 0..300 {
        if !(100..200).contains(&step) {
            b.step(1_000 + step, 700);
        }
        heard.push(a.step(1_000 + step, 0));
    }
    assert_eq!(heard[99], 700);
    assert_eq!(heard[101..200], [0; 99]);
    // Its first step after that begins with what it had written before, faded in.
    assert_eq!(heard[202..], [700; 98]);
    assert_eq!(a.trunk.stats().lost, 0);
}

#[test]
fn who_gives_up_its_trunk_is_heard_no_more_even_if_its_tick_goes_on() {
    let directory = directory();
    let mut a = Member::new(directory.path());
    let meeting = Directory::at(directory.path()).unwrap();
    let trunk = Trunk::open(&meeting, "another").unwrap();
    let mut lines = trunk.lines().unwrap();
    assert!(trunk.lines().is_none(), "there is one");
    trunk.open_line(9).unwrap();
    a.join(9);
    a.trunk.refresh().unwrap();
    let mut trunk = Some(trunk);
    for step in 1_000..1_040 {
        lines.begin(step * STEP as u64);
        lines.outgoing(9, step * STEP as u64, &[300; STEP]);
        let heard = a.step(step, 0);
        match step {
            1_003..1_020 => assert_eq!(heard, 300),
            1_020 => trunk = None,
            1_022.. => assert_eq!(heard, 0),
            _ => {}
        }
    }
    assert!(trunk.is_none());
    assert_eq!(a.trunk.refresh().unwrap().gone, 1);
}
