//! Policies over HTTP.

use keyfob_api::Right;
use serde_json::json;

use crate::fixture::Fixture;

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

async fn plane() -> (Fixture, String) {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    (plane, admin)
}

#[tokio::test]
async fn a_policy_limits_new_and_existing_keys() {
    let (plane, admin) = plane().await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    let policy = "/v2/functions/namespaces/fn-a/policy";
    let built_in = plane.ask(&admin, "GET", policy, ()).await.expect(200);
    assert_eq!(
        built_in["policy"],
        json!({
            "min_expires_in": "1h",
            "max_expires_in": null,
            "expiry_required": false,
            "keys_per_owner": 1000,
            "unique_names": true,
            "max_grace_seconds": 2_592_000,
        })
    );
    let default = json!({"max_expires_in": "90d", "expiry_required": true});
    plane
        .ask(&operator, "PUT", "/v1/policy", default)
        .await
        .expect(200);
    let shown = plane
        .ask(&operator, "GET", "/v1/policy", ())
        .await
        .expect(200);
    assert_eq!(shown["policy"]["max_expires_in"], "90d");
    // What would apply to a namespace without a policy of its own.
    let own = json!({"max_expires_in": "120d", "expiry_required": true});
    plane.ask(&admin, "PUT", policy, own).await.expect(200);
    for (of, longest) in [("", "120d"), ("?of=default", "90d")] {
        let path = format!("{policy}{of}");
        let shown = plane.ask(&admin, "GET", &path, ()).await.expect(200);
        assert_eq!(shown["policy"]["max_expires_in"], longest);
    }
    let unknown = plane
        .ask(&admin, "GET", &format!("{policy}?of=mine"), ())
        .await;
    assert_eq!(unknown.refused(400, "bad_request"), "of: must be default");
    plane.ask(&admin, "DELETE", policy, ()).await.expect(200);
    let endless = plane.ask(&admin, "POST", KEYS, json!({"name": "a"})).await;
    assert_eq!(
        endless.refused(400, "bad_request"),
        "expires_in: the policy requires an expiry"
    );
    let long = plane
        .ask(
            &admin,
            "POST",
            KEYS,
            json!({"name": "a", "expires_in": "91d"}),
        )
        .await;
    assert!(
        long.refused(400, "bad_request")
            .starts_with("expires_in: longer than")
    );

    let own = json!({"keys_per_owner": 1, "max_expires_in": "24h"});
    let set = plane.ask(&admin, "PUT", policy, own).await.expect(200);
    assert_eq!(
        (
            &set["policy"]["max_expires_in"],
            &set["policy"]["expiry_required"]
        ),
        (&json!("1d"), &json!(false))
    );
    let made = plane
        .ask(&admin, "POST", KEYS, json!({"name": "a"}))
        .await
        .expect(201);
    // It applies to existing keys too, and the response says so.
    assert_eq!(made["access_key"]["expires_at"], "2025-12-20T10:30:00Z");
    let more = plane.ask(&admin, "POST", KEYS, json!({"name": "b"})).await;
    assert!(more.refused(409, "conflict").contains("as many keys"));

    plane.ask(&admin, "DELETE", policy, ()).await.expect(200);
    let back = plane.ask(&admin, "GET", policy, ()).await.expect(200);
    assert_eq!(back["policy"]["max_expires_in"], "90d");
    plane
        .ask(&operator, "DELETE", "/v1/policy", ())
        .await
        .expect(200);
    let back = plane.ask(&admin, "GET", policy, ()).await.expect(200);
    assert_eq!(back["policy"], built_in["policy"]);
    for (bad, message) in [
        (
            json!({"min_expires_in": "2h", "max_expires_in": "1h"}),
            "max_expires_in: shorter than min_expires_in",
        ),
        (
            json!({"max_expires_in": "1m"}),
            "max_expires_in: not a whole number of hours or days, 1h or more",
        ),
        (
            json!({"max_grace_seconds": 315_360_001}),
            "max_grace_seconds: longer than ten years",
        ),
        (
            json!({"keys_per_owner": -1}),
            "keys_per_owner: not of the expected type (line 1, column 20)",
        ),
    ] {
        let answer = plane.ask(&admin, "PUT", policy, bad).await;
        assert_eq!(answer.refused(400, "bad_request"), message);
    }
}
