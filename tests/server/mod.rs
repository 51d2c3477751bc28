//! A `unisono serve` of its own for a test, on free loopback ports, and the few words of HTTP that tests say to it.

#![allow(dead_code)] // Each test program uses its part.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longest wait for the server to be ready, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    process: Child,
    greeting: Vec<String>,
    log: PathBuf,
    pub(crate) sip: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Server {
    /// Starts a server with `config` (none: without a configuration), which logs to `folder`.
    pub(crate) fn start(folder: &Path, config: Option<&str>) -> Self {
        let log = folder.join("unisono.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_unisono"));
        command.args(["serve", "--sip", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
        if let Some(config) = config {
            let path = folder.join("unisono.toml");
            fs::write(&path, config).expect("write the configuration");
            command.arg("--config").arg(path);
        }
        let mut process = command
            .env("UNISONO_LOG", "debug")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("create the server's log"))
            .spawn()
            .expect("start the server");
        let greeting = read_greeting(&mut process, &log);
        let word_after = |name: &str| {
            let line = greeting
                .iter()
                .find(|line| line.contains(name))
                .unwrap_or_else(|| panic!("the greeting names no {name}: {greeting:#?}"));
            let last = line.split_whitespace().last().unwrap_or_default();
            let address = last.trim_start_matches("http://").trim_end_matches('/');
            address
                .parse()
                .unwrap_or_else(|_| panic!("no address ends {line:?}"))
        };
        Self {
            sip: word_after("SIP"),
            http: word_after("HTTP"),
            process,
            greeting,
            log,
        }
    }

    /// What it printed until it was ready.
    pub(crate) fn greeting(&self) -> String {
        self.greeting.join("\n")
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn stop(mut self) -> ExitStatus {
        kill(pid(&self.process), Signal::SIGTERM).expect("signal the server");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("wait for the server") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the server does not end; its log ends with\n{}",
                tail(&self.log())
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "", None)
    }

    pub(crate) fn patch(&self, path: &str, body: &str) -> Answer {
        self.request("PATCH", path, "", Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, "", None)
    }

    /// One request with further `headers`, each ended by CRLF.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&str>,
    ) -> Answer {
        let body = body.unwrap_or_default();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.http,
            body.len()
        ))
    }

    /// Octets of one's own choice on a new connection, and what comes back.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(self.http).expect("connect to the HTTP port");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("set a time-out");
        stream.write_all(request.as_bytes()).expect("send");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("read the answer");
        Answer::parse(&String::from_utf8_lossy(&answer))
    }

    /// Octets that are no request, and the answer, if the server thinks them worth one.
    pub(crate) fn nonsense(&self, octets: &str) -> Option<Answer> {
        let mut stream = TcpStream::connect(self.http).expect("connect to the HTTP port");
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .expect("set a time-out");
        let _ = stream.write_all(octets.as_bytes());
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap_or(0);
        (length > 0).then(|| Answer::parse(&String::from_utf8_lossy(&answer[..length])))
    }

    /// The participants of a conference; empty if there is no such conference.
    pub(crate) fn participants(&self, conference: &str) -> Vec<Value> {
        let answer = self.get(&format!("/v1/conferences/{conference}/participants"));
        if answer.status == 404 {
            return Vec::new();
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["participants"]
            .as_array()
            .expect("a list")
            .clone()
    }

    /// The sum of all metrics whose name has this in it.
    pub(crate) fn metric(&self, part: &str) -> f64 {
        let metrics = self.get("/metrics").body;
        let values: Vec<f64> = metrics
            .lines()
            .filter(|line| !line.starts_with('#') && line.contains(part))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!values.is_empty(), "no {part} in\n{metrics}");
        values.iter().sum()
    }

    /// Waits until a conference has `count` participants, and returns them.
    pub(crate) fn wait_for_participants(&self, conference: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let participants = self.participants(conference);
            if participants.len() == count {
                return participants;
            }
            assert!(
                Instant::now() < deadline,
                "conference {conference} has {} participants, not {count}; the server's log ends with\n{}",
                participants.len(),
                tail(&self.log())
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("not an HTTP answer: {text:?}"));
        Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }
}

/// The last lines of a text, for messages.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

fn pid(process: &Child) -> Pid {
    Pid::from_raw(i32::try_from(process.id()).expect("a process number"))
}

/// Reads up to the line that says it is ready; a thread goes on reading, so that the server never waits for a reader.
fn read_greeting(process: &mut Child, log: &Path) -> Vec<String> {
    let stdout = process.stdout.take().expect("its output is piped");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut greeting = Vec::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) => {
                let ready = line.to_lowercase().starts_with("ready");
                greeting.push(line);
                if ready {
                    return greeting;
                }
            }
            Err(error) => {
                let _ = process.kill();
                panic!(
                    "the server is not ready ({error}); it printed {greeting:#?} and logged\n{}",
                    tail(&fs::read_to_string(log).unwrap_or_default())
                );
            }
        }
    }
}
