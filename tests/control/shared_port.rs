//! Phones that share one media port.

use crate::support::*;
use unisono_rtp::net::{PortPool, SocketOptions};

const A: f64 = 500.0;
const B: f64 = 900.0;
const C: f64 = 1500.0;

/// A pair of ports that was free a moment ago, in a range of which each test has a part of its own.
fn free_pair(test: u16) -> u16 {
    let ip = "127.0.0.1".parse().unwrap();
    let random = std::process::id() as u16;
    let first = 50_000 + test * 5_000;
    let mut pool = PortPool::new(ip, first..=first + 4_999, SocketOptions::default(), random);
    pool.bind_pair(false).unwrap().rtp.local_addr().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_phones_on_one_port_hear_each_other() {
    let port = free_pair(0);
    let server = server(|config| config.media.shared_port = Some(port)).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    let mut b = Phone::call(&server, "100").await.unwrap();
    let mut c = Phone::call(&server, "100").await.unwrap();
    for phone in [&a, &b, &c] {
        assert_eq!(phone.to.port(), port);
    }
    until(&server, |o| o.shared_legs == 3).await;
    listen_to(&mut [(&mut a, Some(A)), (&mut b, Some(B)), (&mut c, Some(C))]).await;
    for (phone, own) in [(&a, A), (&b, B), (&c, C)] {
        for tone in [A, B, C] {
            assert_eq!(phone.hears(tone), tone != own, "{own} Hz hears {tone} Hz");
        }
    }
    let view = http(&server, "GET /v1/conferences/100/participants", "").await;
    assert_eq!(view.json()["participants"][0]["media"]["shared_port"], true);
    let metrics = http(&server, "GET /metrics", "").await;
    assert!(metrics.text.contains("unisono_shared_port_legs 3"));

    // Keys pressed as RTP events arrive as well, and a call that ends leaves the others where they are.
    a.exchange.sip.hang_up(a.call, "").await.unwrap();
    until(&server, |o| o.shared_legs == 2).await;
    listen_to(&mut [(&mut b, Some(B)), (&mut c, Some(C))]).await;
    assert!(b.hears(C) && c.hears(B) && !b.hears(A));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_without_an_address_gets_ports_of_its_own() {
    let port = free_pair(1);
    let server = server(|config| config.media.shared_port = Some(port)).await;
    let mut a = Phone::call(&server, "100").await.unwrap();
    let mut late = Phone::call_without_offer(&server, "100").await;
    assert_eq!(a.to.port(), port);
    assert_ne!(late.to.port(), port);
    until(&server, |o| o.legs == 2 && o.shared_legs == 1).await;
    listen_to(&mut [(&mut a, Some(A)), (&mut late, Some(B))]).await;
    assert!(a.hears(B) && late.hears(A));

    // Another machine's address, as behind a NAT: our answer names other ports.
    let elsewhere = "v=0\r\no=- 1 2 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n";
    let answer = a.reoffer(elsewhere.to_owned()).await;
    assert_ne!(audio_port(&answer), port);
    until(&server, |o| o.legs == 2 && o.shared_legs == 0).await;
    server.stop().await;
}
