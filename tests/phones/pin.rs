//! Conferences with a PIN: it is asked for aloud, and three wrong ones end the call.

use std::thread;
use std::time::Duration;

use unisono_rtp::codec::Codec;

use crate::peer::{Asterisk, Capture, Keys, Sipp};
use crate::sound::{Recording, Voice, prompt};
use crate::stage::Stage;

const WITH_PIN: &str = "[[conference]]\nname = \"4711\"\npin = \"2580\"\n";

#[test]
fn three_wrong_pins_by_info_end_the_call() {
    Stage::play("wrong-pin-info", |stage| {
        let server = stage.server(WITH_PIN);
        let capture = Capture::start(stage);
        let anna = Sipp::new(stage, "anna", "keys-info", server.sip)
            .with("CONFERENCE", "4711")
            .speaking(Voice::Anna, Codec::Pcmu)
            .pressing_by_info("1111#2222#3333#")
            .with("REST", "@HUNG_UP@")
            .start();
        let port = anna.audio_port();
        anna.succeed();
        assert!(server.participants("4711").is_empty());
        let heard = capture.stop().audio_to(port);
        assert_says(&heard, "conf-invalidpin");
    });
}

#[test]
fn three_wrong_pins_by_rtp_events_end_the_call() {
    Stage::play("wrong-pin-rtp", |stage| {
        let server = stage.server(WITH_PIN);
        let capture = Capture::start(stage);
        let keys = Keys::new()
            .silence(3000)
            .press("1111#")
            .silence(3000)
            .press("2222#")
            .silence(3000)
            .press("3333#")
            .silence(20_000);
        let anna = Sipp::new(stage, "anna", "keys-rtp", server.sip)
            .with("CONFERENCE", "4711")
            .pressing(&keys)
            .with("REST", "@HUNG_UP@")
            .start();
        let port = anna.audio_port();
        anna.succeed();
        assert!(server.participants("4711").is_empty());
        let heard = capture.stop().audio_to(port);
        assert_says(&heard, "conf-getpin");
        assert_says(&heard, "conf-invalidpin");
    });
}

#[test]
fn the_right_pin_lets_in_by_info_and_by_rtp_events_also_at_the_second_try() {
    Stage::play("right-pin", |stage| {
        let server = stage.server(WITH_PIN);
        let capture = Capture::start(stage);
        let keys = Keys::new()
            .silence(1000)
            .press("1234#")
            .silence(1000)
            .press("2580#")
            .speech(Voice::Ben, 25);
        let ben = Sipp::new(stage, "ben", "keys-rtp", server.sip)
            .calling("4711", 20.0)
            .pressing(&keys)
            .with("REST", "@HANG_UP@")
            .start();
        let anna = Sipp::new(stage, "anna", "keys-info", server.sip)
            .calling("4711", 14.0)
            .speaking(Voice::Anna, Codec::Pcmu)
            .pressing_by_info("2580#")
            .with("REST", "@HANG_UP@")
            .start();
        let (anna_port, ben_port) = (anna.audio_port(), ben.audio_port());
        server.wait_for_participants("4711", 2);
        anna.succeed();
        ben.succeed();
        let trace = capture.stop();
        let (anna, ben) = (trace.audio_to(anna_port), trace.audio_to(ben_port));
        assert_says(&ben, "conf-getpin");
        assert_eq!(anna.between(6.0, 15.0).voices(), [Voice::Ben], "anna");
        assert_eq!(ben.between(6.0, 15.0).voices(), [Voice::Anna], "ben");
    });
}

#[test]
fn a_pbx_presses_the_keys_of_a_pin() {
    Stage::play("pin-asterisk", |stage| {
        let server = stage.server(WITH_PIN);
        let asterisk = Asterisk::start(stage, Voice::Calum, "ulaw", server.sip);
        asterisk.call("4711", "pin");
        server.wait_for_participants("4711", 1);
        let anna = Sipp::new(stage, "anna", "keys-info", server.sip)
            .calling("4711", 12.0)
            .speaking(Voice::Anna, Codec::Pcmu)
            .pressing_by_info("2580#")
            .with("REST", "@HANG_UP@")
            .start();
        server.wait_for_participants("4711", 2);
        thread::sleep(Duration::from_secs(9));
        let heard = asterisk.hang_up();
        anna.succeed();
        assert_eq!(heard.voices(), [Voice::Anna]);
    });
}

#[track_caller]
fn assert_says(heard: &Recording, name: &str) {
    assert!(
        heard.says(&prompt(name, heard.rate)),
        "{name} is not heard in {:.1} s",
        heard.seconds()
    );
}
