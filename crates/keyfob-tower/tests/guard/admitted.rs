//! Requests that pass.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use axum::http::{HeaderName, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use keyfob::{Context, Keyring, MemoryStore, NewKey, now};
use keyfob_tower::Guard;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

use crate::fixture::{Fixture, basic, bearer, request, send};

#[tokio::test]
async fn a_valid_key_passes_without_its_credential_and_with_its_caller() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let layer = fixture.guard().namespace("orders");
    for name in ["authorization", "Authorization", "AUTHORIZATION"] {
        for value in [
            bearer(&key),
            basic(&key),
            bearer(&key).replace("Bearer", "bEARER"),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            let mut request = request("/", &[]);
            request.headers_mut().insert(name, value.parse().unwrap());
            request
                .headers_mut()
                .insert("x-other", "kept".parse().unwrap());
            let answer = send(&layer, request).await;
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "inner"));
            assert_eq!(answer.refusal, None);
            let seen = answer.seen.unwrap();
            assert!(!seen.headers.contains_key("authorization"));
            assert_eq!(seen.headers["x-other"], "kept");
            let caller = seen.caller.unwrap();
            assert_eq!(caller.to_string(), "user:alice");
            assert_eq!(caller.tenant.namespace.as_str(), "orders");
            assert!(!format!("{caller:?}").contains(key.secret.expose()));
        }
    }
}

#[tokio::test]
async fn a_key_with_every_required_scope_passes() {
    let fixture = Fixture::new().await;
    let layer = fixture
        .guard()
        .namespace("orders")
        .requiring(["orders:read"])
        .requiring(["orders:write"]);
    let both = fixture
        .key_with_scopes(&["orders:read", "orders:write"])
        .await;
    for (key, status) in [
        (both, 200),
        (fixture.key().await, 200),
        (fixture.key_with_scopes(&["orders:read"]).await, 403),
        (fixture.key_with_scopes(&["orders:write"]).await, 403),
        (fixture.key_with_scopes(&[]).await, 403),
    ] {
        let answer = send(&layer, request("/", &[&bearer(&key)])).await;
        assert_eq!(answer.status, status);
    }
}

#[tokio::test]
async fn a_guard_without_settings_goes_by_the_clock_of_the_system() {
    let keyring = Keyring::open(MemoryStore::new(), "acme").await.unwrap();
    let new = NewKey::for_user("team", "orders", "alice", "laptop").unwrap();
    let key = keyring.create(&Context::system(now()), new).await.unwrap();
    let verifier = keyring.index().verifier(Some(Duration::from_mins(1)));
    let layer = Guard::new(verifier).namespace("orders");
    let answer = send(&layer, request("/", &[&bearer(&key)])).await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn the_decision_is_made_when_the_wait_is_over() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let guard = fixture.unbounded_guard();
    let called = AtomicBool::new(false);
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        called.store(true, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())) }
    });

    // A service that is not ready yet: the request waits, the key is revoked meanwhile.
    let open = Arc::new(AtomicBool::new(false));
    let mut service = Gated {
        open: Arc::clone(&open),
        inner: guard.namespace("orders").layer(inner),
    };
    let mut response = pin!(async {
        let ready = service.ready().await?;
        ready.call(request("/", &[&bearer(&key)])).await
    });
    let waiting = poll_fn(|cx| Poll::Ready(response.as_mut().poll(cx).is_pending())).await;
    assert!(waiting);
    fixture
        .keyring
        .revoke(&fixture.context(), &key.info.tenant, key.info.id, None)
        .await
        .unwrap();
    open.store(true, Ordering::Relaxed);
    assert_eq!(response.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    assert!(!called.load(Ordering::Relaxed));
}

/// Ready once it is open.
struct Gated<S> {
    open: Arc<AtomicBool>,
    inner: S,
}

impl<S: Service<R>, R> Service<R> for Gated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        if self.open.load(Ordering::Relaxed) {
            self.inner.poll_ready(cx)
        } else {
            Poll::Pending
        }
    }

    fn call(&mut self, request: R) -> S::Future {
        self.inner.call(request)
    }
}

#[tokio::test]
async fn a_limit_outside_gives_its_place_back_after_a_refusal() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let guarded = fixture.guard().namespace("orders").layer(inner);
    let service = ConcurrencyLimitLayer::new(1).layer(guarded);
    // Both handles stay, as those of idle connections do.
    let (mut first, mut second) = (service.clone(), service);
    let refused = first.ready().await.unwrap().call(request("/", &[]));
    assert_eq!(refused.await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let admitted = second
        .ready()
        .await
        .unwrap()
        .call(request("/", &[&bearer(&key)]));
    assert_eq!(admitted.await.unwrap().status(), StatusCode::OK);
}
