//! The whole engine with a shared port: a real thread, real sockets.

use std::f32::consts::TAU;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use unisono_rtp::codec::{Codec, Decoder};
use unisono_rtp::net::{MediaPorts, PortPool, SocketOptions};
use unisono_rtp::packet::RtpPacket;

use super::alone;
use super::phone::{amplitude, media};
use crate::engine::rehearsal::Mouth;
use crate::engine::{
    ConferenceId, Engine, EngineConfig, Event, LegId, LegPolicy, MediaSpec, Remote,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// An engine of one worker with a conference, and where its shared port is.
struct Hall {
    engine: Engine,
    room: ConferenceId,
    rtp: SocketAddr,
    rtcp: SocketAddr,
    _alone: MutexGuard<'static, ()>,
}

impl Hall {
    fn new() -> Self {
        let _alone = alone();
        let ports = ports();
        let rtp = ports.rtp.local_addr();
        let rtcp = ports.rtcp.as_ref().unwrap().local_addr();
        let config = EngineConfig {
            workers: 1,
            cpus: Vec::new(),
            priority: None,
            legs: 4,
            rooms: 2,
            split_above: 0,
            policy: LegPolicy::default(),
        };
        let mut engine = Engine::start_sharing(config, vec![ports]).unwrap();
        let room = engine.open_conference(None).unwrap();
        Self {
            engine,
            room,
            rtp,
            rtcp,
            _alone,
        }
    }

    fn admit(&mut self, phone: &Phone) -> LegId {
        let remote = &phone.media.remote;
        let ports = (self.rtp.port(), Some(self.rtcp.port()));
        assert_eq!(self.engine.shared_port(self.room, remote), Some(ports));
        let leg = self.engine.open_shared_leg(phone.media, self.room).unwrap();
        self.engine.join(leg, self.room);
        leg
    }

    /// Lets the phones speak in real time until something is so.
    fn until(
        &mut self,
        phones: &mut [&mut Phone],
        mut done: impl FnMut(&Engine, &mut [&mut Phone]) -> bool,
    ) {
        let begun = Instant::now();
        let mut events = Vec::new();
        while !done(&self.engine, phones) {
            for phone in &mut *phones {
                phone.say();
                phone.listen();
            }
            events.extend(std::iter::from_fn(|| self.engine.poll()));
            assert!(begun.elapsed() < PATIENCE, "it never came; {events:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn strangers(&self) -> u64 {
        self.engine.reports()[0].figures.strangers
    }
}

/// A pair of free ports.
fn ports() -> MediaPorts {
    let random = std::process::id() as u16;
    let range = 20_000..=29_999;
    PortPool::new(
        Ipv4Addr::LOCALHOST.into(),
        range,
        SocketOptions::default(),
        random,
    )
    .bind_pair(false)
    .unwrap()
}

struct Phone {
    /// Sends and receives.
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// Where it sends to.
    server: SocketAddr,
    media: MediaSpec,
    mouth: Mouth,
    tone: f32,
    position: usize,
    heard: Vec<i16>,
}

impl Phone {
    fn new(hall: &Hall, number: u16, tone: f32) -> Self {
        let socket = || {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let (rtp, rtcp) = (socket(), socket());
        let media = MediaSpec {
            remote: Remote {
                rtp: Some(rtp.local_addr().unwrap()),
                rtcp: Some(rtcp.local_addr().unwrap()),
                rtcp_mux: false,
            },
            ..media(Codec::Pcmu, number)
        };
        Self {
            mouth: Mouth::new(number, &media),
            server: hall.rtp,
            rtp,
            rtcp,
            media,
            tone,
            position: 0,
            heard: Vec::new(),
        }
    }

    fn say(&mut self) {
        let frame: Vec<i16> = (self.position..self.position + 160)
            .map(|n| ((n as f32 * self.tone * TAU / 8000.0).sin() * 6000.0) as i16)
            .collect();
        self.position += 160;
        self.rtp
            .send_to(self.mouth.say(&frame), self.server)
            .unwrap();
    }

    fn listen(&mut self) {
        let mut decoder = Decoder::new(Codec::Pcmu);
        let (mut datagram, mut frame) = ([0; 2048], [0; 960]);
        while let Ok(length) = self.rtp.recv(&mut datagram) {
            let packet = RtpPacket::parse(&datagram[..length]).unwrap();
            let samples = decoder.decode(packet.payload, &mut frame).unwrap();
            self.heard.extend_from_slice(&frame[..samples]);
        }
    }

    /// Whether the last half second was mostly this tone.
    fn hears(&self, tone: f32) -> bool {
        let late = &self.heard[self.heard.len().saturating_sub(4000)..];
        late.len() == 4000 && amplitude(late, tone, 8000.0) > 3000.0
    }

    /// The same phone on another socket.
    fn move_to_another_port(&mut self) {
        self.rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        self.rtp.set_nonblocking(true).unwrap();
        self.heard.clear();
    }
}

#[test]
fn legs_on_one_port_hear_each_other_and_not_themselves() {
    let mut hall = Hall::new();
    let (mut a, mut b) = (Phone::new(&hall, 0, 500.0), Phone::new(&hall, 1, 900.0));
    let legs = [hall.admit(&a), hall.admit(&b)];
    assert_eq!(hall.engine.shared_leg_count(), 2);
    hall.until(&mut [&mut a, &mut b], |_, phones| {
        phones[0].hears(900.0) && phones[1].hears(500.0)
    });
    assert!(!a.hears(500.0) && !b.hears(900.0));
    assert_eq!(hall.strangers(), 0);

    // RTCP has a port too, both ways.
    let ssrc = a.mouth.ssrc.to_be_bytes();
    let mut bye = vec![0x80, 201, 0, 1];
    bye.extend(ssrc);
    bye.extend([0x81, 203, 0, 1]);
    bye.extend(ssrc);
    a.rtcp.send_to(&bye, hall.rtcp).unwrap();
    let begun = Instant::now();
    while hall.engine.poll() != Some(Event::RemoteBye(legs[0])) {
        assert!(begun.elapsed() < PATIENCE, "no BYE came through");
        std::thread::sleep(Duration::from_millis(2));
    }
    for leg in legs {
        hall.engine.close_leg(leg);
    }
    hall.until(&mut [], |engine, _| engine.leg_count() == 0);
    let mut datagram = [0; 2048];
    let begun = Instant::now();
    loop {
        if let Ok((_, source)) = b.rtcp.recv_from(&mut datagram) {
            assert_eq!(source, hall.rtcp);
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it said no BYE");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(hall.engine.shared_leg_count(), 0);
}

#[test]
fn a_stranger_is_counted_and_takes_over_nobody() {
    let mut hall = Hall::new();
    let (mut a, mut b) = (Phone::new(&hall, 0, 500.0), Phone::new(&hall, 1, 900.0));
    let legs = [hall.admit(&a), hall.admit(&b)];
    hall.until(&mut [&mut a, &mut b], |engine, _| {
        legs.iter()
            .all(|leg| engine.figures(*leg).unwrap().packets_in > 5)
    });
    // One on another machine, and one on the same: both know the SSRC and the numbers.
    for ip in [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::LOCALHOST] {
        let rival = UdpSocket::bind((ip, 0)).unwrap();
        rival.set_nonblocking(true).unwrap();
        let mut copy = Mouth::new(0, &a.media);
        (copy.ssrc, copy.sequence) = (a.mouth.ssrc, a.mouth.sequence);
        let before = hall.strangers();
        hall.until(&mut [&mut a, &mut b], |engine, phones| {
            rival
                .send_to(copy.say(&[0; 160]), phones[0].server)
                .unwrap();
            engine.reports()[0].figures.strangers >= before + 20
        });
        let mut datagram = [0; 2048];
        assert!(rival.recv(&mut datagram).is_err(), "nothing is sent to it");
    }
    a.heard.clear();
    b.heard.clear();
    hall.until(&mut [&mut a, &mut b], |_, phones| {
        phones[0].hears(900.0) && phones[1].hears(500.0)
    });
}

#[test]
fn the_only_phone_that_was_not_heard_yet_may_send_from_another_port() {
    let mut hall = Hall::new();
    let (mut a, mut b) = (Phone::new(&hall, 0, 500.0), Phone::new(&hall, 1, 900.0));
    let legs = [hall.admit(&a), hall.admit(&b)];
    hall.until(&mut [&mut a], |engine, _| {
        engine.figures(legs[0]).unwrap().packets_in > 0
    });
    b.move_to_another_port();
    hall.until(&mut [&mut a, &mut b], |_, phones| {
        phones[0].hears(900.0) && phones[1].hears(500.0)
    });
}

#[test]
fn an_address_is_one_legs_until_that_has_gone() {
    let mut hall = Hall::new();
    let a = Phone::new(&hall, 0, 500.0);
    let leg = hall.admit(&a);
    let remote = a.media.remote;
    assert_eq!(hall.engine.shared_port(hall.room, &remote), None);
    assert!(hall.engine.can_stay(leg, &remote));
    let b = Phone::new(&hall, 1, 900.0);
    let other = hall.admit(&b);
    assert!(!hall.engine.can_stay(other, &remote));
    assert!(hall.engine.can_stay(other, &Remote::default()), "on hold");
    assert_eq!(
        hall.engine.shared_port(hall.room, &Remote::default()),
        None,
        "nobody knows where it will be"
    );
    hall.engine.close_leg(leg);
    hall.until(&mut [], |engine, _| engine.leg_count() == 1);
    assert!(hall.engine.can_stay(other, &remote));
    assert!(hall.engine.shared_port(hall.room, &remote).is_some());
}

#[test]
fn a_phone_that_announces_another_address_is_heard_from_there() {
    let mut hall = Hall::new();
    let (mut a, mut b) = (Phone::new(&hall, 0, 500.0), Phone::new(&hall, 1, 900.0));
    let legs = [hall.admit(&a), hall.admit(&b)];
    hall.until(&mut [&mut a, &mut b], |_, phones| phones[1].hears(500.0));

    a.move_to_another_port();
    a.media.remote.rtp = Some(a.rtp.local_addr().unwrap());
    hall.engine.update(legs[0], a.media);
    hall.until(&mut [&mut a, &mut b], |_, phones| {
        phones[0].hears(900.0) && phones[1].hears(500.0)
    });
    assert!(hall.engine.is_shared(legs[0]));

    // And one that can no longer share gets ports of its own.
    let own = ports();
    a.move_to_another_port();
    a.server = own.rtp.local_addr();
    a.media.remote.rtp = Some(a.rtp.local_addr().unwrap());
    hall.engine.move_out(legs[0], own).unwrap();
    hall.engine.update(legs[0], a.media);
    assert!(!hall.engine.is_shared(legs[0]));
    b.heard.clear();
    hall.until(&mut [&mut a, &mut b], |_, phones| {
        phones[0].hears(900.0) && phones[1].hears(500.0)
    });
    let mut datagram = [0; 2048];
    a.rtp.set_nonblocking(false).unwrap();
    let (_, source) = a.rtp.recv_from(&mut datagram).unwrap();
    assert_eq!(source, a.server, "it sends from there, too");
}
