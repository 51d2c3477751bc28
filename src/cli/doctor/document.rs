//! The diagnosis for programs.

use serde_json::{Value, json};
use unisono_timer::Outcome;

use crate::doctor::{Beat, Diagnosis, Examination};

/// Names the format; a change that breaks readers raises the number. `docs/doctor.md` describes it.
const SCHEMA: &str = "unisono-doctor/1";

/// One object. What the machine does not tell is null or absent.
pub(super) fn object(examination: &Examination, diagnosis: &Diagnosis) -> Value {
    let verdict = diagnosis.verdict();
    let granted: Vec<Value> = examination
        .grant
        .parts()
        .filter_map(|(part, outcome)| granted(part, outcome))
        .collect();
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "verdict": verdict,
        "exit_status": verdict.exit_status(),
        "findings": diagnosis.findings,
        "granted": granted,
        "measured": diagnosis.beat.as_ref().map(|beat| measured(examination, beat)),
        "legs": {
            "possible": examination.capacity.legs,
            "configured": examination.capacity.wanted,
        },
        "workers": examination.workers,
        "facts": examination.facts,
    })
}

fn granted(part: &str, outcome: &Outcome) -> Option<Value> {
    let detail = match outcome {
        Outcome::NotAsked => return None,
        Outcome::Granted { detail } => detail.clone(),
        Outcome::Refused { reason, .. } => reason.to_string(),
    };
    Some(json!({
        "part": part,
        "granted": outcome.is_granted(),
        "detail": detail,
    }))
}

fn measured(examination: &Examination, beat: &Beat) -> Value {
    let figures = &beat.figures;
    let run = examination.run.as_ref().ok();
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let causes: serde_json::Map<String, Value> = figures
        .causes
        .iter()
        .map(|(cause, count)| (cause.to_string().replace(' ', "-"), json!(count)))
        .collect();
    json!({
        "period_ms": run.map(|run| run.period.as_secs_f64() * 1000.0),
        "seconds": run.map(|run| run.elapsed.as_secs_f64()),
        "wake_ups": beat.wake_ups(),
        "missed": figures.missed,
        "lateness_us": {
            "p50": micros(beat.quantile(0.5)),
            "p99": micros(beat.quantile(0.99)),
            "p999": micros(beat.quantile(0.999)),
            "max": micros(beat.latest()),
        },
        "causes": causes,
        "steal_share": examination.facts.cpus.online_count().and_then(|cpus| beat.steal_share(cpus)),
        "throttled_share": figures.throttled_share,
        "clock_jumps": run.map(|run| run.clock_jumps.len()),
    })
}
