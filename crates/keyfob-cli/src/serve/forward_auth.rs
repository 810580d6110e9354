//! `/auth`: the answer to a proxy that asks whether a call may pass.

use std::sync::Arc;

use ::metrics::counter;
use axum::{
    Router,
    extract::{Path, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use keyfob::{Access, Principal, Scopes, Verifier, key::KeyFormat, name::Scope};

use super::metrics;

/// Who judges.
pub(super) struct ForwardAuth {
    pub(super) verifier: Verifier,
    /// Where a proxy names the namespace.
    pub(super) header: HeaderName,
    pub(super) format: KeyFormat,
}

/// The routes take any method, since some proxies ask with the one of the call in question.
pub(super) fn routes(auth: Arc<ForwardAuth>) -> Router {
    Router::new()
        .route("/auth", any(by_header))
        .route("/auth/{namespace}", any(by_path))
        .with_state(auth)
}

async fn by_header(State(auth): State<Arc<ForwardAuth>>, headers: HeaderMap) -> Response {
    let mut named = headers.get_all(&auth.header).iter();
    match (named.next().map(HeaderValue::to_str), named.next()) {
        (Some(Ok(namespace)), None) if !namespace.is_empty() => auth.decide(namespace, &headers),
        // The proxy's fault, and not the caller's. Without a namespace any key would pass.
        _ => {
            tracing::error!(header = %auth.header, "the proxy named no namespace, or several");
            refuse(503, "no_namespace")
        }
    }
}

async fn by_path(
    State(auth): State<Arc<ForwardAuth>>,
    Path(namespace): Path<String>,
    headers: HeaderMap,
) -> Response {
    auth.decide(&namespace, &headers)
}

impl ForwardAuth {
    /// Judges a call to a namespace; `_` is the one that the credential opens, which the answer
    /// names.
    fn decide(&self, namespace: &str, headers: &HeaderMap) -> Response {
        let access = match namespace {
            "_" => Access::to_own_namespace(),
            namespace => Access::to(namespace),
        };
        let fields = headers.get_all(AUTHORIZATION).iter();
        let fields = fields.map(HeaderValue::as_bytes);
        match self.verifier.verify_headers(fields, &access, keyfob::now()) {
            Ok(principal) => self.accept(&principal),
            Err(denied) => {
                // The line has nothing in it that the caller wrote. The key is named only if its
                // secret was right: anybody can send somebody else's identifier.
                let reason = denied.reason().as_str();
                let key = denied.credential().map(|id| self.format.credential_id(id));
                let key = key.as_deref().unwrap_or("-");
                if denied.status() == 503 {
                    tracing::error!(reason, key, "cannot judge");
                } else {
                    tracing::info!(reason, key, "refused");
                }
                refuse(denied.status(), reason)
            }
        }
    }

    fn accept(&self, principal: &Principal<'_>) -> Response {
        counter!(metrics::AUTH, "result" => "accepted", "reason" => "valid").increment(1);
        if principal.key_id().is_none() {
            counter!(metrics::LEGACY).increment(1);
        }
        let subject = principal.legacy_subject();
        let owner = match (principal.owner(), subject) {
            (Some(owner), _) => owner.to_string(),
            (None, Some(subject)) => format!("subject:{subject}"),
            (None, None) => String::new(),
        };
        let mut response = StatusCode::OK.into_response();
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, NO_STORE);
        for (name, value) in [
            (KEY_ID, self.format.credential_id(principal.credential())),
            (OWNER, owner),
            (NAMESPACE, principal.namespace().to_string()),
            (TEAM, principal.team().to_string()),
            (SCOPES, scopes(principal.scopes())),
        ] {
            // Names are printable ASCII.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// What the key may be used for, as RFC 6749 (section 3.3) writes a list of scopes; `*` for a key
/// without limits. It is for whoever serves the call to act by it.
fn scopes(scopes: &Scopes) -> String {
    match scopes {
        Scopes::Only(scopes) => {
            let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
            names.join(" ")
        }
        _ => "*".to_owned(),
    }
}

/// Refuses: all that a caller learns is the status.
fn refuse(status: u16, reason: &'static str) -> Response {
    counter!(metrics::AUTH, "result" => "refused", "reason" => reason).increment(1);
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::UNAUTHORIZED);
    let mut response = status.into_response();
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    match status {
        // RFC 9110, section 11.6.1: a 401 must say how to authenticate.
        StatusCode::UNAUTHORIZED => {
            let how = HeaderValue::from_static("Basic realm=\"keyfob\"");
            headers.insert(WWW_AUTHENTICATE, how);
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        _ => {}
    }
    response
}

const KEY_ID: HeaderName = HeaderName::from_static("x-keyfob-key-id");
const OWNER: HeaderName = HeaderName::from_static("x-keyfob-owner");
const NAMESPACE: HeaderName = HeaderName::from_static("x-keyfob-namespace");
const TEAM: HeaderName = HeaderName::from_static("x-keyfob-team");
const SCOPES: HeaderName = HeaderName::from_static("x-keyfob-scopes");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
