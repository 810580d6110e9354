//! How the control plane says no.

use std::{borrow::Cow, error::Error};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use keyfob::{
    manage::{self, LifecycleError, TooManyLabels, TooManyScopes, TtlError},
    name::{NameError, RequestId},
    store::{Conflict, CursorError, StoreError},
};
use serde::Serialize;
use utoipa::ToSchema;

/// A request is refused: status, word and sentence. [`frame`](crate::frame) writes the body, since
/// it knows the request's identifier.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    kind: Kind,
    message: Cow<'static, str>,
    retry_after: Option<u64>,
}

/// What stands in the field `id` of the body, and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
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
    pub(crate) const ALL: [Self; 12] = [
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::PreconditionFailed,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::ServerError,
        Self::ServiceUnavailable,
    ];

    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict => StatusCode::CONFLICT,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::PreconditionFailed => "precondition_failed",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooManyRequests => "too_many_requests",
            Self::ServerError => "server_error",
            Self::ServiceUnavailable => "service_unavailable",
        }
    }

    /// What is said where there is nothing more to say.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest => "the request is malformed",
            Self::Unauthorized => "the credential is missing or invalid",
            Self::Forbidden => "the credential does not allow this",
            Self::NotFound => "there is no such resource",
            Self::MethodNotAllowed => "the resource does not take this method",
            Self::Conflict => "the state of the resource does not allow this",
            Self::PreconditionFailed => "the resource was changed in the meantime",
            Self::PayloadTooLarge => "the body is too long",
            Self::UnsupportedMediaType => {
                "the body must be JSON, with content-type application/json"
            }
            Self::TooManyRequests => "too many requests",
            Self::ServerError => "the server failed",
            Self::ServiceUnavailable => "not available now, try again",
        }
    }
}

impl Refusal {
    pub(crate) const BAD_REQUEST: Self = Self::bare(Kind::BadRequest);
    pub(crate) const UNAUTHORIZED: Self = Self::bare(Kind::Unauthorized);
    pub(crate) const FORBIDDEN: Self = Self::bare(Kind::Forbidden);
    /// There is no such thing that the caller may know of: whether there is another is not said.
    pub(crate) const NOT_FOUND: Self = Self::bare(Kind::NotFound);
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self::bare(Kind::MethodNotAllowed);
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

    /// What the caller sent does not fit; the sentence says where, and repeats none of it.
    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::saying(Kind::BadRequest, message)
    }

    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::saying(Kind::Forbidden, message)
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

    fn saying(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            ..Self::bare(kind)
        }
    }

    /// For an answer that came about outside our handlers.
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

    /// Writes the refusal in place of what `response` has for a body.
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
    /// What kind of error it is, for programs.
    #[schema(examples("not_found"))]
    id: &'a str,
    /// The same for people.
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
        match error {
            manage::Error::NotFound | manage::Error::Conflict(Conflict::ForeignNamespace) => {
                Self::NOT_FOUND
            }
            manage::Error::Conflict(conflict) => Self::conflict(conflict.to_string()),
            manage::Error::Lifecycle(error) => error.into(),
            manage::Error::Store(error) => error.into(),
            manage::Error::Follow(error) => {
                tracing::error!(error = %Chain(&error), "the index could not follow");
                Self::unavailable(
                    "the change is kept, but not yet in force in this process; try again",
                )
            }
            manage::Error::Behind(error) => {
                tracing::error!(error = %Chain(&error), "the index could not follow");
                Self::UNAVAILABLE
            }
            error => {
                tracing::error!(error = %Chain(&error), "failed");
                Self::SERVER_ERROR
            }
        }
    }
}

impl From<LifecycleError> for Refusal {
    fn from(error: LifecycleError) -> Self {
        match error {
            LifecycleError::Revoked | LifecycleError::Expired | LifecycleError::OtherSecret => {
                Self::conflict(error.to_string())
            }
            LifecycleError::Random(error) => {
                tracing::error!(%error, "no key was made");
                Self::UNAVAILABLE
            }
            error => Self::bad_request(error.to_string()),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %Chain(&error), "the store failed");
        Self::unavailable(error.to_string())
    }
}

impl From<NameError> for Refusal {
    fn from(error: NameError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<TtlError> for Refusal {
    fn from(error: TtlError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<TooManyLabels> for Refusal {
    fn from(error: TooManyLabels) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<TooManyScopes> for Refusal {
    fn from(error: TooManyScopes) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<CursorError> for Refusal {
    fn from(error: CursorError) -> Self {
        Self::bad_request(error.to_string())
    }
}

/// An error and what caused it, in one line.
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
    fn a_status_that_came_from_elsewhere_has_a_body_too() {
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
    fn a_cause_is_in_the_line_for_the_log() {
        let error = StoreError::definite("the disk is full");
        assert_eq!(
            Chain(&error).to_string(),
            "the key store failed; nothing was changed: the disk is full"
        );
    }
}
