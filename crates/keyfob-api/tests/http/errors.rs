//! Every refusal: its status and its message.

use std::{convert::Infallible, future::ready, time::Duration};

use axum::{
    body::Body,
    http::{Request, request::Builder},
};
use futures_util::{StreamExt as _, stream};
use keyfob_api::{Limits, Right};
use serde_json::json;

use crate::fixture::Fixture;

const KEYS: &str = "/v2/functions/namespaces/fn-a/keys";

fn post(token: &str, path: &str) -> Builder {
    Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
}

async fn plane() -> (Fixture, String) {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "alice", "old").await;
    let alice = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    (plane, alice)
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one table")]
async fn an_invalid_body_is_refused_with_its_field_and_never_repeated() {
    let (plane, alice) = plane().await;
    let secret = "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
    for (body, message) in [
        (String::new(), "body: not JSON (line 1, column 0)"),
        (format!("{{{secret}"), "body: not JSON (line 1, column 2)"),
        (
            format!("\"{secret}\""),
            "body: not of the expected type (line 1, column 45)",
        ),
        (
            "[\"a\"]".to_owned(),
            "body: not of the expected type (line 1, column 0)",
        ),
        (
            "{\"name\": \"a\", \"owner\": [\"user\", \"bob\"]}".to_owned(),
            "owner: not of the expected type (line 1, column 23)",
        ),
        ("{}".to_owned(), "name: missing"),
        (
            format!("{{\"name\": [\"{secret}\"]}}"),
            "name: not of the expected type (line 1, column 9)",
        ),
        (
            format!("{{\"{secret}\": 1}}"),
            "body: an unknown field (line 1, column 46), expected one of name, expires_in, expires_at, \
             not_before, owner, scopes, labels",
        ),
        (
            format!("{{\"name\": \"a\", \"name\": \"{secret}\"}}"),
            "name: repeated (line 1, column 20)",
        ),
        (
            format!("{{\"name\": \"a\", \"labels\": {{\"{secret}\": 1}}}}"),
            "labels: not of the expected type (line 1, column 73)",
        ),
        (
            format!("{{\"name\": \"a\", \"owner\": {{\"type\": \"{secret}\", \"id\": \"b\"}}}}"),
            "owner: not of the expected type (line 1, column 23)",
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
            "expires_in must end in h or d, as in 90d (position 42)",
        ),
        // As `doctl` passes them on.
        (
            "{\"name\": \"a\", \"expires_in\": \"+1h\"}".to_owned(),
            "expires_in must start with an integer without sign or space, as in 90d (position 0)",
        ),
        (
            "{\"name\": \"a\", \"expires_in\": \" 2h \"}".to_owned(),
            "expires_in must end in h or d, as in 90d (position 3)",
        ),
        (
            "{\"name\": \"a\", \"expires_in\": \" 2h\"}".to_owned(),
            "expires_in must start with an integer without sign or space, as in 90d (position 0)",
        ),
        (
            "{\"name\": \"a\", \"expires_in\": \"0h\"}".to_owned(),
            "expires_in is shorter than the minimum of 1h",
        ),
        (
            format!("{{\"name\": \"a\", \"expires_at\": \"{secret}\"}}"),
            "expires_at: must be a time in RFC 3339, as in 2025-12-19T10:30:00Z",
        ),
        (
            "{\"name\": \"a\", \"expires_in\": \"1h\", \"expires_at\": \"2026-01-01T00:00:00Z\"}"
                .to_owned(),
            "expires_at: not together with expires_in",
        ),
        (
            "{\"name\": \"a\", \"expires_at\": \"2020-01-01T00:00:00Z\"}".to_owned(),
            "expires_at: the time is in the past",
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
            "scopes: * means every scope, and must be the only one",
        ),
        (
            format!("{{\"name\": \"a\", \"owner\": \"{secret}\"}}"),
            "owner: must be user:NAME or service:NAME",
        ),
        (
            "{\"name\": \"a\", \"owner\": \"user:\"}".to_owned(),
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

/// Its name helps to find a mistyped one; its value is never repeated.
#[tokio::test]
async fn an_unknown_field_is_named() {
    let (plane, alice) = plane().await;
    let secret = "dof_sk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYdXLQI";
    let spaces = "/v2/functions/namespaces";
    let removal = "/v1/teams/acme/members/bob/remove";
    for (path, body, message) in [
        (
            KEYS,
            format!("{{\"name\": \"a\", \"expiration\": \"{secret}\"}}"),
            "expiration: an unknown field (line 1, column 26), expected one of name, expires_in,",
        ),
        (
            KEYS,
            format!("{{\"Name\": \"{secret}\"}}"),
            "Name: an unknown field (line 1, column 7), expected one of name,",
        ),
        (
            spaces,
            "{\"namespace\": {\"label\": \"x\", \"zone\": \"y\"}}".to_owned(),
            "namespace.zone: an unknown field (line 1, column 35), expected one of label,",
        ),
        (
            spaces,
            "{\"namespace\": {\"label\": 1}}".to_owned(),
            "namespace.label: not of the expected type (line 1, column 25)",
        ),
        (
            removal,
            "{\"because\": \"x\"}".to_owned(),
            "because: an unknown field (line 1, column 10), expected reason",
        ),
        // A name that could be more than a name.
        (
            KEYS,
            "{\"`, expected x\": 1}".to_owned(),
            "body: an unknown field (line 1, column 16), expected one of name,",
        ),
        (
            KEYS,
            "{\"a b\": 1}".to_owned(),
            "body: an unknown field (line 1, column 6), expected one of name,",
        ),
        (
            KEYS,
            "{\"\": 1}".to_owned(),
            "body: an unknown field (line 1, column 3), expected one of name,",
        ),
        (
            KEYS,
            format!("{{\"{}\": 1}}", "a".repeat(33)),
            "body: an unknown field (line 1, column 36), expected one of name,",
        ),
    ] {
        let request = post(&alice, path).body(Body::from(body.clone())).unwrap();
        let answer = plane.send(request).await;
        assert!(!answer.text.contains(secret), "{}", answer.text);
        let told = answer.refused(400, "bad_request");
        assert!(told.starts_with(message), "{body}: {told}");
    }
}

/// The caller is told that it was too slow, and not that the server is unavailable.
#[tokio::test]
async fn a_body_that_never_comes_is_a_timeout() {
    let limits = Limits {
        body_timeout: Duration::from_millis(50),
        ..Limits::default()
    };
    let plane = Fixture::with_limits(limits);
    plane.key("acme", "fn-a", "alice", "old").await;
    let alice = plane.control_key("acme", "alice", Right::TeamAdmin).await;
    for (path, part) in [
        (KEYS, ""),
        (KEYS, "{\"name\": "),
        ("/v1/revoke", ""),
        ("/v1/teams/acme/members/bob/remove", ""),
    ] {
        let first = stream::once(ready(Ok::<_, Infallible>(part)));
        let body = Body::from_stream(first.chain(stream::pending()));
        let request = post(&alice, path).body(body).unwrap();
        let answer = plane.send(request).await;
        assert_eq!(answer.header("connection"), "close");
        assert_eq!(
            answer.refused(408, "request_timeout"),
            "the body did not arrive in time; nothing was changed"
        );
    }
    let list = plane.ask(&alice, "GET", KEYS, ()).await.expect(200);
    assert_eq!(list["count"], 1);
}

#[tokio::test]
async fn an_invalid_query_is_refused() {
    let (plane, alice) = plane().await;
    for (query, message) in [
        ("limit=0", "limit: not a number from 1 to 1000"),
        ("limit=1001", "limit: not a number from 1 to 1000"),
        ("limit=x", "limit: not a number from 1 to 1000"),
        (
            "cursor=x",
            "cursor: must be the cursor of an earlier page, as in c1f",
        ),
        ("owner=alice", "owner: must be user:NAME or service:NAME"),
        ("owner=user:", "user is empty"),
        (
            "status=expired",
            "status: must be active, disabled, revoked, unrevoked or all",
        ),
        ("label=x", "label: not NAME:VALUE"),
        (
            "limit=1&limit=2",
            "query: a parameter is malformed or repeated",
        ),
    ] {
        let answer = plane
            .ask(&alice, "GET", &format!("{KEYS}?{query}"), ())
            .await;
        assert_eq!(answer.refused(400, "bad_request"), message, "{query}");
    }
    for (query, message) in [
        (
            "since=yesterday",
            "since: must be a time in RFC 3339, as in 2025-12-19T10:30:00Z",
        ),
        (
            "until=1",
            "until: must be a time in RFC 3339, as in 2025-12-19T10:30:00Z",
        ),
        (
            "key=x",
            "key: not the identifier of a key or of a legacy credential",
        ),
        ("namespace=_", "namespace is a reserved word"),
        (
            "action=created",
            "action: not the name of an action, as in key_created",
        ),
    ] {
        let path = format!("/v1/teams/acme/audit?{query}");
        let answer = plane.ask(&alice, "GET", &path, ()).await;
        assert_eq!(answer.refused(400, "bad_request"), message, "{query}");
    }
    // Unknown parameters are ignored: proxies and clients add them.
    plane
        .ask(&alice, "GET", &format!("{KEYS}?page=1&per_page=20"), ())
        .await
        .expect(200);
}

#[tokio::test]
async fn refusals_by_the_router_have_a_body() {
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
    // A path that is not UTF-8, and one that contains a secret.
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
async fn conflicts_are_refused_with_409() {
    let (plane, alice) = plane().await;
    let made = plane
        .ask(&alice, "POST", KEYS, json!({"name": "old"}))
        .await;
    let taken = "name: the owner has a key of this name in the namespace";
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
    made.refused(404, "not_found");
    let restored = plane
        .ask(&alice, "POST", "/v1/teams/acme/members/bob/restore", ())
        .await;
    assert_eq!(
        restored.refused(409, "conflict"),
        "the owner was not removed"
    );
}

#[tokio::test]
async fn a_request_has_the_same_id_in_header_body_and_log() {
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
