//! Everybody's way into a conference: calls by SIP, so many at a time, or the sockets of a list.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use unisono_rtp::codec::Codec;
use unisono_rtp::net::{MediaSocket, PortPool, SocketOptions};

use super::cast::{Cast, Part, Saying};
use super::clip::Clips;
use super::endpoints::Endpoint;
use super::generator::{CallerSetup, Generator};
use super::report::Failure;
use super::target::{Reached, Target};
use super::{Interrupt, LoadError, Progress, Watcher};
use crate::caller::{Call, CallError, CallRequest, Phone};
use crate::sip::sdp::{CodecOrder, LocalMedia};

/// Calls that wait for an answer at a time.
const IN_FLIGHT: usize = 50;

/// After so many calls that failed in one step no more are tried: they would fail as well, 10 s each.
const GIVE_UP: usize = 50;

/// Calls that are hung up at a time, and how long all of that may take: a part that is the same for any number, and one for each call.
const ENDING: usize = 200;
const GOODBYE: Duration = Duration::from_secs(5);
const GOODBYE_EACH: Duration = Duration::from_millis(2);

/// How long calls under way may still take after Ctrl-C, so that they can be hung up.
const DRAIN: Duration = Duration::from_secs(3);

/// Ports of the callers: all that need no privilege. Those taken by others are passed over.
const PORTS: std::ops::RangeInclusive<u16> = 2048..=65_534;

/// The way to the server.
#[derive(Debug)]
pub(super) enum Way {
    /// By SIP.
    Sip(Box<Dialler>),
    /// By a list.
    List {
        local: Vec<IpAddr>,
        endpoints: Vec<Endpoint>,
    },
}

/// Who makes calls by SIP.
#[derive(Debug)]
pub(super) struct Dialler {
    phone: Phone,
    target: Target,
    server: SocketAddr,
    ports: PortPool,
    media: IpAddr,
}

/// Who is connected.
#[derive(Debug, Default)]
pub(super) struct Party {
    /// In order of their numbers.
    pub(super) parts: Vec<Part>,
    calls: Vec<(usize, Call)>,
    /// The number of the next who tries.
    next: usize,
    /// Calls that failed, by reason.
    failed: BTreeMap<String, usize>,
    cut_off: usize,
}

/// One who is connected, before its media begin.
struct Connected {
    socket: MediaSocket,
    remote: SocketAddr,
    codec: Codec,
    payload_type: u8,
    receive_payload_type: u8,
}

impl Way {
    pub(super) fn sip(target: Target, reached: &Reached) -> Result<Self, LoadError> {
        // Another address of the loopback interface leaves the server all ports of its own. Signalling comes from there too, as
        // from a telephone: a server whose phones share a port knows them by that.
        let local = match reached.local {
            IpAddr::V4(local) if local.is_loopback() => Ipv4Addr::new(127, 0, 0, 2).into(),
            local => local,
        };
        let ports = PortPool::new(local, PORTS, SocketOptions::default(), rand::random());
        Ok(Self::Sip(Box::new(Dialler {
            phone: Phone::bind((local, 0).into())?,
            target,
            server: reached.address,
            ports,
            media: local,
        })))
    }
}

impl Party {
    /// Calls until `callers` have tried; true if Ctrl-C came meanwhile.
    pub(super) async fn grow(
        &mut self,
        callers: usize,
        way: &mut Way,
        stage: &Stage<'_>,
        watcher: &mut dyn Watcher,
        interrupt: &mut Interrupt,
    ) -> Result<bool, LoadError> {
        let interrupted = match way {
            Way::List { local, endpoints } => {
                for number in self.next..callers {
                    let connected = open(number, &endpoints[number], local[number])?;
                    self.enter(stage, number, connected, None)?;
                }
                self.next = callers;
                false
            }
            Way::Sip(dialler) => {
                self.call(callers, dialler, stage, watcher, interrupt)
                    .await?
            }
        };
        self.parts.sort_by_key(|part| part.number);
        Ok(interrupted)
    }

    /// What failed so far, most frequent reason first.
    pub(super) fn failures(&self) -> Vec<Failure> {
        let mut failures: Vec<Failure> = self
            .failed
            .iter()
            .map(|(reason, count)| Failure {
                reason: reason.clone(),
                count: *count,
            })
            .collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
        failures
    }

    /// Calls that the server ended, so far.
    pub(super) fn cut_off(&self) -> usize {
        self.cut_off
    }

    /// Looks for calls that have ended; they are counted as failed.
    pub(super) fn notice_ends(&mut self) {
        let (failed, parts) = (&mut self.failed, &mut self.parts);
        let mut ended = 0;
        self.calls.retain_mut(|(number, call)| {
            let Some(reason) = call.ended() else {
                return true;
            };
            let reason = format!("the server ended the call: {reason}");
            *failed.entry(reason).or_default() += 1;
            parts.retain(|part| part.number != *number);
            ended += 1;
            false
        });
        self.cut_off += ended;
    }

    /// Hangs up on everybody, for a bounded time; false if some could not be told.
    pub(super) async fn leave(self, interrupt: &mut Interrupt) -> bool {
        let mut waiting = self.calls;
        if waiting.is_empty() {
            return true;
        }
        let limit = GOODBYE + GOODBYE_EACH * waiting.len() as u32;
        let end = async {
            let mut ending = JoinSet::new();
            loop {
                while ending.len() < ENDING
                    && let Some((_, call)) = waiting.pop()
                {
                    ending.spawn(call.hang_up("the load run is over"));
                }
                if ending.join_next().await.is_none() {
                    return;
                }
            }
        };
        tokio::select! {
            ended = timeout(limit, end) => ended.is_ok(),
            () = interrupt.wait() => false,
        }
    }

    async fn call(
        &mut self,
        callers: usize,
        dialler: &mut Dialler,
        stage: &Stage<'_>,
        watcher: &mut dyn Watcher,
        interrupt: &mut Interrupt,
    ) -> Result<bool, LoadError> {
        let mut calling: JoinSet<(usize, MediaSocket, Result<Call, CallError>)> = JoinSet::new();
        let (first, failed_before) = (self.parts.len(), self.failed.values().sum::<usize>());
        let mut interrupted = false;
        let mut drain = None;
        let mut next_word = Instant::now() + Duration::from_secs(1);
        loop {
            let failed = self.failed.values().sum::<usize>() - failed_before;
            let goes_on = !interrupted && failed < GIVE_UP;
            while goes_on && calling.len() < IN_FLIGHT && self.next < callers {
                let number = self.next;
                self.next += 1;
                let (socket, call) = dialler.dial(&stage.cast.part(number))?;
                calling.spawn(async move { (number, socket, call.await) });
            }
            if calling.is_empty() {
                break;
            }
            tokio::select! {
                Some(called) = calling.join_next() => {
                    // A task that calls does not panic, and nobody aborts it.
                    let Ok((number, socket, call)) = called else { continue };
                    match call {
                        Ok(call) => {
                            let agreed = call.agreed();
                            let connected = Connected {
                                socket,
                                remote: call.remote(),
                                codec: agreed.codec,
                                payload_type: agreed.payload_type,
                                receive_payload_type: agreed.receive_payload_type,
                            };
                            self.enter(stage, number, connected, Some(call))?;
                        }
                        Err(error) => *self.failed.entry(error.to_string()).or_default() += 1,
                    }
                }
                () = interrupt.wait(), if !interrupted => {
                    interrupted = true;
                    drain = Some(Instant::now() + DRAIN);
                }
                () = sleep_until(drain.unwrap_or(next_word)) => {
                    if drain.is_some() {
                        break;
                    }
                    next_word += Duration::from_secs(1);
                    watcher.show(Progress::Calling { connected: self.parts.len(), failed, wanted: callers });
                }
            }
        }
        // Where it was given up, those who did not try have failed for the same reasons.
        if self.parts.is_empty() && !interrupted {
            return Err(LoadError::NoCalls {
                reason: self
                    .failures()
                    .first()
                    .map_or_else(String::new, |most| most.reason.clone()),
            });
        }
        if self.parts.len() > first {
            watcher.show(Progress::Calling {
                connected: self.parts.len(),
                failed: self.failed.values().sum(),
                wanted: callers,
            });
        }
        Ok(interrupted)
    }

    fn enter(
        &mut self,
        stage: &Stage<'_>,
        number: usize,
        connected: Connected,
        call: Option<Call>,
    ) -> Result<(), LoadError> {
        let mut part = stage.cast.part(number);
        part.codec = connected.codec;
        let background = stage.clips.encoded(Saying::Nothing, part.codec);
        let clip = stage.clips.encoded(part.saying, part.codec);
        let (Some(background), Some(clip)) = (background, clip) else {
            return Err(LoadError::Codec {
                codec: part.codec.encoding_name(),
            });
        };
        let listens = stage.listeners.binary_search(&number).is_ok();
        stage.generator.add(CallerSetup {
            number,
            socket: connected.socket,
            remote: connected.remote,
            codec: connected.codec,
            payload_type: connected.payload_type,
            receive_payload_type: connected.receive_payload_type,
            clip,
            background,
            gate: part.gate.clone(),
            offset: part.offset,
            slot: part.slot,
            random: rand::random(),
            keep_seconds: if listens { stage.keep_seconds } else { 0 },
        })?;
        self.parts.push(part);
        self.calls.extend(call.map(|call| (number, call)));
        Ok(())
    }
}

/// What those who enter find there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) cast: &'a Cast,
    pub(super) clips: &'a Arc<Clips>,
    pub(super) generator: &'a Generator,
    /// Numbers of those who keep what they hear, ascending.
    pub(super) listeners: &'a [usize],
    pub(super) keep_seconds: u32,
}

impl Dialler {
    /// A caller's socket, and its call.
    fn dial(
        &mut self,
        part: &Part,
    ) -> Result<
        (
            MediaSocket,
            impl Future<Output = Result<Call, CallError>> + use<>,
        ),
        LoadError,
    > {
        let socket = self.ports.bind_pair(true).map_err(LoadError::Ports)?.rtp;
        let offered = LocalMedia {
            address: self.media,
            rtp_port: socket.local_addr().port(),
            rtcp_port: None,
            rtcp_mux: true,
            codecs: vec![part.codec],
            codec_order: CodecOrder::Ours,
            ptime_ms: Some(20),
            telephone_event: false,
            comfort_noise: false,
            session_id: u64::from(rand::random::<u32>()),
            session_version: 1,
        };
        let (phone, server) = (self.phone.clone(), self.server);
        let dialled = self.target.number(part.conference);
        let caller = format!("load{}", part.number);
        let calling = async move {
            let request = CallRequest {
                server,
                number: &dialled,
                caller: &caller,
                media: offered,
            };
            phone.call(request).await
        };
        Ok((socket, calling))
    }
}

fn open(number: usize, endpoint: &Endpoint, local: IpAddr) -> Result<Connected, LoadError> {
    let address = SocketAddr::new(local, endpoint.local_port);
    let socket = MediaSocket::bind(address, &SocketOptions::default()).map_err(|source| {
        LoadError::LocalPort {
            number: number + 1,
            address,
            source,
        }
    })?;
    Ok(Connected {
        socket,
        remote: endpoint.remote,
        codec: endpoint.codec,
        payload_type: endpoint.payload_type,
        receive_payload_type: endpoint.payload_type,
    })
}
