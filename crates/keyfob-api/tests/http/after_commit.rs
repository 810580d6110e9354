//! Failures of the store after a change was committed.

use std::{collections::BTreeSet, sync::Arc};

use axum::{body::Body, http::Request};
use keyfob::{
    KeyStore as _, Tenant, Timestamp, block_on,
    key::Peppers,
    legacy::{LegacyPolicy, read_subjects},
    store::{Revision, Target},
};
use keyfob_api::{ControlPlane, Limits, Right};
use serde_json::{Value, json};

use crate::{
    failing::{Failing, Fault},
    fixture::{Answer, Fixture, tenant},
};

/// What the answer of a call has, with any failure after its first commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// The new secret.
    Secret,
    /// That the change is stored.
    Kept,
    /// That a part may be done, or that the change is stored.
    Part,
}

const KEY: &str = "/v2/functions/namespaces/{namespace_id}/keys/{key_id}";

/// Every call that changes something.
const CHANGES: [(&str, &str, Expected); 28] = [
    ("POST", "/v2/functions/namespaces", Expected::Kept),
    (
        "DELETE",
        "/v2/functions/namespaces/{namespace_id}",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/remove",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/restore",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/keys",
        Expected::Secret,
    ),
    ("PUT", KEY, Expected::Kept),
    ("DELETE", KEY, Expected::Kept),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/disable",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/enable",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/revoke",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/rotate",
        Expected::Secret,
    ),
    (
        "PUT",
        "/v2/functions/namespaces/{namespace_id}/policy",
        Expected::Kept,
    ),
    (
        "DELETE",
        "/v2/functions/namespaces/{namespace_id}/policy",
        Expected::Kept,
    ),
    (
        "PUT",
        "/v2/functions/namespaces/{namespace_id}/legacy-policy",
        Expected::Kept,
    ),
    (
        "DELETE",
        "/v2/functions/namespaces/{namespace_id}/legacy-policy",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/legacy-policy/cut-off",
        Expected::Kept,
    ),
    (
        "POST",
        "/v2/functions/namespaces/{namespace_id}/legacy/{legacy_id}/revoke",
        Expected::Kept,
    ),
    (
        "POST",
        "/v1/teams/{team_id}/{kind}/{name}/remove",
        Expected::Kept,
    ),
    (
        "POST",
        "/v1/teams/{team_id}/{kind}/{name}/restore",
        Expected::Kept,
    ),
    ("POST", "/v1/teams/{team_id}/revocations", Expected::Kept),
    ("POST", "/v1/teams/{team_id}/remove", Expected::Kept),
    ("POST", "/v1/teams/{team_id}/restore", Expected::Kept),
    ("PUT", "/v1/policy", Expected::Kept),
    ("DELETE", "/v1/policy", Expected::Kept),
    ("PUT", "/v1/legacy-policy", Expected::Kept),
    ("DELETE", "/v1/legacy-policy", Expected::Kept),
    ("POST", "/v1/leaks", Expected::Part),
    ("POST", "/v1/revoke", Expected::Kept),
];

/// The public example of OpenWhisk's documentation.
const GUEST: &str = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502";
const GUEST_KEY: &str = "123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP";

/// A control plane with something that every call can change.
struct Plane {
    fixture: Fixture,
    store: Arc<Failing>,
    operator: String,
    key: String,
    text: String,
    other_text: String,
    is_removed: bool,
}

impl Plane {
    async fn new(path: &str, idempotent: bool) -> Self {
        let store = Arc::new(Failing::default());
        let fixture = Fixture::over(Arc::clone(&store), Limits::default());
        let operator = fixture.control_key("ops", "olga", Right::Operator).await;
        let (secret, info) = fixture.key("acme", "fn-a", "bob", "his").await;
        let (other, _) = fixture.key("acme", "fn-a", "bob", "other").await;
        let key = fixture.keyring.format().key_id(info.id);
        let mut plane = Self {
            fixture,
            store,
            operator,
            key,
            text: secret.expose().to_owned(),
            other_text: other.expose().to_owned(),
            is_removed: path.ends_with("/restore"),
        };
        plane.prepare(path, idempotent).await;
        plane
    }

    async fn prepare(&mut self, path: &str, idempotent: bool) {
        let (keyring, context) = (&self.fixture.keyring, self.fixture.context());
        let own = tenant("acme", "fn-a");
        if path.contains("legacy") {
            let line = json!({"subject": "guest",
                "namespaces": [{"name": "fn-a", "uuid": GUEST, "key": GUEST_KEY}]});
            let team = own.team.clone();
            let import = read_subjects(&line.to_string(), &context, &Peppers::none(), |_| {
                Some(team.clone())
            });
            for record in import.records {
                keyring.import_legacy(&context, record).await.unwrap();
            }
            let policy = LegacyPolicy::until(Timestamp::MAX);
            let set = keyring.set_legacy_policy(&context, Some(&own), Some(policy));
            set.await.unwrap();
        }
        if path.ends_with("/enable") {
            let id = keyring.format().parse_key_id(&self.key).unwrap();
            keyring.disable(&context, &own, id, None).await.unwrap();
        }
        if idempotent && path.ends_with("/rotate") {
            // A key with the marks of its creation, which the rotation removes.
            let body = json!({"name": "marked"});
            let made = self.send("POST", "/v2/functions/namespaces/fn-a/keys", &body, true);
            let made = made.await.expect(201);
            let id = made["access_key"]["id"].as_str().unwrap();
            id.clone_into(&mut self.key);
        }
        if self.is_removed {
            let target = Self::target(path);
            keyring.remove(&context, target).await.unwrap();
        }
    }

    fn target(path: &str) -> Target {
        let Tenant { team, .. } = tenant("acme", "fn-a");
        match path {
            _ if path.contains("{namespace_id}") => Target::Namespace(tenant("acme", "fn-a")),
            _ if path.contains("{name}") => Target::Owner(team, "user:bob".parse().unwrap()),
            _ => Target::Team(team),
        }
    }

    fn body(&self, method: &str, path: &str) -> Value {
        match (method, path.rsplit('/').next().unwrap()) {
            ("POST", "namespaces") => json!({"label": "x", "region": "blr1", "team": "acme"}),
            ("POST", "keys") => json!({"name": "x", "owner": "user:olga"}),
            ("PUT", "{key_id}") => json!({"name": "x"}),
            ("PUT", "policy") => json!({"max_expires_in": "90d"}),
            ("PUT", "legacy-policy") => json!({"sunset": null}),
            ("POST", "revocations") => json!({"of": "user", "id": "bob"}),
            ("POST", "leaks") => {
                let leak = |text| json!({"token": text, "type": "x", "url": "x"});
                json!([leak(&self.text), leak(&self.other_text)])
            }
            ("POST", "revoke") if path == "/v1/revoke" => json!({"token": self.text}),
            ("DELETE", _) => Value::Null,
            _ => json!({}),
        }
    }

    fn path(&self, path: &str) -> String {
        path.replace("{namespace_id}", "fn-a")
            .replace("{key_id}", &self.key)
            .replace("{legacy_id}", GUEST)
            .replace("{team_id}", "acme")
            .replace("{kind}", "members")
            .replace("{name}", "bob")
    }

    async fn send(&self, method: &str, path: &str, body: &Value, idempotent: bool) -> Answer {
        let mut request = Request::builder().method(method).uri(self.path(path));
        if path != "/v1/revoke" {
            request = request.header("authorization", format!("Bearer {}", self.operator));
        }
        if idempotent {
            request = request.header("idempotency-key", "one");
        }
        let request = if body.is_null() {
            request.body(Body::empty())
        } else {
            let body = Body::from(body.to_string());
            request
                .header("content-type", "application/json")
                .body(body)
        };
        self.fixture.send(request.unwrap()).await
    }

    fn revision(&self) -> Revision {
        self.store.fault.store(Fault::None);
        let changes = block_on(self.store.changes(Revision::ZERO, 1));
        changes.unwrap().last_revision()
    }
}

#[tokio::test]
async fn a_failure_after_a_commit_is_never_reported_as_no_change() {
    for (method, path, expected) in CHANGES {
        for (idempotent, keeps_failing) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            for succeed in 0..4 {
                let plane = Plane::new(path, idempotent).await;
                let body = plane.body(method, path);
                let before = plane.revision();
                plane.store.fail_after_commit(succeed, keeps_failing);
                let answer = plane.send(method, path, &body, idempotent).await;
                let case = format!("{method} {path} {succeed} {keeps_failing} {answer:?}");
                assert!(plane.revision() > before, "nothing was committed: {case}");
                assert!(!answer.text.contains("nothing was changed"), "{case}");
                if (200..300).contains(&answer.status) {
                    let secret = &answer.body["access_key"]["secret"];
                    assert_eq!(secret.is_string(), expected == Expected::Secret, "{case}");
                    continue;
                }
                let message = answer.refused(503, "service_unavailable");
                let kept = message.starts_with("the change is kept, but not yet in force");
                let part = message.starts_with("failed, perhaps after a part of it was done");
                match expected {
                    Expected::Secret => panic!("{case}"),
                    Expected::Kept => assert!(kept, "{case}"),
                    Expected::Part => assert!(part, "{case}"),
                }
            }
        }
    }
}

/// The answer says whether this process accepts the secret already.
#[tokio::test]
async fn a_secret_that_is_not_in_force_yet_is_returned_and_marked() {
    for (path, status) in [
        ("/v2/functions/namespaces/{namespace_id}/keys", 201),
        (
            "/v2/functions/namespaces/{namespace_id}/keys/{key_id}/rotate",
            200,
        ),
    ] {
        for (fails, in_force) in [(true, false), (false, true)] {
            let plane = Plane::new(path, false).await;
            if fails {
                plane.store.fail_after_commit(0, true);
            }
            let body = plane.body("POST", path);
            let answer = plane.send("POST", path, &body, false).await.expect(status);
            let key = &answer["access_key"];
            assert_eq!(key["in_force"], in_force);
            plane.store.fault.store(Fault::None);
            let now = plane.fixture.now();
            plane.fixture.keyring.sync(now).await.unwrap();
            let text = format!(
                "{}:{}",
                key["id"].as_str().unwrap(),
                key["secret"].as_str().unwrap()
            );
            let access = keyfob::Access::to("fn-a");
            let verdict = plane
                .fixture
                .verifier
                .verify_text(text.as_bytes(), &access, now);
            assert!(verdict.is_ok(), "{verdict:?}");
        }
    }
}

/// Names are not unique: after the creation the server looks for a duplicate that another process
/// made for the same `Idempotency-Key`. Without that it cannot promise that there is one key.
#[tokio::test]
async fn an_unchecked_duplicate_asks_for_a_repetition() {
    let path = "/v2/functions/namespaces/{namespace_id}/keys";
    let plane = Plane::new(path, false).await;
    let policy = "/v2/functions/namespaces/{namespace_id}/policy";
    let any_name = json!({"unique_names": false});
    plane
        .send("PUT", policy, &any_name, false)
        .await
        .expect(200);
    plane.store.fail_after_commit(0, true);
    let body = plane.body("POST", path);
    let answer = plane.send("POST", path, &body, true).await;
    let message = answer.refused(503, "service_unavailable");
    assert!(
        message.starts_with("failed, perhaps after a part"),
        "{message}"
    );
    plane.store.fault.store(Fault::None);
    plane.send("POST", path, &body, true).await.expect(201);
}

#[test]
fn the_table_has_every_call_that_changes_something() {
    let document = ControlPlane::openapi();
    let mut changing = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            if method != "get" && path != "/v1/introspect" {
                changing.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    let tested = CHANGES.map(|(method, path, _)| (method.to_owned(), path.to_owned()));
    assert_eq!(BTreeSet::from(tested), changing);
}
