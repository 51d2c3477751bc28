//! Two sessions that report to each other, in virtual time.

use std::collections::VecDeque;

use unisono_rtp::outbound::SentTotals;
use unisono_rtp::reception::Reception;
use unisono_rtp::rtcp::{
    Cname, Config, NtpTime, Packet, RtcpError, Sending, Session, Writer, parse,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

fn config() -> Config {
    Config {
        cname: Cname::from_random(*b"random bytes"),
        tool: "unisono",
        session_bandwidth: 80_000,
        reduced_minimum: false,
    }
}

/// One end of a call.
struct End {
    ssrc: u32,
    session: Session,
    reception: Option<Reception>,
    totals: SentTotals,
    /// What is on its way to this end, with arrival times: RTP sequence numbers and RTCP datagrams.
    rtp: VecDeque<(u64, u16)>,
    rtcp: VecDeque<(u64, Vec<u8>)>,
    reports_at: Vec<u64>,
    random: u64,
}

impl End {
    fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            session: Session::new(config(), ssrc, 0, ssrc.wrapping_mul(0x9e37_79b9)),
            reception: None,
            totals: SentTotals::default(),
            rtp: VecDeque::new(),
            rtcp: VecDeque::new(),
            reports_at: Vec::new(),
            random: ssrc.into(),
        }
    }

    fn sending(&self) -> Sending {
        Sending {
            rtp_timestamp: 160 * self.totals.packets,
            totals: self.totals,
        }
    }

    /// One tick: takes what arrived, sends a packet if `talks`, and a report if one is due.
    fn tick(
        &mut self,
        other: &mut Self,
        now: u64,
        delay: u64,
        talks: bool,
        loses: impl Fn(u16) -> bool,
    ) {
        while self.rtp.front().is_some_and(|(at, _)| *at <= now) {
            let (at, sequence) = self.rtp.pop_front().unwrap();
            self.reception
                .get_or_insert_with(|| Reception::new(8000))
                .on_packet(sequence, 160 * u32::from(sequence), at);
            self.session.on_rtp(other.ssrc, at);
        }
        while self.rtcp.front().is_some_and(|(at, _)| *at <= now) {
            let (at, datagram) = self.rtcp.pop_front().unwrap();
            self.session.on_rtcp(&datagram, at).unwrap();
        }
        if talks {
            let sequence = self.totals.packets as u16;
            if !loses(sequence) {
                other.rtp.push_back((now + delay, sequence));
            }
            self.totals.packets += 1;
            self.totals.octets += 160;
        }
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let mut out = [0; 256];
        let sending = self.sending();
        let ntp = NtpTime(now << 16);
        let report = self.session.poll(
            now,
            ntp,
            self.random,
            &sending,
            self.reception.as_mut(),
            &mut out,
        );
        if let Some(length) = report {
            self.reports_at.push(now);
            other.rtcp.push_back((now + delay, out[..length].to_vec()));
        }
    }
}

/// A call of some seconds; every tenth packet of the first end is lost.
fn call(seconds: u64, delay: u64) -> (End, End) {
    let (mut a, mut b) = (End::new(1), End::new(2));
    for now in (0..seconds * 50).map(|tick| tick * 20 * MS) {
        a.tick(&mut b, now, delay, true, |sequence| sequence % 10 == 5);
        b.tick(&mut a, now, delay, false, |_| false);
    }
    (a, b)
}

#[test]
fn reports_come_about_every_five_seconds_but_never_in_step() {
    let (a, b) = call(600, 10 * MS);
    for end in [&a, &b] {
        assert!(end.reports_at[0] >= SECOND && end.reports_at[0] <= 4 * SECOND);
        let gaps: Vec<_> = end.reports_at.windows(2).map(|w| w[1] - w[0]).collect();
        assert!(
            gaps.iter()
                .all(|gap| (2 * SECOND..=6300 * MS).contains(gap)),
            "{gaps:?}"
        );
        let mean = gaps.iter().sum::<u64>() / gaps.len() as u64;
        // Drawing anew at each expiry lengthens intervals by what e - 3/2 shortened them.
        assert!((4600 * MS..5400 * MS).contains(&mean), "{mean}");
        assert!(gaps.iter().max().unwrap() - gaps.iter().min().unwrap() > 2 * SECOND);
    }
}

#[test]
fn loss_and_round_trip_reach_the_sender() {
    let (a, b) = call(60, 40 * MS);
    let report = a.session.peer_report().unwrap();
    assert!(
        (24..=27).contains(&report.fraction_lost),
        "a tenth of 256: {}",
        report.fraction_lost
    );
    assert!(report.cumulative_lost > 200);
    assert_eq!(report.jitter, 0);
    let round_trip = report.round_trip_ns.unwrap();
    // Reports are read at the tick after their arrival, but timed by arrival.
    assert!(round_trip.abs_diff(80 * MS) < MS, "{round_trip}");
    assert_eq!(
        b.session.peer_report(),
        None,
        "nothing was sent that could be reported on"
    );
    assert_eq!((a.session.peer(), b.session.peer()), (Some(2), Some(1)));
}

#[test]
fn a_compound_begins_with_the_right_report_and_names_its_source() {
    let (mut a, mut b) = call(30, 10 * MS);
    let datagram_of = |end: &mut End| {
        let mut out = [0; 256];
        let sending = end.sending();
        let (now, ntp) = (31 * SECOND, NtpTime(7));
        let length = end
            .session
            .goodbye(now, ntp, &sending, end.reception.as_mut(), "bye", &mut out)
            .unwrap();
        out[..length].to_vec()
    };
    let from_talker = datagram_of(&mut a);
    let packets: Vec<_> = parse(&from_talker).unwrap().collect();
    let [
        Packet::SenderReport { ssrc: 1, info, .. },
        Packet::SourceDescription(names),
        Packet::Goodbye(bye),
    ] = &packets[..]
    else {
        panic!("{packets:?}")
    };
    assert_eq!((info.packets, info.octets), (1500, 240_000));
    assert_eq!(names.cname(), Some(&b"cmFuZG9tIGJ5dGVz"[..]));
    assert_eq!(names.tool(), Some(&b"unisono"[..]));
    assert!(bye.ssrcs().eq([1]));

    let from_listener = datagram_of(&mut b);
    let packets: Vec<_> = parse(&from_listener).unwrap().collect();
    let [Packet::ReceiverReport { ssrc: 2, blocks }, ..] = &packets[..] else {
        panic!("{packets:?}")
    };
    let block = blocks.clone().next().unwrap();
    assert_eq!((block.ssrc, block.extended_highest), (1, 1498));
    assert!(block.last_sender_report != 0 && block.delay_since_last > 0);

    let heard = b.session.on_rtcp(&from_talker, 31 * SECOND).unwrap();
    assert!(heard.peer_left);
    assert_eq!(b.session.peer(), None);
    b.session.on_rtp(1, 31 * SECOND + 20 * MS);
    assert_eq!(b.session.peer(), None, "a packet that was still on its way");
    assert!(
        !b.session
            .on_rtcp(&from_talker, 31 * SECOND + 21 * MS)
            .unwrap()
            .peer_left,
        "said twice"
    );
}

#[test]
fn a_talker_that_falls_silent_becomes_a_receiver_after_two_reports() {
    let (mut a, mut b) = call(30, 10 * MS);
    let mut kinds = Vec::new();
    for now in (1500..3000).map(|tick| tick * 20 * MS) {
        a.tick(&mut b, now, 0, false, |_| false);
        if let Some((_, datagram)) = b.rtcp.pop_back() {
            kinds.push(datagram[1]);
        }
    }
    assert_eq!(kinds[..2], [200, 200]);
    assert!(
        kinds.len() > 4 && kinds[2..].iter().all(|kind| *kind == 201),
        "{kinds:?}"
    );
}

#[test]
fn a_peer_that_vanishes_is_forgotten() {
    let (mut a, _) = call(30, 10 * MS);
    let mut nobody = End::new(9);
    for now in (1500..4000).map(|tick| tick * 20 * MS) {
        a.tick(&mut nobody, now, 0, true, |_| false);
    }
    assert_eq!(a.session.peer(), None);
}

#[test]
fn who_never_sent_says_no_bye() {
    let mut end = End::new(1);
    let mut out = [0; 256];
    let silent = end
        .session
        .goodbye(SECOND, NtpTime(0), &Sending::default(), None, "", &mut out);
    assert_eq!(silent, None);
    end.totals.packets = 1;
    let sending = end.sending();
    assert!(
        end.session
            .goodbye(SECOND, NtpTime(0), &sending, None, "", &mut out)
            .is_some()
    );
    end.session.change_ssrc(7);
    assert_eq!(end.session.ssrc(), 7);
    let again = end
        .session
        .goodbye(SECOND, NtpTime(0), &Sending::default(), None, "", &mut out);
    assert_eq!(again, None, "nothing was sent under the new SSRC");
}

#[test]
fn ones_own_ssrc_in_a_report_is_told_and_otherwise_ignored() {
    let (mut a, _) = call(30, 10 * MS);
    let before = (a.session.peer(), a.session.peer_report());
    let mut out = [0; 64];
    let mut writer = Writer::new(&mut out);
    writer.receiver_report(1, &[]);
    writer.goodbye(&[2], "");
    let length = writer.finish().unwrap();
    let heard = a.session.on_rtcp(&out[..length], 31 * SECOND).unwrap();
    assert!(heard.own_ssrc && !heard.peer_left);
    assert_eq!((a.session.peer(), a.session.peer_report()), before);
}

#[test]
fn an_invented_reference_yields_no_round_trip() {
    let (mut a, _) = call(30, 10 * MS);
    let mut out = [0; 64];
    let mut writer = Writer::new(&mut out);
    let block = unisono_rtp::rtcp::ReportBlock {
        ssrc: 1,
        last_sender_report: 0x1234_5678,
        ..Default::default()
    };
    writer.receiver_report(2, &[block]);
    let length = writer.finish().unwrap();
    let report = a
        .session
        .on_rtcp(&out[..length], 31 * SECOND)
        .unwrap()
        .report
        .unwrap();
    assert_eq!(report.round_trip_ns, None);
}

#[test]
fn what_is_unknown_is_passed_over_and_what_is_broken_refused() {
    let compound = [
        0x80, 204, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e', // APP
        0x80, 207, 0, 1, 0, 0, 0, 1, // XR
        0x80, 201, 0, 1, 0, 0, 0, 2, // RR, not in front
        0xa1, 203, 0, 2, 0, 0, 0, 2, 0, 0, 0, 4, // BYE, padded
    ];
    let packets: Vec<_> = parse(&compound).unwrap().collect();
    assert!(matches!(
        packets[..],
        [
            Packet::Other { packet_type: 204 },
            Packet::Other { packet_type: 207 },
            Packet::ReceiverReport { ssrc: 2, .. },
            Packet::Goodbye(_)
        ]
    ));
    assert_eq!(parse(&[]).err(), Some(RtcpError::Truncated));
    assert_eq!(parse(&compound[..40 - 4]).err(), Some(RtcpError::Truncated));
    assert_eq!(
        parse(&[0x81, 200, 0, 6, 0, 0, 0, 0]).err(),
        Some(RtcpError::Truncated)
    );
    assert_eq!(
        parse(&[0x81, 201, 0, 1, 0, 0, 0, 0]).err(),
        Some(RtcpError::Truncated),
        "a block short"
    );
    assert_eq!(
        parse(&[0x40, 201, 0, 1, 0, 0, 0, 0]).err(),
        Some(RtcpError::Version)
    );
    assert_eq!(
        parse(&[0xa0, 201, 0, 1, 0, 0, 0, 5]).err(),
        Some(RtcpError::Padding)
    );
    let padded_in_front = [
        0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0x80, 201, 0, 1, 0, 0, 0, 1,
    ];
    assert_eq!(parse(&padded_in_front).err(), Some(RtcpError::Padding));
}
