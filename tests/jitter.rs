//! `unisono jitter` as a person or a script runs it: what it leaves behind agrees with itself, whatever the machine does
//! to time meanwhile.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use assert_cmd::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A folder of its own, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("unisono-jitter-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_run_of_a_second_leaves_outputs_that_agree() {
    let folder = Folder::new("outputs");
    let [json, csv, html, hgrm, hlog, histogram] =
        ["a.json", "a.csv", "a.html", "a.hgrm", "a.hlog", "a.txt"].map(|name| folder.path(name));
    let output = unisono(&[
        "--duration",
        "1s",
        "--method",
        "timerfd,tokio",
        "--json",
        &json,
        "--csv",
        &csv,
        "--html",
        &html,
        "--hgrm",
        &hgrm,
        "--hlog",
        &hlog,
        "--histogram",
        &histogram,
    ]);
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{}",
        complaint(&output)
    );
    let table = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(table.starts_with("method "), "{table}");

    let document = read_json(&json);
    assert_eq!(document["schema"], "unisono-jitter/1");
    assert_eq!(document["passed"], output.status.success());
    let csv = fs::read_to_string(&csv).unwrap();
    let histogram = fs::read_to_string(&histogram).unwrap();
    let totals = histogram
        .lines()
        .find_map(|line| line.strip_prefix("# Total: "))
        .unwrap();
    let totals: Vec<u64> = totals
        .split(' ')
        .map(|total| total.parse().unwrap())
        .collect();
    let runs = document["runs"].as_array().unwrap();
    assert_eq!((runs.len(), totals.len()), (2, 2));
    for (place, (run, method)) in runs.iter().zip(["timerfd", "tokio"]).enumerate() {
        assert_eq!(run["method"], method);
        let ticks = run["ticks"].as_u64().unwrap();
        assert!(ticks > 0);
        assert_eq!(
            ticks + run["missed"].as_u64().unwrap(),
            run["deadlines"].as_u64().unwrap()
        );
        assert_eq!(sum_of(&run["lateness"]["raw"]["buckets"]), ticks);
        assert_eq!(
            sum_of(&run["lateness"]["corrected"]["buckets"]),
            run["deadlines"].as_u64().unwrap()
        );
        let lines = csv
            .lines()
            .filter(|line| line.starts_with(&format!("{},{method},", place + 1)));
        assert_eq!(lines.count() as u64, ticks);
        assert_eq!(totals[place], ticks);
        let name = format!("a-{}-{method}-20ms.hgrm", place + 1);
        let percentiles = fs::read_to_string(folder.path(&name)).unwrap();
        assert!(percentiles.contains("#[Max "), "{percentiles}");
    }
    assert!(fs::read_to_string(&html).unwrap().ends_with("</html>\n"));
    let hlog = fs::read_to_string(&hlog).unwrap();
    assert!(
        hlog.contains("Tag=timerfd/20000us/") && hlog.contains("Tag=tokio/20000us/"),
        "{hlog}"
    );

    let compared = unisono(&["compare", &json, &json]);
    assert_eq!(compared.status.code(), Some(0), "{}", complaint(&compared));
    assert!(
        String::from_utf8(compared.stdout)
            .unwrap()
            .contains("p99.9")
    );
}

#[test]
fn standard_output_is_nothing_but_the_json_asked_for() {
    let output = unisono(&[
        "--duration",
        "200ms",
        "--method",
        "sleep",
        "--policy",
        "other",
        "--json",
        "-",
    ]);
    let document: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(document["runs"][0]["policy"], "other");
    assert!(
        complaint(&output).contains("method "),
        "{}",
        complaint(&output)
    );
}

#[test]
fn interrupted_it_still_reports_what_it_has() {
    ended_by(Signal::SIGINT);
}

#[test]
fn a_terminal_that_is_closed_costs_nothing_that_was_measured() {
    ended_by(Signal::SIGHUP);
}

fn ended_by(signal: Signal) {
    let folder = Folder::new(signal.as_str());
    let json = folder.path("a.json");
    // Whoever runs the tests may have had a signal ignored, as nohup does, and that is inherited.
    let mut child = std::process::Command::new("env")
        .args(["--default-signal=INT,HUP", env!("CARGO_BIN_EXE_unisono")])
        .args(["jitter", "--duration", "60s", "--json", &json])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run unisono");
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("measuring for") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "it ended by itself");
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    kill(pid, signal).unwrap();
    let mut rest = String::new();
    while said.read_line(&mut rest).unwrap() > 0 {}
    let status = child.wait().unwrap();
    assert_eq!(
        status.code(),
        Some(1),
        "what was not measured has not passed: {rest}"
    );
    assert!(rest.contains("ended early"), "{rest}");
    let document = read_json(&json);
    let runs = document["runs"].as_array().unwrap();
    // The second method was not begun.
    assert_eq!(runs.len(), 1);
    assert!(runs[0]["ended_early"].is_string());
}

#[test]
fn conditions_make_the_exit_status() {
    let folder = Folder::new("conditions");
    let json = folder.path("a.json");
    let output = unisono(&[
        "--duration",
        "100ms",
        "--method",
        "timerfd",
        "--assert",
        "ticks=0,max<1h",
        "--json",
        &json,
    ]);
    assert_eq!(
        output.status.code(),
        Some(2),
        "hours are no unit of a condition"
    );
    let output = unisono(&[
        "--duration",
        "100ms",
        "--method",
        "timerfd",
        "--assert",
        "ticks=0,max<9999s",
        "--json",
        &json,
    ]);
    assert_eq!(output.status.code(), Some(1));
    let asserts = &read_json(&json)["runs"][0]["asserts"];
    assert_eq!(
        (&asserts[0]["held"], &asserts[1]["held"]),
        (&false.into(), &true.into())
    );
}

#[test]
fn dahdi_test_is_shown_with_what_it_hides() {
    let output = unisono(&[
        "--duration",
        "2500ms",
        "--method",
        "timerfd",
        "--dahdi-test",
    ]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(
        table.contains("4 ms") && table.contains("--- Results after "),
        "{table}"
    );
    assert!(table.contains("read the percentiles"), "{table}");
}

#[test]
fn what_is_wrong_is_said_with_status_2() {
    let folder = Folder::new("wrong");
    let other = folder.path("other.json");
    fs::write(&other, "{\"schema\": \"something-else/3\"}").unwrap();
    for (arguments, words) in [
        (&["--period", "20"][..], "number and a unit"),
        (&["--period", "90ms"], "60 ms"),
        (&["--method", "sundial"], "nanosleep"),
        (&["--policy", "fifo:0"], "1 to 99"),
        (&["--load", "gravity"], "cpu, mem, disk, net"),
        (&["--cpu", "99999"], "CPU 99999"),
        (&["--assert", "p99.9<1"], "character 7"),
        (&["--json", "/nowhere/a.json"], "/nowhere/a.json"),
        (&["--json", "-", "--csv", "-"], "only one"),
        (
            &["compare", "/nowhere/a.json", "/nowhere/b.json"],
            "/nowhere/a.json",
        ),
        (&["compare", &other, &other], "something-else/3"),
        (&["compare", &other], "B.json"),
        (&["--duration", "1s", "compare", "a", "b"], "compare"),
    ] {
        let output = unisono(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            complaint(&output)
        );
        assert!(
            complaint(&output).contains(words),
            "{words} in\n{}",
            complaint(&output)
        );
    }
}

#[test]
fn help_is_within_a_hundred_columns_and_names_every_output() {
    for arguments in [&["--help"][..], &["compare", "--help"]] {
        let help = String::from_utf8(unisono(arguments).stdout).unwrap();
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{longest:?} columns in\n{help}");
    }
    let help = String::from_utf8(unisono(&["--help"]).stdout).unwrap();
    for word in [
        "--html",
        "--json",
        "--csv",
        "--hgrm",
        "--hlog",
        "--histogram",
        "--dahdi-test",
        "compare",
        "Exit status",
    ] {
        assert!(help.contains(word), "{word} in\n{help}");
    }
}

fn unisono(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_unisono"))
        .arg("jitter")
        .args(arguments)
        .timeout(Duration::from_secs(60))
        .output()
        .expect("run unisono")
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read_json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn sum_of(buckets: &Value) -> u64 {
    let buckets = buckets.as_array().unwrap();
    buckets
        .iter()
        .map(|bucket| bucket[1].as_u64().unwrap())
        .sum()
}
