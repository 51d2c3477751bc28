//! Changes of a session that is up.

use std::time::Duration;

use super::*;
use crate::sip::agent::{AgentError, EndedBy};

const HOLD: &str = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n";

#[test]
fn a_reinvite_changes_the_session() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    pair.alice
        .agent
        .reinvite(pair.now, alice, HOLD.to_owned())
        .unwrap();
    pair.settle();
    assert!(
        matches!(pair.bob.next(), Some(Event::ReOffer { offer: Some(offer), .. }) if offer == HOLD)
    );
    pair.bob
        .agent
        .accept_reoffer(pair.now, bob, ANSWER.to_owned())
        .unwrap();
    pair.run(Duration::from_secs(40));
    assert!(matches!(pair.alice.next(), Some(Event::Answered { .. })));
    assert!(pair.alice.events.is_empty() && pair.bob.events.is_empty());
    assert_eq!(pair.alice.sent("ACK").len(), 2);
    assert_eq!(pair.bob.agent.counters().retransmissions_out, 0);
    pair.bob.agent.hang_up(pair.now, bob, "").unwrap();
    pair.finish();
}

#[test]
fn a_refused_reinvite_leaves_the_call_up() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    pair.bob
        .agent
        .reinvite(pair.now, bob, HOLD.to_owned())
        .unwrap();
    pair.settle();
    pair.alice.next();
    pair.alice
        .agent
        .reject_reoffer(pair.now, alice, 488, "")
        .unwrap();
    pair.settle();
    assert!(matches!(
        pair.bob.next(),
        Some(Event::ReOfferRefused { status: 488, .. })
    ));
    assert_eq!(
        pair.alice
            .agent
            .accept_reoffer(pair.now, alice, ANSWER.to_owned()),
        Err(AgentError::WrongState)
    );
    pair.bob.agent.hang_up(pair.now, bob, "").unwrap();
    pair.finish();
}

#[test]
fn offers_that_cross_are_refused_and_both_come_through_later() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    pair.alice
        .agent
        .reinvite(pair.now, alice, HOLD.to_owned())
        .unwrap();
    pair.bob
        .agent
        .reinvite(pair.now, bob, HOLD.to_owned())
        .unwrap();
    pair.settle();
    assert_eq!(pair.alice.sent("SIP/2.0 491").len(), 1);
    assert_eq!(pair.bob.sent("SIP/2.0 491").len(), 1);
    let mut answered = 0;
    for _ in 0..100 {
        pair.run(Duration::from_millis(100));
        for end in [&mut pair.alice, &mut pair.bob] {
            match end.next() {
                Some(Event::ReOffer { call, .. }) => {
                    end.agent
                        .accept_reoffer(pair.now, call, ANSWER.to_owned())
                        .unwrap();
                }
                Some(Event::Answered { .. }) => answered += 1,
                None => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(answered, 2);
    pair.bob.agent.hang_up(pair.now, bob, "").unwrap();
    pair.finish();
}

#[test]
fn an_offer_made_too_early_waits() {
    let mut pair = Pair::new();
    let alice = pair.invite(Some(OFFER));
    let bob = pair.bob.incoming();
    assert_eq!(
        pair.bob.agent.reinvite(pair.now, bob, HOLD.to_owned()),
        Err(AgentError::WrongState)
    );
    pair.bob
        .agent
        .accept(pair.now, bob, ANSWER.to_owned())
        .unwrap();
    pair.bob
        .agent
        .reinvite(pair.now, bob, HOLD.to_owned())
        .unwrap();
    pair.collect();
    assert!(pair.bob.sent("INVITE").is_empty());
    pair.settle();
    assert_eq!(pair.bob.sent("INVITE").len(), 1);
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn a_reinvite_nobody_decides_about_is_refused() {
    let mut pair = Pair::new();
    let (alice, _) = pair.established();
    pair.alice
        .agent
        .reinvite(pair.now, alice, HOLD.to_owned())
        .unwrap();
    pair.run(Duration::from_secs(17));
    assert!(matches!(
        pair.alice.next(),
        Some(Event::ReOfferRefused { status: 500, .. })
    ));
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn hanging_up_answers_an_open_reinvite() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    pair.alice
        .agent
        .reinvite(pair.now, alice, HOLD.to_owned())
        .unwrap();
    pair.settle();
    pair.bob.agent.hang_up(pair.now, bob, "").unwrap();
    pair.settle();
    assert_eq!(pair.bob.sent("SIP/2.0 487").len(), 1);
    assert_eq!(pair.alice.events.len(), 1, "{:?}", pair.alice.events);
    pair.finish();
}

#[test]
fn a_second_reinvite_while_one_is_open_gets_500_with_a_time() {
    let (mut lone, tag) = up();
    let (sent, events) = lone.tell(&within("INVITE", &tag, 3, OFFER));
    assert!(sent[0].starts_with("SIP/2.0 100"));
    assert!(matches!(events.as_slice(), [Event::ReOffer { .. }]));
    let (sent, events) = lone.tell(&within("INVITE", &tag, 4, OFFER));
    assert!(sent[0].starts_with("SIP/2.0 500 Another request is open\r\n"));
    assert!(sent[0].contains("Retry-After: "));
    assert!(events.is_empty());
    let (sent, _) = lone.tell(&within("INVITE", &tag, 2, OFFER));
    assert!(sent[0].starts_with("SIP/2.0 500 CSeq out of order\r\n"));
}

#[test]
fn a_reinvite_without_offer_asks_for_ours() {
    let (mut lone, tag) = up();
    let (_, events) = lone.tell(&within("INVITE", &tag, 3, ""));
    let [Event::ReOffer { call, offer: None }] = events.as_slice() else {
        panic!("{events:?}");
    };
    lone.agent
        .accept_reoffer(lone.now, *call, OFFER.to_owned())
        .unwrap();
    assert!(lone.outputs().0[0].ends_with(OFFER));
    let ack = within("ACK", &tag, 3, ANSWER);
    let (_, events) = lone.tell(&ack);
    assert!(matches!(events.as_slice(), [Event::Answered { answer, .. }] if answer == ANSWER));
    // Its repetition says nothing new.
    assert!(lone.tell(&ack).1.is_empty());
}

#[test]
fn an_update_with_an_offer_is_a_reoffer_and_without_one_only_a_refresh() {
    let (mut lone, tag) = up();
    let (sent, events) = lone.tell(&within("UPDATE", &tag, 3, ""));
    assert!(sent[0].starts_with("SIP/2.0 200"));
    assert!(events.is_empty());
    let (sent, events) = lone.tell(&within("UPDATE", &tag, 4, OFFER));
    assert!(sent.is_empty());
    let [Event::ReOffer { call, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    lone.agent
        .accept_reoffer(lone.now, *call, ANSWER.to_owned())
        .unwrap();
    assert!(lone.outputs().0[0].ends_with(ANSWER));
    lone.agent
        .reinvite(lone.now, *call, HOLD.to_owned())
        .unwrap();
    assert!(lone.outputs().0[0].starts_with("INVITE sip:ann@192.0.2.1 SIP/2.0\r\n"));
    let status = lone.status(&within("UPDATE", &tag, 5, OFFER));
    assert_eq!(status, "SIP/2.0 491 Request Pending");
}

#[test]
fn a_cancelled_reinvite_leaves_the_call_up() {
    let (mut lone, tag) = up();
    lone.tell(&within("INVITE", &tag, 3, OFFER));
    let cancel = within("CANCEL", &tag, 3, "").replace("z9hG4bKCANCEL3", "z9hG4bKINVITE3");
    let (sent, events) = lone.tell(&cancel);
    assert!(sent[0].starts_with("SIP/2.0 200"));
    assert!(sent[1].starts_with("SIP/2.0 487"));
    assert!(events.is_empty());
    assert_eq!(
        lone.status(&within("OPTIONS", &tag, 4, "")),
        "SIP/2.0 200 OK"
    );
}

#[test]
fn an_offer_that_waited_for_a_reinvite_follows_when_that_is_cancelled() {
    let (mut lone, tag) = up();
    lone.tell(&within("INVITE", &tag, 3, OFFER));
    lone.agent
        .reinvite(lone.now, CallId(1), HOLD.to_owned())
        .unwrap();
    assert!(lone.outputs().0.is_empty());
    let cancel = within("CANCEL", &tag, 3, "").replace("z9hG4bKCANCEL3", "z9hG4bKINVITE3");
    let (sent, _) = lone.tell(&cancel);
    assert!(sent[2].starts_with("INVITE ") && sent[2].ends_with(HOLD));
}

#[test]
fn a_new_contact_is_where_later_requests_go() {
    let (mut lone, tag) = up();
    let moved = within("UPDATE", &tag, 3, "").replace(
        "<sip:ann@192.0.2.1>\r\nCon",
        "<sip:ann@192.0.2.9:5099>\r\nCon",
    );
    assert!(moved.contains("192.0.2.9"));
    lone.tell(&moved);
    let call = CallId(1);
    lone.agent.hang_up(lone.now, call, "").unwrap();
    let Some(Output::Transmit { flow, bytes }) = lone.agent.poll() else {
        panic!();
    };
    assert!(bytes.starts_with(b"BYE sip:ann@192.0.2.9:5099 SIP/2.0\r\n"));
    assert_eq!(flow.remote, "192.0.2.9:5099".parse().unwrap());
}

#[test]
fn keys_pressed_arrive_by_info() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    pair.alice
        .agent
        .send_info_dtmf(pair.now, alice, '#', 120)
        .unwrap();
    pair.settle();
    assert!(
        matches!(pair.bob.next(), Some(Event::Dtmf { call, digit: '#', duration_ms: 120 }) if call == bob)
    );
    let (mut lone, tag) = up();
    let info = within("INFO", &tag, 3, "9").replace("application/sdp", "application/dtmf");
    assert!(matches!(
        lone.tell(&info).1.as_slice(),
        [Event::Dtmf { digit: '9', .. }]
    ));
    let picture = within("INFO", &tag, 4, "x").replace("application/sdp", "application/x");
    assert_eq!(lone.status(&picture), "SIP/2.0 415 Unsupported Media Type");
    let package = within("INFO", &tag, 5, "").replace("Content-L", "Info-Package: x\r\nContent-L");
    assert_eq!(lone.status(&package), "SIP/2.0 469 Bad Info Package");
}

#[test]
fn a_call_the_peer_forgot_ends() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    pair.bob.agent.finish(pair.now, bob, EndedBy::Local, "");
    pair.alice
        .agent
        .reinvite(pair.now, alice, HOLD.to_owned())
        .unwrap();
    pair.settle();
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended {
            by: EndedBy::Failed { status: 481 },
            ..
        })
    ));
    pair.finish();
}

/// A call that is up, made by hand, and our tag.
fn up() -> (Lone, String) {
    let mut lone = Lone::new();
    let (_, events) = lone.tell(&request("INVITE", "sip:1@b", "1", "", OFFER));
    assert!(matches!(events.as_slice(), [Event::Incoming(_)]));
    lone.agent
        .accept(lone.now, CallId(1), ANSWER.to_owned())
        .unwrap();
    let (sent, _) = lone.outputs();
    let to = sent[0].split("\r\nTo: ").nth(1).unwrap();
    let tag = to.split("tag=").nth(1).unwrap().lines().next().unwrap();
    let (_, events) = lone.tell(&within("ACK", tag, 1, ""));
    assert!(matches!(events.as_slice(), [Event::Established { .. }]));
    // So that a lower sequence number can be seen as old.
    lone.tell(&within("OPTIONS", tag, 3, ""));
    (lone, tag.to_owned())
}

/// A request inside the call of [`up`]; its branch is the method and the number.
fn within(method: &str, tag: &str, sequence: u32, body: &str) -> String {
    request(method, "sip:1@b", &format!("{method}{sequence}"), "", body)
        .replace("To: <sip:1@b>", &format!("To: <sip:1@b>;tag={tag}"))
        .replace("CSeq: 1 ", &format!("CSeq: {sequence} "))
}
