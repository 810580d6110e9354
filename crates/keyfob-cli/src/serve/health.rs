//! `/healthz` and `/metrics`; `/readyz` is the replica's.

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

pub(super) fn routes(monitor: Monitor, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(async move || show(&monitor, &metrics)))
}

/// The routes while the server reads the store: nothing is decided yet.
pub(super) fn starting(metrics: PrometheusHandle) -> Router {
    let not_yet = || async {
        let retry = [(RETRY_AFTER, HeaderValue::from_static("1"))];
        (StatusCode::SERVICE_UNAVAILABLE, retry, "starting\n")
    };
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(async move || text(&metrics)))
        .fallback(not_yet)
}

fn show(monitor: &Monitor, metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
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
