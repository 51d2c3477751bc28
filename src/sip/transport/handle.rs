//! How the rest of the program talks to the agent's task.

use tokio::sync::{mpsc, oneshot};

use crate::sip::agent::{AgentError, CallId, Counters, InviteRequest, Transport};
use std::net::SocketAddr;
use std::sync::Arc;

/// Why a decision did not reach its call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SipError {
    /// The SIP task has ended; nothing can be done with its calls any more.
    #[error("SIP has stopped")]
    Stopped,
    /// The agent refused.
    #[error(transparent)]
    Refused(#[from] AgentError),
}

/// What the signalling counts, agent and transport.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SipStatus {
    /// What the agent counted.
    pub agent: Counters,
    /// TCP connections open now.
    pub connections_open: usize,
    /// TCP connections refused because there were too many.
    pub connections_refused: u64,
    /// TCP connections closed because the peer did not read.
    pub connections_overrun: u64,
    /// Datagrams the kernel did not take; SIP sends them again.
    pub datagrams_unsent: u64,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, AgentError>>;

#[derive(Debug)]
pub(super) enum Command {
    Ring(CallId, Reply<()>),
    Accept(CallId, Arc<str>, Reply<()>),
    Reject(CallId, u16, String, Vec<(String, String)>, Reply<()>),
    HangUp(CallId, String, Reply<()>),
    AcceptReoffer(CallId, Arc<str>, Reply<()>),
    RejectReoffer(CallId, u16, String, Reply<()>),
    Reinvite(CallId, Arc<str>, Reply<()>),
    Dtmf(CallId, char, u32, Reply<()>),
    Invite(Box<InviteRequest>, Reply<CallId>),
    Status(oneshot::Sender<SipStatus>),
}

/// Decides about calls. Clones are cheap and act on the same agent; when the last one is dropped,
/// SIP stops. The methods do what those of [`Agent`](crate::sip::Agent) with the same names do.
#[derive(Debug, Clone)]
pub struct SipHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) bound: Arc<[(Transport, SocketAddr)]>,
}

impl SipHandle {
    /// The addresses listened on, with their real ports.
    #[must_use]
    pub fn bound(&self) -> &[(Transport, SocketAddr)] {
        &self.bound
    }

    /// The first address listened on by a transport.
    #[must_use]
    pub fn bound_to(&self, transport: Transport) -> Option<SocketAddr> {
        self.bound
            .iter()
            .find(|(bound, _)| *bound == transport)
            .map(|(_, address)| *address)
    }

    /// Sends 180 Ringing.
    ///
    /// # Errors
    ///
    /// As [`Agent::ring`](crate::sip::Agent::ring), or SIP has stopped.
    pub async fn ring(&self, call: CallId) -> Result<(), SipError> {
        self.ask(|reply| Command::Ring(call, reply)).await
    }

    /// Answers an incoming call.
    ///
    /// # Errors
    ///
    /// As [`Agent::accept`](crate::sip::Agent::accept), or SIP has stopped.
    pub async fn accept(&self, call: CallId, sdp: impl Into<Arc<str>>) -> Result<(), SipError> {
        let sdp = sdp.into();
        self.ask(|reply| Command::Accept(call, sdp, reply)).await
    }

    /// Refuses an incoming call.
    ///
    /// # Errors
    ///
    /// As [`Agent::reject`](crate::sip::Agent::reject), or SIP has stopped.
    pub async fn reject(
        &self,
        call: CallId,
        status: u16,
        reason: impl Into<String>,
        headers: Vec<(String, String)>,
    ) -> Result<(), SipError> {
        let reason = reason.into();
        self.ask(|reply| Command::Reject(call, status, reason, headers, reply))
            .await
    }

    /// Ends a call.
    ///
    /// # Errors
    ///
    /// As [`Agent::hang_up`](crate::sip::Agent::hang_up), or SIP has stopped.
    pub async fn hang_up(&self, call: CallId, reason: impl Into<String>) -> Result<(), SipError> {
        let reason = reason.into();
        self.ask(|reply| Command::HangUp(call, reason, reply)).await
    }

    /// Answers a re-offer.
    ///
    /// # Errors
    ///
    /// As [`Agent::accept_reoffer`](crate::sip::Agent::accept_reoffer), or SIP has stopped.
    pub async fn accept_reoffer(
        &self,
        call: CallId,
        sdp: impl Into<Arc<str>>,
    ) -> Result<(), SipError> {
        let sdp = sdp.into();
        self.ask(|reply| Command::AcceptReoffer(call, sdp, reply))
            .await
    }

    /// Refuses a re-offer.
    ///
    /// # Errors
    ///
    /// As [`Agent::reject_reoffer`](crate::sip::Agent::reject_reoffer), or SIP has stopped.
    pub async fn reject_reoffer(
        &self,
        call: CallId,
        status: u16,
        reason: impl Into<String>,
    ) -> Result<(), SipError> {
        let reason = reason.into();
        self.ask(|reply| Command::RejectReoffer(call, status, reason, reply))
            .await
    }

    /// Offers a changed session.
    ///
    /// # Errors
    ///
    /// As [`Agent::reinvite`](crate::sip::Agent::reinvite), or SIP has stopped.
    pub async fn reinvite(&self, call: CallId, sdp: impl Into<Arc<str>>) -> Result<(), SipError> {
        let sdp = sdp.into();
        self.ask(|reply| Command::Reinvite(call, sdp, reply)).await
    }

    /// Sends a key press by INFO.
    ///
    /// # Errors
    ///
    /// As [`Agent::send_info_dtmf`](crate::sip::Agent::send_info_dtmf), or SIP has stopped.
    pub async fn send_info_dtmf(
        &self,
        call: CallId,
        digit: char,
        duration_ms: u32,
    ) -> Result<(), SipError> {
        self.ask(|reply| Command::Dtmf(call, digit, duration_ms, reply))
            .await
    }

    /// Makes a call.
    ///
    /// # Errors
    ///
    /// As [`Agent::invite`](crate::sip::Agent::invite), or SIP has stopped.
    pub async fn invite(&self, request: InviteRequest) -> Result<CallId, SipError> {
        self.ask(|reply| Command::Invite(Box::new(request), reply))
            .await
    }

    /// A snapshot of the counters.
    ///
    /// # Errors
    ///
    /// SIP has stopped.
    pub async fn status(&self) -> Result<SipStatus, SipError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Status(reply))
            .await
            .map_err(|_| SipError::Stopped)?;
        answer.await.map_err(|_| SipError::Stopped)
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, SipError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| SipError::Stopped)?;
        Ok(answer.await.map_err(|_| SipError::Stopped)??)
    }
}
