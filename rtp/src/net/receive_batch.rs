//! Many datagrams to one socket with one system call.

use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

use super::address;
use super::socket::{
    ClockOffset, Control, ControlSpace, Failure, MAX_DATAGRAM, MediaSocket, RETRIES, Received,
    RecvCounters,
};

/// Datagrams taken with one system call.
pub const RECV_BATCH: usize = 64;

/// Distance of two datagrams. Not a power of two, or the beginnings of all of them would compete for the same few lines
/// of the first-level cache.
const STRIDE: usize = MAX_DATAGRAM + 64;

/// Takes datagrams from a socket that many peers send to, with `recvmmsg`.
pub struct RecvBatch {
    bytes: Box<[u8]>,
    sources: Box<[libc::sockaddr_storage]>,
    controls: Box<[ControlSpace]>,
    vectors: Box<[libc::iovec]>,
    /// Of the pointers in here only those that `fill` has just written are used, by the kernel.
    messages: Box<[libc::mmsghdr]>,
    count: usize,
    offset: ClockOffset,
    counters: RecvCounters,
}

// SAFETY: the raw pointers in the arrays are never read before `fill` or `get` has set them anew.
unsafe impl Send for RecvBatch {}

impl RecvBatch {
    /// An empty batch. Allocates some 160 KiB, of which only what is used is touched again.
    pub fn new() -> Self {
        let vector = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: mmsghdr is a plain structure of integers and pointers; zero is "nothing" in all of them.
        let message: libc::mmsghdr = unsafe { mem::zeroed() };
        Self {
            bytes: vec![0; RECV_BATCH * STRIDE].into_boxed_slice(),
            sources: vec![address::empty(); RECV_BATCH].into_boxed_slice(),
            controls: vec![ControlSpace([0; 128]); RECV_BATCH].into_boxed_slice(),
            vectors: vec![vector; RECV_BATCH].into_boxed_slice(),
            messages: vec![message; RECV_BATCH].into_boxed_slice(),
            count: 0,
            offset: ClockOffset::measure(),
            counters: RecvCounters::default(),
        }
    }

    /// Takes the next datagrams, in place of those before, and returns how many: [`RECV_BATCH`] if there may be more.
    /// `offset` comes from [`ClockOffset::measure`], once a tick. An error means that this socket is of no more use.
    pub fn fill(&mut self, socket: &MediaSocket, offset: ClockOffset) -> io::Result<usize> {
        self.count = 0;
        self.offset = offset;
        for _ in 0..RETRIES {
            self.prepare();
            // SAFETY: each header points to an address, a vector, control space and a datagram's space of its own, in boxes
            // of this structure, which is borrowed exclusively; the count is that of the headers.
            let received = unsafe {
                libc::recvmmsg(
                    socket.as_fd().as_raw_fd(),
                    self.messages.as_mut_ptr(),
                    RECV_BATCH as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(received) {
                self.count = count.min(RECV_BATCH);
                let cut = |message: &&libc::mmsghdr| is_cut(message);
                let oversized = self.messages[..self.count].iter().filter(cut).count();
                self.counters.oversized = self.counters.oversized.wrapping_add(oversized as u64);
                return Ok(self.count);
            }
            if self.counters.judge(io::Error::last_os_error())? == Failure::Nothing {
                break;
            }
        }
        Ok(0)
    }

    /// Where a datagram of the batch came from; `None` as for [`get`](Self::get).
    pub fn source(&self, index: usize) -> Option<SocketAddr> {
        if index >= self.count || is_cut(&self.messages[index]) {
            return None;
        }
        address::from_kernel(&self.sources[index])
    }

    /// A datagram of the batch; `None` beyond its end, and for one that is of no use: longer than [`MAX_DATAGRAM`], which is
    /// counted, or from no Internet address.
    pub fn get(&self, index: usize) -> Option<(Received, &[u8])> {
        let source = self.source(index)?;
        let message = &self.messages[index];
        let mut header = message.msg_hdr;
        let len = (message.msg_len as usize).min(MAX_DATAGRAM);
        // It is only read.
        header.msg_control = self.controls[index].0.as_ptr().cast_mut().cast();
        let control = Control::read(&header);
        let received = Received {
            len,
            source,
            arrival_ns: self.offset.monotonic_ns(control.realtime_ns),
            dropped: control.dropped,
        };
        let start = index * STRIDE;
        Some((received, &self.bytes[start..start + len]))
    }

    /// What was passed over.
    pub fn counters(&self) -> RecvCounters {
        self.counters
    }

    /// Points all headers to their places; the kernel has shortened the lengths of those it used.
    fn prepare(&mut self) {
        let bytes = self.bytes.as_mut_ptr();
        let sources = self.sources.as_mut_ptr();
        let controls = self.controls.as_mut_ptr();
        for (n, vector) in self.vectors.iter_mut().enumerate() {
            *vector = libc::iovec {
                iov_base: bytes.wrapping_add(n * STRIDE).cast(),
                iov_len: MAX_DATAGRAM,
            };
        }
        let vectors = self.vectors.as_mut_ptr();
        for (n, message) in self.messages.iter_mut().enumerate() {
            let header = &mut message.msg_hdr;
            header.msg_name = sources.wrapping_add(n).cast();
            header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_iov = vectors.wrapping_add(n);
            header.msg_iovlen = 1;
            header.msg_control = controls.wrapping_add(n).cast();
            header.msg_controllen = mem::size_of::<ControlSpace>() as _;
            header.msg_flags = 0;
        }
    }
}

/// Whether a datagram was longer than there was room for.
fn is_cut(message: &libc::mmsghdr) -> bool {
    message.msg_hdr.msg_flags & libc::MSG_TRUNC != 0
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RecvBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvBatch")
            .field("datagrams", &self.count)
            .finish_non_exhaustive()
    }
}
