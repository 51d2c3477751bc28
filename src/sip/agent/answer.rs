//! Decisions of the layer above about calls and offers of the peer, and what makes a 2xx reliable
//! (RFC 3261 section 13.3.1.4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::{Phase, Unacknowledged};
use super::event::{CallId, EndedBy, Event};
use super::exchange::{Purpose, with};
use super::timers::CallTimer;
use super::{ALLOW, Agent, AgentError};
use crate::sip::dialog::session_timer::{self, Session, Terms, negotiate};
use crate::sip::wire::{
    Body, CSeq, Contact, HeaderName, Message, Method, Request, TransactionKey, encode, named,
    phrase, session_description, texts, typed,
};

/// RFC 3261 T2, the longest interval between repetitions.
const T2: Duration = Duration::from_secs(4);

impl Agent {
    /// Sends 180 Ringing for an incoming call.
    ///
    /// # Errors
    ///
    /// The call has ended, or was decided already.
    pub fn ring(&mut self, now: Instant, call: CallId) -> Result<(), AgentError> {
        let (key, request) = self.undecided(call)?;
        let contact = self.own_contact(call);
        self.reply(now, &key, &request, 180, &[(HeaderName::Contact, contact)]);
        Ok(())
    }

    /// Answers an incoming call. `sdp` is the answer, or the offer if the INVITE had none.
    ///
    /// # Errors
    ///
    /// The call has ended, or was decided already.
    pub fn accept(
        &mut self,
        now: Instant,
        call: CallId,
        sdp: impl Into<Arc<str>>,
    ) -> Result<(), AgentError> {
        let (key, request) = self.undecided(call)?;
        if let Some(call) = self.calls.get_mut(&call) {
            call.phase = Phase::Accepted;
            call.invite = None;
        }
        self.clear_timer(call, CallTimer::Ring);
        self.send_success(now, call, &key, &request, Some(sdp.into()));
        Ok(())
    }

    /// Refuses an incoming call with a status from 300 to 699, a reason phrase (empty for the
    /// usual one) and headers such as `Retry-After` or `Warning`. Headers that cannot be sent
    /// are left out.
    ///
    /// # Errors
    ///
    /// The call has ended, or was decided already; or the status is no refusal.
    pub fn reject(
        &mut self,
        now: Instant,
        call: CallId,
        status: u16,
        reason: &str,
        headers: &[(String, String)],
    ) -> Result<(), AgentError> {
        if !(300..=699).contains(&status) {
            return Err(AgentError::WrongState);
        }
        let (key, request) = self.undecided(call)?;
        self.refuse(now, &key, &request, status, reason, headers);
        let why = if reason.is_empty() {
            phrase(status)
        } else {
            reason
        };
        self.finish(now, call, EndedBy::Local, why);
        Ok(())
    }

    /// Ends a call in whatever state it is: refuses it with 480, cancels it, or hangs up. The
    /// `Ended` event comes at once; a BYE that may not be sent yet follows by itself.
    ///
    /// # Errors
    ///
    /// The call has ended.
    pub fn hang_up(&mut self, now: Instant, call: CallId, reason: &str) -> Result<(), AgentError> {
        let phase = self.calls.get(&call).ok_or(AgentError::NoSuchCall)?.phase;
        match phase {
            Phase::Incoming => return self.reject(now, call, 480, reason, &[]),
            Phase::Confirmed => self.finish_with_bye(now, call, EndedBy::Local, reason),
            Phase::Accepted => self.close(now, call, EndedBy::Local, reason),
            Phase::Calling { .. } => self.give_up(now, call, EndedBy::Local, reason),
            Phase::Offered => {
                self.acknowledge_invite(call, None);
                self.finish_with_bye(now, call, EndedBy::Local, reason);
            }
            Phase::Closing => return Err(AgentError::NoSuchCall),
        }
        Ok(())
    }

    /// Answers a [`Event::ReOffer`]: with the answer if it has an offer, else with our offer.
    ///
    /// # Errors
    ///
    /// The call has ended, or no offer is open (the peer may have taken it back).
    pub fn accept_reoffer(
        &mut self,
        now: Instant,
        call: CallId,
        sdp: impl Into<Arc<str>>,
    ) -> Result<(), AgentError> {
        let sdp = sdp.into();
        let open = self.calls.get_mut(&call).ok_or(AgentError::NoSuchCall)?;
        if open.phase == Phase::Offered {
            open.phase = Phase::Confirmed;
            open.description = Some(Arc::clone(&sdp));
            self.clear_timer(call, CallTimer::Undecided);
            self.acknowledge_invite(call, Some(&sdp));
            self.send_queued(now, call);
            return Ok(());
        }
        let reoffer = open.reoffer.take().ok_or(AgentError::WrongState)?;
        self.clear_timer(call, CallTimer::Undecided);
        self.send_success(now, call, &reoffer.key, &reoffer.request, Some(sdp));
        self.send_queued(now, call);
        Ok(())
    }

    /// Refuses a [`Event::ReOffer`]; the session stays as it was. 488 is the usual status. An
    /// offer in the 2xx to our INVITE cannot be refused but by hanging up, which this does.
    ///
    /// # Errors
    ///
    /// The call has ended, or no offer is open (the peer may have taken it back).
    pub fn reject_reoffer(
        &mut self,
        now: Instant,
        call: CallId,
        status: u16,
        reason: &str,
    ) -> Result<(), AgentError> {
        let open = self.calls.get_mut(&call).ok_or(AgentError::NoSuchCall)?;
        if open.phase == Phase::Offered {
            return self.hang_up(now, call, reason);
        }
        if !(300..=699).contains(&status) {
            return Err(AgentError::WrongState);
        }
        let reoffer = open.reoffer.take().ok_or(AgentError::WrongState)?;
        self.clear_timer(call, CallTimer::Undecided);
        self.refuse(now, &reoffer.key, &reoffer.request, status, reason, &[]);
        self.send_queued(now, call);
        Ok(())
    }

    /// Sends the 2xx to an INVITE or UPDATE, keeps sending that to an INVITE until its ACK, and
    /// starts the session timer.
    pub(super) fn send_success(
        &mut self,
        now: Instant,
        id: CallId,
        key: &TransactionKey,
        request: &Request,
        sdp: Option<Arc<str>>,
    ) {
        let terms = negotiate(request, self.config.session_expires, self.config.min_se);
        let mut headers: Vec<_> = texts(&request.headers, &HeaderName::RecordRoute)
            .into_iter()
            .map(|route| (HeaderName::RecordRoute, route))
            .collect();
        headers.push((HeaderName::Contact, self.own_contact(id)));
        headers.push((HeaderName::Allow, ALLOW.to_owned()));
        headers.push((HeaderName::Supported, "timer".to_owned()));
        if let Terms::Agreed { session, require } = terms {
            let value = session_timer::header(session);
            headers.push((HeaderName::SessionExpires, value));
            if require {
                headers.push((HeaderName::Require, "timer".to_owned()));
            }
        }
        if sdp.is_some() {
            headers.push((HeaderName::ContentType, "application/sdp".to_owned()));
        }
        let draft = self
            .draft(key, request, 200, phrase(200))
            .and_then(|draft| with(draft, &headers).ok());
        let (Some(draft), Some(call)) = (draft, self.calls.get_mut(&id)) else {
            self.abandon(key);
            // Nothing would ever end a call that waits for the ACK of a 2xx that was not sent.
            if self.phase(id) == Some(Phase::Accepted) && request.method == Method::Invite {
                let by = EndedBy::Failed { status: 500 };
                self.finish(now, id, by, "the answer could not be sent");
            }
            return;
        };
        let response = match &sdp {
            Some(sdp) => draft.body(sdp.to_string()).build(),
            None => draft.build(),
        };
        if call.phase != Phase::Accepted {
            call.dialog.retarget(typed::<Contact>(&request.headers));
        }
        if request.method == Method::Invite
            && let Some(cseq) = typed::<CSeq>(&request.headers)
        {
            let theirs = session_description(&request.headers, request.body());
            call.unacknowledged = Some(Box::new(Unacknowledged {
                key: key.clone(),
                response: encode(&Message::Response(response.clone())),
                sequence: cseq.sequence,
                interval: self.config.t1,
                offered: !matches!(theirs, Body::Sdp(_)),
            }));
            self.set_timer(id, CallTimer::Resend, now + self.config.t1);
            self.set_timer(id, CallTimer::NoAck, now + self.config.t1 * 64);
        }
        if let Some(call) = self.calls.get_mut(&id)
            && sdp.is_some()
        {
            call.description = sdp;
        }
        self.send_response(now, key, response);
        match terms {
            Terms::Agreed { session, .. } => self.start_session(now, id, session),
            _ => self.stop_session(id),
        }
    }

    /// Does what is due for a call.
    pub(super) fn on_call_timer(&mut self, now: Instant, id: CallId, timer: CallTimer) {
        match timer {
            CallTimer::Resend => self.resend(now, id),
            CallTimer::NoAck => self.on_no_ack(now, id),
            CallTimer::Session => self.on_session_timer(now, id),
            CallTimer::Expiry => self.on_session_expired(now, id),
            CallTimer::Retry => self.send_queued(now, id),
            CallTimer::Ring => self.on_ring_limit(now, id),
            CallTimer::Cancelled => self.finish(now, id, EndedBy::Timeout, "no final response"),
            CallTimer::Undecided => {
                // Fails only if the offer is gone, and then nothing is left to do.
                let _ = self.reject_reoffer(now, id, 500, "No decision in time");
            }
            CallTimer::Unchanged => {
                self.finish_with_bye(now, id, EndedBy::Timeout, "no final response");
            }
        }
    }

    /// Ends a call for the layer above while a message is still awaited before its BYE.
    pub(super) fn close(&mut self, now: Instant, id: CallId, by: EndedBy, reason: &str) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.phase = Phase::Closing;
        call.closing = Some(reason.into());
        call.queued = None;
        let reoffer = call.reoffer.take();
        self.stop_session(id);
        for timer in [CallTimer::Ring, CallTimer::Retry, CallTimer::Undecided] {
            self.clear_timer(id, timer);
        }
        if let Some(reoffer) = reoffer {
            self.reply(now, &reoffer.key, &reoffer.request, 487, &[]);
        }
        self.tell(Event::Ended {
            call: id,
            by,
            reason: reason.to_owned(),
        });
    }

    pub(super) fn start_session(&mut self, now: Instant, id: CallId, session: Session) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if call.phase == Phase::Closing {
            return;
        }
        call.session = Some(session);
        call.session_end = Some(now + session.interval);
        self.set_timer(id, CallTimer::Session, now + session.act_after());
        // Set when there is something to expire: with the refresh.
        self.clear_timer(id, CallTimer::Expiry);
    }

    pub(super) fn stop_session(&mut self, id: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.session = None;
        }
        self.clear_timer(id, CallTimer::Session);
        self.clear_timer(id, CallTimer::Expiry);
    }

    fn phase(&self, id: CallId) -> Option<Phase> {
        self.calls.get(&id).map(|call| call.phase)
    }

    /// Our `Contact` in a call.
    pub(super) fn own_contact(&self, id: CallId) -> String {
        self.calls.get(&id).map_or_else(String::new, |call| {
            self.contact(&call.dialog.flow(), &call.user)
        })
    }

    /// The INVITE of a call that waits for a decision.
    fn undecided(&self, id: CallId) -> Result<(TransactionKey, Request), AgentError> {
        let call = self.calls.get(&id).ok_or(AgentError::NoSuchCall)?;
        if call.phase != Phase::Incoming {
            return Err(AgentError::WrongState);
        }
        let key = call.invite.clone().ok_or(AgentError::NoSuchCall)?;
        let request = self.transactions.request(&key).cloned();
        Ok((key, request.ok_or(AgentError::NoSuchCall)?))
    }

    fn refuse(
        &mut self,
        now: Instant,
        key: &TransactionKey,
        request: &Request,
        status: u16,
        reason: &str,
        headers: &[(String, String)],
    ) {
        let reason: String = reason.chars().filter(|c| !c.is_control()).collect();
        let reason = if reason.is_empty() {
            phrase(status)
        } else {
            &reason
        };
        let headers: Vec<_> = headers
            .iter()
            .filter_map(|(name, value)| named(name, value))
            .collect();
        self.reply_because(now, key, request, status, reason, &headers);
    }

    fn resend(&mut self, now: Instant, id: CallId) {
        let Some(waiting) = self
            .calls
            .get_mut(&id)
            .and_then(|call| call.unacknowledged.as_mut())
        else {
            return;
        };
        waiting.interval = (waiting.interval * 2).min(T2);
        let next = now + waiting.interval;
        let (key, response) = (waiting.key.clone(), waiting.response.clone());
        self.send_again(&key, response);
        self.set_timer(id, CallTimer::Resend, next);
    }

    fn on_no_ack(&mut self, now: Instant, id: CallId) {
        self.clear_timer(id, CallTimer::Resend);
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.unacknowledged = None;
        let reason = call.closing.take();
        let reason = reason.as_deref().unwrap_or("no ACK");
        self.finish_with_bye(now, id, EndedBy::Timeout, reason);
    }

    fn on_ring_limit(&mut self, now: Instant, id: CallId) {
        match self.undecided(id) {
            Ok((key, request)) => {
                self.reply(now, &key, &request, 480, &[]);
                self.finish(now, id, EndedBy::Timeout, "not answered in time");
            }
            Err(_) => self.give_up(now, id, EndedBy::Timeout, "not answered in time"),
        }
    }

    /// The call a request of ours belongs to.
    pub(super) fn purpose_call(&self, key: &TransactionKey) -> Option<CallId> {
        match &self.exchanges.get(key)?.purpose {
            Purpose::Invite { call, .. }
            | Purpose::Reinvite { call, .. }
            | Purpose::Update { call }
            | Purpose::Info { call } => Some(*call),
            Purpose::Serve { .. } | Purpose::Bye { .. } | Purpose::Cancel => None,
        }
    }
}
