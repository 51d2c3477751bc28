//! One leg's UDP socket.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr;

use socket2::{Domain, Protocol, Socket, Type};

use super::address;

/// DSCP of voice: Expedited Forwarding (RFC 3246).
pub const EXPEDITED_FORWARDING: u8 = 46;

/// Longest datagram that is received, bytes; voice packets are below an Ethernet frame's 1500.
pub const MAX_DATAGRAM: usize = 2048;

/// An arrival time this far from the moment the clocks were compared is not believed: the wall clock was stepped.
const PLAUSIBLE_NS: u64 = 1_000_000_000;

/// How many unusable results one call of `recv` passes over.
pub(super) const RETRIES: usize = 8;

/// Settings of a media socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// Differentiated services code point of outgoing packets, 0 to 63.
    pub dscp: u8,
    /// Receive buffer, bytes as the kernel counts them (a small datagram costs about 800); `None` for its default.
    /// Without CAP_NET_ADMIN the kernel caps it at `net.core.rmem_max`.
    pub receive_buffer: Option<usize>,
}

impl Default for SocketOptions {
    /// Expedited Forwarding, and a receive buffer of 64 KiB: 80 packets of voice, more than a second of one leg, so
    /// that a flood on one port cannot take much kernel memory.
    fn default() -> Self {
        Self {
            dscp: EXPEDITED_FORWARDING,
            receive_buffer: Some(64 * 1024),
        }
    }
}

/// A non-blocking UDP socket whose datagrams come with arrival times.
#[derive(Debug)]
pub struct MediaSocket {
    socket: Socket,
    address: SocketAddr,
}

impl MediaSocket {
    /// Binds to `address` (port 0 lets the kernel choose). An IPv6 socket carries IPv6 only.
    ///
    /// Settings that only improve matters (DSCP, buffer size, arrival times) are applied as far as the kernel agrees.
    pub fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        socket.set_nonblocking(true)?;
        let class = libc::c_int::from(options.dscp & 0x3f) << 2;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class);
        } else {
            set_option(&socket, libc::IPPROTO_IP, libc::IP_TOS, class);
        }
        if let Some(bytes) = options.receive_buffer {
            // Refused only for values that the kernel replaces by its own bounds anyway.
            let _ = socket.set_recv_buffer_size(bytes);
            let granted = socket.recv_buffer_size().unwrap_or(usize::MAX);
            // The kernel doubles what it is asked for, for its own bookkeeping.
            if granted / 2 < bytes {
                let wanted = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
                set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted);
            }
        }
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
        socket.bind(&address.into())?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, address })
    }

    /// Takes the next datagram, if there is one. `offset` comes from [`ClockOffset::measure`], once a tick.
    ///
    /// What ICMP reported of packets sent before, and datagrams longer than [`MAX_DATAGRAM`], are counted in `buf` and
    /// passed over. An error means that this socket is of no more use.
    pub fn recv(&self, buf: &mut RecvBuf, offset: ClockOffset) -> io::Result<Option<Received>> {
        for _ in 0..RETRIES {
            let mut source = address::empty();
            let mut data = libc::iovec {
                iov_base: buf.data.as_mut_ptr().cast(),
                iov_len: buf.data.len(),
            };
            // SAFETY: msghdr is a plain structure of integers and pointers; zero is "nothing" in all of them.
            let mut message: libc::msghdr = unsafe { mem::zeroed() };
            message.msg_name = ptr::from_mut(&mut source).cast();
            message.msg_namelen = mem::size_of_val(&source) as libc::socklen_t;
            message.msg_iov = &raw mut data;
            message.msg_iovlen = 1;
            message.msg_control = buf.control.0.as_mut_ptr().cast();
            message.msg_controllen = buf.control.0.len() as _;

            // SAFETY: all pointers in the message are to live, exclusively borrowed memory of the lengths given.
            let received = unsafe {
                libc::recvmsg(
                    self.socket.as_raw_fd(),
                    &raw mut message,
                    libc::MSG_DONTWAIT,
                )
            };
            let Ok(len) = usize::try_from(received) else {
                match buf.counters.judge(io::Error::last_os_error())? {
                    Failure::Nothing => return Ok(None),
                    Failure::Passing => continue,
                }
            };
            let Some(source) = address::from_kernel(&source) else {
                continue;
            };
            if message.msg_flags & libc::MSG_TRUNC != 0 {
                buf.counters.oversized = buf.counters.oversized.wrapping_add(1);
                continue;
            }
            let control = Control::read(&message);
            return Ok(Some(Received {
                len,
                source,
                arrival_ns: offset.monotonic_ns(control.realtime_ns),
                dropped: control.dropped,
            }));
        }
        Ok(None)
    }

    /// Sends one datagram; false if the kernel did not take it, which is counted by its reason.
    pub fn send_to(
        &self,
        packet: &[u8],
        destination: SocketAddr,
        counters: &mut SendCounters,
    ) -> bool {
        let mut storage = address::empty();
        let length = address::to_kernel(destination, &mut storage);
        loop {
            // SAFETY: the packet and the address are live memory of the lengths given; the kernel only reads them.
            let sent = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    packet.as_ptr().cast(),
                    packet.len(),
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                    ptr::from_ref(&storage).cast(),
                    length,
                )
            };
            if sent >= 0 {
                counters.sent = counters.sent.wrapping_add(1);
                return true;
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                error => {
                    counters.count(error.unwrap_or(0), 1);
                    return false;
                }
            }
        }
    }

    /// The receive buffer that was granted, bytes as in [`SocketOptions`].
    pub fn receive_buffer(&self) -> usize {
        self.socket.recv_buffer_size().unwrap_or(0) / 2
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for MediaSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Room for one datagram and what the kernel says of it; one serves all sockets of a worker.
#[derive(Debug)]
pub struct RecvBuf {
    data: Box<[u8; MAX_DATAGRAM]>,
    control: Box<ControlSpace>,
    counters: RecvCounters,
}

impl RecvBuf {
    /// Allocates the buffer.
    pub fn new() -> Self {
        Self {
            data: Box::new([0; MAX_DATAGRAM]),
            control: Box::new(ControlSpace([0; 128])),
            counters: RecvCounters::default(),
        }
    }

    /// The bytes of the datagram that was received last.
    pub fn datagram(&self, received: &Received) -> &[u8] {
        &self.data[..received.len.min(MAX_DATAGRAM)]
    }

    /// What was passed over.
    pub fn counters(&self) -> RecvCounters {
        self.counters
    }
}

impl Default for RecvBuf {
    fn default() -> Self {
        Self::new()
    }
}

/// A datagram in a [`RecvBuf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Length, bytes.
    pub len: usize,
    /// Who sent it.
    pub source: SocketAddr,
    /// When the kernel took it from the network, on CLOCK_MONOTONIC.
    pub arrival_ns: u64,
    /// Datagrams that this socket has lost since it was bound because its buffer was full, as far as known.
    pub dropped: u32,
}

/// What receiving passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecvCounters {
    /// Reports of ICMP: a packet sent before found nobody listening.
    pub icmp_errors: u64,
    /// Datagrams longer than [`MAX_DATAGRAM`].
    pub oversized: u64,
}

impl RecvCounters {
    /// What a failure to receive means, after counting it; an error if the socket is of no more use.
    pub(super) fn judge(&mut self, error: io::Error) -> io::Result<Failure> {
        match error.raw_os_error() {
            // Where memory is short, the datagram waits.
            Some(libc::EAGAIN | libc::ENOMEM | libc::ENOBUFS) => Ok(Failure::Nothing),
            Some(libc::EINTR) => Ok(Failure::Passing),
            Some(
                libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EMSGSIZE,
            ) => {
                self.icmp_errors = self.icmp_errors.wrapping_add(1);
                Ok(Failure::Passing)
            }
            _ => Err(error),
        }
    }
}

/// Why there is no datagram, while the socket is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// None has come.
    Nothing,
    /// Something was in the way; there may be one behind it.
    Passing,
}

/// What became of packets that were to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SendCounters {
    /// Taken by the kernel.
    pub sent: u64,
    /// Lost because the socket's or the device's queue was full (EAGAIN, ENOBUFS, ENOMEM).
    pub congested: u64,
    /// Forbidden by a firewall on this machine (EPERM, EACCES).
    pub forbidden: u64,
    /// No route or nobody there (ENETUNREACH, EHOSTUNREACH, ECONNREFUSED and the like).
    pub unreachable: u64,
    /// Refused for another reason: an address of the wrong family, a packet too long.
    pub other: u64,
}

impl SendCounters {
    /// Not taken by the kernel, for whatever reason.
    pub fn failed(&self) -> u64 {
        self.congested + self.forbidden + self.unreachable + self.other
    }

    pub(super) fn count(&mut self, error: libc::c_int, packets: u64) {
        let counter = match error {
            // ENOMEM is how the kernel says that it is short of buffers for a moment.
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => &mut self.congested,
            libc::EPERM | libc::EACCES => &mut self.forbidden,
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ECONNREFUSED => &mut self.unreachable,
            _ => &mut self.other,
        };
        *counter = counter.wrapping_add(packets);
    }
}

/// How the monotonic clock stands to the wall clock, by which the kernel stamps datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    monotonic_ns: u64,
    realtime_ns: u64,
}

impl ClockOffset {
    /// Reads both clocks: about 50 ns, no system call where the vDSO has them.
    pub fn measure() -> Self {
        Self {
            realtime_ns: clock_ns(libc::CLOCK_REALTIME),
            monotonic_ns: clock_ns(libc::CLOCK_MONOTONIC),
        }
    }

    /// The monotonic time at which it was measured, ns.
    pub fn now_ns(self) -> u64 {
        self.monotonic_ns
    }

    /// Converts a stamp; one that is missing or impossible becomes the time of measurement.
    pub(super) fn monotonic_ns(self, stamp_ns: Option<u64>) -> u64 {
        let age = stamp_ns.map(|stamp| self.realtime_ns.wrapping_sub(stamp) as i64);
        match age {
            Some(age) if age.unsigned_abs() <= PLAUSIBLE_NS => {
                self.monotonic_ns.saturating_add_signed(-age)
            }
            _ => self.monotonic_ns,
        }
    }
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live timespec. The clocks exist on every Linux, so the call cannot fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Sets an option that is an improvement where the kernel has it, and no loss of function where it has not.
fn set_option(socket: &Socket, level: libc::c_int, name: libc::c_int, value: libc::c_int) {
    // SAFETY: the pointer is to a live int, of the length given.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            ptr::from_ref(&value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        )
    };
}

/// Space for control messages, aligned as their header has to be.
#[derive(Debug, Clone)]
#[repr(C, align(8))]
pub(super) struct ControlSpace(pub(super) [u8; 128]);

const _: () = assert!(mem::align_of::<libc::cmsghdr>() <= 8);

/// What the kernel said about a datagram.
pub(super) struct Control {
    pub(super) realtime_ns: Option<u64>,
    pub(super) dropped: u32,
}

impl Control {
    pub(super) fn read(message: &libc::msghdr) -> Self {
        let mut control = Self {
            realtime_ns: None,
            dropped: 0,
        };
        // SAFETY: the kernel filled the message in, so its control pointer and length describe valid messages.
        let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
        // SAFETY: the pointer is null or to a control message within the buffer.
        while let Some(current) = unsafe { header.as_ref() } {
            // SAFETY: the data of a control message follows its header.
            let data = unsafe { libc::CMSG_DATA(current) };
            if current.cmsg_level == libc::SOL_SOCKET {
                match current.cmsg_type {
                    libc::SCM_TIMESTAMPNS => {
                        // SAFETY: a message of this type holds a timespec, perhaps unaligned.
                        let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                        control.realtime_ns = Some(
                            (time.tv_sec as u64)
                                .wrapping_mul(1_000_000_000)
                                .wrapping_add(time.tv_nsec as u64),
                        );
                    }
                    libc::SO_RXQ_OVFL => {
                        // SAFETY: a message of this type holds a u32, perhaps unaligned.
                        control.dropped = unsafe { data.cast::<u32>().read_unaligned() };
                    }
                    _ => {}
                }
            }
            // SAFETY: both pointers are to the message the kernel filled in.
            header = unsafe { libc::CMSG_NXTHDR(message, current) };
        }
        control
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_moved_to_the_monotonic_clock() {
        let offset = ClockOffset {
            monotonic_ns: 5_000_000_000,
            realtime_ns: 1_700_000_000_000_000_000,
        };
        let stamp =
            |age: i64| offset.monotonic_ns(Some(offset.realtime_ns.wrapping_add_signed(-age)));
        assert_eq!(stamp(20_000_000), 4_980_000_000);
        assert_eq!(
            stamp(-3_000),
            5_000_003_000,
            "came after the clocks were compared"
        );
        assert_eq!(
            stamp(3_600_000_000_000),
            5_000_000_000,
            "the wall clock was stepped"
        );
        assert_eq!(offset.monotonic_ns(None), 5_000_000_000);
    }

    #[test]
    fn refusals_are_counted_by_reason() {
        let mut counters = SendCounters::default();
        for error in [
            libc::EAGAIN,
            libc::ENOBUFS,
            libc::EPERM,
            libc::ENETUNREACH,
            libc::EINVAL,
        ] {
            counters.count(error, 1);
        }
        let expected = SendCounters {
            sent: 0,
            congested: 2,
            forbidden: 1,
            unreachable: 1,
            other: 1,
        };
        assert_eq!(counters, expected);
    }
}
