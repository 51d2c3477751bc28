//! What HTTP counts of itself, and the limit of time for an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Extension;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Problem;

/// How long a request's body may take to arrive, and its answer to be made.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Classes of status, as `/metrics` names them.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct WebMeter {
    /// Requests answered, by [class](CLASSES).
    pub(super) requests: [AtomicU64; CLASSES.len()],
    /// Connections that ended by an error: no HTTP, too slow, or broken.
    pub(super) connections_failed: AtomicU64,
    /// Connections closed because there were too many.
    pub(super) connections_refused: AtomicU64,
    /// Connections that the system could not hand over.
    pub(super) accept_failures: AtomicU64,
}

impl WebMeter {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        Self::add(&self.requests[class.min(CLASSES.len() - 1)]);
    }
}

/// Counts every request by the class of its answer, and answers itself where nothing else does in time.
pub(super) async fn count(
    Extension(meter): Extension<Arc<WebMeter>>,
    request: Request,
    next: Next,
) -> Response {
    let answer = tokio::time::timeout(ANSWER_TIME, next.run(request))
        .await
        .unwrap_or_else(|_| {
            let seconds = ANSWER_TIME.as_secs();
            Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                format!("The request was not complete within {seconds} s. Send it again."),
            )
            .into_response()
        });
    meter.count(answer.status());
    answer
}
