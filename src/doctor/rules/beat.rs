//! What was measured.

use std::time::Duration;

use unisono_timer::jitter::Cause;

use super::super::{Beat, Examination, Finding};
use crate::jitter::{measured, percent};

/// Later than this is too late for a frame, and no more than this share of deadlines may be: the limit of `unisono jitter`.
const TOO_LATE: Duration = Duration::from_millis(10);
const UNFIT_SHARE: f64 = 0.001;
/// Any guest may have one stall while it is looked at.
const FORGIVEN_STALLS: usize = 1;
/// A good machine keeps below this,
const GOOD_P999: Duration = Duration::from_millis(1);
/// and its latest wake-up below this.
const GOOD_LATEST: Duration = Duration::from_millis(5);
/// Wake-ups that never came, as a share of all, from which on it is no beat any more.
const UNFIT_MISSED: f64 = 0.1;

/// Shares of the CPUs' time that went to others.
const UNFIT_STEAL: f64 = 0.1;
const NOTED_STEAL: f64 = 0.01;

/// Clocks are slewed by a fraction of this; only a jump is more.
const JUMP: Duration = Duration::from_millis(1);

/// Three seconds show little.
const LONGER: &str = "unisono jitter --duration 10m";

pub(super) fn wake_ups(examination: &Examination, beat: Option<&Beat>) -> Finding {
    const TOPIC: &str = "wake-ups";
    let Some(beat) = beat else {
        let reason = examination.run.as_ref().err().map_or("", String::as_str);
        return Finding::unfit(
            TOPIC,
            format!("no beat could be measured: {reason}"),
            "without a timer there is no mixing",
        )
        .advice("allow timerfd, epoll and threads in the seccomp filter of the container or unit");
    };
    let nanos = |limit: Duration| limit.as_nanos() as u64;
    let (p999, latest) = (beat.quantile(0.999), beat.latest());
    let found = format!(
        "99.9 % came within {}, the latest {} late",
        measured(p999),
        measured(latest)
    );
    let missed = beat.missed_share();
    let too_often = beat.later_than(nanos(TOO_LATE)) > FORGIVEN_STALLS
        && beat.figures.corrected.share_above(nanos(TOO_LATE)) > UNFIT_SHARE;
    if beat.wake_ups() == 0 || too_often || missed > UNFIT_MISSED {
        let why = "frames leave late or not at all, again and again: callers hear choppy speech";
        let found = format!("{found}, {} never came", percent(missed));
        return Finding::unfit(TOPIC, found, why)
            .advice(remedy_of_lateness(examination, beat))
            .command(LONGER);
    }
    if p999 > nanos(GOOD_P999) || latest > nanos(GOOD_LATEST) {
        let why = "jitter buffers hide 20 ms or so of it; what is longer is heard as a gap";
        return Finding::warning(TOPIC, found, why)
            .advice(remedy_of_lateness(examination, beat))
            .command(LONGER);
    }
    Finding::ok(TOPIC, found)
}

/// What is left to do depends on what was granted and on what made them late.
fn remedy_of_lateness(examination: &Examination, beat: &Beat) -> &'static str {
    let causes = &beat.figures.causes;
    let foremost = causes.iter().max_by_key(|(_, count)| **count);
    match foremost.map(|(cause, _)| *cause) {
        Some(Cause::Throttling) => "lift the CPU quota, then ask again",
        Some(Cause::Steal) => {
            "the host ran other guests at those moments (steal), which no setting in the guest prevents: have it \
             pin this guest's CPUs, or move to dedicated ones"
        }
        _ if !examination.grant.realtime_granted() => "grant real-time priority, then ask again",
        Some(Cause::PageFault) => "lock memory (see 'memory lock'), or end what takes all of it",
        _ => "real-time priority is granted: see whether it goes on, and what the host does then",
    }
}

pub(super) fn steal(examination: &Examination, beat: Option<&Beat>) -> Option<Finding> {
    const TOPIC: &str = "steal";
    let facts = &examination.facts;
    let now = beat?.steal_share(facts.cpus.online_count()?)?;
    let since_boot = facts.pressure.steal_share.unwrap_or(0.0);
    let found = format!(
        "{} of the CPUs' time went to other guests while measuring, {} since boot",
        percent(now),
        percent(since_boot)
    );
    let why =
        "while the host runs somebody else this guest stands still, real-time priority or not";
    let finding = if now > UNFIT_STEAL {
        Finding::unfit(TOPIC, found, why)
    } else if now > NOTED_STEAL || since_boot > NOTED_STEAL {
        Finding::warning(TOPIC, found, why)
    } else {
        return Some(Finding::ok(TOPIC, found));
    };
    Some(finding.advice(
        "no setting in the guest helps: have the host pin this guest's CPUs, or move to dedicated ones",
    ))
}

pub(super) fn clock_jumps(examination: &Examination) -> Option<Finding> {
    const TOPIC: &str = "clock jumps";
    let run = examination.run.as_ref().ok()?;
    let longest = run
        .clock_jumps
        .iter()
        .map(|jump| jump.by_ns.unsigned_abs())
        .filter(|&by| u128::from(by) > JUMP.as_nanos())
        .max();
    let Some(longest) = longest else {
        return Some(Finding::ok(TOPIC, "none"));
    };
    Some(
        Finding::warning(
            TOPIC,
            format!("the clocks jumped against each other, by up to {}", measured(longest)),
            "ticks follow CLOCK_MONOTONIC and are not moved by it, but time stamps in logs are; two time \
             services that fight each other, or a clock source that is broken, do that",
        )
        .command("timedatectl timesync-status; chronyc tracking")
        .advice("run one time service only, and have it slew instead of step"),
    )
}
