//! Conferences of several exchanges, joined by lines.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use unisono_dahdi::exchange::{ChannelNumber, Lines, STEP};

use super::ear::{Ear, WINDOW, tone};
use super::world::World;

type Frame = [i16; STEP];

/// What all exchanges said: by exchange, conference and step.
type Wire = Rc<RefCell<BTreeMap<(usize, i32, u64), Frame>>>;

/// One exchange's end of the wire: it hears what all others said a step before.
struct End {
    wire: Wire,
    exchange: usize,
    exchanges: usize,
    conference: i32,
    /// Steps that began.
    begun: Vec<u64>,
}

impl Lines for End {
    fn begin(&mut self, step: u64) {
        self.begun.push(step);
    }

    fn is_shared(&self, conference: i32) -> bool {
        conference == self.conference
    }

    fn incoming(&mut self, conference: i32, step: u64, into: &mut Frame) -> bool {
        assert_eq!(conference, self.conference);
        let wire = self.wire.borrow();
        let before = step - STEP as u64;
        let others = (0..self.exchanges).filter(|&other| other != self.exchange);
        let frames: Vec<&Frame> = others
            .filter_map(|other| wire.get(&(other, conference, before)))
            .collect();
        for (n, into) in into.iter_mut().enumerate() {
            *into = frames.iter().map(|frame| frame[n]).sum();
        }
        !frames.is_empty()
    }

    fn outgoing(&mut self, conference: i32, step: u64, sum: &Frame) {
        assert_eq!(conference, self.conference);
        let key = (self.exchange, conference, step);
        assert!(self.wire.borrow_mut().insert(key, *sum).is_none(), "twice");
    }
}

/// Exchanges of one machine that share conference 7.
struct Machine {
    worlds: Vec<World>,
    ends: Vec<End>,
}

impl Machine {
    fn new(exchanges: usize) -> Self {
        let wire = Wire::default();
        let end = |exchange| End {
            wire: Rc::clone(&wire),
            exchange,
            exchanges,
            conference: 7,
            begun: Vec::new(),
        };
        Self {
            worlds: (0..exchanges).map(|_| World::new()).collect(),
            ends: (0..exchanges).map(end).collect(),
        }
    }

    /// All are brought to the same time.
    fn sleep(&mut self, samples: u64) {
        for (world, end) in self.worlds.iter_mut().zip(&mut self.ends) {
            world.now += samples;
            world.exchange.advance_with(world.now, end);
        }
    }

    /// Everybody says its tone, if it has one, for more than a second. Returns what each heard.
    fn talk(&mut self, people: &[Person]) -> Vec<Vec<i16>> {
        let mut heard = vec![Vec::new(); people.len()];
        self.sleep(161 - self.worlds[0].now % 160);
        for from in (0..WINDOW + 1_600).step_by(STEP) {
            for person in people {
                if let Some(hz) = person.says {
                    let said = tone(hz, 2_000.0, from, STEP);
                    let world = &mut self.worlds[person.exchange];
                    assert_eq!(world.say(person.channel, &said), Ok(STEP));
                }
            }
            self.sleep(STEP as u64);
            for (heard, person) in heard.iter_mut().zip(people) {
                heard.extend(self.worlds[person.exchange].hear_all(person.channel));
            }
        }
        heard
    }
}

/// A member of conference 7.
#[derive(Clone, Copy)]
struct Person {
    exchange: usize,
    channel: ChannelNumber,
    /// A tone of so many Hz.
    says: Option<u32>,
    hears: Hears,
}

#[derive(Clone, Copy)]
enum Hears {
    Nothing,
    Others,
    All,
}

/// In each exchange two who talk and hear, one who hears, and every kind of announcer and monitor.
fn people(machine: &mut Machine) -> Vec<Person> {
    let mut people = Vec::new();
    let mut hz = 300;
    for (exchange, world) in machine.worlds.iter_mut().enumerate() {
        for (mode, says, hears) in [
            (0x304, true, Hears::Others),
            (0x304, true, Hears::Others),
            (0x104, false, Hears::Others),
            (0x204, true, Hears::Nothing),
            (5, true, Hears::Nothing),
            (6, false, Hears::All),
            (7, true, Hears::All),
        ] {
            hz += 100;
            people.push(Person {
                exchange,
                channel: world.member(7, mode),
                says: says.then_some(hz),
                hears,
            });
        }
    }
    people
}

fn everybody_hears_everybody_else(exchanges: usize) {
    let mut machine = Machine::new(exchanges);
    let people = people(&mut machine);
    let heard = machine.talk(&people);
    for (n, (heard, person)) in heard.iter().zip(&people).enumerate() {
        let audible = people
            .iter()
            .enumerate()
            .filter(|&(other, _)| match person.hears {
                Hears::Nothing => false,
                Hears::Others => other != n,
                Hears::All => true,
            });
        let tones = audible.filter_map(|(_, other)| other.says);
        Ear::listen(heard).hears_exactly(tones, 2_000.0, 1.0);
    }
}

#[test]
fn everybody_of_two_exchanges_hears_everybody_else_and_nobody_himself() {
    everybody_hears_everybody_else(2);
}

#[test]
fn everybody_of_three_exchanges_hears_everybody_else_and_nobody_himself() {
    everybody_hears_everybody_else(3);
}

#[test]
fn a_line_says_exactly_the_local_talkers_and_is_heard_exactly_a_step_later() {
    let mut machine = Machine::new(2);
    let [a, b] = [0, 1].map(|_| machine.worlds[0].member(7, 0x304));
    let c = machine.worlds[1].member(7, 0x304);
    machine.sleep(161 - machine.worlds[0].now % 160);
    for (world, channel) in [(0, a), (0, b), (1, c)] {
        machine.worlds[world].hear_all(channel);
    }
    for step in 0..50_i16 {
        let said = |times: i16| [times * (100 + step); STEP];
        machine.worlds[0].say(a, &said(1)).unwrap();
        machine.worlds[0].say(b, &said(10)).unwrap();
        machine.worlds[1].say(c, &said(100)).unwrap();
        machine.sleep(STEP as u64);
        let before = 100 + step - 1;
        let [by_a, by_b] = [a, b].map(|who| machine.worlds[0].hear(who).unwrap());
        let by_c = machine.worlds[1].hear(c).unwrap();
        if step > 2 {
            assert_eq!(by_a, [10 * (100 + step) + 100 * before; STEP]);
            assert_eq!(by_b, [(100 + step) + 100 * before; STEP]);
            assert_eq!(by_c, [11 * before; STEP]);
        }
    }
}

#[test]
fn a_line_that_stops_is_silence() {
    let mut machine = Machine::new(2);
    let a = machine.worlds[0].member(7, 0x304);
    let b = machine.worlds[1].member(7, 0x304);
    for step in 0..20 {
        machine.sleep(STEP as u64);
        if step < 10 {
            machine.worlds[1].say(b, &[1_000; STEP]).unwrap();
        } else {
            machine.ends[1].wire.borrow_mut().clear();
        }
        let heard = machine.worlds[0].hear(a).unwrap();
        let loud = (2..11).contains(&step);
        assert_eq!(heard[STEP - 1], if loud { 1_000 } else { 0 }, "step {step}");
    }
}

#[test]
fn a_conference_of_this_exchange_alone_uses_no_line() {
    let mut machine = Machine::new(2);
    let [a, b] = [0, 1].map(|_| machine.worlds[0].member(8, 0x304));
    machine.sleep(STEP as u64);
    machine.worlds[0].say(a, &[1_000; STEP]).unwrap();
    machine.sleep(STEP as u64);
    assert_eq!(machine.worlds[0].hear_all(b)[2 * STEP - 1], 1_000);
    assert!(machine.ends[0].wire.borrow().is_empty());
}

#[test]
fn lines_are_told_of_each_step_by_its_time_whatever_was_late() {
    let mut machine = Machine::new(1);
    machine.worlds[0].member(7, 0x304);
    let first = (machine.worlds[0].now / 160 + 1) * 160;
    machine.sleep(160);
    machine.sleep(3 * 160);
    machine.sleep(10 * 160);
    let step = |n: u64| first + n * 160;
    let begun = [0, 1, 2, 3, 13].map(step);
    assert_eq!(machine.ends[0].begun, begun);
    let said = machine.ends[0].wire.borrow();
    assert!(said.keys().map(|key| key.2).eq(begun));
}

#[test]
fn conferences_in_use_are_told_with_their_members() {
    let mut world = World::new();
    let channels = [7, 7, 1024].map(|conference| world.member(conference, 0x304));
    world.open();
    let mut all: Vec<_> = world.exchange.conferences().collect();
    all.sort_unstable();
    assert_eq!(all, [(7, 2), (1024, 1)]);
    world.close(channels[2]);
    let in_use = [-1, 0, 6, 7, 1024].map(|number| world.exchange.is_in_use(number));
    assert_eq!(in_use, [false, false, false, true, false]);
}
