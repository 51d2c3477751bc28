//! What is kept for one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Agent;
use super::event::{CallId, EndedBy, Event};
use super::exchange::Purpose;
use super::timers::{Alarm, CallTimer};
use crate::sip::dialog::Dialog;
use crate::sip::dialog::session_timer::Session;
use crate::sip::digest::{CountedNonce, Credentials};
use crate::sip::wire::{HeaderName, Method, Request, TransactionKey};

/// Every alarm a call can have.
const CALL_TIMERS: [CallTimer; 9] = [
    CallTimer::Resend,
    CallTimer::NoAck,
    CallTimer::Session,
    CallTimer::Expiry,
    CallTimer::Retry,
    CallTimer::Ring,
    CallTimer::Cancelled,
    CallTimer::Undecided,
    CallTimer::Unchanged,
];

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// An INVITE waits for a decision.
    Incoming,
    /// Our 2xx waits for its ACK.
    Accepted,
    /// Our INVITE waits for a final response.
    Calling {
        /// A provisional response came, so that a CANCEL may be sent.
        provisional: bool,
    },
    /// The 2xx to our INVITE carried an offer that waits for our answer, in the ACK.
    Offered,
    /// Up.
    Confirmed,
    /// Ended for the layer above; a BYE follows when the ACK or the final response comes.
    Closing,
}

/// A 2xx of ours that waits for its ACK.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) key: TransactionKey,
    /// The 2xx as sent.
    pub(super) response: Vec<u8>,
    pub(super) sequence: u32,
    /// Until the next repetition.
    pub(super) interval: Duration,
    /// The 2xx carries our offer; the ACK has the answer.
    pub(super) offered: bool,
}

/// A re-INVITE or UPDATE of the peer that waits for a decision.
#[derive(Debug)]
pub(super) struct Reoffer {
    pub(super) key: TransactionKey,
    pub(super) request: Request,
}

/// Who we say we are when the peer asks, and the nonce last used for it.
#[derive(Debug, Clone)]
pub(super) struct Proof {
    pub(super) credentials: Credentials,
    pub(super) nonce: CountedNonce,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) phase: Phase,
    pub(super) dialog: Dialog,
    /// Whether we made the call, and so own its `Call-ID` (RFC 3261 section 14.1).
    pub(super) ours: bool,
    /// The user part of our `Contact`.
    pub(super) user: Box<str>,
    /// The INVITE that made the call, while its transaction matters: the peer's until it is
    /// answered, ours as long as the call.
    pub(super) invite: Option<TransactionKey>,
    /// Our latest session description, sent again to refresh the session by INVITE.
    pub(super) description: Option<Arc<str>>,
    pub(super) unacknowledged: Option<Box<Unacknowledged>>,
    pub(super) reoffer: Option<Box<Reoffer>>,
    /// Our INVITE or UPDATE that waits for a final response.
    pub(super) changing: Option<TransactionKey>,
    /// The offer in `changing`.
    pub(super) proposed: Option<Arc<str>>,
    /// A session description to be sent by re-INVITE when nothing else is open.
    pub(super) queued: Option<Arc<str>>,
    /// The re-INVITE in `changing` only refreshes the session.
    pub(super) refreshing: bool,
    pub(super) session: Option<Session>,
    /// When the session ends that is not refreshed until then.
    pub(super) session_end: Option<Instant>,
    /// What we ask for in `Session-Expires`; raised by a 422.
    pub(super) interval: Duration,
    /// The peer's `Allow` names UPDATE.
    pub(super) peer_updates: bool,
    /// A CANCEL was sent.
    pub(super) cancelled: bool,
    /// Why a closing call is to be ended.
    pub(super) closing: Option<Box<str>>,
    pub(super) proof: Option<Box<Proof>>,
    /// How often our INVITE was sent again with other credentials or terms.
    pub(super) attempts: u8,
}

impl Call {
    pub(super) fn new(
        id: CallId,
        phase: Phase,
        dialog: Dialog,
        invite: TransactionKey,
        interval: Duration,
    ) -> Self {
        Self {
            id,
            ours: matches!(phase, Phase::Calling { .. }),
            phase,
            dialog,
            user: Box::default(),
            invite: Some(invite),
            description: None,
            unacknowledged: None,
            reoffer: None,
            changing: None,
            proposed: None,
            queued: None,
            refreshing: false,
            session: None,
            session_end: None,
            interval,
            peer_updates: false,
            cancelled: false,
            closing: None,
            proof: None,
            attempts: 0,
        }
    }

    pub(super) fn credentials(&self) -> Option<Credentials> {
        self.proof.as_ref().map(|proof| proof.credentials.clone())
    }

    /// Whether the call is up and no offer is open, so that one of ours may be sent.
    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Confirmed
            && self.changing.is_none()
            && self.reoffer.is_none()
            && self.unacknowledged.is_none()
    }
}

impl Agent {
    /// Ends a call for the layer above, once, and forgets it.
    pub(super) fn finish(&mut self, now: Instant, id: CallId, by: EndedBy, reason: &str) {
        let Some(call) = self.remove(id) else {
            return;
        };
        // Whatever the peer still waits for in this dialog is over too (section 15.1.2).
        if let Some(reoffer) = call.reoffer {
            self.reply(now, &reoffer.key, &reoffer.request, 487, &[]);
        }
        // An INVITE of ours that got a provisional response has no timer to end it; its final
        // response may still come, and is to be acknowledged (section 9.1).
        let limit = now + self.config.t1 * 64;
        for key in [call.invite, call.changing].into_iter().flatten() {
            if self.is_ours(&key) {
                self.timers.set(Alarm::Orphan(key), limit);
            }
        }
        if call.phase != Phase::Closing {
            self.tell(Event::Ended {
                call: id,
                by,
                reason: reason.to_owned(),
            });
        }
    }

    /// Ends a call that is up, with a BYE (section 15.1.1).
    pub(super) fn finish_with_bye(&mut self, now: Instant, id: CallId, by: EndedBy, reason: &str) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        let flow = call.dialog.destination();
        let sequence = call.dialog.advance();
        let dialog = call.dialog.clone();
        let credentials = call.credentials();
        self.send_bye(now, &dialog, flow, sequence, credentials, by, reason);
        self.finish(now, id, by, reason);
    }

    #[expect(clippy::too_many_arguments, reason = "all of them name one BYE")]
    pub(super) fn send_bye(
        &mut self,
        now: Instant,
        dialog: &Dialog,
        flow: super::Flow,
        sequence: u32,
        credentials: Option<Credentials>,
        by: EndedBy,
        reason: &str,
    ) {
        let cause = match by {
            EndedBy::Timeout => 408,
            EndedBy::Failed { status } => status,
            EndedBy::Remote | EndedBy::Local => 200,
        };
        let text: String = reason
            .chars()
            .filter(|c| !c.is_control() && !matches!(c, '"' | '\\'))
            .collect();
        let via = self.via(&flow);
        let bye = dialog
            .request(Method::Bye, sequence, via)
            .and_then(|bye| bye.header(HeaderName::UserAgent, self.config.software.clone()))
            .and_then(|bye| {
                bye.header(
                    HeaderName::Reason,
                    format!("SIP;cause={cause};text=\"{text}\""),
                )
            });
        if let Ok(bye) = bye {
            let credentials = credentials.map(Box::new);
            self.send_request(now, flow, bye.build(), Purpose::Bye { credentials });
        }
    }

    pub(super) fn set_timer(&mut self, id: CallId, timer: CallTimer, at: Instant) {
        self.timers.set(Alarm::Call(id, timer), at);
    }

    pub(super) fn clear_timer(&mut self, id: CallId, timer: CallTimer) {
        self.timers.clear(&Alarm::Call(id, timer));
    }

    pub(super) fn next_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    fn remove(&mut self, id: CallId) -> Option<Box<Call>> {
        for timer in CALL_TIMERS {
            self.clear_timer(id, timer);
        }
        let call = self.calls.remove(&id)?;
        self.dialogs.remove(call.dialog.key());
        Some(call)
    }
}
