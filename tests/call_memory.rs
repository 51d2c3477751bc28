//! What the signalling holds of a call. A server has it as often as it has participants, next to their legs.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

use unisono::sip::{Agent, AgentConfig, Event, Flow, Output, Transport};

/// Just more than a table of 1,024 places takes: where tables are emptiest.
const CALLS: usize = 1000;

/// How long an answered INVITE is waited for again (RFC 6026's timer L).
const WAITING: Duration = Duration::from_secs(33);

#[test]
fn a_call_holds_less_than_two_kib() {
    let mut server = Server::new();
    let before = live();
    let dialogs: Vec<String> = (0..CALLS).map(|number| server.call(number)).collect();
    let keys: usize = dialogs.iter().map(String::capacity).sum();
    let list = dialogs.capacity() * size_of::<String>();
    let per_call = |live: usize| (live - before - keys - list) / CALLS;

    let fresh = per_call(live());
    server.wait(WAITING);
    let settled = per_call(live());
    for (number, to) in dialogs.iter().enumerate() {
        server.hang_up(number, to);
    }
    let ended = per_call(live());
    server.wait(WAITING);
    let empty = per_call(live());

    println!("bytes: {fresh} when answered, {settled} later, {ended} after BYE, {empty} then");
    assert!(fresh <= 1792, "{fresh} bytes of a call just answered");
    assert!(settled <= 1408, "{settled} bytes of a call that lasts");
    assert!(ended <= 1152, "{ended} bytes of a call just ended");
    assert!(
        empty <= 384,
        "{empty} bytes, of tables, of a call that is over"
    );
}

/// An agent that answers whoever calls.
struct Server {
    agent: Agent,
    now: Instant,
    flow: Flow,
}

impl Server {
    fn new() -> Self {
        let (ours, theirs) = (
            "192.0.2.2:5060".parse().unwrap(),
            "192.0.2.1:5060".parse().unwrap(),
        );
        let config = AgentConfig {
            listen: vec![(Transport::Udp, ours)],
            max_calls: CALLS,
            max_transactions: 4 * CALLS,
            ..AgentConfig::default()
        };
        let now = Instant::now();
        Self {
            agent: Agent::new(config, 1, now),
            now,
            flow: Flow::udp(ours, theirs),
        }
    }

    /// A call that is answered and acknowledged; returns the `To` of its dialog.
    fn call(&mut self, number: usize) -> String {
        let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                   m=audio 10000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n\
                   a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n";
        let (_, events) = self.receive(&request(number, "INVITE", 1, "<sip:100@192.0.2.2>", sdp));
        let [Event::Incoming(incoming)] = &events[..] else {
            panic!("{events:?}");
        };
        self.agent.accept(self.now, incoming.call, sdp).unwrap();
        let (sent, _) = self.outputs();
        let to = sent[0]
            .lines()
            .find_map(|line| line.strip_prefix("To: "))
            .unwrap()
            .to_owned();
        let (_, events) = self.receive(&request(number, "ACK", 1, &to, ""));
        assert!(matches!(events[..], [Event::Established { .. }]));
        to
    }

    fn hang_up(&mut self, number: usize, to: &str) {
        let (sent, events) = self.receive(&request(number, "BYE", 2, to, ""));
        assert!(sent[0].starts_with("SIP/2.0 200 "));
        assert!(matches!(events[..], [Event::Ended { .. }]));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.agent.on_timeout(self.now);
        self.outputs();
    }

    fn receive(&mut self, text: &str) -> (Vec<String>, Vec<Event>) {
        self.agent.receive(self.now, self.flow, text.as_bytes());
        self.outputs()
    }

    fn outputs(&mut self) -> (Vec<String>, Vec<Event>) {
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Transmit { bytes, .. } => sent.push(String::from_utf8(bytes).unwrap()),
                Output::Event(event) => events.push(event),
                _ => {}
            }
        }
        (sent, events)
    }
}

fn request(number: usize, method: &str, sequence: u32, to: &str, body: &str) -> String {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} sip:100@192.0.2.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{method}{number:08};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Caller {number}\" <sip:caller{number}@192.0.2.1>;tag=tag{number:08}\r\n\
         To: {to}\r\n\
         Call-ID: {number:032}\r\n\
         CSeq: {sequence} {method}\r\n\
         Contact: <sip:caller{number}@192.0.2.1:5060>\r\n\
         User-Agent: a phone\r\n\
         Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE\r\n\
         Supported: timer\r\n\
         Session-Expires: 1800\r\n\
         {kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

thread_local! {
    /// Bytes this thread has, as it asked for them.
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

fn live() -> usize {
    LIVE.get() as usize
}

fn count(bytes: isize) {
    LIVE.set(LIVE.get() + bytes);
}

/// Counts what the test's thread holds.
struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and `block` came from `System`.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of `realloc`, and `block` came from `System`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
