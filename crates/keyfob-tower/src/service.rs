use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{AUTHORIZATION, Entry},
    request::Parts,
};
use keyfob::Access;
use tower_service::Service;

use crate::{
    body::GuardedBody, caller::Caller, future::ResponseFuture, layer::Rules, refusal::Refusal,
};

/// A service behind a guard; made by [`GuardLayer`](crate::GuardLayer).
///
/// The decision is made in [`Service::call`], by a clock that is read there: a request that waited
/// in a queue before is judged by what is known when the wait is over. A layer that makes requests
/// wait, such as a concurrency limit, belongs outside the guard. Inside it, requests would wait
/// after the decision, and a refused request would leave the place unused that was reserved for
/// it.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S> Guarded<S> {
    pub(crate) fn new(inner: S, rules: Arc<Rules>) -> Self {
        Self { inner, rules }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Guarded<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<GuardedBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        match self.rules.admit(&mut parts) {
            Ok(caller) => {
                parts.extensions.insert(caller);
                ResponseFuture::admitted(self.inner.call(Request::from_parts(parts, body)))
            }
            Err(refusal) => {
                ResponseFuture::refused(self.rules.guard.response(refusal, &parts.headers))
            }
        }
    }
}

impl Rules {
    /// Decides on a request, and removes its credential.
    fn admit(&self, parts: &mut Parts) -> Result<Caller, Refusal> {
        // First of all, so that no function of the embedder's sees it.
        let credential = Credential::take(&mut parts.headers);
        let namespace = self.source.read(parts, self.accepts_underscore)?;
        let access = match &namespace {
            Some(namespace) => Access::to(namespace.as_str()),
            None => Access::to_own_namespace(),
        };
        let pause = self.guard.pause()?;
        let outcome = self.guard.verifier.verify_headers(
            credential.values(),
            &access.requiring(&self.scopes),
            (self.guard.clock)(),
        );
        // Nor was there a pause while this was decided.
        if self.guard.pause()? != pause {
            return Err(Refusal::Paused);
        }
        match &outcome {
            Err(denied) if denied.status() == 503 => {}
            _ => {
                let throttle = self.guard.throttle.as_ref();
                if let Some(wait) = throttle.and_then(|ask| ask(parts, outcome.as_ref())) {
                    return Err(Refusal::Throttled {
                        retry_after: wait,
                        denied: outcome.err(),
                    });
                }
            }
        }
        Ok(outcome?.to_owned().into())
    }
}

/// The values of the `Authorization` fields that a request had: two are enough to refuse it.
struct Credential([Option<HeaderValue>; 2]);

impl Credential {
    fn take(headers: &mut HeaderMap) -> Self {
        let Entry::Occupied(fields) = headers.entry(AUTHORIZATION) else {
            return Self([None, None]);
        };
        let (_, mut values) = fields.remove_entry_mult();
        Self([values.next(), values.next()])
    }

    fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flatten().map(HeaderValue::as_bytes)
    }
}
