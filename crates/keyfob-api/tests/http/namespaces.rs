//! Namespaces.

use axum::{body::Body, http::Request};
use keyfob_api::Right;
use serde_json::{Value, json};

use crate::fixture::Fixture;

async fn plane() -> (Fixture, String) {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    (plane, admin)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "the life of a namespace")]
async fn namespaces_exist_before_their_first_key() {
    let (plane, admin) = plane().await;
    let spaces = "/v2/functions/namespaces";
    let body = json!({"label": "orders", "region": "blr1"});
    let made = plane.ask(&admin, "POST", spaces, body).await.expect(200);
    let made = &made["namespace"];
    let name = made["namespace"].as_str().unwrap();
    assert!(name.len() == 39 && name.starts_with("fn-"), "{name}");
    assert_eq!(&name[17..18], "4");
    assert_eq!(
        *made,
        json!({
            "namespace": name,
            "label": "orders",
            "region": "blr1",
            "api_host": "https://blr1.faas.example",
            "created_at": "2025-12-19T10:30:00Z",
            "updated_at": "2025-12-19T10:30:00Z",
            "team": "acme",
        })
    );
    let one = format!("{spaces}/{name}");
    plane
        .ask(&admin, "POST", &format!("{one}/keys"), json!({"name": "a"}))
        .await
        .expect(201);
    let listed = plane.ask(&admin, "GET", spaces, ()).await.expect(200);
    let names = |list: &Value| -> Vec<String> {
        let list = list["namespaces"].as_array().unwrap();
        list.iter()
            .map(|one| one["namespace"].as_str().unwrap().to_owned())
            .collect()
    };
    // Without the control namespace.
    assert_eq!(names(&listed), ["fn-a", name]);
    plane
        .ask(
            &admin,
            "POST",
            &format!("{spaces}/fn-x/keys"),
            json!({"name": "a"}),
        )
        .await
        .refused(404, "not_found");
    let elsewhere = json!({"label": "orders", "region": "nowhere"});
    let refused = plane
        .ask(&admin, "POST", spaces, elsewhere)
        .await
        .refused(400, "bad_request");
    assert_eq!(refused, "region: must be one of blr1, nyc1");
    let nameless = json!({"label": "", "region": "blr1"});
    plane
        .ask(&admin, "POST", spaces, nameless)
        .await
        .refused(400, "bad_request");

    // After the removal it is unknown to its users, and its keys are revoked.
    plane.ask(&admin, "DELETE", &one, ()).await.expect(204);
    plane
        .ask(&admin, "DELETE", &one, ())
        .await
        .refused(404, "not_found");
    plane
        .ask(&admin, "GET", &one, ())
        .await
        .refused(404, "not_found");
    assert_eq!(
        names(&plane.ask(&admin, "GET", spaces, ()).await.expect(200)),
        ["fn-a"]
    );
    // So is all that is below it.
    let key = "dof_v1_00000000000000000000000000000000";
    for (method, below) in [
        ("GET", "/keys".to_owned()),
        ("POST", "/keys".to_owned()),
        ("GET", format!("/keys/{key}")),
        ("PUT", format!("/keys/{key}")),
        ("DELETE", format!("/keys/{key}")),
        ("POST", format!("/keys/{key}/rotate")),
        ("POST", format!("/keys/{key}/disable")),
        ("POST", format!("/keys/{key}/enable")),
        ("POST", format!("/keys/{key}/revoke")),
        ("GET", "/policy".to_owned()),
        ("PUT", "/policy".to_owned()),
        ("DELETE", "/policy".to_owned()),
        ("GET", "/legacy-policy".to_owned()),
        ("PUT", "/legacy-policy".to_owned()),
        ("DELETE", "/legacy-policy".to_owned()),
        ("POST", "/legacy-policy/cut-off".to_owned()),
        (
            "POST",
            "/legacy/23bc46b1-71f6-4ed5-8c54-816aa4f8c502/revoke".to_owned(),
        ),
    ] {
        let body = match (method, below.as_str()) {
            ("POST", "/keys") | ("PUT", _) if !below.ends_with("policy") => json!({"name": "b"}),
            ("PUT", "/legacy-policy") => json!({"sunset": null}),
            ("PUT", _) => json!({}),
            _ => Value::Null,
        };
        let answer = plane
            .ask(&admin, method, &format!("{one}{below}"), body)
            .await;
        answer.refused(404, "not_found");
    }
    let revocations = "/v1/teams/acme/revocations";
    let all = json!({"of": "namespace", "id": name});
    plane
        .ask(&admin, "POST", revocations, all)
        .await
        .refused(404, "not_found");
    plane
        .ask(&admin, "POST", &format!("{one}/restore"), ())
        .await
        .expect(200);
    let keys = plane
        .ask(&admin, "GET", &format!("{one}/keys?status=all"), ())
        .await
        .expect(200);
    assert_eq!(keys["access_keys"][0]["revocation"]["cause"], "namespace");
    plane.ask(&admin, "GET", &one, ()).await.expect(200);
    // The control namespace cannot be removed.
    for call in ["remove", "restore"] {
        let path = format!("{spaces}/control:acme/{call}");
        plane
            .ask(&admin, "POST", &path, ())
            .await
            .refused(404, "not_found");
    }
    // Operators can list and use the namespaces of every team.
    let operator = plane.control_key("ops", "olga", Right::Operator).await;
    plane.key("rival", "fn-r", "rita", "hers").await;
    let all = plane.ask(&operator, "GET", spaces, ()).await.expect(200);
    assert_eq!(names(&all), ["fn-a", name, "fn-r"]);
    let one = plane
        .ask(&operator, "GET", &format!("{spaces}?team=rival"), ())
        .await
        .expect(200);
    assert_eq!(names(&one), ["fn-r"]);
}

/// `doctl` and `godo` wrap the fields and capitalise one; the published document does neither.
#[tokio::test]
async fn a_namespace_is_created_with_the_bodies_of_all_clients() {
    let (plane, admin) = plane().await;
    let spaces = "/v2/functions/namespaces";
    for body in [
        json!({"namespace": {"label": "x", "Region": "nyc1"}}),
        json!({"namespace": {"label": "x", "region": "nyc1"}}),
        json!({"label": "x", "Region": "nyc1"}),
        json!({"label": "x", "region": "nyc1"}),
        json!({"label": "x", "region": "nyc1", "namespace": null}),
    ] {
        let made = plane.ask(&admin, "POST", spaces, body.clone()).await;
        let made = &made.expect(200)["namespace"];
        assert_eq!(made["label"], "x", "{body}");
        assert_eq!(made["region"], "nyc1", "{body}");
        assert_eq!(made["api_host"], "https://nyc1.faas.example", "{body}");
        let name = made["namespace"].as_str().unwrap();
        let one = format!("{spaces}/{name}");
        let shown = plane.ask(&admin, "GET", &one, ()).await.expect(200);
        assert_eq!(shown["namespace"], *made);
        // `doctl --namespace x` looks for the label in the list.
        let list = plane.ask(&admin, "GET", spaces, ()).await.expect(200);
        let list = list["namespaces"].as_array().unwrap();
        assert!(list.contains(made), "{body}");
    }
    // Without a region: the first one.
    let made = plane
        .ask(&admin, "POST", spaces, json!({"label": "x"}))
        .await
        .expect(200);
    assert_eq!(made["namespace"]["region"], "blr1");
    let listed = || async {
        let list = plane.ask(&admin, "GET", spaces, ()).await.expect(200);
        list["namespaces"].as_array().unwrap().len()
    };
    let before = listed().await;
    for (body, message) in [
        (json!({}), "label: missing"),
        (json!({"namespace": {}}), "label: missing"),
        (json!({"namespace": {"Region": "nyc1"}}), "label: missing"),
        (json!({"label": "", "region": "nyc1"}), "label is empty"),
        (
            json!({"label": "x".repeat(101), "region": "nyc1"}),
            "label is longer than 100 characters",
        ),
        (
            json!({"label": "x", "region": "NYC1"}),
            "region: must be one of blr1, nyc1",
        ),
        (
            json!({"label": "x", "namespace": {"label": "y"}}),
            "namespace: not together with label, region or team",
        ),
        (
            json!({"region": "nyc1", "namespace": {"label": "y"}}),
            "namespace: not together with label, region or team",
        ),
    ] {
        let answer = plane.ask(&admin, "POST", spaces, body.clone()).await;
        assert_eq!(answer.refused(400, "bad_request"), message, "{body}");
    }
    for text in [
        r#"{"label": "x", "region": "nyc1", "Region": "blr1"}"#,
        r#"{"namespace": ["x", "nyc1"]}"#,
        r#"{"namespace": {"label": "x", "namespace": {"label": "y"}}}"#,
    ] {
        let request = Request::post(spaces)
            .header("authorization", format!("Bearer {admin}"))
            .header("content-type", "application/json")
            .body(Body::from(text));
        let answer = plane.send(request.unwrap()).await;
        answer.refused(400, "bad_request");
    }
    assert_eq!(listed().await, before);
}

/// A namespace that was not created by a call has no label of its own.
#[tokio::test]
async fn the_label_of_a_namespace_without_one_is_its_name() {
    let (plane, admin) = plane().await;
    let path = "/v2/functions/namespaces/fn-a";
    let shown = plane.ask(&admin, "GET", path, ()).await.expect(200);
    assert_eq!(shown["namespace"]["label"], "fn-a");
    assert_eq!(shown["namespace"]["region"], "blr1");
}
