//! Asking processes what they do.

use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use unisono_dahdi_trunk::report::{ChannelReport, ProcessReport};
use unisono_dahdi_trunk::{Answering, Directory, SurveyError, TrunkError, Unanswered, survey};

use super::member::{Process, directory, files};

/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn all_processes_answer_with_their_reports() {
    let directory = directory();
    let mut processes = [(); 3].map(|()| Process::start(directory.path()));
    for process in &mut processes {
        process.begin("answer");
    }
    let meeting = Directory::at(directory.path()).unwrap();
    let answers = survey(&meeting, LONG).unwrap();
    let mut pids: Vec<u32> = answers
        .into_iter()
        .map(|answer| answer.unwrap().pid)
        .collect();
    let mut expected = processes.each_ref().map(Process::pid);
    expected.sort_unstable();
    pids.sort_unstable();
    assert_eq!(pids, expected);
    for mut process in processes {
        assert_eq!(process.answer(), "1");
        process.leave();
    }
}

#[test]
fn a_stopped_process_is_said_to_be_and_hangs_nobody() {
    let directory = directory();
    let mut stopped = Process::start(directory.path());
    let mut lively = Process::start(directory.path());
    stopped.signal(Signal::SIGSTOP);
    lively.begin("answer");
    let meeting = Directory::at(directory.path()).unwrap();
    // The one that answers may be slow on a busy machine, so it is given time.
    let mut answers = survey(&meeting, Duration::from_secs(5)).unwrap();
    let pid_of = |answer: &Result<ProcessReport, Unanswered>| match answer {
        Ok(report) => report.pid,
        Err(unanswered) => unanswered.pid,
    };
    answers.sort_by_key(|answer| pid_of(answer) != stopped.pid());
    assert_eq!(answers.len(), 2);
    let unanswered = answers[0].as_ref().unwrap_err();
    assert!(
        matches!(unanswered.error, SurveyError::Timeout),
        "{unanswered}"
    );
    assert_eq!(pid_of(&answers[1]), lively.pid());
    stopped.signal(Signal::SIGCONT);
    lively.answer();
    // Who has gone is not waited for.
    assert_eq!(stopped.tell("answer"), "1");
    stopped.leave();
    lively.leave();
}

#[test]
fn killed_processes_are_not_reported_and_their_files_removed() {
    let directory = directory();
    Process::start(directory.path()).kill();
    assert_eq!(files(directory.path(), ".status").len(), 1);
    let meeting = Directory::at(directory.path()).unwrap();
    assert!(survey(&meeting, LONG).unwrap().is_empty());
    assert_eq!(files(directory.path(), ""), ["numbers"]);
}

#[test]
fn who_only_asks_makes_nothing_and_removes_nothing_of_others() {
    let directory = directory();
    let path = directory.path().join("dahdi");
    let error = Directory::existing(&path).unwrap_err();
    assert!(matches!(error, TrunkError::BadDirectory { .. }), "{error}");
    assert!(!path.exists());
    std::fs::create_dir(&path).unwrap();
    if chown(&path, Some(65_534), None).is_err() {
        eprintln!("skipped: only root has others' folders");
        return;
    }
    Process::start(&path).kill();
    let before = files(&path, "");
    let meeting = Directory::existing(&path).unwrap();
    assert!(survey(&meeting, LONG).unwrap().is_empty());
    assert_eq!((files(&path, ""), before.len()), (before, 3));
}

#[test]
fn nonsense_is_told_from_a_report() {
    let directory = directory();
    let meeting = Directory::at(directory.path()).unwrap();
    let foreign = UnixListener::bind(directory.path().join("77.status")).unwrap();
    let talking = std::thread::spawn(move || {
        let (mut asker, _) = foreign.accept().unwrap();
        asker.write_all(b"{\"pid\": \"seven\"}").unwrap();
    });
    let answers = survey(&meeting, LONG).unwrap();
    talking.join().unwrap();
    let [Err(unanswered)] = &answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(unanswered.pid, 77);
    assert!(
        matches!(unanswered.error, SurveyError::Nonsense(_)),
        "{unanswered}"
    );
}

#[test]
fn what_a_process_says_cannot_command_a_terminal() {
    let directory = directory();
    let meeting = Directory::at(directory.path()).unwrap();
    let foreign = UnixListener::bind(directory.path().join("77.status")).unwrap();
    let text = || "a\u{1b}]0;b\r\n\u{9b}2Jc".to_owned();
    let said = ProcessReport {
        program: text(),
        version: text(),
        grant: text(),
        directory: Some(text()),
        alone: Some(text()),
        ..ProcessReport::default()
    };
    let said = serde_json::to_vec(&said).unwrap();
    let talking = std::thread::spawn(move || {
        for answer in [&said[..], b"{\"mood\": \"\x1b[2J"] {
            let (mut asker, _) = foreign.accept().unwrap();
            asker.write_all(answer).unwrap();
        }
    });
    let heard = survey(&meeting, LONG).unwrap().remove(0).unwrap();
    // All that is text in it, however it is called.
    let heard = format!("{:?}", serde_json::to_value(heard).unwrap());
    assert_eq!(
        heard
            .matches("a\u{fffd}]0;b\u{fffd}\u{fffd}\u{fffd}2Jc")
            .count(),
        5
    );
    let error = survey(&meeting, LONG).unwrap().remove(0).unwrap_err();
    assert!(!error.to_string().contains(char::is_control), "{error}");
    talking.join().unwrap();
}

#[test]
fn a_report_of_512_channels_arrives_whole() {
    let directory = directory();
    let meeting = Directory::at(directory.path()).unwrap();
    let channel = ChannelReport {
        number: 0x8000,
        conference: 1023,
        mode: 0x304,
        queued_ms: 20.125,
        ..ChannelReport::default()
    };
    let report = ProcessReport {
        channels: vec![channel; 512],
        ..ProcessReport::default()
    };
    let answering = Answering::bind(&meeting).unwrap();
    let asking = std::thread::spawn({
        let meeting = meeting.clone();
        move || survey(&meeting, LONG).unwrap()
    });
    let mut answered = 0;
    while answered == 0 {
        answered = answering.answer(|| report.clone());
        std::thread::sleep(Duration::from_millis(1));
    }
    let answers = asking.join().unwrap();
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].as_ref().unwrap(), &report);
}

#[test]
fn what_a_report_lacks_has_its_default_and_what_is_new_is_left_out() {
    let report: ProcessReport =
        serde_json::from_str(r#"{"pid": 7, "channels": [{"number": 32768}], "mood": "good"}"#)
            .unwrap();
    assert_eq!(
        (report.pid, report.channels[0].number, report.timers.open),
        (7, 32_768, 0)
    );
}

#[test]
fn a_path_too_long_for_a_socket_is_said_to_be() {
    let directory = directory();
    let long = directory.path().join("x".repeat(100));
    let error = Answering::bind(&Directory::at(long).unwrap()).unwrap_err();
    assert!(error.to_string().contains("107 bytes"), "{error}");
}

#[test]
fn an_asker_who_does_not_read_or_has_gone_is_given_up() {
    let directory = directory();
    let meeting = Directory::at(directory.path()).unwrap();
    let answering = Answering::bind(&meeting).unwrap();
    let [name] = &files(directory.path(), ".status")[..] else {
        panic!("one socket")
    };
    let path = directory.path().join(name);
    let _deaf = UnixStream::connect(&path).unwrap();
    drop(UnixStream::connect(&path).unwrap());
    let report = || ProcessReport {
        grant: "x".repeat(3 << 20),
        ..ProcessReport::default()
    };
    assert_eq!(answering.answer(report), 2);
    assert_eq!(answering.answer(|| unreachable!("nobody asks")), 0);
}
