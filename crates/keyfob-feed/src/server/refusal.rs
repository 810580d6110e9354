//! Refusals, as `application/problem+json` (RFC 9457).

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::counter;
use serde::Serialize;

use crate::filter::Filter;

use super::{hub::snapshot_path, metrics as names};

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// By the embedder, with a status.
    Unauthorized(StatusCode),
    /// The filter includes more than the credential may read.
    Beyond,
    /// A relay does not carry the filter.
    NotCarried,
    /// A parameter or a body is invalid.
    Invalid(String),
    /// A body is too long.
    TooLong,
    /// A body did not arrive in time.
    TooSlow,
    /// The position is gone; this is the path of a snapshot, once it is known for which filter.
    Gone(Option<String>),
    /// There is no such object.
    NotFound,
    /// Too many different filters are in use.
    TooManyFilters,
    /// The authority or the relay is not up to date itself, or cannot do what was asked now.
    NotCurrent,
}

impl Refusal {
    /// The position is gone.
    pub(crate) fn gone() -> Self {
        Self::Gone(None)
    }

    /// Adds the path of the snapshot for a filter.
    pub(crate) fn for_filter(self, filter: &Filter) -> Self {
        match self {
            Self::Gone(_) => {
                counter!(names::GONE).increment(1);
                Self::Gone(Some(snapshot_path(filter)))
            }
            other => other,
        }
    }
}

#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<&'a str>,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, detail, snapshot) = match &self {
            Self::Unauthorized(status) => {
                let detail = match *status {
                    StatusCode::UNAUTHORIZED => "a key with the scope replica is required",
                    StatusCode::FORBIDDEN => "the key may not read the feed",
                    _ => "the key cannot be judged now",
                };
                (*status, detail, None)
            }
            Self::Beyond => (
                StatusCode::FORBIDDEN,
                "the key may not read all of this filter",
                None,
            ),
            Self::NotCarried => (
                StatusCode::FORBIDDEN,
                "this relay does not carry the filter; ask for one that it carries",
                None,
            ),
            Self::Invalid(detail) => (StatusCode::BAD_REQUEST, detail.as_str(), None),
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long", None),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "the body did not arrive in time",
                None,
            ),
            Self::Gone(snapshot) => (
                StatusCode::GONE,
                "the position is older than what is kept, or of another history; load a snapshot",
                snapshot.as_deref(),
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "no such object; ask for the manifest of a snapshot again",
                None,
            ),
            Self::TooManyFilters => (
                StatusCode::SERVICE_UNAVAILABLE,
                "too many different filters are in use; ask for a team instead of namespaces",
                None,
            ),
            Self::NotCurrent => (
                StatusCode::SERVICE_UNAVAILABLE,
                "this server is not up to date itself; try again, or another one",
                None,
            ),
        };
        let problem = Problem {
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            detail,
            snapshot,
        };
        // Texts and a number: it cannot fail.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response
    }
}
