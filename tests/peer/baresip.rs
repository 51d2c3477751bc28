//! baresip: a softphone that plays a WAV file and records what it hears.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Program;
use crate::sound::{Recording, Voice};
use crate::stage::{Stage, free_port};

/// A softphone in a call.
#[derive(Debug)]
pub(crate) struct Baresip {
    program: Program,
    recordings: PathBuf,
}

impl Baresip {
    /// Dials a conference and speaks until it hangs up. `codec` is baresip's name of one, with rate and channels: `PCMU/8000/1`,
    /// `G722/16000/1`, `opus/48000/2`.
    pub(crate) fn dial(
        stage: &Stage,
        voice: Voice,
        codec: &str,
        server: SocketAddr,
        conference: &str,
    ) -> Self {
        let folder = stage.subfolder("baresip");
        let recordings = stage.subfolder("baresip/heard");
        let mut parts = codec.split('/').skip(1);
        let mut number = || -> u32 {
            let part = parts.next().expect("NAME/RATE/CHANNELS");
            part.parse().expect("a number")
        };
        let (rate, channels) = (number(), number());
        let speech = folder.join("voice.wav");
        voice.recording(rate, 120).write(&speech, channels as u16);
        let audio_port = free_port();
        let config = format!(
            "poll_method epoll\n\
             sip_listen 127.0.0.1:{}\n\
             net_interface 127.0.0.1\n\
             rtp_ports {audio_port}-{}\n\
             audio_source aufile,{}\n\
             audio_player aubridge,x\n\
             ausrc_srate {rate}\n\
             auplay_srate {rate}\n\
             ausrc_channels {channels}\n\
             auplay_channels {channels}\n\
             module_path /usr/lib/baresip/modules\n\
             module g711.so\n\
             module g722.so\n\
             module opus.so\n\
             module aufile.so\n\
             module aubridge.so\n\
             module sndfile.so\n\
             module_tmp account.so\n\
             module_app menu.so\n\
             snd_path {}\n",
            free_port(),
            audio_port + 20,
            speech.display(),
            recordings.display(),
        );
        let account =
            format!("<sip:baresip@127.0.0.1>;regint=0;audio_codecs={codec};answermode=auto\n");
        for (name, text) in [
            ("config", config.as_str()),
            ("accounts", &account),
            ("contacts", ""),
        ] {
            fs::write(folder.join(name), text).expect("configure baresip");
        }
        let dial = format!("/dial sip:{conference}@{server}");
        let home = folder.display().to_string();
        let arguments = ["baresip", "-f", &home, "-t", "100", "-e", &dial];
        let mut program = Program::start("baresip", &folder, &arguments);
        program.wait_for("Call established", Duration::from_secs(20));
        Self {
            program,
            recordings,
        }
    }

    /// Hangs up, and returns what was heard.
    pub(crate) fn hang_up(mut self) -> Recording {
        self.program.signal(Signal::SIGTERM);
        self.program.wait(Duration::from_secs(20));
        let heard = fs::read_dir(&self.recordings)
            .expect("list the recordings")
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .unwrap_or_else(|| panic!("baresip heard nothing; it said\n{}", self.program.log()));
        Recording::read(&heard)
    }
}
