//! Calls that begin and end.

use std::time::Duration;

use super::*;
use crate::sip::agent::EndedBy;

#[test]
fn a_call_with_an_offer_is_set_up_and_hung_up_by_the_caller() {
    let mut pair = Pair::new();
    let (alice, bob) = pair.established();
    pair.alice.agent.hang_up(pair.now, alice, "done").unwrap();
    pair.settle();
    assert!(
        matches!(pair.alice.next(), Some(Event::Ended { call, by: EndedBy::Local, .. }) if call == alice)
    );
    assert!(
        matches!(pair.bob.next(), Some(Event::Ended { call, by: EndedBy::Remote, .. }) if call == bob)
    );
    assert_eq!(pair.bob.agent.counters().retransmissions_out, 0);
    pair.finish();
}

#[test]
fn the_callee_may_hang_up_too() {
    let mut pair = Pair::new();
    let (_, bob) = pair.established();
    pair.bob.agent.hang_up(pair.now, bob, "kicked").unwrap();
    pair.settle();
    assert!(pair.bob.sent("BYE")[0].contains("Reason: SIP;cause=200;text=\"kicked\""));
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended {
            by: EndedBy::Remote,
            ..
        })
    ));
    pair.finish();
}

#[test]
fn an_invite_without_offer_gets_ours_and_answers_in_the_ack() {
    let mut pair = Pair::new();
    let alice = pair.invite(None);
    match pair.bob.next() {
        Some(Event::Incoming(incoming)) => {
            assert_eq!(incoming.offer, None);
            assert_eq!(incoming.user, "100");
            assert_eq!(incoming.from.user, "alice");
            assert_eq!(incoming.from.display.as_deref(), Some("Alice \"A\""));
            let call = incoming.call;
            pair.bob
                .agent
                .accept(pair.now, call, OFFER.to_owned())
                .unwrap();
        }
        other => panic!("{other:?}"),
    }
    pair.settle();
    pair.alice.skip_progress();
    assert!(
        matches!(pair.alice.next(), Some(Event::ReOffer { offer: Some(offer), .. }) if offer == OFFER)
    );
    pair.run(Duration::from_secs(2));
    let answer = ANSWER.to_owned();
    pair.alice
        .agent
        .accept_reoffer(pair.now, alice, answer)
        .unwrap();
    pair.settle();
    assert!(
        matches!(pair.bob.next(), Some(Event::Established { answer: Some(answer), .. }) if answer == ANSWER)
    );
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn a_call_over_tcp_needs_no_retransmission() {
    let mut pair = Pair::new().tcp();
    let (alice, _) = pair.established();
    assert!(pair.bob.sent("SIP/2.0 200")[0].contains("transport=tcp"));
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.run(Duration::from_secs(40));
    assert_eq!(pair.alice.agent.counters().retransmissions_out, 0);
    assert_eq!(pair.bob.agent.counters().retransmissions_out, 0);
    pair.finish();
}

#[test]
fn a_lost_tcp_connection_ends_a_call_that_is_being_set_up() {
    let mut pair = Pair::new().tcp();
    let alice = pair.invite(Some(OFFER));
    let flow = pair.flow(alice_address(), bob_address());
    pair.alice.agent.on_flow_closed(pair.now, flow);
    pair.collect();
    pair.alice.skip_progress();
    assert!(
        matches!(pair.alice.next(), Some(Event::Ended { call, by: EndedBy::Failed { status: 503 }, .. }) if call == alice)
    );
}

#[test]
fn a_refused_call_tells_the_caller_why() {
    let mut pair = Pair::new();
    pair.invite(Some(OFFER));
    let bob = pair.bob.incoming();
    let headers = [
        ("Retry-After".to_owned(), "30".to_owned()),
        ("Warning".to_owned(), "bad\r\nInjected: yes".to_owned()),
        ("Via".to_owned(), "SIP/2.0/UDP elsewhere".to_owned()),
    ];
    pair.bob
        .agent
        .reject(pair.now, bob, 486, "Conference full", &headers)
        .unwrap();
    pair.settle();
    let refusal = pair.bob.sent("SIP/2.0 486 Conference full\r\n")[0];
    assert!(refusal.contains("Retry-After: 30\r\n"));
    assert!(!refusal.contains("Injected") && !refusal.contains("elsewhere"));
    pair.alice.skip_progress();
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended { by: EndedBy::Failed { status: 486 }, reason, .. }) if reason == "Conference full"
    ));
    assert!(matches!(
        pair.bob.next(),
        Some(Event::Ended {
            by: EndedBy::Local,
            ..
        })
    ));
    pair.finish();
}

#[test]
fn a_ringing_call_can_be_cancelled() {
    let mut pair = Pair::new();
    let alice = pair.invite(Some(OFFER));
    let bob = pair.bob.incoming();
    pair.bob.agent.ring(pair.now, bob).unwrap();
    pair.settle();
    assert!(
        pair.alice
            .events
            .iter()
            .any(|event| matches!(event, Event::Progress { status: 180, .. }))
    );
    pair.alice.events.clear();
    pair.alice
        .agent
        .hang_up(pair.now, alice, "changed my mind")
        .unwrap();
    pair.settle();
    assert_eq!(pair.bob.sent("SIP/2.0 487").len(), 1);
    assert!(matches!(
        pair.bob.next(),
        Some(Event::Ended {
            by: EndedBy::Remote,
            ..
        })
    ));
    assert_eq!(
        pair.bob.agent.accept(pair.now, bob, ANSWER.to_owned()),
        Err(super::super::AgentError::NoSuchCall)
    );
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended {
            by: EndedBy::Local,
            ..
        })
    ));
    pair.finish();
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut pair = Pair::new();
    let alice = pair.invite(Some(OFFER));
    let bob = pair.bob.incoming();
    pair.bob
        .agent
        .accept(pair.now, bob, ANSWER.to_owned())
        .unwrap();
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.settle();
    assert!(matches!(pair.bob.next(), Some(Event::Established { .. })));
    assert!(matches!(
        pair.bob.next(),
        Some(Event::Ended {
            by: EndedBy::Remote,
            ..
        })
    ));
    assert_eq!(pair.alice.sent("ACK").len(), 1);
    assert_eq!(pair.alice.sent("BYE").len(), 1);
    pair.finish();
}

#[test]
fn hanging_up_before_the_ack_waits_for_it_with_the_bye() {
    let mut pair = Pair::new();
    pair.invite(Some(OFFER));
    let bob = pair.bob.incoming();
    pair.bob
        .agent
        .accept(pair.now, bob, ANSWER.to_owned())
        .unwrap();
    pair.bob.agent.hang_up(pair.now, bob, "full").unwrap();
    pair.collect();
    assert!(matches!(pair.bob.next(), Some(Event::Ended { .. })));
    assert!(pair.bob.sent("BYE").is_empty());
    pair.settle();
    assert_eq!(pair.bob.sent("BYE").len(), 1);
    assert_eq!(pair.bob.events.len(), 0);
    pair.finish();
}

#[test]
fn a_2xx_is_repeated_until_patience_ends_with_a_bye() {
    let mut lone = Lone::new();
    let (_, events) = lone.tell(&request("INVITE", "sip:1@b", "1", "", OFFER));
    let Some(Event::Incoming(incoming)) = events.into_iter().next() else {
        panic!();
    };
    lone.agent
        .accept(lone.now, incoming.call, ANSWER.to_owned())
        .unwrap();
    let (mut sent, mut events) = lone.outputs();
    let start = lone.now;
    while let Some(next) = lone.agent.next_timeout() {
        if events
            .iter()
            .any(|event| matches!(event, Event::Ended { .. }))
        {
            break;
        }
        lone.now = next;
        lone.agent.on_timeout(next);
        let (more, told) = lone.outputs();
        sent.extend(more);
        events.extend(told);
    }
    assert_eq!(lone.now - start, Duration::from_secs(32));
    // At 0, 0.5, 1.5, 3.5, then every 4 s up to 31.5.
    assert_eq!(
        sent.iter()
            .filter(|text| text.starts_with("SIP/2.0 200"))
            .count(),
        11
    );
    assert!(
        sent.last()
            .unwrap()
            .starts_with("BYE sip:ann@192.0.2.1 SIP/2.0\r\n")
    );
    assert!(matches!(
        events.as_slice(),
        [Event::Ended {
            by: EndedBy::Timeout,
            ..
        }]
    ));
}

#[test]
fn a_silent_callee_times_out() {
    let mut pair = Pair::new().lossy(1, 1.0);
    pair.invite(Some(OFFER));
    pair.run(Duration::from_secs(40));
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended {
            by: EndedBy::Timeout,
            ..
        })
    ));
    // At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    assert_eq!(pair.alice.sent("INVITE").len(), 7);
    pair.finish();
}

#[test]
fn a_call_nobody_decides_about_is_given_up() {
    let mut pair = Pair::with(|_| {}, |bob| bob.ring_limit = Duration::from_secs(60));
    pair.invite(Some(OFFER));
    pair.bob.incoming();
    pair.run(Duration::from_secs(61));
    assert!(matches!(
        pair.bob.next(),
        Some(Event::Ended {
            by: EndedBy::Timeout,
            ..
        })
    ));
    pair.finish();
}

#[test]
fn route_sets_are_kept_and_followed_in_order() {
    let mut lone = Lone::new();
    let routes = "Record-Route: <sip:192.0.2.50:5070;lr>, <sip:p2.example;lr>\r\n";
    let (_, events) = lone.tell(&request("INVITE", "sip:1@b", "1", routes, OFFER));
    let Some(Event::Incoming(incoming)) = events.into_iter().next() else {
        panic!();
    };
    lone.agent
        .accept(lone.now, incoming.call, ANSWER.to_owned())
        .unwrap();
    let (sent, _) = lone.outputs();
    assert!(sent[0].contains("Record-Route: <sip:192.0.2.50:5070;lr>, <sip:p2.example;lr>\r\n"));
    let tag = sent[0]
        .split(";tag=")
        .nth(2)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    let ack = request("ACK", "sip:1@b", "2", "", "")
        .replace("To: <sip:1@b>", &format!("To: <sip:1@b>;tag={tag}"));
    lone.tell(&ack);
    lone.agent.hang_up(lone.now, incoming.call, "").unwrap();
    let Some(Output::Transmit { flow, bytes }) = lone.agent.poll() else {
        panic!();
    };
    let bye = String::from_utf8(bytes).unwrap();
    assert_eq!(flow.remote, "192.0.2.50:5070".parse().unwrap());
    assert!(bye.starts_with("BYE sip:ann@192.0.2.1 SIP/2.0\r\n"));
    assert!(
        bye.contains("Route: <sip:192.0.2.50:5070;lr>\r\nRoute: <sip:p2.example;lr>\r\n"),
        "{bye}"
    );
}

#[test]
fn a_peer_behind_a_router_is_answered_where_it_was_seen() {
    let mut lone = Lone::new();
    let invite = request("INVITE", "sip:1@b", "1", "", OFFER)
        .replace("UDP 192.0.2.1:5060", "UDP 10.0.0.7:5060")
        .replace(
            "Contact: <sip:ann@192.0.2.1>",
            "Contact: <sip:ann@10.0.0.7>",
        );
    let (_, events) = lone.tell(&invite);
    let Some(Event::Incoming(incoming)) = events.into_iter().next() else {
        panic!();
    };
    lone.agent
        .accept(lone.now, incoming.call, ANSWER.to_owned())
        .unwrap();
    lone.outputs();
    lone.now += Duration::from_secs(32);
    lone.agent.on_timeout(lone.now);
    let bye = std::iter::from_fn(|| lone.agent.poll()).find_map(|output| match output {
        Output::Transmit { flow, bytes } if bytes.starts_with(b"BYE") => Some((flow, bytes)),
        _ => None,
    });
    let (flow, bytes) = bye.unwrap();
    assert_eq!(flow.remote, alice_address());
    assert!(bytes.starts_with(b"BYE sip:ann@10.0.0.7 SIP/2.0\r\n"));
}
