//! The agent on real sockets: one tokio task drives it, others only move bytes.
//!
//! Every queue is bounded. When the receiver of events is slow, the network is not read until it
//! has caught up (datagrams wait in the kernel, then are lost and sent again by their senders). A
//! TCP peer that does not read what we send is disconnected. Nothing here touches audio.

mod framing;
mod handle;
mod tcp;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use self::handle::Command;
use super::agent::{Agent, AgentConfig, Event, Flow, Output, Transport};
use super::wire::MAX_MESSAGE;

pub use self::handle::{SipError, SipHandle, SipStatus};

/// Messages from the network that wait for the agent.
const INBOX: usize = 1024;

/// Decisions that wait for the agent.
const COMMANDS: usize = 256;

/// Events that wait for their receiver before the network is no longer read.
const EVENT_BACKLOG: usize = 1024;

/// How much the kernel is asked to keep for a datagram socket, in bytes: a burst of calls.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Peers whose way back is remembered.
const MAX_ROUTES: usize = 4096;

/// TCP connections at one time, unless there are descriptors for fewer: as many as calls, and some that have none.
pub const MAX_CONNECTIONS: usize = 12_000;

/// Where to listen, and as whom.
#[derive(Debug, Clone)]
pub struct SipConfig {
    /// The agent; its `listen` is filled in by [`bind`].
    pub agent: AgentConfig,
    /// Addresses for UDP; port 0 takes a free one.
    pub udp: Vec<SocketAddr>,
    /// Addresses for TCP; port 0 takes the port of the first UDP address, if that is free.
    pub tcp: Vec<SocketAddr>,
    /// TCP connections at one time; a quarter of them from one address.
    pub max_connections: usize,
    /// On TCP a message must be complete this long after its first byte, and the first message
    /// this long after the connection: whoever sends a byte a second holds nothing open.
    pub message_time: Duration,
}

impl SipConfig {
    /// Listens on UDP and TCP at one address, with default settings.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            agent: AgentConfig::default(),
            udp: vec![address],
            tcp: vec![address],
            max_connections: MAX_CONNECTIONS,
            message_time: Duration::from_secs(10),
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for SIP on {transport:?} {address}: {source}")]
pub struct BindError {
    /// The transport.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
    /// What the system says: choose another address or port, or end who has it.
    pub source: io::Error,
}

/// Listens and starts the agent's task on the current tokio runtime. Calls appear on the receiver
/// and are decided through the handle.
///
/// # Errors
///
/// One of the addresses cannot be listened on.
pub fn bind(mut config: SipConfig) -> Result<(SipHandle, mpsc::Receiver<Event>), BindError> {
    let failed = |transport, address| {
        move |source| BindError {
            transport,
            address,
            source,
        }
    };
    let mut bound = Vec::new();
    let mut sockets = Vec::new();
    for &address in &config.udp {
        let socket = udp_socket(address).map_err(failed(Transport::Udp, address))?;
        let local = socket
            .local_addr()
            .map_err(failed(Transport::Udp, address))?;
        bound.push((Transport::Udp, local));
        sockets.push((Arc::new(socket), local));
    }
    let mut listeners = Vec::new();
    for &address in &config.tcp {
        let listener = tcp_listener(address, bound.first().map(|(_, udp)| udp.port()))
            .map_err(failed(Transport::Tcp, address))?;
        let local = listener
            .local_addr()
            .map_err(failed(Transport::Tcp, address))?;
        bound.push((Transport::Tcp, local));
        listeners.push(listener);
    }

    config.agent.listen.clone_from(&bound);
    let (inbound, inbox) = mpsc::channel(INBOX);
    let (commands, decisions) = mpsc::channel(COMMANDS);
    let (events, receiver) = mpsc::channel(EVENT_BACKLOG);
    let mut tasks = JoinSet::new();
    for (socket, local) in &sockets {
        let (socket, local, inbound) = (Arc::clone(socket), *local, inbound.clone());
        tasks.spawn(receive(socket, local, inbound));
    }
    for listener in listeners {
        tasks.spawn(tcp::listen(listener, inbound.clone()));
    }
    let shell = Shell {
        agent: Agent::new(config.agent, rand::random(), Instant::now()),
        sockets,
        connections: HashMap::new(),
        by_remote: HashMap::new(),
        last_connection: 0,
        max_connections: config.max_connections,
        message_time: config.message_time,
        tasks,
        inbound,
        backlog: VecDeque::new(),
        status: SipStatus::default(),
    };
    tokio::spawn(shell.run(inbox, decisions, events));
    let handle = SipHandle {
        commands,
        bound: bound.into(),
    };
    Ok((handle, receiver))
}

/// What the socket tasks tell the agent's task.
#[derive(Debug)]
enum Inbound {
    Message {
        flow: Flow,
        bytes: Vec<u8>,
    },
    Accepted {
        stream: TcpStream,
        remote: SocketAddr,
    },
    Closed {
        flow: Flow,
    },
}

#[derive(Debug)]
struct Connection {
    flow: Flow,
    queue: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
}

/// The agent and everything it sends through.
#[derive(Debug)]
struct Shell {
    agent: Agent,
    sockets: Vec<(Arc<UdpSocket>, SocketAddr)>,
    connections: HashMap<u64, Connection>,
    by_remote: HashMap<SocketAddr, u64>,
    last_connection: u64,
    max_connections: usize,
    message_time: Duration,
    /// Aborted when the shell ends.
    tasks: JoinSet<()>,
    inbound: mpsc::Sender<Inbound>,
    backlog: VecDeque<Event>,
    status: SipStatus,
}

impl Shell {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Inbound>,
        mut decisions: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) {
        loop {
            let now = Instant::now();
            if self.agent.next_timeout().is_some_and(|due| due <= now) {
                self.agent.on_timeout(now);
            }
            self.flush(now);
            let due = self
                .agent
                .next_timeout()
                .map(tokio::time::Instant::from_std);
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                permit = events.reserve(), if !self.backlog.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(event) = self.backlog.pop_front() {
                            permit.send(event);
                        }
                    }
                    Err(_) => return,
                },
                command = decisions.recv() => match command {
                    Some(command) => self.decide(Instant::now(), command),
                    None => return,
                },
                Some(inbound) = inbox.recv(), if self.backlog.len() < EVENT_BACKLOG => {
                    self.take(Instant::now(), inbound);
                }
                Some(_) = self.tasks.join_next() => {}
                () = sleep => {}
            }
        }
    }

    fn take(&mut self, now: Instant, inbound: Inbound) {
        match inbound {
            Inbound::Message { flow, bytes } => self.agent.receive(now, flow, &bytes),
            Inbound::Accepted { stream, remote } => self.accept(stream, remote),
            Inbound::Closed { flow } => self.closed(now, flow),
        }
    }

    /// A caller that does not wait for the reply has lost interest in it, not in the decision.
    fn decide(&mut self, now: Instant, command: Command) {
        match command {
            Command::Ring(call, reply) => {
                let _ = reply.send(self.agent.ring(now, call));
            }
            Command::Accept(call, sdp, reply) => {
                let _ = reply.send(self.agent.accept(now, call, sdp));
            }
            Command::Reject(call, status, reason, headers, reply) => {
                let _ = reply.send(self.agent.reject(now, call, status, &reason, &headers));
            }
            Command::HangUp(call, reason, reply) => {
                let _ = reply.send(self.agent.hang_up(now, call, &reason));
            }
            Command::AcceptReoffer(call, sdp, reply) => {
                let _ = reply.send(self.agent.accept_reoffer(now, call, sdp));
            }
            Command::RejectReoffer(call, status, reason, reply) => {
                let _ = reply.send(self.agent.reject_reoffer(now, call, status, &reason));
            }
            Command::Reinvite(call, sdp, reply) => {
                let _ = reply.send(self.agent.reinvite(now, call, sdp));
            }
            Command::Dtmf(call, digit, duration_ms, reply) => {
                let _ = reply.send(self.agent.send_info_dtmf(now, call, digit, duration_ms));
            }
            Command::Invite(mut request, reply) => {
                let flow = &mut request.flow;
                if flow.local.ip().is_unspecified()
                    && let Some(ip) = route(flow.local.ip(), flow.remote)
                {
                    flow.local.set_ip(ip);
                }
                let _ = reply.send(self.agent.invite(now, *request));
            }
            Command::Status(reply) => {
                let status = SipStatus {
                    agent: self.agent.counters(),
                    connections_open: self.connections.len(),
                    ..self.status.clone()
                };
                let _ = reply.send(status);
            }
        }
    }

    /// Carries out everything the agent wants.
    fn flush(&mut self, now: Instant) {
        while let Some(output) = self.agent.poll() {
            match output {
                Output::Event(event) => self.backlog.push_back(event),
                Output::Transmit { flow, bytes } => match flow.transport {
                    Transport::Udp => self.send_datagram(&flow, &bytes),
                    Transport::Tcp => self.send_stream(now, flow, bytes),
                },
            }
        }
    }

    fn send_datagram(&mut self, flow: &Flow, bytes: &[u8]) {
        let fits = |address: &SocketAddr| address.is_ipv4() == flow.remote.is_ipv4();
        let socket = self
            .sockets
            .iter()
            .filter(|(_, address)| fits(address))
            .max_by_key(|(_, address)| {
                (address.port() == flow.local.port(), *address == flow.local)
            });
        // Past tokio, which would first have to learn that the socket can be written to.
        let sent = socket.is_some_and(|(socket, _)| {
            SockRef::from(&**socket)
                .send_to(bytes, &flow.remote.into())
                .is_ok_and(|count| count == bytes.len())
        });
        self.status.datagrams_unsent += u64::from(!sent);
    }

    fn send_stream(&mut self, now: Instant, flow: Flow, bytes: Vec<u8>) {
        let id = match flow.connection {
            0 => self.by_remote.get(&flow.remote).copied(),
            id => Some(id),
        };
        let id = match id.filter(|id| self.connections.contains_key(id)) {
            Some(id) => id,
            // A connection that is gone cannot be opened from this side.
            None if flow.connection != 0 => return,
            None if self.connections.len() >= self.max_connections => {
                self.status.connections_refused += 1;
                self.agent.on_flow_closed(now, flow);
                return;
            }
            None => self.connect(flow),
        };
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        if connection.queue.try_send(bytes).is_err() {
            self.status.connections_overrun += 1;
            let flow = connection.flow;
            connection.task.abort();
            self.closed(now, flow);
        }
    }

    fn accept(&mut self, stream: TcpStream, remote: SocketAddr) {
        let same = |connection: &&Connection| connection.flow.remote.ip() == remote.ip();
        let from_there = self.connections.values().filter(same).count();
        let local = stream.local_addr();
        if self.connections.len() >= self.max_connections
            || from_there >= self.max_connections.div_ceil(4)
        {
            self.status.connections_refused += 1;
            return;
        }
        let Ok(local) = local else {
            return;
        };
        let flow = self.new_flow(local, remote);
        let (queue, pending) = mpsc::channel(tcp::SEND_QUEUE);
        let inbound = self.inbound.clone();
        let task = tcp::serve(
            stream,
            flow,
            inbound,
            self.message_time,
            queue.clone(),
            pending,
        );
        self.register(flow, queue, task);
    }

    fn connect(&mut self, wanted: Flow) -> u64 {
        let flow = self.new_flow(wanted.local, wanted.remote);
        let (queue, pending) = mpsc::channel(tcp::SEND_QUEUE);
        let inbound = self.inbound.clone();
        let task = tcp::connect(flow, inbound, self.message_time, queue.clone(), pending);
        self.register(flow, queue, task);
        flow.connection
    }

    fn new_flow(&mut self, local: SocketAddr, remote: SocketAddr) -> Flow {
        self.last_connection += 1;
        Flow {
            connection: self.last_connection,
            ..Flow::tcp(local, remote)
        }
    }

    fn register(
        &mut self,
        flow: Flow,
        queue: mpsc::Sender<Vec<u8>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let task = self.tasks.spawn(task);
        self.by_remote.insert(flow.remote, flow.connection);
        let connection = Connection { flow, queue, task };
        self.connections.insert(flow.connection, connection);
    }

    fn closed(&mut self, now: Instant, flow: Flow) {
        if self.connections.remove(&flow.connection).is_none() {
            return;
        }
        self.agent.on_flow_closed(now, flow);
        if self.by_remote.get(&flow.remote) == Some(&flow.connection) {
            self.by_remote.remove(&flow.remote);
            let any = Flow::tcp(flow.local, flow.remote);
            self.agent.on_flow_closed(now, any);
        }
    }
}

/// Hands datagrams to the agent's task, forever.
async fn receive(socket: Arc<UdpSocket>, bound: SocketAddr, inbox: mpsc::Sender<Inbound>) {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut routes = Routes::default();
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((count, remote)) => {
                let flow = Flow::udp(routes.local(bound, remote), remote);
                let bytes = buffer[..count].to_vec();
                if inbox.send(Inbound::Message { flow, bytes }).await.is_err() {
                    return;
                }
            }
            // Usually news that somebody we sent to is not there; its transaction times out.
            Err(error) => tracing::debug!(%error, "SIP datagram socket"),
        }
    }
}

/// Which of our addresses packets to a peer leave from, for sockets bound to all addresses.
#[derive(Debug, Default)]
struct Routes {
    known: HashMap<IpAddr, IpAddr>,
}

impl Routes {
    fn local(&mut self, bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
        if !bound.ip().is_unspecified() {
            return bound;
        }
        if let Some(ip) = self.known.get(&remote.ip()) {
            return SocketAddr::new(*ip, bound.port());
        }
        let ip = route(bound.ip(), remote).unwrap_or(bound.ip());
        if self.known.len() >= MAX_ROUTES {
            self.known.clear();
        }
        self.known.insert(remote.ip(), ip);
        SocketAddr::new(ip, bound.port())
    }
}

/// Asks the kernel, which sends nothing for it.
fn route(any: IpAddr, remote: SocketAddr) -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

fn udp_socket(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // The system may allow less; then bursts of calls are retransmitted by their senders.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

fn tcp_listener(address: SocketAddr, preferred: Option<u16>) -> io::Result<TcpListener> {
    if address.port() == 0
        && let Some(port) = preferred
        && let Ok(listener) = tcp_listener(SocketAddr::new(address.ip(), port), None)
    {
        return Ok(listener);
    }
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}
