//! Calls: SIP on one socket for many calls at a time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

use crate::sip::sdp::{Agreed, LocalMedia, SdpError, agree, answer, offer};
use crate::sip::{
    AgentConfig, BindError, CallId, EndedBy, Event, Flow, InviteRequest, SipConfig, SipError,
    SipHandle, Transport, bind,
};

/// How long a server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long a server may take to acknowledge that we hang up.
const GOODBYE_LIMIT: Duration = Duration::from_secs(2);

/// Calls that one phone makes at a time: more than any machine has ports for, so that they are the limit, or the server is.
const MOST_CALLS: usize = 100_000;

/// Why there is no call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server said no.
    #[error("the server refused the call: {status} {reason}")]
    Refused {
        /// SIP status.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// The call ended before it was answered.
    #[error("the call ended before it was answered: {reason}")]
    Ended {
        /// Why.
        reason: String,
    },
    /// Nobody answered.
    #[error("no answer in {} s", ANSWER_LIMIT.as_secs())]
    NoAnswer,
    /// What the server answered cannot be used.
    #[error("the server's answer cannot be used: {0}")]
    Answer(#[from] SdpError),
    /// The server gives no address to send audio to.
    #[error("the server's answer has no address for audio")]
    NoAddress,
    /// Our own signalling cannot send it.
    #[error("cannot call: {0}")]
    Sip(#[from] SipError),
}

/// A call to make.
#[derive(Debug, Clone)]
pub struct CallRequest<'a> {
    /// The server, by UDP.
    pub server: SocketAddr,
    /// The number dialled.
    pub number: &'a str,
    /// Who calls: the user part of `From`, and the name displayed.
    pub caller: &'a str,
    /// What is offered.
    pub media: LocalMedia,
}

/// Makes calls over SIP by UDP. Clones share the socket.
#[derive(Debug, Clone)]
pub struct Phone {
    sip: SipHandle,
    local: SocketAddr,
    calls: Arc<Mutex<Calls>>,
}

/// A call that was answered. Dropping it does not hang up.
#[derive(Debug)]
pub struct Call {
    id: CallId,
    agreed: Agreed,
    remote: SocketAddr,
    events: UnboundedReceiver<Event>,
    phone: Phone,
}

type Calls = HashMap<CallId, Known>;

/// A call as the task that sorts events knows it.
#[derive(Debug)]
struct Known {
    events: UnboundedSender<Event>,
    /// Kept here until the maker of the call takes it: events may come first.
    receiver: Option<UnboundedReceiver<Event>>,
    media: Option<LocalMedia>,
}

impl Phone {
    /// Takes a SIP socket on `address` (port 0: any free one) and starts a task on the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let config = SipConfig {
            agent: AgentConfig {
                max_calls: MOST_CALLS,
                max_transactions: 4 * MOST_CALLS,
                ..AgentConfig::default()
            },
            tcp: Vec::new(),
            ..SipConfig::at(address)
        };
        let (sip, events) = bind(config)?;
        let local = sip.bound_to(Transport::Udp).unwrap_or(address);
        let calls = Arc::new(Mutex::new(Calls::new()));
        tokio::spawn(sort(events, sip.clone(), Arc::clone(&calls)));
        Ok(Self { sip, local, calls })
    }

    /// Calls, and waits until the call is answered: at most 10 s.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, request: CallRequest<'_>) -> Result<Call, CallError> {
        let invite = InviteRequest {
            target: format!("sip:{}@{}", request.number, request.server),
            flow: Flow::udp(self.local, request.server),
            user: request.caller.to_owned(),
            display: Some(request.caller.to_owned()),
            sdp: Some(offer(&request.media)),
            credentials: None,
            headers: Vec::new(),
        };
        let id = self.sip.invite(invite).await?;
        let mut events = self.know(id, request.media.clone());
        let answered = timeout(ANSWER_LIMIT, wait_for_answer(&mut events)).await;
        let answer = match answered {
            Ok(answer) => answer?,
            Err(_) => {
                // There is nobody to tell that this failed too.
                let _ = self.sip.hang_up(id, "no answer").await;
                return Err(CallError::NoAnswer);
            }
        };
        let agreed = agree(&request.media, &answer).map_err(CallError::from);
        let usable = agreed.and_then(|agreed| {
            let remote = agreed.remote_rtp.ok_or(CallError::NoAddress)?;
            Ok((agreed, remote))
        });
        let (agreed, remote) = match usable {
            Ok(usable) => usable,
            Err(error) => {
                let _ = self.sip.hang_up(id, "unusable answer").await;
                return Err(error);
            }
        };
        Ok(Call {
            id,
            agreed,
            remote,
            events,
            phone: self.clone(),
        })
    }

    /// The events of a call, those that have come already included.
    fn know(&self, id: CallId, media: LocalMedia) -> UnboundedReceiver<Event> {
        let mut calls = lock(&self.calls);
        let known = calls.entry(id).or_default();
        known.media = Some(media);
        let taken = known.receiver.take();
        taken.unwrap_or_else(|| mpsc::unbounded_channel().1)
    }
}

impl Call {
    /// What was agreed.
    pub fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// Where RTP is to be sent.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Why the call has ended, if it has.
    pub fn ended(&mut self) -> Option<String> {
        while let Ok(event) = self.events.try_recv() {
            if let Event::Ended { reason, .. } = event {
                return Some(reason);
            }
        }
        None
    }

    /// Hangs up, and waits for the server to agree, at most 2 s.
    pub async fn hang_up(mut self, reason: &'static str) {
        // A call that cannot be ended has ended.
        if self.phone.sip.hang_up(self.id, reason).await.is_ok() {
            let ended = async {
                while let Some(event) = self.events.recv().await {
                    if matches!(event, Event::Ended { .. }) {
                        break;
                    }
                }
            };
            let _ = timeout(GOODBYE_LIMIT, ended).await;
        }
        lock(&self.phone.calls).remove(&self.id);
    }
}

impl Default for Known {
    fn default() -> Self {
        let (events, receiver) = mpsc::unbounded_channel();
        Self {
            events,
            receiver: Some(receiver),
            media: None,
        }
    }
}

async fn wait_for_answer(events: &mut UnboundedReceiver<Event>) -> Result<String, CallError> {
    while let Some(event) = events.recv().await {
        match event {
            Event::Answered { answer, .. } => return Ok(answer),
            Event::Ended { by, reason, .. } => {
                return Err(match by {
                    EndedBy::Failed { status } => CallError::Refused { status, reason },
                    _ => CallError::Ended { reason },
                });
            }
            _ => {}
        }
    }
    Err(SipError::Stopped.into())
}

/// Hands each event to its call. Session refreshes are answered here, with what was offered at the start.
async fn sort(mut events: mpsc::Receiver<Event>, sip: SipHandle, calls: Arc<Mutex<Calls>>) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Incoming(incoming) => {
                let headers = Vec::new();
                // Whoever calls a caller by mistake and is gone already needs no answer.
                let _ = sip.reject(incoming.call, 486, "Busy Here", headers).await;
            }
            Event::ReOffer { call, offer } => refresh(call, offer, &sip, &calls).await,
            Event::Established { call, .. }
            | Event::Answered { call, .. }
            | Event::ReOfferRefused { call, .. }
            | Event::Progress { call, .. }
            | Event::Dtmf { call, .. }
            | Event::Ended { call, .. } => {
                // A call that nobody listens to any more was given up.
                let _ = lock(&calls).entry(call).or_default().events.send(event);
            }
        }
    }
}

async fn refresh(
    call: CallId,
    offered: Option<String>,
    sip: &SipHandle,
    calls: &Arc<Mutex<Calls>>,
) {
    let media = lock(calls).get(&call).and_then(|known| known.media.clone());
    let description = match (media, offered) {
        (Some(media), None) => Some(offer(&media)),
        (Some(media), Some(theirs)) => answer(&theirs, &media).ok().map(|(_, ours)| ours),
        (None, _) => None,
    };
    // If the call has ended meanwhile, its event says so.
    let _ = match description {
        Some(description) => sip.accept_reoffer(call, description).await,
        None => sip.reject_reoffer(call, 488, "Not Acceptable Here").await,
    };
}

fn lock(calls: &Mutex<Calls>) -> MutexGuard<'_, Calls> {
    // Nobody panics while holding it, and a map is whole at all times.
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}
