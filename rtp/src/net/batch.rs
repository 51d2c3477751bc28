//! Many datagrams from one socket with one system call.

use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::address;
use super::socket::{MediaSocket, SendCounters};

/// Datagrams in a batch.
pub const BATCH: usize = 256;

/// Bytes in a batch: 256 of the longest packets of this crate.
const BYTES: usize = BATCH * 1472;

/// Collects datagrams to many destinations and sends them with `sendmmsg`.
///
/// Packets are copied in: that is 20 ns beside the kernel's microsecond, and the sender's buffer is free at once.
pub struct SendBatch {
    bytes: Box<[u8]>,
    used: usize,
    /// Where each packet ends in `bytes`.
    ends: Box<[usize; BATCH]>,
    addresses: Box<[libc::sockaddr_storage]>,
    address_lengths: Box<[libc::socklen_t; BATCH]>,
    /// Scratch of `flush`: pointers are written and used within one call only.
    vectors: Box<[libc::iovec]>,
    messages: Box<[libc::mmsghdr]>,
    count: usize,
}

// SAFETY: the raw pointers in the scratch arrays are never read before `flush` has set them anew.
unsafe impl Send for SendBatch {}

impl SendBatch {
    /// An empty batch. Allocates some 470 KiB, of which only what is used is touched again.
    pub fn new() -> Self {
        let vector = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: mmsghdr is a plain structure of integers and pointers; zero is "nothing" in all of them.
        let message: libc::mmsghdr = unsafe { mem::zeroed() };
        Self {
            bytes: vec![0; BYTES].into_boxed_slice(),
            used: 0,
            ends: Box::new([0; BATCH]),
            addresses: vec![address::empty(); BATCH].into_boxed_slice(),
            address_lengths: Box::new([0; BATCH]),
            vectors: vec![vector; BATCH].into_boxed_slice(),
            messages: vec![message; BATCH].into_boxed_slice(),
            count: 0,
        }
    }

    /// Adds a packet; false if the batch has no room for it: [`flush`](Self::flush) and add it again. (A packet longer
    /// than [`super::MAX_DATAGRAM`] never has room.)
    #[must_use]
    pub fn push(&mut self, packet: &[u8], destination: SocketAddr) -> bool {
        let end = self.used + packet.len();
        if self.count == BATCH || end > BYTES || packet.len() > super::MAX_DATAGRAM {
            return false;
        }
        self.bytes[self.used..end].copy_from_slice(packet);
        self.address_lengths[self.count] =
            address::to_kernel(destination, &mut self.addresses[self.count]);
        self.ends[self.count] = end;
        self.used = end;
        self.count += 1;
        true
    }

    /// Sends all packets from `socket` and empties the batch. What the kernel refuses is counted and gone: a packet it
    /// will not have is passed over, and a full queue ends the batch.
    pub fn flush(&mut self, socket: &MediaSocket, counters: &mut SendCounters) {
        let count = mem::take(&mut self.count);
        self.used = 0;
        let bytes = self.bytes.as_mut_ptr();
        let mut start = 0;
        for (vector, end) in self.vectors.iter_mut().zip(&self.ends[..count]) {
            *vector = libc::iovec {
                iov_base: bytes.wrapping_add(start).cast(),
                iov_len: end - start,
            };
            start = *end;
        }
        let vectors = self.vectors.as_mut_ptr();
        let addresses = self.addresses.as_mut_ptr();
        for (n, message) in self.messages[..count].iter_mut().enumerate() {
            let header = &mut message.msg_hdr;
            header.msg_name = addresses.wrapping_add(n).cast();
            header.msg_namelen = self.address_lengths[n];
            header.msg_iov = vectors.wrapping_add(n);
            header.msg_iovlen = 1;
        }
        let mut next = 0;
        while next < count {
            let pending = &mut self.messages[next..count];
            // SAFETY: each header points to its own vector, address and packet in boxes of this structure, which is
            // borrowed exclusively until the call returns; the count is that of the slice.
            let sent = unsafe {
                libc::sendmmsg(
                    socket.as_fd().as_raw_fd(),
                    pending.as_mut_ptr(),
                    pending.len() as libc::c_uint,
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            if let Ok(sent @ 1..) = usize::try_from(sent) {
                counters.sent = counters.sent.wrapping_add(sent as u64);
                next += sent;
                continue;
            }
            match io::Error::last_os_error().raw_os_error().unwrap_or(0) {
                libc::EINTR => {}
                error @ (libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => {
                    counters.count(error, (count - next) as u64);
                    return;
                }
                // The error is that of the first packet not sent.
                error => {
                    counters.count(error, 1);
                    next += 1;
                }
            }
        }
    }

    /// Packets waiting to be sent.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether no packet is waiting.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SendBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendBatch")
            .field("packets", &self.count)
            .field("bytes", &self.used)
            .finish_non_exhaustive()
    }
}
