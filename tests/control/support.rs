//! Phones made of our own user agent and a UDP socket, and an HTTP client of a few lines.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout};
use unisono::config::Config;
use unisono::control::{Overview, Server};
use unisono::sip::{
    self, CallId, EndedBy, Event, Flow, InviteRequest, SipConfig, SipHandle, Transport,
};
use unisono_rtp::codec::{Codec, Decoder, Encoder};

/// Long enough that only a hang reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Samples of 20 ms at 8 kHz.
const FRAME: usize = 160;

/// A server without spoken announcements and tones, for one worker without real-time priority.
pub(crate) async fn server(change: impl FnOnce(&mut Config)) -> Server {
    let mut config = Config::default();
    config.sip.listen = "127.0.0.1:0".parse().unwrap();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.media.workers = 1;
    config.media.max_legs = 64;
    config.media.realtime_priority = None;
    config.policy.defaults.announce_join_leave = false;
    config.policy.defaults.announce_only_person = false;
    change(&mut config);
    Server::start(config).await.unwrap()
}

/// A server of one worker that has the rest of its configuration from a file's text; `sip` is more of the section of that
/// name.
pub(crate) async fn configured(listen: &str, sip: &str, rest: &str) -> Server {
    let text = format!(
        "[sip]\nlisten = \"{listen}\"\n{sip}\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [media]\nworkers = 1\nrealtime_priority = false\n{rest}"
    );
    let config = Config::parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}"));
    Server::start(config).await.unwrap()
}

/// Asks until `wanted` is true.
pub(crate) async fn until(server: &Server, wanted: impl Fn(&Overview) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let overview = server.control().overview().await.unwrap();
        if wanted(&overview) {
            return;
        }
        assert!(Instant::now() < deadline, "{overview:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The signalling of any number of phones.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) sip: SipHandle,
    pub(crate) events: Receiver<Event>,
}

impl Exchange {
    pub(crate) fn new() -> Self {
        let (sip, events) = sip::bind(SipConfig::at("127.0.0.1:0".parse().unwrap())).unwrap();
        Self { sip, events }
    }

    pub(crate) async fn invite(
        &self,
        server: SocketAddr,
        number: &str,
        sdp: Option<String>,
    ) -> CallId {
        let request = InviteRequest {
            target: format!("sip:{number}@{server}"),
            flow: Flow::udp(self.sip.bound_to(Transport::Udp).unwrap(), server),
            user: "alice".to_owned(),
            display: Some("Alice".to_owned()),
            sdp,
            credentials: None,
            headers: Vec::new(),
        };
        self.sip.invite(request).await.unwrap()
    }

    /// The next event that says something.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            match timeout(PATIENCE, self.events.recv())
                .await
                .expect("an event")
                .expect("an agent")
            {
                Event::Progress { .. } => {}
                event => return event,
            }
        }
    }
}

/// One phone in one call, with PCMU and telephone events.
#[derive(Debug)]
pub(crate) struct Phone {
    pub(crate) exchange: Exchange,
    pub(crate) call: CallId,
    /// What it heard since the last [`Phone::forget`], 8 kHz.
    pub(crate) heard: Vec<i16>,
    pub(crate) rtp: UdpSocket,
    pub(crate) to: SocketAddr,
    encoder: Encoder,
    decoder: Decoder,
    sequence: u16,
    timestamp: u32,
    phase: f64,
}

impl Phone {
    /// Calls; the status and the reason when it is refused.
    pub(crate) async fn call(server: &Server, number: &str) -> Result<Self, (u16, String)> {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let offer = description(rtp.local_addr().unwrap().port(), 1, "sendrecv");
        let mut exchange = Exchange::new();
        let call = exchange
            .invite(server.sip_address(), number, Some(offer))
            .await;
        match exchange.next().await {
            Event::Answered { answer, .. } => Ok(Self::new(exchange, call, rtp, &answer)),
            Event::Ended {
                by: EndedBy::Failed { status },
                reason,
                ..
            } => Err((status, reason)),
            other => panic!("{other:?}"),
        }
    }

    /// Calls without an offer, and answers the server's.
    pub(crate) async fn call_without_offer(server: &Server, number: &str) -> Self {
        let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut exchange = Exchange::new();
        let call = exchange.invite(server.sip_address(), number, None).await;
        let Event::ReOffer {
            offer: Some(offer), ..
        } = exchange.next().await
        else {
            panic!("no offer");
        };
        let answer = description(rtp.local_addr().unwrap().port(), 1, "sendrecv");
        exchange.sip.accept_reoffer(call, answer).await.unwrap();
        Self::new(exchange, call, rtp, &offer)
    }

    fn new(exchange: Exchange, call: CallId, rtp: UdpSocket, theirs: &str) -> Self {
        Self {
            exchange,
            call,
            heard: Vec::new(),
            rtp,
            to: SocketAddr::from(([127, 0, 0, 1], audio_port(theirs))),
            encoder: Encoder::new(Codec::Pcmu),
            decoder: Decoder::new(Codec::Pcmu),
            sequence: 1,
            timestamp: 0,
            phase: 0.0,
        }
    }

    /// Offers another direction, and waits for the answer, which it returns.
    pub(crate) async fn offer(&mut self, version: u32, direction: &str) -> String {
        let port = self.rtp.local_addr().unwrap().port();
        self.reoffer(description(port, version, direction)).await
    }

    /// Offers another description within the call, and waits for the answer, which it returns.
    pub(crate) async fn reoffer(&mut self, offer: String) -> String {
        self.exchange.sip.reinvite(self.call, offer).await.unwrap();
        match self.exchange.next().await {
            Event::Answered { answer, .. } => answer,
            other => panic!("{other:?}"),
        }
    }

    /// How the call ends, at last.
    pub(crate) async fn end(&mut self) -> EndedBy {
        loop {
            if let Event::Ended { by, .. } = self.exchange.next().await {
                return by;
            }
        }
    }

    /// Presses a key as an RFC 4733 event: three packets, then the end three times.
    pub(crate) async fn press(&mut self, key: char) {
        let event = "0123456789*#".find(key).unwrap() as u8;
        for (index, (end, duration)) in [(0, 160u16), (0, 320), (0, 480)]
            .into_iter()
            .chain([(0x80, 640); 3])
            .enumerate()
        {
            let [high, low] = duration.to_be_bytes();
            self.send(101, index == 0, &[event, end | 10, high, low])
                .await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.timestamp += 960;
    }

    /// Listens for a while.
    pub(crate) async fn listen_on(&mut self, ms: u64) {
        talk(&mut [(self, None)], ms).await;
    }

    pub(crate) fn forget(&mut self) {
        self.heard.clear();
    }

    /// Whether most of what it heard is a tone of this frequency, Hz.
    pub(crate) fn hears(&self, frequency: f64) -> bool {
        tone_share(&self.heard, frequency) > 0.2
    }

    /// RMS of what it heard, in steps of 16 bits.
    pub(crate) fn loudness(&self) -> f64 {
        let sum: f64 = self.heard.iter().map(|s| f64::from(*s).powi(2)).sum();
        (sum / self.heard.len().max(1) as f64).sqrt()
    }

    async fn send_tone(&mut self, frequency: f64) {
        let mut frame = [0; FRAME];
        for sample in &mut frame {
            *sample = (self.phase.sin() * 8000.0) as i16;
            self.phase += std::f64::consts::TAU * frequency / 8000.0;
        }
        let mut payload = [0; FRAME];
        let length = self.encoder.encode(&frame, &mut payload);
        self.send(0, false, &payload[..length]).await;
        self.timestamp += FRAME as u32;
    }

    async fn send(&mut self, payload_type: u8, marker: bool, payload: &[u8]) {
        let mut packet = vec![0x80, payload_type | u8::from(marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        let ssrc = u32::from(self.rtp.local_addr().unwrap().port()) + 1;
        packet.extend(ssrc.to_be_bytes());
        packet.extend(payload);
        self.rtp.send_to(&packet, self.to).await.unwrap();
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn listen(&mut self) {
        let mut datagram = [0; 2048];
        while let Ok((length, _)) = self.rtp.try_recv_from(&mut datagram) {
            let packet = &datagram[..length];
            // Version 2, PCMU; RTCP has payload types from 72 on.
            if length < 12 || packet[0] >> 6 != 2 || packet[1] & 0x7f != 0 {
                continue;
            }
            let payload = &packet[12 + 4 * usize::from(packet[0] & 0x0f)..];
            let mut samples = [0; 960];
            let count = self.decoder.decode(payload, &mut samples).unwrap();
            self.heard.extend(&samples[..count]);
        }
    }
}

/// Each phone sends its tone (Hz) or nothing, and all listen, in real time.
pub(crate) async fn talk(phones: &mut [(&mut Phone, Option<f64>)], ms: u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..ms / 20 {
        ticks.tick().await;
        for (phone, tone) in &mut *phones {
            if let Some(frequency) = tone {
                phone.send_tone(*frequency).await;
            }
            phone.listen();
        }
    }
}

/// As [`talk`], but what was heard in the first 300 ms, while buffers fill and drain, is not counted.
pub(crate) async fn listen_to(phones: &mut [(&mut Phone, Option<f64>)]) {
    talk(phones, 300).await;
    for (phone, _) in &mut *phones {
        phone.forget();
    }
    talk(phones, 500).await;
}

/// A description with PCMU and telephone events.
pub(crate) fn description(port: u16, version: u32, direction: &str) -> String {
    format!(
        "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na={direction}\r\na=rtcp-mux\r\n"
    )
}

pub(crate) fn audio_port(sdp: &str) -> u16 {
    sdp.lines()
        .find_map(|line| line.strip_prefix("m=audio "))
        .and_then(|line| line.split(' ').next())
        .and_then(|port| port.parse().ok())
        .expect("an audio line")
}

/// Share of the energy at one frequency, by Goertzel's algorithm.
pub(crate) fn tone_share(samples: &[i16], frequency: f64) -> f64 {
    let coefficient = 2.0 * (std::f64::consts::TAU * frequency / 8000.0).cos();
    let (mut s1, mut s2, mut energy) = (0.0, 0.0, 0.0);
    for sample in samples {
        let x = f64::from(*sample);
        energy += x * x;
        (s1, s2) = (x + coefficient * s1 - s2, s1);
    }
    let power = s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    let most = energy * samples.len() as f64 / 2.0;
    if most < 1e6 { 0.0 } else { power / most }
}

/// A phone of which every message is written by hand.
#[derive(Debug)]
pub(crate) struct RawPhone {
    socket: UdpSocket,
    server: SocketAddr,
    number: String,
    /// With the server's tag, once it has answered.
    to: String,
    sequence: u32,
    /// Further headers of its requests, each ended by CRLF.
    pub(crate) headers: String,
}

impl RawPhone {
    pub(crate) async fn new(server: &Server, number: &str) -> Self {
        Self::at("127.0.0.1".parse().unwrap(), server.sip_address(), number).await
    }

    /// With an address of this machine.
    pub(crate) async fn at(ip: IpAddr, server: SocketAddr, number: &str) -> Self {
        Self {
            socket: UdpSocket::bind((ip, 0)).await.unwrap(),
            server,
            number: number.to_owned(),
            to: format!("<sip:{number}@{server}>"),
            sequence: 0,
            headers: String::new(),
        }
    }

    /// What it calls.
    pub(crate) fn uri(&self) -> String {
        format!("sip:{}@{}", self.number, self.server)
    }

    pub(crate) async fn invite(&mut self, sdp: &str) -> String {
        self.sequence += 1;
        let answer = self.request("INVITE", sdp).await;
        if let Some(to) = header(&answer, "To") {
            self.to = to.to_owned();
        }
        answer
    }

    /// Calls and takes that back at once. What the server says to the one and to the other, at last.
    pub(crate) async fn invite_and_cancel(&mut self, sdp: &str) -> (String, String) {
        self.sequence += 1;
        self.send("INVITE", "", sdp).await;
        self.send("CANCEL", "", "").await;
        let (mut invited, mut cancelled) = (None, None);
        loop {
            let answer = self.expect("SIP/2.0").await;
            if answer.starts_with("SIP/2.0 1") {
                continue;
            }
            match header(&answer, "CSeq").unwrap().ends_with("CANCEL") {
                true => cancelled = Some(answer),
                false => invited = Some(answer),
            }
            if let (Some(invited), Some(cancelled)) = (&invited, &cancelled) {
                self.to = header(invited, "To").unwrap().to_owned();
                return (invited.clone(), cancelled.clone());
            }
        }
    }

    /// Sends the ACK of a refusal.
    pub(crate) async fn acknowledge_refusal(&self) {
        self.send("ACK", "", "").await;
    }

    /// Hangs up; the server's answer.
    pub(crate) async fn hang_up(&mut self) -> String {
        self.sequence += 1;
        self.send("BYE", "", "").await;
        loop {
            let answer = self.expect("SIP/2.0").await;
            if header(&answer, "CSeq").unwrap().ends_with("BYE") {
                return answer;
            }
        }
    }

    /// Sends the ACK of a 2xx.
    pub(crate) async fn acknowledge(&self, sdp: &str) {
        self.send("ACK", "ack", sdp).await;
    }

    /// The next message of the server that begins with this.
    pub(crate) async fn expect(&self, beginning: &str) -> String {
        let mut datagram = [0; 65_535];
        loop {
            let length = timeout(PATIENCE, self.socket.recv(&mut datagram))
                .await
                .expect("a message")
                .unwrap();
            let text = String::from_utf8(datagram[..length].to_vec()).unwrap();
            if text.starts_with(beginning) {
                return text;
            }
        }
    }

    /// Answers a request of the server without a body.
    pub(crate) async fn respond(&self, request: &str, status: &str) {
        let mut response = format!("SIP/2.0 {status}\r\n");
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            response += &format!("{name}: {}\r\n", header(request, name).unwrap());
        }
        response += "Content-Length: 0\r\n\r\n";
        self.socket
            .send_to(response.as_bytes(), self.server)
            .await
            .unwrap();
    }

    async fn request(&self, method: &str, sdp: &str) -> String {
        self.send(method, "", sdp).await;
        loop {
            let answer = self.expect("SIP/2.0").await;
            if !answer.starts_with("SIP/2.0 1") {
                return answer;
            }
        }
    }

    async fn send(&self, method: &str, branch: &str, sdp: &str) {
        let Self {
            server,
            number,
            to,
            sequence,
            headers,
            ..
        } = self;
        let us = self.socket.local_addr().unwrap();
        let kind = if sdp.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        let message = format!(
            "{method} sip:{number}@{server} SIP/2.0\r\nVia: SIP/2.0/UDP {us};branch=z9hG4bK{branch}{sequence}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:raw@{us}>;tag=raw\r\nTo: {to}\r\nCall-ID: {us}\r\n\
             CSeq: {sequence} {method}\r\nContact: <sip:raw@{us}>\r\n{headers}{kind}Content-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        self.socket
            .send_to(message.as_bytes(), server)
            .await
            .unwrap();
    }
}

/// A header of a SIP or HTTP message.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

pub(crate) fn body(message: &str) -> &str {
    message.split_once("\r\n\r\n").map_or("", |(_, body)| body)
}

/// What an HTTP request brought.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(body(&self.text)).unwrap_or_else(|_| panic!("{}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.text, name)
    }
}

/// One HTTP request; `head` is the request line without the version, and headers after line breaks.
pub(crate) async fn http(server: &Server, head: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(server.http_address()).await.unwrap();
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = format!(
        "{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for header in headers.lines() {
        request += &format!("{header}\r\n");
    }
    request += "\r\n";
    request += body;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A server that refuses a body unread may reset the connection after its answer.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("an answer");
    let text = String::from_utf8(answer).unwrap();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no answer to {head}: {text}")),
        text,
    }
}

/// The identifiers of a conference's participants, in the order in which they called.
pub(crate) async fn participants(server: &Server, conference: &str) -> Vec<u64> {
    let path = format!("GET /v1/conferences/{conference}/participants");
    let answer = http(server, &path, "").await.json();
    answer["participants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|participant| participant["id"].as_u64().unwrap())
        .collect()
}
