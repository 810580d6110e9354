//! Requests that are refused: status, headers, body, and the reason as data.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::{HeaderValue, Response};
use keyfob::{
    MemoryStore, NewKey, Timestamp,
    gateway::Index,
    key::{KeyFormat, PepperId, Peppers},
};
use keyfob_tower::{GuardLayer, Refusal};

use crate::fixture::{Answer, Fixture, START, basic, bearer, request, send};

const CHALLENGES: [&str; 2] = [r#"Basic realm="keyfob""#, r#"Bearer realm="keyfob""#];

/// Sends a request, which must be refused as a client may see it.
async fn refused(layer: &GuardLayer, credentials: &[&str], status: u16, reason: &str) -> Answer {
    let answer = send(layer, request("/", credentials)).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (status, reason));
    assert!(answer.seen.is_none(), "the inner service was called");
    assert_eq!(answer.all("cache-control"), ["no-store"]);
    assert_eq!(answer.all("content-type"), ["application/json"]);
    let (challenges, retry_after): (&[&str], &[&str]) = match status {
        401 => (&CHALLENGES, &[]),
        503 => (&[], &["1"]),
        _ => (&[], &[]),
    };
    assert_eq!(answer.all("www-authenticate"), challenges);
    assert_eq!(answer.all("retry-after"), retry_after);
    let body = match status {
        401 => r#"{"id":"unauthorized","message":"unable to authenticate you"}"#,
        403 => r#"{"id":"forbidden","message":"the credential does not allow this"}"#,
        _ => r#"{"id":"service_unavailable","message":"try again later"}"#,
    };
    assert_eq!(answer.body, body);
    assert_eq!(answer.refusal.unwrap().to_string(), "access denied");
    answer
}

#[tokio::test]
async fn a_request_without_one_valid_credential_is_answered_with_401() {
    let fixture = Fixture::new().await;
    let (key, other) = (fixture.key().await, fixture.key().await);
    let layer = fixture.guard().namespace("orders");
    let (bearer, other) = (bearer(&key), bearer(&other));
    let id = fixture.keyring.format().key_id(key.info.id);
    let guessed = bearer.replace(&id, &fixture.keyring.format().key_id(unknown_id()));
    let mixed = format!("Bearer {id}:{}", other.rsplit(':').next().unwrap());
    let mut mistyped = bearer.clone();
    mistyped.pop();
    mistyped.push(if bearer.ends_with('A') { 'B' } else { 'A' });
    for (credentials, reason) in [
        (&[][..], "no_credential"),
        (&[&*bearer, &*bearer], "repeated_header"),
        (&[&*bearer, &*basic(&key)], "repeated_header"),
        (&[&*bearer, "", &*bearer], "repeated_header"),
        (&["", &*bearer], "repeated_header"),
        (&[""], "malformed"),
        (&["Bearer x"], "malformed"),
        (&["Basic eDp5"], "malformed"),
        (&[&*bearer.replace("Bearer", "Token")], "malformed"),
        (&[key.secret.expose()], "malformed"),
        (&[&*mistyped], "mistyped"),
        (&[&*guessed], "unknown_key"),
        (&[&*mixed], "wrong_secret"),
    ] {
        let answer = refused(&layer, credentials, 401, reason).await;
        let denied = *answer.refusal.unwrap().denied().unwrap();
        assert_eq!(denied.reason().as_str(), reason);
        assert_eq!(denied.credential(), None, "{reason}");
    }
}

fn unknown_id() -> keyfob::KeyId {
    let format = KeyFormat::new("acme").unwrap();
    let random = keyfob::key::SystemRandom;
    keyfob::IssuedKey::generate(&format, &random).unwrap().id()
}

#[tokio::test]
async fn a_key_that_does_not_work_now_is_answered_with_401_and_named_to_logs() {
    let fixture = Fixture::new().await;
    let layer = fixture.unbounded_guard().namespace("orders");
    let (keyring, context) = (&fixture.keyring, fixture.context());
    let [disabled, revoked, removed] = [
        fixture.key().await,
        fixture.key().await,
        fixture.key().await,
    ];
    let tenant = &disabled.info.tenant;
    keyring
        .disable(&context, tenant, disabled.info.id, None)
        .await
        .unwrap();
    keyring
        .revoke(&context, tenant, revoked.info.id, None)
        .await
        .unwrap();
    let early = NewKey::for_user("team", "orders", "alice", "early").unwrap();
    let early = early.with_not_before(Timestamp::from_unix(START + 1000));
    let early = keyring.create(&context, early).await.unwrap();
    for (key, reason) in [
        (&disabled, "disabled"),
        (&revoked, "revoked"),
        (&early, "not_yet_valid"),
    ] {
        let answer = refused(&layer, &[&bearer(key)], 401, reason).await;
        let credential = answer.refusal.unwrap().denied().unwrap().credential();
        assert_eq!(
            credential,
            Some(keyfob::key::CredentialId::Key(key.info.id))
        );
    }
    fixture.advance(3600);
    refused(&layer, &[&bearer(&removed)], 401, "expired").await;
    keyring
        .remove_member(&context, "team", "alice")
        .await
        .unwrap();
    refused(&layer, &[&bearer(&removed)], 401, "revoked").await;
}

#[tokio::test]
async fn a_valid_key_of_another_namespace_or_without_a_scope_is_answered_with_403() {
    let fixture = Fixture::new().await;
    let guard = fixture.guard();
    let key = bearer(&fixture.key_with_scopes(&["orders:read"]).await);
    for (layer, reason) in [
        (guard.namespace("billing"), "wrong_namespace"),
        (guard.namespace("Orders"), "wrong_namespace"),
        (
            guard.namespace("orders").requiring(["orders:write"]),
            "missing_scope",
        ),
    ] {
        let answer = refused(&layer, &[&key], 403, reason).await;
        assert!(
            answer
                .refusal
                .unwrap()
                .denied()
                .unwrap()
                .credential()
                .is_some()
        );
    }
}

#[tokio::test]
async fn an_index_that_cannot_tell_is_answered_with_503() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let layer = fixture.guard().namespace("orders");
    assert_eq!(send(&layer, request("/", &[&key])).await.status, 200);
    fixture.advance(10);
    refused(&layer, &[&key], 503, "stale").await;
    fixture
        .keyring
        .sync(Timestamp::from_unix(START + 10))
        .await
        .unwrap();
    assert_eq!(send(&layer, request("/", &[&key])).await.status, 200);

    let format = *fixture.keyring.format();
    let empty = Arc::new(Index::new(format, Peppers::none()));
    let layer = fixture.guard_of(empty.verifier(None)).namespace("orders");
    refused(&layer, &[&key], 503, "not_ready").await;
}

#[tokio::test]
async fn a_key_under_a_pepper_that_is_missing_is_answered_with_503() {
    let fixture = Fixture::new().await;
    let format = KeyFormat::new("acme").unwrap();
    let store = Arc::new(MemoryStore::new());
    let peppers = Peppers::none()
        .with_current(PepperId::new(1).unwrap(), &[7; 32])
        .unwrap();
    let start = Timestamp::from_unix(START);
    let keyring = keyfob::Keyring::builder(Arc::clone(&store), format)
        .peppers(peppers)
        .open(start)
        .await
        .unwrap();
    let new = NewKey::for_user("team", "orders", "alice", "laptop").unwrap();
    let key = keyring.create(&fixture.context(), new).await.unwrap();
    let index = Arc::new(Index::new(format, Peppers::none()));
    index.follow(&*store, start).await.unwrap();
    let layer = fixture.guard_of(index.verifier(None)).namespace("orders");
    refused(&layer, &[&bearer(&key)], 503, "pepper_missing").await;
}

#[tokio::test]
async fn nothing_passes_after_a_pause_or_if_there_was_one_during_the_decision() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let calls = Arc::new(AtomicU64::new(0));
    let guard = |current: fn(u64) -> Option<u64>| {
        let calls = Arc::clone(&calls);
        let guard = fixture.guard();
        guard.with_pauses(move || current(calls.fetch_add(1, Ordering::Relaxed)))
    };
    let layer = guard(|_| Some(7)).namespace("orders");
    assert_eq!(send(&layer, request("/", &[&key])).await.status, 200);
    assert_eq!(calls.load(Ordering::Relaxed), 2, "before and after");
    let layer = guard(|_| None).namespace("orders");
    refused(&layer, &[&key], 503, "paused").await;
    let layer = guard(Some).namespace("orders");
    refused(&layer, &[&key], 503, "paused").await;
    // Neither is anything else said of a key.
    refused(
        &layer,
        &[&bearer(&fixture.key().await)[..20]],
        503,
        "paused",
    )
    .await;
}

#[tokio::test]
async fn a_throttle_sees_each_decision_and_turns_it_into_429() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let failures = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&failures);
    let guard = fixture.guard().with_throttle(move |parts, outcome| {
        assert!(!parts.headers.contains_key("authorization"));
        match outcome {
            Ok(caller) => (parts.uri == "/slow").then(|| {
                assert_eq!(caller.to_string(), "user:alice");
                Duration::from_millis(2500)
            }),
            Err(_) => {
                (count.fetch_add(1, Ordering::Relaxed) >= 2).then_some(Duration::from_secs(30))
            }
        }
    });
    let layer = guard.namespace("orders");
    refused(&layer, &[], 401, "no_credential").await;
    refused(&layer, &["Bearer x"], 401, "malformed").await;
    let answer = send(&layer, request("/", &["Bearer x"])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (429, "throttled")
    );
    assert_eq!(answer.all("retry-after"), ["30"]);
    assert!(answer.all("www-authenticate").is_empty());
    assert_eq!(
        answer.body,
        r#"{"id":"too_many_requests","message":"too many requests, try again later"}"#
    );
    let denied = *answer.refusal.unwrap().denied().unwrap();
    assert_eq!(denied.reason().as_str(), "malformed");

    // Guesses do not lock out a valid key.
    assert_eq!(send(&layer, request("/", &[&key])).await.status, 200);
    let answer = send(&layer, request("/slow", &[&key])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.all("retry-after")),
        (429, vec!["3"])
    );
    assert!(answer.seen.is_none());
    assert_eq!(answer.refusal.unwrap().denied(), None);

    // A fault of the server is no attempt.
    let before = failures.load(Ordering::Relaxed);
    fixture.advance(10);
    refused(&layer, &[&key], 503, "stale").await;
    assert_eq!(failures.load(Ordering::Relaxed), before);
}

#[tokio::test]
async fn the_embedder_gives_the_body_and_the_guard_the_status() {
    let fixture = Fixture::new().await;
    let guard = fixture
        .guard()
        .with_realm(r#"a "b" \c"#)
        .with_response(|refusal| {
            let mut response = Response::new(format!("no: {}", refusal.status().as_u16()));
            for (name, value) in [
                ("www-authenticate", "Negotiate"),
                ("retry-after", "9"),
                ("x-own", "1"),
            ] {
                response
                    .headers_mut()
                    .insert(name, HeaderValue::from_static(value));
            }
            response
        });
    let answer = send(&guard.namespace("orders"), request("/", &[])).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (401, "no: 401"));
    let challenges = [
        r#"Basic realm="a \"b\" \\c""#,
        r#"Bearer realm="a \"b\" \\c""#,
    ];
    assert_eq!(answer.all("www-authenticate"), challenges);
    assert_eq!(
        (answer.all("x-own"), answer.all("retry-after")),
        (vec!["1"], vec![])
    );
    assert!(matches!(answer.refusal, Some(Refusal::Denied(_))));

    fixture.advance(3600);
    let guard = guard.with_retry_after(Duration::from_millis(4200));
    let answer = send(&guard.namespace("orders"), request("/", &["Bearer x"])).await;
    assert_eq!(answer.status, 401, "a malformed credential needs no index");
    let key = bearer(&fixture.key().await);
    fixture.advance(3600);
    let answer = send(&guard.namespace("orders"), request("/", &[&key])).await;
    assert_eq!(
        (answer.status.as_u16(), answer.all("retry-after")),
        (503, vec!["5"])
    );
}

#[tokio::test]
async fn a_credential_in_the_url_is_not_read() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let layer = fixture.guard().namespace("orders");
    let text = key.secret.expose();
    for uri in [
        format!("/?access_token={text}"),
        format!("/?authorization=Bearer%20{text}"),
        format!("http://{text}@host.test/"),
    ] {
        let answer = send(&layer, request(&uri, &[])).await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (401, "no_credential")
        );
    }
    let mut other = request("/", &[]);
    let value: HeaderValue = bearer(&key).parse().unwrap();
    other.headers_mut().insert("proxy-authorization", value);
    assert_eq!(send(&layer, other).await.status, 401);
}

#[tokio::test]
async fn no_form_of_a_refusal_shows_the_credential() {
    let fixture = Fixture::new().await;
    let key = fixture.key().await;
    let secret = key.secret.expose().rsplit(':').next().unwrap();
    let layer = fixture.guard().namespace("billing");
    for credentials in [&[&*bearer(&key)][..], &[&*bearer(&key), &*basic(&key)]] {
        let answer = send(&layer, request("/", credentials)).await;
        assert!(answer.status.is_client_error());
        assert!(!format!("{answer:?}").contains(secret));
    }
    assert!(!format!("{layer:?} {:?}", fixture.guard()).contains(secret));
}

#[test]
#[should_panic(expected = "namespace has a character that is not allowed, at position 1")]
fn a_name_that_is_wrong_panics_when_the_layer_is_made() {
    let index = Arc::new(Index::new(KeyFormat::new("acme").unwrap(), Peppers::none()));
    let _ = keyfob_tower::Guard::new(index.verifier(None)).namespace("a/b");
}

#[test]
#[should_panic(expected = "scope has a character that is not allowed, at position 7")]
fn a_scope_that_is_wrong_panics_when_the_layer_is_made() {
    let index = Arc::new(Index::new(KeyFormat::new("acme").unwrap(), Peppers::none()));
    let guard = keyfob_tower::Guard::new(index.verifier(None));
    let _ = guard.namespace("orders").requiring(["orders: read"]);
}
