//! How the gateway says no: the same way whatever the reason, which goes to the log.

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

/// A request was refused. All that its sender learns is the status.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal(StatusCode);

impl Refusal {
    /// The request is not what the route takes.
    pub(crate) const BAD_REQUEST: Self = Self(StatusCode::BAD_REQUEST);
    /// There is no such thing in a namespace that the caller may see.
    pub(crate) const NOT_FOUND: Self = Self(StatusCode::NOT_FOUND);
    /// The body is longer than the gateway reads.
    pub(crate) const TOO_LARGE: Self = Self(StatusCode::PAYLOAD_TOO_LARGE);

    /// Refuses with this status; 500 if it is none.
    pub(crate) fn of(status: u16) -> Self {
        Self(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
    }

    /// Refuses a credential, and logs why.
    ///
    /// The line has nothing in it that the caller wrote: no path, no query, no header. So it
    /// holds no secret, wherever one was put by mistake, and nobody can write lines of their own.
    /// The key is named only if its secret was right; anybody can send somebody else's key id.
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

    /// What the caller reads, as text and as a word for programs.
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

/// Writes one line of the log. A log that nobody reads any more is no reason to stop.
pub(crate) fn log(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
