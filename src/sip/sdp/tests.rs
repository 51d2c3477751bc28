//! Offers in the manner of real phones, the rules one by one, and hostile text.

use proptest::prelude::*;

use super::*;

const LINPHONE: &str = include_str!("fixtures/linphone.sdp");
const ZOIPER: &str = include_str!("fixtures/zoiper.sdp");
const ASTERISK_PJSIP: &str = include_str!("fixtures/asterisk_pjsip.sdp");
const ASTERISK_CHAN_SIP: &str = include_str!("fixtures/asterisk_chan_sip.sdp");
const FREESWITCH: &str = include_str!("fixtures/freeswitch.sdp");
const BARESIP: &str = include_str!("fixtures/baresip.sdp");
const SIPP: &str = include_str!("fixtures/sipp.sdp");
const CISCO: &str = include_str!("fixtures/cisco.sdp");
const BROWSER: &str = include_str!("fixtures/browser.sdp");
const SNOM: &str = include_str!("fixtures/snom_optional_srtp.sdp");
const ALL: [&str; 10] = [
    LINPHONE,
    ZOIPER,
    ASTERISK_PJSIP,
    ASTERISK_CHAN_SIP,
    FREESWITCH,
    BARESIP,
    SIPP,
    CISCO,
    BROWSER,
    SNOM,
];

fn local() -> LocalMedia {
    LocalMedia {
        address: "203.0.113.5".parse().unwrap(),
        rtp_port: 20000,
        rtcp_port: Some(20001),
        rtcp_mux: true,
        codecs: vec![
            Codec::Opus,
            Codec::G722,
            Codec::L16 { rate: 16000 },
            Codec::Pcmu,
            Codec::Pcma,
        ],
        codec_order: CodecOrder::Theirs,
        ptime_ms: None,
        telephone_event: true,
        comfort_noise: true,
        session_id: 7,
        session_version: 1,
    }
}

/// An offer of one audio line, `rest` being more lines.
fn audio(formats: &str, rest: &[&str]) -> String {
    let mut text = format!(
        "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {formats}\r\n"
    );
    for line in rest {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}

fn answered(offer: &str) -> (Agreed, String) {
    answer(offer, &local()).unwrap()
}

fn refused(offer: &str) -> SdpError {
    answer(offer, &local()).unwrap_err()
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn event(payload_type: u8, clock_rate: u32) -> Option<TelephoneEvent> {
    Some(TelephoneEvent {
        payload_type,
        receive_payload_type: payload_type,
        clock_rate,
    })
}

#[test]
fn linphone_gets_opus_with_events_at_its_clock() {
    let (agreed, text) = answered(LINPHONE);
    assert_eq!(
        (agreed.codec, agreed.payload_type, agreed.ptime_ms),
        (Codec::Opus, 96, 20)
    );
    assert_eq!(agreed.telephone_event, event(101, 48000));
    assert_eq!(agreed.remote_rtp, address("198.51.100.20:7078"));
    assert_eq!(agreed.remote_rtcp, address("198.51.100.20:7079"));
    assert!(agreed.opus.in_band_fec && !agreed.rtcp_mux);
    assert!(text.contains("m=audio 20000 RTP/AVP 96 101\r\n"), "{text}");
    assert!(
        text.contains("a=rtpmap:96 opus/48000/2\r\n")
            && text.contains("a=rtpmap:101 telephone-event/48000\r\n")
    );
}

#[test]
fn zoiper_is_sent_no_more_bandwidth_than_it_plays() {
    let (agreed, _) = answered(ZOIPER);
    assert_eq!(
        (agreed.codec, agreed.opus.max_playback_rate),
        (Codec::Opus, 16000)
    );
    assert_eq!(agreed.telephone_event, event(98, 48000));
}

#[test]
fn asterisk_trunks_get_their_first_known_codec() {
    let (agreed, text) = answered(ASTERISK_PJSIP);
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Pcma, 8));
    assert!(
        text.contains("m=audio 20000 RTP/AVP 8 101\r\n") && text.contains("a=fmtp:101 0-15\r\n"),
        "{text}"
    );

    let (agreed, text) = answered(ASTERISK_CHAN_SIP);
    assert_eq!((agreed.codec, agreed.ptime_ms), (Codec::Pcmu, 30));
    assert!(text.contains("a=ptime:30\r\n"));
    assert!(text.ends_with("m=video 0 RTP/AVP 99\r\n"), "{text}");
}

#[test]
fn freeswitch_opus_takes_no_comfort_noise_of_another_clock() {
    let (agreed, _) = answered(FREESWITCH);
    assert_eq!(agreed.opus.max_average_bitrate, Some(30000));
    assert_eq!((agreed.codec, agreed.comfort_noise), (Codec::Opus, None));
    let g722 = LocalMedia {
        codecs: vec![Codec::G722],
        ..local()
    };
    let (agreed, text) = answer(FREESWITCH, &g722).unwrap();
    assert_eq!(agreed.comfort_noise.unwrap().payload_type, 13);
    assert_eq!(agreed.telephone_event, event(101, 8000));
    assert!(
        text.contains("m=audio 20000 RTP/AVP 9 101 13\r\n")
            && text.contains("a=rtpmap:9 G722/8000\r\n"),
        "{text}"
    );
}

#[test]
fn baresip_shares_one_port_for_rtcp_and_stereo_is_passed_over() {
    let (agreed, text) = answered(BARESIP);
    assert_eq!(
        (agreed.codec, agreed.payload_type),
        (Codec::L16 { rate: 16000 }, 97)
    );
    assert!(agreed.rtcp_mux && text.contains("a=rtcp-mux\r\n"));
    assert_eq!(agreed.remote_rtcp, agreed.remote_rtp);
    let narrow = LocalMedia {
        codecs: vec![Codec::L16 { rate: 8000 }, Codec::Pcmu],
        ..local()
    };
    assert_eq!(answer(BARESIP, &narrow).unwrap().0.codec, Codec::Pcmu);
}

#[test]
fn sipp_and_cisco_get_g711() {
    let (agreed, _) = answered(SIPP);
    assert_eq!(
        (agreed.codec, agreed.telephone_event, agreed.comfort_noise),
        (Codec::Pcmu, None, None)
    );
    assert_eq!(agreed.remote_rtcp, address("127.0.1.1:6001"));
    let (agreed, text) = answered(CISCO);
    assert_eq!((agreed.codec, agreed.ptime_ms), (Codec::Pcmu, 20));
    assert!(text.ends_with("m=image 0 udptl t38\r\n"), "{text}");
}

#[test]
fn a_browser_is_told_which_transport_is_missing() {
    let error = refused(BROWSER);
    assert_eq!(
        error,
        SdpError::Transport {
            proto: "UDP/TLS/RTP/SAVPF".into()
        }
    );
    assert_eq!((error.status(), error.warn_code()), (488, Some(302)));
}

#[test]
fn optional_encryption_falls_back_to_the_plain_line() {
    let (agreed, text) = answered(SNOM);
    assert_eq!(
        (agreed.codec, agreed.remote_rtp),
        (Codec::G722, address("192.168.7.3:53212"))
    );
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        ["m=audio 0 RTP/SAVP 9", "m=audio 20000 RTP/AVP 9 101"]
    );
}

#[test]
fn an_answer_reads_as_rfc_3264_wants() {
    let (_, text) = answered(SIPP);
    let expected = "v=0\r\no=- 7 1 IN IP4 203.0.113.5\r\ns=unisono\r\nc=IN IP4 203.0.113.5\r\nt=0 0\r\n\
        m=audio 20000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=maxptime:60\r\na=sendrecv\r\n";
    assert_eq!(text, expected);
}

#[test]
fn the_order_of_preference_is_theirs_or_ours() {
    let offer = audio("8 0 9", &[]);
    assert_eq!(answered(&offer).0.codec, Codec::Pcma);
    let ours = LocalMedia {
        codec_order: CodecOrder::Ours,
        ..local()
    };
    assert_eq!(answer(&offer, &ours).unwrap().0.codec, Codec::G722);
}

#[test]
fn static_numbers_need_no_rtpmap_and_an_rtpmap_overrides_them() {
    assert_eq!(answered(&audio("9", &[])).0.codec, Codec::G722);
    let (agreed, _) = answered(&audio(
        "0 96",
        &["a=rtpmap:0 GSM/8000", "a=rtpmap:96 pcma/8000/1"],
    ));
    assert_eq!((agreed.codec, agreed.payload_type), (Codec::Pcma, 96));
}

#[test]
fn events_of_8_khz_serve_where_there_are_no_others() {
    let (agreed, _) = answered(&audio(
        "96 101",
        &[
            "a=rtpmap:96 OPUS/48000/2",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
        ],
    ));
    assert_eq!(agreed.telephone_event, event(101, 8000));
    let none = LocalMedia {
        telephone_event: false,
        ..local()
    };
    let offer = audio("0 101", &["a=rtpmap:101 telephone-event/8000"]);
    assert_eq!(answer(&offer, &none).unwrap().0.telephone_event, None);
}

#[test]
fn hold_is_answered_with_its_mirror() {
    for (theirs, ours) in [
        ("sendrecv", Direction::SendReceive),
        ("sendonly", Direction::ReceiveOnly),
        ("recvonly", Direction::SendOnly),
        ("inactive", Direction::Inactive),
    ] {
        let (agreed, text) = answered(&audio("0", &[&format!("a={theirs}")]));
        assert_eq!(agreed.direction, ours);
        assert!(text.contains(&format!("a={}\r\n", ours.name())));
    }
    let session_level = "v=0\nc=IN IP4 198.51.100.1\na=sendonly\nm=audio 4000 RTP/AVP 0\n";
    assert_eq!(answered(session_level).0.direction, Direction::ReceiveOnly);
    let overridden = "v=0\nc=IN IP4 198.51.100.1\na=sendonly\nm=audio 4000 RTP/AVP 0\na=sendrecv\n";
    assert_eq!(answered(overridden).0.direction, Direction::SendReceive);
}

#[test]
fn hold_by_a_zero_address_stops_what_is_sent() {
    let (agreed, text) = answered(&audio("0", &["c=IN IP4 0.0.0.0"]));
    assert_eq!((agreed.remote_rtp, agreed.remote_rtcp), (None, None));
    assert_eq!(agreed.direction, Direction::ReceiveOnly);
    assert!(text.contains("a=recvonly\r\n"));
}

#[test]
fn rtcp_goes_where_it_is_wanted() {
    let rtcp = |line: &str| answered(&audio("0", &[line])).0.remote_rtcp;
    assert_eq!(rtcp("a=sendrecv"), address("198.51.100.1:4001"));
    assert_eq!(rtcp("a=rtcp:5000"), address("198.51.100.1:5000"));
    assert_eq!(
        rtcp("a=rtcp:5000 IN IP4 198.51.100.9"),
        address("198.51.100.9:5000")
    );
    for bad in [
        "a=rtcp:0",
        "a=rtcp:x",
        "a=rtcp:5000 IN IP4 host",
        "a=rtcp:5000 IN IP4 224.0.0.1",
        "a=rtcp:70000",
    ] {
        assert_eq!(rtcp(bad), None, "{bad}");
    }
    assert_eq!(rtcp("a=rtcp-mux"), address("198.51.100.1:4000"));
    // Payload type 72 on a shared port looks like an RTCP sender report.
    let (agreed, text) = answered(&audio("72", &["a=rtpmap:72 PCMU/8000", "a=rtcp-mux"]));
    assert!(!agreed.rtcp_mux && !text.contains("rtcp-mux"));
}

#[test]
fn packets_are_as_long_as_the_other_side_wants_and_takes() {
    let ptime = |format: &str, lines: &[&str]| {
        let mut all = vec![
            "a=rtpmap:96 opus/48000/2",
            "a=rtpmap:97 L16/48000",
            "a=rtpmap:98 L16/16000",
        ];
        all.extend_from_slice(lines);
        let wide = LocalMedia {
            codecs: [local().codecs, vec![Codec::L16 { rate: 48000 }]].concat(),
            ..local()
        };
        answer(&audio(format, &all), &wide).unwrap().0.ptime_ms
    };
    assert_eq!(ptime("0", &[]), 20);
    for (wish, sent) in [
        ("10", 10),
        ("30", 30),
        ("60", 60),
        ("25", 20),
        ("5", 10),
        ("200", 60),
        ("0", 20),
        ("x", 20),
    ] {
        assert_eq!(ptime("0", &[&format!("a=ptime:{wish}")]), sent, "{wish}");
    }
    assert_eq!(ptime("0", &["a=ptime:40", "a=maxptime:30"]), 30);
    assert_eq!(ptime("0", &["a=maxptime:1"]), 10);
    assert_eq!(ptime("0", &["a=ptime:99999999999999999999"]), 20);
    for (wish, sent) in [(10, 10), (20, 20), (30, 20), (40, 40), (50, 40), (60, 60)] {
        assert_eq!(
            ptime("96", &[&format!("a=ptime:{wish}")]),
            sent,
            "Opus is sent in whole frames of the mix: {wish}"
        );
    }
    assert_eq!(ptime("96", &["a=ptime:60", "a=maxptime:50"]), 40);
    assert_eq!(
        ptime("97", &[]),
        10,
        "20 ms would not fit an Ethernet frame"
    );
    assert_eq!(ptime("98", &["a=ptime:60"]), 40);
}

#[test]
fn our_wish_for_a_ptime_is_told_and_used_where_there_is_no_other() {
    let wish = LocalMedia {
        ptime_ms: Some(40),
        ..local()
    };
    let (agreed, text) = answer(&audio("0", &[]), &wish).unwrap();
    assert!(agreed.ptime_ms == 40 && text.contains("a=ptime:40\r\n"));
    let (agreed, text) = answer(&audio("0", &["a=ptime:10"]), &wish).unwrap();
    assert!(agreed.ptime_ms == 10 && text.contains("a=ptime:40\r\n"));
}

#[test]
fn a_rtcp_port_that_is_not_the_next_one_is_told() {
    let odd = LocalMedia {
        rtcp_port: Some(30000),
        ..local()
    };
    assert!(answer(SIPP, &odd).unwrap().1.contains("a=rtcp:30000\r\n"));
    assert!(!answered(SIPP).1.contains("a=rtcp"));
}

#[test]
fn ipv6_is_spoken_among_ipv6_hosts_only() {
    let offer = "v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n";
    let error = refused(offer);
    assert_eq!(
        error,
        SdpError::AddressFamily {
            theirs: "IPv6",
            ours: "IPv4"
        }
    );
    assert_eq!(error.warn_code(), Some(301));
    let six = LocalMedia {
        address: "2001:db8::5".parse().unwrap(),
        ..local()
    };
    let (agreed, text) = answer(offer, &six).unwrap();
    assert_eq!(agreed.remote_rtp, address("[2001:db8::1]:4000"));
    assert!(
        text.contains("o=- 7 1 IN IP6 2001:db8::5\r\n")
            && text.contains("c=IN IP6 2001:db8::5\r\n")
    );
}

#[test]
fn addresses_that_cannot_be_served_are_refused_with_their_reason() {
    let with = |line: &str| refused(&audio("0", &[line]));
    for group in [
        "c=IN IP4 224.2.36.42/127",
        "c=IN IP4 255.255.255.255",
        "c=IN IP6 ff15::101",
    ] {
        assert_eq!(with(group), SdpError::Multicast, "{group}");
    }
    assert_eq!(with("c=IN IP4 phone.example.net"), SdpError::HostName);
    assert_eq!(with("c=ATM NSAP 47.0091"), SdpError::NetworkType);
    assert!(matches!(
        refused("v=0\r\nm=audio 4000 RTP/AVP 0\r\n"),
        SdpError::Malformed { .. }
    ));
}

#[test]
fn offers_without_usable_audio_are_refused() {
    let none = [
        "v=0\r\no=- 1 1 IN IP4 198.51.100.1\r\ns=-\r\nt=0 0\r\n",
        "v=0\r\nc=IN IP4 198.51.100.1\r\nm=audio 0 RTP/AVP 0\r\n",
        "v=0\r\nc=IN IP4 198.51.100.1\r\nm=video 4000 RTP/AVP 31\r\n",
        "v=0\r\nc=IN IP4 198.51.100.1\r\nm=image 4000 udptl t38\r\n",
    ];
    for offer in none {
        let error = refused(offer);
        assert_eq!(error, SdpError::NoAudio, "{offer}");
        assert_eq!((error.status(), error.warn_code()), (488, Some(304)));
    }
}

#[test]
fn a_missing_codec_is_named() {
    let error = refused(&audio(
        "18 3 97 101",
        &["a=rtpmap:97 iLBC/8000", "a=rtpmap:101 telephone-event/8000"],
    ));
    assert_eq!((error.status(), error.warn_code()), (488, Some(305)));
    assert_eq!(
        error.to_string(),
        "no common codec: G729 GSM iLBC/8000 offered, opus/48000/2 G722/8000 L16/16000 PCMU/8000 PCMA/8000 available"
    );
    let quoted = refused(&audio("97", &["a=rtpmap:97 \"\\evil\u{7f}\u{e9}\"/8000"])).to_string();
    assert!(
        !quoted.contains('"') && !quoted.contains('\\') && quoted.is_ascii(),
        "{quoted}"
    );
}

#[test]
fn lines_that_decide_nothing_refuse_no_call() {
    let odd = "v=0\no=a b c not numbers\ns=\u{fffd}\nb=ODD\nt=x\nz=nonsense\nc= IN  IP4 198.51.100.1 \n\
        m=audio  4000  RTP/AVP  0  8 \na=ptime: 30\n";
    let (agreed, _) = answered(odd);
    assert_eq!((agreed.codec, agreed.ptime_ms), (Codec::Pcmu, 30));
}

#[test]
fn malformed_descriptions_name_the_line() {
    for (text, part) in [
        ("", "No version"),
        ("hello", "line 1"),
        ("v=1\r\n", "line 1"),
        (
            "v=0\r\nc=IN IP4 198.51.100.1\r\nm=audio port RTP/AVP 0\r\n",
            "line 3",
        ),
        (
            "v=0\r\nc=IN IP4 198.51.100.1\r\nm=audio 70000 RTP/AVP 0\r\n",
            "line 3",
        ),
        ("v=0\r\ns=-\r\nbroken\r\n", "line 3"),
        ("v=0\r\nc=IN IP4\r\nm=audio 4000 RTP/AVP 0\r\n", "line 2"),
    ] {
        let error = refused(text);
        assert_eq!(
            (error.status(), error.warn_code()),
            (400, None),
            "{text:?} {error}"
        );
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn size_is_bounded() {
    let long = format!("{SIPP}a=x:{}\r\n", "y".repeat(MAX_SDP_BYTES));
    assert_eq!(refused(&long).status(), 413);
    let many = format!(
        "v=0\r\nc=IN IP4 198.51.100.1\r\n{}",
        "m=audio 4000 RTP/AVP 0\r\n".repeat(MAX_MEDIA_LINES + 1)
    );
    assert_eq!(refused(&many).status(), 413);
}

#[test]
fn an_offer_of_ours_lists_everything_and_is_agreed_with_the_answerer() {
    let ours = local();
    let text = offer(&ours);
    assert!(
        text.contains("m=audio 20000 RTP/AVP 96 9 98 0 8 101 103 102 13\r\n"),
        "{text}"
    );
    assert!(
        text.contains("a=rtcp-mux\r\n")
            && text.contains("a=ptime:20\r\n")
            && text.contains("a=maxptime:60\r\n")
    );
    let phone = LocalMedia {
        address: "198.51.100.30".parse().unwrap(),
        rtp_port: 5004,
        codecs: vec![Codec::Pcma],
        ptime_ms: Some(30),
        ..local()
    };
    let (theirs, answer_text) = answer(&text, &phone).unwrap();
    let agreed = agree(&ours, &answer_text).unwrap();
    assert_eq!(
        (agreed.codec, agreed.ptime_ms, agreed.rtcp_mux),
        (Codec::Pcma, 30, true)
    );
    assert_eq!(
        (theirs.codec, theirs.telephone_event),
        (agreed.codec, agreed.telephone_event)
    );
    assert_eq!(agreed.remote_rtp, address("198.51.100.30:5004"));
    assert_eq!(agreed.comfort_noise, theirs.comfort_noise);
}

#[test]
fn an_answer_may_number_its_formats_differently() {
    let answer_text = "v=0\r\nc=IN IP4 198.51.100.1\r\nm=audio 4000 RTP/AVP 120 121\r\n\
        a=rtpmap:120 opus/48000/2\r\na=rtpmap:121 telephone-event/48000\r\n";
    let agreed = agree(&local(), answer_text).unwrap();
    assert_eq!(
        (agreed.payload_type, agreed.receive_payload_type),
        (120, 96)
    );
    let event = agreed.telephone_event.unwrap();
    assert_eq!((event.payload_type, event.receive_payload_type), (121, 102));
}

#[test]
fn an_answer_that_refuses_ends_the_call() {
    for text in ["v=0\r\nm=audio 0 RTP/AVP 0\r\n", "v=0\r\ns=-\r\n"] {
        assert!(
            matches!(agree(&local(), text), Err(SdpError::AnswerMismatch { .. })),
            "{text}"
        );
    }
}

#[test]
fn a_later_offer_keeps_the_lines_where_they_were() {
    let (agreed, _) = answered(SNOM);
    let text = reoffer(
        &LocalMedia {
            session_version: 2,
            ..local()
        },
        &agreed,
    );
    assert!(text.starts_with("v=0\r\no=- 7 2 IN IP4"));
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(lines[0], "m=audio 0 RTP/SAVP 9");
    assert!(lines[1].starts_with("m=audio 20000 RTP/AVP 96 9") && lines.len() == 2);
}

#[test]
fn early_feedback_is_answered_in_kind() {
    let offer = audio("0", &["a=rtcp-fb:* nack"]).replace("RTP/AVP ", "RTP/AVPF ");
    let (_, text) = answered(&offer);
    assert!(text.contains("m=audio 20000 RTP/AVPF 0\r\n") && !text.contains("rtcp-fb"));
}

/// Lines of real offers, shuffled, cut and spoilt.
fn mutated() -> impl Strategy<Value = String> {
    let lines: Vec<&'static str> = ALL.iter().flat_map(|text| text.lines()).collect();
    let line = (
        prop::sample::select(lines),
        any::<prop::sample::Index>(),
        any::<Option<u8>>(),
    )
        .prop_map(|(line, at, byte)| {
            let mut bytes = line.as_bytes().to_vec();
            if let (Some(byte), false) = (byte, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            String::from_utf8_lossy(&bytes).into_owned()
        });
    prop::collection::vec(line, 0..40).prop_map(|lines| format!("v=0\r\n{}", lines.join("\r\n")))
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,400}") {
        let _ = answer(&text, &local());
        let _ = agree(&local(), &text);
    }

    #[test]
    fn every_answer_fits_its_offer(text in mutated()) {
        if let Ok((agreed, answer_text)) = answer(&text, &local()) {
            let media = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
            prop_assert_eq!(media(&text), media(&answer_text));
            let accepted = answer_text.lines().filter(|line| line.starts_with("m=audio 20000 ")).count();
            prop_assert_eq!(accepted, 1);
            prop_assert!(agreed.ptime_ms.is_multiple_of(10) && (10..=60).contains(&agreed.ptime_ms));
            prop_assert!(agreed.payload_type < 128);
            prop_assert!(local().codecs.contains(&agreed.codec));
            if let Some(remote) = agreed.remote_rtp {
                prop_assert!(remote.is_ipv4() && !remote.ip().is_multicast() && remote.port() != 0);
            }
            // Whoever offered it can read it.
            prop_assert!(agree(&local(), &answer_text).is_ok());
        }
        let _ = agree(&local(), &text);
    }

    #[test]
    fn any_two_sides_with_a_common_codec_agree(
        mine in prop::sample::subsequence(EVERY.to_vec(), 1..=EVERY.len()),
        theirs in prop::sample::subsequence(EVERY.to_vec(), 1..=EVERY.len()),
        ptime in prop::option::of(1u8..=6),
    ) {
        let common = mine.iter().any(|codec| theirs.contains(codec));
        let caller = LocalMedia { codecs: mine, ptime_ms: ptime.map(|tens| tens * 10), ..local() };
        let called = LocalMedia { codecs: theirs, rtp_port: 30000, ..local() };
        let result = answer(&offer(&caller), &called);
        prop_assert_eq!(result.is_ok(), common);
        if let Ok((there, text)) = result {
            let here = agree(&caller, &text).unwrap();
            prop_assert_eq!(here.codec, there.codec);
            prop_assert_eq!(here.telephone_event, there.telephone_event);
            prop_assert_eq!(here.comfort_noise, there.comfort_noise);
            prop_assert_eq!((here.payload_type, here.rtcp_mux), (there.payload_type, there.rtcp_mux));
            prop_assert_eq!(here.remote_rtp.map(|a| a.port()), Some(30000));
        }
    }
}

const EVERY: [Codec; 8] = [
    Codec::Opus,
    Codec::G722,
    Codec::Pcmu,
    Codec::Pcma,
    Codec::L16 { rate: 8000 },
    Codec::L16 { rate: 16000 },
    Codec::L16 { rate: 24000 },
    Codec::L16 { rate: 48000 },
];
