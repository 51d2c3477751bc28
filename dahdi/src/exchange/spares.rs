//! Memory that opening, closing and requests need, and what they leave behind.
//!
//! Whoever has an exchange behind a lock that a tick takes wants nobody to allocate or free while holding it: the allocator has locks of
//! its own, and a thread that is kept from running inside it would keep the tick waiting.

use super::channel::Channel;
use super::conferences::Conference;
use super::receive::Receive;
use super::transmit::Transmit;
use super::{ChannelNumber, Exchange};
use crate::request::{Gains, Request};

/// Memory for one call, made before it, and afterwards what the call has left behind, to be dropped in one's own time.
///
/// Calls work without what they need in here: then they allocate it themselves.
#[derive(Debug, Default)]
pub struct Spares {
    pub(super) channel: Option<Box<Channel>>,
    pub(super) buffers: Option<(Receive, Transmit)>,
    pub(super) conference: Option<Conference>,
    pub(super) gains: Option<Box<Gains>>,
    /// The conference that a channel has left as its last.
    pub(super) left: Option<Conference>,
}

/// What a request will need, see [`Exchange::needs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Samples of a block, and blocks.
    buffers: Option<(usize, usize)>,
    /// Room for so many members.
    conference: Option<usize>,
    gains: bool,
}

impl Spares {
    /// For [`Exchange::open_with`].
    pub fn for_open() -> Self {
        Self {
            channel: Some(Box::new(Channel::new(0, 0))),
            ..Self::default()
        }
    }

    /// For [`Exchange::request_with`].
    pub fn of(needs: Needs) -> Self {
        Self {
            channel: None,
            buffers: needs
                .buffers
                .map(|(block, buffers)| new_buffers(block, buffers)),
            conference: needs.conference.map(Conference::new),
            gains: needs.gains.then(|| Box::new(Gains::identity(0))),
            left: None,
        }
    }
}

impl Exchange {
    /// What a request of a channel will need at most, if nothing else is asked before it. Does not allocate.
    pub fn needs(&self, number: ChannelNumber, request: &Request) -> Needs {
        let Ok(channel) = self.channel(number) else {
            return Needs::default();
        };
        let buffers = channel.new_buffers(request).ok().flatten();
        let conference = match request {
            Request::SetConf(info) if info.conference != 0 && !self.is_in_use(info.conference) => {
                Some(self.slots.len())
            }
            _ => None,
        };
        Needs {
            buffers,
            conference,
            gains: matches!(request, Request::GetGains { .. }),
        }
    }
}

pub(super) fn new_buffers(block: usize, buffers: usize) -> (Receive, Transmit) {
    (
        Receive::new(block, buffers),
        Transmit::new(block, buffers, 0),
    )
}
