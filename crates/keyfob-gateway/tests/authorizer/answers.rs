//! What is asked and answered.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use keyfob::{
    NewKey, Scopes, Ttl,
    name::{NamespaceId, Scope},
};
use keyfob_gateway::{
    Answer, Authorizer, Challenges, Place, Question, RefusalForm, Rule, Rules, Throttle, field,
};

use crate::fixture::{Fixture, ask, field, now};

const ORDERS: &[u8] = b"/api/v1/namespaces/orders/actions/x";

fn scope(name: &str) -> Scope {
    Scope::new(name).unwrap()
}

fn outcome(answer: &Answer) -> (u16, &'static str) {
    (answer.status(), answer.reason())
}

#[test]
fn an_accepting_answer_has_every_identity_field() {
    let fixture = Fixture::new();
    let new = NewKey::for_service("team", "orders", "bot", "deploy").unwrap();
    let limited = fixture.create(
        new.with_scopes(Scopes::only([scope("read"), scope("list")]).unwrap())
            .expires_in(Ttl::days(1).unwrap()),
    );
    let answer = ask(&fixture.authorizer(), ORDERS, &limited);
    let id = field(&answer, field::KEY_ID).unwrap();
    assert!(id.starts_with("acme_v1_") && limited.contains(&id), "{id}");
    let expires = field(&answer, field::EXPIRES).unwrap();
    assert!(
        expires.starts_with("20") && expires.ends_with('Z'),
        "{expires}"
    );
    for (name, value) in [
        (field::OWNER, "service:bot"),
        (field::TEAM, "team"),
        (field::NAMESPACE, "orders"),
        (field::SCOPES, "list read"),
        (field::TOKEN, ""),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(field(&answer, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(answer.body(), None);

    let whole = ask(&fixture.authorizer(), ORDERS, &fixture.key("orders"));
    assert_eq!(field(&whole, field::SCOPES).as_deref(), Some("*"));
    assert_eq!(field(&whole, field::EXPIRES).as_deref(), Some(""));
    for name in field::IDENTITY {
        assert!(field(&whole, name).is_some(), "{name}");
        let refused = ask(&fixture.authorizer(), ORDERS, "Bearer x");
        assert_eq!(field(&refused, name), None, "{name}");
    }
}

#[test]
fn a_key_needs_the_scopes_of_the_rule_and_of_the_question() {
    let fixture = Fixture::new();
    let new = NewKey::for_user("team", "orders", "alice", "reader").unwrap();
    let reader = fixture.create(new.with_scopes(Scopes::only([scope("read")]).unwrap()));
    let path = |text: &str| Rule::of_path(text.parse().unwrap());
    let rules = Rules::new(vec![
        path("/ns/{namespace}/*")
            .with_methods(["GET"])
            .requiring([scope("read")]),
        path("/ns/{namespace}/*").requiring([scope("write")]),
        path("/open").with_place(Place::Fixed(NamespaceId::new("orders").unwrap())),
        path("/own").with_place(Place::Credential),
    ]);
    let authorizer = fixture.builder().rules(rules.unwrap()).build();
    let fields = [reader.as_bytes()];
    let (read, admin) = ([scope("read")], [scope("admin")]);
    for (method, target, scopes, expected) in [
        ("GET", "/ns/orders/x", &[][..], (200, "valid")),
        ("HEAD", "/ns/orders/x", &[], (200, "valid")),
        ("GET", "/ns/orders/x", &read, (200, "valid")),
        ("GET", "/ns/orders/x", &admin, (403, "missing_scope")),
        ("POST", "/ns/orders/x", &[], (403, "missing_scope")),
        ("get", "/ns/orders/x", &[], (400, "ambiguous_target")),
        ("GET", "/open", &[], (200, "valid")),
        ("GET", "/open", &admin, (403, "missing_scope")),
        ("GET", "/own/", &[], (200, "valid")),
        ("GET", "/own/x", &[], (403, "no_rule")),
    ] {
        let question = Question::of_request(target.as_bytes(), &fields)
            .with_method(method.as_bytes())
            .with_scopes(scopes);
        let answer = authorizer.decide(&question, now());
        assert_eq!(outcome(&answer), expected, "{method} {target}");
    }
}

#[test]
fn a_namespace_that_the_gateway_names_is_validated() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let fields = [key.as_bytes()];
    for (name, expected) in [
        (&b"orders"[..], (200, "valid")),
        (b"_", (200, "valid")),
        (b"other", (403, "wrong_namespace")),
        (b"", (400, "invalid_namespace")),
        (b"a/b", (400, "invalid_namespace")),
        (b"orders\xff", (400, "invalid_namespace")),
        (b"orders\r\nX: y", (400, "invalid_namespace")),
        (&[b'a'; 129], (400, "invalid_namespace")),
    ] {
        let question = Question::of_namespace(name, &fields);
        let answer = fixture.authorizer().decide(&question, now());
        assert_eq!(outcome(&answer), expected, "{}", name.escape_ascii());
    }
}

#[test]
fn a_refusal_says_in_the_chosen_form_what_its_status_says() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let other = b"/api/v1/namespaces/other";
    for (form, kind, unauthorized, forbidden) in [
        (
            RefusalForm::Problem,
            "application/problem+json",
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"detail":"unable to authenticate you"}"#,
            r#"{"type":"about:blank","title":"Forbidden","status":403,"detail":"the credential does not allow this"}"#,
        ),
        (
            RefusalForm::Contract,
            "application/json",
            r#"{"id":"unauthorized","message":"unable to authenticate you"}"#,
            r#"{"id":"forbidden","message":"the credential does not allow this"}"#,
        ),
        (
            RefusalForm::OpenWhisk,
            "application/json",
            r#"{"error":"The supplied authentication is invalid.","code":"r-1"}"#,
            r#"{"error":"The supplied authentication is not authorized to access this resource.","code":"r-1"}"#,
        ),
    ] {
        let authorizer = fixture.builder().refusal(form).build();
        for (target, header, body) in [
            (ORDERS, "Bearer nonsense", unauthorized),
            (&other[..], &*key, forbidden),
        ] {
            let fields = [header.as_bytes()];
            let question = Question::of_request(target, &fields).with_request_id(&b"r-1"[..]);
            let answer = authorizer.decide(&question, now());
            let given = answer.body().unwrap();
            assert_eq!((given.content_type, &*given.text), (kind, body));
            assert!(serde_json::from_str::<serde_json::Value>(&given.text).is_ok());
        }
    }
    // What the caller chose is not repeated, unless it is a word.
    let authorizer = fixture.builder().refusal(RefusalForm::OpenWhisk).build();
    for id in [&b"a\"b"[..], b"a b", b"a\\b", b"\xff", &[b'a'; 129]] {
        let question = Question::of_request(ORDERS, &[]).with_request_id(id);
        let answer = authorizer.decide(&question, now());
        assert!(answer.body().unwrap().text.ends_with(r#""code":""}"#));
    }
}

#[test]
fn a_401_has_a_challenge_for_each_scheme_and_a_503_a_time() {
    let fixture = Fixture::new();
    let challenges = |answer: &Answer| -> Vec<String> {
        let fields = answer.fields();
        let fields = fields.filter(|(name, _)| *name == "www-authenticate");
        fields.map(|(_, value)| value.into_owned()).collect()
    };
    let answer = ask(&fixture.authorizer(), ORDERS, "Bearer x");
    assert_eq!(
        challenges(&answer),
        [r#"Basic realm="keyfob""#, r#"Bearer realm="keyfob""#]
    );
    let realm = Challenges::of_realm(r#"a "b" \c"#).unwrap();
    let authorizer = fixture.builder().challenges(realm.bearer_only()).build();
    let answer = ask(&authorizer, ORDERS, "Bearer x");
    assert_eq!(challenges(&answer), [r#"Bearer realm="a \"b\" \\c""#]);
    assert!(Challenges::of_realm("a\r\nb").is_err());

    let answer = authorizer.refuse_gateway("no_target");
    assert_eq!(answer.status(), 503);
    assert_eq!(field(&answer, "retry-after").as_deref(), Some("1"));
    assert!(challenges(&answer).is_empty());
}

#[test]
fn the_reason_is_shown_only_if_that_is_chosen() {
    let fixture = Fixture::new();
    let answer = ask(&fixture.authorizer(), ORDERS, "Bearer x");
    assert_eq!(field(&answer, field::REASON), None);
    let authorizer = fixture.builder().show_reason(true).build();
    let answer = ask(&authorizer, ORDERS, "Bearer x");
    assert_eq!(field(&answer, field::REASON).as_deref(), Some("malformed"));
    let answer = ask(&authorizer, ORDERS, &fixture.key("orders"));
    assert_eq!(field(&answer, field::REASON), None);
}

#[test]
fn an_answer_may_be_used_again_until_the_key_expires() {
    let fixture = Fixture::new();
    let authorizer = fixture.builder().max_age(Duration::from_secs(5)).build();
    let age = |answer: &Answer| field(answer, "cache-control").unwrap();
    let key = fixture.key("orders");
    assert_eq!(age(&ask(&authorizer, ORDERS, &key)), "max-age=5");
    let vary = field(&ask(&authorizer, ORDERS, &key), "vary");
    assert_eq!(vary.as_deref(), Some("Authorization"));
    assert_eq!(age(&ask(&authorizer, ORDERS, "Bearer x")), "no-store");

    let new = NewKey::for_user("team", "orders", "alice", "brief").unwrap();
    let brief = fixture.create(new.expires_in(Ttl::hours(1).unwrap()));
    let created = now();
    let fields = [brief.as_bytes()];
    let question = Question::of_request(ORDERS, &fields);
    let left = |seconds: u64| {
        let at = created.plus_seconds(3_600 - seconds);
        let answer = authorizer.decide(&question, at);
        (answer.status() == 200).then(|| age(&answer))
    };
    assert_eq!(left(100).as_deref(), Some("max-age=5"));
    // A cache may use it until the end of the last second.
    let age = left(3).unwrap();
    assert!(age == "max-age=2" || age == "max-age=1", "{age}");
    assert_eq!(left(1).as_deref(), Some("no-store"));
}

#[test]
fn an_answer_may_not_be_used_again_beyond_the_bound_on_staleness() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let index = fixture.keyring.index();
    let verifier = index.verifier(Some(Duration::from_secs(5)));
    let builder = Authorizer::builder(verifier, *fixture.keyring.format());
    let authorizer = builder.max_age(Duration::from_secs(4)).build();
    let fields = [key.as_bytes()];
    let question = Question::of_request(ORDERS, &fields);
    let confirmed = index.confirmed_at().unwrap();
    let age = |seconds: u64| {
        let answer = authorizer.decide(&question, confirmed.plus_seconds(seconds));
        (answer.status(), field(&answer, "cache-control").unwrap())
    };
    assert_eq!(age(0), (200, "max-age=4".to_owned()));
    assert_eq!(age(2), (200, "max-age=2".to_owned()));
    assert_eq!(age(4), (200, "no-store".to_owned()));
    assert_eq!(age(5), (503, "no-store".to_owned()));
}

#[test]
fn refused_attempts_are_limited_and_valid_keys_are_not() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let limit = NonZeroU32::new(5).unwrap();
    let authorizer = fixture
        .builder()
        .throttle(Throttle::per_minute(limit))
        .build();
    let ask = |client: &str, header: Option<&str>| {
        let fields: Vec<&[u8]> = header.iter().map(|header| header.as_bytes()).collect();
        let client: IpAddr = client.parse().unwrap();
        let question = Question::of_request(ORDERS, &fields).with_client(client);
        authorizer.decide(&question, now())
    };
    let (address, other) = ("192.0.2.1", "192.0.2.2");
    // A client without a credential makes no attempt.
    for _ in 0..20 {
        assert_eq!(outcome(&ask(address, None)), (401, "no_credential"));
    }
    for _ in 0..5 {
        assert_eq!(outcome(&ask(address, Some("Bearer x"))), (401, "malformed"));
    }
    for _ in 0..20 {
        let answer = ask(address, Some("Bearer x"));
        assert_eq!(outcome(&answer), (429, "throttled"));
        let wait: u64 = field(&answer, "retry-after").unwrap().parse().unwrap();
        assert!((1..=12).contains(&wait), "{wait}");
        assert_eq!(outcome(&ask(address, Some(&key))), (200, "valid"));
    }
    assert_eq!(outcome(&ask(other, Some("Bearer x"))), (401, "malformed"));

    // A key whose secret is guessed, from many addresses.
    let wrong = fixture.key("orders");
    let (id, _) = wrong.rsplit_once(':').unwrap();
    let (_, secret) = key.rsplit_once(':').unwrap();
    let guess = format!("{id}:{secret}");
    let outcomes: Vec<_> = (10..20)
        .map(|n| outcome(&ask(&format!("192.0.2.{n}"), Some(&guess))).1)
        .collect();
    assert_eq!(outcomes[..5], ["wrong_secret"; 5]);
    assert_eq!(outcomes[5..], ["throttled"; 5]);
    assert_eq!(outcome(&ask(address, Some(&wrong))), (200, "valid"));
}

#[test]
fn nothing_passes_after_a_pause_until_the_source_was_asked() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let pauses = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&pauses);
    // A number that is odd while the source was not yet asked.
    let authorizer = fixture
        .builder()
        .pauses(move || Some(seen.load(Ordering::Relaxed)).filter(|pauses| pauses % 2 == 0))
        .build();
    assert_eq!(ask(&authorizer, ORDERS, &key).status(), 200);
    pauses.store(1, Ordering::Relaxed);
    for header in [&*key, "Bearer x"] {
        let answer = ask(&authorizer, ORDERS, header);
        assert_eq!(outcome(&answer), (503, "paused"));
        assert_eq!(field(&answer, "retry-after").as_deref(), Some("1"));
    }
    pauses.store(2, Ordering::Relaxed);
    assert_eq!(ask(&authorizer, ORDERS, &key).status(), 200);
}

#[test]
fn a_pause_during_the_decision_is_noticed() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let pauses = AtomicU64::new(0);
    // Another number at each question: there was a pause in between.
    let authorizer = fixture
        .builder()
        .pauses(move || Some(pauses.fetch_add(1, Ordering::Relaxed)))
        .build();
    assert_eq!(outcome(&ask(&authorizer, ORDERS, &key)), (503, "paused"));
}

#[test]
fn who_is_accepted_is_told_to_the_embedder() {
    let fixture = Fixture::new();
    let key = fixture.key("orders");
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    let header = key.clone();
    let authorizer: Authorizer = fixture
        .builder()
        .on_accepted(move |principal, value| {
            assert_eq!(principal.to_string(), "user:alice");
            assert!(value == header.as_bytes());
            count.fetch_add(1, Ordering::Relaxed);
        })
        .build();
    let _ = ask(&authorizer, ORDERS, "Bearer x");
    assert_eq!(told.load(Ordering::Relaxed), 0);
    let _ = ask(&authorizer, ORDERS, &key);
    assert_eq!(told.load(Ordering::Relaxed), 1);
    fixture.revoke();
    assert_eq!(outcome(&ask(&authorizer, ORDERS, &key)), (401, "revoked"));
    assert_eq!(told.load(Ordering::Relaxed), 1);
}
