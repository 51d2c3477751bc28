use super::*;

const LEGS: usize = 8;

fn sources() -> Sources {
    Sources::new(LEGS, [1, 2])
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A peer that announced `rtp`, with RTCP on the next port.
fn peer(rtp: &str) -> Remote {
    let rtp = at(rtp);
    Remote {
        rtp: Some(rtp),
        rtcp: Some(SocketAddr::new(rtp.ip(), rtp.port() + 1)),
        rtcp_mux: false,
    }
}

/// The leg that an RTP packet is given to.
fn leg(sources: &Sources, from: &str) -> Option<u32> {
    match sources.find(at(from), Channel::Rtp) {
        Found::Leg { leg, .. } => Some(leg),
        Found::Nobody => None,
    }
}

fn rtcp_leg(sources: &Sources, from: &str) -> Option<u32> {
    match sources.find(at(from), Channel::Rtcp) {
        Found::Leg { leg, .. } => Some(leg),
        Found::Nobody => None,
    }
}

#[test]
fn peers_are_known_by_the_address_they_announced() {
    let mut sources = sources();
    sources.admit(0, peer("192.0.2.1:4000"));
    sources.admit(1, peer("192.0.2.1:4002"));
    sources.admit(2, peer("[2001:db8::1]:4000"));
    for (leg_number, address) in [
        (0, "192.0.2.1:4000"),
        (1, "192.0.2.1:4002"),
        (2, "[2001:db8::1]:4000"),
        (0, "[::ffff:192.0.2.1]:4000"),
    ] {
        assert_eq!(leg(&sources, address), Some(leg_number), "{address}");
    }
    assert_eq!(rtcp_leg(&sources, "192.0.2.1:4003"), Some(1));
    assert_eq!(
        rtcp_leg(&sources, "192.0.2.1:4002"),
        None,
        "RTP's port is not RTCP's, and two peers live there"
    );
    assert_eq!(leg(&sources, "192.0.2.2:4000"), None, "another host");
}

#[test]
fn the_only_one_unheard_is_found_on_another_port() {
    let mut sources = sources();
    sources.admit(0, peer("192.0.2.1:4000"));
    sources.admit(1, peer("192.0.2.1:4002"));
    assert_eq!(leg(&sources, "192.0.2.1:9000"), None, "of one of two");
    sources.learn(0, at("192.0.2.1:4000"));
    assert_eq!(leg(&sources, "192.0.2.1:9000"), Some(1));
    sources.learn(1, at("192.0.2.1:9000"));
    assert_eq!(
        sources.find(at("192.0.2.1:9000"), Channel::Rtp),
        Found::Leg {
            leg: 1,
            is_new: false
        }
    );
    assert_eq!(rtcp_leg(&sources, "192.0.2.1:9001"), Some(1));
    assert_eq!(
        leg(&sources, "192.0.2.1:4002"),
        Some(1),
        "the port it announced stays its own"
    );
    assert_eq!(leg(&sources, "192.0.2.1:9010"), None, "both are heard");
    sources.dismiss(0);
    assert_eq!(
        leg(&sources, "192.0.2.1:9010"),
        Some(1),
        "the only one there: its latch judges"
    );
    sources.learn(1, at("192.0.2.1:9010"));
    assert_eq!(leg(&sources, "192.0.2.1:9010"), Some(1));
    sources.dismiss(1);
    for address in ["192.0.2.1:9000", "192.0.2.1:9010", "192.0.2.1:4002"] {
        assert_eq!(leg(&sources, address), None, "{address}");
    }
    assert_eq!(sources.addresses.len(), 0);
    assert_eq!(sources.hosts.len(), 0);
}

#[test]
fn an_address_is_that_of_the_first_who_announced_it() {
    let mut sources = sources();
    sources.admit(0, peer("192.0.2.1:4000"));
    sources.admit(1, peer("192.0.2.1:4000"));
    assert_eq!(leg(&sources, "192.0.2.1:4000"), Some(0));
    sources.dismiss(1);
    assert_eq!(leg(&sources, "192.0.2.1:4000"), Some(0));
    sources.learn(0, at("192.0.2.1:4000"));
    sources.admit(1, peer("192.0.2.1:4010"));
    sources.learn(1, at("192.0.2.1:4000"));
    assert_eq!(
        leg(&sources, "192.0.2.1:4000"),
        Some(0),
        "a known source is nobody else's"
    );
}

#[test]
fn another_address_takes_the_place_of_the_old_one() {
    let mut sources = sources();
    sources.admit(0, peer("192.0.2.1:4000"));
    sources.learn(0, at("192.0.2.1:5000"));
    sources.admit(0, peer("192.0.2.1:4000"));
    assert_eq!(leg(&sources, "192.0.2.1:5000"), Some(0), "merely refreshed");
    sources.admit(0, peer("198.51.100.7:4000"));
    assert_eq!(leg(&sources, "198.51.100.7:4000"), Some(0));
    assert_eq!(leg(&sources, "192.0.2.1:4000"), None);
    assert_eq!(leg(&sources, "192.0.2.1:5000"), None);
    // On hold in the manner of RFC 2543.
    sources.admit(0, Remote::default());
    assert_eq!(leg(&sources, "198.51.100.7:4000"), None);
    assert_eq!(sources.addresses.len(), 0);
    sources.admit(0, peer("198.51.100.7:4000"));
    assert_eq!(leg(&sources, "198.51.100.7:4000"), Some(0));
}

#[test]
fn one_port_for_both_needs_no_second_entry() {
    let mut sources = sources();
    let remote = Remote {
        rtcp_mux: true,
        ..peer("192.0.2.1:4000")
    };
    sources.admit(0, remote);
    assert_eq!(sources.addresses.len(), 1);
}

#[test]
fn all_legs_find_a_place_with_all_their_addresses() {
    let mut sources = Sources::new(1000, [7, 9]);
    for n in 0..1000_u16 {
        sources.admit(n.into(), peer(&format!("192.0.2.1:{}", 10_000 + 2 * n)));
    }
    for n in 0..1000_u16 {
        sources.learn(n.into(), at(&format!("192.0.2.1:{}", 30_000 + 2 * n)));
    }
    for n in 0..1000_u16 {
        for port in [10_000 + 2 * n, 30_000 + 2 * n] {
            let from = format!("192.0.2.1:{port}");
            assert_eq!(leg(&sources, &from), Some(n.into()));
            let from = format!("192.0.2.1:{}", port + 1);
            assert_eq!(rtcp_leg(&sources, &from), Some(n.into()));
        }
    }
    for n in 0..1000 {
        sources.dismiss(n);
    }
    assert_eq!((sources.addresses.len(), sources.hosts.len()), (0, 0));
}
