//! The configuration: one TOML file, or none.
//!
//! Guarantees: reading is a pure function of the text; a text with any error yields no configuration, and every error
//! that can be found in one pass, each with file, line, column, key and what was expected there. Nothing is ignored:
//! an unknown key is an error. `docs/unisono.toml` shows every key with its default.

mod dahdi;
mod error;
mod overload;
mod parse;
mod section;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use unisono_rtp::codec::Codec;

use crate::conference::{Policy, Settings};
use crate::engine::OverloadSettings;
use crate::sip::Algorithm;
use crate::sip::sdp::{CodecOrder, Network};

pub use error::{ConfigError, ConfigErrors};

/// Everything that can be configured. The default serves on loopback only and carries 10,000 legs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Phones: `[sip]`.
    pub sip: Sip,
    /// The HTTP interface: `[http]`.
    pub http: Http,
    /// Audio on the network and the threads that carry it: `[media]`.
    pub media: Media,
    /// Spoken prompts: `[sounds]`.
    pub sounds: Sounds,
    /// Rules for all conferences: `[conferences]`.
    pub policy: Policy,
    /// Conferences that exist without anybody in them: `[[conference]]`.
    pub conferences: Vec<Conference>,
    /// Links to DAHDI conferences: `[dahdi]`.
    pub dahdi: Dahdi,
    /// The loads above which workers shed: `[overload]`.
    pub overload: OverloadSettings,
}

impl Config {
    /// Reads a configuration; `file_name` is what errors call it.
    ///
    /// # Errors
    ///
    /// All that is wrong with the text, in its order.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        parse::parse(text, file_name)
    }
}

/// Phones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// Address and port for SIP.
    pub listen: SocketAddr,
    /// Serve UDP.
    pub udp: bool,
    /// Serve TCP.
    pub tcp: bool,
    /// Address under which the world sees this machine, such as an Elastic IP.
    pub external_address: Option<IpAddr>,
    /// Networks on this side of the NAT.
    pub local_networks: Vec<Network>,
    /// Realm of the digest challenge.
    pub realm: String,
    /// Who may call, sorted by name; empty lets everyone.
    pub users: Vec<User>,
    /// Hash functions of the digest challenge, preferred first.
    pub digest_algorithms: Vec<Algorithm>,
    /// Session timer (RFC 4028): how long a call lives without a refresh; `None` asks for none.
    pub session_expires: Option<Duration>,
    /// Shortest session timer that a caller may ask for, at least 90 s.
    pub min_session_expires: Duration,
}

/// A caller's digest credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// User name.
    pub name: String,
    /// Password.
    pub password: String,
}

/// The HTTP interface.
#[derive(Clone, PartialEq, Eq)]
pub struct Http {
    /// Address and port.
    pub listen: SocketAddr,
    /// Bearer token that requests must carry.
    pub token: Option<String>,
}

/// Audio on the network and the threads that carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// First UDP port for RTP and RTCP.
    pub first_port: u16,
    /// Last one.
    pub last_port: u16,
    /// Even port that all phones whose address is known share on the first worker, with RTCP on the next; the second worker has
    /// the two after that, and so on. `None` gives every leg ports of its own.
    pub shared_port: Option<u16>,
    /// Most legs at a time, each with an even port and the next unless it shares one.
    pub max_legs: u32,
    /// Codecs, best first.
    pub codecs: Vec<Codec>,
    /// Whose order decides.
    pub codec_order: CodecOrder,
    /// Packet duration asked for, milliseconds.
    pub ptime_ms: u8,
    /// Least playout delay, milliseconds.
    pub min_playout_ms: u16,
    /// Most playout delay, milliseconds.
    pub max_playout_ms: u16,
    /// Media worker threads; 0 is one for each CPU that may be used.
    pub workers: u16,
    /// CPUs to which workers are pinned; empty leaves it to the kernel.
    pub cpus: Vec<u16>,
    /// Calls of one conference that a worker takes before another goes on with it; 0 splits only when a worker is busy.
    pub split_above: u32,
    /// SCHED_FIFO priority asked for, 1 to 99; `None` asks for no real-time scheduling.
    pub realtime_priority: Option<u8>,
    /// Differentiated services code point of the RTP packets, 0 to 63.
    pub dscp: u8,
    /// How long a phone may send no audio before it is asked by SIP whether it is there; `None` never asks.
    pub silence_check: Option<Duration>,
}

impl Media {
    /// The even ports of the range that have their successor in it too: how many legs fit.
    pub const fn port_pairs(&self) -> u32 {
        let first_even = self.first_port as u32 + self.first_port as u32 % 2;
        let past = self.last_port as u32 + 1;
        if past > first_even {
            (past - first_even) / 2
        } else {
            0
        }
    }
}

/// Spoken prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sounds {
    /// Folder of sound files, such as `/usr/share/asterisk/sounds`; `None` uses the built-in voice.
    pub directory: Option<PathBuf>,
    /// Language, a folder below it.
    pub language: String,
}

/// A configured conference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conference {
    /// What is dialled.
    pub name: String,
    /// Its settings, the defaults filled in.
    pub settings: Settings,
}

/// Links to DAHDI conferences, in which programs under the preload library meet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dahdi {
    /// Where processes meet; `None` looks where the library does.
    pub directory: Option<PathBuf>,
    /// The links. Neither a number nor a conference is in two of them.
    pub conferences: Vec<DahdiConference>,
}

/// A DAHDI conference that is joined with one of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DahdiConference {
    /// Its number there, 1 to 1024.
    pub number: u16,
    /// The name of a configured conference here.
    pub conference: String,
}

impl Default for Sip {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 5060),
            udp: true,
            tcp: true,
            external_address: None,
            local_networks: Network::private().to_vec(),
            realm: "unisono".into(),
            users: Vec::new(),
            digest_algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            session_expires: Some(Duration::from_secs(1800)),
            min_session_expires: Duration::from_secs(90),
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080),
            token: None,
        }
    }
}

impl Default for Media {
    fn default() -> Self {
        Self {
            first_port: 10_000,
            last_port: 49_999,
            shared_port: None,
            max_legs: 10_000,
            codecs: vec![
                Codec::Opus,
                Codec::G722,
                Codec::Pcmu,
                Codec::Pcma,
                Codec::L16 { rate: 16000 },
                Codec::L16 { rate: 8000 },
                Codec::L16 { rate: 48000 },
                Codec::L16 { rate: 24000 },
            ],
            codec_order: CodecOrder::Theirs,
            ptime_ms: 20,
            min_playout_ms: 20,
            max_playout_ms: 200,
            workers: 0,
            cpus: Vec::new(),
            split_above: 1000,
            realtime_priority: Some(50),
            dscp: 46,
            silence_check: Some(Duration::from_secs(120)),
        }
    }
}

impl Default for Sounds {
    fn default() -> Self {
        Self {
            directory: None,
            language: "en".into(),
        }
    }
}

// Secrets do not reach logs by way of `{:?}`.

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "...");
        f.debug_struct("Http")
            .field("listen", &self.listen)
            .field("token", &token)
            .finish()
    }
}
