//! Programs in C, compiled by cc against the installed library, shared and static, and run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the library was installed for these tests.
fn prefix() -> &'static Path {
    static PREFIX: OnceLock<PathBuf> = OnceLock::new();
    PREFIX.get_or_init(|| {
        // A test program is in `<target>/<profile>/deps`.
        let program = std::env::current_exe().unwrap();
        let built = program.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--locked", "--lib", "--manifest-path"])
            .arg(root().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(built.parent().unwrap());
        if built.ends_with("release") {
            build.arg("--release");
        }
        succeed(&mut build);
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c");
        succeed(
            Command::new(root().join("install"))
                .env_remove("DESTDIR")
                .arg(&prefix)
                .arg(built),
        );
        prefix
    })
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}{err}");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the pkg-config file says after `field`, with its variables filled in.
fn pkg_config(field: &str) -> Vec<String> {
    let file = std::fs::read_to_string(prefix().join("lib/pkgconfig/unisono-timer.pc")).unwrap();
    let line = file.lines().find_map(|line| line.strip_prefix(field));
    let prefix = prefix().to_str().unwrap();
    let line = line
        .unwrap()
        .replace("${libdir}", &format!("{prefix}/lib"))
        .replace("${includedir}", &format!("{prefix}/include"));
    line.split_whitespace().map(str::to_owned).collect()
}

#[derive(Clone, Copy)]
enum Linked {
    Shared,
    Static,
}

const BOTH: [Linked; 2] = [Linked::Shared, Linked::Static];

fn compile(source: &Path, linked: Linked) -> PathBuf {
    compile_by("cc", &["-std=gnu11"], source, linked)
}

fn compile_by(compiler: &str, standard: &[&str], source: &Path, linked: Linked) -> PathBuf {
    let (lib, name) = (prefix().join("lib"), source.file_stem().unwrap());
    let kind = match linked {
        Linked::Shared => "shared",
        Linked::Static => "static",
    };
    let program = format!("{}-{compiler}-{kind}", name.to_str().unwrap());
    let program = prefix().join(program);
    let mut cc = Command::new(compiler);
    cc.args(standard)
        .args([
            "-Wall",
            "-Wextra",
            "-Wredundant-decls",
            "-Werror",
            "-pthread",
        ])
        .args(pkg_config("Cflags:"))
        .arg(source)
        .arg("-o")
        .arg(&program);
    match linked {
        Linked::Shared => cc
            .args(pkg_config("Libs:"))
            .arg(format!("-Wl,-rpath,{}", lib.display())),
        Linked::Static => cc
            .arg(lib.join("libunisono_timer.a"))
            .args(pkg_config("Libs.private:")),
    };
    succeed(&mut cc);
    program
}

fn example(name: &str) -> PathBuf {
    root().join("../../examples/c").join(name)
}

#[test]
fn the_example_of_a_pbx_gets_its_ticks() {
    for linked in BOTH {
        let program = compile(&example("pbx_timer.c"), linked);
        let output = text(&succeed(&mut Command::new(&program)).stdout);
        let last = output.lines().last().unwrap();
        let figures: Vec<u64> = last
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|word| word.parse().ok())
            .collect();
        let [millis, timers, ticks] = figures[..] else {
            panic!("{last}");
        };
        // Every tick is counted, however late it was; but the tick thread may be behind at the end.
        let due = timers * millis / 20;
        assert!(
            timers == 10 && ticks <= due + timers && 2 * ticks >= due,
            "{last}"
        );
    }
}

#[test]
fn the_example_of_a_pbx_says_what_is_wrong_and_fails() {
    let program = compile(&example("pbx_timer.c"), Linked::Shared);
    let output = Command::new(program).args(["1", "5000"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("rate: an argument is impossible"));
}

#[test]
fn the_example_of_a_ticker_ticks_ten_times() {
    for linked in BOTH {
        let program = compile(&example("ticker.c"), linked);
        let output = text(&succeed(&mut Command::new(program)).stdout);
        assert!(output.contains("\n10 ticks, median "), "{output}");
    }
}

#[test]
fn all_is_as_promised_seen_from_c() {
    for linked in BOTH {
        let program = compile(&root().join("tests/conformance.c"), linked);
        let output = text(&succeed(&mut Command::new(program)).stdout);
        assert_eq!(output.trim(), "all as promised");
    }
}

#[test]
fn so_it_is_from_cpp() {
    let source = root().join("tests/conformance.c");
    let standard = ["-x", "c++", "-std=gnu++17"];
    let program = compile_by("c++", &standard, &source, Linked::Shared);
    let output = text(&succeed(&mut Command::new(program)).stdout);
    assert_eq!(output.trim(), "all as promised");
}

#[test]
fn pkg_config_tells_what_these_programs_are_compiled_with() {
    let told = |argument: &str| {
        let mut command = Command::new("pkg-config");
        command
            .arg(argument)
            .arg("unisono-timer")
            .env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
        match command.output() {
            Ok(output) if output.status.success() => text(&output.stdout).trim().to_owned(),
            Ok(output) => panic!("{command:?}\n{}", text(&output.stderr)),
            Err(error) => panic!("pkg-config: {error}; install it (apt-get install pkg-config)"),
        }
    };
    assert_eq!(told("--cflags"), pkg_config("Cflags:").join(" "));
    assert_eq!(told("--libs"), pkg_config("Libs:").join(" "));
    assert_eq!(told("--modversion"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_shared_library_has_its_name_and_exports_what_the_header_has_and_nothing_else() {
    let library = prefix().join("lib/libunisono_timer.so.0");
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(&library));
    let dynamic = text(&dynamic.stdout);
    assert!(dynamic.contains("soname: [libunisono_timer.so.0]"));
    assert!(dynamic.contains("NODELETE"));

    let symbols = succeed(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&library),
    );
    let symbols = text(&symbols.stdout);
    let exported: Vec<_> = symbols
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect();
    let header = std::fs::read_to_string(prefix().join("include/unisono_timer.h")).unwrap();
    for name in &exported {
        assert!(header.contains(&format!("{name}(")), "{name} is exported");
    }
    assert!(exported.len() > 40);
}
