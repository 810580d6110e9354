//! Where the namespace stands, and requests that do not say it.

use std::sync::Arc;

use axum::http::{HeaderValue, Request};
use keyfob::name::NamespaceId;
use keyfob_tower::{NamespaceFault, Refusal};

use crate::{
    fixture::{Fixture, bearer, request, send},
    hyper_server::{Server, get},
};

const PATTERN: &str = "/api/v1/namespaces/{namespace}";

#[tokio::test]
async fn the_namespace_is_where_the_layer_looks_for_it() {
    let fixture = Fixture::new().await;
    let guard = fixture.guard();
    let key = bearer(&fixture.key().await);
    let by_header = guard.namespace_with(|parts| {
        let value = parts.headers.get("x-namespace")?;
        value.to_str().ok().map(str::to_owned)
    });
    for (layer, uri, namespace, status) in [
        (
            guard.namespace_in_path(PATTERN),
            "/api/v1/namespaces/orders/x",
            "",
            200,
        ),
        (
            guard.namespace_in_path(PATTERN),
            "/api/v1/namespaces/billing/x",
            "",
            403,
        ),
        (
            guard.namespace_in_path(PATTERN),
            "/api/v1/other/orders",
            "",
            404,
        ),
        (
            guard.namespace_in_path(PATTERN),
            "/api/v1/namespaces/_/x",
            "",
            400,
        ),
        (
            guard.namespace_in_path(PATTERN).accepting_underscore(),
            "/api/v1/namespaces/_/x",
            "",
            200,
        ),
        (
            guard.namespace_in_host("fn.test"),
            "http://orders.fn.test/",
            "",
            200,
        ),
        (
            guard.namespace_in_host("fn.test"),
            "http://billing.fn.test/",
            "",
            403,
        ),
        (
            guard.namespace_in_host("fn.test"),
            "http://orders.test/",
            "",
            404,
        ),
        (guard.namespace_in_host("fn.test"), "/", "", 400),
        (by_header.clone(), "/", "orders", 200),
        (by_header.clone(), "/", "billing", 403),
        (by_header.clone(), "/", "a/b", 400),
        (by_header.clone(), "/", "_", 400),
        (by_header.clone().accepting_underscore(), "/", "_", 200),
        (guard.namespace_with(|_| None::<NamespaceId>), "/", "", 404),
        (guard.namespace_with(|_| Some("orders")), "/", "", 200),
        (guard.namespace_of_credential(), "/", "", 200),
    ] {
        let mut request = request(uri, &[&key]);
        let value = HeaderValue::from_static(namespace);
        request.headers_mut().insert("x-namespace", value);
        let answer = send(&layer, request).await;
        assert_eq!(answer.status, status, "{layer:?} {uri} {namespace}");
        if let Some(seen) = answer.seen {
            assert_eq!(seen.caller.unwrap().tenant.namespace.as_str(), "orders");
        }
    }
}

#[tokio::test]
async fn a_request_for_no_namespace_is_refused_before_its_credential_is_looked_at() {
    let fixture = Fixture::new().await;
    let guard = fixture
        .guard()
        .with_throttle(|_, _| panic!("a decision was made"));
    let key = bearer(&fixture.key().await);
    let layer = guard.namespace_in_path(PATTERN);
    for (uri, status, reason) in [
        ("/other", 404, "no_namespace"),
        ("/api/v1/namespaces/a/../orders", 400, "ambiguous_namespace"),
        ("/api/v1/namespaces/_", 400, "invalid_namespace"),
    ] {
        for credentials in [&[][..], &[&*key], &[&*key, &*key]] {
            let answer = send(&layer, request(uri, credentials)).await;
            assert_eq!((answer.status.as_u16(), answer.reason()), (status, reason));
            assert!(answer.all("www-authenticate").is_empty());
            assert_eq!(answer.refusal.unwrap().denied(), None);
            assert!(matches!(answer.refusal, Some(Refusal::Namespace(_))));
            assert!(answer.seen.is_none());
        }
    }
    let answer = send(&layer, request("/other", &[])).await;
    assert_eq!(
        answer.refusal,
        Some(Refusal::Namespace(NamespaceFault::Missing))
    );
}

#[tokio::test]
async fn the_function_that_reads_the_namespace_sees_no_credential() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    let layer = fixture.guard().namespace_with(|parts| {
        assert!(!parts.headers.contains_key("authorization"));
        Some("orders")
    });
    assert_eq!(send(&layer, request("/", &[&key])).await.status, 200);
}

/// The targets go over a socket as they are. What passes must be for `orders` to every program
/// that could read the path after the guard, however it normalises.
#[tokio::test]
async fn no_target_passes_that_another_program_takes_for_another_namespace() {
    let fixture = Fixture::new().await;
    let key = bearer(&fixture.key().await);
    for accepts_underscore in [false, true] {
        let mut layer = fixture.guard().namespace_in_path(PATTERN);
        if accepts_underscore {
            layer = layer.accepting_underscore();
        }
        let paths = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&paths);
        let server = Server::start(layer, move |request: &Request<_>| {
            seen.lock().unwrap().push(request.uri().path().to_owned());
        })
        .await;
        let mut passed = Vec::new();
        let targets = include_bytes!("paths.txt").split(|byte| *byte == b'\n');
        for target in targets.filter(|target| !target.is_empty()) {
            let status = get(server.address, target, &[("Authorization", &key)])
                .await
                .status;
            assert!([200, 400, 403, 404].contains(&status), "{status}");
            if status == 200 {
                passed.push(String::from_utf8(target.to_vec()).unwrap());
            }
        }
        let paths = paths.lock().unwrap();
        assert_eq!(paths.len(), passed.len());
        for path in &*paths {
            for namespace in readings(path) {
                let is_own = accepts_underscore && namespace == "_";
                assert!(
                    namespace == "orders" || is_own,
                    "{path} is read as {namespace}"
                );
            }
        }
        let mut expected = vec![
            "/api/v1/namespaces/orders/actions/x",
            "/api/v1/namespaces/orders?x/actions/x",
            "/api/v1/namespaces/orders#x/actions/x",
            "/api/v1/namespaces/orders",
            "/api/v1/namespaces/orders/",
            "/api/v1/namespaces/orders/actions/x?y=/api/v1/namespaces/other/actions/z",
        ];
        if accepts_underscore {
            expected.push("/api/v1/namespaces/_/actions/x");
        }
        passed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(passed, expected);
    }
}

/// The namespaces that programs could read in a path: decoded up to twice, before or after it is
/// normalised.
fn readings(path: &str) -> Vec<String> {
    let once = decode(path.as_bytes());
    let twice = decode(&once);
    let mut readings = Vec::new();
    for text in [once, twice] {
        let text = String::from_utf8_lossy(&text).replace('\\', "/");
        let mut segments = Vec::new();
        for segment in text.split('/').filter(|segment| !segment.is_empty()) {
            match segment.split(';').next().unwrap() {
                "." => {}
                ".." => drop(segments.pop()),
                segment => segments.push(segment),
            }
        }
        assert_eq!(segments[..3], ["api", "v1", "namespaces"], "{path}");
        readings.push(segments[3].split(['?', '#']).next().unwrap().to_owned());
    }
    readings
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        let code = others.get(..2).filter(|_| *first == b'%');
        let code = code.and_then(|code| u8::from_str_radix(str::from_utf8(code).ok()?, 16).ok());
        decoded.push(code.unwrap_or(*first));
        rest = if code.is_some() { &others[2..] } else { others };
    }
    decoded
}
