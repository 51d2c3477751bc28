//! Where the media plane's output goes: the legs' sockets, and the rings to the control plane.

use std::net::SocketAddr;
use std::sync::Arc;

use nix::sys::eventfd::EventFd;
use rtrb::{Producer, PushError};
use rtsan_standalone::scoped_disabler;
use unisono_rtp::net::{MediaSocket, SendCounters};

use super::event::{Event, Garbage};
use super::meter::{WorkerMeter, bump};
use super::shared::SharedPort;
use super::sockets::{Channel, LegSockets};
use super::{LegId, Outlet, Remote};

/// Where the media plane's output goes: sockets and rings.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) sockets: Box<[Option<LegSockets>]>,
    pub(super) shared: Option<SharedPort>,
    pub(super) events: Producer<Event>,
    pub(super) garbage: Producer<Garbage>,
    /// Garbage that found the ring full.
    pub(super) held: Vec<Garbage>,
    pub(super) notify: Arc<EventFd>,
    /// Something was put into a ring since the control plane was told.
    pub(super) has_news: bool,
    pub(super) sent: SendCounters,
    pub(super) meter: Arc<WorkerMeter>,
}

impl Outbox {
    pub(super) fn socket(&self, leg: u32, channel: Channel) -> Option<&MediaSocket> {
        self.sockets.get(leg as usize)?.as_ref()?.own(channel)
    }

    /// A leg's sockets are served from now on.
    pub(super) fn admit(&mut self, leg: u32, sockets: Option<LegSockets>) {
        if let (Some(LegSockets::Shared(remote)), Some(shared)) = (&sockets, &mut self.shared) {
            shared.sources.admit(leg, *remote);
        }
        self.sockets[leg as usize] = sockets;
    }

    /// The peer of a leg has another address now.
    pub(super) fn readdress(&mut self, leg: u32, remote: Remote) {
        if let (Some(Some(LegSockets::Shared(_))), Some(shared)) =
            (self.sockets.get(leg as usize), &mut self.shared)
        {
            shared.sources.admit(leg, remote);
        }
    }

    /// A leg's sockets are no longer served.
    pub(super) fn dismiss(&mut self, leg: u32) -> Option<LegSockets> {
        if let Some(shared) = &mut self.shared {
            shared.sources.dismiss(leg);
        }
        self.sockets[leg as usize].take()
    }

    /// Sends what waits on the shared port.
    pub(super) fn flush(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.flush(&mut self.sent);
        }
    }

    /// Puts held garbage into the ring as far as it goes, and wakes the control plane if there is anything new.
    pub(super) fn hand_over(&mut self) {
        while let Some(garbage) = self.held.pop() {
            if let Err(PushError::Full(garbage)) = self.garbage.push(garbage) {
                self.held.push(garbage);
                break;
            }
            self.has_news = true;
        }
        if std::mem::take(&mut self.has_news) {
            // The counter cannot overflow in practice, and when it is full the control plane knows already.
            let _ = self.notify.write(1);
        }
    }
}

impl Outlet for Outbox {
    fn send(&mut self, leg: LegId, channel: Channel, destination: SocketAddr, datagram: &[u8]) {
        let Self {
            sockets,
            shared,
            sent,
            ..
        } = self;
        match (sockets.get(leg.index as usize), shared) {
            (Some(Some(LegSockets::Shared(_))), Some(shared)) => {
                shared.send(channel, destination, datagram, sent);
            }
            (Some(Some(sockets)), _) => {
                if let Some(socket) = sockets.own(channel) {
                    // A non-blocking send: the one system call that belongs to a tick.
                    scoped_disabler! {
                        socket.send_to(datagram, destination, sent);
                    }
                }
            }
            _ => {}
        }
    }

    fn event(&mut self, event: Event) {
        if self.events.push(event).is_err() {
            bump(&self.meter.events_dropped, 1);
        }
        self.has_news = true;
    }

    fn discard(&mut self, garbage: Garbage) {
        self.has_news = true;
        if let Err(PushError::Full(garbage)) = self.garbage.push(garbage) {
            if self.held.len() < self.held.capacity() {
                self.held.push(garbage);
            } else {
                // Rather a leak than a free on this thread. It takes a control plane that has been stuck for minutes.
                std::mem::forget(garbage);
            }
        }
    }
}
