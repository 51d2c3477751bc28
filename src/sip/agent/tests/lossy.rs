//! Calls over a network that loses, doubles, delays and reorders.

use std::time::Duration;

use super::*;

/// One event log for the end of a call: exactly one `Ended` for each.
fn ended(end: &End, call: CallId) -> usize {
    end.events
        .iter()
        .filter(|event| matches!(event, Event::Ended { call: ended, .. } if *ended == call))
        .count()
}

fn bobs_call(pair: &Pair) -> Option<CallId> {
    let calls: Vec<_> = pair
        .bob
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Incoming(incoming) => Some(incoming.call),
            _ => None,
        })
        .collect();
    assert!(calls.len() <= 1, "one INVITE made {} calls", calls.len());
    calls.first().copied()
}

#[test]
fn with_a_fifth_of_all_packets_lost_calls_are_set_up_and_end_exactly_once() {
    let mut lost = 0;
    for seed in 0..200 {
        let mut pair = Pair::new().lossy(seed, 0.2);
        let offer = (seed % 3 != 0).then_some(OFFER);
        let alice = pair.invite(offer);
        let mut bob = None;
        let mut accepted = false;
        let mut up = false;
        for _ in 0..400 {
            pair.run(Duration::from_millis(100));
            bob = bob.or(bobs_call(&pair));
            if let Some(bob) = bob
                && !accepted
            {
                pair.bob
                    .agent
                    .accept(pair.now, bob, ANSWER.to_owned())
                    .unwrap();
                accepted = true;
            }
            if pair
                .alice
                .events
                .iter()
                .any(|event| matches!(event, Event::ReOffer { .. }))
            {
                pair.alice
                    .events
                    .retain(|event| !matches!(event, Event::ReOffer { .. }));
                pair.alice
                    .agent
                    .accept_reoffer(pair.now, alice, ANSWER.to_owned())
                    .unwrap();
            }
            up = pair
                .bob
                .events
                .iter()
                .any(|event| matches!(event, Event::Established { .. }));
            if up {
                break;
            }
        }
        assert!(
            up,
            "seed {seed}: {:?} {:?}",
            pair.alice.events, pair.bob.events
        );
        let bob = bob.unwrap();
        match seed % 4 {
            0 => pair.alice.agent.hang_up(pair.now, alice, "").unwrap(),
            1 => pair.bob.agent.hang_up(pair.now, bob, "").unwrap(),
            2 => {
                pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
                pair.bob.agent.hang_up(pair.now, bob, "").unwrap();
            }
            _ => {
                pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
                pair.run(Duration::from_millis(30));
                // Fails if the BYE was faster, as it may.
                let _ = pair.bob.agent.hang_up(pair.now, bob, "");
            }
        }
        pair.run(Duration::from_secs(60));
        assert_eq!(ended(&pair.alice, alice), 1, "seed {seed}");
        // Eleven BYEs may all be lost; then the session timer ends the call. Not here.
        assert_eq!(ended(&pair.bob, bob), 1, "seed {seed}");
        lost += pair.alice.agent.counters().retransmissions_out;
        pair.finish();
    }
    assert!(lost > 200, "the network lost nothing: {lost}");
}

#[test]
fn cancelling_at_any_moment_ends_both_sides_exactly_once() {
    for seed in 0..200 {
        let mut pair = Pair::new().lossy(seed, 0.1);
        let alice = pair.invite(Some(OFFER));
        pair.run(Duration::from_millis(10 * (seed % 50)));
        if let Some(bob) = bobs_call(&pair)
            && seed % 2 == 0
        {
            // Fails if the CANCEL was faster, as it may.
            let _ = pair.bob.agent.accept(pair.now, bob, ANSWER.to_owned());
        }
        pair.run(Duration::from_millis(seed % 7 * 5));
        pair.alice.agent.hang_up(pair.now, alice, "").unwrap();
        pair.run(Duration::from_secs(100));
        assert_eq!(ended(&pair.alice, alice), 1, "seed {seed}");
        if let Some(bob) = bobs_call(&pair) {
            assert_eq!(
                ended(&pair.bob, bob),
                1,
                "seed {seed}: {:?} {:#?}",
                pair.bob.events,
                pair.bob.sent
            );
        }
        pair.run(Duration::from_secs(200));
        pair.finish();
    }
}

#[test]
fn the_same_seed_gives_the_same_messages() {
    let run = || {
        let mut pair = Pair::new().lossy(5, 0.6);
        pair.invite(Some(OFFER));
        pair.run(Duration::from_secs(5));
        (pair.alice.sent, pair.bob.sent, pair.now - pair.start)
    };
    let first = run();
    assert!(first.0.len() > 1);
    assert_eq!(first, run());
}
