//! Repeated creation requests.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use keyfob::{
    Access, Actor,
    gateway::UsageDelta,
    key::CredentialId,
    manage::{Authority, Policy},
    store::KeyQuery,
};
use keyfob_api::{Authenticate, Authentication, Caller, ControlPlane, Limits, Right, Rights};
use serde_json::{Value, json};

use crate::{
    failing::{Failing, Fault},
    fixture::{Answer, Fixture, tenant},
};

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

fn request(token: &str, under: &str, body: &Value) -> Request<Body> {
    Request::post(KEYS)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("idempotency-key", under)
        .body(Body::from(body.to_string()))
        .unwrap()
}

async fn plane() -> (Fixture, String) {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let alice = plane
        .control_key("acme", "alice", Right::FunctionAdmin)
        .await;
    (plane, alice)
}

fn credential(made: &Value) -> String {
    let key = &made["access_key"];
    format!(
        "{}:{}",
        key["id"].as_str().unwrap(),
        key["secret"].as_str().unwrap()
    )
}

fn works(plane: &Fixture, credential: &str) -> bool {
    let access = Access::to("fn-a");
    let verdict = plane
        .verifier
        .verify_text(credential.as_bytes(), &access, plane.now());
    verdict.is_ok()
}

#[tokio::test]
async fn a_repeated_creation_leaves_one_key_with_a_new_secret() {
    let (plane, alice) = plane().await;
    let body = json!({"name": "laptop", "expires_in": "90d", "labels": {"a": "b"}});
    let first = plane.send(request(&alice, "one", &body)).await.expect(201);
    plane.pass(60);
    let second = plane.send(request(&alice, "one", &body)).await;
    assert_eq!(second.header("cache-control"), "no-store");
    let second = second.expect(201);
    assert_eq!(first["access_key"]["id"], second["access_key"]["id"]);
    assert_ne!(
        first["access_key"]["secret"],
        second["access_key"]["secret"]
    );
    // The expiry is that of the first request: a repetition does not extend it.
    assert_eq!(
        first["access_key"]["expires_at"],
        second["access_key"]["expires_at"]
    );
    assert!(!works(&plane, &credential(&first)) && works(&plane, &credential(&second)));
    let list = plane.ask(&alice, "GET", KEYS, ()).await.expect(200);
    assert_eq!(list["count"], 1);
    // Keyfob's internal labels are not shown.
    assert_eq!(list["access_keys"][0]["labels"], json!({"a": "b"}));
    plane.pass(1);
    // They are kept when other labels are set, so that a repetition is still recognised.
    let one = format!("{KEYS}/{}", first["access_key"]["id"].as_str().unwrap());
    let updated = plane
        .ask(&alice, "PUT", &one, json!({"labels": {"c": "d"}}))
        .await;
    assert_eq!(
        updated.expect(200)["access_key"]["labels"],
        json!({"c": "d"})
    );
    let known = plane.send(request(&alice, "one", &body)).await;
    let message = known.refused(409, "conflict");
    assert!(message.starts_with("Idempotency-Key: "), "{message}");
}

#[tokio::test]
async fn an_invalid_repetition_is_a_conflict_and_changes_nothing() {
    let body = json!({"name": "laptop"});
    for what in [
        "another body",
        "used",
        "too late",
        "disabled",
        "revoked",
        "rotated",
    ] {
        let (plane, alice) = plane().await;
        let made = plane.send(request(&alice, "one", &body)).await.expect(201);
        let id = made["access_key"]["id"].as_str().unwrap().to_owned();
        let key = plane.keyring.format().parse_key_id(&id).unwrap();
        let one = format!("{KEYS}/{id}");
        let mut again = body.clone();
        let mut working = credential(&made);
        match what {
            "another body" => again = json!({"name": "laptop", "expires_in": "1h"}),
            "used" => {
                let usage = [UsageDelta::accepted(CredentialId::Key(key), plane.now())];
                plane.record_usage(usage.to_vec()).await;
            }
            "too late" => plane.pass(601),
            "rotated" => {
                let rotated = plane
                    .ask(&alice, "POST", &format!("{one}/rotate"), ())
                    .await;
                working = credential(&rotated.expect(200));
            }
            other => {
                let call = if other == "disabled" {
                    "disable"
                } else {
                    "revoke"
                };
                plane
                    .ask(&alice, "POST", &format!("{one}/{call}"), ())
                    .await
                    .expect(200);
            }
        }
        let answer = plane.send(request(&alice, "one", &again)).await;
        let message = answer.refused(409, "conflict");
        match what {
            "rotated" => assert_eq!(
                message,
                "name: the owner has a key of this name in the namespace"
            ),
            _ => assert!(
                message.starts_with("Idempotency-Key: ") && message.contains(&id),
                "{message}"
            ),
        }
        let off = ["disabled", "revoked"].contains(&what);
        assert_eq!(works(&plane, &working), !off, "{what}");
    }
}

#[tokio::test]
async fn a_repetition_must_have_the_same_owner_and_namespace() {
    let (plane, alice) = plane().await;
    plane.key("acme", "fn-b", "bob", "his").await;
    let body = json!({"name": "laptop"});
    let made = plane.send(request(&alice, "one", &body)).await.expect(201);
    // Another key of the same owner.
    let other = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    let again = plane.send(request(&other, "one", &body)).await.expect(201);
    assert_eq!(made["access_key"]["id"], again["access_key"]["id"]);
    // Another owner with the same idempotency key.
    let bob = plane.control_key("acme", "bob", Right::FunctionAdmin).await;
    let other = plane.send(request(&bob, "one", &body)).await.expect(201);
    assert_ne!(made["access_key"]["id"], other["access_key"]["id"]);
    // Another namespace.
    let mut elsewhere = request(&alice, "one", &body);
    *elsewhere.uri_mut() = "/v2/functions/namespaces/fn-b/keys".parse().unwrap();
    let elsewhere = plane.send(elsewhere).await.expect(201);
    assert_ne!(made["access_key"]["id"], elsewhere["access_key"]["id"]);
}

#[tokio::test]
async fn an_invalid_idempotency_key_is_refused() {
    let (plane, alice) = plane().await;
    let body = json!({"name": "laptop"});
    let long = "x".repeat(256);
    for under in ["", "\u{e9}", &long] {
        let message = plane
            .send(request(&alice, under, &body))
            .await
            .refused(400, "bad_request");
        assert!(
            message.starts_with("Idempotency-Key: not 1 to 255"),
            "{message}"
        );
    }
    let mut twice = request(&alice, "one", &body);
    twice
        .headers_mut()
        .append("idempotency-key", "two".parse().unwrap());
    plane.send(twice).await.refused(400, "bad_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_repetitions_create_one_key() {
    // Each step of one call yields to the other calls.
    let store = Arc::new(Failing::default());
    let plane = Fixture::over(Arc::clone(&store), Limits::default());
    plane.key("acme", "fn-a", "bob", "his").await;
    let alice = plane
        .control_key("acme", "alice", Right::FunctionAdmin)
        .await;
    store.fault.store(Fault::Slow);
    // Unique names are off, so they cannot prevent duplicates.
    let policy = Policy {
        unique_names: false,
        ..Policy::default()
    };
    let set = plane
        .keyring
        .set_policy(&plane.context(), None, Some(policy))
        .await;
    set.unwrap();
    let plane = Arc::new(plane);
    let body = json!({"name": "laptop"});
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (plane, request) = (Arc::clone(&plane), request(&alice, "one", &body));
            tokio::spawn(async move { plane.send(request).await })
        })
        .collect();
    let mut made = Vec::new();
    for task in tasks {
        made.push(credential(&task.await.unwrap().expect(201)));
    }
    let list = plane.ask(&alice, "GET", KEYS, ()).await.expect(200);
    assert_eq!(list["count"], 1);
    let working = made.iter().filter(|made| works(&plane, made)).count();
    assert_eq!(working, 1);
}

#[tokio::test]
async fn a_creation_whose_answer_got_lost_can_be_repeated() {
    let store = Arc::new(Failing::default());
    let plane = Fixture::over(Arc::clone(&store), Limits::default());
    plane.key("acme", "fn-a", "bob", "his").await;
    let alice = plane
        .control_key("acme", "alice", Right::FunctionAdmin)
        .await;
    let body = json!({"name": "laptop"});
    store.fault.store(Fault::Unknown);
    let lost: Answer = plane.send(request(&alice, "one", &body)).await;
    lost.refused(503, "service_unavailable");
    store.fault.store(Fault::None);
    plane.send(request(&alice, "one", &body)).await.expect(201);
    let keys = KeyQuery::namespace(&tenant("acme", "fn-a"));
    assert_eq!(plane.keyring.list(&keys).await.unwrap().items.len(), 2);
    // Without the header it is a new request, whose name is taken.
    let plain = plane.ask(&alice, "POST", KEYS, body).await;
    let message = plain.refused(409, "conflict");
    assert_eq!(
        message,
        "name: the owner has a key of this name in the namespace"
    );
}

#[tokio::test]
async fn two_processes_create_one_key_without_unique_names() {
    let store = Arc::new(Failing::default());
    let one = Fixture::over(Arc::clone(&store), Limits::default());
    let two = Fixture::over(Arc::clone(&store), Limits::default());
    one.key("acme", "fn-a", "bob", "his").await;
    let alice = one.control_key("acme", "alice", Right::FunctionAdmin).await;
    let policy = Policy {
        unique_names: false,
        ..Policy::default()
    };
    let context = one.context();
    let set = one.keyring.set_policy(&context, None, Some(policy));
    set.await.unwrap();
    two.keyring.sync(two.now()).await.unwrap();
    store.fault.store(Fault::Slow);
    let body = json!({"name": "laptop"});
    let (first, second) = tokio::join!(
        one.send(request(&alice, "one", &body)),
        two.send(request(&alice, "one", &body)),
    );
    let made = [first.expect(201), second.expect(201)];
    assert_eq!(made[0]["access_key"]["id"], made[1]["access_key"]["id"]);
    let list = one.ask(&alice, "GET", KEYS, ()).await.expect(200);
    assert_eq!(list["count"], 1);
    one.keyring.sync(one.now()).await.unwrap();
    let working = made.iter().filter(|made| works(&one, &credential(made)));
    assert_eq!(working.count(), 1);
}

/// Authenticates callers that are neither users nor services, some with a credential.
struct Machines;

impl Authenticate for Machines {
    fn authenticate<'a>(
        &'a self,
        request: &'a axum::http::request::Parts,
        _: keyfob::Timestamp,
    ) -> Authentication<'a> {
        let named = request.headers.get("x-credential");
        let credential = named.and_then(|id| {
            let id = keyfob::legacy::LegacyId::parse(id.as_bytes()).ok()?;
            Some(CredentialId::Legacy(id))
        });
        let actor = Actor {
            owner: None,
            credential,
        };
        let team = tenant("acme", "fn-a").team;
        // A credential of the embedder.
        let caller = Caller::new(actor, team, Rights::new([Right::TeamAdmin]))
            .with_authority(Authority::System);
        Box::pin(std::future::ready(Ok(caller)))
    }
}

#[tokio::test]
async fn unnamed_callers_do_not_get_each_others_keys() {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let router = ControlPlane::new(Arc::clone(&plane.keyring))
        .with_authenticate(Machines)
        .into_router();
    let body = json!({"name": "laptop", "owner": "service:builder"});
    let create = async |credential: Option<&str>| {
        let mut request = request("", "one", &body);
        if let Some(credential) = credential {
            let headers = request.headers_mut();
            headers.insert("x-credential", credential.parse().unwrap());
        }
        Answer::of(&router, request).await
    };
    let (a, b) = (
        "23bc46b1-71f6-4ed5-8c54-816aa4f8c502",
        "23bc46b1-71f6-4ed5-8c54-816aa4f8c503",
    );
    let made = create(Some(a)).await.expect(201);
    let again = create(Some(a)).await.expect(201);
    assert_eq!(made["access_key"]["id"], again["access_key"]["id"]);
    let other = create(Some(b)).await.refused(409, "conflict");
    assert_eq!(
        other,
        "name: the owner has a key of this name in the namespace"
    );
    let nobody = create(None).await.refused(400, "bad_request");
    assert_eq!(
        nobody,
        "Idempotency-Key: not for callers without a name or a credential"
    );
}
