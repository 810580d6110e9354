//! What is answered: changes of a request that may pass, and refusals.

use std::num::NonZeroU32;

use keyfob::Context;
use keyfob_envoy::ExtAuthz;
use keyfob_gateway::{RefusalForm, Throttle};

use crate::{
    fixture::{Asked, Fixture, Served, texts},
    message::{DeniedHttpResponse, HeaderValueOption},
};

/// Name and value of a field that is set in the place of all others of its name.
fn is_set(option: &HeaderValueOption) -> (&str, &str) {
    assert_eq!(option.append.map(|append| append.value), Some(false));
    assert_eq!(option.append_action, 2);
    let header = option.header.as_ref().unwrap();
    (&header.key, &header.value)
}

#[tokio::test]
async fn an_accepted_request_has_the_identity_of_the_answer_and_nothing_of_the_clients() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    for raw in [true, false] {
        let mut asked = Asked::of("orders", &fixture.orders.secret)
            .with("x-keyfob-owner", "user:root")
            .with("X_Keyfob_Team", "root")
            .with("x-keyfob_future", "forged")
            .with("x-keyfob-future", "forged")
            .with("x-keyfobs", "of another program")
            .with("x-request-id", "1");
        asked.raw = raw;
        let (ok, metadata) = served.accepted(&asked).await;
        let expires = fixture.orders.info.expires_at.unwrap().to_string();
        let key_id = fixture.keyring.format().key_id(fixture.orders.info.id);
        let set: Vec<_> = ok.headers.iter().map(is_set).collect();
        assert_eq!(
            set,
            [
                ("x-keyfob-key-id", &*key_id),
                ("x-keyfob-owner", "user:alice"),
                ("x-keyfob-team", "team"),
                ("x-keyfob-namespace", "orders"),
                ("x-keyfob-scopes", "invoke read"),
                ("x-keyfob-expires", &expires),
            ]
        );
        assert_eq!(
            ok.headers_to_remove,
            [
                "authorization",
                "x-keyfob-identity",
                "X_Keyfob_Team",
                "x-keyfob_future",
                "x-keyfob-future",
            ]
        );
        let metadata = texts(&metadata);
        let metadata: Vec<_> = metadata.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(
            metadata,
            [
                ("reason", "valid"),
                ("key_id", &key_id),
                ("owner", "user:alice"),
                ("team", "team"),
                ("namespace", "orders"),
                ("scopes", "invoke read"),
                ("expires", &expires),
            ]
        );
    }
}

#[tokio::test]
async fn an_identity_field_without_a_value_is_removed() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    // A key without an end.
    let asked = Asked::of("billing", &fixture.billing.secret).with("x-keyfob-expires", "9999");
    let (ok, _) = served.accepted(&asked).await;
    assert!(
        ok.headers_to_remove
            .contains(&"x-keyfob-expires".to_owned())
    );
    for option in &ok.headers {
        let (name, value) = is_set(option);
        assert!(
            !value.is_empty() && !ok.headers_to_remove.contains(&name.to_owned()),
            "{name}"
        );
    }
}

/// The fields of a refusal, by name, and whether each replaces others.
fn fields(denied: &DeniedHttpResponse) -> Vec<(&str, &str, bool)> {
    let field = |option: &HeaderValueOption| -> (bool, i32) {
        (option.append.is_some(), option.append_action)
    };
    denied
        .headers
        .iter()
        .map(|option| {
            let header = option.header.as_ref().unwrap();
            let replaces = match field(option) {
                (true, 2) => true,
                (false, 0) => false,
                other => panic!("{other:?}"),
            };
            (&*header.key, &*header.value, replaces)
        })
        .collect()
}

#[tokio::test]
async fn a_refusal_has_status_fields_and_body_of_the_authorizer() {
    let fixture = Fixture::new().await;
    let authorizer = fixture.authorizer().show_reason(true).build();
    let served = Served::new(ExtAuthz::new(authorizer)).await;
    let no_store = ("cache-control", "no-store", true);
    let problem = ("content-type", "application/problem+json", true);

    let (denied, reason) = served
        .refused(&Asked::new("/api/v1/namespaces/orders"))
        .await;
    assert_eq!(
        (denied.status.unwrap().code, &*reason),
        (401, "no_credential")
    );
    assert_eq!(
        fields(&denied),
        [
            no_store,
            ("www-authenticate", "Basic realm=\"keyfob\"", false),
            ("www-authenticate", "Bearer realm=\"keyfob\"", false),
            problem,
        ]
    );
    assert!(denied.body.contains("\"status\":401"), "{}", denied.body);

    for (path, status, reason) in [
        (
            "/api/v1/namespaces/billing/actions/x",
            403,
            "wrong_namespace",
        ),
        ("/other", 403, "no_rule"),
        (
            "/api/v1/namespaces/orders/..%2fbilling",
            400,
            "ambiguous_target",
        ),
    ] {
        let mut asked = Asked::of("orders", &fixture.orders.secret);
        asked.path = path.into();
        let (denied, why) = served.refused(&asked).await;
        assert_eq!(
            (denied.status.unwrap().code, &*why),
            (status, reason),
            "{path}"
        );
        assert_eq!(fields(&denied), [no_store, problem], "{path}");
    }
}

#[tokio::test]
async fn the_status_of_grpc_is_never_ok_for_a_refusal() {
    let fixture = Fixture::new().await;
    let most = NonZeroU32::new(2).unwrap();
    let authorizer = fixture
        .authorizer()
        .refusal(RefusalForm::OpenWhisk)
        .throttle(Throttle::per_minute(most))
        .build();
    let served = Served::new(ExtAuthz::new(authorizer)).await;
    let code = async |asked: &Asked| {
        let response = served.check(asked.request()).await;
        response.status.unwrap().code
    };
    let orders = Asked::of("orders", &fixture.orders.secret);
    assert_eq!(code(&orders).await, 0);
    assert_eq!(code(&Asked::of("billing", &fixture.orders.secret)).await, 7);
    assert_eq!(code(&Asked::new("/api/v1/namespaces/orders")).await, 16);
    assert_eq!(code(&Asked::new("/a//b")).await, 3);
    assert_eq!(
        code(&orders.clone().extended("keyfob_scope", "read")).await,
        14
    );

    // The third wrong one is over the limit; another client's is not, and a valid key never is.
    let wrong = Asked::new("/api/v1/namespaces/orders").with("authorization", "Bearer nothing");
    for _ in 0..2 {
        assert_eq!(code(&wrong).await, 16);
    }
    let (denied, reason) = served.refused(&wrong).await;
    assert_eq!((denied.status.unwrap().code, &*reason), (429, "throttled"));
    let retry = fields(&denied);
    assert!(
        retry.iter().any(|(name, ..)| *name == "retry-after"),
        "{retry:?}"
    );
    assert!(denied.body.starts_with("{\"error\":"), "{}", denied.body);
    assert_eq!(code(&wrong).await, 8);
    let elsewhere = Asked {
        client: "192.0.2.8",
        ..wrong
    };
    assert_eq!(code(&elsewhere).await, 16);
    assert_eq!(code(&orders).await, 0);
}

#[tokio::test]
async fn a_revoked_key_is_refused_by_the_next_answer() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    let asked = Asked::of("orders", &fixture.orders.secret);
    served.accepted(&asked).await;
    let (context, info) = (Context::system(keyfob::now()), &fixture.orders.info);
    let revoked = fixture
        .keyring
        .revoke(&context, &info.tenant, info.id, None);
    revoked.await.unwrap();
    assert_eq!(served.reason(&asked).await, (401, "revoked".to_owned()));
}
