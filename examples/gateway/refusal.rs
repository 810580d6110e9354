//! The response to a refused request: it depends on the status only, and the reason is logged.

use std::{
    fmt,
    io::{self, Write},
};

use axum::{
    Json,
    http::{
        HeaderValue, StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use keyfob::{Denied, key::KeyFormat};
use serde_json::json;

/// A refused request. The client learns only the status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal(StatusCode);

impl Refusal {
    /// The route does not accept the request.
    pub(crate) const BAD_REQUEST: Self = Self(StatusCode::BAD_REQUEST);
    /// The resource does not exist in a namespace that the caller may access.
    pub(crate) const NOT_FOUND: Self = Self(StatusCode::NOT_FOUND);
    /// The body exceeds the limit.
    pub(crate) const TOO_LARGE: Self = Self(StatusCode::PAYLOAD_TOO_LARGE);

    /// Refuses with this status, or with 500 if the status is invalid.
    pub(crate) fn of(status: u16) -> Self {
        Self(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// Refuses a credential, and logs the reason.
    ///
    /// The line contains no text from the request: no path, query or header. So it cannot contain a
    /// misplaced secret or lines that were injected by a client.
    /// The key is named only if its secret was correct: anybody can send the id of another key.
    pub(crate) fn denied(denied: &Denied, format: &KeyFormat) -> Self {
        let credential = denied
            .credential()
            .map_or_else(|| "-".to_owned(), |id| format.credential_id(id));
        log(format_args!(
            "refused status={} reason={} credential={credential}",
            denied.status(),
            denied.reason(),
        ));
        Self::of(denied.status())
    }

    /// Returns the message for people, and the code for programs.
    fn words(self) -> (&'static str, &'static str) {
        match self.0 {
            StatusCode::UNAUTHORIZED => ("The supplied authentication is invalid", "unauthorized"),
            StatusCode::FORBIDDEN => ("The credential does not allow this", "forbidden"),
            StatusCode::SERVICE_UNAVAILABLE => ("Not ready, try again soon", "unavailable"),
            StatusCode::BAD_REQUEST => ("The request is malformed", "bad_request"),
            StatusCode::NOT_FOUND => ("The requested resource does not exist", "not_found"),
            StatusCode::PAYLOAD_TOO_LARGE => ("The body is too large", "too_large"),
            _ => ("The gateway failed", "server_error"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (error, code) = self.words();
        let mut response = (self.0, Json(json!({"error": error, "code": code}))).into_response();
        let header = match self.0 {
            // RFC 9110, section 11.6.1: a 401 must say how to authenticate.
            StatusCode::UNAUTHORIZED => (WWW_AUTHENTICATE, r#"Basic realm="gateway""#),
            StatusCode::SERVICE_UNAVAILABLE => (RETRY_AFTER, "1"),
            _ => return response,
        };
        response
            .headers_mut()
            .insert(header.0, HeaderValue::from_static(header.1));
        response
    }
}

/// Writes one line to the log. A closed log does not stop the gateway.
pub(crate) fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
