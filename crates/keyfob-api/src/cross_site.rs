//! Refuses requests that another site's page makes in a browser.

use std::convert::Infallible;

use axum::{
    extract::Request,
    http::{HeaderName, HeaderValue, Response, Uri, header},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::csrf::{CsrfLayer, ProtectionError};

use crate::refusal::Refusal;

/// What the decision needs of a request. The layer logs the path, which may contain a secret.
pub(crate) struct Question(axum::http::Request<()>);

impl Question {
    pub(crate) fn of(request: &Request) -> Self {
        let mut question = axum::http::Request::new(());
        *question.method_mut() = request.method().clone();
        *question.uri_mut() = Uri::from_static("/");
        let headers = question.headers_mut();
        for name in [header::HOST, header::ORIGIN, SEC_FETCH_SITE] {
            for value in request.headers().get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        // A target in absolute form names the host (RFC 9112, section 3.2.2).
        let authority = request.uri().authority();
        if let Some(Ok(host)) = authority.map(|host| HeaderValue::from_str(host.as_str())) {
            headers.insert(header::HOST, host);
        }
        Self(question)
    }

    /// Refuses a request that would change something and that a browser says, or lets suppose, comes
    /// from a page of another origin (`Sec-Fetch-Site`, `Origin`).
    ///
    /// A page cannot send a control key that it does not have. This is for authentication that a
    /// browser adds by itself: an embedder's cookie, or a proxy that knows its users by their address.
    pub(crate) async fn refuse_other_sites(self) -> Result<(), Refusal> {
        let pass = service_fn(async |_| Ok::<_, Infallible>(Response::new(())));
        let Ok(response) = CsrfLayer::new().layer(pass).oneshot(self.0).await;
        let Some(error) = response.extensions().get::<ProtectionError>() else {
            return Ok(());
        };
        tracing::info!(%error, reason = REASON, "refused");
        metrics::counter!("keyfob_api_refused_total", "reason" => REASON).increment(1);
        Err(Refusal::forbidden(
            "a page of another origin must not do this",
        ))
    }
}

const REASON: &str = "cross_site";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
