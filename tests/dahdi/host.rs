//! An Asterisk that phones call, with DAHDI's modules and MeetMe, on our library or without it.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use unisono_rtp::codec::Codec;

use crate::library::{library, library_for};
use crate::peer::{Pbx, RunningPbx, RunningSipp, Sipp, as_root, installed};
use crate::sound::Voice;
use crate::stage::{Stage, free_port};

const NAME: &str = "asterisk";
const TEMPLATES: &str = "tests/dahdi/asterisk";

/// Asterisk's ports for audio: none that phones use.
const RTP_PORTS: (u16, u16) = (25_000, 29_999);

/// When something that takes some seconds is in its midst.
const MIDST: Duration = Duration::from_secs(4);

/// What the music on hold is. Nobody else uses this voice where there is music.
pub(crate) const MUSIC: Voice = Voice::Edith;

/// A running Asterisk.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) pbx: RunningPbx,
    pub(crate) sip: SocketAddr,
}

impl Host {
    /// Starts one on our library. Who dials a number (or one that matches a pattern) is answered, and goes through these applications.
    pub(crate) fn start(stage: &Stage, numbers: &[(&str, &[&str])]) -> Self {
        let pbx = Pbx::new(stage, NAME, TEMPLATES);
        Self::run(on_library(configured(pbx, numbers), library()))
    }

    /// The same with the older Asterisk, which `tests/install --bullseye` installs.
    pub(crate) fn start_older(stage: &Stage, numbers: &[(&str, &[&str])]) -> Self {
        let root = installed("asterisk-16");
        assert!(
            root.join(".dahdi").exists(),
            "no older Asterisk: run tests/install --bullseye"
        );
        let library = library_for(&root);
        let pbx = Pbx::of(root, stage, NAME, TEMPLATES);
        Self::run(on_library(configured(pbx, numbers), &library))
    }

    /// Starts one without it: there is no DAHDI then.
    pub(crate) fn start_alone(stage: &Stage, numbers: &[(&str, &[&str])]) -> Self {
        Self::run(configured(Pbx::new(stage, NAME, TEMPLATES), numbers))
    }

    fn run(pbx: Pbx) -> Self {
        let port = free_port();
        Self {
            pbx: pbx.with("ASTERISK_PORT", &port.to_string()).start(),
            sip: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        }
    }

    /// A caller who speaks for some seconds and hangs up.
    pub(crate) fn speaker(
        &self,
        stage: &Stage,
        number: &str,
        voice: Voice,
        seconds: f64,
    ) -> RunningSipp {
        Sipp::new(stage, &voice.to_string(), "speak", self.sip)
            .calling(number, seconds)
            .speaking(voice, Codec::Pcmu)
            .start()
    }

    /// A caller who speaks until Asterisk hangs up.
    pub(crate) fn speaker_to_the_end(
        &self,
        stage: &Stage,
        number: &str,
        voice: Voice,
    ) -> RunningSipp {
        Sipp::new(stage, &voice.to_string(), "kicked", self.sip)
            .with("CONFERENCE", number)
            .speaking(voice, Codec::Pcmu)
            .start()
    }

    /// A caller who says nothing for some seconds and hangs up.
    pub(crate) fn listener(
        &self,
        stage: &Stage,
        name: &str,
        number: &str,
        seconds: f64,
    ) -> RunningSipp {
        Sipp::new(stage, name, "silent", self.sip)
            .calling(number, seconds)
            .start()
    }

    /// Waits until so many are in a conference of MeetMe.
    pub(crate) fn wait_for_users(&self, conference: &str, users: usize) {
        let words = match users {
            0 => "No such conference".to_owned(),
            1 => "\n1 users in that conference.".to_owned(),
            _ => format!("\n{users} users in that conference."),
        };
        let command = format!("meetme list {conference}");
        self.pbx.wait_until(&command, |answer| {
            answer.contains(&words) || (users == 0 && answer.contains("No active"))
        });
    }

    /// What `unisono dahdi status` says of it in the midst of something.
    pub(crate) fn status_while(&self, stage: &Stage, something: impl FnOnce()) -> Value {
        let mut status = as_root("env");
        status
            .arg(format!(
                "UNISONO_DAHDI_DIR={}",
                self.pbx.outside("dahdi").display()
            ))
            .args([env!("CARGO_BIN_EXE_unisono"), "dahdi", "status", "--json"]);
        let asked = thread::spawn(move || {
            thread::sleep(MIDST);
            status.output().expect("run unisono dahdi status")
        });
        something();
        let answer = asked.join().expect("it was asked");
        fs::write(stage.folder().join("status.json"), &answer.stdout).expect("keep the answer");
        assert!(answer.status.success(), "{answer:?}");
        serde_json::from_slice(&answer.stdout).expect("JSON")
    }

    /// Ends it; these files of its folder are taken along. What uses DAHDI in it had nothing to complain of.
    pub(crate) fn stop(self, files: &[&str]) -> Vec<PathBuf> {
        let taken = self.pbx.stop(files);
        let log = fs::read_to_string(taken.last().expect("the log")).expect("read the log");
        for line in log.lines() {
            // To write to a caller who hangs up at this moment fails on a real card too.
            let complains = (line.contains("WARNING[") || line.contains("ERROR["))
                && !line.contains("Unable to write frame to channel");
            let of_dahdi = ["app_meetme.c", "chan_dahdi.c", "res_timing_dahdi.c"]
                .iter()
                .any(|file| line.contains(file));
            assert!(!(complains && of_dahdi), "Asterisk complains: {line}");
        }
        taken
    }
}

fn on_library(pbx: Pbx, library: &Path) -> Pbx {
    fs::copy(library, pbx.staged().join("libunisono_dahdi.so")).expect("copy the library");
    let home = pbx.home();
    pbx.environment("LD_PRELOAD", &format!("{home}/libunisono_dahdi.so"))
        .environment("UNISONO_DAHDI_DIR", &format!("{home}/dahdi"))
}

fn configured(pbx: Pbx, numbers: &[(&str, &[&str])]) -> Pbx {
    let music = pbx.staged().join("music");
    fs::create_dir_all(&music).expect("make a folder");
    MUSIC
        .recording(8000, 120)
        .write(&music.join("music.wav"), 1);
    let mut plan = String::new();
    for (number, applications) in numbers {
        let _ = writeln!(plan, "exten => {number},1,Answer()");
        for application in *applications {
            let _ = writeln!(plan, " same => n,{application}");
        }
        let _ = writeln!(plan, " same => n,Hangup()");
    }
    pbx.with("EXTENSIONS", &plan)
        .with("TIMING", "res_timing_dahdi.so")
        .with("RTP_START", &RTP_PORTS.0.to_string())
        .with("RTP_END", &RTP_PORTS.1.to_string())
}
