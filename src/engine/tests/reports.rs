//! RTCP: what is sent where.

use unisono_rtp::codec::Codec;
use unisono_rtp::rtcp::{Packet, parse};

use super::phone::{Hall, media};
use crate::engine::sockets::Channel;
use crate::engine::{Event, MediaSpec, Remote};

/// Sources that say BYE in a compound.
pub(super) fn goodbyes(datagram: &[u8]) -> Vec<u32> {
    parse(datagram)
        .unwrap()
        .flat_map(|packet| match packet {
            Packet::Goodbye(goodbye) => goodbye.ssrcs().collect(),
            _ => Vec::new(),
        })
        .collect()
}

fn hall(mux: bool) -> Hall {
    let mut hall = Hall::new();
    let room = hall.plane.open_room(0, None);
    for number in 0..2 {
        let spec = media(Codec::Pcmu, number);
        hall.call(MediaSpec {
            remote: Remote {
                rtcp_mux: mux,
                ..spec.remote
            },
            ..spec
        });
        hall.plane.join(hall.leg(number.into()), room);
    }
    hall
}

#[test]
fn reports_go_where_rtcp_belongs_and_tell_of_the_stream() {
    for mux in [false, true] {
        let mut hall = hall(mux);
        hall.run(1500);
        let leg = hall.leg(0);
        let remote = hall.phones[0].media.remote;
        let reports: Vec<_> = hall.rtcp.iter().filter(|rtcp| rtcp.leg == leg).collect();
        // 30 s at about five seconds, randomised by half, divided by 1.21828.
        assert!((4..=12).contains(&reports.len()), "{}", reports.len());
        let expected = if mux {
            (Channel::Rtp, remote.rtp.unwrap())
        } else {
            (Channel::Rtcp, remote.rtcp.unwrap())
        };
        let stream = &hall.phones[0].heard;
        for report in &reports {
            assert_eq!((report.channel, report.destination), expected);
            let Some(Packet::SenderReport {
                ssrc,
                info,
                mut blocks,
            }) = parse(&report.datagram).unwrap().next()
            else {
                panic!("a sender reports as a sender");
            };
            assert_eq!(ssrc, stream[0].ssrc);
            let block = blocks.next().unwrap();
            assert_eq!(block.ssrc, hall.phones[0].mouth.ssrc);
            assert_eq!(block.cumulative_lost, 0);
            // The report follows the packet of its interval: one interval of samples was sent for each packet.
            let sent = info.packets - 1;
            assert_eq!(info.rtp_timestamp, stream[sent as usize].timestamp);
            assert_eq!(info.octets, info.packets * 160);
        }
    }
}

#[test]
fn a_leg_that_closes_says_bye_and_so_do_all_at_the_end() {
    let mut hall = hall(false);
    hall.run(20);
    let source = |n: usize, hall: &Hall| hall.phones[n].heard[0].ssrc;
    hall.plane.close_leg(hall.leg(0));
    hall.listen();
    assert_eq!(goodbyes(&hall.rtcp[0].datagram), [source(0, &hall)]);
    assert_eq!(hall.rtcp.len(), 1);
    hall.plane.shut_down();
    hall.listen();
    assert_eq!(goodbyes(&hall.rtcp[1].datagram), [source(1, &hall)]);
    assert_eq!(hall.rtcp.len(), 2);
}

#[test]
fn rtcp_of_others_or_on_the_wrong_socket_is_not_listened_to() {
    let mut hall = hall(false);
    hall.run(10);
    let leg = hall.leg(0);
    // What counts as a sign of life.
    let heard = |hall: &Hall| hall.plane.leg_figures(leg).unwrap().last_packet_ns;
    let last_voice = heard(&hall);
    let source = hall.phones[0].mouth.address;
    let ssrc = hall.phones[0].mouth.ssrc.to_be_bytes();
    let bye = [[0x80, 201, 0, 1], ssrc, [0x81, 203, 0, 1], ssrc].concat();
    hall.plane.receive(
        leg,
        Channel::Rtcp,
        &bye,
        crate::engine::rehearsal::address(9),
    );
    hall.plane.receive(leg, Channel::Rtp, &bye, source);
    hall.listen();
    assert_eq!(hall.events, []);
    assert_eq!(heard(&hall), last_voice);
    hall.plane.receive(leg, Channel::Rtcp, &bye, source);
    hall.listen();
    assert!(heard(&hall) > last_voice);
    assert_eq!(hall.events, [Event::RemoteBye(leg)]);
}
