//! Runs one test of the calling test program in a process of its own, with rights taken away.

pub(crate) mod rights;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Whether this process was started by [`start`] for `role`: the test then plays it.
pub(crate) fn is(role: &str) -> bool {
    std::env::var_os(ROLE).is_some_and(|given| given == role)
}

/// Starts the test `role` of this program again, with `prepare` run in the child before exec.
///
/// `prepare` may only make system calls.
pub(crate) fn start(
    role: &str,
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) -> Child {
    start_with(role, &[], prepare)
}

fn start_with(
    role: &str,
    more: &[&str],
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([role, "--exact", "--nocapture", "--test-threads=1"])
        .args(more)
        .env(ROLE, role)
        // Without an arena for each thread, which reserves more than a common memory limit.
        .env("MALLOC_ARENA_MAX", "1");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    // SAFETY: `prepare` makes async-signal-safe system calls only, as demanded above.
    unsafe { command.pre_exec(prepare) };
    command.spawn().unwrap()
}

/// As [`start`], for a test that is ignored.
#[allow(dead_code, reason = "not every test program needs it")]
pub(crate) fn start_ignored(
    role: &str,
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) -> Child {
    start_with(role, &["--ignored"], prepare)
}

/// What the test `role` prints after `"> "` in a child that runs to its end and succeeds.
#[allow(dead_code, reason = "not every test program needs it")]
pub(crate) fn answer_of(
    role: &str,
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) -> String {
    let output = start(role, prepare).wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{role}: {}\n{text}", output.status);
    // The test harness may have written on the same line.
    let answer = text
        .lines()
        .find_map(|line| Some(line.split_once("> ")?.1.to_owned()));
    answer.unwrap_or_else(|| panic!("{role} said nothing:\n{text}"))
}

const ROLE: &str = "UNISONO_TIMER_TEST_ROLE";
