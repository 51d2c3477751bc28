//! What must not stay behind when a peer is careless, vanishes, or means harm.

use std::time::Duration;

use super::*;
use crate::sip::agent::EndedBy;

const URI: &str = "sip:100@192.0.2.2";

#[test]
fn a_nul_in_a_header_is_refused_and_leaves_nothing() {
    let headers = "Record-Route: <sip:192.0.2.3;lr>\r\nSubject: x\r\n";
    for (from, to) in [
        ("To: <", "To: \"a\0b\" <"),
        ("To: <", "To: \"a\\\0b\" <"),
        ("\"Ann\"", "\"A\0n\""),
        ("Call-ID: c1", "Call-ID: c\u{0}1"),
        ("Contact: <", "Contact: \"\0\" <"),
        ("Route: <", "Route: \"\0\" <"),
        ("Subject: x", "Subject: \0"),
        (";branch", ";x=\"\0\";branch"),
    ] {
        for method in ["INVITE", "OPTIONS", "BYE"] {
            let good = request(method, URI, "1", headers, OFFER);
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            let mut lone = Lone::new();
            assert_eq!(lone.status(&bad), "SIP/2.0 400 NUL in a header", "{to:?}");
            assert_empty(lone);
        }
    }
}

#[test]
fn a_response_with_a_nul_in_a_header_is_no_answer() {
    let (mut lone, _, invite) = calling();
    let answer = response(&invite, "200 OK", OFFER);
    let (sent, events) = lone.tell(&answer.replace("To: ", "To: \"\0\" "));
    assert!(sent.is_empty() && events.is_empty(), "{sent:?} {events:?}");
    assert_eq!(lone.agent.counters().malformed, 1);
    let (sent, events) = lone.tell(&answer);
    assert!(sent[0].starts_with("ACK "));
    assert!(matches!(events.as_slice(), [Event::Answered { .. }]));
}

#[test]
fn a_response_that_cannot_be_written_leaves_nothing() {
    for (method, accept) in [("OPTIONS", false), ("INVITE", false), ("INVITE", true)] {
        let mut lone = Lone::with(|config| config.software = "a\nb".to_owned());
        let (sent, events) = lone.tell(&request(method, URI, "1", "", OFFER));
        assert!(sent.is_empty(), "{sent:?}");
        if let [Event::Incoming(incoming)] = events.as_slice() {
            let (now, call) = (lone.now, incoming.call);
            if accept {
                lone.agent.accept(now, call, ANSWER.to_owned()).unwrap();
            } else {
                lone.agent.hang_up(now, call, "").unwrap();
            }
            assert!(matches!(lone.outputs().1.as_slice(), [Event::Ended { .. }]));
        }
        assert_empty(lone);
    }
}

#[test]
fn a_cancelled_invite_without_final_response_leaves_nothing() {
    let (mut lone, call, invite) = calling();
    lone.tell(&response(&invite, "180 Ringing", ""));
    lone.agent.hang_up(lone.now, call, "").unwrap();
    assert!(lone.outputs().0[0].starts_with("CANCEL "));
    assert_empty(lone);
}

#[test]
fn a_cancelled_invite_is_acknowledged_when_its_refusal_comes_late() {
    let (mut lone, call, invite) = calling();
    lone.tell(&response(&invite, "180 Ringing", ""));
    lone.agent.hang_up(lone.now, call, "").unwrap();
    run(&mut lone, Duration::from_secs(40));
    assert_eq!(lone.agent.counters().calls_open, 0);
    let (sent, _) = lone.tell(&response(&invite, "487 Request Terminated", ""));
    assert!(sent[0].starts_with("ACK "), "{sent:?}");
    assert_empty(lone);
}

#[test]
fn a_peer_that_vanishes_after_a_provisional_response_to_a_reinvite_is_noticed() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    let description = OFFER.to_owned();
    pair.alice
        .agent
        .reinvite(pair.now, alice, description)
        .unwrap();
    pair.settle();
    assert_eq!(pair.bob.sent("SIP/2.0 100").len(), 2);
    pair.loss = 1.0;
    pair.run(Duration::from_secs(200));
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended { call, by: EndedBy::Timeout, .. }) if call == alice
    ));
    pair.bob.agent.hang_up(pair.now, bob, "").unwrap();
    pair.finish();
}

#[test]
fn hanging_up_while_a_reinvite_is_worked_on_leaves_nothing() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    let description = OFFER.to_owned();
    pair.alice
        .agent
        .reinvite(pair.now, alice, description)
        .unwrap();
    pair.settle();
    pair.loss = 1.0;
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.bob.agent.hang_up(pair.now, bob, "").unwrap();
    pair.finish();
}

#[test]
fn a_slow_answer_to_a_reinvite_is_waited_for() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    let description = OFFER.to_owned();
    pair.alice
        .agent
        .reinvite(pair.now, alice, description)
        .unwrap();
    pair.run(Duration::from_secs(15));
    pair.bob
        .agent
        .accept_reoffer(pair.now, bob, ANSWER.to_owned())
        .unwrap();
    pair.run(Duration::from_secs(300));
    assert!(matches!(pair.alice.next(), Some(Event::Answered { .. })));
    assert!(pair.alice.events.is_empty(), "{:?}", pair.alice.events);
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn a_tcp_connection_lost_after_the_answer_leaves_the_call_up() {
    let mut pair = Pair::new().tcp();
    let (alice, _) = pair.established();
    let description = OFFER.to_owned();
    for _ in 0..2 {
        let flow = pair.flow(alice_address(), bob_address());
        pair.alice.agent.on_flow_closed(pair.now, flow);
        pair.settle();
        assert!(pair.alice.events.is_empty(), "{:?}", pair.alice.events);
        pair.alice
            .agent
            .reinvite(pair.now, alice, description.clone())
            .unwrap();
        pair.settle();
        let Some(Event::ReOffer { call, .. }) = pair.bob.events.pop_back() else {
            panic!("{:?}", pair.bob.events);
        };
        pair.bob
            .agent
            .accept_reoffer(pair.now, call, ANSWER.to_owned())
            .unwrap();
        pair.settle();
        assert!(matches!(pair.alice.next(), Some(Event::Answered { .. })));
    }
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn an_offer_in_the_answer_nobody_decides_about_ends_the_call() {
    let mut pair = Pair::new();
    let alice = pair.invite(None);
    let bob = pair.bob.incoming();
    pair.bob
        .agent
        .accept(pair.now, bob, OFFER.to_owned())
        .unwrap();
    pair.run(Duration::from_secs(20));
    assert!(matches!(
        pair.alice.events.pop_back(),
        Some(Event::Ended { call, .. }) if call == alice
    ));
    pair.finish();
}

#[test]
fn what_is_answered_for_good_is_remembered_for_repetitions_as_long_as_they_may_come() {
    let mut lone = Lone::new();
    let invite = request("INVITE", URI, "1", "", OFFER);
    let (_, events) = lone.tell(&invite);
    assert!(matches!(events.as_slice(), [Event::Incoming(_)]));
    lone.agent.accept(lone.now, CallId(1), ANSWER).unwrap();
    let (answer, _) = lone.outputs();
    let to = answer[0].lines().find(|line| line.starts_with("To: "));
    let to = to.unwrap();
    let within = |method: &str, sequence: u32| {
        request(method, URI, method, "", "")
            .replace(&format!("To: <{URI}>"), to)
            .replace("CSeq: 1", &format!("CSeq: {sequence}"))
    };

    // The INVITE is swallowed, before the ACK and after it; its CANCEL comes too late.
    assert_eq!(lone.tell(&invite).0.len(), 0);
    let (_, events) = lone.tell(&within("ACK", 1));
    assert!(matches!(events.as_slice(), [Event::Established { .. }]));
    assert_eq!(lone.tell(&invite).0.len(), 0);
    assert_eq!(lone.tell(&within("ACK", 1)).0.len(), 0);
    assert_eq!(lone.agent.counters().retransmissions_in, 3);
    let (sent, events) = lone.tell(&request("CANCEL", URI, "1", "", ""));
    assert!(sent[0].starts_with("SIP/2.0 200 OK\r\n") && sent[0].contains(to));
    assert!(events.is_empty());
    let detour = request("INVITE", URI, "2", "", OFFER);
    assert_eq!(lone.status(&detour), "SIP/2.0 482 Loop Detected");

    // The BYE is answered as it was.
    let bye = within("BYE", 2);
    let (first, events) = lone.tell(&bye);
    assert!(first[0].starts_with("SIP/2.0 200 OK\r\n"));
    assert!(matches!(events.as_slice(), [Event::Ended { .. }]));
    run(&mut lone, Duration::from_secs(31));
    let (again, events) = lone.tell(&bye);
    assert_eq!(again, first);
    assert!(events.is_empty());
    assert_eq!(lone.tell(&invite).0.len(), 0);

    run(&mut lone, Duration::from_secs(2));
    assert_eq!(
        lone.status(&bye),
        "SIP/2.0 481 Call/Transaction Does Not Exist"
    );
    let (_, events) = lone.tell(&invite);
    assert!(matches!(events.as_slice(), [Event::Incoming(_)]));
}

/// An agent that calls Ann, its call and its INVITE.
fn calling() -> (Lone, CallId, String) {
    let mut lone = Lone::new();
    let invite = InviteRequest {
        target: "sip:ann@192.0.2.1".to_owned(),
        flow: Flow::udp(bob_address(), alice_address()),
        user: "bob".to_owned(),
        display: None,
        sdp: Some(OFFER.to_owned()),
        credentials: None,
        headers: Vec::new(),
    };
    let call = lone.agent.invite(lone.now, invite).unwrap();
    let sent = lone.outputs().0.swap_remove(0);
    (lone, call, sent)
}

/// A response to a request of ours.
fn response(request: &str, status: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines() {
        let name = line.split(':').next().unwrap();
        if ["Via", "From", "Call-ID", "CSeq"].contains(&name) {
            text += &format!("{line}\r\n");
        } else if name == "To" {
            text += &format!("{line};tag=ann\r\n");
        }
    }
    let contact = "Contact: <sip:ann@192.0.2.1>\r\nContent-Type: application/sdp\r\n";
    format!(
        "{text}{contact}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Lets an agent do what is due.
fn run(lone: &mut Lone, duration: Duration) {
    let until = lone.now + duration;
    while let Some(next) = lone.agent.next_timeout().filter(|next| *next <= until) {
        lone.now = lone.now.max(next);
        lone.agent.on_timeout(lone.now);
        lone.outputs();
    }
    lone.now = until;
}

/// Proves that an agent forgets everything by itself.
fn assert_empty(mut lone: Lone) {
    run(&mut lone, Duration::from_secs(120));
    let counters = lone.agent.counters();
    assert_eq!((counters.calls_open, counters.transactions_open), (0, 0));
    assert_eq!(lone.agent.next_timeout(), None);
    assert!(lone.agent.exchanges.is_empty() && lone.agent.merges.is_empty());
}
