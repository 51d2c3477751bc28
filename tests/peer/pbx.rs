//! Asterisk in the folder that `tests/install` made: configured by templates, started, asked at its console.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::{Program, as_root};
use crate::stage::Stage;

/// Where the tests' files are in Asterisk's root; a folder for each one that runs.
const INSIDE: &str = "tmp/unisono";

/// Where templates are that every configuration has.
const COMMON: &str = "tests/peer/asterisk";

/// An Asterisk to be started.
#[derive(Debug)]
pub(crate) struct Pbx {
    root: PathBuf,
    name: String,
    folder: PathBuf,
    templates: PathBuf,
    values: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

impl Pbx {
    /// One with the configuration whose templates are in this folder of the repository, and a folder called `name` for its evidence.
    pub(crate) fn new(stage: &Stage, name: &str, templates: &str) -> Self {
        Self::of(root(), stage, name, templates)
    }

    /// The same of another Asterisk, in this root.
    pub(crate) fn of(root: PathBuf, stage: &Stage, name: &str, templates: &str) -> Self {
        let modules = modules(&root);
        let pbx = Self {
            root,
            name: name.to_owned(),
            folder: stage.subfolder(name),
            templates: Path::new(env!("CARGO_MANIFEST_DIR")).join(templates),
            values: Vec::new(),
            environment: Vec::new(),
        };
        for directory in ["etc", "db", "cache", "spool/monitor", "run", "log"] {
            fs::create_dir_all(pbx.staged().join(directory)).expect("make a folder");
        }
        let home = pbx.home();
        pbx.with("HOME", &home).with("MODULES", &modules)
    }

    /// Replaces `@KEY@` in the templates.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.values.push((format!("@{key}@"), value.to_owned()));
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Its folder as it sees it: what is put into [`Pbx::staged`] before it starts is found there.
    pub(crate) fn home(&self) -> String {
        format!("/{INSIDE}/{}", self.name)
    }

    /// Files that it finds in its folder.
    pub(crate) fn staged(&self) -> PathBuf {
        self.folder.join("home")
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(self) -> RunningPbx {
        let etc = self.staged().join("etc");
        for templates in [
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(COMMON),
            &self.templates,
        ] {
            configure(templates, &etc, &self.values);
        }
        let inside = self.root.join(INSIDE).join(&self.name);
        run(as_root("rm").arg("-rf").arg(&inside));
        run(as_root("mkdir").arg("-p").arg(self.root.join(INSIDE)));
        run(as_root("cp").arg("-r").arg(self.staged()).arg(&inside));
        let config = format!("{}/etc/asterisk.conf", self.home());
        let environment: Vec<String> = self
            .environment
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        // The mounts are made in a name space of their own: they go with the process.
        let start = format!(
            "mount -t proc proc {0}/proc && mount --rbind /dev {0}/dev && ulimit -S -n \"$(ulimit -H -n)\" && \
             exec chroot {0} env {1} asterisk -f -C {config}",
            self.root.display(),
            environment.join(" "),
        );
        let arguments = ["unshare", "--mount", "sh", "-c", &start];
        let mut pbx = RunningPbx {
            program: Program::start_as_root("asterisk", &self.folder, &arguments),
            root: self.root,
            inside,
            folder: self.folder,
            config,
        };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !pbx.says("core waitfullybooted", "fully booted") {
            assert!(
                pbx.program.is_running() && Instant::now() < deadline,
                "Asterisk does not start; it said\n{}",
                pbx.program.log()
            );
            thread::sleep(Duration::from_millis(200));
        }
        pbx
    }
}

/// A running Asterisk.
#[derive(Debug)]
pub(crate) struct RunningPbx {
    program: Program,
    root: PathBuf,
    inside: PathBuf,
    folder: PathBuf,
    config: String,
}

impl RunningPbx {
    /// What its console answers to a command, unless it is not there.
    pub(crate) fn command(&self, command: &str) -> Option<String> {
        let output = as_root("chroot")
            .arg(&self.root)
            .args(["asterisk", "-C", &self.config, "-rx", command])
            .output()
            .expect("run chroot");
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether its console answers to a command with these words.
    pub(crate) fn says(&self, command: &str, words: &str) -> bool {
        self.command(command)
            .is_some_and(|answer| answer.contains(words))
    }

    /// Asks its console until `wanted` is content with the answer, which is returned.
    pub(crate) fn wait_until(&self, command: &str, wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.command(command).unwrap_or_default();
            if wanted(&answer) {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "{command:?} at the console is still answered with\n{answer}\nAsterisk said\n{}",
                crate::server::tail(&self.log())
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        self.program.log()
    }

    /// Where a file of its folder is for others.
    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.inside.join(name)
    }

    /// Hangs up every call.
    pub(crate) fn hang_up_all(&self) {
        self.command("channel request hangup all");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.says("core show channels count", "0 active channels")
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends it when its calls have ended, and takes these files of its folder along with its log. Returns where they are now.
    pub(crate) fn stop(mut self, files: &[&str]) -> Vec<PathBuf> {
        self.command("core stop gracefully");
        self.program.wait(Duration::from_secs(20));
        files
            .iter()
            .chain(&["log/messages"])
            .map(|file| {
                run(as_root("cp").arg(self.inside.join(file)).arg(&self.folder));
                self.folder
                    .join(Path::new(file).file_name().expect("a name"))
            })
            .collect()
    }
}

/// The folder that `tests/install` made.
pub(crate) fn root() -> PathBuf {
    let root = installed("asterisk");
    assert!(
        root.join(".complete").exists(),
        "no Asterisk in {}: run tests/install",
        root.display()
    );
    root
}

/// Where its modules are, as an Asterisk sees it: Debian has moved them.
fn modules(root: &Path) -> String {
    let folders = fs::read_dir(root.join("usr/lib")).expect("list /usr/lib");
    let mut places = vec!["/usr/lib".to_owned()];
    places.extend(folders.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        Some(format!("/usr/lib/{name}"))
    }));
    places
        .into_iter()
        .map(|place| format!("{place}/asterisk/modules"))
        .find(|folder| root.join(&folder[1..]).exists())
        .expect("Asterisk's modules")
}

/// A folder of what `tests/install` installed.
pub(crate) fn installed(name: &str) -> PathBuf {
    env::var_os("UNISONO_PEERS")
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers"),
            PathBuf::from,
        )
        .join(name)
}

/// Writes the templates of a folder to another, with replacements.
fn configure(templates: &Path, folder: &Path, values: &[(String, String)]) {
    for entry in fs::read_dir(templates).expect("list Asterisk's configuration") {
        let path = entry.expect("an entry").path();
        if path.extension() != Some(OsStr::new("conf")) {
            continue;
        }
        let mut text = fs::read_to_string(&path).expect("read a configuration");
        for (key, value) in values {
            text = text.replace(key, value);
        }
        let name = path.file_name().expect("a name");
        fs::write(folder.join(name), text).expect("write a configuration");
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("run a command");
    assert!(output.status.success(), "{command:?}: {output:?}");
}
