//! sipp: calls by the letter of a scenario, and speaks G.711 or G.722 by RTP.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use unisono_rtp::codec::{Codec, Encoder};

use super::{Keys, Program};
use crate::sound::Voice;
use crate::stage::{Stage, free_port};

/// How long a voice's file is, seconds: longer than any call, since its end is not the clip's.
const VOICE_SECONDS: usize = 120;

/// What sipp writes between messages.
const SEPARATOR: &str = "-----------------------------------------------";

/// A call to be made.
#[derive(Debug)]
pub(crate) struct Sipp {
    folder: PathBuf,
    name: String,
    scenario: String,
    target: SocketAddr,
    transport: &'static str,
    arguments: Vec<String>,
    as_root: bool,
    values: Vec<(String, String)>,
}

impl Sipp {
    /// A call by the scenario `sipp/SCENARIO.xml` to `target`, in a folder called `name`.
    pub(crate) fn new(stage: &Stage, name: &str, scenario: &str, target: SocketAddr) -> Self {
        Self {
            folder: stage.subfolder(name),
            name: name.to_owned(),
            scenario: text(&format!("{scenario}.xml")),
            target,
            transport: "u1",
            arguments: Vec::new(),
            as_root: false,
            values: vec![("NAME".to_owned(), name.to_owned())],
        }
    }

    /// Replaces `@KEY@` in the scenario. Keys that are left then are replaced by the files in `sipp/parts/`.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.values.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Which conference is called, and for how long, where a scenario leaves that open.
    pub(crate) fn calling(self, conference: &str, seconds: f64) -> Self {
        self.with("CONFERENCE", conference)
            .with("TALK_MS", &format!("{:.0}", seconds * 1000.0))
    }

    /// The call speaks with this voice in this codec: `@FILE@`, `@PT@` and `@CODEC@`.
    pub(crate) fn speaking(self, voice: Voice, codec: Codec) -> Self {
        let (payload_type, name) = match codec {
            Codec::Pcmu => ("0", "PCMU/8000"),
            Codec::Pcma => ("8", "PCMA/8000"),
            Codec::G722 => ("9", "G722/8000"),
            _ => panic!("sipp speaks G.711 and G.722"),
        };
        let file = self.voice_file(voice, codec);
        self.with("FILE", &file)
            .with("PT", payload_type)
            .with("CODEC", name)
    }

    /// Makes a file of this voice for `rtp_stream`, and returns its name.
    pub(crate) fn voice_file(&self, voice: Voice, codec: Codec) -> String {
        let name = format!("{voice}.{codec:?}").to_lowercase();
        let audio = voice.repeated(codec.sample_rate(), VOICE_SECONDS);
        let mut encoder = Encoder::new(codec);
        let mut payload = [0; 160];
        let mut octets = Vec::new();
        for frame in audio.chunks_exact(codec.sample_rate() as usize / 50) {
            let length = encoder.encode(frame, &mut payload);
            octets.extend(&payload[..length]);
        }
        fs::write(self.folder.join(&name), octets).expect("write a voice");
        name
    }

    /// A capture with this audio and these keys for `play_pcap_audio`: `@KEYS@`. It is sent through a raw socket.
    pub(crate) fn pressing(mut self, keys: &Keys) -> Self {
        fs::write(self.folder.join("keys.pcap"), keys.pcap()).expect("write the keys");
        self.as_root = true;
        self.with("KEYS", "keys.pcap")
    }

    /// Presses these keys by INFO: `@PRESSES@`.
    pub(crate) fn pressing_by_info(self, keys: &str) -> Self {
        let press = text("parts/press.txt");
        let presses: Vec<String> = keys
            .chars()
            .map(|key| press.replace("@KEY@", &key.to_string()))
            .collect();
        self.with("PRESSES", &presses.join("\n"))
    }

    pub(crate) fn over_tcp(mut self) -> Self {
        self.transport = "t1";
        self
    }

    /// Further arguments of sipp.
    pub(crate) fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// Makes one call.
    pub(crate) fn start(self) -> RunningSipp {
        self.start_calls(1)
    }

    /// Makes this many calls.
    pub(crate) fn start_calls(self, calls: usize) -> RunningSipp {
        let scenario = complete(&self.scenario, &self.values);
        fs::write(self.folder.join("scenario.xml"), scenario).expect("write the scenario");
        let arguments = format!(
            "sipp {} -sf scenario.xml -nostdin -i 127.0.0.1 -p {} -mp {} -t {} -m {calls} \
             -trace_msg -message_file messages -trace_err -error_file errors \
             -timeout 100s -timeout_error -recv_timeout 20000",
            self.target,
            free_port(),
            free_port(),
            self.transport,
        );
        let arguments: Vec<&str> = arguments
            .split_whitespace()
            .chain(self.arguments.iter().map(String::as_str))
            .collect();
        let program = if self.as_root {
            Program::start_as_root("sipp", &self.folder, &arguments)
        } else {
            Program::start("sipp", &self.folder, &arguments)
        };
        RunningSipp {
            program,
            folder: self.folder,
            name: self.name,
        }
    }
}

/// A call, or some, that sipp is making.
#[derive(Debug)]
pub(crate) struct RunningSipp {
    program: Program,
    folder: PathBuf,
    name: String,
}

impl RunningSipp {
    /// The ports to which its audio is to be sent, as it told the server, each once.
    pub(crate) fn audio_ports(&self) -> Vec<u16> {
        self.ports_in("message sent")
    }

    /// The server's port for its audio, once it was told.
    pub(crate) fn server_port(&self) -> Option<u16> {
        self.ports_in("message received").first().copied()
    }

    /// The port to which its audio is to be sent. Waits until it has told the server.
    pub(crate) fn audio_port(&self) -> u16 {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(&port) = self.audio_ports().first() {
                return port;
            }
            assert!(Instant::now() < deadline, "{} offers no audio", self.name);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the end of the scenario, which has to go as written, and returns all messages.
    pub(crate) fn succeed(mut self) -> String {
        let status = self.program.wait(Duration::from_secs(110));
        let messages = self.read("messages");
        assert!(
            status.success(),
            "{} (sipp) does not see what its scenario says ({status}):\n{}\nThe messages were\n{messages}",
            self.name,
            self.read("errors"),
        );
        messages
    }

    /// The ports of the audio streams in the session descriptions that were sent or received.
    fn ports_in(&self, direction: &str) -> Vec<u16> {
        let messages = self.read("messages");
        let mut ports = Vec::new();
        for message in messages
            .split(SEPARATOR)
            .filter(|message| message.contains(direction))
        {
            let port = message.lines().find_map(|line| {
                let port = line.strip_prefix("m=audio ")?.split(' ').next()?;
                port.parse().ok()
            });
            if let Some(port) = port.filter(|port| !ports.contains(port)) {
                ports.push(port);
            }
        }
        ports
    }

    fn read(&self, name: &str) -> String {
        let octets = fs::read(self.folder.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&octets).into_owned()
    }
}

/// Replaces every `@KEY@`.
fn complete(scenario: &str, values: &[(String, String)]) -> String {
    let mut scenario = scenario.to_owned();
    while let Some(key) = next_key(&scenario) {
        let value = match values.iter().rfind(|(name, _)| *name == key) {
            Some((_, value)) => value.clone(),
            None => text(&format!("parts/{}.txt", key.to_lowercase())),
        };
        scenario = scenario.replacen(&format!("@{key}@"), &value, 1);
    }
    scenario
}

/// The name of the first `@KEY@`.
fn next_key(scenario: &str) -> Option<String> {
    let is_key = |part: &&str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|octet| octet.is_ascii_uppercase() || octet == b'_')
    };
    scenario.split('@').skip(1).find(is_key).map(str::to_owned)
}

/// A file in `sipp/`, without its last line end.
fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peer/sipp")
        .join(name);
    let mut text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if text.ends_with('\n') {
        text.pop();
    }
    text
}
