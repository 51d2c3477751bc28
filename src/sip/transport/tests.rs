//! The agent on loopback sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::*;
use crate::sip::agent::{CallId, EndedBy, InviteRequest};

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

/// Long enough that only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

fn local() -> (SipHandle, Receiver<Event>) {
    bind(SipConfig::at("127.0.0.1:0".parse().unwrap())).unwrap()
}

async fn next(events: &mut Receiver<Event>) -> Event {
    loop {
        match timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
            Event::Progress { .. } => {}
            event => return event,
        }
    }
}

async fn call(transport: Transport) {
    let (server, mut incoming) = local();
    let (phone, mut outgoing) = local();
    let here = phone.bound_to(Transport::Udp).unwrap();
    let there = server.bound_to(transport).unwrap();
    let flow = match transport {
        Transport::Udp => Flow::udp(here, there),
        Transport::Tcp => Flow::tcp(here, there),
    };
    let request = InviteRequest {
        target: format!("sip:100@{there}"),
        flow,
        user: "phone".to_owned(),
        display: None,
        sdp: Some(SDP.to_owned()),
        credentials: None,
        headers: Vec::new(),
    };
    let ours = phone.invite(request).await.unwrap();
    let Event::Incoming(offered) = next(&mut incoming).await else {
        panic!();
    };
    assert_eq!(offered.user, "100");
    assert_eq!(offered.ours, there.ip());
    assert_eq!(offered.transport, transport);
    server.ring(offered.call).await.unwrap();
    server.accept(offered.call, SDP.to_owned()).await.unwrap();
    assert!(matches!(next(&mut outgoing).await, Event::Answered { .. }));
    assert!(matches!(
        next(&mut incoming).await,
        Event::Established { .. }
    ));

    // The server talks back on the same path.
    server.reinvite(offered.call, SDP.to_owned()).await.unwrap();
    assert!(matches!(next(&mut outgoing).await, Event::ReOffer { .. }));
    phone.accept_reoffer(ours, SDP.to_owned()).await.unwrap();
    assert!(matches!(next(&mut incoming).await, Event::Answered { .. }));

    server.hang_up(offered.call, "done").await.unwrap();
    assert!(matches!(
        next(&mut outgoing).await,
        Event::Ended {
            by: EndedBy::Remote,
            ..
        }
    ));
    assert_eq!(
        phone.hang_up(ours, "").await,
        Err(SipError::Refused(crate::sip::AgentError::NoSuchCall))
    );
    let status = phone.status().await.unwrap();
    assert_eq!(status.agent.calls_out, 1);
    assert_eq!(status.datagrams_unsent, 0);
    assert_eq!(
        status.connections_open,
        usize::from(transport == Transport::Tcp)
    );
}

#[tokio::test]
async fn a_call_by_udp_is_set_up_changed_and_ended() {
    call(Transport::Udp).await;
}

#[tokio::test]
async fn a_call_by_tcp_uses_one_connection_both_ways() {
    call(Transport::Tcp).await;
}

#[tokio::test]
async fn free_ports_are_the_same_for_both_transports_and_a_taken_one_is_named() {
    let (first, _events) = local();
    assert_ne!(first.bound_to(Transport::Udp).unwrap().port(), 0);
    assert_eq!(first.bound().len(), 2);
    let taken = first.bound_to(Transport::Udp).unwrap();
    let error = bind(SipConfig::at(taken)).unwrap_err();
    assert_eq!(error.address, taken);
    assert!(error.to_string().contains("cannot listen for SIP on Udp"));
}

#[tokio::test]
async fn a_call_to_a_closed_tcp_port_fails() {
    let (phone, mut outgoing) = local();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let there = closed.local_addr().unwrap();
    drop(closed);
    let request = InviteRequest {
        target: format!("sip:100@{there}"),
        flow: Flow::tcp(phone.bound_to(Transport::Tcp).unwrap(), there),
        user: "phone".to_owned(),
        display: None,
        sdp: Some(SDP.to_owned()),
        credentials: None,
        headers: Vec::new(),
    };
    let call = phone.invite(request).await.unwrap();
    assert!(matches!(
        next(&mut outgoing).await,
        Event::Ended { call: ended, by: EndedBy::Failed { status: 503 }, .. } if ended == call
    ));
}

#[tokio::test]
async fn a_stream_gets_pongs_answers_and_an_end_when_it_cannot_be_framed() {
    let (server, _events) = local();
    let there = server.bound_to(Transport::Tcp).unwrap();
    let mut stream = TcpStream::connect(there).await.unwrap();
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");

    let bad = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKx\r\n\r\n";
    stream.write_all(bad.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("SIP/2.0 400 "), "{answer}");
}

#[tokio::test]
async fn a_line_break_that_keeps_a_connection_alive_begins_no_message() {
    let mut config = SipConfig::at("127.0.0.1:0".parse().unwrap());
    config.message_time = Duration::from_millis(100);
    let (server, _events) = bind(config).unwrap();
    let there = server.bound_to(Transport::Tcp).unwrap();
    let mut stream = TcpStream::connect(there).await.unwrap();
    stream.write_all(b"\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The other half of a ping is answered, so the connection is still there.
    stream.write_all(b"\r\n").await.unwrap();
    let mut pong = [0; 2];
    stream.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"\r\n");
}

#[tokio::test]
async fn a_connection_that_dawdles_is_closed() {
    let mut config = SipConfig::at("127.0.0.1:0".parse().unwrap());
    config.message_time = Duration::from_millis(300);
    let (server, _events) = bind(config).unwrap();
    let there = server.bound_to(Transport::Tcp).unwrap();
    let (mut reading, mut writing) = TcpStream::connect(there).await.unwrap().into_split();
    // A byte now and then keeps nothing open, though it comes in time each time.
    let dawdle = tokio::spawn(async move {
        while writing.write_all(b"O").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut nothing = Vec::new();
    let end = timeout(PATIENCE, reading.read_to_end(&mut nothing)).await;
    // Closed, or reset when a byte was in flight.
    assert!(end.is_ok() && nothing.is_empty());
    timeout(PATIENCE, dawdle).await.unwrap().unwrap();
}

#[tokio::test]
async fn when_all_handles_are_gone_the_ports_are_free_again() {
    let (server, mut events) = local();
    let address = server.bound_to(Transport::Udp).unwrap();
    assert!(server.hang_up(CallId(9), "").await.is_err());
    drop(server);
    assert!(timeout(PATIENCE, events.recv()).await.unwrap().is_none());
    // The socket task ends with the agent's, a moment later.
    for _ in 0..1000 {
        if std::net::UdpSocket::bind(address).is_ok() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{address} is still taken");
}

#[tokio::test]
async fn bound_to_all_addresses_each_peer_is_given_the_one_it_reaches() {
    let (server, mut incoming) = bind(SipConfig::at("0.0.0.0:0".parse().unwrap())).unwrap();
    let (phone, _events) = bind(SipConfig::at("0.0.0.0:0".parse().unwrap())).unwrap();
    let port = server.bound_to(Transport::Udp).unwrap().port();
    let there = SocketAddr::from(([127, 0, 0, 1], port));
    let request = InviteRequest {
        target: format!("sip:100@{there}"),
        flow: Flow::udp(phone.bound_to(Transport::Udp).unwrap(), there),
        user: "phone".to_owned(),
        display: None,
        sdp: Some(SDP.to_owned()),
        credentials: None,
        headers: Vec::new(),
    };
    phone.invite(request).await.unwrap();
    let Event::Incoming(offered) = next(&mut incoming).await else {
        panic!();
    };
    assert_eq!(offered.ours, there.ip());
    assert_eq!(offered.from.host, "127.0.0.1");
}
