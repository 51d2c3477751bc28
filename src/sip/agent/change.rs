//! Our own requests inside a call: re-INVITE, session refresh, INFO
//! (RFC 3261 section 14.1, RFC 3311, RFC 4028).

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;

use super::call::Phase;
use super::event::{CallId, EndedBy, Event};
use super::exchange::{Purpose, is_invite};
use super::outgoing::describe;
use super::timers::CallTimer;
use super::{Agent, AgentError};
use crate::sip::dialog::session_timer::{adopt, required};
use crate::sip::wire::{
    Body, Contact, HeaderName, Method, Response, TransactionKey, session_description, status, typed,
};

/// How soon a session refresh is tried again that came at a bad moment.
const BUSY: Duration = Duration::from_secs(5);

/// How long a peer that answers a re-INVITE only with provisional responses is waited for: what
/// RFC 3261 section 16.6 has proxies wait (timer C).
const UNCHANGED: Duration = Duration::from_secs(180);

impl Agent {
    /// Offers the peer a changed session. If another change is open, the offer follows when that
    /// is done, or is replaced by a later one. Ends in [`Event::Answered`],
    /// [`Event::ReOfferRefused`] or the call's end.
    ///
    /// # Errors
    ///
    /// The call has ended, or is not up yet.
    pub fn reinvite(
        &mut self,
        now: Instant,
        call: CallId,
        sdp: impl Into<Arc<str>>,
    ) -> Result<(), AgentError> {
        let open = self.calls.get_mut(&call).ok_or(AgentError::NoSuchCall)?;
        match open.phase {
            Phase::Confirmed | Phase::Accepted => {}
            Phase::Closing => return Err(AgentError::NoSuchCall),
            _ => return Err(AgentError::WrongState),
        }
        open.queued = Some(sdp.into());
        self.send_queued(now, call);
        Ok(())
    }

    /// Sends a key press by INFO (`application/dtmf-relay`), for peers without RFC 4733.
    ///
    /// # Errors
    ///
    /// The call has ended, or is not up yet.
    pub fn send_info_dtmf(
        &mut self,
        now: Instant,
        call: CallId,
        digit: char,
        duration_ms: u32,
    ) -> Result<(), AgentError> {
        let open = self.calls.get_mut(&call).ok_or(AgentError::NoSuchCall)?;
        if open.phase != Phase::Confirmed {
            return Err(AgentError::WrongState);
        }
        let flow = open.dialog.destination();
        let sequence = open.dialog.advance();
        let dialog = open.dialog.clone();
        let via = self.via(&flow);
        let info = dialog
            .request(Method::Info, sequence, via)
            .and_then(|info| info.header(HeaderName::UserAgent, self.config.software.clone()))
            .and_then(|info| info.header(HeaderName::ContentType, "application/dtmf-relay"))
            .map_err(|error| AgentError::Unsendable(error.to_string()))?
            .body(format!("Signal={digit}\r\nDuration={duration_ms}\r\n"));
        self.send_request(now, flow, info.build(), Purpose::Info { call });
        Ok(())
    }

    /// Sends the offer that waits, if nothing else is open.
    pub(super) fn send_queued(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if !call.is_idle() {
            return;
        }
        if let Some(sdp) = call.queued.take() {
            call.refreshing = false;
            self.clear_timer(id, CallTimer::Retry);
            self.send_change(now, id, Some(sdp));
        }
    }

    pub(super) fn on_session_timer(&mut self, now: Instant, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let Some(session) = call.session else {
            return;
        };
        if !session.ours {
            self.on_session_expired(now, id);
            return;
        }
        if let Some(end) = call.session_end {
            self.set_timer(id, CallTimer::Expiry, end);
        }
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.is_idle() {
            call.refreshing = true;
            let sdp = call.description.clone().filter(|_| !call.peer_updates);
            self.send_change(now, id, sdp);
        } else {
            self.set_timer(id, CallTimer::Session, now + BUSY);
        }
    }

    pub(super) fn on_session_expired(&mut self, now: Instant, id: CallId) {
        self.counters.sessions_expired += 1;
        self.finish_with_bye(now, id, EndedBy::Timeout, "session expired");
    }

    /// A response to our re-INVITE or UPDATE.
    pub(super) fn on_change_response(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        response: &Response,
        id: CallId,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.changing.as_ref() != Some(key) {
            return;
        }
        let refreshing = call.refreshing;
        let invite = self.transactions.request(key).is_some_and(is_invite);
        match status(response) {
            100..=199 => return,
            200..=299 => {
                call.changing = None;
                self.clear_timer(id, CallTimer::Unchanged);
                self.on_change_accepted(now, key, response, id, invite);
                self.send_queued(now, id);
                return;
            }
            401 | 407 if self.authorize(now, key, response) => return,
            422 if self.lengthen(now, key, response, id) => return,
            408 => {
                self.finish_with_bye(now, id, EndedBy::Timeout, "no response");
                return;
            }
            481 => {
                self.finish(
                    now,
                    id,
                    EndedBy::Failed { status: 481 },
                    "call unknown to the peer",
                );
                return;
            }
            _ => {}
        }

        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.changing = None;
        let proposed = call.proposed.take();
        let ours = call.ours;
        self.clear_timer(id, CallTimer::Unchanged);
        let pause = self.glare_pause(ours);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        match status(response) {
            491 if refreshing => self.set_timer(id, CallTimer::Session, now + pause),
            491 => {
                // A newer offer that waits replaces the one that was refused.
                if call.queued.is_none() {
                    call.queued = proposed;
                }
                self.set_timer(id, CallTimer::Retry, now + pause);
                return;
            }
            _ if refreshing => {
                // Tried again, the other way, until the session expires (RFC 4028 section 10).
                let wait = call.session.map_or(BUSY, |session| session.interval / 8);
                call.peer_updates &= invite;
                self.set_timer(id, CallTimer::Session, now + wait);
            }
            status => self.tell(Event::ReOfferRefused { call: id, status }),
        }
        self.send_queued(now, id);
    }

    fn on_change_accepted(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        response: &Response,
        id: CallId,
        invite: bool,
    ) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.attempts = 0;
        call.dialog.retarget(typed::<Contact>(&response.headers));
        let proposed = call.proposed.take();
        let session = call.session.map(|_| adopt(response, call.interval));
        if invite {
            let dialog = call.dialog.clone();
            if proposed.is_some() {
                call.description = proposed;
            }
            self.acknowledge(key, &dialog, None);
            match session_description(&response.headers, response.body()) {
                Body::Sdp(answer) => self.tell(Event::Answered { call: id, answer }),
                _ => {
                    let by = EndedBy::Failed { status: 488 };
                    self.finish_with_bye(now, id, by, "no session description in the answer");
                    return;
                }
            }
        }
        if let Some(session) = session {
            self.start_session(now, id, session);
        }
    }

    /// Sends a re-INVITE with an offer, or an UPDATE without one.
    fn send_change(&mut self, now: Instant, id: CallId, sdp: Option<Arc<str>>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let flow = call.dialog.destination();
        let sequence = call.dialog.advance();
        let dialog = call.dialog.clone();
        // Who refreshes stays who it is (RFC 4028 section 7.4), named as in this transaction.
        let expires = call.session.map(|session| {
            let refresher = if session.ours { "uac" } else { "uas" };
            format!("{};refresher={refresher}", call.interval.as_secs())
        });
        let (method, purpose) = match sdp {
            Some(_) => (
                Method::Invite,
                Purpose::Reinvite {
                    call: id,
                    ack: None,
                },
            ),
            None => (Method::Update, Purpose::Update { call: id }),
        };
        let via = self.via(&flow);
        let contact = self.own_contact(id);
        let request = dialog
            .request(method, sequence, via)
            .and_then(|request| request.header(HeaderName::Contact, contact))
            .and_then(|request| self.common(request))
            .and_then(|request| match expires {
                Some(expires) => request.header(HeaderName::SessionExpires, expires),
                None => Ok(request),
            })
            .and_then(|request| describe(request, sdp.as_deref()));
        let Ok(request) = request else {
            return;
        };
        let request = request.build();
        if let Some(call) = self.calls.get_mut(&id) {
            call.changing = TransactionKey::of_sent(&request);
            call.proposed = sdp;
        }
        // A provisional response stops the timers of the transaction, for good if the peer
        // vanishes after it; and while it is open no other request finds out.
        self.set_timer(id, CallTimer::Unchanged, now + UNCHANGED);
        self.send_request(now, flow, request, purpose);
    }

    /// Sends a request that got a 422 again with the interval it demands.
    fn lengthen(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        response: &Response,
        id: CallId,
    ) -> bool {
        let Some(call) = self.calls.get_mut(&id) else {
            return false;
        };
        let (Some(longer), Some(request)) = (
            required(response).filter(|longer| *longer > call.interval),
            self.transactions.request(key).cloned(),
        ) else {
            return false;
        };
        call.interval = longer;
        let refresher = match call.session {
            Some(session) if !session.ours => "uas",
            _ => "uac",
        };
        let seconds = longer.as_secs();
        let headers = [
            (
                HeaderName::SessionExpires,
                format!("{seconds};refresher={refresher}"),
            ),
            (HeaderName::MinSe, seconds.to_string()),
        ];
        self.send_anew(now, key, request, &headers)
    }

    /// How long to wait after a 491: longer for the side that owns the `Call-ID`, so that they
    /// do not meet again (RFC 3261 section 14.1).
    fn glare_pause(&mut self, ours: bool) -> Duration {
        let steps = if ours {
            self.random.random_range(210..=400)
        } else {
            self.random.random_range(0..=200)
        };
        Duration::from_millis(10 * steps)
    }
}
