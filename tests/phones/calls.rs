//! One phone, through the whole of a call: what is offered, changed, held, ended.

use std::thread;
use std::time::Duration;

use unisono_rtp::codec::Codec;

use crate::peer::{Capture, Keys, RunningSipp, Sipp, audio};
use crate::server::Server;
use crate::sound::Voice;
use crate::stage::Stage;

#[test]
fn two_callers_with_offers_hear_each_other_and_not_themselves() {
    for (name, codec) in [
        ("pcmu", Codec::Pcmu),
        ("pcma", Codec::Pcma),
        ("g722", Codec::G722),
    ] {
        Stage::play(&format!("offer-{name}"), |stage| {
            let server = stage.server("");
            let capture = Capture::start(stage);
            let anna = speak(stage, &server, Voice::Anna, codec, 10.0);
            let ben = speak(stage, &server, Voice::Ben, codec, 10.0);
            let (anna_port, ben_port) = (anna.audio_port(), ben.audio_port());
            server.wait_for_participants("100", 2);
            anna.succeed();
            ben.succeed();
            server.wait_for_participants("100", 0);
            let trace = capture.stop();
            trace
                .audio_to(anna_port)
                .assert_heard("anna", &[Voice::Ben], stage.tolerance());
            trace
                .audio_to(ben_port)
                .assert_heard("ben", &[Voice::Anna], stage.tolerance());
        });
    }
}

#[test]
fn a_call_without_an_offer_is_answered_with_one_and_heard() {
    Stage::play("delayed-offer", |stage| {
        let server = stage.server("");
        let capture = Capture::start(stage);
        let anna = Sipp::new(stage, "anna", "delayed-offer", server.sip)
            .calling("100", 10.0)
            .speaking(Voice::Anna, Codec::Pcmu)
            .start();
        let ben = speak(stage, &server, Voice::Ben, Codec::Pcmu, 10.0);
        let (anna_port, ben_port) = (anna.audio_port(), ben.audio_port());
        anna.succeed();
        ben.succeed();
        let trace = capture.stop();
        trace
            .audio_to(anna_port)
            .assert_heard("anna", &[Voice::Ben], stage.tolerance());
        trace
            .audio_to(ben_port)
            .assert_heard("ben", &[Voice::Anna], stage.tolerance());
    });
}

#[test]
fn a_call_over_tcp_is_like_one_over_udp() {
    Stage::play("tcp", |stage| {
        let server = stage.server("");
        let capture = Capture::start(stage);
        let anna = Sipp::new(stage, "anna", "speak", server.sip)
            .calling("100", 9.0)
            .speaking(Voice::Anna, Codec::Pcmu)
            .over_tcp()
            .start();
        let ben = speak(stage, &server, Voice::Ben, Codec::Pcmu, 9.0);
        let (anna_port, ben_port) = (anna.audio_port(), ben.audio_port());
        anna.succeed();
        ben.succeed();
        let trace = capture.stop();
        trace
            .audio_to(anna_port)
            .assert_heard("anna", &[Voice::Ben], stage.tolerance());
        trace
            .audio_to(ben_port)
            .assert_heard("ben", &[Voice::Anna], stage.tolerance());
    });
}

#[test]
fn a_phone_on_hold_is_sent_nothing_and_hears_again_when_it_resumes() {
    Stage::play("hold", |stage| {
        let server = stage.server("");
        let capture = Capture::start(stage);
        let ben = speak(stage, &server, Voice::Ben, Codec::Pcmu, 20.0);
        let anna = Sipp::new(stage, "anna", "hold", server.sip)
            .with("CONFERENCE", "100")
            .speaking(Voice::Anna, Codec::Pcmu)
            .start();
        let anna_port = anna.audio_port();
        let ben_port = ben.audio_port();
        anna.succeed();
        ben.succeed();
        let trace = capture.stop();
        let to_anna = trace.packets_to(anna_port);
        let (at, gap) = to_anna
            .windows(2)
            .enumerate()
            .map(|(n, pair)| (n + 1, pair[1].time - pair[0].time))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .expect("packets to anna");
        assert!(
            (3.5..5.0).contains(&gap),
            "held for 4 s, a gap of {gap:.2} s"
        );
        let (before, after) = to_anna.split_at(at);
        audio(before).assert_heard("anna before the hold", &[Voice::Ben], stage.tolerance());
        audio(after).assert_heard("anna after the hold", &[Voice::Ben], stage.tolerance());
        // What ben hears has a pause of anna's in it, so only her presence is judged, in both parts.
        let heard = trace.audio_to(ben_port);
        let (first, last) = (heard.between(0.0, 7.0), heard.between(12.0, 19.0));
        assert_eq!(first.voices(), [Voice::Anna], "ben, before the hold");
        assert_eq!(last.voices(), [Voice::Anna], "ben, after the hold");
    });
}

#[test]
fn audio_follows_a_phone_to_its_new_address() {
    Stage::play("move", |stage| {
        let server = stage.server("");
        let capture = Capture::start(stage);
        let ben = speak(stage, &server, Voice::Ben, Codec::Pcmu, 18.0);
        let anna = Sipp::new(stage, "anna", "move", server.sip)
            .with("CONFERENCE", "100")
            .speaking(Voice::Anna, Codec::Pcmu)
            .pressing(&Keys::new().speech(Voice::Calum, 12))
            .start();
        let ben_port = ben.audio_port();
        server.wait_for_participants("100", 2);
        thread::sleep(Duration::from_secs(10));
        let anna_ports = anna.audio_ports();
        anna.succeed();
        ben.succeed();
        let &[old, new] = anna_ports.as_slice() else {
            panic!("one port before and one after: {anna_ports:?}");
        };
        let trace = capture.stop();
        trace
            .audio_to(old)
            .assert_heard("anna at her old port", &[Voice::Ben], stage.tolerance());
        trace
            .audio_to(new)
            .assert_heard("anna at her new port", &[Voice::Ben], stage.tolerance());
        let (old, new) = (trace.packets_to(old), trace.packets_to(new));
        let overlap = old.last().expect("packets").time - new[0].time;
        assert!(
            overlap < 0.1,
            "the old port is sent audio {overlap:.2} s longer"
        );
        let heard = trace.audio_to(ben_port);
        assert_eq!(
            heard.between(0.0, 6.5).voices(),
            [Voice::Anna],
            "ben, before"
        );
        assert_eq!(
            heard.between(9.0, 16.0).voices(),
            [Voice::Calum],
            "ben, after"
        );
    });
}

#[test]
fn a_phone_may_change_its_codec_in_the_call() {
    Stage::play("codec-change", |stage| {
        let server = stage.server("");
        let capture = Capture::start(stage);
        let ben = speak(stage, &server, Voice::Ben, Codec::Pcmu, 16.0);
        let anna = Sipp::new(stage, "anna", "codec-change", server.sip)
            .with("CONFERENCE", "100")
            .speaking(Voice::Anna, Codec::Pcmu);
        let other = anna.voice_file(Voice::Calum, Codec::Pcma);
        let anna = anna.with("OTHER_FILE", &other).start();
        let (anna_port, ben_port) = (anna.audio_port(), ben.audio_port());
        anna.succeed();
        ben.succeed();
        let trace = capture.stop();
        let packets = trace.packets_to(anna_port);
        let change = packets
            .iter()
            .position(|packet| packet.payload_type == 8)
            .expect("A-law is sent");
        assert!(
            packets[..change]
                .iter()
                .all(|packet| packet.payload_type == 0)
        );
        assert!(
            packets[change..]
                .iter()
                .all(|packet| packet.payload_type == 8)
        );
        audio(&packets[..change]).assert_heard("anna with µ-law", &[Voice::Ben], stage.tolerance());
        audio(&packets[change..]).assert_heard("anna with A-law", &[Voice::Ben], stage.tolerance());
        let heard = trace.audio_to(ben_port);
        assert_eq!(
            heard.between(0.0, 6.5).voices(),
            [Voice::Anna],
            "ben, before"
        );
        assert_eq!(
            heard.between(8.5, 14.5).voices(),
            [Voice::Calum],
            "ben, after"
        );
    });
}

#[test]
fn who_is_kicked_is_hung_up_on_and_the_others_stay() {
    Stage::play("kicked", |stage| {
        let server = stage.server("");
        let anna = Sipp::new(stage, "anna", "kicked", server.sip)
            .with("CONFERENCE", "100")
            .speaking(Voice::Anna, Codec::Pcmu)
            .start();
        let joined = server.wait_for_participants("100", 1);
        let ben = speak(stage, &server, Voice::Ben, Codec::Pcmu, 6.0);
        server.wait_for_participants("100", 2);
        let path = format!("/v1/conferences/100/participants/{}", joined[0]["id"]);
        let answer = server.delete(&path);
        assert_eq!(answer.status, 204, "{answer:?}");
        anna.succeed();
        let left = server.wait_for_participants("100", 1);
        assert_ne!(left[0]["id"], joined[0]["id"]);
        assert_eq!(server.get(&path).status, 404);
        ben.succeed();
    });
}

#[test]
fn a_conference_that_is_ended_hangs_up_on_all() {
    Stage::play("ended", |stage| {
        let server = stage.server("");
        let calls: Vec<_> = [Voice::Anna, Voice::Ben]
            .into_iter()
            .map(|voice| {
                Sipp::new(stage, &voice.to_string(), "kicked", server.sip)
                    .with("CONFERENCE", "100")
                    .speaking(voice, Codec::Pcmu)
                    .start()
            })
            .collect();
        server.wait_for_participants("100", 2);
        assert_eq!(server.delete("/v1/conferences/100").status, 204);
        for call in calls {
            call.succeed();
        }
        server.wait_for_participants("100", 0);
    });
}

#[test]
fn a_server_that_ends_hangs_up_first() {
    Stage::play("shutdown", |stage| {
        let server = stage.server("");
        let anna = Sipp::new(stage, "anna", "kicked", server.sip)
            .with("CONFERENCE", "100")
            .speaking(Voice::Anna, Codec::Pcmu)
            .start();
        server.wait_for_participants("100", 1);
        assert_eq!(server.stop().code(), Some(0));
        anna.succeed();
    });
}

#[test]
fn who_is_muted_is_not_heard_until_unmuted() {
    Stage::play("muted", |stage| {
        let server = stage.server("");
        let capture = Capture::start(stage);
        let anna = speak(stage, &server, Voice::Anna, Codec::Pcmu, 18.0);
        let joined = server.wait_for_participants("100", 1);
        let path = format!("/v1/conferences/100/participants/{}", joined[0]["id"]);
        let answer = server.patch(&path, "{\"muted\":true}");
        assert_eq!(
            (answer.status, &answer.json()["muted"]),
            (200, &true.into())
        );
        let ben = speak(stage, &server, Voice::Ben, Codec::Pcmu, 15.0);
        let ben_port = ben.audio_port();
        server.wait_for_participants("100", 2);
        thread::sleep(Duration::from_millis(7500));
        assert_eq!(server.patch(&path, "{\"muted\":false}").status, 200);
        anna.succeed();
        ben.succeed();
        let heard = capture.stop().audio_to(ben_port);
        assert_eq!(heard.between(0.0, 7.0).voices(), [], "while anna is muted");
        assert_eq!(heard.between(8.5, 14.5).voices(), [Voice::Anna], "after");
    });
}

#[test]
fn to_cancel_a_call_that_was_answered_has_no_effect() {
    Stage::play("cancel", |stage| {
        let server = stage.server("");
        let anna = Sipp::new(stage, "anna", "cancel", server.sip)
            .calling("100", 3.0)
            .start();
        server.wait_for_participants("100", 1);
        thread::sleep(Duration::from_secs(1));
        assert_eq!(server.participants("100").len(), 1);
        anna.succeed();
        server.wait_for_participants("100", 0);
    });
}

#[test]
fn to_cancel_what_is_no_call_is_answered_with_481() {
    Stage::play("stray-cancel", |stage| {
        let server = stage.server("");
        Sipp::new(stage, "anna", "request", server.sip)
            .with("CONFERENCE", "100")
            .with("METHOD", "CANCEL")
            .with("STATUS", "481")
            .with("EXPECTED", "481")
            .with("HEADER", "")
            .start()
            .succeed();
    });
}

/// A caller in conference 100 who speaks for some seconds.
fn speak(stage: &Stage, server: &Server, voice: Voice, codec: Codec, seconds: f64) -> RunningSipp {
    Sipp::new(stage, &voice.to_string(), "speak", server.sip)
        .calling("100", seconds)
        .speaking(voice, codec)
        .start()
}
