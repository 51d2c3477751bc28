//! `unisono demo`, as a script sees it: one JSON object, an exit status, files.

use assert_cmd::Command;
use serde_json::Value;

fn demo(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("unisono").unwrap();
    command.arg("demo").args(arguments).output().unwrap()
}

/// The one object on standard output.
fn object(output: &std::process::Output) -> Value {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    serde_json::from_str(text).unwrap_or_else(|error| {
        let complaint = String::from_utf8_lossy(&output.stderr);
        panic!("{error}: {text:?}, and on standard error {complaint:?}")
    })
}

#[test]
fn every_caller_hears_all_others_and_not_itself() {
    let folder = std::env::temp_dir().join(format!("unisono-demo-{}", std::process::id()));
    let output = demo(&[
        "--seconds",
        "4",
        "--json",
        "--wav",
        folder.to_str().unwrap(),
    ]);
    let object = object(&output);
    assert_eq!(object["callers"], 4, "{object:#}");
    assert_eq!(object["heard_all_others"], true, "{object:#}");
    assert_eq!(object["heard_self"], false, "{object:#}");
    assert!(object["realtime"]["granted"].is_boolean(), "{object:#}");
    assert!(object["missed_ticks"].is_u64(), "{object:#}");
    for quantile in ["p50", "p99", "p999", "max"] {
        assert!(object["tick_lateness_us"][quantile].is_f64(), "{object:#}");
    }
    for quantile in ["p50", "p99"] {
        let delay = object["mouth_to_ear_ms"][quantile].as_f64().unwrap();
        // Nothing is heard before its packet is complete.
        assert!(delay >= 20.0, "{object:#}");
    }
    // On a machine that is overloaded packets may be lost: then the status has to say so.
    let loss = object["loss"].as_f64().unwrap();
    assert_eq!(
        output.status.code(),
        Some(i32::from(loss > 0.0)),
        "{object:#}"
    );
    assert!(output.stderr.is_empty());

    for name in ["anna", "ben"] {
        let wav = hound::WavReader::open(folder.join(format!("{name}-heard.wav"))).unwrap();
        assert_eq!((wav.spec().channels, wav.spec().sample_rate), (1, 8000));
        assert!(wav.duration() > 3 * 8000);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn wrong_arguments_are_refused_with_what_is_possible() {
    for (arguments, expected) in [
        (["--codec", "g729"], "pcmu, pcma, g722, opus, l16"),
        (["--seconds", "2"], "3..=3600"),
        (["--callers", "51"], "2..=50"),
        (["--callers", "four"], "four"),
    ] {
        let output = demo(&arguments);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(complaint.contains(expected), "{complaint}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_told_before_anybody_waits() {
    let output = demo(&["--wav", "/dev/null/here"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("/dev/null/here"), "{complaint}");
    assert!(output.stdout.is_empty());
}
