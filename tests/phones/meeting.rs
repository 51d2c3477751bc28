//! Three kinds of phones in one conference hear each other, and not themselves.

use std::thread;
use std::time::{Duration, SystemTime};

use unisono_rtp::codec::Codec;

use crate::peer::{Asterisk, Baresip, Capture, Sipp};
use crate::sound::{Recording, Voice};
use crate::stage::Stage;

#[test]
fn a_softphone_a_pbx_and_a_scenario_meet_with_one_codec() {
    meet("meeting-pcmu", "PCMU/8000/1", "ulaw", Codec::Pcmu);
}

#[test]
fn they_meet_with_a_codec_each() {
    meet("meeting-mixed", "G722/16000/1", "alaw", Codec::Pcmu);
}

#[test]
fn they_meet_with_opus_among_them() {
    meet("meeting-opus", "opus/48000/2", "g722", Codec::Pcma);
}

fn meet(name: &str, baresip_codec: &str, asterisk_codec: &str, sipp_codec: Codec) {
    Stage::play(name, |stage| {
        let server = stage.server("");
        let asterisk = Asterisk::start(stage, Voice::Calum, asterisk_codec, server.sip);
        let capture = Capture::start(stage);
        let anna = Sipp::new(stage, "anna", "speak", server.sip)
            .calling("100", 22.0)
            .speaking(Voice::Anna, sipp_codec)
            .start();
        let anna_port = anna.audio_port();
        let ben = Baresip::dial(stage, Voice::Ben, baresip_codec, server.sip, "100");
        asterisk.call("100", "s");
        let participants = server.wait_for_participants("100", 3);
        let all_there = SystemTime::now();
        thread::sleep(Duration::from_secs(14));
        // Those who recorded leave while all are still speaking; anna, who was there first, stays longest.
        let first_leaves = SystemTime::now();
        let calum_heard = asterisk.hang_up();
        let ben_stayed = first_leaves.elapsed().expect("time goes on").as_secs_f64();
        let ben_heard = ben.hang_up();
        anna.succeed();
        let trace = capture.stop();
        println!("{participants:#?}");
        // What is judged is while all are there, counted back from the end of each recording.
        let together = |heard: &Recording, stayed: f64| {
            let end = heard.seconds() - stayed;
            heard.between(end - 12.5, end - 0.5)
        };
        together(&calum_heard, 0.0).assert_heard(
            "calum (Asterisk)",
            &[Voice::Anna, Voice::Ben],
            stage.tolerance(),
        );
        together(&ben_heard, ben_stayed).assert_heard(
            "ben (baresip)",
            &[Voice::Anna, Voice::Calum],
            stage.tolerance(),
        );
        trace
            .audio_to_while(anna_port, all_there + Duration::from_secs(1), first_leaves)
            .assert_heard(
                "anna (sipp)",
                &[Voice::Ben, Voice::Calum],
                stage.tolerance(),
            );
    });
}
