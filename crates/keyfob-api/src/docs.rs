//! Serves the document, and a page that shows it, without any external resource.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use serde_json::Value;
use utoipa_swagger_ui::Config;

use crate::refusal::Refusal;

/// The page may only load what this program serves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'none'; \
    frame-ancestors 'none'; base-uri 'none'";

pub(crate) fn routes(document: &Value) -> Router {
    // Serialized once; a clone shares it.
    let document = Bytes::from(document.to_string());
    let config = Config::from("/openapi.json")
        .validator_url("none")
        .try_it_out_enabled(true);
    let config = Arc::new(config);
    let index = Arc::clone(&config);
    Router::new()
        .route(
            "/openapi.json",
            get(async move || {
                let kind = HeaderValue::from_static("application/json");
                cached(Body::from(document.clone()), kind)
            }),
        )
        .route("/docs", get(async || Redirect::permanent("/docs/")))
        .route("/docs/", get(async move || page("index.html", index)))
        .route(
            "/docs/{*file}",
            get(async move |Path(file): Path<String>| page(&file, config)),
        )
}

fn page(file: &str, config: Arc<Config<'static>>) -> Response {
    match utoipa_swagger_ui::serve(file, config) {
        Ok(Some(file)) => {
            let kind = HeaderValue::from_str(&file.content_type);
            let kind = kind.unwrap_or(HeaderValue::from_static("application/octet-stream"));
            let mut response = cached(Body::from(file.bytes.into_owned()), kind);
            for (name, value) in [
                (header::CONTENT_SECURITY_POLICY, POLICY),
                (header::REFERRER_POLICY, "no-referrer"),
                (HeaderName::from_static("x-frame-options"), "DENY"),
            ] {
                response
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
            response
        }
        Ok(None) => Refusal::NOT_FOUND.into_response(),
        Err(error) => {
            tracing::error!(error, "the page of the document failed");
            Refusal::SERVER_ERROR.into_response()
        }
    }
}

/// The same for everybody: shared caches may keep it.
fn cached(body: Body, kind: HeaderValue) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    let cache = HeaderValue::from_static("public, max-age=300");
    headers.insert(header::CACHE_CONTROL, cache);
    response
}
