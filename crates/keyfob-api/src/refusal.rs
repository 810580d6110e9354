//! Refused requests.

use std::{borrow::Cow, error::Error};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use keyfob::{
    audit::ActionError,
    manage::{self, OwnerError, TooManyLabels, TooManyScopes, TtlError},
    name::{NameError, RequestId},
    store::{CursorError, StatusFilterError, StoreError},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::caller::Right;

/// A refused request: status, id and message. The middleware writes the body, since it knows the
/// request's identifier.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    kind: Kind,
    message: Cow<'static, str>,
    retry_after: Option<u64>,
}

/// The kind of a refusal: the field `id` of the body, and the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    PreconditionFailed,
    PayloadTooLarge,
    UnsupportedMediaType,
    TooManyRequests,
    ServerError,
    ServiceUnavailable,
}

impl Kind {
    /// In the order of their statuses.
    pub(crate) const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::ServerError,
        Self::ServiceUnavailable,
    ];

    pub(crate) const fn status(self) -> StatusCode {
        self.row().0
    }

    pub(crate) const fn id(self) -> &'static str {
        self.row().1
    }

    /// The message where there is nothing more to say.
    pub(crate) const fn sentence(self) -> &'static str {
        self.row().2
    }

    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::BadRequest => (
                StatusCode::BAD_REQUEST,
                "bad_request",
                "the request is malformed",
            ),
            Self::Unauthorized => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the credential is missing or invalid",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "the credential does not allow this",
            ),
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such resource",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "the resource does not support this method",
            ),
            Self::RequestTimeout => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the body did not arrive in time; nothing was changed",
            ),
            Self::Conflict => (
                StatusCode::CONFLICT,
                "conflict",
                "the state of the resource does not allow this",
            ),
            Self::PreconditionFailed => (
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "the resource was changed in the meantime",
            ),
            Self::PayloadTooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "the body is too long",
            ),
            Self::UnsupportedMediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "a body must be JSON, with the one content-type application/json",
            ),
            Self::TooManyRequests => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many requests",
            ),
            Self::ServerError => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "the server failed",
            ),
            Self::ServiceUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "not available now, try again",
            ),
        }
    }
}

impl Refusal {
    pub(crate) const BAD_REQUEST: Self = Self::bare(Kind::BadRequest);
    pub(crate) const UNAUTHORIZED: Self = Self::bare(Kind::Unauthorized);
    pub(crate) const FORBIDDEN: Self = Self::bare(Kind::Forbidden);
    /// A valid credential that does not open the control plane.
    pub(crate) const FOREIGN_KEY: Self = Self {
        kind: Kind::Forbidden,
        message: Cow::Borrowed("the credential works, but not for the control plane"),
        retry_after: None,
    };
    /// There is nothing here that the caller may know of. It does not tell whether there is something
    /// that the caller may not know of.
    pub(crate) const NOT_FOUND: Self = Self::bare(Kind::NotFound);
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self::bare(Kind::MethodNotAllowed);
    pub(crate) const REQUEST_TIMEOUT: Self = Self::bare(Kind::RequestTimeout);
    pub(crate) const PRECONDITION_FAILED: Self = Self::bare(Kind::PreconditionFailed);
    pub(crate) const PAYLOAD_TOO_LARGE: Self = Self::bare(Kind::PayloadTooLarge);
    pub(crate) const UNSUPPORTED_MEDIA_TYPE: Self = Self::bare(Kind::UnsupportedMediaType);
    pub(crate) const SERVER_ERROR: Self = Self::bare(Kind::ServerError);
    pub(crate) const UNAVAILABLE: Self = Self::bare(Kind::ServiceUnavailable);

    const fn bare(kind: Kind) -> Self {
        Self {
            kind,
            message: Cow::Borrowed(kind.sentence()),
            retry_after: match kind {
                Kind::ServiceUnavailable => Some(1),
                _ => None,
            },
        }
    }

    /// The request does not fit; the message says where, and repeats none of it.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::saying(Kind::BadRequest, message)
    }

    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::saying(Kind::NotFound, message)
    }

    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::saying(Kind::Forbidden, message)
    }

    /// The caller does not have the right that a call takes.
    pub(crate) fn missing_right(right: Right) -> Self {
        let right = right.as_str();
        Self::forbidden(format!("the credential lacks the right {right}"))
    }

    pub(crate) fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::saying(Kind::Conflict, message)
    }

    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::saying(Kind::ServiceUnavailable, message)
    }

    pub(crate) fn too_many_requests(retry_after: u64) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::bare(Kind::TooManyRequests)
        }
    }

    /// For a call of several changes: what the failure of one of them says must not be read as
    /// said of all.
    pub(crate) fn of_a_part(self) -> Self {
        match self.kind {
            Kind::ServiceUnavailable => Self::unavailable(
                "failed, perhaps after a part of it was done; send the same request again",
            ),
            _ => self,
        }
    }

    fn saying(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            ..Self::bare(kind)
        }
    }

    /// The refusal for a status that was produced outside the handlers.
    pub(crate) fn of(status: StatusCode) -> Self {
        let kind = Kind::ALL.into_iter().find(|kind| kind.status() == status);
        match kind {
            Some(kind) => Self::bare(kind),
            None if status.is_server_error() => Self::SERVER_ERROR,
            None => Self::BAD_REQUEST,
        }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Writes the refusal as the body of `response`.
    pub(crate) fn render(&self, response: &mut Response, request_id: &RequestId) {
        let body = ErrorBody {
            id: self.kind.id(),
            message: &self.message,
            request_id: request_id.as_str(),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if self.kind == Kind::Unauthorized {
            // RFC 9110, section 11.6.1: a 401 must say how to authenticate.
            let challenge = HeaderValue::from_static(r#"Bearer realm="keyfob""#);
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.kind == Kind::RequestTimeout {
            // The rest of the body may still come: the connection is of no further use.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        *response.body_mut() = Body::from(body);
    }
}

/// The body of every refusal.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody<'a> {
    /// The kind of error, for programs.
    #[schema(examples("not_found"))]
    id: &'a str,
    /// The error, for people.
    #[schema(examples("there is no such resource"))]
    message: &'a str,
    /// The identifier of the request, as in the log and in the header `x-request-id`.
    request_id: &'a str,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.kind.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<manage::Error> for Refusal {
    fn from(error: manage::Error) -> Self {
        match (error.status(), error) {
            // All 401 are alike, and all 404.
            (404, _) => Self::NOT_FOUND,
            (401, error) => {
                count_lost_authority(&error);
                Self::UNAUTHORIZED
            }
            (403, error) => {
                count_lost_authority(&error);
                Self::FORBIDDEN
            }
            (409, error) => Self::conflict(error.to_string()),
            (400, error) => Self::bad_request(error.to_string()),
            (_, manage::Error::Store(error)) => error.into(),
            (status, error) => {
                tracing::error!(error = %Chain(&error), "failed");
                match error {
                    manage::Error::AppliedNotSynced(_) => Self::unavailable(
                        "the change is kept, but not yet in force in this process; try again",
                    ),
                    _ if status == 503 => Self::UNAVAILABLE,
                    _ => Self::SERVER_ERROR,
                }
            }
        }
    }
}

/// The caller was authenticated, and lost the right to make the change before it was kept.
fn count_lost_authority(error: &manage::Error) {
    const REASON: &str = "authority_lost";
    tracing::info!(%error, reason = REASON, "refused");
    metrics::counter!("keyfob_api_refused_total", "reason" => REASON).increment(1);
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %Chain(&error), "the store failed");
        Self::unavailable(error.to_string())
    }
}

/// Errors in a request, each of which says where it is.
macro_rules! bad_request {
    ($($error:ty),*) => {$(
        impl From<$error> for Refusal {
            fn from(error: $error) -> Self {
                Self::bad_request(error.to_string())
            }
        }
    )*};
}

bad_request!(
    NameError,
    OwnerError,
    TtlError,
    TooManyLabels,
    TooManyScopes,
    CursorError,
    StatusFilterError,
    ActionError
);

/// An error and its causes, in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_refusal() {
        for kind in Kind::ALL {
            assert_eq!(Refusal::of(kind.status()).kind(), kind);
        }
        assert_eq!(
            Refusal::of(StatusCode::BAD_GATEWAY).kind(),
            Kind::ServerError
        );
        assert_eq!(Refusal::of(StatusCode::GONE).kind(), Kind::BadRequest);
    }

    #[test]
    fn the_log_line_of_an_error_has_its_causes() {
        let error = StoreError::definite("the disk is full");
        assert_eq!(
            Chain(&error).to_string(),
            "the key store failed: the disk is full"
        );
    }
}
