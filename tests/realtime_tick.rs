//! Nothing that a worker's thread does allocates or frees, whatever is asked of it and whatever arrives.
//!
//! The same run under RealtimeSanitizer (`tests/realtime-sanitizer`) also shows that it neither locks nor blocks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;

use rtsan_standalone::nonblocking;
use unisono::bridge::mover::Patches;
use unisono::engine::rehearsal::{Mouth, Rehearsal, address};
use unisono::engine::{Channel, LegId, LegPolicy, Level, MediaSpec, Remote, RingEnd, RoomId};
use unisono_dahdi::exchange::Lines;
use unisono_dahdi_trunk::{Directory, Trunk};
use unisono_mixer::SampleRate;
use unisono_rtp::codec::{Codec, OpusSettings};

#[test]
fn every_tick_is_real_time() {
    if std::env::var_os("UNISONO_PLANT_FAULT").is_some() {
        planted_fault();
    }
    let mut show = Show::new();
    for _ in 0..700 {
        show.act();
        show.speak();
        show.link();
        show.disturb();
        show.overload();
        match show.random(60) {
            0 => show.plane.tick_after_stall(1),
            1 => show.plane.tick_after_stall(40),
            _ => show.plane.tick(),
        }
        show.plane.stage.clear();
    }
    show.plane.shut_down();
    assert!(show.acts.iter().all(|count| *count > 5), "{:?}", show.acts);
    assert!(show.most_dozing > 0, "silent legs are shed now and then");
    assert_eq!(CALLS.get(), 0, "calls of the allocator");

    // The counter itself works.
    begin();
    drop(Box::new(1_u8));
    end();
    assert_eq!(CALLS.get(), 2);
}

#[test]
fn every_step_of_a_link_is_real_time() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::at(folder.path()).unwrap();
    let trunks = ["unisono serve", "meetme"].map(|name| {
        let trunk = Trunk::open(&directory, name).unwrap();
        trunk.open_line(1000).unwrap();
        trunk
    });
    for trunk in &trunks {
        trunk.refresh().unwrap();
    }
    let [mut lines, mut others] = trunks.each_ref().map(|trunk| trunk.lines().unwrap());
    let mut plane = Rehearsal::new(1, 1, LegPolicy::default());
    let room = plane.open_room(0, None);
    let (leg, far) = plane.open_ring_leg(SampleRate::Hz8000);
    plane.join(leg, room);
    let mut patches = Patches::new(1);
    patches.connect(0, 1000, far);
    for number in 1000..1500 {
        let step = number * 160;
        others.begin(step);
        others.outgoing(1000, step, &[3000; 160]);
        begin();
        if number % 100 == 0 {
            patches.skip();
        }
        patches.step(step, &mut lines);
        end();
        plane.tick();
        plane.stage.clear();
    }
    assert!(trunks[0].stats().frames > 400, "{:?}", trunks[0].stats());
    assert!(plane.leg_figures(leg).unwrap().talking);
    assert_eq!(CALLS.get(), 0, "calls of the allocator");
}

#[test]
fn every_tick_of_a_conference_over_workers_is_real_time() {
    let mut planes = [0, 1, 2].map(|worker| {
        let mut plane = Rehearsal::new(4, 1, LegPolicy::default()).as_worker(worker);
        plane.watch(begin, end);
        plane
    });
    let mut cast = Vec::new();
    let rooms: Vec<RoomId> = planes
        .iter_mut()
        .zip([(0, 8000), (3, 48000), (6, 16000)])
        .map(|(plane, (phase, rate))| {
            let room = plane.open_room(phase, None);
            let codec = Codec::L16 { rate };
            let number = phase as u16;
            let media = MediaSpec {
                codec,
                payload_type: 111,
                receive_payload_type: 111,
                telephone_event: None,
                comfort_noise: None,
                ptime_ms: 20,
                remote: Remote {
                    rtp: Some(address(number)),
                    rtcp: None,
                    rtcp_mux: true,
                },
                sends: true,
                receives: true,
                opus: OpusSettings::default(),
            };
            let leg = plane.open_leg(media);
            plane.join(leg, room);
            cast.push((
                leg,
                codec.sample_rate() as usize / 50,
                Mouth::new(number, &media),
            ));
            room
        })
        .collect();
    for n in 0..300_usize {
        if n % 10 == 0 {
            // One, two or three of them are one conference.
            let tied = 1 + n / 10 % 3;
            let each = planes.iter_mut().zip(rooms.iter().copied());
            let mut each: Vec<_> = each.collect();
            let (together, alone) = each.split_at_mut(tied);
            Rehearsal::tie(together);
            for alone in alone {
                Rehearsal::tie(std::slice::from_mut(alone));
            }
        }
        for (worker, ((plane, (leg, samples, mouth)), room)) in
            planes.iter_mut().zip(&mut cast).zip(&rooms).enumerate()
        {
            // Each is silent, and each has nobody, once in a while.
            if n / 20 % 4 != worker {
                let source = mouth.address;
                let datagram = mouth.say(&vec![2000; *samples]).to_vec();
                plane.receive(*leg, Channel::Rtp, &datagram, source);
            }
            match n % 70 {
                50 if worker == 1 => plane.leave(*leg),
                60 if worker == 1 => plane.join(*leg, *room),
                _ => {}
            }
            match n {
                100 => plane.tick_after_stall(2),
                200 => plane.tick_after_stall(9),
                _ => plane.tick(),
            }
            plane.stage.clear();
        }
    }
    assert!(planes.iter().all(|plane| plane.figures().sums_added > 20));
    assert_eq!(CALLS.get(), 0, "calls of the allocator");
}

/// What the sanitizer has to find.
#[nonblocking]
fn planted_fault() {
    std::hint::black_box(Box::new(1_u8));
}

/// Everything that can happen to a media plane, in an order of chance.
struct Show {
    plane: Rehearsal,
    /// A leg by rings, and its far end, which keeps time badly.
    link: (LegId, RingEnd),
    rooms: Vec<RoomId>,
    cast: Vec<Actor>,
    acts: [usize; 14],
    most_dozing: u64,
    seed: u64,
    calls: u16,
}

struct Actor {
    leg: LegId,
    media: MediaSpec,
    mouth: Mouth,
    digit: u16,
}

impl Show {
    fn new() -> Self {
        let mut plane = Rehearsal::new(64, 4096, LegPolicy::default());
        plane.watch(begin, end);
        let rooms = (0..3).map(|phase| plane.open_room(phase, None)).collect();
        let link = plane.open_ring_leg(SampleRate::Hz8000);
        Self {
            plane,
            link,
            rooms,
            cast: Vec::new(),
            acts: [0; 14],
            most_dozing: 0,
            seed: 0x5eed,
            calls: 0,
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed >> 16) % below
    }

    fn media(&mut self, number: u16) -> MediaSpec {
        const CODECS: [Codec; 6] = [
            Codec::Pcmu,
            Codec::Pcma,
            Codec::G722,
            Codec::Opus,
            Codec::L16 { rate: 24000 },
            Codec::L16 { rate: 48000 },
        ];
        let codec = CODECS[self.random(6) as usize];
        let rtp = address(number);
        let payload_type = codec.static_payload_type().unwrap_or(111);
        MediaSpec {
            codec,
            payload_type,
            receive_payload_type: payload_type,
            telephone_event: Some((101, 8000)),
            comfort_noise: Some(13),
            ptime_ms: [10, 20, 20, 30, 40, 60][self.random(6) as usize],
            remote: Remote {
                rtp: (self.random(9) > 0).then_some(rtp),
                rtcp: None,
                rtcp_mux: self.random(2) == 0,
            },
            sends: self.random(9) > 0,
            receives: self.random(9) > 0,
            opus: OpusSettings::default(),
        }
    }

    /// One command.
    fn act(&mut self) {
        if self.cast.len() < 6 || (self.cast.len() < 40 && self.random(8) == 0) {
            self.calls += 1;
            let media = self.media(self.calls);
            self.cast.push(Actor {
                leg: self.plane.open_leg(media),
                media,
                mouth: Mouth::new(self.calls, &media),
                digit: 0,
            });
        }
        let chosen = self.random(self.cast.len() as u64) as usize;
        let leg = match self.random(9) {
            0 => self.link.0,
            _ => self.cast[chosen].leg,
        };
        let chosen_room = self.random(self.rooms.len() as u64) as usize;
        let room = self.rooms[chosen_room];
        let act = self.random(14) as usize;
        self.acts[act] += 1;
        match act {
            0..=3 => self.plane.join(leg, room),
            4 => self.plane.leave(leg),
            5 => {
                let leg = self.cast[chosen].leg;
                let before = self.cast[chosen].media;
                let number = u16::try_from(chosen).unwrap();
                let media = MediaSpec {
                    remote: before.remote,
                    ..self.media(number)
                };
                self.plane.update(leg, &before, media);
                let actor = &mut self.cast[chosen];
                let mut mouth = Mouth::new(number, &media);
                mouth.address = actor.mouth.address;
                actor.media = media;
                actor.mouth = mouth;
            }
            6 => (0..20).for_each(|_| self.plane.play(leg, vec![99; 500].into())),
            7 => self.plane.stop_playing(leg),
            8 => self.plane.announce(room, vec![999; 5000].into()),
            9 => self.plane.set_muted(leg, chosen.is_multiple_of(2)),
            10 => self.plane.set_deaf(leg, chosen.is_multiple_of(2)),
            11 => self.plane.set_gains(leg, chosen as f32 - 9.0, 3.0),
            12 => {
                let gone = self.cast.swap_remove(chosen);
                self.plane.close_leg(gone.leg);
            }
            _ => {
                self.plane.close_room(room);
                self.rooms.retain(|other| *other != room);
                let phase = self.random(8) as usize;
                self.rooms.push(self.plane.open_room(phase, None));
            }
        }
    }

    /// Everybody says something.
    fn speak(&mut self) {
        let tick = self.random(1000);
        for actor in &mut self.cast {
            let length = actor.media.codec.sample_rate() as usize / 50;
            let frame: Vec<i16> = (0..length as u64)
                .map(|n| ((n + tick) * 7919 % 20_000) as i16 - 10_000)
                .collect();
            let source = actor.mouth.address;
            let datagram = actor.mouth.say(&frame);
            self.plane
                .receive(actor.leg, Channel::Rtp, datagram, source);
        }
    }

    /// The link's far end says something, or it does not.
    fn link(&mut self) {
        let frames = self.random(3);
        let far = &mut self.link.1;
        let mut frame = [4000; 160];
        begin();
        for _ in 0..frames {
            far.send(&frame);
            far.receive(&mut frame);
        }
        end();
    }

    /// Another level of overload, now and then.
    fn overload(&mut self) {
        if self.random(12) == 0 {
            let level = Level::from_number(self.random(4));
            self.plane.set_level(level);
        }
        self.most_dozing = self.most_dozing.max(self.plane.dozing());
    }

    /// What else arrives: digits, comfort noise, reports, strangers, restarts, rubbish.
    fn disturb(&mut self) {
        let chosen = self.random(self.cast.len() as u64) as usize;
        let kind = self.random(9);
        let actor = &mut self.cast[chosen];
        let (leg, mux) = (actor.leg, actor.media.remote.rtcp_mux);
        let source = actor.mouth.address;
        let frame = vec![0; actor.media.codec.sample_rate() as usize / 50];
        let mut datagram = actor.mouth.say(&frame).to_vec();
        let mut from = source;
        let mut channel = Channel::Rtp;
        match kind {
            0 => {
                actor.digit += 1;
                let step = actor.digit.to_be_bytes()[1];
                datagram.truncate(12);
                datagram[1] = 101;
                datagram.extend_from_slice(&[step % 16, 0x80, 2, 0]);
            }
            1 => {
                datagram.truncate(12);
                datagram[1] = 13;
                datagram.push(50);
            }
            2 => from = SocketAddr::from(([198, 51, 100, 1], 9)),
            3 => actor.mouth.ssrc ^= 0x0f0f,
            4 => actor.mouth.sequence = actor.mouth.sequence.wrapping_add(5000),
            5 => datagram[1] = 77,
            6 => datagram.truncate(7),
            7 => datagram.iter_mut().skip(12).for_each(|byte| *byte ^= 0x5a),
            _ => {
                if !mux {
                    channel = Channel::Rtcp;
                }
                let ssrc = actor.mouth.ssrc.to_be_bytes();
                datagram = [[0x80, 201, 0, 1], ssrc, [0x81, 203, 0, 1], ssrc].concat();
            }
        }
        self.plane.receive(leg, channel, &datagram, from);
    }
}

thread_local! {
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn begin() {
    AT_WORK.set(true);
}

fn end() {
    AT_WORK.set(false);
}

/// Counts what a thread asks of the allocator while it is at work.
struct Counting;

fn count() {
    if AT_WORK.get() {
        CALLS.set(CALLS.get() + 1);
    }
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises hold for the system's allocator too.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises hold for the system's allocator too.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises hold for the system's allocator too.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
