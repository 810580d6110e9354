//! `/healthz`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;

use super::{freshness::Freshness, measures};

#[derive(Clone)]
struct Health {
    freshness: Arc<Freshness>,
    metrics: PrometheusHandle,
}

pub(super) fn routes(freshness: Arc<Freshness>, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(show))
        .with_state(Health { freshness, metrics })
}

/// Whether calls are judged.
async fn ready(State(health): State<Health>) -> Response {
    if health.freshness.is_fresh() {
        return "ready\n".into_response();
    }
    let text = "the store cannot be followed\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn show(State(health): State<Health>) -> Response {
    if let Some(age) = health.freshness.age() {
        gauge!(measures::AGE).set(age.as_secs_f64());
    }
    health.metrics.run_upkeep();
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, health.metrics.render()).into_response()
}
