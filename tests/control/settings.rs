//! What a configuration file says, on the wire.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use md5::{Digest, Md5};

use crate::support::*;

fn offer() -> String {
    description(40_000, 1, "sendrecv")
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

/// The header that answers a challenge, for a request to `uri`.
fn credentials(refusal: &str, password: &str, uri: &str) -> String {
    let challenge = header(refusal, "WWW-Authenticate").expect("a challenge");
    let value = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap()
    };
    let hash = |text: String| -> String {
        let digest = Md5::digest(text.as_bytes());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let (realm, nonce) = (value("realm"), value("nonce"));
    let who = hash(format!("ann:{realm}:{password}"));
    let what = hash(format!("INVITE:{uri}"));
    let response = hash(format!("{who}:{nonce}:00000001:c:auth:{what}"));
    format!(
        "Authorization: Digest username=\"ann\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\"\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn with_users_only_who_knows_the_password_gets_in() {
    let sip =
        "realm = \"conferences\"\ndigest_algorithms = [\"MD5\"]\n[sip.users]\nann = \"secret\"";
    let server = configured("127.0.0.1:0", sip, "").await;
    let challenge = async || {
        let refusal = RawPhone::new(&server, "100").await.invite(&offer()).await;
        assert_eq!(status(&refusal), "401", "{refusal}");
        assert!(refusal.contains("realm=\"conferences\""), "{refusal}");
        assert!(!refusal.contains("SHA-256"), "{refusal}");
        refusal
    };
    let answer = async |password: &str, change: fn(String) -> String| {
        let mut phone = RawPhone::new(&server, "100").await;
        let uri = change(phone.uri());
        phone.headers = credentials(&challenge().await, password, &uri);
        phone.invite(&offer()).await
    };
    let same = |uri| uri;
    let wrong = answer("guess", same).await;
    assert_eq!(status(&wrong), "401", "{wrong}");
    // Whoever overheard credentials for one number cannot use them for another.
    let elsewhere = answer("secret", |uri| uri.replace("100", "200")).await;
    assert_eq!(status(&elsewhere), "400", "{elsewhere}");
    assert_eq!(server.control().overview().await.unwrap().calls, 0);
    let right = answer("secret", same).await;
    assert_eq!(status(&right), "200", "{right}");
    // A proxy may have named another host, or what is usual.
    let proxied = answer("secret", |_| "sip:100@example.com;transport=udp".to_owned()).await;
    assert_eq!(status(&proxied), "200", "{proxied}");
    server.stop().await;
}

/// An address of this machine that is not the loopback's.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // From the addresses for documentation: the kernel picks a route, and sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_outside_is_told_the_external_address_and_who_is_inside_the_local_one() {
    let sip = "external_address = \"203.0.113.9\"\nlocal_networks = []";
    let server = configured("0.0.0.0:0", sip, "").await;
    let answer = async |ip: IpAddr| {
        let there = SocketAddr::new(ip, server.sip_address().port());
        RawPhone::at(ip, there, "100").await.invite(&offer()).await
    };
    let inside = answer("127.0.0.1".parse().unwrap()).await;
    assert!(inside.contains("c=IN IP4 127.0.0.1\r\n"), "{inside}");
    assert!(!inside.contains("203.0.113.9"), "{inside}");
    match outer_address() {
        Some(ip) => {
            let outside = answer(ip).await;
            assert!(outside.contains("c=IN IP4 203.0.113.9\r\n"), "{outside}");
            let contact = header(&outside, "Contact").unwrap();
            assert!(contact.contains("203.0.113.9"), "{contact}");
            assert!(!contact.contains(&ip.to_string()), "{contact}");
        }
        None => {
            let _ = writeln!(
                std::io::stderr(),
                "not tested: an address outside; this machine is only on its loopback"
            );
        }
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_timer_is_the_configured_one_and_a_shorter_one_is_refused() {
    let sip = "session_expires_seconds = 300\nmin_session_expires_seconds = 100";
    let server = configured("127.0.0.1:0", sip, "").await;
    let answer = async |headers: &str| {
        let mut phone = RawPhone::new(&server, "100").await;
        phone.headers = format!("Supported: timer\r\n{headers}");
        phone.invite(&offer()).await
    };
    for (asked, agreed) in [
        ("", "300;refresher=uas"),
        ("Session-Expires: 7200\r\n", "300;refresher=uas"),
        (
            "Session-Expires: 200;refresher=uac\r\n",
            "200;refresher=uac",
        ),
    ] {
        let answer = answer(asked).await;
        assert_eq!(status(&answer), "200", "{answer}");
        assert_eq!(header(&answer, "Session-Expires"), Some(agreed), "{asked}");
    }
    let short = answer("Session-Expires: 95\r\n").await;
    assert_eq!(status(&short), "422", "{short}");
    assert_eq!(header(&short, "Min-SE"), Some("100"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_free_port_a_call_is_refused_until_there_is_one() {
    // Two ports that nobody else is given: neither by the system nor by a server with the default range.
    let bind = |port: u16| UdpSocket::bind(("127.0.0.1", port)).ok();
    let (first, taken) = (0..1500)
        .map(|n| 61_000 + (std::process::id() as u16 % 1500 + n) % 1500 * 2)
        .find_map(|port| Some((port, (bind(port)?, bind(port + 1)?).0)))
        .expect("two free ports");
    let media = format!(
        "max_legs = 1\nfirst_port = {first}\nlast_port = {}",
        first + 1
    );
    let server = configured("127.0.0.1:0", "", &media).await;
    let refused = RawPhone::new(&server, "100").await.invite(&offer()).await;
    assert!(
        refused.starts_with("SIP/2.0 503 No free media port"),
        "{refused}"
    );
    assert_eq!(header(&refused, "Retry-After"), Some("10"));
    let metrics = http(&server, "GET /metrics", "").await.text;
    let counted = "unisono_calls_refused_total{reason=\"resources\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert_eq!(server.control().overview().await.unwrap().rooms, 0);

    drop(taken);
    let answer = RawPhone::new(&server, "100").await.invite(&offer()).await;
    assert_eq!(status(&answer), "200", "{answer}");
    assert_eq!(audio_port(body(&answer)), first);
    server.stop().await;
}
