//! Asterisk's timing by `res_timing_dahdi`, and what the same Asterisk says without our library.

use crate::crowd::Crowd;
use crate::crowds::{hear_the_three, three_of};
use crate::host::Host;
use crate::machine::{Load, steal};
use crate::sound::Voice;
use crate::stage::Stage;

/// A machine that stands still for a moment may move a tick out of the second that is counted.
const ATTEMPTS: usize = 10;

#[test]
fn timing_test_counts_fifty_ticks_a_second_idle_and_under_load() {
    Stage::play("timing", |stage| {
        let host = Host::start(stage, &[]);
        let modules = host.pbx.command("module show like timing").expect("a list");
        assert!(
            modules.contains("res_timing_dahdi.so") && !modules.contains("timerfd"),
            "{modules}"
        );
        assert_ticks(&host, "idle", 50);
        assert_ticks(&host, "idle", 1000);
        let load = Load::start();
        assert_ticks(&host, "every processor busy", 50);
        drop(load);
        host.stop(&[]);
    });
}

#[test]
#[ignore = "wants the older Asterisk of tests/install --bullseye"]
fn the_older_asterisk_has_its_timing_channels_and_confbridge() {
    Stage::play("older", |stage| {
        let host = Host::start_older(stage, &[("100", &["ConfBridge(1,plain,quiet)"])]);
        let version = host.pbx.command("core show version").expect("a version");
        assert!(version.contains("Asterisk 16."), "{version}");
        assert_ticks(&host, "Asterisk 16, idle", 50);
        let load = Load::start();
        assert_ticks(&host, "Asterisk 16, every processor busy", 50);
        drop(load);
        host.pbx
            .command("channel originate DAHDI/pseudo application MusicOnHold")
            .expect("an answer");
        host.pbx.wait_until("core show channels concise", |answer| {
            answer.contains("DAHDI/pseudo") && answer.contains("!Up!")
        });
        host.pbx.hang_up_all();
        hear_the_three(stage, Crowd::call(&host, three_of("100", 10)));
        host.stop(&[]);
    });
}

#[test]
fn without_the_library_the_same_asterisk_has_neither_timing_nor_meetme() {
    Stage::play("alone", |stage| {
        let host = Host::start_alone(stage, &[("100", &["MeetMe(1,dq)"])]);
        let timing = host.pbx.command("timing test").expect("an answer");
        host.speaker_to_the_end(stage, "100", Voice::Anna).succeed();
        let log = host.pbx.log();
        println!("{timing}\n{log}");
        assert!(log.contains("res_timing_dahdi declined to load"), "{log}");
        assert!(log.contains("Unable to open DAHDI pseudo device"), "{log}");
        assert!(timing.contains("Failed to open timing fd"), "{timing}");
    });
}

/// `timing test` counts this many ticks in its second, in one of some attempts.
#[track_caller]
fn assert_ticks(host: &Host, when: &str, rate: u32) {
    let mut counts = Vec::new();
    for _ in 0..ATTEMPTS {
        let stolen = steal();
        let command = format!("timing test {rate}");
        let answer = host.pbx.command(&command).expect("an answer");
        let count = answer
            .split("we got ")
            .nth(1)
            .and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok())
            .unwrap_or_else(|| panic!("no count of ticks in {answer:?}"));
        println!(
            "{when}: {count} of {rate} ticks; {:.0} ms stolen",
            (steal() - stolen) * 1000.0
        );
        counts.push(count);
        // The last one may be about to come.
        if count.abs_diff(rate) <= rate / 500 {
            return;
        }
    }
    panic!("{when}: {counts:?} of {rate} ticks a second");
}
