//! `/healthz`, `/readyz/writes` and `/metrics`; `/readyz` is the replica's.

use ::metrics::gauge;
use axum::{
    Router,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::IntoResponse,
    routing::get,
};
use keyfob_replica::{Monitor, metrics::INDEX_AGE};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::store::Writes;

use super::metrics::WRITABLE;

/// `/readyz` is about calls, which are decided without writes: a full disk must not stop them. So
/// there is a route of its own for the writes of a program that has a store.
pub(crate) fn routes(
    monitor: Monitor,
    writes: Option<Writes>,
    metrics: PrometheusHandle,
) -> Router {
    let seen = writes.clone();
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/metrics",
            get(async move || show(&monitor, writes.as_ref(), &metrics)),
        );
    match seen {
        Some(writes) => routes.route("/readyz/writes", get(async move || takes(&writes))),
        None => routes,
    }
}

fn takes(writes: &Writes) -> (StatusCode, &'static str) {
    if writes.are_failing() {
        let text = "the last write to the store failed: no key can be created or revoked\n";
        (StatusCode::SERVICE_UNAVAILABLE, text)
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// What answers while nothing is served yet.
pub(crate) fn not_yet() -> Router {
    Router::new().fallback(|| async {
        let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
        (StatusCode::SERVICE_UNAVAILABLE, retry, "starting\n")
    })
}

/// The routes while the server reads the store: nothing is decided yet.
pub(crate) fn starting(metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(async move || text(&metrics)))
        .merge(not_yet())
}

/// The same for the listener that proxies ask.
pub(crate) fn starting_auth() -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .merge(not_yet())
}

/// What the listener that proxies ask has in addition: proxies find out there whether they may ask.
pub(crate) fn of_auth(readyz: Router) -> Router {
    readyz.route("/healthz", get(|| async { "ok\n" }))
}

fn show(
    monitor: &Monitor,
    writes: Option<&Writes>,
    metrics: &PrometheusHandle,
) -> impl IntoResponse + use<> {
    if let Some(writes) = writes {
        gauge!(WRITABLE).set(if writes.are_failing() { 0.0 } else { 1.0 });
    }
    // The replica also sets it, but not if its task has ended.
    if let Some(age) = monitor.status().age {
        gauge!(INDEX_AGE).set(age.as_secs_f64());
    }
    text(metrics)
}

fn text(metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
    metrics.run_upkeep();
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, metrics.render())
}
