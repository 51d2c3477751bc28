//! DAHDI's own tools, of two of Debian's releases, unmodified, on our library: as on a machine without cards.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::library::library;
use crate::machine::{Load, Sleeper, steal};
use crate::peer::{as_root, asterisk_root, installed};
use crate::stage::Stage;

/// What `dahdi_test` calls good, percent of each of its measurements of about a second: 256 µs of 1.024 s.
const WORST: f64 = 99.975;
const AVERAGE: f64 = 99.99;

/// Where the machine does not allow even a sleeping thread as much, percent by which ours may be worse than that.
const MARGIN: f64 = 0.01;

/// Over the whole time nothing may be lost or gained, whatever single measurements say. A stall at the very end moves one block of 128 ms
/// out of ten seconds.
const CUMULATIVE: f64 = 98.7;

/// A host that takes the processor away for 0.2 ms spoils a measurement. It is repeated in the hope of better weather.
const ATTEMPTS: usize = 10;

/// Where the tests' files are in the root of the newer release.
const INSIDE: &str = "tmp/unisono/tools";

/// Where each run is written down in the test's folder, as the output of a test that passes is shown to nobody.
const SAID: &str = "said";

/// For how long a program is stopped, and how good the worst of its measurements can be then: two may have half of it each.
const STOP: Duration = Duration::from_millis(500);
const STOPPED: f64 = 85.0;

/// The tools of one release.
#[derive(Debug)]
struct Tools {
    folder: PathBuf,
    /// What comes before a tool's name.
    words: Vec<String>,
    release: &'static str,
}

impl Tools {
    /// Of this machine's release, where [`library`] is as it was built.
    fn here(stage: &Stage) -> Self {
        let folder = installed("dahdi");
        assert!(folder.join(".complete").exists(), "run tests/install");
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", library().display()),
            format!("UNISONO_DAHDI_DIR={}", stage.subfolder("dahdi").display()),
            format!("PERL5LIB={}", folder.join("usr/share/perl5").display()),
            format!("PATH={}:/usr/bin:/bin", folder.join("usr/sbin").display()),
        ];
        Self {
            folder: stage.folder().to_owned(),
            words: words.into(),
            release: "this release",
        }
    }

    /// The same as a user starts them: by `unisono dahdi`, which finds the library beside itself.
    fn by_the_command(stage: &Stage) -> Self {
        let mut tools = Self::here(stage);
        tools.words.retain(|word| !word.starts_with("LD_PRELOAD="));
        let command = [env!("CARGO_BIN_EXE_unisono"), "dahdi", "--"];
        tools.words.extend(command.map(str::to_owned));
        tools
    }

    /// Of the release that Asterisk is from, in its root.
    fn in_asterisks_root(stage: &Stage) -> Self {
        let root = asterisk_root();
        let inside = root.join(INSIDE);
        prepare(&inside);
        let words = [
            "chroot".to_owned(),
            root.display().to_string(),
            "env".to_owned(),
            format!("LD_PRELOAD=/{INSIDE}/libunisono_dahdi.so"),
            format!("UNISONO_DAHDI_DIR=/{INSIDE}/dahdi"),
        ];
        Self {
            folder: stage.folder().to_owned(),
            words: words.into(),
            release: "sid",
        }
    }

    /// Runs one, which has to end well, and returns what it printed.
    fn run(&self, arguments: &[&str]) -> String {
        let mut command = as_root("timeout");
        command.arg("60").args(&self.words).args(arguments);
        let output = command.output().expect("run a tool");
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        self.note(&format!("$ {}\n{out}{err}", arguments.join(" ")));
        assert!(
            output.status.success(),
            "{arguments:?} of {}: {}\n{out}{err}",
            self.release,
            output.status
        );
        format!("{out}{err}")
    }

    /// Keeps it for who wants to know how a test passed.
    fn note(&self, text: &str) {
        println!("{text}");
        let path = self.folder.join(SAID);
        let file = OpenOptions::new().create(true).append(true).open(path);
        writeln!(file.expect("open a file"), "{text}").expect("write to it");
    }
}

#[test]
fn dahdi_test_measures_a_good_clock() {
    let stage = Stage::new("dahdi_test");
    let tools = Tools::here(&stage);
    assert_good_clock(&stage, &tools, |accuracy, (worst, average)| {
        accuracy.passes >= 8
            && accuracy.worst >= WORST.min(worst - MARGIN)
            && accuracy.average >= AVERAGE.min(average - MARGIN)
            && accuracy.best >= WORST
            && accuracy.cumulative >= CUMULATIVE
    });
}

#[test]
fn dahdi_test_measures_a_good_clock_with_every_processor_busy() {
    let stage = Stage::new("dahdi_test-load");
    let tools = Tools::here(&stage);
    let load = Load::start();
    assert_good_clock(&stage, &tools, |accuracy, _| {
        accuracy.passes >= 8 && accuracy.best >= WORST && accuracy.cumulative >= CUMULATIVE
    });
    drop(load);
}

#[test]
fn the_newer_dahdi_test_runs_in_asterisks_root() {
    let stage = Stage::new("dahdi_test-newer");
    let tools = Tools::in_asterisks_root(&stage);
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let accuracy = Accuracy::parse(&tools.run(&["dahdi_test", "-c", "4"]));
        if accuracy.passes >= 2 && accuracy.best >= WORST {
            return;
        }
        seen.push(accuracy);
    }
    panic!("{seen:#?}");
}

#[test]
fn dahdi_test_runs_by_the_command_that_a_user_types() {
    let stage = Stage::new("dahdi_test-command");
    let tools = Tools::by_the_command(&stage);
    let accuracy = Accuracy::parse(&tools.run(&["dahdi_test", "-c", "4"]));
    assert!(
        accuracy.passes >= 2 && accuracy.best > 0.0,
        "{accuracy:?} of {tools:?}"
    );
}

#[test]
fn dahdi_test_that_was_stopped_says_so_and_goes_on() {
    Stage::play("dahdi_test-stopped", |stage| {
        let tools = Tools::here(stage);
        let stopper = thread::spawn(|| {
            let deadline = Instant::now() + Duration::from_secs(10);
            while named("dahdi_test").is_empty() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
            thread::sleep(Duration::from_millis(2500));
            let processes = named("dahdi_test");
            send("STOP", &processes);
            thread::sleep(STOP);
            send("CONT", &processes);
            processes.len()
        });
        let accuracy = Accuracy::parse(&tools.run(&["dahdi_test", "-v", "-c", "6"]));
        assert_eq!(stopper.join().expect("it stopped one"), 1);
        assert!(
            accuracy.passes >= 4 && accuracy.worst < STOPPED,
            "{accuracy:?}"
        );
    });
}

/// `dahdi_test` is content in one of some runs; `is_good` is told of the worst and the average of a sleeping thread meanwhile as well.
#[track_caller]
fn assert_good_clock(
    stage: &Stage,
    tools: &Tools,
    is_good: impl Fn(&Accuracy, (f64, f64)) -> bool,
) {
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let (stolen, stalled) = (steal(), stage.stalled());
        let sleeper = Sleeper::start();
        let accuracy = Accuracy::parse(&tools.run(&["dahdi_test", "-v", "-c", "10"]));
        let (worst, average) = sleeper.stop();
        tools.note(&format!(
            "{accuracy:?}\na sleeping thread meanwhile: worst {worst:.3}, average {average:.4}; {:.2} s stolen, {:.2} s stood still",
            steal() - stolen,
            stage.stalled() - stalled
        ));
        if is_good(&accuracy, (worst, average)) {
            return;
        }
        seen.push((accuracy, worst, average));
    }
    panic!("dahdi_test finds, beside the worst and the average of a sleeping thread: {seen:#?}");
}

#[test]
fn the_other_tools_see_a_machine_without_cards() {
    let stage = Stage::new("tools");
    for tools in [Tools::here(&stage), Tools::in_asterisks_root(&stage)] {
        assert_eq!(tools.run(&["dahdi_scan"]), "");
        assert_eq!(tools.run(&["lsdahdi"]), "");
        let printed = tools.run(&["dahdi_cfg", "-v", "-c", "/dev/null"]);
        assert!(printed.contains("DAHDI Tools Version - "), "{printed}");
        assert!(printed.contains("0 channels to configure."), "{printed}");
    }
}

#[test]
fn dahdi_cfg_loads_tone_zones() {
    let stage = Stage::new("dahdi_cfg-zones");
    let zones = stage.folder().join("system.conf");
    fs::write(&zones, "loadzone = us\nloadzone = de\ndefaultzone = us\n").expect("write a file");
    let zones = zones.to_str().expect("a path");
    let printed = Tools::here(&stage).run(&["dahdi_cfg", "-v", "-c", zones]);
    assert!(printed.contains("0 channels to configure."), "{printed}");
}

#[test]
fn dahdi_tool_shows_its_window_and_quits() {
    let stage = Stage::new("dahdi_tool");
    let tools = Tools::here(&stage);
    let shown = stage.folder().join("shown");
    // It wants a terminal.
    let command = format!("env TERM=linux {} dahdi_tool", tools.words[1..].join(" "));
    let mut terminal = Command::new("timeout")
        .args(["60", "script", "-qec", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(File::create(&shown).expect("create a file"))
        .spawn()
        .expect("run script");
    let deadline = Instant::now() + Duration::from_secs(20);
    let text = || String::from_utf8_lossy(&fs::read(&shown).unwrap_or_default()).into_owned();
    while !text().contains("Welcome") {
        assert!(Instant::now() < deadline, "it shows\n{}", text());
        thread::sleep(Duration::from_millis(50));
    }
    // From the list to Select, to Quit, and press that.
    let mut keys = terminal.stdin.take().expect("its keys");
    keys.write_all(b"\t\t\r").expect("press keys");
    let status = terminal.wait().expect("wait for it");
    assert!(status.success(), "{status}: {}", text());
}

/// What `dahdi_test` found, percent.
#[derive(Debug, Clone, Copy)]
struct Accuracy {
    passes: u32,
    best: f64,
    worst: f64,
    average: f64,
    cumulative: f64,
}

impl Accuracy {
    fn parse(printed: &str) -> Self {
        let number_after = |words: &str| -> f64 {
            let (_, rest) = printed
                .split_once(words)
                .unwrap_or_else(|| panic!("no {words:?} in\n{printed}"));
            let number = rest.split_whitespace().next().expect("a number");
            number
                .trim_end_matches('%')
                .parse()
                .unwrap_or_else(|_| panic!("no number after {words:?} in\n{printed}"))
        };
        Self {
            passes: number_after("Results after") as u32,
            best: number_after("Best:"),
            worst: number_after("Worst:"),
            average: number_after("Average:"),
            cumulative: number_after("(not per pass):"),
        }
    }
}

/// The processes of a program.
fn named(program: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("list /proc");
    all.filter_map(|entry| {
        let folder = entry.ok()?.path();
        let name = fs::read_to_string(folder.join("comm")).ok()?;
        (name.trim_end() == program).then(|| folder.file_name()?.to_str().map(str::to_owned))?
    })
    .collect()
}

/// Sends a signal to them, whoever they belong to.
fn send(signal: &str, processes: &[String]) {
    let sent = as_root("kill")
        .args(["-s", signal])
        .args(processes)
        .status()
        .expect("run kill");
    assert!(sent.success(), "SIG{signal} to {processes:?}: {sent}");
}

/// Makes a folder for the library in another root.
fn prepare(inside: &Path) {
    let run = |command: &mut Command| {
        let output = command.output().expect("run a command");
        assert!(output.status.success(), "{command:?}: {output:?}");
    };
    run(as_root("rm").arg("-rf").arg(inside));
    run(as_root("mkdir").arg("-p").arg(inside));
    let copy: PathBuf = inside.join("libunisono_dahdi.so");
    run(as_root("cp").arg(library()).arg(copy));
}
