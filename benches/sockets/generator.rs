//! The other side: a phone's socket for each leg.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use super::DATAGRAM;

pub(super) struct Generator {
    phones: Vec<UdpSocket>,
    datagram: [u8; DATAGRAM],
}

impl Generator {
    pub(super) fn bind(legs: usize) -> Self {
        let phone = |_| {
            let socket =
                UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports left");
            socket
                .set_nonblocking(true)
                .expect("a socket can be non-blocking");
            socket
        };
        let mut datagram = [0xff; DATAGRAM];
        // Version 2, payload type 0: what a leg's sockets see.
        datagram[..2].copy_from_slice(&[0x80, 0]);
        Self {
            phones: (0..legs).map(phone).collect(),
            datagram,
        }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let address = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
        self.phones.iter().map(address).collect()
    }

    /// One datagram to each target.
    pub(super) fn send(&self, targets: &[SocketAddr]) {
        for (phone, target) in self.phones.iter().zip(targets) {
            // One that is lost is missed by the server, which says how many came.
            let _ = phone.send_to(&self.datagram, target);
        }
    }

    /// Takes what has come, and says how many datagrams that was.
    pub(super) fn drain(&self) -> u64 {
        let mut datagram = [0; 2048];
        let mut count = 0;
        for phone in &self.phones {
            while phone.recv(&mut datagram).is_ok() {
                count += 1;
            }
        }
        count
    }
}
