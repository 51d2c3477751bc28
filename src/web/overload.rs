//! `/v1/overload`: how busy the workers are, what they give up, and above which load.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::Problem;
use super::extract::Change;
use crate::control::{ControlHandle, Overview};
use crate::engine::{Level, OverloadSettings};

#[derive(Debug, Serialize)]
pub(crate) struct OverloadView {
    /// The worst worker's.
    level: &'static str,
    refuse_above: u8,
    trim_above: u8,
    shed_above: u8,
    calls_refused: u64,
    workers: Vec<WorkerView>,
}

#[derive(Debug, Serialize)]
struct WorkerView {
    worker: usize,
    level: &'static str,
    load: f64,
    legs: u64,
    conferences: u64,
    dozing_legs: u64,
}

/// Thresholds until the server ends; what is absent stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverloadChange {
    refuse_above: Option<u8>,
    trim_above: Option<u8>,
    shed_above: Option<u8>,
}

pub(crate) async fn show(
    State(control): State<ControlHandle>,
) -> Result<Json<OverloadView>, Problem> {
    Ok(Json(view(&control.overview().await?)))
}

pub(crate) async fn change(
    State(control): State<ControlHandle>,
    body: Change,
) -> Result<Json<OverloadView>, Problem> {
    let change: OverloadChange = body.read(
        r#"{"refuse_above": 80}, and optionally "trim_above" and "shed_above", each 0 to 100"#,
    )?;
    let now = control.overview().await?.overload;
    let settings = OverloadSettings {
        refuse_above: change.refuse_above.unwrap_or(now.refuse_above),
        trim_above: change.trim_above.unwrap_or(now.trim_above),
        shed_above: change.shed_above.unwrap_or(now.shed_above),
    };
    if !settings.are_in_order() {
        let OverloadSettings {
            refuse_above,
            trim_above,
            shed_above,
        } = settings;
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!(
                "Thresholds are percentages, each at least the one before: refuse_above {refuse_above}, trim_above {trim_above}, shed_above {shed_above} are not."
            ),
        ));
    }
    control.set_overload(settings).await?;
    Ok(Json(view(&control.overview().await?)))
}

fn view(overview: &Overview) -> OverloadView {
    let levels = overview.workers.iter().map(|worker| worker.level);
    let OverloadSettings {
        refuse_above,
        trim_above,
        shed_above,
    } = overview.overload;
    let workers = overview.workers.iter().enumerate();
    OverloadView {
        level: levels.max().unwrap_or(Level::Normal).name(),
        refuse_above,
        trim_above,
        shed_above,
        calls_refused: overview
            .calls_refused
            .iter()
            .find(|(reason, _)| *reason == "overload")
            .map_or(0, |(_, count)| *count),
        workers: workers
            .map(|(worker, overview)| WorkerView {
                worker,
                level: overview.level.name(),
                load: overview.figures.load_permille as f64 / 1000.0,
                legs: overview.figures.legs,
                conferences: overview.figures.busy_rooms,
                dozing_legs: overview.figures.dozing,
            })
            .collect(),
    }
}
