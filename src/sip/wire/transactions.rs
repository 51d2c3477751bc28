//! The transaction machines, ours and the peers' kept apart.
//!
//! A request of ours that comes back to us has the same key on both sides; the crate's layer looks
//! a timer up by key alone and would give the one's to the other. Two layers cannot mix them up.

use std::time::Duration;

use super::{Action, Message, Reliability, Request, Response, Timer};
use sipx_sip::transaction::{Dispatch, Timers, TransactionKey as Inner, TransactionLayer};

/// Names one transaction of this agent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::sip) struct TransactionKey {
    ours: bool,
    inner: Inner,
}

impl TransactionKey {
    /// The transaction a received request belongs to; `None` without a usable `Via`.
    pub(in crate::sip) fn of_received(request: &Request) -> Option<Self> {
        let inner = Inner::from_request(request)?;
        Some(Self { ours: false, inner })
    }

    /// The INVITE a received CANCEL names.
    pub(in crate::sip) fn of_cancelled(cancel: &Request) -> Option<Self> {
        let inner = Inner::for_cancelled_invite(cancel)?;
        Some(Self { ours: false, inner })
    }

    /// The transaction a request of ours begins.
    pub(in crate::sip) fn of_sent(request: &Request) -> Option<Self> {
        let inner = Inner::from_sent_request(request)?;
        Some(Self { ours: true, inner })
    }
}

/// What became of a received message.
#[derive(Debug)]
pub(in crate::sip) enum Taken {
    /// A transaction that was there took it, and wants this.
    Known(TransactionKey, Vec<Action>),
    /// It began a transaction, which wants this.
    New(TransactionKey, Vec<Action>),
    /// It belongs to none: a late response, or an ACK for a 2xx.
    Stray(Box<Message>),
}

/// All transactions of an agent.
#[derive(Debug)]
pub(in crate::sip) struct Transactions {
    ours: TransactionLayer,
    theirs: TransactionLayer,
}

impl Transactions {
    /// None yet. `t1` is the estimate of a round trip (RFC 3261 section 17.1.1.1).
    pub(in crate::sip) fn new(t1: Duration) -> Self {
        let timers = Timers {
            t1,
            ..Timers::default()
        };
        Self {
            ours: TransactionLayer::new(timers),
            theirs: TransactionLayer::new(timers),
        }
    }

    /// How many are open.
    pub(in crate::sip) fn len(&self) -> usize {
        self.ours.len().0 + self.theirs.len().1
    }

    pub(in crate::sip) fn receive(&mut self, message: Message, reliability: Reliability) -> Taken {
        let ours = matches!(message, Message::Response(_));
        let layer = if ours {
            &mut self.ours
        } else {
            &mut self.theirs
        };
        match layer.receive(message, reliability) {
            Dispatch::Matched { key, outputs } => {
                Taken::Known(TransactionKey { ours, inner: key }, outputs)
            }
            Dispatch::Created { key, outputs } => {
                Taken::New(TransactionKey { ours, inner: key }, outputs)
            }
            Dispatch::Unmatched(message) => Taken::Stray(message),
        }
    }

    pub(in crate::sip) fn send_request(
        &mut self,
        request: Request,
        reliability: Reliability,
    ) -> Option<(TransactionKey, Vec<Action>)> {
        let (inner, actions) = self.ours.send_request(request, reliability)?;
        Some((TransactionKey { ours: true, inner }, actions))
    }

    pub(in crate::sip) fn send_response(
        &mut self,
        key: &TransactionKey,
        response: Response,
    ) -> Vec<Action> {
        self.theirs.send_response(&key.inner, response)
    }

    /// Ends a transaction of a peer without an answer.
    pub(in crate::sip) fn abandon(&mut self, key: &TransactionKey) {
        self.theirs.abandon(&key.inner);
    }

    pub(in crate::sip) fn on_timer(&mut self, key: &TransactionKey, timer: Timer) -> Vec<Action> {
        self.layer(key).on_timer(&key.inner, timer)
    }

    pub(in crate::sip) fn on_transport_error(&mut self, key: &TransactionKey) -> Vec<Action> {
        self.layer(key).on_transport_error(&key.inner)
    }

    /// The request of a transaction that is open, with what was noted in its `Via`.
    pub(in crate::sip) fn request(&self, key: &TransactionKey) -> Option<&Request> {
        if key.ours {
            self.ours.client_request(&key.inner)
        } else {
            self.theirs.server_request(&key.inner)
        }
    }

    fn layer(&mut self, key: &TransactionKey) -> &mut TransactionLayer {
        if key.ours {
            &mut self.ours
        } else {
            &mut self.theirs
        }
    }
}
