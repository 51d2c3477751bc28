//! Nonsense on every port while a conference is on: nobody in it notices.

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use unisono_rtp::codec::Codec;

use crate::peer::{Capture, RunningSipp, Sipp};
use crate::server::Server;
use crate::sound::Voice;
use crate::stage::Stage;

#[test]
fn nonsense_by_sip_and_rtp_does_not_disturb_a_conference() {
    Stage::play("malformed", |stage| {
        let mut server = stage.server("");
        let capture = Capture::start(stage);
        let calls: Vec<_> = [Voice::Anna, Voice::Ben]
            .into_iter()
            .map(|voice| {
                Sipp::new(stage, &voice.to_string(), "speak", server.sip)
                    .calling("100", 12.0)
                    .speaking(voice, Codec::Pcmu)
                    .start()
            })
            .collect();
        let ports: Vec<u16> = calls.iter().map(|call| call.audio_port()).collect();
        server.wait_for_participants("100", 2);
        // The phones' streams are learnt from their first packets: after that a stranger's have no say.
        thread::sleep(Duration::from_millis(500));
        let audio: Vec<u16> = calls.iter().filter_map(RunningSipp::server_port).collect();
        assert_eq!(audio.len(), 2);
        send_nonsense(&server, &audio);
        assert!(server.is_running(), "{}", server.log());
        assert_eq!(server.participants("100").len(), 2);
        for (voice, call) in [Voice::Anna, Voice::Ben].iter().zip(calls) {
            let messages = call.succeed();
            assert!(!messages.contains("Nonsense"), "{voice}: {messages}");
        }
        let trace = capture.stop();
        trace
            .audio_to(ports[0])
            .assert_heard("anna", &[Voice::Ben], stage.tolerance());
        trace
            .audio_to(ports[1])
            .assert_heard("ben", &[Voice::Anna], stage.tolerance());
        Sipp::new(stage, "calum", "silent", server.sip)
            .calling("100", 0.5)
            .start()
            .succeed();
        assert!(!server.log().contains("panicked"), "{}", server.log());
    });
}

#[test]
fn a_request_that_lacks_what_it_needs_is_answered_with_400() {
    Stage::play("bad-request", |stage| {
        let server = stage.server("");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("set a time-out");
        let port = socket.local_addr().expect("address").port();
        let whole = format!(
            "OPTIONS sip:100@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK-1\r\n\
         From: <sip:nonsense@127.0.0.1>;tag=1\r\n\
         To: <sip:100@127.0.0.1>\r\n\
         Call-ID: nonsense\r\n\
         CSeq: 1 OPTIONS\r\n\
         Max-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n"
        );
        let ask = |request: &str| {
            socket
                .send_to(request.as_bytes(), server.sip)
                .expect("send");
            let mut answer = [0; 4096];
            let length = socket.recv(&mut answer).unwrap_or(0);
            let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
            answer.split(' ').nth(1).unwrap_or("no answer").to_owned()
        };
        assert_eq!(ask(&whole), "200");
        for (branch, (what, with)) in [
            ("From: <sip:nonsense@127.0.0.1>;tag=1\r\n", ""),
            ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE"),
            ("CSeq: 1 OPTIONS", "CSeq: many OPTIONS"),
            ("Content-Length: 0", "Content-Length: 999"),
        ]
        .into_iter()
        .enumerate()
        {
            let broken = whole
                .replace(what, with)
                .replace("z9hG4bK-1", &format!("z9hG4bK-b{branch}"))
                .replace("Call-ID: n", &format!("Call-ID: {branch}"));
            assert_eq!(ask(&broken), "400", "{what:?} as {with:?}");
        }
        let again = whole
            .replace("z9hG4bK-1", "z9hG4bK-again")
            .replace("Call-ID: n", "Call-ID: again");
        assert_eq!(ask(&again), "200", "the server goes on");
    });
}

/// Sends it over SIP by UDP and TCP, and to the ports for audio and for reports on it.
fn send_nonsense(server: &Server, audio: &[u16]) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    for datagram in sip_nonsense() {
        socket.send_to(&datagram, server.sip).expect("send");
        if let Ok(mut stream) = TcpStream::connect(server.sip) {
            let _ = stream.write_all(&datagram);
        }
    }
    for port in audio.iter().flat_map(|&port| [port, port + 1]) {
        for datagram in rtp_nonsense() {
            socket
                .send_to(&datagram, ("127.0.0.1", port))
                .expect("send");
        }
    }
}

fn sip_nonsense() -> Vec<Vec<u8>> {
    let head = "Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK-n\r\n\
                From: <sip:Nonsense@127.0.0.1>;tag=n\r\nTo: <sip:100@127.0.0.1>\r\n\
                Call-ID: n\r\nCSeq: 1 INVITE\r\nContact: <sip:Nonsense@127.0.0.1:9>\r\nMax-Forwards: 70\r\n";
    let with_sdp = |sdp: &str| {
        format!(
            "INVITE sip:100@127.0.0.1 SIP/2.0\r\n{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        )
        .replace("-n\r\n", &format!("-n{}\r\n", sdp.len()))
    };
    let long = "x".repeat(60_000);
    let mut nonsense: Vec<Vec<u8>> = [
        "".to_owned(),
        "\r\n\r\n".to_owned(),
        "\0\0\0\0".to_owned(),
        "INVITE".to_owned(),
        "INVITE sip:100@127.0.0.1 SIP/2.0\r\n\r\n".to_owned(),
        "INVITE  SIP/2.0\r\n\r\n".to_owned(),
        "SIP/2.0 200 OK\r\n\r\n".to_owned(),
        format!("SIP/2.0 999999999999 What\r\n{head}\r\n"),
        format!("INVITE sip:100@127.0.0.1 SIP/9.0\r\n{head}\r\n"),
        format!("INVITE sip:{long} SIP/2.0\r\n{head}\r\n"),
        format!("INVITE sip:100@127.0.0.1 SIP/2.0\r\n{head}Content-Length: -5\r\n\r\n"),
        format!("INVITE sip:100@127.0.0.1 SIP/2.0\r\n{head}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("INVITE sip:100@127.0.0.1 SIP/2.0\r\n{}\r\n", head.replace("CSeq: 1", "CSeq: 4294967296")),
        format!("BYE sip:100@127.0.0.1 SIP/2.0\r\n{head}\r\n"),
        with_sdp("v=0"),
        with_sdp("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 99999 RTP/AVP 0\r\n"),
        with_sdp("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 999.1.1.1\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0 0 0 300\r\na=ptime:0\r\n"),
        with_sdp("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio 5000 RTP/AVP\r\na=rtpmap:\r\na=fmtp:\r\n"),
    ]
    .into_iter()
    .map(String::into_bytes)
    .collect();
    nonsense.push(vec![0xff; 1400]);
    nonsense.push((0..=255).collect());
    nonsense
}

fn rtp_nonsense() -> Vec<Vec<u8>> {
    let mut csrcs_beyond_the_end = vec![0x8f, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    csrcs_beyond_the_end.extend([0; 8]);
    let mut padding_beyond_the_start = vec![0xa0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    padding_beyond_the_start.extend([0xff; 20]);
    let mut somebody_else = vec![0x80, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4];
    somebody_else.extend((0..160u8).map(|n| n.wrapping_mul(97)));
    vec![
        vec![],
        vec![0x80],
        vec![0x80; 11],
        vec![0; 172],
        vec![0xff; 1500],
        csrcs_beyond_the_end,
        padding_beyond_the_start,
        somebody_else,
        vec![
            0x90, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0xbe, 0xde, 0xff, 0xff,
        ],
        vec![0x81, 200, 0xff, 0xff],
        vec![0x81, 203, 0, 1, 0, 0, 0, 0],
        vec![0x80, 0x65, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 0xff],
    ]
}
