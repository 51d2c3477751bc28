//! The verdict for programs.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::codec_name;
use super::judge::{Delay, Verdict};
use crate::conference::MediaView;

/// One object, in one line. Numbers that could not be measured are null.
pub(super) fn object(verdict: &Verdict, files: &[PathBuf]) -> Value {
    let lateness = &verdict.lateness;
    let callers: Vec<Value> = verdict
        .callers
        .iter()
        .map(|caller| {
            json!({
                "name": caller.name,
                "hears": caller.hears,
                "misses": caller.misses,
                "hears_itself": caller.hears_itself,
                "packets_sent": caller.sent,
                "packets_received": caller.received,
                "packets_lost": caller.lost.lost,
                "packets_lost_to_server": caller.lost_to_server.lost,
                "mouth_to_ear_ms": delay(caller.delay),
                "level_dbov": finite(caller.level_dbov),
                "server": caller.server.as_ref().map(server_side),
            })
        })
        .collect();
    json!({
        "passed": verdict.passed(),
        "faults": verdict.faults,
        "callers": verdict.callers.len(),
        "heard_all_others": verdict.heard_all_others(),
        "heard_self": verdict.heard_self(),
        "loss": verdict.loss,
        "mouth_to_ear_ms": delay(verdict.delay),
        "tick_lateness_us": {
            "p50": decimals(lateness.p50, 1),
            "p99": decimals(lateness.p99, 1),
            "p999": decimals(lateness.p999, 1),
            "max": decimals(lateness.max, 1),
        },
        "missed_ticks": verdict.missed_ticks,
        "realtime": {
            "granted": verdict.realtime,
            "reason": (!verdict.realtime).then_some(&verdict.realtime_detail),
        },
        "codec": codec_name(verdict.codec),
        "seconds": decimals(verdict.spoken.as_secs_f64(), 2),
        "ticks": lateness.ticks,
        "details": callers,
        "files": files,
    })
}

/// What of the server's side explains what was heard.
fn server_side(media: &MediaView) -> Value {
    json!({
        "packets_received": media.packets_received,
        "packets_sent": media.packets_sent,
        "packets_late": media.packets_late,
        "jitter_ms": decimals(media.jitter_ms.into(), 2),
        "playout_ms": decimals(media.playout_ms.into(), 1),
        "concealed_ms": media.concealed_ms,
    })
}

fn delay(delay: Option<Delay>) -> Value {
    json!({
        "p50": delay.map(|delay| decimals(delay.p50.into(), 1)),
        "p99": delay.map(|delay| decimals(delay.p99.into(), 1)),
    })
}

fn finite(value: f32) -> Option<f64> {
    value.is_finite().then(|| decimals(value.into(), 1))
}

fn decimals(value: f64, places: i32) -> f64 {
    let scale = 10f64.powi(places);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use unisono_rtp::codec::Codec;

    use super::super::judge::Lateness;
    use super::*;

    fn verdict() -> Verdict {
        Verdict {
            codec: Codec::Opus,
            spoken: Duration::from_millis(4001),
            callers: Vec::new(),
            faults: vec!["nobody called".to_owned()],
            loss: 0.25,
            delay: Some(Delay {
                p50: 61.04,
                p99: 75.0,
            }),
            lateness: Lateness {
                ticks: 200,
                p50: 45.26,
                p99: 100.0,
                p999: 200.0,
                max: 300.0,
            },
            missed_ticks: 1,
            realtime: false,
            realtime_detail: "RLIMIT_RTPRIO is 0".to_owned(),
        }
    }

    #[test]
    fn the_fields_that_are_promised_are_there() {
        let object = object(&verdict(), &[]);
        assert_eq!(object["callers"], 0);
        assert_eq!(object["heard_all_others"], true);
        assert_eq!(object["heard_self"], false);
        assert_eq!(object["loss"], 0.25);
        assert_eq!(
            object["mouth_to_ear_ms"],
            json!({ "p50": 61.0, "p99": 75.0 })
        );
        let lateness = json!({ "p50": 45.3, "p99": 100.0, "p999": 200.0, "max": 300.0 });
        assert_eq!(object["tick_lateness_us"], lateness);
        assert_eq!(object["missed_ticks"], 1);
        let refused = json!({ "granted": false, "reason": "RLIMIT_RTPRIO is 0" });
        assert_eq!(object["realtime"], refused);
        assert_eq!(
            (&object["passed"], &object["codec"]),
            (&json!(false), &json!("opus"))
        );
    }

    #[test]
    fn what_could_not_be_measured_is_null() {
        let verdict = Verdict {
            delay: None,
            realtime: true,
            ..verdict()
        };
        let object = object(&verdict, &[]);
        assert_eq!(
            object["mouth_to_ear_ms"],
            json!({ "p50": null, "p99": null })
        );
        assert_eq!(
            object["realtime"],
            json!({ "granted": true, "reason": null })
        );
    }
}
