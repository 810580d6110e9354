//! Runs the example `gateway` as a child process and calls it over HTTP.

#[path = "gateway/process.rs"]
mod process;
#[path = "../examples/gateway/refusal.rs"]
#[expect(
    dead_code,
    reason = "only one of the example's refusals is tested in this process"
)]
mod refusal;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::response::IntoResponse;
use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::{
    Access, IssuedKey, Timestamp,
    gateway::Index,
    key::{KeyFormat, Peppers, SystemRandom},
};
use serde_json::{Value, json};

use process::{Answer, GatewayProcess, basic, bearer};
use refusal::Refusal;

const NAMESPACES: &str = "/api/v1/namespaces";
const LIST: &str = "/api/v1/namespaces/fn-demo/actions";
const ECHO: &str = "/api/v1/namespaces/fn-demo/actions/echo?blocking=true&result=true";
const WHOAMI: &str = "/api/v1/namespaces/_/actions/whoami?blocking=true&result=true";

#[test]
fn a_key_is_accepted_with_the_basic_and_the_bearer_scheme() {
    let gateway = GatewayProcess::start(&[]);
    let alice = gateway.key("alice");
    let (id, _) = alice.split_once(':').unwrap();
    for header in [basic(alice), bearer(alice)] {
        let answer = gateway.send_body("POST", ECHO, &[&header], br#"{"n": [1, null]}"#);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json(), json!({"n": [1, null]}));

        let answer = gateway.send("POST", WHOAMI, &[&header]);
        assert_eq!(
            answer.json(),
            json!({
                "team": "acme",
                "namespace": "fn-demo",
                "owner": "user:alice",
                "credential": id,
                "expires_at": null,
            })
        );
    }
    gateway.end();
}

#[test]
fn responses_have_the_format_of_openwhisk() {
    let gateway = GatewayProcess::start(&[]);
    let alice = basic(gateway.key("alice"));
    let post = |target: &str, body: &[u8]| gateway.send_body("POST", target, &[&alice], body);
    let hello = |query: &str| format!("/api/v1/namespaces/_/actions/hello{query}");

    let result = json!({"payload": "Hello, Ada!"});
    let body = br#"{"name": "Ada"}"#;
    let bare = post(&hello("?result=true&blocking=true"), body);
    assert_eq!((bare.status, bare.json()), (200, result.clone()));

    let activation = post(&hello("?blocking=true"), body);
    assert_eq!(activation.status, 200);
    let activation = activation.json();
    assert_eq!(activation["response"]["result"], result);
    assert_eq!(activation["response"]["success"], true);
    assert_eq!(activation["namespace"], "fn-demo");
    assert_eq!(activation["activationId"].as_str().unwrap().len(), 32);

    for query in ["", "?", "?blocking=false", "?result=true"] {
        let accepted = post(&hello(query), b"");
        assert_eq!(accepted.status, 202, "{query}");
        assert_eq!(accepted.json().as_object().unwrap().len(), 1, "{query}");
        assert!(accepted.json()["activationId"].is_string(), "{query}");
    }

    let list = gateway.send("GET", &format!("{LIST}?"), &[&alice]);
    let list = list.json();
    let names = list
        .as_array()
        .unwrap()
        .iter()
        .map(|action| &action["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["echo", "hello", "whoami"]);

    let unknown = "/api/v1/namespaces/_/actions/unknown";
    assert_eq!(post(unknown, b"").status, 404);
    assert_eq!(post(ECHO, b"{").status, 400);
    assert_eq!(post(ECHO, b"[]").status, 400);
    gateway.end();
}

#[test]
fn a_credential_gives_access_to_exactly_one_namespace() {
    let gateway = GatewayProcess::start(&[]);
    for (label, namespace) in [
        ("alice", "fn-demo"),
        ("service", "fn-demo"),
        ("carol", "fn-other"),
        ("guest", "guest"),
        ("operator", "control"),
    ] {
        let answer = gateway.send("GET", NAMESPACES, &[&basic(gateway.key(label))]);
        assert_eq!(answer.status, 200, "{label}");
        assert_eq!(answer.json(), json!([namespace]), "{label}");
    }
    gateway.end();
}

#[test]
fn another_namespace_is_forbidden_whether_it_exists_or_not() {
    let gateway = GatewayProcess::start(&[]);
    let alice = bearer(gateway.key("alice"));
    let list = |namespace: &str| {
        let target = format!("{NAMESPACES}/{namespace}/actions");
        gateway.send("GET", &target, &[&alice])
    };
    let refused = list("fn-other");
    assert_eq!(refused.status, 403);
    assert_eq!(refused.json()["code"], "forbidden");
    for namespace in ["guest", "control", "nowhere", "FN-DEMO", "fn-demo%20", "__"] {
        assert_eq!(list(namespace).text, refused.text, "{namespace}");
    }
    for namespace in ["fn-demo", "_", "%5F", "fn%2Ddemo"] {
        assert_eq!(list(namespace).status, 200, "{namespace}");
    }
    let log = gateway.end();
    assert_eq!(log.matches("reason=wrong_namespace").count(), 7);
}

#[test]
fn all_refusals_with_401_are_identical() {
    let gateway = GatewayProcess::start(&[]);
    let alice = gateway.key("alice");
    let unissued_key = unissued_key();

    let uniform = gateway.send("GET", LIST, &[]);
    assert_eq!(uniform.status, 401);
    assert_eq!(
        uniform.header("www-authenticate"),
        Some(r#"Basic realm="gateway""#)
    );
    let body = uniform.json();
    assert_eq!(body["code"], "unauthorized");
    assert!(body["error"].is_string());

    let cases = bad_headers(&gateway, &unissued_key);
    for (case, headers) in &cases {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        assert_same(case, &uniform, &gateway.send("GET", LIST, &headers));
    }

    // Credentials in a URL are ignored.
    let userinfo = format!("http://{alice}@{}{LIST}", gateway.address());
    for (case, target) in [
        ("in the query", &format!("{LIST}?access_token={alice}")),
        (
            "in the query, encoded",
            &format!("{LIST}?{}", STANDARD.encode(alice)),
        ),
        ("in the path", &format!("{NAMESPACES}/{alice}/actions")),
        ("before the host", &userinfo),
    ] {
        assert_same(case, &uniform, &gateway.send("GET", target, &[]));
    }

    // The refusal does not depend on the route or on the caller's rights.
    for (method, target) in [
        ("GET", NAMESPACES),
        ("POST", ECHO),
        ("POST", "/api/v1/namespaces/nowhere/actions/unknown"),
        ("DELETE", "/teams/acme/members/alice"),
        ("GET", "/legacy"),
    ] {
        let answer = gateway.send(method, target, &[&bearer(&unissued_key)]);
        assert_same(target, &uniform, &answer);
    }

    // Invalid header bytes are rejected before the credential is parsed.
    for control in ["\x01", "\x7f", "\0"] {
        let header = bearer(&format!("{alice}{control}"));
        assert_eq!(gateway.send("GET", LIST, &[&header]).status, 400);
    }

    // After all refusals the key still works, and the log has a distinct reason for each case.
    assert_eq!(gateway.send("GET", LIST, &[&bearer(alice)]).status, 200);
    let log = gateway.end();
    for (reason, count) in [
        ("repeated_header", 4),
        ("mistyped", 1),
        ("wrong_secret", 2),
        ("unknown_key", 6),
        ("no_credential", 7),
    ] {
        let found = log
            .matches(&format!("reason={reason} credential=-"))
            .count();
        assert_eq!(found, count, "{reason}");
    }
}

#[test]
fn the_body_of_a_refused_request_is_not_read() {
    let gateway = GatewayProcess::start(&[]);
    let head = |header: &str, len: usize| {
        format!(
            "POST {ECHO} HTTP/1.1\r\nHost: gateway\r\n{header}Content-Length: {len}\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
    };
    // The body is never sent, and the gateway answers without waiting for it.
    let refused = gateway.exchange(head("", 1 << 40).as_bytes());
    assert_same(
        "a body that is announced but not sent",
        &gateway.send("GET", LIST, &[]),
        &refused,
    );

    let alice = bearer(gateway.key("alice"));
    let fill = |len: usize| format!(r#"{{"a":"{}"}}"#, "a".repeat(len - 8));
    let fits = gateway.send_body("POST", ECHO, &[&alice], fill(1 << 20).as_bytes());
    assert_eq!(fits.status, 200);
    let over = gateway.send_body("POST", ECHO, &[&alice], fill((1 << 20) + 1).as_bytes());
    assert_eq!(over.status, 413);
    gateway.end();
}

#[test]
fn a_legacy_credential_is_refused_from_its_sunset_on() {
    let before = GatewayProcess::start(&[]);
    let guest = basic(before.key("guest"));
    let answer = before.send("POST", WHOAMI, &[&guest]);
    assert_eq!(answer.status, 200);
    let caller = answer.json();
    assert_eq!(caller["namespace"], "guest");
    assert_eq!(caller["owner"], Value::Null);
    assert_eq!(before.send("GET", LIST, &[&guest]).status, 403);
    before.end();

    let after = GatewayProcess::start(&["--sunset", "2020-01-01T00:00:00Z"]);
    let refused = after.send("POST", WHOAMI, &[&guest]);
    assert_same("after the sunset", &after.send("GET", LIST, &[]), &refused);
    let alice = basic(after.key("alice"));
    assert_eq!(after.send("POST", WHOAMI, &[&alice]).status, 200);
    let (uuid, _) = after.key("guest").split_once(':').unwrap();
    let line = format!("refused status=401 reason=legacy_off credential={uuid}");
    assert!(after.end().lines().any(|logged| logged == line));
}

#[test]
fn removing_a_member_revokes_only_their_keys_at_once() {
    let gateway = GatewayProcess::start(&[]);
    let whoami = |label: &str| gateway.send("POST", WHOAMI, &[&basic(gateway.key(label))]);
    let all = ["alice", "bob", "service", "carol", "guest"];
    for label in all {
        assert_eq!(whoami(label).status, 200, "{label}");
    }
    // A second removal has no effect.
    for _ in 0..2 {
        gateway.remove_member("bob");
        assert_same("bob", &gateway.send("GET", LIST, &[]), &whoami("bob"));
        for label in all.into_iter().filter(|label| *label != "bob") {
            assert_eq!(whoami(label).status, 200, "{label}");
        }
    }
    let (id, _) = gateway.key("bob").split_once(':').unwrap();
    let line = format!("refused status=401 reason=revoked credential={id}");
    assert!(gateway.end().lines().any(|logged| logged == line));
}

#[test]
fn operator_routes_require_the_namespace_and_the_scope() {
    let gateway = GatewayProcess::start(&[]);
    let bob = "/teams/acme/members/bob";
    let send = |method: &str, target: &str, label: &str| {
        gateway.send(method, target, &[&basic(gateway.key(label))])
    };
    // Every scope in another namespace, and the right namespace without the scope.
    let refused = send("DELETE", bob, "alice");
    assert_eq!(refused.status, 403);
    for label in ["bob", "service", "carol", "guest", "reporter"] {
        assert_same(label, &refused, &send("DELETE", bob, label));
    }
    for label in ["alice", "guest"] {
        assert_same(label, &refused, &send("GET", "/legacy", label));
    }
    // An operator's key cannot invoke functions, not even in its own namespace.
    assert_same("operator", &refused, &send("POST", WHOAMI, "operator"));
    assert_eq!(
        send("POST", WHOAMI, "bob").status,
        200,
        "nobody was removed"
    );

    assert_eq!(
        send("DELETE", "/teams/acme/members/%20", "operator").status,
        400
    );
    assert_eq!(send("GET", "/legacy", "reporter").status, 200);
    assert_eq!(send("GET", "/legacy", "operator").status, 200);
    let log = gateway.end();
    assert_eq!(log.matches("reason=missing_scope").count(), 2);
    assert_eq!(log.matches("reason=wrong_namespace").count(), 7);
}

#[test]
fn the_legacy_report_counts_uses_of_the_legacy_credential() {
    let gateway = GatewayProcess::start(&[]);
    let guest = basic(gateway.key("guest"));
    let report = || {
        let answer = gateway.send("GET", "/legacy", &[&bearer(gateway.key("operator"))]);
        assert_eq!(answer.status, 200);
        let rows = answer.json()["legacy"].as_array().unwrap().clone();
        assert_eq!(rows.len(), 1);
        rows.into_iter().next().unwrap()
    };
    let unused = report();
    assert_eq!(unused["namespace"], "guest");
    assert_eq!(unused["last_used"], Value::Null);
    assert_eq!(
        (&unused["accepted"], &unused["refused"]),
        (&json!(0), &json!(0))
    );

    for _ in 0..3 {
        assert_eq!(gateway.send("POST", WHOAMI, &[&guest]).status, 200);
    }
    assert_eq!(gateway.send("GET", LIST, &[&guest]).status, 403);
    // Attempts with a wrong secret are not counted as use.
    let wrong = basic(&gateway.key("guest").replace("GIwP", "GIwQ"));
    assert_eq!(gateway.send("POST", WHOAMI, &[&wrong]).status, 401);
    // The gateway may be flushing the counts to its store at this moment.
    let used = within(Duration::from_secs(10), || {
        let row = report();
        (row["accepted"] == 3 && row["refused"] == 1).then_some(row)
    });
    let used = used.expect("three uses and a refusal are counted");
    assert!(used["last_used"].is_string());
    assert!(used["sunset"].is_string());
    gateway.end();
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_gateway_cleanly() {
    let mut gateway = GatewayProcess::start(&[]);
    let alice = bearer(gateway.key("alice"));
    assert_eq!(gateway.send("GET", NAMESPACES, &[&alice]).status, 200);
    // It handles the interrupt from about its first request on.
    thread::sleep(Duration::from_millis(500));
    assert_eq!(gateway.interrupt().code(), Some(0));
    assert_eq!(gateway.end(), "");
}

/// The gateway becomes ready before it listens, so this refusal is tested in this process.
#[test]
fn a_gateway_that_is_not_ready_answers_503() {
    let format = KeyFormat::new("dof").unwrap();
    let verifier = Arc::new(Index::new(format, Peppers::none())).verifier(None);
    let now = Timestamp::from_unix(1_800_000_000);
    let access = Access::to_own_namespace();
    let denied = verifier
        .verify_text(unissued_key().as_bytes(), &access, now)
        .unwrap_err();
    let response = Refusal::denied(&denied, &format).into_response();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert!(!response.headers().contains_key("www-authenticate"));
}

/// Named sets of headers without exactly one valid credential; most are variations of valid ones.
fn bad_headers(gateway: &GatewayProcess, unissued_key: &str) -> Vec<(&'static str, Vec<String>)> {
    let authorization = |value: &str| format!("Authorization: {value}");
    let (alice, service) = (gateway.key("alice"), gateway.key("service"));
    let guest = gateway.key("guest");
    let (alice_id, alice_secret) = alice.split_once(':').unwrap();
    let (_, other_secret) = unissued_key.split_once(':').unwrap();
    let last = if alice.ends_with('A') { 'B' } else { 'A' };
    vec![
        ("an empty value", vec![authorization("")]),
        ("no scheme", vec![authorization(alice)]),
        ("garbage as Basic", vec![authorization("Basic !!!")]),
        ("garbage as Bearer", vec![authorization("Bearer garbage")]),
        (
            "another scheme",
            vec![authorization(&format!("Token {alice}"))],
        ),
        (
            "a tab after the scheme",
            vec![authorization(&format!("Bearer\t{alice}"))],
        ),
        ("bytes beyond ASCII", vec![authorization("Bearer \u{fc}")]),
        ("an id alone", vec![basic(alice_id)]),
        ("an id with no secret", vec![basic(&format!("{alice_id}:"))]),
        ("a secret alone", vec![bearer(alice_secret)]),
        ("a key that was never issued", vec![bearer(unissued_key)]),
        (
            "a wrong secret",
            vec![bearer(&format!("{alice_id}:{other_secret}"))],
        ),
        (
            "a mistyped secret",
            vec![bearer(&format!("{}{last}", &alice[..alice.len() - 1]))],
        ),
        (
            "a truncated secret",
            vec![bearer(&alice[..alice.len() - 1])],
        ),
        (
            "a secret with an extra character",
            vec![basic(&format!("{alice}A"))],
        ),
        ("two colons", vec![basic(&format!("{alice}:"))]),
        ("upper case", vec![basic(&alice.to_ascii_uppercase())]),
        ("a legacy credential as Bearer", vec![bearer(guest)]),
        (
            "a wrong legacy key",
            vec![basic(&format!("{}x", &guest[..guest.len() - 1]))],
        ),
        ("the same field twice", vec![bearer(alice), bearer(alice)]),
        ("two fields", vec![bearer(alice), basic(service)]),
        (
            "a good field and a bad one",
            vec![bearer(alice), authorization("")],
        ),
        (
            "a bad field and a good one",
            vec![authorization("x"), bearer(alice)],
        ),
        (
            "two in one field",
            vec![format!("{}, Bearer {service}", bearer(alice))],
        ),
        (
            "an over-long key",
            vec![bearer(&format!("{alice}{}", "A".repeat(1000)))],
        ),
        ("an over-long text", vec![basic(&"A".repeat(10_000))]),
        ("a line feed in Basic", vec![basic(&format!("{alice}\n"))]),
        ("a NUL in Basic", vec![basic(&format!("\0{alice}"))]),
        (
            "an escape in Basic",
            vec![basic(&format!("{alice_id}:\x1b[2J"))],
        ),
        (
            "a tab before the key",
            vec![authorization(&format!("Bearer\t{alice}"))],
        ),
        (
            "a tab within the key",
            vec![bearer(&alice.replacen(':', ":\t", 1))],
        ),
        (
            "the key in a cookie",
            vec![format!("Cookie: access_token={alice}")],
        ),
        (
            "the key in other fields",
            vec![
                format!("X-API-Key: {alice}"),
                format!("Proxy-Authorization: Bearer {alice}"),
            ],
        ),
    ]
}

/// Returns a well-formed key that no gateway issued.
fn unissued_key() -> String {
    let format = KeyFormat::new("dof").unwrap();
    let key = IssuedKey::generate(&format, &SystemRandom).unwrap();
    key.expose().to_owned()
}

fn assert_same(case: &str, expected: &Answer, answer: &Answer) {
    assert_eq!(answer.text, expected.text, "{case}");
}

fn within<T>(timeout: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        match attempt() {
            Some(value) => return Some(value),
            None if start.elapsed() > timeout => return None,
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}
