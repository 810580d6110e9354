//! Faults of the server, of the store, and of the embedder's authentication.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, http::Request};
use keyfob::{Actor, name::UserId};
use keyfob_api::{
    Authenticate, Authentication, Caller, ControlPlane, Limits, Right, Rights, Unauthenticated,
};
use serde_json::json;

use crate::{
    failing::{Failing, Fault},
    fixture::{Answer, Fixture},
};

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

#[tokio::test]
async fn server_faults_are_not_reported_as_client_errors() {
    let store = Arc::new(Failing::default());
    let plane = Fixture::over(Arc::clone(&store), Limits::default());
    plane.key("acme", "fn-a", "bob", "his").await;
    let alice = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    let fault = &store.fault;
    fault.store(Fault::Definite);
    for (method, path, body) in [
        ("GET", KEYS, json!(null)),
        ("POST", KEYS, json!({"name": "x"})),
        ("GET", "/v2/functions/namespaces", json!(null)),
        ("POST", "/v1/teams/acme/members/bob/remove", json!({})),
        ("GET", "/v1/teams/acme/audit", json!(null)),
        ("GET", "/v1/teams/acme/legacy", json!(null)),
    ] {
        let answer = plane.ask(&alice, method, path, body).await;
        assert_eq!(answer.header("retry-after"), "1");
        let message = answer.refused(503, "service_unavailable");
        assert_eq!(message, "the key store failed", "{path}");
    }
    // The change is committed and the response is lost: the message says so, and a retry is
    // harmless.
    fault.store(Fault::Unknown);
    let removed = plane
        .ask(&alice, "POST", "/v1/teams/acme/members/bob/remove", ())
        .await;
    let message = removed.refused(503, "service_unavailable");
    assert_eq!(
        message,
        "the key store failed; whether the change was kept is unknown"
    );
    // The change is committed, but this process cannot read it.
    fault.store(Fault::Feed);
    let removed = plane
        .ask(&alice, "POST", "/v1/teams/acme/members/bob/remove", ())
        .await;
    let message = removed.refused(503, "service_unavailable");
    assert!(
        message.starts_with("the change is kept, but not yet in force"),
        "{message}"
    );
    fault.store(Fault::None);
    plane
        .ask(&alice, "POST", "/v1/teams/acme/members/bob/remove", ())
        .await
        .expect(200);
}

#[tokio::test]
async fn a_stale_index_does_not_refuse_with_401() {
    let plane = Fixture::over(Failing::default().shared(), Limits::default());
    plane.pass(11);
    let token =
        "dof_v1_00000000000000000000000000000000:dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
    let answer = plane.ask(token, "GET", "/v1/caller", ()).await;
    assert_eq!(answer.header("retry-after"), "1");
    answer.refused(503, "service_unavailable");
    let request = Request::post("/v1/revoke")
        .header("content-type", "application/json")
        .body(Body::from(json!({"token": token}).to_string()));
    plane
        .send(request.unwrap())
        .await
        .refused(503, "service_unavailable");
}

/// Trusts the header `x-user`, delays, or panics.
struct Careless {
    slow: bool,
    panics: Arc<AtomicBool>,
}

impl Authenticate for Careless {
    fn authenticate<'a>(
        &'a self,
        request: &'a axum::http::request::Parts,
        _: keyfob::Timestamp,
    ) -> Authentication<'a> {
        Box::pin(async move {
            assert!(
                !self.panics.load(Ordering::SeqCst),
                "a fault in the embedder"
            );
            if self.slow {
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            let name = request
                .headers
                .get("x-user")
                .and_then(|name| name.to_str().ok());
            let name = name.ok_or(Unauthenticated::Refused("nobody"))?;
            let team =
                keyfob::name::TeamId::new("acme").map_err(|_| Unauthenticated::Refused("team"))?;
            let user = UserId::new(name).map_err(|_| Unauthenticated::Refused("name"))?;
            let rights = Rights::new([Right::FunctionAdmin]);
            Ok(Caller::new(Actor::user(user), team, rights))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_embedders_authentication_are_contained() {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let build = |slow, panics: &Arc<AtomicBool>| {
        let careless = Careless {
            slow,
            panics: Arc::clone(panics),
        };
        ControlPlane::new(Arc::clone(&plane.keyring))
            .with_authenticate(careless)
            .into_router()
    };
    let panics = Arc::new(AtomicBool::new(false));
    let ask = |user: Option<&str>| {
        let request = Request::get("/v1/caller");
        let request = match user {
            Some(user) => request.header("x-user", user),
            None => request,
        };
        request.body(Body::empty()).unwrap()
    };
    let router = build(false, &panics);
    let caller = Answer::of(&router, ask(Some("alice"))).await.expect(200);
    assert_eq!(caller["actor"]["owner"], "user:alice");
    Answer::of(&router, ask(None))
        .await
        .refused(401, "unauthorized");
    let late = Answer::of(&build(true, &panics), ask(Some("alice"))).await;
    let message = late.refused(503, "service_unavailable");
    assert_eq!(
        message,
        "this took too long; whether it was done is unknown"
    );
    panics.store(true, Ordering::SeqCst);
    Answer::of(&router, ask(Some("alice")))
        .await
        .refused(500, "server_error");
}
