//! Processes with the library before them: the test program itself, once more.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Says to the process which part it plays.
const PART: &str = "UNISONO_REPLAY_PART";

/// What a part says to its test begins so; the test harness prints lines of its own.
const SAYS: &str = "@ ";

/// Longer than any part takes. Who takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(180);

/// Plays `part` in a process with the library before it. The test `name` is that process's only one.
pub(crate) fn with_library(name: &str, part: impl FnOnce()) {
    if playing().is_some() {
        part();
        say("played");
        return;
    }
    let folder = Folder::new();
    let mut player = Player::start(name, "alone", &folder);
    player.until("played to the end", |line| line == "played");
    player.succeed();
}

/// The part that this process plays, if it is one.
pub(crate) fn playing() -> Option<String> {
    env::var(PART).ok()
}

/// Says a line to the test.
pub(crate) fn say(line: &str) {
    println!("{SAYS}{line}");
}

/// A process that plays a part; it is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Player {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Player {
    /// Starts this test program's test `name` with the library before it. Players of one folder share conferences.
    pub(crate) fn start(name: &str, part: &str, folder: &Folder) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(PART, part)
            .env("LD_PRELOAD", library())
            .env("UNISONO_DAHDI_DIR", &folder.0)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        Self {
            child,
            lines,
            said: Vec::new(),
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the part says something that `holds`. Who says nothing for long, or something else a hundred times, fails the test.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut holds: impl FnMut(&str) -> bool) -> String {
        for _ in 0..100 {
            match self.next() {
                Some(line) if holds(&line) => return line,
                Some(_) => {}
                None => break,
            }
        }
        panic!("not {what}; it said {:#?}", self.said);
    }

    fn next(&mut self) -> Option<String> {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if let Some(line) = line.split_once(SAYS).map(|(_, line)| line.to_owned()) {
                        return Some(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("it hangs after {:#?}", self.said),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Waits for its end, which has to be a good one.
    #[track_caller]
    pub(crate) fn succeed(mut self) {
        while self.next().is_some() {}
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.said.join("\n"));
    }

    /// Kills it as the kernel does who has no memory left.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines as they come, so that waiting for one can be bounded.
fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    let lines: Lines<BufReader<ChildStdout>> = BufReader::new(output).lines();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// The library of this build. Cargo does not build it for test programs by itself, as none can link it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        env::var_os("UNISONO_DAHDI_LIBRARY").map_or_else(built_library, PathBuf::from)
    })
}

fn built_library() -> PathBuf {
    // A test program is in `<target>/<profile>/deps`.
    let program = env::current_exe().unwrap();
    let profile = program.parent().and_then(Path::parent).unwrap();
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--quiet", "--locked", "--lib", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .arg("--target-dir")
        .arg(profile.parent().unwrap());
    if profile.ends_with("release") {
        build.arg("--release");
    }
    assert!(
        build.status().unwrap().success(),
        "the library is not built"
    );
    profile.join("libunisono_dahdi.so")
}

/// Where the processes of one test meet, gone afterwards.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let unique = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("unisono-replay-{}-{unique}", std::process::id());
        let shared_memory = Path::new("/dev/shm");
        let path = if shared_memory.is_dir() {
            shared_memory.join(name)
        } else {
            env::temp_dir().join(name)
        };
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}
