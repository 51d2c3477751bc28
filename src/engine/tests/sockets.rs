//! The whole engine: a real thread, real sockets.

use std::f32::consts::TAU;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::net::{MediaPorts, MediaSocket, SocketOptions};
use unisono_rtp::packet::RtpPacket;

use super::alone;
use super::phone::{amplitude, media};
use crate::engine::rehearsal::Mouth;
use crate::engine::{Engine, EngineConfig, LegPolicy, MediaSpec, Remote};

fn engine() -> Engine {
    engine_of(1)
}

/// An engine that gives each worker one leg of a conference before another goes on with it.
fn engine_of(workers: usize) -> Engine {
    Engine::start(EngineConfig {
        workers,
        cpus: Vec::new(),
        priority: None,
        legs: 4,
        rooms: 2,
        split_above: 1,
        policy: LegPolicy::default(),
    })
    .unwrap()
}

struct Peer {
    socket: UdpSocket,
    server: SocketAddr,
    media: MediaSpec,
    ports: Option<MediaPorts>,
}

impl Peer {
    fn new(number: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let rtp =
            MediaSocket::bind((Ipv4Addr::LOCALHOST, 0).into(), &SocketOptions::default()).unwrap();
        Self {
            server: rtp.local_addr(),
            media: MediaSpec {
                remote: Remote {
                    rtp: Some(socket.local_addr().unwrap()),
                    rtcp: None,
                    rtcp_mux: true,
                },
                ..media(Codec::Pcmu, number)
            },
            ports: Some(MediaPorts { rtp, rtcp: None }),
            socket,
        }
    }

    /// What has arrived, decoded.
    fn audio(&self) -> (usize, Vec<i16>) {
        let mut decoder = Decoder::new(Codec::Pcmu);
        let mut datagram = [0; 2048];
        let mut frame = [0; 960];
        let (mut packets, mut audio) = (0, Vec::new());
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let packet = RtpPacket::parse(&datagram[..length]).unwrap();
            if packet.payload_type == 0 {
                packets += 1;
                let samples = decoder.decode(packet.payload, &mut frame).unwrap();
                audio.extend_from_slice(&frame[..samples]);
            }
        }
        (packets, audio)
    }
}

fn wait_for(engine: &mut Engine, mut done: impl FnMut(&Engine) -> bool) {
    let begun = Instant::now();
    while !done(engine) {
        while engine.poll().is_some() {}
        assert!(begun.elapsed() < Duration::from_secs(20), "it never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Times that the worker's thread has gone to sleep.
fn sleeps() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let counts = tasks.filter_map(|task| {
        let path = task.unwrap().path();
        let name = fs::read_to_string(path.join("comm")).ok()?;
        if name.trim() != "unisono-media-0" {
            return None;
        }
        let status = fs::read_to_string(path.join("status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    });
    counts.sum()
}

/// Whether the worker comes to sleep for a whole second, whenever the machine lets it get there.
fn comes_to_rest() -> bool {
    eventually(|| {
        let before = sleeps();
        std::thread::sleep(Duration::from_secs(1));
        sleeps() == before
    })
}

/// Whether it becomes so within twenty seconds, which only something broken takes.
pub(super) fn eventually(mut so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if so() {
            return true;
        }
        if begun.elapsed() > Duration::from_secs(20) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_peers_hear_each_other_and_an_engine_without_legs_sleeps() {
    let _alone = alone();
    let mut engine = engine();
    let room = engine.open_conference(None).unwrap();
    assert!(comes_to_rest(), "an idle conference wakes nobody");

    let mut peers = [Peer::new(0), Peer::new(1)];
    let legs = peers.each_mut().map(|peer| {
        let leg = engine
            .open_leg(peer.media, peer.ports.take().unwrap(), room)
            .unwrap();
        engine.join(leg, room);
        leg
    });
    let mut mouths = [0, 1].map(|n| Mouth::new(n, &peers[usize::from(n)].media));
    let tones = [500.0, 900.0];
    let begun = Instant::now();
    for n in 0..100_u32 {
        for ((peer, mouth), tone) in peers.iter().zip(&mut mouths).zip(tones) {
            let frame: Vec<i16> = (n * 160..(n + 1) * 160)
                .map(|n| ((n as f32 * tone * TAU / 8000.0).sin() * 6000.0) as i16)
                .collect();
            peer.socket.send_to(mouth.say(&frame), peer.server).unwrap();
        }
        while engine.poll().is_some() {}
        let next = begun + Duration::from_millis(20) * (n + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    for (n, peer) in peers.iter().enumerate() {
        let (packets, audio) = peer.audio();
        let ticks = (begun.elapsed().as_millis() / 20) as usize;
        assert!(packets > 60 && packets <= ticks + 1, "{packets} packets");
        let late = &audio[audio.len() / 2..];
        assert!(amplitude(late, tones[1 - n], 8000.0) > 3000.0);
        assert!(amplitude(late, tones[n], 8000.0) < 200.0);
    }

    for leg in legs {
        assert!(engine.figures(leg).unwrap().packets_out > 60);
        engine.close_leg(leg);
        engine.join(leg, room);
        engine.set_muted(leg, true);
    }
    wait_for(&mut engine, |engine| engine.leg_count() == 0);
    assert!(comes_to_rest(), "nor does one whose legs have gone");
    drop(engine);
    assert!(
        eventually(|| sleeps() == 0),
        "the worker's thread has ended"
    );
}

#[test]
fn nothing_is_left_unread_of_who_pauses_and_of_who_sends_in_bursts() {
    let _alone = alone();
    let mut engine = engine();
    let room = engine.open_conference(None).unwrap();
    let mut peers = [0, 1].map(Peer::new);
    let legs = peers.each_mut().map(|peer| {
        let ports = peer.ports.take().unwrap();
        let leg = engine.open_leg(peer.media, ports, room).unwrap();
        engine.join(leg, room);
        leg
    });
    let mut mouths = [0, 1].map(|n| Mouth::new(n, &peers[usize::from(n)].media));
    let frame = [1000; 160];
    let mut sent = [0, 0];
    let begun = Instant::now();
    for n in 0..100_u32 {
        // The first talks, is silent for so long that it is no longer looked after, and talks again.
        let pauses = (25..60).contains(&n);
        for (who, packets) in [(0, u32::from(!pauses)), (1, if n % 3 == 0 { 3 } else { 0 })] {
            for _ in 0..packets {
                let peer = &peers[who];
                peer.socket
                    .send_to(mouths[who].say(&frame), peer.server)
                    .unwrap();
                sent[who] += 1;
            }
        }
        while engine.poll().is_some() {}
        let next = begun + Duration::from_millis(20) * (n + 1);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    let last = engine.figures(legs[0]).unwrap().last_packet_ns;
    for (leg, sent) in legs.iter().zip(sent) {
        let all = eventually(|| engine.figures(*leg).unwrap().packets_in == sent);
        let figures = engine.figures(*leg).unwrap();
        assert!(all, "{sent} packets were sent: {figures:?}");
    }
    // Once more, after a pause that leaves it to epoll.
    std::thread::sleep(Duration::from_millis(200));
    let peer = &peers[0];
    peer.socket
        .send_to(mouths[0].say(&frame), peer.server)
        .unwrap();
    assert!(eventually(|| {
        let figures = engine.figures(legs[0]).unwrap();
        figures.packets_in == sent[0] + 1 && figures.last_packet_ns > last
    }));
    for leg in legs {
        engine.close_leg(leg);
    }
    wait_for(&mut engine, |engine| engine.leg_count() == 0);
}

#[test]
fn peers_on_two_workers_hear_each_other() {
    let _alone = alone();
    let mut engine = engine_of(2);
    let conference = engine.open_conference(None).unwrap();
    let mut peers = [0, 1, 2].map(Peer::new);
    let legs = peers.each_mut().map(|peer| {
        let ports = peer.ports.take().unwrap();
        let leg = engine.open_leg(peer.media, ports, conference).unwrap();
        engine.join(leg, conference);
        leg
    });
    let seats: Vec<_> = engine.seats(conference).collect();
    assert_eq!(seats, [(0, 2), (1, 1)]);
    let mut mouths = [0, 1, 2].map(|n| Mouth::new(n, &peers[usize::from(n)].media));
    let tones = [500.0, 900.0, 1500.0];
    let begun = Instant::now();
    // Each of them hears both others, if not in the first second then in one after, as the machine may stand still.
    let mut n = 0_u32;
    loop {
        for _ in 0..50 {
            for ((peer, mouth), tone) in peers.iter().zip(&mut mouths).zip(tones) {
                let frame: Vec<i16> = (n * 160..(n + 1) * 160)
                    .map(|n| ((n as f32 * tone * TAU / 8000.0).sin() * 6000.0) as i16)
                    .collect();
                peer.socket.send_to(mouth.say(&frame), peer.server).unwrap();
            }
            while engine.poll().is_some() {}
            n += 1;
            let next = begun + Duration::from_millis(20) * n;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let all = peers.iter().enumerate().all(|(own, peer)| {
            let (_, audio) = peer.audio();
            assert!(amplitude(&audio, tones[own], 8000.0) < 1500.0, "an echo");
            let others = (0..3).filter(|other| *other != own);
            others
                .map(|other| amplitude(&audio, tones[other], 8000.0))
                .all(|loud| loud > 3000.0)
        });
        if all {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
    }
    let added: Vec<u64> = engine
        .reports()
        .iter()
        .map(|report| report.figures.sums_added)
        .collect();
    assert!(added.iter().all(|added| *added > 10), "{added:?}");

    engine.close_leg(legs[1]);
    assert_eq!(engine.seats(conference).count(), 1);
    engine.close_conference(conference);
    for leg in legs {
        engine.close_leg(leg);
    }
    wait_for(&mut engine, |engine| engine.leg_count() == 0);
}

#[test]
fn places_are_used_again_and_a_full_engine_says_so() {
    let _alone = alone();
    let mut engine = engine();
    for _ in 0..3 {
        let rooms = [0, 1].map(|_| engine.open_conference(None).unwrap());
        assert!(engine.open_conference(None).is_err());
        let legs: Vec<_> = (0..4)
            .map(|n| {
                let mut peer = Peer::new(n);
                let leg = engine
                    .open_leg(peer.media, peer.ports.take().unwrap(), rooms[0])
                    .unwrap();
                engine.join(leg, rooms[0]);
                leg
            })
            .collect();
        let mut peer = Peer::new(9);
        let ports = peer.ports.take().unwrap();
        assert!(engine.open_leg(peer.media, ports, rooms[0]).is_err());
        for leg in legs {
            engine.close_leg(leg);
        }
        for room in rooms {
            engine.close_conference(room);
        }
        wait_for(&mut engine, |engine| engine.leg_count() == 0);
    }
}
