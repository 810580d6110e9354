//! The front over HTTP, for each place of the original request.

use axum::http::{HeaderMap, Request, Response};
use bytes::Bytes;
use keyfob::{NewKey, Scopes, name::Scope};
use keyfob_gateway::{
    AuthorizerBuilder,
    http::{Front, Peers, RequestSource},
};
use keyfob_listen::{Head, Peer};

use crate::fixture::Fixture;

const TARGET: &str = "/api/v1/namespaces/orders/actions/x";

fn request(method: &str, uri: &str, fields: &[(&str, &[u8])]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut request = request.body(()).unwrap();
    let peer = Peer::Tcp("127.0.0.1:9".parse().unwrap());
    request.extensions_mut().insert(peer);
    request
}

fn answer(front: &Front, request: &Request<()>) -> Option<Response<Bytes>> {
    front.answer(&Head::of(request))
}

struct Asked {
    fixture: Fixture,
    key: String,
}

impl Asked {
    fn new() -> Self {
        let fixture = Fixture::new();
        let key = fixture.key("orders");
        fixture.key("other");
        Self { fixture, key }
    }

    fn front(&self, source: RequestSource) -> Front {
        self.front_of(self.fixture.builder(), source)
    }

    #[expect(clippy::unused_self, reason = "reads better")]
    fn front_of(&self, builder: AuthorizerBuilder, source: RequestSource) -> Front {
        Front::new(builder.show_reason(true).build(), source)
    }

    /// The status and the reason.
    fn ask(&self, front: &Front, uri: &str, fields: &[(&str, &str)]) -> (u16, String) {
        let fields: Vec<(&str, &[u8])> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .chain([("authorization", self.key.as_bytes())])
            .collect();
        let response = answer(front, &request("GET", uri, &fields)).unwrap();
        outcome(&response)
    }
}

fn outcome(response: &Response<Bytes>) -> (u16, String) {
    let reason = response.headers().get("x-keyfob-reason");
    let reason = reason.map_or("", |value| value.to_str().unwrap());
    (response.status().as_u16(), reason.to_owned())
}

fn expected(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[test]
fn a_named_namespace_stands_in_a_field_or_in_the_path() {
    let asked = Asked::new();
    let front = asked.front(RequestSource::Named);
    let own = [("x-keyfob-namespace", "orders")];
    let other = [("x-keyfob-namespace", "other")];
    let twice = [own[0], own[0]];
    // Those of other sources are the client's.
    let forged = [own[0], ("x-original-uri", "/api/v1/namespaces/other")];
    for (uri, fields, status, reason) in [
        ("/auth", &own[..], 200, ""),
        ("/auth/", &own, 200, ""),
        ("/auth", &forged, 200, ""),
        ("/auth", &other, 403, "wrong_namespace"),
        ("/auth", &[], 503, "no_target"),
        ("/auth", &[("x-keyfob-namespace", "")], 503, "no_target"),
        ("/auth", &twice, 503, "two_targets"),
        ("/auth/orders", &[], 200, ""),
        ("/auth/orders/any/path?scope=x&y=z&w", &[], 200, ""),
        ("/auth/orders/?y=z", &[], 503, "unknown_parameter"),
        ("/auth/orders", &own, 200, ""),
        ("/auth/other", &own, 400, "ambiguous_target"),
        ("/auth/orders", &twice, 400, "ambiguous_target"),
        ("/auth/_", &[], 200, ""),
        ("/auth/other", &[], 403, "wrong_namespace"),
        ("/auth/orders/..%2fother", &[], 400, "ambiguous_target"),
        ("/auth/o%72ders", &[], 400, "ambiguous_target"),
        ("/auth//orders", &[], 400, "ambiguous_target"),
        ("/auth/a%40b", &[], 400, "ambiguous_target"),
    ] {
        let outcome = asked.ask(&front, uri, fields);
        assert_eq!(outcome, expected(status, reason), "{uri} {fields:?}");
    }
    for uri in [
        "/",
        "/authx",
        "/auths/orders",
        "/metrics",
        "/.well-known/jwks.json",
    ] {
        assert!(answer(&front, &request("GET", uri, &[])).is_none(), "{uri}");
    }
    let bytes = [
        ("x-keyfob-namespace", &b"orders\xff"[..]),
        ("authorization", asked.key.as_bytes()),
    ];
    let response = answer(&front, &request("GET", "/auth", &bytes)).unwrap();
    assert_eq!(outcome(&response), expected(400, "invalid_namespace"));
}

#[test]
fn the_fields_of_nginx_and_of_forwarding_proxies_name_the_request() {
    let asked = Asked::new();
    for (source, prefix) in [
        (RequestSource::XOriginalUri, "x-original"),
        (RequestSource::XForwarded, "x-forwarded"),
    ] {
        let front = asked.front(source);
        let names = ["uri", "method", "host"].map(|part| format!("{prefix}-{part}"));
        let [uri, method, host] = names.each_ref().map(String::as_str);
        let question = |target| vec![(uri, target), (method, "POST"), (host, "gw.test")];
        for (target, status, reason) in [
            (TARGET, 200, ""),
            ("http://gw.test/api/v1/namespaces/orders", 200, ""),
            ("/api/v1/namespaces/_", 200, ""),
            ("/api/v1/namespaces/other", 403, "wrong_namespace"),
            (
                "/api/v1/namespaces/other/..%2forders",
                400,
                "ambiguous_target",
            ),
            ("/other", 403, "no_rule"),
            ("", 503, "no_target"),
        ] {
            let outcome = asked.ask(&front, "/auth", &question(target));
            assert_eq!(outcome, expected(status, reason), "{target}");
        }
        // Each field is needed once, but for the host: a client may name none.
        for missing in 0..3 {
            let mut fields = question(TARGET);
            let left_out = fields.remove(missing);
            let outcome = asked.ask(&front, "/auth", &fields);
            let (status, reason) = if missing == 2 {
                (200, "")
            } else {
                (503, "no_target")
            };
            assert_eq!(outcome, expected(status, reason), "{left_out:?}");
            let mut fields = question(TARGET);
            fields.push(fields[missing]);
            let outcome = asked.ask(&front, "/auth", &fields);
            assert_eq!(outcome, expected(503, "two_targets"), "{left_out:?}");
        }
        // Neither the path of the question nor a name in a field counts.
        let mut fields = question("/api/v1/namespaces/other");
        fields.push(("x-keyfob-namespace", "orders"));
        let outcome = asked.ask(&front, "/auth/orders", &fields);
        assert_eq!(outcome, expected(403, "wrong_namespace"));
    }
}

#[test]
fn an_appended_path_names_the_request() {
    let asked = Asked::new();
    let front = asked.front(RequestSource::Appended);
    let host = [("host", "gw.test")];
    for (uri, fields, status, reason) in [
        (&*format!("/auth{TARGET}"), &host[..], 200, ""),
        (&format!("/auth{TARGET}?scope=admin&x=y"), &host, 200, ""),
        ("/auth/api/v1/namespaces/_", &host, 200, ""),
        (
            "/auth/api/v1/namespaces/other",
            &host,
            403,
            "wrong_namespace",
        ),
        (
            "/auth/api/v1/namespaces/x/../orders",
            &host,
            400,
            "ambiguous_target",
        ),
        (
            "/auth//api/v1/namespaces/orders",
            &host,
            400,
            "ambiguous_target",
        ),
        ("/auth/auth/orders", &host, 403, "no_rule"),
        ("/auth/", &host, 403, "no_rule"),
        ("/auth", &host, 503, "no_target"),
        ("/auth?x", &host, 503, "no_target"),
        // A client may name no host.
        (&format!("/auth{TARGET}"), &[], 200, ""),
        (
            &format!("/auth{TARGET}"),
            &[host[0], host[0]],
            503,
            "two_targets",
        ),
    ] {
        let outcome = asked.ask(&front, uri, fields);
        assert_eq!(outcome, expected(status, reason), "{uri}");
    }
}

#[test]
fn scopes_are_asked_for_in_the_query_or_a_field() {
    let asked = Asked::new();
    let new = NewKey::for_user("team", "orders", "alice", "reader").unwrap();
    let scopes = ["read", "list"].map(|name| Scope::new(name).unwrap());
    let key = asked
        .fixture
        .create(new.with_scopes(Scopes::only(scopes).unwrap()));
    let front = asked.front(RequestSource::Named);
    for (query, field, status, reason) in [
        ("", "", 200, ""),
        ("?", "", 200, ""),
        ("?scope=read", "", 200, ""),
        ("?scope=read&scope=list", "", 200, ""),
        ("?scope=read%20list", "", 200, ""),
        ("?scope=read+list", "list", 200, ""),
        ("?scope=admin", "", 403, "missing_scope"),
        ("?scope=read&scope=admin", "", 403, "missing_scope"),
        ("", "read admin", 403, "missing_scope"),
        ("?scope=read", "admin", 403, "missing_scope"),
        // A misspelt name must not let every key pass.
        ("?scopes=admin", "", 503, "unknown_parameter"),
        ("?admin", "", 503, "unknown_parameter"),
        ("?scope=%ff", "", 503, "invalid_scope"),
        ("?scope=a%22b", "", 503, "invalid_scope"),
        // A client may have written these.
        ("", "\"", 400, "ambiguous_target"),
        ("", "h\u{e9}", 400, "ambiguous_target"),
        ("/x?scope=a%22b", "", 400, "ambiguous_target"),
        ("/x?scope=%ff", "", 400, "ambiguous_target"),
    ] {
        let uri = format!("/auth/orders{query}");
        let mut fields = vec![("authorization", key.as_bytes())];
        if !field.is_empty() {
            fields.push(("x-keyfob-scope", field.as_bytes()));
        }
        let response = answer(&front, &request("GET", &uri, &fields)).unwrap();
        assert_eq!(
            outcome(&response),
            expected(status, reason),
            "{uri} {field}"
        );
    }
}

#[test]
fn only_configured_peers_are_answered() {
    let asked = Asked::new();
    let front = asked.front(RequestSource::Named);
    let wide = asked
        .front(RequestSource::Named)
        .with_peers(Peers::of(["192.0.2.0/24".parse().unwrap()]));
    let ask = |front: &Front, peer: Option<Peer>| {
        let fields = [("authorization", asked.key.as_bytes())];
        let mut request = request("GET", "/auth/orders", &fields);
        request.extensions_mut().clear();
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        outcome(&answer(front, &request).unwrap())
    };
    let tcp = |address: &str| Some(Peer::Tcp(address.parse().unwrap()));
    let refused = expected(403, "untrusted_peer");
    assert_eq!(ask(&front, tcp("127.0.0.1:1")), expected(200, ""));
    assert_eq!(ask(&front, Some(Peer::Unix)), expected(200, ""));
    assert_eq!(ask(&front, tcp("192.0.2.7:1")), refused);
    assert_eq!(ask(&front, None), refused);
    assert_eq!(ask(&wide, tcp("192.0.2.7:1")), expected(200, ""));
    assert_eq!(ask(&wide, tcp("127.0.0.1:1")), refused);
}

#[test]
fn a_response_has_the_fields_and_the_body_of_the_answer() {
    let asked = Asked::new();
    let front = asked.front(RequestSource::Named);
    let all = |headers: &HeaderMap, name: &str| {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| value.to_str().unwrap().to_owned());
        values.collect::<Vec<_>>()
    };
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND"] {
        let fields = [("authorization", asked.key.as_bytes())];
        let accepted = answer(&front, &request(method, "/auth/orders", &fields)).unwrap();
        assert_eq!(accepted.status(), 200);
        assert_eq!(all(accepted.headers(), "x-keyfob-owner"), ["user:alice"]);
        assert_eq!(all(accepted.headers(), "x-keyfob-expires"), [""]);
        assert!(accepted.body().is_empty());
        let refused = answer(&front, &request(method, "/auth/orders", &[])).unwrap();
        assert_eq!(refused.status(), 401);
        assert_eq!(all(refused.headers(), "www-authenticate").len(), 2);
        assert_eq!(all(refused.headers(), "cache-control"), ["no-store"]);
        let kind = all(refused.headers(), "content-type");
        assert_eq!(kind, ["application/problem+json"]);
        assert!(refused.body().starts_with(b"{\"type\""));
    }
    // Two credentials, of which the proxy may have checked the other one.
    let twice = [("authorization", asked.key.as_bytes()); 2];
    let refused = answer(&front, &request("GET", "/auth/orders", &twice)).unwrap();
    assert_eq!(outcome(&refused), expected(401, "repeated_header"));
}

#[test]
fn attempts_are_counted_by_the_client_that_the_proxy_names() {
    let asked = Asked::new();
    for (source, fields, other) in [
        (
            RequestSource::Named,
            [("x-real-ip", "192.0.2.1"); 1],
            "192.0.2.2",
        ),
        (
            RequestSource::XForwarded,
            [("x-forwarded-for", "203.0.113.9, 192.0.2.1"); 1],
            "192.0.2.1, 192.0.2.2",
        ),
        (
            RequestSource::Appended,
            [("x-envoy-external-address", "192.0.2.1"); 1],
            "192.0.2.2",
        ),
    ] {
        let limit = keyfob_gateway::Throttle::per_minute(3.try_into().unwrap());
        let front = asked.front_of(asked.fixture.builder().throttle(limit), source);
        let ask = |client: (&str, &str)| {
            let fields = [
                client,
                ("authorization", "Bearer x"),
                ("host", "gw.test"),
                ("x-forwarded-uri", TARGET),
                ("x-forwarded-host", "gw.test"),
                ("x-forwarded-method", "GET"),
            ];
            let fields = fields.map(|(name, value)| (name, value.as_bytes()));
            let uri = match source {
                RequestSource::Named => "/auth/orders".to_owned(),
                _ => format!("/auth{TARGET}"),
            };
            answer(&front, &request("GET", &uri, &fields))
                .unwrap()
                .status()
                .as_u16()
        };
        let client = fields[0];
        let statuses: Vec<u16> = (0..5).map(|_| ask(client)).collect();
        assert_eq!(statuses, [401, 401, 401, 429, 429], "{source:?}");
        assert_eq!(ask((client.0, other)), 401, "{source:?}");
    }
}
