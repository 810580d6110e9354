//! The life cycle of a key in the published interface.

use keyfob_api::Right;
use serde_json::json;

use crate::fixture::Fixture;

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

#[tokio::test]
async fn the_published_calls_create_show_update_and_delete_a_key() {
    let plane = Fixture::new();
    let alice = plane
        .control_key("acme", "alice", Right::FunctionAdmin)
        .await;
    plane.key("acme", "fn-a", "bob", "his").await;

    let made = plane
        .ask(
            &alice,
            "POST",
            KEYS,
            json!({"name": "laptop", "expires_in": "90d"}),
        )
        .await;
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.expect(201);
    let key = &made["access_key"];
    assert_eq!(key["name"], "laptop");
    assert_eq!(key["created_at"], "2025-12-19T10:30:00Z");
    assert_eq!(key["expires_at"], "2026-03-19T10:30:00Z");
    let id = key["id"].as_str().unwrap();
    let secret = key["secret"].as_str().unwrap();
    assert!(id.starts_with("dof_v1_") && !secret.contains(':'));

    let list = plane.ask(&alice, "GET", KEYS, ()).await.expect(200);
    assert_eq!(
        (
            &list["count"],
            list["access_keys"].as_array().unwrap().len()
        ),
        (&json!(1), 1)
    );
    assert_eq!(list["access_keys"][0]["id"], id);
    assert!(!list.to_string().contains("secret\""));

    let one = format!("{KEYS}/{id}");
    let renamed = plane
        .ask(&alice, "PUT", &one, json!({"name": "desktop"}))
        .await
        .expect(200);
    assert_eq!(renamed["access_key"]["name"], "desktop");
    assert_eq!(renamed["access_key"].get("secret"), None);

    assert_eq!(
        plane.ask(&alice, "DELETE", &one, ()).await.expect(200),
        json!({})
    );
    plane
        .ask(&alice, "DELETE", &one, ())
        .await
        .refused(404, "not_found");
}
