//! Calls we make: INVITE, its responses, CANCEL, and credentials when asked for
//! (RFC 3261 sections 9.1, 13.2, 22.2).

use std::time::Instant;

use rand::RngExt;

use super::call::{Call, Phase, Proof};
use super::config::USUAL_SESSION;
use super::event::{CallId, EndedBy, Event, Flow};
use super::exchange::{Ack, Purpose, escape_user};
use super::timers::CallTimer;
use super::within::DECISION;
use super::{ALLOW, Agent, AgentError};
use crate::sip::dialog::Dialog;
use crate::sip::dialog::session_timer::{adopt, required};
use crate::sip::digest::{Challenge, CountedNonce, Credentials};
use crate::sip::wire::{
    Body, BuildError, CSeq, HeaderName, Method, Request, RequestBuilder, Response, To,
    TransactionKey, named, parse_uri, replace, session_description, status, tag, texts, typed,
};

/// How often an INVITE is sent anew with credentials or a longer session interval.
const MAX_ATTEMPTS: u8 = 4;

/// A call to make.
#[derive(Debug, Clone)]
pub struct InviteRequest {
    /// The URI to call, such as `sip:100@192.0.2.1`.
    pub target: String,
    /// The path to the server or phone; see [`Flow::udp`] and [`Flow::tcp`].
    pub flow: Flow,
    /// The user part of our `From`.
    pub user: String,
    /// Our display name.
    pub display: Option<String>,
    /// Our offer. `None`: the peer is to offer, in its 2xx.
    pub sdp: Option<String>,
    /// Shown when the peer asks for them.
    pub credentials: Option<Credentials>,
    /// More headers of the INVITE.
    pub headers: Vec<(String, String)>,
}

impl Agent {
    /// Makes a call.
    ///
    /// # Errors
    ///
    /// All calls are in use, or something in the request cannot be sent.
    pub fn invite(&mut self, now: Instant, request: InviteRequest) -> Result<CallId, AgentError> {
        if self.calls.len() >= self.config.max_calls {
            return Err(AgentError::Full(self.config.max_calls));
        }
        let target = parse_uri(&request.target)
            .filter(|uri| uri.scheme().is_sip())
            .ok_or_else(|| AgentError::Unsendable(format!("URI {:?}", request.target)))?;
        let ours = self.config.contact(&request.flow);
        let display = match &request.display {
            Some(name) => format!("\"{}\" ", name.replace('\\', "\\\\").replace('"', "\\\"")),
            None => String::new(),
        };
        let local = format!("{display}<sip:{}@{}>", escape_user(&request.user), ours);
        let call_id = format!("{}{}", self.token(), self.token());
        let tag = self.token();
        let sequence = self.first_sequence();
        let dialog = Dialog::outgoing(&call_id, &local, &tag, &target, request.flow, sequence);

        let via = self.via(&request.flow);
        let interval = self.config.session_expires;
        let contact = self.contact(&request.flow, &request.user);
        let invite = dialog
            .request(Method::Invite, sequence, via)
            .and_then(|invite| invite.header(HeaderName::Contact, contact))
            .and_then(|invite| self.common(invite))
            .and_then(|invite| match interval {
                Some(interval) => {
                    invite.header(HeaderName::SessionExpires, interval.as_secs().to_string())
                }
                None => Ok(invite),
            })
            .and_then(|invite| {
                request
                    .headers
                    .iter()
                    .filter_map(|(name, value)| named(name, value))
                    .try_fold(invite, |invite, (name, value)| invite.header(name, value))
            })
            .and_then(|invite| describe(invite, request.sdp.as_deref()))
            .map_err(|error| AgentError::Unsendable(error.to_string()))?
            .build();
        let Some(key) = TransactionKey::of_sent(&invite) else {
            return Err(AgentError::Unsendable("Via".to_owned()));
        };

        let id = self.next_call();
        let phase = Phase::Calling { provisional: false };
        let mut call = Call::new(id, phase, dialog, key, interval.unwrap_or(USUAL_SESSION));
        call.user = request.user.into();
        call.description = request.sdp.map(Into::into);
        call.proof = request.credentials.map(|credentials| {
            Box::new(Proof {
                credentials,
                nonce: CountedNonce::default(),
            })
        });
        self.calls.insert(id, Box::new(call));
        self.counters.calls_out += 1;
        self.set_timer(id, CallTimer::Ring, now + self.config.ring_limit);
        let purpose = Purpose::Invite {
            call: id,
            answered_by: None,
            ack: None,
        };
        self.send_request(now, request.flow, invite, purpose);
        Ok(id)
    }

    /// A response to a request of ours.
    pub(super) fn on_response(&mut self, now: Instant, key: &TransactionKey, response: &Response) {
        let Some(exchange) = self.exchanges.get(key) else {
            return;
        };
        let status = status(response);
        match &exchange.purpose {
            Purpose::Invite { call, ack, .. } => {
                let (call, ack) = (*call, ack.clone());
                self.on_invite_response(now, key, response, call, ack);
            }
            Purpose::Reinvite { call, ack } => {
                let (call, ack) = (*call, ack.clone());
                if let Some(ack) = ack {
                    self.repeat_ack(&ack);
                } else {
                    self.on_change_response(now, key, response, call);
                }
            }
            Purpose::Update { call } => {
                let call = *call;
                self.on_change_response(now, key, response, call);
            }
            Purpose::Info { call } => {
                let call = *call;
                match status {
                    401 | 407 => {
                        self.authorize(now, key, response);
                    }
                    408 | 481 => self.finish(now, call, EndedBy::Failed { status }, "gone"),
                    _ => {}
                }
            }
            Purpose::Bye { .. } if matches!(status, 401 | 407) => {
                self.authorize(now, key, response);
            }
            Purpose::Bye { .. } | Purpose::Cancel | Purpose::Serve { .. } => {}
        }
    }

    /// No response at all, or no way to send: `status` 408 or 503.
    pub(super) fn on_no_response(&mut self, now: Instant, key: &TransactionKey, status: u16) {
        let Some(id) = self.purpose_call(key) else {
            return;
        };
        let (by, reason) = match status {
            408 => (EndedBy::Timeout, "no response"),
            _ => (EndedBy::Failed { status }, "connection lost"),
        };
        let (Some(exchange), Some(call)) = (self.exchanges.get(key), self.calls.get(&id)) else {
            return;
        };
        match &exchange.purpose {
            Purpose::Invite { .. } => match call.phase {
                Phase::Calling { .. } | Phase::Closing => self.finish(now, id, by, reason),
                // Answered already: only its repetitions are not to be seen any more.
                _ => {}
            },
            Purpose::Reinvite { .. } if call.changing.as_ref() != Some(key) => {}
            _ => self.finish_with_bye(now, id, by, reason),
        }
    }

    /// Gives up a call that is not answered yet (section 9.1).
    pub(super) fn give_up(&mut self, now: Instant, id: CallId, by: EndedBy, reason: &str) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let Phase::Calling { provisional } = call.phase else {
            return;
        };
        self.close(now, id, by, reason);
        if provisional {
            self.send_cancel(now, id);
        }
    }

    /// The first sequence number of a dialog's requests: random, with room to count up.
    pub(super) fn first_sequence(&mut self) -> u32 {
        self.random.random_range(1..1 << 30)
    }

    /// Headers of all our requests that make or change a session.
    pub(super) fn common(&self, request: RequestBuilder) -> Result<RequestBuilder, BuildError> {
        let min_se = self.config.min_se.as_secs().max(90);
        request
            .header(HeaderName::UserAgent, self.config.software.clone())?
            .header(HeaderName::Allow, ALLOW)?
            .header(HeaderName::Supported, "timer")?
            .header(HeaderName::MinSe, min_se.to_string())
    }

    /// Acknowledges the 2xx to the INVITE that made a call.
    pub(super) fn acknowledge_invite(&mut self, id: CallId, sdp: Option<&str>) {
        if let Some(call) = self.calls.get(&id)
            && let Some(key) = call.invite.clone()
        {
            let dialog = call.dialog.clone();
            self.acknowledge(&key, &dialog, sdp);
        }
    }

    /// Sends the ACK for a 2xx and keeps it to answer repetitions (section 13.2.2.4).
    pub(super) fn acknowledge(&mut self, key: &TransactionKey, dialog: &Dialog, sdp: Option<&str>) {
        let flow = dialog.destination();
        let via = self.via(&flow);
        let Some(invite) = self.transactions.request(key) else {
            return;
        };
        let sequence = typed::<CSeq>(&invite.headers).map_or(0, |cseq| cseq.sequence);
        let mut ack = dialog.request(Method::Ack, sequence, via);
        // The ACK shows the credentials the INVITE was let in with (section 22.1).
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            for value in texts(&invite.headers, &name) {
                ack = ack.and_then(|ack| ack.header(name.clone(), value));
            }
        }
        let Ok(ack) = ack.and_then(|ack| describe(ack, sdp)) else {
            return;
        };
        let sent = Ack {
            flow,
            bytes: self.send_ack(flow, ack.build()),
        };
        if let Some(exchange) = self.exchanges.get_mut(key)
            && let Purpose::Invite { ack, .. } | Purpose::Reinvite { ack, .. } =
                &mut exchange.purpose
            && ack.is_none()
        {
            *ack = Some(Box::new(sent));
        }
    }

    /// Sends the request of a transaction again with an answer to the challenge it got. False
    /// if that is not possible: no credentials, or they were refused.
    pub(super) fn authorize(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        response: &Response,
    ) -> bool {
        let (asked, answer) = match status(response) {
            401 => (HeaderName::WwwAuthenticate, HeaderName::Authorization),
            _ => (
                HeaderName::ProxyAuthenticate,
                HeaderName::ProxyAuthorization,
            ),
        };
        let Some(challenge) = Challenge::strongest(&texts(&response.headers, &asked)) else {
            return false;
        };
        let Some(request) = self.transactions.request(key).cloned() else {
            return false;
        };
        if request.headers.get(&answer).is_some() && !challenge.stale {
            return false;
        }
        let cnonce = self.token();
        let id = self.purpose_call(key);
        let call = id.and_then(|id| self.calls.get_mut(&id));
        let mut fresh = CountedNonce::default();
        let (credentials, used) = match (call, self.exchanges.get(key).map(|e| &e.purpose)) {
            (Some(call), _) => {
                call.attempts += 1;
                if call.attempts > MAX_ATTEMPTS {
                    return false;
                }
                match &mut call.proof {
                    Some(proof) => (proof.credentials.clone(), &mut proof.nonce),
                    None => return false,
                }
            }
            (
                None,
                Some(Purpose::Bye {
                    credentials: Some(credentials),
                }),
            ) => (Credentials::clone(credentials), &mut fresh),
            _ => return false,
        };
        let method = request.method.to_string();
        let uri = request.uri.to_string();
        let value = challenge.answer(&credentials, &method, &uri, used, &cnonce);
        self.send_anew(now, key, request, &[(answer, value)])
    }

    /// Sends a refused request as a new transaction with the next sequence number and some
    /// headers replaced, for the same purpose.
    pub(super) fn send_anew(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        mut request: Request,
        headers: &[(HeaderName, String)],
    ) -> bool {
        let Some(exchange) = self.exchanges.get(key) else {
            return false;
        };
        let flow = exchange.flow;
        let purpose = match &exchange.purpose {
            Purpose::Invite { call, .. } => Purpose::Invite {
                call: *call,
                answered_by: None,
                ack: None,
            },
            Purpose::Reinvite { call, .. } => Purpose::Reinvite {
                call: *call,
                ack: None,
            },
            Purpose::Update { call } => Purpose::Update { call: *call },
            Purpose::Info { call } => Purpose::Info { call: *call },
            // A second refusal of a BYE is final.
            Purpose::Bye { .. } => Purpose::Bye { credentials: None },
            Purpose::Cancel | Purpose::Serve { .. } => return false,
        };
        let id = self.purpose_call(key);
        let call = id.and_then(|id| self.calls.get_mut(&id));
        let sequence = match call {
            Some(call) => call.dialog.advance(),
            None => typed::<CSeq>(&request.headers).map_or(1, |cseq| cseq.sequence + 1),
        };
        let via = self.via(&flow);
        let cseq = format!("{sequence} {}", request.method);
        let mut replaced = replace(&mut request, &HeaderName::Via, via)
            && replace(&mut request, &HeaderName::CSeq, cseq);
        for (name, value) in headers {
            replaced &= replace(&mut request, name, value.clone());
        }
        let Some(new) = TransactionKey::of_sent(&request).filter(|_| replaced) else {
            return false;
        };
        if let Some(call) = id.and_then(|id| self.calls.get_mut(&id)) {
            match purpose {
                Purpose::Invite { .. } => call.invite = Some(new),
                Purpose::Reinvite { .. } | Purpose::Update { .. } => call.changing = Some(new),
                _ => {}
            }
        }
        self.send_request(now, flow, request, purpose).is_some()
    }

    fn on_invite_response(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        response: &Response,
        id: CallId,
        ack: Option<Box<Ack>>,
    ) {
        let status = status(response);
        let Some(call) = self.calls.get_mut(&id) else {
            if let Some(ack) = ack {
                self.repeat_ack(&ack);
            }
            return;
        };
        match (status, call.phase) {
            (100..=199, Phase::Calling { .. }) => {
                call.phase = Phase::Calling { provisional: true };
                self.tell(Event::Progress { call: id, status });
            }
            (100..=199, Phase::Closing) => self.send_cancel(now, id),
            (100..=199, _) => {}
            (200..=299, phase) => {
                let remote_tag = typed::<To>(&response.headers).map(|to| tag(&to.0));
                let answered = phase != Phase::Closing && !matches!(phase, Phase::Calling { .. });
                let same = remote_tag.as_deref() == Some(call.dialog.key().remote_tag());
                if !answered {
                    self.on_answer(now, key, response, id);
                } else if !same {
                    self.drop_fork(now, key, response, id);
                } else if let Some(ack) = ack {
                    self.repeat_ack(&ack);
                }
            }
            (401 | 407, Phase::Calling { .. }) => {
                if !self.authorize(now, key, response) {
                    self.refused(now, id, response);
                }
            }
            (422, Phase::Calling { .. }) => {
                let longer = required(response).filter(|longer| *longer > call.interval);
                call.attempts += 1;
                let again = call.attempts <= MAX_ATTEMPTS;
                let request = self.transactions.request(key).cloned();
                let sent = match (longer, request) {
                    (Some(longer), Some(request)) if again => {
                        call.interval = longer;
                        let seconds = longer.as_secs().to_string();
                        let headers = [
                            (HeaderName::SessionExpires, seconds.clone()),
                            (HeaderName::MinSe, seconds),
                        ];
                        self.send_anew(now, key, request, &headers)
                    }
                    _ => false,
                };
                if !sent {
                    self.refused(now, id, response);
                }
            }
            _ => self.refused(now, id, response),
        }
    }

    /// The first 2xx to our INVITE.
    fn on_answer(&mut self, now: Instant, key: &TransactionKey, response: &Response, id: CallId) {
        let answered_by = self.exchanges.get(key).and_then(|e| match &e.purpose {
            Purpose::Invite { answered_by, .. } => answered_by.as_deref().copied(),
            _ => None,
        });
        self.clear_timer(id, CallTimer::Ring);
        self.clear_timer(id, CallTimer::Cancelled);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let flow = answered_by.unwrap_or(call.dialog.flow());
        if let Err(reason) = call.dialog.confirm(response, flow) {
            self.finish(now, id, EndedBy::Failed { status: 502 }, reason);
            return;
        }
        self.dialogs.insert(call.dialog.key().clone(), id);
        if call.phase == Phase::Closing {
            let reason = call.closing.clone().unwrap_or_default();
            self.acknowledge_invite(id, None);
            self.finish_with_bye(now, id, EndedBy::Local, &reason);
            return;
        }
        call.attempts = 0;
        call.peer_updates = texts(&response.headers, &HeaderName::Allow)
            .iter()
            .any(|list| list.split(',').any(|method| method.trim() == "UPDATE"));
        let asked = self.config.session_expires.is_some();
        let session = (asked || response.headers.get(&HeaderName::SessionExpires).is_some())
            .then(|| adopt(response, call.interval));
        let ours_is_offer = call.description.is_some();
        let theirs = match session_description(&response.headers, response.body()) {
            Body::Sdp(sdp) => Some(sdp),
            _ => None,
        };
        match theirs {
            Some(answer) if ours_is_offer => {
                call.phase = Phase::Confirmed;
                self.acknowledge_invite(id, None);
                session.inspect(|session| self.start_session(now, id, *session));
                self.tell(Event::Answered { call: id, answer });
            }
            Some(offer) => {
                call.phase = Phase::Offered;
                self.set_timer(id, CallTimer::Undecided, now + DECISION);
                session.inspect(|session| self.start_session(now, id, *session));
                self.tell(Event::ReOffer {
                    call: id,
                    offer: Some(offer),
                });
            }
            None => {
                self.acknowledge_invite(id, None);
                let by = EndedBy::Failed { status: 488 };
                self.finish_with_bye(now, id, by, "no session description in the answer");
            }
        }
    }

    /// Another phone answered the same INVITE: it is acknowledged and hung up on.
    fn drop_fork(&mut self, now: Instant, key: &TransactionKey, response: &Response, id: CallId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let mut fork = call.dialog.clone();
        let credentials = call.credentials();
        if fork.confirm(response, fork.flow()).is_ok() {
            self.acknowledge(key, &fork, None);
            let flow = fork.destination();
            let sequence = fork.advance();
            let by = EndedBy::Local;
            self.send_bye(
                now,
                &fork,
                flow,
                sequence,
                credentials,
                by,
                "answered elsewhere",
            );
        }
    }

    fn refused(&mut self, now: Instant, id: CallId, response: &Response) {
        let status = status(response);
        let reason = String::from_utf8_lossy(&response.reason).into_owned();
        self.finish(now, id, EndedBy::Failed { status }, &reason);
    }

    /// A 2xx came again: so does its ACK.
    fn repeat_ack(&mut self, ack: &Ack) {
        self.counters.retransmissions_in += 1;
        self.counters.retransmissions_out += 1;
        self.transmit(ack.flow, ack.bytes.clone());
    }

    /// Cancels the INVITE of a closing call, once.
    fn send_cancel(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut call.cancelled, true) {
            return;
        }
        let Some(key) = call.invite.clone() else {
            return;
        };
        let limit = now + self.config.t1 * 64;
        self.set_timer(id, CallTimer::Cancelled, limit);
        let (Some(invite), Some(exchange)) =
            (self.transactions.request(&key), self.exchanges.get(&key))
        else {
            return;
        };
        let flow = exchange.flow;
        let sequence = typed::<CSeq>(&invite.headers).map_or(1, |cseq| cseq.sequence);
        let mut cancel =
            Ok(RequestBuilder::new(Method::Cancel, invite.uri.clone()).max_forwards(70));
        for name in [
            HeaderName::Via,
            HeaderName::Route,
            HeaderName::From,
            HeaderName::To,
            HeaderName::CallId,
        ] {
            for value in texts(&invite.headers, &name) {
                cancel = cancel.and_then(|cancel| cancel.header(name.clone(), value));
            }
        }
        if let Ok(cancel) = cancel.and_then(|cancel| cancel.cseq(sequence, &Method::Cancel)) {
            self.send_request(now, flow, cancel.build(), Purpose::Cancel);
        }
    }
}

/// Adds a session description, if there is one.
pub(super) fn describe(
    request: RequestBuilder,
    sdp: Option<&str>,
) -> Result<RequestBuilder, BuildError> {
    match sdp {
        None => Ok(request),
        Some(sdp) => Ok(request
            .header(HeaderName::ContentType, "application/sdp")?
            .body(sdp.to_owned())),
    }
}
