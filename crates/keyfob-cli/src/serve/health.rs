//! `/healthz` and `/metrics`; `/readyz` is the replica's.

use ::metrics::gauge;
use axum::{Router, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use keyfob_replica::{Monitor, metrics::INDEX_AGE};
use metrics_exporter_prometheus::PrometheusHandle;

pub(super) fn routes(monitor: Monitor, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(async move || show(&monitor, &metrics)))
}

fn show(monitor: &Monitor, metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
    // The replica also sets it, but not if its task has ended.
    if let Some(age) = monitor.status().age {
        gauge!(INDEX_AGE).set(age.as_secs_f64());
    }
    metrics.run_upkeep();
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, metrics.render())
}
