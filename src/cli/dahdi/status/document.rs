//! What was found, for programs.

use serde_json::{Value, json};

use super::found::{Found, Place};

/// Names the format; a change that breaks readers raises the number. `docs/dahdi.md` describes it.
const SCHEMA: &str = "unisono-dahdi/1";

/// One object. Processes are as they report themselves.
pub(super) fn object(found: &Found) -> Value {
    let directories: Vec<Value> = found.places.iter().map(place).collect();
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "exit_status": found.status(),
        "directories": directories,
    })
}

fn place(place: &Place) -> Value {
    let conferences: Vec<Value> = place
        .conferences()
        .iter()
        .map(|conference| {
            let processes: Vec<Value> = conference
                .shares
                .iter()
                .map(|&(n, members)| json!({ "pid": place.answered()[n].pid, "members": members }))
                .collect();
            json!({
                "number": conference.number,
                "members": conference.members(),
                "processes": processes,
            })
        })
        .collect();
    let unanswered: Vec<Value> = place
        .unanswered
        .iter()
        .map(|(pid, error)| json!({ "pid": pid, "error": error }))
        .collect();
    json!({
        "path": place.path,
        "error": place.processes.as_ref().err(),
        "processes": place.answered(),
        "unanswered": unanswered,
        "conferences": conferences,
    })
}
