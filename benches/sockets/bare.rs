//! System calls, and as little else as can be.

use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::ptr;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use unisono_rtp::net::MediaSocket;

use super::DATAGRAM;

/// Datagrams in one call.
pub(super) const BATCH: usize = 64;
/// Datagrams of one leg in one call: its own of this interval, and some that were late.
const BATCH_OF_ONE_LEG: usize = 4;
pub(super) const LONGEST: usize = 2048;
pub(super) const FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

pub(super) struct Bare<'a> {
    own: &'a [MediaSocket],
    shared: &'a MediaSocket,
    peers: Vec<libc::sockaddr_in>,
    epoll: Option<Epoll>,
    events: Vec<EpollEvent>,
    /// `BATCH` datagrams.
    buffer: Vec<u8>,
    packet: [u8; DATAGRAM],
}

impl<'a> Bare<'a> {
    pub(super) fn new(
        own: &'a [MediaSocket],
        shared: &'a MediaSocket,
        peers: &[SocketAddr],
        by_epoll: bool,
    ) -> Self {
        let epoll = by_epoll.then(|| {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll exists");
            for socket in own {
                let token = socket.as_fd().as_raw_fd() as u64;
                epoll
                    .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))
                    .expect("a socket can be watched");
            }
            epoll
        });
        Self {
            own,
            shared,
            peers: peers.iter().map(kernel_address).collect(),
            epoll,
            events: vec![EpollEvent::empty(); 256],
            buffer: vec![0; BATCH * LONGEST],
            packet: [0x55; DATAGRAM],
        }
    }

    /// Empties all sockets.
    pub(super) fn drain(&mut self) {
        for socket in self.own.iter().chain([self.shared]) {
            while self.receive(socket.as_fd().as_raw_fd()) {}
        }
    }

    pub(super) fn receive_own(&mut self) -> u64 {
        let own = self.own;
        let mut received = 0;
        for socket in own {
            received += u64::from(self.receive(socket.as_fd().as_raw_fd()));
        }
        received
    }

    /// Asks until there is nothing more.
    pub(super) fn receive_own_by_epoll(&mut self) -> u64 {
        let mut received = 0;
        loop {
            let Some(epoll) = &self.epoll else {
                return received;
            };
            let ready = epoll
                .wait(&mut self.events, EpollTimeout::ZERO)
                .unwrap_or(0);
            if ready == 0 {
                return received;
            }
            for n in 0..ready {
                let socket = self.events[n].data() as RawFd;
                received += u64::from(self.receive(socket));
            }
        }
    }

    pub(super) fn receive_own_batched(&mut self) -> u64 {
        let own = self.own;
        let mut received = 0;
        for socket in own {
            received += self.receive_batch::<BATCH_OF_ONE_LEG>(socket);
        }
        received
    }

    pub(super) fn receive_shared(&mut self) -> u64 {
        let shared = self.shared;
        let mut received = 0;
        loop {
            let count = self.receive_batch::<BATCH>(shared);
            received += count;
            if count < BATCH as u64 {
                return received;
            }
        }
    }

    pub(super) fn send_own(&mut self) {
        for (socket, peer) in self.own.iter().zip(&self.peers) {
            // SAFETY: packet and address are alive and of the lengths given.
            unsafe {
                libc::sendto(
                    socket.as_fd().as_raw_fd(),
                    self.packet.as_ptr().cast(),
                    DATAGRAM,
                    FLAGS,
                    ptr::from_ref(peer).cast(),
                    mem::size_of_val(peer) as libc::socklen_t,
                )
            };
        }
    }

    pub(super) fn send_own_batched(&mut self) {
        let Self {
            own, peers, packet, ..
        } = self;
        for (socket, peer) in own.iter().zip(peers.chunks_mut(1)) {
            send_batch::<1>(socket, peer, packet);
        }
    }

    pub(super) fn send_shared(&mut self) {
        let Self {
            shared,
            peers,
            packet,
            ..
        } = self;
        for peers in peers.chunks_mut(BATCH) {
            send_batch::<BATCH>(shared, peers, packet);
        }
    }

    /// Up to `N` datagrams in one call.
    fn receive_batch<const N: usize>(&mut self, socket: &MediaSocket) -> u64 {
        let mut sources = [NOWHERE; N];
        let mut vectors: [libc::iovec; N] = std::array::from_fn(|n| libc::iovec {
            iov_base: self.buffer[n * LONGEST..].as_mut_ptr().cast(),
            iov_len: LONGEST,
        });
        let mut messages: [libc::mmsghdr; N] =
            std::array::from_fn(|n| message(&mut sources[n], &mut vectors[n]));
        // SAFETY: every header points to an address, a vector and a buffer of its own, all alive; the count is the array's.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_fd().as_raw_fd(),
                messages.as_mut_ptr(),
                N as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        u64::try_from(count).unwrap_or(0)
    }

    fn receive(&mut self, socket: RawFd) -> bool {
        let mut source = NOWHERE;
        let mut length = mem::size_of_val(&source) as libc::socklen_t;
        // SAFETY: buffer and address are alive and of the lengths given.
        let received = unsafe {
            libc::recvfrom(
                socket,
                self.buffer.as_mut_ptr().cast(),
                LONGEST,
                libc::MSG_DONTWAIT,
                ptr::from_mut(&mut source).cast(),
                &raw mut length,
            )
        };
        received > 0
    }
}

/// The packet to each of the peers, of whom there are at most `N`, in one call.
fn send_batch<const N: usize>(
    socket: &MediaSocket,
    peers: &mut [libc::sockaddr_in],
    packet: &mut [u8; DATAGRAM],
) {
    let mut vectors: [libc::iovec; N] = std::array::from_fn(|_| libc::iovec {
        iov_base: packet.as_mut_ptr().cast(),
        iov_len: DATAGRAM,
    });
    let count = peers.len().min(N);
    let mut spare = NOWHERE;
    let mut messages: [libc::mmsghdr; N] =
        std::array::from_fn(|n| message(peers.get_mut(n).unwrap_or(&mut spare), &mut vectors[n]));
    // SAFETY: the first `count` headers point to addresses of the slice, to vectors and to the packet, all alive.
    unsafe {
        libc::sendmmsg(
            socket.as_fd().as_raw_fd(),
            messages.as_mut_ptr(),
            count as libc::c_uint,
            FLAGS,
        )
    };
}

pub(super) const NOWHERE: libc::sockaddr_in = libc::sockaddr_in {
    sin_family: 0,
    sin_port: 0,
    sin_addr: libc::in_addr { s_addr: 0 },
    sin_zero: [0; 8],
};

pub(super) fn message(address: &mut libc::sockaddr_in, vector: &mut libc::iovec) -> libc::mmsghdr {
    // SAFETY: mmsghdr is integers and pointers; zero is "nothing" in all of them.
    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
    message.msg_hdr.msg_name = ptr::from_mut(address).cast();
    message.msg_hdr.msg_namelen = mem::size_of_val(address) as libc::socklen_t;
    message.msg_hdr.msg_iov = vector;
    message.msg_hdr.msg_iovlen = 1;
    message
}

pub(super) fn kernel_address(address: &SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(address) = address else {
        panic!("the generator is on 127.0.0.1");
    };
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.ip().octets()),
        },
        sin_zero: [0; 8],
    }
}
