//! Requests to the control plane that waited while the process was paused.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::{
        StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use keyfob_replica::Pauses;
use tokio::time::sleep;

/// Lets a request wait until what was revoked during a pause is known. A change is checked again by the store; this
/// keeps a revoked key from reading.
pub(super) async fn wait(State(pauses): State<Pauses>, request: Request, next: Next) -> Response {
    for _ in 0..WAITS {
        if pauses.current().is_some() {
            return next.run(request).await;
        }
        sleep(WAIT).await;
    }
    let message = r#"{"id":"service_unavailable","message":"try again later"}"#;
    let fields = [(RETRY_AFTER, "1"), (CONTENT_TYPE, "application/json")];
    (StatusCode::SERVICE_UNAVAILABLE, fields, message).into_response()
}

const WAIT: Duration = Duration::from_millis(10);
const WAITS: u32 = 100;
