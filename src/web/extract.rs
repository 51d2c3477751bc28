//! What a request says, with every refusal as `application/problem+json`.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::Problem;
use crate::control::ControlError;

/// Longest body that is read, bytes: changes are a few names and numbers.
pub(crate) const MAX_BODY: usize = 16 * 1024;

/// The conference a path names.
#[derive(Debug)]
pub(crate) struct ConferencePath(pub(crate) String);

/// The participant a path names, and its conference.
#[derive(Debug)]
pub(crate) struct ParticipantPath(pub(crate) String, pub(crate) u64);

/// A change, sent as JSON (RFC 7396's idea: what is absent stays as it is).
#[derive(Debug)]
pub(crate) struct Change(Bytes);

impl Change {
    /// Reads it; `expected` shows in the error what would do.
    pub(crate) fn read<T: DeserializeOwned>(&self, expected: &str) -> Result<T, Problem> {
        serde_json::from_slice(&self.0).map_err(|error| {
            // JSON that says the wrong thing is understood, but cannot be acted on (RFC 9110 section 15.5.21).
            let status = if error.is_data() {
                StatusCode::UNPROCESSABLE_ENTITY
            } else {
                StatusCode::BAD_REQUEST
            };
            Problem::new(
                status,
                format!("The body does not fit: {error}. Expected {expected}."),
            )
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ConferencePath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| unreadable(&rejection))?;
        Ok(Self(name))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ParticipantPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path((conference, participant)) =
            Path::<(String, String)>::from_request_parts(parts, state)
                .await
                .map_err(|rejection| unreadable(&rejection))?;
        match participant.parse() {
            Ok(id) => Ok(Self(conference, id)),
            // Identifiers are numbers, so nobody has this one.
            Err(_) => Err(ControlError::NoSuchParticipant {
                conference,
                participant,
            }
            .into()),
        }
    }
}

impl<S: Send + Sync> FromRequest<S> for Change {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !may_be_json(request.headers()) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "A change is sent as JSON: say 'Content-Type: application/json'.",
            ));
        }
        match Bytes::from_request(request, state).await {
            Ok(body) => Ok(Self(body)),
            Err(rejection) => Err(unread(&rejection)),
        }
    }
}

/// Whether the body's type is JSON, or not said.
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    ["application/json", "application/merge-patch+json"]
        .iter()
        .any(|known| kind.eq_ignore_ascii_case(known))
}

fn unreadable(rejection: &PathRejection) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        format!(
            "The path cannot be read: {}.",
            rejection.body_text().trim_end_matches('.')
        ),
    )
}

fn unread(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("A change has at most {MAX_BODY} bytes."),
        ),
        status => Problem::new(
            status,
            format!(
                "The body cannot be read: {}.",
                rejection.body_text().trim_end_matches('.')
            ),
        ),
    }
}
