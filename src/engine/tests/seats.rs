//! Whatever order of commands comes: every leg is served exactly once in each interval, and all memory comes back.

use std::collections::HashMap;

use proptest::prelude::*;
use unisono_mixer::SampleRate;
use unisono_rtp::codec::Codec;

use super::phone::media;
use crate::engine::leg::Leg;
use crate::engine::rehearsal::Rehearsal;
use crate::engine::{LegId, LegPolicy, RoomId};

#[derive(Debug, Clone)]
enum Step {
    Open,
    OpenRings,
    Close(usize),
    Join(usize, usize),
    Leave(usize),
    CloseRoom(usize),
    Change(usize),
    Tick,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Open),
        1 => Just(Step::OpenRings),
        2 => any::<usize>().prop_map(Step::Close),
        6 => any::<(usize, usize)>().prop_map(|(leg, room)| Step::Join(leg, room)),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => any::<usize>().prop_map(Step::CloseRoom),
        1 => any::<usize>().prop_map(Step::Change),
        3 => Just(Step::Tick),
    ]
}

/// Asserts that the plane's lists say what the model says.
fn check(hall: &Rehearsal, model: &HashMap<LegId, Option<RoomId>>) {
    let plane = hall.plane();
    let mut seated = 0;
    for (phase, work) in plane.phases.iter().enumerate() {
        for (seat, index) in work.alone.iter().enumerate() {
            let leg = plane.legs[*index as usize].as_deref().unwrap();
            assert_eq!((leg.seat, leg.phase, leg.room), (seat, phase, None));
            assert_eq!(model[&leg.id], None);
            seated += 1;
        }
        for index in &work.rooms {
            let room = plane.rooms[*index as usize].as_deref().unwrap();
            assert_eq!(room.phase, phase);
            assert!(
                !room.members.is_empty(),
                "an empty conference costs nothing"
            );
            for (seat, member) in room.members.iter().enumerate() {
                let leg = plane.legs[*member as usize].as_deref().unwrap();
                assert_eq!((leg.seat, leg.phase, leg.room), (seat, phase, Some(*index)));
                assert_eq!(model[&leg.id], Some(room.id));
                seated += 1;
            }
        }
        let mut rooms = work.rooms.clone();
        rooms.sort_unstable();
        rooms.dedup();
        assert_eq!(rooms.len(), work.rooms.len(), "listed once");
    }
    let rests = |id: &LegId| {
        let leg = plane.legs[id.index as usize].as_deref();
        model[id].is_none() && leg.is_some_and(Leg::rests_alone)
    };
    let served = model.keys().filter(|id| !rests(id)).count();
    assert_eq!(seated, served);
    assert_eq!(plane.leg_count() as usize, served);
    assert_eq!(hall.is_idle(), served == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_commands_keeps_every_leg_on_one_list(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut hall = Rehearsal::new(24, 200, LegPolicy::default());
        let mut rooms: Vec<RoomId> = (0..4).map(|n| hall.open_room(n * 2, None)).collect();
        let mut legs: Vec<LegId> = Vec::new();
        let mut model = HashMap::new();
        let mut opened = 0;
        for step in steps {
            match step {
                Step::Open if legs.len() < 24 => {
                    let codec = [Codec::Pcmu, Codec::G722, Codec::L16 { rate: 16000 }][opened % 3];
                    let leg = hall.open_leg(media(codec, opened as u16));
                    opened += 1;
                    legs.push(leg);
                    model.insert(leg, None);
                }
                Step::OpenRings if legs.len() < 24 => {
                    let (leg, _) = hall.open_ring_leg(SampleRate::Hz16000);
                    legs.push(leg);
                    model.insert(leg, None);
                }
                Step::Close(leg) if !legs.is_empty() => {
                    let leg = legs.swap_remove(leg % legs.len());
                    hall.close_leg(leg);
                    model.remove(&leg);
                    // Commands for a leg that is gone are nothing.
                    hall.leave(leg);
                    hall.set_muted(leg, true);
                    hall.close_leg(leg);
                }
                Step::Join(leg, room) if !legs.is_empty() => {
                    let (leg, room) = (legs[leg % legs.len()], rooms[room % rooms.len()]);
                    hall.join(leg, room);
                    model.insert(leg, Some(room));
                }
                Step::Leave(leg) if !legs.is_empty() => {
                    let leg = legs[leg % legs.len()];
                    hall.leave(leg);
                    model.insert(leg, None);
                }
                Step::CloseRoom(room) => {
                    let room = room % rooms.len();
                    let closed = std::mem::replace(&mut rooms[room], hall.open_room(room, None));
                    hall.close_room(closed);
                    for place in model.values_mut().filter(|place| **place == Some(closed)) {
                        *place = None;
                    }
                }
                Step::Change(leg) if !legs.is_empty() => {
                    let leg = legs[leg % legs.len()];
                    let before = media(Codec::Pcmu, 0);
                    hall.update(leg, &before, media(Codec::Opus, 0));
                    hall.update(leg, &media(Codec::Opus, 0), before);
                }
                Step::Tick => {
                    hall.tick();
                    let mut served: Vec<u32> = hall
                        .stage
                        .sent()
                        .filter(|sent| !(192..224).contains(&sent.datagram[1]))
                        .map(|sent| sent.leg.index)
                        .collect();
                    served.sort_unstable();
                    let count = served.len();
                    served.dedup();
                    prop_assert_eq!(served.len(), count, "nobody is served twice");
                }
                _ => {}
            }
            check(&hall, &model);
            hall.stage.clear();
        }
        for leg in legs {
            hall.close_leg(leg);
            prop_assert_eq!(hall.stage.garbage_count(), 1, "the leg comes back");
            hall.stage.clear();
        }
        prop_assert!(hall.is_idle());
    }
}
