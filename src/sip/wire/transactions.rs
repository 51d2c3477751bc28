//! The transaction machines, ours and the peers' kept apart.
//!
//! A request of ours that comes back to us has the same key on both sides; the crate's layer looks
//! a timer up by key alone and would give the one's to the other. Two layers cannot mix them up.
//!
//! Most of a transaction's life is waiting, after its final response, for repetitions that may still come: 32 s over
//! UDP. The crate keeps the whole request and response for that; of a peer's request that was answered for good only
//! what can still be sent is kept here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Action, Message, Method, Reliability, Request, Response, Timer, encode};
use sipx_sip::transaction::{
    Dispatch, Reason, ServerState, Timers, TransactionKey as Inner, TransactionLayer,
};

/// Names one transaction of this agent. Cheap to clone, and small: every table has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::sip) struct TransactionKey(Arc<Named>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Named {
    ours: bool,
    name: Name,
}

/// The crate's key, in less than half of its memory.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Name {
    /// With a branch as RFC 3261 has them: branch, sent-by and method in one.
    Branch {
        text: Box<[u8]>,
        sent_by_at: u32,
        method_at: u32,
    },
    /// Of an older peer.
    Legacy(Box<Inner>),
}

impl TransactionKey {
    /// The transaction a received request belongs to; `None` without a usable `Via`.
    pub(in crate::sip) fn of_received(request: &Request) -> Option<Self> {
        Some(Self::new(false, Inner::from_request(request)?))
    }

    /// The INVITE a received CANCEL names.
    pub(in crate::sip) fn of_cancelled(cancel: &Request) -> Option<Self> {
        Some(Self::new(false, Inner::for_cancelled_invite(cancel)?))
    }

    /// The transaction a request of ours begins.
    pub(in crate::sip) fn of_sent(request: &Request) -> Option<Self> {
        Some(Self::new(true, Inner::from_sent_request(request)?))
    }

    fn new(ours: bool, inner: Inner) -> Self {
        let name = match inner {
            Inner::Rfc3261 {
                branch,
                sent_by,
                method,
            } => Name::Branch {
                // A message is much shorter than 4 GiB.
                sent_by_at: branch.len() as u32,
                method_at: (branch.len() + sent_by.len()) as u32,
                text: [branch, sent_by, method].concat().into(),
            },
            legacy => Name::Legacy(Box::new(legacy)),
        };
        Self(Arc::new(Named { ours, name }))
    }

    fn inner(&self) -> Inner {
        match &self.0.name {
            Name::Branch {
                text,
                sent_by_at,
                method_at,
            } => {
                let (text, method) = text.split_at(*method_at as usize);
                let (branch, sent_by) = text.split_at(*sent_by_at as usize);
                Inner::Rfc3261 {
                    branch: branch.to_vec(),
                    sent_by: sent_by.to_vec(),
                    method: method.to_vec(),
                }
            }
            Name::Legacy(inner) => Inner::clone(inner),
        }
    }
}

/// What became of a received message.
#[derive(Debug)]
pub(in crate::sip) enum Taken {
    /// A transaction that was there took it, and wants this.
    Known(TransactionKey, Vec<Action>),
    /// It repeats a request that has its final response, which is to be sent again.
    Again(TransactionKey, Vec<u8>),
    /// It began a transaction, which wants this.
    New(TransactionKey, Vec<Action>),
    /// It belongs to none: a late response, or an ACK for a 2xx.
    Stray(Box<Message>),
}

/// What is left of a peer's request that was answered for good.
#[derive(Debug)]
enum Answered {
    /// An INVITE, with a 2xx, which its user sends again until the ACK: repetitions are swallowed
    /// (RFC 6026 section 7.1).
    Accepted,
    /// Any other request, with this response, which is sent again for each repetition
    /// (RFC 3261 section 17.2.2).
    Completed(Box<[u8]>),
}

/// All transactions of an agent.
#[derive(Debug)]
pub(in crate::sip) struct Transactions {
    ours: TransactionLayer,
    theirs: TransactionLayer,
    /// Those of `theirs` that only wait, until the timer L or J their answer has set.
    answered: HashMap<TransactionKey, Answered>,
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
            answered: HashMap::new(),
        }
    }

    /// How many are open.
    pub(in crate::sip) fn len(&self) -> usize {
        self.ours.len().0 + self.theirs.len().1 + self.answered.len()
    }

    /// Whether a transaction is open.
    pub(in crate::sip) fn knows(&self, key: &TransactionKey) -> bool {
        self.answered.contains_key(key) || self.request(key).is_some()
    }

    /// Takes a message. `key` is that of a request.
    pub(in crate::sip) fn receive(
        &mut self,
        key: Option<TransactionKey>,
        message: Message,
        reliability: Reliability,
    ) -> Taken {
        if let Some(key) = &key
            && let Some(answered) = self.answered.get(key)
            && let Message::Request(request) = &message
        {
            let key = key.clone();
            return match answered {
                Answered::Completed(response) => Taken::Again(key, response.to_vec()),
                Answered::Accepted if request.method == Method::Ack => {
                    Taken::Stray(Box::new(message))
                }
                Answered::Accepted => Taken::Known(key, Vec::new()),
            };
        }
        let ours = matches!(message, Message::Response(_));
        let layer = if ours {
            &mut self.ours
        } else {
            &mut self.theirs
        };
        let key = |inner| key.unwrap_or_else(|| TransactionKey::new(ours, inner));
        match layer.receive(message, reliability) {
            Dispatch::Matched {
                key: inner,
                outputs,
            } => Taken::Known(key(inner), outputs),
            Dispatch::Created {
                key: inner,
                outputs,
            } => Taken::New(key(inner), outputs),
            Dispatch::Unmatched(message) => Taken::Stray(message),
        }
    }

    pub(in crate::sip) fn send_request(
        &mut self,
        request: Request,
        reliability: Reliability,
    ) -> Option<(TransactionKey, Vec<Action>)> {
        let (inner, actions) = self.ours.send_request(request, reliability)?;
        Some((TransactionKey::new(true, inner), actions))
    }

    /// Sends a response to a request of a peer. Nothing comes of a second final one.
    pub(in crate::sip) fn send_response(
        &mut self,
        key: &TransactionKey,
        response: Response,
    ) -> Vec<Action> {
        let inner = key.inner();
        let actions = self.theirs.send_response(&inner, response);
        let invite = |request: &Request| request.method == Method::Invite;
        let answered = match self.theirs.server_state(&inner) {
            Some(ServerState::Accepted) => Answered::Accepted,
            Some(ServerState::Completed)
                if !self.theirs.server_request(&inner).is_some_and(invite) =>
            {
                let sent = actions.iter().find_map(|action| match action {
                    Action::Send(message) => Some(encode(message)),
                    _ => None,
                });
                Answered::Completed(sent.unwrap_or_default().into())
            }
            _ => return actions,
        };
        self.theirs.abandon(&inner);
        self.answered.insert(key.clone(), answered);
        actions
    }

    /// Ends a transaction of a peer without an answer.
    pub(in crate::sip) fn abandon(&mut self, key: &TransactionKey) {
        self.theirs.abandon(&key.inner());
        self.answered.remove(key);
    }

    pub(in crate::sip) fn on_timer(&mut self, key: &TransactionKey, timer: Timer) -> Vec<Action> {
        if matches!(timer, Timer::L | Timer::J) && self.answered.remove(key).is_some() {
            return vec![Action::Terminated(Reason::Completed)];
        }
        self.layer(key).on_timer(&key.inner(), timer)
    }

    pub(in crate::sip) fn on_transport_error(&mut self, key: &TransactionKey) -> Vec<Action> {
        self.layer(key).on_transport_error(&key.inner())
    }

    /// The request of a transaction that is open, with what was noted in its `Via`; of a peer's only
    /// until it is answered for good.
    pub(in crate::sip) fn request(&self, key: &TransactionKey) -> Option<&Request> {
        if key.0.ours {
            self.ours.client_request(&key.inner())
        } else {
            self.theirs.server_request(&key.inner())
        }
    }

    fn layer(&mut self, key: &TransactionKey) -> &mut TransactionLayer {
        if key.0.ours {
            &mut self.ours
        } else {
            &mut self.theirs
        }
    }
}
