//! Calls that take the text of a credential.

use std::sync::Arc;

use axum::{body::Body, http::Request};
use keyfob::{
    Access, Context, Keyring, MemoryStore, NewKey, Owner, Scopes,
    manage::{Policy, Rotation},
    name::{KeyName, Scope, UserId},
};
use keyfob_api::{Limits, Right};
use serde_json::{Value, json};

use crate::{
    failing::{Failing, Fault},
    fixture::{Answer, Fixture, tenant},
    legacy::{GUEST, import_guest},
};

fn works(plane: &Fixture, namespace: &str, credential: &str) -> bool {
    let access = Access::to(namespace);
    let verdict = plane
        .verifier
        .verify_text(credential.as_bytes(), &access, plane.now());
    verdict.is_ok()
}

async fn present(plane: &Fixture, path: &str, caller: Option<&str>, token: &str) -> Answer {
    let request = Request::post(path).header("content-type", "application/json");
    let request = match caller {
        Some(caller) => request.header("authorization", format!("Bearer {caller}")),
        None => request,
    };
    let body = json!({"token": token}).to_string();
    plane.send(request.body(Body::from(body)).unwrap()).await
}

#[tokio::test]
async fn only_a_valid_credential_is_described() {
    let plane = Fixture::new();
    let reader = plane.control_key("acme", "gateway", Right::TeamRead).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let member = plane.control_key("acme", "bob", Right::FunctionAdmin).await;
    let owner = Owner::User(UserId::new("alice").unwrap());
    let scopes = ["a", "b"].map(|scope| Scope::new(scope).unwrap());
    let end = plane.now().plus_seconds(3_600);
    let new = NewKey::new(tenant("acme", "fn-a"), owner, KeyName::new("x").unwrap())
        .with_scopes(Scopes::only(scopes).unwrap())
        .with_expiry(keyfob::Expiry::At(end));
    let (key, info) = plane.make(new).await;
    let (rival, _) = plane.key("rival", "fn-r", "rita", "hers").await;
    let introspect = async |caller: &str, token: &str| {
        plane
            .ask(caller, "POST", "/v1/introspect", json!({"token": token}))
            .await
    };
    let told = introspect(&reader, key.expose()).await;
    assert_eq!(told.header("cache-control"), "no-store");
    assert_eq!(
        told.expect(200),
        json!({
            "active": true,
            "scope": "a b",
            "client_id": plane.keyring.format().key_id(info.id),
            "sub": "user:alice",
            "aud": "fn-a",
            "team": "acme",
            "exp": end.as_unix(),
        })
    );
    let hinted = json!({"token": key.expose(), "token_type_hint": "access_token"});
    let told = plane.ask(&reader, "POST", "/v1/introspect", hinted).await;
    assert_eq!(told.expect(200)["active"], true);
    import_guest(&plane).await;
    let told = introspect(&reader, GUEST).await.expect(200);
    assert_eq!(
        told,
        json!({
            "active": true,
            "client_id": GUEST.split_once(':').unwrap().0,
            "aud": "guest",
            "team": "acme",
            "exp": end.as_unix(),
        })
    );
    let inactive = json!({"active": false});
    let cut = &key.expose()[..key.expose().len() - 1];
    for token in [rival.expose(), cut, "", "nonsense"] {
        assert_eq!(introspect(&reader, token).await.expect(200), inactive);
    }
    assert_eq!(
        introspect(&operator, rival.expose()).await.expect(200)["active"],
        true
    );
    plane
        .keyring
        .revoke(&plane.context(), &info.tenant, info.id, None)
        .await
        .unwrap();
    assert_eq!(
        introspect(&reader, key.expose()).await.expect(200),
        inactive
    );
    introspect(&member, key.expose())
        .await
        .refused(403, "forbidden");
    let unknown = present(&plane, "/v1/introspect", None, "x").await;
    unknown.refused(401, "unauthorized");
    let missing = plane.ask(&reader, "POST", "/v1/introspect", json!({"tok": "x"}));
    assert_eq!(missing.await.refused(400, "bad_request"), "token: missing");
}

#[tokio::test]
async fn the_holder_of_a_key_can_revoke_it() {
    let plane = Fixture::new();
    let (key, info) = plane.key("acme", "fn-a", "alice", "hers").await;
    let (other, _) = plane.key("acme", "fn-a", "alice", "other").await;
    let revoke = async |token: &str| {
        let answer = present(&plane, "/v1/revoke", None, token).await;
        answer.expect(200)
    };
    // The response does not describe the revoked key.
    let cut = &key.expose()[..key.expose().len() - 1];
    for token in [cut, "", "nonsense"] {
        assert_eq!(revoke(token).await, json!({}));
    }
    assert!(works(&plane, "fn-a", key.expose()));
    assert_eq!(revoke(key.expose()).await, json!({}));
    assert!(!works(&plane, "fn-a", key.expose()) && works(&plane, "fn-a", other.expose()));
    assert_eq!(revoke(key.expose()).await, json!({}));
    let revoked = plane.keyring.get(&info.tenant, info.id).await.unwrap();
    let keyfob::manage::Status::Revoked(revocation) = revoked.status else {
        panic!("it is revoked");
    };
    let reason = revocation.reason.unwrap();
    assert_eq!(reason.as_str(), "its secret was presented to be revoked");
    // Anybody may have found it: the actor is the key, and not its owner.
    let credential = keyfob::key::CredentialId::Key(info.id);
    let actor = keyfob::Actor::system().with_credential(credential);
    assert_eq!(revocation.by, actor);
    // Also with JSON, and for a disabled key, which could be enabled again.
    let context = plane.context();
    let (off, info) = plane.key("acme", "fn-a", "alice", "off").await;
    plane
        .keyring
        .disable(&context, &info.tenant, info.id, None)
        .await
        .unwrap();
    let request = Request::post("/v1/revoke")
        .header("content-type", "application/json")
        .body(Body::from(json!({"token": off.expose()}).to_string()));
    plane.send(request.unwrap()).await.expect(200);
    assert!(
        plane
            .keyring
            .enable(&context, &info.tenant, info.id, None)
            .await
            .is_err()
    );
    // A shared legacy credential cannot be revoked by one of its holders.
    import_guest(&plane).await;
    assert_eq!(revoke(GUEST).await, json!({}));
    assert!(works(&plane, "guest", GUEST));
}

#[tokio::test]
async fn credentials_just_created_by_another_process_can_be_revoked() {
    let store = Arc::new(MemoryStore::new());
    let plane = Fixture::over(Arc::clone(&store), Limits::default());
    let operator = plane.control_key("ops", "root", Right::Operator).await;
    let elsewhere = Keyring::builder(store, *plane.keyring.format());
    let elsewhere = elsewhere.open(plane.now()).await.unwrap();
    let context = plane.context();
    let make = async |name: &str| {
        let owner = Owner::User(UserId::new("alice").unwrap());
        let name = KeyName::new(name).unwrap();
        let new = NewKey::new(tenant("acme", "fn-a"), owner, name);
        elsewhere.create(&context, new).await.unwrap().into_parts()
    };
    let (ended, reported, rotated) = (
        make("ended").await,
        make("reported").await,
        make("new").await,
    );
    let token = ended.0.expose();
    present(&plane, "/v1/revoke", None, token).await.expect(200);
    let leaks = json!([{"token": reported.0.expose()}]);
    let outcome = plane.ask(&operator, "POST", "/v1/leaks", leaks).await;
    assert_eq!(outcome.expect(200)[0]["label"], "true_positive");
    // A new secret, by a rotation in the other process, of a key that is in the index.
    let rotation = Rotation::new();
    let (_, info) = &rotated;
    let (key, _) = elsewhere
        .rotate(&context, &info.tenant, info.id, rotation, None)
        .await
        .unwrap()
        .into_parts();
    let token = key.expose();
    present(&plane, "/v1/revoke", None, token).await.expect(200);
    for (_, info) in [&ended, &reported, &rotated] {
        let info = elsewhere.get(&info.tenant, info.id).await.unwrap();
        assert!(
            matches!(info.status, keyfob::manage::Status::Revoked(_)),
            "{info:?}"
        );
    }
}

#[tokio::test]
async fn a_key_that_another_process_deleted_is_not_found_once_it_no_longer_works_here() {
    let store = Arc::new(MemoryStore::new());
    let plane = Fixture::over(Arc::clone(&store), Limits::default());
    let operator = plane.control_key("ops", "root", Right::Operator).await;
    let elsewhere = Keyring::builder(store, *plane.keyring.format());
    let elsewhere = elsewhere.open(plane.now()).await.unwrap();
    let context = plane.context();
    let keys = "/v2/functions/namespaces/fn-a/keys";
    for (method, call) in [("DELETE", ""), ("POST", "/revoke"), ("POST", "/disable")] {
        let (key, info) = plane.key("acme", "fn-a", "alice", "hers").await;
        elsewhere
            .delete(&context, &info.tenant, info.id, None)
            .await
            .unwrap();
        assert!(works(&plane, "fn-a", key.expose()));
        let id = plane.keyring.format().key_id(info.id);
        let path = format!("{keys}/{id}{call}");
        plane
            .ask(&operator, method, &path, Value::Null)
            .await
            .refused(404, "not_found");
        assert!(!works(&plane, "fn-a", key.expose()), "{method} {path}");
    }
    let (key, info) = plane.key("acme", "fn-a", "alice", "hers").await;
    elsewhere
        .remove_namespace(&context, &info.tenant)
        .await
        .unwrap();
    assert!(works(&plane, "fn-a", key.expose()));
    let path = "/v2/functions/namespaces/fn-a";
    plane
        .ask(&operator, "DELETE", path, Value::Null)
        .await
        .refused(404, "not_found");
    assert!(!works(&plane, "fn-a", key.expose()));
}

#[tokio::test]
async fn a_revocation_that_cannot_be_confirmed_is_not_acknowledged() {
    let store = Arc::new(Failing::default());
    let plane = Fixture::over(Arc::clone(&store), Limits::default());
    let (key, _) = plane.key("acme", "fn-a", "alice", "hers").await;
    let unknown = key.expose().replace(&key.expose()[7..39], &"0".repeat(32));
    store.fault.store(Fault::Feed);
    let token = &*unknown;
    present(&plane, "/v1/revoke", None, token)
        .await
        .refused(503, "service_unavailable");
    // A text that is not a credential needs no look-up in the store.
    present(&plane, "/v1/revoke", None, "nonsense")
        .await
        .expect(200);
}

#[tokio::test]
async fn attempts_to_revoke_unknown_keys_are_limited() {
    let five = std::num::NonZeroU32::new(5).unwrap();
    let limits = Limits {
        refused: keyfob_api::Quota::new(five, std::time::Duration::from_mins(1)),
        ..Limits::default()
    };
    let plane = Fixture::with_limits(limits);
    let (key, _) = plane.key("acme", "fn-a", "alice", "hers").await;
    for _ in 0..5 {
        present(&plane, "/v1/revoke", None, "x").await.expect(200);
    }
    let refused = present(&plane, "/v1/revoke", None, "x").await;
    refused.refused(429, "too_many_requests");
    let token = key.expose();
    present(&plane, "/v1/revoke", None, token).await.expect(200);
    assert!(!works(&plane, "fn-a", key.expose()));
}

#[tokio::test]
async fn leaked_credentials_are_revoked() {
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let format = plane.keyring.format();
    let (key, info) = plane.key("acme", "fn-a", "alice", "hers").await;
    let (off, off_info) = plane.key("rival", "fn-r", "rita", "off").await;
    let (gone, gone_info) = plane.key("acme", "fn-a", "alice", "gone").await;
    let context: Context = plane.context();
    plane
        .keyring
        .disable(&context, &off_info.tenant, off_info.id, None)
        .await
        .unwrap();
    plane
        .keyring
        .revoke(&context, &gone_info.tenant, gone_info.id, None)
        .await
        .unwrap();
    import_guest(&plane).await;
    let leak =
        |token: &str| json!({"token": token, "type": "keyfob_key", "url": "https://example.org/x"});
    let twisted = key.expose().replace("_sk_", "_sk_x");
    let report = json!([
        leak(key.expose()),
        leak(off.expose()),
        leak(gone.expose()),
        leak(GUEST),
        leak(&twisted),
        leak("nonsense"),
        {"token": key.expose()},
    ]);
    let outcome = plane
        .ask(&operator, "POST", "/v1/leaks", report)
        .await
        .expect(200);
    let told = |label: &str, id: Option<String>, recorded: bool, url: bool| {
        let revoked = id.is_some();
        json!({
            "label": label, "credential": id, "revoked": revoked, "recorded": recorded,
            "secret_replaced": false, "url_recorded": url,
        })
    };
    let found = |id: String, recorded: bool| told("true_positive", Some(id), recorded, recorded);
    let nothing = told("false_positive", None, false, false);
    assert_eq!(
        outcome,
        json!([
            found(format.key_id(info.id), true),
            found(format.key_id(off_info.id), true),
            // It was revoked before.
            found(format.key_id(gone_info.id), false),
            found(GUEST.split_once(':').unwrap().0.to_owned(), true),
            nothing,
            nothing,
            found(format.key_id(info.id), false),
        ])
    );
    for (namespace, credential) in [("fn-a", key.expose()), ("guest", GUEST)] {
        assert!(!works(&plane, namespace, credential));
    }
    assert!(
        plane
            .keyring
            .enable(&context, &off_info.tenant, off_info.id, None)
            .await
            .is_err()
    );
    let trail = plane
        .ask(
            &operator,
            "GET",
            &format!("/v1/audit?key={}", format.key_id(info.id)),
            (),
        )
        .await;
    let last = trail.expect(200)["events"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone();
    assert_eq!(
        (&last["action"], &last["reason"]),
        (
            &json!("key_revoked"),
            &json!("found in the open: https://example.org/x")
        )
    );
    assert_eq!(last["actor"]["owner"], "user:olga");
    let many: Vec<Value> = (0..257).map(|_| leak("x")).collect();
    let refused = plane.ask(&operator, "POST", "/v1/leaks", json!(many)).await;
    assert_eq!(
        refused.refused(400, "bad_request"),
        "body: more than 256 leaks"
    );
}

#[tokio::test]
async fn a_key_that_a_policy_expired_is_revoked_when_it_leaks() {
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let set_policy = async |hours| {
        let ttl = keyfob::Ttl::hours(hours).unwrap();
        let policy = Policy::default().with_max_ttl(ttl);
        let context = plane.context();
        plane
            .keyring
            .set_policy(&context, Some(&tenant("acme", "fn-a")), Some(policy))
            .await
            .unwrap();
    };
    let home = tenant("acme", "fn-a");
    let context = plane.context();
    let created = plane.keyring.create_namespace(&context, home);
    created.await.unwrap();
    for (path, name) in [("/v1/leaks", "leaked"), ("/v1/revoke", "revoked")] {
        set_policy(24).await;
        let (key, _) = plane.key("acme", "fn-a", "alice", name).await;
        set_policy(1).await;
        plane.pass(2 * 3_600);
        assert!(!works(&plane, "fn-a", key.expose()), "{path}");
        let body = match path {
            "/v1/leaks" => json!([{"token": key.expose()}]),
            _ => json!({"token": key.expose()}),
        };
        plane.ask(&operator, "POST", path, body).await.expect(200);
        set_policy(24).await;
        assert!(!works(&plane, "fn-a", key.expose()), "{path}");
    }
}

#[tokio::test]
async fn a_replaced_secret_that_a_policy_ended_is_revoked_when_it_leaks() {
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let (old, info) = plane.key("acme", "fn-a", "alice", "laptop").await;
    let set_policy = async |hours| {
        let ttl = keyfob::Ttl::hours(hours).unwrap();
        let policy = Policy::default().with_max_ttl(ttl);
        let home = Some(&info.tenant);
        let context = plane.context();
        let set = plane.keyring.set_policy(&context, home, Some(policy));
        set.await.unwrap();
    };
    plane.pass(3_600);
    let grace = std::time::Duration::from_hours(24);
    let rotation = Rotation::new().with_grace(grace);
    let rotated = plane
        .keyring
        .rotate(&plane.context(), &info.tenant, info.id, rotation, None)
        .await;
    let new = rotated.unwrap().secret;
    set_policy(1).await;
    assert!(!works(&plane, "fn-a", old.expose()) && works(&plane, "fn-a", new.expose()));
    let leak = |text: &str| json!([{"token": text}]);
    plane
        .ask(&operator, "POST", "/v1/leaks", leak(old.expose()))
        .await
        .expect(200);
    set_policy(48).await;
    assert!(!works(&plane, "fn-a", old.expose()));

    // After the grace period, it can never work again, and the new secret goes on.
    let (old, info) = plane.key("acme", "fn-a", "alice", "desk").await;
    let rotation = Rotation::new().with_grace(std::time::Duration::from_hours(1));
    let rotated = plane
        .keyring
        .rotate(&plane.context(), &info.tenant, info.id, rotation, None)
        .await;
    let new = rotated.unwrap().secret;
    plane.pass(2 * 3_600);
    let answer = plane
        .ask(&operator, "POST", "/v1/leaks", leak(old.expose()))
        .await
        .expect(200);
    assert!(works(&plane, "fn-a", new.expose()));
    let told = |outcome: &Value| {
        ["revoked", "recorded", "secret_replaced"].map(|field| outcome[field].as_bool().unwrap())
    };
    assert_eq!(told(&answer[0]), [false, false, true]);
    assert_eq!(answer[0]["label"], "true_positive");
    let answer = plane
        .ask(&operator, "POST", "/v1/leaks", leak(new.expose()))
        .await
        .expect(200);
    assert_eq!(told(&answer[0]), [true, true, false]);
}

#[tokio::test]
async fn a_secret_in_the_location_of_a_leak_is_not_recorded() {
    fn encoded(text: &str) -> String {
        let characters = text.bytes().map(|byte| format!("%{byte:02x}"));
        characters.collect::<Vec<_>>().concat()
    }
    fn secret(text: &str) -> &str {
        text.split_once(':').unwrap().1
    }
    let ways: [fn(&str) -> String; 6] = [
        str::to_owned,
        |text| text.replace(':', "%3A"),
        |text| encoded(&encoded(text)),
        |text| encoded(secret(text)),
        |text| secret(text).to_owned(),
        |text| (0..20).fold(encoded(text), |text, _| text.replace('%', "%25")),
    ];
    let plane = Fixture::new();
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    import_guest(&plane).await;
    let (other, _) = plane.key("acme", "fn-a", "alice", "other").await;
    let mut reports = vec![json!({"token": GUEST, "url": encoded(GUEST)})];
    for (n, way) in ways.iter().enumerate() {
        let (key, _) = plane.key("acme", "fn-a", "alice", &format!("{n}")).await;
        let url = format!("https://example.org/?{}", way(key.expose()));
        reports.push(json!({"token": key.expose(), "url": url}));
    }
    // The secret of another key than the reported one.
    let (key, _) = plane.key("acme", "fn-a", "alice", "next").await;
    reports.push(json!({"token": key.expose(), "url": encoded(other.expose())}));
    let count = reports.len();
    let outcome = plane
        .ask(&operator, "POST", "/v1/leaks", json!(reports))
        .await
        .expect(200);
    for outcome in outcome.as_array().unwrap() {
        assert_eq!(outcome["label"], "true_positive");
    }
    let trail = plane
        .ask(&operator, "GET", "/v1/audit", ())
        .await
        .expect(200);
    let events = trail["events"].as_array().unwrap().iter();
    let reasons: Vec<_> = events
        .filter_map(|event| event["reason"].as_str())
        .filter(|reason| reason.starts_with("found"))
        .collect();
    assert!(reasons.iter().all(|reason| *reason == "found in the open"));
    assert_eq!(reasons.len(), count);
}

#[tokio::test]
async fn whoever_reports_a_leak_is_named_in_their_own_team_only() {
    let plane = Fixture::new();
    let member = plane.control_key("acme", "bob", Right::FunctionRead).await;
    let admin = plane.control_key("acme", "carol", Right::TeamAdmin).await;
    let report = async |caller: &str, tokens: &[&str]| {
        let leaks = tokens.iter().map(|token| json!({"token": token}));
        let leaks = json!(leaks.collect::<Vec<_>>());
        plane.ask(caller, "POST", "/v1/leaks", leaks).await
    };
    let by = async |info: &keyfob::KeyInfo| {
        let info = plane.keyring.get(&info.tenant, info.id).await.unwrap();
        match info.status {
            keyfob::manage::Status::Revoked(revocation) => revocation.by,
            status => panic!("{status:?}"),
        }
    };
    let (key, info) = plane.key("acme", "fn-a", "alice", "hers").await;
    report(&member, &[key.expose()]).await.expect(200);
    let bob = by(&info).await;
    assert_eq!(
        bob.owner.map(|owner| owner.to_string()).as_deref(),
        Some("user:bob")
    );
    // In another team, the name would be that of somebody else.
    let (key, info) = plane.key("rival", "fn-r", "rita", "hers").await;
    report(&member, &[key.expose()]).await.expect(200);
    assert_eq!(by(&info).await.owner, None);
    // What others share is for administrators of its team.
    import_guest(&plane).await;
    let told = report(&member, &[GUEST]).await.expect(200);
    assert_eq!(
        (&told[0]["label"], &told[0]["revoked"]),
        (&json!("true_positive"), &json!(false))
    );
    assert!(works(&plane, "guest", GUEST));
    let stranger = plane.control_key("rival", "rita", Right::TeamAdmin).await;
    assert_eq!(
        report(&stranger, &[GUEST]).await.expect(200)[0]["revoked"],
        false
    );
    assert!(works(&plane, "guest", GUEST));
    assert_eq!(
        report(&admin, &[GUEST]).await.expect(200)[0]["revoked"],
        true
    );
    assert!(!works(&plane, "guest", GUEST));
    // Guesses by the hundred are not.
    report(&admin, &["x", "y"]).await.refused(403, "forbidden");
}
