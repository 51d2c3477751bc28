//! An agent against another, or against hand-written messages, in virtual time.

mod auth;
mod calls;
mod changes;
mod leftovers;
mod lossy;
mod refusals;
mod sessions;
mod torture;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Agent, AgentConfig, CallId, Event, Flow, InviteRequest, Output, Transport};

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const ANSWER: &str = "v=0\r\no=- 2 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

fn alice_address() -> SocketAddr {
    "192.0.2.1:5060".parse().unwrap()
}

fn bob_address() -> SocketAddr {
    "192.0.2.2:5060".parse().unwrap()
}

/// One end: an agent and what it told.
struct End {
    agent: Agent,
    address: SocketAddr,
    events: VecDeque<Event>,
    /// Every message it sent, oldest first.
    sent: Vec<String>,
}

/// Alice calls, Bob answers; between them a pipe that delays, and may lose, double and reorder.
struct Pair {
    alice: End,
    bob: End,
    now: Instant,
    start: Instant,
    pipe: BTreeMap<(Instant, u64), (SocketAddr, Flow, Vec<u8>)>,
    transport: Transport,
    loss: f64,
    random: StdRng,
    count: u64,
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    fn with(alice: impl Fn(&mut AgentConfig), bob: impl Fn(&mut AgentConfig)) -> Self {
        let start = Instant::now();
        let end = |address: SocketAddr, change: &dyn Fn(&mut AgentConfig), seed| {
            let mut config = AgentConfig {
                listen: vec![(Transport::Udp, address), (Transport::Tcp, address)],
                software: "test".to_owned(),
                ..AgentConfig::default()
            };
            change(&mut config);
            End {
                agent: Agent::new(config, seed, start),
                address,
                events: VecDeque::new(),
                sent: Vec::new(),
            }
        };
        Self {
            alice: end(alice_address(), &alice, 1),
            bob: end(bob_address(), &bob, 2),
            now: start,
            start,
            pipe: BTreeMap::new(),
            transport: Transport::Udp,
            loss: 0.0,
            random: StdRng::seed_from_u64(0),
            count: 0,
        }
    }

    fn lossy(mut self, seed: u64, loss: f64) -> Self {
        self.random = StdRng::seed_from_u64(seed);
        self.loss = loss;
        self
    }

    fn tcp(mut self) -> Self {
        self.transport = Transport::Tcp;
        self
    }

    fn flow(&self, local: SocketAddr, remote: SocketAddr) -> Flow {
        Flow {
            transport: self.transport,
            local,
            remote,
            connection: u64::from(self.transport == Transport::Tcp),
        }
    }

    fn request(&self, sdp: Option<&str>) -> InviteRequest {
        InviteRequest {
            target: "sip:100@192.0.2.2".to_owned(),
            flow: self.flow(alice_address(), bob_address()),
            user: "alice".to_owned(),
            display: Some("Alice \"A\"".to_owned()),
            sdp: sdp.map(str::to_owned),
            credentials: None,
            headers: Vec::new(),
        }
    }

    fn invite(&mut self, sdp: Option<&str>) -> CallId {
        let request = self.request(sdp);
        let call = self.alice.agent.invite(self.now, request).unwrap();
        self.settle();
        call
    }

    /// Collects what both agents want and puts their messages into the pipe.
    fn collect(&mut self) {
        for end in [&mut self.alice, &mut self.bob] {
            while let Some(output) = end.agent.poll() {
                match output {
                    Output::Event(event) => end.events.push_back(event),
                    Output::Transmit { flow, bytes } => {
                        end.sent.push(String::from_utf8_lossy(&bytes).into_owned());
                        let back = Flow {
                            local: flow.remote,
                            remote: end.address,
                            ..flow
                        };
                        let copies = if self.random.random_bool(self.loss) {
                            0
                        } else {
                            1 + usize::from(self.random.random_bool(self.loss / 4.0))
                        };
                        for _ in 0..copies {
                            let jitter = if self.loss > 0.0 {
                                self.random.random_range(0..80)
                            } else {
                                0
                            };
                            let at = self.now + Duration::from_millis(10 + jitter);
                            self.count += 1;
                            self.pipe
                                .insert((at, self.count), (flow.remote, back, bytes.clone()));
                        }
                    }
                }
            }
        }
    }

    /// Goes on to the next thing that happens, if it does so before `until`.
    fn step(&mut self, until: Instant) -> bool {
        self.collect();
        let next = [
            self.pipe.first_key_value().map(|((at, _), _)| *at),
            self.alice.agent.next_timeout(),
            self.bob.agent.next_timeout(),
        ]
        .into_iter()
        .flatten()
        .min();
        let Some(next) = next.filter(|next| *next <= until) else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.pipe.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, flow, bytes) = entry.remove();
            if to == bob_address() {
                self.bob.agent.receive(self.now, flow, &bytes);
            } else if to == alice_address() {
                self.alice.agent.receive(self.now, flow, &bytes);
            }
        }
        self.alice.agent.on_timeout(self.now);
        self.bob.agent.on_timeout(self.now);
        self.collect();
        true
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {}
        self.now = until;
    }

    /// Lets messages arrive, without waiting for timers of any length.
    fn settle(&mut self) {
        self.run(Duration::from_millis(100));
    }

    /// A call that is up: Alice's and Bob's names for it.
    fn established(&mut self) -> (CallId, CallId) {
        let alice = self.invite(Some(OFFER));
        let bob = self.bob.incoming();
        self.bob
            .agent
            .accept(self.now, bob, ANSWER.to_owned())
            .unwrap();
        self.settle();
        assert!(
            matches!(self.bob.next(), Some(Event::Established { call, answer: None }) if call == bob)
        );
        self.alice.skip_progress();
        assert!(
            matches!(self.alice.next(), Some(Event::Answered { call, answer }) if call == alice && answer == ANSWER)
        );
        (alice, bob)
    }

    /// Runs until both agents have forgotten everything, and proves that they do.
    fn finish(mut self) {
        self.run(Duration::from_secs(120));
        for end in [&self.alice, &self.bob] {
            let counters = end.agent.counters();
            assert_eq!(counters.calls_open, 0, "{:?}", end.events);
            assert_eq!(counters.transactions_open, 0);
            assert_eq!(end.agent.next_timeout(), None);
            assert!(end.agent.exchanges.is_empty());
            assert!(end.agent.merges.is_empty());
            assert!(end.agent.dialogs.is_empty());
        }
    }
}

impl End {
    fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn skip_progress(&mut self) {
        while matches!(self.events.front(), Some(Event::Progress { .. })) {
            self.events.pop_front();
        }
    }

    fn incoming(&mut self) -> CallId {
        match self.next() {
            Some(Event::Incoming(incoming)) => incoming.call,
            other => panic!("{other:?}"),
        }
    }

    /// The messages it sent that start with this.
    fn sent(&self, start: &str) -> Vec<&String> {
        self.sent
            .iter()
            .filter(|text| text.starts_with(start))
            .collect()
    }
}

/// One agent, spoken to by hand from 192.0.2.1:5060.
struct Lone {
    agent: Agent,
    now: Instant,
}

impl Lone {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut AgentConfig)) -> Self {
        let pair = Pair::with(|_| {}, change);
        Self {
            agent: pair.bob.agent,
            now: pair.now,
        }
    }

    /// Sends a message and returns what came back, and the events.
    fn tell(&mut self, text: &str) -> (Vec<String>, Vec<Event>) {
        let flow = Flow::udp(bob_address(), alice_address());
        self.agent.receive(self.now, flow, text.as_bytes());
        self.outputs()
    }

    fn outputs(&mut self) -> (Vec<String>, Vec<Event>) {
        let (mut sent, mut events) = (Vec::new(), Vec::new());
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Transmit { bytes, .. } => sent.push(String::from_utf8(bytes).unwrap()),
                Output::Event(event) => events.push(event),
            }
        }
        (sent, events)
    }

    /// The status line of the only response to a message.
    fn status(&mut self, text: &str) -> String {
        let (sent, events) = self.tell(text);
        assert_eq!(events.len(), 0, "{events:?}");
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent[0].lines().next().unwrap().to_owned()
    }
}

/// A request with the usual headers, after which `headers` follow; `body` is SDP if not empty.
fn request(method: &str, uri: &str, branch: &str, headers: &str, body: &str) -> String {
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\n\
         From: \"Ann\" <sip:ann@192.0.2.1>;tag=a\r\n\
         To: <{uri}>\r\n\
         Call-ID: c1\r\n\
         CSeq: 1 {method}\r\n\
         Contact: <sip:ann@192.0.2.1>\r\n\
         {headers}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
