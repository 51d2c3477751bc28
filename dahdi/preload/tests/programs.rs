//! Programs in C that do what programs for DAHDI do, and what they should not: run with the library preloaded, compiled as
//! they are and as distributions compile, where calls go through the C library's checking names.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where the library and the programs are for these tests.
struct Built {
    library: PathBuf,
    programs: PathBuf,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        // A test program is in `<target>/<profile>/deps`.
        let program = std::env::current_exe().unwrap();
        let profile = program.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--locked", "--lib", "--manifest-path"])
            .arg(root().join("Cargo.toml"))
            .arg("--target-dir")
            .arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        succeed(&mut build);
        let programs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
        std::fs::create_dir_all(&programs).unwrap();
        for source in ["timer", "pseudo", "fork", "hostile"] {
            for (suffix, flags) in [
                ("plain", &["-O0"][..]),
                ("fortified", &["-O2", "-D_FORTIFY_SOURCE=2"]),
            ] {
                let mut compile = Command::new("cc");
                compile
                    .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"])
                    .args(flags)
                    .arg(root().join(format!("tests/programs/{source}.c")))
                    .arg("-o")
                    .arg(programs.join(format!("{source}-{suffix}")));
                succeed(&mut compile);
            }
        }
        Built {
            library: profile.join("libunisono_dahdi.so"),
            programs,
        }
    })
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{out}{err}",
        output.status
    );
    // Past the test runner, which shows nobody what a test prints that passes.
    let _ = std::io::stderr().write_all(&output.stderr);
    out
}

/// Runs a case of a program in both forms.
fn run(program: &str, case: &str) {
    let built = built();
    // Conferences of tests that run at the same time shall not meet.
    let directory = built.programs.join(format!("{program}-{case}.dahdi"));
    std::fs::create_dir_all(&directory).unwrap();
    for form in ["plain", "fortified"] {
        let answer = succeed(
            Command::new(built.programs.join(format!("{program}-{form}")))
                .arg(case)
                .env("LD_PRELOAD", &built.library)
                .env("UNISONO_DAHDI_DIR", &directory),
        );
        assert_eq!(answer, "as promised\n");
    }
}

macro_rules! cases {
    ($($test:ident: $program:literal $case:literal;)*) => {$(
        #[test]
        fn $test() {
            run($program, $case);
        }
    )*};
}

cases! {
    periods_are_rounded_up_and_no_tick_is_lost_or_early: "timer" "periods";
    what_has_expired_survives_disarming: "timer" "disarmed";
    setting_the_same_period_keeps_the_phase: "timer" "same_period";
    acknowledging_counts: "timer" "acknowledging";
    a_ping_wakes_and_goes_before_ticks: "timer" "pinging";
    a_million_pings_and_pongs_leave_the_descriptor_true: "timer" "race";
    a_timer_refuses_what_it_does_not_serve: "timer" "refusals";
    flags_of_descriptors_are_as_set: "timer" "flags";
    duplicates_are_one_timer_until_the_last_is_closed: "timer" "duplicates";
    who_waits_for_a_closed_timer_is_let_go: "timer" "closed_while_waited_for";
    select_shows_a_timers_exceptions: "timer" "selecting";
    poll_and_epoll_show_a_timers_events: "timer" "polling";
    five_thousand_timers_tick_and_leave_no_descriptor: "timer" "five_thousand";
    a_stopped_program_has_three_seconds_of_ticks_pending: "timer" "stopped";
    asterisk_finds_a_timer_when_it_loads: "timer" "load_sequence";
    every_way_of_opening_opens: "timer" "paths";

    a_new_channel_is_as_dahdis: "pseudo" "defaults";
    the_513th_channel_is_refused: "pseudo" "exhaustion";
    buffers_have_dahdis_limits: "pseudo" "buffer_limits";
    a_read_is_a_block_and_the_rest_is_lost: "pseudo" "reading";
    writes_fill_the_buffers_and_wait_for_room: "pseudo" "writing";
    buffers_are_flushed_and_waited_for: "pseudo" "flushing_and_waiting";
    a_channel_refuses_what_real_lines_serve: "pseudo" "refusals";
    the_control_device_reaches_channels_by_number: "pseudo" "control";
    members_of_a_conference_hear_the_others: "pseudo" "conference";
    who_reads_a_closed_channel_is_let_go: "pseudo" "closed_while_read";

    a_child_goes_on_with_a_timer_of_its_own: "fork" "child_uses";
    a_child_may_wait_for_an_inherited_timer: "fork" "child_waits";
    a_child_that_only_closes_disturbs_nobody: "fork" "child_closes";
    a_daemon_goes_on_after_its_parent: "fork" "daemon_pattern";
    descriptors_survive_exec_unless_told_otherwise: "fork" "execute";
    children_that_borrow_memory_change_nothing: "fork" "borrowed";
    forks_in_the_midst_of_things_find_nothing_half_done: "fork" "in_the_midst";

    constructors_may_open_devices: "hostile" "before_the_program";
    bad_addresses_are_faults: "hostile" "bad_addresses";
    waiting_for_nothing_is_sleeping: "hostile" "nothing_to_wait_for";
    running_out_of_descriptors_is_told_and_passes: "hostile" "exhausted_descriptors";
    hidden_descriptors_take_no_room_below_the_limit: "hostile" "room_above_the_limit";
    closing_everything_spares_what_is_hidden: "hostile" "closing_everything";
    closing_everything_without_a_device_spares_what_is_hidden: "hostile" "closing_what_is_left_by_closefrom";
    what_was_closed_past_us_is_not_touched_again: "hostile" "closing_what_is_left_by_system_calls";
    closefrom_works_on_kernels_without_close_range: "hostile" "without_close_range";
    a_close_range_that_is_refused_closes_nothing: "hostile" "refused_close_range";
    numbers_closed_by_system_calls_are_used_again: "hostile" "closed_behind_our_back";
    a_number_used_while_it_becomes_anothers_is_left_alone: "hostile" "reused_in_the_midst";
    other_waits_can_be_cancelled: "hostile" "cancellation";
    a_cancelled_close_leaves_nothing_locked: "hostile" "cancelled_close";
    signal_handlers_read_write_and_close: "hostile" "in_signal_handlers";
    signals_end_or_restart_a_read: "hostile" "interruption";
    other_descriptors_and_errno_are_left_alone: "hostile" "others";
}

/// The checking names of the C library that the second form of the programs is there for.
#[test]
fn the_fortified_programs_call_by_the_checking_names() {
    let mut names = Command::new("nm");
    names.arg("-D");
    for program in ["timer", "pseudo"] {
        names.arg(built().programs.join(format!("{program}-fortified")));
    }
    let names = succeed(&mut names);
    for name in [
        "__open_2",
        "__open64_2",
        "__openat_2",
        "__openat64_2",
        "__read_chk",
        "__poll_chk",
        "__ppoll_chk",
    ] {
        assert!(names.contains(name), "{name}");
    }
}
