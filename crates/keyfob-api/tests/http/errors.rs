//! Every refusal: its status, its words, and what it must not tell.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Body,
    http::{Request, request::Builder},
};
use keyfob::{Actor, Owner, UserId};
use keyfob_api::{
    Authenticate, Authentication, Caller, ControlPlane, Limits, Quota, Right, Rights,
    Unauthenticated,
};
use serde_json::json;

use crate::{
    failing::{Failing, Fault},
    fixture::{Answer, Plane},
};

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

fn post(token: &str, path: &str) -> Builder {
    Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
}

async fn plane() -> (Plane, String) {
    let plane = Plane::new();
    plane.key("acme", "fn-a", "alice", "old").await;
    let alice = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    (plane, alice)
}

#[tokio::test]
async fn what_does_not_fit_is_refused_with_its_field_and_never_repeated() {
    let (plane, alice) = plane().await;
    let secret = "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
    for (body, message) in [
        (String::new(), "body: not JSON (line 1, column 0)"),
        (format!("{{{secret}"), "body: not JSON (line 1, column 2)"),
        (
            format!("\"{secret}\""),
            "body: not what is expected (line 1, column 45)",
        ),
        ("{}".to_owned(), "name: missing"),
        (
            format!("{{\"name\": [\"{secret}\"]}}"),
            "name: not what is expected (line 1, column 9)",
        ),
        (
            format!("{{\"{secret}\": 1}}"),
            "body: an unknown field (line 1, column 46)",
        ),
        (
            format!("{{\"name\": \"a\", \"name\": \"{secret}\"}}"),
            "name: there twice (line 1, column 20)",
        ),
        (
            format!("{{\"name\": \"a\", \"labels\": {{\"{secret}\": 1}}}}"),
            "labels: not what is expected (line 1, column 73)",
        ),
        (
            format!("{{\"name\": \"a\", \"owner\": {{\"type\": \"{secret}\", \"id\": \"b\"}}}}"),
            "owner: not what is expected (line 1, column 77)",
        ),
        (
            "{\"name\": \"a\"} {}".to_owned(),
            "body: more than one value (line 1, column 15)",
        ),
        ("{\"name\": \"\"}".to_owned(), "name is empty"),
        (
            format!("{{\"name\": \"{}\"}}", "a".repeat(101)),
            "name is longer than 100 characters",
        ),
        (
            "{\"name\": \"a\\u0000\"}".to_owned(),
            "name has a character that is not allowed, at position 1",
        ),
        (
            format!("{{\"name\": \"a\", \"expires_in\": \"{secret}\"}}"),
            "expires_in must end in h or d (position 42)",
        ),
        (
            "{\"name\": \"a\", \"expires_in\": \"0h\"}".to_owned(),
            "expires_in is shorter than the minimum of 1h",
        ),
        (
            format!("{{\"name\": \"a\", \"expires_at\": \"{secret}\"}}"),
            "expires_at: not RFC 3339",
        ),
        (
            "{\"name\": \"a\", \"expires_in\": \"1h\", \"expires_at\": \"2026-01-01T00:00:00Z\"}"
                .to_owned(),
            "expires_at: not together with expires_in",
        ),
        (
            "{\"name\": \"a\", \"expires_at\": \"2020-01-01T00:00:00Z\"}".to_owned(),
            "expires_in: shorter than the policy's minimum of 1h",
        ),
        (
            "{\"name\": \"a\", \"labels\": {\"keyfob/asked-under\": \"x\"}}".to_owned(),
            "labels: names that begin with keyfob/ are reserved",
        ),
        (
            "{\"name\": \"a\", \"scopes\": [\"a b\"]}".to_owned(),
            "scope has a character that is not allowed, at position 1",
        ),
        (
            "{\"name\": \"a\", \"scopes\": [\"*\", \"a\"]}".to_owned(),
            "scopes: * stands for every scope, and alone",
        ),
        (
            "{\"name\": \"a\", \"owner\": {\"type\": \"user\", \"id\": \"\"}}".to_owned(),
            "user is empty",
        ),
    ] {
        let request = post(&alice, KEYS).body(Body::from(body.clone())).unwrap();
        let answer = plane.send(request).await;
        assert!(!answer.text.contains(secret), "{}", answer.text);
        assert_eq!(answer.refused(400, "bad_request"), message, "{body}");
    }
    let list = plane.ask(&alice, "GET", KEYS, ()).await.expect(200);
    assert_eq!(list["count"], 1);
}

#[tokio::test]
async fn a_query_that_does_not_fit_is_refused() {
    let (plane, alice) = plane().await;
    for (query, message) in [
        ("limit=0", "limit: not a number from 1 to 1000"),
        ("limit=1001", "limit: not a number from 1 to 1000"),
        ("limit=x", "limit: not a number from 1 to 1000"),
        ("cursor=x", "cursor: not one that was given out"),
        ("owner=alice", "owner: not user:NAME or service:NAME"),
        ("owner=user:", "user is empty"),
        ("status=expired", "status: not active, disabled or revoked"),
        ("label=x", "label: not NAME:VALUE"),
        (
            "limit=1&limit=2",
            "query: a parameter is malformed or there twice",
        ),
    ] {
        let answer = plane
            .ask(&alice, "GET", &format!("{KEYS}?{query}"), ())
            .await;
        assert_eq!(answer.refused(400, "bad_request"), message, "{query}");
    }
    for (query, message) in [
        ("since=yesterday", "since: not RFC 3339"),
        ("until=1", "until: not RFC 3339"),
        (
            "key=x",
            "key: not the identifier of a key or of a legacy credential",
        ),
        ("namespace=_", "namespace is a reserved word"),
    ] {
        let path = format!("/v1/teams/acme/audit?{query}");
        let answer = plane.ask(&alice, "GET", &path, ()).await;
        assert_eq!(answer.refused(400, "bad_request"), message, "{query}");
    }
    // Parameters of somebody else's are passed over: proxies and clients add them.
    plane
        .ask(&alice, "GET", &format!("{KEYS}?page=1&per_page=20"), ())
        .await
        .expect(200);
}

#[tokio::test]
async fn every_refusal_of_the_router_has_a_body_too() {
    let (plane, alice) = plane().await;
    plane
        .ask(&alice, "GET", "/v2/nothing", ())
        .await
        .refused(404, "not_found");
    plane
        .ask(&alice, "GET", "/", ())
        .await
        .refused(404, "not_found");
    let wrong = plane.ask(&alice, "PATCH", KEYS, ()).await;
    assert_eq!(wrong.header("allow"), "POST,GET,HEAD");
    wrong.refused(405, "method_not_allowed");
    let wrong = plane.ask(&alice, "POST", "/openapi.json", ()).await;
    wrong.refused(405, "method_not_allowed");

    let long = json!({"name": "a".repeat(70_000)});
    plane
        .ask(&alice, "POST", KEYS, long)
        .await
        .refused(413, "payload_too_large");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
    ] {
        let request = Request::post(KEYS)
            .header("authorization", format!("Bearer {alice}"))
            .header("content-type", kind)
            .body(Body::from(r#"{"name": "x"}"#));
        let answer = plane.send(request.unwrap()).await;
        answer.refused(415, "unsupported_media_type");
    }
    for kind in [
        "application/json; charset=utf-8",
        "application/merge-patch+json",
        "Application/JSON",
    ] {
        let request = Request::post(KEYS)
            .header("authorization", format!("Bearer {alice}"))
            .header("content-type", kind)
            .body(Body::from(json!({"name": kind}).to_string()));
        plane.send(request.unwrap()).await.expect(201);
    }
    // A path that is no text, and one with a secret in it.
    plane
        .ask(&alice, "GET", "/v2/functions/namespaces/%ff/keys", ())
        .await
        .refused(400, "bad_request");
    let path = format!("{KEYS}/{}", alice.replace(':', "%3A"));
    plane
        .ask(&alice, "GET", &path, ())
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_is_a_conflict() {
    let (plane, alice) = plane().await;
    let made = plane
        .ask(&alice, "POST", KEYS, json!({"name": "old"}))
        .await;
    let taken = "name: a key of this name exists in the namespace";
    assert_eq!(made.refused(409, "conflict"), taken);

    let made = plane
        .ask(&alice, "POST", KEYS, json!({"name": "new"}))
        .await
        .expect(201);
    let one = format!("{KEYS}/{}", made["access_key"]["id"].as_str().unwrap());
    let renamed = plane.ask(&alice, "PUT", &one, json!({"name": "old"})).await;
    assert_eq!(renamed.refused(409, "conflict"), taken);
    plane
        .ask(&alice, "POST", &format!("{one}/revoke"), ())
        .await
        .expect(200);
    for (method, path, body) in [
        ("POST", format!("{one}/rotate"), json!({})),
        ("POST", format!("{one}/enable"), json!({})),
        ("POST", format!("{one}/disable"), json!({})),
        ("PUT", one.clone(), json!({"name": "again"})),
    ] {
        let answer = plane.ask(&alice, method, &path, body).await;
        assert_eq!(
            answer.refused(409, "conflict"),
            "the key is revoked",
            "{path}"
        );
    }
    plane
        .ask(&alice, "POST", "/v2/functions/namespaces/fn-a/remove", ())
        .await
        .expect(200);
    let made = plane
        .ask(&alice, "POST", KEYS, json!({"name": "late"}))
        .await;
    assert_eq!(made.refused(409, "conflict"), "the namespace was removed");
    let restored = plane
        .ask(&alice, "POST", "/v1/teams/acme/members/bob/restore", ())
        .await;
    assert_eq!(
        restored.refused(409, "conflict"),
        "the owner was not removed"
    );
}

/// What is seen of an answer, but for what differs anyway.
fn outside(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "x-request-id" | "ratelimit-remaining" | "ratelimit-reset"
            )
        })
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let id = answer.header("x-request-id");
    (answer.status, headers, answer.text.replace(id, "ID"))
}

#[tokio::test]
async fn a_foreign_thing_and_one_that_does_not_exist_look_the_same() {
    for right in [
        Right::FunctionRead,
        Right::FunctionAdmin,
        Right::TeamRead,
        Right::TeamAdmin,
    ] {
        let plane = Plane::new();
        plane.key("acme", "fn-a", "alice", "old").await;
        let (_, foreign) = plane.key("rival", "fn-r", "rita", "hers").await;
        let (_, member) = plane.key("acme", "fn-a", "bob", "his").await;
        let alice = plane.control_key("acme", "alice", right).await;
        let format = plane.keyring.format();
        let [foreign, member] = [foreign.id, member.id].map(|id| format.key_id(id));
        let unknown = "dof_v1_00000000000000000000000000000000";
        let mut pairs = vec![
            (
                "/v2/functions/namespaces/fn-r".to_owned(),
                "/v2/functions/namespaces/fn-x".to_owned(),
            ),
            (
                "/v2/functions/namespaces/fn-r/keys".to_owned(),
                "/v2/functions/namespaces/fn-x/keys".to_owned(),
            ),
            (
                "/v2/functions/namespaces/control:rival/keys".to_owned(),
                "/v2/functions/namespaces/control:x/keys".to_owned(),
            ),
            (
                format!("/v2/functions/namespaces/fn-r/keys/{foreign}"),
                format!("/v2/functions/namespaces/fn-x/keys/{unknown}"),
            ),
            // Another namespace's key in one's own namespace.
            (format!("{KEYS}/{foreign}"), format!("{KEYS}/{unknown}")),
            (format!("{KEYS}/{foreign}"), format!("{KEYS}/no-key-at-all")),
            (
                "/v1/teams/rival/audit".to_owned(),
                "/v1/teams/x/audit".to_owned(),
            ),
            (
                "/v1/teams/rival/members/rita/keys".to_owned(),
                "/v1/teams/x/members/y/keys".to_owned(),
            ),
        ];
        if !Rights::new([right]).hold(Right::TeamRead) {
            pairs.push((format!("{KEYS}/{member}"), format!("{KEYS}/{unknown}")));
        }
        for (foreign, unknown) in pairs {
            for method in ["GET", "PUT", "DELETE", "POST"] {
                let body = if method == "GET" {
                    json!(null)
                } else {
                    json!({"name": "x"})
                };
                let foreign = plane.ask(&alice, method, &foreign, body.clone()).await;
                let unknown = plane.ask(&alice, method, &unknown, body).await;
                assert!(foreign.status >= 400);
                assert_eq!(outside(&foreign), outside(&unknown), "{right:?} {method}");
            }
        }
    }
}

#[tokio::test]
async fn whoever_is_not_let_in_learns_nothing_of_why() {
    let (plane, alice) = plane().await;
    let context = plane.context();
    let control = crate::fixture::tenant("acme", "control:acme");
    let mut refused = Vec::new();
    for (at, what) in ["revoked", "disabled", "deleted"].into_iter().enumerate() {
        let (key, info) = plane.key("acme", "control:acme", "eve", what).await;
        match at {
            0 => drop(
                plane
                    .keyring
                    .revoke(&context, &control, info.id)
                    .await
                    .unwrap(),
            ),
            1 => drop(
                plane
                    .keyring
                    .disable(&context, &control, info.id)
                    .await
                    .unwrap(),
            ),
            _ => plane
                .keyring
                .delete(&context, &control, info.id)
                .await
                .unwrap(),
        }
        refused.push(Some(format!("Bearer {}", key.expose())));
    }
    let (id, secret) = alice.split_once(':').unwrap();
    let twisted: String = secret.chars().rev().collect();
    refused.extend([
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(format!("Bearer {id}")),
        Some(format!("Bearer {id}:{twisted}")),
        Some(format!("Bearer {alice} ")),
        Some(format!("Token {alice}")),
        Some(format!("Basic {alice}")),
        Some(format!("Bearer {}", "x".repeat(5_000))),
    ]);
    let mut seen = Vec::new();
    for value in refused {
        // Where there is something, and where there is nothing.
        for path in [KEYS, "/v2/nothing"] {
            let request = Request::get(path);
            let request = match &value {
                Some(value) => request.header(
                    "authorization",
                    value.trim_end_matches(' ').to_owned()
                        + if value.ends_with(' ') { "\t" } else { "" },
                ),
                None => request,
            };
            let answer = plane.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(
                answer.header("www-authenticate"),
                r#"Bearer realm="keyfob""#
            );
            seen.push(outside(&answer));
        }
    }
    // Two fields, of which one is good.
    let request = Request::get(KEYS)
        .header("authorization", format!("Bearer {alice}"))
        .header("authorization", format!("Bearer {alice}"));
    seen.push(outside(
        &plane.send(request.body(Body::empty()).unwrap()).await,
    ));
    // In the URL.
    let request = Request::get(format!("{KEYS}?access_token={alice}&token={alice}"));
    seen.push(outside(
        &plane.send(request.body(Body::empty()).unwrap()).await,
    ));
    assert_eq!(seen[0].0, 401);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}

#[tokio::test]
async fn a_busy_caller_is_slowed_down_and_nobody_else() {
    let mut limits = Limits::default();
    let minute = Duration::from_mins(1);
    limits.caller = Quota::new(NonZeroU32::new(3).unwrap(), minute);
    let plane = Plane::with_limits(limits);
    let alice = plane
        .control_key("acme", "alice", Right::FunctionRead)
        .await;
    let other = plane.control_key("acme", "alice", Right::TeamRead).await;
    let bob = plane.control_key("acme", "bob", Right::FunctionRead).await;
    let ask = async |key: &str| plane.ask(key, "GET", "/v1/caller", ()).await;
    for left in ["2", "1"] {
        let answer = ask(&alice).await;
        assert_eq!(answer.header("ratelimit-limit"), "3");
        assert_eq!(answer.header("ratelimit-remaining"), left);
        answer.expect(200);
    }
    // It is the person who is counted, with whichever of their keys.
    ask(&other).await.expect(200);
    let refused = ask(&alice).await;
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    let reset: i64 = refused.header("ratelimit-reset").parse().unwrap();
    assert_eq!(reset, crate::fixture::NOW + 60);
    refused.refused(429, "too_many_requests");
    ask(&bob).await.expect(200);
}

#[tokio::test]
async fn guesses_lock_nobody_out() {
    let mut limits = Limits::default();
    limits.refused = Quota::new(NonZeroU32::new(5).unwrap(), Duration::from_mins(1));
    let plane = Plane::with_limits(limits);
    let alice = plane
        .control_key("acme", "alice", Right::FunctionRead)
        .await;
    let (id, _) = alice.split_once(':').unwrap();
    let guess = format!("{id}:dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI");
    for _ in 0..5 {
        plane
            .ask(&guess, "GET", "/v1/caller", ())
            .await
            .refused(401, "unauthorized");
    }
    let refused = plane.ask(&guess, "GET", "/v1/caller", ()).await;
    assert!(!refused.header("retry-after").is_empty());
    refused.refused(429, "too_many_requests");
    // The key that was guessed at, from the same place.
    plane.ask(&alice, "GET", "/v1/caller", ()).await.expect(200);
}

#[tokio::test]
async fn our_own_faults_are_never_the_callers() {
    let plane = Plane::over(Failing::default(), Limits::default());
    plane.key("acme", "fn-a", "bob", "his").await;
    let alice = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    let fault = &plane.keyring.store().fault;
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
        assert_eq!(
            message, "the key store failed; nothing was changed",
            "{path}"
        );
    }
    // The change is kept, and the answer is lost: that is said too, and a repetition is harmless.
    fault.store(Fault::Unknown);
    let removed = plane
        .ask(&alice, "POST", "/v1/teams/acme/members/bob/remove", ())
        .await;
    let message = removed.refused(503, "service_unavailable");
    assert_eq!(
        message,
        "the key store failed; whether the change was kept is unknown"
    );
    // The change is kept, but this process cannot learn of it.
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
async fn an_index_that_is_not_ready_refuses_nobody_with_401() {
    let plane = Plane::new();
    let token =
        "dof_v1_00000000000000000000000000000000:dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
    let answer = plane.ask(token, "GET", "/v1/caller", ()).await;
    assert_eq!(answer.header("retry-after"), "1");
    answer.refused(503, "service_unavailable");
    let request = post("x", "/v1/revoke").body(Body::from(json!({"token": token}).to_string()));
    plane
        .send(request.unwrap())
        .await
        .refused(503, "service_unavailable");
}

/// Lets in whoever says who they are, takes its time, or fails.
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
            assert!(!self.panics.load(Ordering::SeqCst), "as a fault would");
            if self.slow {
                tokio::time::sleep(Duration::from_mins(1)).await;
            }
            let name = request
                .headers
                .get("x-user")
                .and_then(|name| name.to_str().ok());
            let name = name.ok_or(Unauthenticated::Refused("nobody"))?;
            let team = keyfob::TeamId::new("acme").map_err(|_| Unauthenticated::Refused("team"))?;
            let user = UserId::new(name).map_err(|_| Unauthenticated::Refused("name"))?;
            let actor = Actor {
                owner: Some(Owner::User(user)),
                credential: None,
            };
            Ok(Caller::new(
                actor,
                team,
                Rights::new([Right::FunctionAdmin]),
            ))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn others_can_authenticate_and_their_faults_are_bounded() {
    let plane = Plane::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let build = |slow, panics: &Arc<AtomicBool>| {
        let careless = Careless {
            slow,
            panics: Arc::clone(panics),
        };
        ControlPlane::new(Arc::clone(&plane.keyring), plane.verifier.clone())
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
    assert_eq!(
        caller["actor"]["owner"],
        json!({"type": "user", "id": "alice"})
    );
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

#[tokio::test]
async fn a_request_is_known_by_one_name_everywhere() {
    let (plane, alice) = plane().await;
    let request = post(&alice, KEYS)
        .header("x-request-id", "my-request.1")
        .body(Body::from(r#"{"name": "x"}"#));
    let answer = plane.send(request.unwrap()).await;
    assert_eq!(answer.header("x-request-id"), "my-request.1");
    answer.expect(201);
    let trail = plane
        .ask(&alice, "GET", "/v1/teams/acme/audit", ())
        .await
        .expect(200);
    let last = trail["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["request_id"], "my-request.1");
    assert_eq!(last["action"], "key_created");
}
