//! The programs that call, and those that watch.

#![allow(dead_code, unused_imports)] // Each test program uses its part.

mod asterisk;
mod baresip;
mod capture;
mod keys;
mod pbx;
mod sipp;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

pub(crate) use asterisk::Asterisk;
pub(crate) use baresip::Baresip;
pub(crate) use capture::{Capture, Trace, audio};
pub(crate) use keys::{Keys, SSRC as KEYS_SSRC};
pub(crate) use pbx::{Pbx, RunningPbx, installed, root as asterisk_root};
pub(crate) use sipp::{RunningSipp, Sipp};

/// A program that runs in a folder and writes what it prints there. Dropping it ends it.
#[derive(Debug)]
struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `arguments` in `folder`; they end with this test, however it ends.
    fn start<S: AsRef<OsStr>>(name: &str, folder: &Path, arguments: &[S]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(arguments);
        Self::spawn(name, folder, command)
    }

    /// The same as root: what touches raw sockets and other roots.
    fn start_as_root<S: AsRef<OsStr>>(name: &str, folder: &Path, arguments: &[S]) -> Self {
        let mut command = as_root("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).args(arguments);
        Self::spawn(name, folder, command)
    }

    fn spawn(name: &str, folder: &Path, mut command: Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).expect("create a log");
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("share the log"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}): run tests/install"));
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process number");
        let _ = kill(Pid::from_raw(pid), signal);
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait for a program") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} does not end within {patience:?}; it said\n{}",
                self.name,
                crate::server::tail(&self.log())
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it has said `words`.
    fn wait_for(&mut self, words: &str, patience: Duration) {
        let deadline = Instant::now() + patience;
        while !self.log().contains(words) {
            assert!(
                self.is_running() && Instant::now() < deadline,
                "{} does not say {words:?}; it said\n{}",
                self.name,
                crate::server::tail(&self.log())
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Only root may end what runs as root: sudo, with which goes what it runs.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) && self.child.kill().is_err() {
            let _ = as_root("kill")
                .args(["-s", "KILL", &self.child.id().to_string()])
                .status();
        }
        let _ = self.child.wait();
    }
}

/// A command for root: with sudo, unless we are root.
pub(crate) fn as_root(program: &str) -> Command {
    if Uid::effective().is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", program]);
    sudo
}
