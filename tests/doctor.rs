//! `unisono doctor`, as an operator or a script meets it.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::process::{Command, Output};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

fn doctor(arguments: &[&str]) -> Output {
    // It takes three seconds; what hangs must not hang the tests.
    Command::new("timeout")
        .arg("60")
        .arg(cargo_bin("unisono"))
        .arg("doctor")
        .args(arguments)
        .output()
        .unwrap()
}

/// As somebody without limits or capabilities for real time. Tools of util-linux take them away; from who is not root
/// there are no capabilities to be taken.
fn doctor_without_rights(arguments: &[&str]) -> Output {
    let mut words = vec![
        "timeout",
        "60",
        "prlimit",
        "--rtprio=0",
        "--memlock=65536",
        "--nofile=1024",
    ];
    if nix::unistd::geteuid().is_root() {
        words.extend(["setpriv", "--bounding-set=-sys_nice,-ipc_lock"]);
    }
    Command::new(words[0])
        .args(&words[1..])
        .arg(cargo_bin("unisono"))
        .arg("doctor")
        .args(arguments)
        .output()
        .unwrap()
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn object(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!(
            "{error}: {}, and on standard error {complaint}",
            text(output)
        )
    })
}

/// A file with a configuration, removed at the end.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let file = format!("unisono-doctor-{name}-{}.toml", std::process::id());
        let path = std::env::temp_dir().join(file);
        fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn json_has_verdict_findings_measurement_and_facts_and_agrees_with_the_status() {
    let output = doctor(&["--json"]);
    let object = object(&output);
    assert_eq!(object["schema"], "unisono-doctor/1");
    let verdict = object["verdict"].as_str().unwrap();
    let findings = object["findings"].as_array().unwrap();
    let has = |severity: &str| {
        findings
            .iter()
            .any(|finding| finding["severity"] == severity)
    };
    let expected = match (has("unfit"), has("warning")) {
        (true, _) => ("unfit", 2),
        (false, true) => ("fit-with-warnings", 1),
        (false, false) => ("fit", 0),
    };
    assert_eq!((verdict, output.status.code().unwrap()), expected);
    assert_eq!(object["exit_status"], expected.1);
    for finding in findings {
        let remedies = finding["remedies"].as_array().unwrap();
        assert_eq!(
            remedies.is_empty(),
            finding["severity"] == "ok",
            "{finding}"
        );
        for remedy in remedies {
            let kind = remedy["kind"].as_str().unwrap();
            assert!(["unit-line", "command", "advice"].contains(&kind));
            assert!(!remedy["text"].as_str().unwrap().is_empty());
        }
    }
    let measured = &object["measured"];
    assert_eq!(measured["period_ms"], 2.5);
    // Whatever stalls there were: each deadline was met or missed.
    let met = measured["wake_ups"].as_u64().unwrap();
    let missed = measured["missed"].as_u64().unwrap();
    assert!(met > 0 && met + missed >= 1000, "{measured}");
    for quantile in ["p50", "p99", "p999", "max"] {
        assert!(measured["lateness_us"][quantile].is_f64(), "{measured}");
    }
    assert!(object["facts"]["kernel"]["release"].is_string());
    assert!(object["facts"]["clock"]["read_ns"].as_f64().unwrap() > 0.0);
    assert!(output.stderr.is_empty());
}

#[test]
fn the_screen_begins_with_the_verdict_and_has_no_colours_in_a_file() {
    let output = doctor(&[]);
    let text = text(&output);
    let expected = match output.status.code() {
        Some(0) => "FIT  ",
        Some(1) => "FIT WITH WARNINGS  ",
        Some(2) => "UNFIT  ",
        other => panic!("status {other:?}"),
    };
    assert!(text.starts_with(expected), "{text}");
    assert!(!text.contains('\x1b'));
    for label in [
        "granted ",
        "measured ",
        "room for ",
        "machine ",
        "clock ",
        "memory ",
    ] {
        let found = text.lines().filter(|line| line.starts_with(label)).count();
        assert_eq!(found, 1, "{label} in\n{text}");
    }
}

#[test]
fn who_has_no_rights_is_told_what_grants_them() {
    let output = doctor_without_rights(&[]);
    let text = text(&output);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{text}");
    for part in [
        "NOT real-time priority",
        "WARNING    real-time priority: refused",
        "LimitRTPRIO=50",
        "WARNING    memory lock: refused",
        "LimitMEMLOCK=infinity",
        "room for   213 legs",
        "LimitNOFILE=32384",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn the_configuration_decides_which_port_and_how_many_legs() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = Config::new(
        "ports",
        &format!(
            "[sip]\nlisten = \"127.0.0.1:{port}\"\ntransports = [\"udp\"]\n\
             [media]\nfirst_port = 20000\nlast_port = 20009\nmax_legs = 5\nrealtime_priority = false\n"
        ),
    );
    let object = object(&doctor(&["--json", "--config", config.path()]));
    assert_eq!(object["legs"]["possible"], 5);
    assert_eq!(object["legs"]["configured"], 5);
    let finding = |topic: &str| {
        let findings = object["findings"].as_array().unwrap();
        findings
            .iter()
            .find(|finding| finding["topic"] == topic)
            .unwrap_or_else(|| panic!("{topic} is not in {object:#}"))
    };
    assert_eq!(finding("legs")["severity"], "ok");
    let sip = finding("SIP port")["found"].as_str().unwrap();
    assert!(sip.contains(&format!("127.0.0.1:{port} is taken")), "{sip}");
    let priority = finding("real-time priority")["found"].as_str().unwrap();
    assert!(priority.starts_with("not asked for"), "{priority}");
}

#[test]
fn wrong_input_is_told_from_an_unfit_machine() {
    let config = Config::new("wrong", "[media]\nptime = 25\n");
    let mistakes: [(&[&str], &str); 4] = [
        (&["--duration", "2"], "3..=600"),
        (&["--colour"], "--colour"),
        (
            &["--config", "/nowhere/unisono.toml"],
            "/nowhere/unisono.toml",
        ),
        (&["--config", config.path()], "media.ptime"),
    ];
    for (arguments, expected) in mistakes {
        let output = doctor(arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {complaint}");
        assert!(output.stdout.is_empty());
        assert!(complaint.contains(expected), "{arguments:?}: {complaint}");
    }
    assert_eq!(doctor(&["--help"]).status.code(), Some(0));
}
