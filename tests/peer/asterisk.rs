//! Asterisk as a PBX that calls over a SIP trunk, plays a file and records what it hears.

use std::net::SocketAddr;

use super::pbx::{Pbx, RunningPbx};
use crate::sound::{Recording, Voice};
use crate::stage::{Stage, free_port};

/// A PBX with a trunk to the server.
#[derive(Debug)]
pub(crate) struct Asterisk(RunningPbx);

impl Asterisk {
    /// Starts it. `codec` is Asterisk's name of one: `ulaw`, `alaw`, `g722`.
    pub(crate) fn start(stage: &Stage, voice: Voice, codec: &str, server: SocketAddr) -> Self {
        let rtp_start = free_port();
        let pbx = Pbx::new(stage, "asterisk", "tests/phones/trunk")
            .with("ASTERISK_PORT", &free_port().to_string())
            .with("UNISONO_PORT", &server.port().to_string())
            .with("CODEC", codec)
            .with("RTP_START", &rtp_start.to_string())
            .with("RTP_END", &(rtp_start + 20).to_string());
        let speech = pbx.staged().join("speech.wav");
        voice.recording(8000, 120).write(&speech, 1);
        Self(pbx.start())
    }

    /// Dials a conference over the trunk, and goes on at this extension of the test's dial plan.
    pub(crate) fn call(&self, conference: &str, extension: &str) {
        let command =
            format!("channel originate PJSIP/{conference}@unisono extension {extension}@speak");
        let answer = self.0.command(&command).expect("Asterisk's console");
        assert!(!answer.contains("No such"), "{answer}");
    }

    /// Hangs up, and returns what was heard.
    pub(crate) fn hang_up(self) -> Recording {
        self.0.hang_up_all();
        let files = self.0.stop(&["heard.wav", "mixed.wav"]);
        Recording::read(&files[0])
    }
}
