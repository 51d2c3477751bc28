//! The HTTP side: resources as JSON under `/v1`, `/healthz`, and `/metrics` for Prometheus.
//!
//! Errors are `application/problem+json` (RFC 9457). With a token configured everything but `/healthz` asks for
//! `Authorization: Bearer TOKEN` (RFC 6750). Handlers hold no state: they ask the control plane and wait for its answer.

mod auth;
mod conferences;
mod extract;
mod health;
mod meter;
mod metrics;
mod overload;
mod problem;
mod serving;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use axum::{Extension, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::meter::WebMeter;
use crate::control::ControlHandle;

pub(crate) use serving::MAX_CONNECTIONS;

pub use problem::Problem;

/// A bound, not yet serving, HTTP socket.
#[derive(Debug)]
pub struct WebServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl WebServer {
    /// Binds `address` (port 0 for any free one).
    ///
    /// # Errors
    /// What the kernel says, such as `AddrInUse`.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` becomes true, then lets requests under way end.
    pub async fn serve(
        self,
        control: ControlHandle,
        token: Option<String>,
        stop: watch::Receiver<bool>,
    ) {
        let meter = Arc::new(WebMeter::default());
        let router = router(control, token, Arc::clone(&meter));
        let limits = serving::Limits::default();
        serving::serve(self.listener, limits, router, meter, stop).await;
    }
}

/// All routes.
fn router(control: ControlHandle, token: Option<String>, meter: Arc<WebMeter>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(metrics::show))
        .route("/v1/overload", get(overload::show).patch(overload::change))
        .route("/v1/conferences", get(conferences::list))
        .route(
            "/v1/conferences/{conference}",
            get(conferences::show)
                .patch(conferences::change)
                .delete(conferences::end),
        )
        .route(
            "/v1/conferences/{conference}/participants",
            get(conferences::participants),
        )
        .route(
            "/v1/conferences/{conference}/participants/{participant}",
            get(conferences::participant)
                .patch(conferences::change_participant)
                .delete(conferences::kick),
        )
        .layer(middleware::from_fn_with_state(
            auth::Token::new(token),
            auth::check,
        ));
    Router::new()
        .route("/healthz", get(health::show))
        .merge(guarded)
        .fallback(problem::no_such_resource)
        .method_not_allowed_fallback(problem::other_method)
        .layer(DefaultBodyLimit::max(extract::MAX_BODY))
        .layer(middleware::from_fn(meter::count))
        .layer(Extension(meter))
        .with_state(control)
}
