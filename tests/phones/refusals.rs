//! Calls that cannot be served get the right status, and requests that are no calls their answers.

use crate::peer::Sipp;
use crate::stage::Stage;

const PCMU: (&str, &str) = ("0", "a=rtpmap:0 PCMU/8000");

#[test]
fn a_call_with_no_common_codec_is_refused_with_488() {
    let offer = ("3 18", "a=rtpmap:3 GSM/8000\na=rtpmap:18 G729/8000");
    assert_refused("no-codec", "", "100", offer, "488");
}

#[test]
fn a_call_to_a_locked_conference_is_refused_with_403() {
    let configuration = "[[conference]]\nname = \"100\"\nlocked = true\n";
    assert_refused("locked", configuration, "100", PCMU, "403");
}

#[test]
fn a_call_to_a_number_that_is_not_configured_is_refused_with_404_where_that_matters() {
    let configuration = "[conferences]\nallow_unknown = false\n[[conference]]\nname = \"100\"\n";
    assert_refused("unknown", configuration, "101", PCMU, "404");
}

#[test]
fn a_call_to_a_full_conference_is_refused_with_486_and_taken_when_somebody_left() {
    Stage::play("full", |stage| {
        let server = stage.server("[[conference]]\nname = \"100\"\nmax_participants = 1\n");
        let anna = Sipp::new(stage, "anna", "silent", server.sip)
            .calling("100", 4.0)
            .start();
        server.wait_for_participants("100", 1);
        let ben = refused(stage, "ben", server.sip, "100", PCMU, "486");
        assert_reason(&ben, "486");
        anna.succeed();
        server.wait_for_participants("100", 0);
        Sipp::new(stage, "calum", "silent", server.sip)
            .calling("100", 0.5)
            .start()
            .succeed();
    });
}

#[test]
fn options_tell_what_the_server_can() {
    for transport in ["udp", "tcp"] {
        Stage::play(&format!("options-{transport}"), |stage| {
            let server = stage.server("");
            let mut options = request(
                stage,
                "anna",
                server.sip,
                "OPTIONS",
                "200",
                "Allow: .*INVITE",
            );
            if transport == "tcp" {
                options = options.over_tcp();
            }
            let messages = options.start().succeed();
            for header in ["Allow:", "Accept:", "application/sdp"] {
                assert!(messages.contains(header), "{header} in\n{messages}");
            }
        });
    }
}

#[test]
fn a_method_that_is_not_served_is_answered_with_405_and_one_that_nobody_knows_with_501() {
    Stage::play("unknown-method", |stage| {
        let server = stage.server("");
        for (name, method, status) in [("anna", "REGISTER", "405"), ("ben", "FROBNICATE", "501")] {
            request(stage, name, server.sip, method, status, "Allow: .*INVITE")
                .start()
                .succeed();
        }
    });
}

#[test]
fn a_bye_for_no_call_is_answered_with_481() {
    Stage::play("stray-bye", |stage| {
        let server = stage.server("");
        request(stage, "anna", server.sip, "BYE", "481", "481")
            .start()
            .succeed();
    });
}

#[test]
fn an_extension_that_is_required_and_unknown_is_refused_with_420() {
    Stage::play("required", |stage| {
        let server = stage.server("");
        request(
            stage,
            "anna",
            server.sip,
            "OPTIONS",
            "420",
            "Unsupported: teleport",
        )
        .with("HEADER", "\nRequire: teleport")
        .start()
        .succeed();
    });
}

fn assert_refused(name: &str, config: &str, conference: &str, offer: (&str, &str), status: &str) {
    Stage::play(name, |stage| {
        let server = stage.server_that_talks(config);
        let messages = refused(stage, "anna", server.sip, conference, offer, status);
        assert_reason(&messages, status);
        assert!(server.participants(conference).is_empty());
    });
}

/// A call that is refused: the messages.
fn refused(
    stage: &Stage,
    name: &str,
    server: std::net::SocketAddr,
    conference: &str,
    (types, maps): (&str, &str),
    status: &str,
) -> String {
    Sipp::new(stage, name, "refused", server)
        .with("CONFERENCE", conference)
        .with("PTS", types)
        .with("RTPMAPS", maps)
        .with("STATUS", status)
        .start()
        .succeed()
}

/// One refusal with a reason in words.
#[track_caller]
fn assert_reason(messages: &str, status: &str) {
    let start = format!("SIP/2.0 {status} ");
    let reasons: Vec<&str> = messages
        .lines()
        .filter_map(|line| line.strip_prefix(&start))
        .collect();
    assert_eq!(reasons.len(), 1, "refusals: {reasons:?} in\n{messages}");
    assert!(reasons[0].trim().len() > 3, "{reasons:?}");
}

fn request(
    stage: &Stage,
    name: &str,
    server: std::net::SocketAddr,
    method: &str,
    status: &str,
    expected: &str,
) -> Sipp {
    Sipp::new(stage, name, "request", server)
        .with("CONFERENCE", "100")
        .with("METHOD", method)
        .with("STATUS", status)
        .with("EXPECTED", expected)
        .with("HEADER", "")
}
