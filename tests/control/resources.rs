//! Nothing is left of a call, however it ended.

use std::collections::HashMap;

use unisono::sip::Event;

use crate::support::*;

/// Calls at a time, all that the server has legs for.
const AT_ONCE: usize = 20;
const WAVES: usize = 60;

/// How a phone behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Hangs up as soon as it is answered.
    Short,
    /// Gives up before it is answered.
    Cancels,
    /// Offers nothing, and answers our offer.
    Late,
    /// Offers nothing, and hangs up in place of an answer.
    LateAndGone,
    /// Offers nothing, and answers with a codec we did not offer.
    LateAndWrong,
    /// Has no codec of ours.
    Foreign,
    /// Is removed by somebody in charge of the conference.
    Removed,
}

const HABITS: [Habit; 7] = [
    Habit::Short,
    Habit::Cancels,
    Habit::Late,
    Habit::LateAndGone,
    Habit::LateAndWrong,
    Habit::Foreign,
    Habit::Removed,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_leave_no_leg_no_conference_and_no_port_behind() {
    let server = server(|config| {
        config.media.max_legs = AT_ONCE as u32;
        // Half as many again as are in use: a leak of a few would be felt as 503.
        config.media.first_port = 61_000;
        config.media.last_port = 61_000 + 3 * AT_ONCE as u16 - 1;
    })
    .await;
    let mut exchange = Exchange::new();
    let mut answered = 0;
    for wave in 0..WAVES {
        let mut habits = HashMap::new();
        for index in 0..AT_ONCE {
            let habit = HABITS[(wave * 31 + index * 17 + index / 7) % HABITS.len()];
            let offer = description(30_000, 1, "sendrecv");
            let sdp = match habit {
                Habit::Short | Habit::Cancels | Habit::Removed => Some(offer),
                Habit::Foreign => Some(offer.replace("AVP 0 101", "AVP 18")),
                Habit::Late | Habit::LateAndGone | Habit::LateAndWrong => None,
            };
            let number = format!("{}", (wave + index) % 5);
            let call = exchange.invite(server.sip_address(), &number, sdp).await;
            habits.insert(call, habit);
            if habit == Habit::Cancels {
                let _ = exchange.sip.hang_up(call, "").await;
            }
        }
        while !habits.is_empty() {
            match exchange.next().await {
                Event::Answered { call, .. } => {
                    answered += 1;
                    if habits.get(&call) != Some(&Habit::Removed) {
                        let _ = exchange.sip.hang_up(call, "").await;
                    }
                }
                Event::ReOffer { call, .. } => {
                    let description = description(30_000, 1, "sendrecv");
                    let _ = match habits.get(&call) {
                        Some(Habit::LateAndGone) => exchange.sip.hang_up(call, "").await,
                        Some(Habit::LateAndWrong) => {
                            let wrong = description.replace("AVP 0 101", "AVP 18");
                            exchange.sip.accept_reoffer(call, wrong).await
                        }
                        _ => {
                            let answered = exchange.sip.accept_reoffer(call, description).await;
                            if wave % 2 == 0 {
                                answered
                            } else {
                                exchange.sip.hang_up(call, "").await
                            }
                        }
                    };
                    if habits.get(&call) == Some(&Habit::Late) && wave % 2 == 0 {
                        habits.insert(call, Habit::Removed);
                    }
                }
                Event::Ended { call, by, .. } => {
                    assert!(
                        !matches!(by, unisono::sip::EndedBy::Failed { status: 503 }),
                        "wave {wave}: something is used up"
                    );
                    habits.remove(&call);
                }
                _ => {}
            }
            if habits.values().all(|habit| *habit == Habit::Removed) {
                for number in 0..5 {
                    let _ = server.control().end(number.to_string()).await;
                }
            }
        }
        until(&server, |o| {
            (o.calls, o.legs, o.rooms, o.conferences, o.participants) == (0, 0, 0, 0, 0)
        })
        .await;
    }
    assert!(answered > WAVES * AT_ONCE / 4, "{answered}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_holds_up_nobody() {
    let server = server(|config| config.media.max_legs = 50).await;
    let mut exchange = Exchange::new();
    // Many more than any queue on the way holds, and nobody reads what the server answers meanwhile.
    for index in 0..3000 {
        let offer = description(30_000, 1, "sendrecv");
        exchange
            .invite(
                server.sip_address(),
                &format!("{}", index % 40),
                Some(offer),
            )
            .await;
    }
    let health = http(&server, "GET /healthz", "").await;
    assert_eq!(health.status, 200, "{}", health.text);
    let mut open = 3000;
    while open > 0 {
        match exchange.next().await {
            Event::Answered { call, .. } => {
                let _ = exchange.sip.hang_up(call, "").await;
            }
            Event::Ended { .. } => open -= 1,
            _ => {}
        }
    }
    until(&server, |o| (o.calls, o.legs, o.rooms) == (0, 0, 0)).await;
    server.stop().await;
}
