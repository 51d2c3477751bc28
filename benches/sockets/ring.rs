//! io_uring: requests in a ring that is shared with the kernel, many of them for one system call.
//!
//! Everything is done by the thread that is measured, within its own calls: completions wait for it (`DEFER_TASKRUN`), no kernel
//! thread polls the ring (no `SQPOLL`), and no request can be handed to the kernel's workers, as those that would have to wait
//! either fail at once or are polled. [`Ring::workers`] looks whether that is so.
//!
//! The queue has a place for every socket. Should the kernel leave requests in it all the same, others find it full and are lost, and
//! their datagrams are missed.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, CancelBuilder, Fixed, RecvMsgOut};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use unisono_rtp::net::MediaSocket;

use super::DATAGRAM;
use super::bare::{BATCH, FLAGS, LONGEST, NOWHERE, kernel_address, message};

/// Buffers of a ring that receives by itself. The kernel takes them in turn, so more of them would only be more memory to touch.
const BUFFERS: u16 = 256;
const GROUP: u16 = 0;
/// Marks what is not a receive.
const SENT: u64 = u64::MAX;

/// How datagrams are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    /// Once and for all: each that comes completes the request anew.
    Multishot,
    /// Each socket in each interval.
    Each,
}

pub(super) struct Ring<'a> {
    ring: IoUring,
    /// Registered under their positions.
    sockets: &'a [MediaSocket],
    peers: Vec<libc::sockaddr_in>,
    packet: Box<[u8; DATAGRAM]>,
    receiving: Receiving,
}

enum Receiving {
    Multishot(Provided),
    Each(Messages),
}

impl<'a> Ring<'a> {
    /// Sockets are one for each peer, or one for all of them. It has to be made by the thread that serves; an error is why there is none.
    pub(super) fn new(
        sockets: &'a [MediaSocket],
        peers: &[SocketAddr],
        asking: Asking,
    ) -> Result<Self, String> {
        let places = peers.len().next_power_of_two().clamp(BATCH, 32_768) as u32;
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(places)
            .map_err(|error| why_not(&error))?;
        let receiving = match asking {
            Asking::Multishot => Receiving::Multishot(Provided::register(&ring)?),
            Asking::Each => Receiving::Each(Messages::new()),
        };
        let mut made = Self {
            ring,
            sockets,
            peers: peers.iter().map(kernel_address).collect(),
            packet: Box::new([0x55; DATAGRAM]),
            receiving,
        };
        // Of a socket that does not block, a request would fail instead of waiting; all calls say themselves that they do not wait.
        set_blocking(sockets, true);
        let descriptors: Vec<_> = sockets.iter().map(|s| s.as_fd().as_raw_fd()).collect();
        made.ring
            .submitter()
            .register_files(&descriptors)
            .map_err(|error| format!("not possible here: files cannot be registered ({error})"))?;
        made.arm();
        Ok(made)
    }

    pub(super) fn receive(&mut self) -> u64 {
        match &mut self.receiving {
            Receiving::Multishot(provided) => receive_multishot(&mut self.ring, provided),
            Receiving::Each(messages) => receive_each(&mut self.ring, messages, self.sockets.len()),
        }
    }

    /// What the kernel does not take leaves a completion, which receiving passes over, and is missed by the phones.
    pub(super) fn send(&mut self) {
        let one_for_all = self.sockets.len() == 1;
        let (submitter, mut queue, _) = self.ring.split();
        for (n, peer) in self.peers.iter().enumerate() {
            let socket = if one_for_all { 0 } else { n as u32 };
            let request = opcode::Send::new(Fixed(socket), self.packet.as_ptr(), DATAGRAM as u32)
                .flags(FLAGS)
                .dest_addr(ptr::from_ref(peer).cast())
                .dest_addr_len(mem::size_of_val(peer) as libc::socklen_t)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(SENT);
            // SAFETY: packet and address live as long as the ring and do not move.
            let _ = unsafe { queue.push(&request) };
        }
        queue.sync();
        let _ = submitter.submit();
    }

    /// An error if the kernel has made threads for this ring: what they do would not be counted.
    pub(super) fn workers(&self) -> Result<(), String> {
        let threads = std::fs::read_dir("/proc/self/task").map_err(|error| error.to_string())?;
        let names = threads
            .flatten()
            .map(|thread| std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
        match names.filter(|name| name.starts_with("iou-")).count() {
            0 => Ok(()),
            count => Err(format!(
                "not measured: the kernel let {count} threads of its own work for it, whose time does not count as the server's"
            )),
        }
    }

    fn arm(&mut self) {
        let Receiving::Multishot(provided) = &self.receiving else {
            return;
        };
        let (submitter, mut queue, _) = self.ring.split();
        for n in 0..self.sockets.len() {
            provided.ask(&mut queue, n as u64);
        }
        queue.sync();
        let _ = submitter.submit();
    }
}

/// The next way finds the sockets as they were, with nobody else waiting for what they get.
impl Drop for Ring<'_> {
    fn drop(&mut self) {
        let submitter = self.ring.submitter();
        match submitter.register_sync_cancel(None, CancelBuilder::any()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                panic!("requests cannot be cancelled, and would go on receiving: {error}")
            }
        }
        if matches!(self.receiving, Receiving::Multishot(_)) {
            let _ = submitter.unregister_buf_ring(GROUP);
        }
        let _ = submitter.unregister_files();
        set_blocking(self.sockets, false);
    }
}

/// Until nothing more has come.
fn receive_multishot(ring: &mut IoUring, provided: &mut Provided) -> u64 {
    let mut received = 0;
    let (submitter, mut queue, mut completions) = ring.split();
    loop {
        queue.sync();
        // It runs the completions that wait, and waits for none itself.
        // SAFETY: the flag asks for no argument, and the count is the queue's.
        let entered = unsafe {
            submitter.enter::<libc::sigset_t>(
                queue.len() as u32,
                0,
                EnterFlags::GETEVENTS.bits(),
                None,
            )
        };
        completions.sync();
        if entered.is_err() || completions.is_empty() {
            return received;
        }
        for completion in &mut completions {
            if completion.user_data() == SENT {
                continue;
            }
            let flags = completion.flags();
            if let Some(buffer) = cqueue::buffer_select(flags) {
                received += u64::from(provided.has_datagram(buffer, completion.result()));
                provided.give(buffer);
            }
            // Where buffers ran out, it goes on when they are back; what else ends a request, ends it for good, and datagrams are missing.
            let goes_on = completion.result() > 0 || completion.result() == -libc::ENOBUFS;
            if !cqueue::more(flags) && goes_on {
                provided.ask(&mut queue, completion.user_data());
            }
        }
        provided.publish();
    }
}

/// One datagram of each socket, as many sockets in a call as there are messages.
fn receive_each(ring: &mut IoUring, messages: &mut Messages, sockets: usize) -> u64 {
    let mut received = 0;
    let (submitter, mut queue, mut completions) = ring.split();
    for first in (0..sockets).step_by(BATCH) {
        for n in first..(first + BATCH).min(sockets) {
            messages.ask(&mut queue, n);
        }
        queue.sync();
        let _ = submitter.submit();
        completions.sync();
        for completion in &mut completions {
            received += u64::from(completion.user_data() != SENT && completion.result() > 0);
        }
    }
    received
}

/// Buffers that the kernel chooses from, and the ring in which they are given to it, in one piece of memory.
struct Provided {
    /// The ring's entries, and then the buffers.
    memory: Mapping,
    /// What was given; the kernel sees it when it is published.
    tail: u16,
    /// What of a message is asked for: who sent it.
    wanted: Box<libc::msghdr>,
}

impl Provided {
    /// `LONGEST` bytes, and what the kernel puts before them.
    const ROOM: usize = LONGEST + 64;
    const ENTRIES: usize = BUFFERS as usize * mem::size_of::<BufRingEntry>();

    fn register(ring: &IoUring) -> Result<Self, String> {
        let memory = Mapping::new(Self::ENTRIES + BUFFERS as usize * Self::ROOM);
        let submitter = ring.submitter();
        // SAFETY: the memory begins with so many entries, and is unregistered before it is given back.
        unsafe { submitter.register_buf_ring_with_flags(memory.start as u64, BUFFERS, GROUP, 0) }
            .map_err(|error| format!("not possible here: buffers cannot be registered ({error})"))?;
        // SAFETY: msghdr is integers and pointers; zero is "nothing" in all of them.
        let mut wanted: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        wanted.msg_namelen = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let mut provided = Self {
            memory,
            tail: 0,
            wanted,
        };
        for buffer in 0..BUFFERS {
            provided.give(buffer);
        }
        provided.publish();
        Ok(provided)
    }

    fn ask(&self, queue: &mut squeue::SubmissionQueue<'_>, socket: u64) {
        let request = opcode::RecvMsgMulti::new(Fixed(socket as u32), &*self.wanted, GROUP)
            .build()
            .user_data(socket);
        // SAFETY: the message is on the heap and lives as long as the ring.
        let _ = unsafe { queue.push(&request) };
    }

    fn has_datagram(&self, buffer: u16, length: i32) -> bool {
        let length = usize::try_from(length).unwrap_or(0).min(Self::ROOM);
        // SAFETY: the buffer is the server's until it is given back, its bytes are initialised, and so many are within it.
        let bytes = unsafe { std::slice::from_raw_parts(self.buffer(buffer), length) };
        RecvMsgOut::parse(bytes, &self.wanted).is_ok_and(|message| {
            !message.payload_data().is_empty() && !message.name_data().is_empty()
        })
    }

    fn give(&mut self, buffer: u16) {
        let address = self.buffer(buffer) as u64;
        let place = usize::from(self.tail % BUFFERS);
        // SAFETY: the place is within the entries, with which the memory begins.
        let entry = unsafe { self.memory.start.cast::<BufRingEntry>().add(place) };
        // SAFETY: it is aligned and initialised, and the kernel does not look at it before it is published.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(Self::ROOM as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the memory begins with the first entry.
        let tail = unsafe { BufRingEntry::tail(self.memory.start.cast()) };
        // SAFETY: it is aligned, and written by this thread alone.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn buffer(&self, buffer: u16) -> *mut u8 {
        let offset = Self::ENTRIES + usize::from(buffer % BUFFERS) * Self::ROOM;
        // SAFETY: there are so many buffers behind the entries.
        unsafe { self.memory.start.add(offset) }
    }
}

/// Places for the datagrams of one call.
struct Messages {
    headers: Vec<libc::msghdr>,
    /// What the headers point to.
    _sources: Vec<libc::sockaddr_in>,
    _vectors: Vec<libc::iovec>,
    _buffer: Vec<u8>,
}

impl Messages {
    fn new() -> Self {
        let mut sources = vec![NOWHERE; BATCH];
        let mut buffer = vec![0; BATCH * LONGEST];
        let mut vectors: Vec<_> = buffer
            .chunks_exact_mut(LONGEST)
            .map(|room| libc::iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: LONGEST,
            })
            .collect();
        let headers = sources
            .iter_mut()
            .zip(&mut vectors)
            .map(|(source, vector)| message(source, vector).msg_hdr)
            .collect();
        Self {
            headers,
            _sources: sources,
            _vectors: vectors,
            _buffer: buffer,
        }
    }

    fn ask(&mut self, queue: &mut squeue::SubmissionQueue<'_>, socket: usize) {
        let header = &mut self.headers[socket % BATCH];
        header.msg_namelen = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
        let request = opcode::RecvMsg::new(Fixed(socket as u32), header)
            .flags(libc::MSG_DONTWAIT as u32)
            .build()
            .user_data(socket as u64);
        // SAFETY: header, address, vector and buffer are on the heap and live as long as the ring.
        let _ = unsafe { queue.push(&request) };
    }
}

/// Memory that the kernel writes to at times of its own.
struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    fn new(length: usize) -> Self {
        // SAFETY: a new mapping of no file, wherever the kernel likes.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        assert!(start != libc::MAP_FAILED, "there is memory left");
        Self {
            start: start.cast(),
            length,
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is this mapping, whole, and nothing refers to it.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

fn set_blocking(sockets: &[MediaSocket], blocking: bool) {
    for socket in sockets {
        let socket = socket2::SockRef::from(socket);
        socket
            .set_nonblocking(!blocking)
            .expect("whether a socket blocks can be set");
    }
}

fn why_not(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES | libc::ENOSYS) => {
            let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
            let setting = setting.map_or("not there".to_owned(), |text| text.trim().to_owned());
            format!("not permitted here: {error}; kernel.io_uring_disabled is {setting}")
        }
        Some(libc::EINVAL) => {
            format!(
                "not possible here: {error}; Linux 6.1 is needed, which defers completions to the thread that is measured"
            )
        }
        _ => format!("not possible here: {error}"),
    }
}
