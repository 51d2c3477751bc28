//! The command line as a person meets it: help, mistakes, exit statuses.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;

#[test]
fn help_names_the_verbs_and_each_verb_explains_its_options() {
    let help = printed(&["--help"]);
    for word in ["serve", "demo", "doctor", "jitter", "Usage:"] {
        assert!(help.contains(word), "{word} in\n{help}");
    }
    let serve = printed(&["serve", "--help"]);
    for word in ["--config", "--sip", "--http", "ADDR:PORT"] {
        assert!(serve.contains(word), "{word} in\n{serve}");
    }
    let demo = printed(&["demo", "--help"]);
    for word in ["--seconds", "--callers", "--codec", "--wav", "--json"] {
        assert!(demo.contains(word), "{word} in\n{demo}");
    }
    let doctor = printed(&["doctor", "--help"]);
    for word in ["--config", "--duration", "--json"] {
        assert!(doctor.contains(word), "{word} in\n{doctor}");
    }
    let jitter = printed(&["jitter", "--help"]);
    for word in [
        "--method", "--period", "--load", "--assert", "--html", "compare",
    ] {
        assert!(jitter.contains(word), "{word} in\n{jitter}");
    }
    for help in [help, serve, demo, doctor, jitter] {
        let longest = help.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{longest:?} columns in\n{help}");
    }
}

#[test]
fn an_unknown_option_ends_with_status_2() {
    let output = unisono(&["serve", "--colour", "red"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("--colour"));
}

#[test]
fn an_address_that_is_none_ends_with_status_2() {
    let output = unisono(&["serve", "--sip", "somewhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("somewhere"));
}

#[test]
fn a_configuration_that_is_not_there_ends_with_status_2_and_is_named() {
    let output = unisono(&["serve", "--config", "/nowhere/unisono.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(complaint(&output).contains("/nowhere/unisono.toml"));
}

#[test]
fn a_configuration_with_a_mistake_ends_with_status_2_and_names_line_key_and_expectation() {
    for (name, text, place, key, expected) in [
        (
            "value",
            "# one\n[media]\nptime = 25\n",
            ":3:",
            "media.ptime",
            "20",
        ),
        (
            "type",
            "[sip]\nlisten = 5060\n",
            ":2:",
            "sip.listen",
            "ADDR",
        ),
        (
            "key",
            "[http]\nlissten = \"127.0.0.1:80\"\n",
            ":2:",
            "lissten",
            "listen",
        ),
        (
            "section",
            "\n\n[mdia]\nptime = 20\n",
            ":3:",
            "mdia",
            "media",
        ),
        (
            "codec",
            "[media]\ncodecs = [\n  \"PCMU\",\n  \"GSM\",\n]\n",
            ":4:",
            "media.codecs",
            "PCMA",
        ),
        (
            "pin",
            "[[conference]]\nname = \"1\"\npin = \"12a\"\n",
            ":3:",
            "pin",
            "digit",
        ),
        ("toml", "[sip]\nlisten = \n", ":2:", "", ""),
    ] {
        let path = file(name, text);
        let output = unisono(&["serve", "--config", &path]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        let complaint = complaint(&output);
        for part in [&path, place, key, expected] {
            assert!(
                complaint.to_lowercase().contains(&part.to_lowercase()),
                "{name}: {part:?} is not in\n{complaint}"
            );
        }
        assert!(
            output.stdout.is_empty(),
            "{name}: it printed to standard output"
        );
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let path = file(
        "two",
        "[media]\nptime = 25\n[sip]\ntransports = [\"carrier pigeon\"]\n",
    );
    let complaint = complaint(&unisono(&["serve", "--config", &path]));
    assert!(complaint.contains(":2:"), "{complaint}");
    assert!(complaint.contains(":4:"), "{complaint}");
}

#[test]
fn an_address_in_use_ends_with_a_failure_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let output = unisono(&["serve", "--sip", "127.0.0.1:0", "--http", &address]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains(&address));
}

fn unisono(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_unisono"))
        .args(arguments)
        .timeout(std::time::Duration::from_secs(20))
        .output()
        .expect("run unisono")
}

fn printed(arguments: &[&str]) -> String {
    let output = unisono(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn complaint(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn file(name: &str, text: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("command-line");
    fs::create_dir_all(&folder).expect("make the tests' folder");
    let path = folder.join(format!("{name}.toml"));
    fs::write(&path, text).expect("write the configuration");
    path.display().to_string()
}
