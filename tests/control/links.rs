//! Links to DAHDI conferences: a phone here and somebody there, with a process of their own on the trunk.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use unisono::conference::Settings;
use unisono::config::{Conference, Config, DahdiConference};
use unisono::control::{Server, StartError};
use unisono_dahdi::exchange::{Lines, STEP};
use unisono_dahdi_trunk::{Directory, Trunk};
use unisono_timer::MonoTime;

use crate::support::*;

const A: f64 = 500.0;
const B: f64 = 900.0;
const C: f64 = 1500.0;
const D: f64 = 2300.0;

/// A step of the grid that all exchanges keep, ns.
const STEP_NS: u64 = 20_000_000;

/// Where the child process is told to meet; see [`as_another_process`].
const MEET_IN: &str = "UNISONO_TEST_MEET_IN";

/// Somebody in a DAHDI conference.
#[derive(Debug)]
struct Member {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<i16>>>,
}

impl Member {
    /// Says a tone (Hz) or nothing until told to leave.
    fn join(directory: &Path, conference: i32, tone: Option<f64>) -> Self {
        let leave = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (directory, leave) = (directory.to_owned(), Arc::clone(&leave));
            move || take_part(&directory, conference, tone, &leave)
        });
        Self {
            leave,
            thread: Some(thread),
        }
    }

    /// Leaves; what was heard.
    fn leave(mut self) -> Vec<i16> {
        self.leave.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
    }
}

/// What an exchange does with a conference, made short.
fn take_part(directory: &Path, conference: i32, tone: Option<f64>, leave: &AtomicBool) -> Vec<i16> {
    let trunk = Trunk::open(&Directory::at(directory).unwrap(), "meetme").unwrap();
    trunk.numbers().hold(conference).unwrap();
    trunk.open_line(conference).unwrap();
    let mut lines = trunk.lines().unwrap();
    let mut heard = Vec::new();
    let mut step = MonoTime::now().as_nanos() / STEP_NS + 1;
    while !leave.load(Ordering::Relaxed) {
        let wait = (step * STEP_NS).saturating_sub(MonoTime::now().as_nanos());
        std::thread::sleep(Duration::from_nanos(wait));
        let at = step * STEP as u64;
        let mut frame = [0; STEP];
        lines.begin(at);
        if !lines.incoming(conference, at, &mut frame) {
            frame = [0; STEP];
        }
        heard.extend_from_slice(&frame);
        if let Some(tone) = tone {
            frame = std::array::from_fn(|n| {
                let turns = (at + n as u64) as f64 * tone / 8000.0;
                ((turns.fract() * std::f64::consts::TAU).sin() * 8000.0) as i16
            });
            lines.outgoing(conference, at, &frame);
        } else {
            lines.outgoing(conference, at, &[0; STEP]);
        }
        if step.is_multiple_of(5) {
            trunk.refresh().unwrap();
        }
        step += 1;
    }
    heard
}

/// Not a test, but the other process of one: somebody in DAHDI conference 1000 who is killed in the end.
#[test]
fn as_another_process() {
    if let Some(directory) = std::env::var_os(MEET_IN) {
        let member = Member::join(&PathBuf::from(directory), 1000, Some(B));
        std::thread::sleep(PATIENCE * 2);
        member.leave();
    }
}

/// Removes a child that a test left behind.
struct Killed(Child);

impl Killed {
    fn start(directory: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "links::as_another_process"])
            .env(MEET_IN, directory)
            .stdout(std::process::Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Configures conferences 600 and 601, joined with 1000 and 1001.
fn linked(config: &mut Config, directory: &Path) {
    config.dahdi.directory = Some(directory.to_owned());
    for (name, number) in [("600", 1000), ("601", 1001)] {
        config.conferences.push(Conference {
            name: name.into(),
            settings: Settings {
                announce_join_leave: false,
                announce_only_person: false,
                ..Settings::default()
            },
        });
        config.dahdi.conferences.push(DahdiConference {
            number,
            conference: name.into(),
        });
    }
}

fn connected(server_links: &[(String, unisono::conference::LinkView)]) -> Vec<bool> {
    server_links
        .iter()
        .map(|(_, link)| link.connected)
        .collect()
}

async fn until_links(server: &Server, wanted: [bool; 2]) {
    until(server, |o| connected(&o.links) == wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn phones_and_dahdi_conferences_hear_their_others_and_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(|config| {
        linked(config, folder.path());
        // Nobody asks a link for the PIN.
        config.conferences[1].settings.pin = Some("7".into());
    })
    .await;
    let greeting = server.greeting().join("\n");
    assert!(
        greeting.contains("1000 = 600, 1001 = 601 by "),
        "{greeting}"
    );
    let mut first = Phone::call(&server, "600").await.unwrap();
    let mut second = Phone::call(&server, "601").await.unwrap();
    second.press('7').await;
    second.press('#').await;
    until(&server, |o| o.participants == 2).await;
    let there = Member::join(folder.path(), 1000, Some(B));
    let too = Member::join(folder.path(), 1001, Some(D));
    until_links(&server, [true, true]).await;
    until(&server, |o| o.legs == 2).await;

    // Each has to find the other first, a tenth of a second or two.
    talk(&mut [(&mut first, Some(A)), (&mut second, Some(C))], 1000).await;
    listen_to(&mut [(&mut first, Some(A)), (&mut second, Some(C))]).await;
    assert!(first.hears(B) && !first.hears(A) && !first.hears(D));
    assert!(second.hears(D) && !second.hears(C) && !second.hears(B));
    assert!(
        (first.loudness() - 5650.0).abs() < 800.0,
        "{}",
        first.loudness()
    );

    let conference = http(&server, "GET /v1/conferences/600", "").await.json();
    assert_eq!(conference["participants"], 1, "a link is nobody");
    let link = &conference["links"][0];
    assert_eq!(
        (&link["kind"], &link["number"]),
        (&"dahdi".into(), &1000.into())
    );
    assert_eq!(link["connected"], true);
    assert!(link["frames_in"].as_u64() > Some(10) && link["frames_out"].as_u64() > Some(10));
    let metrics = http(&server, "GET /metrics", "").await.text;
    let labels = r#"{kind="dahdi",number="1001",conference="601"}"#;
    assert!(
        metrics.contains(&format!("unisono_link_connected{labels} 1")),
        "{metrics}"
    );
    assert!(metrics.contains(&format!("unisono_link_frames_in_total{labels} ")));

    for (heard, own, others) in [(there.leave(), [B, D], A), (too.leave(), [D, B], C)] {
        let late = &heard[heard.len().saturating_sub(4000)..];
        assert!(
            tone_share(late, others) > 0.5,
            "{}",
            tone_share(late, others)
        );
        assert!(own.iter().all(|tone| tone_share(late, *tone) < 0.1));
    }
    until_links(&server, [false, false]).await;
    listen_to(&mut [(&mut first, None), (&mut second, None)]).await;
    assert!(first.loudness() < 1.0 && second.loudness() < 1.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_keeps_no_conference_and_no_number() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(|config| {
        linked(config, folder.path());
        config.dahdi.conferences[0].number = 1023;
        config.conferences[0].settings.announce_only_person = true;
    })
    .await;
    let there = Member::join(folder.path(), 1023, None);
    let mut phone = Phone::call(&server, "600").await.unwrap();
    until_links(&server, [true, false]).await;
    talk(&mut [(&mut phone, None)], 800).await;
    assert!(phone.loudness() > 100.0, "alone with a link is alone");

    phone.exchange.sip.hang_up(phone.call, "").await.unwrap();
    until(&server, |o| {
        o.participants == 0 && o.rooms == 0 && o.legs == 0
    })
    .await;
    until_links(&server, [false, false]).await;
    let conference = http(&server, "GET /v1/conferences/600", "").await.json();
    assert_eq!(conference["participants"], 0);
    assert_eq!(conference["links"][0]["connected"], false);

    // Who is left there is alone in it, and when they go the number is the first to be given out.
    there.leave();
    let other = Trunk::open(&Directory::at(folder.path()).unwrap(), "asterisk").unwrap();
    assert_eq!(other.numbers().held_elsewhere(), Vec::<i32>::new());
    assert_eq!(other.numbers().reserve(), Some(1023));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_and_comes_back_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(|config| linked(config, folder.path())).await;
    let mut phone = Phone::call(&server, "600").await.unwrap();
    for _ in 0..2 {
        let there = Killed::start(folder.path());
        until_links(&server, [true, false]).await;
        talk(&mut [(&mut phone, None)], 1000).await;
        listen_to(&mut [(&mut phone, None)]).await;
        assert!(phone.hears(B));
        drop(there);
        until_links(&server, [false, false]).await;
        listen_to(&mut [(&mut phone, None)]).await;
        assert!(phone.loudness() < 1.0);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_work_while_the_directory_cannot_be_used_and_links_once_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dahdi");
    std::fs::write(&path, "in the way").unwrap();
    let server = server(|config| linked(config, &path)).await;
    let greeting = server.greeting().join("\n");
    assert!(
        greeting.contains("1000 = 600, 1001 = 601: NOT YET: "),
        "{greeting}"
    );
    let health = http(&server, "GET /healthz", "").await;
    assert_eq!(
        (health.status, &health.json()["status"]),
        (200, &"degraded".into())
    );
    let said = health.json()["reasons"][0].to_string();
    assert!(
        said.contains(path.to_str().unwrap()) && said.contains("[dahdi] directory"),
        "{said}"
    );
    let mut phone = Phone::call(&server, "600").await.unwrap();
    until(&server, |o| o.participants == 1).await;

    std::fs::remove_file(&path).unwrap();
    until(&server, |o| o.link_problem.is_none()).await;
    let health = http(&server, "GET /healthz", "").await;
    assert_eq!(health.json()["status"], "ok");
    let there = Member::join(&path, 1000, Some(B));
    until_links(&server, [true, false]).await;
    talk(&mut [(&mut phone, None)], 1000).await;
    listen_to(&mut [(&mut phone, None)]).await;
    assert!(phone.hears(B));
    there.leave();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_names_no_place_is_said_at_the_start() {
    let mut config = Config::default();
    config.sip.listen = "127.0.0.1:0".parse().unwrap();
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    config.media.realtime_priority = None;
    linked(&mut config, Path::new("run/dahdi"));
    let error = Server::start(config).await.unwrap_err();
    assert!(matches!(error, StartError::Dahdi(_)));
    let said = error.to_string();
    assert!(
        said.contains("run/dahdi") && said.contains("absolute"),
        "{said}"
    );
}
