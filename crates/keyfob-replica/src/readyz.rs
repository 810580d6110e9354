//! Readiness over HTTP.

use axum::{Router, http::StatusCode, routing::get};

use crate::{Monitor, Replica};

impl Replica {
    /// The route `/readyz`: 200 if calls are decided, 503 if all are refused.
    pub fn readyz<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let monitor = self.monitor();
        Router::new().route("/readyz", get(async move || answer(&monitor)))
    }
}

fn answer(monitor: &Monitor) -> (StatusCode, &'static str) {
    if monitor.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        let text = "the store could not be read for too long\n";
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}
