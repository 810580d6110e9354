//! Requests that a page of another site makes in a browser.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    http::{Request, request::Parts},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use keyfob::{
    Actor, Keyring, MemoryStore, Timestamp,
    name::{TeamId, UserId},
    store::AuditQuery,
};
use keyfob_api::{
    Authenticate, Authentication, Caller, ControlPlane, Right, Rights, Unauthenticated,
};
use serde_json::json;

use crate::fixture::{Answer, Fixture};

const REMOVE: &str = "/v1/teams/acme/members/bob/remove";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const EVIL: &str = "https://evil.example";
const OWN: &str = "https://keys.example";

/// A browser adds this credential by itself.
struct Cookie;

impl Authenticate for Cookie {
    fn authenticate<'a>(&'a self, request: &'a Parts, _: Timestamp) -> Authentication<'a> {
        Box::pin(async move {
            if request.headers.get("cookie").is_none() {
                return Err(Unauthenticated::Refused("no_cookie"));
            }
            let (user, team) = (UserId::new("ada").unwrap(), TeamId::new("acme").unwrap());
            let rights = Rights::new([Right::Operator]);
            Ok(Caller::new(Actor::user(user), team, rights))
        })
    }
}

struct Panel {
    router: Router,
    keyring: Arc<Keyring>,
}

impl Panel {
    async fn new() -> Self {
        let keyring = Keyring::open(MemoryStore::new(), "dof").await.unwrap();
        let keyring = Arc::new(keyring);
        let plane = ControlPlane::new(Arc::clone(&keyring)).with_authenticate(Cookie);
        let panel = Self {
            router: plane.into_router(),
            keyring,
        };
        // A namespace and a key, to change.
        let made = [
            ("POST", "/v2/functions/namespaces", json!({"label": "x"})),
            (
                "POST",
                "/v2/functions/namespaces/control:acme/keys",
                json!({"name": "x", "scopes": ["function:read"]}),
            ),
        ];
        for (method, path, body) in made {
            let headers = [("content-type", JSON)];
            let answer = panel.send(method, path, &headers, &body.to_string()).await;
            assert!(answer.status < 300, "{}", answer.text);
        }
        panel
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "keys.example")
            .header("cookie", "session=1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        Answer::of(&self.router, request).await
    }

    /// How many changes were made.
    async fn changes(&self) -> usize {
        let query = AuditQuery::every_team();
        self.keyring.audit(&query).await.unwrap().items.len()
    }
}

/// Every call that is no reading, by the document.
fn changes() -> Vec<(String, String)> {
    let document = ControlPlane::openapi();
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = [
            ("{namespace_id}", "control:acme"),
            ("{team_id}", "acme"),
            ("{kind}", "members"),
            ("{name}", "bob"),
            ("{key_id}", "dof_v1_d79e8aeb42e5476893c7d4c59a166264"),
            ("{legacy_id}", "23bc46b1-71f6-4ed5-8c54-816aa4f8c502"),
        ]
        .into_iter()
        .fold(path.clone(), |path, (name, value)| {
            path.replace(name, value)
        });
        let methods = ["post", "put", "delete", "patch"];
        let methods = methods.iter().filter(|method| !item[**method].is_null());
        calls.extend(methods.map(|method| (method.to_uppercase(), path.clone())));
    }
    assert!(calls.len() > 20, "{calls:?}");
    calls
}

const REFUSED: &str = "a page of another origin must not do this";

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let panel = Panel::new().await;
    let before = panel.changes().await;
    let origins: &[&[(&str, &str)]] = &[
        &[("origin", EVIL)],
        &[("origin", EVIL), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site")],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "https://a.example"),
        ],
        &[("origin", "null")],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://keys.example.evil.example")],
        &[("origin", "https://keys.example:8443")],
        &[("origin", "https://keys.example@evil.example")],
        &[("origin", "data:text/html,x")],
    ];
    let bodies = [
        (None, ""),
        (Some(JSON), "{}"),
        (Some(JSON), r#"{"of": "team", "label": "x", "token": "x"}"#),
        (Some(FORM), ""),
        (Some(FORM), "reason=x"),
        (Some("text/plain"), "{}"),
        (Some("multipart/form-data; boundary=x"), "--x--"),
    ];
    for (method, path) in changes() {
        for origin in origins {
            for (kind, body) in bodies {
                let mut headers = origin.to_vec();
                headers.extend(kind.map(|kind| ("content-type", kind)));
                let answer = panel.send(&method, &path, &headers, body).await;
                if kind.is_none_or(|kind| kind == JSON) {
                    assert_eq!(answer.refused(403, "forbidden"), REFUSED);
                } else {
                    answer.refused(415, "unsupported_media_type");
                }
            }
        }
    }
    assert_eq!(panel.changes().await, before);
}

#[tokio::test]
async fn a_page_of_the_control_plane_itself_may_change_things() {
    let panel = Panel::new().await;
    for (method, path) in changes() {
        for headers in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin"), ("origin", OWN)],
            &[("origin", OWN)],
        ] {
            let headers = [headers, &[("content-type", JSON)]].concat();
            let answer = panel.send(&method, &path, &headers, "{}").await;
            assert_ne!(answer.body["message"], REFUSED, "{method} {path}");
            assert_ne!(answer.status, 415, "{method} {path}");
        }
    }
}

/// A link or a form sends GET and POST, with any query.
#[tokio::test]
async fn no_method_stands_for_another() {
    let panel = Panel::new().await;
    let before = panel.changes().await;
    for (method, path) in changes() {
        for sent in ["GET", "OPTIONS"] {
            let headers = [
                ("x-http-method-override", &*method),
                ("x-http-method", &*method),
                ("x-method-override", &*method),
            ];
            let target = format!("{path}?_method={method}&method={method}");
            panel.send(sent, &target, &headers, "").await;
        }
    }
    assert_eq!(panel.changes().await, before);
}

#[tokio::test]
async fn the_control_plane_takes_no_basic_credentials() {
    let plane = Fixture::new();
    plane.key("acme", "fn-a", "bob", "his").await;
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    let basic = format!("Basic {}", STANDARD.encode(&admin));
    for headers in [
        &[("authorization", &*basic)][..],
        &[("authorization", &*basic.replace("Basic", "basic"))],
        // The request of a page that an operator who once typed the credential visits.
        &[
            ("authorization", &*basic),
            ("content-type", FORM),
            ("origin", EVIL),
        ],
        &[
            ("authorization", &*basic),
            ("authorization", &*format!("Bearer {admin}")),
        ],
    ] {
        for (method, path) in [("POST", REMOVE), ("GET", "/v1/caller")] {
            let mut request = Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let answer = plane.send(request.body(Body::empty()).unwrap()).await;
            assert!(matches!(answer.status, 401 | 403 | 415), "{}", answer.text);
            if answer.status == 401 {
                assert_eq!(
                    answer.header("www-authenticate"),
                    r#"Bearer realm="keyfob""#
                );
            }
        }
    }
    let query = AuditQuery::every_team();
    let events = plane.keyring.audit(&query).await.unwrap().items.len();
    assert_eq!(events, 2);
}

#[tokio::test]
async fn no_answer_allows_another_origin_to_read_it() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    for (method, path) in [
        ("OPTIONS", REMOVE),
        ("OPTIONS", "/v1/revoke"),
        ("OPTIONS", "/v2/functions/namespaces"),
        ("GET", "/v2/functions/namespaces"),
        ("GET", "/openapi.json"),
        ("GET", "/docs/"),
    ] {
        for authorized in [false, true] {
            let mut request = Request::builder()
                .method(method)
                .uri(path)
                .header("origin", EVIL)
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization, content-type",
                );
            if authorized {
                request = request.header("authorization", format!("Bearer {admin}"));
            }
            let answer = plane.send(request.body(Body::empty()).unwrap()).await;
            if method == "OPTIONS" {
                assert!(answer.status >= 400, "{method} {path}");
            }
            for name in answer.headers.keys() {
                let name = name.as_str();
                assert!(
                    !name.starts_with("access-control-"),
                    "{method} {path}: {name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_body_has_one_type_and_that_is_json() {
    let plane = Fixture::new();
    let admin = plane.control_key("acme", "ada", Right::TeamAdmin).await;
    for (types, body, good) in [
        (&[][..], "", true),
        (&[JSON], "", true),
        (&[JSON], "{}", true),
        (&["application/json; charset=utf-8"], "{}", true),
        (&["Application/JSON"], "{}", true),
        (&[], "{}", false),
        (&[""], "", false),
        (&[FORM], "", false),
        (&["text/plain"], "", false),
        (&["text/plain"], "{}", false),
        (&["text/plain; application/json"], "{}", false),
        (&["text/plain, application/json"], "{}", false),
        (&["application/json, text/plain"], "{}", false),
        (&["application/jsonp"], "{}", false),
        (&["application/merge-patch+json"], "{}", false),
        (
            &["multipart/form-data; boundary=application/json"],
            "{}",
            false,
        ),
        (&[JSON, "text/plain"], "{}", false),
        (&["text/plain", JSON], "{}", false),
        (&[JSON, JSON], "{}", false),
    ] {
        for path in [
            "/v1/teams/acme/members/bob/remove",
            "/v1/teams/acme/services/b/remove",
        ] {
            let mut request =
                Request::post(path).header("authorization", format!("Bearer {admin}"));
            for one in types {
                request = request.header("content-type", *one);
            }
            let answer = plane.send(request.body(Body::from(body)).unwrap()).await;
            if good {
                assert_ne!(answer.status, 415, "{types:?} {body}: {}", answer.text);
            } else {
                answer.refused(415, "unsupported_media_type");
            }
        }
    }
}
