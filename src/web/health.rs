//! `GET /healthz`: is the beat alive?

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::control::ControlHandle;

#[derive(Debug, Serialize)]
pub(crate) struct Health {
    /// `ok`; `degraded`, if calls work and something else does not; or `failing`.
    status: &'static str,
    /// What is wrong; empty when nothing is.
    reasons: Vec<String>,
    /// Seconds since the start.
    uptime_seconds: u64,
    /// Whether the media threads run with real-time priority; without it everything works, less evenly.
    realtime: bool,
    conferences: u64,
    participants: u64,
}

/// A control plane that takes longer than this to say how it is, is not well.
const PATIENCE: Duration = Duration::from_secs(3);

/// 200 while the control plane answers and every worker that has work ticks; 503 otherwise.
pub(crate) async fn show(State(control): State<ControlHandle>) -> (StatusCode, Json<Health>) {
    let overview = match tokio::time::timeout(PATIENCE, control.overview()).await {
        Ok(Ok(overview)) => Ok(overview),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "the control plane has not answered for {} s",
            PATIENCE.as_secs()
        )),
    };
    match overview {
        Ok(overview) => {
            let healthy = overview.problems.is_empty();
            let status = match (healthy, &overview.link_problem, &overview.overload_problem) {
                (false, ..) => "failing",
                (true, None, None) => "ok",
                (true, ..) => "degraded",
            };
            let mut reasons = overview.problems;
            reasons.extend(overview.link_problem);
            reasons.extend(overview.overload_problem);
            let health = Health {
                status,
                reasons,
                uptime_seconds: overview.uptime.as_secs(),
                realtime: overview.realtime,
                conferences: overview.conferences,
                participants: overview.participants,
            };
            (
                if healthy {
                    StatusCode::OK
                } else {
                    StatusCode::SERVICE_UNAVAILABLE
                },
                Json(health),
            )
        }
        Err(reason) => {
            let health = Health {
                status: "failing",
                reasons: vec![reason],
                uptime_seconds: 0,
                realtime: false,
                conferences: 0,
                participants: 0,
            };
            (StatusCode::SERVICE_UNAVAILABLE, Json(health))
        }
    }
}
