//! `/auth`: forward authentication for proxies.

use std::sync::Arc;

use ::metrics::counter;
use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{AUTHORIZATION, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
    routing::any,
};
use keyfob::{Access, Principal, Scopes, Verifier, key::KeyFormat, name::Scope};
use keyfob_tower::NamespacePath;

use super::metrics;

/// Answers whether a call may pass.
pub(crate) struct ForwardAuth {
    verifier: Verifier,
    /// The header field in which the proxy names the namespace.
    header: HeaderName,
    /// The paths in which the proxy names the namespace.
    path: NamespacePath,
    format: KeyFormat,
    /// Is told of accepted calls, with their header fields.
    on_accepted: Option<Box<OnAccepted>>,
}

type OnAccepted = dyn Fn(&Principal<'_>, &HeaderMap) + Send + Sync;

/// The routes accept any method, since some proxies use the method of the call, and everything below
/// `/auth`, since some append the path of the call.
pub(crate) fn routes(auth: ForwardAuth) -> Router {
    Router::new()
        .route("/auth", any(by_header))
        .route("/auth/", any(by_header))
        .route("/auth/{*rest}", any(by_path))
        .with_state(Arc::new(auth))
}

async fn by_header(State(auth): State<Arc<ForwardAuth>>, headers: HeaderMap) -> Response {
    let mut named = headers.get_all(&auth.header).iter();
    match (named.next().map(HeaderValue::to_str), named.next()) {
        (Some(Ok(namespace)), None) if !namespace.is_empty() => auth.decide(namespace, &headers),
        // A fault of the proxy, not of the caller. Without a namespace any key would pass.
        _ => {
            tracing::error!(header = %auth.header, "the proxy named no namespace, or several");
            refuse(503, "no_namespace")
        }
    }
}

/// The first segment below `/auth` is the namespace. The rest may be the path of the call, and is
/// not used; a path that another program could read as another namespace's is refused.
async fn by_path(State(auth): State<Arc<ForwardAuth>>, uri: Uri, headers: HeaderMap) -> Response {
    if let Ok(namespace) = auth.path.read(uri.path()) {
        return auth.decide(&namespace, &headers);
    }
    let reason = "ambiguous_path";
    tracing::info!(reason, "refused");
    refuse(403, reason)
}

impl ForwardAuth {
    pub(crate) fn new(verifier: Verifier, header: HeaderName, format: KeyFormat) -> Self {
        Self {
            verifier,
            on_accepted: None,
            header,
            path: NamespacePath::new("/auth/{namespace}"),
            format,
        }
    }

    /// Calls this with each accepted call. It must not wait.
    pub(crate) fn on_accepted(
        self,
        told: impl Fn(&Principal<'_>, &HeaderMap) + Send + Sync + 'static,
    ) -> Self {
        Self {
            on_accepted: Some(Box::new(told)),
            ..self
        }
    }

    /// Answers for a call to a namespace; `_` is the credential's own, which the response names.
    fn decide(&self, namespace: &str, headers: &HeaderMap) -> Response {
        let access = match namespace {
            "_" => Access::to_own_namespace(),
            namespace => Access::to(namespace),
        };
        let fields = headers.get_all(AUTHORIZATION).iter();
        let fields = fields.map(HeaderValue::as_bytes);
        match self.verifier.verify_headers(fields, &access, keyfob::now()) {
            Ok(principal) => {
                if let Some(on_accepted) = &self.on_accepted {
                    on_accepted(&principal, headers);
                }
                self.accept(&principal)
            }
            Err(denied) => {
                // The log line contains nothing that the caller wrote. The key id is logged only if
                // its secret was right: anybody can send another's id.
                let reason = denied.reason().as_str();
                let key = denied.credential().map(|id| self.format.credential_id(id));
                let key = key.as_deref().unwrap_or("-");
                if denied.status() == 503 {
                    tracing::error!(reason, key, "cannot verify");
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
            (SCOPES, scopes(&principal.scopes())),
        ] {
            // Names are printable ASCII.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// The scopes of the key as a list of RFC 6749 (section 3.3); `*` for a key with all scopes. The
/// service behind the proxy checks them.
fn scopes(scopes: &Scopes) -> String {
    match scopes {
        Scopes::Only(scopes) => {
            let names: Vec<&str> = scopes.iter().map(Scope::as_str).collect();
            names.join(" ")
        }
        _ => "*".to_owned(),
    }
}

/// Refuses a call. The response has the status only.
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
