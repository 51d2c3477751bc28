//! Two stations that share conferences, as two processes do.

mod program;

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use unisono_dahdi::request::{ConfInfo, Errno, Reply, Request};
use unisono_dahdi_station::{Settings, Sharing, Station};
use unisono_dahdi_trunk::{Directory, survey};
use unisono_timer::RealtimeRequest;

use program::{Program, eventually, samples, steady, steady_value};

fn sharing(directory: &Directory) -> Station {
    let mut settings = Settings::default();
    settings.realtime = RealtimeRequest::new();
    settings.sharing = Sharing::In(directory.clone());
    Station::new(settings).unwrap()
}

fn conference_of(program: &Program) -> i32 {
    match program.ask(Request::GetConf { channel: 0 }) {
        Ok(Reply::Conf(info)) => info.conference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn they_hear_one_another_and_not_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(folder.path()).unwrap();
    let (here, there) = (sharing(&directory), sharing(&directory));
    let programs = [
        (Program::join(&here, 4, 0x304), 100),
        (Program::join(&here, 4, 0x304), 1_000),
        (Program::join(&there, 4, 0x304), 10_000),
    ];
    let sum = 11_100;
    let content = AtomicUsize::new(0);
    thread::scope(|scope| {
        for (program, says) in &programs {
            let content = &content;
            scope.spawn(move || {
                let (mut octets, mut right) = ([0; 320], 0);
                // Half a minute at most. Who is content talks on until all are.
                for _ in 0..1_500 {
                    let _ = program.write_now(&steady(*says));
                    assert_eq!(program.read(&mut octets), Ok(320));
                    assert!(samples(&octets).all(|sample| (0..=sum - says).contains(&sample)));
                    right += usize::from(steady_value(&octets) == Some(sum - says));
                    if right == 5 {
                        right += 1;
                        content.fetch_add(1, Ordering::SeqCst);
                    }
                    if content.load(Ordering::SeqCst) == 3 {
                        return;
                    }
                }
            });
        }
    });
    assert_eq!(content.into_inner(), 3);
}

#[test]
fn numbers_are_the_machines_and_come_back_with_the_station() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(folder.path()).unwrap();
    let (here, there) = (sharing(&directory), sharing(&directory));
    let first = Program::join(&here, -1, 7);
    let second = Program::join(&there, -1, 7);
    let third = Program::join(&here, -1, 7);
    let numbers = [&first, &second, &third].map(conference_of);
    assert_eq!(numbers, [1023, 1022, 1021]);
    // A second channel in it changes nothing, and the last that leaves gives it back.
    let fourth = Program::join(&here, 1023, 0x304);
    drop(first);
    assert_eq!(conference_of(&Program::join(&there, -1, 7)), 1020);
    fourth.set_conference(0, 0);
    assert_eq!(conference_of(&Program::join(&there, -1, 7)), 1023);
    drop(third);
    drop(fourth);
    drop(here);
    let last = Program::join(&there, -1, 7);
    assert_eq!(conference_of(&last), 1023);
}

#[test]
fn a_refused_setconf_holds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(folder.path()).unwrap();
    let (here, there) = (sharing(&directory), sharing(&directory));
    let program = Program::open(&here);
    for conference in [-1, 1023] {
        let info = ConfInfo {
            channel: 0,
            conference,
            mode: 0,
        };
        assert_eq!(program.ask(Request::SetConf(info)), Err(Errno::Einval));
    }
    assert_eq!(conference_of(&Program::join(&there, -1, 7)), 1023);
}

#[test]
fn a_process_tells_of_itself_to_who_asks() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(folder.path()).unwrap();
    let station = sharing(&directory);
    station.complete_reports(|report| report.timers.open = 42);
    let _program = Program::join(&station, 8, 0x304);
    let _idle = Program::open(&station);
    assert!(eventually(|| station.report().channels.len() == 2));
    let asked = |directory: &Directory| survey(directory, Duration::from_secs(10)).ok();
    let mut reports = Vec::new();
    assert!(eventually(|| {
        reports = asked(&directory).unwrap_or_default();
        reports.len() == 1
    }));
    let report = reports.remove(0).unwrap();
    assert_eq!((report.pid, report.timers.open), (std::process::id(), 42));
    let channels = report.channels.iter();
    let channels: Vec<_> = channels
        .map(|channel| {
            (
                channel.number,
                channel.conference,
                channel.mode,
                channel.block,
            )
        })
        .collect();
    assert_eq!(channels, [(0x8000, 8, 0x304, 160), (0x8001, 0, 0, 1024)]);
    assert_eq!(report.conferences.len(), 1);
    assert_eq!(report.alone, None);
    assert!(report.directory.is_some() && report.trunk.is_some());
    drop(station);
    assert!(asked(&directory).unwrap_or_default().is_empty());
}

#[test]
fn whose_segment_was_removed_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(folder.path()).unwrap();
    let station = sharing(&directory);
    let _program = Program::join(&station, 8, 0x304);
    let segments = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        files
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "segment"))
            .collect::<Vec<_>>()
    };
    assert_eq!(segments().len(), 1);
    std::fs::remove_file(&segments()[0]).unwrap();
    assert!(eventually(|| segments().len() == 1));
    // It is in its conference as before.
    let other = sharing(&directory);
    let _member = Program::join(&other, 8, 0x304);
    let here = [std::process::id()];
    assert!(eventually(|| {
        let conferences = other.report().conferences;
        conferences[0].shared_with == here && station.report().conferences[0].shared_with == here
    }));
}

#[test]
fn who_asks_in_a_directory_that_was_made_anew_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dahdi");
    let directory = Directory::at(&path).unwrap();
    let station = sharing(&directory);
    let is_answered = || {
        let reports = survey(&directory, Duration::from_secs(10)).unwrap_or_default();
        reports.len() == 1 && reports[0].is_ok()
    };
    let program = Program::join(&station, 8, 0x304);
    assert!(eventually(is_answered));
    // In a conference it notices by itself, without one when it is in the next.
    for conference in [8, 0] {
        program.set_conference(conference, if conference == 0 { 0 } else { 0x304 });
        std::fs::remove_dir_all(&path).unwrap();
        let _ = std::fs::create_dir(&path);
        if conference == 0 {
            program.set_conference(8, 0x304);
        }
        assert!(eventually(is_answered));
    }
}

#[test]
fn a_number_given_before_there_was_a_directory_is_not_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dahdi");
    let directory = Directory::at(&path).unwrap();
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(&path, "").unwrap();
    let (here, there) = (sharing(&directory), sharing(&directory));
    let (first, other) = (Program::join(&here, -1, 7), Program::join(&there, -1, 7));
    assert_eq!([&first, &other].map(conference_of), [1023, 1023]);
    assert!(here.report().alone.is_some());

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let second = Program::join(&here, -1, 7);
    let another = Program::join(&there, -1, 7);
    assert_eq!(
        [&second, &another].map(conference_of),
        [1022, 1021],
        "one each"
    );
    // Nor are the two meetings of the same number one: the number is now that of the first.
    let newcomer = sharing(&directory);
    let _guest = Program::join(&newcomer, 1023, 7);
    let sharers = |station: &Station| station.report().conferences.pop().unwrap().shared_with;
    let process = [std::process::id()];
    assert!(eventually(|| {
        sharers(&here) == process && sharers(&newcomer) == process
    }));
    assert_eq!(sharers(&there), [0; 0]);
    // Until it is over.
    drop(other);
    let _other = Program::join(&there, 1023, 7);
    assert!(eventually(|| sharers(&there).len() == 2));
}

#[test]
fn numbers_of_a_directory_that_was_made_anew_are_not_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dahdi");
    let directory = Directory::at(&path).unwrap();
    let here = sharing(&directory);
    // Its trunk is open, and nobody is in any conference, so nothing is looked at.
    drop(Program::join(&here, -1, 7));
    std::fs::remove_dir_all(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let there = sharing(&directory);
    let first = Program::join(&there, -1, 7);
    let second = Program::join(&here, -1, 7);
    assert_eq!([&first, &second].map(conference_of), [1023, 1022]);
}

#[test]
fn without_a_directory_a_process_is_alone_and_says_why() {
    let mut settings = Settings::default();
    settings.realtime = RealtimeRequest::new();
    settings.sharing = Sharing::Alone;
    let station = Station::new(settings).unwrap();
    let program = Program::join(&station, -1, 7);
    assert_eq!(conference_of(&program), 1023);
    let report = station.report();
    assert!(report.alone.is_some() && report.trunk.is_none() && report.directory.is_none());
}

#[test]
fn a_conference_whose_number_is_refused_is_alone_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(folder.path()).unwrap();
    let (here, there) = (sharing(&directory), sharing(&directory));
    let _first = Program::join(&there, 8, 0x304);
    let _other = Program::join(&here, 9, 0x304);
    // Somebody who is none of us locks everything but what is held already.
    let numbers = File::options()
        .read(true)
        .write(true)
        .open(folder.path().join("numbers"))
        .unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 10,
        l_len: 100,
        l_pid: 0,
    };
    fcntl(&numbers, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let refused = Program::join(&here, 20, 0x304);
    let conferences = here.report().conferences;
    let why = |number: i32| {
        let mut all = conferences.iter();
        all.find(|one| one.number == number).unwrap().alone.clone()
    };
    assert_eq!(why(9), None);
    assert!(why(20).unwrap().contains("cannot be held"));
    // It works all the same, and the next time it is entered it is shared.
    assert_eq!(conference_of(&refused), 20);
    drop(refused);
    drop(numbers);
    let _again = Program::join(&here, 20, 0x304);
    let conferences = here.report().conferences;
    assert!(conferences.iter().any(|one| one.number == 20));
    assert!(conferences.iter().all(|one| one.alone.is_none()));
}
