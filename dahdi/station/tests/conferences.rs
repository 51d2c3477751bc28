//! Conferences of many channels, each with a thread of its own that does what MeetMe does: poll, read, write.

mod program;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::poll::PollFlags;
use unisono_dahdi::request::{ConfInfo, Errno, Reply, Request};
use unisono_dahdi_station::Station;

use program::{Program, eventually, ordinary_station, samples, steady, steady_value};

/// How long a thread takes part at most, in blocks: half a minute.
const MOST_BLOCKS: usize = 1_500;

struct Party<'a> {
    station: &'a Station,
    /// How many have heard what they were to hear.
    content: AtomicUsize,
    everybody: usize,
}

impl Party<'_> {
    /// Says one value for ever, until everybody has heard for five blocks in a row what it is to hear. It is never to hear more.
    fn take_part(&self, conference: i32, mode: i32, says: i16, hears: i16) {
        let program = Program::join(self.station, conference, mode);
        let (mut octets, said) = ([0; 320], steady(says));
        let (mut right, mut is_content) = (0, false);
        for _ in 0..MOST_BLOCKS {
            if self.content.load(Ordering::SeqCst) == self.everybody {
                return;
            }
            assert_eq!(program.poll(PollFlags::POLLIN, 10_000), PollFlags::POLLIN);
            match program.read_now(&mut octets) {
                Ok(320) => {}
                other => panic!("{other:?}"),
            }
            assert!(samples(&octets).all(|sample| (0..=hears).contains(&sample)));
            right = match steady_value(&octets) {
                Some(value) if value == hears => right + 1,
                _ => 0,
            };
            if right == 5 && !is_content {
                is_content = true;
                self.content.fetch_add(1, Ordering::SeqCst);
            }
            assert_eq!(program.write_now(&said), Ok(320));
        }
        panic!(
            "{says} in {conference} heard {:?}, not {hears}",
            steady_value(&octets)
        );
    }
}

#[test]
fn each_hears_the_others_without_itself_in_twenty_conferences() {
    let station = ordinary_station();
    let party = Party {
        station: &station,
        content: AtomicUsize::new(0),
        everybody: 20 * 3,
    };
    thread::scope(|scope| {
        for conference in 1..=20 {
            // No two conferences say the same.
            let values = [0, 1, 2].map(|n| (conference * 3 + n) as i16 * 5 + (1 << (10 + n)));
            let sum: i16 = values.iter().sum();
            for value in values {
                let party = &party;
                scope.spawn(move || party.take_part(conference, 0x304, value, sum - value));
            }
        }
    });
    assert_eq!(party.content.into_inner(), 60);
}

#[test]
fn fifty_in_one_conference_hear_forty_nine_others() {
    let station = ordinary_station();
    let party = Party {
        station: &station,
        content: AtomicUsize::new(0),
        everybody: 50,
    };
    let sum: i16 = (0..50).map(|n| 200 + n).sum();
    thread::scope(|scope| {
        for n in 0..50 {
            let party = &party;
            scope.spawn(move || party.take_part(1023, 0x304, 200 + n, sum - 200 - n));
        }
    });
}

#[test]
fn listeners_talkers_announcers_and_recorders_hear_what_their_mode_says() {
    let station = ordinary_station();
    let party = Party {
        station: &station,
        content: AtomicUsize::new(0),
        everybody: 6,
    };
    let all = 1 + 10 + 100 + 1_000;
    let roles = [
        (0x304, 1, all - 1),
        (0x304, 10, all - 10),
        // An announcer, who hears itself too.
        (7, 100, all),
        // A talker who hears nothing.
        (0x204, 1_000, 0),
        // A listener, and one who neither talks nor hears.
        (0x106, 10_000, all),
        (4, 20_000, 0),
    ];
    thread::scope(|scope| {
        for (mode, says, hears) in roles {
            let party = &party;
            scope.spawn(move || party.take_part(9, mode, says, hears));
        }
    });
}

#[test]
fn numbers_are_given_from_above_and_are_free_when_the_last_has_left() {
    let station = ordinary_station();
    let programs: Vec<_> = (0..3).map(|_| Program::join(&station, -1, 7)).collect();
    let number = |program: &Program| match program.ask(Request::GetConf { channel: 0 }) {
        Ok(Reply::Conf(info)) => info.conference,
        other => panic!("{other:?}"),
    };
    let numbers: Vec<_> = programs.iter().map(number).collect();
    assert_eq!(numbers, [1023, 1022, 1021]);
    assert_eq!(programs[1].set_conference(0, 0), 0);
    let next = Program::join(&station, -1, 7);
    assert_eq!(number(&next), 1022);
    drop(next);
    assert_eq!(number(&Program::join(&station, -1, 7)), 1022);
}

#[test]
fn readers_and_writers_hammer_while_others_talk_on() {
    let station = ordinary_station();
    let done = AtomicBool::new(false);
    let party = Party {
        station: &station,
        content: AtomicUsize::new(0),
        everybody: 2,
    };
    let calls = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (station, done, calls) = (&station, &done, &calls);
        for n in 0..4 {
            scope.spawn(move || {
                // Two threads at a time share a channel, in a conference of their own.
                let program = Program::join(station, 30 + n / 2, 0x304);
                thread::scope(|scope| {
                    for _ in 0..2 {
                        scope.spawn(|| {
                            let mut octets = [0; 320];
                            while !done.load(Ordering::Relaxed) {
                                let _ = program.read_now(&mut octets);
                                let _ = program.write_now(&octets);
                                let _ = program.poll(PollFlags::POLLIN | PollFlags::POLLOUT, 0);
                                let _ = program.ask(Request::GetBlockSize);
                                calls.fetch_add(4, Ordering::Relaxed);
                            }
                        });
                    }
                });
            });
        }
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                let program = Program::join(station, 30, 0x304);
                program.set_buffers(16, 2);
                program.set_conference(0, 0);
                program.set_conference(-1, 7);
                calls.fetch_add(3, Ordering::Relaxed);
            }
        });
        thread::scope(|scope| {
            scope.spawn(|| party.take_part(1, 0x304, 500, 70));
            scope.spawn(|| party.take_part(1, 0x304, 70, 500));
        });
        thread::sleep(Duration::from_millis(500));
        done.store(true, Ordering::Relaxed);
    });
    assert!(calls.into_inner() > 1_000);
    assert!(eventually(|| station.report().channels.is_empty()));
    assert!(station.report().conferences.is_empty());
}

#[test]
fn who_closes_while_others_read_and_write_gives_its_place_to_the_next() {
    let station = ordinary_station();
    let ends = AtomicUsize::new(0);
    for round in 0..60 {
        let program = Program::join(&station, 2, 0x304);
        program.set_buffers(16, 2);
        thread::scope(|scope| {
            for n in 0..4 {
                let (program, ends) = (&program, &ends);
                scope.spawn(move || {
                    let mut octets = [0; 32];
                    let error = loop {
                        let result = match n {
                            0 => program.read(&mut octets),
                            1 => program.write(&octets),
                            2 => program.read_now(&mut octets),
                            _ => program.write_now(&octets),
                        };
                        match result {
                            Ok(_) | Err(Errno::Eagain) => {}
                            Err(error) => break error,
                        }
                    };
                    assert_eq!(error, Errno::Enodev);
                    ends.fetch_add(1, Ordering::Relaxed);
                });
            }
            thread::sleep(Duration::from_millis(round % 7));
            program.seat.close();
            // The next has its number while the others are still on their way out.
            let next = Program::open(&station);
            assert_eq!(next.seat.number(), program.seat.number());
            next.set_buffers(16, 2);
            for _ in 0..5 {
                assert_eq!(next.poll(PollFlags::POLLIN, 10_000), PollFlags::POLLIN);
                assert_eq!(next.read_now(&mut [0; 16]), Ok(16));
            }
        });
    }
    assert_eq!(ends.into_inner(), 240);
}

#[test]
fn a_request_by_number_is_served_like_the_channels_own() {
    let station = ordinary_station();
    let program = Program::open(&station);
    let number = program.seat.number().get();
    let ask = |request| station.request(number, request);
    assert_eq!(ask(Request::ChanNo), Ok(Reply::Int(number)));
    assert_eq!(ask(Request::SetBlockSize(160)), Ok(Reply::Done));
    assert_eq!(program.ask(Request::GetBlockSize), Ok(Reply::Int(160)));
    let info = ConfInfo {
        channel: 0,
        conference: -1,
        mode: 7,
    };
    let given = ConfInfo {
        channel: number,
        conference: 1023,
        mode: 7,
    };
    assert_eq!(ask(Request::SetConf(info)), Ok(Reply::Conf(given)));
    assert_eq!(
        program.ask(Request::GetConf { channel: number }),
        Ok(Reply::Conf(given))
    );
    // What it has made ready is shown, although nobody has the descriptor at hand.
    assert_eq!(program.poll(PollFlags::POLLIN, 10_000), PollFlags::POLLIN);
    assert_eq!(station.request(1, Request::ChanNo), Err(Errno::Einval));
}
