//! The server's own code for the same.

use std::net::SocketAddr;

use unisono_rtp::net::{
    ClockOffset, MediaSocket, Poller, RECV_BATCH, RecvBatch, RecvBuf, SendBatch, SendCounters,
};

use super::DATAGRAM;

pub(super) struct Ours<'a> {
    own: &'a [MediaSocket],
    shared: &'a MediaSocket,
    peers: &'a [SocketAddr],
    poller: Poller,
    tokens: Vec<u64>,
    received: RecvBuf,
    batch: RecvBatch,
    out: SendBatch,
    counters: SendCounters,
    packet: [u8; DATAGRAM],
}

impl<'a> Ours<'a> {
    pub(super) fn new(
        own: &'a [MediaSocket],
        shared: &'a MediaSocket,
        peers: &'a [SocketAddr],
        by_epoll: bool,
    ) -> Self {
        let poller = Poller::new(256).expect("epoll exists");
        for (token, socket) in own.iter().enumerate().filter(|_| by_epoll) {
            poller
                .register(socket, token as u64)
                .expect("a socket can be watched");
        }
        Self {
            own,
            shared,
            peers,
            poller,
            tokens: vec![0; 256],
            received: RecvBuf::new(),
            batch: RecvBatch::new(),
            out: SendBatch::new(),
            counters: SendCounters::default(),
            packet: [0x55; DATAGRAM],
        }
    }

    pub(super) fn receive_own(&mut self) -> u64 {
        let offset = ClockOffset::measure();
        let mut count = 0;
        while let Ok(ready @ 1..) = self.poller.ready(&mut self.tokens) {
            for token in &self.tokens[..ready] {
                let socket = &self.own[*token as usize];
                count += u64::from(matches!(
                    socket.recv(&mut self.received, offset),
                    Ok(Some(_))
                ));
            }
        }
        count
    }

    /// Reads each socket once, whether or not it has something.
    pub(super) fn receive_own_blindly(&mut self) -> u64 {
        let offset = ClockOffset::measure();
        let mut count = 0;
        for socket in self.own {
            count += u64::from(matches!(
                socket.recv(&mut self.received, offset),
                Ok(Some(_))
            ));
        }
        count
    }

    pub(super) fn receive_shared(&mut self) -> u64 {
        let offset = ClockOffset::measure();
        let mut count = 0;
        while let Ok(taken @ 1..) = self.batch.fill(self.shared, offset) {
            for index in 0..taken {
                count += u64::from(self.batch.get(index).is_some());
            }
            if taken < RECV_BATCH {
                break;
            }
        }
        count
    }

    pub(super) fn send_own(&mut self) {
        for (socket, peer) in self.own.iter().zip(self.peers) {
            socket.send_to(&self.packet, *peer, &mut self.counters);
        }
    }

    pub(super) fn send_shared(&mut self) {
        for peer in self.peers {
            if !self.out.push(&self.packet, *peer) {
                self.out.flush(self.shared, &mut self.counters);
                let _ = self.out.push(&self.packet, *peer);
            }
        }
        self.out.flush(self.shared, &mut self.counters);
    }
}
