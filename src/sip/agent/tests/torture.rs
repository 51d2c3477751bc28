//! Messages that are wrong, or look wrong: in the spirit of RFC 4475, none of them from it.

use proptest::prelude::*;

use super::*;

const URI: &str = "sip:100@192.0.2.2";

#[test]
fn malformed_requests_that_say_where_from_get_400_with_a_reason() {
    let good = request("INVITE", URI, "1", "", OFFER);
    for (from, to, reason) in [
        (
            "CSeq: 1 INVITE",
            "CSeq: 1 BYE",
            "400 CSeq does not match the method",
        ),
        (
            "CSeq: 1 INVITE",
            "CSeq: 4294967296 INVITE",
            "400 Malformed CSeq",
        ),
        ("Call-ID: c1\r\n", "", "400 Missing Call-ID"),
        ("From: \"Ann\"", "From: \"Ann", "400 Malformed From"),
        ("To: <", "To: <sip:x@y>\r\nTo: <", "400 Repeated To"),
        (
            "Contact: <sip:ann@192.0.2.1>\r\n",
            "",
            "400 Missing Contact",
        ),
        (
            "<sip:ann@192.0.2.1>\r\nContent-T",
            "<mailto:ann@x>\r\nContent-T",
            "400 Contact is not a SIP URI",
        ),
        (
            "Content-Type: application/sdp\r\n",
            "",
            "400 Missing Content-Type",
        ),
        ("Content-Length: ", "Content-Length: 9", "400 "),
        ("Content-Length: ", "Content-Length: -", "400 "),
        (
            "SIP/2.0\r\nVia",
            "SIP/7.0\r\nVia",
            "505 Version Not Supported",
        ),
        (
            "INVITE sip:100@192.0.2.2 SIP",
            "INVITE <sip:100@192.0.2.2> SIP",
            "400 ",
        ),
        (
            "INVITE sip:100@192.0.2.2 SIP",
            "INVITE  sip:100@192.0.2.2 SIP",
            "400 ",
        ),
        ("Max-Forwards: 70", "Max-Forwards 70", "400 "),
        ("Call-ID: c1", "Call-ID: c1\nX", "400 "),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good, "{from}");
        let mut lone = Lone::new();
        let (sent, events) = lone.tell(&bad);
        assert!(events.is_empty(), "{to}: {events:?}");
        assert_eq!(sent.len(), 1, "{to}: {sent:?}");
        assert!(
            sent[0].starts_with(&format!("SIP/2.0 {reason}")),
            "{to}: {}",
            sent[0]
        );
        assert!(sent[0].contains("branch=z9hG4bK1"), "{to}: {}", sent[0]);
        assert_eq!(lone.agent.counters().calls_open, 0);
    }
}

#[test]
fn what_cannot_be_answered_is_dropped_and_counted() {
    let good = request("OPTIONS", URI, "1", "", "");
    for bad in [
        good.replace(
            "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport\r\n",
            "",
        ),
        good.replace("Call-ID: c1\r\n", "")
            .replace("OPTIONS", "ACK"),
        "SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n".to_owned(),
        "SIP/2.0 999 Odd\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
        "\u{0}\u{1}\u{2}".to_owned(),
        "x".repeat(2000),
    ] {
        let mut lone = Lone::new();
        let (sent, events) = lone.tell(&bad);
        assert!(sent.is_empty() && events.is_empty(), "{bad}: {sent:?}");
        assert_eq!(lone.agent.counters().dropped, 1, "{bad}");
    }
}

#[test]
fn stray_responses_and_acks_are_counted() {
    let mut lone = Lone::new();
    let ack = request("ACK", URI, "1", "", "");
    assert!(lone.tell(&ack).0.is_empty());
    let response = request("X", URI, "1", "", "")
        .replace("X sip:100@192.0.2.2 SIP/2.0", "SIP/2.0 200 OK")
        .replace("1 X", "1 INVITE");
    assert!(lone.tell(&response).0.is_empty());
    assert_eq!(lone.agent.counters().stray, 2);
}

#[test]
fn keep_alives_are_not_messages() {
    let mut lone = Lone::new();
    for text in ["\r\n\r\n", "\r\n", "\0\0\0\0", ""] {
        assert!(lone.tell(text).0.is_empty());
    }
    assert_eq!(lone.agent.counters().messages_in, 0);
}

#[test]
fn trailing_bytes_after_the_body_of_a_datagram_are_ignored() {
    let text = request("INVITE", URI, "1", "", OFFER) + "INVITE sip:evil@x SIP/2.0\r\n\r\n";
    let (_, events) = Lone::new().tell(&text);
    assert!(
        matches!(events.as_slice(), [Event::Incoming(incoming)] if incoming.offer.as_deref() == Some(OFFER))
    );
}

#[test]
fn wide_utf8_and_escapes_survive() {
    let uri = "sip:caf%C3%A9%00x@192.0.2.2";
    let text =
        request("INVITE", uri, "1", "", OFFER).replace("\"Ann\"", "\"Ren\u{e9}e \\\"R\\\"\"");
    let (_, events) = Lone::new().tell(&text);
    let [Event::Incoming(incoming)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(incoming.user, "caf\u{e9}x");
    assert_eq!(incoming.from.display.as_deref(), Some("Ren\u{e9}e \"R\""));
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(prop::sample::Index, u8),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        (at(), 1usize..40).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (at(), 1usize..200).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        (
            at(),
            prop::sample::select(vec![
                "\r\n",
                "\r\n\r\n",
                "\"",
                ";",
                ",",
                "<",
                ">",
                ":",
                "%",
                "%00",
                "=",
                "\0",
                " ",
                "\r\n ",
                "sip:",
                "99999999999999999999",
                "-1",
                ";tag=",
                ";rport=",
                ";lr",
                "\u{fffd}",
            ])
        )
            .prop_map(|(at, text)| Mutation::Insert(at, text)),
    ]
}

fn mutate(text: &str, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        match mutation {
            Mutation::Replace(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Mutation::Remove(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Mutation::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let part = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, part);
            }
            Mutation::Insert(at, text) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, text.bytes());
            }
        }
    }
    bytes
}

#[derive(Debug, Clone)]
enum Step {
    Wait(u64),
    /// How often messages get lost from now on.
    Lose(f64),
    /// The TCP connection between the two breaks.
    Break,
    Ring,
    Accept,
    Reject,
    /// The rest is done by Alice, or else by Bob.
    Reinvite(bool),
    AcceptOffer(bool),
    RejectOffer(bool),
    Press(bool),
    HangUp(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let side = any::<bool>;
    prop_oneof![
        4 => (0u64..3000).prop_map(Step::Wait),
        1 => (3000u64..1_000_000).prop_map(Step::Wait),
        2 => prop::sample::select(vec![0.0, 0.2, 1.0]).prop_map(Step::Lose),
        1 => Just(Step::Break),
        1 => Just(Step::Ring),
        4 => Just(Step::Accept),
        1 => Just(Step::Reject),
        3 => side().prop_map(Step::Reinvite),
        3 => side().prop_map(Step::AcceptOffer),
        1 => side().prop_map(Step::RejectOffer),
        1 => side().prop_map(Step::Press),
        1 => side().prop_map(Step::HangUp),
    ]
}

impl Pair {
    fn take(&mut self, step: &Step, alice: CallId) {
        let (now, bob) = (self.now, CallId(1));
        // What is impossible at this moment is refused, and that is all right.
        let _ = match *step {
            Step::Wait(ms) => {
                self.run(Duration::from_millis(ms));
                Ok(())
            }
            Step::Lose(loss) => {
                self.loss = loss;
                Ok(())
            }
            Step::Break => {
                let there = self.flow(alice_address(), bob_address());
                let back = self.flow(bob_address(), alice_address());
                self.alice.agent.on_flow_closed(now, there);
                self.bob.agent.on_flow_closed(now, back);
                Ok(())
            }
            Step::Ring => self.bob.agent.ring(now, bob),
            Step::Accept => self.bob.agent.accept(now, bob, ANSWER.to_owned()),
            Step::Reject => self.bob.agent.reject(now, bob, 486, "", &[]),
            Step::Reinvite(true) => self.alice.agent.reinvite(now, alice, OFFER.to_owned()),
            Step::Reinvite(false) => self.bob.agent.reinvite(now, bob, OFFER.to_owned()),
            Step::AcceptOffer(true) => {
                self.alice
                    .agent
                    .accept_reoffer(now, alice, ANSWER.to_owned())
            }
            Step::AcceptOffer(false) => self.bob.agent.accept_reoffer(now, bob, ANSWER.to_owned()),
            Step::RejectOffer(true) => self.alice.agent.reject_reoffer(now, alice, 488, ""),
            Step::RejectOffer(false) => self.bob.agent.reject_reoffer(now, bob, 488, ""),
            Step::Press(true) => self.alice.agent.send_info_dtmf(now, alice, '1', 100),
            Step::Press(false) => self.bob.agent.send_info_dtmf(now, bob, '1', 100),
            Step::HangUp(true) => self.alice.agent.hang_up(now, alice, ""),
            Step::HangUp(false) => self.bob.agent.hang_up(now, bob, ""),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever arrives in whatever state, nothing panics, what is sent can be parsed, and in
    /// the end nothing is left.
    #[test]
    fn mutated_conversations_never_panic_and_leave_nothing(
        seed in any::<u64>(),
        plan in prop::collection::vec((0usize..6, prop::collection::vec(mutation(), 0..4)), 1..20),
    ) {
        let mut pair = Pair::new().lossy(seed, 0.05);
        let alice = pair.invite(Some(OFFER));
        for (n, (what, mutations)) in plan.iter().enumerate() {
            pair.run(Duration::from_millis(300));
            while let Some(event) = pair.bob.events.pop_front() {
                if let Event::Incoming(incoming) = event {
                    let _ = pair.bob.agent.accept(pair.now, incoming.call, ANSWER.to_owned());
                } else if let Event::ReOffer { call, .. } = event {
                    let _ = pair.bob.agent.accept_reoffer(pair.now, call, ANSWER.to_owned());
                }
            }
            // Something one of them really said, and once more, not quite so, to either.
            let said = match what {
                0 | 1 => pair.alice.sent.clone(),
                2 | 3 => pair.bob.sent.clone(),
                _ => vec![
                    request("INVITE", URI, &n.to_string(), "k: timer\r\nx: 90\r\n", OFFER),
                    request("UPDATE", URI, &n.to_string(), "", OFFER),
                ],
            };
            if said.is_empty() {
                continue;
            }
            let bytes = mutate(&said[n % said.len()], mutations);
            let to_bob = Flow::udp(bob_address(), alice_address());
            let to_alice = Flow::udp(alice_address(), bob_address());
            pair.bob.agent.receive(pair.now, to_bob, &bytes);
            pair.alice.agent.receive(pair.now, to_alice, &bytes);
            if *what == 5 {
                let _ = pair.alice.agent.reinvite(pair.now, alice, OFFER.to_owned());
            }
        }
        pair.run(Duration::from_secs(2));
        for text in pair.alice.sent.iter().chain(&pair.bob.sent) {
            prop_assert!(text.starts_with("SIP/2.0 ") || crate::sip::wire::parse(text.as_bytes()).is_ok(), "{}", text);
        }
        let _ = pair.alice.agent.hang_up(pair.now, alice, "");
        for id in 1..50 {
            let _ = pair.bob.agent.hang_up(pair.now, CallId(id), "");
            let _ = pair.alice.agent.hang_up(pair.now, CallId(id), "");
        }
        pair.run(Duration::from_secs(300));
        pair.finish();
    }

    /// Whatever both decide at whatever moment: when the network is gone, so are all calls, though
    /// nobody hangs up, and each ends once.
    #[test]
    fn calls_in_any_state_end_by_themselves_when_the_peer_vanishes(
        seed in any::<u64>(),
        tcp in any::<bool>(),
        offers in any::<bool>(),
        steps in prop::collection::vec(step(), 0..30),
    ) {
        let mut pair = Pair::new().lossy(seed, 0.0);
        if tcp {
            pair = pair.tcp();
        }
        let alice = pair.invite(offers.then_some(OFFER));
        for step in &steps {
            pair.take(step, alice);
        }
        pair.loss = 1.0;
        pair.run(Duration::from_secs(4000));
        for end in [&pair.alice, &pair.bob] {
            let started = end.events.iter().filter(|event| matches!(event, Event::Incoming(_)));
            let ended = end.events.iter().filter(|event| matches!(event, Event::Ended { .. }));
            let started = started.count() + usize::from(end.address == alice_address());
            prop_assert_eq!(ended.count(), started, "{:?}", end.events);
        }
        pair.finish();
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut lone = Lone::new();
        let flow = Flow::udp(bob_address(), alice_address());
        lone.agent.receive(lone.now, flow, &bytes);
    }
}
