//! No bytes from outside panic, and what was written is read back as it was.

use proptest::prelude::*;
use unisono_rtp::packet::{Header, Kind, MAX_CSRCS, RtpPacket};
use unisono_rtp::rtcp::{
    Cname, Config, NtpTime, Packet, ReportBlock, SenderInfo, Session, Writer, parse,
};

/// Arbitrary bytes, most of them with a plausible beginning so that they get past the first checks.
fn datagram() -> impl Strategy<Value = Vec<u8>> {
    (
        any::<bool>(),
        0x80_u8..=0xbf,
        prop::sample::select(vec![0_u8, 128, 200, 201, 202, 203, 204, 207]),
        prop::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(shaped, first, second, mut bytes)| {
            if shaped && bytes.len() >= 4 {
                let words = (bytes.len() / 4 - 1) as u16;
                bytes[0] = first;
                bytes[1] = second;
                // Half of the time the length is that of the datagram.
                if bytes[2] & 1 == 0 {
                    bytes[2..4].copy_from_slice(&words.to_be_bytes());
                }
            }
            bytes
        })
}

fn block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -0x80_0000_i32..0x80_0000).prop_map(
        |(
            [
                ssrc,
                extended_highest,
                jitter,
                last_sender_report,
                delay_since_last,
            ],
            fraction_lost,
            cumulative_lost,
        )| {
            ReportBlock {
                ssrc,
                fraction_lost,
                cumulative_lost,
                extended_highest,
                jitter,
                last_sender_report,
                delay_since_last,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_read_as_rtp_or_refused(bytes in datagram()) {
        let _ = Kind::of(&bytes);
        if let Ok(packet) = RtpPacket::parse(&bytes) {
            prop_assert!(packet.payload.len() + 12 + 4 * packet.csrcs().len() <= bytes.len());
            prop_assert!(packet.payload_type < 128);
        }
    }

    #[test]
    fn any_bytes_are_read_as_rtcp_or_refused(bytes in datagram()) {
        if let Ok(packets) = parse(&bytes) {
            for packet in packets {
                match packet {
                    Packet::SenderReport { blocks, .. } | Packet::ReceiverReport { blocks, .. } => {
                        prop_assert!(blocks.count() <= 31);
                    }
                    Packet::SourceDescription(description) => {
                        let _ = (description.cname(), description.tool());
                    }
                    Packet::Goodbye(goodbye) => {
                        prop_assert!(goodbye.ssrcs().len() <= 31);
                        prop_assert!(goodbye.reason.len() <= 255);
                    }
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_session_survives_any_datagrams(datagrams in prop::collection::vec((datagram(), any::<u64>()), 0..20)) {
        let config = Config {
            cname: Cname::from_random([1; 12]),
            tool: "test",
            session_bandwidth: 80_000,
            reduced_minimum: true,
        };
        let mut session = Session::new(config, 1, 0, 0);
        let mut out = [0; 256];
        for (bytes, now_ns) in datagrams {
            let _ = session.on_rtcp(&bytes, now_ns);
            session.on_rtp(u32::from(bytes.len() as u16), now_ns);
            if let Some(length) = session.poll(now_ns, NtpTime(now_ns), now_ns, &Default::default(), None, &mut out) {
                prop_assert!(parse(&out[..length]).is_ok());
            }
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written(
        payload_type in 0_u8..128,
        marker in any::<bool>(),
        sequence in any::<u16>(),
        timestamp in any::<u32>(),
        ssrc in any::<u32>(),
        csrcs in prop::collection::vec(any::<u32>(), 0..20),
        payload in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let header = Header { payload_type, marker, sequence, timestamp, ssrc };
        let mut out = vec![0; 200];
        let start = header.write(&mut out, &csrcs);
        out.truncate(start);
        out.extend(&payload);
        let packet = RtpPacket::parse(&out).unwrap();
        let read = Header {
            payload_type: packet.payload_type,
            marker: packet.marker,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
        };
        prop_assert_eq!(read, header);
        prop_assert_eq!(packet.payload, payload);
        prop_assert!(packet.csrcs().eq(csrcs.into_iter().take(MAX_CSRCS)));
        if !(64..96).contains(&payload_type) {
            prop_assert_eq!(Kind::of(&out), Kind::Rtp);
        }
    }

    #[test]
    fn a_compound_is_read_as_it_was_written(
        ssrc in any::<u32>(),
        ntp in any::<u64>(),
        numbers in any::<[u32; 3]>(),
        blocks in prop::collection::vec(block(), 0..4),
        cname in prop::collection::vec(any::<u8>(), 0..300),
        tool in "[a-z]{0,9}",
        reason in "[a-z]{0,9}",
        leaving in prop::collection::vec(any::<u32>(), 0..4),
        room in 0_usize..600,
    ) {
        let [rtp_timestamp, packets, octets] = numbers;
        let info = SenderInfo { ntp: NtpTime(ntp), rtp_timestamp, packets, octets };
        let write = |out: &mut [u8]| {
            let mut writer = Writer::new(out);
            writer.sender_report(ssrc, &info, &blocks);
            writer.receiver_report(ssrc, &blocks);
            writer.source_description(ssrc, &cname, &tool);
            writer.goodbye(&leaving, &reason);
            writer.finish()
        };
        let mut out = [0; 1200];
        let length = write(&mut out).unwrap();
        prop_assert_eq!(length % 4, 0);
        prop_assert_eq!(Kind::of(&out), Kind::Rtcp);
        let mut short = vec![0; room];
        prop_assert_eq!(write(&mut short), (room >= length).then_some(length));

        let read: Vec<_> = parse(&out[..length]).unwrap().collect();
        let [first, second, third, fourth] = &read[..] else { panic!("{read:?}") };
        let Packet::SenderReport { ssrc: who, info: what, blocks: read_blocks } = first else { panic!("{first:?}") };
        prop_assert_eq!((who, what), (&ssrc, &info));
        prop_assert!(read_blocks.clone().eq(blocks.iter().copied()));
        let Packet::ReceiverReport { ssrc: who, blocks: read_blocks } = second else { panic!("{second:?}") };
        prop_assert_eq!(who, &ssrc);
        prop_assert!(read_blocks.clone().eq(blocks.iter().copied()));
        let Packet::SourceDescription(description) = third else { panic!("{third:?}") };
        prop_assert_eq!(description.cname(), Some(&cname[..cname.len().min(255)]));
        prop_assert_eq!(description.tool(), (!tool.is_empty()).then_some(tool.as_bytes()));
        let Packet::Goodbye(goodbye) = fourth else { panic!("{fourth:?}") };
        prop_assert!(goodbye.ssrcs().eq(leaving.iter().copied()));
        prop_assert_eq!(goodbye.reason, reason.as_bytes());
    }
}
