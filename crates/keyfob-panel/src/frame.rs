//! What every request and every answer of the panel has: a nonce, headers, a time limit.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::timeout;

use crate::{
    client::{Origin, Refused},
    panel::Shared,
    same_origin,
    visit::{HX_REQUEST, outside},
};

/// The nonce of a page, by which browsers tell its scripts from others.
#[derive(Clone, Default)]
pub(crate) struct Nonce(pub(crate) String);

pub(crate) async fn wrap(
    State(_shared): State<Arc<Shared>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut bytes = [0; 18];
    let nonce = match SystemRandom::new().fill(&mut bytes) {
        // With no letter that HTML escapes.
        Ok(()) => STANDARD_NO_PAD
            .encode(bytes)
            .replace('+', "-")
            .replace('/', "_"),
        Err(_) => String::new(),
    };
    request.extensions_mut().insert(Nonce(nonce.clone()));
    let is_page = !request.uri().path().starts_with("/assets/");
    let by_script = request.headers().contains_key(HX_REQUEST);
    let mut response = if same_origin::admits(&request) {
        let answer = timeout(WITHIN, next.run(request)).await;
        answer.unwrap_or_else(|_| {
            refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "this took too long",
                &nonce,
                by_script,
            )
        })
    } else {
        tracing::info!(reason = "cross_site", "refused");
        let message = "this was sent from a page of another site, and nothing was done";
        refused(StatusCode::FORBIDDEN, message, &nonce, by_script)
    };
    let status = response.status();
    let bare = (status.is_client_error() || status.is_server_error())
        && !response.headers().contains_key(header::CONTENT_TYPE);
    if bare && is_page {
        response = refused(status, "this cannot be answered", &nonce, by_script);
    }
    let is_error = status.is_client_error() || status.is_server_error();
    let headers = response.headers_mut();
    if by_script && is_error {
        // What the request was to replace stays, and the problem is shown at the top of the page.
        for (name, value) in PROBLEM {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(policy) = HeaderValue::from_str(&policy(&nonce)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

fn refused(status: StatusCode, message: &str, nonce: &str, by_script: bool) -> Response {
    let refused = Refused {
        status,
        message: message.to_owned(),
        request_id: String::new(),
    };
    outside(&refused, nonce, by_script)
}

/// Has htmx put a problem in its place, and leave everything else.
const PROBLEM: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("hx-retarget"), "#problem"),
    (HeaderName::from_static("hx-reselect"), "#problem"),
    (HeaderName::from_static("hx-reswap"), "outerHTML"),
];

/// The address of the client and the identifier of the request, for the control plane.
pub(crate) fn origin(request: &Request) -> Origin {
    Origin {
        address: request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .copied(),
        request_id: request.headers().get("x-request-id").cloned(),
    }
}

/// Scripts with the nonce, files of this origin, and nothing else: no inline style, no `eval`, no
/// frame, no form to another place. Only htmx's policy may write HTML.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
         require-trusted-types-for 'script'; trusted-types htmx"
    )
}

/// Longer than the control plane's own limit.
const WITHIN: Duration = Duration::from_mins(1);

const FIELDS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // With `no-referrer`, forms would be sent with the origin `null`.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];
