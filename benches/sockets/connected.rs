//! A socket a leg, each connected to its phone: the kernel looks up neither route nor source, and the calls carry no address.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use unisono_rtp::net::MediaSocket;

use super::DATAGRAM;
use super::bare::{FLAGS, LONGEST, NOWHERE, kernel_address};

pub(super) struct Connected<'a> {
    own: &'a [MediaSocket],
    buffer: Vec<u8>,
    packet: [u8; DATAGRAM],
}

impl<'a> Connected<'a> {
    pub(super) fn new(own: &'a [MediaSocket], peers: &[SocketAddr]) -> Self {
        for (socket, peer) in own.iter().zip(peers) {
            connect(socket, &kernel_address(peer)).expect("a phone on loopback can be reached");
        }
        Self {
            own,
            buffer: vec![0; LONGEST],
            packet: [0x55; DATAGRAM],
        }
    }

    pub(super) fn receive(&mut self) -> u64 {
        let mut received = 0;
        for socket in self.own {
            // SAFETY: the buffer is alive and of the length given.
            let length = unsafe {
                libc::recv(
                    socket.as_fd().as_raw_fd(),
                    self.buffer.as_mut_ptr().cast(),
                    LONGEST,
                    libc::MSG_DONTWAIT,
                )
            };
            received += u64::from(length > 0);
        }
        received
    }

    pub(super) fn send(&self) {
        for socket in self.own {
            // SAFETY: the packet is alive and of the length given.
            unsafe {
                libc::send(
                    socket.as_fd().as_raw_fd(),
                    self.packet.as_ptr().cast(),
                    DATAGRAM,
                    FLAGS,
                )
            };
        }
    }
}

/// The next way finds the sockets as they were.
impl Drop for Connected<'_> {
    fn drop(&mut self) {
        for socket in self.own {
            connect(socket, &NOWHERE).expect("a socket can be disconnected");
            bind_again(socket);
        }
    }
}

/// To nowhere means to be connected no longer.
fn connect(socket: &MediaSocket, peer: &libc::sockaddr_in) -> io::Result<()> {
    // SAFETY: the address is alive and of the length given.
    let done = unsafe {
        libc::connect(
            socket.as_fd().as_raw_fd(),
            ptr::from_ref(peer).cast(),
            mem::size_of_val(peer) as libc::socklen_t,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A port that the kernel chose is lost when a socket is disconnected; one that was asked for, as after the first time, is not.
fn bind_again(socket: &MediaSocket) {
    let address = kernel_address(&socket.local_addr());
    // SAFETY: the address is alive and of the length given.
    let done = unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            ptr::from_ref(&address).cast(),
            mem::size_of_val(&address) as libc::socklen_t,
        )
    };
    let error = io::Error::last_os_error();
    assert!(
        done == 0 || error.raw_os_error() == Some(libc::EINVAL),
        "port {} was taken by another program meanwhile; run it again ({error})",
        socket.local_addr().port()
    );
}
