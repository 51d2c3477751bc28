//! Numbers of conferences, system-wide.

use super::member::{Member, Process, directory};

#[test]
fn two_processes_reserve_different_conferences() {
    let directory = directory();
    let mut a = Process::start(directory.path());
    let mut b = Process::start(directory.path());
    assert_eq!(a.tell("reserve"), "Some(1023)");
    assert_eq!(b.tell("reserve"), "Some(1022)");
    assert_eq!(a.tell("reserve"), "Some(1021)");
    a.kill();
    assert_eq!(b.tell("reserve"), "Some(1023)", "the kernel released it");
    b.leave();
}

#[test]
fn a_conference_is_free_when_its_last_process_has_left() {
    let directory = directory();
    let [a, b, c] = [(); 3].map(|()| Member::new(directory.path()));
    let [a, b, c] = [&a, &b, &c].map(|member| member.trunk.numbers());
    for _ in 0..2 {
        a.hold(1023).unwrap();
        b.hold(1023).unwrap();
    }
    assert_eq!(c.reserve(), Some(1022));
    a.release(1023);
    assert_eq!(c.reserve(), Some(1021));
    assert!(c.is_held_elsewhere(1023) && !b.is_held_elsewhere(1023));
    assert_eq!(
        (c.held_here(), b.held_elsewhere()),
        (vec![1021, 1022], vec![1021, 1022])
    );
    b.release(1023);
    assert_eq!(c.reserve(), Some(1023));
    assert_eq!(a.held_elsewhere(), [1021, 1022, 1023]);
}

#[test]
fn one_alone_is_the_first_in_a_conference() {
    let directory = directory();
    let [a, b, c] = [(); 3].map(|()| Member::new(directory.path()));
    let [a, b, c] = [&a, &b, &c].map(|member| member.trunk.numbers());
    assert_eq!(
        (a.claim(7).unwrap(), b.claim(7).unwrap()),
        (true, false),
        "but both are in it"
    );
    a.release(7);
    assert!(c.is_held_elsewhere(7));
    b.release(7);
    assert!(!c.is_held_elsewhere(7) && c.claim(7).unwrap());
    assert!(c.claim(0).is_err());
}

#[test]
fn all_numbers_can_be_reserved_and_no_more() {
    let directory = directory();
    let [a, b] = [(); 2].map(|()| Member::new(directory.path()));
    let numbers = [a.trunk.numbers(), b.trunk.numbers()];
    for number in (1..=1023).rev() {
        assert_eq!(numbers[number % 2].reserve(), Some(number as i32));
    }
    assert_eq!(numbers.map(|numbers| numbers.reserve()), [None, None]);
    // 1024 is a conference as well, but DAHDI gives it to nobody.
    numbers[0].hold(1024).unwrap();
    assert!(numbers[1].is_held_elsewhere(1024));
}

#[test]
fn numbers_that_no_conference_has_are_refused() {
    let directory = directory();
    let a = Member::new(directory.path());
    let numbers = a.trunk.numbers();
    for number in [i32::MIN, -1, 0, 1025, i32::MAX] {
        let error = numbers.hold(number).unwrap_err();
        assert!(
            error.to_string().contains("numbered from 1 to 1024"),
            "{error}"
        );
        assert!(a.trunk.open_line(number).is_err());
        assert!(!numbers.is_held_elsewhere(number));
        numbers.release(number);
        a.trunk.close_line(number);
    }
}
