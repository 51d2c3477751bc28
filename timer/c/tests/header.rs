//! The header is what the sources say.

use std::path::Path;

/// Write the header anew with `UNISONO_WRITE_HEADER=1 cargo test -p unisono-timer-c --test header`.
#[test]
fn the_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    // It follows the modules from there.
    let builder = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/lib.rs"));
    let mut current = Vec::new();
    builder.generate().unwrap().write(&mut current);
    let current = String::from_utf8(current).unwrap();

    let path = root.join("include/unisono_timer.h");
    if std::env::var_os("UNISONO_WRITE_HEADER").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == current,
        "{} is not what the sources say; write it anew with\n\
         UNISONO_WRITE_HEADER=1 cargo test -p unisono-timer-c --test header",
        path.display()
    );
}

/// So that a function added without it is noticed.
#[test]
fn every_function_is_in_the_header_and_lets_no_panic_cross() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let header = std::fs::read_to_string(root.join("include/unisono_timer.h")).unwrap();
    // These cannot panic: constants, and a function that only calls a guarded one.
    let plain = [
        "unisono_version",
        "unisono_strerror",
        "unisono_timer_max_rate",
        "unisono_timer_ack_all",
    ];
    let mut functions = 0;
    for file in std::fs::read_dir(root.join("src")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for function in text.split("#[unsafe(no_mangle)]").skip(1) {
            let (_, name) = function.split_once("fn ").unwrap();
            let (name, rest) = name.split_once('(').unwrap();
            let (body, _) = rest.split_once("\n}").unwrap();
            let declared = header.matches(&format!(" {name}(")).count()
                + header.matches(&format!("*{name}(")).count();
            assert_eq!(declared, 1, "{name} is not there once");
            let guarded = body.contains("    guarded(|| ");
            assert!(guarded || plain.contains(&name), "{name} is not guarded");
            functions += 1;
        }
    }
    assert!(functions > 40, "{functions}");
}
