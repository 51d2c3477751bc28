//! Phones in MeetMe: who hears whom, what is recorded, what it sounds like to come and go.

use std::thread;
use std::time::{Duration, SystemTime};

use unisono_rtp::codec::{Codec, Decoder};

use crate::host::{Host, MUSIC};
use crate::peer::{Baresip, Capture, Keys, Sipp, installed};
use crate::sound::{Recording, Voice, prompt_of_asterisk};
use crate::stage::Stage;

#[test]
fn phones_hear_each_other_and_not_themselves() {
    Stage::play("meetme", |stage| {
        let host = Host::start(stage, &[("100", &["MeetMe(1,dq)"])]);
        let capture = Capture::start(stage);
        let anna = host.speaker(stage, "100", Voice::Anna, 22.0);
        let calum = Sipp::new(stage, "calum", "speak", host.sip)
            .calling("100", 22.0)
            .speaking(Voice::Calum, Codec::Pcma)
            .start();
        let ports = [anna.audio_port(), calum.audio_port()];
        let ben = Baresip::dial(stage, Voice::Ben, "G722/16000/1", host.sip, "100");
        host.wait_for_users("1", 3);
        let all_there = SystemTime::now() + Duration::from_secs(1);
        thread::sleep(Duration::from_secs(12));
        let first_leaves = SystemTime::now();
        let heard = ben.hang_up();
        anna.succeed();
        calum.succeed();
        let trace = capture.stop();
        let end = heard.seconds();
        heard.between(end - 10.5, end - 0.5).assert_heard(
            "ben (baresip)",
            &[Voice::Anna, Voice::Calum],
            stage.tolerance(),
        );
        for (port, who, others) in [
            (ports[0], "anna (sipp)", [Voice::Ben, Voice::Calum]),
            (ports[1], "calum (sipp)", [Voice::Anna, Voice::Ben]),
        ] {
            trace
                .audio_to_while(port, all_there, first_leaves)
                .assert_heard(who, &others, stage.tolerance());
        }
        host.stop(&[]);
    });
}

#[test]
fn who_comes_and_goes_is_heard_by_a_tone() {
    Stage::play("tones", |stage| {
        let host = Host::start(stage, &[("100", &["MeetMe(1,d1)"])]);
        let capture = Capture::start(stage);
        let anna = host.listener(stage, "anna", "100", 10.0);
        let port = anna.audio_port();
        host.wait_for_users("1", 1);
        thread::sleep(Duration::from_secs(1));
        let ben_calls = SystemTime::now();
        let ben = host.listener(stage, "ben", "100", 3.0);
        host.wait_for_users("1", 2);
        ben.succeed();
        anna.succeed();
        let trace = capture.stop();
        let heard = trace.audio_to_while(port, ben_calls, SystemTime::now());
        for name in ["enter", "leave"] {
            let likeness = heard.likeness_of(&tone(name));
            println!("{name}: {likeness:.3}");
            assert!(
                likeness > 0.9,
                "the tone {name} of MeetMe is heard: {likeness:.3}"
            );
        }
        host.stop(&[]);
    });
}

#[test]
fn a_recording_has_all_that_was_said() {
    Stage::play("recording", |stage| {
        let host = Host::start(
            stage,
            &[(
                "100",
                &[
                    "Set(MEETME_RECORDINGFILE=/tmp/unisono/asterisk/recorded)",
                    "MeetMe(1,dqr)",
                ],
            )],
        );
        let anna = host.speaker(stage, "100", Voice::Anna, 14.0);
        let ben = host.speaker(stage, "100", Voice::Ben, 14.0);
        anna.succeed();
        ben.succeed();
        host.wait_for_users("1", 0);
        let files = host.stop(&["recorded.wav"]);
        let recorded = Recording::read(&files[0]);
        let seconds = recorded.seconds();
        assert!((13.0..18.0).contains(&seconds), "{seconds} s are recorded");
        recorded.between(1.0, 13.0).assert_heard(
            "the recording",
            &[Voice::Anna, Voice::Ben],
            stage.tolerance(),
        );
    });
}

#[test]
fn who_is_alone_hears_music() {
    Stage::play("music", |stage| {
        let host = Host::start(stage, &[("100", &["MeetMe(1,dqM)"])]);
        let capture = Capture::start(stage);
        let anna = host.listener(stage, "anna", "100", 23.0);
        let port = anna.audio_port();
        host.wait_for_users("1", 1);
        let alone = SystemTime::now() + Duration::from_millis(500);
        thread::sleep(Duration::from_secs(6));
        let ben_calls = SystemTime::now();
        let ben = host.speaker(stage, "100", Voice::Ben, 7.0);
        host.wait_for_users("1", 2);
        let together = SystemTime::now() + Duration::from_secs(1);
        ben.succeed();
        let ben_leaves = SystemTime::now() - Duration::from_secs(1);
        host.wait_for_users("1", 1);
        let alone_again = SystemTime::now() + Duration::from_secs(1);
        anna.succeed();
        let trace = capture.stop();
        for (from, to, voices) in [
            (alone, ben_calls, [MUSIC]),
            (together, ben_leaves, [Voice::Ben]),
            (alone_again, SystemTime::now(), [MUSIC]),
        ] {
            let heard = trace.audio_to_while(port, from, to);
            assert_eq!(heard.voices(), voices, "in {:.1} s", heard.seconds());
        }
        host.stop(&[]);
    });
}

#[test]
fn the_menu_mutes_and_unmutes() {
    Stage::play("menu", |stage| {
        let host = Host::start(
            stage,
            &[("100", &["MeetMe(1,dqs)"]), ("101", &["MeetMe(1,dq)"])],
        );
        let capture = Capture::start(stage);
        let ben = host.listener(stage, "ben", "101", 42.0);
        let ben_port = ben.audio_port();
        host.wait_for_users("1", 1);
        // A key takes 0.24 s; what is said back to it is over 3 s later.
        let toggle = |keys: Keys| keys.press("*").silence(2500).press("1").silence(3000);
        let keys = toggle(Keys::new().speech(Voice::Anna, 8)).speech(Voice::Anna, 8);
        let keys = toggle(keys).speech(Voice::Anna, 10);
        let anna = Sipp::new(stage, "anna", "keys-rtp", host.sip)
            .calling("100", 36.0)
            .pressing(&keys)
            .with("REST", "@HANG_UP@")
            .start();
        let anna_port = anna.audio_port();
        host.wait_for_users("1", 2);
        let begin = SystemTime::now();
        let at = |seconds: f64| begin + Duration::from_secs_f64(seconds);
        anna.succeed();
        ben.succeed();
        let trace = capture.stop();
        let to_anna = trace.audio_to(anna_port);
        for name in ["conf-muted", "conf-unmuted"] {
            let said = prompt_of_asterisk(name);
            assert!(to_anna.says(&said.samples), "{name} is said to anna");
        }
        for (from, to, voices) in [
            (1.0, 7.5, &[Voice::Anna][..]),
            (14.5, 21.5, &[]),
            (29.0, 35.0, &[Voice::Anna]),
        ] {
            let heard = trace.audio_to_while(ben_port, at(from), at(to));
            assert_eq!(heard.voices(), voices, "from {from} to {to} s");
        }
        host.stop(&[]);
    });
}

#[test]
fn the_administrators_menu_locks_the_conference() {
    Stage::play("lock", |stage| {
        let host = Host::start(
            stage,
            &[("100", &["MeetMe(1,dqas)"]), ("101", &["MeetMe(1,dq)"])],
        );
        let capture = Capture::start(stage);
        let keys = Keys::new().silence(2000).press("*").silence(2500);
        let anna = Sipp::new(stage, "anna", "keys-rtp", host.sip)
            .calling("100", 24.0)
            .pressing(&keys.press("2").silence(17_000))
            .with("REST", "@HANG_UP@")
            .start();
        let anna_port = anna.audio_port();
        host.pbx.wait_until("meetme list", |answer| {
            answer.lines().any(|line| line.trim_end().ends_with("Yes"))
        });
        // He is told, and hung up on.
        let ben = host.speaker_to_the_end(stage, "101", Voice::Ben);
        let ben_port = ben.audio_port();
        ben.succeed();
        host.wait_for_users("1", 1);
        anna.succeed();
        let trace = capture.stop();
        for (port, prompt) in [(anna_port, "conf-lockednow"), (ben_port, "conf-locked")] {
            let said = prompt_of_asterisk(prompt);
            assert!(trace.audio_to(port).says(&said.samples), "{prompt}");
        }
        host.stop(&[]);
    });
}

/// The tone of MeetMe that this header of its source has.
fn tone(name: &str) -> Vec<i16> {
    let header = installed("meetme").join(format!("{name}.h"));
    let text = std::fs::read_to_string(&header)
        .unwrap_or_else(|error| panic!("{}: {error}: run tests/install", header.display()));
    let (_, values) = text.split_once('{').expect("an array");
    let octets: Vec<u8> = values
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter_map(|word| u8::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    assert!(octets.len() > 1000, "{} octets of {name}", octets.len());
    let mut decoder = Decoder::new(Codec::Pcmu);
    let mut frame = [0; 160];
    octets
        .chunks(frame.len())
        .flat_map(|octets| {
            let length = decoder.decode(octets, &mut frame).expect("µ-law");
            frame[..length].to_vec()
        })
        .collect()
}
