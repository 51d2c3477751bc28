//! Random events against a media plane that does as it is told.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Ring(u64, u8),
    Connect(u64),
    Key(u64, char),
    HangUp(u64),
    Talk(u64, bool),
    Mute(u8, u64, bool),
    Deaf(u8, u64, bool),
    Kick(u8, u64),
    Lock(u8, bool),
    End(u8),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let call = 0..8_u64;
    let room = 0..5_u8;
    let who = 0..40_u64;
    prop_oneof![
        6 => (call.clone(), room.clone()).prop_map(|(c, r)| Step::Ring(c, r)),
        6 => call.clone().prop_map(Step::Connect),
        6 => (call.clone(), prop::sample::select(vec!['1', '2', '3', '*', '#', 'A', 'x'])).prop_map(|(c, k)| Step::Key(c, k)),
        3 => call.clone().prop_map(Step::HangUp),
        2 => (call, any::<bool>()).prop_map(|(c, on)| Step::Talk(c, on)),
        1 => (room.clone(), who.clone(), any::<bool>()).prop_map(|(r, p, on)| Step::Mute(r, p, on)),
        1 => (room.clone(), who.clone(), any::<bool>()).prop_map(|(r, p, on)| Step::Deaf(r, p, on)),
        1 => (room.clone(), who).prop_map(|(r, p)| Step::Kick(r, p)),
        1 => (room.clone(), any::<bool>()).prop_map(|(r, on)| Step::Lock(r, on)),
        1 => room.prop_map(Step::End),
        2 => (0..15_u64).prop_map(Step::Wait),
    ]
}

/// What a media plane that does as it is told would have.
#[derive(Debug, Default)]
struct World {
    /// Calls that are neither refused nor over.
    calls: BTreeSet<CallId>,
    /// Which of them are answered.
    connected: BTreeSet<CallId>,
    rooms: BTreeMap<ConferenceName, BTreeSet<CallId>>,
}

impl World {
    fn apply(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::OpenRoom { conference, .. } => {
                    assert!(
                        self.rooms.insert(conference, BTreeSet::new()).is_none(),
                        "opened twice"
                    );
                }
                Action::JoinRoom { call, conference } => {
                    assert!(self.connected.contains(&call), "{call:?} is not connected");
                    assert!(
                        self.rooms.values().all(|room| !room.contains(&call)),
                        "in two rooms"
                    );
                    self.rooms.get_mut(&conference).expect("open").insert(call);
                }
                Action::LeaveRoom { call, conference } => {
                    assert!(
                        self.rooms.get_mut(&conference).expect("open").remove(&call),
                        "not in it"
                    );
                }
                Action::CloseRoom { conference } => {
                    assert_eq!(self.rooms.remove(&conference), Some(BTreeSet::new()));
                }
                Action::Play {
                    to: Target::Conference(conference),
                    prompts,
                } => {
                    assert!(
                        self.rooms
                            .get(&conference)
                            .is_some_and(|room| !room.is_empty())
                            && !prompts.is_empty()
                    );
                }
                Action::Play {
                    to: Target::Call(call),
                    ..
                }
                | Action::StopPlaying { call } => {
                    assert!(self.connected.contains(&call));
                }
                Action::SetMuted { call, .. } | Action::SetDeaf { call, .. } => {
                    assert!(self.rooms.values().any(|room| room.contains(&call)));
                }
                Action::HangUp { call, .. } => {
                    assert!(self.calls.remove(&call), "{call:?} is over already");
                    self.connected.remove(&call);
                    assert!(
                        self.rooms.values().all(|room| !room.contains(&call)),
                        "still in a room"
                    );
                }
            }
        }
    }

    fn check(&self, server: &Conferences) {
        let open: Vec<_> = server
            .views()
            .into_iter()
            .filter(|view| view.participants > 0)
            .collect();
        assert_eq!(open.len(), self.rooms.len());
        for view in &open {
            let room = &self.rooms[&view.name];
            let inside: BTreeSet<_> = server
                .participants(view.name.as_str())
                .unwrap()
                .into_iter()
                .map(|(call, _)| call)
                .collect();
            assert_eq!((&inside, view.participants), (room, room.len()));
            assert!(view.talkers.len() <= view.participants);
        }
        assert_eq!(
            server.participant_count(),
            self.rooms.values().map(BTreeSet::len).sum::<usize>()
        );
        if self.calls.is_empty() {
            assert!(
                server.views().iter().all(|view| view.configured),
                "an empty conference stayed"
            );
            assert_eq!(server.next_timeout(), None);
        }
        let mut inside: i64 = 0;
        for (index, event) in server.events().after(0).enumerate() {
            assert_eq!(event.sequence, index as u64 + 1);
            match event.kind {
                EventKind::ParticipantJoined { .. } => inside += 1,
                EventKind::ParticipantLeft { .. } => inside -= 1,
                _ => {}
            }
        }
        assert_eq!(inside, server.participant_count() as i64);
    }
}

proptest! {
    #[test]
    fn any_events_keep_rooms_calls_and_counts_in_step(steps in prop::collection::vec(step(), 0..120)) {
        let policy = Policy { max_conferences: 4, ..Policy::default() };
        let configured = [
            (name("r0"), Settings { max_participants: 2, ..with_pin("1", Some("12")) }),
            (name("r1"), with_pin("3", None)),
            (name("r2"), Settings { max_participants: 2, ..Settings::default() }),
        ];
        let mut server = Conferences::new(at(0), policy, configured);
        let mut world = World::default();
        let mut seconds = 0;
        for step in steps {
            let now = at(seconds);
            let room = |r: u8| format!("r{r}");
            let nothing = Vec::new();
            let actions = match step {
                Step::Ring(call, r) => {
                    match server.incoming(now, CallId(call), &room(r), Caller::default()) {
                        Decision::Refuse(refusal) => prop_assert!((400..600).contains(&refusal.status())),
                        _ => prop_assert!(world.calls.insert(CallId(call)), "admitted twice"),
                    }
                    nothing
                }
                Step::Connect(call) => {
                    if world.calls.contains(&CallId(call)) {
                        world.connected.insert(CallId(call));
                    }
                    server.connected(now, CallId(call))
                }
                Step::Key(call, key) => server.digit(now, CallId(call), key),
                Step::HangUp(call) => {
                    let actions = server.hung_up(now, CallId(call));
                    world.calls.remove(&CallId(call));
                    world.connected.remove(&CallId(call));
                    actions
                }
                Step::Talk(call, on) => {
                    server.talking(now, CallId(call), on);
                    nothing
                }
                Step::Mute(r, p, on) => server.set_muted(now, &room(r), ParticipantId(p), on).unwrap_or(nothing),
                Step::Deaf(r, p, on) => server.set_deaf(now, &room(r), ParticipantId(p), on).unwrap_or(nothing),
                Step::Kick(r, p) => server.kick(now, &room(r), ParticipantId(p)).unwrap_or(nothing),
                Step::Lock(r, on) => server.set_locked(now, &room(r), on).unwrap_or(nothing),
                Step::End(r) => server.end(now, &room(r)).unwrap_or(nothing),
                Step::Wait(passed) => {
                    seconds += passed;
                    server.timeout(at(seconds))
                }
            };
            world.apply(actions);
            world.check(&server);
        }
    }
}
