//! What every request and every answer has: an identifier, a time limit, headers, a log line.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use keyfob::name::RequestId;
use tokio::time::timeout;
use tracing::Instrument;

use crate::{
    body, cross_site, rate::Allowance, refusal::Refusal, request_id, request_limits::RequestLimits,
    request_meta::RequestMeta,
};

/// Gives the request an identifier and a time limit, every answer its headers, and every refusal
/// its body, wherever it was produced.
pub(crate) async fn wrap(
    State(limits): State<Arc<RequestLimits>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let request_id = request_id::of(request.headers());
    let call = Name::of(&request);
    request.extensions_mut().insert(RequestMeta {
        request_id: request_id.clone(),
        body_limit: limits.config.body,
        body_timeout: limits.config.body_timeout,
    });
    // The identifier is the only thing in it that the caller wrote: no secret, no line break.
    let span = tracing::info_span!(
        "request",
        request_id = request_id.as_str(),
        method = call.method,
        path = call.path()
    );
    async {
        let mut response = match admissible(&request).await {
            Ok(()) => {
                let answer = timeout(limits.config.timeout, next.run(request)).await;
                answer.unwrap_or_else(|_| {
                    Refusal::unavailable("this took too long; whether it was done is unknown")
                        .into_response()
                })
            }
            Err(refusal) => refusal.into_response(),
        };
        finish(&mut response, &limits, &request_id);
        call.record(response.status(), started);
        response
    }
    .instrument(span)
    .await
}

/// Refuses what no handler may see, from any caller.
fn admissible(request: &Request) -> impl Future<Output = Result<(), Refusal>> + use<> {
    let types = body::refuse_other_types(request);
    let question = cross_site::Question::of(request);
    async move {
        types?;
        question.refuse_other_sites().await
    }
}

fn finish(response: &mut Response, limits: &RequestLimits, request_id: &RequestId) {
    let status = response.status();
    let refusal = response.extensions_mut().remove::<Refusal>();
    let refused = status.is_client_error() || status.is_server_error();
    if let Some(refusal) = refusal.or_else(|| refused.then(|| Refusal::of(status))) {
        refusal.render(response, request_id);
    }
    let allowance = response.extensions_mut().remove::<Allowance>();
    let headers = response.headers_mut();
    allowance
        .unwrap_or_else(|| limits.refused.untouched())
        .write(headers, (limits.clock)());
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

/// A call in logs and metrics: the method and the route, so that there are few.
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
