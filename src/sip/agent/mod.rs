//! The user agent as a value: datagrams and decisions in, datagrams and events out.
//!
//! No clock is read and no socket is touched: `now` is an argument, randomness comes from a seed,
//! so the same inputs give the same outputs. After every call to a method that takes `now`, drain
//! [`Agent::poll`] and note [`Agent::next_timeout`]. Nothing from outside panics, and everything
//! kept for a peer is bounded by [`AgentConfig::max_calls`] and [`AgentConfig::max_transactions`].

mod answer;
mod call;
mod change;
mod config;
mod counters;
mod event;
mod exchange;
mod outgoing;
mod serve;
mod timers;
mod within;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::call::Call;
use self::exchange::{Exchange, Merge};
use self::timers::{Alarm, TimerQueue};
use super::dialog::DialogKey;
use super::digest::Gate;
use super::wire::{
    Finding, HeaderName, Message, Method, Reliability, Request, Response, Taken, To,
    TransactionKey, Transactions, has_nul, parse, phrase, reply_address, salvage, stamp, typed,
    validate_request, validate_response,
};

pub use self::config::{Addressing, AgentConfig};
pub use self::counters::Counters;
pub use self::event::{CallId, EndedBy, Event, Flow, Incoming, Output, Party, Transport};
pub use self::outgoing::InviteRequest;

/// The methods served, as `Allow` says them.
const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, UPDATE";

/// Why a decision could not be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The call has ended; its `Ended` event is on the way or was seen already.
    #[error("no such call: it has ended")]
    NoSuchCall,
    /// The call is not in a state that allows this, such as accepting it twice.
    #[error("the call is not in a state that allows this")]
    WrongState,
    /// The agent has as many calls as it may have; try again when one has ended.
    #[error("all {0} calls are in use")]
    Full(usize),
    /// A URI, name or header holds characters that cannot be sent; correct it.
    #[error("cannot be sent: {0}")]
    Unsendable(String),
}

/// A SIP user agent (RFC 3261): answers and makes calls. See the module for its contract.
#[derive(Debug)]
pub struct Agent {
    config: AgentConfig,
    random: StdRng,
    transactions: Transactions,
    // Tables and trees are half empty most of the time: what is large in them is boxed.
    exchanges: HashMap<TransactionKey, Box<Exchange>>,
    /// Requests being served, to recognise one that arrived by two paths.
    merges: HashSet<Merge>,
    timers: TimerQueue,
    calls: BTreeMap<CallId, Box<Call>>,
    dialogs: HashMap<DialogKey, CallId>,
    gate: Option<Gate>,
    outputs: VecDeque<Output>,
    counters: Counters,
    last_call: u64,
    last_exchange: u64,
}

impl Agent {
    /// An agent without calls. `seed` makes its tags and identifiers; take it from the system's
    /// random source, because who knows it can guess them.
    #[must_use]
    pub fn new(config: AgentConfig, seed: u64, now: Instant) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let gate = config
            .digest
            .clone()
            .map(|digest| Gate::new(digest, now, &mut random));
        Self {
            transactions: Transactions::new(config.t1),
            exchanges: HashMap::new(),
            merges: HashSet::new(),
            timers: TimerQueue::new(now),
            calls: BTreeMap::new(),
            dialogs: HashMap::new(),
            gate,
            outputs: VecDeque::new(),
            counters: Counters::default(),
            last_call: 0,
            last_exchange: 0,
            config,
            random,
        }
    }

    /// Takes one datagram, or one message framed on a stream.
    pub fn receive(&mut self, now: Instant, flow: Flow, bytes: &[u8]) {
        let bytes = skip_line_breaks(bytes);
        if bytes.is_empty() {
            // A keep-alive (RFC 5626 section 3.5.1, and older habits over UDP).
            return;
        }
        self.counters.messages_in += 1;
        match parse(bytes) {
            Err(reason) => self.refuse_malformed(flow, bytes, 400, &reason),
            Ok(Message::Response(response)) => self.receive_response(now, flow, response),
            Ok(Message::Request(request)) => self.receive_request(now, flow, bytes, request),
        }
    }

    /// Does what is due at `now`.
    pub fn on_timeout(&mut self, now: Instant) {
        while let Some(alarm) = self.timers.pop_due(now) {
            match alarm {
                Alarm::Transaction(key, timer) => {
                    let actions = self.transactions.on_timer(&key, timer);
                    self.perform(now, &key, actions, true);
                }
                Alarm::Orphan(key) => {
                    // There is no call any more that this could end.
                    let actions = self.transactions.on_transport_error(&key);
                    self.perform(now, &key, actions, false);
                }
                Alarm::Call(call, timer) => self.on_call_timer(now, call, timer),
            }
        }
    }

    /// A TCP connection is gone, or one could not be opened to `flow.remote` (`connection` 0).
    pub fn on_flow_closed(&mut self, now: Instant, flow: Flow) {
        let mut broken: Vec<_> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| flow.carries(&exchange.flow) && exchange.is_ours())
            .map(|(key, exchange)| (exchange.serial, key.clone()))
            .collect();
        broken.sort_by_key(|(serial, _)| *serial);
        for (_, key) in broken {
            let actions = self.transactions.on_transport_error(&key);
            self.perform(now, &key, actions, false);
        }
        for call in self.calls.values_mut() {
            if flow.carries(&call.dialog.flow()) {
                let closed = call.dialog.flow();
                call.dialog.move_to(Flow {
                    connection: 0,
                    ..closed
                });
            }
        }
    }

    /// The next thing to do; `None` when there is nothing until the next input or timeout.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Agent::on_timeout`].
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// A snapshot of the counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            transactions_open: self.transactions.len(),
            calls_open: self.calls.len(),
            ..self.counters.clone()
        }
    }

    fn receive_response(&mut self, now: Instant, flow: Flow, response: Response) {
        if !validate_response(&response).is_empty() || has_nul(&response.headers) {
            self.counters.malformed += 1;
            self.counters.dropped += 1;
            return;
        }
        let reliability = reliability(flow.transport);
        match self
            .transactions
            .receive(None, Message::Response(response), reliability)
        {
            Taken::Known(key, actions) | Taken::New(key, actions) => {
                if let Some(exchange) = self.exchanges.get_mut(&key) {
                    exchange.answered_by(flow);
                }
                self.perform(now, &key, actions, false);
            }
            Taken::Again(..) | Taken::Stray(_) => self.counters.stray += 1,
        }
    }

    fn receive_request(&mut self, now: Instant, flow: Flow, bytes: &[u8], mut request: Request) {
        let reply = match flow.transport {
            Transport::Udp => Flow {
                remote: reply_address(&request, flow.remote),
                ..flow
            },
            Transport::Tcp => flow,
        };
        if let Some((status, reason)) = fault(&request) {
            self.refuse_malformed(flow, bytes, status, &reason);
            return;
        }
        stamp(&mut request, flow.remote);

        let key = TransactionKey::of_received(&request);
        let known = key.as_ref().is_some_and(|key| self.transactions.knows(key));
        let is_ack = request.method == Method::Ack;
        if !known && !is_ack {
            if self.transactions.len() >= self.config.max_transactions {
                self.refuse_statelessly(reply, &request, 503);
                return;
            }
            self.counters.transactions += 1;
        }
        if known && !is_ack {
            self.counters.retransmissions_in += 1;
        }

        let merge = Merge::of(&request);
        let reliability = reliability(flow.transport);
        match self
            .transactions
            .receive(key, Message::Request(request), reliability)
        {
            Taken::New(key, actions) => {
                let exchange = self.serving(reply, flow.remote, merge);
                self.exchanges.insert(key.clone(), Box::new(exchange));
                self.perform(now, &key, actions, false);
            }
            Taken::Known(key, actions) => self.perform(now, &key, actions, true),
            Taken::Again(key, response) => self.send_again(&key, response),
            Taken::Stray(message) => match *message {
                Message::Request(ack) if ack.method == Method::Ack => self.on_ack(now, &ack),
                _ => self.counters.stray += 1,
            },
        }
    }

    /// Answers a request that cannot be served as a transaction, if it says where from.
    fn refuse_malformed(&mut self, flow: Flow, bytes: &[u8], status: u16, reason: &str) {
        self.counters.malformed += 1;
        let tag = self.token();
        match salvage(
            bytes,
            status,
            reason,
            &tag,
            &self.config.software,
            flow.remote,
        ) {
            Some((answer, remote)) => {
                *self.counters.rejected.entry(status).or_default() += 1;
                let flow = match flow.transport {
                    Transport::Udp => Flow { remote, ..flow },
                    Transport::Tcp => flow,
                };
                self.transmit(flow, answer);
            }
            None => self.counters.dropped += 1,
        }
    }

    /// Answers without keeping anything: for when there is too much to keep.
    fn refuse_statelessly(&mut self, flow: Flow, request: &Request, status: u16) {
        let tag = self.token();
        let response = super::wire::respond(request, status, phrase(status), &tag)
            .and_then(|response| {
                response
                    .header(HeaderName::RetryAfter, self.config.retry_after.to_string())
                    .ok()
            })
            .map(|response| response.build());
        if let Some(response) = response {
            *self.counters.rejected.entry(status).or_default() += 1;
            self.transmit(flow, super::wire::encode(&Message::Response(response)));
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: Vec<u8>) {
        self.counters.messages_out += 1;
        self.outputs.push_back(Output::Transmit { flow, bytes });
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// 64 random bits as a SIP token.
    fn token(&mut self) -> String {
        format!("{:016x}", self.random.random::<u64>())
    }
}

fn reliability(transport: Transport) -> Reliability {
    match transport {
        Transport::Udp => Reliability::Unreliable,
        Transport::Tcp => Reliability::Reliable,
    }
}

/// The status and reason to refuse a request with that no element may act on. A missing
/// `Max-Forwards` is forgiven, as RFC 3261 section 16.6 lets even proxies do.
fn fault(request: &Request) -> Option<(u16, String)> {
    let finding = validate_request(request)
        .into_iter()
        .find(|finding| !finding.is_repairable());
    let Some(finding) = finding else {
        return has_nul(&request.headers).then(|| (400, "NUL in a header".to_owned()));
    };
    let reason = match &finding {
        Finding::UnsupportedVersion => phrase(505).to_owned(),
        Finding::MissingRequiredHeader(name) => format!("Missing {name}"),
        Finding::MalformedRequiredHeader(name) => format!("Malformed {name}"),
        Finding::RepeatedSingleValueHeader(name) => format!("Repeated {name}"),
        Finding::CSeqMethodMismatch => "CSeq does not match the method".to_owned(),
        Finding::RequestUriHasHeaders => "Headers in the Request-URI".to_owned(),
        _ => phrase(400).to_owned(),
    };
    Some((finding.status(), reason))
}

fn skip_line_breaks(mut bytes: &[u8]) -> &[u8] {
    while let [b'\r' | b'\n' | 0, rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether a request belongs to a dialog, by its `To` tag.
fn has_to_tag(request: &Request) -> bool {
    typed::<To>(&request.headers).is_some_and(|to| to.tag().is_some())
}
