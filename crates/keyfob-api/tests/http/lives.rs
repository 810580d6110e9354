//! The life cycle of keys beyond the published interface.

use std::sync::Arc;

use keyfob::{Access, gateway::UsageDelta, key::CredentialId};
use keyfob_api::{Limits, Right};
use serde_json::{Value, json};

use crate::{
    failing::{Failing, Fault},
    fixture::Fixture,
};

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

async fn plane() -> (Fixture, String) {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    (plane, admin)
}

fn works(plane: &Fixture, credential: &str) -> bool {
    let access = Access::to("fn-a");
    let verdict = plane
        .verifier
        .verify_text(credential.as_bytes(), &access, plane.now());
    verdict.is_ok()
}

fn credential(made: &Value) -> String {
    let key = &made["access_key"];
    format!(
        "{}:{}",
        key["id"].as_str().unwrap(),
        key["secret"].as_str().unwrap()
    )
}

#[tokio::test]
async fn a_key_is_shown_with_all_fields_but_the_secret() {
    let (plane, admin) = plane().await;
    let body = json!({
        "name": "deploy",
        "owner": "service:deploy-bot",
        "scopes": ["function:invoke"],
        "labels": {"environment": "production"},
        "not_before": "2025-12-19T11:00:00Z",
        "expires_at": "2026-01-01T00:00:00+01:00",
    });
    let made = plane.ask(&admin, "POST", KEYS, body).await;
    let tag = made.header("etag").to_owned();
    let made = made.expect(201);
    let id = made["access_key"]["id"].as_str().unwrap();
    let one = format!("{KEYS}/{id}");
    let shown = plane.ask(&admin, "GET", &one, ()).await;
    assert_eq!(shown.header("etag"), tag);
    let mut shown = shown.expect(200)["access_key"].take();
    let control = admin.split_once(':').unwrap().0;
    assert_eq!(shown["revision"].take().to_string(), tag.trim_matches('"'));
    assert_eq!(
        shown,
        json!({
            "id": id,
            "name": "deploy",
            "expires_at": "2025-12-31T23:00:00Z",
            "created_at": "2025-12-19T10:30:00Z",
            "updated_at": "2025-12-19T10:30:00Z",
            "last_used_at": null,
            "namespace": "fn-a",
            "owner": "service:deploy-bot",
            "creator": {"owner": "user:ada", "credential": control},
            "status": "not_yet_valid",
            "scopes": ["function:invoke"],
            "labels": {"environment": "production"},
            "not_before": "2025-12-19T11:00:00Z",
            "secret_issued_at": "2025-12-19T10:30:00Z",
            "previous_secret_until": null,
            "revocation": null,
            "revision": null,
        })
    );
    let key = plane.keyring.format().parse_key_id(id).unwrap();
    plane.pass(3_600);
    let usage = [UsageDelta::accepted(CredentialId::Key(key), plane.now())];
    plane.record_usage(usage.to_vec()).await;
    let revoke = plane
        .ask(
            &admin,
            "POST",
            &format!("{one}/revoke"),
            json!({"reason": "over"}),
        )
        .await;
    let revoked = revoke.expect(200)["access_key"].take();
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(revoked["last_used_at"], "2025-12-19T11:30:00Z");
    assert_eq!(
        revoked["revocation"],
        json!({
            "at": "2025-12-19T11:30:00Z",
            "by": {"owner": "user:ada", "credential": control},
            "cause": "key",
            "reason": "over",
        })
    );
}

/// The published interface knows no revoked keys: its clients would show one as if it worked.
#[tokio::test]
async fn a_list_has_no_revoked_key_unless_it_is_asked_for() {
    let (plane, admin) = plane().await;
    for (name, call) in [("live", ""), ("off", "/disable"), ("dead", "/revoke")] {
        let made = plane.ask(&admin, "POST", KEYS, json!({"name": name})).await;
        let made = made.expect(201);
        let id = made["access_key"]["id"].as_str().unwrap();
        if !call.is_empty() {
            let path = format!("{KEYS}/{id}{call}");
            plane.ask(&admin, "POST", &path, ()).await.expect(200);
        }
    }
    for (query, expected) in [
        ("", "his live off"),
        ("?status=", "his live off"),
        ("?limit=3", "his live off"),
        ("?status=unrevoked", "his live off"),
        ("?status=active", "his live"),
        ("?status=disabled", "off"),
        ("?status=revoked", "dead"),
        ("?status=all", "his live off dead"),
        ("?name=dead", ""),
        ("?name=dead&status=all", "dead"),
    ] {
        let list = plane
            .ask(&admin, "GET", &format!("{KEYS}{query}"), ())
            .await;
        let list = list.expect(200);
        let keys = list["access_keys"].as_array().unwrap();
        let names: Vec<_> = keys
            .iter()
            .map(|key| key["name"].as_str().unwrap())
            .collect();
        assert_eq!(names.join(" "), expected, "{query}");
        assert_eq!(list["count"], keys.len(), "{query}");
        assert_eq!(list["next_cursor"], Value::Null, "{query}");
    }
}

#[tokio::test]
async fn a_list_is_paged_and_filtered() {
    let (plane, admin) = plane().await;
    for n in 0..5 {
        let label = if n % 2 == 0 { "even" } else { "odd" };
        let body = json!({"name": format!("k{n}"), "labels": {"parity": label}});
        plane.ask(&admin, "POST", KEYS, body).await.expect(201);
    }
    let names = |list: &Value| -> Vec<String> {
        let keys = list["access_keys"].as_array().unwrap();
        assert_eq!(list["count"], keys.len());
        keys.iter()
            .map(|key| key["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = plane.ask(&admin, "GET", KEYS, ()).await.expect(200);
    assert_eq!(names(&all), ["his", "k0", "k1", "k2", "k3", "k4"]);
    assert_eq!(all["next_cursor"], Value::Null);
    let mut paged = Vec::new();
    let mut path = format!("{KEYS}?limit=4");
    loop {
        let page = plane.ask(&admin, "GET", &path, ()).await.expect(200);
        paged.extend(names(&page));
        match page["next_cursor"].as_str() {
            Some(next) => path = format!("{KEYS}?limit=4&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, names(&all));
    let id = all["access_keys"][3]["id"].as_str().unwrap();
    plane
        .ask(&admin, "POST", &format!("{KEYS}/{id}/disable"), ())
        .await
        .expect(200);
    for (query, expected) in [
        ("label=parity:even", &["k0", "k2", "k4"][..]),
        ("label=parity:even&status=active", &["k0", "k4"]),
        ("status=disabled", &["k2"]),
        ("status=revoked", &[]),
        ("owner=user:bob", &["his"]),
        ("owner=service:bob", &[]),
        ("name=k3", &["k3"]),
        ("owner=user:ada&limit=1", &["k0"]),
    ] {
        let list = plane
            .ask(&admin, "GET", &format!("{KEYS}?{query}"), ())
            .await
            .expect(200);
        assert_eq!(names(&list), expected, "{query}");
    }
}

#[tokio::test]
async fn a_list_without_parameters_is_complete() {
    let (plane, admin) = plane().await;
    for n in 0..1_050 {
        let owner = ["bob", "carol"][n % 2];
        plane.key("acme", "fn-a", owner, &format!("k{n}")).await;
    }
    let all = plane.ask(&admin, "GET", KEYS, ()).await.expect(200);
    assert_eq!(all["count"], 1_051);
    assert_eq!(all["access_keys"].as_array().unwrap().len(), 1_051);
}

#[tokio::test]
async fn an_update_with_an_outdated_tag_is_refused() {
    let (plane, admin) = plane().await;
    let made = plane
        .ask(
            &admin,
            "POST",
            KEYS,
            json!({"name": "a", "expires_in": "30d"}),
        )
        .await;
    let seen = made.header("etag").to_owned();
    let made = made.expect(201);
    let one = format!("{KEYS}/{}", made["access_key"]["id"].as_str().unwrap());
    let put = async |tag: &str, body: Value| {
        let request = axum::http::Request::put(&one)
            .header("authorization", format!("Bearer {admin}"))
            .header("content-type", "application/json")
            .header("if-match", tag)
            .body(axum::body::Body::from(body.to_string()));
        plane.send(request.unwrap()).await
    };
    let changed = put(
        &seen,
        json!({"name": "b", "labels": {"x": "y"}, "scopes": ["r"]}),
    )
    .await;
    let now = changed.header("etag").to_owned();
    assert_ne!(now, seen);
    let changed = changed.expect(200)["access_key"].take();
    assert_eq!(
        (&changed["name"], &changed["labels"], &changed["scopes"]),
        (&json!("b"), &json!({"x": "y"}), &json!(["r"]))
    );
    for stale in [&seen, "\"0\"", "W/\"1\"", "nonsense"] {
        put(stale, json!({"name": "c"}))
            .await
            .refused(412, "precondition_failed");
    }
    put(&now, json!({"name": "c"})).await.expect(200);
    put("*", json!({"name": "d"})).await.expect(200);
    // An expiry can be moved earlier, but not later.
    let sooner = json!({"expires_at": "2025-12-20T00:00:00Z"});
    put("*", sooner).await.expect(200);
    let later = put("*", json!({"expires_at": "2025-12-20T00:00:01Z"})).await;
    assert!(
        later
            .refused(400, "bad_request")
            .starts_with("expires_at: must not be later than the current expiry")
    );
    let nothing = put("*", json!({})).await.refused(400, "bad_request");
    assert_eq!(nothing, "body: needs name, labels, scopes or expires_at");
    // A rotation with an outdated tag is refused too.
    let request = axum::http::Request::post(format!("{one}/rotate"))
        .header("authorization", format!("Bearer {admin}"))
        .header("if-match", &seen)
        .body(axum::body::Body::empty());
    plane
        .send(request.unwrap())
        .await
        .refused(412, "precondition_failed");
}

#[tokio::test]
async fn disabling_enabling_and_revoking_honour_the_tag() {
    let (plane, admin) = plane().await;
    let made = plane
        .ask(&admin, "POST", KEYS, json!({"name": "a"}))
        .await
        .expect(201);
    let one = format!("{KEYS}/{}", made["access_key"]["id"].as_str().unwrap());
    let send = async |method: &str, call: &str, tag: &str| {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(format!("{one}{call}"))
            .header("authorization", format!("Bearer {admin}"))
            .header("if-match", tag)
            .body(axum::body::Body::empty());
        plane.send(request.unwrap()).await
    };
    for (method, call, status) in [
        ("POST", "/disable", "disabled"),
        ("POST", "/enable", "active"),
        ("POST", "/revoke", "revoked"),
        ("DELETE", "", ""),
    ] {
        let seen = plane.ask(&admin, "GET", &one, ()).await;
        let (seen, before) = (seen.header("etag").to_owned(), seen.expect(200));
        for stale in ["\"0\"", "W/\"1\"", "nonsense", "\"1\", \"2\""] {
            let refused = send(method, call, stale).await;
            refused.refused(412, "precondition_failed");
        }
        let still = plane.ask(&admin, "GET", &one, ()).await.expect(200);
        assert_eq!(still, before);
        let done = send(method, call, &seen).await.expect(200);
        if !status.is_empty() {
            assert_eq!(done["access_key"]["status"], status);
        }
    }
    send("DELETE", "", "*").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_key_is_disabled_enabled_rotated_and_revoked() {
    let (plane, admin) = plane().await;
    let made = plane
        .ask(&admin, "POST", KEYS, json!({"name": "a"}))
        .await
        .expect(201);
    let first = credential(&made);
    let one = format!("{KEYS}/{}", made["access_key"]["id"].as_str().unwrap());
    let call = async |call: &str, body: Value| {
        plane
            .ask(&admin, "POST", &format!("{one}/{call}"), body)
            .await
            .expect(200)
    };
    assert!(works(&plane, &first));
    assert_eq!(
        call("disable", json!(null)).await["access_key"]["status"],
        "disabled"
    );
    assert!(!works(&plane, &first));
    assert_eq!(
        call("enable", json!(null)).await["access_key"]["status"],
        "active"
    );
    assert!(works(&plane, &first));

    let rotated = call("rotate", json!({"grace_seconds": 60, "expires_in": "1h"})).await;
    assert_eq!(
        rotated["access_key"]["previous_secret_until"],
        "2025-12-19T10:31:00Z"
    );
    assert_eq!(rotated["access_key"]["expires_at"], "2025-12-19T11:30:00Z");
    assert_eq!(rotated["access_key"]["id"], made["access_key"]["id"]);
    let second = credential(&rotated);
    assert!(works(&plane, &first) && works(&plane, &second));
    plane.pass(60);
    assert!(!works(&plane, &first) && works(&plane, &second));
    // Without a grace period the old secret is refused at once.
    let third = credential(&call("rotate", json!(null)).await);
    assert!(!works(&plane, &second) && works(&plane, &third));
    let long = plane
        .ask(
            &admin,
            "POST",
            &format!("{one}/rotate"),
            json!({"grace_seconds": 2_592_001}),
        )
        .await;
    assert!(
        long.refused(400, "bad_request")
            .starts_with("grace: longer than")
    );

    assert_eq!(
        call("revoke", json!({"reason": "lost"})).await["access_key"]["status"],
        "revoked"
    );
    assert!(!works(&plane, &third));
    // A second revocation does not replace the first.
    let again = call("revoke", json!({"reason": "found"})).await;
    assert_eq!(again["access_key"]["revocation"]["reason"], "lost");
    let bad = plane
        .ask(
            &admin,
            "POST",
            &format!("{one}/revoke"),
            json!({"reason": ""}),
        )
        .await;
    assert_eq!(bad.refused(400, "bad_request"), "reason is empty");
}

#[tokio::test]
async fn an_expired_key_has_the_status_expired() {
    let (plane, admin) = plane().await;
    let made = plane
        .ask(
            &admin,
            "POST",
            KEYS,
            json!({"name": "a", "expires_in": "1h"}),
        )
        .await;
    let made = made.expect(201);
    let one = format!("{KEYS}/{}", made["access_key"]["id"].as_str().unwrap());
    plane.pass(3_599);
    let shown = plane.ask(&admin, "GET", &one, ()).await.expect(200);
    assert_eq!(shown["access_key"]["status"], "active");
    plane.pass(1);
    let shown = plane.ask(&admin, "GET", &one, ()).await.expect(200);
    assert_eq!(shown["access_key"]["status"], "expired");
    let rotated = plane
        .ask(&admin, "POST", &format!("{one}/rotate"), ())
        .await;
    assert_eq!(rotated.refused(409, "conflict"), "the key is expired");
    // Its name can be used again.
    plane
        .ask(&admin, "POST", KEYS, json!({"name": "a"}))
        .await
        .expect(201);
}

/// The key changes after the request was admitted and before the change is kept.
#[tokio::test]
async fn a_tag_is_a_condition_of_the_commit() {
    let store = Arc::new(Failing::default().shared());
    let plane = Fixture::open(Arc::clone(&store), Limits::default()).await;
    plane.key("acme", "fn-a", "ada", "first").await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    for (method, call, body) in [
        ("DELETE", "", Value::Null),
        ("POST", "/revoke", Value::Null),
        ("POST", "/disable", Value::Null),
        ("POST", "/enable", Value::Null),
        ("POST", "/rotate", Value::Null),
        ("PUT", "", json!({"scopes": ["read"]})),
    ] {
        let name = format!("{method}{call}");
        let (_, info) = plane.key("acme", "fn-a", "ada", &name).await;
        if call == "/enable" {
            let context = plane.context();
            let disabled = plane.keyring.disable(&context, &info.tenant, info.id, None);
            disabled.await.unwrap();
        }
        let one = format!("{KEYS}/{}", plane.keyring.format().key_id(info.id));
        let seen = plane.ask(&admin, "GET", &one, ()).await;
        let (tag, before) = (seen.header("etag").to_owned(), seen.expect(200));
        let request = |tag: Option<&str>| {
            let request = axum::http::Request::builder()
                .method(method)
                .uri(format!("{one}{call}"))
                .header("authorization", format!("Bearer {admin}"));
            let request = match tag {
                Some(tag) => request.header("if-match", tag),
                None => request,
            };
            let text = body.to_string();
            let request = if body.is_null() {
                request.body(axum::body::Body::empty())
            } else {
                let request = request.header("content-type", "application/json");
                request.body(axum::body::Body::from(text))
            };
            request.unwrap()
        };
        store.fault.store(Fault::Overtaken);
        let refused = plane.send(request(Some(&tag))).await;
        refused.refused(412, "precondition_failed");
        let still = plane.ask(&admin, "GET", &one, ()).await.expect(200);
        for field in ["status", "scopes", "issued_at"] {
            assert_eq!(
                still["access_key"][field], before["access_key"][field],
                "{name}"
            );
        }
        // Without a tag it is done to the key as it is; of two rotations, one is refused.
        store.fault.store(Fault::Overtaken);
        let status = plane.send(request(None)).await.status;
        let expected = if call == "/rotate" { 409 } else { 200 };
        assert_eq!(status, expected, "{name}");
        store.fault.store(Fault::None);
    }
}

#[tokio::test]
async fn a_rotation_does_not_restart_the_maximum_ttl() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let policy = "/v2/functions/namespaces/control:acme/policy";
    let body = json!({"max_expires_in": "1h"});
    plane.ask(&admin, "PUT", policy, body).await.expect(200);
    let mut alice = plane
        .control_key("acme", "alice", Right::FunctionAdmin)
        .await;
    let id = alice.split_once(':').unwrap().0.to_owned();
    let rotate = format!("/v2/functions/namespaces/control:acme/keys/{id}/rotate");
    for _ in 0..5 {
        plane.pass(600);
        let rotated = plane
            .ask(&alice, "POST", &rotate, json!({}))
            .await
            .expect(200);
        let secret = rotated["access_key"]["secret"].as_str().unwrap();
        alice = format!("{id}:{secret}");
        let longer = json!({"expires_in": "1h"});
        plane
            .ask(&alice, "POST", &rotate, longer)
            .await
            .refused(403, "forbidden");
    }
    plane.pass(599);
    plane.ask(&alice, "GET", "/v1/caller", ()).await.expect(200);
    plane.pass(1);
    plane
        .ask(&alice, "POST", &rotate, json!({}))
        .await
        .refused(401, "unauthorized");
}

#[tokio::test]
async fn two_people_may_each_have_a_key_of_one_name() {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "alice", "laptop").await;
    let bob = plane.control_key("acme", "bob", Right::FunctionAdmin).await;
    // Bob may not see Alice's keys, and learns nothing of their names.
    let laptop = || json!({"name": "laptop"});
    plane.ask(&bob, "POST", KEYS, laptop()).await.expect(201);
    let taken = plane.ask(&bob, "POST", KEYS, laptop()).await;
    assert_eq!(
        taken.refused(409, "conflict"),
        "name: the owner has a key of this name in the namespace"
    );
    let made = plane
        .ask(&bob, "POST", KEYS, json!({"name": "phone"}))
        .await
        .expect(201);
    let phone = format!("{KEYS}/{}", made["access_key"]["id"].as_str().unwrap());
    plane.key("acme", "fn-a", "alice", "desk").await;
    plane
        .ask(&bob, "PUT", &phone, json!({"name": "desk"}))
        .await
        .expect(200);
}

#[tokio::test]
async fn an_owner_has_no_more_keys_than_the_default_policy_allows() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    for n in 0..keyfob::manage::Policy::KEYS_PER_OWNER {
        plane.key("acme", "fn-a", "bob", &format!("key {n}")).await;
    }
    let another = || json!({"name": "another", "owner": "user:bob"});
    let refused = plane.ask(&admin, "POST", KEYS, another()).await;
    let message = refused.refused(409, "conflict");
    assert!(
        message.contains("revoke one, or raise keys_per_owner"),
        "{message}"
    );
    let theirs = json!({"name": "another", "owner": "user:carol"});
    plane.ask(&admin, "POST", KEYS, theirs).await.expect(201);
    // The policy can raise the limit, and remove it.
    let policy = "/v2/functions/namespaces/fn-a/policy";
    for limit in [json!(1_001), Value::Null] {
        let set = plane
            .ask(&admin, "PUT", policy, json!({"keys_per_owner": limit}))
            .await
            .expect(200);
        assert_eq!(set["policy"]["keys_per_owner"], limit);
        let name = format!("another under {limit}");
        let body = json!({"name": name, "owner": "user:bob"});
        plane.ask(&admin, "POST", KEYS, body).await.expect(201);
    }
    let set = plane
        .ask(&admin, "PUT", policy, json!({}))
        .await
        .expect(200);
    assert_eq!(set["policy"]["keys_per_owner"], 1_000);
}

/// The clock ran ahead and back: an answer says of a key what the verifiers say.
#[tokio::test]
async fn a_key_is_shown_as_the_verifiers_judge_it_when_the_clock_ran_ahead() {
    let plane = Fixture::new();
    let alice = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    plane.key("acme", "fn-a", "alice", "other").await;
    let keys = "/v2/functions/namespaces/fn-a/keys";
    let body = json!({"name": "short", "expires_in": "1h"});
    let made = plane.ask(&alice, "POST", keys, body).await.expect(201);
    let id = made["access_key"]["id"].as_str().unwrap();
    plane.pass(7_200);
    plane.ask(&alice, "GET", "/v1/caller", ()).await.expect(200);
    plane.pass(-7_200);
    let shown = plane.ask(&alice, "GET", &format!("{keys}/{id}"), ()).await;
    assert_eq!(shown.expect(200)["access_key"]["status"], "expired");
    let list = plane.ask(&alice, "GET", keys, ()).await.expect(200);
    assert_eq!(list["access_keys"][1]["status"], "expired");
    let rotated = plane
        .ask(&alice, "POST", &format!("{keys}/{id}/rotate"), json!({}))
        .await;
    rotated.refused(409, "conflict");
}
