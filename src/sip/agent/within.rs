//! Requests inside a dialog: ACK, re-INVITE, UPDATE, BYE, INFO (RFC 3261 section 12.2.2).

use std::time::{Duration, Instant};

use rand::RngExt;

use super::Agent;
use super::call::{Phase, Reoffer};
use super::event::{CallId, EndedBy, Event};
use super::serve::allows_update;
use super::timers::CallTimer;
use crate::sip::dialog::{DialogKey, Order};
use crate::sip::wire::{
    Body, CSeq, Contact, HeaderName, Method, Request, TransactionKey, content_type, other,
    session_description, typed,
};

/// How long the layer above may think about an offer of the peer.
pub(super) const DECISION: Duration = Duration::from_secs(16);

impl Agent {
    /// A request with a tag in `To`.
    pub(super) fn on_request_within(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
    ) {
        let id = DialogKey::of_request(request).and_then(|dialog| self.dialogs.get(&dialog));
        let Some(&id) = id else {
            self.reply(now, key, request, 481, &[]);
            return;
        };
        self.attach(key, id);
        let source = self.serving_details(key).map(|(source, _)| source);
        let (Some(call), Some(cseq)) = (self.calls.get_mut(&id), typed::<CSeq>(&request.headers))
        else {
            self.reply(now, key, request, 481, &[]);
            return;
        };
        if call.dialog.observe(cseq.sequence) == Order::Old {
            self.reply_because(now, key, request, 500, "CSeq out of order", &[]);
            return;
        }
        if let Some(source) = source {
            // Routers forget mappings and connections break: answer where the peer is now.
            call.dialog.move_to(source);
        }
        if self.refuse_extensions(now, key, request) {
            return;
        }
        match &request.method {
            Method::Bye => {
                self.reply(now, key, request, 200, &[]);
                self.on_bye(now, id);
            }
            Method::Invite => self.on_reinvite(now, key, request, id),
            Method::Update => self.on_update(now, key, request, id),
            Method::Info => self.on_info(now, key, request, id),
            Method::Options => self.reply_options(now, key, request),
            _ => self.refuse_method(now, key, request),
        }
    }

    /// The ACK for a 2xx of ours.
    pub(super) fn on_ack(&mut self, now: Instant, ack: &Request) {
        let id = DialogKey::of_request(ack).and_then(|dialog| self.dialogs.get(&dialog));
        let sequence = typed::<CSeq>(&ack.headers).map(|cseq| cseq.sequence);
        let call = id.and_then(|id| self.calls.get_mut(id));
        let (Some(call), Some(sequence)) = (call, sequence) else {
            self.counters.stray += 1;
            return;
        };
        let id = call.id;
        let Some(waiting) = call
            .unacknowledged
            .take_if(|waiting| waiting.sequence == sequence)
        else {
            // The ACK of a 2xx we sent more than once.
            self.counters.retransmissions_in += 1;
            return;
        };
        self.stop_resending(id);
        let mut answer = None;
        if waiting.offered {
            match session_description(&ack.headers, ack.body()) {
                Body::Sdp(sdp) => answer = Some(sdp),
                _ => {
                    let by = EndedBy::Failed { status: 488 };
                    self.finish_with_bye(now, id, by, "no session description in the ACK");
                    return;
                }
            }
        }
        self.acknowledged(now, id, answer);
    }

    /// What follows when a 2xx of ours is known to have arrived.
    pub(super) fn acknowledged(&mut self, now: Instant, id: CallId, answer: Option<String>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        match call.phase {
            Phase::Accepted => {
                call.phase = Phase::Confirmed;
                self.tell(Event::Established { call: id, answer });
            }
            Phase::Closing => {
                let reason = call.closing.take().unwrap_or_default();
                self.finish_with_bye(now, id, EndedBy::Local, &reason);
                return;
            }
            _ => {
                if let Some(answer) = answer {
                    self.tell(Event::Answered { call: id, answer });
                }
            }
        }
        self.send_queued(now, id);
    }

    pub(super) fn stop_resending(&mut self, id: CallId) {
        self.clear_timer(id, CallTimer::Resend);
        self.clear_timer(id, CallTimer::NoAck);
    }

    fn on_bye(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        if call.phase == Phase::Incoming
            && let Some(invite) = call.invite.clone()
            && let Some(request) = self.transactions.request(&invite).cloned()
        {
            self.reply(now, &invite, &request, 487, &[]);
        }
        self.finish(now, id, EndedBy::Remote, "hung up");
    }

    fn on_reinvite(&mut self, now: Instant, key: &TransactionKey, request: &Request, id: CallId) {
        if let Err(status) = self.may_change(now, id, true) {
            self.refuse_change(now, key, request, status);
            return;
        }
        let Ok(offer) = self.read_body(now, key, request) else {
            return;
        };
        if self.read_terms(now, key, request).is_err() {
            return;
        }
        self.reply(now, key, request, 100, &[]);
        self.ask(now, key, request, id, offer);
    }

    fn on_update(&mut self, now: Instant, key: &TransactionKey, request: &Request, id: CallId) {
        let Ok(offer) = self.read_body(now, key, request) else {
            return;
        };
        if offer.is_some()
            && let Err(status) = self.may_change(now, id, false)
        {
            self.refuse_change(now, key, request, status);
            return;
        }
        if self.read_terms(now, key, request).is_err() {
            return;
        }
        if offer.is_some() {
            self.ask(now, key, request, id, offer);
        } else if let Some(call) = self.calls.get_mut(&id) {
            // Without an offer it only refreshes the session and the target (RFC 4028).
            call.dialog.retarget(typed::<Contact>(&request.headers));
            self.send_success(now, id, key, request, None);
        }
    }

    /// Whether an offer of the peer can be taken now, else the status to refuse it with
    /// (section 14.2, RFC 3311 section 5.2, RFC 5407).
    fn may_change(&mut self, now: Instant, id: CallId, invite: bool) -> Result<(), u16> {
        let call = self.calls.get_mut(&id).ok_or(481u16)?;
        if call.reoffer.is_some() || call.phase == Phase::Incoming {
            return Err(500);
        }
        if call.changing.is_some() || call.phase == Phase::Offered {
            return Err(491);
        }
        if call.phase == Phase::Closing {
            return Err(481);
        }
        match &call.unacknowledged {
            Some(waiting) if waiting.offered => Err(491),
            // The peer goes on, so it has our 2xx: its ACK was lost, or comes later.
            Some(_) if invite => {
                call.unacknowledged = None;
                self.stop_resending(id);
                self.acknowledged(now, id, None);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn refuse_change(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
        status: u16,
    ) {
        if status == 500 {
            let wait: u32 = self.random.random_range(0..=10);
            let retry = [(HeaderName::RetryAfter, wait.to_string())];
            self.reply_because(now, key, request, 500, "Another request is open", &retry);
        } else {
            self.reply(now, key, request, status, &[]);
        }
    }

    /// Asks the layer above about a re-INVITE or UPDATE.
    fn ask(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
        id: CallId,
        offer: Option<String>,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.peer_updates |= allows_update(request);
        call.reoffer = Some(Box::new(Reoffer {
            key: key.clone(),
            request: request.clone(),
        }));
        self.set_timer(id, CallTimer::Undecided, now + DECISION);
        self.tell(Event::ReOffer { call: id, offer });
    }

    fn on_info(&mut self, now: Instant, key: &TransactionKey, request: &Request, id: CallId) {
        if request.headers.get(&other("Info-Package")).is_some() {
            // RFC 6086: we have no packages, and say so.
            let none = [(other("Recv-Info"), String::new())];
            self.reply(now, key, request, 469, &none);
            return;
        }
        if request.body().is_empty() {
            self.reply(now, key, request, 200, &[]);
            return;
        }
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let press = match content_type(&request.headers).as_str() {
            "application/dtmf-relay" => dtmf_relay(&body),
            "application/dtmf" => dtmf_plain(&body),
            _ => {
                let accept = "application/dtmf-relay, application/dtmf".to_owned();
                self.reply(now, key, request, 415, &[(HeaderName::Accept, accept)]);
                return;
            }
        };
        match press {
            Some((digit, duration_ms)) => {
                self.reply(now, key, request, 200, &[]);
                if self
                    .calls
                    .get(&id)
                    .is_some_and(|call| call.phase != Phase::Closing)
                {
                    self.tell(Event::Dtmf {
                        call: id,
                        digit,
                        duration_ms,
                    });
                }
            }
            None => self.reply_because(now, key, request, 400, "Unreadable digit", &[]),
        }
    }
}

/// Reads `Signal=5`, `Duration=160`, in any case and with any spacing.
fn dtmf_relay(body: &str) -> Option<(char, u32)> {
    let mut press = None;
    let mut duration = 0;
    for line in body.lines().take(16) {
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case("Signal") {
            press = Some(digit(value.trim())?);
        } else if name.trim().eq_ignore_ascii_case("Duration") {
            duration = value.trim().parse().ok()?;
        }
    }
    press.map(|digit| (digit, duration))
}

/// Reads a body that is just the digit, or the longer form under the shorter name, which some
/// gateways send.
fn dtmf_plain(body: &str) -> Option<(char, u32)> {
    if body.contains('=') {
        dtmf_relay(body)
    } else {
        Some((digit(body.trim())?, 0))
    }
}

/// A key by its name; 10 to 15 are the event codes of `*`, `#` and `A` to `D`.
fn digit(name: &str) -> Option<char> {
    let mut chars = name.chars();
    match (chars.next()?.to_ascii_uppercase(), chars.as_str()) {
        (digit @ ('0'..='9' | '*' | '#' | 'A'..='D'), "") => Some(digit),
        ('1', "0") => Some('*'),
        ('1', "1") => Some('#'),
        ('1', "2") => Some('A'),
        ('1', "3") => Some('B'),
        ('1', "4") => Some('C'),
        ('1', "5") => Some('D'),
        _ => None,
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn info_digits_are_read_in_all_their_spellings() {
        assert_eq!(dtmf_relay("Signal=5\r\nDuration=160\r\n"), Some(('5', 160)));
        assert_eq!(dtmf_relay("signal = *\r\n"), Some(('*', 0)));
        assert_eq!(dtmf_relay("Signal=11\nDuration=100"), Some(('#', 100)));
        assert_eq!(dtmf_relay("Duration=100"), None);
        assert_eq!(dtmf_relay("Signal=5\nDuration=x"), None);
        assert_eq!(dtmf_plain("d"), Some(('D', 0)));
        assert_eq!(dtmf_plain("Signal=1"), Some(('1', 0)));
        assert_eq!(dtmf_plain("55"), None);
        assert_eq!(dtmf_plain(""), None);
    }
}
