//! A member of conferences with an exchange of its own, in this process or in a child.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use unisono_dahdi::exchange::{ChannelNumber, Exchange, Limits, STEP};
use unisono_dahdi::request::{BufInfo, ConfInfo, Request};
use unisono_dahdi_trunk::report::ProcessReport;
use unisono_dahdi_trunk::{Answering, Directory, Trunk, TrunkLines};

/// Says to a child where to meet, and that it is one.
const VARIABLE: &str = "UNISONO_TRUNK_TEST_DIR";

/// No child takes so long to obey, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for one test, in memory if possible.
pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Names of the files in a directory that end so.
pub(crate) fn files(directory: &Path, end: &str) -> Vec<String> {
    let names = directory.read_dir().unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(end))
        .collect()
}

/// One exchange and its end of the trunk.
pub(crate) struct Member {
    pub(crate) trunk: Trunk,
    lines: TrunkLines,
    exchange: Exchange,
    channel: ChannelNumber,
    answering: Answering,
}

impl Member {
    pub(crate) fn new(path: &Path) -> Self {
        let directory = Directory::at(path).unwrap();
        let trunk = Trunk::open(&directory, "a member").unwrap();
        let mut exchange = Exchange::new(Limits::default());
        let channel = exchange.open(0).unwrap();
        let buffers = BufInfo {
            tx_policy: 0,
            rx_policy: 0,
            buffers: 8,
            block: 160,
            read_buffers: 0,
            write_buffers: 0,
        };
        for request in [Request::SetBufInfo(buffers), Request::SetLinear(true)] {
            exchange.request(channel, request, 0).unwrap();
        }
        Self {
            lines: trunk.lines().unwrap(),
            answering: Answering::bind(&directory).unwrap(),
            trunk,
            exchange,
            channel,
        }
    }

    /// Goes into a conference, or out of all (0).
    pub(crate) fn join(&mut self, conference: i32) {
        let before = self.exchange.conference(self.channel).unwrap().conference;
        let info = ConfInfo {
            channel: 0,
            conference,
            mode: if conference == 0 { 0 } else { 0x304 },
        };
        self.exchange
            .request(self.channel, Request::SetConf(info), 0)
            .unwrap();
        if before != 0 {
            self.trunk.close_line(before);
            self.trunk.numbers().release(before);
        }
        if conference != 0 {
            self.trunk.numbers().hold(conference).unwrap();
            self.trunk.open_line(conference).unwrap();
        }
    }

    /// One step, whose number is `step`: says a constant and returns the end of what it hears.
    pub(crate) fn step(&mut self, step: u64, says: i16) -> i16 {
        let now = step * STEP as u64;
        let octets: Vec<u8> = std::iter::repeat_n(says.to_ne_bytes(), STEP)
            .flatten()
            .collect();
        let _ = self.exchange.write(self.channel, &octets, now);
        self.exchange.advance_with(now, &mut self.lines);
        let mut heard = [0; 2 * STEP];
        let mut last = 0;
        while self.exchange.read(self.channel, &mut heard, now).is_ok() {
            last = i16::from_ne_bytes([heard[2 * STEP - 2], heard[2 * STEP - 1]]);
        }
        last
    }

    fn obey(&mut self, order: &str) -> Option<String> {
        let mut words = order.split_whitespace();
        let verb = words.next()?;
        let mut number = || words.next().unwrap().parse::<i64>().unwrap();
        Some(match verb {
            "join" => {
                self.join(number() as i32);
                String::new()
            }
            "step" => self.step(number() as u64, number() as i16).to_string(),
            "refresh" => {
                let found = self.trunk.refresh().unwrap();
                format!("{} {}", found.processes, found.gone)
            }
            "reserve" => format!("{:?}", self.trunk.numbers().reserve()),
            "answer" => {
                let report = || ProcessReport {
                    pid: std::process::id(),
                    program: "a member".to_owned(),
                    ..ProcessReport::default()
                };
                // Somebody may not have asked yet.
                let mut wait = [PollFd::new(self.answering.as_fd(), PollFlags::POLLIN)];
                poll(&mut wait, PollTimeout::try_from(PATIENCE).unwrap()).unwrap();
                self.answering.answer(report).to_string()
            }
            _ => return None,
        })
    }
}

/// Plays a member as a child, until its parent wants no more.
pub(crate) fn play() {
    let Some(path) = std::env::var_os(VARIABLE) else {
        return;
    };
    let mut member = Member::new(Path::new(&path));
    println!("> ready");
    for order in std::io::stdin().lines() {
        match member.obey(&order.unwrap()) {
            Some(answer) => println!("> {answer}"),
            None => break,
        }
    }
}

/// A member in a child process.
pub(crate) struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(path: &Path) -> Self {
        Self::by(&mut Command::new(std::env::current_exe().unwrap()), path)
    }

    /// By a command that runs this program.
    pub(crate) fn by(command: &mut Command, path: &Path) -> Self {
        let mut child = command
            .args(["plays_a_member", "--exact", "--nocapture"])
            .env(VARIABLE, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut process = Self {
            orders: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        assert_eq!(process.answer(), "ready");
        process
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Says what to do, and waits until it is done.
    pub(crate) fn tell(&mut self, order: &str) -> String {
        self.begin(order);
        self.answer()
    }

    /// Says what to do.
    pub(crate) fn begin(&mut self, order: &str) {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
    }

    pub(crate) fn step(&mut self, step: u64, says: i16) -> i16 {
        self.tell(&format!("step {step} {says}")).parse().unwrap()
    }

    pub(crate) fn answer(&mut self) -> String {
        loop {
            if self.answers.buffer().is_empty() {
                let mut wait = [PollFd::new(
                    self.answers.get_ref().as_fd(),
                    PollFlags::POLLIN,
                )];
                let ready = poll(&mut wait, PollTimeout::try_from(PATIENCE).unwrap()).unwrap();
                assert_eq!(ready, 1, "the child does not answer");
            }
            let mut line = String::new();
            assert_ne!(
                self.answers.read_line(&mut line).unwrap(),
                0,
                "the child ended"
            );
            // The test harness may have written on the same line.
            if let Some((_, answer)) = line.trim_end().split_once("> ") {
                return answer.to_owned();
            }
            if let Some(answer) = line.trim_end().strip_prefix('>') {
                return answer.to_owned();
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Ends it without letting it do anything about it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it end by itself.
    pub(crate) fn leave(mut self) {
        self.orders = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
