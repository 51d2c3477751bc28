//! Callers who have to say who they are.

use std::collections::HashMap;

use super::*;
use crate::sip::agent::EndedBy;
use crate::sip::digest::{Credentials, DigestConfig, Secret};

fn guarded() -> Pair {
    Pair::with(
        |_| {},
        |bob| {
            let users = HashMap::from([("ann".to_owned(), Secret::Password("secret".to_owned()))]);
            bob.digest = Some(DigestConfig::new("conferences", users));
        },
    )
}

fn call_as(pair: &mut Pair, user: &str, password: &str) -> CallId {
    let mut request = pair.request(Some(OFFER));
    request.credentials = Some(Credentials {
        user: user.to_owned(),
        password: password.to_owned(),
    });
    let call = pair.alice.agent.invite(pair.now, request).unwrap();
    pair.settle();
    call
}

#[test]
fn who_knows_the_password_gets_in() {
    let mut pair = guarded();
    let alice = call_as(&mut pair, "ann", "secret");
    match pair.bob.next() {
        Some(Event::Incoming(incoming)) => {
            assert_eq!(incoming.authenticated.as_deref(), Some("ann"));
            let call = incoming.call;
            pair.bob
                .agent
                .accept(pair.now, call, ANSWER.to_owned())
                .unwrap();
        }
        other => panic!("{other:?}"),
    }
    pair.settle();
    let challenge = pair.bob.sent("SIP/2.0 401")[0];
    assert!(challenge.find("SHA-256") < challenge.find("MD5"));
    assert!(pair.alice.sent("INVITE")[1].contains("algorithm=SHA-256"));
    // The ACK for the 2xx shows the same credentials.
    assert!(pair.alice.sent("ACK")[1].contains("Authorization: Digest username=\"ann\""));
    pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
    pair.finish();
}

#[test]
fn a_wrong_password_is_refused_once_and_not_tried_again() {
    let mut pair = guarded();
    call_as(&mut pair, "ann", "guess");
    assert!(pair.bob.events.is_empty());
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended {
            by: EndedBy::Failed { status: 401 },
            ..
        })
    ));
    assert_eq!(pair.alice.sent("INVITE").len(), 2);
    assert_eq!(pair.bob.agent.counters().credentials_refused, 1);
    pair.finish();
}

#[test]
fn without_credentials_the_call_fails_and_nothing_is_kept() {
    let mut pair = guarded();
    pair.invite(Some(OFFER));
    assert!(matches!(
        pair.alice.next(),
        Some(Event::Ended {
            by: EndedBy::Failed { status: 401 },
            ..
        })
    ));
    assert_eq!(pair.bob.agent.counters().calls_in, 0);
    pair.finish();
}
