//! The responses to refused requests.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use crate::{guard::Guard, refusal::Refusal};

impl Guard {
    /// The response to a refused request that had these headers.
    pub(crate) fn response(&self, refusal: Refusal, request: &HeaderMap) -> Response<Bytes> {
        let is_grpc = is_grpc(request);
        let mut response = if is_grpc {
            grpc_response(&refusal)
        } else {
            (self.respond)(&refusal)
        };
        *response.status_mut() = match refusal.status() {
            _ if is_grpc && self.grpc_http_200 => StatusCode::OK,
            status => status,
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.remove(WWW_AUTHENTICATE);
        headers.remove(RETRY_AFTER);
        match (refusal.status(), &refusal) {
            (StatusCode::UNAUTHORIZED, _) => {
                for challenge in &self.challenges {
                    headers.append(WWW_AUTHENTICATE, challenge.clone());
                }
            }
            (StatusCode::SERVICE_UNAVAILABLE, _) => {
                headers.insert(RETRY_AFTER, self.retry_after.clone());
            }
            (_, Refusal::Throttled { retry_after, .. }) => {
                headers.insert(RETRY_AFTER, seconds(*retry_after));
            }
            _ => {}
        }
        response.extensions_mut().insert(refusal);
        response
    }
}

/// A small JSON object, the same for all refusals of one status.
pub(crate) fn default_response(refusal: &Refusal) -> Response<Bytes> {
    json(match refusal.status() {
        StatusCode::BAD_REQUEST => r#"{"id":"bad_request","message":"the request is malformed"}"#,
        StatusCode::FORBIDDEN => {
            r#"{"id":"forbidden","message":"the credential does not allow this"}"#
        }
        StatusCode::NOT_FOUND => r#"{"id":"not_found","message":"there is no such resource"}"#,
        StatusCode::TOO_MANY_REQUESTS => {
            r#"{"id":"too_many_requests","message":"too many requests, try again later"}"#
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            r#"{"id":"service_unavailable","message":"try again later"}"#
        }
        _ => r#"{"id":"unauthorized","message":"unable to authenticate you"}"#,
    })
}

pub(crate) fn json(body: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(body.as_bytes()));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// A time as `Retry-After` says it, in seconds, rounded up; at least one.
pub(crate) fn seconds(wait: Duration) -> HeaderValue {
    let begun = u64::from(wait.subsec_nanos() > 0);
    HeaderValue::from(wait.as_secs().saturating_add(begun).max(1))
}

/// Whether a request is a gRPC call: `application/grpc`, with a format or parameters or without.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    matches!(rest, Some([] | [b'+' | b';', ..]))
}

/// A gRPC response with trailers only: headers and no body.
fn grpc_response(refusal: &Refusal) -> Response<Bytes> {
    let (code, message) = match refusal.status() {
        StatusCode::BAD_REQUEST => ("3", "malformed request"),
        StatusCode::NOT_FOUND => ("5", "no such resource"),
        StatusCode::FORBIDDEN => ("7", "the credential does not allow this"),
        StatusCode::TOO_MANY_REQUESTS => ("8", "too many requests"),
        StatusCode::SERVICE_UNAVAILABLE => ("14", "try again later"),
        _ => ("16", "unable to authenticate you"),
    };
    let mut response = Response::new(Bytes::new());
    for (name, value) in [
        (CONTENT_TYPE, "application/grpc"),
        (HeaderName::from_static("grpc-status"), code),
        (HeaderName::from_static("grpc-message"), message),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_to_at_least_one_second() {
        for (wait, text) in [
            (Duration::ZERO, "1"),
            (Duration::from_millis(1), "1"),
            (Duration::from_secs(7), "7"),
            (Duration::from_millis(7001), "8"),
            (Duration::MAX, "18446744073709551615"),
        ] {
            assert_eq!(seconds(wait), text);
        }
    }

    #[test]
    fn a_grpc_call_is_known_by_its_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=y", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("application/json", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_grpc(&headers), expected, "{value}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
