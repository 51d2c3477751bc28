//! What a leg puts on the wire: sequence, timestamps, marker, contributing sources, packet sizes.

use proptest::prelude::*;
use unisono_rtp::codec::Codec;
use unisono_rtp::dtmf::DtmfSender;
use unisono_rtp::outbound::{
    CollisionDetector, Format, MAX_PACKET_PAYLOAD, Origin, Outbound, OwnSsrcSeen, PacketBuf,
    PacketRoom,
};
use unisono_rtp::packet::{Header, RtpPacket};

const ORIGIN: Origin = Origin {
    ssrc: 0xfeed_0001,
    sequence: 65_534,
    timestamp: u32::MAX - 200,
};

#[derive(Debug, Clone, PartialEq)]
struct Sent {
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload_type: u8,
    payload: Vec<u8>,
    csrcs: Vec<u32>,
}

/// An outbound leg that keeps what it sent.
struct Leg {
    outbound: Outbound,
    buf: PacketBuf,
    sent: Vec<Sent>,
}

impl Leg {
    fn new(codec: Codec, ptime_ms: u32) -> Self {
        let format = Format {
            codec,
            payload_type: 96,
            ptime_ms,
        };
        Self {
            outbound: Outbound::new(format, ORIGIN),
            buf: PacketBuf::new(),
            sent: Vec::new(),
        }
    }

    fn push(&mut self, payload: &[u8], csrcs: &[u32]) {
        let sent = &mut self.sent;
        self.outbound.push(payload, csrcs, &mut self.buf, |packet| {
            sent.push(read(packet))
        });
    }

    fn flush(&mut self) {
        let sent = &mut self.sent;
        self.outbound
            .flush(&mut self.buf, |packet| sent.push(read(packet)));
    }
}

fn read(datagram: &[u8]) -> Sent {
    let packet = RtpPacket::parse(datagram).unwrap();
    assert_eq!(packet.ssrc, ORIGIN.ssrc);
    Sent {
        sequence: packet.sequence,
        timestamp: packet.timestamp,
        marker: packet.marker,
        payload_type: packet.payload_type,
        payload: packet.payload.to_vec(),
        csrcs: packet.csrcs().collect(),
    }
}

/// Bytes of one tick: each 10 ms has a number of its own.
fn tick(codec: Codec, number: u32) -> Vec<u8> {
    let unit = match codec {
        Codec::L16 { rate } => rate as usize / 50,
        _ => 80,
    };
    (0..2)
        .flat_map(|half| vec![(2 * number + half) as u8; unit])
        .collect()
}

fn sample_based() -> impl Strategy<Value = Codec> {
    prop::sample::select(vec![
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::L16 { rate: 8000 },
        Codec::L16 { rate: 16_000 },
        Codec::L16 { rate: 24_000 },
        Codec::L16 { rate: 48_000 },
    ])
}

#[test]
fn a_tick_is_a_packet_at_the_usual_ptime() {
    let mut leg = Leg::new(Codec::G722, 20);
    for n in 0..5 {
        leg.push(&tick(Codec::G722, n), &[7, 8]);
    }
    let sequences: Vec<_> = leg.sent.iter().map(|packet| packet.sequence).collect();
    assert_eq!(sequences, [65_534, 65_535, 0, 1, 2]);
    let steps: Vec<_> = leg
        .sent
        .windows(2)
        .map(|w| w[1].timestamp.wrapping_sub(w[0].timestamp))
        .collect();
    assert_eq!(steps, [160; 4], "G.722's clock is 8000");
    let markers: Vec<_> = leg.sent.iter().map(|packet| packet.marker).collect();
    assert_eq!(markers, [true, false, false, false, false]);
    assert!(leg.sent.iter().all(|packet| packet.csrcs == [7, 8]));
    assert_eq!(leg.outbound.totals().packets, 5);
    assert_eq!(leg.outbound.totals().octets, 800);
}

#[test]
fn thirty_milliseconds_straddle_ticks() {
    let mut leg = Leg::new(Codec::Pcmu, 30);
    for n in 0..3 {
        leg.push(&tick(Codec::Pcmu, n), &[n, 100]);
    }
    let units: Vec<Vec<u8>> = leg
        .sent
        .iter()
        .map(|p| p.payload.chunks(80).map(|c| c[0]).collect())
        .collect();
    assert_eq!(units, [[0, 1, 2], [3, 4, 5]]);
    assert_eq!(leg.sent[0].csrcs, [0, 100, 1], "the talkers of both ticks");
    assert_eq!(leg.sent[1].csrcs, [1, 100, 2]);
    assert_eq!(leg.sent[1].timestamp, ORIGIN.timestamp.wrapping_add(240));
}

#[test]
fn large_packets_are_avoided_by_a_shorter_ptime() {
    let effective = |codec, ptime_ms| Leg::new(codec, ptime_ms).outbound.ptime_ms();
    assert_eq!(effective(Codec::L16 { rate: 48_000 }, 20), 10);
    assert_eq!(effective(Codec::L16 { rate: 24_000 }, 60), 20);
    assert_eq!(effective(Codec::L16 { rate: 16_000 }, 60), 40);
    assert_eq!(effective(Codec::L16 { rate: 8000 }, 60), 60);
    assert_eq!(effective(Codec::Pcma, 60), 60);
    assert_eq!(effective(Codec::Pcma, 0), 10);
    assert_eq!(effective(Codec::Pcma, 25), 20);
    assert_eq!(effective(Codec::Pcma, 1000), 60);
}

#[test]
fn missed_ticks_advance_the_timestamp_and_set_the_marker() {
    let mut leg = Leg::new(Codec::L16 { rate: 16_000 }, 20);
    leg.push(&tick(Codec::L16 { rate: 16_000 }, 0), &[]);
    leg.outbound.skip(7);
    leg.push(&tick(Codec::L16 { rate: 16_000 }, 1), &[]);
    leg.push(&tick(Codec::L16 { rate: 16_000 }, 2), &[]);
    let first = &leg.sent[0];
    assert_eq!(leg.sent[1].timestamp, first.timestamp.wrapping_add(8 * 320));
    assert_eq!(
        leg.sent[1].sequence,
        first.sequence.wrapping_add(1),
        "nothing was lost on the network"
    );
    assert!(leg.sent[1].marker && !leg.sent[2].marker);
}

#[test]
fn the_rest_of_a_long_ptime_is_flushed_with_its_own_timestamp() {
    let mut leg = Leg::new(Codec::Pcmu, 60);
    leg.push(&tick(Codec::Pcmu, 0), &[5]);
    leg.flush();
    leg.flush();
    leg.outbound.skip(1);
    leg.push(&tick(Codec::Pcmu, 1), &[6]);
    leg.outbound.skip(1);
    for n in 0..3 {
        leg.push(&tick(Codec::Pcmu, n), &[]);
    }
    assert_eq!(leg.sent.len(), 2);
    assert_eq!(leg.sent[0].payload.len(), 160);
    assert_eq!(
        (leg.sent[0].timestamp, &leg.sent[0].csrcs[..]),
        (ORIGIN.timestamp, &[5][..])
    );
    assert_eq!(
        leg.sent[1].timestamp,
        ORIGIN.timestamp.wrapping_add(4 * 160)
    );
    assert!(
        leg.sent[1].marker && leg.sent[1].csrcs.is_empty(),
        "what was skipped left nothing behind"
    );
}

#[test]
fn packed_payloads_pass_with_their_duration() {
    let mut leg = Leg::new(Codec::Opus, 40);
    let sent = &mut leg.sent;
    for _ in 0..2 {
        leg.outbound
            .push_packed(&[1; 50], 40, &[3], &mut leg.buf, |packet| {
                sent.push(read(packet))
            });
    }
    leg.push(&[2; 30], &[]);
    leg.push(&[], &[]);
    leg.push(&[9; MAX_PACKET_PAYLOAD + 1], &[]);
    leg.push(&[2; 30], &[]);
    let steps: Vec<_> = leg
        .sent
        .windows(2)
        .map(|w| w[1].timestamp.wrapping_sub(w[0].timestamp))
        .collect();
    assert_eq!(steps, [1920, 1920, 3 * 960]);
    assert!(leg.sent[3].marker);
}

#[test]
fn a_payload_of_the_wrong_length_is_a_gap() {
    let mut leg = Leg::new(Codec::Pcmu, 20);
    leg.push(&[0; 159], &[]);
    assert!(leg.sent.is_empty());
    leg.push(&[0; 160], &[]);
    assert_eq!(leg.sent[0].timestamp, ORIGIN.timestamp.wrapping_add(160));
}

#[test]
fn a_key_press_shares_the_sequence_and_has_its_own_timestamp() {
    let mut leg = Leg::new(Codec::Pcmu, 20);
    leg.push(&[0; 160], &[]);
    let start = leg.outbound.next_timestamp();
    let mut key = DtmfSender::new('3', 60, start, 8000, 20).unwrap();
    while let Some(event) = key.next_packet() {
        let sent = &mut leg.sent;
        leg.outbound
            .push_event(&event, 101, &mut leg.buf, |packet| sent.push(read(packet)));
        leg.outbound.skip(1);
    }
    leg.push(&[0; 160], &[]);
    let events = &leg.sent[1..6];
    assert!(
        events
            .iter()
            .all(|p| p.payload_type == 101 && p.timestamp == start)
    );
    assert_eq!(
        events.iter().map(|p| p.marker).collect::<Vec<_>>(),
        [true, false, false, false, false]
    );
    assert_eq!(leg.sent[6].sequence, ORIGIN.sequence.wrapping_add(6));
    assert_eq!(leg.sent[6].timestamp, start.wrapping_add(5 * 160));
}

#[test]
fn a_sender_report_finds_its_place_on_the_line() {
    let mut leg = Leg::new(Codec::Opus, 20);
    leg.push(&[1; 30], &[]);
    let next = leg.outbound.next_timestamp();
    assert_eq!(
        leg.outbound.timestamp_at(1_000_000_000, 1_000_000_000),
        next
    );
    assert_eq!(
        leg.outbound.timestamp_at(1_005_000_000, 1_000_000_000),
        next.wrapping_add(240)
    );
    assert_eq!(
        leg.outbound.timestamp_at(985_000_000, 1_000_000_000),
        next.wrapping_sub(720)
    );
}

#[test]
fn a_restart_is_a_new_source() {
    let mut leg = Leg::new(Codec::Pcmu, 20);
    leg.push(&[0; 160], &[]);
    let origin = Origin::from_random([0xff; 10]);
    assert_eq!(leg.outbound.restart(origin), ORIGIN.ssrc);
    assert_eq!(leg.outbound.ssrc(), 0xffff_ffff);
    assert_eq!(leg.outbound.totals().packets, 0);
    assert_eq!(origin.sequence, 0x7fff, "the first half of the range");
}

#[test]
fn a_format_change_keeps_the_line() {
    let mut leg = Leg::new(Codec::Pcmu, 20);
    leg.push(&[0; 160], &[]);
    let format = Format {
        codec: Codec::Pcma,
        payload_type: 8,
        ptime_ms: 40,
    };
    let mut room = PacketRoom::new(format);
    leg.outbound.set_format(format, &mut room);
    assert_eq!(room.memory(), 0, "packets of 20 ms need none");
    leg.push(&[0; 160], &[]);
    leg.push(&[0; 160], &[]);
    assert_eq!(leg.sent.len(), 2);
    assert_eq!(leg.sent[1].payload.len(), 320);
    assert_eq!(leg.sent[1].payload_type, 8);
    assert_eq!(leg.sent[1].timestamp, ORIGIN.timestamp.wrapping_add(160));
    assert!(leg.sent[1].marker);
}

#[test]
fn without_room_packets_are_of_20_ms() {
    let mut leg = Leg::new(Codec::Pcmu, 20);
    let format = Format {
        codec: Codec::Pcmu,
        payload_type: 0,
        ptime_ms: 60,
    };
    leg.outbound.set_format(format, &mut PacketRoom::default());
    assert_eq!(leg.outbound.ptime_ms(), 20);
    leg.push(&[0; 160], &[]);
    assert_eq!(leg.sent.len(), 1);
    assert_eq!(leg.sent[0].payload.len(), 160);
}

#[test]
fn an_ssrc_collides_once_and_echoes_ever_after() {
    let mut datagram = [0; 32];
    let mut packet_of = |ssrc, csrcs: &[u32]| {
        let header = Header {
            payload_type: 0,
            marker: false,
            sequence: 0,
            timestamp: 0,
            ssrc,
        };
        header.write(&mut datagram, csrcs);
        datagram
    };
    let peer = "198.51.100.7:4000".parse().unwrap();
    let mut detector = CollisionDetector::new();
    let mut check = |bytes: [u8; 32], own, now_s: u64| {
        detector.check(
            &RtpPacket::parse(&bytes).unwrap(),
            own,
            peer,
            now_s * 1_000_000_000,
        )
    };
    assert_eq!(check(packet_of(1, &[]), 2, 0), None);
    assert_eq!(check(packet_of(2, &[]), 2, 0), Some(OwnSsrcSeen::Collision));
    // The leg goes on under SSRC 3, and the peer sends that back too.
    assert_eq!(check(packet_of(3, &[]), 3, 1), Some(OwnSsrcSeen::Loop));
    assert_eq!(check(packet_of(3, &[]), 3, 40), Some(OwnSsrcSeen::Loop));
    assert_eq!(check(packet_of(1, &[9, 3]), 3, 40), Some(OwnSsrcSeen::Loop));
    assert_eq!(
        check(packet_of(3, &[]), 3, 200),
        Some(OwnSsrcSeen::Collision),
        "long ago"
    );
}

proptest! {
    /// Whatever the codec, the ptime and the gaps: the payload comes out byte for byte, in packets of the ptime, each
    /// with the timestamp of its first sample.
    #[test]
    fn packets_are_an_exact_cut_of_the_stream(
        codec in sample_based(),
        ptime_ms in (1_u32..7).prop_map(|n| n * 10),
        spurts in prop::collection::vec((1_u32..20, 0_u32..5), 1..6),
    ) {
        let mut leg = Leg::new(codec, ptime_ms);
        let per_ms = codec.clock_rate() / 1000;
        let bytes_per_unit = tick(codec, 0).len() / 2;
        let mut expected = Vec::new();
        let mut clock_ms = 0;
        let mut number = 0;
        for (ticks, gap) in spurts {
            for _ in 0..ticks {
                leg.push(&tick(codec, number), &[]);
                for half in 0..2 {
                    expected.push((clock_ms + 10 * half, (2 * number + half) as u8));
                }
                clock_ms += 20;
                number += 1;
            }
            leg.flush();
            if gap > 0 {
                leg.outbound.skip(gap);
                clock_ms += 20 * gap;
            }
        }
        let mut units = Vec::new();
        for (n, packet) in leg.sent.iter().enumerate() {
            prop_assert!(packet.payload.len() <= MAX_PACKET_PAYLOAD);
            prop_assert_eq!(packet.payload.len() % bytes_per_unit, 0);
            prop_assert!(packet.payload.len() / bytes_per_unit * 10 <= ptime_ms as usize);
            prop_assert_eq!(packet.sequence, ORIGIN.sequence.wrapping_add(n as u16));
            let start_ms = packet.timestamp.wrapping_sub(ORIGIN.timestamp) / per_ms;
            for (unit, at) in packet.payload.chunks(bytes_per_unit).zip(0..) {
                prop_assert!(unit.iter().all(|byte| *byte == unit[0]));
                units.push((start_ms + 10 * at, unit[0]));
            }
        }
        prop_assert_eq!(units, expected);
        let octets: usize = leg.sent.iter().map(|packet| packet.payload.len()).sum();
        prop_assert_eq!(leg.outbound.totals().octets as usize, octets);
    }
}
