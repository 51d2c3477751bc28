//! Who may speak and listen in MeetMe: waiting for a leader, listening only, talking only, muted.

use std::thread;
use std::time::{Duration, SystemTime};

use crate::host::Host;
use crate::peer::Capture;
use crate::sound::Voice;
use crate::stage::Stage;

#[test]
fn people_wait_for_their_leader_and_go_when_the_leader_does() {
    Stage::play("leader", |stage| {
        let host = Host::start(
            stage,
            &[("100", &["MeetMe(1,dqwx)"]), ("101", &["MeetMe(1,dqA)"])],
        );
        let capture = Capture::start(stage);
        let anna = host.speaker_to_the_end(stage, "100", Voice::Anna);
        let ben = host.speaker_to_the_end(stage, "100", Voice::Ben);
        let ports = [anna.audio_port(), ben.audio_port()];
        host.wait_for_users("1", 2);
        let waiting = SystemTime::now();
        thread::sleep(Duration::from_secs(6));
        let calum_calls = SystemTime::now();
        let calum = host.speaker(stage, "101", Voice::Calum, 10.0);
        let calum_port = calum.audio_port();
        host.wait_for_users("1", 3);
        let together = SystemTime::now() + Duration::from_secs(1);
        calum.succeed();
        let calum_leaves = SystemTime::now() - Duration::from_millis(500);
        // They are hung up on.
        anna.succeed();
        ben.succeed();
        host.wait_for_users("1", 0);
        let trace = capture.stop();
        for (port, who, others) in [
            (ports[0], "anna", [Voice::Ben, Voice::Calum]),
            (ports[1], "ben", [Voice::Anna, Voice::Calum]),
            (calum_port, "calum", [Voice::Anna, Voice::Ben]),
        ] {
            let heard = trace.audio_to_while(port, waiting, calum_calls);
            assert_eq!(heard.voices(), [], "{who}, while they wait");
            trace
                .audio_to_while(port, together, calum_leaves)
                .assert_heard(who, &others, stage.tolerance());
        }
        host.stop(&[]);
    });
}

#[test]
fn listeners_are_not_heard_talkers_hear_nothing_and_the_muted_are_silent_until_unmuted() {
    Stage::play("roles", |stage| {
        let host = Host::start(
            stage,
            &[
                ("100", &["MeetMe(1,dq)"]),
                ("101", &["MeetMe(1,dql)"]),
                ("102", &["MeetMe(1,dqt)"]),
                ("103", &["MeetMe(1,dqm)"]),
            ],
        );
        let capture = Capture::start(stage);
        let calls: Vec<_> = [
            ("100", Voice::Anna),
            ("101", Voice::Ben),
            ("102", Voice::Calum),
            ("103", Voice::Edith),
        ]
        .into_iter()
        .enumerate()
        .map(|(n, (number, voice))| {
            let call = host.speaker(stage, number, voice, 24.0);
            host.wait_for_users("1", n + 1);
            call
        })
        .collect();
        let ports: Vec<u16> = calls.iter().map(|call| call.audio_port()).collect();
        let muted = SystemTime::now() + Duration::from_secs(1);
        thread::sleep(Duration::from_secs(9));
        let unmute = SystemTime::now();
        // edith came fourth.
        host.pbx.command("meetme unmute 1 4").expect("an answer");
        let unmuted = SystemTime::now() + Duration::from_secs(1);
        thread::sleep(Duration::from_secs(8));
        let end = SystemTime::now();
        for call in calls {
            call.succeed();
        }
        let trace = capture.stop();
        let judge = |n: usize, from, to, expected: &[Voice]| {
            let heard = trace.audio_to_while(ports[n], from, to);
            let who = [
                "anna",
                "ben, who listens only",
                "calum, who talks only",
                "edith, who was muted",
            ][n];
            if expected.is_empty() {
                assert_eq!(heard.voices(), [], "{who}");
            } else {
                heard.assert_heard(who, expected, stage.tolerance());
            }
        };
        judge(0, muted, unmute, &[Voice::Calum]);
        judge(1, muted, unmute, &[Voice::Anna, Voice::Calum]);
        judge(2, muted, unmute, &[]);
        judge(3, muted, unmute, &[Voice::Anna, Voice::Calum]);
        judge(0, unmuted, end, &[Voice::Calum, Voice::Edith]);
        judge(1, unmuted, end, &[Voice::Anna, Voice::Calum, Voice::Edith]);
        judge(2, unmuted, end, &[]);
        judge(3, unmuted, end, &[Voice::Anna, Voice::Calum]);
        host.stop(&[]);
    });
}
