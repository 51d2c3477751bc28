//! What phones do, and what they hear of it.

use std::time::{Duration, Instant};

use unisono::conference::Settings;
use unisono::config::Conference;
use unisono::sip::{EndedBy, Event};

use crate::support::*;

const A: f64 = 500.0;
const B: f64 = 1500.0;

#[tokio::test(flavor = "multi_thread")]
async fn two_callers_hear_each_other_and_not_themselves() {
    let server = server(|_| {}).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    let mut b = Phone::call(&server, "100").await.unwrap();
    let mut elsewhere = Phone::call(&server, "200").await.unwrap();
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B)), (&mut elsewhere, None)]).await;
    assert!(a.hears(B) && !a.hears(A));
    assert!(b.hears(A) && !b.hears(B));
    assert!(elsewhere.loudness() < 1.0, "{}", elsewhere.loudness());

    a.exchange.sip.hang_up(a.call, "").await.unwrap();
    listen_to(&mut [(&mut b, Some(B))]).await;
    assert!(b.loudness() < 1.0);
    server.stop().await;
}

/// One of them speaks until all the others hear it, and it does not hear itself.
async fn hear_alone(phones: &mut [Phone], tones: &[f64], talker: usize) {
    let began = Instant::now();
    loop {
        let each = phones.iter_mut().zip(tones).enumerate();
        let mut said: Vec<_> = each
            .map(|(n, (phone, tone))| (phone, (n == talker).then_some(*tone)))
            .collect();
        listen_to(&mut said).await;
        assert!(
            !phones[talker].hears(tones[talker]),
            "{talker} hears itself"
        );
        let mut others = phones.iter().enumerate().filter(|(n, _)| *n != talker);
        if others.all(|(_, phone)| phone.hears(tones[talker])) {
            return;
        }
        assert!(
            began.elapsed() < 3 * PATIENCE,
            "{talker} is not heard by all"
        );
    }
}

/// Workers differ in who is on them, and in nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_conference_over_two_workers_is_one_to_those_in_it() {
    const TONES: [f64; 5] = [500.0, 800.0, 1100.0, 1500.0, 2000.0];
    let server = server(|config| {
        config.media.workers = 2;
        config.media.split_above = 2;
    })
    .await;
    let mut phones = Vec::new();
    for _ in TONES {
        phones.push(Phone::call(&server, "100").await.unwrap());
    }
    until(&server, |o| {
        (o.participants, o.rooms, o.parts, o.split) == (5, 1, 2, 1)
    })
    .await;
    for talker in 0..TONES.len() {
        hear_alone(&mut phones, &TONES, talker).await;
    }
    let all = participants(&server, "100").await;
    assert_eq!(all.len(), 5);
    let path = format!("PATCH /v1/conferences/100/participants/{}", all[0]);
    assert_eq!(http(&server, &path, r#"{"muted": true}"#).await.status, 200);
    // Whoever is muted is heard on neither worker, so that only the other of two talkers is.
    for phone in &mut phones {
        phone.forget();
    }
    for _ in 0..25 {
        let each = phones.iter_mut().zip(TONES).enumerate();
        let mut said: Vec<_> = each
            .map(|(n, (phone, tone))| (phone, (n < 2).then_some(tone)))
            .collect();
        talk(&mut said, 20).await;
    }
    assert!(phones.iter().all(|phone| !phone.hears(TONES[0])));
    hear_alone(&mut phones, &TONES, 1).await;

    // Those of one worker leave: the conference goes on, in one part.
    for n in [0, 1, 4] {
        let phone = &phones[n];
        phone.exchange.sip.hang_up(phone.call, "").await.unwrap();
    }
    until(&server, |o| {
        (o.participants, o.rooms, o.parts, o.split) == (2, 1, 1, 0)
    })
    .await;
    let mut rest: Vec<Phone> = phones.drain(2..4).collect();
    hear_alone(&mut rest, &TONES[2..4], 1).await;
    let ended = http(&server, "DELETE /v1/conferences/100", "").await;
    assert_eq!(ended.status, 204);
    until(&server, |o| (o.legs, o.rooms, o.parts) == (0, 0, 0)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_charge_mutes_deafens_and_removes() {
    let server = server(|_| {}).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    let mut b = Phone::call(&server, "100").await.unwrap();
    until(&server, |o| o.participants == 2).await;
    let id = participants(&server, "100").await[0];
    let path = format!("/v1/conferences/100/participants/{id}");

    let muted = http(&server, &format!("PATCH {path}"), r#"{"muted": true}"#).await;
    assert_eq!((muted.status, &muted.json()["muted"]), (200, &true.into()));
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B))]).await;
    assert!(b.loudness() < 1.0 && a.hears(B));

    let deaf = r#"{"muted": false, "deaf": true, "input_gain_db": -6}"#;
    let deaf = http(&server, &format!("PATCH {path}"), deaf).await;
    assert_eq!(deaf.json()["media"]["input_gain_db"], -6.0);
    // The spoken "unmuted" is over after this.
    talk(&mut [(&mut a, None), (&mut b, None)], 2500).await;
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B))]).await;
    assert!(b.hears(A) && !a.hears(B));
    assert!((b.loudness() - 2830.0).abs() < 300.0, "{}", b.loudness());

    a.forget();
    let kicked = http(&server, &format!("DELETE {path}"), "").await;
    assert_eq!((kicked.status, body(&kicked.text)), (204, ""));
    let again = http(&server, &format!("DELETE {path}"), "").await;
    assert_eq!(again.status, 404);
    // It is told so first, by a voice, and then hung up.
    talk(&mut [(&mut a, None)], 600).await;
    assert!(a.loudness() > 100.0, "{}", a.loudness());
    assert!(a.exchange.events.is_empty());
    assert_eq!(a.end().await, EndedBy::Remote);
    until(&server, |o| o.calls == 1 && o.legs == 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_joins_a_locked_conference_and_those_in_it_are_told() {
    let server = server(|_| {}).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    until(&server, |o| o.participants == 1).await;
    let lock = |locked: bool| format!(r#"{{"locked": {locked}}}"#);
    let locked = http(&server, "PATCH /v1/conferences/100", &lock(true)).await;
    assert_eq!(locked.json()["locked"], true);
    talk(&mut [(&mut a, None)], 800).await;
    assert!(a.loudness() > 100.0);
    let refused = Phone::call(&server, "100").await.unwrap_err();
    assert_eq!(refused.0, 403);
    http(&server, "PATCH /v1/conferences/100", &lock(false)).await;
    Phone::call(&server, "100").await.unwrap();

    let ended = http(&server, "DELETE /v1/conferences/100", "").await;
    assert_eq!(ended.status, 204);
    assert_eq!(a.end().await, EndedBy::Remote);
    until(&server, |o| o.conferences == 0 && o.legs == 0).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pin_is_asked_for_and_three_wrong_ones_end_the_call() {
    let server = server(|config| {
        config.conferences.push(Conference {
            name: "100".into(),
            settings: Settings {
                pin: Some("4711".into()),
                announce_only_person: false,
                ..Settings::default()
            },
        });
    })
    .await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    talk(&mut [(&mut a, None)], 600).await;
    assert!(a.loudness() > 100.0, "the prompt");
    a.press('4').await;
    a.listen_on(300).await;
    a.forget();
    a.listen_on(300).await;
    assert!(a.loudness() < 1.0, "a key stops the prompt");
    for key in ['7', '1', '1'] {
        a.press(key).await;
    }
    until(&server, |o| o.participants == 1).await;

    let mut b = Phone::call(&server, "100").await.unwrap();
    until(&server, |o| o.calls == 2).await;
    for _ in 0..3 {
        for key in "0000".chars() {
            let sent = b.exchange.sip.send_info_dtmf(b.call, key, 100).await;
            sent.unwrap();
        }
    }
    let answer = http(&server, "GET /v1/conferences/100", "").await.json();
    assert_eq!(answer["participants"], 1);
    b.forget();
    talk(&mut [(&mut b, None)], 600).await;
    assert!(b.loudness() > 100.0, "told that it was wrong");
    assert_eq!(b.end().await, EndedBy::Remote);
    until(&server, |o| o.calls == 1 && o.legs == 1).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_on_hold_neither_hears_nor_is_heard() {
    let server = server(|_| {}).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    let mut b = Phone::call(&server, "100").await.unwrap();
    let answer = a.offer(2, "sendonly").await;
    assert!(answer.contains("a=recvonly"), "{answer}");
    // Its music on hold.
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B))]).await;
    assert!(a.heard.is_empty() && b.loudness() < 1.0);
    let held = http(&server, "GET /v1/conferences/100/participants", "").await;
    assert_eq!(held.json()["participants"][0]["media"]["on_hold"], true);

    let answer = a.offer(3, "sendrecv").await;
    assert!(answer.contains("a=sendrecv"), "{answer}");
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B))]).await;
    assert!(a.hears(B) && b.hears(A));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_offer_is_offered_and_hears() {
    let server = server(|_| {}).await;
    let mut a = Phone::call_without_offer(&server, "100").await;
    let mut b = Phone::call(&server, "100").await.unwrap();
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B))]).await;
    assert!(a.hears(B) && b.hears(A));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_an_offer_that_was_asked_for_moves_the_audio() {
    let server = server(|_| {}).await;
    let mut raw = RawPhone::new(&server, "100").await;
    let first = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let second = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let sdp = |socket: &tokio::net::UdpSocket, version| {
        description(socket.local_addr().unwrap().port(), version, "sendrecv")
    };
    let answer = raw.invite(&sdp(&first, 1)).await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    raw.acknowledge("").await;
    let mut datagram = [0; 2048];
    tokio::time::timeout(PATIENCE, first.recv(&mut datagram))
        .await
        .unwrap()
        .unwrap();

    // As a transfer by a switch does it: the offer is asked for, and answered with somebody else's address.
    let offer = raw.invite("").await;
    assert!(offer.starts_with("SIP/2.0 200"), "{offer}");
    assert_eq!(audio_port(body(&offer)), audio_port(body(&answer)));
    raw.acknowledge(&sdp(&second, 2)).await;
    tokio::time::timeout(PATIENCE, second.recv(&mut datagram))
        .await
        .expect("audio at the new address")
        .unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_served_is_told_why() {
    let server = server(|config| {
        config.media.max_legs = 2;
        config.policy.defaults.max_participants = 1;
    })
    .await;
    let _a = Phone::call(&server, "100").await.unwrap();
    assert_eq!(Phone::call(&server, "100").await.unwrap_err().0, 486);
    assert_eq!(Phone::call(&server, "no%20name").await.unwrap_err().0, 404);

    let mut raw = RawPhone::new(&server, "200").await;
    let g729 = description(30_000, 1, "sendrecv").replace("AVP 0 101", "AVP 18");
    let refused = raw.invite(&g729).await;
    assert!(refused.starts_with("SIP/2.0 488"), "{refused}");
    let warning = header(&refused, "Warning").unwrap();
    assert!(
        warning.starts_with("305 127.0.0.1 \"no common codec"),
        "{warning}"
    );
    let mut raw = RawPhone::new(&server, "200").await;
    let refused = raw.invite("this is no session description").await;
    assert!(refused.starts_with("SIP/2.0 400"), "{refused}");

    let _b = Phone::call(&server, "200").await.unwrap();
    let mut raw = RawPhone::new(&server, "300").await;
    let refused = raw.invite(&description(30_000, 1, "sendrecv")).await;
    assert!(refused.starts_with("SIP/2.0 503"), "{refused}");
    assert!(header(&refused, "Retry-After").is_some());
    until(&server, |o| o.calls == 2 && o.legs == 2 && o.rooms == 2).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_phone_is_asked_and_one_that_is_gone_is_hung_up() {
    let server = server(|config| {
        config.media.silence_check = Some(Duration::from_millis(800));
    })
    .await;
    let mut there = Phone::call(&server, "100").await.unwrap();
    let mut gone = RawPhone::new(&server, "100").await;
    let answer = gone.invite(&description(30_000, 1, "sendrecv")).await;
    gone.acknowledge("").await;
    until(&server, |o| o.participants == 2).await;

    let question = gone.expect("INVITE").await;
    assert_eq!(body(&question), body(&answer), "nothing is to change");
    gone.respond(&question, "481 Call Does Not Exist").await;
    until(&server, |o| o.participants == 1).await;

    let Event::ReOffer { .. } = there.exchange.next().await else {
        panic!("it is asked too");
    };
    let port = there.rtp.local_addr().unwrap().port();
    let answer = description(port, 1, "sendrecv");
    let answered = there.exchange.sip.accept_reoffer(there.call, answer).await;
    answered.unwrap();
    // Who speaks is not asked.
    talk(&mut [(&mut there, Some(A))], 2000).await;
    assert!(there.exchange.events.is_empty());
    assert_eq!(participants(&server, "100").await.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_its_end_the_server_says_bye_and_waits_for_the_answers() {
    let server = server(|_| {}).await;
    let mut raw = RawPhone::new(&server, "100").await;
    raw.invite(&description(30_000, 1, "sendrecv")).await;
    raw.acknowledge("").await;
    until(&server, |o| o.participants == 1).await;
    let stopped = tokio::spawn(server.stop());
    // The first is lost.
    raw.expect("BYE").await;
    let bye = raw.expect("BYE").await;
    assert!(!stopped.is_finished());
    assert!(header(&bye, "Reason").unwrap().contains("shutting down"));
    raw.respond(&bye, "200 OK").await;
    tokio::time::timeout(PATIENCE, stopped)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_taken_back_at_once_leaves_nothing_behind() {
    let server = server(|_| {}).await;
    for _ in 0..20 {
        let mut phone = RawPhone::new(&server, "100").await;
        let (invited, cancelled) = phone
            .invite_and_cancel(&description(40_000, 1, "sendrecv"))
            .await;
        assert!(cancelled.starts_with("SIP/2.0 200"), "{cancelled}");
        if invited.starts_with("SIP/2.0 487") {
            phone.acknowledge_refusal().await;
        } else {
            // It had been answered when that came (RFC 3261 section 9.2).
            assert!(invited.starts_with("SIP/2.0 200"), "{invited}");
            phone.acknowledge("").await;
            let ended = phone.hang_up().await;
            assert!(ended.starts_with("SIP/2.0 200"), "{ended}");
        }
    }
    until(&server, |o| o.calls == 0 && o.legs == 0 && o.rooms == 0).await;
    server.stop().await;
}
