//! Driving the transaction machines: their sends, timers and news.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::event::{CallId, Flow};
use super::timers::Alarm;
use super::{Agent, has_to_tag, reliability};
use crate::sip::digest::Credentials;
use crate::sip::wire::{
    Action, BuildError, CSeq, From, HeaderName, Message, Method, Request, Response,
    ResponseBuilder, Timer, TransactionKey, TuEvent, encode, phrase, respond, status, tag, text,
    typed,
};

/// What makes two requests the same one, come by two paths (RFC 3261 section 8.2.2.2): method,
/// sequence number, tag in `From` and `Call-ID`. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Merge(Arc<str>);

impl Merge {
    /// `None` for a request inside a dialog, which cannot be merged.
    pub(super) fn of(request: &Request) -> Option<Self> {
        if has_to_tag(request) {
            return None;
        }
        // No header has a NUL, and neither method nor tag a blank.
        let whole = format!(
            "{} {} {}\0{}",
            request.method,
            typed::<CSeq>(&request.headers)?.sequence,
            tag(&typed::<From>(&request.headers)?.0),
            text(&request.headers, &HeaderName::CallId)?,
        );
        Some(Self(whole.into()))
    }
}

/// What we know about a transaction besides its state.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Where its messages go.
    pub(super) flow: Flow,
    /// Ascending with age, so that things are done in the same order in every run.
    pub(super) serial: u64,
    pub(super) purpose: Purpose,
}

/// Why a transaction exists.
#[derive(Debug)]
pub(super) enum Purpose {
    /// We answer a request.
    Serve {
        /// The tag our responses put into `To`.
        tag: Box<str>,
        /// Where the request came from, which is not where UDP responses go without `rport`.
        source: SocketAddr,
        merge: Option<Merge>,
        /// The request came a second time by another path: answer 482.
        merged: bool,
        /// The call an INVITE made or belongs to.
        call: Option<CallId>,
    },
    /// Our INVITE that makes a call. Keeps where the latest response came from, and the ACK to
    /// repeat with each repeated 2xx.
    Invite {
        call: CallId,
        answered_by: Option<Box<Flow>>,
        ack: Option<Box<Ack>>,
    },
    /// Our INVITE inside a call.
    Reinvite { call: CallId, ack: Option<Box<Ack>> },
    /// Our UPDATE, refreshing the session.
    Update { call: CallId },
    /// Our INFO.
    Info { call: CallId },
    /// Our BYE, sent when the call is gone already.
    Bye {
        credentials: Option<Box<Credentials>>,
    },
    /// Our CANCEL.
    Cancel,
}

/// An ACK for a 2xx, as sent.
#[derive(Debug, Clone)]
pub(super) struct Ack {
    pub(super) flow: Flow,
    pub(super) bytes: Vec<u8>,
}

impl Exchange {
    /// Whether the request is ours.
    pub(super) fn is_ours(&self) -> bool {
        !matches!(self.purpose, Purpose::Serve { .. })
    }

    /// Notes where a response came from.
    pub(super) fn answered_by(&mut self, flow: Flow) {
        if let Purpose::Invite { answered_by, .. } = &mut self.purpose {
            *answered_by = Some(Box::new(flow));
        }
    }
}

impl Agent {
    /// What to remember about a new server transaction; notes it against merging.
    pub(super) fn serving(
        &mut self,
        reply: Flow,
        source: SocketAddr,
        merge: Option<Merge>,
    ) -> Exchange {
        let merged = merge
            .as_ref()
            .is_some_and(|merge| self.merges.contains(merge));
        let merge = merge.filter(|_| !merged);
        self.merges.extend(merge.clone());
        let tag = self.token().into();
        self.exchange(
            reply,
            Purpose::Serve {
                tag,
                source,
                merge,
                merged,
                call: None,
            },
        )
    }

    pub(super) fn exchange(&mut self, flow: Flow, purpose: Purpose) -> Exchange {
        self.last_exchange += 1;
        Exchange {
            flow,
            serial: self.last_exchange,
            purpose,
        }
    }

    /// Carries out what a transaction wants. `again` says that what is sent was sent before.
    pub(super) fn perform(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        actions: Vec<Action>,
        again: bool,
    ) {
        let mut news = Vec::new();
        let mut over = false;
        for action in actions {
            match action {
                Action::Send(message) => {
                    if let Some(flow) = self.exchanges.get(key).map(|exchange| exchange.flow) {
                        self.counters.retransmissions_out += u64::from(again);
                        self.transmit(flow, encode(&message));
                    }
                }
                Action::SetTimer { timer, after } => self
                    .timers
                    .set(Alarm::Transaction(key.clone(), timer), now + after),
                Action::ClearTimer(timer) => {
                    self.timers.clear(&Alarm::Transaction(key.clone(), timer));
                }
                Action::ToTu(event) => news.push(*event),
                Action::Terminated(_) => over = true,
                _ => {}
            }
        }
        for event in news {
            match event {
                TuEvent::Request(request) => self.on_request(now, key, &request),
                TuEvent::Ack(ack) => self.on_ack(now, &ack),
                TuEvent::Response(response) => self.on_response(now, key, &response),
                // Our final failure response was never acknowledged; there is nobody to tell.
                TuEvent::Timeout if !self.is_ours(key) => {}
                TuEvent::Timeout => self.on_no_response(now, key, 408),
                TuEvent::TransportError => self.on_no_response(now, key, 503),
                _ => {}
            }
        }
        if over {
            self.forget(key);
        }
    }

    /// Sends a request of ours as a new transaction.
    pub(super) fn send_request(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Request,
        purpose: Purpose,
    ) -> Option<TransactionKey> {
        let (key, actions) = self
            .transactions
            .send_request(request, reliability(flow.transport))?;
        self.counters.transactions += 1;
        let exchange = self.exchange(flow, purpose);
        self.exchanges.insert(key.clone(), Box::new(exchange));
        self.perform(now, &key, actions, false);
        Some(key)
    }

    /// Sends a response as a transaction's user.
    pub(super) fn send_response(&mut self, now: Instant, key: &TransactionKey, response: Response) {
        let status = status(&response);
        if status >= 300 {
            *self.counters.rejected.entry(status).or_default() += 1;
        }
        let actions = self.transactions.send_response(key, response);
        self.perform(now, key, actions, false);
    }

    /// Sends a response that was sent before.
    pub(super) fn send_again(&mut self, key: &TransactionKey, response: Vec<u8>) {
        if let Some(flow) = self.exchanges.get(key).map(|exchange| exchange.flow) {
            self.counters.retransmissions_out += 1;
            self.transmit(flow, response);
        }
    }

    /// Answers a request with a status and extra headers, without a body.
    pub(super) fn reply(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
        status: u16,
        headers: &[(HeaderName, String)],
    ) {
        self.reply_because(now, key, request, status, phrase(status), headers);
    }

    /// As [`Agent::reply`], with a reason phrase of its own.
    pub(super) fn reply_because(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
        status: u16,
        reason: &str,
        headers: &[(HeaderName, String)],
    ) {
        let draft = self
            .draft(key, request, status, reason)
            .and_then(|draft| with(draft, headers).ok());
        match draft {
            Some(draft) => self.send_response(now, key, draft.build()),
            None if status >= 200 => self.abandon(key),
            None => {}
        }
    }

    /// Starts a response inside a transaction.
    pub(super) fn draft(
        &self,
        key: &TransactionKey,
        request: &Request,
        status: u16,
        reason: &str,
    ) -> Option<ResponseBuilder> {
        let Purpose::Serve { tag, .. } = &self.exchanges.get(key)?.purpose else {
            return None;
        };
        respond(request, status, reason, tag)?
            .header(HeaderName::Server, self.config.software.clone())
            .ok()
    }

    /// A `Via` value for a request of ours to the peer of `flow`, with a fresh branch.
    pub(super) fn via(&mut self, flow: &Flow) -> String {
        let branch = self.token();
        format!(
            "SIP/2.0/{} {};branch=z9hG4bK{branch};rport",
            flow.transport.name(),
            self.config.contact(flow)
        )
    }

    /// Our `Contact` value for the peer of `flow`.
    pub(super) fn contact(&self, flow: &Flow, user: &str) -> String {
        let address = self.config.contact(flow);
        let user = escape_user(user);
        let at = if user.is_empty() { "" } else { "@" };
        match flow.transport {
            super::Transport::Udp => format!("<sip:{user}{at}{address}>"),
            super::Transport::Tcp => format!("<sip:{user}{at}{address};transport=tcp>"),
        }
    }

    /// Sends bytes outside any transaction: the ACK for a 2xx.
    pub(super) fn send_ack(&mut self, flow: Flow, ack: Request) -> Vec<u8> {
        let bytes = encode(&Message::Request(ack));
        self.transmit(flow, bytes.clone());
        bytes
    }

    /// Forgets a request of a peer that cannot be answered: without a final response of ours no
    /// timer would ever end its transaction.
    pub(super) fn abandon(&mut self, key: &TransactionKey) {
        self.transactions.abandon(key);
        self.forget(key);
    }

    pub(super) fn is_ours(&self, key: &TransactionKey) -> bool {
        self.exchanges
            .get(key)
            .is_some_and(|exchange| exchange.is_ours())
    }

    fn forget(&mut self, key: &TransactionKey) {
        for timer in Timer::ALL {
            self.timers.clear(&Alarm::Transaction(key.clone(), timer));
        }
        self.timers.clear(&Alarm::Orphan(key.clone()));
        if let Some(exchange) = self.exchanges.remove(key)
            && let Purpose::Serve {
                merge: Some(merge), ..
            } = exchange.purpose
        {
            self.merges.remove(&merge);
        }
    }
}

/// Adds headers to a response.
pub(super) fn with(
    mut draft: ResponseBuilder,
    headers: &[(HeaderName, String)],
) -> Result<ResponseBuilder, BuildError> {
    for (name, value) in headers {
        draft = draft.header(name.clone(), value.clone())?;
    }
    Ok(draft)
}

/// Percent-encodes what may not stand in the user part of a URI (RFC 3261 section 25.1).
pub(super) fn escape_user(user: &str) -> String {
    let mut escaped = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,?/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The method of the request a transaction of ours sent.
pub(super) fn is_invite(request: &Request) -> bool {
    request.method == Method::Invite
}
