//! A worker's shared port: one pair of sockets for all legs whose peers' addresses are known.
//!
//! Datagrams come and go in batches, which costs the kernel less than a system call each. What is to be sent waits for
//! the end of the phase that made it, or for a full batch.

use std::net::SocketAddr;

use rtsan_standalone::scoped_disabler;
use unisono_rtp::net::{
    ClockOffset, MediaPorts, MediaSocket, Received, RecvBatch, SendBatch, SendCounters,
};

use super::sockets::Channel;
use super::sources::{Found, Sources};

/// The sockets and what is on its way through them.
#[derive(Debug)]
pub(crate) struct SharedPort {
    rtp: MediaSocket,
    /// Absent only if the ports were bound without.
    rtcp: Option<MediaSocket>,
    /// Who sends here.
    pub(crate) sources: Sources,
    outgoing: SendBatch,
    /// Datagrams that each socket has lost because its buffer was full.
    overflowed: [u32; 2],
}

impl SharedPort {
    /// For legs whose index is below `legs`.
    pub(crate) fn new(ports: MediaPorts, legs: usize) -> Self {
        Self {
            rtp: ports.rtp,
            rtcp: ports.rtcp,
            sources: Sources::new(legs, [rand::random(), rand::random()]),
            outgoing: SendBatch::new(),
            overflowed: [0; 2],
        }
    }

    /// Takes the next datagrams of a socket in, and returns how many.
    pub(crate) fn fill(
        &self,
        channel: Channel,
        batch: &mut RecvBatch,
        offset: ClockOffset,
    ) -> usize {
        let socket = match channel {
            Channel::Rtp => Some(&self.rtp),
            Channel::Rtcp => self.rtcp.as_ref(),
        };
        // A socket that is of no more use says so at every tick; its legs are silent, which the control plane sees.
        socket.map_or(0, |socket| batch.fill(socket, offset).unwrap_or(0))
    }

    /// Whose a datagram is.
    pub(crate) fn owner(&mut self, channel: Channel, received: &Received) -> Found {
        self.overflowed[usize::from(channel == Channel::Rtcp)] = received.dropped;
        self.sources.find(received.source, channel)
    }

    /// Datagrams lost because a socket's buffer was full.
    pub(crate) fn overflows(&self) -> u64 {
        self.overflowed.iter().map(|count| u64::from(*count)).sum()
    }

    /// Sends a datagram, now or with those that follow.
    pub(crate) fn send(
        &mut self,
        channel: Channel,
        destination: SocketAddr,
        datagram: &[u8],
        sent: &mut SendCounters,
    ) {
        match channel {
            Channel::Rtp => {
                if !self.outgoing.push(datagram, destination) {
                    self.flush(sent);
                    // There is room now, unless it is longer than any packet may be.
                    let _ = self.outgoing.push(datagram, destination);
                }
            }
            // Once in some seconds for each leg.
            Channel::Rtcp => {
                if let Some(socket) = &self.rtcp {
                    scoped_disabler! {
                        socket.send_to(datagram, destination, sent);
                    }
                }
            }
        }
    }

    /// Sends what waits.
    pub(crate) fn flush(&mut self, sent: &mut SendCounters) {
        if !self.outgoing.is_empty() {
            // A non-blocking send: the one system call that belongs to a tick.
            scoped_disabler! {
                self.outgoing.flush(&self.rtp, sent);
            }
        }
    }
}
