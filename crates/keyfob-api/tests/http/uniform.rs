//! Responses that must be indistinguishable.

use axum::{body::Body, http::Request};
use keyfob_api::{Right, Rights};
use serde_json::json;

use crate::fixture::{Answer, Fixture};

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

/// Returns the visible parts of a response, without those that always differ.
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
async fn another_teams_resource_looks_like_an_unknown_one() {
    for right in [
        Right::FunctionRead,
        Right::FunctionAdmin,
        Right::TeamRead,
        Right::TeamAdmin,
    ] {
        let plane = Fixture::new();
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
            // A key of another namespace, addressed in the caller's namespace.
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
async fn a_401_does_not_reveal_the_reason() {
    let plane = Fixture::new();
    let alice = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    let context = plane.context();
    let control = crate::fixture::tenant("acme", "control:acme");
    let mut refused = Vec::new();
    for (at, what) in ["revoked", "disabled", "deleted"].into_iter().enumerate() {
        let (key, info) = plane.key("acme", "control:acme", "eve", what).await;
        match at {
            0 => drop(
                plane
                    .keyring
                    .revoke(&context, &control, info.id, None)
                    .await
                    .unwrap(),
            ),
            1 => drop(
                plane
                    .keyring
                    .disable(&context, &control, info.id, None)
                    .await
                    .unwrap(),
            ),
            _ => plane
                .keyring
                .delete(&context, &control, info.id, None)
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
        // For existing and for unknown resources.
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
    // Two fields, of which one is valid.
    let request = Request::get(KEYS)
        .header("authorization", format!("Bearer {alice}"))
        .header("authorization", format!("Bearer {alice}"));
    seen.push(outside(
        &plane.send(request.body(Body::empty()).unwrap()).await,
    ));
    // A credential in the URL.
    let request = Request::get(format!("{KEYS}?access_token={alice}&token={alice}"));
    seen.push(outside(
        &plane.send(request.body(Body::empty()).unwrap()).await,
    ));
    assert_eq!(seen[0].0, 401);
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}
