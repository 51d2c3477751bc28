//! `unisono dahdi` as a person runs it: the program runs with the library, or it is said why not.
//!
//! The C library's own mathematics stand in for the preload library: the loader takes any.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use assert_cmd::assert::{Assert, OutputAssertExt};
use nix::unistd::getuid;
use unisono_dahdi_trunk::report::{ChannelReport, ConferenceReport, ProcessReport};
use unisono_dahdi_trunk::{Answering, Directory};

/// A folder with programs, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("unisono-dahdi-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        // Another user is to reach what is in it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn program(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A program in C that does nothing, linked as told.
    fn compiled(&self, name: &str, flags: &[&str]) -> PathBuf {
        self.compiled_from("int main(void) { return 0; }\n", name, flags)
    }

    fn compiled_from(&self, text: &str, name: &str, flags: &[&str]) -> PathBuf {
        let source = self.path("program.c");
        fs::write(&source, text).unwrap();
        let path = self.path(name);
        let compiled = Command::new("gcc")
            .arg(source)
            .arg("-o")
            .arg(&path)
            .args(flags)
            .status()
            .unwrap();
        assert!(compiled.success());
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A library that any program can have before it.
fn harmless_library() -> PathBuf {
    let asked = Command::new("gcc")
        .arg("-print-file-name=libm.so.6")
        .output()
        .unwrap();
    fs::canonicalize(String::from_utf8(asked.stdout).unwrap().trim()).unwrap()
}

fn unisono_dahdi(command: &[&OsStr]) -> Command {
    let mut unisono = Command::new(assert_cmd::cargo::cargo_bin!("unisono"));
    unisono
        .arg("dahdi")
        .arg("--")
        .args(command)
        .env("UNISONO_DAHDI_LIBRARY", harmless_library())
        .env_remove("LD_PRELOAD");
    unisono
}

fn refused(command: &[&OsStr], status: i32, saying: &[&str]) {
    let output = unisono_dahdi(command).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    for part in saying {
        assert!(complaint.contains(part), "{part} is not in {complaint}");
    }
}

fn printed(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn the_program_takes_this_commands_place_and_has_the_library() {
    let mut unisono =
        unisono_dahdi(&["sh", "-c", "echo $$ $0 $LD_PRELOAD; exit 7", "name"].map(OsStr::new));
    unisono.env("LD_PRELOAD", "");
    let child = unisono
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let process = child.id();
    let assert = child.wait_with_output().unwrap().assert().code(7);
    let library = harmless_library();
    assert_eq!(
        printed(&assert),
        format!("{process} name {}\n", library.display())
    );
    // The loader has it, as it says of itself; not only the environment.
    let maps = unisono_dahdi(&["cat", "/proc/self/maps"].map(OsStr::new))
        .assert()
        .success();
    assert!(printed(&maps).contains(&library.display().to_string()));
}

#[test]
fn what_was_preloaded_before_stays() {
    let mut unisono = unisono_dahdi(&["printenv", "LD_PRELOAD"].map(OsStr::new));
    let library = harmless_library();
    let before = library.with_file_name("libdl.so.2");
    let assert = unisono.env("LD_PRELOAD", &before).assert().success();
    assert_eq!(
        printed(&assert),
        format!("{}:{}\n", library.display(), before.display())
    );
}

#[test]
fn a_signal_ends_the_program_as_without_this_command() {
    use std::os::unix::process::ExitStatusExt;
    let status = unisono_dahdi(&["sh", "-c", "kill -TERM $$"].map(OsStr::new))
        .status()
        .unwrap();
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn scripts_run_whatever_names_their_interpreter() {
    let folder = Folder::new("scripts");
    for (name, text) in [
        ("sh", "#!/bin/sh\necho $LD_PRELOAD\n"),
        ("env", "#! /usr/bin/env sh\necho $LD_PRELOAD\n"),
        ("bare", "echo $LD_PRELOAD\n"),
    ] {
        let script = folder.program(name, text.as_bytes());
        let assert = unisono_dahdi(&[script.as_os_str()]).assert().success();
        assert_eq!(
            printed(&assert),
            format!("{}\n", harmless_library().display()),
            "{name}"
        );
    }
    let chain = folder.program(
        "chain",
        format!("#!{}\n", folder.path("sh").display()).as_bytes(),
    );
    unisono_dahdi(&[chain.as_os_str()]).assert().success();
}

#[test]
fn what_is_not_there_or_no_program_is_named() {
    let folder = Folder::new("missing");
    let text = folder.path("text");
    fs::write(&text, "hello").unwrap();
    let dos = folder.program("dos", b"#!/bin/sh\r\necho\n");
    let foreign = folder.program("foreign", b"MZ\0\0\0\0");
    let damaged = folder.program("damaged", b"\x7fELF\x02\x01\x01\0cut off");
    let looped = folder.path("looped");
    symlink(&looped, &looped).unwrap();
    let own = folder.path("itself");
    folder.program("itself", format!("#!{}\n", own.display()).as_bytes());
    for (program, status, saying) in [
        (
            OsStr::new("no-such-program"),
            127,
            "no such program in PATH",
        ),
        (OsStr::new("/no/such/program"), 127, "no such file"),
        (folder.0.as_os_str(), 126, "a directory"),
        (text.as_os_str(), 126, "chmod +x"),
        (dos.as_os_str(), 126, r#""/bin/sh\r""#),
        (
            foreign.as_os_str(),
            126,
            "neither an ELF program nor a script",
        ),
        (
            damaged.as_os_str(),
            126,
            "neither an ELF program nor a script",
        ),
        (looped.as_os_str(), 126, "symbolic links"),
        (
            own.as_os_str(),
            126,
            "a script whose interpreter is a script",
        ),
        (
            OsStr::new("sudo"),
            126,
            "sudo -u USER unisono dahdi -- PROGRAM",
        ),
    ] {
        refused(&[program], status, &[saying]);
    }
}

#[test]
fn a_static_program_is_refused() {
    let folder = Folder::new("static");
    for flags in [&["-static"][..], &["-static-pie"][..]] {
        let program = folder.compiled("static", flags);
        refused(
            &[program.as_os_str()],
            126,
            &["linked statically", "linked dynamically"],
        );
    }
}

#[test]
fn programs_for_other_loaders_and_processors_are_refused() {
    let folder = Folder::new("others");
    let musl = folder.compiled("musl", &["-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1"]);
    refused(&[musl.as_os_str()], 126, &["C library", "ld-musl"]);
    let strange = folder.compiled("strange", &["-Wl,--dynamic-linker=/lib/ld-strange.so"]);
    refused(
        &[strange.as_os_str()],
        126,
        &["/lib/ld-strange.so, which is not here"],
    );

    let mut image = fs::read(folder.compiled("other", &[])).unwrap();
    // The processor: S/390, in bytes 18 and 19.
    image[18] = 22;
    image[19] = 0;
    let other = folder.program("other-processor", &image);
    refused(&[other.as_os_str()], 126, &["64 bits, S/390", "libm"]);

    // A header of 52 bytes without segments.
    let mut short = b"\x7fELF\x01\x01\x01".to_vec();
    short.resize(52, 0);
    (short[16], short[18], short[20], short[40]) = (2, 3, 1, 52);
    let short = folder.program("32-bits", &short);
    refused(&[short.as_os_str()], 126, &["for 32 bits, x86,"]);
}

/// A user and a group who own nothing here.
const NOBODY: u32 = 65_534;

#[test]
fn programs_that_the_loader_would_not_trust_are_refused_and_no_others() {
    if !getuid().is_root() {
        eprintln!("skipped: only root can give files away and run programs as somebody else");
        return;
    }
    let folder = Folder::new("rights");
    // Its status says whether the loader was told not to trust the environment.
    let source = "#include <sys/auxv.h>\nint main(void) { return getauxval(AT_SECURE) ? 9 : 0; }\n";
    let program = folder.compiled_from(source, "program", &[]);
    let unisono = folder.path("unisono");
    fs::copy(assert_cmd::cargo::cargo_bin!("unisono"), &unisono).unwrap();
    // CAP_SYS_NICE as 'setcap' writes it: permitted and effective, and inheritable only.
    let granted = [
        1, 0, 0, 2, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let inheritable = [
        0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    for mode in [0o755, 0o4755, 0o2755, 0o2745] {
        for owner in [0, NOBODY] {
            for capabilities in [None, Some(granted), Some(inheritable)] {
                // In this order, as a change of owner takes the bits and capabilities away.
                std::os::unix::fs::chown(&program, Some(owner), Some(owner)).unwrap();
                fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
                if let Some(capabilities) = capabilities {
                    xattr::set(&program, "security.capability", &capabilities).unwrap();
                }
                for user in [0, NOBODY] {
                    let case = format!("{mode:o} of {owner} with {capabilities:?}, by {user}");
                    let mut alone = Command::new(&program);
                    let alone = alone.uid(user).gid(user).status().unwrap();
                    let mut with = Command::new(&unisono);
                    with.args(["dahdi", "--"]).arg(&program);
                    let with = with
                        .env("UNISONO_DAHDI_LIBRARY", harmless_library())
                        .env_remove("LD_PRELOAD")
                        .uid(user)
                        .gid(user)
                        .output()
                        .unwrap();
                    let complaint = String::from_utf8(with.stderr).unwrap();
                    match alone.code() {
                        Some(0) => assert_eq!(with.status.code(), Some(0), "{case}: {complaint}"),
                        Some(9) => {
                            assert_eq!(with.status.code(), Some(126), "{case}: {complaint}");
                            assert!(complaint.contains("ignores preloaded"), "{complaint}");
                        }
                        other => panic!("{case}: {other:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_wrong_command_line_is_told_apart_from_the_programs_own_failures() {
    for (arguments, saying) in [
        (
            &["dahdi", "asterisk", "-f"][..],
            "Usage: unisono dahdi -- PROGRAM",
        ),
        (&["dahdi", "--"], "Usage: unisono dahdi -- PROGRAM"),
        (&["dahdi", "--nonsense"], "--nonsense"),
        (&["dahdi"], "Usage: unisono dahdi -- PROGRAM"),
    ] {
        let output = Command::new(assert_cmd::cargo::cargo_bin!("unisono"))
            .args(arguments)
            .output()
            .unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(125), "{complaint}");
        assert!(complaint.contains(saying), "{complaint}");
    }
}

#[test]
fn a_library_that_cannot_be_used_is_named() {
    let mut unisono = unisono_dahdi(&[OsStr::new("true")]);
    let assert = unisono
        .env("UNISONO_DAHDI_LIBRARY", "/no/library.so")
        .assert()
        .code(125);
    let complaint = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(
        complaint.contains("UNISONO_DAHDI_LIBRARY names /no/library.so"),
        "{complaint}"
    );
}

#[test]
fn the_status_asks_every_process_and_tells_programs_the_same() {
    let folder = Folder::new("status");
    let ask = |arguments: &[&str]| {
        let mut unisono = Command::new(assert_cmd::cargo::cargo_bin!("unisono"));
        let asked = unisono
            .args(["dahdi", "status"])
            .args(arguments)
            .env("UNISONO_DAHDI_DIR", &folder.0)
            .output()
            .unwrap();
        (
            asked.status.code(),
            String::from_utf8(asked.stdout).unwrap(),
        )
    };
    let (status, text) = ask(&[]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.starts_with("Nobody is seen to run"), "{text}");

    let answering = Answering::bind(&Directory::at(&folder.0).unwrap()).unwrap();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let texts = std::thread::scope(|scope| {
        scope.spawn(move || {
            while end.try_recv() == Err(TryRecvError::Empty) {
                answering.answer(a_process_in_1023);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let texts = (ask(&[]), ask(&["--json"]));
        drop(ended);
        texts
    });
    let ((status, text), (json_status, json)) = texts;
    assert_eq!((status, json_status), (Some(0), Some(0)), "{text}{json}");
    assert!(text.contains("1023              1  1 of pbx ("), "{text}");
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["schema"], "unisono-dahdi/1");
    let place = &document["directories"][0];
    assert_eq!(place["path"], folder.0.to_str().unwrap());
    assert_eq!(place["conferences"][0]["number"], 1023);
    assert_eq!(place["conferences"][0]["processes"][0]["members"], 1);
    assert_eq!(place["processes"][0]["channels"][0]["mode"], 0x304);
}

/// What such a process answers.
fn a_process_in_1023() -> ProcessReport {
    ProcessReport {
        pid: std::process::id(),
        program: "pbx".to_owned(),
        channels: vec![ChannelReport {
            number: 32_768,
            conference: 1023,
            mode: 0x304,
            ..ChannelReport::default()
        }],
        conferences: vec![ConferenceReport {
            number: 1023,
            members: 1,
            ..ConferenceReport::default()
        }],
        ..ProcessReport::default()
    }
}

#[test]
fn the_lines_for_a_service_are_a_unit_that_names_the_library() {
    let folder = Folder::new("unit");
    let ask = |library: &Path| {
        let mut unisono = Command::new(assert_cmd::cargo::cargo_bin!("unisono"));
        unisono
            .args(["dahdi", "unit", "pbx"])
            .env("UNISONO_DAHDI_LIBRARY", library)
            .assert()
    };
    let unit = printed(&ask(&harmless_library()).success());
    assert!(unit.starts_with("# /etc/systemd/system/pbx.service.d/unisono.conf\n"));
    let line = format!("Environment=LD_PRELOAD={}\n", harmless_library().display());
    assert!(unit.contains(&line), "{unit}");

    // systemd reads one percent sign as the begin of a specifier.
    let percent = folder.path("100%.so");
    fs::copy(harmless_library(), &percent).unwrap();
    let unit = printed(&ask(&percent).success());
    assert!(unit.contains("/100%%.so\n"), "{unit}");
    for name in ["a b.so", "a:b.so", "a'b.so"] {
        let path = folder.path(name);
        fs::copy(harmless_library(), &path).unwrap();
        let refused = ask(&path).code(125);
        assert_eq!(printed(&refused), "", "nothing that could be installed");
    }
}
