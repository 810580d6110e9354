//! The OpenAPI document: committed, served, and compatible with the published interface.

use std::{collections::BTreeSet, env, fs, path::Path};

use axum::{body::Body, http::Request};
use keyfob_api::ControlPlane;
use serde_json::{Value, json};

use crate::fixture::{Answer, Fixture};

fn document() -> Value {
    ControlPlane::openapi()
}

/// `KEYFOB_WRITE_OPENAPI=1 cargo test -p keyfob-api document` writes the document.
#[test]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let generated = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    if env::var_os("KEYFOB_WRITE_OPENAPI").is_some() {
        fs::write(&path, &generated).expect("the document can be written");
    }
    let committed = fs::read_to_string(&path).expect("the document is committed");
    assert!(
        committed == generated,
        "the document changed: write it with KEYFOB_WRITE_OPENAPI=1"
    );
}

async fn get(plane: &Fixture, path: &str) -> Answer {
    let request = Request::get(path).body(Body::empty());
    plane.send(request.expect("a request")).await
}

#[tokio::test]
async fn the_document_is_served_without_a_credential() {
    let plane = Fixture::new();
    let served = get(&plane, "/openapi.json").await;
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(served.header("cache-control"), "public, max-age=300");
    let served = served.expect(200);
    assert_eq!(served["openapi"], "3.1.0");
    assert_eq!(served, document());
}

/// A call of the published interface: its parameters, its responses, and their required fields.
struct Published {
    method: &'static str,
    path: &'static str,
    required: &'static [&'static str],
    status: &'static str,
    /// The path of the object in the response, and its required fields.
    within: &'static [&'static str],
    fields: &'static [&'static str],
}

const KEY: &[&str] = &["id", "name", "expires_at", "created_at", "updated_at"];
const KEYS: &str = "/v2/functions/namespaces/{namespace_id}/keys";
const ONE_KEY: &str = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}";

const PUBLISHED: [Published; 6] = [
    Published {
        method: "post",
        path: KEYS,
        required: &["name"],
        status: "201",
        within: &["access_key"],
        fields: &[
            "id",
            "name",
            "secret",
            "expires_at",
            "created_at",
            "updated_at",
        ],
    },
    Published {
        method: "get",
        path: KEYS,
        required: &[],
        status: "200",
        within: &[],
        fields: &["access_keys", "count"],
    },
    Published {
        method: "get",
        path: KEYS,
        required: &[],
        status: "200",
        within: &["access_keys", "[]"],
        fields: KEY,
    },
    Published {
        method: "put",
        path: ONE_KEY,
        required: &[],
        status: "200",
        within: &["access_key"],
        fields: KEY,
    },
    Published {
        method: "delete",
        path: ONE_KEY,
        required: &[],
        status: "200",
        within: &[],
        fields: &[],
    },
    Published {
        method: "get",
        path: "/v2/functions/namespaces",
        required: &[],
        status: "200",
        within: &["namespaces", "[]"],
        fields: &[
            "namespace",
            "label",
            "region",
            "api_host",
            "created_at",
            "updated_at",
        ],
    },
];

/// Follows references, and steps into a field or the items of a list.
fn resolve<'d>(document: &'d Value, schema: &'d Value) -> &'d Value {
    match schema["$ref"].as_str() {
        Some(place) => {
            let found = document.pointer(place.trim_start_matches('#'));
            resolve(document, found.expect("the reference leads somewhere"))
        }
        None => schema,
    }
}

/// Returns the schemas of which a schema is composed.
fn parts<'d>(document: &'d Value, schema: &'d Value) -> Vec<&'d Value> {
    let schema = resolve(document, schema);
    match schema["allOf"].as_array() {
        Some(all) => all.iter().flat_map(|part| parts(document, part)).collect(),
        None => vec![schema],
    }
}

fn step<'d>(document: &'d Value, schema: &'d Value, field: &str) -> &'d Value {
    let parts = parts(document, schema);
    let inner = parts.iter().map(|part| match field {
        "[]" => &part["items"],
        field => &part["properties"][field],
    });
    let found = inner.into_iter().find(|inner| !inner.is_null());
    found.unwrap_or_else(|| panic!("no {field} in {schema}"))
}

fn required<'d>(document: &'d Value, schema: &'d Value) -> BTreeSet<&'d str> {
    let parts = parts(document, schema);
    let lists = parts.iter().filter_map(|part| part["required"].as_array());
    lists.flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_document_contains_the_published_interface() {
    let document = document();
    for call in PUBLISHED {
        let Published { method, path, .. } = call;
        let operation = &document["paths"][path][method];
        assert!(operation.is_object(), "{method} {path}");
        if method == "post" {
            let body = &operation["requestBody"]["content"]["application/json"]["schema"];
            let asked: Vec<_> = required(&document, body).into_iter().collect();
            assert_eq!(asked, call.required, "{method} {path}");
        }
        let answers = operation["responses"].as_object().expect("answers");
        let good: Vec<_> = answers
            .keys()
            .filter(|status| status.starts_with('2'))
            .collect();
        assert_eq!(good, [call.status], "{method} {path}");
        let answer = resolve(&document, &answers[call.status]);
        let mut schema = &answer["content"]["application/json"]["schema"];
        for field in call.within {
            schema = step(&document, schema, field);
        }
        let has = required(&document, schema);
        for field in call.fields {
            assert!(has.contains(field), "{method} {path}: {field} in {has:?}");
        }
        // The secret is in one response only.
        let creates = method == "post";
        let told = serde_json::to_string(resolve(&document, schema)).expect("JSON");
        assert!(creates || !told.contains("\"secret\""), "{method} {path}");
        for status in ["400", "401", "404", "429", "500"] {
            let refusal = resolve(&document, &answers[status]);
            let error = &refusal["content"]["application/json"]["schema"];
            let has = required(&document, error);
            assert!(
                has.contains("id") && has.contains("message"),
                "{method} {path} {status}"
            );
        }
        for answer in answers.values() {
            let headers = resolve(&document, answer)["headers"].as_object();
            let headers = headers.expect("headers");
            for name in ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
                let header = resolve(&document, &headers[name]);
                assert_eq!(
                    header["schema"]["type"], "integer",
                    "{method} {path} {name}"
                );
            }
        }
        assert_eq!(operation["x-published"], true, "{method} {path}");
        assert_eq!(operation["security"], json!([{"control_key": []}]));
        let right = operation["x-rights"]["own"].as_str().expect("a right");
        assert!(right.starts_with("function:"), "{method} {path}: {right}");
    }
    for (path, method) in [(KEYS, "post"), (ONE_KEY, "put")] {
        let answers = &document["paths"][path][method]["responses"];
        assert!(answers["409"].is_object(), "{method} {path}");
    }
}

/// `KEYFOB_WRITE_OPENAPI=1` writes it, too.
#[test]
fn the_committed_table_of_rights_is_that_of_the_document() {
    let document = document();
    let mut table = TABLE_HEAD.to_owned();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("calls") {
            let right = |whose: &str| operation["x-rights"][whose].as_str().unwrap_or("none");
            let (own, others) = (right("own"), right("others"));
            let published = if operation["x-published"] == true {
                "yes"
            } else {
                ""
            };
            let method = method.to_uppercase();
            let row = format!("| {method} | `{path}` | {own} | {others} | {published} |\n");
            table.push_str(&row);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("rights.md");
    if env::var_os("KEYFOB_WRITE_OPENAPI").is_some() {
        fs::write(&path, &table).expect("the table can be written");
    }
    let committed = fs::read_to_string(&path).expect("the table is committed");
    assert!(committed == table, "write it with KEYFOB_WRITE_OPENAPI=1");
}

const TABLE_HEAD: &str = "\
# Rights

The right that each call of the control plane takes, as a scope of the caller's control key. A greater right includes the
lesser ones: `function:admin` includes `function:read`, `function:create` and `function:delete`; `team:read` includes
`function:read`; `team:admin` includes all of these; `operator` includes everything, in every team. A refusal (403) names
the missing right. Published calls exist in the published interface for access keys.

Written from `openapi.json` by its test.

| method | path | right | for other owners' keys | published |
|---|---|---|---|---|
";

/// What generators of clients and gateways need to be strict.
#[test]
fn the_document_is_strict() {
    let document = document();
    let text = document.to_string();
    assert!(!text.contains("\"default\":"), "a default value");
    let tags: BTreeSet<_> = names(&document["tags"]);
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("calls") {
            let call = format!("{method} {path}");
            let tag = operation["tags"][0].as_str().expect("a tag");
            assert!(tags.contains(tag), "{call}: {tag}");
            assert_ne!(operation["description"], "", "{call}");
            if let Some(body) = operation.get("requestBody") {
                assert!(body["required"].is_boolean(), "{call}");
                let kinds: Vec<_> = body["content"].as_object().expect("types").keys().collect();
                assert_eq!(kinds, ["application/json"], "{call}");
                assert!(body["content"]["application/json"]["schema"]["oneOf"].is_null());
            }
            let answers = operation["responses"].as_object().expect("answers");
            let mut expected = vec!["400", "403", "405", "415", "429", "500", "503"];
            if operation["security"] != json!([]) {
                expected.extend(["401", "404"]);
            }
            if operation.get("requestBody").is_some() {
                expected.extend(["408", "413"]);
            }
            for status in expected {
                assert!(answers.contains_key(status), "{call}: {status}");
            }
            for (status, answer) in answers {
                let headers = resolve(&document, answer)["headers"].as_object();
                let headers = headers.expect("headers");
                let own = match &**status {
                    "401" => "www-authenticate",
                    "405" => "allow",
                    "429" | "503" => "retry-after",
                    _ => "x-request-id",
                };
                assert!(headers.contains_key(own), "{call} {status}: {own}");
            }
            let key = path.starts_with(KEYS);
            if key && !["delete", "get"].contains(&&**method) {
                let good = answers.iter().find(|(status, _)| status.starts_with('2'));
                let (_, good) = good.expect("an answer");
                assert!(good["headers"]["etag"].is_object(), "{call}");
            }
        }
    }
}

fn names(list: &Value) -> BTreeSet<&str> {
    let list = list.as_array().expect("a list").iter();
    list.filter_map(|one| one["name"].as_str()).collect()
}

#[tokio::test]
async fn the_page_loads_nothing_from_other_hosts() {
    let plane = Fixture::new();
    let moved = get(&plane, "/docs").await;
    assert_eq!((moved.status, moved.header("location")), (308, "/docs/"));
    let page = get(&plane, "/docs/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html");
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("http") && !policy.contains("unsafe-eval"),
        "{policy}"
    );
    // Everything that the page loads has a relative address, and so does its start script.
    let start = get(&plane, "/docs/swagger-initializer.js").await;
    assert_eq!(start.status, 200);
    assert!(start.text.contains("/openapi.json"));
    for text in [&page.text, &start.text] {
        for scheme in ["http:", "https:", "ws:", "wss:", "src=\"//", "href=\"//"] {
            assert!(!text.contains(scheme), "{scheme} in {text}");
        }
        assert!(
            !text.contains("<script>") && !text.contains(" onload="),
            "{text}"
        );
    }
    let loaded: Vec<&str> = page
        .text
        .split(['"', '\''])
        .filter(|text| matches!(text.rsplit_once('.'), Some((_, "js" | "css"))))
        .collect();
    assert!(loaded.len() >= 3, "{loaded:?}");
    for file in loaded {
        let path = format!("/docs/{}", file.trim_start_matches("./"));
        assert_eq!(get(&plane, &path).await.status, 200, "{path}");
    }
    get(&plane, "/docs/nothing.js")
        .await
        .refused(404, "not_found");
    get(&plane, "/docs/../openapi.json")
        .await
        .refused(404, "not_found");
}
