//! Many callers in one conference of MeetMe, many conferences at once, and ConfBridge on our timer.

use std::time::Duration;

use serde_json::Value;

use crate::crowd::{Caller, Crowd};
use crate::host::Host;
use crate::sound::Voice;
use crate::stage::Stage;

/// Three of them talk.
const CALLERS: usize = 50;
const CALLERS_OF_CONFBRIDGE: usize = 20;
const TALKERS: [Voice; 3] = [Voice::Anna, Voice::Ben, Voice::Calum];

/// Two talk in each.
const CONFERENCES: usize = 20;
const PAIRS: [[Voice; 2]; 2] = [[Voice::Anna, Voice::Ben], [Voice::Calum, Voice::Edith]];

/// How long they talk, and when the first word has been heard by all, seconds.
const TALK: Duration = Duration::from_secs(9);
const FIRST_WORD: f64 = 0.7;

#[test]
fn fifty_callers_of_one_conference_hear_the_three_who_talk() {
    Stage::play("fifty", |stage| {
        let host = Host::start(stage, &[("100", &["MeetMe(1,dq)"])]);
        let crowd = Crowd::call(&host, three_of("100", CALLERS));
        host.wait_for_users("1", CALLERS);
        let status = host.status_while(stage, || hear_the_three(stage, crowd));
        assert_fifty_are_in_it(&status);
        host.stop(&[]);
    });
}

#[test]
fn confbridge_on_our_timer_carries_twenty_callers_clean() {
    Stage::play("confbridge", |stage| {
        let host = Host::start(stage, &[("100", &["ConfBridge(1,plain,quiet)"])]);
        let crowd = Crowd::call(&host, three_of("100", CALLERS_OF_CONFBRIDGE));
        let calls = format!("{CALLERS_OF_CONFBRIDGE} active calls");
        host.pbx
            .wait_until("core show channels count", |answer| answer.contains(&calls));
        hear_the_three(stage, crowd);
        host.stop(&[]);
    });
}

#[test]
fn twenty_conferences_at_once_are_twenty_conferences() {
    Stage::play("twenty", |stage| {
        let host = Host::start(stage, &[("_2XX", &["MeetMe(${EXTEN},dq)"])]);
        let callers: Vec<Caller> = (0..CONFERENCES)
            .flat_map(|n| PAIRS[n % PAIRS.len()].map(|voice| (format!("{}", 200 + n), Some(voice))))
            .collect();
        let crowd = Crowd::call(&host, callers);
        let total = format!("Total number of MeetMe users: {}", 2 * CONFERENCES);
        host.pbx
            .wait_until("meetme list", |answer| answer.contains(&total));
        for (n, heard) in crowd.talk(TALK).into_iter().enumerate() {
            let pair = PAIRS[n / 2 % PAIRS.len()];
            let end = heard.recording.seconds();
            heard.recording.between(FIRST_WORD, end).assert_heard(
                &format!("{} in conference {}", pair[n % 2], 200 + n / 2),
                &[pair[1 - n % 2]],
                stage.tolerance(),
            );
        }
        host.stop(&[]);
    });
}

/// What `unisono dahdi status` says of an Asterisk with the callers in one conference of MeetMe.
fn assert_fifty_are_in_it(status: &Value) {
    let place = &status["directories"][0];
    let [process] = &place["processes"].as_array().expect("processes")[..] else {
        panic!("not one process: {status:#}");
    };
    let pid = &process["pid"];
    // Two channels more are MeetMe's own.
    let members = CALLERS + 2;
    let conference = &place["conferences"][0];
    assert_eq!(place["conferences"].as_array().map(Vec::len), Some(1));
    assert_eq!(conference["number"], 1023, "{conference:#}");
    assert_eq!(conference["members"], members, "{conference:#}");
    assert_eq!(conference["processes"][0]["pid"], *pid);
    assert_eq!(process["program"], "asterisk");
    assert_eq!(process["alone"], Value::Null);
    assert_eq!(process["conferences"][0]["members"], members);
    let channels = process["channels"].as_array().expect("channels");
    let inside = channels.iter().filter(|one| one["conference"] == 1023);
    assert_eq!(inside.count(), members, "{channels:#?}");
    // One for each phone; MeetMe sets none of them going.
    assert!(
        process["timers"]["open"].as_u64() >= Some(CALLERS as u64),
        "{process:#}"
    );
    assert!(process["steps"]["mixed"].as_u64() > Some(0), "{process:#}");
    let grant = process["grant"].as_str().expect("what was granted");
    assert!(grant.contains("SCHED_FIFO"), "{grant}");
    assert!(
        process["lateness"]["p50_us"].as_f64() > Some(0.0),
        "{process:#}"
    );
}

/// So many callers, of whom the first three talk.
pub(crate) fn three_of(number: &str, callers: usize) -> Vec<Caller> {
    (0..callers)
        .map(|n| (number.to_owned(), TALKERS.get(n).copied()))
        .collect()
}

/// They talk, and each hears those of the three it is not.
pub(crate) fn hear_the_three(stage: &Stage, crowd: Crowd) {
    let sent = TALK.as_secs_f64() * 50.0;
    for (n, heard) in crowd.talk(TALK).into_iter().enumerate() {
        let others: Vec<Voice> = TALKERS
            .into_iter()
            .filter(|&voice| TALKERS.get(n) != Some(&voice))
            .collect();
        let tolerance = stage.tolerance();
        assert!(
            heard.counts.lost() as f64 <= tolerance.lost * sent,
            "caller {n}: {:?}; {tolerance:?}",
            heard.counts
        );
        let end = heard.recording.seconds();
        heard.recording.between(FIRST_WORD, end).assert_heard(
            &format!("caller {n}"),
            &others,
            tolerance,
        );
    }
}
