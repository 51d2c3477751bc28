//! Every rule in virtual time.

mod random;

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

const ALICE: CallId = CallId(1);
const BOB: CallId = CallId(2);
const CAROL: CallId = CallId(3);

fn at(seconds: u64) -> Now {
    let unix_ms = 1_763_778_870_000 + seconds * 1000;
    Now {
        monotonic: Duration::from_secs(seconds),
        wall: Timestamp { unix_ms },
    }
}

fn name(text: &str) -> ConferenceName {
    ConferenceName::new(text).unwrap()
}

/// A server with the default policy and one configured conference, 1000.
fn server(settings: Settings) -> Conferences {
    Conferences::new(at(0), Policy::default(), [(name("1000"), settings)])
}

fn with_pin(pin: &str, admin_pin: Option<&str>) -> Settings {
    Settings {
        pin: Some(pin.into()),
        admin_pin: admin_pin.map(Into::into),
        ..Settings::default()
    }
}

fn ring(server: &mut Conferences, call: CallId, number: &str) -> Decision {
    server.incoming(
        at(1),
        call,
        number,
        Caller {
            name: "A".into(),
            number: "200".into(),
        },
    )
}

/// Rings and is answered; what happens then.
fn dial(server: &mut Conferences, call: CallId, number: &str) -> Vec<Action> {
    let decision = ring(server, call, number);
    assert!(!matches!(decision, Decision::Refuse(_)), "{decision:?}");
    server.connected(at(1), call)
}

fn press(server: &mut Conferences, call: CallId, keys: &str) -> Vec<Action> {
    keys.chars()
        .flat_map(|key| server.digit(at(2), call, key))
        .collect()
}

fn id(server: &Conferences, conference: &str, call: CallId) -> ParticipantId {
    let all = server.participants(conference).unwrap();
    all.into_iter()
        .find(|(known, _)| *known == call)
        .unwrap()
        .1
        .id
}

fn say(call: CallId, prompts: &[Prompt]) -> Action {
    Action::Play {
        to: Target::Call(call),
        prompts: prompts.to_vec(),
    }
}

fn announce(conference: &str, prompt: Prompt) -> Action {
    Action::Play {
        to: Target::Conference(name(conference)),
        prompts: vec![prompt],
    }
}

fn join(call: CallId, conference: &str) -> Action {
    Action::JoinRoom {
        call,
        conference: name(conference),
    }
}

fn leave(call: CallId, conference: &str) -> Action {
    Action::LeaveRoom {
        call,
        conference: name(conference),
    }
}

fn open(conference: &str) -> Action {
    Action::OpenRoom {
        conference: name(conference),
        rate: RoomRate::Auto,
    }
}

fn close(conference: &str) -> Action {
    Action::CloseRoom {
        conference: name(conference),
    }
}

fn hang_up(call: CallId, reason: HangUpReason, prompts: &[Prompt]) -> Action {
    Action::HangUp {
        call,
        reason,
        prompts: prompts.to_vec(),
    }
}

#[test]
fn the_first_hears_that_it_is_alone_and_the_second_is_announced() {
    let mut server = server(Settings::default());
    assert_eq!(
        dial(&mut server, ALICE, "77"),
        [
            open("77"),
            join(ALICE, "77"),
            say(ALICE, &[Prompt::OnlyPerson])
        ]
    );
    assert_eq!(
        dial(&mut server, BOB, "77"),
        [announce("77", Prompt::Join), join(BOB, "77")]
    );
    assert_eq!(
        server.hung_up(at(9), ALICE),
        [leave(ALICE, "77"), announce("77", Prompt::Leave)]
    );
    assert_eq!(server.hung_up(at(9), BOB), [leave(BOB, "77"), close("77")]);
}

#[test]
fn announcements_can_be_off() {
    let quiet = Settings {
        announce_join_leave: false,
        announce_only_person: false,
        ..Settings::default()
    };
    let mut server = server(quiet);
    assert_eq!(
        dial(&mut server, ALICE, "1000"),
        [open("1000"), join(ALICE, "1000")]
    );
    assert_eq!(dial(&mut server, BOB, "1000"), [join(BOB, "1000")]);
    assert_eq!(server.hung_up(at(9), ALICE), [leave(ALICE, "1000")]);
}

#[test]
fn a_conference_on_demand_disappears_with_its_last_call() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "77");
    let _ = ring(&mut server, BOB, "77");
    server.hung_up(at(2), ALICE);
    assert_eq!(
        server.view("77").unwrap().participants,
        0,
        "Bob is on the way"
    );
    assert_eq!(server.hung_up(at(3), BOB), []);
    assert_eq!((server.view("77"), server.len()), (None, 1));
}

#[test]
fn a_configured_conference_stays_and_is_as_configured_again() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "1000");
    server.set_locked(at(2), "1000", true).unwrap();
    server.hung_up(at(3), ALICE);
    let view = server.view("1000").unwrap();
    assert!(view.configured && !view.locked && view.participants == 0);
    assert_eq!(view.created_at, at(0).wall);
}

#[test]
fn numbers_that_are_no_conference_are_not_found() {
    let mut open_house = server(Settings::default());
    for bad in ["", "a b", "../etc", &"1".repeat(65)] {
        assert_eq!(
            ring(&mut open_house, ALICE, bad),
            Decision::Refuse(Refusal::Unknown),
            "{bad}"
        );
    }
    let closed = Policy {
        allow_unknown: false,
        ..Policy::default()
    };
    let mut server = Conferences::new(at(0), closed, [(name("1000"), Settings::default())]);
    assert_eq!(
        ring(&mut server, ALICE, "77"),
        Decision::Refuse(Refusal::Unknown)
    );
    assert!(matches!(
        ring(&mut server, ALICE, "1000"),
        Decision::Admit { .. }
    ));
    assert_eq!(Refusal::Unknown.status(), 404);
}

#[test]
fn places_are_kept_from_the_first_ring() {
    let mut server = server(Settings {
        max_participants: 2,
        ..Settings::default()
    });
    dial(&mut server, ALICE, "1000");
    assert!(matches!(
        ring(&mut server, BOB, "1000"),
        Decision::Admit { .. }
    ));
    assert_eq!(
        ring(&mut server, CAROL, "1000"),
        Decision::Refuse(Refusal::Full)
    );
    assert_eq!(
        (Refusal::Full.status(), Refusal::Full.to_string()),
        (486, "Conference is full".into())
    );
    server.hung_up(at(3), BOB);
    assert!(matches!(
        ring(&mut server, CAROL, "1000"),
        Decision::Admit { .. }
    ));
}

#[test]
fn a_locked_conference_refuses_and_says_so_to_those_inside() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "1000");
    assert_eq!(
        server.set_locked(at(2), "1000", true).unwrap(),
        [announce("1000", Prompt::LockedNow)]
    );
    assert_eq!(server.set_locked(at(2), "1000", true).unwrap(), []);
    assert_eq!(
        ring(&mut server, BOB, "1000"),
        Decision::Refuse(Refusal::Locked)
    );
    assert_eq!(Refusal::Locked.status(), 403);
    assert_eq!(
        server.set_locked(at(2), "1000", false).unwrap(),
        [announce("1000", Prompt::UnlockedNow)]
    );
    assert!(matches!(
        ring(&mut server, BOB, "1000"),
        Decision::Admit { .. }
    ));
}

#[test]
fn a_conference_locked_by_default_leaves_nothing_behind_when_it_refuses() {
    let policy = Policy {
        defaults: Settings {
            locked: true,
            ..Settings::default()
        },
        ..Policy::default()
    };
    let mut server = Conferences::new(at(0), policy, []);
    assert_eq!(
        ring(&mut server, ALICE, "77"),
        Decision::Refuse(Refusal::Locked)
    );
    assert!(server.is_empty());
}

#[test]
fn the_number_of_conferences_is_limited() {
    let policy = Policy {
        max_conferences: 2,
        ..Policy::default()
    };
    let mut server = Conferences::new(at(0), policy, [(name("1000"), Settings::default())]);
    dial(&mut server, ALICE, "77");
    assert_eq!(
        ring(&mut server, BOB, "78"),
        Decision::Refuse(Refusal::TooManyConferences)
    );
    assert!(matches!(
        ring(&mut server, BOB, "77"),
        Decision::Admit { .. }
    ));
}

#[test]
fn the_right_pin_joins() {
    let mut server = server(with_pin("4711", None));
    assert!(matches!(
        ring(&mut server, ALICE, "1000"),
        Decision::AskPin { .. }
    ));
    assert_eq!(server.digit(at(1), ALICE, '4'), [], "not yet connected");
    assert_eq!(
        server.connected(at(1), ALICE),
        [say(ALICE, &[Prompt::GetPin])]
    );
    let stop = Action::StopPlaying { call: ALICE };
    let joined = [
        stop,
        open("1000"),
        join(ALICE, "1000"),
        say(ALICE, &[Prompt::OnlyPerson]),
    ];
    assert_eq!(press(&mut server, ALICE, "4711"), joined);
    assert_eq!(press(&mut server, ALICE, "#123#"), []);
    assert_eq!(server.next_timeout(), None);
}

#[test]
fn three_wrong_pins_end_the_call() {
    let mut server = server(with_pin("4711", None));
    dial(&mut server, ALICE, "1000");
    let stop = Action::StopPlaying { call: ALICE };
    let again = say(ALICE, &[Prompt::InvalidPin, Prompt::GetPin]);
    // The key that ends a PIN already judged does not cut off what is said about it.
    assert_eq!(
        press(&mut server, ALICE, "0000#"),
        [stop.clone(), again.clone()]
    );
    assert_eq!(press(&mut server, ALICE, "12#"), [stop.clone(), again]);
    let over = hang_up(ALICE, HangUpReason::WrongPin, &[Prompt::InvalidPin]);
    assert_eq!(press(&mut server, ALICE, "9999"), [stop, over]);
    assert_eq!(press(&mut server, ALICE, "4711"), []);
    assert_eq!(server.hung_up(at(5), ALICE), []);
    assert_eq!(
        (server.participant_count(), server.next_timeout()),
        (0, None)
    );
    let kinds: Vec<_> = server
        .events()
        .after(0)
        .map(|event| event.kind.clone())
        .collect();
    assert_eq!(
        kinds,
        [EventKind::PinRefused {
            id: ParticipantId(1)
        }]
    );
}

#[test]
fn silence_is_prompted_again_and_given_up_after_three_times() {
    let mut server = server(with_pin("4711", None));
    dial(&mut server, ALICE, "1000");
    assert_eq!(server.next_timeout(), Some(Duration::from_secs(11)));
    assert_eq!(server.timeout(at(10)), []);
    assert_eq!(server.timeout(at(11)), [say(ALICE, &[Prompt::GetPin])]);
    server.digit(at(15), ALICE, '4');
    assert_eq!(
        server.next_timeout(),
        Some(Duration::from_secs(25)),
        "each key gives more time"
    );
    assert_eq!(
        server.timeout(at(25)),
        [say(ALICE, &[Prompt::InvalidPin, Prompt::GetPin])]
    );
    assert_eq!(
        server.timeout(at(35)),
        [hang_up(
            ALICE,
            HangUpReason::WrongPin,
            &[Prompt::InvalidPin]
        )]
    );
    assert_eq!(
        (server.timeout(at(99)), server.next_timeout()),
        (vec![], None)
    );
}

#[test]
fn a_call_that_gives_up_at_the_pin_leaves_nothing() {
    let policy = Policy {
        defaults: with_pin("1", None),
        ..Policy::default()
    };
    let mut server = Conferences::new(at(0), policy, []);
    dial(&mut server, ALICE, "77");
    assert_eq!(server.hung_up(at(2), ALICE), []);
    assert!(server.is_empty() && server.next_timeout().is_none());
}

#[test]
fn the_admin_pin_opens_a_locked_and_full_conference() {
    let settings = Settings {
        locked: true,
        max_participants: 1,
        ..with_pin("1", Some("99"))
    };
    let mut server = server(settings);
    dial(&mut server, ALICE, "1000");
    assert_eq!(
        press(&mut server, ALICE, "1")[1],
        hang_up(ALICE, HangUpReason::Locked, &[Prompt::Locked])
    );
    dial(&mut server, BOB, "1000");
    press(&mut server, BOB, "99");
    assert!(server.participants("1000").unwrap()[0].1.admin);
    server.set_locked(at(3), "1000", false).unwrap();
    dial(&mut server, ALICE, "1000");
    assert_eq!(
        press(&mut server, ALICE, "1")[1],
        hang_up(ALICE, HangUpReason::Full, &[Prompt::Full])
    );
    dial(&mut server, CAROL, "1000");
    press(&mut server, CAROL, "99");
    assert_eq!(server.view("1000").unwrap().participants, 2);
}

#[test]
fn without_an_admin_pin_the_door_is_shut_before_the_pin_is_asked_for() {
    let mut server = server(Settings {
        locked: true,
        ..with_pin("1", None)
    });
    assert_eq!(
        ring(&mut server, ALICE, "1000"),
        Decision::Refuse(Refusal::Locked)
    );
}

#[test]
fn mute_and_deaf_are_done_once_and_told() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "1000");
    let alice = id(&server, "1000", ALICE);
    server.talking(at(2), ALICE, true);
    let done = [
        Action::SetMuted {
            call: ALICE,
            muted: true,
        },
        say(ALICE, &[Prompt::Muted]),
    ];
    assert_eq!(server.set_muted(at(3), "1000", alice, true).unwrap(), done);
    assert_eq!(server.set_muted(at(3), "1000", alice, true).unwrap(), []);
    let (_, view) = server.participant("1000", alice).unwrap();
    assert!(view.muted && !view.talking);
    server.talking(at(4), ALICE, true);
    assert_eq!(server.view("1000").unwrap().talkers, [], "a late report");
    let done = [
        Action::SetMuted {
            call: ALICE,
            muted: false,
        },
        say(ALICE, &[Prompt::Unmuted]),
    ];
    assert_eq!(server.set_muted(at(5), "1000", alice, false).unwrap(), done);
    assert_eq!(
        server.set_deaf(at(5), "1000", alice, true).unwrap(),
        [Action::SetDeaf {
            call: ALICE,
            deaf: true
        }]
    );
    assert_eq!(server.set_deaf(at(5), "1000", alice, true).unwrap(), []);
    let kinds: Vec<_> = server
        .events()
        .after(2)
        .map(|event| event.kind.clone())
        .collect();
    assert_eq!(
        kinds,
        [
            EventKind::TalkingStarted { id: alice },
            EventKind::TalkingStopped { id: alice },
            EventKind::MutedChanged {
                id: alice,
                muted: true
            },
            EventKind::MutedChanged {
                id: alice,
                muted: false
            },
            EventKind::DeafChanged {
                id: alice,
                deaf: true
            },
        ]
    );
}

#[test]
fn a_kicked_participant_is_told_and_hung_up() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "1000");
    dial(&mut server, BOB, "1000");
    let bob = id(&server, "1000", BOB);
    let actions = server.kick(at(3), "1000", bob).unwrap();
    let kicked = hang_up(BOB, HangUpReason::Kicked, &[Prompt::Kicked]);
    assert_eq!(
        actions,
        [leave(BOB, "1000"), announce("1000", Prompt::Leave), kicked]
    );
    assert_eq!(
        server.kick(at(3), "1000", bob),
        Err(CommandError::NoSuchParticipant)
    );
    assert_eq!(server.hung_up(at(4), BOB), []);
    assert_eq!(server.view("1000").unwrap().participants, 1);
}

#[test]
fn an_ended_conference_lets_nobody_stay() {
    let mut server = server(with_pin("1", None));
    dial(&mut server, ALICE, "1000");
    press(&mut server, ALICE, "1");
    dial(&mut server, BOB, "1000");
    let ended = |call| hang_up(call, HangUpReason::Ended, &[]);
    let actions = server.end(at(3), "1000").unwrap();
    assert_eq!(
        actions,
        [
            leave(ALICE, "1000"),
            close("1000"),
            ended(ALICE),
            ended(BOB)
        ]
    );
    assert_eq!(
        (server.participant_count(), server.next_timeout()),
        (0, None)
    );
    assert_eq!(server.end(at(3), "1000").unwrap(), []);
    dial(&mut server, CAROL, "77");
    server.end(at(4), "77").unwrap();
    assert_eq!(server.view("77"), None);
}

#[test]
fn commands_for_what_is_not_there_are_refused() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "77");
    let alice = id(&server, "77", ALICE);
    let nobody = ParticipantId(99);
    assert_eq!(
        server.set_muted(at(1), "none", alice, true),
        Err(CommandError::NoSuchConference)
    );
    assert_eq!(
        server.set_muted(at(1), "1000", alice, true),
        Err(CommandError::NoSuchParticipant)
    );
    assert_eq!(
        server.set_deaf(at(1), "77", nobody, true),
        Err(CommandError::NoSuchParticipant)
    );
    assert_eq!(
        server.kick(at(1), "1000", alice),
        Err(CommandError::NoSuchParticipant)
    );
    assert_eq!(
        server.set_locked(at(1), "none", true),
        Err(CommandError::NoSuchConference)
    );
    assert_eq!(
        server.end(at(1), "none"),
        Err(CommandError::NoSuchConference)
    );
    assert_eq!(
        (
            server.participants("none"),
            server.participant("1000", alice)
        ),
        (None, None)
    );
}

#[test]
fn a_call_is_in_one_conference_only() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "77");
    assert_eq!(
        ring(&mut server, ALICE, "78"),
        Decision::Refuse(Refusal::Duplicate)
    );
    assert_eq!(server.connected(at(2), ALICE), []);
    assert_eq!(server.len(), 2);
}

#[test]
fn unknown_calls_do_nothing() {
    let mut server = server(Settings::default());
    assert_eq!(server.connected(at(1), BOB), []);
    assert_eq!(server.digit(at(1), BOB, '1'), []);
    assert_eq!(server.hung_up(at(1), BOB), []);
    server.talking(at(1), BOB, true);
    assert_eq!(server.events().last_sequence(), 0);
}

#[test]
fn observers_are_told_in_order_and_see_what_they_missed() {
    let mut server = server(Settings::default());
    dial(&mut server, ALICE, "77");
    server.talking(at(2), ALICE, true);
    server.talking(at(2), ALICE, true);
    server.set_locked(at(3), "77", true).unwrap();
    server.hung_up(at(4), ALICE);
    let json = |after| -> Vec<String> {
        server
            .events()
            .after(after)
            .map(|event| serde_json::to_string(event).unwrap())
            .collect()
    };
    assert_eq!(
        json(0),
        [
            r#"{"sequence":1,"at":"2025-11-22T02:34:31.000Z","conference":"77","event":"conference_started"}"#,
            r#"{"sequence":2,"at":"2025-11-22T02:34:31.000Z","conference":"77","event":"participant_joined","participant":{"id":1,"caller":{"name":"A","number":"200"},"muted":false,"deaf":false,"talking":false,"admin":false,"joined_at":"2025-11-22T02:34:31.000Z"}}"#,
            r#"{"sequence":3,"at":"2025-11-22T02:34:32.000Z","conference":"77","event":"talking_started","id":1}"#,
            r#"{"sequence":4,"at":"2025-11-22T02:34:33.000Z","conference":"77","event":"locked_changed","locked":true}"#,
            r#"{"sequence":5,"at":"2025-11-22T02:34:34.000Z","conference":"77","event":"talking_stopped","id":1}"#,
            r#"{"sequence":6,"at":"2025-11-22T02:34:34.000Z","conference":"77","event":"participant_left","id":1,"reason":"hung_up"}"#,
            r#"{"sequence":7,"at":"2025-11-22T02:34:34.000Z","conference":"77","event":"conference_ended"}"#,
        ]
    );
    assert_eq!(json(6).len(), 1);
    assert_eq!((json(7).len(), json(u64::MAX).len()), (0, 0));
}

#[test]
fn old_events_make_room_and_leave_a_gap_in_the_numbers() {
    let mut server = server(Settings::default());
    for _ in 0..2000 {
        dial(&mut server, ALICE, "77");
        server.hung_up(at(2), ALICE);
    }
    let log = server.events();
    assert_eq!(log.last_sequence(), 8000);
    assert_eq!(
        (log.after(0).len(), log.after(0).next().unwrap().sequence),
        (4096, 3905)
    );
    assert_eq!(
        log.after(7990)
            .map(|event| event.sequence)
            .collect::<Vec<_>>(),
        (7991..=8000).collect::<Vec<_>>()
    );
}

#[test]
fn conferences_are_seen_as_json() {
    let mut server = server(Settings {
        rate: RoomRate::Fixed(16000),
        ..with_pin("1", None)
    });
    dial(&mut server, ALICE, "1000");
    press(&mut server, ALICE, "1");
    server.talking(at(3), ALICE, true);
    assert_eq!(
        serde_json::to_string(&server.views()).unwrap(),
        r#"[{"name":"1000","participants":1,"talkers":[1],"locked":false,"pin_required":true,"configured":true,"max_participants":0,"rate":16000,"created_at":"2025-11-22T02:34:30.000Z"}]"#
    );
}

#[test]
fn ten_thousand_conferences_are_no_more_work_than_one() {
    let mut server = server(Settings::default());
    for number in 0..10_000_u64 {
        dial(&mut server, CallId(number), &format!("c{number}"));
    }
    assert_eq!(
        (
            server.len(),
            server.participant_count(),
            server.views().len()
        ),
        (10_001, 10_000, 10_001)
    );
    for number in 0..10_000_u64 {
        server.hung_up(at(2), CallId(number));
    }
    assert_eq!((server.len(), server.participant_count()), (1, 0));
}

#[test]
fn prompts_have_names_of_their_own() {
    let names: BTreeSet<_> = Prompt::ALL
        .iter()
        .map(|prompt| prompt.file_name())
        .collect();
    assert_eq!(names.len(), Prompt::ALL.len());
}
