//! Datagrams through the kernel, on the loopback interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use socket2::SockRef;
use unisono_rtp::net::{
    BATCH, ClockOffset, MAX_DATAGRAM, MediaPorts, MediaSocket, Poller, PortError, PortPool,
    RECV_BATCH, Received, RecvBatch, RecvBuf, SendBatch, SendCounters, SocketOptions,
    descriptor_limit,
};

const ANY_PORT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn socket() -> MediaSocket {
    MediaSocket::bind(ANY_PORT, &SocketOptions::default()).unwrap()
}

/// Loopback delivers within the send call, as a rule; this waits where it does not.
fn receive(socket: &MediaSocket, buf: &mut RecvBuf) -> Received {
    for _ in 0..1000 {
        if let Some(received) = socket.recv(buf, ClockOffset::measure()).unwrap() {
            return received;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("nothing arrived")
}

#[test]
fn a_datagram_arrives_with_its_sender_and_its_time() {
    for ip in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        let any_port = SocketAddr::new(ip, 0);
        let (a, b) = match MediaSocket::bind(any_port, &SocketOptions::default()) {
            Ok(a) => (
                a,
                MediaSocket::bind(any_port, &SocketOptions::default()).unwrap(),
            ),
            Err(error) if ip.is_ipv6() => {
                eprintln!("no IPv6 here: {error}");
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let mut counters = SendCounters::default();
        let before = ClockOffset::measure().now_ns();
        assert!(a.send_to(b"voice", b.local_addr(), &mut counters));
        let mut buf = RecvBuf::new();
        let received = receive(&b, &mut buf);
        let after = ClockOffset::measure().now_ns();
        assert_eq!(buf.datagram(&received), b"voice");
        assert_eq!(received.source, a.local_addr());
        assert_eq!(received.dropped, 0);
        // The stamp may be off by what passes between the two clocks' readings.
        let slack = 1_000_000;
        assert!(received.arrival_ns + slack >= before && received.arrival_ns <= after + slack);
        assert_eq!(counters.sent, 1);
        assert!(b.recv(&mut buf, ClockOffset::measure()).unwrap().is_none());
    }
}

#[test]
fn the_time_of_arrival_is_not_the_time_of_reading() {
    let (a, b) = (socket(), socket());
    let mut counters = SendCounters::default();
    let mut buf = RecvBuf::new();
    // The kernel begins to stamp shortly after the first socket asks for it.
    thread::sleep(Duration::from_millis(50));
    a.send_to(b"x", b.local_addr(), &mut counters);
    thread::sleep(Duration::from_millis(100));
    let offset = ClockOffset::measure();
    let received = b.recv(&mut buf, offset).unwrap().unwrap();
    assert!(offset.now_ns() - received.arrival_ns >= 90_000_000);
}

#[test]
fn voice_is_marked_for_expedited_forwarding() {
    let socket = socket();
    assert_eq!(SockRef::from(&socket.as_fd()).tos_v4().unwrap(), 46 << 2);
}

#[test]
fn what_icmp_reports_is_counted_and_stops_nothing() {
    let (a, b) = (socket(), socket());
    // Only a connected socket hears of ICMP. Its peer is gone.
    let gone = UdpSocket::bind(ANY_PORT).unwrap().local_addr().unwrap();
    SockRef::from(&a.as_fd()).connect(&gone.into()).unwrap();
    let mut counters = SendCounters::default();
    a.send_to(b"anybody?", gone, &mut counters);
    let mut buf = RecvBuf::new();
    for _ in 0..100 {
        assert_eq!(a.recv(&mut buf, ClockOffset::measure()).unwrap(), None);
        if buf.counters().icmp_errors == 1 {
            break;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(buf.counters().icmp_errors, 1);
    // Sending finds the report as well, if that comes first.
    let mut reported = SendCounters::default();
    for _ in 0..100 {
        a.send_to(b"anybody?", gone, &mut reported);
        thread::sleep(Duration::from_millis(1));
        if reported.unreachable > 0 {
            break;
        }
    }
    assert!(reported.unreachable > 0);
    b.send_to(b"unconcerned", b.local_addr(), &mut counters);
    assert_eq!(receive(&b, &mut buf).len, 11);
}

#[test]
fn oversized_datagrams_are_passed_over() {
    let b = socket();
    let sender = UdpSocket::bind(ANY_PORT).unwrap();
    sender
        .send_to(&[0; MAX_DATAGRAM + 1], b.local_addr())
        .unwrap();
    sender.send_to(&[7; MAX_DATAGRAM], b.local_addr()).unwrap();
    let mut buf = RecvBuf::new();
    let received = receive(&b, &mut buf);
    assert_eq!(received.len, MAX_DATAGRAM);
    assert_eq!(buf.datagram(&received), [7; MAX_DATAGRAM]);
    assert_eq!(buf.counters().oversized, 1);
}

#[test]
fn a_full_buffer_is_told_by_the_drop_counter() {
    let options = SocketOptions {
        receive_buffer: Some(1),
        ..SocketOptions::default()
    };
    let b = MediaSocket::bind(ANY_PORT, &options).unwrap();
    let sender = UdpSocket::bind(ANY_PORT).unwrap();
    for _ in 0..100 {
        sender.send_to(&[0; 172], b.local_addr()).unwrap();
    }
    let mut buf = RecvBuf::new();
    let mut taken = 0;
    receive(&b, &mut buf);
    while b.recv(&mut buf, ClockOffset::measure()).unwrap().is_some() {
        taken += 1;
    }
    assert!(taken < 99);
    sender.send_to(b"after", b.local_addr()).unwrap();
    assert_eq!(receive(&b, &mut buf).dropped, 99 - taken);
}

#[test]
fn refused_destinations_are_counted() {
    let a = socket();
    let mut counters = SendCounters::default();
    assert!(
        !a.send_to(b"x", "[::1]:9".parse().unwrap(), &mut counters),
        "wrong family"
    );
    assert!(
        !a.send_to(&[0; 70_000], a.local_addr(), &mut counters),
        "too long for UDP"
    );
    assert!(
        !a.send_to(b"x", "255.255.255.255:9".parse().unwrap(), &mut counters),
        "broadcast"
    );
    assert_eq!(counters.sent, 0);
    assert_eq!(
        counters.other + counters.forbidden + counters.unreachable,
        3
    );
}

#[test]
fn a_poller_names_the_sockets_that_have_something() {
    let sockets: Vec<_> = (0..5).map(|_| socket()).collect();
    let mut poller = Poller::new(2).unwrap();
    for (socket, token) in sockets.iter().zip(100..) {
        poller.register(socket, token).unwrap();
    }
    let mut tokens = [0; 8];
    assert_eq!(poller.ready(&mut tokens).unwrap(), 0);
    let mut counters = SendCounters::default();
    for n in [1, 3, 4] {
        sockets[0].send_to(b"x", sockets[n].local_addr(), &mut counters);
    }
    let mut buf = RecvBuf::new();
    let mut named = Vec::new();
    while named.len() < 3 {
        let count = poller.ready(&mut tokens).unwrap();
        assert!(count <= 2, "no more than the capacity");
        for token in &tokens[..count] {
            receive(&sockets[(token - 100) as usize], &mut buf);
            named.push(*token);
        }
    }
    named.sort_unstable();
    assert_eq!(named, [101, 103, 104]);
    assert_eq!(poller.ready(&mut tokens).unwrap(), 0);
    poller.deregister(&sockets[1]).unwrap();
    sockets[0].send_to(b"x", sockets[1].local_addr(), &mut counters);
    receive(&sockets[1], &mut buf);
    assert_eq!(poller.ready(&mut tokens).unwrap(), 0);
    assert!(
        poller.register(&sockets[2], 0).is_err(),
        "registered already"
    );
    assert_eq!(poller.ready(&mut []).unwrap(), 0);
}

#[test]
fn a_batch_reaches_many_destinations_and_outlives_a_refused_one() {
    let sender = socket();
    let receivers: Vec<_> = (0..8).map(|_| socket()).collect();
    let mut batch = SendBatch::new();
    let mut counters = SendCounters::default();
    for round in 0..3_u8 {
        for (n, receiver) in (0_u8..).zip(&receivers) {
            assert!(batch.push(&vec![round; usize::from(n) + 1], receiver.local_addr()));
            if n == 3 {
                assert!(batch.push(b"wrong family", "[::1]:9".parse().unwrap()));
            }
        }
        assert_eq!(batch.len(), 9);
        batch.flush(&sender, &mut counters);
        assert!(batch.is_empty());
    }
    assert_eq!(
        (counters.sent, counters.other + counters.unreachable),
        (24, 3)
    );
    let mut buf = RecvBuf::new();
    for round in 0..3_u8 {
        for (n, receiver) in receivers.iter().enumerate() {
            let received = receive(receiver, &mut buf);
            assert_eq!(buf.datagram(&received), vec![round; n + 1]);
            assert_eq!(received.source, sender.local_addr());
        }
    }
}

#[test]
fn a_full_batch_says_so() {
    let receiver = socket();
    let mut batch = SendBatch::new();
    for _ in 0..BATCH {
        assert!(batch.push(&[0; 172], receiver.local_addr()));
    }
    assert!(!batch.push(&[0; 172], receiver.local_addr()));
    assert_eq!(batch.len(), BATCH);
    let mut counters = SendCounters::default();
    batch.flush(&receiver, &mut counters);
    assert_eq!(counters.sent, BATCH as u64);
    assert!(!batch.push(&[0; MAX_DATAGRAM + 1], receiver.local_addr()));
    let packets = (0..)
        .take_while(|_| batch.push(&[0; MAX_DATAGRAM], receiver.local_addr()))
        .count();
    assert_eq!(packets, BATCH * 1472 / MAX_DATAGRAM);
    assert_eq!(
        thread::spawn(move || batch.len()).join().unwrap(),
        packets,
        "it may change threads"
    );
}

#[test]
fn legs_get_even_ports_with_their_odd_neighbours() {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    // A range out of the way of the kernel's own choice.
    let mut pool = PortPool::new(ip, 21_001..=21_012, SocketOptions::default(), 3);
    assert_eq!(pool.capacity(), 5);
    let foreign = UdpSocket::bind((ip, 21_005)).unwrap();
    let legs: Vec<_> = std::iter::from_fn(|| pool.bind_pair(false).ok()).collect();
    let ports: Vec<_> = legs
        .iter()
        .map(|leg| {
            (
                leg.rtp.local_addr().port(),
                leg.rtcp.as_ref().unwrap().local_addr().port(),
            )
        })
        .collect();
    assert_eq!(
        ports,
        [
            (21_008, 21_009),
            (21_010, 21_011),
            (21_002, 21_003),
            (21_006, 21_007)
        ]
    );
    let multiplexed = pool.bind_pair(true).unwrap();
    assert_eq!(
        multiplexed.rtp.local_addr().port(),
        21_004,
        "its neighbour is somebody else's"
    );
    assert!(multiplexed.rtcp.is_none());
    assert!(matches!(
        pool.bind_pair(true),
        Err(PortError::Exhausted { pairs: 5, .. })
    ));
    drop((legs, foreign));
    assert!(pool.bind_pair(false).is_ok());
}

#[test]
fn impossible_ranges_and_addresses_are_said_to_be_so() {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    #[allow(clippy::reversed_empty_ranges)]
    let mut empty = PortPool::new(ip, 5000..=4000, SocketOptions::default(), 7);
    assert!(matches!(
        empty.bind_pair(false),
        Err(PortError::Exhausted { pairs: 0, .. })
    ));
    let full = PortPool::new(ip, 0..=u16::MAX, SocketOptions::default(), 7);
    assert_eq!(full.capacity(), 32_767);
    let elsewhere = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
    let mut pool = PortPool::new(elsewhere, 21_100..=21_110, SocketOptions::default(), 0);
    assert!(matches!(
        pool.bind_pair(false),
        Err(PortError::NoSuchAddress { .. })
    ));
}

#[test]
fn the_descriptor_limit_is_raised_and_never_lowered() -> io::Result<()> {
    let before = descriptor_limit(0)?;
    assert!(!before.falls_short());
    let raised = descriptor_limit(before.hard)?;
    assert_eq!(raised.available, before.hard);
    assert_eq!(descriptor_limit(16)?.available, before.hard);
    let absurd = descriptor_limit(u64::MAX - 1)?;
    assert!(absurd.falls_short() && absurd.available >= before.hard);
    Ok(())
}

#[test]
fn a_batch_holds_what_many_sent_in_order() {
    let options = SocketOptions {
        receive_buffer: Some(1 << 20),
        ..SocketOptions::default()
    };
    let server = MediaSocket::bind(ANY_PORT, &options).unwrap();
    let phones = [socket(), socket(), socket()];
    let mut counters = SendCounters::default();
    let count = RECV_BATCH + 9;
    let longest = [7; MAX_DATAGRAM];
    for n in 0..count {
        let packet = vec![n as u8; n + 1];
        phones[n % 3].send_to(&packet, server.local_addr(), &mut counters);
    }
    phones[0].send_to(&[0; MAX_DATAGRAM + 1], server.local_addr(), &mut counters);
    phones[1].send_to(&longest, server.local_addr(), &mut counters);
    assert_eq!(counters.sent, count as u64 + 2);

    let mut batch = RecvBatch::new();
    let mut seen = 0;
    let mut usable = 0;
    while seen < count + 2 {
        let offset = ClockOffset::measure();
        let taken = batch.fill(&server, offset).unwrap();
        assert!(taken <= RECV_BATCH);
        for index in 0..taken {
            if let Some((received, datagram)) = batch.get(index) {
                if seen < count {
                    assert_eq!(datagram, vec![seen as u8; seen + 1]);
                    assert_eq!(received.source, phones[seen % 3].local_addr());
                } else {
                    assert_eq!(datagram, longest);
                }
                assert!(received.arrival_ns <= offset.now_ns() + 1_000_000);
                assert_eq!((received.len, received.dropped), (datagram.len(), 0));
                usable += 1;
            }
            seen += 1;
        }
        assert!(batch.get(taken).is_none(), "beyond the end");
        if taken == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(usable, count + 1);
    assert_eq!(batch.counters().oversized, 1);
    assert_eq!(batch.fill(&server, ClockOffset::measure()).unwrap(), 0);
    assert!(batch.get(0).is_none());
}

#[test]
fn a_port_of_ones_own_choice_that_is_taken_says_so() {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let options = SocketOptions::default();
    let mut pool = PortPool::new(ip, 20_000..=29_999, options, std::process::id() as u16);
    let pair = pool.bind_pair(false).unwrap();
    let port = pair.rtp.local_addr().port();
    let error = MediaPorts::bind(ip, port, &options).unwrap_err();
    assert!(matches!(error, PortError::Taken { address } if address.port() == port));
}
