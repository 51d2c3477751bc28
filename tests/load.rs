//! `unisono load`, as a script sees it: against a server of ours, against an echo of plain RTP, and where nobody is.
//!
//! Machines that run tests are noisy, so nothing here says how punctual or how complete anything has to be: whether a run held is compared
//! with the figures it gives, and only who is heard must be right.

mod server;

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{self, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use server::Server;
use unisono::load::report::{LoadReport, Pace, ReachedBy, Verdict};
use unisono_rtp::net::{PortPool, SocketOptions};

/// Limits that no machine breaks.
const ANYTHING: &str = "p99-ms=100000,loss=100";

fn load(arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("unisono").unwrap();
    command.arg("load").args(arguments).output().unwrap()
}

/// The report on standard output.
fn report(output: &Output) -> LoadReport {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    LoadReport::from_json(text).unwrap_or_else(|error| panic!("{error}: {}", complaint(output)))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("unisono-load-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn callers_of_three_conferences_hear_their_own_talkers_and_nobody_else() {
    let folder = folder("three");
    let quiet = "[conferences]\nannounce_join_leave = false\nannounce_only_person = false\n";
    let server = Server::start(&folder, Some(quiet));
    let target = format!("sip:room{{}}@{}", server.sip);
    let output = load(&[
        &target,
        "--callers",
        "12",
        "--conferences",
        "3",
        "--talk",
        "2",
        "--codec",
        "mix:pcmu=50,g722=50",
        "--seconds",
        "4",
        "--warm-up",
        "1",
        "--listen-to",
        "6",
        "--until",
        ANYTHING,
        "--json",
        "-",
    ]);
    let report = report(&output);
    let seen = format!("{report:#?}\n{}", complaint(&output));
    let [step] = report.steps.as_slice() else {
        panic!("{seen}");
    };
    assert_eq!(
        (step.callers.connected, step.conferences),
        (12, 3),
        "{seen}"
    );
    assert_eq!(report.server.reached_by, ReachedBy::Sip);
    assert!(
        report
            .server
            .name
            .is_some_and(|name| name.contains("unisono")),
        "{seen}"
    );
    // How many depends on the machine; that they flow does not.
    let streams = &step.streams;
    assert_eq!((streams.count, streams.silent), (12, 0), "{seen}");
    assert!(
        streams.packets.sent > 12 * 50 && streams.packets.received > 12 * 50,
        "{seen}"
    );
    assert!(streams.deviation_us.count > 12 * 50, "{seen}");
    let hearing = step.hearing.as_ref().expect("somebody listened");
    assert_eq!(hearing.listeners, 6, "{seen}");
    assert!(hearing.expected >= 6, "{seen}");
    assert_eq!((hearing.strangers, hearing.own_voice), (0, 0), "{seen}");
    assert_eq!(hearing.missing, 0, "{seen}");
    let delay = step
        .mouth_to_ear
        .as_ref()
        .expect("they heard somebody")
        .delay_ms;
    assert!(
        delay.count > 0 && delay.p50 > 0.0 && delay.p50 <= delay.p99,
        "{seen}"
    );
    // The server is a process of ours, so it was found, and it worked.
    let process = step.process.as_ref().expect("it is on this machine");
    assert!(process.cpu_percent > 0.0 && process.rss_kib > 0, "{seen}");
    assert!(step.generator.lateness_us.count > 0, "{seen}");
    let held = matches!(report.verdict, Verdict::Held { callers: 12 });
    assert_eq!(output.status.code(), Some(i32::from(!held)), "{seen}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn callers_share_the_port_of_a_server_that_has_one_for_all() {
    let folder = folder("shared");
    let local = "127.0.0.1".parse().unwrap();
    let random = process::id() as u16;
    let mut pool = PortPool::new(local, 61_000..=63_000, SocketOptions::default(), random);
    let port = pool.bind_pair(false).unwrap().rtp.local_addr().port();
    let server = Server::start(&folder, Some(&format!("[media]\nshared_port = {port}\n")));
    // Until it is told to end.
    let mut callers = process::Command::new("timeout")
        .args(["--foreground", "60", env!("CARGO_BIN_EXE_unisono")])
        .args(["load", &format!("sip:room@{}", server.sip)])
        .args(["--callers", "5", "--seconds", "600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let participants = server.wait_for_participants("room", 5);
    kill(Pid::from_raw(callers.id() as i32), Signal::SIGINT).unwrap();
    callers.wait().unwrap();
    for participant in &participants {
        assert_eq!(participant["media"]["shared_port"], true, "{participant}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn where_nobody_listens_no_result_is_made_up() {
    let free = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let output = load(&[&format!("sip:1@{address}"), "--json", "-"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let complaint = complaint(&output);
    assert!(complaint.contains(&address.to_string()), "{complaint}");
    assert!(complaint.contains("nothing listens"), "{complaint}");
}

#[test]
fn what_cannot_be_run_is_refused_with_what_to_do() {
    for (arguments, expected) in [
        (&["room@127.0.0.1"][..], "sip:NUMBER@HOST"),
        (
            &["sip:1@127.0.0.1", "--conferences", "2", "--callers", "4"],
            "{}",
        ),
        (&["sip:1@127.0.0.1", "--codec", "g729"], "g722"),
        (&["sip:1@127.0.0.1", "--ramp", "9:3"], "ramp"),
        (&["sip:1@127.0.0.1", "--until", "beauty=1"], "p99-ms"),
        (&["sip:1@127.0.0.1", "--callers", "4000000"], "ulimit -n"),
        (
            &["sip:1@127.0.0.1", "--json", "/nowhere/at/all"],
            "/nowhere/at/all",
        ),
        (&["rtp:/nowhere/legs.json"], "/nowhere/legs.json"),
    ] {
        let output = load(arguments);
        let complaint = complaint(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
        assert!(output.stdout.is_empty());
    }
}

/// Sends everybody back what it said, until dropped.
struct Echo {
    address: SocketAddr,
    /// When each datagram came, of all callers.
    arrivals: Arc<Mutex<Vec<Instant>>>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let address = socket.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let arrivals = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&arrivals);
        let thread = std::thread::spawn(move || {
            let mut datagram = [0; 2048];
            while !told.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut datagram) {
                    noted.lock().unwrap().push(Instant::now());
                    // A caller that is gone needs no answer.
                    let _ = socket.send_to(&datagram[..length], from);
                }
            }
        });
        Self {
            address,
            arrivals,
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A target of callers of an echo, each in a conference of its own.
fn endpoints(folder: &Path, echo: &Echo, callers: usize) -> String {
    let list = folder.join("legs.json");
    let leg = |conference: usize| {
        format!(
            r#"{{"local_port": 0, "remote": "{}", "conference": {conference}, "codec": "pcmu", "payload_type": 0, "payload_type_dtmf": null}}"#,
            echo.address
        )
    };
    let legs: Vec<String> = (1..=callers).map(leg).collect();
    std::fs::write(&list, format!("[{}]", legs.join(", "))).unwrap();
    format!("rtp:{}", list.display())
}

#[test]
fn callers_who_burst_send_all_at_once() {
    let folder = folder("burst");
    let echo = Echo::start();
    let target = endpoints(&folder, &echo, 8);
    let output = load(&[
        &target,
        "--pace",
        "burst",
        "--seconds",
        "2",
        "--warm-up",
        "0",
        "--listen-to",
        "0",
        "--until",
        ANYTHING,
        "--json",
        "-",
    ]);
    let report = report(&output);
    let seen = format!("{report:#?}\n{}", complaint(&output));
    assert_eq!(report.plan.pace, Pace::Burst, "{seen}");
    assert!(report.steps[0].streams.packets.sent > 0, "{seen}");
    // Evenly paced, eight callers are 2.5 ms apart. However slow a machine is, it makes that shorter, never a burst longer.
    let arrivals = echo.arrivals.lock().unwrap();
    assert!(arrivals.len() > 8 * 10, "{seen}");
    let mut apart: Vec<Duration> = arrivals.windows(2).map(|two| two[1] - two[0]).collect();
    apart.sort_unstable();
    let median = apart[apart.len() / 2];
    assert!(median < Duration::from_millis(1), "{median:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_echo_of_plain_rtp_is_wrong_audio() {
    let folder = folder("echo");
    let echo = Echo::start();
    let target = endpoints(&folder, &echo, 2);
    let output = load(&[
        &target,
        "--talk",
        "1",
        "--seconds",
        "4",
        "--warm-up",
        "0",
        "--until",
        ANYTHING,
        "--json",
        "-",
    ]);
    let report = report(&output);
    let seen = format!("{report:#?}\n{}", complaint(&output));
    let step = &report.steps[0];
    assert_eq!(report.server.reached_by, ReachedBy::Rtp);
    assert_eq!((step.callers.connected, step.conferences), (2, 2), "{seen}");
    assert!(step.streams.packets.received > 2 * 50, "{seen}");
    // Whoever talks to an echo hears itself, and that is what is said of it.
    assert_eq!(
        step.hearing.as_ref().map(|hearing| hearing.own_voice),
        Some(2),
        "{seen}"
    );
    let Verdict::Broke {
        criterion,
        sentence,
        ..
    } = &report.verdict
    else {
        panic!("{seen}");
    };
    assert_eq!(criterion, "hearing", "{seen}");
    assert!(sentence.contains("itself"), "{seen}");
    assert_eq!(output.status.code(), Some(1));
    std::fs::remove_dir_all(folder).unwrap();
}
