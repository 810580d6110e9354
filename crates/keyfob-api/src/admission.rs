//! Authenticates callers and holds them to their limits.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{
    authenticate::Unauthenticated,
    caller_context::CallerContext,
    rate::{Allowance, Source, round_up},
    refusal::Refusal,
    request_limits::{RateKey, RequestLimits},
    request_meta::RequestMeta,
};

/// Authenticates the caller and counts the request: by caller if the credential is valid, by
/// network address if it is not.
///
/// A valid credential is never refused because of others' failed attempts: that limit applies only
/// after authentication has failed.
pub(crate) async fn admit(
    State(limits): State<Arc<RequestLimits>>,
    request: Request,
    next: Next,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(meta) = parts.extensions.get::<RequestMeta>().cloned() else {
        return Refusal::SERVER_ERROR.into_response();
    };
    let now = (limits.clock)();
    let caller = match limits.authenticate.authenticate(&parts, now).await {
        Ok(caller) => caller,
        Err(error) => return refuse(&limits, error, Source::of(&parts.extensions)),
    };
    let key = RateKey::of(&caller);
    let allowance = match limits.callers.take(&key) {
        Ok(allowance) => allowance,
        Err((allowance, wait)) => {
            count("caller_rate");
            let refusal = Refusal::too_many_requests(round_up(wait).max(1));
            return refused(&refusal, allowance);
        }
    };
    let Some(place) = limits.under_way.enter(key) else {
        count("caller_at_once");
        return refused(&Refusal::too_many_requests(1), allowance);
    };
    tracing::debug!(caller = %caller.actor, team = caller.team.as_str(), "admitted");
    let clock = Arc::clone(&limits.clock);
    let caller = CallerContext::new(caller, meta.request_id, clock);
    parts.extensions.insert(caller);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    response.extensions_mut().insert(allowance);
    place.hold_for(response)
}

/// Refuses a request whose caller is unknown, or has nothing to do here.
fn refuse(limits: &RequestLimits, error: Unauthenticated, source: Source) -> Response {
    let (reason, refusal) = match error {
        Unauthenticated::Unavailable(reason) => {
            tracing::warn!(reason, "not available");
            count(reason);
            return refused(&Refusal::UNAVAILABLE, limits.refused.untouched());
        }
        Unauthenticated::Refused(reason) => (reason, Refusal::UNAUTHORIZED),
        Unauthenticated::Forbidden(reason) => (reason, Refusal::FOREIGN_KEY),
    };
    tracing::info!(reason, "refused");
    count(reason);
    match limits.attempt(source) {
        Ok(allowance) => refused(&refusal, allowance),
        Err((refusal, allowance)) => refused(&refusal, allowance),
    }
}

fn refused(refusal: &Refusal, allowance: Allowance) -> Response {
    let mut response = refusal.clone().into_response();
    response.extensions_mut().insert(allowance);
    response
}

fn count(reason: &'static str) {
    metrics::counter!("keyfob_api_refused_total", "reason" => reason).increment(1);
}
