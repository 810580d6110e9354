//! What is read from a question.

use keyfob::name::NamespaceId;
use keyfob_envoy::ExtAuthz;
use keyfob_gateway::{Place, Rule, Rules};

use crate::{
    fixture::{Asked, Fixture, Served, check, refused, texts},
    message::{AttributeContext, CheckRequest, HeaderValue},
};

#[tokio::test]
async fn the_credential_is_every_authorization_field() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    let key = format!("Bearer {}", fixture.orders.secret.expose());
    let path = "/api/v1/namespaces/orders/actions/x";
    for name in ["authorization", "Authorization"] {
        served.accepted(&Asked::new(path).with(name, &key)).await;
        served
            .accepted(&Asked::new(path).with(name, &key).texts())
            .await;
    }
    let twice = Asked::new(path)
        .with("authorization", &key)
        .with("Authorization", &key);
    for (asked, reason) in [
        (twice.clone(), "repeated_header"),
        (twice.texts(), "repeated_header"),
        // As Envoy joins two.
        (
            Asked::new(path)
                .with("authorization", format!("{key},{key}"))
                .texts(),
            "malformed",
        ),
        (
            Asked::new(path).with("authorization", b"Bearer \xff"),
            "malformed",
        ),
        (Asked::new(path), "no_credential"),
    ] {
        assert_eq!(served.reason(&asked).await, (401, reason.to_owned()));
    }
}

#[tokio::test]
async fn the_target_is_judged_by_its_bytes() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    let ambiguous = (400, "ambiguous_target".to_owned());
    let of = |path: &[u8]| Asked {
        path: path.to_owned(),
        ..Asked::of("orders", &fixture.orders.secret)
    };
    served
        .accepted(&of(b"/api/v1/namespaces/orders/actions/x!?a=/../b"))
        .await;
    for path in [
        &b"/api/v1/namespaces/orders/actions/\xff"[..],
        b"/api/v1/namespaces/orders/\xc3\xa4",
        b"/api/v1/namespaces/orders/../billing",
        b"/api/v1/namespaces/orders/%2e%2e/billing",
        b"/api/v1/namespaces//orders",
        b"/api/v1/namespaces/orders;x/actions",
        b"/api/v1/namespaces/orders\\actions",
        b"/api/v1/namespaces/orders/a\r\nb",
        b"/API/v1/namespaces/orders/actions/x",
        b"/api/v1/namespaces/orders/actions/x#/",
        b"*",
    ] {
        let asked = of(path);
        assert_eq!(
            served.reason(&asked).await,
            ambiguous,
            "{}",
            path.escape_ascii()
        );
        assert_eq!(
            served.reason(&asked.texts()).await,
            ambiguous,
            "{}",
            path.escape_ascii()
        );
    }
    // In a text, it may stand for another byte that the backend gets.
    let asked = of(b"/api/v1/namespaces/orders/actions/x!").texts();
    assert_eq!(served.reason(&asked).await, ambiguous);
    // The bytes count, not the text.
    let mut request = of(b"/api/v1/namespaces/billing/actions/x").request();
    let http = request
        .attributes
        .as_mut()
        .unwrap()
        .request
        .as_mut()
        .unwrap();
    http.http.as_mut().unwrap().path = b"/api/v1/namespaces/orders/actions/x".to_vec();
    let (denied, reason) = refused(served.check(request).await);
    assert_eq!(
        (denied.status.unwrap().code, &*reason),
        (403, "wrong_namespace")
    );
}

#[tokio::test]
async fn rules_see_the_method_and_the_host() {
    let fixture = Fixture::new().await;
    let orders = Place::Fixed(NamespaceId::new("orders").unwrap());
    let rules = Rules::new(vec![
        Rule::of_host("{namespace}.fn.example".parse().unwrap()),
        Rule::of_path("/orders".parse().unwrap())
            .with_methods(["GET".to_owned()])
            .with_place(orders),
    ]);
    let authorizer = fixture.authorizer().rules(rules.unwrap()).build();
    let served = Served::new(ExtAuthz::new(authorizer)).await;
    let secret = &fixture.orders.secret;
    for raw in [true, false] {
        let asked = |method, host, path: &str| Asked {
            method,
            host,
            path: path.into(),
            raw,
            ..Asked::of("", secret)
        };
        served
            .accepted(&asked("PUT", "orders.fn.example", "/x"))
            .await;
        served
            .accepted(&asked("GET", "api.example", "/orders"))
            .await;
        let post = served
            .reason(&asked("POST", "api.example", "/orders"))
            .await;
        assert_eq!(post, (403, "no_rule".to_owned()));
        let other = served
            .reason(&asked("PUT", "billing.fn.example", "/x"))
            .await;
        assert_eq!(other, (403, "wrong_namespace".to_owned()));
    }
}

#[tokio::test]
async fn the_configuration_of_envoy_can_name_namespace_and_scopes() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    let of = |path: &str| Asked {
        path: path.into(),
        ..Asked::of("", &fixture.orders.secret)
    };
    let named = of("/anything").extended("keyfob_namespace", "orders");
    served.accepted(&named).await;
    let (_, metadata) = served
        .accepted(&of("/x").extended("keyfob_namespace", "_"))
        .await;
    assert!(texts(&metadata).contains(&("namespace".to_owned(), "orders".to_owned())));
    served
        .accepted(&named.clone().extended("keyfob_scopes", "read invoke"))
        .await;
    served
        .accepted(&named.clone().extended("virtual_host", "web"))
        .await;
    for (asked, status, reason) in [
        (
            of("/x").extended("keyfob_namespace", "billing"),
            403,
            "wrong_namespace",
        ),
        (
            named.clone().extended("keyfob_scopes", "read write"),
            403,
            "missing_scope",
        ),
        // A backend may take it for another namespace's.
        (
            of("/a/../b").extended("keyfob_namespace", "orders"),
            400,
            "ambiguous_target",
        ),
        (
            of("/x").extended("keyfob_namespace", ""),
            400,
            "invalid_namespace",
        ),
        // Mistakes in the configuration.
        (
            named.clone().extended("keyfob_scope", "read"),
            503,
            "unknown_extension",
        ),
        (
            named.clone().extended("keyfob_namespace", "orders"),
            503,
            "unknown_extension",
        ),
        (
            named.clone().extended("keyfob_scopes", ""),
            503,
            "invalid_scope",
        ),
        (
            named.clone().extended("keyfob_scopes", "a  b"),
            503,
            "invalid_scope",
        ),
    ] {
        assert_eq!(served.reason(&asked).await, (status, reason.to_owned()));
    }
    // What a client sends names nothing.
    let forged = of("/x").with("keyfob_namespace", "orders");
    assert_eq!(served.reason(&forged).await, (403, "no_rule".to_owned()));
}

#[tokio::test]
async fn a_question_without_a_request_is_the_fault_of_the_configuration() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    let good = Asked::of("orders", &fixture.orders.secret);
    let mut no_http = good.request();
    no_http.attributes.as_mut().unwrap().request = None;
    let mut no_path = good.clone().texts().request();
    let http = no_path
        .attributes
        .as_mut()
        .unwrap()
        .request
        .as_mut()
        .unwrap();
    http.http.as_mut().unwrap().path.clear();
    // Left out by `allowed_headers`.
    let mut no_raw_path = good.request();
    let http = no_raw_path
        .attributes
        .as_mut()
        .unwrap()
        .request
        .as_mut()
        .unwrap();
    let map = http.http.as_mut().unwrap().header_map.as_mut().unwrap();
    map.headers.retain(|it| it.key != b":path");
    let mut two_paths = good.request();
    let http = two_paths
        .attributes
        .as_mut()
        .unwrap()
        .request
        .as_mut()
        .unwrap();
    let map = http.http.as_mut().unwrap().header_map.as_mut().unwrap();
    map.headers.push(HeaderValue {
        key: b":path".to_vec(),
        value: b"/".to_vec(),
        raw_value: Vec::new(),
    });
    for (request, reason) in [
        (CheckRequest::default(), "no_target"),
        (
            CheckRequest {
                attributes: Some(AttributeContext::default()),
            },
            "no_target",
        ),
        (no_http, "no_target"),
        (no_path, "no_target"),
        (no_raw_path, "no_target"),
        (two_paths, "two_targets"),
    ] {
        let (denied, why) = refused(served.check(request).await);
        assert_eq!((denied.status.unwrap().code, &*why), (503, reason));
    }
}

#[tokio::test]
async fn a_question_that_is_too_long_is_refused() {
    let fixture = Fixture::new().await;
    let served = fixture.serve().await;
    let good = Asked::of("orders", &fixture.orders.secret);
    let long = good.clone().with("x-long", vec![b'x'; 60_000]);
    served.accepted(&long).await;
    let too_long = good.with("x-long", vec![b'x'; 1 << 20]);
    check(&served.channel, too_long.request())
        .await
        .unwrap_err();
}
