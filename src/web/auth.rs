//! The bearer token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Problem;

/// The token that requests must carry; none lets everyone in.
#[derive(Clone)]
pub(crate) struct Token(Option<Arc<str>>);

impl Token {
    pub(crate) fn new(token: Option<String>) -> Self {
        Self(token.map(Arc::from))
    }

    fn admits(&self, authorization: Option<&str>) -> bool {
        let Some(token) = &self.0 else { return true };
        let given = authorization.and_then(|value| {
            let (scheme, given) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| given.trim())
        });
        given.is_some_and(|given| equal_in_constant_time(given.as_bytes(), token.as_bytes()))
    }
}

pub(crate) async fn check(State(token): State<Token>, request: Request, next: Next) -> Response {
    let authorization = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if token.admits(authorization) {
        return next.run(request).await;
    }
    let problem = Problem::new(
        StatusCode::UNAUTHORIZED,
        "This server asks for a token: send 'Authorization: Bearer TOKEN' with the token of [http] in its configuration.",
    );
    (
        [(header::WWW_AUTHENTICATE, "Bearer realm=\"unisono\"")],
        problem,
    )
        .into_response()
}

/// Compares without telling by its duration where the first difference is.
fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_token_is_admitted() {
        let token = Token::new(Some("secret".into()));
        assert!(token.admits(Some("Bearer secret")));
        assert!(token.admits(Some("bearer secret")));
        for wrong in [
            None,
            Some(""),
            Some("secret"),
            Some("Bearer"),
            Some("Bearer secre"),
            Some("Basic secret"),
        ] {
            assert!(!token.admits(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn without_a_token_everyone_is_admitted() {
        assert!(Token::new(None).admits(None));
    }
}
