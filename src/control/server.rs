//! Start and end of everything.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use unisono_mixer::StripSettings;
use unisono_rtp::net::{PortError, PortPool, SocketOptions};

use super::call::media_address;
use super::capacity::{Capacity, Resources};
use super::handle::ControlHandle;
use super::links::Links;
use super::ports::bind_shared;
use super::switchboard::{Switchboard, SwitchboardParts};
use crate::bridge::{Bridge, BridgeError};
use crate::config::Config;
use crate::engine::{ANNOUNCEMENT_RATE, Engine, EngineConfig, EngineError, LegPolicy};
use crate::prompts::{PromptError, PromptLibrary, PromptSource};
use crate::sip::{
    self, Addressing, AgentConfig, BindError, DigestConfig, Secret, SipConfig, SipHandle, Transport,
};
use crate::web::WebServer;

/// Legs beyond those of calls, so that a call that comes right after another's end finds one. Their descriptors are
/// among those that the capacity keeps for other purposes.
const LEGS_CLOSING: usize = 64;

/// Requests to the control plane that may wait.
const REQUESTS: usize = 256;

/// Rates at which prompts are kept: those that codecs have.
const PROMPT_RATES: [u32; 4] = [8000, 16_000, 24_000, 48_000];

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address for SIP is taken, or is not this machine's.
    #[error("{0}; choose another with --sip or [sip] listen")]
    Sip(#[from] BindError),
    /// The address for HTTP is taken, or is not this machine's.
    #[error(
        "cannot listen for HTTP on {address}: {source}; choose another with --http or [http] listen"
    )]
    Http {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// There are no ports for media.
    #[error("no ports for media: {0}")]
    Ports(#[from] PortError),
    /// No leg could be served at all.
    #[error("this machine can carry no leg: {0}")]
    NoLegs(Capacity),
    /// The workers could not be started.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The prompts cannot be used.
    #[error("[sounds]: {0}")]
    Prompts(#[from] PromptError),
    /// The threads of the DAHDI links could not be started, or their directory is none. One that cannot be used for now is
    /// no error: [`greeting`](Server::greeting) says so, and it is tried again.
    #[error("[dahdi]: {0}")]
    Dahdi(#[from] BridgeError),
    /// A thread of this program broke down while starting.
    #[error("loading the prompts broke down: {0}")]
    Loading(#[from] tokio::task::JoinError),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    control: ControlHandle,
    sip: SipHandle,
    http: SocketAddr,
    capacity: Capacity,
    realtime: String,
    substituted_prompts: usize,
    sounds: Option<PathBuf>,
    external: Option<IpAddr>,
    /// What can be dialled, as an example and in general.
    dial: (String, &'static str),
    /// The links to DAHDI conferences, in words.
    links: Option<String>,
    /// Becomes true when HTTP is to end.
    stop_web: watch::Sender<bool>,
    switchboard: JoinHandle<()>,
    web: JoinHandle<()>,
}

impl Server {
    /// Binds all sockets and starts all threads and tasks. Returns when phones can call.
    ///
    /// # Errors
    /// See [`StartError`]. Real-time scheduling that is refused is no error: [`greeting`](Self::greeting) says so.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let capacity = Capacity::new(&config, Resources::of_this_machine(&config));
        if capacity.legs == 0 {
            return Err(StartError::NoLegs(capacity));
        }
        let web = WebServer::bind(config.http.listen)
            .await
            .map_err(|source| StartError::Http {
                address: config.http.listen,
                source,
            })?;
        let http = web.address();
        let (sip, sip_events) = sip::bind(sip_config(&config, &capacity))?;
        let sip_address = first_bound(&sip).unwrap_or(config.sip.listen);
        let ports = PortPool::new(
            media_address(sip_address),
            config.media.first_port..=config.media.last_port,
            SocketOptions {
                dscp: config.media.dscp,
                ..SocketOptions::default()
            },
            rand::random(),
        );
        let external = config.sip.external_address;
        let dial = what_to_dial(&config);
        let sounds = config.sounds.directory.clone();
        let language = config.sounds.language.clone();
        let prompts = tokio::task::spawn_blocking(move || {
            let source = PromptSource {
                directory: sounds.as_deref(),
                language: &language,
                also: &[],
            };
            PromptLibrary::load(&source, &PROMPT_RATES)
        })
        .await??;
        let settings = engine_config(&config, &capacity);
        let media_ip = media_address(sip_address);
        let shared = bind_shared(&config.media, media_ip, settings.workers, settings.legs)?;
        let mut engine = Engine::start_sharing(settings, shared)?;
        engine.set_overload(config.overload);
        let realtime = describe_grants(&engine);
        let bridge = start_bridge(&config)?;
        let links = bridge
            .as_ref()
            .map(|bridge| describe_links(&config, bridge));
        let bridged = Links::new(bridge, &config.dahdi.conferences);
        let substituted_prompts = if prompts.folder().is_some() {
            prompts.substituted().len()
        } else {
            0
        };
        let sounds = prompts.folder().map(Into::into);

        let (requests, inbox) = mpsc::channel(REQUESTS);
        let control = ControlHandle::new(requests);
        let (stop_web, stopped) = watch::channel(false);
        let token = config.http.token.clone();
        let web = tokio::spawn(web.serve(control.clone(), token, stopped));
        let parts = SwitchboardParts {
            config,
            capacity: capacity.clone(),
            engine,
            sip: sip.clone(),
            ports,
            prompts: Arc::new(prompts),
            links: bridged,
        };
        let switchboard = tokio::spawn(Switchboard::new(parts)?.run(sip_events, inbox));
        Ok(Self {
            control,
            sip,
            http,
            capacity,
            realtime,
            substituted_prompts,
            sounds,
            external,
            dial,
            links,
            stop_web,
            switchboard,
            web,
        })
    }

    /// Where phones call.
    pub fn sip_address(&self) -> SocketAddr {
        first_bound(&self.sip).unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    /// Where the HTTP interface is.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// A way to ask the control plane.
    pub fn control(&self) -> ControlHandle {
        self.control.clone()
    }

    /// What an operator should see at the start, line by line.
    pub fn greeting(&self) -> Vec<String> {
        let transports: Vec<&str> = [(Transport::Udp, "udp"), (Transport::Tcp, "tcp")]
            .into_iter()
            .filter(|(transport, _)| self.sip.bound_to(*transport).is_some())
            .map(|(_, name)| name)
            .collect();
        let sip = self.sip_address();
        let mut lines = vec![
            format!("unisono {}", env!("CARGO_PKG_VERSION")),
            format!("SIP        {} {sip}", transports.join("+")),
            format!("HTTP       http://{}", self.http),
            format!("legs       {}", self.capacity),
            format!("real-time  {}", self.realtime),
        ];
        if let Some(folder) = &self.sounds {
            let missing = match self.substituted_prompts {
                0 => String::new(),
                count => format!(", {count} from the built-in voice"),
            };
            lines.push(format!("prompts    {}{missing}", folder.display()));
        }
        lines.extend(
            self.links
                .as_ref()
                .map(|links| format!("DAHDI      {links}")),
        );
        let host = self.external.unwrap_or_else(|| reachable(sip.ip()));
        let host = SocketAddr::new(host, sip.port()).to_string();
        let host = host.strip_suffix(":5060").unwrap_or(&host);
        let (number, others) = &self.dial;
        lines.push(format!(
            "ready: dial sip:{number}@{host}{others} to meet in a conference"
        ));
        lines
    }

    /// Waits until the server ends by itself, which it does only when something broke down, and says what.
    pub async fn ended(&mut self) -> String {
        tokio::select! {
            ended = &mut self.switchboard => match ended {
                Ok(()) => "the control plane stopped".to_owned(),
                Err(error) => format!("the control plane broke down: {error}"),
            },
            ended = &mut self.web => match ended {
                Ok(()) => "HTTP stopped".to_owned(),
                Err(error) => format!("HTTP broke down: {error}"),
            },
        }
    }

    /// Says BYE to everybody and ends.
    pub async fn stop(self) {
        // Errors mean that it has stopped already.
        let _ = self.control.stop().await;
        let _ = self.switchboard.await;
        let _ = self.stop_web.send(true);
        let _ = tokio::time::timeout(std::time::Duration::from_secs(2), self.web).await;
    }
}

/// A number that leads to a conference, and what else does, for the greeting.
fn what_to_dial(config: &Config) -> (String, &'static str) {
    let configured = config
        .conferences
        .first()
        .map(|conference| conference.name.clone());
    match (configured, config.policy.allow_unknown) {
        (name, true) => (
            name.unwrap_or_else(|| "100".into()),
            ", or any other number,",
        ),
        (Some(name), false) if config.conferences.len() > 1 => {
            (name, ", or another configured number,")
        }
        (Some(name), false) => (name, ""),
        (None, false) => ("NUMBER".into(), ", once conferences are configured,"),
    }
}

fn first_bound(sip: &SipHandle) -> Option<SocketAddr> {
    sip.bound_to(Transport::Udp)
        .or_else(|| sip.bound_to(Transport::Tcp))
}

/// An address that reaches this machine: for "all addresses" the one that packets to the world leave from.
fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // From the addresses for documentation: the kernel picks a route, and sends nothing.
    let world: SocketAddr = match ip {
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1), 5060).into(),
        IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 5060).into(),
    };
    let route = || -> std::io::Result<IpAddr> {
        let socket = std::net::UdpSocket::bind((ip, 0))?;
        socket.connect(world)?;
        Ok(socket.local_addr()?.ip())
    };
    route().unwrap_or(ip)
}

fn sip_config(config: &Config, capacity: &Capacity) -> SipConfig {
    let settings = &config.sip;
    let mut sip = SipConfig::at(settings.listen);
    if !settings.udp {
        sip.udp.clear();
    }
    if !settings.tcp {
        sip.tcp.clear();
    }
    sip.max_connections = capacity.connections as usize;
    sip.agent = AgentConfig {
        addressing: Addressing {
            advertised: settings.external_address,
            private: settings.local_networks.clone(),
            ..Addressing::default()
        },
        digest: digest_config(config),
        session_expires: settings.session_expires,
        min_se: settings.min_session_expires,
        max_calls: capacity.legs as usize,
        ..AgentConfig::default()
    };
    sip
}

fn digest_config(config: &Config) -> Option<DigestConfig> {
    let settings = &config.sip;
    let users = settings
        .users
        .iter()
        .map(|user| (user.name.clone(), Secret::Password(user.password.clone())));
    (!settings.users.is_empty()).then(|| DigestConfig {
        algorithms: settings.digest_algorithms.clone(),
        ..DigestConfig::new(&settings.realm, users.collect())
    })
}

/// What the media plane is started with.
pub(crate) fn engine_config(config: &Config, capacity: &Capacity) -> EngineConfig {
    let media = &config.media;
    let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A leg that was closed is free again only after the worker's next tick.
    let legs = capacity.legs as usize + LEGS_CLOSING + config.dahdi.conferences.len();
    EngineConfig {
        workers: if media.workers == 0 {
            available
        } else {
            usize::from(media.workers)
        },
        cpus: media.cpus.iter().map(|cpu| usize::from(*cpu)).collect(),
        priority: media.realtime_priority,
        legs,
        // A conference on the media plane has at least one leg.
        rooms: legs,
        split_above: media.split_above as usize,
        policy: LegPolicy {
            playout_ms: (media.min_playout_ms.into(), media.max_playout_ms.into()),
            strip: StripSettings::default(),
            ..LegPolicy::default()
        },
    }
}

/// The bridge to DAHDI, if there is anything to link.
fn start_bridge(config: &Config) -> Result<Option<Bridge>, BridgeError> {
    let links = &config.dahdi.conferences;
    if links.is_empty() {
        return Ok(None);
    }
    let numbers: Vec<u16> = links.iter().map(|link| link.number).collect();
    let directory = config.dahdi.directory.as_deref();
    Bridge::start(directory, &numbers, config.media.realtime_priority).map(Some)
}

fn describe_links(config: &Config, bridge: &Bridge) -> String {
    let links: Vec<String> = config
        .dahdi
        .conferences
        .iter()
        .map(|link| format!("{} = {}", link.number, link.conference))
        .collect();
    let links = links.join(", ");
    match bridge.directory() {
        Ok(directory) => format!("{links} by {}", directory.display()),
        Err(reason) => format!("{links}: NOT YET: {reason}"),
    }
}

/// One line for all workers; they are granted the same, as a rule.
fn describe_grants(engine: &Engine) -> String {
    let mut grants: Vec<String> = engine.grants().map(ToString::to_string).collect();
    let count = grants.len();
    grants.dedup();
    match grants.as_slice() {
        [one] if count > 1 => format!("{count} workers, each: {one}"),
        _ => grants.join(" | "),
    }
}

// Announcements are kept at a rate that prompts are loaded at.
const _: () = assert!(PROMPT_RATES[1] == ANNOUNCEMENT_RATE.hz());
