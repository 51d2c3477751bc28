//! Who may speak on a leg's port, and who cannot take it over.

use std::net::SocketAddr;

use proptest::prelude::*;
use unisono_rtp::latch::{Evidence, Latch, Policy, Verdict};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer() -> SocketAddr {
    address("198.51.100.7:4000")
}

fn attacker() -> SocketAddr {
    address("203.0.113.66:6666")
}

fn evidence(ssrc: u32, sequence: u16) -> Evidence {
    Evidence {
        ssrc,
        sequence,
        known_payload_type: true,
    }
}

/// A stream of packets 20 ms apart.
#[derive(Clone)]
struct Stream {
    source: SocketAddr,
    ssrc: u32,
    sequence: u16,
}

impl Stream {
    fn from(source: SocketAddr) -> Self {
        Self {
            source,
            ssrc: u32::from(source.port()) << 8,
            sequence: 65_530,
        }
    }

    fn send(&mut self, latch: &mut Latch, now_ns: u64) -> Verdict {
        self.sequence = self.sequence.wrapping_add(1);
        latch.on_packet(self.source, evidence(self.ssrc, self.sequence), now_ns)
    }
}

fn open(expected: &str) -> Latch {
    Latch::new(Some(address(expected)), Policy::default(), 0)
}

/// A latch that is locked to the peer and whose window has passed.
fn locked() -> (Latch, Stream, u64) {
    let mut latch = Latch::new(Some(peer()), Policy::default(), 0);
    let mut stream = Stream::from(peer());
    let mut now = 0;
    while now < 11 * SECOND {
        let verdict = stream.send(&mut latch, now);
        assert!(matches!(
            verdict,
            Verdict::Accept | Verdict::AcceptNewSource
        ));
        now += 20 * MS;
    }
    assert!(!latch.is_open(now));
    (latch, stream, now)
}

#[test]
fn the_signalled_address_is_accepted_at_once() {
    let mut latch = Latch::new(Some(peer()), Policy::default(), 0);
    assert_eq!(latch.destination(), Some(peer()));
    let mut stream = Stream::from(peer());
    assert_eq!(stream.send(&mut latch, 0), Verdict::AcceptNewSource);
    assert_eq!(stream.send(&mut latch, 20 * MS), Verdict::Accept);
    assert_eq!(latch.source(), Some(peer()));
}

#[test]
fn a_private_peer_is_learnt_from_its_public_address() {
    let mut latch = open("192.168.1.20:5004");
    let mut stream = Stream::from(peer());
    for n in 0..3 {
        assert_eq!(stream.send(&mut latch, n * 20 * MS), Verdict::Learning);
        assert_eq!(latch.destination(), Some(address("192.168.1.20:5004")));
    }
    assert_eq!(stream.send(&mut latch, 60 * MS), Verdict::AcceptNewSource);
    assert_eq!(latch.destination(), Some(peer()));
    assert_eq!(latch.counters().rivals, 0);
}

#[test]
fn a_packet_lost_while_learning_costs_a_new_run() {
    let mut latch = open("10.0.0.1:5004");
    let mut stream = Stream::from(peer());
    for n in 0..7 {
        if n == 2 {
            stream.sequence = stream.sequence.wrapping_add(1);
        }
        assert_eq!(
            stream.send(&mut latch, n * 20 * MS),
            if n < 6 {
                Verdict::Learning
            } else {
                Verdict::AcceptNewSource
            }
        );
    }
}

#[test]
fn ipv4_through_an_ipv6_socket_is_the_same_address() {
    let mut latch = open("[::ffff:198.51.100.7]:4000");
    assert_eq!(
        Stream::from(peer()).send(&mut latch, 0),
        Verdict::AcceptNewSource
    );
}

#[test]
fn a_burst_does_not_win_the_race() {
    let mut latch = open("10.0.0.1:5004");
    let mut burst = Stream::from(attacker());
    for _ in 0..100 {
        assert_eq!(burst.send(&mut latch, 1), Verdict::Learning);
    }
    assert_eq!(latch.source(), None);
}

#[test]
fn packets_that_do_not_follow_one_another_prove_nothing() {
    let mut latch = open("10.0.0.1:5004");
    for n in 0..200_u16 {
        let now = u64::from(n) * 20 * MS;
        let jumping = evidence(1, n.wrapping_mul(7));
        assert_eq!(latch.on_packet(attacker(), jumping, now), Verdict::Learning);
        let changing = evidence(n.into(), n);
        assert_eq!(
            latch.on_packet(address("203.0.113.1:9"), changing, now),
            Verdict::Learning
        );
        let unknown = Evidence {
            known_payload_type: false,
            ..evidence(2, n)
        };
        assert_eq!(
            latch.on_packet(address("203.0.113.2:9"), unknown, now),
            Verdict::Learning
        );
    }
    assert_eq!(latch.source(), None);
}

#[test]
fn spraying_while_learning_does_not_keep_the_peer_out() {
    let mut latch = open("10.0.0.1:5004");
    let mut stream = Stream::from(peer());
    let mut random = 1_u32;
    let mut next = |below: u32| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % below
    };
    for now in (0..10_000).map(|ms| ms * MS) {
        // Each millisecond five packets, each from another port and with another SSRC; among them, every 20 ms, one
        // of the peer.
        let place = next(5);
        for n in 0..5 {
            if n == place && now % (20 * MS) == 0 {
                let _ = stream.send(&mut latch, now);
            }
            let source = SocketAddr::new(attacker().ip(), next(0x10000) as u16);
            let packet = evidence(next(0x1000000), next(0x10000) as u16);
            assert!(matches!(
                latch.on_packet(source, packet, now),
                Verdict::Learning | Verdict::Refuse
            ));
        }
    }
    assert_eq!(latch.source(), Some(peer()));
}

#[test]
fn strangers_cannot_hold_up_a_peer_whose_host_was_signalled() {
    let mut latch = open("198.51.100.7:9999");
    let mut thieves: Vec<_> = (0..20)
        .map(|n| Stream::from(SocketAddr::new(attacker().ip(), 1000 + n)))
        .collect();
    let mut stream = Stream::from(peer());
    for n in 0..4 {
        for thief in &mut thieves {
            thief.sequence = thief.sequence.wrapping_add(3);
            assert_eq!(thief.send(&mut latch, n * 20 * MS), Verdict::Learning);
        }
        let _ = stream.send(&mut latch, n * 20 * MS);
    }
    assert_eq!(latch.source(), Some(peer()));
    assert!(latch.counters().rivals > 0);
}

#[test]
fn the_signalled_address_takes_over_a_lock_that_was_learnt_in_the_same_window() {
    let mut latch = Latch::new(Some(peer()), Policy::default(), 0);
    let mut thief = Stream::from(attacker());
    for n in 0..10 {
        let _ = thief.send(&mut latch, n * 20 * MS);
    }
    assert_eq!(latch.source(), Some(attacker()));
    let mut stream = Stream::from(peer());
    assert_eq!(stream.send(&mut latch, SECOND), Verdict::AcceptNewSource);
    assert_eq!(thief.send(&mut latch, SECOND), Verdict::Refuse);
    assert_eq!(latch.source(), Some(peer()));
    assert_eq!(latch.counters().changes, 1);
}

#[test]
fn a_lock_is_not_shared_with_a_second_learner() {
    let mut latch = open("10.0.0.1:5004");
    let mut stream = Stream::from(peer());
    let mut thief = Stream::from(attacker());
    for n in 0..400 {
        let _ = stream.send(&mut latch, n * 20 * MS);
        let _ = thief.send(&mut latch, n * 20 * MS + 1);
    }
    assert_eq!(latch.source(), Some(peer()), "the first to prove itself");
    assert_eq!(latch.counters().rivals, 1);
    // Nor when the peer pauses within the window.
    let now = 9 * SECOND;
    assert!(latch.is_open(now));
    for n in 0..40 {
        assert_eq!(thief.send(&mut latch, now + n * 20 * MS), Verdict::Refuse);
    }
}

#[test]
fn a_silent_start_leaves_only_the_signalled_address() {
    let mut latch = Latch::new(Some(peer()), Policy::default(), 0);
    let mut thief = Stream::from(attacker());
    for n in 0..50 {
        assert_eq!(
            thief.send(&mut latch, 10 * SECOND + n * 20 * MS),
            Verdict::Refuse
        );
    }
    assert_eq!(
        Stream::from(peer()).send(&mut latch, 30 * SECOND),
        Verdict::AcceptNewSource
    );
}

#[test]
fn a_restart_of_the_peer_is_followed() {
    let (mut latch, stream, now) = locked();
    let mut restarted = Stream {
        ssrc: 99,
        sequence: 7,
        ..stream
    };
    assert_eq!(restarted.send(&mut latch, now), Verdict::Accept);
}

#[test]
fn a_new_port_is_believed_only_if_it_continues_a_stream_that_fell_silent() {
    let (latch, stream, now) = locked();
    let moved = Stream {
        source: address("198.51.100.7:4444"),
        ..stream.clone()
    };
    let last = now - 20 * MS;

    let try_after =
        |stream: &Stream, silence: u64| stream.clone().send(&mut latch.clone(), last + silence);
    assert_eq!(try_after(&moved, 3 * SECOND), Verdict::AcceptNewSource);
    assert_eq!(
        try_after(&moved, 3 * SECOND - 1),
        Verdict::Refuse,
        "the old port may yet speak"
    );

    let other_host = Stream {
        source: attacker(),
        ..stream.clone()
    };
    assert_eq!(try_after(&other_host, 3 * SECOND), Verdict::Refuse);
    let other_ssrc = Stream {
        ssrc: moved.ssrc + 1,
        ..moved.clone()
    };
    assert_eq!(try_after(&other_ssrc, 3 * SECOND), Verdict::Refuse);
    let backward = Stream {
        sequence: moved.sequence.wrapping_sub(1),
        ..moved.clone()
    };
    assert_eq!(try_after(&backward, 3 * SECOND), Verdict::Refuse);
    let too_far = Stream {
        sequence: moved.sequence.wrapping_add(360),
        ..moved.clone()
    };
    assert_eq!(try_after(&too_far, 3 * SECOND), Verdict::Refuse);
    let gone_on = Stream {
        sequence: moved.sequence.wrapping_add(149),
        ..moved
    };
    assert_eq!(try_after(&gone_on, 3 * SECOND), Verdict::AcceptNewSource);
}

#[test]
fn a_re_invite_moves_the_leg_without_a_gap() {
    let (mut latch, mut old, now) = locked();
    let new_address = address("198.51.100.8:5000");
    latch.relearn(Some(new_address), now);
    assert_eq!(
        old.send(&mut latch, now),
        Verdict::Accept,
        "media from before is still on its way"
    );
    assert_eq!(latch.destination(), Some(peer()));
    let mut new = Stream::from(new_address);
    assert_eq!(
        new.send(&mut latch, now + 20 * MS),
        Verdict::AcceptNewSource
    );
    assert_eq!(old.send(&mut latch, now + 21 * MS), Verdict::Refuse);
    assert_eq!(latch.destination(), Some(new_address));
}

#[test]
fn a_session_refresh_does_not_let_a_stranger_in_while_the_peer_sends() {
    let private = address("192.168.1.20:5004");
    let mut latch = Latch::new(Some(private), Policy::default(), 0);
    let mut stream = Stream::from(peer());
    let start = 20 * SECOND;
    for n in 0..start / (20 * MS) {
        let _ = stream.send(&mut latch, n * 20 * MS);
    }
    latch.relearn(Some(private), start);
    let mut thief = Stream::from(attacker());
    for n in 0..300 {
        let now = start + n * 20 * MS;
        // The peer's silence suppression makes pauses of two seconds.
        if n % 200 < 100 {
            assert_eq!(stream.send(&mut latch, now), Verdict::Accept);
        }
        assert_eq!(thief.send(&mut latch, now + 1), Verdict::Refuse);
    }
}

#[test]
fn a_leg_on_its_signalled_address_is_not_open_to_learning_at_all() {
    let (mut latch, _, now) = locked();
    latch.relearn(Some(peer()), now);
    let mut thief = Stream::from(attacker());
    for n in 0..450 {
        assert_eq!(thief.send(&mut latch, now + n * 20 * MS), Verdict::Refuse);
    }
}

#[test]
fn a_re_invite_from_a_new_network_is_learnt_once_the_old_source_is_silent() {
    let (mut latch, _, now) = locked();
    latch.relearn(Some(address("192.168.7.7:5004")), now);
    let mut moved = Stream::from(address("192.0.2.99:31000"));
    let verdicts: Vec<_> = (0..60)
        .map(|n| moved.send(&mut latch, now + n * 20 * MS))
        .collect();
    assert_eq!(verdicts[0], Verdict::Refuse);
    assert_eq!(verdicts[59], Verdict::Accept);
    assert_eq!(latch.destination(), Some(moved.source));
}

#[test]
fn hold_addresses_are_nothing_to_send_to() {
    for nowhere in [
        "0.0.0.0:4000",
        "[::]:4000",
        "198.51.100.7:0",
        "224.0.0.1:4000",
    ] {
        assert_eq!(open(nowhere).destination(), None, "{nowhere}");
    }
    assert_eq!(Latch::new(None, Policy::default(), 0).destination(), None);
}

#[test]
fn rtcp_is_taken_from_the_peers_host_only() {
    let mut latch = open("192.168.1.20:5004");
    assert!(latch.permits_rtcp(address("192.168.1.20:5005")));
    assert!(!latch.permits_rtcp(peer()));
    let mut stream = Stream::from(peer());
    for n in 0..4 {
        let _ = stream.send(&mut latch, n * 20 * MS);
    }
    assert!(latch.permits_rtcp(address("198.51.100.7:40001")));
    assert!(!latch.permits_rtcp(address("192.168.1.20:5005")));
    assert!(!latch.permits_rtcp(attacker()));
}

proptest! {
    /// Whatever strangers send and whenever: once the window has passed, the peer keeps its leg.
    #[test]
    fn nobody_takes_over_a_locked_leg(
        attempts in prop::collection::vec(
            (any::<[u8; 4]>(), any::<u16>(), any::<u32>(), any::<u16>(), any::<bool>(), 0_u64..100), 0..300),
    ) {
        let (mut latch, mut stream, mut now) = locked();
        for (host, port, ssrc, sequence, known_payload_type, pause_ms) in attempts {
            let source = SocketAddr::from((host, port));
            let packet = Evidence { ssrc, sequence, known_payload_type };
            if source != peer() {
                prop_assert_eq!(latch.on_packet(source, packet, now), Verdict::Refuse);
            }
            // An attacker on the peer's own host, who even knows its stream, fails while it sends.
            let neighbour = SocketAddr::new(peer().ip(), port ^ 1);
            if neighbour != peer() {
                let copied = evidence(stream.ssrc, stream.sequence.wrapping_add(1));
                prop_assert_eq!(latch.on_packet(neighbour, copied, now), Verdict::Refuse);
            }
            now += pause_ms * MS;
            prop_assert_eq!(stream.send(&mut latch, now), Verdict::Accept);
        }
        prop_assert_eq!(latch.source(), Some(peer()));
    }

    /// In the window, too, no packet is accepted but from the signalled address or one that proved itself.
    #[test]
    fn single_packets_of_many_sources_are_never_accepted(
        packets in prop::collection::vec((any::<u16>(), any::<u32>(), any::<u16>(), 0_u64..50), 0..300),
    ) {
        let mut latch = open("10.0.0.1:5004");
        let mut now = 0;
        let mut seen = std::collections::HashSet::new();
        for (port, ssrc, sequence, pause_ms) in packets {
            now += pause_ms * MS;
            if seen.insert(port) {
                let source = SocketAddr::new(attacker().ip(), port);
                let verdict = latch.on_packet(source, evidence(ssrc, sequence), now);
                prop_assert!(matches!(verdict, Verdict::Learning | Verdict::Refuse));
            }
        }
        prop_assert_eq!(latch.source(), None);
    }
}
