//! Two callers over real sockets, one of which answers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use unisono_rtp::codec::Codec;
use unisono_rtp::net::{MediaSocket, SocketOptions};
use unisono_rtp::outbound::{Format, Origin};
use unisono_timer::MonoTime;

use super::*;
use crate::sip::sdp::{self, CodecOrder, LocalMedia};
use crate::sip::{Event, SipConfig, Transport, bind};

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn socket() -> MediaSocket {
    MediaSocket::bind(loopback(), &SocketOptions::default()).unwrap()
}

fn media(socket: &MediaSocket) -> LocalMedia {
    LocalMedia {
        address: socket.local_addr().ip(),
        rtp_port: socket.local_addr().port(),
        rtcp_port: None,
        rtcp_mux: true,
        codecs: vec![Codec::L16 { rate: 8000 }],
        codec_order: CodecOrder::Ours,
        ptime_ms: Some(20),
        telephone_event: false,
        comfort_noise: false,
        session_id: 1,
        session_version: 1,
    }
}

fn line(agreed: &sdp::Agreed, ssrc: u32, speech: &[i16]) -> Line {
    let config = LineConfig {
        format: Format {
            codec: agreed.codec,
            payload_type: agreed.payload_type,
            ptime_ms: agreed.ptime_ms.into(),
        },
        receive_payload_type: agreed.receive_payload_type,
        speech: speech.into(),
        keep_seconds: 10,
        origin: Origin {
            ssrc,
            sequence: 1,
            timestamp: 1,
        },
        random: [3; 16],
    };
    Line::new(config, MonoTime::now().as_nanos())
}

#[tokio::test]
async fn a_caller_hears_the_one_it_calls() {
    let (server, mut events) = bind(SipConfig::at(loopback())).unwrap();
    let phone = Phone::bind(loopback()).unwrap();
    let (ours, theirs) = (socket(), socket());
    let request = CallRequest {
        server: server.bound_to(Transport::Udp).unwrap(),
        number: "100",
        caller: "anna",
        media: media(&ours),
    };
    let answering = async {
        let Some(Event::Incoming(incoming)) = events.recv().await else {
            panic!("a call comes first");
        };
        assert_eq!((&*incoming.user, &*incoming.from.user), ("100", "anna"));
        let offer = incoming.offer.unwrap();
        let (agreed, description) = sdp::answer(&offer, &media(&theirs)).unwrap();
        server.accept(incoming.call, description).await.unwrap();
        agreed
    };
    let (call, agreed) = tokio::join!(phone.call(request), answering);
    let call = call.unwrap();
    assert_eq!(call.remote(), theirs.local_addr());

    let thread = MediaThread::start(None).unwrap();
    let ramp: Vec<i16> = (1..=4000).collect();
    let remote = agreed.remote_rtp.unwrap();
    let ends = [
        (line(call.agreed(), 1, &[]), ours, call.remote()),
        (line(&agreed, 2, &ramp), theirs, remote),
    ];
    let meter = ends[0].0.meter();
    for (line, socket, remote) in ends {
        thread.add(line, LineAddress { socket, remote }).unwrap();
    }
    let from = MonoTime::now().as_nanos() + 50_000_000;
    thread.speak_from(1, from).unwrap();
    while meter.received() < 30 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lines = thread.finish().unwrap();
    call.hang_up("done").await;

    let (anna, ben) = (&lines[0].line, &lines[1].line);
    assert_eq!((anna.counts().lost(), lines[1].unsent), (0, 0));
    let spoken = ben.spoken_ns().unwrap();
    assert!(spoken >= from && spoken < from + FRAME_NS);
    let recording = anna.recording().unwrap();
    let first = recording.samples.iter().position(|s| *s == 1).unwrap();
    let heard = &recording.samples[first..];
    assert!(heard.iter().zip(ramp.iter().cycle()).all(|(a, b)| a == b));
    // A packet is complete 20 ms after its first sample was spoken, and under way for a while.
    let delay = first as i64 - recording.index_at(spoken);
    assert!(delay >= 20 * 8, "{delay} samples");
}

#[tokio::test]
async fn a_refusal_has_status_and_reason() {
    let (server, mut events) = bind(SipConfig::at(loopback())).unwrap();
    let phone = Phone::bind(loopback()).unwrap();
    let ours = socket();
    let request = CallRequest {
        server: server.bound_to(Transport::Udp).unwrap(),
        number: "100",
        caller: "anna",
        media: media(&ours),
    };
    let refusing = async {
        let Some(Event::Incoming(incoming)) = events.recv().await else {
            panic!("a call comes first");
        };
        let call = incoming.call;
        server.reject(call, 486, "Full", Vec::new()).await.unwrap();
    };
    let (call, ()) = tokio::join!(phone.call(request), refusing);
    let Err(CallError::Refused { status, reason }) = call else {
        panic!("{call:?}");
    };
    assert_eq!(status, 486);
    assert!(reason.contains("Full"), "{reason}");
}

#[test]
fn a_thread_without_lines_ends_when_told() {
    let thread = MediaThread::start(None).unwrap();
    assert!(thread.finish().unwrap().is_empty());
}
