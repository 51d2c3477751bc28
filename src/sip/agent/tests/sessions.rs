//! Session timers.

use std::time::Duration;

use super::*;
use crate::sip::agent::EndedBy;

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_session_is_refreshed_by_update_and_stays_up_for_hours() {
    let mut pair = Pair::new();
    let (alice, _) = pair.established();
    pair.run(3 * HOUR + Duration::from_secs(10));
    assert!(pair.alice.events.is_empty() && pair.bob.events.is_empty());
    // We answered, took the refreshing, and do it at half of 1800 s.
    assert_eq!(pair.bob.sent("UPDATE").len(), 12);
    assert!(pair.alice.sent("UPDATE").is_empty());
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn a_dead_peer_is_noticed_by_the_refresher() {
    let mut pair = Pair::new();
    let (_, bob) = pair.established();
    pair.loss = 1.0;
    pair.run(HOUR);
    assert!(
        matches!(pair.bob.next(), Some(Event::Ended { call, by: EndedBy::Timeout, .. }) if call == bob)
    );
    // And by the other side, which hears nothing any more.
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended {
            by: EndedBy::Timeout,
            ..
        })
    ));
    assert_eq!(pair.alice.agent.counters().sessions_expired, 1);
    pair.finish();
}

#[test]
fn a_peer_without_update_is_refreshed_by_invite_with_the_same_description() {
    let mut lone = Lone::new();
    let timer = "Supported: timer\r\nSession-Expires: 90\r\n";
    lone.tell(&request("INVITE", "sip:1@b", "1", timer, OFFER));
    lone.agent
        .accept(lone.now, CallId(1), ANSWER.to_owned())
        .unwrap();
    let (sent, _) = lone.outputs();
    assert!(sent[0].contains("Session-Expires: 90;refresher=uas\r\n"));
    assert!(sent[0].contains("Require: timer\r\n"));
    let to = sent[0].split("\r\nTo: ").nth(1).unwrap();
    let to = to.lines().next().unwrap();
    let ack = request("ACK", "sip:1@b", "2", "", "").replace("To: <sip:1@b>", &format!("To: {to}"));
    lone.tell(&ack);
    lone.now += Duration::from_secs(45);
    lone.agent.on_timeout(lone.now);
    let (sent, _) = lone.outputs();
    assert!(sent[0].starts_with("INVITE sip:ann@192.0.2.1 SIP/2.0\r\n"));
    assert!(sent[0].contains("refresher=uac\r\n"));
    assert!(sent[0].ends_with(ANSWER));
}

#[test]
fn too_short_an_interval_is_refused_and_asked_for_again_longer() {
    let mut pair = Pair::with(
        |alice| alice.session_expires = Some(Duration::from_secs(100)),
        |bob| bob.min_se = Duration::from_secs(300),
    );
    let (alice, _) = pair.established();
    assert_eq!(pair.bob.sent("SIP/2.0 422").len(), 1);
    assert!(pair.alice.sent("INVITE")[1].contains("Session-Expires: 300\r\n"));
    pair.run(HOUR);
    assert!(pair.alice.events.is_empty());
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn a_peer_that_never_mentioned_timers_gets_none() {
    let mut lone = Lone::new();
    lone.tell(&request("INVITE", "sip:1@b", "1", "", OFFER));
    lone.agent
        .accept(lone.now, CallId(1), ANSWER.to_owned())
        .unwrap();
    assert!(!lone.outputs().0[0].contains("Session-Expires"));
}
