//! UDP sockets for media on Linux: batches of datagrams in and out, with kernel arrival times.
//!
//! Guarantees: no call blocks (sockets are non-blocking, waiting is done by nobody), nothing allocates but the
//! constructors, and no state of the network is an error to a tick: what the kernel refuses is counted.
//!
//! This is the crate's one module that makes system calls.

mod address;
mod batch;
mod limits;
mod poller;
mod ports;
mod receive_batch;
mod socket;

pub use batch::{BATCH, SendBatch};
pub use limits::{DescriptorLimit, descriptor_limit};
pub use poller::{Poller, Watcher};
pub use ports::{MediaPorts, PortError, PortPool};
pub use receive_batch::{RECV_BATCH, RecvBatch};
pub use socket::{
    ClockOffset, EXPEDITED_FORWARDING, MAX_DATAGRAM, MediaSocket, Received, RecvBuf, RecvCounters,
    SendCounters, SocketOptions,
};
