//! Requests that are refused, each as its RFC says.

use super::*;

const URI: &str = "sip:100@192.0.2.2";

#[test]
fn options_says_what_we_can_do() {
    let (sent, _) = Lone::new().tell(&request("OPTIONS", URI, "1", "", ""));
    for line in [
        "SIP/2.0 200 OK",
        "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE",
        "Accept: application/sdp",
        "Supported: timer",
        "Contact: <sip:conference@192.0.2.2:5060>",
        "Server: test",
    ] {
        assert!(
            sent[0].contains(&format!("{line}\r\n")),
            "{line} in {}",
            sent[0]
        );
    }
}

#[test]
fn methods_not_served_get_405_and_unknown_ones_501_with_allow() {
    for (method, status) in [
        ("REGISTER", "SIP/2.0 405"),
        ("SUBSCRIBE", "SIP/2.0 405"),
        ("MESSAGE", "SIP/2.0 405"),
        ("PRACK", "SIP/2.0 405"),
        ("DANCE", "SIP/2.0 501"),
        ("invite", "SIP/2.0 501"),
    ] {
        let (sent, _) = Lone::new().tell(&request(method, URI, "1", "", ""));
        assert!(sent[0].starts_with(status), "{method}: {}", sent[0]);
        assert!(sent[0].contains("Allow: INVITE"), "{method}");
    }
}

#[test]
fn requests_for_calls_that_do_not_exist_get_481() {
    for method in ["BYE", "INFO", "UPDATE", "CANCEL"] {
        let text = request(method, URI, "1", "", "");
        assert!(
            Lone::new().status(&text).starts_with("SIP/2.0 481"),
            "{method}"
        );
        let tagged = text.replace(&format!("To: <{URI}>"), &format!("To: <{URI}>;tag=x"));
        assert!(
            Lone::new().status(&tagged).starts_with("SIP/2.0 481"),
            "{method}"
        );
    }
    let invite = request("INVITE", URI, "1", "", OFFER);
    let tagged = invite.replace(&format!("To: <{URI}>"), &format!("To: <{URI}>;tag=x"));
    assert!(Lone::new().status(&tagged).starts_with("SIP/2.0 481"));
}

#[test]
fn extensions_we_lack_are_named_in_a_420() {
    let require = "Require: 100rel, timer\r\nRequire: nothingSIPWould\r\n";
    let (sent, _) = Lone::new().tell(&request("INVITE", URI, "1", require, OFFER));
    assert!(sent[0].starts_with("SIP/2.0 420 Bad Extension\r\n"));
    assert!(sent[0].contains("Unsupported: 100rel, nothingSIPWould\r\n"));
    let timer = "Require: timer\r\nSupported: 100rel\r\n";
    let (_, events) = Lone::new().tell(&request("INVITE", URI, "1", timer, OFFER));
    assert_eq!(events.len(), 1);
}

#[test]
fn bodies_other_than_sdp_get_415() {
    let invite = request("INVITE", URI, "1", "", "hello").replace("application/sdp", "text/plain");
    let (sent, _) = Lone::new().tell(&invite);
    assert!(sent[0].starts_with("SIP/2.0 415"));
    assert!(sent[0].contains("Accept: application/sdp\r\n"));
}

#[test]
fn uris_of_other_schemes_get_416_and_telephone_numbers_are_dialled() {
    for uri in ["sips:100@192.0.2.2", "nobodyKnowsThisScheme:totallyopaque"] {
        let status = Lone::new().status(&request("INVITE", uri, "1", "", OFFER));
        assert_eq!(status, "SIP/2.0 416 Unsupported URI Scheme");
    }
    for (uri, number) in [
        ("tel:+1-201-555-0123", "+12015550123"),
        ("sip:%34%32@192.0.2.2", "42"),
        ("sip:7;phone-context=x@192.0.2.2", "7"),
        ("sip:192.0.2.2", ""),
    ] {
        let (_, events) = Lone::new().tell(&request("INVITE", uri, "1", "", OFFER));
        match events.as_slice() {
            [Event::Incoming(incoming)] => assert_eq!(incoming.user, number),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_that_came_by_two_paths_is_refused_on_the_second() {
    let mut lone = Lone::new();
    lone.tell(&request("INVITE", URI, "1", "", OFFER));
    let status = lone.status(&request("INVITE", URI, "2", "", OFFER));
    assert_eq!(status, "SIP/2.0 482 Loop Detected");
    // A repetition by the same path is answered as before.
    let (sent, events) = lone.tell(&request("INVITE", URI, "1", "", OFFER));
    assert!(sent[0].starts_with("SIP/2.0 100"));
    assert!(events.is_empty());
    assert_eq!(lone.agent.counters().retransmissions_in, 1);
}

#[test]
fn an_exhausted_max_forwards_does_not_matter_to_an_endpoint() {
    // RFC 4475 section 3.3.11: only a proxy may not forward it.
    let options =
        request("OPTIONS", URI, "1", "", "").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(Lone::new().status(&options), "SIP/2.0 200 OK");
    let without = request("OPTIONS", URI, "1", "", "").replace("Max-Forwards: 70\r\n", "");
    assert_eq!(Lone::new().status(&without), "SIP/2.0 200 OK");
}

#[test]
fn a_full_house_gets_503_with_a_time() {
    let mut lone = Lone::with(|config| config.max_calls = 1);
    lone.tell(&request("INVITE", URI, "1", "", OFFER));
    let second = request("INVITE", URI, "2", "", OFFER).replace("Call-ID: c1", "Call-ID: c2");
    let (sent, events) = lone.tell(&second);
    assert!(sent[0].starts_with("SIP/2.0 503 All calls in use\r\n"));
    assert!(sent[0].contains("Retry-After: 10\r\n"));
    assert!(events.is_empty());
    let options = request("OPTIONS", URI, "3", "", "").replace("Call-ID: c1", "Call-ID: c3");
    assert!(lone.status(&options).starts_with("SIP/2.0 503"));
    assert_eq!(lone.agent.counters().rejected.get(&503), Some(&2));
}

#[test]
fn too_many_transactions_are_refused_without_keeping_anything() {
    let mut lone = Lone::with(|config| config.max_transactions = 2);
    for n in 0..10 {
        let text = request("OPTIONS", URI, &n.to_string(), "", "")
            .replace("Call-ID: c1", &format!("Call-ID: o{n}"));
        let expected = if n < 2 { "SIP/2.0 200" } else { "SIP/2.0 503" };
        assert!(lone.status(&text).starts_with(expected), "{n}");
    }
    assert_eq!(lone.agent.counters().transactions_open, 2);
}

#[test]
fn compact_and_oddly_written_headers_are_read() {
    let invite = format!(
        "INVITE sip:100@192.0.2.2 SIP/2.0\r\nv : SIP / 2.0/UDP\r\n 192.0.2.1 ;branch=z9hG4bKx;RPORT\r\n\
         f: Ann Example <sip:ann@192.0.2.1>;TAG=a\r\nt:sip:100@192.0.2.2\r\ni: c\r\ncseq:  1\tINVITE\r\n\
         m:<sip:ann@192.0.2.1>\r\nmax-FORWARDS: 70\r\nc: Application/SDP\r\nl: {}\r\n\r\n{OFFER}",
        OFFER.len()
    );
    let (sent, events) = Lone::new().tell(&invite);
    match events.as_slice() {
        [Event::Incoming(incoming)] => {
            assert_eq!(incoming.offer.as_deref(), Some(OFFER));
            assert_eq!(incoming.from.display.as_deref(), Some("Ann Example"));
        }
        other => panic!("{other:?} {sent:?}"),
    }
    assert!(
        sent[0].contains(";received=192.0.2.1;rport=5060\r\n"),
        "{}",
        sent[0]
    );
}

#[test]
fn headers_of_interest_reach_the_layer_above() {
    let headers = "User-Agent: phone\r\nX-Room: blue\r\nP-Asserted-Identity: <sip:a@b>\r\nPriority: urgent\r\n";
    let (_, events) = Lone::new().tell(&request("INVITE", URI, "1", headers, OFFER));
    let [Event::Incoming(incoming)] = events.as_slice() else {
        panic!("{events:?}");
    };
    let names: Vec<_> = incoming
        .headers
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["User-Agent", "X-Room", "P-Asserted-Identity"]);
}
