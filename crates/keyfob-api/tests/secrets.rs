//! A secret is in one response and nowhere else.
//!
//! A separate test program, because the log subscriber is global.

#[path = "http/fixture.rs"]
#[expect(dead_code, reason = "this test uses only a part of it")]
mod fixture;

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{body::Body, http::Request};
use keyfob_api::Right;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use fixture::Fixture;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Returns the random part of a secret.
fn characters(secret: &str) -> String {
    secret.rsplit("_sk_").next().unwrap().to_owned()
}

/// Calls whose request contains a secret, in the right or in a wrong place.
fn calls(keys: &str, credential: &str) -> Vec<(&'static str, String, Value)> {
    let id = credential.split(':').next().unwrap();
    let one = format!("{keys}/{id}");
    let place = format!("https://example.org/{credential}");
    vec![
        ("GET", keys.to_owned(), Value::Null),
        ("GET", one.clone(), Value::Null),
        ("PUT", one.clone(), json!({"name": "desktop"})),
        ("POST", format!("{one}/disable"), json!({"reason": "lost"})),
        ("POST", format!("{one}/enable"), Value::Null),
        (
            "GET",
            "/v1/teams/acme/members/olga/keys".to_owned(),
            Value::Null,
        ),
        ("GET", "/v1/caller".to_owned(), Value::Null),
        (
            "GET",
            format!("{keys}/{}", credential.replace(':', "%3A")),
            Value::Null,
        ),
        (
            "GET",
            format!("{keys}?cursor={credential}&name={credential}"),
            Value::Null,
        ),
        ("POST", keys.to_owned(), json!({"nom": credential})),
        ("POST", keys.to_owned(), json!({"name": ["x", credential]})),
        (
            "POST",
            keys.to_owned(),
            json!({"name": "x", "expires_in": credential}),
        ),
        (
            "POST",
            "/v1/introspect".to_owned(),
            json!({"token": credential}),
        ),
        (
            "POST",
            "/v1/introspect".to_owned(),
            json!({"tok": credential}),
        ),
        (
            "POST",
            "/v1/leaks".to_owned(),
            json!([{"token": credential, "url": place}]),
        ),
        ("POST", "/v1/leaks".to_owned(), json!([credential])),
        ("DELETE", one, Value::Null),
        // The audit trail of the key.
        ("GET", "/v1/audit".to_owned(), Value::Null),
    ]
}

#[tokio::test]
async fn a_secret_is_in_one_response_and_in_no_line_of_the_log() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let operator = plane.control_key("acme", "olga", Right::Operator).await;
    let keys = "/v2/functions/namespaces/fn-a/keys";
    let mut secrets = vec![characters(&operator)];
    let mut answers = Vec::new();

    let made = plane
        .ask(&operator, "POST", keys, json!({"name": "laptop"}))
        .await;
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.expect(201);
    secrets.push(characters(made["access_key"]["secret"].as_str().unwrap()));
    let id = made["access_key"]["id"].as_str().unwrap().to_owned();
    let credential = format!("{id}:{}", made["access_key"]["secret"].as_str().unwrap());
    let rotate = format!("{keys}/{id}/rotate");
    let rotated = plane
        .ask(&operator, "POST", &rotate, json!({"grace_seconds": 60}))
        .await;
    assert_eq!(rotated.header("cache-control"), "no-store");
    let rotated = rotated.expect(200);
    secrets.push(characters(
        rotated["access_key"]["secret"].as_str().unwrap(),
    ));

    for (method, path, body) in calls(keys, &credential) {
        answers.push(plane.ask(&operator, method, &path, body).await.text);
    }
    for request in [
        Request::get(keys).header("authorization", format!("Bearer {credential}x")),
        Request::get(keys).header("authorization", format!("{credential} Bearer")),
        Request::get(keys).header("x-request-id", credential.split(':').nth(1).unwrap()),
    ] {
        answers.push(plane.send(request.body(Body::empty()).unwrap()).await.text);
    }
    let log = log.text();
    for word in ["answered", "refused", "admitted", "request_id="] {
        assert!(log.contains(word), "{word} in {log}");
    }
    for secret in &secrets {
        for answer in &answers {
            assert!(!answer.contains(secret.as_str()), "{answer}");
        }
        assert!(!log.contains(secret.as_str()), "{log}");
    }
}
