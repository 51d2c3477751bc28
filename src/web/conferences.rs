//! `/v1/conferences` and what is in them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::extract::{Change, ConferencePath, ParticipantPath};
use crate::conference::{ConferenceView, ParticipantView};
use crate::control::{ControlHandle, ParticipantChange};

/// A list as a resource: an object, so that fields can be added later.
#[derive(Debug, Serialize)]
pub(crate) struct ConferenceList {
    conferences: Vec<ConferenceView>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ParticipantList {
    participants: Vec<ParticipantView>,
}

/// What may be changed in a conference.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConferenceChange {
    /// True lets nobody else in.
    locked: bool,
}

type Answer<T> = Result<Json<T>, Problem>;

pub(crate) async fn list(State(control): State<ControlHandle>) -> Answer<ConferenceList> {
    Ok(Json(ConferenceList {
        conferences: control.conferences().await?,
    }))
}

pub(crate) async fn show(
    State(control): State<ControlHandle>,
    ConferencePath(name): ConferencePath,
) -> Answer<ConferenceView> {
    Ok(Json(control.conference(name).await?))
}

pub(crate) async fn change(
    State(control): State<ControlHandle>,
    ConferencePath(name): ConferencePath,
    body: Change,
) -> Answer<ConferenceView> {
    let change: ConferenceChange = body.read(r#"{"locked": true} or {"locked": false}"#)?;
    Ok(Json(control.lock(name, change.locked).await?))
}

pub(crate) async fn end(
    State(control): State<ControlHandle>,
    ConferencePath(name): ConferencePath,
) -> Result<StatusCode, Problem> {
    control.end(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn participants(
    State(control): State<ControlHandle>,
    ConferencePath(name): ConferencePath,
) -> Answer<ParticipantList> {
    Ok(Json(ParticipantList {
        participants: control.participants(name).await?,
    }))
}

pub(crate) async fn participant(
    State(control): State<ControlHandle>,
    ParticipantPath(name, id): ParticipantPath,
) -> Answer<ParticipantView> {
    Ok(Json(control.participant(name, id).await?))
}

pub(crate) async fn change_participant(
    State(control): State<ControlHandle>,
    ParticipantPath(name, id): ParticipantPath,
    body: Change,
) -> Answer<ParticipantView> {
    let change: ParticipantChange = body.read(
        r#"{"muted": true}, and optionally "deaf", "input_gain_db" and "output_gain_db" (-60 to 24)"#,
    )?;
    if let Some(gain) = change.gain_out_of_range() {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("A gain is from -60 to 24 dB; {gain} is not."),
        ));
    }
    Ok(Json(control.change_participant(name, id, change).await?))
}

pub(crate) async fn kick(
    State(control): State<ControlHandle>,
    ParticipantPath(name, id): ParticipantPath,
) -> Result<StatusCode, Problem> {
    control.kick(name, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
