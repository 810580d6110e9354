//! What every request and every answer has: an identifier, a time, headers, a line in the log.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use keyfob::{Timestamp, name::RequestId};
use tokio::time::timeout;
use tracing::Instrument;

use crate::{control_plane::Gate, rate::Allowance, refusal::Refusal, request_id};

/// What is known of a request before anything is asked of it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) request_id: RequestId,
    pub(crate) now: Timestamp,
    /// The longest body that is read.
    pub(crate) body: usize,
}

/// Reads the clock once, names the request, bounds its time, and gives every answer its headers,
/// and every refusal its body, wherever it came about.
pub(crate) async fn frame(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let now = (gate.clock)();
    let request_id = request_id::of(request.headers());
    let call = Name::of(&request);
    request.extensions_mut().insert(Facts {
        request_id: request_id.clone(),
        now,
        body: gate.limits.body,
    });
    // Nothing that the caller wrote is in it but the identifier, so no secret and no line break.
    let span = tracing::info_span!(
        "request",
        request_id = request_id.as_str(),
        method = call.method,
        path = call.path()
    );
    async {
        let answer = timeout(gate.limits.timeout, next.run(request)).await;
        let mut response = answer.unwrap_or_else(|_| {
            Refusal::unavailable("this took too long; whether it was done is unknown")
                .into_response()
        });
        finish(&mut response, &gate, &request_id, now);
        call.record(response.status(), started);
        response
    }
    .instrument(span)
    .await
}

fn finish(response: &mut Response, gate: &Gate, request_id: &RequestId, now: Timestamp) {
    let status = response.status();
    let refusal = response.extensions_mut().remove::<Refusal>();
    let refused = status.is_client_error() || status.is_server_error();
    if let Some(refusal) = refusal.or_else(|| refused.then(|| Refusal::of(status))) {
        refusal.render(response, request_id);
    }
    let allowance = response.extensions_mut().remove::<Allowance>();
    let headers = response.headers_mut();
    allowance
        .unwrap_or_else(|| gate.refused.untouched())
        .write(headers, now);
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(request_id::HEADER, value);
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// The name of a call, of which there are only so many: the method and the route.
struct Name {
    method: &'static str,
    path: Option<MatchedPath>,
}

impl Name {
    fn of(request: &Request) -> Self {
        Self {
            method: match *request.method() {
                Method::GET => "GET",
                Method::POST => "POST",
                Method::PUT => "PUT",
                Method::DELETE => "DELETE",
                Method::HEAD => "HEAD",
                Method::OPTIONS => "OPTIONS",
                _ => "other",
            },
            path: request.extensions().get::<MatchedPath>().cloned(),
        }
    }

    fn path(&self) -> &str {
        self.path.as_ref().map_or("-", MatchedPath::as_str)
    }

    fn record(&self, status: StatusCode, started: Instant) {
        let took = started.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(status = status.as_u16(), micros, "answered");
        let labels = [
            ("method", self.method.to_owned()),
            ("path", self.path().to_owned()),
        ];
        metrics::histogram!("keyfob_api_request_seconds", &labels).record(took);
        let [method, path] = labels;
        let status = ("status", status.as_str().to_owned());
        metrics::counter!("keyfob_api_requests_total", &[method, path, status]).increment(1);
    }
}
