//! The audit trail over HTTP.

use keyfob_api::Right;
use serde_json::{Value, json};

use crate::fixture::Fixture;

fn actions(page: &Value) -> Vec<&str> {
    let events = page["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect()
}

/// Bob's key: created at 10:30, disabled by Ada at 10:31, and enabled by an operator at 10:32.
async fn history() -> (Fixture, String, String, String) {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let (_, info) = plane.key("acme", "fn-a", "bob", "his").await;
    let id = plane.keyring.format().key_id(info.id);
    plane.pass(60);
    let one = format!("/v2/functions/namespaces/fn-a/keys/{id}");
    plane
        .ask(
            &admin,
            "POST",
            &format!("{one}/disable"),
            json!({"reason": "holidays"}),
        )
        .await
        .expect(200);
    plane.pass(60);
    plane
        .ask(&operator, "POST", &format!("{one}/enable"), ())
        .await
        .expect(200);

    (plane, admin, operator, id)
}

#[tokio::test]
async fn audit_events_are_visible_to_those_with_the_right() {
    let (plane, admin, _, id) = history().await;
    let trail = "/v1/teams/acme/audit";
    let all = plane.ask(&admin, "GET", trail, ()).await.expect(200);
    assert_eq!(
        actions(&all),
        ["key_created", "key_created", "key_disabled", "key_enabled"]
    );
    assert!(!all.to_string().contains("rival"));
    let event = &all["events"][2];
    assert_eq!(event["at"], "2025-12-19T10:31:00Z");
    assert_eq!(event["actor"]["owner"], "user:ada");
    assert_eq!(
        event["actor"]["credential"],
        admin.split_once(':').unwrap().0
    );
    assert_eq!(
        (&event["credential"], &event["owner"]),
        (&json!(id), &json!("user:bob"))
    );
    assert_eq!(
        (&event["reason"], &event["namespace"]),
        (&json!("holidays"), &json!("fn-a"))
    );
    assert_eq!(event["hash"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn the_audit_trail_is_paged_and_filtered() {
    let (plane, admin, _, id) = history().await;
    let trail = "/v1/teams/acme/audit";
    for (query, expected) in [
        ("actor=user:ada", &["key_disabled"][..]),
        ("actor=user:olga", &["key_enabled"]),
        ("action=key_disabled", &["key_disabled"]),
        (
            "namespace=fn-a",
            &["key_created", "key_disabled", "key_enabled"],
        ),
        (
            &format!("key={id}&since=2025-12-19T10:31:00Z"),
            &["key_disabled", "key_enabled"],
        ),
        (
            &format!("key={id}&until=2025-12-19T10:32:00Z"),
            &["key_created", "key_disabled"],
        ),
        (
            "since=2025-12-19T10:31:00Z&until=2025-12-19T10:31:01Z",
            &["key_disabled"],
        ),
    ] {
        let page = plane
            .ask(&admin, "GET", &format!("{trail}?{query}"), ())
            .await
            .expect(200);
        assert_eq!(actions(&page), expected, "{query}");
    }
    let first = plane
        .ask(&admin, "GET", &format!("{trail}?limit=3"), ())
        .await
        .expect(200);
    let next = first["next_cursor"].as_str().unwrap();
    let rest = plane
        .ask(&admin, "GET", &format!("{trail}?cursor={next}"), ())
        .await
        .expect(200);
    assert_eq!(
        (actions(&first).len(), actions(&rest)),
        (3, vec!["key_enabled"])
    );
}

#[tokio::test]
async fn the_newest_events_come_first_on_request() {
    let (plane, _, operator, _) = history().await;
    let ask = |query: &str| {
        let path = format!("/v1/audit?{query}");
        let (plane, operator) = (&plane, &operator);
        async move { plane.ask(operator, "GET", &path, ()).await }
    };
    let revisions = |page: &Value| -> Vec<u64> {
        let events = page["events"].as_array().unwrap().iter();
        events
            .map(|event| event["revision"].as_u64().unwrap())
            .collect()
    };
    let first = ask("order=newest_first&limit=4").await.expect(200);
    assert_eq!(revisions(&first), [6, 5, 4, 3]);
    let next = first["next_cursor"].as_str().unwrap();
    let rest = ask(&format!("order=newest_first&cursor={next}"))
        .await
        .expect(200);
    assert_eq!(
        (revisions(&rest), &rest["next_cursor"]),
        (vec![2, 1], &Value::Null)
    );
    let oldest = ask("order=oldest_first&limit=2").await.expect(200);
    assert_eq!(revisions(&oldest), [1, 2]);
    ask("order=sideways").await.expect(400);
}

#[tokio::test]
async fn operators_can_read_and_verify_the_whole_trail() {
    let (plane, _, operator, _) = history().await;
    let whole = plane
        .ask(&operator, "GET", "/v1/audit", ())
        .await
        .expect(200);
    assert_eq!(whole["events"].as_array().unwrap().len(), 6);
    let verified = plane
        .ask(&operator, "GET", "/v1/audit/verification", ())
        .await
        .expect(200);
    assert_eq!(
        verified,
        json!({
            "intact": true,
            "head": format!("6:{}", whole["events"][5]["hash"].as_str().unwrap()),
            "records": 8,
            "fault": null,
            "broken_at": null,
        })
    );
    let ask = |kept: String| {
        let path = format!("/v1/audit/verification?kept={kept}");
        let (plane, operator) = (&plane, &operator);
        async move { plane.ask(operator, "GET", &path, ()).await }
    };
    let kept = format!("2:{}", whole["events"][1]["hash"].as_str().unwrap());
    assert_eq!(ask(kept.clone()).await.expect(200)["intact"], true);
    let other = ask(kept.replacen('2', "3", 1)).await.expect(200);
    assert_eq!(
        (&other["intact"], &other["broken_at"]),
        (&json!(false), &json!(3))
    );
    assert!(
        other["fault"]
            .as_str()
            .unwrap()
            .contains("the hash that was kept")
    );
    let later = ask(kept.replacen('2', "9", 1)).await.expect(200);
    assert_eq!(
        (&later["intact"], &later["broken_at"]),
        (&json!(false), &json!(7))
    );
    ask("soon".to_owned()).await.expect(400);
}
