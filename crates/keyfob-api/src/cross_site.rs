//! Refuses requests that another site's page makes in a browser.

use axum::response::{IntoResponse, Response};
use tower_http::csrf::ProtectionError;

use crate::refusal::Refusal;

/// The answer to a request that would change something and that a browser says, or lets suppose, comes
/// from a page of another origin (`Sec-Fetch-Site`, `Origin`).
///
/// A page cannot send a control key that it does not have. This is for authentication that a browser
/// adds by itself: an embedder's cookie, or a proxy that knows its users by their address.
pub(crate) fn refuse(error: ProtectionError) -> Response {
    const REASON: &str = "cross_site";
    tracing::info!(%error, reason = REASON, "refused");
    metrics::counter!("keyfob_api_refused_total", "reason" => REASON).increment(1);
    Refusal::forbidden("a page of another origin must not do this").into_response()
}
