//! The preload library, as programs get it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const NAME: &str = "libunisono_dahdi.so";

/// The library of this build, which is made if need be. `UNISONO_DAHDI_LIBRARY` names another.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| env::var_os("UNISONO_DAHDI_LIBRARY").map_or_else(build, PathBuf::from))
}

/// The library for the system in this folder, whose C library is older than this machine's.
pub(crate) fn library_for(system: &Path) -> PathBuf {
    let target = target().with_file_name(system.file_name().expect("a folder"));
    let system = system.canonicalize().expect("a folder");
    let mut cargo = cargo("rustc");
    cargo
        .arg("--lib")
        .arg("--target-dir")
        .arg(&target)
        .args(["--", &format!("-Clink-arg=--sysroot={}", system.display())]);
    for entry in fs::read_dir(system.join("usr/lib")).expect("list /usr/lib") {
        let folder = entry.expect("an entry").path();
        if folder.join("libc.so").exists() {
            cargo.arg(format!("-Clink-arg=-L{}", folder.display()));
        }
    }
    made(cargo, &target)
}

fn build() -> PathBuf {
    // It is a library that no crate links, so this test program cannot depend on it.
    made(cargo("build"), &target())
}

/// The folder that cargo builds into.
fn target() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_unisono"));
    let folder = program.parent().and_then(Path::parent);
    folder.expect("cargo's target folder").to_owned()
}

/// In the profile of this test program.
fn cargo(verb: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        verb,
        "--locked",
        "-p",
        "unisono-dahdi-preload",
    ]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo
}

fn made(mut cargo: Command, target: &Path) -> PathBuf {
    let output = cargo.output().expect("run cargo");
    assert!(
        output.status.success(),
        "the library does not compile:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let library = target.join(profile).join(NAME);
    assert!(library.exists(), "no {}", library.display());
    library
}
